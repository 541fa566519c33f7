//! Runs a plan: trains what the store lacks, each network after the one it copies from.
//!
//! Uses `plan`, `init`, `store`, `fence` and a [`Trainer`]; used by the command line, and by `bisect` and `audit` to train a
//! network again. The results do not depend on the number of jobs, on the order in which runs are ready, or on what was there before.

mod lookup;
mod states;

pub use lookup::{all_fit, finished, largest_fits, survey, to_train};
pub use states::{Every, Snapshots};

use crate::architecture;
use crate::claim::{Holder, Stage};
use crate::cost;
use crate::data::Part;
use crate::digest::WeightsDigest;
use crate::error::{Error, Result};
use crate::fence::{Fence, Hold};
use crate::init::initial;
use crate::ledger::{self, Place};
use crate::manifest::{Format, Manifest, Outcome};
use crate::plan::Plan;
use crate::recipe::{Policy, Recipe};
use crate::snapshot::State;
use crate::store::{Entry, Found, Store};
use crate::train::{Along, Next, Setup, Trained, Trainer};
use crate::weights::Weights;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

/// After how long a run that another process is training is looked at again; the second time after twice
/// as long, and so on, up to the longest.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const LOOKS_LONGEST: u32 = 25;
/// The look at which that has lasted longer than a second: before it are 0.2, 0.4 and 0.6 s.
const LOOK_TOLD: u32 = 4;

/// Hears what happens, for progress bars. Runs are named by their index in the plan. Called from many
/// threads.
pub trait Observer: Sync {
    /// Training begins.
    fn started(&self, _run: usize) {}
    /// So many images were trained on, of what the plan's cost says.
    fn advanced(&self, _run: usize, _images: u64) {}
    /// The run is finished: trained just now, or found in the store.
    fn finished(&self, _run: usize, _done: &Done) {}
    /// The run cannot be trained, because the network it copies from diverged.
    fn barred(&self, _run: usize) {}
    /// Steps of a pass waited so long for what is made ahead of them, of the time that it took.
    fn waited(&self, _waited: Duration, _of: Duration) {}
    /// A file of the store is damaged, as `why` says, and is made anew.
    fn damaged(&self, _file: &Path, _why: &str) {}
    /// Another process has the run, for a second or more.
    fn waits(&self, _run: usize) {}
    /// The state that was kept after `kept` steps of the run cannot be used: `why` completes the sentence "it …". Training
    /// goes on from that after `from`; from 0 it begins anew.
    fn passes_over(&self, _run: usize, _kept: u64, _why: &str, _from: u64) {}
}

/// An observer that is not interested.
pub struct Unobserved;

impl Observer for Unobserved {}

/// A finished run.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// Its record.
    pub manifest: Manifest,
    /// Whether it was trained just now.
    pub fresh: bool,
}

/// How to run a plan.
pub struct Runner<'a> {
    /// The plan.
    pub plan: &'a Plan<'a>,
    /// Where results are kept.
    pub store: &'a Store,
    /// What trains.
    pub trainer: &'a dyn Trainer,
    /// The numerics policy that the trainer computes under.
    pub policy: Policy,
    /// How many networks are trained at once.
    pub jobs: usize,
    /// Bytes of memory that training may take, all jobs together.
    pub memory: u64,
    /// Which states of unfinished runs are kept.
    pub snapshots: Snapshots,
    /// The runs to see to, by index; all where none are said. What they copy from is to be in the store.
    pub only: Option<&'a [usize]>,
    /// Set by another thread to stop at the next step.
    pub stop: &'a AtomicBool,
    /// Who hears of it.
    pub observer: &'a dyn Observer,
}

/// What became of a look at one run.
enum Turn {
    Done(Done),
    /// Another process is training it.
    Busy,
    /// The network it copies from diverged.
    Barred,
}

struct Shared<'a> {
    // Indexed like the plan's runs; `None` inside for a run that is barred.
    done: Vec<OnceLock<Option<Done>>>,
    // Those that copy from each run and are to be seen to.
    children: Vec<Vec<usize>>,
    // Whether each run is to be trained; else it is only looked up.
    wanted: Vec<bool>,
    fence: Fence<'a>,
    failure: Mutex<Option<Error>>,
}

impl Shared<'_> {
    fn failed(&self) -> bool {
        self.failure.lock().expect("no thread panicked").is_some()
    }
}

impl Runner<'_> {
    /// Runs the plan. The answer is indexed like the plan's runs; `None` for a run whose base network
    /// diverged, and for one that was not asked for.
    ///
    /// # Errors
    /// Where the store cannot be used, training fails, or it was told to stop. What was finished by
    /// then is in the store.
    pub fn run(&self) -> Result<Vec<Option<Done>>> {
        for (split, digest) in &self.plan.splits {
            self.whole(Entry::Split(*digest), self.store.split(*digest)?);
            self.store.put_split(split)?;
        }
        let shared = self.shared();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.jobs)
            .thread_name(|index| format!("run-{index}"))
            .build()
            .map_err(|error| Error::invalid("--jobs", error.to_string(), "take fewer"))?;
        let shared_ref = &shared;
        std::thread::scope(|beside| {
            let (end, ended) = mpsc::channel();
            beside.spawn(move || shared_ref.fence.beat_until(&ended));
            pool.in_place_scope_fifo(|scope| {
                for (index, run) in self.plan.runs.iter().enumerate() {
                    let asked = shared_ref.wanted[index] || !shared_ref.children[index].is_empty();
                    if run.parent.is_none() && asked {
                        scope.spawn_fifo(move |scope| self.visit(index, 1, shared_ref, scope));
                    }
                }
            });
            drop(end);
        });
        if let Some(error) = shared.failure.into_inner().expect("no thread panicked") {
            return Err(error);
        }
        Ok(shared.done.into_iter().map(|cell| cell.into_inner().flatten()).collect())
    }

    fn shared(&self) -> Shared<'_> {
        let count = self.plan.runs.len();
        let mut wanted = vec![self.only.is_none(); count];
        for index in self.only.unwrap_or_default() {
            wanted[*index] = true;
        }
        let mut children = vec![Vec::new(); count];
        for (index, run) in self.plan.runs.iter().enumerate().filter(|(index, _)| wanted[*index]) {
            if let Some(parent) = run.parent {
                children[parent].push(index);
            }
        }
        Shared {
            done: (0..count).map(|_| OnceLock::new()).collect(),
            children,
            wanted,
            fence: Fence::new(self.store, Holder::here()),
            failure: Mutex::default(),
        }
    }

    /// Sees to one run, then hands on those that copy from it. It is the look of that number, from 1.
    fn visit<'s>(&'s self, index: usize, look: u32, shared: &'s Shared<'s>, scope: &rayon::ScopeFifo<'s>) {
        if shared.failed() {
            return;
        }
        let done = match self.turn(index, shared) {
            Ok(Turn::Busy) => {
                if look == LOOK_TOLD {
                    self.observer.waits(index);
                }
                self.rest(LOOK_AGAIN * look);
                let next = (look + 1).min(LOOKS_LONGEST);
                scope.spawn_fifo(move |scope| self.visit(index, next, shared, scope));
                return;
            }
            Ok(Turn::Done(done)) => {
                if shared.wanted[index] {
                    self.observer.finished(index, &done);
                }
                Some(done)
            }
            Ok(Turn::Barred) => {
                self.observer.barred(index);
                None
            }
            Err(error) => {
                // The first failure counts; the others stop at their next step.
                shared.failure.lock().expect("no thread panicked").get_or_insert(error);
                return;
            }
        };
        shared.done[index].set(done).expect("a run is visited once");
        for child in &shared.children[index] {
            scope.spawn_fifo(move |scope| self.visit(*child, 1, shared, scope));
        }
    }

    /// Sleeps so long, or until it is told to stop.
    fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK_AGAIN.min(time));
        }
    }

    fn turn(&self, index: usize, shared: &Shared<'_>) -> Result<Turn> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let run = &self.plan.runs[index];
        let parent = match run.parent {
            None => None,
            Some(parent) => {
                let done = shared.done[parent].get().expect("parents come first");
                match done.as_ref().and_then(|done| done.manifest.weights()) {
                    None => return Ok(Turn::Barred),
                    weights => weights,
                }
            }
        };
        let recipe = self.plan.recipe(run, self.policy, parent);
        if let Some(done) = self.found(&recipe)? {
            return Ok(Turn::Done(done));
        }
        let name = self.plan.name(run);
        if !shared.wanted[index] {
            if shared.fence.alive(recipe.digest())? {
                return Ok(Turn::Busy);
            }
            // It may have been finished between the two looks.
            return self.found(&recipe)?.map(Turn::Done).ok_or_else(|| {
                let mend = "train it first: `selffer reproduce` and `selffer submit` see to the order";
                Error::invalid(name, "is to be copied from and not in the store", mend)
            });
        }
        fits(self.plan, index, self.jobs, self.memory)?;
        let images = self.plan.cost(run).images;
        let Some(hold) = shared.fence.take(recipe.digest(), &name, images)? else { return Ok(Turn::Busy) };
        // Another process may have finished it just before it was ours.
        let done = self.found(&recipe).transpose().unwrap_or_else(|| {
            self.train(index, recipe, &hold, shared).map_err(|error| match shared.fence.may_write(&hold) {
                // A process that took the network over may have removed what this one was about to read again.
                Ok(false) => self.superseded(index, &hold),
                _ => error,
            })
        });
        shared.fence.end(
            &hold,
            match &done {
                Ok(Done { fresh: true, .. }) => Stage::Finished,
                Ok(_) => Stage::Found,
                Err(Error::Interrupted) => Stage::Stopped,
                // Nothing failed here: the network is in other hands.
                Err(Error::Superseded { .. }) => Stage::Replaced,
                Err(other) => Stage::Failed(other.to_string()),
            },
        );
        done.map(Turn::Done)
    }

    /// The run of that recipe, if it is finished.
    fn found(&self, recipe: &Recipe) -> Result<Option<Done>> {
        Ok(finished(self.store, recipe)?.map(|manifest| Done { manifest, fresh: false }))
    }

    fn train(&self, index: usize, recipe: Recipe, hold: &Hold, shared: &Shared<'_>) -> Result<Done> {
        let digest = recipe.digest();
        let before = self.whole(Entry::Manifest(digest), self.store.manifest(digest)?);
        if let Some(weights) = before.as_ref().and_then(Manifest::weights) {
            self.whole(Entry::Checkpoint(weights), self.store.weights(weights)?);
        }
        let parent = recipe.parent.map(|digest| self.parent_weights(digest)).transpose()?;
        let steps = self.plan.steps(&self.plan.runs[index]);
        let from = self.latest(index, &recipe, parent.as_ref())?;
        let wall_before = from.as_ref().map_or(0, |state| state.progress.wall_ms);
        let start = Instant::now();
        let kept = Mutex::new(start);
        if let Some(state) = &from {
            let before = images_before(self.plan, index, state.progress.place);
            shared.fence.resumes(hold, before);
        }
        self.observer.started(index);
        let watch = |place: Place, images: u64| {
            self.observer.advanced(index, images);
            hold.advance(images);
            if hold.lost() || shared.failed() || self.stop.load(Ordering::Relaxed) {
                return Next::Stop;
            }
            let mut kept = kept.lock().expect("no thread panicked");
            match self.snapshots.due(place.steps_done(steps), kept.elapsed()) {
                true => {
                    *kept = Instant::now();
                    Next::Keep
                }
                false => Next::Go,
            }
        };
        let keep = |mut state: State| {
            if !shared.fence.may_write(hold)? {
                return Err(self.superseded(index, hold));
            }
            if self.snapshots.every == Every::Never {
                return Ok(());
            }
            state.progress.wall_ms = wall_before.saturating_add(start.elapsed().as_millis() as u64);
            state.progress.fingerprint = Some(self.trainer.environment()?.fingerprint);
            let done = state.progress.place.steps_done(steps);
            self.store.put_snapshot(&state, done)?;
            self.forget(digest, done)
        };
        let weights =
            self.plan.shapes(&self.plan.runs[index]).iter().map(architecture::Layer::parameters).sum();
        let waited = |waited, of| self.observer.waited(waited, of);
        let along =
            Along { from, every: ledger::every(weights), watch: &watch, keep: &keep, waited: &waited };
        let (mut manifest, weights) = train(self.plan, index, recipe, parent.as_ref(), self.trainer, &along)?;
        let (now, unknown) = (manifest.weights(), before.is_none());
        manifest.contradicts =
            before.and_then(|before| before.weights().filter(|old| Some(*old) != now).or(before.contradicts));
        let written = shared.fence.finish(hold, || {
            if let Some(weights) = &weights {
                // What was there is known by now, but for what no record named.
                if unknown {
                    let digest = weights.digests().whole();
                    self.whole(Entry::Checkpoint(digest), self.store.weights(digest)?);
                }
                self.store.put_weights(weights)?;
            }
            self.store.put_manifest(&manifest)?;
            self.forget(digest, u64::MAX)
        })?;
        match written {
            Some(()) => Ok(Done { manifest, fresh: true }),
            None => Err(self.superseded(index, hold)),
        }
    }

    fn superseded(&self, index: usize, hold: &Hold) -> Error {
        let (run, by) = (self.plan.name(&self.plan.runs[index]), hold.rival(self.store));
        Error::Superseded { run, by }
    }

    /// What an entry holds, if it is whole; that it is damaged is told.
    fn whole<T>(&self, entry: Entry, found: Found<T>) -> Option<T> {
        if let Found::Damaged(why) = &found {
            self.observer.damaged(&self.store.path(&entry), why);
        }
        found.whole()
    }

    /// The weights of a base network that was finished a moment ago.
    fn parent_weights(&self, digest: WeightsDigest) -> Result<Weights> {
        let entry = Entry::Checkpoint(digest);
        let subject = self.store.path(&entry).display().to_string();
        let gone = |problem: &str| Error::invalid(&subject, problem, "run the same command again");
        match self.store.weights(digest)? {
            Found::Whole(weights) => Ok(weights),
            Found::Absent => Err(gone("was there and is gone")),
            Found::Damaged(why) => Err(gone(&why)),
        }
    }
}

/// Images of all epochs that a run has behind it at a place, as its cost counts them.
fn images_before(plan: &Plan<'_>, index: usize, place: Place) -> u64 {
    let run = &plan.runs[index];
    let an_epoch = plan.cost(run).images / u64::from(plan.protocol.solver.epochs);
    let in_epoch = u64::from(place.step) * u64::from(plan.protocol.solver.batch);
    u64::from(place.epoch) * an_epoch + in_epoch.min(an_epoch)
}

/// Trains one network of a plan and keeps nothing: its record and, unless it diverged, its weights.
/// `parent` is the network that it copies from, if any.
///
/// # Errors
/// Where its images cannot be put together, or training fails or is stopped.
pub fn train(
    plan: &Plan<'_>,
    index: usize,
    recipe: Recipe,
    parent: Option<&Weights>,
    trainer: &dyn Trainer,
    along: &Along<'_>,
) -> Result<(Manifest, Option<Weights>)> {
    let run = &plan.runs[index];
    let name = plan.name(run);
    let initial = initial(&recipe, &plan.shapes(run), parent);
    let setup = Setup {
        name: &name,
        recipe: &recipe,
        initial: &initial,
        train: &plan.images(run, Part::Train)?,
        valid: &plan.images(run, Part::Valid)?,
        pixels: plan.catalog.pixels(plan.protocol.input.as_ref()),
    };
    let start = Instant::now();
    let trained = trainer.train(&setup, along)?;
    let wall_before = along.from.as_ref().map_or(0, |state| state.progress.wall_ms);
    let wall_ms = wall_before.saturating_add(start.elapsed().as_millis() as u64);
    let (epochs, ledger, outcome, weights) = match trained {
        Trained::Whole { weights, epochs, ledger } => {
            (epochs, ledger, Outcome::Trained { layers: weights.digests() }, Some(weights))
        }
        Trained::Diverged { epochs, epoch, step, ledger } => {
            (epochs, ledger, Outcome::Diverged { epoch, step }, None)
        }
    };
    let initial = initial.digests();
    let environment = trainer.environment()?;
    let manifest = Manifest {
        format: Format::V1,
        run: name,
        recipe,
        initial,
        epochs,
        outcome,
        contradicts: None,
        ledger,
        wall_ms,
        environment,
    };
    Ok((manifest, weights))
}

/// Refuses a network of a plan that so many jobs at once cannot hold in so many bytes of memory.
///
/// # Errors
/// As of [`cost::holds`].
pub fn fits(plan: &Plan<'_>, index: usize, jobs: usize, memory: u64) -> Result<()> {
    let run = &plan.runs[index];
    cost::holds(&plan.name(run), plan.cost(run).memory, jobs.min(plan.runs.len()), memory)
}

#[cfg(test)]
mod tests;
