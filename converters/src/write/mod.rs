//! Writing a checkpoint in another format, every bit intact.
//!
//! | step | module | what it does |
//! | --- | --- | --- |
//! | check | `run` | refuses types and names that the `target` lacks, before anything is written |
//! | lay out | `safetensors`, `torch`, `pickle`, `npz` | `parts`, each at its offset: bytes made here and `tensors`; `document` makes the tree a pickle, `zip` the records an archive |
//! | copy | `copy`, `layout` | threads copy the parts into a temporary file beside the target (`files::Output`), what follows them last; the file gets its name only when everything succeeded, the checksums of the source included |

mod copy;
mod document;
mod layout;
mod npz;
mod parts;
mod pickle;
mod run;
mod safetensors;
mod target;
mod tensors;
mod torch;
mod zip;

pub use run::{Options, Written, write};
pub use target::Target;
