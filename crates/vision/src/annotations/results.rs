//! COCO's result files: a list of detections.

use serde::Serialize;

use super::coco::list;
use super::field::{Field, Flaw, id, number, plain, record, sides};
use super::json::{self, Kind, Reader};
use super::{Fault, Id};

/// A detection, as it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultRecord {
    /// The id of its image.
    pub image: Field<Id>,
    /// The id of its category.
    pub category: Field<Id>,
    /// Left, top, width, height in pixels, finite or not.
    pub bbox: Field<[f64; 4]>,
    /// The larger, the surer; finite or not.
    pub score: Field<f64>,
}

/// A detection, as it is written; numbers come back to the bit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResultEntry {
    /// The id of its image.
    pub image_id: Id,
    /// The id of its category.
    pub category_id: Id,
    /// Left, top, width, height in pixels.
    pub bbox: [f64; 4],
    /// The larger, the surer.
    pub score: f64,
}

/// Reads the text of a result file and shows `take` each record.
///
/// # Errors
/// The text is no such JSON, a record is no object, or `take` refuses it.
pub fn read(text: &[u8], mut take: impl FnMut(ResultRecord) -> Result<(), Flaw>) -> Result<(), Fault> {
    let mut reader = Reader::new(text);
    if reader.peek()? != Kind::Array {
        return Err(Fault::NotResults);
    }
    list(&mut reader, "result", result, &mut take)?;
    Ok(reader.end()?)
}

fn result(reader: &mut Reader<'_>) -> Result<Result<ResultRecord, Flaw>, json::Fault> {
    let mut one = ResultRecord { image: Ok(None), category: Ok(None), bbox: Ok(None), score: Ok(None) };
    let read = record(reader, |reader, key| {
        match key {
            "image_id" => one.image = plain(id(reader, "image_id"))?,
            "category_id" => one.category = plain(id(reader, "category_id"))?,
            "bbox" => one.bbox = plain(sides(reader))?,
            "score" => one.score = plain(number(reader, "score"))?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(read.map(|()| one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let entry = ResultEntry {
            image_id: Id::Text("a/1".into()),
            category_id: Id::Number(90),
            bbox: [0.1, 1.0 / 3.0, 1e-300, 5.5],
            score: 0.7,
        };
        let text = serde_json::to_vec(&[&entry]).unwrap();
        let mut read_again = Vec::new();
        read(&text, |record| {
            read_again.push(record);
            Ok(())
        })
        .unwrap();
        let ResultEntry { image_id, category_id, bbox, score } = entry;
        let (image, category) = (Ok(Some(image_id)), Ok(Some(category_id)));
        let expected = ResultRecord { image, category, bbox: Ok(Some(bbox)), score: Ok(Some(score)) };
        assert_eq!(read_again, [expected]);
    }

    #[test]
    fn what_are_no_results_is_said() {
        assert_eq!(read(b"{}", |_| Ok(())), Err(Fault::NotResults));
        let flaw = Flaw::NotAnObject;
        assert_eq!(read(b"[{}, 1]", |_| Ok(())), Err(Fault::Record { list: "result", index: 1, flaw }));
    }
}
