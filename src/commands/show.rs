//! `selffer show RUN`: the record of one run.
//!
//! Uses `plan` and `store`; used by `commands`. A run is named as the plan names it, or by the beginning of a digest.

use super::records::{elsewhere, opened};
use super::{Inputs, Verdict, print};
use crate::cli::ShowArgs;
use crate::output::Shown;
use crate::output::chart::Look;
use selffer::manifest::Manifest;
use selffer::plan::Plan;
use selffer::recipe::Recipe;
use selffer::run::survey;
use selffer::store::{Found, Store};
use selffer::{Error, Result};

/// The fewest digits of a digest that name a run.
const DIGITS: usize = 4;

/// The most names that are offered for one that is not known.
const NEAREST: usize = 3;

pub fn run(args: &ShowArgs) -> anyhow::Result<Verdict> {
    let inputs = Inputs::read(&args.which.protocol)?;
    let plan = inputs.plan()?;
    // A mistyped name is better known as such than as one that is not in the store.
    let named = plan.find(&args.run);
    if named.is_none() && !is_prefix(&args.run) {
        return Err(unknown(&args.run, &args.which.protocol, &plan).into());
    }
    let store = opened(&args.which.store, &plan, args.which.numerics.policy, true)?;
    let manifests = survey(&plan, &store, args.which.numerics.policy)?;
    let index = match named {
        Some(index) => index,
        None => by_digest(args, &plan, &manifests)?,
    };
    let Some(manifest) = &manifests[index] else {
        return Err(untrained(args, &plan, &store, &manifests, index)?.into());
    };
    let parent = plan.runs[index].parent.map(|parent| plan.name(&plan.runs[parent]));
    let shown = Shown::of(manifest, parent, &store)?;
    print(args.format, &shown, || shown.text(Look::of_stdout(args.width.width)))?;
    Ok(Verdict::Clean)
}

fn is_prefix(text: &str) -> bool {
    (DIGITS..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The one run whose recipe or weights have a digest that begins so.
fn by_digest(args: &ShowArgs, plan: &Plan<'_>, manifests: &[Option<Manifest>]) -> Result<usize> {
    let prefix = args.run.to_ascii_lowercase();
    let begins = |manifest: &Manifest| {
        manifest.recipe_digest().hex().starts_with(&prefix)
            || manifest.weights().is_some_and(|weights| weights.hex().starts_with(&prefix))
    };
    let found: Vec<usize> =
        (0..manifests.len()).filter(|at| manifests[*at].as_ref().is_some_and(begins)).collect();
    match found[..] {
        [] => {
            let problem = format!(
                "no recipe's and no weights' digest of {} in {} begins so",
                plan.protocol.name,
                args.which.store.display()
            );
            Err(Error::invalid(&args.run, problem, "name a run as `selffer plan` lists it"))
        }
        [one] => Ok(one),
        _ => {
            let names: Vec<String> =
                found.iter().take(NEAREST).map(|at| plan.name(&plan.runs[*at])).collect();
            let more = if found.len() > NEAREST { ", …" } else { "" };
            let problem =
                format!("{} runs have a digest that begins so: {}{more}", found.len(), names.join(", "));
            Err(Error::invalid(&args.run, problem, "give more digits, or a run's name"))
        }
    }
}

/// The names of the plan that are nearest to what was given.
pub fn unknown(given: &str, protocol: &str, plan: &Plan<'_>) -> Error {
    let mut names: Vec<(f64, String)> = plan
        .runs
        .iter()
        .map(|run| plan.name(run))
        .map(|name| {
            // A treatment alone is what people type.
            let treatment = name.rsplit('/').next().unwrap_or_default();
            let like = |name: &str| strsim::jaro_winkler(&given.to_lowercase(), &name.to_lowercase());
            let near = like(&name).max(like(treatment));
            (near, name)
        })
        .collect();
    names.sort_by(|a, b| b.0.total_cmp(&a.0));
    let nearest: Vec<String> = names.into_iter().take(NEAREST).map(|(_, name)| name).collect();
    let problem = format!("is no run of the protocol {protocol}");
    let mend = format!("the nearest are {}; `selffer plan` lists all", nearest.join(", "));
    let subject = if given.is_empty() { "an empty name" } else { given };
    Error::invalid(subject, problem, mend)
}

/// Why there is no record of a run.
fn untrained(
    args: &ShowArgs,
    plan: &Plan<'_>,
    store: &Store,
    manifests: &[Option<Manifest>],
    index: usize,
) -> Result<Error> {
    let run = &plan.runs[index];
    let name = plan.name(run);
    let trains = match elsewhere(store, plan, args.which.numerics.policy)?.first() {
        None => "`selffer reproduce` trains it".to_owned(),
        Some(other) => {
            format!("name the numerics that the store has networks of: --numerics {}", other.name())
        }
    };
    let parent = match run.parent {
        None => None,
        Some(parent) => match manifests[parent].as_ref().map(|manifest| manifest.trained()) {
            Some(Some(layers)) => Some(layers.whole()),
            missing => {
                let parent = plan.name(&plan.runs[parent]);
                let (problem, mend) = match missing {
                    None => (format!("is not trained yet, nor is {parent}, which it copies from"), trains),
                    Some(_) => (
                        format!("cannot be trained: {parent}, which it copies from, diverged"),
                        "lower the protocol's learning rate".to_owned(),
                    ),
                };
                return Ok(Error::invalid(name, problem, mend));
            }
        },
    };
    let recipe: Recipe = plan.recipe(run, args.which.numerics.policy, parent);
    let digest = recipe.digest();
    Ok(match store.manifest(digest)? {
        Found::Damaged(why) => {
            let problem = format!("its manifest {} cannot be used: {why}", digest.hex());
            Error::invalid(name, problem, "`selffer reproduce` trains it again")
        }
        Found::Whole(_) | Found::Absent => {
            let kept = match store.snapshots(digest)?.last() {
                Some(steps) => format!(", and its state after {steps} steps is kept"),
                None => String::new(),
            };
            let problem = format!(
                "is not trained yet in {} ({} numerics){kept}",
                store.dir().display(),
                args.which.numerics.policy.name()
            );
            Error::invalid(name, problem, trains)
        }
    })
}
