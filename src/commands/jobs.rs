//! What the commands on jobs share: which engines there are, and what they say of a plan.
//!
//! Uses the library's `cluster`; used by `status`, `submit`, `cancel` and `reproduce`.

use super::say;
use selffer::cluster::Engine;
use selffer::cluster::asked::{self, Jobs};
use selffer::cluster::local::Local;
use selffer::cluster::slurm::Slurm;
use selffer::plan::Plan;
use selffer::recipe::Policy;
use selffer::run::Runner;
use selffer::status::{Standing, Status, Watch};
use selffer::store::Store;
use selffer::text::networks;
use selffer::{Error, Result};
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The engine of that name.
pub fn engine(name: &str) -> Result<Box<dyn Engine>> {
    match name {
        "slurm" => Ok(Box::new(Slurm::find(program()?)?)),
        "local" => Ok(Box::new(Local::new(program()?))),
        _ => Err(Error::invalid(name, "is no engine", "take slurm or local")),
    }
}

/// This program, as jobs are to call it.
pub fn program() -> Result<PathBuf> {
    std::env::current_exe().map_err(Error::io("find the program in", Path::new("/proc/self/exe")))
}

/// Asks after the jobs of a plan, time and again. What is not known is said once.
pub struct Asker<'a> {
    plan: &'a Plan<'a>,
    policy: Policy,
    store: &'a Store,
    quiet: bool,
    said: HashSet<String>,
}

impl<'a> Asker<'a> {
    pub fn new(plan: &'a Plan<'a>, policy: Policy, store: &'a Store, quiet: bool) -> Self {
        Self { plan, policy, store, quiet, said: HashSet::new() }
    }

    pub fn ask(&mut self) -> Jobs {
        let jobs = asked::jobs(self.plan, self.policy, self.store.dir(), engine);
        for unknown in &jobs.unknown {
            let why = unknown.why.to_string();
            if !self.quiet && !self.said.contains(&why) {
                say(&format!("what jobs do is not known: {why}"));
                self.said.insert(why);
            }
        }
        jobs
    }
}

/// Whether a run is still to be done.
pub fn open(status: &Status, run: usize) -> bool {
    !matches!(status.standing[run], Standing::Done | Standing::Barred)
}

/// Of the runs that jobs may have of which nothing is known, those that are still to be done.
pub fn unknown_left(jobs: &Jobs, status: &Status) -> BTreeSet<usize> {
    jobs.unknown_of(|run| open(status, run))
}

/// The way out where jobs will never be heard of again.
pub const FORGET: &str = "where they are gone for good, `selffer cancel --forget` says so";

/// After how long jobs are asked again how they stand, where they are waited for; the second time after twice as long,
/// and so on, up to the longest.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const ASKS_LONGEST: u32 = 5;

/// Waits until no job has a network of the runner's plan any more that is still to be done. What no job has is left for
/// the runner, so that a network that was handed to others is not trained here as well. What is not known is waited for.
pub fn leave(runner: &Runner<'_>, quiet: bool) -> Result<()> {
    let mut asker = Asker::new(runner.plan, runner.policy, runner.store, quiet);
    let mut watch = Watch::new(runner.plan, runner.store, runner.policy);
    let (mut said, mut said_unknown) = (quiet, quiet);
    for asked in 1.. {
        let jobs = asker.ask();
        let any = !jobs.unknown.is_empty() || jobs.of.values().any(|element| element.phase.alive());
        if !any {
            return Ok(());
        }
        let status = watch.look(&jobs.of)?;
        let alive =
            jobs.of.iter().filter(|(run, element)| element.phase.alive() && open(&status, **run)).count();
        let unknown = unknown_left(&jobs, &status).len();
        if alive + unknown == 0 {
            return Ok(());
        }
        if alive > 0 && !said {
            say(&format!(
                "jobs have {}; waiting (`selffer status` shows how it stands, `selffer cancel` takes them back)",
                networks(alive)
            ));
            said = true;
        }
        if unknown > 0 && !said_unknown {
            let perhaps = networks(unknown);
            say(&format!("jobs may have {perhaps}; waiting until they can be asked ({FORGET})"));
            said_unknown = true;
        }
        let until = Instant::now() + ASK_AGAIN * ASKS_LONGEST.min(asked);
        while Instant::now() < until {
            if runner.stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    unreachable!("jobs are asked without an end")
}
