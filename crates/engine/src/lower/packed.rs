//! Weights in the order in which kernels read them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cpu::convolution::dense::packed::{Dense, Layout};
use crate::cpu::convolution::winograd::packed::Winograd;
use crate::cpu::convolution::winograd::tiling::Tiling;
use crate::cpu::instructions::Instructions;
use network::graph::{Node, ParameterId};

/// Packed weights, which plans of one network for several input shapes share.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    dense: HashMap<Key, Arc<Dense>>,
    winograd: HashMap<(Vec<ParameterId>, Tiling), Arc<Winograd>>,
}

/// What packed weights depend on.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    parameters: Vec<ParameterId>,
    group: usize,
    layout: Layout,
}

impl Packed {
    /// The instruction set that weights are packed for.
    pub(super) fn instructions(&self) -> Instructions {
        Instructions::get()
    }

    /// Those of a group of a node's channels, packed now if they were not yet.
    pub(super) fn dense(
        &mut self,
        node: &Node,
        group: usize,
        layout: Layout,
        pack: impl FnOnce(&Layout, Instructions) -> Dense,
    ) -> Arc<Dense> {
        let key = Key { parameters: node.parameters.clone(), group, layout };
        if let Some(dense) = self.dense.get(&key) {
            return Arc::clone(dense);
        }
        let dense = Arc::new(pack(&key.layout, self.instructions()));
        self.dense.insert(key, Arc::clone(&dense));
        dense
    }

    /// Those of a node in Winograd's form.
    pub(super) fn winograd(
        &mut self,
        node: &Node,
        tiling: Tiling,
        pack: impl FnOnce(Instructions) -> Winograd,
    ) -> Arc<Winograd> {
        let instructions = self.instructions();
        let entry = self.winograd.entry((node.parameters.clone(), tiling));
        Arc::clone(entry.or_insert_with(|| Arc::new(pack(instructions))))
    }
}
