//! Fills `corpus/` with the files of `../tests/data` and a few data sets, in the form that each target takes.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use converters_fuzz::{STORAGES, evaluation::SEPARATOR};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// libFuzzer cuts longer files, which makes them useless.
const MAX_LEN: usize = 1 << 16;
/// Signatures of zip headers, and where their checksums lie.
const ZIP_HEADERS: [(&[u8], usize); 2] = [(b"PK\x03\x04", 14), (b"PK\x01\x02", 16)];

/// Files of data sets: a target and a file for it.
const DATA_SETS: [(&str, &str); 7] = [
    (
        "voc",
        "<?xml version=\"1.0\"?>\n<annotation><filename>a&amp;b.jpg</filename><size><width>640</width><height>480\
         </height></size><object><name><![CDATA[x]]></name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>2.5</ymin>\
         <xmax>30</xmax><ymax>40</ymax></bndbox><part><name>head</name></part></object><object/></annotation>",
    ),
    (
        "voc",
        "\u{feff}<!DOCTYPE a [<!ENTITY b \"c\">]><annotation><filename>&b;&#x21;</filename></annotation>",
    ),
    ("yolo", "0 0.5 0.5 0.25 0.125\n79 .1 .2 1e-1 0.2\r\n"),
    ("yolo", "path: .. # x\ntrain: 'a'\nnames:\n  0: a\n  1: \"b\"\nother: [c, {0: d}]\nval: b\n"),
    ("yolo", "\u{feff}names: ['it''s', \"a \\\"b\\\"\", größe]\r\n"),
    ("yolo", "person\ntraffic light\r\ngröße\n"),
    (
        "coco",
        "{\"images\": [{\"id\": 1, \"file_name\": \"a.jpg\", \"width\": 640, \"height\": 480}], \"annotations\": [{\"id\": 1, \
         \"image_id\": 1, \"category_id\": 2, \"bbox\": [1.5, 2, 30, NaN], \"area\": 12, \"iscrowd\": 0, \"ignore\": true, \
         \"segmentation\": [[1, 2]], \"keypoints\": []}], \"categories\": [{\"id\": 2, \"name\": \"größe\"}]}",
    ),
];

fn main() -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = Corpus { folder: root.join("corpus"), count: 0 };
    println!("{} seeds", corpus.fill(&root.join("../tests/data"))?);
    Ok(())
}

/// Where seeds go, and how many there are.
struct Corpus {
    folder: PathBuf,
    count: usize,
}

impl Corpus {
    fn fill(mut self, data: &Path) -> Outcome<usize> {
        for file in files(data)? {
            let bytes = fs::read(&file)?;
            for (target, seed) in seeds(&file, bytes) {
                self.add(target, seed)?;
            }
        }
        for case in fs::read_dir(data.join("eval/coco"))? {
            let case = case?.path();
            if case.is_dir() {
                let (truth, results) = (fs::read(case.join("gt.json"))?, fs::read(case.join("dt.json"))?);
                self.add("eval", [&*truth, &[SEPARATOR], &*results].concat())?;
                self.add("coco", truth)?;
            }
        }
        for (target, text) in DATA_SETS {
            self.add(target, text.as_bytes().to_vec())?;
        }
        Ok(self.count)
    }

    fn add(&mut self, target: &str, seed: Vec<u8>) -> Outcome {
        if seed.len() <= MAX_LEN {
            let folder = self.folder.join(target);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(format!("seed-{:04}", self.count)), seed)?;
            self.count += 1;
        }
        Ok(())
    }
}

fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    found.sort();
    Ok(found)
}

/// Which target gets which bytes of a file.
fn seeds(file: &Path, bytes: Vec<u8>) -> Vec<(&'static str, Vec<u8>)> {
    let extension = file.extension().and_then(|extension| extension.to_str());
    if bytes.starts_with(b"PK") {
        let target = if extension == Some("npz") { "numpy" } else { "torch" };
        let mut seeds = vec![(target, without_checksums(&bytes))];
        seeds.extend(torch_pickle(&bytes).map(|seed| ("torch_pickle", seed)));
        seeds.push((target, bytes));
        return seeds;
    }
    match extension {
        Some("onnx") => vec![("onnx", bytes)],
        Some("npy") => vec![("numpy", bytes)],
        Some("json") if !file.ends_with("model.safetensors.index.json") => vec![],
        Some("safetensors" | "json") => vec![("safetensors", bytes)],
        Some("pkl") => {
            let end = bytes.len() - if bytes.ends_with(b"HCAJSLHD") { 28.min(bytes.len()) } else { 0 };
            let pickle = bytes[..end].to_vec();
            vec![("jittor", pickle.clone()), ("pickle", pickle), ("pickle", bytes)]
        }
        Some("pth") => vec![("torch", bytes)],
        _ => vec![],
    }
}

/// Checksum 0 means `not computed`: changes of the content get past it.
fn without_checksums(zip: &[u8]) -> Vec<u8> {
    let mut zip = zip.to_vec();
    for at in 0..zip.len() {
        for (signature, checksum) in ZIP_HEADERS {
            if zip[at..].starts_with(signature) && at + checksum + 4 <= zip.len() {
                zip[at + checksum..at + checksum + 4].fill(0);
            }
        }
    }
    zip
}

/// The input that [`converters_fuzz::torch_archive`] makes such an archive of: its plainly stored `data.pkl`
/// and the lengths of its storages.
fn torch_pickle(zip: &[u8]) -> Option<Vec<u8>> {
    let mut lengths = [0; STORAGES];
    let mut pickle = None;
    let headers = (0..zip.len()).filter(|at| zip[*at..].starts_with(b"PK\x01\x02"));
    for header in headers.map(|at| &zip[at..]) {
        let field = |at: usize| Some(u16::from_le_bytes([*header.get(at)?, *header.get(at + 1)?]));
        let wide = |at: usize| Some(usize::from(field(at)?) | usize::from(field(at + 2)?) << 16);
        let name = str::from_utf8(header.get(46..46 + usize::from(field(28)?))?).ok()?;
        let (size, start) = (wide(24)?, wide(42)?);
        if name.ends_with("data.pkl") {
            let local = zip.get(start..)?;
            let skip = 30
                + usize::from(u16::from_le_bytes([*local.get(26)?, *local.get(27)?]))
                + usize::from(u16::from_le_bytes([*local.get(28)?, *local.get(29)?]));
            pickle = local.get(skip..skip + size);
        }
        let key = name.rsplit_once("data/").and_then(|(_, key)| key.parse::<usize>().ok());
        if let Some(length) = key.and_then(|key| lengths.get_mut(key)) {
            *length = size as u16;
        }
    }
    let lengths = lengths.iter().flat_map(|length| length.to_le_bytes());
    Some(lengths.chain(pickle?.iter().copied()).collect())
}
