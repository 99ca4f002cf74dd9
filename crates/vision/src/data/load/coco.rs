//! COCO: one file, and its pictures somewhere near.

use super::bytes::{MAX_COCO_BYTES, bytes};
use super::request::{Raw, Request};
use crate::data::{Defects, Error, coco, name, pictures};

pub(super) fn read(request: &Request, defects: &mut Defects) -> Result<Raw, Error> {
    let file = &request.path;
    if let Some(split) = &request.split {
        let remedy = "a COCO file is one split; give the file of the other".to_owned();
        return Err(Error::NoSplit { path: file.clone(), split: split.clone(), remedy });
    }
    if request.names.is_some() {
        return Err(Error::HasNames { path: file.clone() });
    }
    let origin = file.file_name().unwrap_or_default().to_string_lossy();
    let parsed = coco::parse(&bytes(file, MAX_COCO_BYTES)?, &origin, defects);
    let (categories, drafts) = parsed.map_err(|fault| Error::Content { file: file.clone(), fault })?;
    let files: Vec<String> = drafts.iter().filter_map(|draft| name::inside(&draft.file)).collect();
    let pictures = request.images.clone().or_else(|| pictures::beside(file, &files));
    let drafts = drafts.into_iter().map(|draft| (origin.to_string(), draft)).collect();
    Ok(Raw { categories, drafts, pictures })
}
