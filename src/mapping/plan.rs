//! The comparison of a file's weights with what a network expects, by types and shapes alone.

use std::collections::{HashMap, HashSet};

use converters::Tensor;

use super::array::Form;
use super::expected::Expected;
use super::expression::Variables;
use super::gather::{Gathered, Loose};
use super::problem::Problem;
use super::rule::{Bundle, Side};
use super::table::{DefaultRule, Table};
use super::weights::Weights;

/// What was compared so far, and every fault that was found.
pub(super) struct Plan<'a> {
    table: &'a Table,
    weights: &'a Weights<'a>,
    expected: &'a [Expected],
    by_name: HashMap<&'a str, &'a Expected>,
    variables: &'a Variables,
    /// Parameters that a tensor stands for, be it of a wrong shape.
    met: HashSet<&'a str>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        table: &'a Table,
        weights: &'a Weights<'a>,
        expected: &'a [Expected],
        variables: &'a Variables,
    ) -> Self {
        let by_name = expected.iter().map(|parameter| (parameter.name.as_str(), parameter)).collect();
        Plan { table, weights, expected, by_name, variables, met: HashSet::new(), problems: Vec::new() }
    }

    /// Plans one use of a rule.
    pub(super) fn convert(&mut self, bundle: &Bundle, members: &[usize]) {
        let Some(rule) = self.table.rules.get(bundle.rule) else { return };
        let forms = self.weights.forms(members);
        let first = members.first().and_then(|index| self.weights.tensors.get(*index));
        let foreign = first.map(|(_, tensor)| tensor.name().to_owned()).unwrap_or_default();
        let shape = forms.first().map(|form| form.shape.clone()).unwrap_or_default();
        match rule.convert(Side::Foreign, forms, self.variables) {
            Ok(converted) => {
                let named = bundle.canonical.iter().zip(converted);
                named.for_each(|(canonical, form)| self.compare(&foreign, canonical, form, &shape));
            }
            Err(error) => {
                let known = bundle.canonical.iter().filter_map(|name| self.by_name.get(name.as_str()));
                self.met.extend(known.map(|parameter| parameter.name.as_str()));
                let canonical = bundle.canonical.clone();
                self.problems.push(Problem::Operation { foreign, shape, canonical, error });
            }
        }
    }

    fn compare(&mut self, foreign: &str, canonical: &str, form: Form, shape: &[usize]) {
        let (foreign, canonical) = (foreign.to_owned(), canonical.to_owned());
        let Some(parameter) = self.by_name.get(canonical.as_str()) else {
            let (shape, near) = (shape.to_vec(), Vec::new());
            self.problems.push(Problem::Unexpected { foreign, shape, canonical, near });
            return;
        };
        self.met.insert(&parameter.name);
        // A counter may be of any type: nothing reads it.
        if parameter.dtype.is_float() && !form.dtype.is_float() {
            let (found, expected) = (form.dtype, parameter.dtype);
            self.problems.push(Problem::Type { foreign, canonical, found, expected });
        } else if form.shape != parameter.shape {
            let (found, expected) = (form.shape, parameter.shape.clone());
            let is_transposed = is_transposed(&found, &expected);
            self.problems.push(Problem::Shape { foreign, canonical, found, expected, is_transposed });
        }
    }

    /// Tensors that no rule could place.
    pub(super) fn add_loose(&mut self, gathered: &Gathered) {
        for (index, loose) in &gathered.loose {
            let Some((_, tensor)) = self.weights.tensors.get(*index) else { continue };
            let (foreign, shape) = (tensor.name().to_owned(), tensor.shape().to_vec());
            let canonical = |bundle: &Bundle| bundle.canonical.join("`, `");
            self.problems.push(match loose {
                Loose::Nothing | Loose::Absent => Problem::Unexplained { foreign, shape, near: Vec::new() },
                Loose::Shadowed(bundle) => Problem::Shadowed { foreign, shape, canonical: canonical(bundle) },
                Loose::Duplicate => Problem::Duplicate { foreign },
                Loose::Incomplete { bundle, missing } => {
                    let (canonical, missing) = (bundle.canonical.clone(), missing.clone());
                    Problem::Incomplete { canonical, present: foreign, missing }
                }
            });
        }
    }

    /// Parameters without a tensor: filled by default, or missing.
    pub(super) fn fill(&mut self) -> Vec<(Tensor, &'a DefaultRule)> {
        let mut defaults = Vec::new();
        for parameter in self.expected {
            if self.met.contains(parameter.name.as_str()) || !self.table.fills(&parameter.name) {
                continue;
            }
            let (canonical, shape) = (parameter.name.clone(), parameter.shape.clone());
            let default = self.table.default_of(&canonical);
            match default.and_then(|default| Some((default.tensor(parameter)?, default))) {
                Some(filled) => defaults.push(filled),
                None => self.problems.push(match default {
                    Some(default) => Problem::Default { canonical, shape, value: default.value.to_string() },
                    None => Problem::Missing { canonical, shape, near: Vec::new() },
                }),
            }
        }
        defaults
    }
}

/// Whether the shapes have the same sizes in another order.
fn is_transposed(one: &[usize], other: &[usize]) -> bool {
    let sorted = |shape: &[usize]| {
        let mut sorted = shape.to_vec();
        sorted.sort_unstable();
        sorted
    };
    one != other && sorted(one) == sorted(other)
}
