//! The names that may have been meant, added to what cannot be explained.

use super::expected::Expected;
use super::nearest::nearest;
use super::problem::{Problem, Unexplained};
use super::table::Table;

/// Problems beyond these have no suggestions: nobody reads so many, and each takes a while.
const MOST: usize = 32;

impl Table {
    /// Adds to the first problems the names that resemble theirs: to tensors parameters that nothing fills, spelled as
    /// they would be in the file, and to parameters tensors that are unexplained.
    pub fn suggest(&self, unexplained: &mut Unexplained, expected: &[Expected]) {
        let Unexplained { beginning, problems, .. } = unexplained;
        let in_file = |parameter: &str| format!("{beginning}{}", self.spelled(parameter));
        let loose: Vec<(String, Vec<usize>)> = problems.iter().filter_map(Problem::loose).collect();
        let unfilled = problems.iter().filter_map(Problem::unfilled);
        let mut wanted: Vec<(String, Vec<usize>)> =
            unfilled.map(|(name, shape)| (in_file(name), shape.to_vec())).collect();
        if wanted.is_empty() && !loose.is_empty() {
            let all = expected.iter().map(|parameter| (in_file(&parameter.name), parameter.shape.clone()));
            wanted = all.collect();
        }
        for problem in problems.iter_mut().take(MOST) {
            match problem {
                Problem::Unexplained { foreign, shape, near, .. }
                | Problem::Unexpected { foreign, shape, near, .. } => {
                    *near = nearest(foreign, shape, borrowed(&wanted));
                }
                Problem::Missing { canonical, shape, near } => {
                    *near = nearest(&in_file(canonical), shape, borrowed(&loose));
                }
                _ => {}
            }
        }
    }

    /// A parameter's name in the dialect, or its own where no single tensor stands for it.
    fn spelled(&self, canonical: &str) -> String {
        self.foreign_name(canonical).unwrap_or_else(|| canonical.to_owned())
    }
}

fn borrowed(named: &[(String, Vec<usize>)]) -> impl Iterator<Item = (&str, &[usize])> {
    named.iter().map(|(name, shape)| (name.as_str(), shape.as_slice()))
}

impl Problem {
    /// A tensor that may stand for another parameter than it says.
    fn loose(&self) -> Option<(String, Vec<usize>)> {
        match self {
            Problem::Unexplained { foreign, shape, .. }
            | Problem::Unexpected { foreign, shape, .. }
            | Problem::Shadowed { foreign, shape, .. } => Some((foreign.clone(), shape.clone())),
            _ => None,
        }
    }

    /// A parameter that nothing fills.
    fn unfilled(&self) -> Option<(&str, &[usize])> {
        match self {
            Problem::Missing { canonical, shape, .. } | Problem::Default { canonical, shape, .. } => {
                Some((canonical, shape))
            }
            _ => None,
        }
    }
}
