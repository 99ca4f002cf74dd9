//! Files that are odd, broken or hostile, read within limits of time and memory: a binary of its own, as memory is
//! counted for the whole process.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod corpus;
mod fuzz_findings;
#[path = "../support/mod.rs"]
mod support;

use std::sync::{Mutex, MutexGuard};

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// A test that makes or reads files is alone from its first line.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
