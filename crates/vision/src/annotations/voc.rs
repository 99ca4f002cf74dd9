//! Pascal VOC's annotation files, an XML document for each image, and its image sets.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

use super::Fault;

/// Elements inside one another; annotations have five.
const MAX_DEPTH: usize = 32;

/// The elements of a box: first and last pixel, across and down, counted from 1.
pub const CORNERS: [&str; 4] = ["xmin", "ymin", "xmax", "ymax"];

/// What an annotation file says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Annotation {
    /// `<filename>`, where there is one.
    pub filename: Option<String>,
    /// Width and height of `<size>`, where they are whole numbers.
    pub sides: [Option<u32>; 2],
    /// Every `<object>`.
    pub objects: Vec<Object>,
}

/// An `<object>`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object {
    /// `<name>`, without space around it; empty where there is none.
    pub name: String,
    /// `<difficult>` is 1.
    pub is_difficult: bool,
    corners: [Option<f64>; 4],
}

impl Object {
    /// The numbers of [`CORNERS`], finite or not.
    ///
    /// # Errors
    /// The name of the first that is missing or no number.
    pub fn corners(&self) -> Result<[f64; 4], &'static str> {
        let mut corners = [0.0; 4];
        for ((place, corner), name) in corners.iter_mut().zip(self.corners).zip(CORNERS) {
            *place = corner.ok_or(name)?;
        }
        Ok(corners)
    }
}

/// The name on a line of an image set (`ImageSets/Main/*.txt`). In those of one class (`cat_train.txt`) a number after
/// the name says whether the image shows it; `is_image` tells whether an image has a name.
pub fn listed(line: &str, is_image: impl Fn(&str) -> bool) -> &str {
    let line = line.trim();
    match line.rsplit_once(char::is_whitespace) {
        Some((name, "1" | "-1" | "0")) if !is_image(line) => name.trim(),
        _ => line,
    }
}

/// Reads the text of an annotation file. Entities are not expanded, document types not looked at.
///
/// # Errors
/// The text is no XML, or about something else.
pub fn parse(text: &str) -> Result<Annotation, Fault> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut walk = Walk::default();
    loop {
        let xml = |problem: String, at| Fault::Xml { at, problem };
        match reader.read_event().map_err(|error| xml(error.to_string(), reader.error_position()))? {
            Event::Start(start) => walk.enter(start.name().as_ref())?,
            Event::End(_) => walk.leave(),
            Event::Text(part) => walk.content.push_str(&part.xml10_content()),
            Event::CData(part) => walk.content.push_str(&part.xml10_content()),
            Event::GeneralRef(entity) => walk.content.push(character(&entity)?),
            Event::Eof if !walk.path.is_empty() => {
                return Err(xml("the file stops within an element".to_owned(), reader.buffer_position()));
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if walk.is_found { Ok(walk.annotation) } else { Err(Fault::Root) }
}

/// What an entity stands for.
fn character(entity: &BytesRef<'_>) -> Result<char, Fault> {
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

/// A place in the document: the elements around it, and the text since the last tag.
#[derive(Default)]
struct Walk {
    path: Vec<String>,
    content: String,
    annotation: Annotation,
    is_found: bool,
}

impl Walk {
    fn enter(&mut self, element: &str) -> Result<(), Fault> {
        self.path.push(element.to_owned());
        if self.path.len() > MAX_DEPTH {
            return Err(Fault::Depth(MAX_DEPTH));
        }
        self.content.clear();
        self.is_found |= self.path == ["annotation"];
        if self.path == ["annotation", "object"] {
            self.annotation.objects.push(Object::default());
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.annotation.take(&self.path, self.content.trim());
        self.path.pop();
        self.content.clear();
    }
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
    }
}

impl Object {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A person with a head, as in VOC 2007: the head's box is not the person's, nor is its name.
    #[test]
    fn parts_of_objects_are_not_objects() {
        let annotation = parse(
            "<?xml version='1.0'?>\r\n<annotation><filename>a &amp; b&#x21;.jpg</filename>\r\n\
             <size><width>20</width><height>10</height></size><object><name><![CDATA[ person ]]></name>\
             <difficult>1</difficult><bndbox><xmin> 3 </xmin><ymin>4.5</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>\
             <part><name>head</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>6</xmax><ymax>6</ymax></bndbox></part>\
             </object></annotation>",
        )
        .unwrap();
        assert_eq!(annotation.filename.as_deref(), Some("a & b!.jpg"));
        assert_eq!(annotation.sides, [Some(20), Some(10)]);
        let [object] = annotation.objects.as_slice() else { panic!("{annotation:?}") };
        assert_eq!((object.name.as_str(), object.is_difficult), ("person", true));
        assert_eq!(object.corners(), Ok([3.0, 4.5, 9.0, 8.0]));
    }

    #[test]
    fn missing_corners_are_named() {
        let text = "<annotation><object/><object><bndbox><xmin>1</xmin><ymin>two</ymin></bndbox></object></annotation>";
        let annotation = parse(text).unwrap();
        let corners: Vec<_> = annotation.objects.iter().map(Object::corners).collect();
        assert_eq!(corners, [Err("xmin"), Err("ymin")]);
    }

    #[test]
    fn hostile_xml_is_an_error() {
        let bomb = r#"<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><annotation><filename>&b;</filename></annotation>"#;
        assert!(matches!(parse(bomb), Err(Fault::Entity(name)) if name == "b"));
        let file = r#"<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation><filename>&a;</filename></annotation>"#;
        assert!(matches!(parse(file), Err(Fault::Entity(_))));
        assert!(matches!(parse(&"<annotation>".repeat(100_000)), Err(Fault::Depth(_))));
        assert!(matches!(parse(""), Err(Fault::Root)));
        assert!(matches!(parse("<html></html>"), Err(Fault::Root)));
        assert!(matches!(parse("<annotation><object>"), Err(Fault::Xml { .. })));
        assert!(matches!(parse("<annotation></object>"), Err(Fault::Xml { .. })));
    }

    #[test]
    fn lines_of_image_sets_name_images() {
        for (line, name) in [
            ("000007", "000007"),
            ("a b\r", "a b"),
            (" 000007 -1", "000007"),
            ("cat  1", "cat"),
            ("x 1", "x 1"),
        ] {
            assert_eq!(listed(line, |name| name == "x 1"), name, "{line}");
        }
    }
}
