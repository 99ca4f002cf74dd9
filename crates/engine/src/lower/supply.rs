//! Where the numbers of parameters come from while a plan is compiled.

use std::collections::HashMap;

use network::graph::{Graph, GraphError, Parameter, Weights};

/// The numbers of parameters.
#[derive(Debug)]
pub(crate) enum Supply<'a> {
    /// Of weights that other plans will need as well.
    Lasting(&'a Weights),
    /// Of weights that nobody needs afterwards, with the number of nodes that have yet to ask for each.
    Last { weights: Weights, uses: HashMap<String, usize> },
}

impl Supply<'_> {
    /// Gives the numbers of each parameter of a graph away when the last node asks for them.
    pub(crate) fn last(graph: &Graph, weights: Weights) -> Supply<'static> {
        let mut uses = HashMap::new();
        let of_nodes = graph.values().flat_map(|(_, node)| &node.parameters);
        for parameter in of_nodes.filter_map(|id| graph.parameter(*id)) {
            *uses.entry(parameter.name.clone()).or_insert(0) += 1;
        }
        Supply::Last { weights, uses }
    }

    /// All that are left.
    pub(super) fn weights(&self) -> &Weights {
        match self {
            Supply::Lasting(weights) => weights,
            Supply::Last { weights, .. } => weights,
        }
    }

    /// The numbers of a parameter, for one node.
    pub(super) fn take(&mut self, parameter: &Parameter) -> Result<Vec<f32>, GraphError> {
        let array = self.weights().of(parameter)?;
        let Supply::Last { weights, uses } = self else { return Ok(array.data.clone()) };
        if let Some(left @ 2..) = uses.get_mut(&parameter.name) {
            *left -= 1;
            return Ok(weights.of(parameter)?.data.clone());
        }
        let missing = || GraphError::Missing { name: parameter.name.clone(), shape: parameter.shape.clone() };
        Ok(weights.remove(&parameter.name).ok_or_else(missing)?.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use network::graph::Conv;

    #[test]
    fn numbers_are_given_away_with_the_last_use() {
        let graph = Graph::write([1, 3, 4, 4], |net, x| {
            let x = net.conv("shared", x, Conv::pointwise(3));
            let x = net.conv("shared", x, Conv::pointwise(3));
            net.output("x", x);
        });
        let graph = graph.unwrap();
        let [parameter] = graph.parameters() else { panic!("one kernel") };
        let numbers: Vec<f32> = (0..9).map(|number| number as f32).collect();
        let weights = Weights::fill(&graph, |_| numbers.clone());
        let mut lasting = Supply::Lasting(&weights);
        let mut last = Supply::last(&graph, weights.clone());
        for is_left in [true, false] {
            assert_eq!(lasting.take(parameter).unwrap(), numbers);
            assert_eq!(last.take(parameter).unwrap(), numbers);
            assert_eq!(last.weights().get("shared.weight").is_some(), is_left);
        }
        assert!(last.take(parameter).is_err());
    }
}
