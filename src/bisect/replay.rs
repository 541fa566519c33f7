//! The states of a recorded run between two places: from training it again, or from what its store kept.
//!
//! Uses `run`, `snapshot`, `store` and a [`Trainer`]; used by `bisect`, and by the command line where a side
//! takes a process of its own.

use super::Side;
use crate::error::{Error, Result};
use crate::ledger::Place;
use crate::plan::Plan;
use crate::run;
use crate::snapshot::State;
use crate::train::{Along, Next, Trainer};
use crate::weights::Weights;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// States by the place that they are of.
pub type States = BTreeMap<Place, State>;

/// From one entry of a ledger to a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The states wanted are of places behind this one.
    pub after: Place,
    /// The last place of which the state is wanted.
    pub until: Place,
}

/// What came of training a side again.
#[derive(Debug, Clone, PartialEq)]
pub enum Known {
    /// Its states, after each step of the span.
    States(States),
    /// Why it cannot be trained again as it is recorded.
    Not(String),
}

impl Known {
    fn not(why: &str) -> Result<Self> {
        Ok(Self::Not(why.to_owned()))
    }
}

/// Whatever can train a side again.
pub trait Replayer {
    /// The states of a side, which is the plan's run of that index, after each step of a span.
    ///
    /// # Errors
    /// Where a file cannot be read, or training fails.
    fn states(&self, plan: &Plan<'_>, index: usize, side: &Side<'_>, span: Span) -> Result<Known>;
}

/// Trains in this process, under the policy that it began with.
pub struct Here<'a> {
    /// What trains.
    pub trainer: &'a dyn Trainer,
    /// Set by another thread to stop at the next step.
    pub stop: &'a AtomicBool,
}

impl Replayer for Here<'_> {
    fn states(&self, plan: &Plan<'_>, index: usize, side: &Side<'_>, span: Span) -> Result<Known> {
        let recipe = &side.manifest.recipe;
        if recipe.data != plan.catalog.digest || recipe.split != plan.splits[plan.runs[index].split].1 {
            return Known::not("it is of other data or another split than are at hand");
        }
        if recipe.core != crate::recipe::CORE {
            return Known::not("it was trained by another training core");
        }
        let parent = match parent(side)? {
            Ok(parent) => parent,
            Err(why) => return Known::not(why),
        };
        let steps = plan.steps(&plan.runs[index]);
        // A snapshot may be another than training leaves: then it is tried from the beginning.
        let from = begin(side, span, steps)?;
        let tries = if from.is_some() { vec![from, None] } else { vec![None] };
        for from in tries {
            if let Some(states) = self.train(plan, index, side, span, from, parent.as_ref())? {
                return Ok(Known::States(states));
            }
        }
        Known::not("trained again here, it does not come out as it is recorded")
    }
}

impl Here<'_> {
    /// The states of a span from training on from a state; none where the ledger is then another.
    fn train(
        &self,
        plan: &Plan<'_>,
        index: usize,
        side: &Side<'_>,
        span: Span,
        from: Option<State>,
        parent: Option<&Weights>,
    ) -> Result<Option<States>> {
        let recipe = &side.manifest.recipe;
        let states = Mutex::new(States::new());
        let stopped = || self.stop.load(Ordering::Relaxed);
        let watch = |place: Place, _| match () {
            () if place == span.until || stopped() => Next::Stop,
            () if place > span.after => Next::Keep,
            () => Next::Go,
        };
        let keep = |state: State| {
            states.lock().expect("no thread panicked").insert(state.progress.place, state);
            Ok(())
        };
        let along = Along { from, every: side.manifest.ledger.every, watch: &watch, keep: &keep };
        let ledger = match run::train(plan, index, recipe.clone(), parent, self.trainer, &along) {
            Err(Error::Interrupted) if stopped() => return Err(Error::Stopped),
            Err(Error::Interrupted) => None,
            Err(error) => return Err(error),
            // It ended before that place: as it is recorded, if it diverged.
            Ok((again, _)) if again.outcome == side.manifest.outcome => Some(again.ledger),
            Ok(_) => return Ok(None),
        };
        let states = states.into_inner().expect("no thread panicked");
        let ledger = ledger.or_else(|| Some(states.get(&span.until)?.progress.ledger.clone()));
        let recorded = &side.manifest.ledger.entries;
        let same = ledger.is_some_and(|ledger| recorded.starts_with(&ledger.entries));
        Ok(same.then_some(states))
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

/// The last snapshot of a side at or before the beginning of a span.
fn begin(side: &Side<'_>, span: Span, steps: u32) -> Result<Option<State>> {
    let Some(store) = side.store else { return Ok(None) };
    let recipe = side.manifest.recipe_digest();
    let until = span.after.steps_done(steps);
    for done in store.snapshots(recipe)?.into_iter().rev().filter(|done| *done <= until) {
        if let Some(state) = store.snapshot(recipe, done)?.whole().filter(|state| on_the_way(state, side)) {
            return Ok(Some(state));
        }
    }
    Ok(None)
}

/// The states of a side in a span that its store kept.
pub(super) fn kept(side: &Side<'_>, span: Span, steps: u32) -> Result<States> {
    let mut states = States::new();
    let Some(store) = side.store else { return Ok(states) };
    let recipe = side.manifest.recipe_digest();
    for done in store.snapshots(recipe)? {
        if done <= span.after.steps_done(steps) || done > span.until.steps_done(steps) {
            continue;
        }
        if let Some(state) = store.snapshot(recipe, done)?.whole().filter(|state| on_the_way(state, side)) {
            states.insert(state.progress.place, state);
        }
    }
    Ok(states)
}
