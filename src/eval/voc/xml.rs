//! VOC's annotation files: one XML document for each image.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Elements inside one another; annotations have five.
const MAX_DEPTH: usize = 32;

/// An `<object>`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Annotated {
    pub(super) name: String,
    pub(super) is_difficult: bool,
    /// Left, top, right, bottom.
    pub(super) corners: [f64; 4],
}

/// An `<object>` that is being read.
#[derive(Default)]
struct Draft {
    name: String,
    is_difficult: bool,
    corners: [Option<f64>; 4],
}

/// The objects of an annotation.
///
/// # Errors
/// No XML, or an object without name or box.
pub(super) fn objects(text: &str) -> Result<Vec<Annotated>, String> {
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut path: Vec<String> = Vec::new();
    let mut content = String::new();
    let (mut objects, mut draft) = (Vec::new(), Draft::default());
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => {
                path.push(start.name().as_ref().to_owned());
                content.clear();
                if path.len() > MAX_DEPTH {
                    return Err("elements nest too deeply".to_owned());
                }
            }
            Event::Text(text) => content.push_str(&text.xml10_content()),
            Event::End(_) => {
                let steps: Vec<&str> = path.iter().map(String::as_str).collect();
                match steps.as_slice() {
                    ["annotation", "object"] => objects.push(std::mem::take(&mut draft).finished()?),
                    ["annotation", "object", rest @ ..] => draft.field(rest, content.trim())?,
                    _ => {}
                }
                path.pop();
            }
            Event::Eof if path.is_empty() => return Ok(objects),
            Event::Eof => return Err("the document ends within an element".to_owned()),
            _ => {}
        }
    }
}

impl Draft {
    /// Takes an element of an object; those of its `<part>`s do not count.
    fn field(&mut self, path: &[&str], text: &str) -> Result<(), String> {
        let corner = match path {
            ["name"] => {
                text.clone_into(&mut self.name);
                return Ok(());
            }
            ["difficult"] => {
                self.is_difficult = text == "1";
                return Ok(());
            }
            ["bndbox", "xmin"] => 0,
            ["bndbox", "ymin"] => 1,
            ["bndbox", "xmax"] => 2,
            ["bndbox", "ymax"] => 3,
            _ => return Ok(()),
        };
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        let number = number.ok_or_else(|| format!("`{text}` is no coordinate"))?;
        if let Some(place) = self.corners.get_mut(corner) {
            *place = Some(number);
        }
        Ok(())
    }

    fn finished(self) -> Result<Annotated, String> {
        let [Some(left), Some(top), Some(right), Some(bottom)] = self.corners else {
            return Err(format!("an object `{}` has no complete bndbox", self.name));
        };
        if self.name.is_empty() {
            return Err("an object has no name".to_owned());
        }
        Ok(Annotated {
            name: self.name,
            is_difficult: self.is_difficult,
            corners: [left, top, right, bottom],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_not_objects() {
        let text = "<annotation><object><name>person</name><difficult>1</difficult>\
            <bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3.5</xmax><ymax>4</ymax></bndbox>\
            <part><name>head</name><bndbox><xmin>9</xmin></bndbox></part></object></annotation>";
        let corners = [1.0, 2.0, 3.5, 4.0];
        let expected = Annotated { name: "person".to_owned(), is_difficult: true, corners };
        assert_eq!(objects(text).unwrap(), [expected]);
    }

    #[test]
    fn what_is_missing_is_said() {
        for (text, problem) in [
            ("<annotation><object><name>a</name></object></annotation>", "no complete bndbox"),
            ("<annotation><object>", "ends within"),
            ("<annotation></object></annotation>", "object"),
            ("<annotation><object><bndbox><xmin>NaN</xmin></bndbox></object></annotation>", "no coordinate"),
        ] {
            let error = objects(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
        assert!(objects(&"<a>".repeat(100)).unwrap_err().contains("deeply"));
    }
}
