//! What an operator is: row-major slices and shapes in, row-major slices out, with a derivative.

use network::element::Element;
use network::graph::Array;

/// Row-major numbers and their shape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) shape: &'a [usize],
}

impl<'a, T> View<'a, T> {
    pub(crate) fn of(array: &'a Array<T>) -> View<'a, T> {
        View { data: &array.data, shape: &array.shape }
    }

    /// N, C, H, W; what is missing counts as 1. The graph has checked the shape.
    pub(crate) fn planes(&self) -> [usize; 4] {
        std::array::from_fn(|axis| self.shape.get(axis).copied().unwrap_or(1))
    }
}

/// A gradient for each input: `None` where it is not wanted.
pub(crate) type Gradients<T, const N: usize> = [Option<Vec<T>>; N];

/// An operator with `N` inputs and its derivative.
pub(crate) trait Kernel<const N: usize>: Send + Sync + 'static {
    const NAME: &'static str;

    /// The result and its shape.
    fn forward<T: Element>(&self, inputs: [View<'_, T>; N]) -> (Vec<T>, Vec<usize>);

    /// Gradients of the inputs that are `wanted`, given that of the result.
    fn backward<T: Element>(
        &self,
        inputs: [View<'_, T>; N],
        result: View<'_, T>,
        gradient: View<'_, T>,
        wanted: [bool; N],
    ) -> Gradients<T, N>;
}
