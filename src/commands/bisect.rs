//! `selffer bisect`: two stores, two manifests, or one of either and a run that is trained here and now.
//!
//! Uses the library's `bisect`, and `replay` for a side under another policy; used by `commands`.

use super::records::{Records, acquaint, one_policy};
use super::replay::Elsewhere;
use super::show::unknown;
use super::{Inputs, Verdict, print, say, stop_when_told};
use crate::cli::BisectArgs;
use crate::output;
use selffer::bisect::{Here, Parting, Replayer, Side, bisect, of_plan};
use selffer::manifest::Manifest;
use selffer::plan::Plan;
use selffer::protocol::Protocol;
use selffer::recipe::Policy;
use selffer::run;
use selffer::store::{Entry, Store};
use selffer::train::{Along, Next, Torch};
use selffer::whole::there;
use selffer::{Error, Result};
use std::path::Path;
use std::sync::atomic::Ordering;

/// The word for a run that is trained here and now.
const LIVE: &str = "live";

/// Why a side has no record of a run.
const NO_RECORD: &str = "has no record of it";
const NO_BASE: &str = "has no checkpoint to copy from: it is not in the other side's store";

/// One side as the user named it.
enum Named {
    /// A store, and its records, which are looked up by run.
    Store(Store, Records),
    /// One record, and the store that it lies in, if it lies in one.
    Manifest(Box<Manifest>, Option<Store>),
    /// Trained here and now.
    Live,
}

impl Named {
    fn store(&self) -> Option<&Store> {
        match self {
            Self::Store(store, _) => Some(store),
            Self::Manifest(_, store) => store.as_ref(),
            Self::Live => None,
        }
    }

    /// The file of one of its records, where it is called so.
    fn file(&self, manifest: &Manifest, name: &str) -> String {
        match self {
            Self::Store(store, _) => file_of(store, manifest),
            Self::Manifest(..) | Self::Live => name.to_owned(),
        }
    }
}

pub fn run(mut args: BisectArgs) -> anyhow::Result<Verdict> {
    let (left, right) = (named(&args.left)?, named(&args.right)?);
    if let (Named::Live, Named::Live) = (&left, &right) {
        let mend = "name a store or a manifest for one of them";
        return Err(Error::invalid(LIVE, "is one side alone", mend).into());
    }
    if let Some(policy) = theirs(&args, &Protocol::named(&args.protocol)?, [&left, &right]) {
        args.numerics.policy = policy;
    }
    let args = &args;
    // Before any thread is started: it sets environment variables.
    let numerics = args.numerics.engage(args.output.quiet)?;
    let inputs = Inputs::read(&args.protocol)?;
    let plan = inputs.plan()?;
    let trainer = Torch::new(numerics);
    let wanted = wanted(args, &plan, [&left, &right])?;
    let stop = stop_when_told()?;
    let here = Here { trainer: &trainer, stop: &stop };
    let elsewhere = Elsewhere { protocol: &args.protocol, numerics, stop: &stop };
    let (mut compared, mut parting, mut missing) = (0, None, Vec::new());
    for index in wanted {
        match one(args, &plan, index, [&left, &right], &here, &elsewhere)? {
            One::Neither => {}
            One::Missing(side, why) => {
                missing.push(output::Missing { run: plan.name(&plan.runs[index]), side, why });
            }
            One::Compared(found) => {
                compared += 1;
                parting = found.map(|found| *found);
            }
        }
        if parting.is_some() {
            break;
        }
    }
    if let (0, Some(one)) = (compared, missing.iter().find(|one| one.why == NO_BASE)) {
        let problem = "copies from a checkpoint that is not at hand";
        return Err(
            Error::invalid(&one.run, problem, "name the store that it is in, or bisect its base").into()
        );
    }
    if compared == 0 {
        for store in [&left, &right].into_iter().filter_map(Named::store) {
            acquaint(store, &plan, args.numerics.policy, true)?;
        }
        let problem = format!("has no record of a run that {} has too", args.left);
        let mend = "name stores of this --protocol, or a --run that both have";
        return Err(Error::invalid(&args.right, problem, mend).into());
    }
    let result = output::Bisection { compared, missing, parting };
    print(args.output.format, &result, || result.text(&plan))?;
    let same = result.parting.is_none() && result.missing.is_empty();
    Ok(if same { Verdict::Clean } else { Verdict::Findings })
}

fn named(text: &str) -> Result<Named> {
    let path = Path::new(text);
    if text == LIVE {
        return Ok(Named::Live);
    }
    if !there(path)?.is_some_and(|found| found.is_file()) {
        let store = Store::open(path)?;
        let records = Records::of(&store)?;
        return Ok(Named::Store(store, records));
    }
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let manifest = Manifest::from_bytes(&bytes)
        .map_err(|why| Error::invalid(text, why.to_string(), "name a manifest of a store, or a store"))?;
    let store = match path.parent().and_then(Path::parent) {
        Some(dir) if Store::is_at(dir)? => Some(Store::open(dir)?),
        _ => None,
    };
    Ok(Named::Manifest(Box::new(manifest), store))
}

/// The policy of all the protocol's records that `live` is held against, where they have one and the command line names
/// no other.
fn theirs(args: &BisectArgs, protocol: &Protocol, sides: [&Named; 2]) -> Option<Policy> {
    let records = match sides {
        [Named::Live, other] | [other, Named::Live] => match other {
            Named::Store(_, records) => records.whole.as_slice(),
            Named::Manifest(manifest, _) => std::slice::from_ref(&**manifest),
            Named::Live => return None,
        },
        _ => return None,
    };
    let of_run = |manifest: &&Manifest| args.run.as_ref().is_none_or(|run| *run == manifest.run);
    one_policy(records.iter().filter(of_run), protocol).filter(|theirs| args.numerics.may_be(*theirs))
}

/// The runs to be looked at, by index in the plan: bases first, so that the first that parts is where it
/// began.
fn wanted(args: &BisectArgs, plan: &Plan<'_>, sides: [&Named; 2]) -> Result<Vec<usize>> {
    let of_file = sides.iter().find_map(|side| match side {
        Named::Manifest(manifest, _) => Some(manifest.run.as_str()),
        Named::Store(..) | Named::Live => None,
    });
    let Some(name) = args.run.as_deref().or(of_file) else {
        // Better known before networks are trained than after.
        for side in sides {
            if let Named::Store(_, records) = side {
                records.sound()?;
            }
        }
        return Ok((0..plan.runs.len()).collect());
    };
    match plan.find(name) {
        Some(index) => Ok(vec![index]),
        None => Err(unknown(name, &args.protocol, plan)),
    }
}

/// What became of a look at one run.
enum One {
    /// No side has a record of it.
    Neither,
    /// The side of that name has none, and why; the other has one.
    Missing(String, &'static str),
    /// Where it parts, if it does.
    Compared(Option<Box<Parting>>),
}

fn one(
    args: &BisectArgs,
    plan: &Plan<'_>,
    index: usize,
    sides: [&Named; 2],
    here: &Here<'_>,
    elsewhere: &Elsewhere<'_>,
) -> Result<One> {
    let stores = sides.map(Named::store);
    let names = [&args.left, &args.right];
    let mut records = [None, None];
    for (record, side) in records.iter_mut().zip(sides) {
        *record = match side {
            Named::Store(store, records) => record_of(args, store, records, plan, index)?,
            Named::Manifest(manifest, _) => Some((**manifest).clone()),
            Named::Live => None,
        };
    }
    for (at, side) in sides.into_iter().enumerate() {
        if let (Named::Live, Some(other)) = (side, &records[1 - at]) {
            trainable(plan, index, &sides[1 - at].file(other, names[1 - at]), other)?;
            match live(args, plan, index, other, stores[1 - at], here)? {
                Some(record) => records[at] = Some(record),
                None => return Ok(One::Missing(LIVE.to_owned(), NO_BASE)),
            }
        }
    }
    let [left, right] = match &records {
        [Some(left), Some(right)] => [left, right],
        [None, Some(_)] => return Ok(One::Missing(names[0].clone(), NO_RECORD)),
        [Some(_), None] => return Ok(One::Missing(names[1].clone(), NO_RECORD)),
        [None, None] => {
            // What is live would be trained, if the other side said from what.
            let other = [1, 0].into_iter().find(|other| matches!(sides[1 - other], Named::Live));
            return Ok(other.map_or(One::Neither, |other| One::Missing(names[other].clone(), NO_RECORD)));
        }
    };
    let side = |at: usize, manifest| {
        let manifest: &Manifest = manifest;
        // One process computes under one policy.
        let ours = manifest.recipe.numerics == args.numerics.policy;
        let again: &dyn Replayer = if ours { here } else { elsewhere };
        // A live run, and a manifest that lies in no store, copy from where the other side did.
        Side { name: names[at], manifest, store: stores[at], bases: stores[1 - at], again }
    };
    Ok(One::Compared(bisect(plan, index, &side(0, left), &side(1, right))?.map(Box::new)))
}

/// The file of a store's record.
fn file_of(store: &Store, manifest: &Manifest) -> String {
    store.path(&Entry::Manifest(manifest.recipe_digest())).display().to_string()
}

/// A store's record of a run: by its name, since a store that came out otherwise has other recipes. Of several,
/// that of the policy, data and split at hand.
fn record_of(
    args: &BisectArgs,
    store: &Store,
    records: &Records,
    plan: &Plan<'_>,
    index: usize,
) -> Result<Option<Manifest>> {
    let name = plan.name(&plan.runs[index]);
    let ours = |manifest: &&Manifest| manifest.run == name && manifest.recipe.is_of(plan.protocol);
    let mut found: Vec<&Manifest> = records.whole.iter().filter(ours).collect();
    if found.is_empty() {
        records.sound()?;
    }
    let split = plan.splits[plan.runs[index].split].1;
    let at_hand: [&dyn Fn(&Manifest) -> bool; 2] =
        [&|manifest| manifest.recipe.numerics == args.numerics.policy, &|manifest| {
            (manifest.recipe.data, manifest.recipe.split) == (plan.catalog.digest, split)
        }];
    for fits in at_hand {
        if found.len() > 1 && found.iter().any(|manifest| fits(manifest)) {
            found.retain(|manifest| fits(manifest));
        }
    }
    if found.len() > 1 {
        let file = |manifest: &&Manifest| file_of(store, manifest);
        let files = found.iter().map(file).collect::<Vec<_>>().join(" and ");
        let problem = format!("has several records of {name}: {files}");
        return Err(Error::at(store.dir(), problem, "name the file that is meant"));
    }
    // The one that is wanted may be the one that is damaged.
    if found.first().is_some_and(|manifest| manifest.recipe.numerics != args.numerics.policy) {
        records.sound()?;
    }
    Ok(found.pop().cloned())
}

/// Refuses a record, by its file, of which it is known before training that what is trained here is something else.
fn trainable(plan: &Plan<'_>, index: usize, file: &str, other: &Manifest) -> Result<()> {
    of_plan(plan, index, file, other)?;
    let here = (plan.catalog.digest, plan.splits[plan.runs[index].split].1);
    if (other.recipe.data, other.recipe.split) != here {
        let protocol = &plan.protocol.name;
        let problem =
            format!("was trained on other images or another split than the protocol {protocol} has here");
        return Err(Error::invalid(file, problem, "name its --protocol, with its images"));
    }
    Ok(())
}

/// The record of a run, trained here and now from what `other` says that it was trained from; none where that is not there.
fn live(
    args: &BisectArgs,
    plan: &Plan<'_>,
    index: usize,
    other: &Manifest,
    store: Option<&Store>,
    here: &Here<'_>,
) -> Result<Option<Manifest>> {
    let parent = match (other.recipe.parent, store) {
        (None, _) => None,
        (Some(digest), Some(store)) => store.weights(digest)?.whole(),
        (Some(_), None) => None,
    };
    if other.recipe.parent.is_some() && parent.is_none() {
        return Ok(None);
    }
    if let (Some(weights), Some(base)) = (&parent, plan.runs[index].parent)
        && !weights.are_of(&plan.shapes(&plan.runs[base]))
    {
        let problem = "copies from a checkpoint of another network than its base network is";
        return Err(Error::invalid(&other.run, problem, "name a record that training wrote"));
    }
    if !args.output.quiet {
        say(&format!("training {} here under {} numerics …", other.run, args.numerics.policy.name()));
    }
    let digest = parent.as_ref().map(|weights| weights.digests().whole());
    let recipe = plan.recipe(&plan.runs[index], args.numerics.policy, digest);
    let watch = |_, _| if here.stop.load(Ordering::Relaxed) { Next::Stop } else { Next::Go };
    let along = Along { every: other.ledger.every, watch: &watch, ..Along::ALONE };
    match run::train(plan, index, recipe, parent.as_ref(), here.trainer, &along) {
        // Nothing of it is kept.
        Err(Error::Interrupted) => Err(Error::Stopped),
        trained => Ok(Some(trained?.0)),
    }
}
