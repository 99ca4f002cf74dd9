//! YOLO's text files: a box on each line, class, middle and size as shares of the picture's.

use super::defect::Reason;
use super::draft::{DraftBox, Found};
use super::set::Image;
use crate::boxes::Shape;

/// Reads the bytes of a label file for `classes` classes. Every line that is not empty is a box or a defect.
pub fn parse(bytes: &[u8], classes: usize) -> Vec<DraftBox> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let numbered = text.lines().map(str::trim).enumerate();
    let filled = numbered.filter(|(_, line)| !line.is_empty());
    filled
        .map(|(index, line)| DraftBox { place: ("line", index + 1), content: found(line, classes) })
        .collect()
}

fn found(line: &str, classes: usize) -> Result<Found, (Reason, String)> {
    let malformed = |problem: &str| (Reason::Malformed, format!("{problem}: {}", excerpt(line)));
    let numbers = line.split_ascii_whitespace().take(6).map(str::parse);
    let numbers: Result<Vec<f64>, _> = numbers.collect();
    let numbers = numbers.map_err(|_| malformed("not numbers"))?;
    let [class, x, y, width, height] = numbers.as_slice() else {
        return Err(malformed("not five numbers"));
    };
    let is_index = class.fract() == 0.0 && *class >= 0.0;
    if !is_index || *class >= classes as f64 {
        return Err((Reason::UnknownClass, format!("class {class} of {classes}")));
    }
    Ok(Found {
        category: *class as usize,
        shape: Shape::Shares([*x, *y, *width, *height]),
        is_crowd: false,
        is_difficult: false,
        area: None,
    })
}

/// The beginning of a line.
fn excerpt(line: &str) -> String {
    const LENGTH: usize = 60;
    let mut shown: String = line.chars().take(LENGTH).collect();
    if line.chars().nth(LENGTH).is_some() {
        shown.push('…');
    }
    shown
}

/// The label file of an image. Nine decimals are a hundred-thousandth of a pixel in the largest picture.
pub fn write(image: &Image) -> String {
    let line = |object: &super::set::Object| {
        let shares = object.bounds.shares(image.size).map(|share| format!("{share:.9}"));
        let shares = shares.map(|share| share.trim_end_matches('0').trim_end_matches('.').to_owned());
        format!("{} {}\n", object.category, shares.join(" "))
    };
    image.objects.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(text: &str) -> Vec<Option<Reason>> {
        parse(text.as_bytes(), 3).into_iter().map(|one| one.content.err().map(|(reason, _)| reason)).collect()
    }

    #[test]
    fn lines_are_boxes_however_they_end() {
        for text in ["1 .5 .5 .1 .1\n\n2 .5 .5 1e-1 .2\n", "\u{feff}1 .5 .5 .1 .1\r\n\r\n2 .5\t.5  1e-1 .2"] {
            let boxes = parse(text.as_bytes(), 3);
            assert_eq!(boxes.iter().map(|one| one.place.1).collect::<Vec<_>>(), [1, 3]);
            let found = boxes[1].content.as_ref().unwrap();
            assert_eq!((found.category, found.shape), (2, Shape::Shares([0.5, 0.5, 0.1, 0.2])));
        }
        assert!(parse(b"", 3).is_empty());
    }

    #[test]
    fn other_lines_are_defects() {
        let text = "3 .5 .5 .1 .1\n-1 .5 .5 .1 .1\n1.5 .5 .5 .1 .1\nnan .5 .5 .1 .1\n1 .5 .5 .1\n\
                    1 .5 .5 .1 .1 .9\ndog .5 .5 .1 .1\n1,.5,.5,.1,.1\n2.0 .5 .5 .1 .1";
        let expected = [
            Some(Reason::UnknownClass),
            Some(Reason::UnknownClass),
            Some(Reason::UnknownClass),
            Some(Reason::UnknownClass),
            Some(Reason::Malformed),
            Some(Reason::Malformed),
            Some(Reason::Malformed),
            Some(Reason::Malformed),
            None,
        ];
        assert_eq!(reasons(text), expected);
        assert_eq!(parse(b"\xff\xfe\0\0", 3).len(), 1);
    }
}
