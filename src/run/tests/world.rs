//! What the tests of the scheduler run in: a trainer without libtorch, and a plan with a store of its own.

use super::super::*;
use crate::architecture::LAYERS;
use crate::data::Images;
use crate::digest::{Digest, FingerprintDigest, LedgerDigest, RecipeDigest};
use crate::input::Pixels;
use crate::ledger::Ledger;
use crate::manifest::{Count, Environment, Epoch};
use crate::protocol::Protocol;
use crate::recipe::order_digest;
use crate::seed::{Name, Stream};
use crate::snapshot::Progress;
use crate::split::Catalog;
use crate::store::Entry;
use crate::testing::{dataset, tiny};
use crate::train::Evaluation;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use tempfile::TempDir;

/// Trains without libtorch: every trained layer becomes what a hash of the setup gives.
#[derive(Default)]
pub(super) struct Fake {
    /// Runs that fail, by name.
    pub(super) fails: HashSet<&'static str>,
    /// Runs that diverge, by name.
    pub(super) diverges: HashSet<&'static str>,
    /// A machine with another number gives other bits.
    pub(super) machine: u64,
    /// How long a step takes, of which there are two.
    pub(super) step: Duration,
    /// Calls, by run's name and recipe, in order.
    pub(super) calls: Mutex<Vec<(String, RecipeDigest)>>,
    /// Sets this flag in the call of that number, from 0.
    pub(super) stops: Option<(usize, &'static AtomicBool)>,
    /// The epoch that each call began with.
    pub(super) begun: Mutex<Vec<u32>>,
}

/// A snapshot after every step, until the run is finished.
pub(super) const EACH_STEP: Snapshots = Snapshots { every: Every::Steps(1), keep: false };

impl Trainer for Fake {
    fn train(&self, setup: &Setup<'_>, along: &Along<'_>) -> Result<Trained> {
        let recipe = setup.recipe.digest();
        let call = {
            let mut calls = self.calls.lock().unwrap();
            calls.push((setup.name.to_owned(), recipe));
            calls.len() - 1
        };
        let count = setup.train.len() as u64;
        let ledger = Ledger::new(along.every);
        // Two epochs of one step each.
        let begun = along.from.as_ref().map_or(0, |state| state.progress.place.epoch + 1);
        self.begun.lock().unwrap().push(begun);
        for epoch in begun..2 {
            std::thread::sleep(self.step);
            if let Some((number, flag)) = self.stops
                && number == call
            {
                flag.store(true, Ordering::Relaxed);
            }
            let steps = setup.recipe.solver.steps_of(setup.train.len());
            let (entry, due) =
                (LedgerDigest(Digest::of(b"entry")), ledger.length_at(Place { epoch, step: 1 }, steps));
            let state = || State {
                progress: Progress {
                    recipe,
                    place: Place { epoch, step: 1 },
                    epochs: vec![epoch_of(setup); epoch as usize],
                    loss_sum: 0.0,
                    correct: 0,
                    ledger: Ledger { entries: vec![entry; due as usize], ..ledger.clone() },
                    wall_ms: 0,
                    fingerprint: None,
                },
                weights: setup.initial.clone(),
                momentum: setup.initial.layers[usize::from(setup.recipe.treatment.frozen())..].to_vec(),
            };
            match (along.watch)(Place { epoch, step: 1 }, u64::from(epoch + 1) * count) {
                Next::Go => {}
                Next::Keep => (along.keep)(state())?,
                Next::Stop => {
                    (along.keep)(state())?;
                    return Err(Error::Interrupted);
                }
            }
        }
        if self.fails.contains(setup.name) {
            let message = "as the test says".to_owned();
            return Err(Error::Torch { run: setup.name.to_owned(), message });
        }
        if self.diverges.contains(setup.name) {
            return Ok(Trained::Diverged { epochs: Vec::new(), epoch: 0, step: 1, ledger });
        }
        let mut weights = setup.initial.clone();
        let images = setup.train.digests();
        for index in usize::from(setup.recipe.treatment.frozen())..LAYERS {
            // All that a trainer is given takes part.
            let name = Name::new("fake")
                .and("recipe", recipe.hex())
                .and("initial", setup.initial.digests().whole().hex())
                .and("images", format!("{images:?}{:?}", setup.train.labels))
                .and("moments", format!("{:?}", setup.pixels.moments))
                .and("machine", self.machine)
                .and("layer", index);
            let mut stream = Stream::open(&name);
            weights.layers[index].weight.values.fill_with(|| stream.gaussian() as f32);
        }
        Ok(Trained::Whole { weights, epochs: vec![epoch_of(setup)], ledger })
    }

    fn evaluate(
        &self,
        _: &str,
        _: &Recipe,
        _: &Weights,
        images: &Images,
        _: Pixels<'_>,
    ) -> Result<Evaluation> {
        let right = (0..images.len()).map(|at| at % 2 == 1).collect();
        Ok(Evaluation { loss: 1.0, right })
    }

    fn environment(&self) -> Result<Environment> {
        let none = String::new;
        let fingerprint = FingerprintDigest(Digest::of(&self.machine.to_le_bytes()));
        Ok(Environment { selffer: none(), libtorch: none(), cpu: none(), settings: Vec::new(), fingerprint })
    }
}

/// What is recorded of any epoch.
fn epoch_of(setup: &Setup<'_>) -> Epoch {
    let total = setup.valid.len() as u32;
    Epoch {
        rate: setup.recipe.solver.rate,
        order: order_digest(&setup.recipe.order(0, setup.train.len())),
        train_loss: 1.0,
        train: Count { correct: 1, total: setup.train.len() as u32 },
        valid_loss: 1.0,
        valid: Count { correct: total / 2, total },
    }
}

impl Fake {
    /// The names of the runs it was called for, in order, and forgets them.
    pub(super) fn called(&self) -> Vec<String> {
        self.calls.lock().unwrap().drain(..).map(|(name, _)| name).collect()
    }
}

/// Changes one bit in the middle of a file.
pub(super) fn flip(path: &std::path::Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(path, bytes).unwrap();
}

/// A plan with a store of its own.
pub(super) struct World {
    pub(super) protocol: Protocol,
    pub(super) dir: TempDir,
    pub(super) jobs: usize,
    pub(super) memory: u64,
    pub(super) snapshots: Snapshots,
}

pub(super) type Finished = Result<BTreeMap<String, Option<Done>>>;

impl World {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            dir: TempDir::new().expect("a directory"),
            jobs: 1,
            memory: u64::MAX,
            snapshots: EACH_STEP,
        }
    }

    pub(super) fn run(&self, fake: &Fake) -> Finished {
        self.watched(fake, &AtomicBool::new(false), &Unobserved)
    }

    pub(super) fn watched(&self, fake: &Fake, stop: &AtomicBool, observer: &dyn Observer) -> Finished {
        let data = dataset(4, 6, 4, 8);
        let catalog = Catalog::of(data.clone());
        let plan = Plan::make(&self.protocol, &catalog)?;
        let store = Store::create(self.dir.path())?;
        let runner = Runner {
            plan: &plan,
            store: &store,
            trainer: fake,
            policy: Policy::Portable,
            jobs: self.jobs,
            memory: self.memory,
            snapshots: self.snapshots,
            only: None,
            stop,
            observer,
        };
        let done = runner.run()?;
        assert_eq!(done.len(), plan.runs.len());
        // What is answered is what the store has.
        for (done, found) in done.iter().zip(survey(&plan, &store, Policy::Portable)?) {
            assert_eq!(done.as_ref().map(|done| &done.manifest), found.as_ref());
        }
        Ok(plan.runs.iter().map(|run| plan.name(run)).zip(done).collect())
    }

    pub(super) fn path(&self, entry: &Entry) -> std::path::PathBuf {
        Store::open(self.dir.path()).expect("a store").path(entry)
    }

    pub(super) fn checkpoint(&self, done: &Done) -> std::path::PathBuf {
        self.path(&Entry::Checkpoint(whole(done)))
    }
}

pub(super) fn whole(done: &Done) -> WeightsDigest {
    done.manifest.trained().expect("it did not diverge").whole()
}

/// The weights of every run, by name.
pub(super) fn digests(done: &BTreeMap<String, Option<Done>>) -> BTreeMap<String, Option<WeightsDigest>> {
    done.iter().map(|(name, done)| (name.clone(), done.as_ref().map(whole))).collect()
}

pub(super) fn fresh(done: &BTreeMap<String, Option<Done>>) -> Vec<&str> {
    let fresh = |done: &&Option<Done>| done.as_ref().is_some_and(|done| done.fresh);
    done.iter().filter(|(_, done)| fresh(done)).map(|(name, _)| name.as_str()).collect()
}

pub(super) fn done<'a>(all: &'a BTreeMap<String, Option<Done>>, name: &str) -> &'a Done {
    all[name].as_ref().expect("it was done")
}

/// One seed: `half/1/` baseA, baseB, A1B, A4B, B1B+, B4B+, R1A, R4A.
pub(super) fn one_seed() -> Protocol {
    tiny(&[("seeds = [1, 2]", "seeds = [1]")])
}
