//! The names that someone may have meant.

use std::cmp::Ordering;

use strsim::normalized_damerau_levenshtein;

/// A name that resembles another.
#[derive(Debug, Clone, PartialEq)]
pub struct Near {
    /// The name.
    pub name: String,
    /// Its tensor's shape.
    pub shape: Vec<usize>,
}

impl std::fmt::Display for Near {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` {:?}", self.name, self.shape)
    }
}

/// So many are named at most.
const MOST: usize = 3;
/// Names less alike than this do not help anybody.
const LEAST_ALIKE: f64 = 0.5;
/// Longer names are not compared: the time grows with the product of the lengths.
const LONGEST: usize = 160;

/// The few of `candidates` that are most like `name`; those of the same shape first.
pub(super) fn nearest<'c>(
    name: &str,
    shape: &[usize],
    candidates: impl Iterator<Item = (&'c str, &'c [usize])>,
) -> Vec<Near> {
    let mut scored: Vec<(bool, f64, &str, &[usize])> = Vec::new();
    if name.len() > LONGEST {
        return Vec::new();
    }
    for (candidate, other) in candidates.filter(|(candidate, _)| candidate.len() <= LONGEST) {
        let alike = normalized_damerau_levenshtein(name, candidate);
        if alike >= LEAST_ALIKE {
            scored.push((shape == other, alike, candidate, other));
        }
    }
    let better = |left: &(bool, f64, &str, &[usize]), right: &(bool, f64, &str, &[usize])| {
        right.0.cmp(&left.0).then(right.1.partial_cmp(&left.1).unwrap_or(Ordering::Equal))
    };
    scored.sort_by(better);
    let near = |(_, _, name, shape): (bool, f64, &str, &[usize])| Near {
        name: name.to_owned(),
        shape: shape.to_vec(),
    };
    scored.into_iter().take(MOST).map(near).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shapes_come_first() {
        let candidates = [("conv1.weights", &[4][..]), ("conv2.weight", &[3, 3]), ("other", &[3, 3])];
        let names: Vec<String> = nearest("conv1.weight", &[3, 3], candidates.into_iter())
            .into_iter()
            .map(|near| near.name)
            .collect();
        assert_eq!(names, ["conv2.weight", "conv1.weights"]);
    }
}
