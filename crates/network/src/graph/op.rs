//! Operators: what a node computes.

/// A non-linear function of every element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x, or slope * x below zero.
    LeakyRelu(f64),
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// x * sigmoid(x).
    Silu,
    /// relu6(x + 3) / 6.
    HardSigmoid,
}

/// A convolution over height and width. Pairs are (height, width).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Channels of the result.
    pub out: usize,
    /// Size of the kernel.
    pub kernel: [usize; 2],
    /// Step between positions.
    pub stride: [usize; 2],
    /// Zeros added on each side.
    pub padding: [usize; 2],
    /// Step between taps of the kernel.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Conv {
    /// A square kernel at stride 1 that keeps the size (for odd `kernel`), without bias.
    pub const fn same(out: usize, kernel: usize) -> Conv {
        Conv {
            out,
            kernel: [kernel; 2],
            stride: [1; 2],
            padding: [kernel / 2; 2],
            dilation: [1; 2],
            groups: 1,
            bias: false,
        }
    }

    /// A 1x1 kernel without bias.
    pub const fn pointwise(out: usize) -> Conv {
        Conv::same(out, 1)
    }

    /// One kernel per channel, keeping the size, without bias.
    pub const fn depthwise(channels: usize, kernel: usize) -> Conv {
        Conv { groups: channels, ..Conv::same(channels, kernel) }
    }

    /// The same with this stride in both directions.
    pub const fn stride(self, stride: usize) -> Conv {
        Conv { stride: [stride; 2], ..self }
    }

    /// The same with a bias.
    pub const fn biased(self) -> Conv {
        Conv { bias: true, ..self }
    }
}

/// A convolution that reads every tap of its kernel at a place of its own (arXiv 1703.06211): where the tap would
/// be, moved by an offset that is given for each position of the result, between four positions of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeformConv {
    /// The convolution without offsets.
    pub conv: Conv,
    /// Groups of input channels that share offsets.
    pub offset_groups: usize,
}

impl DeformConv {
    /// Taps of the kernel.
    pub fn taps(&self) -> usize {
        self.conv.kernel.iter().product()
    }

    /// Channels of the offsets: a vertical and a horizontal one for each group and tap.
    pub fn offsets(&self) -> usize {
        2 * self.masks()
    }

    /// Channels of the factors: one for each group and tap.
    pub fn masks(&self) -> usize {
        self.offset_groups * self.taps()
    }
}

/// A window that moves over height and width. Pairs are (height, width).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Step between windows.
    pub stride: [usize; 2],
    /// Positions added on each side: minus infinity for a maximum, zero for an average.
    pub padding: [usize; 2],
    /// Whether a last window that sticks out counts.
    pub ceil: bool,
    /// Whether an average divides by padded positions too.
    pub count_padding: bool,
}

impl Pool {
    /// A square window, padded on each side, PyTorch's defaults otherwise.
    pub const fn new(kernel: usize, stride: usize, padding: usize) -> Pool {
        Pool {
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            ceil: false,
            count_padding: true,
        }
    }
}

/// Where a resized picture takes its values from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResizeMode {
    /// The position at floor(i * in / out).
    Nearest,
    /// Between the two positions around (i + 0.5) * in / out - 0.5, edges repeated.
    Bilinear,
    /// Between the two positions around i * (in - 1) / (out - 1).
    BilinearAlignCorners,
}

/// What a node computes. Unless stated otherwise it takes one value and no parameters.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A value given from outside.
    Input,
    /// Convolution `[N, C, H, W]` to `[N, out, H', W']`. Parameters: kernel, and bias if there is one.
    Conv(Conv),
    /// Deformable convolution. Inputs: the picture, offsets in positions of the input, `[N, 2 * groups * taps, H', W']`
    /// in the order group, tap, (down, right), and where samples are weighted (arXiv 1811.11168) a factor for each,
    /// `[N, groups * taps, H', W']`, used as it is given: a sigmoid is an operator before this one. Outside the
    /// picture is zero. Parameters: kernel, and bias where there is one.
    DeformConv(DeformConv),
    /// Batch normalisation over N, H, W. Parameters: weight, bias, running mean, running variance.
    BatchNorm {
        /// Added to the variance.
        epsilon: f64,
        /// Share of the new batch in the running statistics.
        momentum: f64,
    },
    /// Normalisation over groups of channels. Parameters: weight, bias.
    GroupNorm {
        /// Number of groups.
        groups: usize,
        /// Added to the variance.
        epsilon: f64,
    },
    /// A function of every element.
    Activation(Activation),
    /// Largest value of each window.
    MaxPool(Pool),
    /// Mean of each window.
    AveragePool(Pool),
    /// Mean of windows that divide the input evenly: [floor(i * in / out), ceil((i + 1) * in / out)).
    AdaptiveAveragePool {
        /// Height and width of the result.
        size: [usize; 2],
    },
    /// Another height and width.
    Resize {
        /// Where values come from.
        mode: ResizeMode,
        /// Height and width of the result.
        size: [usize; 2],
    },
    /// Several values one after another along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Part of a value along an axis.
    Slice {
        /// The axis.
        axis: usize,
        /// First position.
        start: usize,
        /// Number of positions.
        length: usize,
    },
    /// Sum of two values of one shape.
    Add,
    /// Product of two values of one shape; where the second has size 1 along an axis, it is the same all along.
    Multiply,
    /// Matrix products `[.., M, K]` times `[.., K, N]`, one for each position of the leading axes.
    MatMul,
    /// Product with a learnable number. Parameter: the number, of one element.
    Scale,
    /// Channels of `groups` groups dealt out in turn: channel g * (C / groups) + i goes to i * groups + g.
    ChannelShuffle {
        /// Number of groups.
        groups: usize,
    },
    /// The same elements in another shape.
    Reshape {
        /// The shape.
        shape: Vec<usize>,
    },
    /// Axes in another order: axis i of the result is axis `order[i]` of the input.
    Transpose {
        /// The order.
        order: Vec<usize>,
    },
    /// exp(x) / sum(exp(x)) along an axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// The largest values along an axis, in descending order.
    TopK {
        /// The axis.
        axis: usize,
        /// How many.
        count: usize,
    },
    /// Mean along an axis, which keeps size 1.
    Mean {
        /// The axis.
        axis: usize,
    },
}

impl Op {
    /// Name of the operator, for tables and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input => "input",
            Op::Conv(_) => "convolution",
            Op::DeformConv(_) => "deformable convolution",
            Op::BatchNorm { .. } => "batch norm",
            Op::GroupNorm { .. } => "group norm",
            Op::Activation(Activation::Relu) => "relu",
            Op::Activation(Activation::Relu6) => "relu6",
            Op::Activation(Activation::LeakyRelu(_)) => "leaky relu",
            Op::Activation(Activation::Sigmoid) => "sigmoid",
            Op::Activation(Activation::Silu) => "silu",
            Op::Activation(Activation::HardSigmoid) => "hard sigmoid",
            Op::MaxPool(_) => "max pool",
            Op::AveragePool(_) => "average pool",
            Op::AdaptiveAveragePool { .. } => "adaptive average pool",
            Op::Resize { .. } => "resize",
            Op::Concat { .. } => "concat",
            Op::Slice { .. } => "slice",
            Op::Add => "add",
            Op::Multiply => "multiply",
            Op::MatMul => "matrix product",
            Op::Scale => "scale",
            Op::ChannelShuffle { .. } => "channel shuffle",
            Op::Reshape { .. } => "reshape",
            Op::Transpose { .. } => "transpose",
            Op::Softmax { .. } => "softmax",
            Op::TopK { .. } => "top k",
            Op::Mean { .. } => "mean",
        }
    }
}
