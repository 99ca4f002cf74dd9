//! Removal of what no output needs.

use crate::graph::ir::{Graph, Module, Node, ParameterId, Role, Tap, Value};

/// The graph without the nodes that no output needs, the taps on them, and the parameters that none of the
/// remaining nodes uses. The counter of a kept batch norm stays with it, and constants stay.
pub fn remove_dead(graph: &Graph) -> Graph {
    let live = live(graph);
    let values = Renumbering::new(&live);
    let used = used_parameters(graph, &live);
    let parameters = Renumbering::new(&used);
    let node = |node: &Node| Node {
        inputs: node.inputs.iter().filter_map(|value| values.get(value.0).map(Value)).collect(),
        parameters: parameters.ids(&node.parameters),
        ..node.clone()
    };
    let module =
        |module: &Module| Module { parameters: parameters.ids(&module.parameters), ..module.clone() };
    let tap = |tap: &Tap| Some(Tap { path: tap.path.clone(), value: values.get(tap.value.0).map(Value)? });
    let renumbered = |value: &Value| values.get(value.0).map(Value);
    Graph {
        nodes: keep(&graph.nodes, &live).map(node).collect(),
        parameters: keep(&graph.parameters, &used).cloned().collect(),
        modules: graph.modules.iter().map(module).collect(),
        taps: graph.taps.iter().filter_map(tap).collect(),
        inputs: graph.inputs.iter().filter_map(renumbered).collect(),
        outputs: graph.outputs.iter().filter_map(|(name, v)| Some((name.clone(), renumbered(v)?))).collect(),
    }
}

/// Which nodes an output needs; inputs always stay.
fn live(graph: &Graph) -> Vec<bool> {
    let mut live = vec![false; graph.nodes.len()];
    for value in graph.inputs.iter().chain(graph.outputs.iter().map(|(_, value)| value)) {
        mark(&mut live, value.0);
    }
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if live.get(index) == Some(&true) {
            node.inputs.iter().for_each(|input| mark(&mut live, input.0));
        }
    }
    live
}

/// Which parameters live nodes use, and the counters beside them.
fn used_parameters(graph: &Graph, live: &[bool]) -> Vec<bool> {
    let mut used = vec![false; graph.parameters.len()];
    for node in keep(&graph.nodes, live) {
        node.parameters.iter().for_each(|id| mark(&mut used, id.0));
    }
    for module in &graph.modules {
        let is_alive = module.parameters.iter().any(|id| used.get(id.0) == Some(&true));
        for id in &module.parameters {
            match graph.parameter(*id).map(|parameter| &parameter.role) {
                Some(Role::BatchCount) if is_alive => mark(&mut used, id.0),
                Some(Role::Constant(_)) => mark(&mut used, id.0),
                _ => {}
            }
        }
    }
    used
}

fn mark(flags: &mut [bool], index: usize) {
    if let Some(flag) = flags.get_mut(index) {
        *flag = true;
    }
}

fn keep<'a, T>(items: &'a [T], flags: &'a [bool]) -> impl Iterator<Item = &'a T> {
    items.iter().zip(flags).filter_map(|(item, kept)| kept.then_some(item))
}

/// New positions of what is kept.
struct Renumbering(Vec<Option<usize>>);

impl Renumbering {
    fn new(kept: &[bool]) -> Renumbering {
        let mut next = 0..;
        Renumbering(kept.iter().map(|kept| if *kept { next.next() } else { None }).collect())
    }

    fn get(&self, index: usize) -> Option<usize> {
        self.0.get(index).copied().flatten()
    }

    fn ids(&self, ids: &[ParameterId]) -> Vec<ParameterId> {
        ids.iter().filter_map(|id| self.get(id.0).map(ParameterId)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Conv;

    #[test]
    fn what_no_output_needs_goes() {
        let graph = Graph::write([1, 3, 8, 6], |net, x| {
            let kept = net.conv("kept", x, Conv::pointwise(4));
            let kept = net.batch_norm("norm", kept, 1e-5, 0.1);
            let unused = net.conv("unused", kept, Conv::pointwise(4));
            net.batch_norm("unused_norm", unused, 1e-5, 0.1);
            net.output("features", kept);
        });
        let graph = remove_dead(&graph.unwrap());
        assert_eq!(graph.nodes().len(), 3);
        let names: Vec<&str> = graph.parameters().iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names.len(), 6);
        assert!(names.iter().all(|name| !name.starts_with("unused")), "{names:?}");
        let taps: Vec<&str> = graph.taps().iter().map(|tap| tap.path.as_str()).collect();
        assert_eq!(taps, ["input", "kept", "norm", "output.features"]);
    }
}
