//! Convolutions in which every result channel sees every input channel of its group, as products of pixels and
//! packed weights: a tile of a few pixels by a few registers of result channels is summed up in registers.

mod thin;
mod tiles;

use pulp::Simd;

use self::tiles::{Part, Task};

use super::aligned::Aligned;
use super::instructions::Instructions;
use super::registers::{load, store};
use super::team::Team;
use super::{Grid, Run, runs};
use network::graph::{Activation, Conv};

/// A convolution with packed weights.
#[derive(Debug)]
pub(crate) struct Dense {
    conv: Conv,
    segments: Vec<Segment>,
    /// The same weights for pixels that see nothing outside the picture: fewer and longer segments.
    inner: Vec<Segment>,
    panels: Vec<Panel>,
    /// Panel after panel: for each segment and float of it the weights of the panel's result channels.
    weights: Aligned,
    /// For every result channel, with zeros up to the end of the last panel.
    bias: Vec<f32>,
    /// What a segment outside the picture consists of.
    zeros: Vec<f32>,
    instructions: Instructions,
}

/// Floats after one another that are multiplied: the channels of a tap, or of a row of taps.
#[derive(Debug, Clone, Copy)]
struct Segment {
    /// The tap, down and across.
    tap: [usize; 2],
    floats: Run,
}

/// Some of the result channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    /// The first.
    pub(super) start: usize,
    /// Their number, without what fills the last register.
    pub(super) channels: usize,
    /// Registers that they take.
    pub(super) registers: usize,
}

/// What is done with sums before they are stored.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Epilogue<'a> {
    /// Added: a value of the result's size, and the position of its first channel in its records.
    pub(crate) residual: Option<(&'a [f32], Grid, usize)>,
    /// Applied last.
    pub(crate) activation: Option<Activation>,
    /// Whether what is there already is added.
    pub(crate) add: bool,
}

/// Where the input of a convolution has its channels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Layout {
    /// Position of each channel in a record.
    pub(crate) positions: Vec<usize>,
    /// Floats in a record.
    pub(crate) record: usize,
    /// Whether the picture has a border of zeros that is as wide as the padding.
    pub(crate) is_bordered: bool,
}

impl Epilogue<'_> {
    /// Stores the sums of a pixel of an image, of the result channels from `start` on.
    #[inline(always)]
    pub(super) fn store<S: Simd, const REGISTERS: usize>(
        self,
        simd: S,
        sums: [S::f32s; REGISTERS],
        (image, [y, x], start): (usize, [usize; 2], usize),
        record: &mut [f32],
    ) {
        let mut sums = sums;
        if self.add {
            let there = load::<S, REGISTERS>(simd, record);
            sums.iter_mut().zip(there).for_each(|(sum, there)| *sum = simd.add_f32s(*sum, there));
        }
        if let Some((other, grid, first)) = self.residual {
            let at = grid.at(image, y, x) + first + start;
            let other = load::<S, REGISTERS>(simd, other.get(at..at + record.len()).unwrap_or_default());
            sums.iter_mut().zip(other).for_each(|(sum, other)| *sum = simd.add_f32s(*sum, other));
        }
        store(simd, &sums, self.activation, record);
    }
}

impl Dense {
    /// Packs a kernel `[out, channels, height, width]` without groups, and a bias `[out]`.
    pub(crate) fn new(
        conv: Conv,
        kernel: &[f32],
        bias: &[f32],
        layout: &Layout,
        instructions: Instructions,
    ) -> Dense {
        let mut order: Vec<usize> = (0..layout.positions.len()).collect();
        order.sort_by_key(|channel| layout.positions.get(*channel));
        let at = |channel: &usize| layout.positions.get(*channel).copied();
        let sorted: Vec<usize> = order.iter().filter_map(at).collect();
        let runs = runs(&sorted);
        let inner = segments(&conv, &runs, layout.record);
        let segments = if layout.is_bordered { inner.clone() } else { taps(&conv, &runs) };
        let zeros = segments.iter().map(|segment| segment.floats.length).max().unwrap_or(0);
        let lanes = instructions.lanes();
        let panels = panels(conv.out, lanes);
        let mut bias = bias.to_vec();
        bias.resize(panels.last().map_or(0, |panel| panel.start + panel.registers * lanes), 0.0);
        let weights = pack(&conv, kernel, &order, &panels, lanes);
        Dense { conv, segments, inner, panels, weights, bias, zeros: vec![0.0; zeros], instructions }
    }

    /// Writes the result into `result` at `to`, its first channel at `channel` of a record.
    pub(crate) fn run(
        &self,
        team: &Team,
        x: &[f32],
        from: Grid,
        result: &mut [f32],
        (to, channel): (Grid, usize),
        epilogue: Epilogue<'_>,
    ) {
        let (mut from, mut to, mut epilogue) = (from, to, epilogue);
        let grids = [Some(from), Some(to), epilogue.residual.map(|(_, grid, _)| grid)];
        if self.is_pointwise() && grids.iter().flatten().all(Grid::is_dense) {
            (from, to) = (from.flat(), to.flat());
            epilogue.residual = epilogue.residual.map(|(other, grid, channel)| (other, grid.flat(), channel));
        }
        to.split_rows(team, result, 2 * self.weights.floats().len(), |image, first_row, result| {
            let part = Part { dense: self, x, from, to, image, first_row, channel, epilogue, reach: 0 };
            self.instructions.run(Task { part: part.with_reach(), result });
        });
    }

    /// Whether every pixel of the result sees the same pixel of the input only.
    fn is_pointwise(&self) -> bool {
        let Conv { kernel, stride, padding, .. } = self.conv;
        (kernel, stride, padding) == ([1; 2], [1; 2], [0; 2])
    }
}

/// Taps and runs in the order of the packed weights, the taps of a row as one segment where all of a record is input.
fn segments(conv: &Conv, runs: &[Run], record: usize) -> Vec<Segment> {
    let [height, width] = conv.kernel;
    if runs == [Run { start: 0, length: record }] && conv.dilation == [1; 2] {
        let floats = Run { start: 0, length: width * record };
        return (0..height).map(|y| Segment { tap: [y, 0], floats }).collect();
    }
    taps(conv, runs)
}

/// Taps and runs in the order of the packed weights.
fn taps(conv: &Conv, runs: &[Run]) -> Vec<Segment> {
    let [height, width] = conv.kernel;
    let taps = (0..height).flat_map(|y| (0..width).map(move |x| [y, x]));
    taps.flat_map(|tap| runs.iter().map(move |run| Segment { tap, floats: *run })).collect()
}

/// Whether there are 32 registers and not 16.
pub(super) fn has_many_registers(lanes: usize) -> bool {
    lanes >= 16 || cfg!(target_arch = "aarch64")
}

/// Registers of a panel: with many registers up to four, otherwise two, and no panel much narrower than others.
pub(super) fn panels(out: usize, lanes: usize) -> Vec<Panel> {
    let widest = if has_many_registers(lanes) { 4 } else { 2 };
    let registers = out.div_ceil(lanes);
    let count = registers.div_ceil(widest);
    let mut panels = Vec::with_capacity(count);
    let mut start = 0;
    for panel in 0..count {
        let registers = registers / count + usize::from(panel < registers % count);
        let channels = (registers * lanes).min(out - start);
        panels.push(Panel { start, channels, registers });
        start += channels;
    }
    panels
}

fn pack(conv: &Conv, kernel: &[f32], order: &[usize], panels: &[Panel], lanes: usize) -> Aligned {
    let taps = conv.kernel.iter().product::<usize>();
    let width: usize = panels.iter().map(|panel| panel.registers * lanes).sum();
    let mut weights = Aligned::zeros(taps * order.len() * width);
    let mut rest = weights.floats_mut();
    for panel in panels {
        for tap in 0..taps {
            for channel in order {
                let (row, behind) = rest.split_at_mut((panel.registers * lanes).min(rest.len()));
                rest = behind;
                let of = |out: usize| kernel.get((out * order.len() + channel) * taps + tap).copied();
                let own = (panel.start..panel.start + panel.channels).filter_map(of);
                row.iter_mut().zip(own).for_each(|(slot, weight)| *slot = weight);
            }
        }
    }
    weights
}

/// sums[p] += floats[p][k] * weights[k], for every k.
#[allow(unsafe_code)] // bounds are checked once for all of a segment
#[inline(always)]
pub(super) fn add_products<S: Simd, const PIXELS: usize, const REGISTERS: usize>(
    simd: S,
    sums: &mut [[S::f32s; REGISTERS]; PIXELS],
    floats: &[&[f32]; PIXELS],
    weights: &[[S::f32s; REGISTERS]],
) {
    assert!(floats.iter().all(|floats| floats.len() >= weights.len()));
    for (k, weights) in weights.iter().enumerate() {
        for (sums, floats) in sums.iter_mut().zip(floats) {
            // SAFETY: k is below the number of weights, and every slice has at least as many floats, checked above.
            let float = simd.splat_f32s(unsafe { *floats.get_unchecked(k) });
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = simd.mul_add_e_f32s(float, *weight, *sum);
            }
        }
    }
}
