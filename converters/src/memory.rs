//! The memory that the structure of a file takes, kept in proportion to the file.
//!
//! A few bytes of a pickle become an object of a hundred, two more bytes recall it once again, and a
//! compressed pickle is a thousand times longer than its record. Readers therefore account for what they
//! build before they build it. Tensor data stay in the file and cost nothing.

use crate::error::Problem;
use crate::limits;

/// Memory that has been taken, and how much may be.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    taken: u64,
    limit: u64,
}

impl Memory {
    /// For what is read from a file of `len` bytes.
    pub(crate) fn of_file(len: usize) -> Self {
        let ratio = limits::MAX_DECODED_RATIO.saturating_mul(len as u64);
        Memory { taken: 0, limit: ratio.saturating_add(limits::MAX_DECODED_BASE) }
    }

    /// Takes `bytes` more, for something at `place`.
    ///
    /// # Errors
    /// [`Problem::Limit`].
    pub(crate) fn take(&mut self, bytes: usize, place: impl FnOnce() -> String) -> Result<(), Problem> {
        self.taken = self.taken.saturating_add(bytes as u64);
        if self.taken <= self.limit {
            return Ok(());
        }
        let what = format!("memory for {} bytes of objects", self.taken);
        Err(Problem::Limit { place: place(), what, limit: self.limit })
    }

    /// Gives back what was taken for something that is no longer there.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_sub(bytes as u64);
    }
}

/// Bytes for each element of a vector that grows: while it moves to twice its room, both are there.
pub(crate) const fn grown<T>() -> usize {
    3 * size_of::<T>()
}

/// Bytes for each entry of a hash table that grows: it is 7/8 full at most.
pub(crate) const fn hashed<T>() -> usize {
    4 * size_of::<T>()
}
