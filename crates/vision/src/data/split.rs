//! Parting a data set by images, the same way on every machine.

use std::str::FromStr;

use files::Sha256;

use super::set::DataSet;

/// How large the parts are, relative to each other: `8:2`, `70:15:15`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ratio(Vec<u32>);

/// What is no ratio.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RatioError {
    /// Something in it is no positive whole number.
    #[error("`{0}` is no positive whole number; give parts as in 8:2")]
    Number(String),
    /// It has one part.
    #[error("a ratio has two parts or more, as in 8:2 or 8:1:1")]
    OnePart,
}

impl FromStr for Ratio {
    type Err = RatioError;

    fn from_str(text: &str) -> Result<Ratio, RatioError> {
        let number = |part: &str| part.trim().parse().ok().filter(|number| *number > 0);
        let parts =
            text.split(':').map(|part| number(part).ok_or_else(|| RatioError::Number(part.to_owned())));
        let parts: Vec<u32> = parts.collect::<Result<_, _>>()?;
        if parts.len() < 2 { Err(RatioError::OnePart) } else { Ok(Ratio(parts)) }
    }
}

impl Ratio {
    /// The names of the parts: train and val, then test; of more than three part1, part2, ...
    pub fn names(&self) -> Vec<String> {
        match self.0.len() {
            count @ ..=3 => {
                ["train", "val", "test"].iter().take(count).map(|&name| name.to_owned()).collect()
            }
            count => (1..=count).map(|number| format!("part{number}")).collect(),
        }
    }

    /// How many of `total` each part gets: shares rounded down, the rest to those that lost most, earlier ones first.
    fn sizes(&self, total: usize) -> Vec<usize> {
        let (total, sum) = (total as u128, self.0.iter().map(|&part| u128::from(part)).sum::<u128>());
        let exact =
            self.0.iter().map(|&part| (total * u128::from(part) / sum, total * u128::from(part) % sum));
        let exact: Vec<(u128, u128)> = exact.collect();
        let left = total - exact.iter().map(|(whole, _)| whole).sum::<u128>();
        let mut order: Vec<usize> = (0..exact.len()).collect();
        order.sort_by_key(|&part| std::cmp::Reverse(exact.get(part).map(|(_, lost)| *lost)));
        let extra = |part| usize::from(order.iter().take(left as usize).any(|&other| other == part));
        exact.iter().enumerate().map(|(part, (whole, _))| *whole as usize + extra(part)).collect()
    }
}

/// Parts a data set by images: every image is in one part. Images are drawn in the order of the SHA-256 of the seed
/// (eight bytes, the lowest first) and the file name, so that nothing but these decides.
pub fn split(set: &DataSet, ratio: &Ratio, seed: u64) -> Vec<DataSet> {
    let files = set.images().iter().enumerate();
    let mut drawn: Vec<(_, usize)> = files.map(|(index, image)| (draw(seed, &image.file), index)).collect();
    drawn.sort_unstable();
    let mut part_of = vec![0; drawn.len()];
    let mut drawn = drawn.into_iter();
    for (part, size) in ratio.sizes(part_of.len()).into_iter().enumerate() {
        for (_, index) in drawn.by_ref().take(size) {
            if let Some(slot) = part_of.get_mut(index) {
                *slot = part;
            }
        }
    }
    let part = |part| set.part(|index| part_of.get(index) == Some(&part));
    (0..ratio.0.len()).map(part).collect()
}

fn draw(seed: u64, file: &str) -> [u8; 32] {
    let mut hash = Sha256::default();
    hash.update(seed.to_le_bytes());
    hash.update(file);
    hash.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Image;
    use crate::pictures::PictureSize;

    fn set(count: usize) -> DataSet {
        let size = PictureSize { width: 9, height: 9 };
        let image = |number| Image { file: format!("{number}.jpg"), size, id: None, objects: Vec::new() };
        DataSet::new(Vec::new(), (0..count).map(image).collect())
    }

    fn files(set: &DataSet) -> Vec<&str> {
        set.images().iter().map(|image| image.file.as_str()).collect()
    }

    #[test]
    fn parts_are_disjoint_and_complete() {
        for (ratio, count) in [("8:2", 0), ("8:2", 1), ("8:2", 364), ("1:1:1", 100), ("3:2:1:7", 77)] {
            let (ratio, set) = (ratio.parse().unwrap(), set(count));
            let parts = split(&set, &ratio, 7);
            let mut all: Vec<&str> = parts.iter().flat_map(files).collect();
            all.sort_unstable();
            assert_eq!((parts.len(), all), (ratio.names().len(), files(&set)));
        }
    }

    #[test]
    fn sizes_are_those_of_the_ratio() {
        let sizes = |ratio: &str, total| ratio.parse::<Ratio>().unwrap().sizes(total);
        assert_eq!(sizes("8:2", 10), [8, 2]);
        assert_eq!(sizes("1:1:1", 100), [34, 33, 33]);
        assert_eq!(sizes("4294967295:1", usize::MAX).iter().sum::<usize>(), usize::MAX);
        assert_eq!(sizes("70:15:15", 364), [255, 55, 54]);
        for wrong in ["8", "", "8:0", "8:-2", "a:b", "8:2:"] {
            assert!(wrong.parse::<Ratio>().is_err(), "{wrong}");
        }
    }

    /// These pictures for this seed, on all machines and in all versions.
    #[test]
    fn the_seed_decides() {
        let (set, ratio) = (set(10), "7:3".parse().unwrap());
        let val = |seed| split(&set, &ratio, seed)[1].clone();
        // Computed with Python's hashlib.
        assert_eq!(files(&val(0)), ["0.jpg", "1.jpg", "5.jpg"]);
        assert_ne!(val(0), val(1));
    }
}
