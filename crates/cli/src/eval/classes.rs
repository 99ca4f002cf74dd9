//! Which class of a network is which category of the ground truth.

use std::cmp::Reverse;

use files::printable;
use serde::{Deserialize, Serialize};

use crate::outcome::Usage;
use port::detect::Labels;
use vision::annotations::Id;

/// A category of the ground truth.
#[derive(Debug, Clone)]
pub(super) struct Category {
    pub(super) id: Id,
    /// Its name; empty where it has none.
    pub(super) name: String,
    /// Whether it is evaluated.
    pub(super) is_wanted: bool,
}

/// The categories of the ground truth.
#[derive(Debug)]
pub(super) struct Categories {
    pub(super) entries: Vec<Category>,
    /// Whether their order says something: ids do, VOC's names do not.
    pub(super) are_ordered: bool,
}

/// How classes and categories were matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Matching {
    /// By their names.
    Names,
    /// By their order.
    Order,
}

/// What a class of the network is to the ground truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Class {
    /// The category of this index.
    Category(u32),
    /// None of its categories; the class's own name.
    Unlisted(String),
}

/// The classes of a network in their order. Their names are those `given`, else the published ones of as many classes if
/// a category has one of these. By order are they matched only where nothing names them and there are as many categories.
pub(super) fn matched(
    given: Option<Labels>,
    classes: usize,
    categories: &Categories,
) -> Result<(Matching, Vec<Class>), Usage> {
    let Categories { entries, are_ordered } = categories;
    let is_known = |labels: &Labels| entries.iter().any(|one| labels.names().contains(&one.name));
    match given.or_else(|| Labels::published(classes).filter(is_known)) {
        Some(labels) => Ok((Matching::Names, by_name(&labels, entries)?)),
        None if *are_ordered && entries.len() == classes => {
            Ok((Matching::Order, (0..).take(classes).map(Class::Category).collect()))
        }
        None => Err(unclear(classes, entries)),
    }
}

fn by_name(labels: &Labels, categories: &[Category]) -> Result<Vec<Class>, Usage> {
    let wanted = || categories.iter().filter(|one| one.is_wanted);
    let times = |name: &str| labels.names().iter().filter(|label| *label == name).count();
    let missing: Vec<&str> = wanted().map(|one| one.name.as_str()).filter(|name| times(name) == 0).collect();
    if !missing.is_empty() {
        return Err(unknown(&missing, labels));
    }
    let is_twice =
        |one: &&Category| times(&one.name) > 1 || wanted().filter(|other| other.name == one.name).count() > 1;
    if let Some(Category { name, .. }) = wanted().find(is_twice) {
        let name = printable(name);
        let message =
            format!("two classes or categories are called `{name}`\n  give every one a name of its own");
        return Err(Usage(message));
    }
    // Of several with one name those that are evaluated, which is one.
    let category = |name: &String| {
        let called = (0..).zip(categories).filter(|(_, one)| one.name == *name);
        called.max_by_key(|(index, one)| (one.is_wanted, Reverse(*index)))
    };
    let class = |name: &String| match category(name) {
        Some((index, _)) => Class::Category(index),
        None => Class::Unlisted(name.clone()),
    };
    Ok(labels.names().iter().map(class).collect())
}

const REMEDY: &str = "give --names: the names of the network's classes in their order, as the annotations have them (a \
                      list, a file with one on each line, or the COCO annotations that it was trained on)";

fn unknown(missing: &[&str], labels: &Labels) -> Usage {
    let (missing, known) =
        (listed(missing.iter().copied()), listed(labels.names().iter().map(String::as_str)));
    Usage(format!(
        "categories that are none of the network's classes: {missing}\n  its classes are {known}\n  {REMEDY}"
    ))
}

fn unclear(classes: usize, categories: &[Category]) -> Usage {
    let names = listed(categories.iter().map(|one| one.name.as_str()));
    let count = categories.len();
    Usage(format!(
        "nothing says which of the network's {classes} classes are the annotations' {count} categories: {names}\n  {REMEDY}"
    ))
}

/// The first few names.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let mut names = names.map(|name| format!("`{}`", printable(name)));
    let shown: Vec<String> = names.by_ref().take(SHOWN).collect();
    shown.join(", ") + if names.next().is_some() { ", ..." } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn categories(names: &[&str]) -> Categories {
        let category = |(index, name): (usize, &&str)| Category {
            id: Id::Number(index as i64),
            name: (*name).to_owned(),
            is_wanted: true,
        };
        Categories { entries: names.iter().enumerate().map(category).collect(), are_ordered: true }
    }

    fn labels(names: &[&str]) -> Option<Labels> {
        Some(Labels::named(names.iter().map(|name| (*name).to_owned()).collect()))
    }

    fn unlisted(name: &str) -> Class {
        Class::Unlisted(name.to_owned())
    }

    #[test]
    fn names_decide_where_there_are_some() {
        let (matching, classes) = matched(labels(&["a", "b", "c"]), 3, &categories(&["c", "a"])).unwrap();
        assert_eq!(matching, Matching::Names);
        assert_eq!(classes, [Class::Category(1), unlisted("b"), Class::Category(0)]);
        let (matching, classes) = matched(None, 80, &categories(&["zebra", "person"])).unwrap();
        assert_eq!(
            (matching, &classes[0], &classes[22]),
            (Matching::Names, &Class::Category(1), &Class::Category(0))
        );
        assert_eq!((classes.len(), &classes[1]), (80, &unlisted("bicycle")));
    }

    #[test]
    fn order_decides_where_nothing_has_names() {
        let (matching, classes) = matched(None, 2, &categories(&["x", "y"])).unwrap();
        assert_eq!((matching, classes), (Matching::Order, vec![Class::Category(0), Class::Category(1)]));
        // Twenty classes that are not VOC's.
        let names: Vec<String> = (0..20).map(|index| format!("part {index}")).collect();
        let own = categories(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(matched(None, 20, &own).unwrap().0, Matching::Order);
    }

    #[test]
    fn what_is_unclear_is_refused() {
        let refused =
            |given, classes, categories: &Categories| matched(given, classes, categories).unwrap_err().0;
        let message = refused(labels(&["a", "b"]), 2, &categories(&["a", "B"]));
        assert!(message.starts_with("categories that are none of the network's classes: `B`\n"), "{message}");
        assert!(message.contains("--names"), "{message}");
        // VOC's names for COCO's things.
        assert!(refused(None, 80, &categories(&["person", "sofa"])).contains("`sofa`"));
        assert!(
            refused(None, 6, &categories(&["a"]))
                .starts_with("nothing says which of the network's 6 classes")
        );
        let unordered = Categories { are_ordered: false, ..categories(&["a", "b"]) };
        assert!(refused(None, 2, &unordered).starts_with("nothing says"));
        assert!(refused(labels(&["a", "a"]), 2, &categories(&["a"])).contains("two classes or categories"));
        assert!(
            refused(labels(&["a", "b"]), 2, &categories(&["a", "a"])).contains("two classes or categories")
        );
    }

    #[test]
    fn categories_that_are_not_evaluated_need_no_class() {
        let mut categories = categories(&["a", "other"]);
        categories.entries[1].is_wanted = false;
        let (_, classes) = matched(labels(&["a"]), 1, &categories).unwrap();
        assert_eq!(classes, [Class::Category(0)]);
        // One that has a class is still told.
        let (_, classes) = matched(labels(&["other", "a", "b"]), 3, &categories).unwrap();
        assert_eq!(classes, [Class::Category(1), Class::Category(0), unlisted("b")]);
    }
}
