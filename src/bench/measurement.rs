//! One network, timed.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::memory::peak_memory;
use super::profile::{Profile, Times};
use super::quantiles::Quantiles;
use crate::graph::cost::costs;
use crate::graph::passes::deploy;
use crate::graph::{Graph, Role, Weights};
use crate::models::{Form, Model};
use crate::runtime::{Plan, RuntimeError, peak_flops};

/// How to measure.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// `[N, 3, H, W]`.
    pub input: [usize; 4],
    /// Timed runs.
    pub rounds: usize,
    /// Whether every step is timed as well, in as many runs more.
    pub profile: bool,
}

/// What a network took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Name of the network.
    pub network: String,
    /// `[N, 3, H, W]`.
    pub input: [usize; 4],
    /// Threads that worked.
    pub threads: usize,
    /// The instruction set of the kernels.
    pub instructions: String,
    /// Timed runs.
    pub rounds: usize,
    /// Seconds of a run, from the input's numbers to those of the outputs.
    pub seconds: Quantiles,
    /// By the median.
    pub images_per_second: f64,
    /// Operations of a run, counted in the deploy form as convolutions are defined, whatever kernels save.
    pub flops: u64,
    /// By the median.
    pub flops_per_second: f64,
    /// What the machine does at best with these threads, measured just now.
    pub peak_flops_per_second: f64,
    /// Bytes of the deploy form's weights.
    pub weight_bytes: u64,
    /// Largest resident memory of the process, in bytes, where the system tells.
    pub peak_memory: Option<u64>,
    /// Operators of which the plan has no kernel, one for each step.
    pub without_kernel: Vec<String>,
    /// Time by operator and module, if it was wanted.
    pub profile: Option<Profile>,
}

/// Runs before the clock counts.
const WARM_UP: usize = 3;
/// And at least this long, in which processors reach their frequency.
const WARM_UP_TIME: Duration = Duration::from_millis(300);

/// Operations are counted as the definition of a convolution has them. Winograd's F(2x2, 3x3) needs 16 multiplications
/// where that has 36 (arXiv 1509.09308), so that this much more than the machine's peak can be.
const WINOGRAD_SAVING: f64 = 36.0 / 16.0;

/// Times a network in its deploy form; by default its weights are noise of a usual size.
///
/// # Errors
/// An input size that the network cannot take, or weights that do not fit it.
pub fn measure(
    model: &Model,
    weights: Option<&Weights>,
    settings: Settings,
) -> Result<Measurement, RuntimeError> {
    let (graph, deployment) = deploy(&model.graph(Form::Inference, settings.input)?);
    let weights = match weights {
        Some(weights) => deployment.apply(weights)?,
        None => noise(&graph),
    };
    let flops = costs(&graph).first().map_or(0, |cost| cost.flops);
    let weight_bytes = graph.parameters().iter().map(|parameter| 4 * parameter.elements() as u64).sum();
    let mut plan = Plan::new(&graph, &weights)?;
    drop(weights);
    let names: Vec<String> = graph.outputs().iter().map(|(name, _)| name.clone()).collect();
    let input = picture(settings.input);
    let mut result = Vec::new();
    let mut run = |plan: &mut Plan| -> Result<Duration, RuntimeError> {
        let start = Instant::now();
        plan.run(&input)?;
        for name in &names {
            let _ = plan.output(name, &mut result); // every output is there
        }
        Ok(start.elapsed())
    };
    let begin = Instant::now();
    let mut warm_ups = 0;
    while warm_ups < WARM_UP || begin.elapsed() < WARM_UP_TIME {
        run(&mut plan)?;
        warm_ups += 1;
    }
    let times = (0..settings.rounds.max(1)).map(|_| run(&mut plan).map(|time| time.as_secs_f64()));
    let times = times.collect::<Result<Vec<f64>, RuntimeError>>()?;
    let zero = Quantiles { p10: 0.0, median: 0.0, p90: 0.0 };
    let seconds = Quantiles::of(&times).unwrap_or(zero);
    let peak_memory = peak_memory();
    let profile = settings.profile.then(|| profile(&mut plan, &input, settings.rounds)).transpose()?;
    Ok(Measurement {
        network: model.name(),
        input: settings.input,
        threads: rayon::current_num_threads(),
        instructions: plan.instructions().to_owned(),
        rounds: times.len(),
        seconds,
        images_per_second: settings.input[0] as f64 / seconds.median,
        flops,
        flops_per_second: flops as f64 / seconds.median,
        peak_flops_per_second: peak_flops(),
        weight_bytes,
        peak_memory,
        without_kernel: plan.without_kernel().map(str::to_owned).collect(),
        profile,
    })
}

fn profile(plan: &mut Plan, input: &[f32], rounds: usize) -> Result<Profile, RuntimeError> {
    let rounds = rounds.max(1);
    let mut times = Times::default();
    for _ in 0..rounds {
        plan.profile(input, |operator, module, time| times.add(operator, module, time))?;
    }
    Ok(times.finish(rounds))
}

/// Numbers in [-1, 1) without pattern, the same every time.
fn numbers() -> impl Iterator<Item = f32> {
    let mut state = 1_u32;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((state >> 8) as f32 / 8_388_608.0 - 1.0)
    })
}

fn picture(shape: [usize; 4]) -> Vec<f32> {
    numbers().take(shape.iter().product()).collect()
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

impl Measurement {
    /// What in it cannot be, so that the whole is not to be trusted.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.flops_per_second > WINOGRAD_SAVING * self.peak_flops_per_second {
            doubts.push(
                "more operations per second than the machine can do: its peak was measured while others worked"
                    .to_owned(),
            );
        }
        if self.peak_memory.is_some_and(|peak| peak < self.weight_bytes) {
            doubts.push("less memory than the weights alone need".to_owned());
        }
        if self.seconds.p90 > 2.0 * self.seconds.p10 {
            doubts.push("times differ by more than a factor of two: others use the machine".to_owned());
        }
        doubts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::preset;

    fn nanodet() -> Measurement {
        let settings = Settings { input: [2, 3, 64, 32], rounds: 3, profile: true };
        measure(&preset("nanodet-plus-m").unwrap().model(), None, settings).unwrap()
    }

    #[test]
    fn a_network_is_measured() {
        let found = nanodet();
        assert_eq!((found.network.as_str(), found.rounds), ("nanodet-plus-m", 3));
        assert!(found.seconds.median > 0.0 && found.seconds.p10 <= found.seconds.median);
        assert_eq!(found.images_per_second, 2.0 / found.seconds.median);
        // 1.524 GFLOPs at 416x416, of which this is 2 * 64 * 32 / 416^2.
        assert!((30_000_000..40_000_000).contains(&found.flops), "{}", found.flops);
        // 1,171,904 parameters and more in the deploy form.
        assert!((4_600_000..4_900_000).contains(&found.weight_bytes), "{}", found.weight_bytes);
        let profile = found.profile.unwrap();
        assert!(profile.operators.iter().any(|share| share.name == "depthwise convolution"));
        assert!(profile.modules.iter().any(|share| share.name == "backbone.stage2"));
    }

    #[test]
    fn what_cannot_be_is_called_so() {
        let sound = Measurement {
            seconds: Quantiles { p10: 0.9, median: 1.0, p90: 1.1 },
            flops_per_second: 1e9,
            peak_flops_per_second: 1e10,
            peak_memory: Some(10_000_000),
            ..nanodet()
        };
        assert_eq!(sound.doubts(), [""; 0]);
        let fast = Measurement { flops_per_second: 2.3e10, ..sound.clone() };
        assert!(fast.doubts().concat().contains("operations"));
        let small = Measurement { peak_memory: Some(1_000_000), ..sound.clone() };
        assert!(small.doubts().concat().contains("weights"));
        let noisy = Measurement { seconds: Quantiles { p90: 3.0, ..sound.seconds }, ..sound };
        assert!(noisy.doubts().concat().contains("factor of two"));
    }
}
