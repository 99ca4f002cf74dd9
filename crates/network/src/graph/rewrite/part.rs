//! The part of a network up to a module.

use super::remove_dead;
use crate::graph::GraphError;
use crate::graph::ir::Graph;

/// The graph with the results of a module as its outputs, named by their taps, and without what they do not need.
///
/// # Errors
/// No module `path` whose result is a value.
pub fn until(graph: &Graph, path: &str) -> Result<Graph, GraphError> {
    let is_result = |tap: &str| match tap.strip_prefix(path) {
        Some("") => true,
        // One of several results.
        Some(rest) => rest.strip_prefix('.').is_some_and(|index| index.parse::<usize>().is_ok()),
        None => false,
    };
    let taps = graph.taps().iter().filter(|tap| is_result(&tap.path));
    let outputs: Vec<_> = taps.map(|tap| (tap.path.clone(), tap.value)).collect();
    match outputs.is_empty() {
        true => Err(GraphError::Module { path: path.to_owned() }),
        false => Ok(remove_dead(&Graph { outputs, ..graph.clone() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Conv;

    #[test]
    fn a_neck_has_a_result_for_every_level() {
        let graph = Graph::write([1, 3, 8, 8], |net, x| {
            let levels = net.module("neck", |net| {
                let fine = net.conv("lateral", x, Conv::pointwise(4));
                vec![fine, net.conv("coarse", fine, Conv::same(4, 3).stride(2))]
            });
            let scores = net.module("head", |net| net.conv("scores", levels[1], Conv::pointwise(2)));
            net.output("scores", scores);
        });
        let graph = graph.unwrap();
        let neck = until(&graph, "neck").unwrap();
        let outputs = neck.outputs().iter();
        let found: Vec<_> =
            outputs.map(|(name, value)| (name.as_str(), neck.node(*value).unwrap().shape[2])).collect();
        assert_eq!(found, [("neck.0", 8), ("neck.1", 4)]);
        assert!(neck.parameters().iter().all(|parameter| !parameter.name.starts_with("head")));
        assert_eq!(until(&graph, "neck.lateral").unwrap().nodes().len(), 2);
        assert!(until(&graph, "nack").unwrap_err().to_string().starts_with("nack: "));
    }
}
