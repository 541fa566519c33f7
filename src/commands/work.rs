//! `selffer work`: what a job runs. It takes its networks from a work order, trains them, and ends.
//!
//! Uses the library's `run`, which is what `reproduce` uses; used by `commands`. On SIGUSR1, which a job gets
//! ahead of its time limit, it keeps its state and has the job started again; on SIGTERM it keeps its state
//! and ends.

use super::{Verdict, planned, say, stop_on_signals};
use crate::cli::WorkArgs;
use crate::progress::Progress;
use anyhow::Context as _;
use selffer::claim::Holder;
use selffer::cluster::order::Order;
use selffer::cluster::slurm::requeue;
use selffer::data::Dataset;
use selffer::numerics::Numerics;
use selffer::run::{Done, Every, Observer, Runner, Snapshots};
use selffer::split::Catalog;
use selffer::store::Store;
use selffer::train::Torch;
use selffer::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub fn run(args: &WorkArgs) -> anyhow::Result<Verdict> {
    let order = Order::read(&args.plan)?;
    // Before any thread is started: it sets environment variables.
    let numerics = Numerics::engage(order.numerics)?;
    let protocol = order.protocol()?;
    let data = Dataset::read(&protocol.data)?;
    let catalog = Catalog::of(&data);
    let plan = planned(&order.origin, &protocol, &catalog)?;
    let runs = order.runs(&plan, args.index)?;
    let store = Store::create(store_of(&args.plan)?)?;
    let stop = stop_on_signals()?;
    let time_is_up = Arc::new(AtomicBool::new(false));
    // One whose terminal is closed goes on.
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::default())
        .and_then(|_| signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&time_is_up)))
        .and_then(|_| signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&stop)))
        .context("cannot listen for signals")?;
    let diary = Diary { shown: Progress::new(&plan, &runs, false), begun: 0.into(), moved: 0.into() };
    let every = crate::cli::every(&order.snapshot_every)
        .map_err(|mend| Error::invalid("snapshot_every", order.snapshot_every.clone(), mend))?;
    let memory = numerics.memory_at_hand();
    let runner = Runner {
        plan: &plan,
        store: &store,
        trainer: &Torch::new(numerics),
        policy: order.numerics,
        jobs: side_by_side(&order, &plan, &runs, memory),
        memory,
        snapshots: Snapshots { every, keep: false },
        only: Some(&runs),
        stop: &stop,
        observer: &diary,
    };
    match runner.run() {
        Ok(done) => {
            diary.shown.finish();
            let trained =
                |index: &usize| done[*index].as_ref().is_some_and(|done| done.manifest.trained().is_some());
            // That a network diverged is said with the exit code, so that nothing that copies from it starts.
            Ok(if runs.iter().all(trained) { Verdict::Clean } else { Verdict::Findings })
        }
        Err(Error::Interrupted) if time_is_up.load(Ordering::Relaxed) => again(&diary, every),
        Err(error) => Err(error.into()),
    }
}

/// Has the job started again, now that its state is kept.
fn again(diary: &Diary<'_>, every: Every) -> anyhow::Result<Verdict> {
    let job = std::env::var("SLURM_JOB_ID").ok();
    let Some(job) = job else { return Err(Error::Interrupted.into()) };
    let begun = diary.begun.load(Ordering::Relaxed) > 0;
    if every == Every::Never || (begun && diary.moved.load(Ordering::Relaxed) == 0) {
        let problem = "was over before one step was done, so starting again would come to the same";
        return Err(
            Error::invalid("the job's time limit", problem, "submit again with a longer --time").into()
        );
    }
    let name = Holder::here().job.map_or_else(|| job.clone(), |job| job.id);
    say(&format!("the time limit is near; the state is kept, and job {name} is started again"));
    // Not by SLURM_JOB_ID: one element of an array has the array's own, which names all of them.
    requeue(&name)?;
    Err(Error::Interrupted.into())
}

/// The store that an order lies in.
fn store_of(plan: &Path) -> Result<&Path> {
    let store = plan.parent().and_then(Path::parent).and_then(Path::parent);
    store.filter(|store| Store::is_at(store)).ok_or_else(|| {
        let mend = "name a plan.json that `selffer submit` wrote, where it wrote it";
        Error::invalid(plan.display().to_string(), "does not lie in a store", mend)
    })
}

/// How many networks are trained at once: all that the job has on an accelerator, as many as there are cores
/// without one, and no more than the memory holds.
fn side_by_side(order: &Order, plan: &selffer::plan::Plan<'_>, runs: &[usize], memory: u64) -> usize {
    let accelerator = std::env::var("CUDA_VISIBLE_DEVICES").is_ok_and(|devices| !devices.is_empty());
    let most = match order.jobs {
        Some(jobs) => usize::from(jobs),
        None if accelerator => runs.len(),
        None => super::jobs(None),
    };
    let largest = runs.iter().map(|run| plan.cost(&plan.runs[*run]).memory).max().unwrap_or(0);
    let fit = usize::try_from(memory / largest.max(1)).unwrap_or(usize::MAX);
    most.min(runs.len()).min(fit).max(1)
}

/// Shows progress, and knows whether any was made.
struct Diary<'a> {
    shown: Progress<'a>,
    begun: AtomicUsize,
    moved: AtomicUsize,
}

impl Observer for Diary<'_> {
    fn started(&self, run: usize) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.shown.started(run);
    }
    fn advanced(&self, run: usize, images: u64) {
        self.moved.fetch_add(1, Ordering::Relaxed);
        self.shown.advanced(run, images);
    }
    fn finished(&self, run: usize, done: &Done) {
        self.shown.finished(run, done);
    }
    fn barred(&self, run: usize) {
        self.shown.barred(run);
    }
}
