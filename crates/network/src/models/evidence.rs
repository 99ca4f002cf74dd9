//! What the names and shapes of a checkpoint say about a configuration.

use std::collections::HashMap;
use std::hash::Hash;

/// Shapes of tensors by canonical name.
#[derive(Debug, Clone, Default)]
pub struct Shapes(HashMap<String, Vec<usize>>);

impl Shapes {
    /// Size of a tensor along an axis.
    pub fn size(&self, name: &str, axis: usize) -> Option<usize> {
        self.0.get(name)?.get(axis).copied()
    }

    /// How many names there are for `pattern` with 0, 1, 2, ... in place of `{}`; none is no evidence.
    pub fn count(&self, pattern: &str) -> Option<usize> {
        let present = |index: &usize| self.0.contains_key(&pattern.replace("{}", &index.to_string()));
        // One missing tensor must not hide those behind it.
        let gap = |index: &usize| present(index) || present(&(index + 1));
        Some((0..).take_while(gap).count()).filter(|count| *count > 0)
    }
}

impl<'a, S: Into<Vec<usize>>> FromIterator<(&'a str, S)> for Shapes {
    fn from_iter<I: IntoIterator<Item = (&'a str, S)>>(shapes: I) -> Self {
        Shapes(shapes.into_iter().map(|(name, shape)| (name.to_owned(), shape.into())).collect())
    }
}

/// The answer that most of the evidence gives; the first of equals.
pub fn vote<T: Copy + Eq + Hash>(evidence: impl IntoIterator<Item = Option<T>>) -> Option<T> {
    let mut order = Vec::new();
    let mut counts = HashMap::new();
    for answer in evidence.into_iter().flatten() {
        let count = counts.entry(answer).or_insert(0_usize);
        if *count == 0 {
            order.push(answer);
        }
        *count += 1;
    }
    let most = counts.values().copied().max()?;
    order.into_iter().find(|answer| counts.get(answer) == Some(&most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_decides_and_gaps_do_not_end_a_count() {
        assert_eq!(vote([Some(3), None, Some(4), Some(4)]), Some(4));
        assert_eq!(vote([Some(3), Some(4)]), Some(3));
        assert_eq!(vote::<usize>([None]), None);
        let shapes: Shapes = [("a.0.w", vec![1]), ("a.2.w", vec![2])].into_iter().collect();
        assert_eq!(shapes.count("a.{}.w"), Some(3));
        assert_eq!(shapes.count("b.{}.w"), None);
        assert_eq!(shapes.size("a.2.w", 0), Some(2));
    }
}
