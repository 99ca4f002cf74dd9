//! COCO's results for evaluation: the ids of pictures, and detections as records.

use std::collections::HashSet;
use std::path::PathBuf;

use super::{Annotations, Detection, Error, Labels};
use vision::annotations::Id;
use vision::annotations::results::ResultEntry;

/// The ids of pictures in results: those of the annotations where there are some; else the numbers that the files
/// are named by (COCO's `000000000036.jpg` is 36), if all are and none twice; else 1, 2, 3, ...
///
/// # Errors
/// The annotations lack a picture, or have two of its name.
pub fn image_ids(files: &[PathBuf], annotations: Option<&Annotations>) -> Result<Vec<Id>, Error> {
    if let Some(annotations) = annotations {
        return files.iter().map(|file| annotations.image_id(file)).collect();
    }
    let number =
        |file: &PathBuf| file.file_stem()?.to_str()?.parse::<i64>().ok().filter(|number| *number >= 0);
    let numbers: Option<Vec<i64>> = files.iter().map(number).collect();
    let is_unique = |numbers: &Vec<i64>| numbers.iter().collect::<HashSet<_>>().len() == numbers.len();
    let ids = numbers.filter(is_unique).unwrap_or_else(|| (1..=files.len() as i64).collect());
    Ok(ids.into_iter().map(Id::Number).collect())
}

/// A detection in the picture of this id as COCO's evaluation takes it.
pub fn result_entry(image_id: Id, detection: &Detection, labels: &Labels) -> ResultEntry {
    ResultEntry {
        image_id,
        category_id: labels.category_id(detection.class),
        bbox: detection.bbox().map(decimal),
        score: decimal(detection.score),
    }
}

/// The f64 that is written with the fewest digits that tell an f32.
pub fn decimal(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn annotations_give_ids_by_file_name() {
        let text =
            r#"{"info": 1, "images": [{"id": 9, "file_name": "val/a.jpg", "width": 3}], "categories": []}"#;
        let annotations = Annotations::parse(text, Path::new("val.json")).unwrap();
        let ids = |file: &str| image_ids(&[PathBuf::from(file)], Some(&annotations));
        assert_eq!(ids("some/where/a.jpg").unwrap(), [Id::Number(9)]);
        assert!(ids("b.jpg").unwrap_err().to_string().starts_with("b.jpg: "));
        let error = Annotations::parse(r#"{"images": []}"#, Path::new("val.json")).unwrap_err();
        assert!(error.to_string().starts_with("val.json: annotations must be an object with"), "{error}");
    }

    #[test]
    fn folders_tell_pictures_of_one_name_apart() {
        let text = r#"{"images": [{"id": 1, "file_name": "a/9.jpg"}, {"id": 2, "file_name": "b/9.jpg"}],
                       "categories": []}"#;
        let annotations = Annotations::parse(text, Path::new("val.json")).unwrap();
        let ids = |files: &[&str]| {
            image_ids(&files.iter().map(PathBuf::from).collect::<Vec<_>>(), Some(&annotations))
        };
        assert_eq!(ids(&["x/b/9.jpg", "x/a/9.jpg"]).unwrap(), [2, 1].map(Id::Number));
        assert!(ids(&["9.jpg"]).unwrap_err().to_string().contains("several pictures"));
        let twice = r#"{"categories": [{"id": 3, "name": "a"}, {"id": 3, "name": "b"}]}"#;
        let error = Annotations::parse(twice, Path::new("val.json")).unwrap_err();
        assert!(
            error.to_string().contains("category 1 (the first is 0): another one has its `id`"),
            "{error}"
        );
    }

    #[test]
    fn numbers_in_names_are_ids_if_all_are_different() {
        let ids =
            |files: &[&str]| image_ids(&files.iter().map(PathBuf::from).collect::<Vec<_>>(), None).unwrap();
        assert_eq!(ids(&["x/000000000036.jpg", "x/4.png"]), [36, 4].map(Id::Number));
        assert_eq!(ids(&["x/000000000036.jpg", "x/dog.jpg"]), [1, 2].map(Id::Number));
        assert_eq!(ids(&["x/7.jpg", "y/007.jpg"]), [1, 2].map(Id::Number));
    }

    #[test]
    fn results_have_widths_and_category_ids() {
        let detection = Detection { corners: [1.0, 2.0, 11.0, 7.5], score: 0.5, class: 79 };
        let entry = result_entry(Id::Number(36), &detection, &Labels::usual(80));
        let json = serde_json::to_string(&entry).unwrap();
        assert_eq!(json, r#"{"image_id":36,"category_id":90,"bbox":[1.0,2.0,10.0,5.5],"score":0.5}"#);
    }
}
