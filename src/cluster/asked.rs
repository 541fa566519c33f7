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
    /// Jobs of which an element is alive.
    pub alive: BTreeSet<String>,
    /// What could not be asked after.
    pub unknown: Vec<Unknown>,
    /// The engine of each job that was found.
    pub engines: HashMap<String, String>,
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
    let mut asking = Asking::default();
    let handed = match handed(store) {
        Ok(handed) => handed,
        Err(why) => {
            asking.jobs.unknown.push(Unknown { why, runs: (0..plan.runs.len()).collect() });
            return asking.jobs;
        }
    };
    if handed.is_empty() {
        return asking.jobs;
    }
    asking.named = plan.by_name();
    let mut by_engine: BTreeMap<String, Vec<Batch>> = BTreeMap::new();
    for Handed { path, order, given } in handed {
        if order.as_ref().is_ok_and(|order| !order.is_of(plan, policy)) {
            continue;
        }
        match given {
            Ok(Given { engine, job }) => {
                by_engine.entry(engine).or_default().push(Batch { path, order, job })
            }
            Err(why) => asking.unknown(why, &[order]),
        }
    }
    for (name, batches) in by_engine {
        asking.engine(&name, engine(&name), batches);
    }
    for (run, (_, element)) in asking.forgotten {
        asking.jobs.of.entry(run).or_insert(element);
    }
    asking.jobs
}

/// A batch that an engine has.
struct Batch {
    path: PathBuf,
    order: Result<Order>,
    job: Job,
}

/// Jobs, as they are asked after.
#[derive(Default)]
struct Asking {
    jobs: Jobs,
    // The plan's runs by name.
    named: HashMap<String, usize>,
    // Elements that their engines do not list any more, by run, and when their logs were last written.
    forgotten: BTreeMap<usize, (SystemTime, Element)>,
}

impl Asking {
    fn indices<'n>(&self, names: impl IntoIterator<Item = &'n String>) -> Vec<usize> {
        names.into_iter().filter_map(|name| self.named.get(name)).copied().collect()
    }

    /// Notes that the jobs of those orders may be alive. An order that cannot be read may name any run.
    fn unknown<'o>(&mut self, why: Error, orders: impl IntoIterator<Item = &'o Result<Order>>) {
        let runs = |order: &Result<Order>| match order {
            Ok(order) => self.indices(order.elements.values().flatten()),
            Err(_) => self.named.values().copied().collect(),
        };
        let runs: BTreeSet<usize> = orders.into_iter().flat_map(runs).collect();
        self.jobs.unknown.push(Unknown { why, runs: runs.into_iter().collect() });
    }

    /// Asks the engine of that name after the batches that it has.
    fn engine(&mut self, name: &str, engine: Result<Box<dyn Engine>>, mut batches: Vec<Batch>) {
        let asked = engine.and_then(|engine| {
            batches.retain(|batch| match reachable(engine.as_ref(), &batch.job) {
                Ok(()) => true,
                Err(why) => {
                    self.unknown(why, [&batch.order]);
                    false
                }
            });
            ask(engine.as_ref(), batches.iter().map(|batch| (batch.path.as_path(), &batch.job)))
        });
        let (of, elements) = match asked {
            Ok(asked) => asked,
            Err(why) => return self.unknown(why, batches.iter().map(|batch| &batch.order)),
        };
        let mut listed: HashSet<(String, Option<u32>)> = HashSet::new();
        // One for each batch whose order cannot be read.
        let mut unread: BTreeMap<&Path, (String, &Batch)> = BTreeMap::new();
        self.jobs.engines.extend(of.keys().map(|job| (job.clone(), name.to_owned())));
        for element in elements {
            let Some(batch) = of.get(&element.job).map(|at| &batches[*at]) else { continue };
            listed.insert((element.job.clone(), element.index));
            match &batch.order {
                Ok(order) => self.listed(&batch.path, order, element),
                // One that has ended has nothing, whatever its order says.
                Err(_) if !element.phase.alive() => {}
                Err(_) => _ = unread.insert(&batch.path, (element.job, batch)),
            }
        }
        for batch in &batches {
            if let (Ok(order), Job::Known(job)) = (&batch.order, &batch.job) {
                self.unlisted(&batch.path, order, job, &listed);
            }
        }
        for (path, (job, batch)) in unread {
            let problem = format!("is not as `selffer submit` wrote it, and its job {job} lives");
            let mend = "take that back in its queue, then have it forgotten: `selffer cancel --forget`";
            self.unknown(Error::at(path, problem, mend), [&batch.order]);
        }
    }

    /// Takes up what an engine says of an element.
    fn listed(&mut self, path: &Path, order: &Order, mut element: Element) {
        let (name, names) = match element.index {
            Some(index) => {
                (log(&element.job, index), order.elements.get(&index).into_iter().flatten().collect())
            }
            None => ("local.log".to_owned(), order.elements.values().flatten().collect::<Vec<_>>()),
        };
        element.log = Some(path.with_file_name(name));
        if element.phase.alive() {
            self.jobs.alive.insert(element.job.clone());
        }
        for index in self.indices(names) {
            let better = |old: &Element| element.phase.alive() || !old.phase.alive();
            if self.jobs.of.get(&index).is_none_or(better) {
                self.jobs.of.insert(index, element.clone());
            }
        }
    }

    /// Takes up what elements wrote that are not listed: a queue forgets what ended some minutes ago.
    fn unlisted(&mut self, path: &Path, order: &Order, job: &str, listed: &HashSet<(String, Option<u32>)>) {
        let is_listed = |index| listed.contains(&(job.to_owned(), index));
        if is_listed(None) {
            return;
        }
        for (index, names) in order.elements.iter().filter(|(index, _)| !is_listed(Some(**index))) {
            let path = path.with_file_name(log(job, *index));
            let Ok(written) = path.metadata().and_then(|log| log.modified()) else { continue };
            for run in self.indices(names) {
                if self.forgotten.get(&run).is_none_or(|(before, _)| *before < written) {
                    let element = Element::forgotten(job, Some(*index), path.clone());
                    self.forgotten.insert(run, (written, element));
                }
            }
        }
    }
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

/// What an engine says of jobs, each with the file of its order: which of them each name that it knows is, and their elements.
fn ask<'a>(
    engine: &dyn Engine,
    jobs: impl Iterator<Item = (&'a Path, &'a Job)>,
) -> Result<(HashMap<String, usize>, Vec<Element>)> {
    let mut of = HashMap::new();
    for (at, (order, job)) in jobs.enumerate() {
        let job = match job {
            Job::Known(job) => Some(job.clone()),
            Job::Pending(name) => engine.find(name, order)?,
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
            ask(engine.as_ref(), [(path.as_path(), &given.job)].into_iter())
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
