//! Between plain numbers and candle tensors.

use candle_core::{DType, Device, Result, Tensor};

use crate::error::RuntimeError;
use network::graph::Array;

/// A tensor of an array's numbers in `dtype`.
///
/// # Errors
/// Numbers that do not fill the shape.
pub fn array_tensor(array: &Array, dtype: DType) -> Result<Tensor> {
    Tensor::from_slice(&array.data, array.shape.as_slice(), &Device::Cpu)?.to_dtype(dtype)
}

/// The numbers of a tensor in f64, row-major.
///
/// # Errors
/// A tensor of a type that has no such numbers.
pub fn to_f64(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()
}

/// The numbers of a tensor in f32 with their shape.
///
/// # Errors
/// A tensor of a type that has no such numbers.
pub fn to_array(tensor: &Tensor) -> Result<Array> {
    let data = tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
    Ok(Array { shape: tensor.dims().to_vec(), data })
}

/// candle's error without the backtrace that it may carry along.
pub fn plain(error: &candle_core::Error) -> &candle_core::Error {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => plain(inner),
        other => other,
    }
}

impl From<candle_core::Error> for RuntimeError {
    fn from(error: candle_core::Error) -> RuntimeError {
        RuntimeError::internal("", plain(&error).to_string())
    }
}
