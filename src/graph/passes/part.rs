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
    use crate::models::{Form, preset};

    #[test]
    fn a_neck_has_a_result_for_every_level() {
        let graph = preset("gfocal-r50-fpn").unwrap().model().graph(Form::Training, [1, 3, 64, 64]).unwrap();
        let neck = until(&graph, "neck").unwrap();
        let outputs = neck.outputs().iter();
        let found: Vec<_> =
            outputs.map(|(name, value)| (name.as_str(), neck.node(*value).unwrap().shape[2])).collect();
        assert_eq!(found, [("neck.0", 8), ("neck.1", 4), ("neck.2", 2), ("neck.3", 1), ("neck.4", 1)]);
        assert!(neck.parameters().iter().all(|parameter| !parameter.name.starts_with("bbox_head")));
        assert!(until(&graph, "neck.7").unwrap_err().to_string().contains("neck.7"));
    }
}
