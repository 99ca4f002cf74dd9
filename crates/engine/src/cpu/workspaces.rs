//! Memory that a thread works in for a while.

use std::sync::{Mutex, PoisonError};

use super::aligned::Aligned;

/// A workspace for each thread; who needs one takes any that is free.
#[derive(Debug, Default)]
pub(crate) struct Workspaces {
    free: Mutex<Vec<Aligned>>,
}

impl Workspaces {
    /// Makes sure that so many threads can work in `size` floats each.
    pub(crate) fn reserve(&mut self, threads: usize, size: usize) {
        let free = self.free.get_mut().unwrap_or_else(PoisonError::into_inner);
        if free.len() < threads || free.iter().any(|workspace| workspace.floats().len() < size) {
            free.clear();
            free.resize_with(threads, || Aligned::zeros(size));
        }
    }

    /// Calls `work` with a workspace, in which any numbers may lie. There must be one for every thread that does.
    pub(crate) fn with(&self, work: impl FnOnce(&mut [f32])) {
        let free = || self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut workspace = free().swap_remove(0);
        work(workspace.floats_mut());
        free().push(workspace);
    }
}
