//! Values for the parameters of a graph.

use std::collections::HashMap;

use super::array::Array;
use super::error::GraphError;
use super::ir::{Graph, Parameter, Role};

/// Named values. The names are those of the parameters they are for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights {
    arrays: HashMap<String, Array>,
}

impl Weights {
    /// The value for the parameter `name`.
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.arrays.get(name)
    }

    /// The value for the parameter `name`, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Array> {
        self.arrays.get_mut(name)
    }

    /// Sets the value for the parameter `name`.
    pub fn insert(&mut self, name: impl Into<String>, array: Array) {
        self.arrays.insert(name.into(), array);
    }

    /// Takes the value for the parameter `name` out.
    pub fn remove(&mut self, name: &str) -> Option<Array> {
        self.arrays.remove(name)
    }

    /// Names and values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.arrays.iter().map(|(name, array)| (name.as_str(), array))
    }

    /// The value of `parameter`, of its shape. Counts of batches, which no operator reads, need none.
    ///
    /// # Errors
    /// [`GraphError::Missing`] and [`GraphError::Mismatch`].
    pub fn of(&self, parameter: &Parameter) -> Result<&Array, GraphError> {
        let Parameter { name, shape, .. } = parameter;
        let missing = || GraphError::Missing { name: name.clone(), shape: shape.clone() };
        let array = self.get(name).ok_or_else(missing)?;
        if array.shape == *shape && array.data.len() == parameter.elements() {
            return Ok(array);
        }
        let (expected, found) = (shape.clone(), array.shape.clone());
        Err(GraphError::Mismatch { name: name.clone(), expected, found })
    }

    /// Values from a rule that gives the numbers of a parameter; constants keep theirs.
    pub fn fill(graph: &Graph, mut rule: impl FnMut(&Parameter) -> Vec<f32>) -> Weights {
        let mut weights = Weights::default();
        for parameter in graph.parameters() {
            let data = match &parameter.role {
                Role::Constant(numbers) => numbers.iter().map(|number| *number as f32).collect(),
                _ => rule(parameter),
            };
            weights.insert(&parameter.name, Array { shape: parameter.shape.clone(), data });
        }
        weights
    }
}

impl FromIterator<(String, Array)> for Weights {
    fn from_iter<I: IntoIterator<Item = (String, Array)>>(arrays: I) -> Self {
        Weights { arrays: arrays.into_iter().collect() }
    }
}
