//! Two sets of weights for one network.

use super::difference::Difference;
use network::graph::{Graph, GraphError, Role, Weights};

/// A parameter in which two sets of weights differ.
#[derive(Debug, Clone)]
pub struct WeightDifference {
    /// Name of the parameter.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// By how much.
    pub difference: Difference,
    /// Number of elements that differ.
    pub elements: usize,
}

/// Every parameter of `graph` in which two sets of weights differ as f32, in the graph's order, bit by bit: 0 and -0
/// differ. Counts of batches, which no operator reads, are left aside.
///
/// # Errors
/// A parameter that one of them lacks or has in another shape.
pub fn compare_weights(
    graph: &Graph,
    ours: &Weights,
    theirs: &Weights,
) -> Result<Vec<WeightDifference>, GraphError> {
    let mut differences = Vec::new();
    for parameter in graph.parameters().iter().filter(|parameter| parameter.role != Role::BatchCount) {
        let (ours, theirs) = (&ours.of(parameter)?.data, &theirs.of(parameter)?.data);
        let pairs = ours.iter().zip(theirs);
        let elements = pairs.filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        if elements > 0 {
            let wide = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
            let difference = Difference::between(wide(ours), wide(theirs));
            let (name, shape) = (parameter.name.clone(), parameter.shape.clone());
            differences.push(WeightDifference { name, shape, difference, elements });
        }
    }
    Ok(differences)
}
