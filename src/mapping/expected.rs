//! What a network expects of a file, and what fills it where the file has nothing.

use converters::{Dtype, Tensor};

use super::table::{DefaultRule, Filling};

/// A parameter or buffer that a network has.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// Its canonical name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The type that upstream keeps it in. Files may have another.
    pub dtype: Dtype,
    /// Its values, where the network states them: a constant rather than a weight.
    pub constant: Option<Vec<f64>>,
}

/// Nothing larger is made up: defaults are for counters and constants.
const MAX_DEFAULT: usize = 1 << 20;

impl DefaultRule {
    /// An absent parameter, when there are as many values as it has elements and the type holds them.
    pub(super) fn tensor(&self, parameter: &Expected) -> Option<Tensor> {
        let mut sizes = parameter.shape.iter();
        let count = sizes.try_fold(1_usize, |count, size| count.checked_mul(*size))?;
        if count > MAX_DEFAULT {
            return None;
        }
        let values = match &self.value {
            Filling::Zeros => vec![0.0; count],
            Filling::Ones => vec![1.0; count],
            Filling::Values(values) => values.clone(),
            Filling::Model => parameter.constant.clone()?,
        };
        Tensor::from_values(&parameter.name, self.dtype, &parameter.shape, &values).ok()
    }
}
