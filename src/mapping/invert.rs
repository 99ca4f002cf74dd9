//! From canonical parameters to the tensors of a dialect.

use converters::{Note, Tensor};

use super::apply::Move;
use super::expression::Variables;
use super::gather::{Loose, gather};
use super::problem::{MappingError, Problem, Unexplained};
use super::rule::Side;
use super::table::Table;

/// Parameters under the names, and in the forms, of a dialect.
#[derive(Debug)]
pub struct Inverted {
    /// The tensors, in the order of the parameters they come from.
    pub tensors: Vec<Tensor>,
    /// Which tensors became which.
    pub moves: Vec<Move>,
    /// Parameters that the dialect does not have, and why.
    pub omitted: Vec<Note>,
}

impl Table {
    /// Canonical tensors in the dialect's form. What the dialect does not have, and a default fills when its files
    /// are read, is omitted.
    ///
    /// # Errors
    /// All parameters that the dialect has no place for; or data that cannot be read.
    pub fn invert(&self, tensors: &[Tensor], variables: &Variables) -> Result<Inverted, MappingError> {
        let gathered = gather(self, Side::Canonical, tensors.iter().map(Tensor::name));
        let mut inverted = Inverted { tensors: Vec::new(), moves: Vec::new(), omitted: Vec::new() };
        let mut problems = Vec::new();
        for (index, loose) in &gathered.loose {
            let Some(tensor) = tensors.get(*index) else { continue };
            let default = self.default_of(tensor.name()).map(|default| default.reason.clone());
            let outside = self.part().map(|part| format!("this dialect is only about {part}"));
            let reason = if self.fills(tensor.name()) { default } else { outside };
            match reason.filter(|_| !matches!(loose, Loose::Duplicate)) {
                Some(reason) => inverted.omitted.push(Note { name: tensor.name().to_owned(), reason }),
                None => problems.push(problem(tensor, loose)),
            }
        }
        if !problems.is_empty() {
            let (table, beginning) = (self.name(), String::new());
            return Err(MappingError::Unexplained(Unexplained { table, beginning, problems }));
        }
        for (bundle, members) in &gathered.bundles {
            let Some(rule) = self.rules.get(bundle.rule) else { continue };
            let arrays = members.iter().filter_map(|index| tensors.get(*index).cloned()).collect();
            let converted = rule.convert(Side::Canonical, arrays, variables)?;
            let named = bundle.foreign.iter().zip(converted);
            inverted.tensors.extend(named.map(|(name, tensor)| tensor.named(name)));
            inverted.moves.push(self.describe(bundle));
        }
        Ok(inverted)
    }
}

fn problem(tensor: &Tensor, loose: &Loose) -> Problem {
    let (foreign, shape) = (tensor.name().to_owned(), tensor.shape().to_vec());
    match loose {
        Loose::Nothing | Loose::Absent => Problem::Unexplained { foreign, shape, near: Vec::new() },
        Loose::Shadowed(bundle) => {
            Problem::Shadowed { foreign, shape, canonical: bundle.foreign.join("`, `") }
        }
        Loose::Duplicate => Problem::Duplicate { foreign },
        Loose::Incomplete { bundle, missing } => Problem::Incomplete {
            canonical: bundle.foreign.clone(),
            present: foreign,
            missing: missing.clone(),
        },
    }
}
