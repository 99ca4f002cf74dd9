//! One layer on its own, fed with what the original computed before it.

use std::collections::HashMap;

use engine::{Executor, Handle, RuntimeError};
use network::element::Element;
use network::graph::{Array, Graph, Node, Op, Value};

/// Known values, and operators that may be other than in the graph.
pub(super) struct Local<'a> {
    pub(super) graph: &'a Graph,
    pub(super) known: &'a HashMap<Value, &'a Array>,
    /// What to compute instead of an operator; `None` leaves it as it is.
    pub(super) instead: &'a dyn Fn(&Op) -> Option<Op>,
}

impl Local<'_> {
    /// The value of `target` from the nearest known values before it, its own left aside. `None` when a value that
    /// is needed is neither known nor computed.
    pub(super) fn value<T: Element>(
        &self,
        executor: &Executor<'_, T>,
        target: Value,
    ) -> Result<Option<Array<T>>, RuntimeError> {
        let mut computed: HashMap<Value, Handle<T>> = HashMap::new();
        for value in self.steps(target) {
            let Some(node) = self.graph.node(value) else {
                return Ok(None);
            };
            let input = |input: &Value| match (computed.get(input), self.known.get(input)) {
                (Some(handle), _) => Some(Ok(handle.clone())),
                (None, known) => known.map(|array| Handle::of(array)),
            };
            let Some(inputs) = node.inputs.iter().map(input).collect::<Option<Vec<_>>>() else {
                return Ok(None);
            };
            let inputs = inputs.into_iter().collect::<Result<Vec<_>, RuntimeError>>()?;
            let result = match (self.instead)(&node.op) {
                Some(op) => executor.apply(&Node { op, ..node.clone() }, &inputs)?,
                None if inputs.is_empty() => return Ok(None),
                None => executor.apply(node, &inputs)?,
            };
            computed.insert(value, result);
        }
        computed.get(&target).map(Handle::array).transpose()
    }

    /// The values to compute for `target`, in order: back from it as far as the known ones.
    pub(super) fn steps(&self, target: Value) -> Vec<Value> {
        let mut steps = Vec::new();
        let mut open = vec![target];
        while let Some(value) = open.pop() {
            if steps.contains(&value) || (value != target && self.known.contains_key(&value)) {
                continue;
            }
            steps.push(value);
            open.extend(self.graph.node(value).iter().flat_map(|node| &node.inputs));
        }
        steps.sort_unstable();
        steps
    }

    /// Whether `target` is computed from the network's input without a known value between.
    pub(super) fn sees_input(&self, target: Value) -> bool {
        let inputs = self.steps(target);
        let nodes = inputs.iter().filter_map(|value| self.graph.node(*value));
        nodes.flat_map(|node| &node.inputs).any(|value| self.graph.inputs().contains(value))
    }
}
