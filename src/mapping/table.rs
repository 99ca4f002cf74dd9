//! A table: how the tensor names and forms of one dialect relate to the canonical ones, in both directions.
//!
//! Drops are looked at first, then rules in order; the first that takes a name counts. That alone would not make a
//! table one-to-one, so a rule is used for a name only if the way back ends at the same name: whatever a table
//! says, no two names of one side ever meet on the other.

use super::pattern::Pattern;
use super::root::Root;
use super::rule::{Bundle, Rule, Side};

/// Names and forms of one dialect, and where they lie in its files.
#[derive(Debug, Clone)]
pub struct Table {
    pub(super) origin: String,
    pub(super) family: String,
    pub(super) dialect: String,
    pub(super) description: String,
    pub(super) source: String,
    /// Canonical names that its files are about; `None` for all.
    pub(super) part: Option<Pattern>,
    pub(super) roots: Vec<Root>,
    pub(super) rules: Vec<Rule>,
    pub(super) drops: Vec<DropRule>,
    pub(super) defaults: Vec<DefaultRule>,
}

/// Foreign tensors that are left behind.
#[derive(Debug, Clone)]
pub struct DropRule {
    pub(super) foreign: Pattern,
    pub(super) reason: String,
}

/// Canonical tensors that may be absent there, and what they then hold.
#[derive(Debug, Clone)]
pub struct DefaultRule {
    pub(super) canonical: Pattern,
    pub(super) value: Filling,
    pub(super) dtype: converters::Dtype,
    /// The dialect never has it, not even under the name that a rule gives.
    pub(super) is_always: bool,
    pub(super) reason: String,
}

/// What an absent tensor holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Filling {
    /// Zeros.
    Zeros,
    /// Ones.
    Ones,
    /// These values, row-major.
    Values(Vec<f64>),
    /// The constant that the network states.
    Model,
}

impl DropRule {
    /// Names that are left behind.
    pub fn foreign(&self) -> &str {
        self.foreign.text()
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl DefaultRule {
    /// Names that may be absent.
    pub fn canonical(&self) -> &str {
        self.canonical.text()
    }

    /// What they hold where they are.
    pub fn value(&self) -> &Filling {
        &self.value
    }

    /// Whether they are absent from every file of the dialect.
    pub fn is_always(&self) -> bool {
        self.is_always
    }

    /// Why they may.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl std::fmt::Display for Filling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Filling::Zeros => f.write_str("zeros"),
            Filling::Ones => f.write_str("ones"),
            Filling::Values(values) => write!(f, "{values:?}"),
            Filling::Model => f.write_str("the network's constant"),
        }
    }
}

/// What a table makes of a name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Taken<'a> {
    /// A rule relates it to names of the other side.
    Rule(Bundle),
    /// It is left behind.
    Dropped(&'a DropRule),
    /// A rule takes it, but on the way back another one, or a drop, takes the names that it gives.
    Shadowed(Bundle),
    /// The dialect has no such tensor, whatever the rules say.
    Absent,
    /// No rule takes it.
    Nothing,
}

impl PartialEq for DropRule {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Table {
    /// `family/dialect`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.family, self.dialect)
    }

    /// The network family whose canonical names it uses.
    pub fn family(&self) -> &str {
        &self.family
    }

    /// The code base whose names it knows.
    pub fn dialect(&self) -> &str {
        &self.dialect
    }

    /// What it is for, one sentence.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Where the dialect comes from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The canonical names that files of this dialect are about, where that is only a part of a network: a backbone
    /// that training begins with.
    pub fn part(&self) -> Option<&str> {
        self.part.as_ref().map(Pattern::text)
    }

    /// Whether files of this dialect are about this parameter.
    pub fn fills(&self, canonical: &str) -> bool {
        self.part.as_ref().is_none_or(|part| part.matches(canonical))
    }

    /// Where messages say that the table stands.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Where weights lie in its files, in order of preference.
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// The rules in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What is left behind.
    pub fn drops(&self) -> &[DropRule] {
        &self.drops
    }

    /// What may be absent.
    pub fn defaults(&self) -> &[DefaultRule] {
        &self.defaults
    }

    /// The default for this canonical name.
    pub(super) fn default_of(&self, name: &str) -> Option<&DefaultRule> {
        self.defaults.iter().find(|default| default.canonical.matches(name))
    }

    /// Whether the dialect never has this canonical tensor.
    fn is_absent(&self, name: &str) -> bool {
        self.defaults.iter().any(|default| default.is_always && default.canonical.matches(name))
    }

    pub(super) fn drop_of(&self, name: &str) -> Option<&DropRule> {
        self.drops.iter().find(|drop| drop.foreign.matches(name))
    }

    /// What the first rule that takes `name` relates it to, whether or not the way back is the same.
    pub(super) fn first_bundle(&self, side: Side, name: &str) -> Option<Bundle> {
        let mut rules = self.rules.iter().enumerate();
        let (index, rule, values) =
            rules.find_map(|(index, rule)| Some((index, rule, rule.values(side, name)?)))?;
        rule.bundle(index, &values)
    }

    /// What becomes of a name of one side.
    pub(super) fn take(&self, side: Side, name: &str) -> Taken<'_> {
        if let Some(drop) = self.drop_of(name).filter(|_| side == Side::Foreign) {
            return Taken::Dropped(drop);
        }
        let Some(bundle) = self.first_bundle(side, name) else { return Taken::Nothing };
        if bundle.canonical.iter().any(|name| self.is_absent(name)) {
            return Taken::Absent;
        }
        let leads_back = |side, name: &String| self.first_bundle(side, name).as_ref() == Some(&bundle);
        let is_kept = !bundle.foreign.iter().any(|name| self.drop_of(name).is_some());
        let is_mutual = is_kept
            && bundle.names(side).iter().any(|own| own == name)
            && bundle.foreign.iter().all(|name| leads_back(Side::Foreign, name))
            && bundle.canonical.iter().all(|name| leads_back(Side::Canonical, name));
        if is_mutual { Taken::Rule(bundle) } else { Taken::Shadowed(bundle) }
    }

    /// Whether the table has something to say about a foreign name: quickly, for choosing among sets of weights.
    pub(super) fn mentions(&self, name: &str) -> bool {
        let rules = self.rules.iter().flat_map(|rule| &rule.foreign);
        rules.chain(self.drops.iter().map(|drop| &drop.foreign)).any(|pattern| pattern.matches(name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::sample;

    #[test]
    fn the_first_rule_that_takes_a_name_counts() {
        let table = sample::rules(&[
            ("head.scale.{n:int}", "head.scales.{n}.scale"),
            ("head.{rest..}", "head.{rest}"),
        ]);
        let canonical = |name: &str| match table.take(Side::Foreign, name) {
            Taken::Rule(bundle) => Some(bundle.canonical[0].clone()),
            _ => None,
        };
        assert_eq!(canonical("head.scale.3").unwrap(), "head.scales.3.scale");
        assert_eq!(canonical("head.conv.weight").unwrap(), "head.conv.weight");
        assert_eq!(canonical("neck.conv.weight"), None);
    }

    /// The second rule would give a name that the first gives as well: that name has one origin only.
    #[test]
    fn two_names_never_meet() {
        let table = sample::rules(&[("a.norm.{x}", "a.{x}"), ("{m:a|b}.{rest..}", "{m}.{rest..}")]);
        assert!(matches!(table.take(Side::Foreign, "a.norm.weight"), Taken::Rule(_)));
        assert!(matches!(table.take(Side::Foreign, "a.weight"), Taken::Shadowed(_)));
        assert!(matches!(table.take(Side::Canonical, "a.weight"), Taken::Rule(bundle) if bundle.rule == 0));
        assert!(matches!(table.take(Side::Canonical, "a.norm.weight"), Taken::Shadowed(_)));
        assert!(matches!(table.take(Side::Foreign, "a.x.y"), Taken::Rule(_)));
    }

    /// Pieces of patterns that meet in many ways.
    const PIECES: [&str; 8] = ["a", "{x}", "{n:int}", "{n:int+1}", "{w:a|b}", "{rest..}", "0", "b"];

    proptest! {
        /// Whatever a table says: where it takes one name to another, it takes the other back to the one.
        #[test]
        fn every_table_is_one_to_one(
            rules in vec((vec(0..8_usize, 1..4), vec(0..8_usize, 1..4)), 1..5),
            names in vec("(a|b|0|1|01|c)([.](a|b|0|1|c)){0,3}", 1..20),
        ) {
            let pattern = |pieces: &[usize]| pieces.iter().map(|piece| PIECES[*piece]).collect::<Vec<_>>().join(".");
            let lines: String = rules
                .iter()
                .map(|(left, right)| format!("[[rule]]\nforeign='{}'\ncanonical='{}'\n", pattern(left), pattern(right)))
                .collect();
            let Ok(table) = sample::table(&lines) else { return Ok(()) };
            for (side, name) in names.iter().flat_map(|name| [(Side::Foreign, name), (Side::Canonical, name)]) {
                if let Taken::Rule(bundle) = table.take(side, name) {
                    let other = &bundle.names(side.other())[0];
                    let Taken::Rule(back) = table.take(side.other(), other) else { panic!("{name} {other}") };
                    prop_assert_eq!(&back.names(side)[0], name);
                }
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,200}") {
            let _ = Table::parse(&text, "test");
            let _ = sample::table(&text);
            let _ = sample::table(&format!("[[rule]]\nforeign = '{text}'\ncanonical = '{text}'\n"));
        }
    }
}
