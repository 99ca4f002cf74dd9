//! How many threads work.

use crate::failure::Result;
use clap::Args;

/// The option that says so.
#[derive(Debug, Args)]
pub(super) struct Threads {
    /// Threads to use; by default one for each core
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    threads: Option<u16>,
}

/// More threads than the machines have cores that this runs on.
const MAX_THREADS: i64 = 512;

impl Threads {
    /// Makes the pool that everything runs in; once in a process.
    pub(super) fn limit(&self) -> Result<()> {
        let Some(threads) = self.threads else { return Ok(()) };
        Ok(rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads)).build_global()?)
    }
}
