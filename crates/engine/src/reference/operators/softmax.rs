//! Softmax along an axis.

use rayon::prelude::*;

use crate::reference::kernel::{Gradients, Kernel, View};
use network::element::Element;

/// exp(x) / sum(exp(x)) along `axis`.
pub(crate) struct Softmax {
    pub(crate) axis: usize,
}

impl Softmax {
    /// Size of the axis and of everything behind it.
    fn sizes(&self, shape: &[usize]) -> (usize, usize) {
        (shape[self.axis], shape.iter().skip(self.axis + 1).product())
    }
}

/// The numbers along the axis at position `inner` of a block.
fn along<T: Copy>(block: &[T], inner: usize, behind: usize) -> impl Iterator<Item = T> + '_ {
    block.iter().skip(inner).step_by(behind).copied()
}

impl Kernel<1> for Softmax {
    const NAME: &'static str = "softmax";

    fn forward<T: Element>(&self, [x]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        let (size, behind) = self.sizes(x.shape);
        let mut result = x.data.to_vec();
        result.par_chunks_mut((size * behind).max(1)).for_each(|block| {
            for inner in 0..behind {
                let largest = along(block, inner, behind).fold(T::neg_infinity(), num_traits::Float::max);
                let mut sum = T::zero();
                for value in block.iter_mut().skip(inner).step_by(behind) {
                    *value = (*value - largest).exp();
                    sum += *value;
                }
                block.iter_mut().skip(inner).step_by(behind).for_each(|value| *value /= sum);
            }
        });
        (result, x.shape.to_vec())
    }

    fn backward<T: Element>(
        &self,
        _: [View<'_, T>; 1],
        result: View<'_, T>,
        gradient: View<'_, T>,
        _: [bool; 1],
    ) -> Gradients<T, 1> {
        let (size, behind) = self.sizes(result.shape);
        let block = (size * behind).max(1);
        let mut input = gradient.data.to_vec();
        input.par_chunks_mut(block).zip(result.data.par_chunks(block)).for_each(|(input, result)| {
            for inner in 0..behind {
                let products = along(input, inner, behind).zip(along(result, inner, behind));
                let sum: T = products.map(|(g, y)| g * y).sum();
                let values = input.iter_mut().skip(inner).step_by(behind);
                values.zip(along(result, inner, behind)).for_each(|(g, y)| *g = (*g - sum) * y);
            }
        });
        [Some(input)]
    }
}
