//! `selffer cancel`: takes jobs back. What they trained so far is kept.
//!
//! Uses the library's `cluster` and `status`; used by `commands`. What can be taken back is an element of a job, with
//! all the networks that it has: what is named is refused where that would take others with it, unless they are
//! wanted too.

use super::jobs::{Asker, FORGET, open, unknown_left};
use super::{Inputs, Verdict, jobs, print};
use crate::cli::CancelArgs;
use selffer::cluster::asked::{self, Jobs};
use selffer::cluster::{Element, record};
use selffer::plan::Plan;
use selffer::status::{Standing, Status, Watch};
use selffer::store::Store;
use selffer::text::{are, networks};
use selffer::whole::there;
use selffer::{Error, Result};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// How many names a message has, at the most.
const NAMED: usize = 5;

/// What was taken back.
#[derive(Serialize)]
struct Cancelled {
    /// Jobs, or elements of them.
    jobs: Vec<String>,
    /// Networks that these have and that are not done.
    networks: usize,
    /// Those of them that were not named, where some were.
    also: Vec<String>,
    /// Networks in other elements that copy from these, and so are not started.
    not_started: usize,
}

#[derive(Serialize)]
struct Forgotten {
    orders: Vec<String>,
}

pub fn run(args: &CancelArgs) -> anyhow::Result<Verdict> {
    let inputs = Inputs::read(&args.which.protocol)?;
    let plan = inputs.plan()?;
    let store = Store::open(&args.which.store)?;
    let policy = args.which.numerics.policy;
    // Where nothing was ever handed over, nobody hands over at the same time.
    let _submitting = there(&record::dir(store.dir()))?.map(|_| record::begin(&store)).transpose()?;
    if args.forget {
        let orders = asked::forget(&plan, policy, store.dir(), jobs::engine)?;
        let result = Forgotten { orders: orders.iter().map(|order| order.display().to_string()).collect() };
        print(args.format, &result, || forgotten(&result))?;
        return Ok(Verdict::Clean);
    }
    let known = Asker::new(&plan, policy, &store, false).ask();
    let status = Watch::new(&plan, &store, policy).look(&known.of)?;
    let of = chosen(args, &plan, &known, &status)?;
    let taken: BTreeSet<usize> = of.values().flatten().copied().collect();
    cancel(&known, of.keys().cloned().collect())?;
    let queued = |index: &usize| matches!(status.standing[*index], Standing::Queued(_));
    let copies = |index: &usize| plan.runs[*index].parent.is_some_and(|base| taken.contains(&base));
    let name = |index: &usize| plan.name(&plan.runs[*index]);
    let result = Cancelled {
        jobs: of.into_keys().collect(),
        networks: taken.len(),
        also: match args.runs.is_empty() {
            true => Vec::new(),
            false => taken.iter().map(name).filter(|name| !args.runs.contains(name)).collect(),
        },
        not_started: known.of.keys().filter(|run| queued(run) && copies(run) && !taken.contains(run)).count(),
    };
    print(args.format, &result, || result.text())?;
    // After what could be done: the rest is not known to be cancelled.
    let left = unknown_left(&known, &status).len();
    match left > 0 && args.runs.is_empty() {
        true => {
            let problem =
                format!("{} may be in jobs that could not be asked after, nor cancelled", networks(left));
            Err(Error::at(store.dir(), problem, FORGET).into())
        }
        false => Ok(Verdict::Clean),
    }
}

/// What is to be cancelled, jobs or elements of them, each with its networks that are not done.
fn chosen(
    args: &CancelArgs,
    plan: &Plan<'_>,
    known: &Jobs,
    status: &Status,
) -> Result<BTreeMap<String, BTreeSet<usize>>> {
    let open = |index: usize| open(status, index);
    let alive = || known.of.iter().filter(|(_, element)| element.phase.alive());
    let mut of: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    if args.runs.is_empty() {
        // Everything: whole jobs, with as few words as can be, those too whose runs another job has as well.
        of.extend(known.alive.iter().map(|job| (job.clone(), BTreeSet::new())));
        for (index, element) in alive() {
            let networks = of.entry(element.job.clone()).or_default();
            networks.extend(open(*index).then_some(*index));
        }
        return Ok(of);
    }
    let unknown = unknown_left(known, status);
    let mut named: BTreeMap<String, (&str, &Element)> = BTreeMap::new();
    for name in &args.runs {
        let found = alive().find(|(index, _)| plan.name(&plan.runs[**index]) == *name);
        let mend = "`selffer status` says who has it; leave out the names to cancel all";
        match found {
            Some((index, element)) if open(*index) => named.insert(element.name(), (name.as_str(), element)),
            Some(_) => return Err(Error::invalid(name, "is done", mend)),
            None if unknown.iter().any(|index| plan.name(&plan.runs[*index]) == *name) => {
                let problem = "whether a job has it is not known, since its queue cannot be asked";
                let mend = format!("try again when it can; {FORGET}");
                return Err(Error::invalid(name, problem, mend));
            }
            None => return Err(Error::invalid(name, "no job has it", mend)),
        };
    }
    for (element, (name, _)) in &named {
        let networks: BTreeSet<usize> = alive()
            .filter(|(index, other)| other.name() == *element && open(**index))
            .map(|(index, _)| *index)
            .collect();
        let names = networks.iter().map(|index| plan.name(&plan.runs[*index]));
        let others: Vec<String> = names.filter(|other| !args.runs.contains(other)).collect();
        if !others.is_empty() && !args.together {
            let count = others.len();
            let problem = format!(
                "job {element} has it together with {count} more that would stop as well: {}",
                listed(&others)
            );
            return Err(Error::invalid(
                *name,
                problem,
                "name those too, or cancel all that it has with --together",
            ));
        }
        of.insert(element.clone(), networks);
    }
    Ok(of)
}

/// Has the engines take back these jobs or elements.
fn cancel(known: &Jobs, jobs: Vec<String>) -> Result<()> {
    let mut by_engine: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for job in jobs {
        let whole = job.split('_').next().unwrap_or(&job);
        // A machine's name may have anything in it.
        let engine = known.engines.get(&job).or_else(|| known.engines.get(whole));
        let engine = engine.expect("each job is of an engine that was asked").as_str();
        by_engine.entry(engine).or_default().push(job);
    }
    for (engine, mut jobs) in by_engine {
        // What depends on others first: else it may start in between. It was handed over later.
        jobs.sort_by_key(|job| std::cmp::Reverse((job.len(), job.clone())));
        super::jobs::engine(engine)?.cancel(&jobs)?;
    }
    Ok(())
}

/// Some names, and how many more there are.
fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

impl Cancelled {
    fn text(&self) -> String {
        if self.jobs.is_empty() {
            return "no job of this protocol is alive\n".to_owned();
        }
        let mut text = format!(
            "cancelled {} with {}; what they trained so far is kept\n",
            self.jobs.join(", "),
            networks(self.networks)
        );
        if !self.also.is_empty() {
            let _ = writeln!(text, "not named, in the same elements: {}", listed(&self.also));
        }
        if self.not_started > 0 {
            let _ = writeln!(
                text,
                "{} that were to copy from them {} not started; `selffer submit` hands all over again",
                networks(self.not_started),
                are(self.not_started)
            );
        }
        text
    }
}

fn forgotten(result: &Forgotten) -> String {
    match result.orders.len() {
        0 => "all jobs can be asked after; nothing was forgotten\n".to_owned(),
        1 => format!("forgot the jobs of {}\n", result.orders[0]),
        count => format!("forgot the jobs of {count} orders: {}\n", listed(&result.orders)),
    }
}
