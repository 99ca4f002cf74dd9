//! Optimisers as data.

use super::factors::Factors;
use super::slab::{Slabs, Store};
use crate::RuntimeError;
use crate::cpu::descent::{accelerate, descend};

/// How parameters change by their gradients. A rule names what it needs and its constants; it knows no network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Stochastic gradient descent as `torch.optim.SGD` does it.
    Sgd {
        /// Share of the velocity that stays; 0 for none.
        momentum: f32,
        /// Share of the gradient that does not go into the velocity.
        dampening: f32,
        /// Nesterov's momentum: the step looks ahead along the velocity.
        nesterov: bool,
    },
}

/// The slab of velocities.
const VELOCITY: &str = "velocity";

impl Store {
    /// Changes the parameters by their gradients: those that have one, with the factors of their group.
    ///
    /// # Errors
    /// A group that has no factors.
    pub fn apply(&mut self, rule: &Rule, factors: &[Factors]) -> Result<(), RuntimeError> {
        let groups = self.spans().iter().map(|(_, group)| *group);
        if let Some(group) = groups.into_iter().find(|group| factors.len() <= *group) {
            return Err(RuntimeError::internal("", format!("there are no factors for the group {group}")));
        }
        let Rule::Sgd { momentum, dampening, nesterov } = *rule;
        if momentum == 0.0 {
            let (spans, values, gradients) = self.values_and_gradients();
            descend(spans, factors, values, gradients);
            return Ok(());
        }
        let shares = if self.keep(VELOCITY) { [0.0, 1.0] } else { [momentum, 1.0 - dampening] };
        let missing = || RuntimeError::internal("", "there are no velocities");
        let Slabs { spans, values, gradients, kept } = self.slabs(VELOCITY).ok_or_else(missing)?;
        accelerate((spans, factors), shares, nesterov.then_some(momentum), values, gradients, kept);
        Ok(())
    }
}
