//! Sizes of a convolution, and where its taps meet the input.

use crate::reference::kernel::View;
use network::graph::Conv;

/// Sizes of one convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) conv: Conv,
    pub(super) images: usize,
    pub(super) channels: usize,
    /// Height and width of the input.
    pub(super) input: [usize; 2],
    /// Height and width of the result.
    pub(super) output: [usize; 2],
}

impl Geometry {
    pub(super) fn new<T>(conv: Conv, x: View<'_, T>) -> Geometry {
        let [images, channels, height, width] = x.planes();
        let along = |size: usize, axis: fn([usize; 2]) -> usize| {
            let reach = axis(conv.dilation) * (axis(conv.kernel) - 1) + 1;
            (size + 2 * axis(conv.padding) - reach) / axis(conv.stride) + 1
        };
        let output = [along(height, |[vertical, _]| vertical), along(width, |[_, horizontal]| horizontal)];
        Geometry { conv, images, channels, input: [height, width], output }
    }

    pub(super) fn input_area(&self) -> usize {
        self.input.iter().product()
    }

    pub(super) fn output_area(&self) -> usize {
        self.output.iter().product()
    }

    /// Channels of the result in one group.
    pub(super) fn out_in_group(&self) -> usize {
        self.conv.out / self.conv.groups
    }

    /// Rows of the unfolded input of one group: channel and tap.
    pub(super) fn rows(&self) -> usize {
        self.channels / self.conv.groups * self.conv.kernel.iter().product::<usize>()
    }

    /// Whether each group sees a single channel.
    pub(super) fn is_depthwise(&self) -> bool {
        self.channels == self.conv.groups
    }

    /// Whether the unfolded input is the input itself.
    pub(super) fn is_plain_product(&self) -> bool {
        let Conv { kernel, stride, padding, .. } = self.conv;
        kernel == [1; 2] && stride == [1; 2] && padding == [0; 2]
    }

    /// Numbers of one group of channels of an image: of the input, of the result, of the kernel.
    pub(super) fn group_sizes(&self) -> [usize; 3] {
        let input = self.channels / self.conv.groups * self.input_area();
        [input, self.out_in_group() * self.output_area(), self.out_in_group() * self.rows()]
    }
}

/// The taps of a kernel along one axis at which an output position meets the input: output positions `first..end`
/// read input position `output * stride + offset`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    pub(super) first: usize,
    pub(super) end: usize,
    offset: isize,
    pub(super) stride: usize,
}

impl Reach {
    /// Where tap `tap` of an axis meets an input of `size`, for `positions` output positions.
    pub(super) fn new(
        tap: usize,
        [stride, padding, dilation]: [usize; 3],
        size: usize,
        positions: usize,
    ) -> Reach {
        let offset = (tap * dilation) as isize - padding as isize;
        let first = (padding.saturating_sub(tap * dilation)).div_ceil(stride).min(positions);
        // The last output position whose input position is below `size`.
        let room = size as isize - offset;
        let end = if room <= 0 { 0 } else { (room as usize).div_ceil(stride).min(positions) };
        Reach { first, end: end.max(first), offset, stride }
    }

    /// Whether no output position meets the input.
    pub(super) fn is_empty(&self) -> bool {
        self.first == self.end
    }

    /// The input position that an output position in `first..end` reads.
    pub(super) fn input(&self, output: usize) -> usize {
        ((output * self.stride) as isize + self.offset) as usize
    }
}

impl Geometry {
    /// Where each tap meets the input: rows and columns.
    pub(super) fn reach(&self, tap: [usize; 2]) -> [Reach; 2] {
        let Conv { stride, padding, dilation, .. } = self.conv;
        std::array::from_fn(|axis| {
            let of = |pair: [usize; 2]| pair[axis];
            Reach::new(of(tap), [of(stride), of(padding), of(dilation)], of(self.input), of(self.output))
        })
    }

    /// The row and column of the input that a tap reads for a position of the result; in the padding perhaps.
    pub(super) fn start(&self, tap: usize, position: usize) -> [isize; 2] {
        let Conv { stride, padding, dilation, .. } = self.conv;
        let [_, out_width] = self.output;
        let at = [position / out_width, position % out_width];
        let tap = self.tap(tap);
        std::array::from_fn(|axis| {
            let of = |pair: [usize; 2]| pair[axis] as isize;
            of(at) * of(stride) + of(tap) * of(dilation) - of(padding)
        })
    }

    pub(super) fn tap(&self, index: usize) -> [usize; 2] {
        let [_, width] = self.conv.kernel;
        [index / width, index % width]
    }
}
