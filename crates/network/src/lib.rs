//! A network as data.
//!
//! [`graph`] holds operators in the order the data flows, their shapes and parameters, and rewrites of
//! a graph and its weights together. [`models`] are the detectors that are known, each a function that writes its
//! graph from a configuration. [`element`] says which numbers are computed with. Nothing here runs a network.

#![forbid(unsafe_code)]

pub mod element;
pub mod graph;
pub mod models;
