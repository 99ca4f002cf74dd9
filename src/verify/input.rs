//! Our pre-processing against a recorded input.

use std::fmt;

use super::difference::Difference;
use network::graph::Array;

/// What would make a recorded input equal to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputCause {
    /// The channels are in the other order.
    Channels,
    /// Rows and columns are swapped.
    Sides,
    /// Both.
    ChannelsAndSides,
    /// The numbers are on another scale: a linear function of ours.
    Scale,
}

impl fmt::Display for InputCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InputCause::Channels => "its channels are in the other order: BGR for RGB or RGB for BGR",
            InputCause::Sides => "its rows and columns are swapped: height for width",
            InputCause::ChannelsAndSides => {
                "its channels are in the other order and its rows and columns swapped"
            }
            InputCause::Scale => {
                "it is on another scale: look at mean, standard deviation and division by 255"
            }
        })
    }
}

/// How strongly two inputs must correlate for one to be an altered form of the other. Decoders and resizing
/// differ by a few grey levels at most; other channels of a photograph correlate to 0.98 now and then.
const SAME_PICTURE: f64 = 0.999;

/// The difference between our input and a recorded one; with it, what would explain it. A cause is given only when
/// the altered input is the same picture and the unaltered one is not.
pub fn compare_input(ours: &Array, recorded: &Array) -> (Difference, Option<InputCause>) {
    let wide = |array: &Array| array.data.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
    let (left, right) = (wide(ours), wide(recorded));
    let same_shape = ours.shape == recorded.shape;
    let difference = match same_shape {
        true => Difference::between(left.iter().copied(), right.iter().copied()),
        false => Difference::INFINITE,
    };
    let unaltered = if same_shape { correlation(&left, &right) } else { 0.0 };
    if difference.max_abs == 0.0 {
        return (difference, None);
    }
    if unaltered > SAME_PICTURE {
        let is_scaled = difference.relative > 0.05;
        return (difference, is_scaled.then_some(InputCause::Scale));
    }
    let altered = [
        (InputCause::Channels, reversed_channels(recorded)),
        (InputCause::Sides, swapped_sides(recorded)),
        (InputCause::ChannelsAndSides, swapped_sides(&reversed_channels(recorded))),
    ];
    let explains =
        |array: &Array| array.shape == ours.shape && correlation(&left, &wide(array)) > SAME_PICTURE;
    let cause = altered.into_iter().find(|(_, array)| explains(array)).map(|(cause, _)| cause);
    (difference, cause)
}

/// `[N, C, H, W]` with the channels from last to first.
pub(super) fn reversed_channels(array: &Array) -> Array {
    let [_, channels, height, width] = array.shape[..] else {
        return array.clone();
    };
    let area = (height * width).max(1);
    let images = array.data.chunks((channels * area).max(1));
    let data = images.flat_map(|image| image.chunks(area).rev().flatten().copied());
    Array { shape: array.shape.clone(), data: data.collect() }
}

/// `[N, C, H, W]` with rows for columns.
pub(super) fn swapped_sides(array: &Array) -> Array {
    let [n, channels, height, width] = array.shape[..] else {
        return array.clone();
    };
    let planes = array.data.chunks((height * width).max(1));
    let data = planes
        .flat_map(|plane| (0..width).flat_map(move |x| plane.iter().skip(x).step_by(width.max(1)).copied()));
    Array { shape: vec![n, channels, width, height], data: data.collect() }
}

/// Pearson's correlation.
fn correlation(left: &[f64], right: &[f64]) -> f64 {
    let count = left.len().max(1) as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / count;
    let (left_mean, right_mean) = (mean(left), mean(right));
    let sums = left.iter().zip(right).fold([0.0; 3], |[product, l, r], (a, b)| {
        let (a, b) = (a - left_mean, b - right_mean);
        [product + a * b, l + a * a, r + b * b]
    });
    let [product, left, right] = sums;
    if left > 0.0 && right > 0.0 { product / (left * right).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Array {
        let data = (0..3 * 4 * 6).map(|i| ((i * i * 7919) % 101) as f32 / 50.0 - 1.0).collect();
        Array { shape: vec![1, 3, 4, 6], data }
    }

    #[test]
    fn what_was_done_to_an_input_is_named() {
        let ours = picture();
        let cause = |recorded: &Array| compare_input(&ours, recorded).1;
        assert_eq!(cause(&ours), None);
        assert_eq!(cause(&reversed_channels(&ours)), Some(InputCause::Channels));
        assert_eq!(cause(&swapped_sides(&ours)), Some(InputCause::Sides));
        let both = swapped_sides(&reversed_channels(&ours));
        assert_eq!(cause(&both), Some(InputCause::ChannelsAndSides));
        let scaled = Array { data: ours.data.iter().map(|v| v * 57.0 + 116.0).collect(), ..ours.clone() };
        assert_eq!(cause(&scaled), Some(InputCause::Scale));
        let other = Array { data: ours.data.iter().rev().map(|v| v * v).collect(), ..ours.clone() };
        assert_eq!(cause(&other), None);
    }

    #[test]
    fn alterations_undo_themselves() {
        let picture = picture();
        assert_eq!(reversed_channels(&reversed_channels(&picture)), picture);
        assert_eq!(swapped_sides(&swapped_sides(&picture)), picture);
    }
}
