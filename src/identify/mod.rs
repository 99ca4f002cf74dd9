//! Which known network a checkpoint holds: family, variant and classes from names and shapes, and its weights under
//! canonical names.
//!
//! Every mapping table gives the names of a file another reading. Each reading may be recognised as a network, which
//! then says what names and shapes it expects; the reading that explains all of them, with least left behind or made
//! up, is the answer. When none does, the closest one says what is in its way.

mod error;
mod evidence;
mod load;
mod search;

pub use error::IdentifyError;
pub use load::{LoadError, Loaded, array, load, load_from};
pub use search::{Catalogue, Identified, Request, expected_parameters, figures, identify, identify_part};
