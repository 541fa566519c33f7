//! What a store has of a plan, without training.
//!
//! Uses `plan` and `store`; used by `run`, `verify` and the command line.

use crate::error::Result;
use crate::manifest::Manifest;
use crate::plan::{Plan, PlannedRun};
use crate::recipe::{Policy, Recipe};
use crate::store::{Found, Store};

use super::fits;

/// The manifest of a network that the store has whole: its record and, unless it diverged, its weights.
///
/// # Errors
/// Where the system does not let a file be read.
pub fn finished(store: &Store, recipe: &Recipe) -> Result<Option<Manifest>> {
    let Some(manifest) = store.manifest(recipe.digest())?.whole() else { return Ok(None) };
    match manifest.trained() {
        None => Ok(Some(manifest)),
        Some(layers) => match store.weights(layers.whole())? {
            Found::Whole(_) => Ok(Some(manifest)),
            Found::Absent | Found::Damaged(_) => Ok(None),
        },
    }
}

/// What the store has of a plan, without training: each run's manifest, indexed like the plan's runs.
/// A run whose parent's manifest is missing has none, since its recipe is not known.
///
/// # Errors
/// Where the system does not let a file be read.
pub fn survey(plan: &Plan<'_>, store: &Store, policy: Policy) -> Result<Vec<Option<Manifest>>> {
    let mut found: Vec<Option<Manifest>> = Vec::with_capacity(plan.runs.len());
    for run in &plan.runs {
        let parent = match run.parent {
            None => Some(None),
            Some(parent) => {
                let manifest = found[parent].as_ref();
                manifest.and_then(|manifest| Some(Some(manifest.trained()?.whole())))
            }
        };
        found.push(match parent {
            None => None,
            Some(parent) => store.manifest(plan.recipe(run, policy, parent).digest())?.whole(),
        });
    }
    Ok(found)
}

/// Refuses a plan if so many jobs at once cannot hold, in so many bytes of memory, one of the networks that the store
/// lacks: better before the first of them is trained than when its turn comes.
///
/// # Errors
/// As of [`fits`], and where the system does not let a file be read.
pub fn all_fit(plan: &Plan<'_>, store: &Store, policy: Policy, jobs: usize, memory: u64) -> Result<()> {
    let found = survey(plan, store, policy)?;
    // What would copy from a network that diverged is never trained.
    let barred = |run: &PlannedRun| {
        let parent = run.parent.and_then(|parent| found[parent].as_ref());
        parent.is_some_and(|manifest| manifest.trained().is_none())
    };
    let mut open =
        plan.runs.iter().enumerate().filter(|(run, planned)| found[*run].is_none() && !barred(planned));
    open.try_for_each(|(run, _)| fits(plan, run, jobs, memory))
}
