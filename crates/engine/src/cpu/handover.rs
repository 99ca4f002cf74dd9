//! How work goes from a leader to helpers who wait for it without sleeping.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};
#[cfg(not(loom))]
use std::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread::yield_now,
};

#[cfg(loom)]
use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread::yield_now,
};

use super::shared::Shared;

/// The work of the moment, and who works on it.
pub(super) struct Handover {
    /// Written while the work is neither open nor being worked on.
    job: Shared<Job>,
    /// The first part that nobody has taken.
    next: AtomicUsize,
    parts: AtomicUsize,
    /// [`OPEN`] while helpers may join, plus [`HELPER`] for each that works.
    state: AtomicUsize,
    /// Whether there is a leader, so that there may be more work.
    is_led: AtomicBool,
    /// Whether a helper has left `panic`.
    has_panicked: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

const OPEN: usize = 1;
const HELPER: usize = 2;

/// After so many looks for work other processes are let in between. A choice: some tens of microseconds.
const PATIENCE: usize = if cfg!(loom) { 0 } else { 1 << 12 };

/// What is done with each part.
#[derive(Debug, Clone, Copy)]
struct Job(*const (dyn Fn(usize) + Sync));

// SAFETY: `job` is written by the leader alone while nobody reads it, see `Handover::each`, and what it points to may be
// called from several threads.
#[allow(unsafe_code)]
unsafe impl Sync for Handover {}
#[allow(unsafe_code)]
// SAFETY: as above; the pointer is only used while the leader keeps alive what it points to.
unsafe impl Send for Handover {}

impl Handover {
    pub(super) fn new() -> Handover {
        let job: &'static (dyn Fn(usize) + Sync) = &|_| ();
        Handover {
            job: Shared::new(Job(job)),
            next: AtomicUsize::new(0),
            parts: AtomicUsize::new(0),
            state: AtomicUsize::new(0),
            is_led: AtomicBool::new(false),
            has_panicked: AtomicBool::new(false),
            panic: Mutex::new(None),
        }
    }

    /// Says whether there is a leader.
    pub(super) fn set_led(&self, is_led: bool) {
        self.is_led.store(is_led, Ordering::Release);
    }

    /// Works on what comes, until nothing has come for a while and there is no leader.
    pub(super) fn help(&self) {
        let mut looks = 0;
        loop {
            if self.join_in() {
                looks = 0;
            } else if looks < PATIENCE {
                looks += 1;
                spin_loop();
            } else if self.is_led.load(Ordering::Acquire) {
                yield_now();
            } else {
                return;
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
            let outcome = catch_unwind(AssertUnwindSafe(|| self.work()));
            if let Err(panic) = outcome {
                *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
                self.has_panicked.store(true, Ordering::Relaxed);
            }
            self.state.fetch_sub(HELPER, Ordering::Release);
        }
        entered.is_ok()
    }

    #[allow(unsafe_code)]
    fn work(&self) {
        // SAFETY: the caller is the leader in `each`, or was counted as a helper while the work was open. The leader
        // changes the job and lets go of the closure only when the work is closed and no helper is counted.
        let job = unsafe { &*self.job.get().0 };
        let parts = self.parts.load(Ordering::Relaxed);
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= parts {
                return;
            }
            job(part);
        }
    }

    /// Calls `work` once for each number below `parts`, on the threads of all helpers too. There must be one leader at a
    /// time, and `work` must not call it. A panic of a helper goes on here.
    #[allow(unsafe_code)]
    pub(super) fn each(&self, parts: usize, work: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime is changed. Nobody uses the reference after `close`, which runs before this
        // function is left, by a panic as well.
        let job =
            unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(work) };
        // SAFETY: the work before was closed and its helpers have left, so nobody reads the job.
        unsafe { self.job.set(Job(job)) };
        self.next.store(0, Ordering::Relaxed);
        self.parts.store(parts, Ordering::Relaxed);
        self.state.store(OPEN, Ordering::Release);
        {
            let _close = OnDrop(|| self.close());
            self.work();
        }
        self.pass_panic_on();
    }

    /// Lets nobody in any more and waits for those who are.
    fn close(&self) {
        self.state.fetch_sub(OPEN, Ordering::Relaxed);
        while self.state.load(Ordering::Acquire) != 0 {
            if cfg!(loom) { yield_now() } else { spin_loop() }
        }
    }

    fn pass_panic_on(&self) {
        if self.has_panicked.swap(false, Ordering::Relaxed) {
            let panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
            resume_unwind(panic.unwrap_or_else(|| Box::new("a helper panicked")));
        }
    }
}

/// Does something at the end of a block, by a panic as well.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Every order in which a leader and a helper may meet, as far as loom knows them (docs/architecture.md says how it runs).
#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::sync::Arc;

    #[test]
    fn every_part_is_worked_on_once_in_every_order() {
        // More would take hours; a fault of this kind needs two or three.
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let handover = Arc::new(Handover::new());
            handover.set_led(true);
            let helper = {
                let handover = handover.clone();
                loom::thread::spawn(move || handover.help())
            };
            for parts in [2, 1] {
                let counts: [_; 2] = std::array::from_fn(|_| AtomicUsize::new(0));
                handover.each(parts, &|part| {
                    counts[part].fetch_add(1, Ordering::Relaxed);
                });
                let expected: [usize; 2] = std::array::from_fn(|part| usize::from(part < parts));
                assert_eq!(counts.each_ref().map(|count| count.load(Ordering::Relaxed)), expected);
            }
            handover.set_led(false);
            helper.join().unwrap();
        });
    }
}
