//! What a step of an optimiser multiplies with.

/// The factors of a group of parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factors {
    /// Factor of the step.
    pub learning_rate: f32,
    /// Factor of the weights that is added to gradients.
    pub weight_decay: f32,
}
