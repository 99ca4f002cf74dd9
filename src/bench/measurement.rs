//! One network, timed.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::memory::peak_memory;
use super::profile::{Profile, Times};
use super::quantiles::Quantiles;
use super::settings::{Mode, Settings};
use super::work::Work;
use engine::{RuntimeError, instructions, peak_flops};
use network::graph::Weights;
use network::models::Model;

/// What a network took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Name of the network.
    pub network: String,
    /// What was timed.
    pub mode: Mode,
    /// `[N, 3, H, W]`.
    pub input: [usize; 4],
    /// The module at whose results the network ended.
    #[serde(default)]
    pub until: Option<String>,
    /// Threads that worked.
    pub threads: usize,
    /// The instruction set of the kernels.
    pub instructions: String,
    /// Timed runs.
    pub rounds: usize,
    /// Seconds of a run, from the input's numbers to those of the outputs or to changed weights.
    pub seconds: Quantiles,
    /// By the median.
    pub images_per_second: f64,
    /// Operations of a run, counted as convolutions are defined, whatever kernels save; three times those of the way
    /// forward in a training step.
    pub flops: u64,
    /// By the median.
    pub flops_per_second: f64,
    /// What the machine does at best with these threads, measured just now.
    pub peak_flops_per_second: f64,
    /// Bytes of the weights of the form that runs.
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

/// Operations are counted as the definition of a convolution has them. Winograd's F(4x4, 3x3) needs 36 multiplications
/// where that has 144 (arXiv 1509.09308), so that this much more than the machine's peak can be.
const WINOGRAD_SAVING: f64 = 144.0 / 36.0;

/// Times a network; by default its weights are noise of a usual size.
///
/// # Errors
/// An input size that the network cannot take, or weights that do not fit it.
pub fn measure(
    model: &Model,
    weights: Option<&Weights>,
    settings: Settings<'_>,
) -> Result<Measurement, RuntimeError> {
    let Settings { mode, input, until, .. } = settings;
    let mut work = Work::new(model, weights, settings)?;
    let begin = Instant::now();
    let mut warm_ups = 0;
    while warm_ups < WARM_UP || begin.elapsed() < WARM_UP_TIME {
        work.run()?;
        warm_ups += 1;
    }
    let rounds = settings.rounds.max(1);
    let times = (0..rounds).map(|_| timed(&mut work)).collect::<Result<Vec<f64>, RuntimeError>>()?;
    let zero = Quantiles { p10: 0.0, median: 0.0, p90: 0.0 };
    let seconds = Quantiles::of(&times).unwrap_or(zero);
    let peak_memory = peak_memory();
    let profile = settings.profile.then(|| profile(&mut work, rounds)).transpose()?;
    let [images, ..] = input;
    Ok(Measurement {
        network: model.name(),
        mode,
        input,
        until: until.map(str::to_owned),
        threads: rayon::current_num_threads(),
        instructions: instructions().to_owned(),
        rounds,
        seconds,
        images_per_second: images as f64 / seconds.median,
        flops: work.flops,
        flops_per_second: work.flops as f64 / seconds.median,
        peak_flops_per_second: peak_flops(),
        weight_bytes: work.weight_bytes,
        peak_memory,
        without_kernel: work.without_kernel(),
        profile,
    })
}

fn timed(work: &mut Work) -> Result<f64, RuntimeError> {
    let start = Instant::now();
    work.run()?;
    Ok(start.elapsed().as_secs_f64())
}

fn profile(work: &mut Work, rounds: usize) -> Result<Profile, RuntimeError> {
    let mut times = Times::default();
    for _ in 0..rounds {
        work.profile(|operator, module, time| times.add(operator, module, time))?;
    }
    Ok(times.finish(rounds))
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
    use network::models::preset;

    fn nanodet(mode: Mode) -> Measurement {
        let settings = Settings { mode, input: [2, 3, 64, 32], until: None, rounds: 3, profile: true };
        measure(&preset("nanodet-plus-m").unwrap().model(), None, settings).unwrap()
    }

    #[test]
    fn a_network_is_measured() {
        let found = nanodet(Mode::Inference);
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
    fn a_training_step_is_measured() {
        let found = nanodet(Mode::Training);
        assert!(found.seconds.median > 0.0 && found.profile.is_some());
        // With the auxiliary branch, three ways, and norms that are not folded.
        assert!(found.flops > 3 * nanodet(Mode::Inference).flops, "{}", found.flops);
        assert!(found.weight_bytes > 4 * 4_300_000, "{}", found.weight_bytes);
    }

    #[test]
    fn what_cannot_be_is_called_so() {
        let sound = Measurement {
            seconds: Quantiles { p10: 0.9, median: 1.0, p90: 1.1 },
            flops_per_second: 1e9,
            peak_flops_per_second: 1e10,
            peak_memory: Some(10_000_000),
            ..nanodet(Mode::Inference)
        };
        assert_eq!(sound.doubts(), [""; 0]);
        let fast = Measurement { flops_per_second: 4.1e10, ..sound.clone() };
        assert!(fast.doubts().concat().contains("operations"));
        let small = Measurement { peak_memory: Some(1_000_000), ..sound.clone() };
        assert!(small.doubts().concat().contains("weights"));
        let noisy = Measurement { seconds: Quantiles { p90: 3.0, ..sound.seconds }, ..sound };
        assert!(noisy.doubts().concat().contains("factor of two"));
    }
}
