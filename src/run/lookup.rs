//! What a store has of a plan, without training.
//!
//! Uses `plan` and `store`; used by `run`, `verify` and the command line.

use crate::error::Result;
use crate::manifest::Manifest;
use crate::plan::Plan;
use crate::recipe::{Policy, Recipe};
use crate::store::{Found, Store};

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
