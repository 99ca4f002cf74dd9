//! What is timed.

use std::time::Duration;

use super::settings::{Mode, Settings};
use engine::{Factors, Plan, Rule, RuntimeError, Training};
use network::graph::cost::costs;
use network::graph::{Graph, Role, Weights, rewrite};
use network::models::{Form, Model};

/// The rule of the steps that are timed.
const RULE: Rule = Rule::Sgd { momentum: 0.9, dampening: 0.0, nesterov: false };
/// Steps so small that weights stay what they are for as long as anybody measures.
const FACTORS: [Factors; 1] = [Factors { learning_rate: 1e-6, weight_decay: 1e-4 }];

/// A network that is ready to be timed.
pub(super) struct Work {
    plan: Plan,
    mode: Mode,
    /// Names of the outputs, each with a gradient where the plan trains.
    outputs: Vec<(String, Vec<f32>)>,
    result: Vec<f32>,
    input: Vec<f32>,
    pub(super) flops: u64,
    pub(super) weight_bytes: u64,
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
        let mut outputs = gradients(&graph);
        let weight_bytes = graph.parameters().iter().map(|parameter| 4 * parameter.elements() as u64).sum();
        let (plan, flops) = match mode {
            Mode::Inference => {
                outputs.iter_mut().for_each(|(_, gradient)| gradient.clear());
                (Plan::new(&graph, weights)?, forward)
            }
            // Gradients of inputs and of weights take as many operations as the way forward, each.
            Mode::Training => (Plan::training(&graph, &weights, &Training::all())?, 3 * forward),
        };
        let input = numbers().take(input.iter().product()).collect();
        Ok(Work { plan, mode, outputs, result: Vec::new(), input, flops, weight_bytes })
    }

    /// From the input's numbers to those of the outputs, or to changed weights.
    pub(super) fn run(&mut self) -> Result<(), RuntimeError> {
        let Work { plan, mode, outputs, result, input, .. } = self;
        plan.forward(input)?;
        match mode {
            Mode::Inference => outputs.iter().try_for_each(|(name, _)| plan.output(name, result)),
            Mode::Training => {
                plan.backward(&borrowed(outputs))?;
                plan.apply(&RULE, &FACTORS)
            }
        }
    }

    /// The same, showing operator, module and time of every step.
    pub(super) fn profile(
        &mut self,
        observer: impl FnMut(&'static str, &str, Duration) + Send,
    ) -> Result<(), RuntimeError> {
        let gradients = match self.mode {
            Mode::Inference => Vec::new(),
            Mode::Training => borrowed(&self.outputs),
        };
        self.plan.profile(&self.input, &gradients, observer)
    }

    /// Operators that have no kernel, one for each step.
    pub(super) fn without_kernel(&self) -> Vec<String> {
        self.plan.without_kernel().map(str::to_owned).collect()
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
