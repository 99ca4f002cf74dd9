//! Graphs rewritten, together with their weights.

mod branches;
mod dead;
mod deploy;
mod fold;
mod fuse;
mod merge;
mod norm;
mod part;

pub use dead::remove_dead;
pub use deploy::{Deployment, deploy};
pub use fold::{Folding, fold_batch_norms};
pub use fuse::{Group, Groups, Takes, fuse};
pub use merge::{Merging, merge_branches};
pub use part::until;
