//! The slabs, and what plans do with them.

use std::collections::BTreeMap;

use super::layout::{Group, Layout, Slot};
use crate::RuntimeError;
use crate::cpu::aligned::Aligned;
use crate::cpu::descent::Span;
use network::graph::{Array, Graph, Parameter, Role, Weights};

/// Values and gradients of all parameters of a network, and what rules keep beside them.
#[derive(Debug)]
pub struct Store {
    pub(super) layout: Layout,
    pub(super) values: Aligned,
    gradients: Aligned,
    /// What rules keep, by name.
    pub(super) kept: BTreeMap<String, Aligned>,
    /// For each parameter whether a gradient was written since the store was made.
    reached: Vec<bool>,
    /// What of the slabs has gradients.
    spans: Vec<Span>,
    /// Passes forward, which batch norms count.
    pub(super) passes: u64,
}

impl Store {
    /// The parameters of a graph. `group` is the group of each parameter that is to be trained; buffers never are.
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn new(
        graph: &Graph,
        weights: &Weights,
        group: impl Fn(&Parameter) -> Option<Group>,
    ) -> Result<Store, RuntimeError> {
        let layout = Layout::of(graph, group);
        let mut store = Store {
            values: Aligned::zeros(layout.size()),
            gradients: Aligned::zeros(layout.trained()),
            kept: BTreeMap::new(),
            reached: vec![false; layout.slots().len()],
            spans: Vec::new(),
            passes: 0,
            layout,
        };
        for slot in store.layout.slots() {
            // Counters may be missing: they begin at 0.
            if slot.parameter.role == Role::BatchCount && weights.get(&slot.parameter.name).is_none() {
                continue;
            }
            put(store.values.floats_mut(), slot, &weights.of(&slot.parameter)?.data, false)?;
        }
        Ok(store)
    }

    /// A store of no parameters, for plans that have packed theirs.
    pub(crate) fn empty() -> Store {
        Store {
            layout: Layout::none(),
            values: Aligned::default(),
            gradients: Aligned::default(),
            kept: BTreeMap::new(),
            reached: Vec::new(),
            spans: Vec::new(),
            passes: 0,
        }
    }

    /// The parameters as they are now.
    ///
    /// # Errors
    /// None but a mistake of this program.
    pub fn weights(&self) -> Result<Weights, RuntimeError> {
        let of = |slot: &Slot| {
            let mut array = gathered(self.values.floats(), slot)?;
            if slot.parameter.role == Role::BatchCount {
                array.data.iter_mut().for_each(|count| *count += self.passes as f32);
            }
            Ok((slot.parameter.name.clone(), array))
        };
        self.layout.slots().iter().map(of).collect()
    }

    /// The gradient of a parameter, in the parameter's own order; `None` if it has none.
    ///
    /// # Errors
    /// None but a mistake of this program.
    pub fn gradient(&self, name: &str) -> Result<Option<Array>, RuntimeError> {
        let mut slots = self.layout.slots().iter().zip(&self.reached);
        let slot = slots.find(|(slot, is_reached)| slot.parameter.name == name && **is_reached);
        slot.map(|(slot, _)| gathered(self.gradients.floats(), slot)).transpose()
    }

    /// Floats in all slabs.
    pub fn floats(&self) -> usize {
        let kept: usize = self.kept.values().map(|slab| slab.floats().len()).sum();
        self.values.floats().len() + self.gradients.floats().len() + kept
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The numbers of a parameter, in the layout's order.
    pub(crate) fn value(&self, parameter: usize) -> Result<&[f32], RuntimeError> {
        let slot = self.slot(parameter)?;
        self.values.floats().get(slot.floats.clone()).ok_or_else(|| outside(slot))
    }

    /// Those of a weight and of a bias, which may be missing.
    pub(crate) fn values(&self, weight: usize, bias: Option<usize>) -> Result<[&[f32]; 2], RuntimeError> {
        Ok([self.value(weight)?, bias.map_or(Ok([].as_slice()), |bias| self.value(bias))?])
    }

    /// A parameter of one number.
    pub(crate) fn number(&self, parameter: usize) -> Result<f32, RuntimeError> {
        let slot = self.slot(parameter)?;
        self.value(parameter)?.first().copied().ok_or_else(|| outside(slot))
    }

    pub(crate) fn value_mut(&mut self, parameter: usize) -> Result<&mut [f32], RuntimeError> {
        let slot = slot(&self.layout, parameter)?;
        self.values.floats_mut().get_mut(slot.floats.clone()).ok_or_else(|| outside(slot))
    }

    /// A parameter as an array in its own order.
    pub(crate) fn array(&self, parameter: usize) -> Result<Array, RuntimeError> {
        gathered(self.values.floats(), self.slot(parameter)?)
    }

    pub(crate) fn gradient_mut(&mut self, parameter: usize) -> Result<&mut [f32], RuntimeError> {
        let slot = slot(&self.layout, parameter)?;
        self.gradients.floats_mut().get_mut(slot.floats.clone()).ok_or_else(|| outside(slot))
    }

    /// The numbers of one parameter and the gradients of two, where they are wanted.
    pub(crate) fn value_and_gradients(
        &mut self,
        value: usize,
        gradients: [Option<usize>; 2],
    ) -> Result<ValueAndGradients<'_>, RuntimeError> {
        let Store { layout, values, gradients: slab, .. } = self;
        let value = slot(layout, value)?;
        let numbers = values.floats().get(value.floats.clone()).ok_or_else(|| outside(value))?;
        let range = |wanted: Option<usize>| match wanted {
            Some(parameter) => Ok(slot(layout, parameter)?.floats.clone()),
            None => Ok::<_, RuntimeError>(0..0),
        };
        let ranges = [range(gradients[0])?, range(gradients[1])?];
        let both = slab.floats_mut().get_disjoint_mut(ranges).map_err(|_| outside(value))?;
        let mut wanted = gradients.iter();
        Ok((numbers, both.map(|floats| wanted.next().copied().flatten().map(|_| floats))))
    }

    /// Writes a gradient in the parameter's own order, or adds it to what is there.
    pub(crate) fn put_gradient(
        &mut self,
        parameter: usize,
        numbers: &[f32],
        add: bool,
    ) -> Result<(), RuntimeError> {
        put(self.gradients.floats_mut(), slot(&self.layout, parameter)?, numbers, add)
    }

    /// Notes that these parameters have gradients.
    pub(crate) fn reach(&mut self, parameters: impl IntoIterator<Item = usize>) {
        let mut is_new = false;
        for parameter in parameters {
            if let Some(is_reached) = self.reached.get_mut(parameter) {
                is_new |= !std::mem::replace(is_reached, true);
            }
        }
        if is_new {
            self.spans = spans(&self.layout, &self.reached);
        }
    }

    /// Counts a pass forward.
    pub(crate) fn pass(&mut self) {
        self.passes += 1;
    }

    /// Makes a slab for what a rule keeps, if it is not there yet; whether it was made.
    pub(super) fn keep(&mut self, name: &str) -> bool {
        let is_new = !self.kept.contains_key(name);
        if is_new {
            self.kept.insert(name.to_owned(), Aligned::zeros(self.layout.trained()));
        }
        is_new
    }

    /// Values, gradients and what is kept under a name.
    pub(super) fn slabs(&mut self, name: &str) -> Option<Slabs<'_>> {
        let Store { values, gradients, kept, spans, .. } = self;
        let kept = kept.get_mut(name)?.floats_mut();
        Some(Slabs { spans, values: values.floats_mut(), gradients: gradients.floats(), kept })
    }

    /// Values and gradients.
    pub(super) fn values_and_gradients(&mut self) -> (&[Span], &mut [f32], &[f32]) {
        (&self.spans, self.values.floats_mut(), self.gradients.floats())
    }

    /// What of the slabs has gradients.
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    fn slot(&self, parameter: usize) -> Result<&Slot, RuntimeError> {
        slot(&self.layout, parameter)
    }
}

/// What a rule works on.
pub(super) struct Slabs<'s> {
    /// The floats that have gradients.
    pub(super) spans: &'s [Span],
    pub(super) values: &'s mut [f32],
    pub(super) gradients: &'s [f32],
    /// What the rule keeps beside them.
    pub(super) kept: &'s mut [f32],
}

/// The numbers of a parameter, and two gradients.
pub(crate) type ValueAndGradients<'s> = (&'s [f32], [Option<&'s mut [f32]>; 2]);

/// Floats that have gradients: of parameters of one group that follow each other together.
fn spans(layout: &Layout, reached: &[bool]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let slots = layout.slots().iter().zip(reached);
    for (slot, _) in slots.filter(|(slot, is_reached)| slot.is_trained && **is_reached) {
        match spans.last_mut() {
            Some((last, group)) if *group == slot.group && follows(last, slot) => last.end = slot.floats.end,
            _ => spans.push((slot.floats.clone(), slot.group)),
        }
    }
    spans
}

/// Whether nothing but what fills a line of the cache lies between.
fn follows(last: &std::ops::Range<usize>, slot: &Slot) -> bool {
    super::layout::aligned(last.end) == slot.floats.start
}

fn slot(layout: &Layout, parameter: usize) -> Result<&Slot, RuntimeError> {
    let missing = || RuntimeError::internal("", format!("the store has no parameter {parameter}"));
    layout.slots().get(parameter).ok_or_else(missing)
}

fn outside(slot: &Slot) -> RuntimeError {
    RuntimeError::internal(&slot.parameter.name, "a parameter does not lie in its slab")
}

/// Numbers of a slab in the parameter's own order.
pub(super) fn gathered(slab: &[f32], slot: &Slot) -> Result<Array, RuntimeError> {
    let floats = slab.get(slot.floats.clone()).ok_or_else(|| outside(slot))?;
    let data = slot.positions().map(|position| floats.get(position).copied());
    let data = data.collect::<Option<Vec<f32>>>().ok_or_else(|| outside(slot))?;
    Ok(Array { shape: slot.parameter.shape.clone(), data })
}

/// Writes numbers in the parameter's own order to a slab, or adds them to what is there.
pub(super) fn put(slab: &mut [f32], slot: &Slot, numbers: &[f32], add: bool) -> Result<(), RuntimeError> {
    let floats = slab.get_mut(slot.floats.clone()).ok_or_else(|| outside(slot))?;
    for (position, number) in slot.positions().zip(numbers) {
        let target = floats.get_mut(position).ok_or_else(|| outside(slot))?;
        *target = number + if add { *target } else { 0.0 };
    }
    Ok(())
}
