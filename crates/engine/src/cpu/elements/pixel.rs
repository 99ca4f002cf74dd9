//! Channels of a pixel.

use crate::cpu::grid::Source;

/// The channels of a pixel.
#[inline(always)]
pub(super) fn channels_of<'a>(
    (floats, grid, first): Source<'a>,
    (image, [y, x]): (usize, [usize; 2]),
    channels: usize,
) -> &'a [f32] {
    let at = grid.at(image, y, x) + first;
    &floats[at..at + channels]
}
