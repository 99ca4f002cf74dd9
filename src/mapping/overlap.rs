//! Whether two patterns can take the same name, decided exactly.
//!
//! A pattern is a row of characters and runs of a kind of character; two rows are walked in step, and every pair
//! of places is visited once.

use std::collections::{HashMap, VecDeque};

use super::fault::TableFault;
use super::pattern::{Class, Pattern, Piece};

/// One place in a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Atom {
    One(char),
    /// One or more characters of a kind.
    Run(Kind),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Digit,
    NotDot,
    Any,
}

impl Kind {
    fn takes(self, character: char) -> bool {
        match self {
            Kind::Digit => character.is_ascii_digit(),
            Kind::NotDot => character != '.',
            Kind::Any => true,
        }
    }
}

impl Atom {
    /// A character that both take.
    fn shared(self, other: Atom) -> Option<char> {
        match (self, other) {
            (Atom::One(one), Atom::One(other)) => (one == other).then_some(one),
            (Atom::One(one), Atom::Run(kind)) | (Atom::Run(kind), Atom::One(one)) => {
                kind.takes(one).then_some(one)
            }
            (Atom::Run(one), Atom::Run(other)) => {
                let is_digit = one == Kind::Digit || other == Kind::Digit;
                Some(if is_digit { '0' } else { 'x' })
            }
        }
    }
}

/// Spelling out every choice of words may not make more patterns than this; beyond it the words count as anything.
const MAX_SPELLINGS: usize = 16;
/// Places visited, over all pairs of patterns of a table.
const MAX_STEPS: usize = 4 << 20;

/// Compares patterns, and gives up on tables that would take minutes.
pub(super) struct Comparison {
    steps: usize,
}

impl Comparison {
    pub(super) fn new() -> Self {
        Comparison { steps: 0 }
    }

    /// A name that both patterns take, if there is one.
    ///
    /// # Errors
    /// When all comparisons together have taken too many steps.
    pub(super) fn shared_name(
        &mut self,
        left: &Pattern,
        right: &Pattern,
    ) -> Result<Option<String>, TableFault> {
        let rights = spellings(right);
        for left in spellings(left) {
            for right in &rights {
                let name = self.walk(&left, right)?;
                if name.is_some() {
                    return Ok(name);
                }
            }
        }
        Ok(None)
    }

    /// Breadth first through pairs of places; the way back spells the name.
    fn walk(&mut self, left: &[Atom], right: &[Atom]) -> Result<Option<String>, TableFault> {
        let end = (left.len(), right.len());
        let mut came_from: Steps = [((0, 0), None)].into();
        let mut open = VecDeque::from([(0, 0)]);
        while let Some(place @ (l, r)) = open.pop_front() {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err(TableFault::TooLarge { what: "steps to compare the patterns", limit: MAX_STEPS });
            }
            if place == end {
                return Ok(Some(spell(&came_from, end)));
            }
            let Some((one, other)) = left.get(l).copied().zip(right.get(r).copied()) else { continue };
            let Some(character) = one.shared(other) else { continue };
            for next in nexts(one, l).flat_map(|left| nexts(other, r).map(move |right| (left, right))) {
                came_from.entry(next).or_insert_with(|| {
                    open.push_back(next);
                    Some((place, character))
                });
            }
        }
        Ok(None)
    }
}

/// For each place the one before it, and the character between them.
type Steps = HashMap<(usize, usize), Option<((usize, usize), char)>>;

/// The pattern with its choices of words spelled out.
fn spellings(pattern: &Pattern) -> Vec<Vec<Atom>> {
    let mut rows: Vec<Vec<Atom>> = vec![Vec::new()];
    let literal = |text: &str| text.chars().map(Atom::One).collect::<Vec<_>>();
    for piece in pattern.pieces() {
        let tails = match piece {
            Piece::Literal(text) => vec![literal(text)],
            Piece::Placeholder { class, .. } => match class {
                Class::Words(words) if words.len() * rows.len() <= MAX_SPELLINGS => {
                    words.iter().map(|word| literal(word)).collect()
                }
                Class::Part => vec![vec![Atom::Run(Kind::NotDot)]],
                Class::Digits | Class::Number { .. } => vec![vec![Atom::Run(Kind::Digit)]],
                Class::Parts | Class::Words(_) => vec![vec![Atom::Run(Kind::Any)]],
            },
        };
        rows = rows.iter().flat_map(|row| tails.iter().map(|tail| [&**row, tail].concat())).collect();
    }
    rows
}

/// A run may go on or end.
fn nexts(atom: Atom, at: usize) -> impl Iterator<Item = usize> {
    let stays = matches!(atom, Atom::Run(_));
    [Some(at + 1), stays.then_some(at)].into_iter().flatten()
}

fn spell(came_from: &Steps, end: (usize, usize)) -> String {
    let mut name = Vec::new();
    let mut place = end;
    while let Some(Some((before, character))) = came_from.get(&place) {
        name.push(*character);
        place = *before;
    }
    name.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(left: &str, right: &str) -> Option<String> {
        let (left, right) = (Pattern::parse(left).unwrap(), Pattern::parse(right).unwrap());
        let name = Comparison::new().shared_name(&left, &right).unwrap();
        if let Some(name) = &name {
            assert!(left.matches(name) && right.matches(name), "{name}");
        }
        name
    }

    #[test]
    fn a_shared_name_is_found_where_there_is_one() {
        assert_eq!(shared("a.{x}.c", "a.b.{y}").unwrap(), "a.b.c");
        assert!(shared("{any..}.num_batches_tracked", "backbone.{rest..}").is_some());
        assert!(shared("{m:fpn|head}.{rest..}", "head.{n:int}.w").is_some());
        assert!(shared("x{n:int}", "x{part}").is_some());
    }

    #[test]
    fn patterns_without_a_shared_name_are_told_apart() {
        assert_eq!(shared("a.{x}", "b.{x}"), None);
        assert_eq!(shared("a.{x}", "a.b.{y}"), None);
        assert_eq!(shared("a.{n:int}.w", "a.{m:cls|reg}.w"), None);
        assert_eq!(shared("{m:fpn|head}.{rest..}", "aux_{m:fpn|head}.{rest..}"), None);
    }
}
