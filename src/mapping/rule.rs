//! A rule between foreign and canonical names, and what it makes of one name.

use super::array::{Array, OperationError};
use super::expression::Variables;
use super::operation::Operation;
use super::pattern::{Pattern, Values};

/// Pairs foreign names with canonical ones.
#[derive(Debug, Clone)]
pub struct Rule {
    pub(super) foreign: Vec<Pattern>,
    pub(super) canonical: Vec<Pattern>,
    pub(super) operations: Vec<Operation>,
}

/// One side of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Foreign,
    Canonical,
}

impl Side {
    pub(super) fn other(self) -> Side {
        match self {
            Side::Foreign => Side::Canonical,
            Side::Canonical => Side::Foreign,
        }
    }
}

/// The names that one use of a rule brings together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Bundle {
    pub(super) rule: usize,
    pub(super) foreign: Vec<String>,
    pub(super) canonical: Vec<String>,
}

impl Bundle {
    pub(super) fn names(&self, side: Side) -> &[String] {
        match side {
            Side::Foreign => &self.foreign,
            Side::Canonical => &self.canonical,
        }
    }
}

impl Rule {
    /// The patterns of foreign names.
    pub fn foreign(&self) -> impl Iterator<Item = &str> {
        self.foreign.iter().map(Pattern::text)
    }

    /// The patterns of canonical names.
    pub fn canonical(&self) -> impl Iterator<Item = &str> {
        self.canonical.iter().map(Pattern::text)
    }

    /// What is done to the tensors, in order; nothing for a mere change of names.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    pub(super) fn patterns(&self, side: Side) -> &[Pattern] {
        match side {
            Side::Foreign => &self.foreign,
            Side::Canonical => &self.canonical,
        }
    }

    /// What the placeholders stand for when one of the side's patterns takes `name`.
    pub(super) fn values(&self, side: Side, name: &str) -> Option<Values> {
        self.patterns(side).iter().find_map(|pattern| pattern.values(name))
    }

    /// All names of the rule for these values.
    pub(super) fn bundle(&self, rule: usize, values: &Values) -> Option<Bundle> {
        let names = |side| self.patterns(side).iter().map(|pattern| pattern.render(values)).collect();
        let (foreign, canonical): (Option<Vec<_>>, Option<Vec<_>>) =
            (names(Side::Foreign), names(Side::Canonical));
        Some(Bundle { rule, foreign: foreign?, canonical: canonical? })
    }

    /// Arrays of `side`, in the order of its patterns, in the form of the other side.
    pub(super) fn convert<A: Array>(
        &self,
        side: Side,
        arrays: Vec<A>,
        variables: &Variables,
    ) -> Result<Vec<A>, OperationError> {
        convert(&self.operations, side, arrays, variables)
    }

    /// Whether the operations turn as many tensors as there are foreign patterns into as many as there are
    /// canonical ones.
    pub(super) fn counts_agree(&self) -> bool {
        let end = self.operations.iter().try_fold(self.foreign.len(), |count, operation| {
            let (takes, gives) = operation.counts();
            (count == takes).then_some(gives)
        });
        end == Some(self.canonical.len())
    }
}

/// Arrays of `side` in the form of the other side: the operations in order, or their inverses backwards.
pub(super) fn convert<A: Array>(
    operations: &[Operation],
    side: Side,
    arrays: Vec<A>,
    variables: &Variables,
) -> Result<Vec<A>, OperationError> {
    let mut steps = operations.iter();
    match side {
        Side::Foreign => steps.try_fold(arrays, |arrays, step| step.forward(&arrays, variables)),
        Side::Canonical => steps.rev().try_fold(arrays, |arrays, step| step.backward(&arrays, variables)),
    }
}

/// `foreign => canonical (operation, ...)`.
impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = |patterns: &[Pattern]| patterns.iter().map(Pattern::text).collect::<Vec<_>>().join(" + ");
        write!(f, "{} => {}", side(&self.foreign), side(&self.canonical))?;
        if !self.operations.is_empty() {
            let steps: Vec<String> = self.operations.iter().map(Operation::to_string).collect();
            write!(f, " ({})", steps.join(", then "))?;
        }
        Ok(())
    }
}
