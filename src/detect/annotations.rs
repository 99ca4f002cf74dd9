//! The pictures and categories that COCO's annotations have, as ids for results.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Error;
use vision::annotations::coco::{Record, read};
use vision::annotations::{Fault, Flaw, Id, needed};

/// The largest file of names or annotations read; COCO's own for 118,287 pictures has 449 MiB.
const MAX_ANNOTATION_BYTES: u64 = 1 << 30;

/// The pictures and categories of an annotation file; its boxes are not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    /// By the last part of the file name: the whole name and the id of each picture that ends so.
    images: HashMap<String, Vec<(String, Id)>>,
    categories: BTreeMap<Id, String>,
}

impl Annotations {
    /// Reads an annotation file.
    ///
    /// # Errors
    /// The file cannot be read or is no annotation file.
    pub fn read(file: &Path) -> Result<Annotations, Error> {
        Annotations::parse(&read_text(file)?, file)
    }

    /// Parses the text of the annotation file `file` (for messages only).
    ///
    /// # Errors
    /// The text is not of that form, an image or category has no id or name, or two categories have one id.
    pub fn parse(text: &str, file: &Path) -> Result<Annotations, Error> {
        let wrong = |fault| Error::Annotations { file: file.to_owned(), fault };
        let mut annotations = Annotations::default();
        let lists = read(text.as_bytes(), |record| annotations.take(record)).map_err(wrong)?;
        if lists.categories { Ok(annotations) } else { Err(wrong(Fault::NotAnnotations)) }
    }

    fn take(&mut self, record: Record) -> Result<(), Flaw> {
        match record {
            Record::Image(image) => {
                let (id, file) = (needed(image.id, "id")?, needed(image.file_name, "file_name")?);
                self.images.entry(base_name(&file).to_owned()).or_default().push((file, id));
            }
            Record::Category(category) => {
                let (id, name) = (needed(category.id, "id")?, needed(category.name, "name")?);
                if self.categories.insert(id, name).is_some() {
                    return Err(Flaw::IdTwice);
                }
            }
            Record::Annotation(_) => {}
        }
        Ok(())
    }

    /// The id of the picture of this file name: the one with most folders before it in common.
    pub(super) fn image_id(&self, file: &Path) -> Result<Id, Error> {
        let path = file.to_string_lossy();
        let none = Vec::new();
        let named = self.images.get(base_name(&path)).unwrap_or(&none);
        let most = named.iter().map(|(name, _)| common_end(name, &path)).max();
        let mut best = named.iter().filter(|(name, _)| Some(common_end(name, &path)) == most);
        match (best.next(), best.next()) {
            (Some((_, id)), None) => Ok(id.clone()),
            (Some(_), Some(_)) => Err(Error::Ambiguous { file: file.to_owned() }),
            (None, _) => Err(Error::NotAnnotated { file: file.to_owned() }),
        }
    }

    /// Ids and names of the categories in the order of their ids, which is that of the classes.
    pub fn categories(&self) -> impl Iterator<Item = (Id, String)> + '_ {
        self.categories.iter().map(|(id, name)| (id.clone(), name.clone()))
    }
}

/// The parts of a path of either kind, the last first.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.rsplit(['/', '\\'])
}

fn base_name(path: &str) -> &str {
    parts(path).next().unwrap_or(path)
}

/// How many parts at their ends two paths have in common.
fn common_end(one: &str, other: &str) -> usize {
    parts(one).zip(parts(other)).take_while(|(one, other)| one == other).count()
}

/// Reads a file of names or annotations.
pub(super) fn read_text(file: &Path) -> Result<String, Error> {
    let io = |problem| Error::Io { file: file.to_owned(), problem };
    let mut text = String::new();
    File::open(file).map_err(io)?.take(MAX_ANNOTATION_BYTES).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}
