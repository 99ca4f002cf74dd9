//! The threads that help teams: kernels have threads of their own, so that nobody waits for a pool that they are in.
//!
//! They are as many as teams of the process have needed at a time, and sleep while none does.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::handover::Handover;

/// A handover, led until this is dropped.
pub(super) struct Post {
    team: usize,
    handover: Arc<Handover>,
}

static CREW: Mutex<Crew> = Mutex::new(Crew::new());
static CALLED: Condvar = Condvar::new();

struct Crew {
    teams: Vec<Roster>,
    /// Teams that a helper is wanted for, once for each.
    invitations: Vec<usize>,
    /// Threads that sleep or are about to.
    idle: usize,
    /// Leaders, and threads that help or are invited to.
    busy: usize,
}

/// Who works for a handover.
struct Roster {
    handover: Arc<Handover>,
    is_led: bool,
    helpers: usize,
}

impl Post {
    /// Takes the lead and calls helpers, so that no more than `threads` threads work for all teams together.
    pub(super) fn take(threads: usize) -> Post {
        let mut crew = crew();
        let team = crew.free_team();
        let wanted = crew.lead(team, threads);
        while crew.idle < crew.invitations.len() && spawn() {
            crew.idle += 1;
        }
        let handover = crew.teams[team].handover.clone();
        drop(crew);
        (0..wanted).for_each(|_| CALLED.notify_one());
        Post { team, handover }
    }

    pub(super) fn handover(&self) -> &Handover {
        &self.handover
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        crew().end(self.team);
    }
}

fn crew() -> MutexGuard<'static, Crew> {
    CREW.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crew {
    const fn new() -> Crew {
        Crew { teams: Vec::new(), invitations: Vec::new(), idle: 0, busy: 0 }
    }

    /// A team without a leader, the one that has most helpers still.
    fn free_team(&mut self) -> usize {
        let free = self.teams.iter().enumerate().filter(|(_, roster)| !roster.is_led);
        if let Some((team, _)) = free.max_by_key(|(_, roster)| roster.helpers) {
            return team;
        }
        self.teams.push(Roster { handover: Arc::new(Handover::new()), is_led: false, helpers: 0 });
        self.teams.len() - 1
    }

    /// Opens a team and invites helpers; their number.
    fn lead(&mut self, team: usize, threads: usize) -> usize {
        self.busy += 1;
        let roster = &mut self.teams[team];
        roster.is_led = true;
        roster.handover.set_led(true);
        let missing = (threads - 1).saturating_sub(roster.helpers);
        let wanted = missing.min(threads.saturating_sub(self.busy));
        self.busy += wanted;
        self.invitations.extend(std::iter::repeat_n(team, wanted));
        wanted
    }

    /// The team that a thread helps from now on.
    fn follow(&mut self) -> Option<usize> {
        let team = self.invitations.pop()?;
        self.idle -= 1;
        self.teams[team].helpers += 1;
        Some(team)
    }

    /// Takes back invitations that nobody has followed, and lets helpers go.
    fn end(&mut self, team: usize) {
        let roster = &mut self.teams[team];
        roster.is_led = false;
        roster.handover.set_led(false);
        let before = self.invitations.len();
        self.invitations.retain(|invitation| *invitation != team);
        self.busy -= 1 + before - self.invitations.len();
    }

    /// Whether a helper may leave: not if somebody has taken the lead again.
    fn leave(&mut self, team: usize) -> bool {
        let roster = &mut self.teams[team];
        if roster.is_led {
            return false;
        }
        roster.helpers -= 1;
        self.busy -= 1;
        self.idle += 1;
        true
    }
}

/// Starts a thread; where there cannot be one more, leaders do more themselves.
fn spawn() -> bool {
    thread::Builder::new().name("engine".to_owned()).spawn(help_forever).is_ok()
}

fn help_forever() {
    loop {
        let (team, handover) = wait();
        loop {
            handover.help();
            if crew().leave(team) {
                break;
            }
        }
    }
}

/// Sleeps until a team wants help.
fn wait() -> (usize, Arc<Handover>) {
    let mut crew = crew();
    loop {
        if let Some(team) = crew.follow() {
            return (team, crew.teams[team].handover.clone());
        }
        crew = CALLED.wait(crew).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn teams_together_have_no_more_threads_than_one() {
        let mut crew = Crew::new();
        let one = crew.free_team();
        assert_eq!(crew.lead(one, 3), 2);
        let other = crew.free_team();
        assert!(one != other);
        assert_eq!(crew.lead(other, 3), 0);
        crew.end(one);
        crew.end(other);
        assert_eq!((crew.busy, crew.invitations.len()), (0, 0));
        assert_eq!(crew.lead(one, 1), 0);
    }

    #[test]
    fn helpers_that_have_not_left_go_on() {
        let mut crew = Crew { idle: 2, ..Crew::new() };
        let team = crew.free_team();
        assert_eq!(crew.lead(team, 3), 2);
        assert_eq!(crew.follow(), Some(team));
        crew.end(team);
        assert_eq!((crew.idle, crew.busy, crew.follow()), (1, 1, None));
        // Led again before the helper has left: only the other is called.
        assert_eq!((crew.free_team(), crew.lead(team, 3)), (team, 1));
        assert!(!crew.leave(team));
        crew.end(team);
        assert!(crew.leave(team));
        assert_eq!((crew.idle, crew.busy), (2, 0));
    }
}
