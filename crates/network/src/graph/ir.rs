//! The graph itself: what [`Scope`](super::Scope) writes and everything else reads.

use std::collections::HashMap;

use super::op::Op;

/// The result of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub(super) usize);

impl Value {
    /// What a node that could not be added gives: the error is kept by the scope, later nodes are skipped.
    pub(super) const NONE: Value = Value(usize::MAX);

    /// Position of the node among [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// Position of a parameter among [`Graph::parameters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParameterId(pub(super) usize);

impl ParameterId {
    /// The position as a number.
    pub fn index(self) -> usize {
        self.0
    }
}

/// Position of a module among [`Graph::modules`]; 0 is the network itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleId(pub(super) usize);

impl ModuleId {
    /// The position as a number.
    pub fn index(self) -> usize {
        self.0
    }
}

/// What a parameter is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Role {
    /// Kernel of a convolution, `[out, in / groups, height, width]`.
    Kernel,
    /// Bias of a convolution, `[out]`.
    Bias,
    /// Factor of a normalisation, `[C]`.
    NormWeight,
    /// Shift of a normalisation, `[C]`.
    NormBias,
    /// Running mean of a batch norm, `[C]`.
    RunningMean,
    /// Running variance of a batch norm, `[C]`.
    RunningVariance,
    /// `num_batches_tracked`: counts training steps, an integer without a dimension.
    BatchCount,
    /// A learnable factor.
    Scale,
    /// A buffer that upstream fills with these numbers and never changes.
    Constant(Vec<f64>),
}

impl Role {
    /// Whether an optimiser changes it; the others are buffers.
    pub fn is_trainable(&self) -> bool {
        matches!(self, Role::Kernel | Role::Bias | Role::NormWeight | Role::NormBias | Role::Scale)
    }
}

/// A named tensor of the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Full name, as in the upstream `state_dict`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
}

impl Parameter {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// One operator applied to earlier values.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// The values it takes.
    pub inputs: Vec<Value>,
    /// Its parameters, in the order that the operator says.
    pub parameters: Vec<ParameterId>,
    /// Shape of its result.
    pub shape: Vec<usize>,
    /// The module it stands in.
    pub module: ModuleId,
}

/// A named part of the network.
#[derive(Debug, Clone)]
pub struct Module {
    /// Full dotted path; empty for the network itself.
    pub path: String,
    /// The module around it.
    pub parent: Option<ModuleId>,
    /// The modules in it, in upstream's order of registration.
    pub children: Vec<ModuleId>,
    /// Its own parameters and buffers.
    pub parameters: Vec<ParameterId>,
}

/// A value that has a name: the result of a module, or an output of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// Module path; `path#1` for the second call of a module, `path.0` for the first of several results,
    /// `output.NAME` for an output.
    pub path: String,
    /// The value.
    pub value: Value,
}

/// A network written for one input shape.
#[derive(Debug, Clone)]
pub struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) modules: Vec<Module>,
    pub(super) taps: Vec<Tap>,
    pub(super) inputs: Vec<Value>,
    pub(super) outputs: Vec<(String, Value)>,
}

impl Graph {
    /// The operators, each after those it takes values from.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The operators with their values.
    pub fn values(&self) -> impl Iterator<Item = (Value, &Node)> {
        self.nodes.iter().enumerate().map(|(index, node)| (Value(index), node))
    }

    /// The node that computes `value`.
    pub fn node(&self, value: Value) -> Option<&Node> {
        self.nodes.get(value.0)
    }

    /// Parameters and buffers, in the order of the upstream `state_dict`.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameter at `id`.
    pub fn parameter(&self, id: ParameterId) -> Option<&Parameter> {
        self.parameters.get(id.0)
    }

    /// The modules, the network itself first.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Path of the module that `node` stands in.
    pub fn path(&self, node: &Node) -> &str {
        self.modules.get(node.module.0).map_or("", |module| &module.path)
    }

    /// Named values, in the order in which they are known.
    pub fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// The inputs, in the order in which values for them are given.
    pub fn inputs(&self) -> &[Value] {
        &self.inputs
    }

    /// The named outputs.
    pub fn outputs(&self) -> &[(String, Value)] {
        &self.outputs
    }

    /// The output of this name.
    pub fn output(&self, name: &str) -> Option<Value> {
        self.outputs.iter().find(|(output, _)| output == name).map(|(_, value)| *value)
    }

    /// How often each node's value is used by other nodes and as an output.
    pub fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        let inputs = self.nodes.iter().flat_map(|node| &node.inputs);
        for value in inputs.chain(self.outputs.iter().map(|(_, value)| value)) {
            if let Some(count) = uses.get_mut(value.0) {
                *count += 1;
            }
        }
        uses
    }

    /// Positions of the parameters by name.
    pub fn parameter_ids(&self) -> HashMap<&str, ParameterId> {
        self.parameters.iter().enumerate().map(|(i, p)| (p.name.as_str(), ParameterId(i))).collect()
    }

    /// Puts the parameters into the order of the upstream `state_dict`: a module's own, then its children's.
    pub(super) fn sort_parameters(&mut self) {
        let order = self.state_dict_order();
        let mut renumbered = vec![ParameterId(0); self.parameters.len()];
        for (new, old) in order.iter().enumerate() {
            if let Some(slot) = renumbered.get_mut(old.0) {
                *slot = ParameterId(new);
            }
        }
        let nodes = self.nodes.iter_mut().flat_map(|node| &mut node.parameters);
        let modules = self.modules.iter_mut().flat_map(|module| &mut module.parameters);
        for id in nodes.chain(modules) {
            *id = renumbered.get(id.0).copied().unwrap_or(*id);
        }
        self.parameters = order.iter().filter_map(|id| self.parameters.get(id.0).cloned()).collect();
    }

    fn state_dict_order(&self) -> Vec<ParameterId> {
        let mut order = Vec::with_capacity(self.parameters.len());
        let mut open = vec![ModuleId(0)];
        while let Some(module) = open.pop().and_then(|id| self.modules.get(id.0)) {
            order.extend(&module.parameters);
            open.extend(module.children.iter().rev());
        }
        order
    }
}
