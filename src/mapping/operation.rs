//! What a rule does to tensors beside renaming them, each with its inverse.

use converters::Dtype;

use super::array::{Array, OperationError, is_permutation};
use super::expression::{Expression, Variables};

/// One step from the foreign form to the canonical one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// One foreign tensor is cut along `axis` into several canonical ones.
    Split {
        /// The axis.
        axis: usize,
        /// Size of each part along it.
        sizes: Vec<Expression>,
    },
    /// Several foreign tensors are joined along `axis` into one canonical one.
    Concat {
        /// The axis.
        axis: usize,
        /// Size of each part along it.
        sizes: Vec<Expression>,
    },
    /// Canonical axis `i` is foreign axis `order[i]`.
    Transpose(Vec<usize>),
    /// The same elements in another shape.
    Reshape {
        /// The foreign shape.
        foreign: Vec<Expression>,
        /// The canonical one.
        canonical: Vec<Expression>,
    },
    /// The foreign tensor has this axis, of size 1, and the canonical one has not.
    Squeeze(usize),
    /// The canonical tensor has this axis, of size 1, and the foreign one has not.
    Unsqueeze(usize),
    /// Another element type, values unchanged.
    Cast {
        /// The foreign type.
        foreign: Dtype,
        /// The canonical one.
        canonical: Dtype,
    },
    /// Canonical place `i` along `axis` is foreign place `order[i]`: channels in another order.
    Reorder {
        /// The axis.
        axis: usize,
        /// A permutation of its places.
        order: Vec<usize>,
    },
}

impl Operation {
    /// How many foreign tensors it takes, and how many canonical ones it gives.
    pub fn counts(&self) -> (usize, usize) {
        match self {
            Operation::Split { sizes, .. } => (1, sizes.len()),
            Operation::Concat { sizes, .. } => (sizes.len(), 1),
            _ => (1, 1),
        }
    }

    /// The figures of the network that it needs.
    pub fn variables(&self) -> Vec<&str> {
        let sizes: Vec<&Expression> = match self {
            Operation::Split { sizes, .. } | Operation::Concat { sizes, .. } => sizes.iter().collect(),
            Operation::Reshape { foreign, canonical } => foreign.iter().chain(canonical).collect(),
            _ => Vec::new(),
        };
        sizes.into_iter().flat_map(Expression::names).collect()
    }

    /// Foreign arrays in canonical form.
    pub(super) fn forward<A: Array>(
        &self,
        arrays: &[A],
        variables: &Variables,
    ) -> Result<Vec<A>, OperationError> {
        match self {
            Operation::Split { axis, sizes } => split(one(arrays)?, *axis, &values(sizes, variables)?),
            Operation::Concat { axis, sizes } => join(arrays, *axis, &values(sizes, variables)?),
            _ => Ok(vec![self.convert(one(arrays)?, variables, true)?]),
        }
    }

    /// Canonical arrays in foreign form.
    pub(super) fn backward<A: Array>(
        &self,
        arrays: &[A],
        variables: &Variables,
    ) -> Result<Vec<A>, OperationError> {
        match self {
            Operation::Split { axis, sizes } => join(arrays, *axis, &values(sizes, variables)?),
            Operation::Concat { axis, sizes } => split(one(arrays)?, *axis, &values(sizes, variables)?),
            _ => Ok(vec![self.convert(one(arrays)?, variables, false)?]),
        }
    }

    /// An operation on a single array, or its inverse.
    fn convert<A: Array>(
        &self,
        array: &A,
        variables: &Variables,
        is_forward: bool,
    ) -> Result<A, OperationError> {
        match self {
            Operation::Transpose(order) if is_forward => array.transposed(order),
            Operation::Transpose(order) => array.transposed(&inverse(order)),
            Operation::Squeeze(axis) if is_forward => squeeze(array, *axis),
            Operation::Unsqueeze(axis) if !is_forward => squeeze(array, *axis),
            Operation::Squeeze(axis) | Operation::Unsqueeze(axis) => unsqueeze(array, *axis),
            Operation::Reorder { axis, order } if is_forward => reorder(array, *axis, order),
            Operation::Reorder { axis, order } => reorder(array, *axis, &inverse(order)),
            Operation::Reshape { foreign, canonical } => {
                let (from, to) = if is_forward { (foreign, canonical) } else { (canonical, foreign) };
                reshape(array, &values(from, variables)?, &values(to, variables)?)
            }
            Operation::Cast { foreign, canonical } => {
                let (from, to) = if is_forward { (foreign, canonical) } else { (canonical, foreign) };
                cast(array, *from, *to)
            }
            // These take or give several, and were dealt with.
            Operation::Split { .. } | Operation::Concat { .. } => Ok(array.clone()),
        }
    }

    /// Whether its lists of axes and places are permutations, as the inverse needs.
    pub(super) fn is_invertible(&self) -> bool {
        match self {
            Operation::Transpose(order) | Operation::Reorder { order, .. } => {
                is_permutation(order, order.len())
            }
            Operation::Split { sizes, .. } | Operation::Concat { sizes, .. } => sizes.len() > 1,
            _ => true,
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list =
            |sizes: &[Expression]| sizes.iter().map(Expression::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Operation::Split { axis, sizes } => write!(f, "split axis {axis} into [{}]", list(sizes)),
            Operation::Concat { axis, sizes } => write!(f, "concat axis {axis} of [{}]", list(sizes)),
            Operation::Transpose(order) => write!(f, "transpose {order:?}"),
            Operation::Reshape { foreign, canonical } => {
                write!(f, "reshape [{}] to [{}]", list(foreign), list(canonical))
            }
            Operation::Squeeze(axis) => write!(f, "squeeze axis {axis}"),
            Operation::Unsqueeze(axis) => write!(f, "unsqueeze axis {axis}"),
            Operation::Cast { foreign, canonical } => write!(f, "cast {foreign} to {canonical}"),
            Operation::Reorder { axis, order } => write!(f, "reorder axis {axis} by {order:?}"),
        }
    }
}

fn one<A>(arrays: &[A]) -> Result<&A, OperationError> {
    match arrays {
        [array] => Ok(array),
        _ => Err(OperationError::Count { wanted: 1, found: arrays.len() }),
    }
}

fn values(sizes: &[Expression], variables: &Variables) -> Result<Vec<usize>, OperationError> {
    sizes.iter().map(|size| Ok(size.size(variables)?)).collect()
}

fn expect_size<A: Array>(array: &A, axis: usize, wanted: usize) -> Result<(), OperationError> {
    match array.shape().get(axis) {
        Some(size) if *size == wanted => Ok(()),
        Some(_) => Err(OperationError::Size { shape: array.shape().to_vec(), axis, wanted }),
        None => Err(OperationError::Axis { shape: array.shape().to_vec(), axis }),
    }
}

fn split<A: Array>(array: &A, axis: usize, sizes: &[usize]) -> Result<Vec<A>, OperationError> {
    let total = sizes.iter().fold(0_usize, |sum, size| sum.saturating_add(*size));
    expect_size(array, axis, total)?;
    let mut start = 0;
    let mut parts = Vec::with_capacity(sizes.len());
    for size in sizes {
        parts.push(array.slice(axis, start, *size)?);
        start += size;
    }
    Ok(parts)
}

fn join<A: Array>(arrays: &[A], axis: usize, sizes: &[usize]) -> Result<Vec<A>, OperationError> {
    if arrays.len() != sizes.len() {
        return Err(OperationError::Count { wanted: sizes.len(), found: arrays.len() });
    }
    arrays.iter().zip(sizes).try_for_each(|(array, size)| expect_size(array, axis, *size))?;
    Ok(vec![A::joined(arrays, axis)?])
}

fn squeeze<A: Array>(array: &A, axis: usize) -> Result<A, OperationError> {
    expect_size(array, axis, 1)?;
    let mut shape = array.shape().to_vec();
    shape.remove(axis);
    array.reshaped(&shape)
}

fn unsqueeze<A: Array>(array: &A, axis: usize) -> Result<A, OperationError> {
    let mut shape = array.shape().to_vec();
    if axis > shape.len() {
        return Err(OperationError::Axis { shape, axis });
    }
    shape.insert(axis, 1);
    array.reshaped(&shape)
}

fn reshape<A: Array>(array: &A, from: &[usize], to: &[usize]) -> Result<A, OperationError> {
    if array.shape() != from {
        return Err(OperationError::Shape { shape: array.shape().to_vec(), wanted: from.to_vec() });
    }
    array.reshaped(to)
}

fn cast<A: Array>(array: &A, from: Dtype, to: Dtype) -> Result<A, OperationError> {
    if array.dtype() != from {
        return Err(OperationError::Dtype { dtype: array.dtype(), wanted: from });
    }
    array.cast(to)
}

fn reorder<A: Array>(array: &A, axis: usize, order: &[usize]) -> Result<A, OperationError> {
    expect_size(array, axis, order.len())?;
    let places = order.iter().map(|place| array.slice(axis, *place, 1)).collect::<Result<Vec<_>, _>>()?;
    A::joined(&places, axis)
}

fn inverse(order: &[usize]) -> Vec<usize> {
    let place = |wanted: usize| order.iter().position(|index| *index == wanted);
    (0..order.len()).filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use converters::Tensor;

    use super::*;
    use crate::mapping::Form;

    fn counting(shape: &[usize]) -> Tensor {
        let values: Vec<f64> = (0..shape.iter().product::<usize>()).map(|value| value as f64).collect();
        Tensor::from_values("t", Dtype::F32, shape, &values).unwrap()
    }

    fn sizes(texts: &[&str]) -> Vec<Expression> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn variables() -> Variables {
        [("classes".to_owned(), 3), ("bins".to_owned(), 2)].into()
    }

    /// There and back again, tensors and forms alike.
    fn there_and_back(operation: &Operation, tensors: &[Tensor]) -> Vec<Tensor> {
        assert!(operation.is_invertible());
        let canonical = operation.forward(tensors, &variables()).unwrap();
        let forms: Vec<Form> = tensors.iter().map(Form::of).collect();
        let planned = operation.forward(&forms, &variables()).unwrap();
        assert_eq!(planned, canonical.iter().map(Form::of).collect::<Vec<_>>());
        let back = operation.backward(&canonical, &variables()).unwrap();
        assert_eq!(operation.backward(&planned, &variables()).unwrap(), forms);
        for (back, tensor) in back.iter().zip(tensors) {
            assert_eq!((back.shape(), back.bytes().unwrap()), (tensor.shape(), tensor.bytes().unwrap()));
        }
        canonical
    }

    fn floats(tensor: &Tensor) -> Vec<f32> {
        let bytes = tensor.bytes().unwrap();
        bytes.chunks(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect()
    }

    #[test]
    fn every_operation_has_an_inverse() {
        let split = Operation::Split { axis: 0, sizes: sizes(&["classes", "4 * bins"]) };
        let parts = there_and_back(&split, &[counting(&[11, 2])]);
        assert_eq!((parts[0].shape(), parts[1].shape()), (&[3, 2][..], &[8, 2][..]));
        let concat = Operation::Concat { axis: 1, sizes: sizes(&["1", "2"]) };
        let joined = there_and_back(&concat, &[counting(&[2, 1]), counting(&[2, 2])]);
        assert_eq!(floats(&joined[0]), [0.0, 0.0, 1.0, 1.0, 2.0, 3.0]);
        let transposed = there_and_back(&Operation::Transpose(vec![2, 0, 1]), &[counting(&[2, 3, 4])]);
        assert_eq!(transposed[0].shape(), [4, 2, 3]);
        let reshape =
            Operation::Reshape { foreign: sizes(&["bins", "3"]), canonical: sizes(&["2 * classes"]) };
        there_and_back(&reshape, &[counting(&[2, 3])]);
        assert!(there_and_back(&Operation::Squeeze(0), &[counting(&[1])])[0].shape().is_empty());
        assert_eq!(there_and_back(&Operation::Unsqueeze(1), &[counting(&[2])])[0].shape(), [2, 1]);
        there_and_back(&Operation::Cast { foreign: Dtype::F32, canonical: Dtype::I64 }, &[counting(&[3])]);
    }

    #[test]
    fn channels_are_reordered_along_their_axis() {
        let swap = Operation::Reorder { axis: 1, order: vec![2, 0, 1] };
        let swapped = there_and_back(&swap, &[counting(&[2, 3])]);
        assert_eq!(floats(&swapped[0]), [2.0, 0.0, 1.0, 5.0, 3.0, 4.0]);
    }

    #[test]
    fn forms_that_do_not_fit_are_refused() {
        let split = Operation::Split { axis: 0, sizes: sizes(&["classes", "classes"]) };
        let fails = |operation: &Operation, shape: &[usize]| {
            let (tensor, form) = (counting(shape), Form::of(&counting(shape)));
            let planned = operation.forward(&[form], &variables());
            assert_eq!(planned.is_err(), operation.forward(&[tensor], &variables()).is_err());
            planned.is_err()
        };
        assert!(fails(&split, &[5]) && fails(&split, &[]) && !fails(&split, &[6]));
        assert!(fails(&Operation::Squeeze(0), &[]) && fails(&Operation::Squeeze(0), &[2]));
        assert!(fails(&Operation::Unsqueeze(2), &[2]) && fails(&Operation::Transpose(vec![1, 0]), &[2]));
        assert!(!Operation::Transpose(vec![0, 0]).is_invertible());
        assert!(!Operation::Reorder { axis: 0, order: vec![1, 2] }.is_invertible());
    }
}
