//! What the operations of a table work on: tensors, or only their types and shapes.

use converters::{Dtype, Tensor};

use super::expression::ExpressionError;

/// Why an operation cannot be done on a tensor.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// There are more or fewer tensors than the operation takes.
    #[error("the operation takes {wanted} tensors and there are {found}")]
    Count {
        /// How many it takes.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// An axis that the tensor does not have.
    #[error("shape {shape:?} has no axis {axis}")]
    Axis {
        /// The tensor's shape.
        shape: Vec<usize>,
        /// The axis.
        axis: usize,
    },
    /// An axis has another size than the table says.
    #[error("axis {axis} of shape {shape:?} should have size {wanted}")]
    Size {
        /// The tensor's shape.
        shape: Vec<usize>,
        /// The axis.
        axis: usize,
        /// Its size by the table.
        wanted: usize,
    },
    /// A list of axes or places that does not name each once.
    #[error("{order:?} does not name each of {len} places once")]
    Order {
        /// The list.
        order: Vec<usize>,
        /// How many places there are.
        len: usize,
    },
    /// Another shape than the table says.
    #[error("the shape is {shape:?}, where the table says {wanted:?}")]
    Shape {
        /// The tensor's shape.
        shape: Vec<usize>,
        /// The table's.
        wanted: Vec<usize>,
    },
    /// Shapes with different numbers of elements.
    #[error("{from:?} and {to:?} have different numbers of elements")]
    Elements {
        /// The shape there is.
        from: Vec<usize>,
        /// The shape wanted.
        to: Vec<usize>,
    },
    /// Tensors that do not fit together.
    #[error("{one:?} and {other:?} cannot be joined along axis {axis}")]
    Join {
        /// Shape of the first.
        one: Vec<usize>,
        /// Shape of another.
        other: Vec<usize>,
        /// The axis.
        axis: usize,
    },
    /// Another element type than the table says.
    #[error("the type is {dtype}, where the table says {wanted}")]
    Dtype {
        /// The tensor's type.
        dtype: Dtype,
        /// The table's.
        wanted: Dtype,
    },
    /// A size of the table has no value for this network.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// The tensor's data cannot be read or do not fit.
    #[error(transparent)]
    Data(#[from] converters::Error),
}

/// An array that can be given other forms.
pub(super) trait Array: Clone {
    fn dtype(&self) -> Dtype;
    fn shape(&self) -> &[usize];
    /// Axis `i` of the result is axis `axes[i]` of this.
    fn transposed(&self, axes: &[usize]) -> Result<Self, OperationError>;
    fn reshaped(&self, shape: &[usize]) -> Result<Self, OperationError>;
    fn slice(&self, axis: usize, start: usize, len: usize) -> Result<Self, OperationError>;
    fn joined(parts: &[Self], axis: usize) -> Result<Self, OperationError>;
    fn cast(&self, dtype: Dtype) -> Result<Self, OperationError>;
}

impl Array for Tensor {
    fn dtype(&self) -> Dtype {
        Tensor::dtype(self)
    }

    fn shape(&self) -> &[usize] {
        Tensor::shape(self)
    }

    fn transposed(&self, axes: &[usize]) -> Result<Self, OperationError> {
        Ok(Tensor::transposed(self, axes)?)
    }

    fn reshaped(&self, shape: &[usize]) -> Result<Self, OperationError> {
        Ok(Tensor::reshaped(self, shape)?)
    }

    fn slice(&self, axis: usize, start: usize, len: usize) -> Result<Self, OperationError> {
        Ok(Tensor::slice(self, axis, start, len)?)
    }

    fn joined(parts: &[Self], axis: usize) -> Result<Self, OperationError> {
        Ok(Tensor::joined(parts, axis)?)
    }

    fn cast(&self, dtype: Dtype) -> Result<Self, OperationError> {
        Ok(self.cast_exactly(dtype)?)
    }
}

/// Type and shape of a tensor: what can be checked before any data are touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Element type.
    pub dtype: Dtype,
    /// Size of each dimension, outermost first.
    pub shape: Vec<usize>,
}

impl Form {
    /// That of a tensor.
    pub fn of(tensor: &Tensor) -> Form {
        Form { dtype: tensor.dtype(), shape: tensor.shape().to_vec() }
    }

    fn with(&self, shape: Vec<usize>) -> Form {
        Form { dtype: self.dtype, shape }
    }
}

/// Whether `order` is 0, 1, ... `len - 1` in some order.
pub(super) fn is_permutation(order: &[usize], len: usize) -> bool {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    sorted.into_iter().eq(0..len)
}

fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))
}

impl Array for Form {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn transposed(&self, axes: &[usize]) -> Result<Self, OperationError> {
        if !is_permutation(axes, self.shape.len()) {
            return Err(OperationError::Order { order: axes.to_vec(), len: self.shape.len() });
        }
        Ok(self.with(axes.iter().filter_map(|axis| self.shape.get(*axis).copied()).collect()))
    }

    fn reshaped(&self, shape: &[usize]) -> Result<Self, OperationError> {
        if elements(shape).is_none() || elements(shape) != elements(&self.shape) {
            return Err(OperationError::Elements { from: self.shape.clone(), to: shape.to_vec() });
        }
        Ok(self.with(shape.to_vec()))
    }

    fn slice(&self, axis: usize, start: usize, len: usize) -> Result<Self, OperationError> {
        let mut shape = self.shape.clone();
        let size = shape.get_mut(axis).filter(|size| start.checked_add(len).is_some_and(|end| end <= **size));
        *size.ok_or_else(|| OperationError::Axis { shape: self.shape.clone(), axis })? = len;
        Ok(self.with(shape))
    }

    fn joined(parts: &[Self], axis: usize) -> Result<Self, OperationError> {
        let first = parts.first().ok_or(OperationError::Count { wanted: 1, found: 0 })?;
        let mut total = 0_usize;
        for part in parts {
            let fail = || OperationError::Join { one: first.shape.clone(), other: part.shape.clone(), axis };
            let with_axis = |shape: &[usize]| {
                let mut rest = shape.to_vec();
                (axis < rest.len()).then(|| (rest.remove(axis), rest))
            };
            let (size, rest) = with_axis(&part.shape).ok_or_else(fail)?;
            let is_alike = with_axis(&first.shape).is_some_and(|(_, other)| other == rest);
            if !is_alike || part.dtype != first.dtype {
                return Err(fail());
            }
            total = total.checked_add(size).ok_or_else(fail)?;
        }
        let mut shape = first.shape.clone();
        shape.iter_mut().skip(axis).take(1).for_each(|size| *size = total);
        Ok(first.with(shape))
    }

    fn cast(&self, dtype: Dtype) -> Result<Self, OperationError> {
        Ok(Form { dtype, shape: self.shape.clone() })
    }
}
