//! Pascal VOC's XML: one file for each image.

use std::fmt::Write;

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::Event;

use super::bounds::{PictureSize, Shape};
use super::defect::Reason;
use super::draft::{DraftBox, Found};
use super::fault::{Fault, text};
use super::name::base;
use super::set::{DataSet, Image};

/// Elements inside one another; annotations have five.
const MAX_DEPTH: usize = 32;

/// What an annotation file says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Annotation {
    /// `<filename>`, where there is one.
    pub filename: Option<String>,
    /// `<size>`, where it has two whole numbers.
    pub size: Option<PictureSize>,
    /// Every `<object>`.
    pub objects: Vec<AnnotatedObject>,
    sides: [Option<u32>; 2],
}

/// An `<object>`; its text as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnnotatedObject {
    /// `<name>`.
    pub name: String,
    /// `<difficult>` is 1.
    pub is_difficult: bool,
    corners: [Option<f64>; 4],
}

/// The elements of a box in the order of [`Shape::Pixels`].
const CORNERS: [&str; 4] = ["xmin", "ymin", "xmax", "ymax"];

/// Reads the bytes of an annotation file. Entities are not expanded, document types not looked at.
///
/// # Errors
/// The bytes are no XML, or of something else.
pub fn parse(bytes: &[u8]) -> Result<Annotation, Fault> {
    let mut reader = Reader::from_str(text(bytes)?);
    reader.config_mut().expand_empty_elements = true;
    let mut annotation = Annotation::default();
    let mut path: Vec<String> = Vec::new();
    let mut content = String::new();
    let mut is_found = false;
    loop {
        let xml = |error: quick_xml::Error, at| Fault::Xml { at, problem: error.to_string() };
        match reader.read_event().map_err(|error| xml(error, reader.error_position()))? {
            Event::Start(start) => {
                path.push(start.name().as_ref().to_owned());
                if path.len() > MAX_DEPTH {
                    return Err(Fault::Depth(MAX_DEPTH));
                }
                content.clear();
                is_found |= path == ["annotation"];
                if path == ["annotation", "object"] {
                    annotation.objects.push(AnnotatedObject::default());
                }
            }
            Event::End(_) => {
                annotation.take(&path, content.trim());
                path.pop();
                content.clear();
            }
            Event::Text(part) => content.push_str(&part.xml10_content()),
            Event::CData(part) => content.push_str(&part.xml10_content()),
            Event::GeneralRef(entity) => content.push(character(&entity)?),
            Event::Eof if !path.is_empty() => {
                return Err(Fault::Xml {
                    at: reader.buffer_position(),
                    problem: "the file stops".to_owned(),
                });
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if is_found { Ok(annotation) } else { Err(Fault::Root) }
}

/// What an entity stands for.
fn character(entity: &quick_xml::events::BytesRef<'_>) -> Result<char, Fault> {
    let unknown = || Fault::Entity(entity.to_string());
    Ok(match &**entity {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => entity.resolve_char_ref().ok().flatten().ok_or_else(unknown)?,
    })
}

impl Annotation {
    /// Takes the text of the element at a path, if it is one that counts: parts of objects, which have boxes too,
    /// are not.
    fn take(&mut self, path: &[String], content: &str) {
        let [root, path @ ..] = path else { return };
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match (root.as_str(), path.as_slice()) {
            ("annotation", ["filename"]) => self.filename = Some(content.to_owned()),
            ("annotation", ["size", side]) => self.take_side(side, content),
            ("annotation", ["object", path @ ..]) => {
                if let Some(object) = self.objects.last_mut() {
                    object.take(path, content);
                }
            }
            _ => {}
        }
    }

    fn take_side(&mut self, side: &str, content: &str) {
        let [width, height] = &mut self.sides;
        let number = content.parse::<f64>().ok().filter(|number| number.fract() == 0.0);
        let number = number.map(|number| number as u32);
        match side {
            "width" => *width = number,
            "height" => *height = number,
            _ => {}
        }
        if let [Some(width), Some(height)] = self.sides {
            self.size = Some(PictureSize { width, height });
        }
    }
}

impl AnnotatedObject {
    fn take(&mut self, path: &[&str], content: &str) {
        match path {
            ["name"] => self.name = content.to_owned(),
            ["difficult"] => self.is_difficult = content == "1",
            ["bndbox", side] => {
                let corners = CORNERS.iter().zip(&mut self.corners).find(|(name, _)| *name == side);
                if let Some((_, corner)) = corners {
                    *corner = content.parse().ok();
                }
            }
            _ => {}
        }
    }

    /// The object as a box, its class looked up by `category`.
    pub fn draft(&self, index: usize, category: impl Fn(&str) -> Option<usize>) -> DraftBox {
        let corners = CORNERS.iter().zip(self.corners);
        let content = match (category(&self.name), corners.clone().find(|(_, corner)| corner.is_none())) {
            (_, Some((name, _))) => Err((Reason::Malformed, format!("no number <{name}>"))),
            (None, _) => Err((Reason::UnknownClass, self.name.clone())),
            (Some(category), None) => Ok(Found {
                category,
                shape: Shape::Pixels(self.corners.map(Option::unwrap_or_default)),
                is_crowd: false,
                is_difficult: self.is_difficult,
                area: None,
            }),
        };
        DraftBox { place: ("object", index + 1), content }
    }
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
        for (corner, value) in CORNERS.iter().zip(object.bounds.pixels()) {
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

    /// A person with a head, as in VOC 2007: the head's box is not the person's, nor is its name.
    #[test]
    fn parts_of_objects_are_not_objects() {
        let annotation = parse(
            "\u{feff}<?xml version='1.0'?>\r\n<annotation><filename>a &amp; b&#x21;.jpg</filename>\r\n\
             <size><width>20</width><height>10</height></size><object><name><![CDATA[ person ]]></name>\
             <difficult>1</difficult><bndbox><xmin> 3 </xmin><ymin>4.5</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>\
             <part><name>head</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>6</xmax><ymax>6</ymax></bndbox></part>\
             </object></annotation>"
                .as_bytes(),
        )
        .unwrap();
        assert_eq!(annotation.filename.as_deref(), Some("a & b!.jpg"));
        assert_eq!(annotation.size, Some(PictureSize { width: 20, height: 10 }));
        let [object] = annotation.objects.as_slice() else { panic!("{annotation:?}") };
        assert_eq!((object.name.as_str(), object.is_difficult), ("person", true));
        let found = object.draft(0, |_| Some(7)).content.unwrap();
        assert_eq!((found.category, found.shape), (7, Shape::Pixels([3.0, 4.5, 9.0, 8.0])));
    }

    #[test]
    fn incomplete_objects_are_defects() {
        let annotation = parse(
            b"<annotation><object/><object><name>x</name><bndbox><xmin>1</xmin><ymin>two</ymin></bndbox></object>\
              <object><name>x</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>nan</xmax><ymax>1</ymax></bndbox>\
              </object></annotation>",
        )
        .unwrap();
        let reasons = annotation.objects.iter().enumerate();
        let reasons: Vec<Option<Reason>> = reasons
            .map(|(index, one)| one.draft(index, |_| None).content.err().map(|(why, _)| why))
            .collect();
        assert_eq!(reasons, [Reason::Malformed, Reason::Malformed, Reason::UnknownClass].map(Some));
        let shape = annotation.objects[2].draft(2, |_| Some(0)).content.unwrap().shape;
        assert_eq!(shape.fault(PictureSize { width: 9, height: 9 }), Some(Reason::NotFinite));
    }

    #[test]
    fn hostile_xml_is_an_error() {
        let bomb = r#"<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><annotation><filename>&b;</filename></annotation>"#;
        assert!(matches!(parse(bomb.as_bytes()), Err(Fault::Entity(name)) if name == "b"));
        let file = r#"<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation><filename>&a;</filename></annotation>"#;
        assert!(matches!(parse(file.as_bytes()), Err(Fault::Entity(_))));
        assert!(matches!(parse("<annotation>".repeat(100_000).as_bytes()), Err(Fault::Depth(_))));
        assert!(matches!(parse(b""), Err(Fault::Root)));
        assert!(matches!(parse(b"<html></html>"), Err(Fault::Root)));
        assert!(matches!(parse(b"<annotation><object>"), Err(Fault::Xml { .. })));
        assert!(matches!(parse(b"<annotation></object>"), Err(Fault::Xml { .. })));
        assert!(matches!(parse(b"\x89PNG"), Err(Fault::NotUtf8(0))));
    }
}
