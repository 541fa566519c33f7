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
use std::collections::BTreeMap;
use std::sync::Mutex;

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
pub struct Here<'a>(pub &'a dyn Trainer);

impl Replayer for Here<'_> {
    fn states(&self, plan: &Plan<'_>, index: usize, side: &Side<'_>, span: Span) -> Result<Known> {
        let recipe = &side.manifest.recipe;
        if recipe.data != plan.catalog.digest || recipe.split != plan.splits[plan.runs[index].split].1 {
            return Known::not("it is of other data or another split than are at hand");
        }
        if recipe.core != crate::recipe::CORE {
            return Known::not("it was trained by another training core");
        }
        let parent = match (recipe.parent, side.store) {
            (None, _) => None,
            (Some(digest), Some(store)) => match store.weights(digest)?.whole() {
                Some(weights) => Some(weights),
                None => return Known::not("the checkpoint that it copies from is missing or damaged"),
            },
            (Some(_), None) => return Known::not("the checkpoint that it copies from is not at hand"),
        };
        let states = Mutex::new(States::new());
        let watch = |place: Place, _| match () {
            () if place == span.until => Next::Stop,
            () if place > span.after => Next::Keep,
            () => Next::Go,
        };
        let keep = |state: State| {
            states.lock().expect("no thread panicked").insert(state.progress.place, state);
            Ok(())
        };
        let from = begin(side, span, plan.steps(&plan.runs[index]))?;
        let along = Along { from, every: side.manifest.ledger.every, watch: &watch, keep: &keep };
        match run::train(plan, index, recipe.clone(), parent.as_ref(), self.0, &along) {
            Err(Error::Interrupted) => {}
            Err(error) => return Err(error),
            Ok(_) => return Known::not("trained again, it ended before that place"),
        }
        let states = states.into_inner().expect("no thread panicked");
        let ledger = &states[&span.until].progress.ledger;
        let entries = &side.manifest.ledger.entries;
        match ledger.entries.last() == entries.get(ledger.entries.len() - 1) {
            true => Ok(Known::States(states)),
            false => Known::not("trained again here, it does not come out as it is recorded"),
        }
    }
}

/// The last snapshot of a side at or before the beginning of a span.
fn begin(side: &Side<'_>, span: Span, steps: u32) -> Result<Option<State>> {
    let Some(store) = side.store else { return Ok(None) };
    let recipe = side.manifest.recipe_digest();
    let until = span.after.steps_done(steps);
    for done in store.snapshots(recipe)?.into_iter().rev().filter(|done| *done <= until) {
        let Some(state) = store.snapshot(recipe, done)?.whole() else { continue };
        // What the snapshot says of the way to it is what the record says.
        let entries = &state.progress.ledger.entries;
        if side.manifest.ledger.entries.starts_with(entries)
            && state.progress.ledger.every == side.manifest.ledger.every
        {
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
        if let Some(state) = store.snapshot(recipe, done)?.whole() {
            states.insert(state.progress.place, state);
        }
    }
    Ok(states)
}
