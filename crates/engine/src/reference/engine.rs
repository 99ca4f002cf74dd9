//! The reference behind the engines' face: any input shape, f32 or f64.

use std::collections::BTreeMap;
use std::fmt;

use super::executor::Executor;
use super::gradients::Gradients;
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
    input: Array<T>,
    /// Of the last pass.
    outputs: Option<Outputs<T>>,
    gradients: Gradients<T>,
    velocities: BTreeMap<String, Vec<T>>,
    /// Passes forward before this engine was made, for each batch norm's counter.
    counts: BTreeMap<String, Array>,
    /// Passes forward since, which batch norms count.
    passes: u64,
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
            input: Array { shape: Vec::new(), data: Vec::new() },
            outputs: None,
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

    /// The statistics that batches move, as they are now.
    fn statistics(&self) -> Result<Vec<(ParameterId, Array<T>)>, RuntimeError> {
        let ids = self.graph.parameter_ids().into_values();
        let is_statistic = |id: &ParameterId| {
            let role = self.graph.parameter(*id).map(|parameter| &parameter.role);
            matches!(role, Some(Role::RunningMean | Role::RunningVariance))
        };
        ids.filter(is_statistic).map(|id| Ok((id, self.parameters.array(id)?))).collect()
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
        self.input = converted(&Array { shape: shape.to_vec(), data: input.to_vec() });
        self.outputs = Some(self.execute(|executor| executor.run(&self.input))?);
        self.passes += 1;
        Ok(())
    }

    fn output(&self, name: &str, numbers: &mut Vec<f32>) -> Result<(), RuntimeError> {
        let nothing = || RuntimeError::internal("", "an output is read before anything was run");
        let outputs = self.outputs.as_ref().ok_or_else(nothing)?;
        *numbers = converted::<T, f32>(&outputs.output(name)?).data;
        Ok(())
    }

    /// Runs forward once more, as nothing is kept of the last pass; statistics move only once.
    fn backward(&mut self, gradients: &[(&str, &[f32])]) -> Result<(), RuntimeError> {
        let wide = |numbers: &[f32]| numbers.iter().map(|number| T::of(f64::from(*number))).collect();
        let given: Vec<(&str, Vec<T>)> =
            gradients.iter().map(|(name, numbers)| (*name, wide(numbers))).collect();
        let given: Vec<(&str, &[T])> =
            given.iter().map(|(name, numbers)| (*name, numbers.as_slice())).collect();
        let statistics = self.statistics()?;
        self.gradients = self.execute(|executor| executor.forward(&self.input)?.backward(&given))?;
        statistics.into_iter().try_for_each(|(id, array)| self.parameters.set(id, &array))
    }

    fn gradient(&self, name: &str) -> Result<Option<Array>, RuntimeError> {
        Ok(self.gradients.parameters.get(name).map(converted))
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
                return Ok((name.to_owned(), converted(&self.parameters.array(id)?)));
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

fn converted<A: Element, B: Element>(array: &Array<A>) -> Array<B> {
    let data = array.data.iter().map(|number| B::of(number.wide())).collect();
    Array { shape: array.shape.clone(), data }
}
