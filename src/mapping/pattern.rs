//! Patterns with named placeholders: `backbone.layers.{stage:int+1}.{rest..}`.
//!
//! | placeholder | stands for |
//! | --- | --- |
//! | `{part}` | one part of a name, without dots |
//! | `{n:int}` | digits |
//! | `{n:int+1}`, `{n:int-1}` | digits that are that much more or less than `n` |
//! | `{branch:cls\|reg}` | one of these words; another side may spell them otherwise, in the same order |
//! | `{rest..}` | any number of parts, at least one |
//!
//! What a placeholder is need be said once in a rule: `{n}` elsewhere stands for the same.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

/// Why a rule's patterns cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A brace is not closed, or what it holds is no placeholder.
    #[error(
        "`{pattern}` has a malformed placeholder: write {{name}}, {{name:int}}, {{name:int+1}}, {{name:one|other}} \
         or {{name..}}"
    )]
    Placeholder {
        /// The pattern at fault.
        pattern: String,
    },
    /// A placeholder occurs twice in one pattern.
    #[error("`{pattern}` uses the placeholder {{{name}}} twice")]
    Repeated {
        /// The pattern at fault.
        pattern: String,
        /// The placeholder.
        name: String,
    },
    /// A placeholder does not occur in every pattern of a rule.
    #[error("`{one}` and `{other}` differ in the placeholder {{{name}}}, so the rule cannot be reversed")]
    OneSided {
        /// A pattern of the rule.
        one: String,
        /// Another.
        other: String,
        /// The placeholder.
        name: String,
    },
    /// Two patterns say different things of one placeholder.
    #[error("`{one}` and `{other}` disagree on what the placeholder {{{name}}} stands for")]
    Disagree {
        /// A pattern of the rule.
        one: String,
        /// Another.
        other: String,
        /// The placeholder.
        name: String,
    },
    /// Longer than any name.
    #[error("a pattern of {length} characters; {MAX_PATTERN} are enough")]
    TooLong {
        /// Its length.
        length: usize,
    },
}

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 256;

/// What a placeholder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Class {
    Part,
    /// Digits, as they are.
    Digits,
    /// A number that is spelled so much larger.
    Number {
        offset: i64,
    },
    Parts,
    Words(Vec<String>),
}

impl Class {
    fn regex(&self) -> String {
        match self {
            Class::Part => r"[^.]+".to_owned(),
            Class::Digits | Class::Number { .. } => r"[0-9]+".to_owned(),
            Class::Parts => r".+".to_owned(),
            Class::Words(words) => words.iter().map(|word| regex::escape(word)).collect::<Vec<_>>().join("|"),
        }
    }

    /// Whether both stand for the same values, spelled differently perhaps.
    fn agrees(&self, other: &Class) -> bool {
        match (self, other) {
            (Class::Digits | Class::Number { .. }, Class::Digits | Class::Number { .. }) => true,
            (Class::Words(left), Class::Words(right)) => left.len() == right.len(),
            _ => self == other,
        }
    }

    fn parse(text: &str) -> Option<Class> {
        if text == "int" {
            return Some(Class::Digits);
        }
        if let Some(offset) = text.strip_prefix("int").filter(|rest| rest.starts_with(['+', '-'])) {
            let offset: i64 = offset.parse().ok()?;
            return (offset.abs() < 1000).then_some(Class::Number { offset });
        }
        let words: Vec<String> = text.split('|').map(str::to_owned).collect();
        let are_different = words.iter().collect::<BTreeSet<_>>().len() == words.len();
        (words.len() > 1 && are_different && !words.iter().any(String::is_empty))
            .then_some(Class::Words(words))
    }
}

/// A piece of a pattern. `class` is `None` until it is known from another pattern of the rule.
#[derive(Debug, Clone)]
enum Draft {
    Literal(String),
    Placeholder { name: String, class: Option<Class> },
}

#[derive(Debug, Clone)]
pub(super) enum Piece {
    Literal(String),
    Placeholder { name: String, class: Class },
}

/// What a placeholder stands for in one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    /// The position of the word.
    Word(usize),
}

/// The values of all placeholders of a rule.
pub(super) type Values = BTreeMap<String, Value>;

/// A pattern of names, read in both directions: it takes names apart and puts them together.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    pieces: Vec<Piece>,
    regex: Regex,
}

impl Pattern {
    /// The patterns of one rule, which use the same placeholders.
    ///
    /// # Errors
    /// When a placeholder is malformed, is missing in one of them, or means different things.
    pub fn parse_rule(texts: &[&str]) -> Result<Vec<Pattern>, PatternError> {
        let mut drafts = texts.iter().map(|text| draft(text)).collect::<Result<Vec<_>, _>>()?;
        let mut classes: BTreeMap<String, (Class, &str)> = BTreeMap::new();
        for (pieces, text) in drafts.iter().zip(texts) {
            for (name, class) in placeholders(pieces) {
                let Some(class) = class else { continue };
                let (known, other) = classes.entry(name.to_owned()).or_insert((class.clone(), text));
                if !known.agrees(class) {
                    let (one, other) = ((*other).to_owned(), (*text).to_owned());
                    return Err(PatternError::Disagree { one, other, name: name.to_owned() });
                }
                // A number that is counted anywhere is a number everywhere.
                if matches!(class, Class::Number { .. }) {
                    *known = Class::Number { offset: 0 };
                }
            }
        }
        check_sides(&drafts, texts)?;
        for piece in drafts.iter_mut().flatten() {
            let Draft::Placeholder { name, class } = piece else { continue };
            let known = classes.get(name.as_str()).map_or(Class::Part, |(class, _)| class.clone());
            let is_counted = matches!(known, Class::Number { .. }) && *class == Some(Class::Digits);
            *class = class.take().filter(|_| !is_counted).or(Some(known));
        }
        drafts.into_iter().zip(texts).map(|(pieces, text)| Pattern::new(text, pieces)).collect()
    }

    /// A pattern on its own.
    ///
    /// # Errors
    /// When a placeholder is malformed or repeated.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        let mut parsed = Pattern::parse_rule(&[text])?;
        parsed.pop().ok_or_else(|| PatternError::Placeholder { pattern: text.to_owned() })
    }

    fn new(text: &str, drafts: Vec<Draft>) -> Result<Pattern, PatternError> {
        let finish = |piece| match piece {
            Draft::Literal(text) => Piece::Literal(text),
            Draft::Placeholder { name, class } => {
                Piece::Placeholder { name, class: class.unwrap_or(Class::Part) }
            }
        };
        let pieces: Vec<Piece> = drafts.into_iter().map(finish).collect();
        let regex: String = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(literal) => regex::escape(literal),
                Piece::Placeholder { name, class } => format!("(?P<{name}>{})", class.regex()),
            })
            .collect();
        let regex = Regex::new(&format!("^(?s:{regex})$"));
        let regex = regex.map_err(|_| PatternError::Placeholder { pattern: text.to_owned() })?;
        Ok(Pattern { text: text.to_owned(), pieces, regex })
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the pattern takes the whole of `name`.
    pub fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }

    /// What the placeholders stand for in `name`, when the pattern takes all of it.
    pub(super) fn values(&self, name: &str) -> Option<Values> {
        let captures = self.regex.captures(name)?;
        let mut values = Values::new();
        for (name, class) in self.classes() {
            let text = captures.name(name)?.as_str();
            let value = match class {
                Class::Part | Class::Parts | Class::Digits => Value::Text(text.to_owned()),
                Class::Number { offset } => Value::Number(text.parse::<i64>().ok()?.checked_sub(*offset)?),
                Class::Words(words) => Value::Word(words.iter().position(|word| word == text)?),
            };
            values.insert(name.to_owned(), value);
        }
        Some(values)
    }

    /// The name in which the placeholders stand for `values`.
    pub(super) fn render(&self, values: &Values) -> Option<String> {
        let mut rendered = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => rendered.push_str(literal),
                Piece::Placeholder { name, class } => match (values.get(name)?, class) {
                    (Value::Text(text), _) => rendered.push_str(text),
                    (Value::Number(number), Class::Number { offset }) => {
                        let spelled = number.checked_add(*offset).filter(|number| *number >= 0)?;
                        rendered.push_str(&spelled.to_string());
                    }
                    (Value::Word(index), Class::Words(words)) => rendered.push_str(words.get(*index)?),
                    _ => return None,
                },
            }
        }
        Some(rendered)
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The placeholders in order.
    pub(super) fn classes(&self) -> impl Iterator<Item = (&str, &Class)> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Placeholder { name, class } => Some((name.as_str(), class)),
            Piece::Literal(_) => None,
        })
    }

    /// Whether a name can be taken apart in several ways: placeholders with nothing between them, or two that
    /// span dots.
    pub(super) fn is_ambiguous(&self) -> bool {
        let mut spans = 0;
        let mut follows = false;
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => follows &= literal.is_empty(),
                Piece::Placeholder { .. } if follows => return true,
                Piece::Placeholder { class, .. } => {
                    spans += usize::from(*class == Class::Parts);
                    follows = true;
                }
            }
        }
        spans > 1
    }
}

/// Every pattern of a rule uses every placeholder, so that each name alone gives the others.
fn check_sides(drafts: &[Vec<Draft>], texts: &[&str]) -> Result<(), PatternError> {
    let mut sides = drafts.iter().zip(texts).map(|(pieces, text)| {
        let names: BTreeSet<&str> = placeholders(pieces).map(|(name, _)| name).collect();
        (names, *text)
    });
    let Some((first, one)) = sides.next() else { return Ok(()) };
    for (names, other) in sides {
        if let Some(name) = first.symmetric_difference(&names).next() {
            let (one, other) = (one.to_owned(), other.to_owned());
            return Err(PatternError::OneSided { one, other, name: (*name).to_owned() });
        }
    }
    Ok(())
}

fn placeholders(pieces: &[Draft]) -> impl Iterator<Item = (&str, Option<&Class>)> {
    pieces.iter().filter_map(|piece| match piece {
        Draft::Placeholder { name, class } => Some((name.as_str(), class.as_ref())),
        Draft::Literal(_) => None,
    })
}

fn draft(pattern: &str) -> Result<Vec<Draft>, PatternError> {
    let malformed = || PatternError::Placeholder { pattern: pattern.to_owned() };
    if pattern.len() > MAX_PATTERN {
        return Err(PatternError::TooLong { length: pattern.len() });
    }
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some((literal, after)) = rest.split_once('{') {
        if literal.contains('}') {
            return Err(malformed());
        }
        pieces.push(Draft::Literal(literal.to_owned()));
        let (inside, after) = after.split_once('}').ok_or_else(malformed)?;
        let (name, class) = placeholder(inside).ok_or_else(malformed)?;
        if placeholders(&pieces).any(|(other, _)| other == name) {
            return Err(PatternError::Repeated { pattern: pattern.to_owned(), name: name.to_owned() });
        }
        pieces.push(Draft::Placeholder { name: name.to_owned(), class });
        rest = after;
    }
    if rest.contains('}') {
        return Err(malformed());
    }
    pieces.push(Draft::Literal(rest.to_owned()));
    Ok(pieces)
}

/// What stands between braces: a name, and what it stands for where that is said.
fn placeholder(inside: &str) -> Option<(&str, Option<Class>)> {
    let (name, class) = match (inside.strip_suffix(".."), inside.split_once(':')) {
        (Some(name), _) => (name, Some(Class::Parts)),
        (None, Some((name, class))) => (name, Some(Class::parse(class)?)),
        (None, None) => (inside, None),
    };
    let is_word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (is_word && !name.starts_with(|c: char| c.is_ascii_digit())).then_some((name, class))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both_ways(left: &str, right: &str, name: &str) -> Option<String> {
        let patterns = Pattern::parse_rule(&[left, right]).unwrap();
        let other = patterns[1].render(&patterns[0].values(name)?)?;
        let back = patterns[0].render(&patterns[1].values(&other)?)?;
        assert_eq!(back, name);
        Some(other)
    }

    #[test]
    fn numbers_are_counted_from_another_start() {
        let (left, right) = ("layers.{n:int+1}.w", "layer{n:int}.w");
        assert_eq!(both_ways(left, right, "layers.1.w").unwrap(), "layer0.w");
        assert_eq!(both_ways(left, right, "layers.0.w"), None);
        assert_eq!(both_ways(right, left, "layer9.w").unwrap(), "layers.10.w");
        assert_eq!(both_ways(left, right, "layers.99999999999999999999.w"), None);
        assert_eq!(both_ways("a.{n:int}", "b.{n}", "a.007").unwrap(), "b.007");
    }

    #[test]
    fn words_change_their_spelling_by_position() {
        let (left, right) = ("{branch:cls|reg}_head.{rest..}", "{branch:classes|boxes}.{rest}");
        assert_eq!(both_ways(left, right, "reg_head.0.w").unwrap(), "boxes.0.w");
        assert_eq!(both_ways(left, right, "obj_head.0.w"), None);
        assert_eq!(both_ways("{m:a|b}.{rest..}", "{m}.{rest..}", "b.x.y").unwrap(), "b.x.y");
    }

    #[test]
    fn rules_whose_sides_differ_are_refused() {
        let error = |left: &str, right: &str| Pattern::parse_rule(&[left, right]).unwrap_err();
        assert!(matches!(error("{a}", "{a}.{b}"), PatternError::OneSided { .. }));
        assert!(matches!(error("{a:int}", "{a..}"), PatternError::Disagree { .. }));
        assert!(matches!(error("{a:x|y}", "{a:x|y|z}"), PatternError::Disagree { .. }));
        assert!(matches!(error("{a:int+2000}", "{a}"), PatternError::Placeholder { .. }));
        assert!(matches!(error("{a:x}", "{a}"), PatternError::Placeholder { .. }));
        assert!(matches!(error("x}{a}", "{a}"), PatternError::Placeholder { .. }));
        assert!(matches!(error(&"x".repeat(300), "x"), PatternError::TooLong { .. }));
    }

    #[test]
    fn patterns_with_two_readings_are_known() {
        let is_ambiguous = |text: &str| Pattern::parse(text).unwrap().is_ambiguous();
        assert!(is_ambiguous("{a}{b}") && is_ambiguous("{a..}.x.{b..}"));
        assert!(!is_ambiguous("{a}.{b}.{rest..}"));
    }
}
