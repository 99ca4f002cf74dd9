//! Which pixels of an operand a pixel of a result is made of: for convolutions, and for the gradients of their inputs.

use network::graph::Conv;

/// A pixel of the operand, relative to where a pixel of the result begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tap {
    pub(crate) down: isize,
    pub(crate) across: isize,
    /// Position of the tap in the kernel.
    pub(crate) index: usize,
}

/// Every `step`-th pixel of a result, from `start` on; the j-th begins at pixel `j * stride` of the operand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phase {
    pub(crate) start: [usize; 2],
    pub(crate) step: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) taps: Vec<Tap>,
}

/// The result of a convolution: all of its pixels see the same taps.
pub(crate) fn forward(conv: &Conv) -> Vec<Phase> {
    let taps = kernel(conv).map(|(index, [y, x])| {
        let of = |position: usize, axis: usize| signed(position) - signed(conv.padding[axis]);
        Tap { down: of(y, 0), across: of(x, 1), index }
    });
    vec![Phase { start: [0; 2], step: [1; 2], stride: conv.stride, taps: taps.collect() }]
}

/// The gradient of a convolution's input from that of its result: a phase for each remainder of a position by the
/// stride, as those see different taps.
pub(crate) fn backward(conv: &Conv) -> Vec<Phase> {
    let [height, width] = conv.stride;
    let starts = (0..height).flat_map(|y| (0..width).map(move |x| [y, x]));
    let phase = |start: [usize; 2]| {
        // Position p of the input takes part in position (p + padding - tap) / stride of the result.
        let along = |axis: usize, tap: usize| {
            let distance = signed(start[axis] + conv.padding[axis]) - signed(tap);
            let stride = signed(conv.stride[axis]);
            (distance % stride == 0).then_some(distance / stride)
        };
        let taps = kernel(conv)
            .filter_map(|(index, [y, x])| Some(Tap { down: along(0, y)?, across: along(1, x)?, index }));
        Phase { start, step: conv.stride, stride: [1; 2], taps: taps.collect() }
    };
    starts.map(phase).collect()
}

/// Taps with their distances from the first.
fn kernel(conv: &Conv) -> impl Iterator<Item = (usize, [usize; 2])> {
    let Conv { kernel: [height, width], dilation: [down, across], .. } = *conv;
    let taps = (0..height).flat_map(move |y| (0..width).map(move |x| [y * down, x * across]));
    taps.enumerate()
}

fn signed(position: usize) -> isize {
    position.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strided_gradient_has_phases() {
        let phases = backward(&Conv::same(1, 3).stride(2));
        let indices = |phase: &Phase| phase.taps.iter().map(|tap| tap.index).collect::<Vec<_>>();
        assert_eq!(
            phases.iter().map(indices).collect::<Vec<_>>(),
            [vec![4], vec![3, 5], vec![1, 7], vec![0, 2, 6, 8]]
        );
        let last = phases.last().unwrap();
        assert_eq!(last.taps[0], Tap { down: 1, across: 1, index: 0 });
    }
}
