//! Matrix products, one for each position of the leading axes.

use super::matrix::{Matrix, multiply};
use crate::reference::kernel::{Gradients, Kernel, View};
use network::element::Element;

/// `[.., M, K]` times `[.., K, N]`.
pub(crate) struct MatMul;

/// Rows of the left side, columns of the left and rows of the right, columns of the right.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    rows: usize,
    inner: usize,
    columns: usize,
}

impl Sizes {
    fn new<T>(left: View<'_, T>, right: View<'_, T>) -> Sizes {
        let from_end = |shape: &[usize], back| shape[shape.len() - 1 - back];
        Sizes {
            rows: from_end(left.shape, 1),
            inner: from_end(left.shape, 0),
            columns: from_end(right.shape, 0),
        }
    }

    /// Numbers of one matrix: left, right, result; chunks of nothing are not allowed.
    fn areas(&self) -> [usize; 3] {
        [self.rows * self.inner, self.inner * self.columns, self.rows * self.columns].map(|area| area.max(1))
    }
}

impl Kernel<2> for MatMul {
    const NAME: &'static str = "matrix product";

    fn forward<T: Element>(&self, [left, right]: [View<'_, T>; 2]) -> (Vec<T>, Vec<usize>) {
        let sizes = Sizes::new(left, right);
        let leading = left.shape.iter().take(left.shape.len().saturating_sub(2)).copied();
        let shape: Vec<usize> = leading.chain([sizes.rows, sizes.columns]).collect();
        let mut result = vec![T::zero(); shape.iter().product()];
        let [left_area, right_area, area] = sizes.areas();
        let pairs = left.data.chunks(left_area).zip(right.data.chunks(right_area));
        for (result, (left, right)) in result.chunks_mut(area).zip(pairs) {
            let left = Matrix::new(left, sizes.rows, sizes.inner);
            multiply(result, left, Matrix::new(right, sizes.inner, sizes.columns), false);
        }
        (result, shape)
    }

    fn backward<T: Element>(
        &self,
        [left, right]: [View<'_, T>; 2],
        _: View<'_, T>,
        gradient: View<'_, T>,
        [left_wanted, right_wanted]: [bool; 2],
    ) -> Gradients<T, 2> {
        let sizes = Sizes::new(left, right);
        [
            left_wanted.then(|| left_gradient(sizes, left.data.len(), right.data, gradient.data)),
            right_wanted.then(|| right_gradient(sizes, left.data, right.data.len(), gradient.data)),
        ]
    }
}

/// The gradient times the right side, transposed.
fn left_gradient<T: Element>(sizes: Sizes, count: usize, right: &[T], gradient: &[T]) -> Vec<T> {
    let Sizes { rows, inner, columns } = sizes;
    let [left_area, right_area, area] = sizes.areas();
    let mut result = vec![T::zero(); count];
    let pairs = gradient.chunks(area).zip(right.chunks(right_area));
    for (result, (gradient, right)) in result.chunks_mut(left_area).zip(pairs) {
        let right = Matrix::new(right, inner, columns).transposed();
        multiply(result, Matrix::new(gradient, rows, columns), right, false);
    }
    result
}

/// The left side, transposed, times the gradient.
fn right_gradient<T: Element>(sizes: Sizes, left: &[T], count: usize, gradient: &[T]) -> Vec<T> {
    let Sizes { rows, inner, columns } = sizes;
    let [left_area, right_area, area] = sizes.areas();
    let mut result = vec![T::zero(); count];
    let pairs = left.chunks(left_area).zip(gradient.chunks(area));
    for (result, (left, gradient)) in result.chunks_mut(right_area).zip(pairs) {
        let left = Matrix::new(left, rows, inner).transposed();
        multiply(result, left, Matrix::new(gradient, rows, columns), false);
    }
    result
}
