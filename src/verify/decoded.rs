//! What is decoded from the raw output, which has no node in the graph.

use super::recording::YOLO;
use crate::detect::{Decoded, decode, priors};
use network::element::Element;
use network::graph::Array;
use network::models::{Head, Size};

/// Decoded values of every point.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) values: Vec<f64>,
    /// Images, points, columns.
    pub(super) shape: Vec<usize>,
}

impl Part {
    /// The values in the layout of a recording of `shape`, where that differs in ways that mean nothing: mmdetection
    /// leaves out the axis of images where there is one image, and appends a column of zeros to scores.
    pub(super) fn like(mut self, shape: &[usize]) -> Part {
        let (Some(theirs), Some(ours)) = (shape.last(), self.shape.last_mut()) else { return self };
        if *theirs == *ours + 1 {
            let rows = self.values.chunks((*ours).max(1));
            self.values = rows.flat_map(|row| row.iter().copied().chain([0.0])).collect();
            *ours += 1;
        }
        if shape.len() == 2 && self.shape.first() == Some(&1) {
            self.shape.remove(0);
        }
        self
    }
}

/// What [`DECODED`](super::recording::DECODED) calls `name`, of a raw output `[N, points, row]` for inputs of `size`,
/// computed in `T`; `None` for an output that is not decoded so.
pub(super) fn decoded<T: Element>(name: &str, raw: &Array<T>, head: &Head, size: Size) -> Option<Part> {
    let [images, points, row] = raw.shape[..] else { return None };
    let mut values = Vec::new();
    for image in raw.data.chunks((points * row).max(1)) {
        values.extend(decoded_image(name, image, head, size)?);
    }
    let columns = values.len() / (images * points).max(1);
    Some(Part { values, shape: vec![images, points, columns] })
}

fn decoded_image<T: Element>(name: &str, raw: &[T], head: &Head, size: Size) -> Option<Vec<f64>> {
    let decoded = decode(raw, head, size, size).ok()?;
    let wide = |values: &[T]| values.iter().map(|value| value.wide()).collect();
    Some(match name {
        "output.scores" => wide(&decoded.scores),
        "output.distances" => wide(decoded.distances.as_flattened()),
        "output.boxes" => wide(decoded.boxes.as_flattened()),
        YOLO => yolo(&decoded).iter().map(|value| value.wide()).collect(),
        // Upstream gives the stride twice, once per direction.
        _ => priors::<T>(head, size)
            .into_iter()
            .flat_map(|[x, y, stride]| [x, y, stride, stride].map(Element::wide))
            .collect(),
    })
}

/// The rows of YOLO's output.
fn yolo<T: Element>(decoded: &Decoded<T>) -> Vec<T> {
    let (half, one) = (T::of(0.5), T::of(1.0));
    let points = decoded.boxes.iter().zip(decoded.scores.chunks(decoded.columns.max(1)));
    let rows = points.flat_map(|([left, top, right, bottom], scores)| {
        let centre = [(*left + *right) * half, (*top + *bottom) * half];
        let row = centre.into_iter().chain([*right - *left, *bottom - *top, one]);
        row.chain(scores.iter().copied())
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_that_mean_the_same_are_followed() {
        let part = || Part { values: vec![0.25, 0.5, 0.75, 1.0], shape: vec![1, 2, 2] };
        let like = |shape: &[usize]| part().like(shape);
        assert_eq!(like(&[1, 2, 2]).shape, [1, 2, 2]);
        // As mmdetection has it: without images, and with a score for the background.
        let theirs = like(&[2, 3]);
        assert_eq!(theirs.shape, [2, 3]);
        assert_eq!(theirs.values, [0.25, 0.5, 0.0, 0.75, 1.0, 0.0]);
        // What does not fit stays as it is, to be reported.
        assert_eq!(like(&[1, 3, 2]).shape, [1, 2, 2]);
        let pair = Part { values: vec![0.0; 4], shape: vec![2, 1, 2] };
        assert_eq!(pair.like(&[2, 2]).shape, [2, 1, 2]);
    }
}
