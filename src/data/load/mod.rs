//! Reading a data set from its files.

mod coco;
mod voc;
mod yolo;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::data::draft::{Draft, Look, assemble};
use crate::data::set::Category;
use crate::data::{DataSet, Defects, Error, Format, name, pictures};

/// The largest file of annotations read; COCO's own for 118,287 pictures has 449 MiB.
const MAX_COCO_BYTES: u64 = 1 << 31;
/// The largest file read for one image, or list.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// Which data set to read.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// A COCO file, a `data.yaml`, or a folder of VOC's or YOLO's form.
    pub path: PathBuf,
    /// The format; found out when `None`.
    pub format: Option<Format>,
    /// The folder of the pictures; looked for in the usual places when `None`.
    pub images: Option<PathBuf>,
    /// A part: VOC's `ImageSets/Main/NAME.txt`, YOLO's `images/NAME`.
    pub split: Option<String>,
    /// The names of the classes in their order, for VOC and YOLO.
    pub names: Option<Vec<String>>,
}

/// A data set that was read.
#[derive(Debug)]
pub struct Loaded {
    /// Its format.
    pub format: Format,
    /// What is in it.
    pub set: DataSet,
    /// The folder of the pictures, where it is known.
    pub pictures: Option<PathBuf>,
    /// What was wrong with it.
    pub defects: Defects,
}

/// What the readers of the formats find.
struct Raw {
    categories: Vec<Category>,
    /// The file that each image is from, for messages.
    drafts: Vec<(String, Draft)>,
    pictures: Option<PathBuf>,
}

/// Reads a data set. Where pictures are known their heads are read too, and their sizes count.
///
/// # Errors
/// There is no data set, or a file that all depends on cannot be read. Faults in parts are defects.
pub fn load(request: &Request) -> Result<Loaded, Error> {
    let format = request.format.map_or_else(|| Format::of(&request.path), Ok)?;
    let mut defects = Defects::default();
    let raw = match format {
        Format::Coco => coco::read(request, &mut defects)?,
        Format::Voc => voc::read(request, &mut defects)?,
        Format::Yolo => yolo::read(request, &mut defects)?,
    };
    let Raw { categories, drafts, pictures } = raw;
    let seen = pictures.as_deref().map(|folder| {
        let files = drafts.iter().filter_map(|(_, draft)| name::inside(&draft.file));
        pictures::look(folder, files.collect())
    });
    let look = |file: &str| seen.as_ref().and_then(|seen: &HashMap<String, Look>| seen.get(file).cloned());
    let set = assemble(categories, drafts, look, &mut defects);
    Ok(Loaded { format, set, pictures, defects })
}

/// The bytes of a file of at most `limit`.
fn bytes(file: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let io = |problem| Error::Io { file: file.to_owned(), problem };
    let mut bytes = Vec::new();
    File::open(file).map_err(io)?.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    match bytes.len() as u64 > limit {
        true => Err(Error::TooLarge { file: file.to_owned(), limit }),
        false => Ok(bytes),
    }
}

/// The names in `classes.txt` beside the data, where there is one.
fn class_list(root: &Path) -> Result<Option<Vec<String>>, Error> {
    let file = root.join("classes.txt");
    if !file.is_file() {
        return Ok(None);
    }
    let names = crate::data::names::parse(&bytes(&file, MAX_TEXT_BYTES)?);
    Ok(Some(names.map_err(|fault| Error::Content { file, fault })?))
}

/// Categories of these names, without ids.
fn named(names: Vec<String>) -> Vec<Category> {
    names.into_iter().map(|name| Category { name, id: None }).collect()
}
