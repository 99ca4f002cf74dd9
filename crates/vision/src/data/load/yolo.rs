//! YOLO: `images` and `labels` side by side, with `classes.txt` or a `data.yaml`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::bytes::{MAX_TEXT_BYTES, bytes, class_list, named};
use super::request::{Raw, Request};
use crate::data::defect::{Defects, Reason};
use crate::data::draft::{Draft, DraftBox};
use crate::data::yaml::{self, Description};
use crate::data::{Error, name, pictures, yolo};

/// A folder of pictures and the one of their labels.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    pictures: PathBuf,
    labels: PathBuf,
}

pub(super) fn read(request: &Request, defects: &mut Defects) -> Result<Raw, Error> {
    let (root, description) = described(&request.path)?;
    let names = class_names(request, &root, &description)?;
    let parts = parts(request, &root, &description)?;
    let base = shared(&parts);
    let mut drafts = Vec::new();
    for part in &parts {
        let prefix = part.pictures.strip_prefix(&base).unwrap_or(Path::new(""));
        let prefix: Vec<_> = prefix.components().map(|one| one.as_os_str().to_string_lossy()).collect();
        let prefix: String = prefix.iter().map(|one| format!("{one}/")).collect();
        drafts.extend(part.drafts(&prefix, names.len(), defects)?);
    }
    Ok(Raw { categories: named(names), drafts, pictures: Some(base) })
}

/// The folder of the data set and what its `data.yaml` says.
fn described(path: &Path) -> Result<(PathBuf, Description), Error> {
    let file = if path.is_dir() { path.join("data.yaml") } else { path.to_owned() };
    let home = file.parent().unwrap_or(Path::new("")).to_owned();
    if path.is_dir() && !file.is_file() {
        return Ok((home, Description::default()));
    }
    let parsed = yaml::parse(&bytes(&file, MAX_TEXT_BYTES)?);
    let description = parsed.map_err(|fault| Error::Content { file, fault })?;
    // Trainers look for it from their own folder of data sets; the file usually lies in the right one.
    let root = description.path.as_ref().map(|path| home.join(path)).filter(|root| root.is_dir());
    Ok((root.unwrap_or(home), description))
}

fn class_names(request: &Request, root: &Path, description: &Description) -> Result<Vec<String>, Error> {
    if let Some(names) = &request.names {
        return Ok(names.clone());
    }
    if !description.names.is_empty() {
        return Ok(description.names.clone());
    }
    class_list(root)?.ok_or_else(|| Error::NoNames { path: request.path.clone() })
}

fn parts(request: &Request, root: &Path, description: &Description) -> Result<Vec<Part>, Error> {
    let split = request.split.as_deref();
    if let Some(pictures) = &request.images {
        let labels = split.map_or(root.join("labels"), |split| root.join("labels").join(split));
        return Ok(vec![Part { pictures: pictures.clone(), labels }]);
    }
    let mut parts = described_parts(split, root, description)?;
    if parts.is_empty() {
        let images = root.join("images");
        let folder = split.map_or(Some(images.clone()), |split| Some(images.join(name::inside(split)?)));
        parts.extend(folder.map(Part::of).filter(|part| part.pictures.is_dir()));
    }
    match split {
        Some(split) if parts.is_empty() => Err(Error::NoSplit {
            path: request.path.clone(),
            split: split.to_owned(),
            remedy: "splits are named in data.yaml or are the folders in images".to_owned(),
        }),
        _ if parts.is_empty() => Err(Error::NotADataSet { path: request.path.clone() }),
        _ => Ok(parts),
    }
}

/// The folders that a `data.yaml` names for a split, or for all.
fn described_parts(split: Option<&str>, root: &Path, description: &Description) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    for (_, folder) in description.splits.iter().filter(|(name, _)| split.is_none_or(|split| split == name)) {
        let part = Part::of(found(root, folder));
        if part.pictures.is_file() {
            return Err(Error::PictureList { file: part.pictures });
        }
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    Ok(parts)
}

/// A folder of pictures that a `data.yaml` names. Some tools write `../train/images` for `train/images`.
fn found(root: &Path, folder: &str) -> PathBuf {
    let inner = folder.strip_prefix("../").map(|inner| root.join(inner));
    let outer = root.join(folder);
    if outer.exists() { outer } else { inner.filter(|inner| inner.exists()).unwrap_or(outer) }
}

/// The folder that all parts lie in; of one, its own.
fn shared(parts: &[Part]) -> PathBuf {
    let mut parts = parts.iter().map(|part| part.pictures.as_path());
    let first = parts.next().unwrap_or(Path::new(""));
    let starts = |one: &Path, other: &Path| {
        let same = one.components().zip(other.components()).take_while(|(one, other)| one == other);
        same.map(|(component, _)| component).collect::<PathBuf>()
    };
    parts.fold(first.to_owned(), |shared, one| starts(&shared, one))
}

impl Part {
    /// The folder of pictures, and where its labels are: in the same path with the last `images` called `labels`, else
    /// among the pictures.
    fn of(pictures: PathBuf) -> Part {
        let components: Vec<Component<'_>> = pictures.components().collect();
        let last = components.iter().rposition(|one| one.as_os_str() == "images");
        let renamed = components.iter().enumerate().map(|(index, one)| match Some(index) == last {
            true => Component::Normal("labels".as_ref()),
            false => *one,
        });
        let labels = renamed.collect();
        Part { pictures, labels }
    }

    fn drafts(
        &self,
        prefix: &str,
        classes: usize,
        defects: &mut Defects,
    ) -> Result<Vec<(String, Draft)>, Error> {
        let mut by_stem = pictures::by_stem(&self.pictures)?;
        let mut drafts = Vec::new();
        for label in self.label_files(&by_stem)? {
            let origin = format!("{prefix}{label}");
            let Some(pictures) = by_stem.remove(name::stem(&label)) else {
                defects.add(Reason::LabelWithoutImage, || origin, "");
                continue;
            };
            let content = self.content(&label, &origin, defects);
            let boxes = yolo::parse(&content, classes);
            for (index, file) in pictures.into_iter().enumerate() {
                if index > 0 {
                    defects.add(Reason::DuplicateName, || origin.clone(), file.clone());
                }
                drafts.push((origin.clone(), draft(format!("{prefix}{file}"), boxes.clone())));
            }
        }
        let unlabelled = by_stem.into_values().flatten().map(|file| {
            let file = format!("{prefix}{file}");
            (file.clone(), draft(file, Vec::new()))
        });
        drafts.extend(unlabelled);
        Ok(drafts)
    }

    /// The bytes of a label file; none where it cannot be read, which is a defect.
    fn content(&self, label: &str, origin: &str, defects: &mut Defects) -> Vec<u8> {
        bytes(&self.labels.join(label), MAX_TEXT_BYTES).unwrap_or_else(|error| {
            defects.add(Reason::Unreadable, || origin.to_owned(), error.to_string());
            Vec::new()
        })
    }

    /// The label files. Images without objects need no labels, so that a set without objects needs no folder of them.
    fn label_files(&self, by_stem: &BTreeMap<String, Vec<String>>) -> Result<Vec<String>, Error> {
        if !self.labels.is_dir() {
            return Ok(Vec::new());
        }
        let is_list = |label: &String| label == "classes.txt" && !by_stem.contains_key("classes");
        let labels = pictures::listing(&self.labels, &["txt"])?;
        Ok(labels.into_iter().filter(|label| !is_list(label)).collect())
    }
}

/// An image of which its label file tells only the boxes.
fn draft(file: String, boxes: Vec<DraftBox>) -> Draft {
    Draft { file, stated: None, id: None, boxes }
}
