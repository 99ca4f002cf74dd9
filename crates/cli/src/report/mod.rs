//! Results for people: tables and quantities.

mod quantity;
mod table;

pub use quantity::{bytes, count, number};
pub use table::{Align, Table};
