//! Patterns with named placeholders: `backbone.layers.{stage}.{rest..} => backbone.layer{stage}.{rest..}`.
//!
//! A placeholder stands for one dot-free part of a name, `{n:int}` for digits, `{rest..}` for any number of
//! parts. Both sides use the same placeholders, each once, so that the rule can be read in either direction.

use std::collections::BTreeSet;
use std::str::FromStr;

use regex::Regex;

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// There is no arrow.
    #[error("`{0}` is no rule: write FROM => TO")]
    NoArrow(String),
    /// A brace is not closed, or what it holds is no placeholder.
    #[error("`{pattern}` has a malformed placeholder: write {{name}}, {{name:int}} or {{name..}}")]
    Placeholder {
        /// The side of the rule at fault.
        pattern: String,
    },
    /// A placeholder occurs twice on one side.
    #[error("`{pattern}` uses the placeholder {{{name}}} twice")]
    Repeated {
        /// The side of the rule at fault.
        pattern: String,
        /// The placeholder.
        name: String,
    },
    /// A placeholder occurs on one side only.
    #[error("the two sides of `{rule}` differ in the placeholder {{{name}}}, so it cannot be reversed")]
    OneSided {
        /// The whole rule.
        rule: String,
        /// The placeholder.
        name: String,
    },
}

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Part,
    Integer,
    Parts,
}

impl Class {
    const fn regex(self) -> &'static str {
        match self {
            Class::Part => r"[^.]+",
            Class::Integer => r"[0-9]+",
            Class::Parts => r".+",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Placeholder(String, Class),
}

/// A rule that renames tensors.
#[derive(Debug, Clone)]
pub struct Rename {
    from: Regex,
    to: Vec<Piece>,
}

impl Rename {
    /// The new name, or `None` when the rule does not apply to the whole of `name`.
    pub fn apply(&self, name: &str) -> Option<String> {
        let captures = self.from.captures(name)?;
        let text = |piece: &Piece| match piece {
            Piece::Literal(literal) => Some(literal.clone()),
            Piece::Placeholder(name, _) => captures.name(name).map(|found| found.as_str().to_owned()),
        };
        self.to.iter().map(text).collect()
    }
}

impl FromStr for Rename {
    type Err = RenameError;

    fn from_str(rule: &str) -> Result<Self, RenameError> {
        let (from, to) = rule.split_once("=>").ok_or_else(|| RenameError::NoArrow(rule.to_owned()))?;
        let (from, to) = (parse(from.trim())?, parse(to.trim())?);
        let (left, right) = (names(&from), names(&to));
        if let Some(name) = left.symmetric_difference(&right).next() {
            return Err(RenameError::OneSided { rule: rule.to_owned(), name: (*name).to_owned() });
        }
        let regex = regex(&from).map_err(|_| RenameError::Placeholder { pattern: rule.to_owned() })?;
        Ok(Rename { from: regex, to })
    }
}

fn parse(pattern: &str) -> Result<Vec<Piece>, RenameError> {
    let malformed = || RenameError::Placeholder { pattern: pattern.to_owned() };
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some((literal, after)) = rest.split_once('{') {
        pieces.push(Piece::Literal(literal.to_owned()));
        let (inside, after) = after.split_once('}').ok_or_else(malformed)?;
        let (name, class) = match (inside.strip_suffix(".."), inside.strip_suffix(":int")) {
            (Some(name), _) => (name, Class::Parts),
            (_, Some(name)) => (name, Class::Integer),
            _ => (inside, Class::Part),
        };
        let is_word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_word || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(malformed());
        }
        if names(&pieces).contains(name) {
            return Err(RenameError::Repeated { pattern: pattern.to_owned(), name: name.to_owned() });
        }
        pieces.push(Piece::Placeholder(name.to_owned(), class));
        rest = after;
    }
    if rest.contains('}') {
        return Err(malformed());
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    Ok(pieces)
}

fn names(pieces: &[Piece]) -> BTreeSet<&str> {
    let names = pieces.iter().filter_map(|piece| match piece {
        Piece::Placeholder(name, _) => Some(name.as_str()),
        Piece::Literal(_) => None,
    });
    names.collect()
}

fn regex(pieces: &[Piece]) -> Result<Regex, regex::Error> {
    let text: String = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Literal(literal) => regex::escape(literal),
            Piece::Placeholder(name, class) => format!("(?P<{name}>{})", class.regex()),
        })
        .collect();
    Regex::new(&format!("^(?s:{text})$"))
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
