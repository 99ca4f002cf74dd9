//! Ids of images, categories and annotations as result files write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// An id: COCO's are integers (`139`, also written `139.0`), custom data sets often use text.
///
/// Integers come before texts in order; both in ascending order, as numpy sorts them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A whole number.
    Number(i64),
    /// Any text.
    Text(Box<str>),
}

/// From here on not every integer is a double: an id written as `9007199254740993.0` has lost digits.
const EXACT_DOUBLES: f64 = 9_007_199_254_740_992.0;

impl Id {
    /// The id that a double stands for, if it is a whole number that doubles tell apart.
    pub fn of_double(number: f64) -> Option<Id> {
        let is_exact = number.fract() == 0.0 && number.abs() <= EXACT_DOUBLES;
        is_exact.then_some(Id::Number(number as i64))
    }

    /// The id as JSON.
    pub fn json(&self) -> Json {
        match self {
            Id::Number(number) => Json::from(*number),
            Id::Text(text) => Json::from(text.as_ref()),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Number(number) => write!(f, "{number}"),
            Id::Text(text) => write!(f, "{}", files::printable(text)),
        }
    }
}

/// A number where the text is one, else the text.
impl FromStr for Id {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Id, Self::Err> {
        Ok(text.parse().map_or_else(|_| Id::Text(text.into()), Id::Number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_doubles_are_ids_as_long_as_they_are_exact() {
        assert_eq!(Id::of_double(139.0), Some(Id::Number(139)));
        for wrong in [1.5, f64::NAN, f64::INFINITY, 1e17] {
            assert_eq!(Id::of_double(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_come_before_texts() {
        let mut ids: Vec<Id> = ["b", "10", "a", "9"].map(|text| text.parse().unwrap()).to_vec();
        ids.sort();
        assert_eq!(ids.iter().map(Id::to_string).collect::<Vec<_>>(), ["9", "10", "a", "b"]);
    }
}
