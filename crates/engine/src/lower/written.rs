//! Which parts of a gradient's buffer were written.

use crate::cpu::grid::{Grid, runs};
use crate::cpu::place::Part;

/// What was written of a buffer, by bands of pixels and channels. All images are written alike.
#[derive(Debug)]
pub(super) struct Written {
    size: usize,
    /// Images, floats from an image to the next and floats of a record, as the first part has them.
    layout: Option<[usize; 3]>,
    /// In order, from the first pixel to the last.
    bands: Vec<Band>,
}

/// Pixels that follow each other.
#[derive(Debug, Clone)]
struct Band {
    start: usize,
    end: usize,
    /// For each channel of a record whether it was written.
    channels: Vec<bool>,
}

impl Written {
    /// Nothing yet of a buffer of so many floats.
    pub(super) fn new(size: usize) -> Written {
        Written { size, layout: None, bands: Vec::new() }
    }

    /// Marks a part as written if nothing of it was; whether that is so.
    pub(super) fn claim(&mut self, part: Part) -> bool {
        if self.layout.is_none() {
            self.begin(part);
        }
        if self.layout != Some(layout(part)) {
            return false;
        }
        self.split(part);
        let is_free = self.bands_of(part).all(|band| !channels(band, part).any(|written| *written));
        if is_free {
            self.bands_of(part).for_each(|band| channels(band, part).for_each(|written| *written = true));
        }
        is_free
    }

    /// Marks all of a part as written. The result is what of it, or around it where it is laid out otherwise than what
    /// was written before, was not, and is to be filled with zeros.
    pub(super) fn fill(&mut self, part: Part) -> Vec<Part> {
        if self.layout.is_none() {
            self.begin(part);
        }
        let is_alike = self.layout == Some(layout(part));
        let (bands, channels) = match is_alike {
            true => {
                self.split(part);
                (pixels(part), part.channel..part.channel + part.channels)
            }
            false => ([0, usize::MAX], 0..usize::MAX),
        };
        let [images, image, record] = self.layout.unwrap_or_default();
        let mut missing = Vec::new();
        for band in self.bands.iter_mut().filter(|band| bands[0] <= band.start && band.end <= bands[1]) {
            let free = band
                .channels
                .iter_mut()
                .enumerate()
                .filter(|(at, written)| channels.contains(at) && !**written);
            let free: Vec<usize> = free
                .map(|(channel, written)| {
                    *written = true;
                    channel
                })
                .collect();
            let width = band.end - band.start;
            let row = Grid::packed(images, [1, width], record);
            let grid = Grid { start: band.start * record, image, ..row };
            missing.extend(runs(&free).into_iter().map(|run| Part {
                buffer: part.buffer,
                grid,
                channel: run.start,
                channels: run.length,
            }));
        }
        missing
    }

    fn begin(&mut self, part: Part) {
        let [images, _, record] = layout(part);
        let end = self.size / (images * record).max(1);
        self.layout = Some(layout(part));
        self.bands = vec![Band { start: 0, end, channels: vec![false; record] }];
    }

    /// Lets bands begin and end where a part does.
    fn split(&mut self, part: Part) {
        for at in pixels(part) {
            let mut bands = self.bands.iter_mut().enumerate();
            if let Some((index, band)) = bands.find(|(_, band)| band.start < at && at < band.end) {
                let behind = Band { start: at, ..band.clone() };
                band.end = at;
                self.bands.insert(index + 1, behind);
            }
        }
    }

    fn bands_of(&mut self, part: Part) -> impl Iterator<Item = &mut Band> {
        let [start, end] = pixels(part);
        self.bands.iter_mut().filter(move |band| start <= band.start && band.end <= end)
    }
}

fn layout(part: Part) -> [usize; 3] {
    [part.grid.images, part.grid.image, part.grid.record]
}

/// The first pixel of a part and the one behind its last.
fn pixels(part: Part) -> [usize; 2] {
    let start = part.grid.start / part.grid.record.max(1);
    [start, start + part.grid.pixels()]
}

fn channels(band: &mut Band, part: Part) -> impl Iterator<Item = &mut bool> {
    band.channels.iter_mut().skip(part.channel).take(part.channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two images of 12 pixels of 5 channels.
    fn whole() -> Part {
        Part::whole(0, Grid::packed(2, [3, 4], 5))
    }

    fn level(start: usize, width: usize) -> Part {
        let grid = Grid { start: start * 5, image: 60, ..Grid::packed(2, [1, width], 5) };
        Part::whole(0, grid)
    }

    #[test]
    fn channels_are_written_once_and_then_added_to() {
        let mut written = Written::new(120);
        assert!(written.claim(whole().part(0, 2)));
        assert!(!written.claim(whole().part(1, 1)), "the second share");
        assert!(written.claim(whole().part(3, 2)));
        let missing = written.fill(whole());
        assert_eq!(missing.iter().map(|part| (part.channel, part.channels)).collect::<Vec<_>>(), [(2, 1)]);
        assert_eq!(written.fill(whole()), []);
    }

    #[test]
    fn levels_of_points_are_written_each_for_itself() {
        let mut written = Written::new(120);
        assert!(written.claim(level(8, 4)));
        assert!(written.claim(level(0, 6)));
        assert!(!written.claim(whole()));
        let missing = written.fill(whole());
        let bands: Vec<_> =
            missing.iter().map(|part| (part.grid.start, part.grid.width, part.channels)).collect();
        assert_eq!(bands, [(30, 2, 5)]);
    }

    #[test]
    fn what_is_laid_out_otherwise_finds_everything_written() {
        let mut written = Written::new(120);
        assert!(written.claim(whole().part(0, 4)));
        let rows = whole().seen_as([1, 12, 10]);
        assert!(!written.claim(rows));
        assert_eq!(written.fill(rows).iter().map(Part::elements).sum::<usize>(), 24);
        assert_eq!(written.fill(rows), []);
    }
}
