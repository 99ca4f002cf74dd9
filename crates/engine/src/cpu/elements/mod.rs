//! Element by element, or channel by channel: `functions` and `combine` make elements of those of one or two operands,
//! `channels` and `planes` put them elsewhere, `sums` adds them up.

pub(crate) mod channels;
pub(crate) mod combine;
pub(crate) mod functions;
mod pixel;
pub(crate) mod planes;
pub(crate) mod sums;
