//! The sets of weights in a file, found by a table's roots, and the choice among them.

use std::collections::BTreeMap;

use converters::Tensor;

use super::array::Form;
use super::gather::{Gathered, gather};
use super::problem::MappingError;
use super::root::Root;
use super::rule::Side;
use super::table::Table;

/// One set of weights in a file: the tensors whose names begin as a root says.
#[derive(Debug, Clone)]
pub struct Weights<'a> {
    /// The root's name.
    pub name: String,
    /// What the flat names of its tensors begin with, `state_dict.avg_model.` for instance.
    pub beginning: String,
    /// Names without that, with the tensors.
    pub tensors: Vec<(String, &'a Tensor)>,
    /// Tensors of the file that belong to something else.
    pub beside: Vec<Beside>,
    /// How many of the tensors the table has something to say about.
    pub explained: usize,
    /// What the table makes of their names.
    pub(super) gathered: Gathered,
}

impl Weights<'_> {
    /// Types and shapes of the tensors with these numbers.
    pub(super) fn forms(&self, members: &[usize]) -> Vec<Form> {
        let tensors = members.iter().filter_map(|index| self.tensors.get(*index));
        tensors.map(|(_, tensor)| Form::of(tensor)).collect()
    }
}

/// Tensors of a file that are no part of the chosen weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// What their flat names begin with.
    pub beginning: String,
    /// How many there are.
    pub tensors: usize,
    /// The root's name, if they are another set of weights.
    pub weights: Option<String>,
}

impl Beside {
    /// Why they were left out, for a list.
    pub fn reason(&self, chosen: &str) -> String {
        let tensors =
            if self.tensors == 1 { "1 tensor".to_owned() } else { format!("{} tensors", self.tensors) };
        match &self.weights {
            Some(name) => format!("another set of weights, {tensors}: --weights {name} takes it"),
            None => format!("beside the weights `{chosen}`, {tensors}"),
        }
    }
}

/// A root that some tensors of a file belong to.
struct Candidate<'t> {
    root: &'t Root,
    path: String,
    beginning: String,
    explained: usize,
}

impl Table {
    /// The set of weights called `wanted`, or the one that the table prefers.
    ///
    /// # Errors
    /// When there is none, or none of that name.
    pub fn choose<'a>(
        &self,
        tensors: &'a [Tensor],
        wanted: Option<&str>,
    ) -> Result<Weights<'a>, MappingError> {
        let all = self.candidates(tensors);
        let is_wanted = |candidate: &&Candidate| wanted.is_none_or(|name| candidate.root.name == name);
        let chosen = all.iter().find(is_wanted).ok_or_else(|| MappingError::NoWeights {
            table: self.name(),
            wanted: wanted.map(str::to_owned),
            present: all.iter().map(|candidate| candidate.root.name.clone()).collect(),
        })?;
        Ok(self.gather(chosen, &all, tensors))
    }

    /// For each root the beginning under which the table explains most; roots with less than half as much as the
    /// best are accidents, one odd name for instance.
    fn candidates(&self, tensors: &[Tensor]) -> Vec<Candidate<'_>> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for root in &self.roots {
            let counted = root.beginnings().map(|(path, beginning)| {
                let rests = tensors.iter().filter_map(|tensor| tensor.name().strip_prefix(&beginning));
                let explained = rests.filter(|rest| self.mentions(rest)).count();
                Candidate { root, path, beginning, explained }
            });
            // Of equals the first.
            candidates.extend(
                counted.reduce(|best, next| if next.explained > best.explained { next } else { best }),
            );
        }
        let best = candidates.iter().map(|candidate| candidate.explained).max().unwrap_or_default();
        candidates.retain(|candidate| candidate.explained > 0 && 2 * candidate.explained >= best);
        candidates
    }

    fn gather<'a>(&self, chosen: &Candidate, all: &[Candidate], tensors: &'a [Tensor]) -> Weights<'a> {
        let mut weights = Weights {
            name: chosen.root.name.clone(),
            beginning: chosen.beginning.clone(),
            tensors: Vec::new(),
            beside: Vec::new(),
            explained: chosen.explained,
            gathered: Gathered::default(),
        };
        let mut beside: BTreeMap<(String, Option<String>), usize> = BTreeMap::new();
        for tensor in tensors {
            match place_of(tensor.name(), chosen, all) {
                Place::Inside(rest) => weights.tensors.push((rest.to_owned(), tensor)),
                Place::Beside(beginning, name) => {
                    *beside.entry((beginning.to_owned(), name)).or_default() += 1;
                }
            }
        }
        weights.beside = beside
            .into_iter()
            .map(|((beginning, weights), tensors)| Beside { beginning, tensors, weights })
            .collect();
        let names = weights.tensors.iter().map(|(name, _)| name.as_str());
        weights.gathered = gather(self, Side::Foreign, names);
        weights
    }
}

/// Where a tensor belongs.
enum Place<'n> {
    /// To the chosen weights, under this name.
    Inside(&'n str),
    /// To what begins so: another set of weights, or another branch of the file.
    Beside(&'n str, Option<String>),
}

/// A tensor in the dictionary of the chosen weights belongs to them, whatever its name, unless another set claims it.
fn place_of<'n>(name: &'n str, chosen: &Candidate, all: &[Candidate]) -> Place<'n> {
    if let Some(rest) = name.strip_prefix(&chosen.beginning).filter(|_| !is_claimed(name, chosen, all)) {
        return Place::Inside(rest);
    }
    let claims = |other: &&Candidate| {
        other.beginning != chosen.beginning
            && !other.beginning.is_empty()
            && name.starts_with(&other.beginning)
    };
    if let Some(other) = all.iter().filter(claims).max_by_key(|other| other.beginning.len()) {
        let beginning = name.get(..other.beginning.len()).unwrap_or(name);
        return Place::Beside(beginning, Some(other.root.name.clone()));
    }
    if name.starts_with(&chosen.path) {
        return Place::Inside(name.get(chosen.path.len()..).unwrap_or(name));
    }
    let step = name.find('.').map_or(name.len(), |dot| dot);
    Place::Beside(name.get(..step).unwrap_or(name), None)
}

/// Whether another set of weights with a longer beginning has the tensor.
fn is_claimed(name: &str, chosen: &Candidate, all: &[Candidate]) -> bool {
    all.iter()
        .any(|other| other.beginning.len() > chosen.beginning.len() && name.starts_with(&other.beginning))
}

#[cfg(test)]
mod tests {
    use converters::Dtype;

    use super::*;

    fn tensors(names: &[&str]) -> Vec<Tensor> {
        names.iter().map(|name| Tensor::from_bytes(name, Dtype::U8, &[1], vec![0]).unwrap()).collect()
    }

    fn upstream() -> &'static Table {
        Table::shipped("nanodet-plus/upstream").unwrap()
    }

    fn chosen(names: &[&str]) -> (String, Vec<String>) {
        let tensors = tensors(names);
        let weights = upstream().choose(&tensors, None).unwrap();
        (weights.name.clone(), weights.tensors.iter().map(|(name, _)| name.clone()).collect())
    }

    #[test]
    fn the_preferred_weights_are_chosen_and_the_rest_is_told_by_branch() {
        let names = [
            "state_dict.model.head.a",
            "state_dict.avg_model.head.a",
            "state_dict.avg_model.odd",
            "state_dict.loose",
            "optimizer.0.x",
            "optimizer.1.x",
        ];
        let tensors = tensors(&names);
        let weights = upstream().choose(&tensors, None).unwrap();
        let inside: Vec<&str> = weights.tensors.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((weights.name.as_str(), inside), ("avg", vec!["head.a", "odd", "loose"]));
        let beside: Vec<_> = weights
            .beside
            .iter()
            .map(|one| (one.beginning.as_str(), one.tensors, one.weights.as_deref()))
            .collect();
        assert_eq!(beside, [("optimizer", 2, None), ("state_dict.model.", 1, Some("model"))]);
        assert_eq!(upstream().choose(&tensors, Some("model")).unwrap().name, "model");
        let missing = upstream().choose(&tensors, Some("ema")).unwrap_err().to_string();
        assert!(missing.contains("--weights avg, --weights model"), "{missing}");
    }

    #[test]
    fn a_file_of_one_set_of_weights_needs_no_prefix() {
        assert_eq!(chosen(&["head.a", "fpn.b"]).0, "weights");
        assert_eq!(
            chosen(&["module.head.a", "module.fpn.b"]),
            ("model".to_owned(), vec!["head.a".into(), "fpn.b".into()])
        );
        assert_eq!(chosen(&["state_dict.head.a", "epoch"]).1, ["head.a"]);
        // One odd name does not make a set of weights.
        assert_eq!(chosen(&["model.head.a", "head.b", "fpn.b", "backbone.c"]).0, "weights");
        assert!(upstream().choose(&tensors(&["layer.weight"]), None).is_err());
    }
}
