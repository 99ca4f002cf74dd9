//! Pascal VOC's annotations as drafts, and written.

use std::fmt::Write;

use quick_xml::escape::escape;

use super::defect::Reason;
use super::draft::{DraftBox, Found};
use super::fault::{Fault, text};
use super::name::base;
use super::set::{DataSet, Image};
use crate::annotations::voc;
pub use crate::annotations::voc::{Annotation, Object};
use crate::boxes::Shape;
use crate::pictures::PictureSize;

/// Reads the bytes of an annotation file.
///
/// # Errors
/// The bytes are no XML, or of something else.
pub fn parse(bytes: &[u8]) -> Result<Annotation, Fault> {
    Ok(voc::parse(text(bytes)?)?)
}

/// The size that an annotation file states.
pub fn size(annotation: &Annotation) -> Option<PictureSize> {
    let [width, height] = annotation.sides;
    Some(PictureSize { width: width?, height: height? })
}

/// An object, the how many-th of its file from 0, as a box; its class is looked up by `category`.
pub fn draft(object: &Object, index: usize, category: impl Fn(&str) -> Option<usize>) -> DraftBox {
    let content = match (category(&object.name), object.corners()) {
        (_, Err(corner)) => Err((Reason::Malformed, format!("no number <{corner}>"))),
        (None, _) => Err((Reason::UnknownClass, object.name.clone())),
        (Some(category), Ok(corners)) => Ok(Found {
            category,
            shape: Shape::Pixels(corners),
            is_crowd: false,
            is_difficult: object.is_difficult,
            area: None,
        }),
    };
    DraftBox { place: ("object", index + 1), content }
}

/// The annotation file of an image.
pub fn write(set: &DataSet, image: &Image) -> String {
    let PictureSize { width, height } = image.size;
    let mut xml = String::from("<annotation>\n\t<folder>JPEGImages</folder>\n");
    let filename = escape(base(&image.file));
    xml.push_str(&format!("\t<filename>{filename}</filename>\n"));
    let size = format!("<width>{width}</width>\n\t\t<height>{height}</height>\n\t\t<depth>3</depth>");
    xml.push_str(&format!("\t<size>\n\t\t{size}\n\t</size>\n\t<segmented>0</segmented>\n"));
    for object in &image.objects {
        let name = escape(set.category_name(object.category));
        let difficult = u8::from(object.is_difficult);
        let head = format!("<name>{name}</name>\n\t\t<difficult>{difficult}</difficult>");
        let mut corners = String::new();
        for (corner, value) in voc::CORNERS.iter().zip(object.bounds.pixels()) {
            // Writing to a string cannot fail.
            let _ = writeln!(corners, "\t\t\t<{corner}>{value}</{corner}>");
        }
        xml.push_str(&format!("\t<object>\n\t\t{head}\n\t\t<bndbox>\n{corners}\t\t</bndbox>\n\t</object>\n"));
    }
    xml.push_str("</annotation>\n");
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::judge;

    #[test]
    fn incomplete_objects_are_defects() {
        let annotation = parse(
            b"\xef\xbb\xbf<annotation><object/>\
              <object><name>x</name><bndbox><xmin>1</xmin><ymin>two</ymin></bndbox></object>\
              <object><name>x</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>nan</xmax><ymax>1</ymax></bndbox>\
              </object></annotation>",
        )
        .unwrap();
        let reasons = annotation.objects.iter().enumerate();
        let reasons: Vec<Option<Reason>> = reasons
            .map(|(index, one)| draft(one, index, |_| None).content.err().map(|(why, _)| why))
            .collect();
        assert_eq!(reasons, [Reason::Malformed, Reason::Malformed, Reason::UnknownClass].map(Some));
        let last = draft(&annotation.objects[2], 2, |_| Some(0));
        let shape = last.content.unwrap().shape;
        assert_eq!(judge::fault(shape, PictureSize { width: 9, height: 9 }), Some(Reason::NotFinite));
        assert_eq!(last.place, ("object", 3));
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        let fault = parse(b"\x89PNG").unwrap_err();
        assert!(
            matches!(fault, Fault::Annotations { fault: crate::annotations::Fault::NotUtf8(0) }),
            "{fault}"
        );
    }
}
