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

/// The runs that are to be trained, by index, as far as the names of the store's files tell.
///
/// # Errors
/// Where the system does not let a file be read.
pub fn to_train(plan: &Plan<'_>, store: &Store, policy: Policy) -> Result<Vec<usize>> {
    lacking(plan, store, policy, (0..plan.runs.len()).collect(), |manifest| store.has_weights(manifest))
}

/// Of those runs the ones that are to be trained, where a network is there if its manifest is and, by `has`, its weights.
/// Where what a run copies from has no manifest, its own recipe is not known: a record under its name and a file of its
/// weights are enough.
fn lacking(
    plan: &Plan<'_>,
    store: &Store,
    policy: Policy,
    among: Vec<usize>,
    has: impl Fn(&Manifest) -> Result<bool>,
) -> Result<Vec<usize>> {
    if among.is_empty() {
        return Ok(among);
    }
    let found = survey(plan, store, policy)?;
    let parent = |run: usize| plan.runs[run].parent.map(|parent| found[parent].as_ref());
    let recorded = match among.iter().any(|run| parent(*run) == Some(None)) {
        true => recorded(plan, store, policy)?,
        false => HashSet::new(),
    };
    let mut lacking = Vec::new();
    for run in among {
        let is_to_be = match (&found[run], parent(run)) {
            (Some(manifest), _) => !has(manifest)?,
            // What would copy from a network that diverged is never trained.
            (None, Some(Some(parent))) => parent.trained().is_some(),
            (None, Some(None)) => !recorded.contains(&run),
            (None, None) => true,
        };
        lacking.extend(is_to_be.then_some(run));
    }
    Ok(lacking)
}

/// Refuses a plan if so many jobs at once cannot hold, in so many bytes of memory, one of the networks that are to be
/// trained: better before the first of them than when its turn comes. What was finished is not asked after its size.
///
/// # Errors
/// As of [`fits`], for the largest; and where the system does not let a file be read.
pub fn all_fit(plan: &Plan<'_>, store: &Store, policy: Policy, jobs: usize, memory: u64) -> Result<()> {
    let large = (0..plan.runs.len()).filter(|run| fits(plan, *run, jobs, memory).is_err()).collect();
    let whole = |manifest: &Manifest| Ok(finished(store, &manifest.recipe)?.is_some());
    largest_fits(plan, lacking(plan, store, policy, large, whole)?, jobs, memory)
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
