//! Convolutions in which every result channel sees every input channel of its group, as products of pixels and
//! packed weights: a tile of a few pixels by a few registers of result channels is summed up in registers.

use crate::cpu::aligned::Aligned;
use crate::cpu::convolution::panel::{Panel, panels};
use crate::cpu::grid::{Run, runs};
use crate::cpu::instructions::Instructions;
use network::graph::Conv;

/// A convolution with packed weights.
#[derive(Debug)]
pub(crate) struct Dense {
    pub(super) conv: Conv,
    pub(super) segments: Vec<Segment>,
    /// The same weights for pixels that see nothing outside the picture: fewer and longer segments.
    pub(super) inner: Vec<Segment>,
    pub(super) panels: Vec<Panel>,
    /// Panel after panel: for each segment and float of it the weights of the panel's result channels.
    pub(super) weights: Aligned,
    /// For every result channel, with zeros up to the end of the last panel.
    pub(super) bias: Vec<f32>,
    /// What a segment outside the picture consists of.
    pub(super) zeros: Vec<f32>,
    pub(super) instructions: Instructions,
}

/// Floats after one another that are multiplied: the channels of a tap, or of a row of taps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    /// The tap, down and across.
    pub(super) tap: [usize; 2],
    pub(super) floats: Run,
}

/// Where the input of a convolution has its channels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Layout {
    /// Position of each channel in a record.
    pub(crate) positions: Vec<usize>,
    pub(crate) record: usize,
    /// Whether the picture has a border of zeros that is as wide as the padding.
    pub(crate) is_bordered: bool,
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
        order.sort_by_key(|channel| layout.positions[*channel]);
        let sorted: Vec<usize> = order.iter().map(|channel| layout.positions[*channel]).collect();
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

fn pack(conv: &Conv, kernel: &[f32], order: &[usize], panels: &[Panel], lanes: usize) -> Aligned {
    let taps = conv.kernel.iter().product::<usize>();
    let width: usize = panels.iter().map(|panel| panel.registers * lanes).sum();
    let mut weights = Aligned::zeros(taps * order.len() * width);
    let mut rest = weights.floats_mut();
    for panel in panels {
        for tap in 0..taps {
            for channel in order {
                let (row, behind) = rest.split_at_mut(panel.registers * lanes);
                rest = behind;
                for (slot, out) in row.iter_mut().zip(panel.start..panel.start + panel.channels) {
                    *slot = kernel[(out * order.len() + channel) * taps + tap];
                }
            }
        }
    }
    weights
}
