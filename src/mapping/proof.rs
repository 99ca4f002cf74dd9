//! What is proved of a table when it is loaded: that it can be read backwards, and that every rule has a use.

use super::fault::TableFault;
use super::overlap::Comparison;
use super::pattern::{Class, Pattern, Value, Values};
use super::rule::{Rule, Side};
use super::table::{Table, Taken};

/// Proves the table.
///
/// Two patterns of one side may share names only when one is a special case of the other, which is then the first.
pub(super) fn prove(table: &Table) -> Result<(), TableFault> {
    table.rules.iter().try_for_each(prove_rule)?;
    prove_apart(table, Side::Foreign)?;
    prove_apart(table, Side::Canonical)?;
    table.rules.iter().enumerate().try_for_each(|(index, rule)| prove_used(table, index, rule))
}

/// Each operation has an inverse, the counts fit, and a name can be taken apart in one way only.
fn prove_rule(rule: &Rule) -> Result<(), TableFault> {
    if let Some(operation) = rule.operations.iter().find(|operation| !operation.is_invertible()) {
        return Err(TableFault::NoInverse { rule: rule.to_string(), operation: operation.to_string() });
    }
    if !rule.counts_agree() {
        let (foreign, canonical) = (rule.foreign.len(), rule.canonical.len());
        return Err(TableFault::Counts { rule: rule.to_string(), foreign, canonical });
    }
    let mut patterns = rule.foreign.iter().chain(&rule.canonical);
    match patterns.find(|pattern| pattern.is_ambiguous()) {
        Some(pattern) => Err(TableFault::Ambiguous { pattern: pattern.text().to_owned() }),
        None => Ok(()),
    }
}

fn prove_apart(table: &Table, side: Side) -> Result<(), TableFault> {
    let patterns = || {
        let rules = table.rules.iter().enumerate();
        rules.flat_map(move |(index, rule)| rule.patterns(side).iter().map(move |pattern| (index, pattern)))
    };
    let mut comparison = Comparison::new();
    for (place, (index, first)) in patterns().enumerate() {
        for (other, second) in patterns().skip(place + 1) {
            let Some(name) = comparison.shared_name(first, second)? else { continue };
            // Within one rule names must never coincide; of two rules the first may be the special case.
            let is_special = index != other && examples(first).iter().all(|name| second.matches(name));
            if !is_special {
                let (first, second) = (first.text().to_owned(), second.text().to_owned());
                return Err(TableFault::Overlap { first, second, name });
            }
        }
    }
    Ok(())
}

/// A rule that never applies is a mistake: either another takes its names, or the way back is another one.
fn prove_used(table: &Table, index: usize, rule: &Rule) -> Result<(), TableFault> {
    let is_used = |name: &String| matches!(table.take(Side::Foreign, name), Taken::Rule(bundle) if bundle.rule == index);
    let names: Vec<String> = rule.foreign.iter().flat_map(examples).collect();
    if names.iter().any(is_used) {
        return Ok(());
    }
    let name = names.into_iter().next().unwrap_or_default();
    Err(TableFault::Unreachable { rule: rule.to_string(), name })
}

/// A word and a number that no table mentions: what a placeholder takes in a name that stands for all.
const WORD: &str = "anything";
const NUMBER: i64 = 90_210;

/// Names that stand for all that the pattern takes, one for each choice of words.
pub(super) fn examples(pattern: &Pattern) -> Vec<String> {
    const MAX_EXAMPLES: usize = 64;
    let mut all = vec![Values::new()];
    for (name, class) in pattern.classes() {
        let values = match class {
            Class::Part => vec![Value::Text(WORD.to_owned())],
            Class::Parts => vec![Value::Text(format!("{WORD}.else"))],
            Class::Digits => vec![Value::Text(NUMBER.to_string())],
            Class::Number { .. } => vec![Value::Number(NUMBER)],
            Class::Words(words) => (0..words.len()).map(Value::Word).collect(),
        };
        let with = |known: &Values, value: &Value| {
            let mut known = known.clone();
            known.insert(name.to_owned(), value.clone());
            known
        };
        all = all.iter().flat_map(|known| values.iter().map(move |value| with(known, value))).collect();
        all.truncate(MAX_EXAMPLES);
    }
    all.iter().filter_map(|values| pattern.render(values)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Table, sample};

    fn fault(lines: &str) -> TableFault {
        Table::parse(&sample::text(lines), "test").unwrap_err().fault
    }

    #[test]
    fn rules_that_meet_are_refused() {
        let lines = "[[rule]]\nforeign = 'a.{x..}'\ncanonical = 'p.{x..}'\n\
                     [[rule]]\nforeign = '{y..}.b'\ncanonical = 'q.{y..}'\n";
        let TableFault::Overlap { name, .. } = fault(lines) else { panic!() };
        assert!(name.starts_with("a.") && name.ends_with(".b"), "{name}");
        let same_target = "[[rule]]\nforeign = 'a.{x}'\ncanonical = 'p.{x}'\n\
                           [[rule]]\nforeign = 'b.{x}'\ncanonical = 'p.{x}'\n";
        assert!(matches!(fault(same_target), TableFault::Unreachable { .. }));
        let general_first = "[[rule]]\nforeign = '{x..}'\ncanonical = '{x..}'\n\
                             [[rule]]\nforeign = 'b.{x}'\ncanonical = 'c.{x}'\n";
        assert!(matches!(fault(general_first), TableFault::Overlap { .. }));
        let dropped = "[[drop]]\nforeign = '{x..}'\nreason = 'all'\n\
                       [[rule]]\nforeign = 'b.{x}'\ncanonical = 'c.{x}'\n";
        assert!(matches!(fault(dropped), TableFault::Unreachable { .. }));
    }

    #[test]
    fn operations_must_fit_their_rule() {
        let rule = |op: &str| fault(&format!("[[rule]]\nforeign = 'a'\ncanonical = ['b', 'c']\nop = {op}\n"));
        assert!(matches!(rule("{ split = { axis = 0, sizes = [1, 2, 3] } }"), TableFault::Counts { .. }));
        assert!(matches!(rule("{ transpose = [0, 0] }"), TableFault::NoInverse { .. }));
        assert!(matches!(rule("{ split = { axis = 0, sizes = ['2 *', 1] } }"), TableFault::Expression(_)));
        assert!(matches!(rule("{ mirror = 1 }"), TableFault::Toml(_)));
        assert!(matches!(rule("[]"), TableFault::Counts { .. }));
        let same = "[[rule]]\nforeign = 'a.{x}'\ncanonical = ['b.{x}', 'b.{x}']\n\
                    op = { split = { axis = 0, sizes = [1, 1] } }\n";
        assert!(matches!(fault(same), TableFault::Overlap { .. }));
        assert!(matches!(
            fault("[[rule]]\nforeign = '{a}{b}'\ncanonical = '{b}.{a}'\n"),
            TableFault::Ambiguous { .. }
        ));
    }

    #[test]
    fn texts_that_are_no_tables_are_refused() {
        let parse = |text: &str| Table::parse(text, "test").unwrap_err().fault;
        assert!(matches!(parse("family = 1"), TableFault::Toml(_)));
        assert!(matches!(parse(&" ".repeat(2 << 20)), TableFault::TooLarge { .. }));
        assert!(matches!(fault("rules = 1\n"), TableFault::Toml(_)));
        let many = "[[rule]]\nforeign = 'a'\ncanonical = 'b'\n".repeat(600);
        assert!(matches!(fault(&many), TableFault::TooLarge { .. }));
        let default = "[[rule]]\nforeign = 'a'\ncanonical = 'b'\n[[default]]\ncanonical = 'c'\nreason = ''\n";
        assert!(matches!(fault(&format!("{default}value = 'sevens'\n")), TableFault::Filling(_)));
        assert!(matches!(fault(&format!("{default}value = 'ones'\ndtype = 'u3'\n")), TableFault::Dtype(_)));
    }
}
