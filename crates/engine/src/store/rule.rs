//! Optimisers as data.

use super::Store;
use crate::RuntimeError;
use crate::cpu::descent::{Span, accelerate, descend};

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

/// What a step multiplies with, for a group of parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factors {
    /// Factor of the step.
    pub learning_rate: f32,
    /// Factor of the weights that is added to gradients.
    pub weight_decay: f32,
}

/// The slab of velocities.
const VELOCITY: &str = "velocity";

impl Store {
    /// Changes the parameters by their gradients: those that have one, with the factors of their group.
    ///
    /// # Errors
    /// A group that has no factors.
    pub fn apply(&mut self, rule: &Rule, factors: &[Factors]) -> Result<(), RuntimeError> {
        let missing =
            |group| RuntimeError::internal("", format!("there are no factors for the group {group}"));
        let spans = self.spans().into_iter().map(|(floats, group)| {
            let Factors { learning_rate, weight_decay } =
                *factors.get(group).ok_or_else(|| missing(group))?;
            Ok((floats, [learning_rate, weight_decay]))
        });
        let spans: Vec<Span> = spans.collect::<Result<_, RuntimeError>>()?;
        let Rule::Sgd { momentum, dampening, nesterov } = *rule;
        if momentum == 0.0 {
            let (values, gradients) = self.values_and_gradients();
            descend(&spans, values, gradients);
            return Ok(());
        }
        let (values, gradients, velocities, is_first) = self.slabs(VELOCITY);
        let shares = if is_first { [0.0, 1.0] } else { [momentum, 1.0 - dampening] };
        accelerate(&spans, shares, nesterov.then_some(momentum), values, gradients, velocities);
        Ok(())
    }
}
