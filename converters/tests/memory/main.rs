//! Tests that measure how much memory reading takes.
//!
//! A target of its own: the allocator counts for the whole process, so that a test of another kind that ran at the
//! same time would be counted as well. Here every test is [`alone`] from its first line.

mod corpus;
mod fuzz_findings;
#[path = "../support/mod.rs"]
mod support;

use std::sync::{Mutex, MutexGuard};

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
