//! Small integer expressions over the figures of a network: `4 * (reg_max + 1)`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Figures of a network by name: `classes`, `reg_max`.
pub type Variables = BTreeMap<String, i64>;

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It does not follow the grammar.
    #[error("`{0}` is no expression: write integers, names, + - * / and parentheses")]
    Malformed(String),
    /// The network has no such figure.
    #[error("`{expression}` needs `{name}`, which is not known of this network")]
    Unknown {
        /// The whole expression.
        expression: String,
        /// The name.
        name: String,
    },
    /// The value overflows, is negative, or a division leaves a rest.
    #[error("`{0}` is no size for these figures")]
    NoSize(String),
}

/// A parsed expression whose value is a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    text: String,
    term: Term,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    Number(i64),
    Name(String),
    Binary(char, Box<Term>, Box<Term>),
}

/// Longest expression in bytes, which bounds its depth as well.
const MAX_LENGTH: usize = 128;

impl Expression {
    /// The size that the expression stands for.
    ///
    /// # Errors
    /// When a name is unknown or the value is no size.
    pub fn size(&self, variables: &Variables) -> Result<usize, ExpressionError> {
        let value = self.value(&self.term, variables)?;
        usize::try_from(value).map_err(|_| ExpressionError::NoSize(self.text.clone()))
    }

    /// The names it uses.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        let mut open = vec![&self.term];
        while let Some(term) = open.pop() {
            match term {
                Term::Number(_) => {}
                Term::Name(name) => names.push(name.as_str()),
                Term::Binary(_, left, right) => open.extend([&**left, &**right]),
            }
        }
        names
    }

    fn value(&self, term: &Term, variables: &Variables) -> Result<i64, ExpressionError> {
        let no_size = || ExpressionError::NoSize(self.text.clone());
        match term {
            Term::Number(number) => Ok(*number),
            Term::Name(name) => variables.get(name).copied().ok_or_else(|| ExpressionError::Unknown {
                expression: self.text.clone(),
                name: name.clone(),
            }),
            Term::Binary(operator, left, right) => {
                let (left, right) = (self.value(left, variables)?, self.value(right, variables)?);
                let value = match operator {
                    '+' => left.checked_add(right),
                    '-' => left.checked_sub(right),
                    '*' => left.checked_mul(right),
                    _ => left.checked_rem(right).filter(|rest| *rest == 0).and(left.checked_div(right)),
                };
                value.ok_or_else(no_size)
            }
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<u32> for Expression {
    fn from(number: u32) -> Self {
        Expression { text: number.to_string(), term: Term::Number(number.into()) }
    }
}

impl FromStr for Expression {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        let malformed = || ExpressionError::Malformed(text.chars().take(MAX_LENGTH).collect());
        if text.len() > MAX_LENGTH {
            return Err(malformed());
        }
        let mut parser = Parser { rest: text };
        let term = parser.sum().ok_or_else(malformed)?;
        if !parser.rest.trim().is_empty() {
            return Err(malformed());
        }
        Ok(Expression { text: text.to_owned(), term })
    }
}

/// Recursive descent, the usual precedence.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn sum(&mut self) -> Option<Term> {
        let mut left = self.product()?;
        while let Some(operator) = self.operator(['+', '-']) {
            left = Term::Binary(operator, Box::new(left), Box::new(self.product()?));
        }
        Some(left)
    }

    fn product(&mut self) -> Option<Term> {
        let mut left = self.factor()?;
        while let Some(operator) = self.operator(['*', '/']) {
            left = Term::Binary(operator, Box::new(left), Box::new(self.factor()?));
        }
        Some(left)
    }

    fn factor(&mut self) -> Option<Term> {
        if self.operator(['(', '(']).is_some() {
            let inside = self.sum()?;
            return self.operator([')', ')']).map(|_| inside);
        }
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at_checked(end).filter(|(word, _)| !word.is_empty())?;
        self.rest = after;
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word.parse().ok().map(Term::Number);
        }
        Some(Term::Name(word.to_owned()))
    }

    fn operator(&mut self, wanted: [char; 2]) -> Option<char> {
        let rest = self.rest.trim_start();
        let found = rest.chars().next().filter(|character| wanted.contains(character))?;
        self.rest = rest.get(1..)?;
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> Result<usize, ExpressionError> {
        let variables = [("classes".to_owned(), 80), ("reg_max".to_owned(), 7)].into();
        text.parse::<Expression>()?.size(&variables)
    }

    #[test]
    fn precedence_is_the_usual_one() {
        assert_eq!(size("4 * (reg_max + 1)").unwrap(), 32);
        assert_eq!(size("classes-2*3+1").unwrap(), 75);
        assert_eq!(size("classes / 4 / 2").unwrap(), 10);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        assert!(matches!(size("channels"), Err(ExpressionError::Unknown { .. })));
        for text in ["reg_max - 8", "classes / 3", "classes / 0", "9223372036854775807 * 2"] {
            assert!(matches!(size(text), Err(ExpressionError::NoSize(_))), "{text}");
        }
        for text in ["", "4 +", "(4", "4)", "4 4", "4x", "-1", "é", &"(".repeat(200)] {
            assert!(matches!(size(text), Err(ExpressionError::Malformed(_))), "{text}");
        }
    }
}
