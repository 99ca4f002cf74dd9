//! Threads that work on one kernel after another and wait for the next without sleeping, as a kernel often takes
//! less time than waking a thread.

use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A leader, who hands out work, and threads of the current pool that help.
pub(crate) struct Team {
    /// The work of the moment. Written while it is neither open nor being worked on.
    job: UnsafeCell<Job>,
    /// The first part that nobody has taken.
    next: AtomicUsize,
    parts: AtomicUsize,
    /// [`OPEN`] while helpers may join, plus [`HELPER`] for each that works.
    state: AtomicUsize,
    /// Whether there will be no more work.
    is_over: AtomicBool,
    threads: usize,
}

const OPEN: usize = 1;
const HELPER: usize = 2;

/// What is done with each part.
#[derive(Clone, Copy)]
struct Job(*const (dyn Fn(usize) + Sync));

// SAFETY: `job` is written by the leader alone while nobody reads it, see `Team::each`, and what it points to may be
// called from several threads.
#[allow(unsafe_code)]
unsafe impl Sync for Team {}
#[allow(unsafe_code)]
// SAFETY: as above; the pointer is only used while the leader keeps alive what it points to.
unsafe impl Send for Team {}

impl Team {
    /// Calls `lead` with a team of all threads of the current pool. Who of them is busy elsewhere does not help.
    pub(crate) fn gather<R: Send>(lead: impl FnOnce(&Team) -> R + Send) -> R {
        let team = Team::new(rayon::current_num_threads());
        let leading = || {
            let _end = OnDrop(|| team.is_over.store(true, Ordering::Release));
            lead(&team)
        };
        rayon::join(leading, || team.helpers(team.threads - 1)).0
    }

    fn new(threads: usize) -> Team {
        let job: &'static (dyn Fn(usize) + Sync) = &|_| ();
        Team {
            job: UnsafeCell::new(Job(job)),
            next: AtomicUsize::new(0),
            parts: AtomicUsize::new(0),
            state: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            threads,
        }
    }

    /// Number of threads, the leader among them.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Takes `count` threads of the pool as helpers, as far as they are free.
    fn helpers(&self, count: usize) {
        match count {
            0 => {}
            1 => self.help(),
            _ => drop(rayon::join(|| self.help(), || self.helpers(count - 1))),
        }
    }

    fn help(&self) {
        /// After so many looks for work other processes are let in between. A choice: some tens of microseconds.
        const PATIENCE: usize = 1 << 12;
        let mut looks = 0;
        while !self.is_over.load(Ordering::Acquire) {
            if self.join_in() {
                looks = 0;
            } else if looks < PATIENCE {
                looks += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// Works on what is open; false if there was nothing to do.
    fn join_in(&self) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        let is_taken = self.next.load(Ordering::Relaxed) >= self.parts.load(Ordering::Relaxed);
        if state & OPEN == 0 || is_taken {
            return false;
        }
        let entered =
            self.state.compare_exchange(state, state + HELPER, Ordering::Acquire, Ordering::Relaxed);
        if entered.is_ok() {
            let _leave = OnDrop(|| {
                self.state.fetch_sub(HELPER, Ordering::Release);
            });
            self.work();
        }
        entered.is_ok()
    }

    #[allow(unsafe_code)]
    fn work(&self) {
        // SAFETY: the caller is the leader in `each`, or was counted as a helper while the work was open. The leader
        // changes the job and lets go of the closure only when the work is closed and no helper is counted.
        let job = unsafe { &*(*self.job.get()).0 };
        let parts = self.parts.load(Ordering::Relaxed);
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= parts {
                return;
            }
            job(part);
        }
    }

    /// Calls `work` once for each number below `parts`, on all threads. It must not be called by `work` itself.
    #[allow(unsafe_code)]
    fn each(&self, parts: usize, work: &(dyn Fn(usize) + Sync)) {
        if self.threads == 1 || parts == 1 {
            return (0..parts).for_each(work);
        }
        // SAFETY: only the lifetime is changed. Nobody uses the reference after `close`, which runs before this
        // function is left, by a panic as well.
        let job =
            unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(work) };
        // SAFETY: the work before was closed and its helpers have left, so nobody reads the job.
        unsafe { *self.job.get() = Job(job) };
        self.next.store(0, Ordering::Relaxed);
        self.parts.store(parts, Ordering::Relaxed);
        self.state.store(OPEN, Ordering::Release);
        let _close = OnDrop(|| self.close());
        self.work();
    }

    /// Lets nobody in any more and waits for those who are.
    fn close(&self) {
        self.state.fetch_sub(OPEN, Ordering::Relaxed);
        while self.state.load(Ordering::Acquire) != 0 {
            std::hint::spin_loop();
        }
    }

    /// Calls `work` for parts of a slice with the number of the part and its floats.
    #[allow(unsafe_code)]
    pub(crate) fn each_part(
        &self,
        floats: &mut [f32],
        parts: Parts,
        work: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        assert!(parts.end() <= floats.len(), "parts of more floats than there are");
        let base = Base(floats.as_mut_ptr());
        self.each(parts.count(), &|part| {
            let Range { start, end } = parts.range(part);
            // SAFETY: within the slice, as all parts are, and that is borrowed for the whole call. Parts do not overlap,
            // and every part is taken once.
            work(part, unsafe { std::slice::from_raw_parts_mut(base.at(start), end - start) });
        });
    }
}

/// Parts of a slice that do not overlap: in each of some blocks at equal distances a number of equal pieces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    start: usize,
    blocks: usize,
    distance: usize,
    length: usize,
    piece: usize,
}

impl Parts {
    /// `blocks` blocks from `start` on, each `length` floats and at least as many from the next, `distance`, in pieces of
    /// `piece` floats; the last of a block may be shorter.
    pub(crate) fn new(start: usize, blocks: usize, [distance, length]: [usize; 2], piece: usize) -> Parts {
        assert!(blocks <= 1 || length <= distance, "blocks that overlap");
        Parts { start, blocks, distance, length, piece: piece.max(1) }
    }

    /// Pieces of a block.
    pub(crate) fn pieces(&self) -> usize {
        self.length.div_ceil(self.piece)
    }

    fn count(&self) -> usize {
        self.blocks * self.pieces()
    }

    /// Where the last part ends; zero where there is none.
    fn end(&self) -> usize {
        match self.count().checked_sub(1) {
            Some(last) => self.range(last).end,
            None => 0,
        }
    }

    fn range(&self, part: usize) -> Range<usize> {
        let (block, piece) = (part / self.pieces().max(1), part % self.pieces().max(1));
        let first = self.start + block * self.distance;
        let within = piece * self.piece;
        first + within..first + (within + self.piece).min(self.length)
    }
}

/// The first float of a slice of which threads take parts.
struct Base(*mut f32);

// SAFETY: floats may be written from any thread; `Team::each_part` sees to it that each is by one.
#[allow(unsafe_code)]
unsafe impl Sync for Base {}

impl Base {
    /// # Safety
    /// `position` is within the slice.
    #[allow(unsafe_code)]
    unsafe fn at(&self, position: usize) -> *mut f32 {
        // SAFETY: as the caller has made sure.
        unsafe { self.0.add(position) }
    }
}

/// Does something at the end of a block, by a panic as well.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_worked_on_once() {
        const ROUNDS: usize = if cfg!(miri) { 3 } else { 200 };
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut floats = vec![0.0; 1000];
            pool.install(|| {
                Team::gather(|team| {
                    for round in 0..ROUNDS {
                        let parts = Parts::new(10, 3, [300, 290], 1 + round % 50);
                        team.each_part(&mut floats, parts, |_, part| {
                            part.iter_mut().for_each(|float| *float += 1.0)
                        });
                    }
                });
            });
            let expect =
                |at: usize| if at >= 10 && (at - 10) % 300 < 290 && at < 900 { ROUNDS as f32 } else { 0.0 };
            assert_eq!(floats, (0..1000).map(expect).collect::<Vec<f32>>());
        }
    }

    #[test]
    fn a_panic_ends_the_work() {
        let mut floats = vec![0.0; 100];
        let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Team::gather(|team| {
                team.each_part(&mut floats, Parts::new(0, 1, [100, 100], 1), |part, _| assert!(part != 50));
            });
        }));
        assert!(attempt.is_err());
    }
}
