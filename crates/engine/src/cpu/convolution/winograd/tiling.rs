//! Which tiles a convolution is computed in.

use network::graph::Conv;

/// Pixels of the result on a side of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Tiling {
    /// F(2x2, 3x3).
    Two,
    /// F(4x4, 3x3).
    Four,
}

impl Tiling {
    /// The one that takes less time for a result of this size and a kernel of so many weights.
    pub(crate) fn of([height, width]: [usize; 2], weights: usize) -> Tiling {
        /// Fewer large tiles than these for every so many weights gain little: they wait for the transformed weights,
        /// which are 2.25 times as many and take as much more memory. Measured on one thread of the machine: with these
        /// the 3x3 convolutions at stride 1 of Gold-YOLO-n at 640x640 take 18 to 20 ms instead of 26 to 27 by small
        /// tiles only; its maps of 20x20, 25 tiles, would gain 1 ms for 20 MiB.
        const FEWEST: usize = 64;
        /// A kernel of 256 channels to 256; that more weights need more tiles in proportion is a choice.
        const WEIGHTS: usize = 9 * 256 * 256;
        /// What a product costs with large tiles, with small ones 10: transforms and edges are more of the time.
        /// A choice.
        const COST: usize = 12;
        let tiles = |side: usize| height.div_ceil(side) * width.div_ceil(side);
        let pays = COST * tiles(4) * Tiling::Four.points() < 10 * tiles(2) * Tiling::Two.points();
        if pays && tiles(4) >= FEWEST * weights.div_ceil(WEIGHTS) { Tiling::Four } else { Tiling::Two }
    }

    /// Numbers of a transformed tile.
    pub(crate) fn points(self) -> usize {
        match self {
            Tiling::Two => 16,
            Tiling::Four => 36,
        }
    }

    pub(crate) fn side(self) -> usize {
        match self {
            Tiling::Two => 2,
            Tiling::Four => 4,
        }
    }

    /// Pixels of the input on a side of a tile.
    pub(crate) fn input_side(self) -> usize {
        self.side() + 2
    }
}

/// Whether a convolution of so many channels is faster so than as plain products.
pub(crate) fn pays(conv: &Conv, channels: usize) -> bool {
    /// Below this the transforms take longer than what they save. A choice.
    const FEWEST: usize = 24;
    let Conv { out, kernel, stride, padding, dilation, groups, .. } = *conv;
    let fits = (kernel, stride, padding, dilation, groups) == ([3; 2], [1; 2], [1; 2], [1; 2], 1);
    fits && channels >= FEWEST && out >= FEWEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_tiles_are_for_large_maps() {
        let of = |size, channels: usize| Tiling::of(size, 9 * channels * channels);
        assert_eq!(of([40, 40], 256), Tiling::Four);
        assert_eq!(of([40, 40], 512), Tiling::Two);
        assert_eq!(of([20, 20], 64), Tiling::Two);
        // Whose large tiles would be half empty.
        assert_eq!(of([2, 400], 64), Tiling::Two);
    }
}
