//! Where everything goes in a file, and the threads that put it there.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use files::Output;
use sha1::{Digest, Sha1};

use super::Tensors;
use super::zip::Zip;
use crate::cast::CastReport;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::jittor::trailer;

/// More threads than this wait for the disk, not for each other.
const MAX_THREADS: usize = 4;
/// Written bytes after which the system is asked to begin putting them on the disk.
const FLUSH_EVERY: u64 = 32 << 20;

/// A part of the file.
#[derive(Debug)]
pub(super) enum Content {
    /// Bytes made by the writer.
    Bytes(Vec<u8>),
    /// The row-major elements of the tensor with this index.
    Tensor(usize),
}

/// What follows the parts.
#[derive(Debug)]
pub(super) enum Tail {
    /// Nothing.
    None,
    /// Jittor's checksum of everything before.
    JittorTrailer,
    /// Local headers and the central directory of a zip archive, whose parts are its records' contents.
    Zip(Zip),
}

/// A file, laid out.
#[derive(Debug)]
pub(super) struct Plan {
    parts: Vec<(u64, Content)>,
    len: u64,
    tail: Tail,
    /// Number of named tensors; tied ones share a part.
    pub(super) tensors: usize,
}

impl Plan {
    /// An empty file, to hold so many named tensors.
    pub(super) fn new(tensors: usize) -> Plan {
        Plan { parts: Vec::new(), len: 0, tail: Tail::None, tensors }
    }

    /// Appends bytes.
    pub(super) fn bytes(&mut self, bytes: Vec<u8>) {
        let len = bytes.len() as u64;
        self.parts.push((self.len, Content::Bytes(bytes)));
        self.len += len;
    }

    /// Appends the elements of tensor `index`, `len` bytes.
    pub(super) fn tensor(&mut self, index: usize, len: u64) {
        self.parts.push((self.len, Content::Tensor(index)));
        self.len += len;
    }

    /// Leaves `len` bytes for the tail to fill.
    pub(super) fn skip(&mut self, len: u64) {
        self.len += len;
    }

    /// Bytes laid out so far.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Sets what follows.
    pub(super) fn set_tail(&mut self, tail: Tail) {
        self.tail = tail;
    }

    /// Writes the file; returns its length and, for each tensor, what its cast lost.
    pub(super) fn run(
        mut self,
        checkpoint: &Checkpoint,
        tensors: Tensors<'_>,
        output: &Output,
        progress: Option<&(dyn Fn(u64) + Sync)>,
    ) -> Result<(u64, Vec<CastReport>)> {
        let copier = Copier::new(&self.parts, tensors, output, matches!(self.tail, Tail::Zip(_)), progress);
        let mut sum = None;
        thread::scope(|scope| {
            let check = scope.spawn(|| checkpoint.verify_file());
            let hash = match self.tail {
                Tail::JittorTrailer => Some(scope.spawn(|| hash(&self.parts, tensors))),
                _ => None,
            };
            let copied = copier.run();
            // The source is at fault before the target is.
            join(check)?;
            copied?;
            sum = hash.map(join).transpose()?;
            Result::Ok(())
        })?;
        let (crcs, reports) = copier.results();
        match self.tail {
            Tail::None => {}
            Tail::JittorTrailer => {
                let trailer = trailer::trailer(&sum.unwrap_or_default());
                output.write_at(self.len, &trailer)?;
                self.len += trailer.len() as u64;
            }
            Tail::Zip(zip) => self.len = zip.write(self.len, &crcs, output)?,
        }
        Ok((self.len, reports))
    }
}

/// Joins a thread, passing on its panic.
fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The SHA-1 sum of all parts in order.
fn hash(parts: &[(u64, Content)], tensors: Tensors<'_>) -> Result<Vec<u8>> {
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
    content: &Content,
    tensors: Tensors<'_>,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<CastReport> {
    match content {
        Content::Bytes(bytes) => sink(bytes).map(|()| CastReport::default()),
        Content::Tensor(index) => match tensors.all.get(*index) {
            Some(tensor) => tensor.read_as(tensors.dtype(tensor), sink),
            None => Ok(CastReport::default()),
        },
    }
}

/// Copies parts from several threads, each taking the next one.
struct Copier<'a> {
    parts: &'a [(u64, Content)],
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
    fn new(
        parts: &'a [(u64, Content)],
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

    fn run(&self) -> Result<()> {
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

    fn results(self) -> (Vec<u32>, Vec<CastReport>) {
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
        content: &Content,
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
        if let Content::Tensor(tensor) = content {
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
