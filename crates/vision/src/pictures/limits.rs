//! How large pictures may be: they come from strangers.

/// The longest side decoded, in pixels.
pub const MAX_SIDE: u32 = 16_384;
/// The most pixels decoded: more than a 108-megapixel camera's; 390 MiB as RGB.
pub const MAX_PIXELS: u64 = 1 << 27;
/// The shortest side with anything to see, in pixels.
pub const MIN_SIDE: u32 = 4;
/// The largest file read: an uncompressed picture of the most pixels.
pub(super) const MAX_FILE_BYTES: u64 = 512 << 20;
