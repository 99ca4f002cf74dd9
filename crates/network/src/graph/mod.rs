//! A network as data: operators in the order the data flows, parameters under their upstream names, the tree of
//! modules they live in.
//!
//! One graph serves execution, the layer taps of verification, parameter and cost tables, batch-norm folding
//! and export. It is written for one input shape: every size in it is a number, inferred and checked when the
//! operator is added.
//!
//! - [`Scope`] writes a graph, top to bottom, inside named modules ([`Graph::write`]);
//! - [`Op`] is what a node computes and how its shape follows from its inputs;
//! - [`Graph`] holds nodes, parameters in `state_dict` order, modules, taps and outputs;
//! - [`Weights`] are values for the parameters;
//! - [`cost`] counts parameters and floating-point operations per module;
//! - [`rewrite`] rewrite a graph and its weights together.

mod array;
mod builder;
pub mod cost;
mod error;
mod ir;
mod op;
pub mod rewrite;
mod shape;
mod weights;

pub use array::Array;
pub use builder::{Output, Scope};
pub use error::GraphError;
pub use ir::{Graph, Module, ModuleId, Node, Parameter, ParameterId, Role, Tap, Value};
pub use op::{Activation, Conv, DeformConv, Op, Pool, ResizeMode};
pub use weights::Weights;
