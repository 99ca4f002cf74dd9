//! Where the time goes.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The time of all steps of some kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// An operator, or the path of a module.
    pub name: String,
    /// Steps in a run.
    pub steps: usize,
    /// Seconds in a run, the mean of the rounds.
    pub seconds: f64,
}

/// The time of a run by operator and by module, the longest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// By operator.
    pub operators: Vec<Share>,
    /// By module, down to two parts of its path.
    pub modules: Vec<Share>,
}

/// Parts of a module's path that are told apart.
const DEPTH: usize = 2;

/// Times that are still being added up.
#[derive(Debug, Default)]
pub(super) struct Times {
    operators: HashMap<String, (usize, Duration)>,
    modules: HashMap<String, (usize, Duration)>,
}

impl Times {
    /// Adds a step of `operator` in `module`.
    pub(super) fn add(&mut self, operator: &str, module: &str, time: Duration) {
        let parts: Vec<&str> = module.split('.').take(DEPTH).collect();
        let entries = [
            self.operators.entry(operator.to_owned()).or_default(),
            self.modules.entry(parts.join(".")).or_default(),
        ];
        for (steps, total) in entries {
            *steps += 1;
            *total += time;
        }
    }

    /// The means of so many rounds.
    pub(super) fn finish(self, rounds: usize) -> Profile {
        let rounds = rounds.max(1);
        let shares = |times: HashMap<String, (usize, Duration)>| {
            let share = |(name, (steps, total)): (String, (usize, Duration))| Share {
                name,
                steps: steps / rounds,
                seconds: total.as_secs_f64() / rounds as f64,
            };
            let mut shares: Vec<Share> = times.into_iter().map(share).collect();
            shares.sort_by(|a, b| b.seconds.total_cmp(&a.seconds).then_with(|| a.name.cmp(&b.name)));
            shares
        };
        Profile { operators: shares(self.operators), modules: shares(self.modules) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_add_up_by_operator_and_by_module() {
        let mut times = Times::default();
        for _ in 0..2 {
            times.add("convolution", "backbone.stage2.0.branch1", Duration::from_millis(3));
            times.add("convolution", "head", Duration::from_millis(1));
            times.add("copy", "backbone.stage2.1", Duration::from_millis(2));
        }
        let share = |name: &str, steps, seconds| Share { name: name.to_owned(), steps, seconds };
        let profile = times.finish(2);
        assert_eq!(profile.operators, [share("convolution", 2, 0.004), share("copy", 1, 0.002)]);
        assert_eq!(profile.modules, [share("backbone.stage2", 2, 0.005), share("head", 1, 0.001)]);
    }
}
