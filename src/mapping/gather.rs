//! Tensors of one side brought together by the rules that take their names.

use std::collections::HashMap;

use super::rule::{Bundle, Side};
use super::table::{Table, Taken};

/// What became of the names of one side; tensors are numbered as they were given.
#[derive(Debug, Clone, Default)]
pub(super) struct Gathered {
    /// Uses of rules, with a tensor for each name of the side, in the order of the first.
    pub(super) bundles: Vec<(Bundle, Vec<usize>)>,
    /// Tensors that are left behind, and why.
    pub(super) dropped: Vec<(usize, String)>,
    /// Tensors without a place on the other side.
    pub(super) loose: Vec<(usize, Loose)>,
}

/// Why a tensor has no place on the other side.
#[derive(Debug, Clone)]
pub(super) enum Loose {
    /// No rule takes it.
    Nothing,
    /// The names it would get belong to another on the way back.
    Shadowed(Bundle),
    /// The dialect does not have it.
    Absent,
    /// An earlier tensor has its name.
    Duplicate,
    /// Another tensor that the rule needs is not there.
    Incomplete { bundle: Bundle, missing: String },
}

/// Brings names together, in time linear in their number.
pub(super) fn gather<'n>(table: &Table, side: Side, names: impl Iterator<Item = &'n str>) -> Gathered {
    let mut gathered = Gathered::default();
    let mut places: HashMap<Bundle, usize> = HashMap::new();
    let mut bundles: Vec<(Bundle, Vec<Option<usize>>)> = Vec::new();
    for (index, name) in names.enumerate() {
        match table.take(side, name) {
            Taken::Dropped(drop) => gathered.dropped.push((index, drop.reason().to_owned())),
            Taken::Nothing => gathered.loose.push((index, Loose::Nothing)),
            Taken::Absent => gathered.loose.push((index, Loose::Absent)),
            Taken::Shadowed(bundle) => gathered.loose.push((index, Loose::Shadowed(bundle))),
            Taken::Rule(bundle) => {
                let place = *places.entry(bundle.clone()).or_insert_with(|| {
                    let slots = vec![None; bundle.names(side).len()];
                    bundles.push((bundle.clone(), slots));
                    bundles.len() - 1
                });
                let own = bundle.names(side).iter().position(|own| own == name);
                let slots = bundles.get_mut(place).map(|(_, slots)| slots);
                match own.zip(slots).and_then(|(own, slots)| slots.get_mut(own)) {
                    Some(slot) if slot.is_none() => *slot = Some(index),
                    _ => gathered.loose.push((index, Loose::Duplicate)),
                }
            }
        }
    }
    for (bundle, slots) in bundles {
        gathered.close(side, bundle, slots);
    }
    gathered
}

impl Gathered {
    /// Keeps a complete bundle, or says what is missing.
    fn close(&mut self, side: Side, bundle: Bundle, slots: Vec<Option<usize>>) {
        let missing = bundle.names(side).iter().zip(&slots).find(|(_, slot)| slot.is_none());
        let Some(missing) = missing.map(|(name, _)| name.clone()) else {
            self.bundles.push((bundle, slots.into_iter().flatten().collect()));
            return;
        };
        for index in slots.into_iter().flatten() {
            let (bundle, missing) = (bundle.clone(), missing.clone());
            self.loose.push((index, Loose::Incomplete { bundle, missing }));
        }
    }
}
