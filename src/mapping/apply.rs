//! From the weights of a file to the parameters of a network.
//!
//! Types and shapes are planned first, and every fault is collected; only a plan without any touches data.

use std::collections::{HashMap, HashSet};

use converters::{Note, Tensor};

use super::array::Form;
use super::expression::Variables;
use super::gather::{Gathered, Loose, gather};
use super::nearest::nearest;
use super::problem::{MappingError, Problem, Unexplained};
use super::root::Weights;
use super::rule::{Bundle, Side};
use super::table::{Default, Filling, Table, Taken};

/// A parameter or buffer that a network has.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// Its canonical name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, where the network states them: a constant rather than a weight.
    pub constant: Option<Vec<f64>>,
}

/// Weights under canonical names.
#[derive(Debug)]
pub struct Mapping {
    /// A tensor for each parameter expected, in that order.
    pub tensors: Vec<Tensor>,
    /// Which tensors became which.
    pub moves: Vec<Move>,
    /// Tensors of the file that were left behind, and why.
    pub dropped: Vec<Note>,
    /// Parameters that the file does not have, and why they may be filled.
    pub defaulted: Vec<Note>,
}

/// One use of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Names on the foreign side.
    pub foreign: Vec<String>,
    /// Names on the canonical side.
    pub canonical: Vec<String>,
    /// What was done beside renaming; empty for nothing.
    pub operations: Vec<String>,
}

impl Table {
    /// The weights as the parameters that are expected, each under its canonical name and in its shape.
    ///
    /// Every tensor is explained: it becomes a parameter, or a drop says why not. Every parameter is filled: by a
    /// tensor, or by a default that says why.
    ///
    /// # Errors
    /// All tensors and parameters of which that is not true, with the names that may have been meant; or data that
    /// cannot be read.
    pub fn apply(
        &self,
        weights: &Weights<'_>,
        expected: &[Expected],
        variables: &Variables,
    ) -> Result<Mapping, MappingError> {
        let gathered = gather(self, Side::Foreign, weights.tensors.iter().map(|(name, _)| name.as_str()));
        let mut plan = Plan::new(self, weights, expected, variables);
        let conversions: Vec<&(Bundle, Vec<usize>)> =
            gathered.bundles.iter().filter(|(bundle, members)| plan.convert(bundle, members)).collect();
        plan.add_loose(&gathered);
        let defaults = plan.fill();
        plan.suggest();
        if !plan.problems.is_empty() {
            let (table, beginning) = (self.name(), weights.beginning.clone());
            let problems = plan.problems;
            return Err(MappingError::Unexplained(Unexplained { table, beginning, problems }));
        }
        let mut tensors = self.tensors(weights, &conversions, variables)?;
        for (parameter, default) in &defaults {
            tensors.insert(parameter.name.clone(), default.tensor(parameter)?);
        }
        let note = |name: &str, reason: &str| Note { name: name.to_owned(), reason: reason.to_owned() };
        let dropped = gathered
            .dropped
            .iter()
            .filter_map(|(index, drop)| Some(note(&weights.tensors.get(*index)?.0, drop.reason())));
        Ok(Mapping {
            tensors: expected.iter().filter_map(|parameter| tensors.remove(&parameter.name)).collect(),
            moves: conversions.iter().map(|(bundle, _)| self.describe(bundle)).collect(),
            dropped: dropped.collect(),
            defaulted: defaults.iter().map(|(one, default)| note(&one.name, default.reason())).collect(),
        })
    }

    /// Canonical names with types and shapes, as far as the table can tell without knowing the network: what a
    /// network is recognised by. Tensors whose operations need its figures are left out.
    pub fn canonical_forms(&self, weights: &Weights<'_>) -> Vec<(String, Form)> {
        let gathered = gather(self, Side::Foreign, weights.tensors.iter().map(|(name, _)| name.as_str()));
        let mut forms = Vec::new();
        for (bundle, members) in &gathered.bundles {
            let Some(rule) = self.rules.get(bundle.rule) else { continue };
            let arrays = forms_of(weights, members);
            if let Ok(converted) = rule.convert(Side::Foreign, arrays, &Variables::new()) {
                forms.extend(bundle.canonical.iter().cloned().zip(converted));
            }
        }
        forms
    }

    fn tensors(
        &self,
        weights: &Weights<'_>,
        conversions: &[&(Bundle, Vec<usize>)],
        variables: &Variables,
    ) -> Result<HashMap<String, Tensor>, MappingError> {
        let mut tensors = HashMap::new();
        for (bundle, members) in conversions {
            let Some(rule) = self.rules.get(bundle.rule) else { continue };
            let arrays = members.iter().filter_map(|index| weights.tensors.get(*index));
            let arrays = arrays.map(|(_, tensor)| (*tensor).clone()).collect();
            let converted = rule.convert(Side::Foreign, arrays, variables)?;
            let named = bundle.canonical.iter().zip(converted);
            tensors.extend(named.map(|(name, tensor)| (name.clone(), tensor.named(name))));
        }
        Ok(tensors)
    }

    pub(super) fn describe(&self, bundle: &Bundle) -> Move {
        let operations = self.rules.get(bundle.rule).map(|rule| rule.operations.as_slice());
        Move {
            foreign: bundle.foreign.clone(),
            canonical: bundle.canonical.clone(),
            operations: operations.unwrap_or_default().iter().map(ToString::to_string).collect(),
        }
    }

    /// What the dialect calls a parameter, as far as one tensor stands for it.
    pub(super) fn foreign_name(&self, canonical: &str) -> Option<String> {
        match self.take(Side::Canonical, canonical) {
            Taken::Rule(mut bundle) if bundle.foreign.len() == 1 => bundle.foreign.pop(),
            _ => None,
        }
    }
}

fn forms_of(weights: &Weights<'_>, members: &[usize]) -> Vec<Form> {
    let tensors = members.iter().filter_map(|index| weights.tensors.get(*index));
    tensors.map(|(_, tensor)| Form::of(tensor)).collect()
}

impl Default {
    fn values(&self, parameter: &Expected) -> Option<Vec<f64>> {
        let count = parameter.shape.iter().product();
        let values = match &self.value {
            Filling::Zeros => vec![0.0; count],
            Filling::Ones => vec![1.0; count],
            Filling::Values(values) => values.clone(),
            Filling::Model => parameter.constant.clone()?,
        };
        (values.len() == count).then_some(values)
    }

    fn tensor(&self, parameter: &Expected) -> Result<Tensor, MappingError> {
        let values = self.values(parameter).unwrap_or_default();
        let tensor = Tensor::from_values(&parameter.name, self.dtype, &parameter.shape, &values);
        tensor.map_err(|error| MappingError::Data(error.into()))
    }
}

/// The comparison of what there is with what is expected.
struct Plan<'a> {
    table: &'a Table,
    weights: &'a Weights<'a>,
    expected: &'a [Expected],
    by_name: HashMap<&'a str, &'a Expected>,
    variables: &'a Variables,
    /// Parameters that a tensor stands for, be it of a wrong shape.
    met: HashSet<&'a str>,
    problems: Vec<Problem>,
}

impl<'a> Plan<'a> {
    fn new(
        table: &'a Table,
        weights: &'a Weights<'a>,
        expected: &'a [Expected],
        variables: &'a Variables,
    ) -> Self {
        let by_name = expected.iter().map(|parameter| (parameter.name.as_str(), parameter)).collect();
        Plan { table, weights, expected, by_name, variables, met: HashSet::new(), problems: Vec::new() }
    }

    /// Plans one use of a rule; `false` when something is wrong with it.
    fn convert(&mut self, bundle: &Bundle, members: &[usize]) -> bool {
        let Some(rule) = self.table.rules.get(bundle.rule) else { return false };
        let forms = forms_of(self.weights, members);
        let foreign = bundle.foreign.first().cloned().unwrap_or_default();
        let shape = forms.first().map(|form| form.shape.clone()).unwrap_or_default();
        let before = self.problems.len();
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
        self.problems.len() == before
    }

    fn compare(&mut self, foreign: &str, canonical: &str, form: Form, shape: &[usize]) {
        let (foreign, canonical) = (foreign.to_owned(), canonical.to_owned());
        let Some(parameter) = self.by_name.get(canonical.as_str()) else {
            let (shape, near) = (shape.to_vec(), Vec::new());
            self.problems.push(Problem::Unexpected { foreign, shape, canonical, near });
            return;
        };
        self.met.insert(&parameter.name);
        if form.shape != parameter.shape {
            let (found, expected) = (form.shape, parameter.shape.clone());
            let is_transposed = is_transposed(&found, &expected);
            self.problems.push(Problem::Shape { foreign, canonical, found, expected, is_transposed });
        }
    }

    /// Tensors that no rule could place.
    fn add_loose(&mut self, gathered: &Gathered<'_>) {
        for (index, loose) in &gathered.loose {
            let Some((foreign, tensor)) = self.weights.tensors.get(*index) else { continue };
            let (foreign, shape) = (foreign.clone(), tensor.shape().to_vec());
            let canonical = |bundle: &Bundle| bundle.canonical.join("`, `");
            self.problems.push(match loose {
                Loose::Nothing => Problem::Unexplained { foreign, shape, near: Vec::new() },
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
    fn fill(&mut self) -> Vec<(&'a Expected, &'a Default)> {
        let mut defaults = Vec::new();
        for parameter in self.expected {
            if self.met.contains(parameter.name.as_str()) {
                continue;
            }
            let (canonical, shape) = (parameter.name.clone(), parameter.shape.clone());
            match self.table.default_of(&canonical) {
                Some(default) if default.values(parameter).is_some() => defaults.push((parameter, default)),
                Some(default) => {
                    let value = default.value.to_string();
                    self.problems.push(Problem::Default { canonical, shape, value });
                }
                None => self.problems.push(Problem::Missing { canonical, shape, near: Vec::new() }),
            }
        }
        defaults
    }

    /// Adds the names that may have been meant, to the problems that people will read.
    fn suggest(&mut self) {
        const MOST: usize = 32;
        let foreign = |parameter: &Expected| {
            let name = self.table.foreign_name(&parameter.name).unwrap_or_else(|| parameter.name.clone());
            (name, parameter.shape.clone())
        };
        let missing = self.expected.iter().filter(|parameter| !self.met.contains(parameter.name.as_str()));
        let mut wanted: Vec<(String, Vec<usize>)> = missing.map(foreign).collect();
        let loose: Vec<(String, Vec<usize>)> = self.problems.iter().filter_map(Problem::loose).collect();
        if wanted.is_empty() && !loose.is_empty() {
            wanted = self.expected.iter().map(foreign).collect();
        }
        let table = self.table;
        for problem in self.problems.iter_mut().take(MOST) {
            match problem {
                Problem::Unexplained { foreign, shape, near, .. }
                | Problem::Unexpected { foreign, shape, near, .. } => {
                    *near = nearest(foreign, shape, borrowed(&wanted));
                }
                Problem::Missing { canonical, shape, near } => {
                    let name = table.foreign_name(canonical).unwrap_or_else(|| canonical.clone());
                    *near = nearest(&name, shape, borrowed(&loose));
                }
                _ => {}
            }
        }
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
