//! Numbers that kernels compute with.

use std::iter::Sum;
use std::ops::{AddAssign, DivAssign, MulAssign};

/// f32, and f64 for gradients and rounding noise.
pub trait Element:
    candle_core::WithDType
    + num_traits::Float
    + AddAssign
    + DivAssign
    + MulAssign
    + Sum
    + Default
    + Send
    + Sync
    + 'static
{
    /// The nearest number of this type.
    fn of(number: f64) -> Self {
        <Self as candle_core::WithDType>::from_f64(number)
    }

    /// The number in f64.
    fn wide(self) -> f64 {
        candle_core::WithDType::to_f64(self)
    }
}

impl Element for f32 {}
impl Element for f64 {}
