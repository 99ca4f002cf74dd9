//! Numbers to compute with.

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{AddAssign, DivAssign, MulAssign};

/// f32, and f64 for gradients and rounding noise.
pub trait Element:
    num_traits::Float + AddAssign + DivAssign + MulAssign + Sum + Debug + Default + Send + Sync + 'static
{
    /// The nearest number of this type.
    fn of(number: f64) -> Self;

    /// The number in f64.
    fn wide(self) -> f64;

    /// Numbers together with their type, for whoever has a case for each.
    fn into_numbers(numbers: Vec<Self>) -> Numbers;

    /// The numbers, converted where they are of another type.
    fn from_numbers(numbers: Numbers) -> Vec<Self>;
}

/// Numbers of one of the types.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

impl Element for f32 {
    fn of(number: f64) -> f32 {
        number as f32
    }

    fn wide(self) -> f64 {
        f64::from(self)
    }

    fn into_numbers(numbers: Vec<f32>) -> Numbers {
        Numbers::F32(numbers)
    }

    fn from_numbers(numbers: Numbers) -> Vec<f32> {
        match numbers {
            Numbers::F32(numbers) => numbers,
            Numbers::F64(numbers) => numbers.into_iter().map(f32::of).collect(),
        }
    }
}

impl Element for f64 {
    fn of(number: f64) -> f64 {
        number
    }

    fn wide(self) -> f64 {
        self
    }

    fn into_numbers(numbers: Vec<f64>) -> Numbers {
        Numbers::F64(numbers)
    }

    fn from_numbers(numbers: Numbers) -> Vec<f64> {
        match numbers {
            Numbers::F32(numbers) => numbers.into_iter().map(f32::wide).collect(),
            Numbers::F64(numbers) => numbers,
        }
    }
}
