//! The parameters of a network while it is trained.
//!
//! All numbers lie in slabs of one [`Layout`]: values, gradients, and further slabs by name that a rule asks for
//! (velocities). The layout follows from the graph and the instruction set and never from the shape of the input, so that
//! plans of all shapes view the same store and nothing is copied between steps. An optimiser is a [`Rule`]: data that the
//! store applies where its slabs lie.

mod factors;
mod layout;
mod rule;
mod saved;
mod slab;

pub use self::factors::Factors;
pub use self::layout::Group;
pub(crate) use self::layout::{Layout, Order};
pub use self::rule::Rule;
pub use self::slab::Store;
