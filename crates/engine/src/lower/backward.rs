//! The steps back: the steps forward are the tape, walked from the last to the first.
//!
//! The gradient of a value lies in a buffer of its own just as the value does in its buffer, so that views, parts of
//! concatenations and levels of points need nothing of their own. What several steps read has a gradient with several
//! shares: the first is written, the others are added ([`Written`] knows).

use std::collections::{BTreeSet, HashMap};

use super::Lower;
use super::elements::Elements;
use super::step::{Step, Sum, SumTarget, Target, Work, Write};
use super::written::Written;
use crate::RuntimeError;
use crate::cpu::convolution::chosen::ScratchSize;
use crate::cpu::elements::functions::Function;
use crate::cpu::place::{Part, Place};
use network::graph::Value;

/// The way back through a graph whose way forward is lowered.
pub(super) struct Backward<'l, 'g> {
    lower: &'l mut Lower<'g>,
    /// Of each buffer, by its number.
    gradients: HashMap<usize, Gradient>,
    /// How many steps and outputs read each buffer.
    readers: HashMap<usize, usize>,
    /// Parameters whose gradient something was written to.
    reached: BTreeSet<usize>,
    /// The value whose step is walked back.
    at: Value,
}

/// Where the gradient of a buffer is.
enum Gradient {
    /// In a buffer like it.
    Own { buffer: usize, written: Written },
    /// It is the gradient of what was made of the value, which is `base`: nothing is copied.
    Shared { base: Part, gradient: Part },
}

/// What the way back makes.
#[derive(Default)]
pub(super) struct Found {
    /// For every output the place of its gradient, to be filled before; none where no parameter depends on it.
    pub(super) seeds: Vec<Option<Place>>,
    /// Parameters that have a gradient.
    pub(super) reached: BTreeSet<usize>,
}

/// Lowers the way back of `tape`, from the gradients of the outputs at these places on.
pub(super) fn backward(
    lower: &mut Lower<'_>,
    tape: &[Step],
    outputs: &[(Value, Place)],
) -> Result<Found, RuntimeError> {
    let mut readers = HashMap::new();
    let reads = tape.iter().flat_map(|step| &step.reads).map(|part| part.buffer);
    for buffer in reads.chain(outputs.iter().map(|(_, place)| place.buffer)) {
        *readers.entry(buffer).or_insert(0) += 1;
    }
    let Some(at) = tape.last().map(|step| step.value) else { return Ok(Found::default()) };
    let mut backward = Backward { lower, gradients: HashMap::new(), readers, reached: BTreeSet::new(), at };
    let seeds =
        outputs.iter().map(|(value, place)| backward.seed(*value, place)).collect::<Result<_, _>>()?;
    for step in tape.iter().rev() {
        backward.visit(step)?;
    }
    Ok(Found { seeds, reached: backward.reached })
}

impl Backward<'_, '_> {
    /// Where the gradient of an output is put: in the place of the value's, if that is free.
    fn seed(&mut self, value: Value, place: &Place) -> Result<Option<Place>, RuntimeError> {
        if !self.lower.needs_gradient(value) {
            return Ok(None);
        }
        let part =
            place.in_order().ok_or_else(|| self.lower.internal(value, "its channels lie in no order"))?;
        let target = self.slot(part);
        if !target.add {
            return Ok(Some(Place::of(target.part, place.form)));
        }
        let seed = part.packed_in(self.buffer(part.elements()));
        self.push(value, Write::Elements(Elements::Each(Function::First)), vec![seed], target);
        Ok(Some(Place::of(seed, place.form)))
    }

    fn visit(&mut self, step: &Step) -> Result<(), RuntimeError> {
        if !self.lower.needs_gradient(step.value) {
            return Ok(());
        }
        self.at = step.value;
        let Work::Write(write, Target { part, .. }) = &step.work else {
            return Err(self.without_gradient(step));
        };
        let Some(gradient) = self.gradient(*part) else { return Ok(()) };
        match write {
            Write::Convolution(convolution) => convolution.backward(self, step, gradient),
            Write::Norm(norm) => norm.backward(self, step, gradient),
            Write::Elements(elements) => elements.backward(self, step, gradient),
            Write::Windows(windows) => windows.backward(self, step, gradient),
            Write::Rows(rows) => rows.backward(self, step, gradient),
            Write::Reference(node) => {
                node.backward(self, step, gradient);
                Ok(())
            }
            Write::Zero => Err(self.without_gradient(step)),
        }
    }

    /// The fault of a step that cannot be walked back.
    pub(super) fn without_gradient(&self, step: &Step) -> RuntimeError {
        self.lower.internal(step.value, &format!("{} has no way back", step.name()))
    }

    /// Whether a gradient of what lies there is wanted.
    pub(super) fn wants(&self, part: Part) -> bool {
        self.lower.is_differentiable(part.buffer)
    }

    /// The gradient of a part, all of it written; none if there is none of its buffer.
    fn gradient(&mut self, part: Part) -> Option<Part> {
        if let Gradient::Shared { base, gradient } = self.gradients.get(&part.buffer)? {
            if let Some(found) = within(*base, *gradient, part) {
                return Some(found);
            }
            self.unshare(part.buffer);
        }
        let Some(Gradient::Own { buffer, written }) = self.gradients.get_mut(&part.buffer) else {
            return None;
        };
        let (buffer, missing) = (*buffer, written.fill(part));
        self.zeros(buffer, missing);
        Some(Part { buffer, ..part })
    }

    /// Where a share of a part's gradient goes, and whether there is something already.
    pub(super) fn slot(&mut self, part: Part) -> Target {
        self.unshare(part.buffer);
        if !self.gradients.contains_key(&part.buffer) {
            let size = self.lower.size(part.buffer);
            let (buffer, written) = (self.buffer(size), Written::new(size));
            self.gradients.insert(part.buffer, Gradient::Own { buffer, written });
        }
        let mut target = Target { part, add: false };
        if let Some(Gradient::Own { buffer, written }) = self.gradients.get_mut(&part.buffer) {
            let buffer = *buffer;
            target = Target { part: Part { buffer, ..part }, add: !written.claim(part) };
            let missing = if target.add { written.fill(part) } else { Vec::new() };
            self.zeros(buffer, missing);
        }
        target
    }

    /// Gives a shared gradient a buffer of its own.
    fn unshare(&mut self, of: usize) {
        let Some(Gradient::Shared { base, gradient }) = self.gradients.get(&of) else { return };
        let (base, gradient) = (*base, *gradient);
        let size = self.lower.size(of);
        let buffer = self.buffer(size);
        let mut written = Written::new(size);
        written.claim(base);
        self.gradients.insert(of, Gradient::Own { buffer, written });
        let to = Target { part: Part { buffer, ..base }, add: false };
        let copy = Write::Elements(Elements::Each(Function::First));
        self.push(self.at, copy, vec![gradient], to);
    }

    fn zeros(&mut self, buffer: usize, missing: Vec<Part>) {
        for part in missing {
            let to = Target { part: Part { buffer, ..part }, add: false };
            self.push(self.at, Write::Zero, Vec::new(), to);
        }
    }

    /// Adds a share to the gradient of a part.
    pub(super) fn contribute(
        &mut self,
        value: Value,
        to: Part,
        write: Write,
        reads: Vec<Part>,
    ) -> Result<(), RuntimeError> {
        if !self.wants(to) {
            return Ok(());
        }
        let target = self.slot(to);
        let reads_there = reads.iter().any(|part| part.buffer == target.part.buffer);
        if !reads_there && (write.adds() || !target.add) {
            self.push_share(value, write, reads, target);
            return Ok(());
        }
        let share = to.packed_in(self.buffer(to.elements()));
        self.push_share(value, write, reads, Target { part: share, add: false });
        self.push(value, Write::Elements(Elements::Each(Function::First)), vec![share], target);
        Ok(())
    }

    /// A step that writes a share, to what is zero before where it can do nothing but add.
    fn push_share(&mut self, value: Value, write: Write, reads: Vec<Part>, target: Target) {
        if write.only_adds() && !target.add {
            self.push(value, Write::Zero, Vec::new(), target);
        }
        self.push(value, write, reads, target);
    }

    /// Gives a gradient on to an operand as it is. Where it is the only share, nothing is copied.
    pub(super) fn pass_on(&mut self, step: &Step, read: usize, gradient: Part) -> Result<(), RuntimeError> {
        let part = *step.reads.get(read).ok_or_else(|| self.without_gradient(step))?;
        let fills = part.is_packed() && part.elements() == self.lower.size(part.buffer);
        let is_only =
            self.readers.get(&part.buffer) == Some(&1) && !self.gradients.contains_key(&part.buffer);
        if self.wants(part) && fills && is_only {
            self.gradients.insert(part.buffer, Gradient::Shared { base: part, gradient });
            return Ok(());
        }
        let write = Write::Elements(Elements::Each(Function::First));
        self.contribute(step.value, part, write, vec![gradient])
    }

    /// A gradient without gaps, copied if it has any.
    pub(super) fn packed(&mut self, value: Value, gradient: Part) -> Part {
        if gradient.is_packed() {
            return gradient;
        }
        let packed = gradient.packed_in(self.buffer(gradient.elements()));
        let write = Write::Elements(Elements::Each(Function::First));
        self.push(value, write, vec![gradient], Target { part: packed, add: false });
        packed
    }

    /// The gradient of a parameter, if it is trained.
    pub(super) fn sum(&mut self, parameter: usize) -> Option<SumTarget> {
        let is_trained = self.lower.trains(parameter);
        is_trained.then(|| SumTarget { parameter, add: !self.reached.insert(parameter) })
    }

    /// A new buffer.
    pub(super) fn buffer(&mut self, size: usize) -> usize {
        self.lower.buffer(size)
    }

    /// Room that steps need to work in.
    pub(super) fn reserve(&mut self, scratch: ScratchSize) {
        self.lower.reserve(scratch);
    }

    pub(super) fn push(&mut self, value: Value, write: Write, reads: Vec<Part>, target: Target) {
        self.lower.push_target(value, write, reads, target);
    }

    pub(super) fn push_sum(&mut self, value: Value, sum: Sum, reads: Vec<Part>) {
        self.push_step(Step { value, reads, work: Work::Sum(sum) });
    }

    pub(super) fn push_step(&mut self, step: Step) {
        self.lower.push_step(step);
    }
}

/// The part of a shared gradient that belongs to a part of the value.
fn within(base: Part, gradient: Part, part: Part) -> Option<Part> {
    (part.grid == base.grid).then(|| gradient.part(part.channel - base.channel, part.channels))
}
