//! The reference behind the engines' face: any input shape, f32 or f64.

use std::collections::BTreeMap;
use std::fmt;

use super::executor::Executor;
use super::gradients::{Forward, Gradients};
use super::parameters::Parameters;
use super::run::Outputs;
use crate::engine::{Engine, Writer};
use crate::store::{Factors, Rule};
use crate::{NormStatistics, RuntimeError, Training};
use network::element::Element;
use network::graph::{Array, Graph, Parameter, ParameterId, Role, Weights};

/// A network that the reference runs.
pub(crate) struct ReferenceEngine<T> {
    writer: Writer,
    training: Option<Training>,
    graph: Graph,
    shape: [usize; 4],
    parameters: Parameters<T>,
    /// The last one.
    pass: Option<Pass<T>>,
    gradients: Gradients<T>,
    velocities: BTreeMap<String, Vec<T>>,
    /// Passes forward before this engine was made, for each batch norm's counter.
    counts: BTreeMap<String, Array>,
    /// Passes forward since, which batch norms count.
    passes: u64,
}

/// What is kept of a pass forward.
enum Pass<T> {
    /// The outputs alone.
    Outputs(Outputs<T>),
    /// Also what gradients are made of.
    Taped(Forward<T>),
}

impl<T: Element> ReferenceEngine<T> {
    /// As [`crate::engine()`] has it.
    ///
    /// # Errors
    /// A shape that the network cannot take, weights that do not fit.
    pub(crate) fn new(
        writer: Writer,
        shape: [usize; 4],
        weights: &Weights,
        training: Option<Training>,
    ) -> Result<Self, RuntimeError> {
        let graph = writer(shape)?;
        let is_trained =
            |parameter: &Parameter| training.as_ref().is_some_and(|own| (own.group)(parameter).is_some());
        let parameters = Parameters::trained(&graph, weights, is_trained)?;
        let counters = graph.parameters().iter().filter(|parameter| parameter.role == Role::BatchCount);
        let count = |parameter: &Parameter| {
            let given = weights.get(&parameter.name).cloned();
            let zero = || Array { shape: parameter.shape.clone(), data: vec![0.0; parameter.elements()] };
            (parameter.name.clone(), given.unwrap_or_else(zero))
        };
        let counts = counters.map(count).collect();
        Ok(ReferenceEngine {
            writer,
            training,
            graph,
            shape,
            parameters,
            pass: None,
            gradients: Gradients { parameters: BTreeMap::new(), input: None },
            velocities: BTreeMap::new(),
            counts,
            passes: 0,
        })
    }

    /// With an executor of the network for the current shape.
    fn execute<R>(&self, run: impl FnOnce(Executor<'_, T>) -> R) -> R {
        let running = |_: &str| NormStatistics::Running;
        match &self.training {
            Some(training) => {
                run(Executor::with_statistics(&self.graph, &self.parameters, &*training.statistics))
            }
            None => run(Executor::with_statistics(&self.graph, &self.parameters, &running)),
        }
    }

    /// Changes one parameter.
    fn step(
        &mut self,
        name: &str,
        id: ParameterId,
        rule: &Rule,
        factors: Factors,
    ) -> Result<(), RuntimeError> {
        let Some(gradient) = self.gradients.parameters.get(name) else { return Ok(()) };
        let [rate, decay] = [factors.learning_rate, factors.weight_decay].map(|f| T::of(f64::from(f)));
        let mut value = self.parameters.array(id)?;
        let decayed =
            value.data.iter().zip(&gradient.data).map(|(value, gradient)| *gradient + decay * *value);
        let decayed: Vec<T> = decayed.collect();
        let Rule::Sgd { momentum, dampening, nesterov } = *rule;
        let [keep, take] = [momentum, 1.0 - dampening].map(|share| T::of(f64::from(share)));
        let steps = match self.velocities.get_mut(name) {
            _ if momentum == 0.0 => decayed,
            Some(velocity) => {
                let pairs = velocity.iter_mut().zip(&decayed);
                pairs.for_each(|(velocity, gradient)| *velocity = keep * *velocity + take * *gradient);
                ahead(velocity, &decayed, nesterov.then_some(keep))
            }
            None => {
                let steps = ahead(&decayed, &decayed, nesterov.then_some(keep));
                self.velocities.insert(name.to_owned(), decayed);
                steps
            }
        };
        value.data.iter_mut().zip(steps).for_each(|(value, step)| *value = *value - rate * step);
        self.parameters.set(id, &value)
    }
}

/// The velocity, or with Nesterov's momentum the gradient and a share of it.
fn ahead<T: Element>(velocity: &[T], gradient: &[T], share: Option<T>) -> Vec<T> {
    let pairs = velocity.iter().zip(gradient);
    pairs.map(|(velocity, gradient)| share.map_or(*velocity, |share| *gradient + share * *velocity)).collect()
}

impl<T: Element> Engine for ReferenceEngine<T> {
    fn forward(&mut self, shape: [usize; 4], input: &[f32]) -> Result<(), RuntimeError> {
        if shape != self.shape {
            (self.graph, self.shape) = ((self.writer)(shape)?, shape);
        }
        if input.len() != shape.iter().product::<usize>() {
            return Err(RuntimeError::Input { expected: shape.to_vec(), found: vec![input.len()] });
        }
        let input: Array<T> = Array { shape: shape.to_vec(), data: input.to_vec() }.to();
        // Its memory is free before the next one begins.
        self.pass = None;
        let is_trained = self.training.is_some();
        let pass = self.execute(|executor| match is_trained {
            true => executor.forward(&input).map(Pass::Taped),
            false => executor.run(&input).map(Pass::Outputs),
        });
        self.pass = Some(pass?);
        self.passes += 1;
        Ok(())
    }

    fn output(&self, name: &str, numbers: &mut Vec<f32>) -> Result<(), RuntimeError> {
        let output = match &self.pass {
            Some(Pass::Outputs(outputs)) => outputs.output(name)?,
            Some(Pass::Taped(forward)) => forward.output(name)?,
            None => return Err(RuntimeError::internal("", "an output is read before anything was run")),
        };
        *numbers = output.to().data;
        Ok(())
    }

    fn backward(&mut self, gradients: &[(&str, &[f32])]) -> Result<(), RuntimeError> {
        let wide = |numbers: &[f32]| numbers.iter().map(|number| T::of(f64::from(*number))).collect();
        let given: Vec<(&str, Vec<T>)> =
            gradients.iter().map(|(name, numbers)| (*name, wide(numbers))).collect();
        let given: Vec<(&str, &[T])> =
            given.iter().map(|(name, numbers)| (*name, numbers.as_slice())).collect();
        let Some(Pass::Taped(forward)) = &self.pass else {
            return Err(RuntimeError::internal("", "gradients of a pass that was not one of training"));
        };
        self.gradients = forward.backward(&given)?;
        Ok(())
    }

    fn gradient(&self, name: &str) -> Result<Option<Array>, RuntimeError> {
        Ok(self.gradients.parameters.get(name).map(Array::to))
    }

    fn apply(&mut self, rule: &Rule, factors: &[Factors]) -> Result<(), RuntimeError> {
        let Some(training) = self.training.clone() else { return Ok(()) };
        let names: Vec<String> = self.gradients.parameters.keys().cloned().collect();
        for name in names {
            let unknown = || RuntimeError::internal(&name, "a gradient has no parameter");
            let id = *self.graph.parameter_ids().get(name.as_str()).ok_or_else(unknown)?;
            let group = self.graph.parameter(id).and_then(|parameter| (training.group)(parameter));
            let factors = group.and_then(|group| factors.get(group)).copied();
            let missing = || RuntimeError::internal(&name, "there are no factors for the parameter's group");
            self.step(&name, id, rule, factors.ok_or_else(missing)?)?;
        }
        Ok(())
    }

    fn weights(&self) -> Result<Weights, RuntimeError> {
        let ids = self.graph.parameter_ids().into_iter();
        let of = |(name, id): (&str, ParameterId)| {
            let Some(count) = self.counts.get(name) else {
                return Ok((name.to_owned(), self.parameters.array(id)?.to()));
            };
            let mut count = count.clone();
            count.data.iter_mut().for_each(|count| *count += self.passes as f32);
            Ok((name.to_owned(), count))
        };
        ids.map(of).collect()
    }
}

impl<T> fmt::Debug for ReferenceEngine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReferenceEngine").field("shape", &self.shape).finish_non_exhaustive()
    }
}
