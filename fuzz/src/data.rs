//! The parsers of data sets, and what is written of the sets that they give.

use vision::data::draft::{Draft, assemble};
use vision::data::{Category, Defects, PictureSize, coco, names, voc, yaml, yolo};

/// COCO annotations, and all of it written again.
pub fn check_coco(bytes: &[u8]) {
    let mut defects = Defects::default();
    if let Ok((categories, drafts)) = coco::parse(bytes, "fuzz.json", &mut defects) {
        check(categories, drafts, defects);
    }
}

/// An annotation file of Pascal VOC.
pub fn check_voc(bytes: &[u8]) {
    if let Ok(annotation) = voc::parse(bytes) {
        let objects = annotation.objects.iter().enumerate();
        let boxes = objects.map(|(index, object)| voc::draft(object, index, |_| Some(0))).collect();
        let stated = voc::size(&annotation);
        let file = annotation.filename.unwrap_or_default();
        check(Vec::new(), vec![Draft { file, stated, id: None, boxes }], Defects::default());
    }
}

/// Labels of YOLO, a `data.yaml` and a list of names.
pub fn check_yolo(bytes: &[u8]) {
    drop((yaml::parse(bytes), names::parse(bytes)));
    let stated = Some(PictureSize { width: 640, height: 480 });
    let draft = Draft { file: "fuzz.jpg".to_owned(), stated, id: None, boxes: yolo::parse(bytes, 80) };
    check(Vec::new(), vec![draft], Defects::default());
}

/// Judges what was found: the boxes that are kept lie about the picture and can be written.
fn check(categories: Vec<Category>, drafts: Vec<Draft>, mut defects: Defects) {
    let drafts = drafts.into_iter().map(|draft| ("fuzz".to_owned(), draft)).collect();
    let set = assemble(categories, drafts, |_| None, &mut defects);
    for image in set.images() {
        for object in &image.objects {
            assert!(object.bounds.width > 0.0 && object.bounds.height > 0.0, "{object:?}");
        }
        drop((voc::write(&set, image), yolo::write(image)));
    }
    drop(coco::write(&set));
}
