//! Numbers in a shape.

use crate::element::Element;

/// Numbers in a shape, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Array<T = f32> {
    /// The shape; empty for a single number.
    pub shape: Vec<usize>,
    /// The numbers.
    pub data: Vec<T>,
}

impl<T: Element> Array<T> {
    /// The nearest numbers of another type.
    pub fn to<U: Element>(&self) -> Array<U> {
        let data = self.data.iter().map(|number| U::of(number.wide())).collect();
        Array { shape: self.shape.clone(), data }
    }

    /// The numbers in f64.
    pub fn wide(&self) -> Vec<f64> {
        self.data.iter().map(|number| number.wide()).collect()
    }
}
