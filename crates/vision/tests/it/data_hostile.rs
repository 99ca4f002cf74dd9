//! The parsers of data sets on damaged and invented bytes: any outcome but a panic is good, if it comes soon.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use vision::data::draft::{Draft, assemble};
use vision::data::{Defects, coco, names, voc, yaml, yolo};

/// Reads bytes with a parser, and what it finds as images.
fn survive(kind: usize, bytes: &[u8]) {
    let mut defects = Defects::default();
    let (categories, drafts) = match kind {
        0 => coco::parse(bytes, "a.json", &mut defects).unwrap_or_default(),
        1 => {
            let annotation = voc::parse(bytes).unwrap_or_default();
            let objects = annotation.objects.iter().enumerate();
            let boxes =
                objects.map(|(index, object)| voc::draft(object, index, |name| Some(name.len()))).collect();
            let stated = voc::size(&annotation);
            let file = annotation.filename.unwrap_or_default();
            (Vec::new(), vec![Draft { file, stated, id: None, boxes }])
        }
        2 => {
            let stated = Some(vision::data::PictureSize { width: 640, height: 480 });
            let boxes = yolo::parse(bytes, 80);
            (Vec::new(), vec![Draft { file: "a.jpg".to_owned(), stated, id: None, boxes }])
        }
        3 => return drop(yaml::parse(bytes)),
        _ => return drop(names::parse(bytes)),
    };
    let drafts = drafts.into_iter().map(|draft| ("a".to_owned(), draft)).collect();
    let set = assemble(categories, drafts, |_| None, &mut defects);
    for image in set.images() {
        assert!(image.objects.iter().all(|object| object.bounds.width > 0.0 && object.bounds.height > 0.0));
        voc::write(&set, image);
        yolo::write(image);
    }
    coco::write(&set);
}

/// One good file of each kind.
const GOOD: [&str; 5] = [
    r#"{"images": [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}], "annotations": [{"id": 1,
"image_id": 1, "category_id": 2, "bbox": [1.5, 2, 30, 40], "area": 12, "iscrowd": 0, "segmentation": [[1, 2]]}],
"categories": [{"id": 2, "name": "größe"}]}"#,
    "<?xml version=\"1.0\"?>\n<annotation><filename>a&amp;b.jpg</filename><size><width>640</width><height>480</height>\
</size><object><name><![CDATA[x]]></name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>30</xmax>\
<ymax>40</ymax></bndbox></object></annotation>",
    "0 0.5 0.5 0.25 0.125\n79 .1 .2 1e-1 0.2\r\n",
    "path: .. # x\ntrain: 'a'\nnames:\n  0: a\n  1: \"b\"\nother: [c, {0: d}]\nval: b\n",
    "person\ntraffic light\r\ngröße\n",
];

/// Pieces that change what bytes mean.
const PIECES: [&str; 24] = [
    "1e999",
    "-1",
    "NaN",
    "\u{feff}",
    "\r\n",
    "\"",
    "'",
    "[",
    "{",
    "]]>",
    "<![CDATA[",
    "<!DOCTYPE a [",
    "<object>",
    "</object>",
    "&#x110000;",
    "&a;",
    "<bndbox/>",
    ":",
    ",",
    "null",
    "99999999999999999999",
    "../",
    "\0",
    "é",
];

/// SplitMix64.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as usize
}

/// Bytes changed, put in, taken out, doubled.
fn mutated(good: &[u8], state: &mut u64) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=next(state) % 4 {
        let at = next(state) % (bytes.len() + 1);
        let end = (at + next(state) % 40).min(bytes.len());
        match next(state) % 5 {
            0 if at < bytes.len() => bytes[at] ^= 1 << (next(state) % 8),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.extend_from_within(at..end),
            3 => bytes.truncate(at),
            _ => {
                let piece = PIECES[next(state) % PIECES.len()].as_bytes();
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
    bytes
}

/// 4,000 damaged files of each kind.
#[test]
fn damage_is_survived() {
    let (started, mut state) = (Instant::now(), 1);
    for (kind, good) in GOOD.iter().enumerate() {
        survive(kind, good.as_bytes());
        for _ in 0..4000 {
            survive(kind, &mutated(good.as_bytes(), &mut state));
        }
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

/// Every file cut at every byte.
#[test]
fn cut_files_are_survived() {
    for (kind, good) in GOOD.iter().enumerate() {
        (0..good.len()).for_each(|end| survive(kind, &good.as_bytes()[..end]));
    }
}

/// A megabyte of the worst of each piece, for every parser, in time that grows with the bytes.
#[test]
fn repetition_takes_no_more_than_its_time() {
    for piece in
        PIECES.into_iter().chain(["<annotation><object>", "0 0 0 0 0\n", "- \n", "{\"a\":", "a: [", " "])
    {
        let bytes = piece.repeat((1 << 20) / piece.len());
        for (kind, good) in GOOD.iter().enumerate() {
            let started = Instant::now();
            survive(kind, bytes.as_bytes());
            let (start, end) = good.as_bytes().split_at(good.len() / 2);
            survive(kind, &[start, bytes.as_bytes(), end].concat());
            assert!(started.elapsed() < Duration::from_secs(10), "{kind} {piece:?} {:?}", started.elapsed());
        }
    }
}

proptest! {
    #[test]
    fn invented_bytes_are_survived(bytes: Vec<u8>) {
        (0..GOOD.len()).for_each(|kind| survive(kind, &bytes));
    }
}
