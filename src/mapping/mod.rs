//! Names and forms of tensors of one code base in the words of another, by tables that work in both directions.
//!
//! A [`Table`] says where weights lie in the files of a dialect ([`Root`]), which foreign name and form belongs to
//! which canonical one ([`Rule`], [`Operation`]), what is left behind and what may be absent. [`Table::apply`] turns
//! the weights of a file into the parameters of a network, and [`Table::invert`] goes the other way. Canonical are the
//! names of the original PyTorch implementation in training form. `docs/mapping.md` describes the language.
//!
//! Every tensor is explained: what no rule takes, and what nothing fills, is an error that names all of it.

mod apply;
mod array;
mod coverage;
mod document;
mod expected;
mod expression;
mod fault;
mod gather;
mod invert;
mod library;
mod nearest;
mod operation;
mod overlap;
mod pattern;
mod plan;
mod problem;
mod proof;
mod rename;
mod root;
mod rule;
#[cfg(test)]
mod sample;
mod suggest;
mod table;
mod weights;

pub use apply::{Mapping, Move};
pub use array::{Form, OperationError};
pub use coverage::Coverage;
pub use expected::Expected;
pub use expression::{Expression, ExpressionError, Variables};
pub use fault::{TableError, TableFault};
pub use invert::Inverted;
pub use library::tables;
pub use nearest::Near;
pub use operation::Operation;
pub use pattern::{Pattern, PatternError};
pub use problem::{MappingError, Problem, Unexplained};
pub use rename::{Rename, RenameError};
pub use root::Root;
pub use rule::Rule;
pub use table::{DefaultRule, DropRule, Filling, Table};
pub use weights::{Beside, Weights};
