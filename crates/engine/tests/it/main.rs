//! The engine from outside: engines against each other, the store, what plans share, a new operator.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod numbers;
mod random_graphs;
mod shapes;
mod store;
