//! Pickles as data: a stack machine that builds objects but calls nothing, and a writer for plain objects.
//!
//! The machine ([`machine`]) runs the opcodes of protocols 0 to 5 into an arena of [`node::Node`]s. Names of
//! classes and functions are looked up in an allow-list ([`globals`]) the moment they are met; a call becomes
//! a node that records what would have been called. What the objects mean is decided in [`crate::objects`].

mod escape;
pub(crate) mod globals;
pub(crate) mod machine;
pub(crate) mod node;
pub(crate) mod opcode;
pub(crate) mod write;

pub(crate) use machine::{looks_like_text_protocol, run};
pub(crate) use node::Pickle;
