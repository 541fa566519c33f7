//! What a store has of a plan, without training.
//!
//! Uses `plan` and `store`; used by `run`, `verify` and the command line.

use super::fits;
use crate::error::Result;
use crate::manifest::Manifest;
use crate::plan::Plan;
use crate::recipe::{Policy, Recipe};
use crate::store::Store;
use std::cmp::Reverse;
use std::collections::HashSet;

/// The manifest of a network that the store has whole: its record and, unless it diverged, its weights.
///
/// # Errors
/// Where the system does not let a file be read.
pub fn finished(store: &Store, recipe: &Recipe) -> Result<Option<Manifest>> {
    let Some(manifest) = store.manifest(recipe.digest())?.whole() else { return Ok(None) };
    let whole = match manifest.weights() {
        None => true,
        Some(weights) => store.weights(weights)?.whole().is_some(),
    };
    Ok(whole.then_some(manifest))
}

/// What the store has of a plan, without training: each run's manifest, indexed like the plan's runs.
/// A run whose parent's manifest is missing has none, since its recipe is not known.
///
/// # Errors
/// Where the system does not let a file be read.
pub fn survey(plan: &Plan<'_>, store: &Store, policy: Policy) -> Result<Vec<Option<Manifest>>> {
    let mut found: Vec<Option<Manifest>> = Vec::with_capacity(plan.runs.len());
    for run in &plan.runs {
        let parent = run.parent.map(|parent| found[parent].as_ref().and_then(Manifest::weights));
        found.push(match parent {
            Some(None) => None,
            known => store.manifest(plan.recipe(run, policy, known.flatten()).digest())?.whole(),
        });
    }
    Ok(found)
}

/// Refuses a plan if so many jobs at once cannot hold, in so many bytes of memory, one of the networks that are to be
/// trained: better before the first of them than when its turn comes. What was finished is not asked after its size, and
/// where that cannot be known, because what it was copied from is gone, a record of it and a file of its weights are
/// enough.
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
    let recorded = recorded(plan, store, policy)?;
    let mut to_train = Vec::new();
    for run in large {
        let parent = plan.runs[run].parent.map(|parent| found[parent].as_ref());
        let is_to_be = match (&found[run], parent) {
            (Some(manifest), _) => finished(store, &manifest.recipe)?.is_none(),
            // What would copy from a network that diverged is never trained.
            (None, Some(Some(parent))) => parent.trained().is_some(),
            (None, Some(None)) => !recorded.contains(&run),
            (None, None) => true,
        };
        to_train.extend(is_to_be.then_some(run));
    }
    largest_fits(plan, to_train, jobs, memory)
}

/// The runs of which a store has a record and weights, whatever they were copied from.
fn recorded(plan: &Plan<'_>, store: &Store, policy: Policy) -> Result<HashSet<usize>> {
    let named = plan.by_name();
    let mut recorded = HashSet::new();
    for digest in store.manifests()? {
        let Some(manifest) = store.manifest(digest)?.whole() else { continue };
        let Some(index) = named.get(&manifest.run) else { continue };
        let ours = plan.recipe(&plan.runs[*index], policy, manifest.recipe.parent) == manifest.recipe;
        if ours && store.has_weights(&manifest)? {
            recorded.insert(*index);
        }
    }
    Ok(recorded)
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
