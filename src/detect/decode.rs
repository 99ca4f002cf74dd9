//! The output of a network into boxes and scores: in f32 as upstream does, in f64 to measure its rounding.

use super::Error;
use network::element::Element;
use network::models::{Head, Scores, Sides, Size};
use vision::boxes::clipped;

/// What an output says about each point, in the order of the points.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded<T> {
    /// Number of classes.
    pub classes: usize,
    /// Columns of scores: the classes, and what stands for none ([`Head::surplus`]).
    pub columns: usize,
    /// Number of points of each level.
    pub levels: Vec<usize>,
    /// Scores of all columns of a point after one another: points x columns, 0 to 1.
    pub scores: Vec<T>,
    /// Distances of the sides left, top, right, bottom from the point, in pixels of the input.
    pub distances: Vec<[T; 4]>,
    /// Boxes (left, top, right, bottom) in pixels of the input, clipped to the picture where the head says so.
    pub boxes: Vec<[T; 4]>,
}

/// The points of a head for an input of `size`: x, y and stride in pixels of the input.
pub fn priors<T: Element>(head: &Head, size: Size) -> Vec<[T; 3]> {
    let mut points = Vec::with_capacity(head.points(size));
    for (stride, grid) in head.grids(size) {
        let place = |cell: usize| T::of((cell as f64 + head.cell_offset) * stride as f64);
        for row in 0..grid.height {
            points.extend((0..grid.width).map(|column| [place(column), place(row), T::of(stride as f64)]));
        }
    }
    points
}

/// Decodes an output for an input of `size`: the rows of all points, as [`Head`] lays them out. The picture is as
/// large as `picture` in the input.
///
/// # Errors
/// The number of values is not that of the head at this size of input.
pub fn decode<T: Element>(output: &[T], head: &Head, size: Size, picture: Size) -> Result<Decoded<T>, Error> {
    let (points, row) = (head.points(size), head.row());
    if points.checked_mul(row) != Some(output.len()) {
        return Err(Error::Output { found: output.len(), points, row });
    }
    let mut decoded = Decoded {
        classes: head.classes,
        columns: head.score_columns(),
        levels: head.grids(size).map(|(_, grid)| grid.width * grid.height).collect(),
        scores: Vec::with_capacity(points * head.score_columns()),
        distances: Vec::with_capacity(points),
        boxes: Vec::with_capacity(points),
    };
    let border = [picture.width, picture.height].map(|side| T::of(side as f64));
    for (values, [x, y, stride]) in output.chunks_exact(row).zip(priors(head, size)) {
        let (scores, sides) = values.split_at(head.score_columns());
        match head.scores {
            Scores::Logits => decoded.scores.extend(scores.iter().map(|&logit| sigmoid(logit))),
            Scores::Probabilities => decoded.scores.extend(scores),
        }
        let distances = side_distances(sides, head.sides, stride);
        decoded.distances.push(distances);
        let corners = around(x, y, distances);
        decoded.boxes.push(if head.clip { clipped(corners, border) } else { corners });
    }
    Ok(decoded)
}

fn sigmoid<T: Element>(logit: T) -> T {
    let one = T::of(1.0);
    one / (one + (T::of(0.0) - logit).exp())
}

/// The distance of each side in pixels.
fn side_distances<T: Element>(columns: &[T], sides: Sides, stride: T) -> [T; 4] {
    let mut columns = columns.chunks_exact(sides.columns() / 4);
    [(); 4].map(|()| {
        let side = columns.next().unwrap_or_default();
        stride
            * match sides {
                Sides::Distributions { .. } => expectation(side),
                Sides::Distances => side.first().copied().unwrap_or_else(|| T::of(0.0)),
            }
    })
}

/// The mean of the softmax of `logits` over their indices.
fn expectation<T: Element>(logits: &[T]) -> T {
    let zero = T::of(0.0);
    let Some(&first) = logits.first() else { return zero };
    let largest = logits.iter().fold(first, |largest, &logit| if logit > largest { logit } else { largest });
    let powers = || logits.iter().map(|&logit| (logit - largest).exp());
    let sum = powers().fold(zero, |sum, power| sum + power);
    powers().enumerate().fold(zero, |mean, (bin, power)| mean + power / sum * T::of(bin as f64))
}

fn around<T: Element>(x: T, y: T, [left, top, right, bottom]: [T; 4]) -> [T; 4] {
    [x - left, y - top, x + right, y + bottom]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            strides: vec![8, 16],
            classes: 2,
            surplus: 0,
            scores: Scores::Logits,
            sides: Sides::Distributions { reg_max: 3 },
            cell_offset: 0.0,
            clip: true,
        }
    }

    #[test]
    fn priors_go_level_by_level_and_row_by_row() {
        let points: Vec<[f64; 3]> = priors(&head(), Size { width: 17, height: 9 });
        let expected = [
            [0.0, 0.0, 8.0],
            [8.0, 0.0, 8.0],
            [16.0, 0.0, 8.0],
            [0.0, 8.0, 8.0],
            [8.0, 8.0, 8.0],
            [16.0, 8.0, 8.0],
            [0.0, 0.0, 16.0],
            [16.0, 0.0, 16.0],
        ];
        assert_eq!(points, expected);
        let centred = Head { cell_offset: 0.5, ..head() };
        assert_eq!(priors::<f32>(&centred, Size::square(8))[0], [4.0, 4.0, 8.0]);
    }

    /// A sharp peak at bin 1 is one stride, an even distribution the middle, whatever the size of the logits.
    #[test]
    fn distances_are_means_of_distributions() {
        let logits =
            [0.0, 500.0, 0.0, 0.0, 7.0, 7.0, 7.0, 7.0, -900.0, -900.0, -900.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(
            side_distances::<f64>(&logits, Sides::Distributions { reg_max: 3 }, 8.0),
            [8.0, 12.0, 24.0, 12.0]
        );
    }

    #[test]
    fn boxes_are_clamped_and_scores_saturate() {
        let size = Size { width: 8, height: 8 };
        let mut output = vec![0.0f32; head().points(size) * head().row()];
        output[0] = 900.0;
        output[1] = -900.0;
        let decoded = decode(&output, &head(), size, size).unwrap();
        assert_eq!(decoded.scores[..3], [1.0, 0.0, 0.5]);
        assert_eq!(decoded.distances[0], [12.0; 4]);
        assert_eq!(decoded.boxes[0], [0.0, 0.0, 8.0, 8.0]);
    }

    #[test]
    fn not_a_number_stays_in_its_row() {
        let size = Size::square(8);
        let mut output = vec![0.0f32; head().points(size) * head().row()];
        output[2] = f32::NAN;
        let decoded = decode(&output, &head(), size, size).unwrap();
        assert!(decoded.boxes[0][0].is_nan() && !decoded.boxes[1][0].is_nan());
    }

    #[test]
    fn another_number_of_values_is_an_error() {
        let error = decode(&[0.0f32; 7], &head(), Size::square(8), Size::square(8)).unwrap_err();
        assert!(matches!(error, Error::Output { found: 7, points: 2, row: 18 }), "{error}");
    }
}
