//! Detections in many pictures: they are decoded while the network runs, which takes several at a time.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use crate::failure::Result;
use files::{Sha256, sha256};
use image::RgbImage;

use super::classes::Class;
use super::provenance::listed;
use crate::progress;
use port::detect::coco::decimal;
use port::detect::{self, Detector};
use vision::annotations::Id;
use vision::eval::{Detection, Detections, read_file};
use vision::pictures::{EXTENSIONS, decode_image};

/// A picture to look at.
pub(super) struct Picture {
    /// Index of its image.
    pub(super) image: u32,
    pub(super) file: PathBuf,
}

/// The file of this name in the folder, with the name's own folders if they are there. Names never lead out of it.
pub(super) fn named(folder: &Path, name: &str) -> PathBuf {
    let whole = folder.join(name);
    if is_below(name) && whole.is_file() {
        return whole;
    }
    folder.join(name.rsplit(['/', '\\']).next().unwrap_or_default())
}

fn is_below(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// The picture of this name, of any kind that is read, without extension; JPEG where there is none.
pub(super) fn of_stem(folder: &Path, stem: &str) -> PathBuf {
    let file = |extension: &str| named(folder, &format!("{stem}.{extension}"));
    let mut files = EXTENSIONS.iter().map(|extension| file(extension));
    files.find(|file| file.is_file()).unwrap_or_else(|| file("jpg"))
}

/// The detections in all pictures, and the SHA-256 of the pictures' names and contents. `batch` pictures go through the
/// network at a time; `classes` says what its classes are.
pub(super) fn look(
    detector: &mut Detector,
    pictures: &[Picture],
    batch: usize,
    classes: &[Class],
) -> Result<(Detections, String)> {
    let bar = progress::of_pictures(pictures.len());
    let mut seen = Seen { classes, entries: Vec::new(), unlisted: BTreeMap::new(), hash: Sha256::default() };
    std::thread::scope(|scope| {
        // As many as the network takes at once wait for it.
        let (sender, receiver) = sync_channel(batch.max(WAITING));
        scope.spawn(move || read(pictures, &sender));
        for pictures in pictures.chunks(batch) {
            let decoded: Vec<Decoded> = receiver.iter().take(pictures.len()).collect::<Result<_>>()?;
            seen.add(detector, pictures, decoded)?;
            bar.inc(pictures.len() as u64);
        }
        Ok::<(), crate::failure::Error>(())
    })?;
    bar.finish_and_clear();
    let Seen { entries, unlisted, hash, .. } = seen;
    let detections = Detections { entries, unknown_categories: unlisted, ..Detections::default() };
    Ok((detections, hash.hexadecimal()))
}

/// Decoded pictures that wait at least.
const WAITING: usize = 4;

/// A picture, and the SHA-256 of its file.
type Decoded = (RgbImage, String);

fn read(pictures: &[Picture], sender: &SyncSender<Result<Decoded>>) {
    let decoded = |file: &Path| -> Result<Decoded> {
        let bytes = read_file(file)?;
        Ok((decode_image(&bytes, file)?, sha256(&bytes)))
    };
    for picture in pictures {
        // Nobody listens any more after an error.
        if sender.send(decoded(&picture.file)).is_err() {
            return;
        }
    }
}

/// What has been seen so far.
struct Seen<'a> {
    classes: &'a [Class],
    entries: Vec<Detection>,
    /// Detections of classes that the ground truth does not have.
    unlisted: BTreeMap<Id, usize>,
    hash: Sha256,
}

impl Seen<'_> {
    /// Adds what the detector finds in pictures that go through the network together.
    fn add(&mut self, detector: &mut Detector, pictures: &[Picture], decoded: Vec<Decoded>) -> Result<()> {
        let (pixels, hashes): (Vec<RgbImage>, Vec<String>) = decoded.into_iter().unzip();
        let detections = detector.detect_batch(&pixels)?;
        for ((picture, sha256), detections) in pictures.iter().zip(hashes).zip(detections) {
            self.hash.update(listed(&picture.file, &sha256));
            detections.iter().for_each(|one| self.keep(picture.image, one));
        }
        Ok(())
    }

    fn keep(&mut self, image: u32, one: &detect::Detection) {
        match self.classes.get(one.class) {
            Some(&Class::Category(category)) => {
                let (bbox, score) = (one.bbox().map(decimal), decimal(one.score));
                self.entries.push(Detection { image, category, bbox, score });
            }
            Some(Class::Unlisted(name)) => {
                *self.unlisted.entry(Id::Text(name.as_str().into())).or_default() += 1;
            }
            // The network has no more classes than were matched.
            None => {}
        }
    }
}
