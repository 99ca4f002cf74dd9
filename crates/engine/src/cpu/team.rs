//! Threads that work on one kernel after another and wait for the next without sleeping, as a kernel often takes
//! less time than waking a thread.

use std::ops::Range;

use super::crew::Post;

/// A leader, who hands out work, and threads that help.
pub(crate) struct Team {
    post: Post,
    threads: usize,
}

impl Team {
    /// Calls `lead` with a team of as many threads as the current pool of rayon has, the caller's among them. They are
    /// not that pool's, which others may need meanwhile.
    pub(crate) fn gather<R>(lead: impl FnOnce(&Team) -> R) -> R {
        let threads = rayon::current_num_threads();
        lead(&Team { post: Post::take(threads), threads })
    }

    /// Number of threads, the leader among them.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `work` once for each number below `parts`, on all threads. It must not be called by `work` itself.
    fn each(&self, parts: usize, work: &(dyn Fn(usize) + Sync)) {
        if self.threads == 1 || parts == 1 {
            return (0..parts).for_each(work);
        }
        self.post.handover().each(parts, work);
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
