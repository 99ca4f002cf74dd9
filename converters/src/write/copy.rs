//! The threads that put the parts of a file where they belong.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use files::Output;
use sha1::{Digest, Sha1};

use super::parts::Content;
use super::tensors::Tensors;
use crate::cast::CastReport;
use crate::error::{Error, Result};

/// More threads than this wait for the disk, not for each other.
const MAX_THREADS: usize = 4;
/// Written bytes after which the system is asked to begin putting them on the disk.
const FLUSH_EVERY: u64 = 32 << 20;

/// Joins a thread, passing on its panic.
pub(super) fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The SHA-1 sum of all parts in order.
pub(super) fn hash(parts: &[(u64, Content<'_>)], tensors: Tensors<'_>) -> Result<Vec<u8>> {
    let mut hasher = Sha1::new();
    for (_, content) in parts {
        read(content, tensors, &mut |chunk| {
            hasher.update(chunk);
            Ok(())
        })?;
    }
    Ok(hasher.finalize().to_vec())
}

fn read(
    content: &Content<'_>,
    tensors: Tensors<'_>,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<CastReport> {
    match content {
        Content::Bytes(bytes) => sink(bytes).map(|()| CastReport::default()),
        Content::Tensor(tensor, _) => tensor.read_as(tensors.dtype(tensor), sink),
    }
}

/// Copies parts from several threads, each taking the next one.
pub(super) struct Copier<'a> {
    parts: &'a [(u64, Content<'a>)],
    tensors: Tensors<'a>,
    output: &'a Output,
    wants_crc: bool,
    progress: Option<&'a (dyn Fn(u64) + Sync)>,
    next: AtomicUsize,
    failed: AtomicBool,
    unflushed: AtomicU64,
    /// CRC-32 of each part.
    crcs: Mutex<Vec<u32>>,
    /// Losses of each tensor.
    reports: Mutex<Vec<CastReport>>,
}

impl<'a> Copier<'a> {
    pub(super) fn new(
        parts: &'a [(u64, Content<'a>)],
        tensors: Tensors<'a>,
        output: &'a Output,
        wants_crc: bool,
        progress: Option<&'a (dyn Fn(u64) + Sync)>,
    ) -> Self {
        Copier {
            parts,
            tensors,
            output,
            wants_crc,
            progress,
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            unflushed: AtomicU64::new(0),
            crcs: Mutex::new(vec![0; parts.len()]),
            reports: Mutex::new(vec![CastReport::default(); tensors.all.len()]),
        }
    }

    pub(super) fn run(&self) -> Result<()> {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let (wake, flushes) = mpsc::sync_channel(1);
        thread::scope(|scope| {
            // Waits for the disk while the workers copy: both take about as long.
            let flusher = scope.spawn(move || flushes.iter().try_for_each(|()| self.output.flush_so_far()));
            let work = |wake: SyncSender<()>| scope.spawn(move || self.work(&wake));
            let workers: Vec<_> = (0..threads).map(|_| work(wake.clone())).collect();
            drop(wake);
            let copied = workers.into_iter().map(join).fold(Ok(()), Result::and);
            copied.and(join(flusher).map_err(Error::from))
        })
    }

    pub(super) fn results(self) -> (Vec<u32>, Vec<CastReport>) {
        let crcs = self.crcs.into_inner().unwrap_or_else(PoisonError::into_inner);
        (crcs, self.reports.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn work(&self, wake_flusher: &SyncSender<()>) -> Result<()> {
        while !self.failed.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((offset, content)) = self.parts.get(index) else {
                break;
            };
            self.copy(index, *offset, content, wake_flusher)
                .inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    }

    fn copy(
        &self,
        index: usize,
        mut offset: u64,
        content: &Content<'_>,
        wake_flusher: &SyncSender<()>,
    ) -> Result<()> {
        let mut crc = crc32fast::Hasher::new();
        let report = read(content, self.tensors, &mut |chunk| {
            if self.wants_crc {
                crc.update(chunk);
            }
            self.output.write_at(offset, chunk)?;
            offset += chunk.len() as u64;
            self.count(chunk.len() as u64, wake_flusher);
            Ok(())
        })?;
        set(&self.crcs, index, crc.finalize());
        if let Content::Tensor(_, tensor) = content {
            set(&self.reports, *tensor, report);
        }
        Ok(())
    }

    fn count(&self, len: u64, wake_flusher: &SyncSender<()>) {
        if let Some(progress) = self.progress {
            progress(len);
        }
        if self.unflushed.fetch_add(len, Ordering::Relaxed) + len >= FLUSH_EVERY {
            self.unflushed.store(0, Ordering::Relaxed);
            // A full channel means that the flusher is about to run anyway.
            let _ = wake_flusher.try_send(());
        }
    }
}

fn set<T>(slots: &Mutex<Vec<T>>, index: usize, value: T) {
    let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(slot) = slots.get_mut(index) {
        *slot = value;
    }
}
