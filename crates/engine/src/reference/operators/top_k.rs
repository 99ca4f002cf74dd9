//! The largest values along an axis.

use std::cmp::Ordering;

use rayon::prelude::*;

use crate::reference::kernel::{Gradients, Kernel, View};
use network::element::Element;

/// The `count` largest values along `axis`, in descending order; the first of equals comes first, and NaN before
/// every number.
pub(crate) struct TopK {
    pub(crate) axis: usize,
    pub(crate) count: usize,
}

impl TopK {
    /// Size of the axis and of everything behind it.
    fn sizes(&self, shape: &[usize]) -> (usize, usize) {
        (shape[self.axis], shape.iter().skip(self.axis + 1).product())
    }

    /// Calls `found` for every line along the axis and each of its largest values: position in the block of the
    /// result, position in the block of the input, value.
    fn largest<T: Element>(
        &self,
        block: &[T],
        (size, behind): (usize, usize),
        mut found: impl FnMut(usize, usize, T),
    ) {
        let mut line = Vec::with_capacity(size);
        for inner in 0..behind {
            line.clear();
            line.extend(block.iter().copied().enumerate().skip(inner).step_by(behind));
            // A stable sort: equals stay in order.
            line.sort_by(|(_, left), (_, right)| descending(*left, *right));
            for (rank, (position, value)) in line.iter().take(self.count).enumerate() {
                found(rank * behind + inner, *position, *value);
            }
        }
    }
}

fn descending<T: Element>(left: T, right: T) -> Ordering {
    right.partial_cmp(&left).unwrap_or_else(|| right.is_nan().cmp(&left.is_nan()))
}

impl Kernel<1> for TopK {
    const NAME: &'static str = "top k";

    fn forward<T: Element>(&self, [x]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        let (size, behind) = self.sizes(x.shape);
        let before: usize = x.shape.iter().take(self.axis).product();
        let mut result = vec![T::zero(); before * self.count * behind];
        let blocks = result.par_chunks_mut((self.count * behind).max(1));
        blocks.zip(x.data.par_chunks((size * behind).max(1))).for_each(|(result, block)| {
            self.largest(block, (size, behind), |to, _, value| result[to] = value);
        });
        let mut shape = x.shape.to_vec();
        shape[self.axis] = self.count;
        (result, shape)
    }

    fn backward<T: Element>(
        &self,
        [x]: [View<'_, T>; 1],
        _: View<'_, T>,
        gradient: View<'_, T>,
        _: [bool; 1],
    ) -> Gradients<T, 1> {
        let (size, behind) = self.sizes(x.shape);
        let mut input = vec![T::zero(); x.data.len()];
        let block = (size * behind).max(1);
        let blocks = input.par_chunks_mut(block).zip(x.data.par_chunks(block));
        blocks.zip(gradient.data.par_chunks((self.count * behind).max(1))).for_each(
            |((input, block), gradient)| {
                self.largest(block, (size, behind), |from, to, _| input[to] = gradient[from]);
            },
        );
        [Some(input)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_descend_and_nan_comes_first() {
        let x = [1.0, 8.0, f64::NAN, 2.0, 3.0, 8.0];
        let top = |axis, count, shape: &[usize]| TopK { axis, count }.forward([View { data: &x, shape }]).0;
        assert_eq!(top(0, 2, &[3, 2])[1..], [8.0, 3.0, 8.0]);
        assert!(top(0, 2, &[3, 2])[0].is_nan());
        assert_eq!(top(1, 1, &[2, 3])[1], 8.0);
    }

    /// Of equal values the first is taken, and the gradient goes to that one alone.
    #[test]
    fn the_first_of_equals_has_the_gradient() {
        let (x, top) = ([2.0, 5.0, 5.0], TopK { axis: 0, count: 1 });
        let view = |data| View { data, shape: &[3] };
        let gradient = View { data: &[7.0], shape: &[1] };
        let [gradient] = top.backward([view(&x)], gradient, gradient, [true]);
        assert_eq!(gradient.unwrap(), [0.0, 7.0, 0.0]);
    }
}
