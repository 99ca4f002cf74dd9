//! Other forms of a tensor: another name, order of axes, shape, a slice, several in one, another type.
//!
//! Names, axes, slices and the shape of row-major tensors change without touching the data: the result is another
//! view of the same storage. Joining, casting and reshaping a strided view make a copy in memory.

use std::path::Path;

use bytes::Bytes;

use crate::cast::{decode, encode_exactly};
use crate::dtype::Dtype;
use crate::error::{Error, InFile, Problem, Result};
use crate::storage::Storage;
use crate::tensor::{Tensor, View, byte_len, row_major};
use crate::value::Key;

/// Where tensors made in memory say that they come from.
const MEMORY: &str = "(memory)";

impl Tensor {
    /// A tensor of row-major little-endian bytes in memory.
    ///
    /// # Errors
    /// When there are not exactly as many bytes as the shape needs.
    pub fn from_bytes(name: &str, dtype: Dtype, shape: &[usize], bytes: impl Into<Bytes>) -> Result<Tensor> {
        Tensor::made_in(Path::new(MEMORY), name, dtype, shape, bytes.into())
    }

    /// A tensor of these values, row-major, in memory.
    ///
    /// # Errors
    /// [`Problem::CannotReform`] when the type does not hold a value exactly, or when there are more or fewer
    /// values than the shape needs.
    pub fn from_values(name: &str, dtype: Dtype, shape: &[usize], values: &[f64]) -> Result<Tensor> {
        let mut bytes = Vec::with_capacity(values.len() * dtype.size());
        if values.iter().all(|value| encode_exactly(dtype, *value, &mut bytes)) {
            return Tensor::from_bytes(name, dtype, shape, bytes);
        }
        let (tensor, shape, change) = (name.to_owned(), shape.to_vec(), format!("made of type {dtype}"));
        let why = "the type does not hold every value exactly";
        Err(Error::new(MEMORY, Problem::CannotReform { tensor, shape, change, why }))
    }

    fn made_in(file: &Path, name: &str, dtype: Dtype, shape: &[usize], bytes: Bytes) -> Result<Tensor> {
        let storage = Storage::raw(file.into(), format!("tensor `{name}`"), bytes);
        let view = View::whole(name, storage.into(), 0, dtype, shape.to_vec(), Default::default());
        Ok(Tensor::new(vec![Key::Text(name.to_owned())], view.in_file(file)?))
    }

    /// The same tensor under another name, which is its whole path.
    pub fn named(&self, name: &str) -> Tensor {
        self.at(vec![Key::Text(name.to_owned())])
    }

    /// The tensor with its axes in another order: axis `i` of the result is axis `axes[i]` of this.
    ///
    /// # Errors
    /// [`Problem::CannotReform`] when `axes` does not name each axis once.
    pub fn transposed(&self, axes: &[usize]) -> Result<Tensor> {
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..self.shape().len()) {
            return Err(self.cannot(format!("transposed by {axes:?}"), "that does not name each axis once"));
        }
        let mut view = self.view().clone();
        view.shape = axes.iter().filter_map(|axis| self.shape().get(*axis).copied()).collect();
        view.strides = axes.iter().filter_map(|axis| self.view().strides.get(*axis).copied()).collect();
        Ok(self.of(view))
    }

    /// The elements `start..start + len` along `axis`.
    ///
    /// # Errors
    /// [`Problem::CannotReform`] when the axis does not exist or is shorter.
    pub fn slice(&self, axis: usize, start: usize, len: usize) -> Result<Tensor> {
        let is_inside = |size: &usize| start.checked_add(len).is_some_and(|end| end <= *size);
        let fail = || self.cannot(format!("sliced at {start} by {len} along axis {axis}"), "it ends before");
        if !self.shape().get(axis).is_some_and(is_inside) {
            return Err(fail());
        }
        let mut view = self.view().clone();
        let stride = *view.strides.get(axis).ok_or_else(fail)?;
        // An empty slice may begin at the very end; it has no first element.
        let skipped = if len == 0 { 0 } else { stride * start as u64 * view.dtype.size() as u64 };
        view.start += skipped;
        view.shape.iter_mut().skip(axis).take(1).for_each(|size| *size = len);
        Ok(self.of(view))
    }

    /// The same elements in row-major order under another shape. Copied when they do not lie so.
    ///
    /// # Errors
    /// [`Problem::CannotReform`] when the shape has another number of elements, or the data cannot be read.
    pub fn reshaped(&self, shape: &[usize]) -> Result<Tensor> {
        let len = byte_len(self.name(), self.dtype(), shape).in_file(self.file())?;
        if len != self.byte_len() {
            return Err(self.cannot(format!("reshaped to {shape:?}"), "the number of elements differs"));
        }
        if self.view().strides != row_major(self.shape()) {
            return Tensor::made_in(self.file(), self.name(), self.dtype(), shape, self.bytes()?.into());
        }
        let mut view = self.view().clone();
        (view.strides, view.shape) = (row_major(shape), shape.to_vec());
        Ok(self.of(view))
    }

    /// Tensors one after another along `axis`, copied, under the name of the first.
    ///
    /// # Errors
    /// [`Problem::CannotReform`] when there are none, their types or other sizes differ, or there is no such
    /// axis; and when the data cannot be read.
    pub fn joined(parts: &[Tensor], axis: usize) -> Result<Tensor> {
        let Some((first, rest)) = parts.split_first() else {
            return Err(Error::new(MEMORY, Problem::NoTensors));
        };
        let fail = |tensor: &Tensor, why| tensor.cannot(format!("joined along axis {axis}"), why);
        let mut shape = first.shape().to_vec();
        let total = shape.get_mut(axis).ok_or_else(|| fail(first, "it has no such axis"))?;
        for part in rest {
            let size = part.shape().get(axis).ok_or_else(|| fail(part, "it has no such axis"))?;
            *total = total.checked_add(*size).ok_or_else(|| fail(part, "the sum is too large"))?;
        }
        for part in rest {
            let differs = |(at, (left, right)): (usize, (&usize, &usize))| at != axis && left != right;
            let is_other = part.shape().len() != shape.len() || part.dtype() != first.dtype();
            if is_other || part.shape().iter().zip(&shape).enumerate().any(differs) {
                return Err(fail(part, "its type or another axis differs from the first one's"));
            }
        }
        let bytes = interleaved(parts, axis)?;
        Tensor::made_in(first.file(), first.name(), first.dtype(), &shape, bytes.into())
    }

    /// The tensor in another element type, copied, every value as before.
    ///
    /// # Errors
    /// [`Problem::CannotReform`] when the type does not hold a value exactly, or the data cannot be read.
    pub fn cast_exactly(&self, dtype: Dtype) -> Result<Tensor> {
        if dtype == self.dtype() {
            return Ok(self.clone());
        }
        let mut bytes = Vec::new();
        let mut is_exact = !matches!(self.dtype(), Dtype::C64 | Dtype::C128);
        self.read(&mut |chunk| {
            let mut elements = chunk.chunks_exact(self.dtype().size());
            is_exact &=
                elements.all(|element| encode_exactly(dtype, decode(self.dtype(), element), &mut bytes));
            Ok(())
        })?;
        if !is_exact {
            return Err(self.cannot(format!("cast to {dtype}"), "the type does not hold every value exactly"));
        }
        Tensor::made_in(self.file(), self.name(), dtype, self.shape(), bytes.into())
    }

    fn of(&self, view: View) -> Tensor {
        Tensor::new(self.path().to_vec(), view)
    }

    fn cannot(&self, change: String, why: &'static str) -> Error {
        let (tensor, shape) = (self.name().to_owned(), self.shape().to_vec());
        Error::new(self.file(), Problem::CannotReform { tensor, shape, change, why })
    }
}

/// The bytes of `parts` along `axis`: for each index of the axes before it, which all have alike, a run of every part.
fn interleaved(parts: &[Tensor], axis: usize) -> Result<Vec<u8>> {
    let outer: usize = parts.first().map_or(0, |part| part.shape().iter().take(axis).product());
    let all = parts.iter().map(Tensor::bytes).collect::<Result<Vec<_>>>()?;
    let mut joined = Vec::with_capacity(all.iter().map(Vec::len).sum());
    // Without an index before the axis there is no element at all; parts without elements have no runs.
    let run = |bytes: &Vec<u8>| bytes.len().checked_div(outer).filter(|run| *run > 0);
    let mut runs: Vec<_> = all.iter().filter_map(|bytes| Some(bytes.chunks_exact(run(bytes)?))).collect();
    for _ in 0..outer {
        runs.iter_mut().filter_map(Iterator::next).for_each(|run| joined.extend_from_slice(run));
    }
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(shape: &[usize]) -> Tensor {
        let bytes: Vec<u8> = (0..shape.iter().product::<usize>() as u8).collect();
        Tensor::from_bytes("t", Dtype::U8, shape, bytes).unwrap()
    }

    #[test]
    fn views_share_the_storage() {
        let tensor = counting(&[2, 3]);
        let transposed = tensor.transposed(&[1, 0]).unwrap();
        assert_eq!((transposed.shape(), transposed.bytes().unwrap()), (&[3, 2][..], vec![0, 3, 1, 4, 2, 5]));
        let slice = transposed.slice(0, 1, 2).unwrap();
        assert_eq!((slice.shape(), slice.bytes().unwrap()), (&[2, 2][..], vec![1, 4, 2, 5]));
        let flat = tensor.reshaped(&[6, 1]).unwrap().named("flat");
        assert!(flat.shares_storage(&tensor) && slice.shares_storage(&tensor));
        assert_eq!((flat.name(), tensor.slice(0, 2, 0).unwrap().bytes().unwrap().len()), ("flat", 0));
        assert_eq!(transposed.reshaped(&[6]).unwrap().bytes().unwrap(), [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn slices_join_to_what_they_were_cut_from() {
        let tensor = counting(&[2, 3, 4]);
        for axis in 0..3 {
            let size = tensor.shape()[axis];
            let parts = [tensor.slice(axis, 0, 1).unwrap(), tensor.slice(axis, 1, size - 1).unwrap()];
            let joined = Tensor::joined(&parts, axis).unwrap();
            assert_eq!(joined.shape(), tensor.shape());
            assert_eq!(joined.bytes().unwrap(), tensor.bytes().unwrap(), "axis {axis}");
        }
    }

    #[test]
    fn forms_that_do_not_exist_are_refused() {
        let tensor = counting(&[2, 3]);
        for bad in [&[0][..], &[0, 0], &[0, 2], &[0, 1, 2]] {
            assert!(tensor.transposed(bad).is_err(), "{bad:?}");
        }
        assert!(tensor.slice(2, 0, 1).is_err() && tensor.slice(1, usize::MAX, 2).is_err());
        assert!(tensor.reshaped(&[5]).is_err() && tensor.reshaped(&[usize::MAX, 2]).is_err());
        assert!(Tensor::joined(&[], 0).is_err() && Tensor::joined(std::slice::from_ref(&tensor), 2).is_err());
        assert!(Tensor::joined(&[tensor.clone(), counting(&[2, 2])], 0).is_err());
        assert!(Tensor::from_bytes("t", Dtype::F32, &[2], vec![0; 7]).is_err());
    }

    #[test]
    fn casts_are_exact_or_refused() {
        let counter = Tensor::from_values("n", Dtype::F32, &[2], &[3.0, 7.0]).unwrap();
        let cast = counter.cast_exactly(Dtype::I64).unwrap();
        assert_eq!(cast.bytes().unwrap(), [3_i64.to_le_bytes(), 7_i64.to_le_bytes()].concat());
        assert!(
            Tensor::from_values("n", Dtype::F32, &[1], &[0.5]).unwrap().cast_exactly(Dtype::I64).is_err()
        );
        assert!(Tensor::from_values("n", Dtype::F16, &[1], &[0.1]).is_err());
    }
}
