//! The states of networks in training: how often they are kept, which of them training goes on from.
//!
//! Uses `store`, `snapshot` and `init`; a part of `run`.

use super::Runner;
use crate::data::Part;
use crate::digest::RecipeDigest;
use crate::error::Result;
use crate::init::initial;
use crate::recipe::Recipe;
use crate::snapshot::State;
use crate::store::Found;
use crate::weights::Weights;
use std::time::Duration;

/// How often the state of a run is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// Never: a run that is interrupted begins anew.
    Never,
    /// After so many steps.
    Steps(u64),
    /// After so much time.
    Time(Duration),
}

/// Which states of unfinished runs are kept. No bit of a result depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshots {
    /// How often one is taken. When a run is told to stop, one is taken too.
    pub every: Every,
    /// Whether to keep all of them, also when the run is finished; else only the last of an unfinished one.
    pub keep: bool,
}

impl Snapshots {
    pub(super) fn due(&self, steps_done: u64, since_last: Duration) -> bool {
        match self.every {
            Every::Never => false,
            Every::Steps(steps) => steps_done.is_multiple_of(steps),
            Every::Time(time) => since_last >= time,
        }
    }
}

impl Runner<'_> {
    /// The last state of a run that the store has whole, that fits it, and that this machine would have come to as well: bits
    /// of two machines are no run of either. That a later one is of no use is told. `parent` is what the run copies from.
    pub(super) fn latest(
        &self,
        index: usize,
        recipe: &Recipe,
        parent: Option<&Weights>,
    ) -> Result<Option<State>> {
        let run = &self.plan.runs[index];
        let (steps, images) = (self.plan.steps(run), self.plan.count(run, Part::Train));
        let digest = recipe.digest();
        let (mut latest, mut passed) = (None, None);
        for done in self.store.snapshots(digest)?.into_iter().rev() {
            let why = match self.store.snapshot(digest, done)? {
                Found::Absent => continue,
                Found::Damaged(why) => format!("is damaged ({why})"),
                Found::Whole(State { progress, .. }) if progress.place.steps_done(steps) != done => {
                    "is of another step".to_owned()
                }
                Found::Whole(state)
                    if state.progress.fingerprint != Some(self.trainer.environment()?.fingerprint) =>
                {
                    "was computed under another fingerprint than this machine has".to_owned()
                }
                Found::Whole(state) => {
                    let initial = initial(recipe, &self.plan.shapes(run), parent);
                    if state.fits(recipe, &initial, steps, images) {
                        latest = Some((state, done));
                        break;
                    }
                    "is no state of its network in training".to_owned()
                }
            };
            passed.get_or_insert((done, why));
        }
        if let Some((kept, why)) = passed {
            self.observer.passes_over(index, kept, &why, latest.as_ref().map_or(0, |(_, done)| *done));
        }
        Ok(latest.map(|(state, _)| state))
    }

    /// Removes the snapshots of a run before that of so many steps, unless all are to be kept.
    pub(super) fn forget(&self, recipe: RecipeDigest, before: u64) -> Result<()> {
        if self.snapshots.keep {
            return Ok(());
        }
        let mut old = self.store.snapshots(recipe)?.into_iter().filter(|steps| *steps < before);
        old.try_for_each(|steps| self.store.remove_snapshot(recipe, steps))
    }
}
