//! From the weights of a file to the parameters of a network.
//!
//! Types and shapes are planned first, and every fault is collected; only a mapping without any touches data.

use std::collections::HashMap;

use converters::{Note, Tensor};

use super::array::Form;
use super::expected::Expected;
use super::expression::Variables;
use super::operation::Operation;
use super::plan::Plan;
use super::problem::{MappingError, Unexplained};
use super::rule::{Bundle, Side, convert};
use super::table::{Table, Taken};
use super::weights::Weights;

/// How the weights of a file become the parameters of a network: planned and without fault.
#[derive(Debug)]
pub struct Mapping {
    /// Which tensors become which.
    pub moves: Vec<Move>,
    /// Tensors of the file that are left behind, and why.
    pub dropped: Vec<Note>,
    /// Parameters that the file does not have, and why they may be filled.
    pub defaulted: Vec<Note>,
    /// Canonical names in the network's order.
    order: Vec<String>,
    steps: Vec<Step>,
    /// What the file does not have.
    defaults: Vec<Tensor>,
    variables: Variables,
}

/// One use of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Names on the foreign side.
    pub foreign: Vec<String>,
    /// Names on the canonical side.
    pub canonical: Vec<String>,
    /// What is done beside renaming; empty for nothing.
    pub operations: Vec<String>,
}

/// The tensors of one move.
#[derive(Debug)]
struct Step {
    operations: Vec<Operation>,
    sources: Vec<Tensor>,
    canonical: Vec<String>,
}

impl Mapping {
    /// The parameters under their canonical names, in the network's order. Nothing is read but what has to be
    /// joined, reordered or cast.
    ///
    /// # Errors
    /// When data cannot be read, or a cast would change a value.
    pub fn tensors(&self) -> Result<Vec<Tensor>, MappingError> {
        let mut tensors = HashMap::with_capacity(self.order.len());
        for step in &self.steps {
            let converted = convert(&step.operations, Side::Foreign, step.sources.clone(), &self.variables)?;
            let named = step.canonical.iter().zip(converted);
            tensors.extend(named.map(|(name, tensor)| (name.as_str(), tensor.named(name))));
        }
        tensors.extend(self.defaults.iter().map(|tensor| (tensor.name(), tensor.clone())));
        Ok(self.order.iter().filter_map(|name| tensors.remove(name.as_str())).collect())
    }
}

impl Table {
    /// How the weights become the parameters that are expected, each under its canonical name and in its shape.
    ///
    /// Every tensor is explained: it becomes a parameter, or a drop says why not. Every parameter is filled: by a
    /// tensor, or by a default that says why. Where the table is about a part of a network, only that is filled.
    ///
    /// # Errors
    /// All tensors and parameters of which that is not true; [`Table::suggest`] adds what may have been meant.
    pub fn apply(
        &self,
        weights: &Weights<'_>,
        expected: &[Expected],
        variables: &Variables,
    ) -> Result<Mapping, MappingError> {
        let gathered = &weights.gathered;
        let mut plan = Plan::new(self, weights, expected, variables);
        gathered.bundles.iter().for_each(|(bundle, members)| plan.convert(bundle, members));
        plan.add_loose(gathered);
        let defaults = plan.fill();
        if !plan.problems.is_empty() {
            let (table, beginning) = (self.name(), weights.beginning.clone());
            return Err(MappingError::Unexplained(Unexplained { table, beginning, problems: plan.problems }));
        }
        let note = |name: &str, reason: &str| Note { name: name.to_owned(), reason: reason.to_owned() };
        let dropped = gathered.dropped.iter();
        let dropped =
            dropped.filter_map(|(index, reason)| Some(note(&weights.tensors.get(*index)?.0, reason)));
        let steps =
            gathered.bundles.iter().filter_map(|(bundle, members)| self.step(weights, bundle, members));
        Ok(Mapping {
            moves: gathered.bundles.iter().map(|(bundle, _)| self.describe(bundle)).collect(),
            dropped: dropped.collect(),
            defaulted: defaults.iter().map(|(one, default)| note(one.name(), default.reason())).collect(),
            order: expected.iter().map(|parameter| parameter.name.clone()).collect(),
            steps: steps.collect(),
            defaults: defaults.into_iter().map(|(tensor, _)| tensor).collect(),
            variables: variables.clone(),
        })
    }

    fn step(&self, weights: &Weights<'_>, bundle: &Bundle, members: &[usize]) -> Option<Step> {
        let sources = members.iter().filter_map(|index| weights.tensors.get(*index));
        let sources = sources.map(|(_, tensor)| (*tensor).clone()).collect();
        Some(Step {
            operations: self.rules.get(bundle.rule)?.operations.clone(),
            sources,
            canonical: bundle.canonical.clone(),
        })
    }

    /// Canonical names with types and shapes, as far as the table can tell without knowing the network: what a
    /// network is recognised by. Tensors whose operations need its figures are left out.
    pub fn canonical_forms(&self, weights: &Weights<'_>) -> Vec<(String, Form)> {
        let gathered = &weights.gathered;
        let mut forms = Vec::new();
        for (bundle, members) in &gathered.bundles {
            let Some(rule) = self.rules.get(bundle.rule) else { continue };
            let arrays = weights.forms(members);
            if let Ok(converted) = rule.convert(Side::Foreign, arrays, &Variables::new()) {
                forms.extend(bundle.canonical.iter().cloned().zip(converted));
            }
        }
        forms
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

#[cfg(test)]
mod tests {
    use converters::Dtype;

    use super::*;
    use crate::mapping::{Problem, sample};

    fn expected(name: &str, shape: &[usize]) -> Expected {
        Expected { name: name.to_owned(), shape: shape.to_vec(), dtype: Dtype::F32, constant: None }
    }

    fn counting(name: &str, shape: &[usize]) -> Tensor {
        let values: Vec<f64> = (0..shape.iter().product::<usize>()).map(|value| value as f64).collect();
        Tensor::from_values(name, Dtype::F32, shape, &values).unwrap()
    }

    fn apply(table: &Table, tensors: &[Tensor], expected: &[Expected]) -> Result<Mapping, Vec<Problem>> {
        let variables = [("classes".to_owned(), 2)].into();
        let weights = table.choose(tensors, None).unwrap();
        table.apply(&weights, expected, &variables).map_err(|error| match error {
            MappingError::Unexplained(mut all) => {
                table.suggest(&mut all, expected);
                all.problems
            }
            other => panic!("{other}"),
        })
    }

    fn network() -> Vec<Expected> {
        vec![
            expected("head.cls.weight", &[2, 3]),
            expected("head.reg.weight", &[4, 3]),
            expected("stem.w", &[3, 2]),
        ]
    }

    fn split_table() -> Table {
        let lines = "[[rule]]
             foreign = 'head.{of}'
             canonical = ['head.cls.{of}', 'head.reg.{of}']
             op = { split = { axis = 0, sizes = ['classes', 4] } }
             [[rule]]
             foreign = 'body.0.{of}'
             canonical = 'stem.{of}'
             op = [{ transpose = [1, 0] }]
             [[drop]]
             foreign = '{any..}.count'
             reason = 'not used'
             [[default]]
             canonical = 'bins'
             value = 'model'
             reason = 'a constant'";
        sample::table(lines).unwrap()
    }

    #[test]
    fn tensors_are_renamed_split_and_turned() {
        let tensors =
            [counting("head.weight", &[6, 3]), counting("body.0.w", &[2, 3]), counting("a.count", &[])];
        let mut network = network();
        network.push(Expected { constant: Some(vec![0.0, 1.0]), ..expected("bins", &[2]) });
        let mapping = apply(&split_table(), &tensors, &network).unwrap();
        let mapped = mapping.tensors().unwrap();
        let names: Vec<&str> = mapped.iter().map(Tensor::name).collect();
        assert_eq!(names, ["head.cls.weight", "head.reg.weight", "stem.w", "bins"]);
        assert_eq!(mapped[1].bytes().unwrap(), tensors[0].bytes().unwrap()[24..]);
        assert_eq!((mapped[2].shape(), mapped[3].elements()), (&[3, 2][..], 2));
        assert_eq!(
            (mapping.dropped[0].name.as_str(), mapping.defaulted[0].name.as_str()),
            ("a.count", "bins")
        );
        assert_eq!(mapping.moves[1].operations, ["transpose [1, 0]"]);
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let tensors = [
            counting("head.weight", &[7, 3]),
            counting("body.0.w", &[3, 2]),
            counting("body.0.v", &[3, 1]),
            counting("nek.x", &[5]),
            counting("body.0.w", &[2, 3]),
        ];
        let mut network = network();
        network.extend([expected("stem.x", &[5]), expected("bins", &[2])]);
        let problems = apply(&split_table(), &tensors, &network).unwrap_err();
        let kinds: Vec<(&str, &str)> = problems.iter().map(|one| (one.kind(), one.name())).collect();
        let wanted = [
            ("operation", "head.weight"),
            ("shape", "body.0.w"),
            ("unexpected", "body.0.v"),
            ("unexplained", "nek.x"),
            ("duplicate", "body.0.w"),
            ("missing", "stem.x"),
            ("default", "bins"),
        ];
        assert_eq!(kinds, wanted);
        assert!(problems[1].to_string().ends_with("one is the other transposed"), "{}", problems[1]);
        // The dialect's own name for the parameter that nothing fills.
        assert_eq!(problems[2].near()[0].name, "body.0.x");
    }

    #[test]
    fn tensors_that_belong_together_must_all_be_there() {
        let lines = "[[rule]]
             foreign = ['q.{of}', 'k.{of}']
             canonical = 'qk.{of}'
             op = { concat = { axis = 0, sizes = [1, 2] } }";
        let table = sample::table(lines).unwrap();
        let (query, key) = (counting("q.w", &[1, 2]), counting("k.w", &[2, 2]));
        let network = [expected("qk.w", &[3, 2])];
        let mapping = apply(&table, &[key, query.clone()], &network).unwrap();
        assert_eq!(mapping.tensors().unwrap()[0].shape(), [3, 2]);
        let problems = apply(&table, &[query], &network).unwrap_err();
        assert_eq!(problems[0].to_string(), "`qk.w` needs `k.w` beside `q.w`");
    }

    #[test]
    fn huge_defaults_are_not_made() {
        let table = sample::table(
            "[[rule]]
             foreign = 'a'
             canonical = 'a'
             [[default]]
             canonical = '{b}'
             value = 'zeros'
             reason = ''",
        );
        let network = [expected("a", &[1]), expected("b", &[usize::MAX, 4])];
        let problems = apply(&table.unwrap(), &[counting("a", &[1])], &network).unwrap_err();
        assert_eq!(problems[0].kind(), "default");
    }
}
