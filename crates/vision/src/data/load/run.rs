//! From a path to a data set.

use std::collections::HashMap;
use std::path::Path;

use super::request::{Loaded, Raw, Request};
use super::{coco, voc, yolo};
use crate::data::draft::{Look, assemble};
use crate::data::{Defects, Error, Format, name, pictures};

/// Reads a data set. Where pictures are known their heads are read too, and their sizes count.
///
/// # Errors
/// There is no data set, or a file that all depends on cannot be read. Faults in parts are defects.
pub fn load(request: &Request) -> Result<Loaded, Error> {
    let format = request.format.map_or_else(|| format_of(&request.path), Ok)?;
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

/// The format of the data set at `path`: by the extension of a file, by what is in a folder.
///
/// # Errors
/// There is no data set.
fn format_of(path: &Path) -> Result<Format, Error> {
    std::fs::metadata(path).map_err(|problem| Error::Io { file: path.to_owned(), problem })?;
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("json") if path.is_file() => Ok(Format::Coco),
        Some("yaml" | "yml") if path.is_file() => Ok(Format::Yolo),
        _ if path.join("Annotations").is_dir() => Ok(Format::Voc),
        _ if path.join("labels").is_dir() || path.join("data.yaml").is_file() => Ok(Format::Yolo),
        _ => Err(Error::NotADataSet { path: path.to_owned() }),
    }
}
