//! What is timed.

use std::time::Duration;

use super::settings::{Mode, Settings};
use engine::{Plan, RuntimeError, Sgd, TrainingPlan};
use network::graph::cost::costs;
use network::graph::{Graph, Role, Weights, rewrite};
use network::models::{Form, Model};

/// Steps so small that weights stay what they are for as long as anybody measures.
const SGD: Sgd =
    Sgd { learning_rate: 1e-6, momentum: 0.9, dampening: 0.0, weight_decay: 1e-4, nesterov: false };

/// A network that is ready to be timed.
pub(super) struct Work {
    plan: Compiled,
    input: Vec<f32>,
    pub(super) flops: u64,
    pub(super) weight_bytes: u64,
}

enum Compiled {
    Inference {
        plan: Box<Plan>,
        outputs: Vec<String>,
        result: Vec<f32>,
    },
    Training {
        plan: Box<TrainingPlan>,
        /// A gradient for every output.
        gradients: Vec<(String, Vec<f32>)>,
    },
}

impl Work {
    /// Compiles a network; by default its weights are noise of a usual size.
    pub(super) fn new(
        model: &Model,
        weights: Option<&Weights>,
        Settings { mode, input, until, .. }: Settings<'_>,
    ) -> Result<Work, RuntimeError> {
        let part = |graph: Graph| match until {
            Some(module) => rewrite::until(&graph, module),
            None => Ok(graph),
        };
        let (graph, weights) = match mode {
            Mode::Inference => {
                let (graph, deployment) = rewrite::deploy(&part(model.graph(Form::Inference, input)?)?);
                let weights = weights.map(|weights| deployment.apply(weights)).transpose()?;
                let weights = weights.unwrap_or_else(|| noise(&graph));
                (graph, weights)
            }
            Mode::Training => {
                let graph = part(model.graph(Form::Training, input)?)?;
                let weights = weights.cloned().unwrap_or_else(|| noise(&graph));
                (graph, weights)
            }
        };
        let forward = costs(&graph).first().map_or(0, |cost| cost.flops);
        let (plan, flops) = match mode {
            Mode::Inference => {
                let outputs = graph.outputs().iter().map(|(name, _)| name.clone()).collect();
                let plan = Box::new(Plan::new(&graph, weights)?);
                (Compiled::Inference { plan, outputs, result: Vec::new() }, forward)
            }
            Mode::Training => {
                let plan = Box::new(TrainingPlan::new(&graph, &weights)?);
                // Gradients of inputs and of weights take as many operations as the way forward, each.
                (Compiled::Training { plan, gradients: gradients(&graph) }, 3 * forward)
            }
        };
        let weight_bytes = graph.parameters().iter().map(|parameter| 4 * parameter.elements() as u64).sum();
        let input = numbers().take(input.iter().product()).collect();
        Ok(Work { plan, input, flops, weight_bytes })
    }

    /// From the input's numbers to those of the outputs, or to changed weights.
    pub(super) fn run(&mut self) -> Result<(), RuntimeError> {
        match &mut self.plan {
            Compiled::Inference { plan, outputs, result } => {
                plan.run(&self.input)?;
                for name in outputs {
                    let _ = plan.output(name, result); // every output is there
                }
            }
            Compiled::Training { plan, gradients } => {
                plan.forward(&self.input)?;
                plan.backward(&borrowed(gradients))?;
                plan.step(&SGD);
            }
        }
        Ok(())
    }

    /// The same, showing operator, module and time of every step.
    pub(super) fn profile(
        &mut self,
        observer: impl FnMut(&'static str, &str, Duration) + Send,
    ) -> Result<(), RuntimeError> {
        match &mut self.plan {
            Compiled::Inference { plan, .. } => plan.profile(&self.input, observer),
            Compiled::Training { plan, gradients } => {
                plan.profile(&self.input, &borrowed(gradients), observer)
            }
        }
    }

    /// Operators that have no kernel, one for each step.
    pub(super) fn without_kernel(&self) -> Vec<String> {
        match &self.plan {
            Compiled::Inference { plan, .. } => plan.without_kernel().map(str::to_owned).collect(),
            Compiled::Training { plan, .. } => plan.without_kernel().map(str::to_owned).collect(),
        }
    }
}

fn borrowed(gradients: &[(String, Vec<f32>)]) -> Vec<(&str, &[f32])> {
    gradients.iter().map(|(name, numbers)| (name.as_str(), numbers.as_slice())).collect()
}

/// Those of a mean: as small as there are many numbers.
fn gradients(graph: &Graph) -> Vec<(String, Vec<f32>)> {
    let gradient = |count: usize| numbers().take(count).map(|number| number / count as f32).collect();
    let elements = |value| graph.node(value).map_or(0, |node| node.shape.iter().product());
    graph.outputs().iter().map(|(name, value)| (name.clone(), gradient(elements(*value)))).collect()
}

/// Numbers in [-1, 1) without pattern, the same every time.
fn numbers() -> impl Iterator<Item = f32> {
    let mut state = 1_u32;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((state >> 8) as f32 / 8_388_608.0 - 1.0)
    })
}

/// Weights that keep the size of what goes through: kernels of He's variance, norms that change little.
fn noise(graph: &Graph) -> Weights {
    let mut numbers = numbers();
    Weights::fill(graph, |parameter| {
        let inputs: usize = parameter.shape.iter().skip(1).product();
        let (middle, width) = match parameter.role {
            Role::Kernel => (0.0, (6.0 / inputs.max(1) as f32).sqrt()),
            Role::NormWeight | Role::RunningVariance | Role::Scale => (1.0, 0.1),
            _ => (0.0, 0.1),
        };
        numbers.by_ref().take(parameter.elements()).map(|number| middle + width * number).collect()
    })
}
