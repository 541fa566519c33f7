//! What is known of the jobs of a plan, by asking the engines that have them. What is not known is a value of its own:
//! a queue that does not answer may have any job that it was handed.
//!
//! Uses `record`, `order` and engines; used by `selffer submit`, `status`, `reproduce` and `cancel`.

use super::order::Order;
use super::record::{self, Given, Handed, Job, handed};
use super::{Element, Engine};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::recipe::Policy;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What is known of a plan's jobs.
#[derive(Debug, Default)]
pub struct Jobs {
    /// What engines say of runs, by index. Of a run that several jobs have, one that is alive counts, else the last
    /// that its engine knows, else the last that wrote a log.
    pub of: HashMap<usize, Element>,
    /// What could not be asked after.
    pub unknown: Vec<Unknown>,
}

/// Jobs that may be alive and of which nothing is known.
#[derive(Debug)]
pub struct Unknown {
    /// Why not.
    pub why: Error,
    /// The runs that they may have, by index.
    pub runs: Vec<usize>,
}

impl Jobs {
    /// Of those runs for which `open` holds, the ones that jobs may have of which nothing is known.
    pub fn unknown_of(&self, open: impl Fn(usize) -> bool) -> BTreeSet<usize> {
        self.unknown.iter().flat_map(|unknown| &unknown.runs).copied().filter(|run| open(*run)).collect()
    }
}

/// What is known of the jobs of a plan's runs.
pub fn jobs(
    plan: &Plan<'_>,
    policy: Policy,
    store: &Path,
    engine: impl Fn(&str) -> Result<Box<dyn Engine>>,
) -> Jobs {
    let mut jobs = Jobs::default();
    let handed = match handed(store) {
        Ok(handed) => handed,
        Err(why) => {
            jobs.unknown.push(Unknown { why, runs: (0..plan.runs.len()).collect() });
            return jobs;
        }
    };
    if handed.is_empty() {
        return jobs;
    }
    let ours = |order: &Order| order.is_of(plan, policy);
    let mut known = HashMap::with_capacity(plan.runs.len());
    known.extend(plan.runs.iter().enumerate().map(|(index, run)| (plan.name(run), index)));
    let indices = |names: Vec<&String>| -> Vec<usize> {
        names.into_iter().filter_map(|name| known.get(name)).copied().collect()
    };
    // An order that cannot be read may name any run.
    let runs = |order: Option<&Order>| match order {
        Some(order) => indices(order.elements.values().flatten().collect()),
        None => (0..plan.runs.len()).collect(),
    };
    let mut forgotten: BTreeMap<usize, (SystemTime, Element)> = BTreeMap::new();
    let mut by_engine: BTreeMap<String, Vec<(PathBuf, Result<Order>, Job)>> = BTreeMap::new();
    for Handed { path, order, given } in handed {
        if order.as_ref().is_ok_and(|order| !ours(order)) {
            continue;
        }
        match given {
            Ok(Given { engine, job }) => by_engine.entry(engine).or_default().push((path, order, job)),
            Err(why) => jobs.unknown.push(Unknown { why, runs: runs(order.as_ref().ok()) }),
        }
    }
    for (name, mut batches) in by_engine {
        let asked = engine(&name).and_then(|engine| {
            batches.retain(|(_, order, job)| match reachable(engine.as_ref(), job) {
                Ok(()) => true,
                Err(why) => {
                    jobs.unknown.push(Unknown { why, runs: runs(order.as_ref().ok()) });
                    false
                }
            });
            ask(engine.as_ref(), batches.iter().map(|(_, _, job)| job))
        });
        let (of, elements) = match asked {
            Ok(asked) => asked,
            Err(why) => {
                let mut all: Vec<usize> =
                    batches.iter().flat_map(|(_, order, _)| runs(order.as_ref().ok())).collect();
                all.sort_unstable();
                all.dedup();
                jobs.unknown.push(Unknown { why, runs: all });
                continue;
            }
        };
        // Jobs that live and whose orders cannot be read. One that has ended has nothing, whatever its order says.
        let mut unread: BTreeMap<PathBuf, String> = BTreeMap::new();
        let mut listed: HashSet<(String, Option<u32>)> = HashSet::new();
        for mut element in elements {
            let Some(at) = of.get(&element.job).copied() else { continue };
            listed.insert((element.job.clone(), element.index));
            let (path, order, _) = &batches[at];
            element.log = Some(path.with_file_name(match element.index {
                Some(index) => log(&element.job, index),
                None => "local.log".to_owned(),
            }));
            let Ok(order) = order else {
                if element.phase.alive() {
                    unread.insert(path.clone(), element.job);
                }
                continue;
            };
            let names = match element.index {
                Some(index) => order.elements.get(&index).into_iter().flatten().collect::<Vec<_>>(),
                None => order.elements.values().flatten().collect(),
            };
            for index in indices(names) {
                let better = |old: &Element| element.phase.alive() || !old.phase.alive();
                if jobs.of.get(&index).is_none_or(better) {
                    jobs.of.insert(index, element.clone());
                }
            }
        }
        // A queue forgets what ended some minutes ago; what it wrote is here.
        for (path, order, job) in &batches {
            let (Ok(order), Job::Known(job)) = (order, job) else { continue };
            for (index, names) in &order.elements {
                let path = path.with_file_name(log(job, *index));
                let whole = listed.contains(&(job.clone(), None));
                if whole || listed.contains(&(job.clone(), Some(*index))) {
                    continue;
                }
                let Ok(written) = path.metadata().and_then(|log| log.modified()) else { continue };
                for run in indices(names.iter().collect()) {
                    if forgotten.get(&run).is_none_or(|(before, _)| *before < written) {
                        let element = Element::forgotten(job, Some(*index), path.clone());
                        forgotten.insert(run, (written, element));
                    }
                }
            }
        }
        jobs.unknown.extend(unread.into_iter().map(|(path, job)| {
            let problem = format!("is not as `selffer submit` wrote it, and its job {job} lives");
            let mend = "take that back in its queue, then have it forgotten: `selffer cancel --forget`";
            Unknown { why: Error::invalid(path.display().to_string(), problem, mend), runs: runs(None) }
        }));
    }
    for (run, (_, element)) in forgotten {
        jobs.of.entry(run).or_insert(element);
    }
    jobs
}

/// Where an element of a job writes what it says, beside its order.
fn log(job: &str, index: u32) -> String {
    format!("{job}_{index}.log")
}

/// Whether a job can be asked after on this machine.
///
/// # Errors
/// Where another machine alone knows of it.
fn reachable(engine: &dyn Engine, job: &Job) -> Result<()> {
    let Job::Known(job) = job else { return Ok(()) };
    match engine.elsewhere(job) {
        None => Ok(()),
        Some(host) => {
            let problem = format!("is a process of {host}, and no other machine knows whether it lives");
            Err(Error::invalid(format!("job {job}"), problem, format!("ask on {host}")))
        }
    }
}

/// What an engine says of jobs: which of them each name that it knows is, and their elements.
fn ask<'a>(
    engine: &dyn Engine,
    jobs: impl Iterator<Item = &'a Job>,
) -> Result<(HashMap<String, usize>, Vec<Element>)> {
    let mut of = HashMap::new();
    for (at, job) in jobs.enumerate() {
        let job = match job {
            Job::Known(job) => Some(job.clone()),
            Job::Pending(name) => engine.find(name)?,
        };
        of.extend(job.map(|job| (job, at)));
    }
    let names: Vec<String> = of.keys().cloned().collect();
    let elements = engine.poll(&names)?;
    Ok((of, elements))
}

/// Forgets jobs that cannot be asked after: those of engines that do not answer, and those whose record or order is
/// damaged. Answers with the files of their orders. A job that lives on all the same fences its networks.
///
/// # Errors
/// Where the store cannot be read or written.
pub fn forget(
    plan: &Plan<'_>,
    policy: Policy,
    store: &Path,
    engine: impl Fn(&str) -> Result<Box<dyn Engine>>,
) -> Result<Vec<PathBuf>> {
    let mut forgotten = Vec::new();
    for Handed { path, order, given } in handed(store)? {
        if order.as_ref().is_ok_and(|order| !order.is_of(plan, policy)) {
            continue;
        }
        let answers = given.and_then(|given| {
            let engine = engine(&given.engine)?;
            reachable(engine.as_ref(), &given.job)?;
            ask(engine.as_ref(), [&given.job].into_iter())
        });
        if order.is_err() || answers.is_err() {
            record::forget(&path)?;
            forgotten.push(path);
        }
    }
    Ok(forgotten)
}

#[cfg(test)]
mod tests;
