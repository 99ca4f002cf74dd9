//! Pascal VOC's devkit: `Annotations/*.xml`, `ImageSets/Main/*.txt`, `JPEGImages`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::bytes::{MAX_TEXT_BYTES, bytes, class_list, named};
use super::request::{Raw, Request};
use crate::annotations::voc::listed as name_on;
use crate::data::defect::{Defects, Reason};
use crate::data::draft::Draft;
use crate::data::voc::{Annotation, draft, parse, size};
use crate::data::{Error, fault, name, pictures};

/// An annotation file: its path in `Annotations` without extension, and what it says.
type Annotated = (String, Annotation);

pub(super) fn read(request: &Request, defects: &mut Defects) -> Result<Raw, Error> {
    let root = &request.path;
    let folder = root.join("Annotations");
    let files = pictures::listing(&folder, &["xml"])?;
    let stems: Vec<String> = files.iter().map(|file| name::stem(file).to_owned()).collect();
    let wanted = match &request.split {
        Some(split) => listed(root, split, &stems, defects)?,
        None => stems.into_iter().collect(),
    };
    let files = files.iter().filter(|file| wanted.contains(name::stem(file)));
    let annotations: Vec<Annotated> = files.filter_map(|file| annotation(&folder, file, defects)).collect();
    let pictures =
        request.images.clone().or_else(|| Some(root.join("JPEGImages")).filter(|path| path.is_dir()));
    let names = match request.names.clone() {
        Some(names) => names,
        None => class_list(root)?.unwrap_or_else(|| occurring(&annotations)),
    };
    let drafts = drafts(annotations, &names, pictures.as_ref(), defects)?;
    Ok(Raw { categories: named(names), drafts, pictures })
}

/// The file of an image set.
fn set_file(root: &Path, split: &str) -> Result<PathBuf, Error> {
    let sets = root.join("ImageSets").join("Main");
    let file = name::inside(split).map(|split| sets.join(format!("{split}.txt")));
    file.filter(|file| file.is_file()).ok_or_else(|| {
        let known = pictures::listing(&sets, &["txt"]).unwrap_or_default();
        let known: Vec<&str> = known.iter().map(|file| name::stem(file)).collect();
        let remedy = format!("ImageSets/Main has: {}", known.join(", "));
        Error::NoSplit { path: root.to_owned(), split: split.to_owned(), remedy }
    })
}

/// The names that an image set lists and that have annotations.
fn listed(
    root: &Path,
    split: &str,
    stems: &[String],
    defects: &mut Defects,
) -> Result<BTreeSet<String>, Error> {
    let file = set_file(root, split)?;
    let bytes = bytes(&file, MAX_TEXT_BYTES)?;
    let text =
        fault::text(&bytes).map_err(|fault| Error::Content { file: file.clone(), fault: fault.into() })?;
    let stems: HashSet<&str> = stems.iter().map(String::as_str).collect();
    let mut wanted = BTreeSet::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("ImageSets/Main/{split}.txt, line {}", index + 1);
        match name::inside(name_on(line, |name| stems.contains(name))) {
            None => defects.add(Reason::UnsafeName, place, line),
            Some(stem) if !stems.contains(stem.as_str()) => defects.add(Reason::NotAnnotated, place, stem),
            Some(stem) if wanted.contains(&stem) => defects.add(Reason::DuplicateName, place, stem),
            Some(stem) => drop(wanted.insert(stem)),
        }
    }
    Ok(wanted)
}

/// An annotation file; one that cannot be read is a defect.
fn annotation(folder: &Path, file: &str, defects: &mut Defects) -> Option<Annotated> {
    let content = bytes(&folder.join(file), MAX_TEXT_BYTES).map_err(|error| error.to_string());
    let parsed = content.and_then(|content| parse(&content).map_err(|fault| fault.to_string()));
    match parsed {
        Ok(annotation) => Some((name::stem(file).to_owned(), annotation)),
        Err(problem) => {
            defects.add(Reason::Unreadable, || format!("Annotations/{file}"), problem);
            None
        }
    }
}

/// The names that occur, in alphabetical order.
fn occurring(annotations: &[Annotated]) -> Vec<String> {
    let objects = annotations.iter().flat_map(|(_, annotation)| &annotation.objects);
    let names: BTreeSet<&str> =
        objects.map(|object| object.name.as_str()).filter(|name| !name.is_empty()).collect();
    names.into_iter().map(str::to_owned).collect()
}

fn drafts(
    annotations: Vec<Annotated>,
    names: &[String],
    pictures: Option<&PathBuf>,
    defects: &mut Defects,
) -> Result<Vec<(String, Draft)>, Error> {
    let existing = pictures.map(|folder| pictures::by_stem(folder)).transpose()?;
    let classes: HashMap<&str, usize> =
        names.iter().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
    let draft = |(stem, annotation): Annotated| {
        let origin = format!("Annotations/{stem}.xml");
        let file = picture(&stem, &annotation, existing.as_ref(), || origin.clone(), defects);
        let objects = annotation.objects.iter().enumerate();
        let class = |name: &str| classes.get(name).copied();
        let boxes = objects.map(|(index, object)| draft(object, index, class));
        let draft = Draft { file, stated: size(&annotation), id: None, boxes: boxes.collect() };
        (origin, draft)
    };
    Ok(annotations.into_iter().map(draft).collect())
}

/// The picture of an annotation file: the one of the same name, which is the devkit's rule; else the one that the file
/// names; else, where there is neither, what it ought to be.
fn picture(
    stem: &str,
    annotation: &Annotation,
    existing: Option<&BTreeMap<String, Vec<String>>>,
    origin: impl FnOnce() -> String,
    defects: &mut Defects,
) -> String {
    let folder = stem.rfind('/').and_then(|slash| stem.get(..=slash)).unwrap_or_default();
    let named = annotation.filename.as_deref().map(name::base).filter(|named| !named.is_empty());
    let named = named.map(|named| format!("{folder}{named}"));
    let agrees = named.as_ref().is_none_or(|named| name::stem(named) == stem || named == stem);
    if !agrees {
        defects.add(Reason::OtherName, origin, named.clone().unwrap_or_default());
    }
    let of_name =
        |named: &String| existing?.get(name::stem(named))?.iter().find(|file| *file == named).cloned();
    let of_stem = || existing?.get(stem)?.first().cloned();
    let expected = || match named.as_ref().filter(|_| agrees) {
        Some(named) if name::stem(named) == stem => named.clone(),
        _ => format!("{stem}.jpg"),
    };
    let named_here = named.as_ref().filter(|_| agrees).and_then(of_name);
    named_here.or_else(of_stem).or_else(|| named.as_ref().and_then(of_name)).unwrap_or_else(expected)
}
