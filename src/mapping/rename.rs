//! A single rule given on the command line: `FROM => TO`.

use std::str::FromStr;

use super::pattern::{Pattern, PatternError};

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// There is no arrow.
    #[error("`{0}` is no rule: write FROM => TO")]
    NoArrow(String),
    /// A side is at fault.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// A rule that renames tensors.
#[derive(Debug, Clone)]
pub struct Rename {
    from: Pattern,
    to: Pattern,
}

impl Rename {
    /// The new name, or `None` when the rule does not apply to the whole of `name`.
    pub fn apply(&self, name: &str) -> Option<String> {
        self.to.render(&self.from.values(name)?)
    }
}

impl FromStr for Rename {
    type Err = RenameError;

    fn from_str(rule: &str) -> Result<Self, RenameError> {
        let no_arrow = || RenameError::NoArrow(rule.to_owned());
        let (from, to) = rule.split_once("=>").ok_or_else(no_arrow)?;
        let mut patterns = Pattern::parse_rule(&[from.trim(), to.trim()])?.into_iter();
        let (from, to) = patterns.next().zip(patterns.next()).ok_or_else(no_arrow)?;
        Ok(Rename { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rename(rule: &str, name: &str) -> Option<String> {
        rule.parse::<Rename>().unwrap().apply(name)
    }

    #[test]
    fn placeholders_carry_parts_of_names() {
        let rule = "backbone.layers.{stage:int}.{rest..} => backbone.layer{stage}.{rest..}";
        assert_eq!(rename(rule, "backbone.layers.3.conv.weight").unwrap(), "backbone.layer3.conv.weight");
        assert_eq!(rename(rule, "backbone.layers.x.conv.weight"), None);
        assert_eq!(rename("{a}.w => {a}.weight", "x.y.w"), None);
        assert_eq!(rename("stem => neck", "stem.w"), None);
    }

    #[test]
    fn rules_that_cannot_be_reversed_are_refused() {
        let error = |rule: &str| rule.parse::<Rename>().unwrap_err().to_string();
        assert!(error("a -> b").contains("FROM => TO"));
        assert!(error("{a} => b").contains("{a}"));
        assert!(error("{a}{a} => {a}").contains("twice"));
        assert!(error("{a => b").contains("malformed"));
        assert!(error("{1} => {1}").contains("malformed"));
    }
}
