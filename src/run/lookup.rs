//! What a store has of a plan, without training.
//!
//! Uses `plan` and `store`; used by `run`, `verify` and the command line.

use super::fits;
use crate::error::Result;
use crate::manifest::Manifest;
use crate::plan::Plan;
use crate::recipe::{Policy, Recipe};
use crate::store::{Entry, Found, Store};
use std::cmp::Reverse;
use std::collections::HashSet;

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

/// Refuses a plan if so many jobs at once cannot hold, in so many bytes of memory, one of the networks that are to be
/// trained: better before the first of them than when its turn comes. What was finished is not asked after its size, and
/// where that is not known (what is copied from is gone), a record by its name is enough.
///
/// # Errors
/// As of [`fits`], for the largest; and where the system does not let a file be read.
pub fn all_fit(plan: &Plan<'_>, store: &Store, policy: Policy, jobs: usize, memory: u64) -> Result<()> {
    let large: Vec<usize> =
        (0..plan.runs.len()).filter(|run| fits(plan, *run, jobs, memory).is_err()).collect();
    if large.is_empty() {
        return Ok(());
    }
    let found = survey(plan, store, policy)?;
    let mut recorded = HashSet::new();
    for digest in store.manifests()? {
        let manifest = store.manifest(digest)?.whole().filter(|manifest| manifest.recipe.numerics == policy);
        recorded.extend(manifest.filter(|manifest| kept(store, manifest)).map(|manifest| manifest.run));
    }
    let to_train = |run: &usize| {
        let parent = plan.runs[*run].parent.map(|parent| found[parent].as_ref());
        match (&found[*run], parent) {
            (Some(manifest), _) => !kept(store, manifest),
            // What would copy from a network that diverged is never trained.
            (None, Some(Some(parent))) => parent.trained().is_some(),
            (None, Some(None)) => !recorded.contains(&plan.name(&plan.runs[*run])),
            (None, None) => true,
        }
    };
    largest_fits(plan, large.into_iter().filter(to_train), jobs, memory)
}

/// Whether a network's weights are there, if it has any.
fn kept(store: &Store, manifest: &Manifest) -> bool {
    manifest.trained().is_none_or(|layers| store.has(&Entry::Checkpoint(layers.whole())))
}

/// Refuses the largest of those networks if so many jobs at once cannot hold it in so many bytes of memory.
///
/// # Errors
/// As of [`fits`].
pub fn largest_fits(
    plan: &Plan<'_>,
    runs: impl IntoIterator<Item = usize>,
    jobs: usize,
    memory: u64,
) -> Result<()> {
    let largest = runs.into_iter().min_by_key(|run| Reverse(plan.cost(&plan.runs[*run]).memory));
    largest.map_or(Ok(()), |run| fits(plan, run, jobs, memory))
}
