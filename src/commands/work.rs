//! `selffer work`: what a job runs. It takes its networks from a work order, trains them, and ends.
//!
//! Uses the library's `run`, which is what `reproduce` uses; used by `commands`. On SIGUSR1, which a job gets
//! ahead of its time limit, it keeps its state and has the job started again; on SIGTERM it keeps its state
//! and ends.

use super::{Inputs, Verdict, say, stop_on_signals};
use crate::cli::WorkArgs;
use crate::progress::Progress;
use anyhow::Context as _;
use selffer::claim::{Claim, Holder, Stage};
use selffer::cluster::order::Order;
use selffer::cluster::slurm::requeue;
use selffer::numerics::Numerics;
use selffer::plan::Plan;
use selffer::recipe::Policy;
use selffer::run::{Runner, Snapshots};
use selffer::store::Store;
use selffer::train::Torch;
use selffer::{Error, Result};
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub fn run(args: &WorkArgs) -> anyhow::Result<Verdict> {
    // First of all: a warning ends who does not listen.
    let signals = Signals::listen()?;
    // An order's directory and its store are known by its path alone.
    let path = std::path::absolute(&args.plan).map_err(Error::io("find", &args.plan))?;
    let order = Order::read(&path)?;
    // Before any thread is started: it sets environment variables.
    let numerics = Numerics::engage_on(order.numerics, order.gpu.unwrap_or(0))?;
    signals.note_the_time()?;
    let inputs = Inputs::of(&order.origin, order.protocol()?)?;
    order.check_images(inputs.catalog.digest)?;
    let plan = inputs.plan()?;
    let runs = order.runs(&plan, args.index)?;
    let store = Store::create(store_of(&path)?)?;
    let progress = Progress::new(&plan, &runs, false);
    let every = crate::cli::every(&order.snapshot_every)
        .map_err(|mend| Error::invalid("snapshot_every", order.snapshot_every.clone(), mend))?;
    let memory = numerics.memory_at_hand();
    let takes: Vec<u64> = runs.iter().map(|run| plan.cost(&plan.runs[*run]).memory).collect();
    let runner = Runner {
        plan: &plan,
        store: &store,
        trainer: &Torch::new(numerics),
        policy: order.numerics,
        jobs: side_by_side(order.jobs, order.numerics, &takes, memory),
        memory,
        snapshots: Snapshots { every, keep: false },
        only: Some(&runs),
        stop: &signals.stop,
        observer: &progress,
    };
    let done = runner.run();
    progress.finish();
    match done {
        Ok(done) => {
            let trained =
                |index: &usize| done[*index].as_ref().is_some_and(|done| done.manifest.trained().is_some());
            Ok(ended(runs.iter().map(trained)))
        }
        Err(Error::Interrupted) if signals.time_is_up.load(Ordering::Relaxed) => {
            let mut moved = false;
            for run in &runs {
                moved |= went_on(&claims(&plan, &store, order.numerics, *run)?, &Holder::here());
            }
            again(moved, &signals, Duration::from_secs(args.warn_seconds.into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// How an element ends, by whether each of its networks has weights. Where none has, nothing that copies from them is
/// to start, and the exit code is what an engine goes by. Where one has, what copies from it is to start; what copies
/// from another finds that there is nothing to copy.
fn ended(mut trained: impl Iterator<Item = bool>) -> Verdict {
    match trained.any(|trained| trained) {
        true => Verdict::Clean,
        false => Verdict::Findings,
    }
}

/// What a job hears.
struct Signals {
    /// It is to keep its state and stop.
    stop: Arc<AtomicBool>,
    /// That is because its time limit is near.
    time_is_up: Arc<AtomicBool>,
    /// When it heard of its time limit.
    warned: Arc<OnceLock<Instant>>,
    /// What it hears that by.
    hears: UnixStream,
    /// It is to end, and not to begin again.
    end: Arc<AtomicBool>,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let (stop, end) = (stop_on_signals()?, Arc::default());
        let time_is_up: Arc<AtomicBool> = Arc::default();
        let warned: Arc<OnceLock<Instant>> = Arc::default();
        let (hears, says) = UnixStream::pair().context("cannot listen for signals")?;
        // One whose terminal is closed goes on: of that only who asks hears while a command listens.
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&time_is_up))
            .and_then(|_| signal_hook::low_level::pipe::register(signal_hook::consts::SIGUSR1, says))
            .and_then(|_| signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&end)))
            .and_then(|_| signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&stop)))
            .context("cannot listen for signals")?;
        // A warning that came between two of these lines was heard by the first of them alone.
        if time_is_up.load(Ordering::Relaxed) {
            stop.store(true, Ordering::Relaxed);
            let _ = warned.set(Instant::now());
        }
        Ok(Self { stop, time_is_up, end, hears, warned })
    }

    /// Notes in a thread of its own when the warning comes: the state may take long to be kept, and the limit does not
    /// wait for it.
    fn note_the_time(&self) -> anyhow::Result<()> {
        let mut hears = self.hears.try_clone().context("cannot listen for signals")?;
        let warned = Arc::clone(&self.warned);
        std::thread::spawn(move || {
            if hears.read_exact(&mut [0]).is_ok() {
                let _ = warned.set(Instant::now());
            }
        });
        Ok(())
    }
}

/// How long before the time limit nothing is tried any more.
const MARGIN: Duration = Duration::from_secs(10);

/// How long after Slurm refused it is asked again.
const TRY_AGAIN: Duration = Duration::from_secs(3);

/// Has the job started again, now that its state is kept. Not where it came no further than starts before it did:
/// the next would not either, and so on for ever. What depends on a job that fails is not started, so a Slurm that
/// refuses is asked again as long as there is time.
fn again(moved: bool, signals: &Signals, warn: Duration) -> anyhow::Result<Verdict> {
    let Ok(job) = std::env::var("SLURM_JOB_ID") else { return Err(Error::Interrupted.into()) };
    if !moved {
        let problem = "was near before training came further than it had been, so starting again would come to the same";
        return Err(
            Error::invalid("the job's time limit", problem, "submit again with a longer --time").into()
        );
    }
    // Not by SLURM_JOB_ID: one element of an array has the array's own, which names all of them.
    let name = Holder::here().job.map_or(job, |job| job.id);
    let warned = signals.warned.get().copied().unwrap_or_else(Instant::now);
    say(&format!("the time limit is near; the state is kept, and Slurm is asked to start job {name} again"));
    persist(warned + warn.saturating_sub(MARGIN), TRY_AGAIN, &signals.end, || requeue(&name))?;
    say(&format!("job {name} is started again"));
    Err(Error::Interrupted.into())
}

/// Does something that may fail until it works, the time is over, or it is told to end; if it is not told, once at least.
fn persist(
    until: Instant,
    pause: Duration,
    end: &AtomicBool,
    mut act: impl FnMut() -> Result<()>,
) -> Result<()> {
    let mut said = false;
    while !end.load(Ordering::Relaxed) {
        let Err(error) = act() else { return Ok(()) };
        if Instant::now() + pause > until {
            return Err(error);
        }
        if !said {
            say(&format!("{error}; it is asked again until shortly before the time limit"));
            said = true;
        }
        std::thread::sleep(pause);
    }
    Err(Error::Interrupted)
}

/// Every claim of a run, in order; none where what it copies from is not in the store.
fn claims(plan: &Plan<'_>, store: &Store, policy: Policy, index: usize) -> Result<Vec<Claim>> {
    let run = &plan.runs[index];
    let parent = match run.parent {
        None => None,
        Some(base) => {
            let recipe = plan.recipe(&plan.runs[base], policy, None);
            let manifest = store.manifest(recipe.digest())?.whole();
            match manifest.as_ref().and_then(|manifest| manifest.trained()) {
                Some(layers) => Some(layers.whole()),
                None => return Ok(Vec::new()),
            }
        }
    };
    store.claims(plan.recipe(run, policy, parent).digest())
}

/// Whether a process finished a network, or kept a state of it that is further than all that were kept before.
fn went_on(claims: &[Claim], process: &Holder) -> bool {
    let Some((ours, before)) = claims.split_last() else { return false };
    let kept = before.iter().filter(|claim| claim.stage == Stage::Stopped).map(|claim| claim.images).max();
    ours.holder == *process
        && match ours.stage {
            Stage::Finished => true,
            Stage::Stopped => ours.images > kept.unwrap_or(0),
            _ => false,
        }
}

/// The store that an order lies in.
fn store_of(plan: &Path) -> Result<&Path> {
    match plan.parent().and_then(Path::parent).and_then(Path::parent) {
        Some(store) if Store::is_at(store)? => Ok(store),
        _ => {
            let mend = "name a plan.json that `selffer submit` wrote, where it wrote it";
            Err(Error::at(plan, "does not lie in a store", mend))
        }
    }
}

/// How many networks that take so many bytes each are trained at once: as many as were asked for, else all that the job
/// has where a GPU computes and as many as there are cores elsewhere; and no more than the memory holds.
fn side_by_side(asked: Option<u16>, policy: Policy, takes: &[u64], memory: u64) -> usize {
    let most = match asked {
        None if policy == Policy::Cuda => takes.len(),
        asked => super::jobs(asked),
    };
    let largest = takes.iter().max().copied().unwrap_or(0);
    let fit = usize::try_from(memory / largest.max(1)).unwrap_or(usize::MAX);
    most.min(takes.len()).min(fit).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use selffer::claim::Job;

    fn holder(restarts: u32) -> Holder {
        let job = Some(Job { id: "9_1".to_owned(), restarts });
        Holder { host: "n1".to_owned(), boot: "x".to_owned(), pid: 1 + restarts, job }
    }

    /// A claim after so many restarts.
    fn claim(restarts: u32, images: u64, stage: Stage) -> Claim {
        let (run, number) = ("half/1/baseA".to_owned(), u64::from(restarts) + 1);
        let (since, at, from, of) = (0, 0, 0, 1000);
        Claim { run, number, holder: holder(restarts), locked: true, since, at, from, images, of, stage }
    }

    #[test]
    fn slurm_is_asked_again_until_it_does_or_the_time_is_over() {
        let refuse = || Err(Error::invalid("scontrol", "refused", "wait"));
        let (go, told) = (AtomicBool::new(false), AtomicBool::new(true));
        let (pause, hour) = (Duration::from_millis(5), Duration::from_secs(3600));
        let tried = |works_at: u32, lasts: Duration, end: &AtomicBool| {
            let mut times = 0;
            let ended = persist(Instant::now() + lasts, pause, end, || {
                times += 1;
                if times == works_at { Ok(()) } else { refuse() }
            });
            (times, ended)
        };
        assert!(matches!(tried(3, hour, &go), (3, Ok(()))));
        assert!(matches!(tried(1, Duration::ZERO, &go), (1, Ok(()))));
        assert!(matches!(tried(2, Duration::ZERO, &go), (1, Err(Error::Invalid { .. }))));
        // Once at least, on a machine that is late for the first already.
        let (times, ended) = tried(u32::MAX, 40 * pause, &go);
        assert!((1..=40).contains(&times) && matches!(ended, Err(Error::Invalid { .. })), "{times}");
        // Who took the job back does not want it started again.
        assert!(matches!(tried(1, hour, &told), (0, Err(Error::Interrupted))));
    }

    #[test]
    fn a_gpu_trains_all_that_a_job_has_and_a_cpu_as_many_as_it_has_cores() {
        let (takes, room) = (&[10, 30, 20].repeat(100), u64::MAX);
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(side_by_side(None, Policy::Cuda, takes, room), 300);
        for policy in [Policy::Portable, Policy::Native] {
            assert_eq!(side_by_side(None, policy, takes, room), cores.min(300), "{policy:?}");
            assert_eq!(side_by_side(Some(7), policy, takes, room), 7, "{policy:?}");
        }
        // As the largest takes, and one in any case: what does not fit is refused with the mend.
        for (memory, at_once) in [(90, 3), (89, 2), (29, 1)] {
            assert_eq!(side_by_side(None, Policy::Cuda, takes, memory), at_once);
        }
    }

    #[test]
    fn a_base_that_diverged_holds_up_its_own_transfers_alone() {
        for (trained, verdict) in [
            (vec![true], Verdict::Clean),
            (vec![false], Verdict::Findings),
            (vec![false, true], Verdict::Clean),
            (vec![false, false], Verdict::Findings),
        ] {
            assert_eq!(ended(trained.into_iter()), verdict);
        }
    }

    #[test]
    fn a_start_that_came_no_further_than_another_is_told() {
        use Stage::{Failed, Finished, Found, Stopped, Training};
        for (before, now, moved) in [
            (vec![], claim(1, 10, Stopped), true),
            (vec![], claim(1, 0, Stopped), false),
            (vec![claim(0, 10, Stopped)], claim(1, 20, Stopped), true),
            // It began anew: its state was of no use on this machine, and the same may happen on the next.
            (vec![claim(0, 20, Stopped)], claim(1, 20, Stopped), false),
            (vec![claim(0, 30, Stopped), claim(0, 10, Stopped)], claim(1, 20, Stopped), false),
            // What was lost with its node was not kept.
            (vec![claim(0, 30, Training)], claim(1, 20, Stopped), true),
            (vec![claim(0, 20, Stopped)], claim(1, 1000, Finished), true),
            (vec![claim(0, 20, Stopped)], claim(1, 30, Failed("full".to_owned())), false),
            (vec![claim(0, 1000, Finished)], claim(1, 0, Found), false),
            // Nothing of this start's.
            (vec![], claim(0, 20, Stopped), false),
        ] {
            let claims = [before, vec![now]].concat();
            assert_eq!(went_on(&claims, &holder(1)), moved, "{claims:?}");
        }
        assert!(!went_on(&[], &holder(1)));
    }
}
