//! The fence around a network: of all processes that would train it, one may, and it knows when it may not
//! any more.
//!
//! Uses `claim` and `store`; used by `run`, and by `status` for what silence means. Two things together: the lock, which the system gives up when a
//! process ends, but which a shared file system may not show to other machines; and numbered claims, each
//! made by one process alone, whatever the file system does with locks. To finish a network is to make the
//! next claim: a process that was replaced meanwhile cannot, and writes nothing. ARCHITECTURE.md has why.

mod silence;

pub use silence::{Silence, Silences};

use crate::claim::{BEAT, Claim, Holder, STALE, Stage, now};
use crate::digest::RecipeDigest;
use crate::error::Result;
use crate::store::{Last, Lock, Store};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a process that holds a network without its lock tries for it.
const LATE: Duration = Duration::from_secs(1);

/// What a process fences its networks with.
pub struct Fence<'a> {
    store: &'a Store,
    holder: Holder,
    beat: Duration,
    stale: Duration,
    // Of claims that no lock speaks for.
    silences: Silences,
    // What is being trained.
    held: Mutex<Vec<Arc<Hold>>>,
}

/// A network that this process may train.
pub struct Hold {
    recipe: RecipeDigest,
    state: Mutex<State>,
    images: AtomicU64,
    lost: AtomicBool,
}

struct State {
    // As it was last written.
    claim: Claim,
    // Where it is ours.
    lock: Option<Lock>,
}

impl<'a> Fence<'a> {
    /// The fence of the process `holder`.
    pub fn new(store: &'a Store, holder: Holder) -> Self {
        let (silences, held) = (Silences::default(), Mutex::default());
        Self { store, holder, beat: BEAT, stale: STALE, silences, held }
    }

    /// The same with other times, for tests.
    #[cfg(test)]
    pub(crate) fn with_times(self, beat: Duration, stale: Duration) -> Self {
        Self { beat, stale, ..self }
    }

    /// Takes a network of `of` images, unless another process has it. Whoever gets it looks once more
    /// whether it is finished by now.
    ///
    /// # Errors
    /// Where the store cannot be used.
    pub fn take(&self, recipe: RecipeDigest, run: &str, of: u64) -> Result<Option<Arc<Hold>>> {
        let last = self.store.last_claim(recipe)?;
        let lock = self.store.try_lock(recipe)?;
        if !self.free(recipe, last.as_ref(), lock.is_some()) {
            return Ok(None);
        }
        let (number, time) = (last.map_or(0, |(number, _)| number) + 1, now());
        let (run, holder, stage) = (run.to_owned(), self.holder.clone(), Stage::Training);
        let locked = lock.is_some();
        let claim =
            Claim { run, number, holder, locked, since: time, at: time, from: 0, images: 0, of, stage };
        if !self.store.make_claim(recipe, &claim)? {
            return Ok(None);
        }
        let (images, lost) = (AtomicU64::new(0), AtomicBool::new(false));
        let hold = Arc::new(Hold { recipe, state: Mutex::new(State { claim, lock }), images, lost });
        self.held().push(Arc::clone(&hold));
        Ok(Some(hold))
    }

    /// Whether a network may be claimed, by its last claim and by whether its lock could be had.
    fn free(&self, recipe: RecipeDigest, last: Option<&Last>, locked: bool) -> bool {
        let Some(last) = last else { return locked };
        match &last.1 {
            // The queueing system gave that process up, and started this one in its place. What it is
            // writing at this moment it may finish.
            Some(claim) if self.holder.replaces(&claim.holder) && claim.stage == Stage::Training => true,
            Some(claim) if claim.told_by_lock(&self.holder) => locked,
            _ => locked && self.stale(recipe, last),
        }
    }

    /// Whether another process has a network in hand, as far as can be told.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn alive(&self, recipe: RecipeDigest) -> Result<bool> {
        // The claim first: one that is made after that look is made with the lock.
        let last = self.store.last_claim(recipe)?;
        let locked = self.store.locked(recipe)?;
        Ok(match last {
            None => locked,
            Some(last) if last.1.as_ref().is_some_and(|claim| claim.told_by_lock(&self.holder)) => locked,
            Some(last) => locked || !self.stale(recipe, &last),
        })
    }

    /// Whether a claim has not changed for as long as no living process would leave it, by this machine's
    /// clock alone.
    fn stale(&self, recipe: RecipeDigest, last: &Last) -> bool {
        self.silences.of(recipe, last).seen >= self.stale
    }

    /// Says of all networks in hand how far they are, time and again, until `end` is closed.
    pub fn beat_until(&self, end: &Receiver<()>) {
        let mut last = Instant::now();
        while end.recv_timeout(self.beat.min(LATE)) == Err(RecvTimeoutError::Timeout) {
            let due = last.elapsed() >= self.beat;
            if due {
                last = Instant::now();
            }
            let held = self.held().clone();
            for hold in held {
                // What cannot be said now may be said next time; training goes on.
                let _ = self.beat(&hold, due);
            }
        }
    }

    /// Says how far a network is where that is due, and that it has the lock as soon as it has.
    fn beat(&self, hold: &Hold, due: bool) -> Result<()> {
        let mut state = hold.state();
        if (!due && state.lock.is_some()) || state.claim.over() || self.check(hold, &state.claim)? {
            return Ok(());
        }
        if state.lock.is_none() {
            state.lock = self.store.try_lock(hold.recipe).ok().flatten();
        }
        let news = state.claim.locked != state.lock.is_some();
        state.claim.locked = state.lock.is_some();
        match due || news {
            true => hold.renew(self.store, &mut state.claim),
            false => Ok(()),
        }
    }

    /// Whether the network is another's now.
    fn check(&self, hold: &Hold, claim: &Claim) -> Result<bool> {
        if self.store.claimed_after(hold.recipe, claim.number)? {
            hold.lost.store(true, Ordering::Relaxed);
        }
        Ok(hold.lost())
    }

    /// Whether this process may still write for a network.
    ///
    /// # Errors
    /// Where the store does not say.
    pub fn may_write(&self, hold: &Hold) -> Result<bool> {
        let state = hold.state();
        Ok(!self.check(hold, &state.claim)?)
    }

    /// Says from where training goes on.
    pub fn resumes(&self, hold: &Hold, images: u64) {
        let mut state = hold.state();
        (state.claim.from, state.claim.images) = (images, images);
        hold.images.store(images, Ordering::Relaxed);
        let _ = hold.renew(self.store, &mut state.claim);
    }

    /// Writes the result of a network with `write`, unless another process has it by now: then nothing is
    /// written, and it is none.
    ///
    /// # Errors
    /// Where the store cannot be used, or `write` fails.
    pub fn finish<T>(&self, hold: &Hold, write: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
        // Held until the state says what the store does: in between, the claim would look like another's.
        let mut state = hold.state();
        let claim = state.claim.clone();
        let at = now();
        let next = Claim { number: claim.number + 1, images: claim.of, at, stage: Stage::Finishing, ..claim };
        // No second process can make the claim of that number, so none can take the network from here.
        if !self.store.make_claim(hold.recipe, &next)? {
            hold.lost.store(true, Ordering::Relaxed);
            drop(state);
            self.end(hold, Stage::Superseded);
            return Ok(None);
        }
        hold.images.store(next.of, Ordering::Relaxed);
        state.claim = next;
        drop(state);
        let written = write()?;
        self.end(hold, Stage::Finished);
        Ok(Some(written))
    }

    /// Gives a network up, and says why. Nothing more is written for it.
    pub fn end(&self, hold: &Hold, stage: Stage) {
        self.held().retain(|other| other.recipe != hold.recipe);
        let mut state = hold.state();
        if !state.claim.over() {
            state.claim.stage = stage;
            let _ = hold.renew(self.store, &mut state.claim);
        }
        state.lock = None;
    }

    fn held(&self) -> MutexGuard<'_, Vec<Arc<Hold>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renew(&self, store: &Store, claim: &mut Claim) -> Result<()> {
        claim.images = self.images.load(Ordering::Relaxed);
        claim.at = now();
        store.renew_claim(self.recipe, claim)
    }

    /// Says how many images are behind it.
    pub fn advance(&self, images: u64) {
        self.images.store(images, Ordering::Relaxed);
    }

    /// Whether it is known that the network is another process's now.
    pub fn lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Who has it now, as far as that can be read; for messages.
    pub fn rival(&self, store: &Store) -> String {
        let last = store.last_claim(self.recipe).ok().flatten().and_then(|(_, claim)| claim);
        last.map_or_else(|| "another process".to_owned(), |claim| claim.holder.to_string())
    }
}

#[cfg(test)]
mod tests;
