//! Shapes: what an operator makes of the shapes of its inputs.

use super::op::{Conv, DeformConv, Op, Pool};

/// The rule that the shapes break.
type Broken = String;

impl Op {
    /// The shape of the result.
    ///
    /// # Errors
    /// The rule that the input shapes break, as a sentence.
    pub fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, Broken> {
        match (self, inputs) {
            (Op::Concat { axis }, [first, rest @ ..]) => concat(*axis, first, rest),
            (Op::Add | Op::Multiply, [left, right]) if left == right => Ok(left.to_vec()),
            (Op::Multiply, [left, right]) if repeats(left, right) => Ok(left.to_vec()),
            (Op::Add | Op::Multiply, [_, _]) => Err("the shapes must be equal".to_owned()),
            (Op::DeformConv(conv), [input, maps @ ..]) => deformed(conv, planes(input)?, maps),
            (Op::MatMul, [left, right]) => product(left, right),
            (_, [input]) => self.infer_one(input),
            _ => Err("wrong number of inputs".to_owned()),
        }
    }

    fn infer_one(&self, input: &[usize]) -> Result<Vec<usize>, Broken> {
        match self {
            Op::Conv(conv) => convolved(*conv, planes(input)?),
            Op::MaxPool(pool) | Op::AveragePool(pool) => pooled(*pool, planes(input)?),
            Op::AdaptiveAveragePool { size } | Op::Resize { size, .. } => resized(*size, planes(input)?),
            Op::GroupNorm { groups, .. } | Op::ChannelShuffle { groups } => grouped(*groups, planes(input)?),
            Op::BatchNorm { .. } => planes(input).map(|shape| shape.to_vec()),
            Op::Slice { axis, start, length } => slice(input, *axis, *start, *length),
            Op::Reshape { shape } => reshape(input, shape),
            Op::Transpose { order } => transpose(input, order),
            Op::Softmax { axis } if *axis >= input.len() => Err(format!("there is no axis {axis}")),
            Op::TopK { axis, count } => slice(input, *axis, 0, *count),
            Op::Mean { axis } => slice(input, *axis, 0, 1),
            Op::Concat { .. } | Op::Add | Op::Multiply | Op::MatMul | Op::DeformConv(_) => {
                Err("wrong number of inputs".to_owned())
            }
            Op::Input | Op::Activation(_) | Op::Scale | Op::Softmax { .. } => Ok(input.to_vec()),
        }
    }
}

fn planes(shape: &[usize]) -> Result<[usize; 4], Broken> {
    let shape = <[usize; 4]>::try_from(shape);
    let shape = shape.map_err(|_| "a shape [N, C, H, W] is needed".to_owned())?;
    if shape.contains(&0) { Err("nothing is left of the picture".to_owned()) } else { Ok(shape) }
}

/// Number of positions of a window of `kernel` taps, `dilation` apart, over `size` positions.
fn positions(size: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Option<usize> {
    let reach = dilation.checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
    size.checked_add(padding.checked_mul(2)?)?.checked_sub(reach)?.checked_div(stride)?.checked_add(1)
}

fn convolved(conv: Conv, [n, channels, height, width]: [usize; 4]) -> Result<Vec<usize>, Broken> {
    let divides = |count: usize| conv.groups > 0 && count.is_multiple_of(conv.groups);
    if !divides(channels) || !divides(conv.out) || conv.out == 0 {
        return Err(format!("{} groups do not divide {channels} to {} channels", conv.groups, conv.out));
    }
    let [kh, kw] = conv.kernel;
    let along = |size, kernel, axis: fn([usize; 2]) -> usize| {
        positions(size, kernel, axis(conv.stride), axis(conv.padding), axis(conv.dilation))
    };
    match (along(height, kh, |pair| pair[0]), along(width, kw, |pair| pair[1])) {
        (Some(height), Some(width)) => Ok(vec![n, conv.out, height, width]),
        _ => Err(format!("the {kh}x{kw} kernel is larger than the padded picture")),
    }
}

/// Whether `right` has the sizes of `left`, or 1.
fn repeats(left: &[usize], right: &[usize]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left == right || *right == 1)
}

/// The result of a deformable convolution, whose offsets and factors are given for each of its positions.
fn deformed(conv: &DeformConv, input: [usize; 4], maps: &[&[usize]]) -> Result<Vec<usize>, Broken> {
    let [images, channels, ..] = input;
    if conv.offset_groups == 0 || !channels.is_multiple_of(conv.offset_groups) {
        return Err(format!("{} groups of offsets do not divide {channels} channels", conv.offset_groups));
    }
    let result = convolved(conv.conv, input)?;
    if maps.is_empty() || maps.len() > 2 {
        return Err("wrong number of inputs".to_owned());
    }
    for (map, channels) in maps.iter().zip([conv.offsets(), conv.masks()]) {
        let needed = [&[images, channels], result.get(2..).unwrap_or_default()].concat();
        if **map != *needed {
            return Err(format!("offsets and factors must be {needed:?}"));
        }
    }
    Ok(result)
}

impl Pool {
    /// Height and width of the result for an input of `size`; `None` when the window does not fit.
    pub fn output_size(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let [height, width] = size;
        let [kh, kw] = self.kernel;
        let [sh, sw] = self.stride;
        let [ph, pw] = self.padding;
        Some([self.along(height, kh, sh, ph)?, self.along(width, kw, sw, pw)?])
    }

    fn along(&self, size: usize, kernel: usize, stride: usize, padding: usize) -> Option<usize> {
        // PyTorch's rule: a window must not lie in the padding alone.
        if padding.checked_mul(2)? > kernel {
            return None;
        }
        // In ceil mode even the first window may stick out.
        let whole = match positions(size, kernel, stride, padding, 1) {
            None if self.ceil && stride > 0 && size > 0 => 0,
            whole => whole?,
        };
        let covered = match whole.checked_sub(1) {
            None => 0,
            Some(steps) => steps.checked_mul(stride)?.checked_add(kernel)?,
        };
        let sticks_out = self.ceil
            && covered < size.checked_add(2 * padding)?
            && whole.checked_mul(stride)? < size.checked_add(padding)?;
        Some(whole + usize::from(sticks_out))
    }
}

fn pooled(pool: Pool, [n, channels, height, width]: [usize; 4]) -> Result<Vec<usize>, Broken> {
    let size = pool.output_size([height, width]);
    let [height, width] = size.ok_or_else(|| format!("the window {:?} does not fit", pool.kernel))?;
    Ok(vec![n, channels, height, width])
}

fn resized(size: [usize; 2], [n, channels, ..]: [usize; 4]) -> Result<Vec<usize>, Broken> {
    let [height, width] = size;
    if height == 0 || width == 0 {
        return Err("nothing would be left of the picture".to_owned());
    }
    Ok(vec![n, channels, height, width])
}

fn grouped(groups: usize, shape: [usize; 4]) -> Result<Vec<usize>, Broken> {
    let [_, channels, ..] = shape;
    if groups == 0 || !channels.is_multiple_of(groups) {
        return Err(format!("{groups} groups do not divide {channels} channels"));
    }
    Ok(shape.to_vec())
}

fn concat(axis: usize, first: &[usize], rest: &[&[usize]]) -> Result<Vec<usize>, Broken> {
    let mut shape = first.to_vec();
    for other in rest {
        let fits = other.len() == first.len()
            && first.iter().zip(other.iter()).enumerate().all(|(at, (a, b))| at == axis || a == b);
        let (Some(sum), Some(more), true) = (shape.get_mut(axis), other.get(axis), fits) else {
            return Err(format!("the shapes must be equal but for axis {axis}"));
        };
        *sum += more;
    }
    if axis < shape.len() { Ok(shape) } else { Err(format!("there is no axis {axis}")) }
}

fn slice(input: &[usize], axis: usize, start: usize, length: usize) -> Result<Vec<usize>, Broken> {
    let mut shape = input.to_vec();
    match shape.get_mut(axis) {
        Some(size) if length > 0 && start.checked_add(length).is_some_and(|end| end <= *size) => {
            *size = length
        }
        Some(size) => return Err(format!("{start}..{start}+{length} is not within 0..{size}")),
        None => return Err(format!("there is no axis {axis}")),
    }
    Ok(shape)
}

fn reshape(input: &[usize], shape: &[usize]) -> Result<Vec<usize>, Broken> {
    if input.iter().product::<usize>() != shape.iter().product::<usize>() {
        return Err(format!("{shape:?} has another number of elements"));
    }
    Ok(shape.to_vec())
}

fn product(left: &[usize], right: &[usize]) -> Result<Vec<usize>, Broken> {
    match (left, right) {
        ([left @ .., rows, inner], [right @ .., depth, columns]) if left == right && inner == depth => {
            Ok([left, &[*rows, *columns]].concat())
        }
        _ => Err("shapes [.., M, K] and [.., K, N] are needed".to_owned()),
    }
}

fn transpose(input: &[usize], order: &[usize]) -> Result<Vec<usize>, Broken> {
    let mut axes = order.to_vec();
    axes.sort_unstable();
    if !axes.into_iter().eq(0..input.len()) {
        return Err(format!("{order:?} does not name every axis once"));
    }
    Ok(order.iter().filter_map(|axis| input.get(*axis).copied()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_count_as_in_pytorch() {
        let stem = Op::Conv(Conv::same(24, 3).stride(2));
        assert_eq!(stem.infer(&[&[1, 3, 97, 64]]).unwrap(), [1, 24, 49, 32]);
        assert_eq!(Op::MaxPool(Pool::new(3, 2, 1)).infer(&[&[1, 2, 7, 8]]).unwrap(), [1, 2, 4, 4]);
        // torch.nn.AvgPool2d(2, 2, ceil_mode=True) on 5x4.
        let ceil = Pool { ceil: true, ..Pool::new(2, 2, 0) };
        assert_eq!(Op::AveragePool(ceil).infer(&[&[1, 2, 5, 4]]).unwrap(), [1, 2, 3, 2]);
        // The last window would begin in the padding: torch drops it.
        let ceil = Pool { ceil: true, ..Pool::new(2, 3, 1) };
        assert_eq!(ceil.output_size([5, 5]).unwrap(), [2, 2]);
        // torch.nn.AvgPool2d(2, 2, ceil_mode=True) on 1x3: the first window sticks out.
        let ceil = Pool { ceil: true, ..Pool::new(2, 2, 0) };
        assert_eq!(ceil.output_size([1, 3]).unwrap(), [1, 2]);
        assert_eq!(Pool::new(2, 2, 0).output_size([1, 3]), None);
    }

    #[test]
    fn offsets_stand_for_every_position_of_the_result() {
        let conv = Conv { groups: 2, ..Conv::same(8, 3).stride(2) };
        let deformed = Op::DeformConv(DeformConv { conv, offset_groups: 2 });
        let (x, offsets, mask) = ([2, 4, 9, 6], [2, 36, 5, 3], [2, 18, 5, 3]);
        assert_eq!(deformed.infer(&[&x, &offsets]).unwrap(), [2, 8, 5, 3]);
        assert_eq!(deformed.infer(&[&x, &offsets, &mask]).unwrap(), [2, 8, 5, 3]);
        let why = |inputs: &[&[usize]]| deformed.infer(inputs).unwrap_err();
        assert!(why(&[&x, &mask]).contains("[2, 36, 5, 3]"));
        assert!(why(&[&x, &offsets, &offsets]).contains("[2, 18, 5, 3]"));
        assert!(why(&[&x]).contains("number of inputs"));
        assert!(why(&[&[2, 3, 9, 6], &offsets]).contains("groups of offsets"));
    }

    #[test]
    fn a_second_factor_may_be_the_same_along_an_axis() {
        let scores = Op::Multiply.infer(&[&[2, 3, 4, 5], &[2, 1, 4, 5]]);
        assert_eq!(scores.unwrap(), [2, 3, 4, 5]);
        assert!(Op::Multiply.infer(&[&[2, 1, 4, 5], &[2, 3, 4, 5]]).is_err());
        assert_eq!(Op::TopK { axis: 1, count: 2 }.infer(&[&[2, 3, 4]]).unwrap(), [2, 2, 4]);
        assert!(Op::TopK { axis: 1, count: 4 }.infer(&[&[2, 3, 4]]).is_err());
        assert_eq!(Op::Mean { axis: 2 }.infer(&[&[2, 3, 4]]).unwrap(), [2, 3, 1]);
    }

    #[test]
    fn matrix_products_keep_the_leading_axes() {
        assert_eq!(Op::MatMul.infer(&[&[2, 5, 3, 4], &[2, 5, 4, 7]]).unwrap(), [2, 5, 3, 7]);
        assert_eq!(Op::MatMul.infer(&[&[3, 4], &[4, 7]]).unwrap(), [3, 7]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let why = |op: Op, inputs: &[&[usize]]| op.infer(inputs).unwrap_err();
        assert!(why(Op::Conv(Conv::depthwise(8, 3)), &[&[1, 6, 4, 4]]).contains("groups"));
        assert!(
            why(Op::Conv(Conv { padding: [0; 2], ..Conv::same(8, 5) }), &[&[1, 6, 4, 4]]).contains("larger")
        );
        assert!(why(Op::Add, &[&[1, 2], &[2, 1]]).contains("equal"));
        assert!(why(Op::MatMul, &[&[2, 3, 4], &[2, 3, 4]]).contains("needed"));
        assert!(why(Op::MatMul, &[&[2, 3, 4], &[1, 4, 3]]).contains("needed"));
        assert!(why(Op::MatMul, &[&[2, 3, 4]]).contains("number of inputs"));
        assert!(why(Op::Concat { axis: 1 }, &[&[1, 2, 3], &[1, 2, 4]]).contains("axis 1"));
        assert!(why(Op::Slice { axis: 1, start: 1, length: 2 }, &[&[1, 2]]).contains("within"));
        assert!(why(Op::Reshape { shape: vec![5] }, &[&[2, 3]]).contains("elements"));
        assert!(why(Op::Transpose { order: vec![0, 0] }, &[&[2, 3]]).contains("once"));
        assert!(why(Op::Softmax { axis: 2 }, &[&[2, 3]]).contains("no axis"));
        assert!(why(Op::Add, &[&[2, 3]]).contains("number of inputs"));
    }
}
