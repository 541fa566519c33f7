//! The states of a recorded run between two places: from training it again, or from what its store kept.
//!
//! Uses `run`, `snapshot`, `store` and a [`Trainer`]; used by `bisect`, and by the command line where a side
//! takes a process of its own. States are handed over one after another: those of a large network do not fit into
//! memory together.

use super::Side;
use crate::error::{Error, Result};
use crate::ledger::Place;
use crate::plan::Plan;
use crate::run;
use crate::snapshot::State;
use crate::train::{Along, Next, Trainer};
use crate::weights::Weights;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// What of a side is to be trained again.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The side, which is the plan's run of that index.
    pub side: &'a Side<'a>,
    /// See `side`.
    pub plan: &'a Plan<'a>,
    /// See `side`.
    pub index: usize,
    /// The states wanted are of places behind this one.
    pub after: Place,
    /// The last place of which the state is wanted.
    pub until: Place,
    /// Of the places between, the only one, where one is enough; what comes of training does not depend on it.
    pub only: Option<Place>,
}

/// What came of training a side again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// It came out as it is recorded.
    Same,
    /// Why it cannot be trained again as it is recorded.
    Not(String),
}

impl Replayed {
    fn not(why: &str) -> Result<Self> {
        Ok(Self::Not(why.to_owned()))
    }
}

/// What takes states as they come.
pub type Take<'a> = dyn Fn(State) -> Result<()> + Sync + 'a;

/// Whatever can train a side again.
pub trait Replayer {
    /// Hands over the states that are wanted, step after step; from the first once more where those were not the record's.
    ///
    /// # Errors
    /// Where a file cannot be read, training fails, or `take` does.
    fn states(&self, wanted: &Wanted<'_>, take: &Take<'_>) -> Result<Replayed>;
}

/// Trains in this process, under the policy that it began with.
pub struct Here<'a> {
    /// What trains.
    pub trainer: &'a dyn Trainer,
    /// Set by another thread to stop at the next step.
    pub stop: &'a AtomicBool,
}

impl Replayer for Here<'_> {
    fn states(&self, wanted: &Wanted<'_>, take: &Take<'_>) -> Result<Replayed> {
        let Wanted { side, plan, index, .. } = *wanted;
        let recipe = &side.manifest.recipe;
        if recipe.data != plan.catalog.digest || recipe.split != plan.splits[plan.runs[index].split].1 {
            return Replayed::not("it is of other data or another split than are at hand");
        }
        if recipe.core != crate::recipe::CORE {
            return Replayed::not("it was trained by another training core");
        }
        let parent = match parent(side)? {
            Ok(parent) => parent,
            Err(why) => return Replayed::not(why),
        };
        // A snapshot may be another than training leaves: then it is tried from the beginning.
        let from = begin(wanted)?;
        let tries = if from.is_some() { vec![from, None] } else { vec![None] };
        for from in tries {
            if self.train(wanted, from, parent.as_ref(), take)? {
                return Ok(Replayed::Same);
            }
        }
        Replayed::not("trained again here, it does not come out as it is recorded")
    }
}

impl Here<'_> {
    /// Trains on from a state, and says whether the ledger is then that of the record.
    fn train(
        &self,
        wanted: &Wanted<'_>,
        from: Option<State>,
        parent: Option<&Weights>,
        take: &Take<'_>,
    ) -> Result<bool> {
        let Wanted { side, plan, index, after, until, only } = *wanted;
        let recipe = &side.manifest.recipe;
        let stopped = || self.stop.load(Ordering::Relaxed);
        let watch = |place: Place, _| match () {
            () if place == until || stopped() => Next::Stop,
            () if place > after && only.is_none_or(|only| only == place) => Next::Keep,
            () => Next::Go,
        };
        let last = Mutex::new(None);
        let keep = |state: State| {
            if stopped() {
                return Err(Error::Stopped);
            }
            if state.progress.place == until {
                *last.lock().expect("no thread panicked") = Some(state.progress.ledger.clone());
            }
            take(state)
        };
        let along =
            Along { from, every: side.manifest.ledger.every, watch: &watch, keep: &keep, ..Along::ALONE };
        let ledger = match run::train(plan, index, recipe.clone(), parent, self.trainer, &along) {
            Err(Error::Interrupted) => last.into_inner().expect("no thread panicked"),
            Err(error) => return Err(error),
            // It ended before that place: as it is recorded, if it diverged.
            Ok((again, _)) if again.outcome == side.manifest.outcome => Some(again.ledger),
            Ok(_) => return Ok(false),
        };
        let recorded = &side.manifest.ledger.entries;
        Ok(ledger.is_some_and(|ledger| recorded.starts_with(&ledger.entries)))
    }
}

/// The weights of the network that a side copies from, if it copies; or why they are not at hand.
pub(super) fn parent(side: &Side<'_>) -> Result<std::result::Result<Option<Weights>, &'static str>> {
    let Some(digest) = side.manifest.recipe.parent else { return Ok(Ok(None)) };
    for store in [side.store, side.bases].into_iter().flatten() {
        if let Some(weights) = store.weights(digest)?.whole() {
            return Ok(Ok(Some(weights)));
        }
    }
    Ok(Err("the checkpoint that it copies from is not at hand"))
}

/// Whether what a snapshot says of the way to it is what the record says.
fn on_the_way(state: &State, side: &Side<'_>) -> bool {
    let (kept, recorded) = (&state.progress.ledger, &side.manifest.ledger);
    kept.every == recorded.every && recorded.entries.starts_with(&kept.entries)
}

/// The last snapshot of a side at or before the place behind which states are wanted.
fn begin(wanted: &Wanted<'_>) -> Result<Option<State>> {
    let Wanted { side, plan, index, after, .. } = *wanted;
    let Some(store) = side.store else { return Ok(None) };
    let recipe = side.manifest.recipe_digest();
    let until = after.steps_done(plan.steps(&plan.runs[index]));
    for done in store.snapshots(recipe)?.into_iter().rev().filter(|done| *done <= until) {
        if let Some(state) = store.snapshot(recipe, done)?.whole().filter(|state| on_the_way(state, side)) {
            return Ok(Some(state));
        }
    }
    Ok(None)
}

/// Hands over the states wanted that a side's store kept.
pub(super) fn kept(wanted: &Wanted<'_>, take: &Take<'_>) -> Result<()> {
    let Wanted { side, plan, index, after, until, .. } = *wanted;
    let Some(store) = side.store else { return Ok(()) };
    let recipe = side.manifest.recipe_digest();
    let [after, until] = [after, until].map(|place| place.steps_done(plan.steps(&plan.runs[index])));
    for done in store.snapshots(recipe)? {
        if done <= after || done > until {
            continue;
        }
        if let Some(state) = store.snapshot(recipe, done)?.whole().filter(|state| on_the_way(state, side)) {
            take(state)?;
        }
    }
    Ok(())
}
