//! What is decoded from the raw output, which has no node in the graph.

use candle_core::Tensor;

use super::network::Network;
use super::recording::VerifyError;
use crate::detect::{Decoded, decode, priors};
use crate::runtime::{Element, to_f64};

/// Names in recordings of values that are decoded from the raw output.
pub(super) const DECODED: [&str; 5] =
    ["output.priors", "output.scores", "output.distances", "output.boxes", YOLO];

/// Centre, width, height, objectness (always 1) and scores of each point, as YOLOs return them.
const YOLO: &str = "output.decoded";

/// Values with their shape.
pub(super) type Part = (Vec<f64>, Vec<usize>);

impl Network {
    /// One of [`DECODED`] from a raw output `[N, points, row]`, computed in `T`; `None` for a network whose output
    /// is not decoded so.
    pub(super) fn decoded<T: Element>(&self, name: &str, raw: &Tensor) -> Result<Option<Part>, VerifyError> {
        let (images, points, row) = raw.dims3()?;
        let numbers: Vec<T> = to_f64(raw)?.into_iter().map(T::of).collect();
        let mut values = Vec::new();
        for image in numbers.chunks((points * row).max(1)) {
            let Some(part) = self.decoded_image(name, image) else {
                return Ok(None);
            };
            values.extend(part);
        }
        let columns = values.len() / (images * points).max(1);
        Ok(Some((values, vec![images, points, columns])))
    }

    fn decoded_image<T: Element>(&self, name: &str, raw: &[T]) -> Option<Vec<f64>> {
        let head = self.model.facts(self.size).head;
        let decoded = decode(raw, &head, self.size, self.size).ok()?;
        let wide = |values: &[T]| values.iter().map(|value| value.wide()).collect();
        Some(match name {
            "output.scores" => wide(&decoded.scores),
            "output.distances" => wide(decoded.distances.as_flattened()),
            "output.boxes" => wide(decoded.boxes.as_flattened()),
            YOLO => yolo(&decoded).iter().map(|value| value.wide()).collect(),
            // Upstream gives the stride twice, once per direction.
            _ => priors::<T>(&head, self.size)
                .into_iter()
                .flat_map(|[x, y, stride]| [x, y, stride, stride].map(Element::wide))
                .collect(),
        })
    }
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
