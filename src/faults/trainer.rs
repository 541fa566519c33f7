//! Faults around the training loop: a trainer that is given another setup, or gives back another result.
//!
//! Wraps [`Torch`]; used by `tests`. It plants its fault in the thread that trains, so that the hooks see it.

use super::{Fault, Planted, hooks, plant};
use crate::data::{Dataset, Images, Part};
use crate::error::{Error, Result};
use crate::input::Pixels;
use crate::ledger::Place;
use crate::manifest::Environment;
use crate::net::Net;
use crate::numerics::Numerics;
use crate::plan::{Plan, PlannedRun};
use crate::recipe::Recipe;
use crate::run::Observer;
use crate::train::{Along, Evaluation, Meddler, Next, Setup, Torch, Trained, Trainer};
use crate::treatment::{Source, Treatment};
use crate::weights::Weights;
use std::sync::{Arc, Mutex};

/// A trainer with a fault.
pub(super) struct Faulty<'a> {
    pub planted: Arc<Planted>,
    pub plan: &'a Plan<'a>,
    pub numerics: &'static Numerics,
}

/// The scheduler's threads call this before they draw first weights.
impl Observer for Faulty<'_> {
    fn started(&self, _: usize) {
        plant(&self.planted);
    }
}

impl Trainer for Faulty<'_> {
    fn train(&self, setup: &Setup<'_>, along: &Along<'_>) -> Result<Trained> {
        plant(&self.planted);
        let fault = self.planted.fault;
        let mut recipe = setup.recipe.clone();
        recipe.treatment = treatment(fault, recipe.treatment);
        match fault {
            Fault::DropLate => recipe.solver.rate_drops.iter_mut().for_each(|drop| *drop += 1),
            Fault::EpochTooFew => recipe.solver.epochs -= 1,
            _ => {}
        }
        let [train, valid] = self.images(setup)?;
        let moments = match fault {
            Fault::TaskMoments => {
                let (train, valid) = (setup.train.clone(), setup.valid.clone());
                Dataset { classes: Vec::new(), train, valid }.pixel_moments()
            }
            _ => setup.pixels.moments,
        };
        let pixels = Pixels { moments, ..setup.pixels };
        let initial = self.initial(setup);
        let faulty =
            Setup { recipe: &recipe, initial: &initial, train: &train, valid: &valid, pixels, ..*setup };
        let saved = Arc::new(Mutex::new(None));
        let mut torch = Torch::new(self.numerics);
        torch.meddler = Some(self.meddler(setup, Arc::clone(&saved)));
        let mut trained = match fault {
            Fault::ResumedWithoutMomentum => resumed(&torch, &faulty, along)?,
            _ => torch.train(&faulty, along)?,
        };
        if let Trained::Whole { weights, epochs, .. } = &mut trained {
            match fault {
                // What was in memory is the right one; only the features were not.
                Fault::StaleFeatures => {
                    let n = usize::from(setup.recipe.treatment.frozen());
                    weights.layers[..n].clone_from_slice(&setup.initial.layers[..n]);
                }
                Fault::Bfloat16 => bfloat16(weights),
                Fault::EarlierCheckpoint => {
                    *weights = saved.lock().unwrap().take().expect("there is an earlier epoch");
                }
                Fault::BestReported => {
                    let best = epochs.iter().min_by(|a, b| a.valid_loss.total_cmp(&b.valid_loss)).cloned();
                    let (best, last) = best.zip(epochs.last_mut()).expect("there are epochs");
                    (last.valid, last.valid_loss) = (best.valid, best.valid_loss);
                }
                Fault::LossInBits => {
                    epochs.iter_mut().for_each(|epoch| epoch.valid_loss /= std::f64::consts::LN_2);
                }
                Fault::LossPerStep => {
                    let (total, batch) = (setup.train.len() as u32, recipe.solver.batch);
                    let share = f64::from(total) / f64::from(total.div_ceil(batch) * batch);
                    epochs.iter_mut().for_each(|epoch| epoch.train_loss *= share);
                }
                _ => {}
            }
            if let Some(name) = hooks::keeps(fault, setup.recipe.treatment) {
                self.planted.keep(name, weights);
            }
        }
        Ok(trained)
    }

    fn evaluate(
        &self,
        name: &str,
        recipe: &Recipe,
        weights: &Weights,
        images: &Images,
        pixels: Pixels<'_>,
    ) -> Result<Evaluation> {
        Torch::new(self.numerics).evaluate(name, recipe, weights, images, pixels)
    }

    fn environment(&self) -> Result<Environment> {
        self.numerics.environment()
    }
}

impl Faulty<'_> {
    /// The images for training and for validation.
    fn images(&self, setup: &Setup<'_>) -> Result<[Images; 2]> {
        let (mut train, mut valid) = (setup.train.clone(), setup.valid.clone());
        match self.planted.fault {
            Fault::ValidInBatches => {
                train.bytes_mut()?[..valid.size()].copy_from_slice(&valid.image(0)?);
            }
            Fault::LabelsShifted => {
                let classes = train.labels.iter().max().expect("there are images") + 1;
                train.labels.iter_mut().for_each(|label| *label = (*label + 1) % classes);
            }
            Fault::LabelsLate => train.labels.rotate_right(1),
            Fault::TasksExchanged => {
                let target = setup.recipe.treatment.target().other();
                let treatment = match setup.recipe.treatment.examples() {
                    Some(examples) => Treatment::Reduced { target, examples },
                    None => Treatment::Base(target),
                };
                let run = PlannedRun { split: 0, seed: setup.recipe.seed, treatment, parent: None };
                train = self.plan.images(&run, Part::Train)?;
                valid = self.plan.images(&run, Part::Valid)?;
            }
            Fault::ReducedLast => {
                if let Some(examples) = setup.recipe.treatment.examples() {
                    let target = setup.recipe.treatment.target();
                    let mut split = self.plan.splits[0].0.clone();
                    for class in split.a.iter_mut().chain(&mut split.b) {
                        class.train.drain(..class.train.len() - examples as usize);
                    }
                    train = self.plan.catalog.images(&split, target, Part::Train)?;
                }
            }
            Fault::ValidOnTrain => valid = train.clone(),
            _ => {}
        }
        Ok([train, valid])
    }

    /// What training starts from.
    fn initial(&self, setup: &Setup<'_>) -> Weights {
        let mut initial = setup.initial.clone();
        let n = usize::from(setup.recipe.treatment.frozen());
        if self.planted.fault == Fault::StaleFeatures && n > 0 {
            let key = format!("features of {n} layers");
            match self.planted.kept(&key) {
                Some(cached) => initial.layers[..n].clone_from_slice(&cached.layers[..n]),
                None => self.planted.keep(key, &initial),
            }
        }
        initial
    }

    /// What is done to weights and momentum after each step. `saved` takes the weights of the last epoch but
    /// one.
    fn meddler(&self, setup: &Setup<'_>, saved: Arc<Mutex<Option<Weights>>>) -> Meddler {
        let Recipe { solver, treatment, .. } = setup.recipe.clone();
        let steps = (setup.train.len() as u32).div_ceil(solver.batch);
        let frozen = 2 * usize::from(treatment.frozen());
        let planted = Arc::clone(&self.planted);
        // Momentum that frozen layers still have.
        let left: Vec<tch::Tensor> = match (planted.fault, treatment.parent()) {
            (Fault::MomentumMovesFrozen, Some(base)) => {
                let momentum = planted.momentum.lock().unwrap();
                momentum[&base.target()][..frozen].iter().map(tch::Tensor::copy).collect()
            }
            _ => Vec::new(),
        };
        let left = Mutex::new(left);
        Arc::new(move |place: Place, net: &Net, velocity: &mut [tch::Tensor]| {
            let rate = solver.rate_at(place.epoch);
            let ends = |epoch| place == Place { epoch, step: steps };
            let take = |weight: &tch::Tensor, change: tch::Tensor| {
                tch::no_grad(|| {
                    let _ = weight.shallow_clone().subtract_(&change);
                });
            };
            match planted.fault {
                Fault::DecayMovesFrozen => {
                    let weights = net.trained(0).into_iter().take(frozen);
                    weights.for_each(|weight| take(weight, weight.detach() * (rate * solver.decay)));
                }
                Fault::MomentumMovesFrozen => {
                    if treatment.n() == 0 && ends(solver.epochs - 1) {
                        let copies = velocity.iter().map(tch::Tensor::copy).collect();
                        planted.momentum.lock().unwrap().insert(treatment.target(), copies);
                    }
                    for (weight, left) in net.trained(0).into_iter().zip(left.lock().unwrap().iter_mut()) {
                        *left = &*left * solver.momentum;
                        take(weight, &*left * rate);
                    }
                }
                Fault::MomentumReset if place.step == steps => {
                    velocity.iter_mut().for_each(|velocity| *velocity = velocity.zeros_like());
                }
                Fault::EarlierCheckpoint if ends(solver.epochs - 2) => {
                    *saved.lock().unwrap() = Some(net.weights().expect("libtorch gives numbers"));
                }
                _ => {}
            }
        })
    }
}

/// What is trained and frozen.
fn treatment(fault: Fault, treatment: Treatment) -> Treatment {
    let Treatment::Grafted { source, n, target } = treatment else { return treatment };
    let frozen = treatment.frozen() > 0;
    let tuned = |source, tuned| match source {
        Source::Base { task, .. } => Source::Base { task, tuned },
        other => other,
    };
    let (source, n) = match fault {
        Fault::PreservedFrozen => match source {
            Source::Preserved { task, more } => (Source::Base { task, tuned: false }, n + more),
            other => (other, n),
        },
        Fault::RateOnFrozen => (tuned(source, true), n),
        Fault::TunedFrozen => (tuned(source, false), n),
        Fault::FrozenTooFew if frozen => (source, n - 1),
        Fault::FrozenTooMany if frozen => (source, n + 1),
        _ => (source, n),
    };
    Treatment::Grafted { source, n, target }
}

/// Stops in the middle of the second epoch, loses the momentum, and goes on.
fn resumed(torch: &Torch, setup: &Setup<'_>, along: &Along<'_>) -> Result<Trained> {
    let kept = Mutex::new(None);
    let watch = |place, _| if place == (Place { epoch: 1, step: 5 }) { Next::Stop } else { Next::Go };
    let keep = |state| {
        *kept.lock().unwrap() = Some(state);
        Ok(())
    };
    match torch.train(setup, &Along { from: None, watch: &watch, keep: &keep, ..*along }) {
        Err(Error::Interrupted) => {}
        other => return other,
    }
    let mut state = kept.into_inner().unwrap().expect("a state is kept when training is stopped");
    for layer in &mut state.momentum {
        layer.weight.values.fill(0.0);
        layer.bias.values.fill(0.0);
    }
    torch.train(setup, &Along { from: Some(state), ..*along })
}

/// Rounds every number to the nearest bfloat16, ties to even.
fn bfloat16(weights: &mut Weights) {
    for layer in &mut weights.layers {
        for value in layer.weight.values.iter_mut().chain(&mut layer.bias.values) {
            let bits = value.to_bits();
            *value = f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000);
        }
    }
}
