//! Element by element, or channel by channel.

pub(crate) mod elementwise;
pub(crate) mod functions;
pub(crate) mod slope;
