//! Arrays in candle's memory.

use std::marker::PhantomData;

use candle_core::{DType, Device, Tensor};

use crate::error::RuntimeError;
use network::element::{Element, Numbers};
use network::graph::{Array, Graph, Node};

/// A value of a run where it was computed. It is copied only when its numbers are asked for.
#[derive(Debug, Clone)]
pub struct Handle<T = f32> {
    pub(super) tensor: Tensor,
    numbers: PhantomData<T>,
}

impl<T: Element> Handle<T> {
    pub(super) fn new(tensor: Tensor) -> Handle<T> {
        Handle { tensor, numbers: PhantomData }
    }

    /// A copy of an array, in the nearest numbers of this type.
    ///
    /// # Errors
    /// Numbers that do not fill the shape.
    pub fn of<U: Element>(array: &Array<U>) -> Result<Handle<T>, RuntimeError> {
        Ok(Handle::new(filled(array.to::<T>()).map_err(fault)?))
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        self.tensor.dims()
    }

    /// The numbers, row-major.
    ///
    /// # Errors
    /// Memory that cannot be read.
    pub fn array(&self) -> Result<Array<T>, RuntimeError> {
        array(&self.tensor).map_err(fault)
    }
}

/// What candle calls the type.
fn dtype<T: Element>() -> DType {
    match T::into_numbers(Vec::new()) {
        Numbers::F32(_) => DType::F32,
        Numbers::F64(_) => DType::F64,
    }
}

pub(super) fn tensor<T: Element>(array: &Array<T>) -> candle_core::Result<Tensor> {
    filled(array.clone())
}

fn filled<T: Element>(Array { shape, data }: Array<T>) -> candle_core::Result<Tensor> {
    let device = &Device::Cpu;
    match T::into_numbers(data) {
        Numbers::F32(numbers) => Tensor::from_vec(numbers, shape, device),
        Numbers::F64(numbers) => Tensor::from_vec(numbers, shape, device),
    }
}

pub(super) fn array<T: Element>(tensor: &Tensor) -> candle_core::Result<Array<T>> {
    let flat = tensor.flatten_all()?;
    let data = match dtype::<T>() {
        DType::F64 => T::from_numbers(Numbers::F64(flat.to_vec1()?)),
        _ => T::from_numbers(Numbers::F32(flat.to_vec1()?)),
    };
    Ok(Array { shape: tensor.dims().to_vec(), data })
}

/// What candle says, without the backtrace that it may carry along.
fn plain(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => plain(inner),
        other => other.to_string(),
    }
}

/// What fails outside any operator is a mistake of our own.
pub(super) fn fault(error: candle_core::Error) -> RuntimeError {
    RuntimeError::internal("", plain(&error))
}

/// An operator that fails is named by its module.
pub(super) fn failed(graph: &Graph, node: &Node) -> impl Fn(candle_core::Error) -> RuntimeError {
    move |error| {
        let (module, message) = (graph.path(node).to_owned(), plain(&error));
        RuntimeError::Operator { module, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were() {
        let array = Array { shape: vec![2, 3], data: vec![1.0, -2.0, 0.1, 4.0, f64::MAX, 1e-300] };
        let handle: Handle<f64> = Handle::of(&array).unwrap();
        assert_eq!(handle.shape(), [2, 3]);
        assert_eq!(handle.array().unwrap(), array);
        let single: Array<f32> = array.to();
        assert_eq!(Handle::<f32>::of(&array).unwrap().array().unwrap(), single);
    }

    #[test]
    fn numbers_must_fill_their_shape() {
        let error = Handle::<f32>::of(&Array { shape: vec![2, 3], data: vec![1.0_f32; 5] }).unwrap_err();
        assert!(matches!(error, RuntimeError::Internal { .. }), "{error}");
    }
}
