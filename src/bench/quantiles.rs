//! What is kept of many times.

use serde::{Deserialize, Serialize};

/// Times of the same work, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// One in ten is shorter.
    pub p10: f64,
    /// Half are shorter.
    pub median: f64,
    /// One in ten is longer.
    pub p90: f64,
}

impl Quantiles {
    /// Of some times; `None` of none.
    pub fn of(seconds: &[f64]) -> Option<Quantiles> {
        let mut sorted = seconds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted.get((share * (sorted.len() - 1) as f64).round() as usize).copied();
        sorted.first()?;
        Some(Quantiles { p10: at(0.1)?, median: at(0.5)?, p90: at(0.9)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let seconds: Vec<f64> = (0..=10).rev().map(f64::from).collect();
        assert_eq!(Quantiles::of(&seconds), Some(Quantiles { p10: 1.0, median: 5.0, p90: 9.0 }));
        assert_eq!(Quantiles::of(&[3.0]).map(|one| one.p90), Some(3.0));
        assert_eq!(Quantiles::of(&[]), None);
    }
}
