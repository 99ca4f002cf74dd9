//! Whether a table serves a network: proved by names and shapes alone, without any file.

use std::collections::{BTreeMap, BTreeSet};

use super::apply::Move;
use super::array::Form;
use super::expected::Expected;
use super::expression::Variables;
use super::gather::{Gathered, Loose, gather};
use super::problem::{MappingError, Problem, Unexplained};
use super::rule::Side;
use super::table::Table;

/// How a table serves a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Foreign names and forms of all parameters that the dialect has.
    pub foreign: Vec<(String, Form)>,
    /// Parameters that the dialect does not have and a default fills.
    pub defaulted: BTreeSet<String>,
    /// The rules that were used, by position, each with the first parameters that it took.
    pub used: BTreeMap<usize, Move>,
}

impl Table {
    /// Takes every parameter to the dialect and back again: each has one place there, no two share one, and it
    /// comes back under its own name and in its own form. Parameters without a place must have a default. Where the
    /// table is about a part of a network, that is true of the part.
    ///
    /// # Errors
    /// Every parameter of which that is not true.
    pub fn cover(&self, expected: &[Expected], variables: &Variables) -> Result<Coverage, MappingError> {
        let there = gather(self, Side::Canonical, expected.iter().map(|parameter| parameter.name.as_str()));
        let mut problems = Vec::new();
        let mut coverage =
            Coverage { foreign: Vec::new(), defaulted: BTreeSet::new(), used: self.used_rules(&there) };
        // Parameters without a place there: what no default fills does not come back, and is reported then.
        for (index, loose) in &there.loose {
            let parameter = expected.get(*index).filter(|_| !matches!(loose, Loose::Duplicate));
            let parameter = parameter.filter(|parameter| self.fills(&parameter.name));
            let default = parameter.and_then(|one| Some((one, self.default_of(&one.name)?)));
            if let Some((parameter, _)) = default.filter(|(one, default)| default.tensor(one).is_some()) {
                coverage.defaulted.insert(parameter.name.clone());
            }
        }
        let forms: Vec<Form> = expected
            .iter()
            .map(|parameter| Form { dtype: parameter.dtype, shape: parameter.shape.clone() })
            .collect();
        coverage.foreign = self.carry(Side::Canonical, &there, &forms, variables, &mut problems);
        let names = coverage.foreign.iter().map(|(name, _)| name.as_str());
        let back = gather(self, Side::Foreign, names);
        let forms: Vec<Form> = coverage.foreign.iter().map(|(_, form)| form.clone()).collect();
        let returned = self.carry(Side::Foreign, &back, &forms, variables, &mut problems);
        let returned: BTreeMap<String, Form> = returned.into_iter().collect();
        let to_return = |name: &str| self.fills(name) && !coverage.defaulted.contains(name);
        for parameter in expected.iter().filter(|one| to_return(&one.name)) {
            let form = returned.get(&parameter.name);
            if form.is_none_or(|form| form.shape != parameter.shape || form.dtype != parameter.dtype) {
                problems.push(missing(parameter));
            }
        }
        if problems.is_empty() {
            return Ok(coverage);
        }
        Err(MappingError::Unexplained(Unexplained { table: self.name(), beginning: String::new(), problems }))
    }

    fn used_rules(&self, gathered: &Gathered) -> BTreeMap<usize, Move> {
        let mut used = BTreeMap::new();
        for (bundle, _) in &gathered.bundles {
            used.entry(bundle.rule).or_insert_with(|| self.describe(bundle));
        }
        used
    }

    /// Names and forms on the other side.
    fn carry(
        &self,
        side: Side,
        gathered: &Gathered,
        forms: &[Form],
        variables: &Variables,
        problems: &mut Vec<Problem>,
    ) -> Vec<(String, Form)> {
        let mut carried = Vec::new();
        for (bundle, members) in &gathered.bundles {
            let Some(rule) = self.rules.get(bundle.rule) else { continue };
            let forms: Vec<Form> = members.iter().filter_map(|index| forms.get(*index).cloned()).collect();
            let shape = forms.first().map(|form| form.shape.clone()).unwrap_or_default();
            let names = bundle.names(side.other());
            match rule.convert(side, forms, variables) {
                Ok(converted) => carried.extend(names.iter().cloned().zip(converted)),
                Err(error) => {
                    let foreign = bundle.names(side).first().cloned().unwrap_or_default();
                    problems.push(Problem::Operation { foreign, shape, canonical: names.to_vec(), error });
                }
            }
        }
        carried
    }
}

fn missing(parameter: &Expected) -> Problem {
    Problem::Missing { canonical: parameter.name.clone(), shape: parameter.shape.clone(), near: Vec::new() }
}

#[cfg(test)]
mod tests {
    use converters::Dtype;

    use super::*;
    use crate::mapping::sample;

    fn expected(name: &str, shape: &[usize]) -> Expected {
        Expected { name: name.to_owned(), shape: shape.to_vec(), dtype: Dtype::F32, constant: None }
    }

    #[test]
    fn every_parameter_must_come_back() {
        let table = sample::table(
            "[[rule]]
             foreign = 'merged.{of}'
             canonical = ['cls.{of}', 'reg.{of}']
             op = { split = { axis = 0, sizes = ['classes', 4] } }
             [[rule]]
             foreign = 'count'
             canonical = 'count'
             [[default]]
             canonical = 'count'
             value = 'zeros'
             absent = 'always'
             reason = 'not there'",
        );
        assert!(table.is_err(), "a rule that only gives what is never there has no use");
        let table = sample::table(
            "[[rule]]
             foreign = 'merged.{of}'
             canonical = ['cls.{of}', 'reg.{of}']
             op = { split = { axis = 0, sizes = ['classes', 4] } }
             [[default]]
             canonical = 'count'
             value = 'zeros'
             reason = 'not there'",
        )
        .unwrap();
        let all = [expected("cls.weight", &[3, 2]), expected("reg.weight", &[4, 2]), expected("count", &[])];
        let variables = [("classes".to_owned(), 3)].into();
        let coverage = table.cover(&all, &variables).unwrap();
        assert_eq!(
            coverage.foreign,
            [("merged.weight".to_owned(), Form { dtype: Dtype::F32, shape: vec![7, 2] })]
        );
        assert_eq!((coverage.defaulted.len(), coverage.used.len()), (1, 1));
        let names = |result: Result<Coverage, MappingError>| match result.unwrap_err() {
            MappingError::Unexplained(Unexplained { problems, .. }) => {
                problems.iter().map(|problem| problem.name().to_owned()).collect::<Vec<_>>()
            }
            other => panic!("{other}"),
        };
        assert_eq!(names(table.cover(&all[1..], &variables)), ["reg.weight"]);
        assert_eq!(names(table.cover(&[expected("neck.weight", &[1])], &variables)), ["neck.weight"]);
        let unknown = table.cover(&all, &Variables::new());
        assert_eq!(names(unknown), ["cls.weight", "cls.weight", "reg.weight"]);
    }
}
