//! `selffer bisect`: two stores, two manifests, or one of either and a run that is trained here and now.
//!
//! Uses the library's `bisect`, and `replay` for a side under another policy; used by `commands`.

use super::replay::Elsewhere;
use super::{Verdict, inputs, planned, print, say};
use crate::cli::BisectArgs;
use crate::output;
use selffer::bisect::{Here, Parting, Replayer, Side, bisect};
use selffer::digest::RecipeDigest;
use selffer::manifest::Manifest;
use selffer::numerics::Numerics;
use selffer::plan::Plan;
use selffer::run;
use selffer::split::Catalog;
use selffer::store::{Entry, Store};
use selffer::train::{Along, Torch, Trainer};
use selffer::{Error, Result};
use std::path::Path;

/// The word for a run that is trained here and now.
const LIVE: &str = "live";

/// One side as the user named it.
enum Named {
    /// A store: its records are looked up by run.
    Store(Store),
    /// One record, and the store that it lies in, if it lies in one.
    Manifest(Box<Manifest>, Option<Store>),
    /// Trained here and now.
    Live,
}

pub fn run(args: &BisectArgs) -> anyhow::Result<Verdict> {
    // Before any thread is started: it sets environment variables.
    let numerics = Numerics::engage(args.numerics.policy)?;
    let (protocol, data) = inputs(&args.protocol)?;
    let catalog = Catalog::of(&data);
    let plan = planned(&args.protocol, &protocol, &catalog)?;
    let trainer = Torch::new(numerics);
    let (left, right) = (named(&args.left)?, named(&args.right)?);
    let wanted = wanted(args, &plan, [&left, &right])?;
    let (mut compared, mut parting) = (0, None);
    for index in wanted {
        let Some(found) = one(args, &plan, index, [&left, &right], &trainer)? else { continue };
        compared += 1;
        parting = found;
        if parting.is_some() {
            break;
        }
    }
    if compared == 0 {
        let problem = format!("has no record of a run that {} has too", args.left);
        let mend = "name stores of this --protocol, or a --run that both have";
        return Err(Error::invalid(&args.right, problem, mend).into());
    }
    let result = output::Bisection { compared, parting };
    print(args.format, &result, || result.text(&plan))?;
    Ok(if result.parting.is_some() { Verdict::Findings } else { Verdict::Clean })
}

fn named(text: &str) -> Result<Named> {
    let path = Path::new(text);
    if text == LIVE {
        return Ok(Named::Live);
    }
    if !path.is_file() {
        return Store::open(path).map(Named::Store);
    }
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let manifest = Manifest::from_bytes(&bytes)
        .map_err(|why| Error::invalid(text, why.to_string(), "name a manifest of a store, or a store"))?;
    let store = path.parent().and_then(Path::parent).filter(|dir| Store::is_at(dir));
    Ok(Named::Manifest(Box::new(manifest), store.map(Store::open).transpose()?))
}

/// The runs to be looked at, by index in the plan: bases first, so that the first that parts is where it
/// began.
fn wanted(args: &BisectArgs, plan: &Plan<'_>, sides: [&Named; 2]) -> Result<Vec<usize>> {
    let of_file = sides.iter().find_map(|side| match side {
        Named::Manifest(manifest, _) => Some(manifest.run.as_str()),
        Named::Store(_) | Named::Live => None,
    });
    let Some(name) = args.run.as_deref().or(of_file) else {
        return Ok((0..plan.runs.len()).collect());
    };
    match plan.runs.iter().position(|run| plan.name(run) == name) {
        Some(index) => Ok(vec![index]),
        None => {
            let problem = format!("is no run of the protocol {}", args.protocol);
            Err(Error::invalid(name, problem, "`selffer plan` lists them; name their --protocol"))
        }
    }
}

/// Where one run parts; `Some(None)` where it does not, none where a side has no record of it.
fn one(
    args: &BisectArgs,
    plan: &Plan<'_>,
    index: usize,
    sides: [&Named; 2],
    trainer: &dyn Trainer,
) -> Result<Option<Option<Parting>>> {
    let mut records: [Option<Manifest>; 2] = [None, None];
    for (record, side) in records.iter_mut().zip(sides) {
        *record = match side {
            Named::Store(store) => record_of(store, plan, index)?,
            Named::Manifest(manifest, _) => Some((**manifest).clone()),
            Named::Live => None,
        };
    }
    let stores = sides.map(|side| match side {
        Named::Store(store) => Some(store),
        Named::Manifest(_, store) => store.as_ref(),
        Named::Live => None,
    });
    // A live run, and a manifest that lies in no store, copy from where the other side did.
    let stores = [stores[0].or(stores[1]), stores[1].or(stores[0])];
    for (at, side) in sides.into_iter().enumerate() {
        if let (Named::Live, Some(other)) = (side, &records[1 - at]) {
            records[at] = Some(live(args, plan, index, other, stores[at], trainer)?);
        }
    }
    let [Some(left), Some(right)] = &records else { return Ok(None) };
    // One process computes under one policy.
    let (here, elsewhere) = (Here(trainer), Elsewhere { protocol: &args.protocol });
    let again = |manifest: &Manifest| -> &dyn Replayer {
        if manifest.recipe.numerics == args.numerics.policy { &here } else { &elsewhere }
    };
    let side = |name, manifest, store| Side { name, manifest, store, again: again(manifest) };
    let (left, right) = (side(&args.left, left, stores[0]), side(&args.right, right, stores[1]));
    bisect(plan, index, &left, &right).map(Some)
}

/// A store's record of a run: by its name, since a store that came out otherwise has other recipes.
fn record_of(store: &Store, plan: &Plan<'_>, index: usize) -> Result<Option<Manifest>> {
    let name = plan.name(&plan.runs[index]);
    let manifests = store.list()?.0.into_iter().filter_map(|entry| match entry {
        Entry::Manifest(recipe) => Some(recipe),
        _ => None,
    });
    let whole = |recipe: RecipeDigest| store.manifest(recipe).map(|found| found.whole());
    let found: Vec<Manifest> =
        manifests.map(whole).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    let protocol = plan.protocol;
    let mut ours = found.into_iter().filter(|manifest| {
        let recipe = &manifest.recipe;
        manifest.run == name && (&recipe.network, &recipe.solver) == (&protocol.network, &protocol.solver)
    });
    match (ours.next(), ours.next()) {
        (one, None) => Ok(one),
        _ => {
            let problem = format!("has several records of {name}");
            Err(Error::invalid(store.dir().display().to_string(), problem, "name the manifest that is meant"))
        }
    }
}

/// The record of a run, trained here and now from what `other` says that it was trained from.
fn live(
    args: &BisectArgs,
    plan: &Plan<'_>,
    index: usize,
    other: &Manifest,
    store: Option<&Store>,
    trainer: &dyn Trainer,
) -> Result<Manifest> {
    let parent = match (other.recipe.parent, store) {
        (None, _) => None,
        (Some(digest), Some(store)) => store.weights(digest)?.whole(),
        (Some(_), None) => None,
    };
    if other.recipe.parent.is_some() && parent.is_none() {
        let problem = "copies from a checkpoint that is not at hand";
        return Err(Error::invalid(&other.run, problem, "name the store that it is in, or bisect its base"));
    }
    if !args.quiet {
        say(&format!("training {} here …", other.run));
    }
    let digest = parent.as_ref().map(|weights| weights.digests().whole());
    let recipe = plan.recipe(&plan.runs[index], args.numerics.policy, digest);
    let along = Along { every: other.ledger.every, ..Along::ALONE };
    Ok(run::train(plan, index, recipe, parent.as_ref(), trainer, &along)?.0)
}
