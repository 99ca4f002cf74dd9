//! What a deformable convolution reads: for every pixel of the result the channels at each of its taps.

use pulp::{Simd, WithSimd};

use crate::cpu::grid::{Grid, Source};
use crate::cpu::instructions::Instructions;
use crate::cpu::team::Team;
use network::graph::DeformConv;

/// The samples of a deformable convolution.
#[derive(Debug)]
pub(crate) struct Samples {
    conv: DeformConv,
    channels: usize,
    /// What is read outside the picture.
    zeros: Vec<f32>,
}

impl Samples {
    pub(crate) fn new(conv: DeformConv, channels: usize) -> Samples {
        Samples { conv, channels, zeros: vec![0.0; channels] }
    }

    /// Writes for every pixel of the result the channels of `x` at each tap, `[1, H', W', taps * C]`, from offsets and,
    /// where samples are weighted, factors. All of one image.
    pub(crate) fn run(
        &self,
        team: &Team,
        x: Source<'_>,
        offsets: Source<'_>,
        masks: Option<Source<'_>>,
        (result, to): (&mut [f32], Grid),
    ) {
        let instructions = Instructions::get();
        to.split_rows(team, result, 8 * to.record, |_, first_row, result| {
            let part = Part { samples: self, x, offsets, masks, first_row, to };
            instructions.run(Task { part, result });
        });
    }
}

/// Some rows of the result.
#[derive(Clone, Copy)]
struct Part<'a> {
    samples: &'a Samples,
    x: Source<'a>,
    offsets: Source<'a>,
    masks: Option<Source<'a>>,
    first_row: usize,
    to: Grid,
}

struct Task<'a, 'r> {
    part: Part<'a>,
    result: &'r mut [f32],
}

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Task { part, result } = self;
        for (index, record) in result.chunks_mut(part.to.record.max(1)).enumerate() {
            let width = part.to.width.max(1);
            part.pixel([part.first_row + index / width, index % width], record);
        }
    }
}

/// The channels of a pixel, from the first of a value on.
fn pixel<'a>((data, grid, channel): Source<'a>, [y, x]: [usize; 2]) -> &'a [f32] {
    &data[grid.at(0, y, x) + channel..]
}

impl Part<'_> {
    /// All taps of a pixel: those of the first group of channels, of the second, and so on.
    #[inline(always)]
    fn pixel(&self, at: [usize; 2], record: &mut [f32]) {
        let Samples { conv, channels, .. } = *self.samples;
        let (taps, each) = (conv.taps().max(1), channels / conv.offset_groups.max(1));
        let offsets = pixel(self.offsets, at).as_chunks::<2>().0;
        let masks = self.masks.map(|masks| pixel(masks, at));
        for (index, offset) in offsets.iter().enumerate().take(conv.masks()) {
            let (group, tap) = (index / taps, index % taps);
            let mask = masks.map_or(1.0, |masks| masks[index]);
            let first = tap * channels + group * each;
            let target = &mut record[first..first + each];
            self.sample(self.place(at, tap, *offset), mask, group * each, target);
        }
    }

    /// Where a tap reads.
    fn place(&self, [y, x]: [usize; 2], tap: usize, [down, right]: [f32; 2]) -> [f32; 2] {
        let conv = self.samples.conv.conv;
        let [ky, kx] = [tap / conv.kernel[1].max(1), tap % conv.kernel[1].max(1)];
        let start = |at: usize, k: usize, axis: fn([usize; 2]) -> usize| {
            (at * axis(conv.stride) + k * axis(conv.dilation)) as f32 - axis(conv.padding) as f32
        };
        [start(y, ky, |[y, _]| y) + down, start(x, kx, |[_, x]| x) + right]
    }

    /// Channels from `first` on between the four pixels around a place. A place that is no number counts as inside:
    /// what is read there is none either.
    #[inline(always)]
    fn sample(&self, [y, x]: [f32; 2], mask: f32, first: usize, target: &mut [f32]) {
        let Grid { height, width, .. } = self.x.1;
        let is_outside = |at: f32, size: usize| at <= -1.0 || at >= size as f32;
        if is_outside(y, height) || is_outside(x, width) {
            // Times the factor, as that may be no number.
            return target.fill(0.0 * mask);
        }
        let (top, left) = (y.floor(), x.floor());
        let (down, right) = (y - top, x - left);
        let corner = |row: isize, column: isize| {
            let within = |at: isize, size: usize| usize::try_from(at).ok().filter(|at| *at < size);
            let at = within(top as isize + row, height).zip(within(left as isize + column, width));
            at.map_or(&self.samples.zeros[..], |(row, column)| &pixel(self.x, [row, column])[first..])
        };
        let [p, q, r, s] = [corner(0, 0), corner(0, 1), corner(1, 0), corner(1, 1)];
        let (up, left) = (1.0 - down, 1.0 - right);
        let [a, b, c, d] = [up * left, up * right, down * left, down * right].map(|weight| weight * mask);
        for ((slot, (p, q)), (r, s)) in target.iter_mut().zip(p.iter().zip(q)).zip(r.iter().zip(s)) {
            *slot = a * p + b * q + c * r + d * s;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::value::{Value, assert_near, random, wide};
    use crate::reference::kernel::{Kernel, View};
    use network::graph::{Conv, Op};

    /// Samples times the weights of a kernel without groups are the deformable convolution.
    #[test]
    fn samples_equal_those_of_the_reference() {
        let plain = Conv::same(3, 3);
        let uneven =
            Conv { stride: [2, 1], dilation: [1, 2], kernel: [3, 2], padding: [0, 2], ..Conv::same(2, 3) };
        for (channels, conv, offset_groups) in [(5, plain, 1), (6, plain.stride(2), 2), (4, uneven, 4)] {
            let deform = DeformConv { conv, offset_groups };
            let x = Value::among_others([1, channels, 5, 4], 1);
            let size = Op::Conv(conv).infer(&[&x.shape]).unwrap();
            let [height, width] = [size[2], size[3]];
            // Up to three pixels away, beyond the picture as well.
            let offsets = Value::among_others([1, deform.offsets(), height, width], 2).map(|x| 3.0 * x);
            let masks = Value::among_others([1, deform.masks(), height, width], 3);
            let kernel = random(conv.out * channels * deform.taps(), 4);
            for masks in [None, Some(masks)] {
                let expected = reference(deform, &x, [Some(&offsets), masks.as_ref()], &kernel);
                let grid = Grid::packed(1, [height, width], deform.taps() * channels);
                let mut samples = vec![f32::NAN; grid.end()];
                Team::gather(|team| {
                    let masks = masks.as_ref().map(Value::source);
                    let own = Samples::new(deform, channels);
                    own.run(team, x.source(), offsets.source(), masks, (&mut samples, grid));
                });
                assert_near(&multiplied(&samples, &kernel, [conv.out, channels, deform.taps()]), &expected);
            }
        }
    }

    fn reference(conv: DeformConv, x: &Value, maps: [Option<&Value>; 2], kernel: &[f32]) -> Vec<f64> {
        let numbers: Vec<f64> = maps.iter().flatten().flat_map(|own| own.planes.clone()).collect();
        let count = maps.iter().flatten().map(|own| own.shape[1]).sum();
        let [_, _, height, width] = maps[0].unwrap().shape;
        let [ky, kx] = conv.conv.kernel;
        let kernel = wide(kernel);
        let views = [
            x.view(),
            View { data: &numbers[..], shape: &[1, count, height, width] },
            View { data: &kernel[..], shape: &[conv.conv.out, x.shape[1], ky, kx] },
        ];
        conv.forward(views).0
    }

    /// Samples `[pixel, tap, channel]` times a kernel `[out, channel, tap]`.
    fn multiplied(samples: &[f32], kernel: &[f32], [out, channels, taps]: [usize; 3]) -> Vec<f32> {
        let of = |pixel: &[f32], out: usize| {
            let terms = (0..channels * taps).map(|at| {
                let weight = kernel[(out * channels + at % channels) * taps + at / channels];
                f64::from(pixel[at]) * f64::from(weight)
            });
            terms.sum::<f64>() as f32
        };
        let pixels = || samples.chunks(channels * taps);
        (0..out).flat_map(|out| pixels().map(move |pixel| of(pixel, out))).collect()
    }
}
