//! What the commands on jobs share: which engines there are, and what they say of a plan.
//!
//! Uses the library's `cluster`; used by `status`, `submit`, `cancel` and `reproduce`.

use super::say;
use selffer::cluster::local::Local;
use selffer::cluster::slurm::Slurm;
use selffer::cluster::{Element, Engine, record};
use selffer::plan::Plan;
use selffer::recipe::Policy;
use selffer::run::Runner;
use selffer::store::Store;
use selffer::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

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

/// What the jobs of a store say of a plan's runs. Where an engine cannot be asked, that is said and the store
/// alone counts.
pub fn of(plan: &Plan<'_>, policy: Policy, store: &Store, quiet: bool) -> HashMap<usize, Element> {
    record::jobs(plan, policy, store.dir(), engine).unwrap_or_else(|error| {
        if !quiet {
            say(&format!("what jobs do is not known: {error}"));
        }
        HashMap::new()
    })
}

/// How often jobs are asked how they stand, where they are waited for.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Waits until no job has a network of the runner's plan any more. What no job has is left for the runner, so
/// that a network that was handed to others is not trained here as well.
pub fn leave(runner: &Runner<'_>, quiet: bool) -> Result<()> {
    let mut said = false;
    loop {
        let elsewhere = of(runner.plan, runner.policy, runner.store, quiet);
        let alive = elsewhere.values().filter(|element| element.phase.alive()).count();
        if alive == 0 {
            return Ok(());
        }
        if !said && !quiet {
            say(&format!(
                "jobs have {alive} networks; waiting for them (`selffer status` shows how they stand, `selffer \
                 cancel` takes them back)"
            ));
        }
        said = true;
        for _ in 0..ASK_AGAIN.as_secs() * 5 {
            if runner.stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
