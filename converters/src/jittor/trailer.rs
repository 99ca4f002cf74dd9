//! The checksum that Jittor appends to a pickle: 20 bytes of SHA-1, then eight letters.

use sha1::{Digest, Sha1};

use crate::error::Problem;

/// The last eight bytes of every file that `jt.save` writes.
pub(crate) const MAGIC: &[u8; 8] = b"HCAJSLHD";
/// Length of the SHA-1 sum before the magic.
const SUM: usize = 20;

/// Whether the file ends with the trailer's magic.
pub(crate) fn present(bytes: &[u8]) -> bool {
    bytes.ends_with(MAGIC)
}

/// The pickle and the checksum, of a file for which [`present`] holds.
///
/// # Errors
/// When there is no room for a checksum, or nothing before it.
pub(crate) fn split(bytes: &[u8]) -> Result<(&[u8], &[u8; SUM]), Problem> {
    let split = bytes.strip_suffix(MAGIC).and_then(|summed| summed.split_last_chunk::<SUM>());
    let truncated = |needs| Problem::Truncated {
        place: "the pickle before the Jittor trailer".to_owned(),
        needs,
        has: bytes.len() as u64,
    };
    let (pickle, sum) = split.ok_or_else(|| truncated((SUM + MAGIC.len()) as u64))?;
    if pickle.is_empty() {
        return Err(truncated((SUM + MAGIC.len() + 1) as u64));
    }
    Ok((pickle, sum))
}

/// Compares the checksum with the pickle.
///
/// # Errors
/// [`Problem::Checksum`], and those of [`split`].
pub(crate) fn verify(bytes: &[u8]) -> Result<(), Problem> {
    let (pickle, stored) = split(bytes)?;
    let computed = Sha1::digest(pickle);
    if computed.as_slice() == stored {
        return Ok(());
    }
    Err(Problem::Checksum {
        place: "the pickle before the Jittor trailer".to_owned(),
        algorithm: "SHA-1",
        stored: hex(stored),
        computed: hex(&computed),
    })
}

/// The trailer for a pickle whose SHA-1 sum is `sum`.
pub(crate) fn trailer(sum: &[u8]) -> Vec<u8> {
    [sum, MAGIC].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
