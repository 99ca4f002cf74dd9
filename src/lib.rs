//! `port` moves detector weights between frameworks and proves that nothing was lost on the way.
//!
//! The rooms of the house, each knowing only those before it: [`converters`] (a crate of its own) reads and
//! writes checkpoint files, [`mapping`] renames tensors by patterns that work in both directions, [`report`]
//! shows results to people, [`cli`] is the command. `docs/architecture.md` has the plan.

pub mod bench;
pub mod detect;
pub mod identify;
pub mod mapping;
pub mod verify;
