//! Pixels from planes (NCHW), and planes from pixels.

use crate::cpu::grid::Grid;
use crate::cpu::team::Team;

/// Channels one after another (NCHW) into pixels; channel `i` goes to `positions[i]`.
pub(crate) fn from_planes(team: &Team, planes: &[f32], result: &mut [f32], to: Grid, positions: &[usize]) {
    let (area, channels) = (to.pixels(), positions.len());
    to.split_rows(team, result, 8 * channels, |image, first_row, result| {
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            let source = |channel: usize| {
                let at = (image * channels + channel) * area + (first_row + row) * to.width;
                &planes[at..at + to.width]
            };
            if (positions, to.record) == (&[0, 1, 2], 3) {
                let colours = source(0).iter().zip(source(1)).zip(source(2));
                let pixels = records.as_chunks_mut::<3>().0.iter_mut();
                pixels.zip(colours).for_each(|(pixel, ((red, green), blue))| *pixel = [*red, *green, *blue]);
                continue;
            }
            for (channel, position) in positions.iter().enumerate() {
                let slots = records.iter_mut().skip(*position).step_by(to.record.max(1));
                slots.zip(source(channel)).for_each(|(slot, value)| *slot = *value);
            }
        }
    });
}

/// Pixels into channels one after another (NCHW).
pub(crate) fn to_planes(
    x: &[f32],
    from: Grid,
    positions: impl ExactSizeIterator<Item = usize> + Clone,
    planes: &mut [f32],
) {
    for (image, planes) in planes.chunks_mut((from.pixels() * positions.len()).max(1)).enumerate() {
        image_to_planes(x, from.image(image), positions.clone(), planes);
    }
}

/// The same on all threads, into `[N, C, 1, H * W]`.
pub(crate) fn unpack(
    team: &Team,
    x: &[f32],
    from: Grid,
    positions: impl Iterator<Item = usize> + Clone + Sync,
    (result, to): (&mut [f32], Grid),
) {
    to.split_rows(team, result, 2 * to.record, |image, first, planes| {
        let positions = positions.clone().skip(first);
        image_to_planes(x, from.image(image), positions, planes);
    });
}

/// Channels of an image, row by row, so that what is read stays in the cache.
fn image_to_planes(
    x: &[f32],
    from: Grid,
    positions: impl Iterator<Item = usize> + Clone,
    planes: &mut [f32],
) {
    for y in 0..from.height {
        for (plane, position) in planes.chunks_mut(from.pixels().max(1)).zip(positions.clone()) {
            let row = &mut plane[y * from.width..(y + 1) * from.width];
            let source = &x[from.at(0, y, 0) + position..];
            row.iter_mut()
                .zip(source.iter().step_by(from.record.max(1)))
                .for_each(|(slot, value)| *slot = *value);
        }
    }
}

/// Writes planes `[N, C, H, W]` as channels of pixels, or adds them to what is there.
pub(crate) fn pack(
    team: &Team,
    planes: &[f32],
    (result, to, channel): (&mut [f32], Grid, usize),
    channels: usize,
    add: bool,
) {
    to.split_rows(team, result, 8 * channels, |image, first_row, result| {
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for index in 0..channels {
                let start = (image * channels + index) * to.pixels() + (first_row + row) * to.width;
                let source = &planes[start..start + to.width];
                let slots = records.iter_mut().skip(channel + index).step_by(to.record.max(1));
                slots.zip(source).for_each(|(slot, value)| *slot = if add { *slot + value } else { *value });
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::value::{Value, assert_near};

    #[test]
    fn planes_become_pixels_and_planes_again() {
        let planes: Vec<f32> = (0..2 * 3 * 2 * 4).map(|i| i as f32).collect();
        let grid = Grid::bordered(2, [2, 4], 5, 1);
        let mut pixels = vec![0.0; grid.end()];
        Team::gather(|team| from_planes(team, &planes, &mut pixels, grid, &[1, 4, 0]));
        assert_eq!(pixels[grid.at(1, 1, 2) + 4], planes[(3 + 1) * 8 + 6]);
        let mut back = vec![0.0; planes.len()];
        to_planes(&pixels, grid, [1, 4, 0].into_iter(), &mut back);
        assert_eq!(back, planes);
    }

    #[test]
    fn pixels_become_planes_on_all_threads() {
        let x = Value::among_others([2, 19, 3, 5], 1);
        let positions: Vec<usize> = (0..19).map(|channel| x.channel + channel).collect();
        let to = Grid::packed(2, [19, 1], 15);
        let mut planes = vec![0.0; to.end()];
        Team::gather(|team| unpack(team, &x.floats, x.grid, positions.iter().copied(), (&mut planes, to)));
        assert_near(&planes, &x.planes);
    }

    #[test]
    fn planes_become_channels() {
        let shape = [2, if cfg!(miri) { 5 } else { 19 }, 3, 5];
        let given = Value::packed(shape, 1);
        let planes: Vec<f32> = given.planes.iter().map(|number| *number as f32).collect();
        for add in [false, true] {
            let mut result = Value::among_others(shape, 3);
            let before = result.clone();
            Team::gather(|team| pack(team, &planes, result.target(), shape[1], add));
            result.assert_holds(&if add { before.plus(&given.planes) } else { given.planes.clone() });
        }
    }
}
