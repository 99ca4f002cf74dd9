//! Passes: graphs rewritten together with their weights.

mod dead;
mod fold;

pub use dead::remove_dead;
pub use fold::{Folding, fold_batch_norms};
