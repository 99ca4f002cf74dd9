//! What a reader refuses to do for a file, however well formed. `docs/security.md` explains the choices.

/// Longest run of dictionaries, lists, tuples and objects inside each other.
pub const MAX_DEPTH: usize = 200;
/// Most objects one pickle may build, stack and memo entries included.
pub const MAX_PICKLE_OBJECTS: usize = 1 << 20;
/// Most tree nodes visited while the objects of a pickle are turned into tensors and metadata: shared objects
/// are visited once per path.
pub const MAX_VISITS: usize = 1 << 19;
/// Most bytes of names, paths, text and byte strings copied into tensors and metadata.
pub const MAX_METADATA_BYTES: usize = 32 << 20;
/// Longest path to an object, in bytes of its keys.
pub const MAX_PATH_BYTES: usize = 1 << 16;
/// Longest integer in a pickle, in bytes (or in digits of its text form).
pub const MAX_INTEGER_BYTES: usize = 1024;
/// Largest compressed `data.pkl`, after inflation.
pub const MAX_INFLATED_PICKLE: u64 = 32 << 20;
/// Largest compressed storage that is inflated in memory: only strided views of one need it.
pub const MAX_INFLATED_STORAGE: u64 = 256 << 20;
/// Views of a compressed record inflate it again: all views together may inflate this many times the size of
/// their records ...
pub const MAX_REINFLATION: u64 = 16;
/// ... or this many bytes, whichever is more.
pub const MAX_REINFLATED_BYTES: u64 = 256 << 20;
/// Most dimensions of a tensor. numpy allows 64.
pub const MAX_DIMENSIONS: usize = 64;
/// A view with repeated elements (stride 0) may be this many times larger than its storage...
pub const MAX_EXPANSION: u64 = 64;
/// ... or this many bytes, whichever is more.
pub const MAX_EXPANDED_BYTES: u64 = 16 << 20;
/// Longest safetensors header, room for 200,000 tensors. The original library allows 100 MB, whose entries
/// could take more than ten times that in memory.
pub const MAX_SAFETENSORS_HEADER: u64 = 24 << 20;
/// Longest JSON index of sharded weights.
pub const MAX_INDEX_BYTES: u64 = 64 << 20;
/// Files with no more than this in their tensors' records have all checksums verified when they are opened,
/// larger ones when the bytes are read.
pub const EAGER_CHECKSUM_BYTES: u64 = 64 << 20;
/// Memory that decoding a file's structure may take: this many times the file's size ...
pub const MAX_DECODED_RATIO: u64 = 10;
/// ... plus this many bytes.
pub const MAX_DECODED_BASE: u64 = 64 << 20;
