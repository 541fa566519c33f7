//! Training: one network from its initial to its final weights, on libtorch; `passes` has the loop, `update` the rule.
//!
//! Uses `net`, `numerics`, `recipe`; used by `run` through the [`Trainer`] trait, so that all else is
//! tested without it. One of three modules that know libtorch. A run computes on the calling thread
//! alone. Frozen layers are computed once for all images, and training goes on from what leaves them, as far as
//! nothing about it is drawn in each step.

mod features;
mod feed;
mod passes;
mod update;

use self::features::Features;
use self::passes::{Passes, evaluate};
use crate::architecture::LAYERS;
use crate::data::Images;
use crate::error::{Error, Result};
use crate::input::Pixels;
use crate::ledger::{self, Ledger, Place};
use crate::manifest::{Count, Environment, Epoch};
use crate::net::{self, Net};
use crate::numerics::Numerics;
use crate::recipe::Recipe;
use crate::snapshot::State;
use crate::weights::Weights;
use std::time::Duration;
use tch::TchError;
#[cfg(test)]
use tch::Tensor;

/// All that a trainer needs for one network.
pub struct Setup<'a> {
    /// The run's name, for messages.
    pub name: &'a str,
    /// What determines the bits.
    pub recipe: &'a Recipe,
    /// Where training starts.
    pub initial: &'a Weights,
    /// Training images of the target task.
    pub train: &'a Images,
    /// Validation images of the target task.
    pub valid: &'a Images,
    /// What pixels are measured by.
    pub pixels: Pixels<'a>,
}

/// What training ended with.
#[derive(Debug, Clone, PartialEq)]
pub enum Trained {
    /// All epochs were run.
    Whole {
        /// The final weights.
        weights: Weights,
        /// The epochs.
        epochs: Vec<Epoch>,
        /// The ledger.
        ledger: Ledger,
    },
    /// The loss was not finite in that step, or in the validation after the epoch, and training stopped.
    Diverged {
        /// The epochs that were finished.
        epochs: Vec<Epoch>,
        /// The epoch, from 0.
        epoch: u32,
        /// The step within it, from 0; as many as there are steps where it was the validation.
        step: u32,
        /// The ledger until then.
        ledger: Ledger,
    },
}

/// What a network makes of images.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// For each image, whether it is classified rightly.
    pub right: Vec<bool>,
}

impl Evaluation {
    /// How many are right.
    pub fn count(&self) -> Count {
        let correct = self.right.iter().filter(|right| **right).count();
        Count { correct: correct as u32, total: self.right.len() as u32 }
    }
}

/// What a run is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Go,
    /// Hand over the state, then go on.
    Keep,
    /// Hand over the state, then stop.
    Stop,
}

/// What goes along with training, and changes no bit of it.
pub struct Along<'a> {
    /// Where to go on from; the beginning where there is none.
    pub from: Option<State>,
    /// Steps between two entries of the ledger, unless it goes on from a state that has one.
    pub every: u32,
    /// Hears after each step where the run is and how many images it was trained on, and says what is next.
    pub watch: &'a (dyn Fn(Place, u64) -> Next + Sync),
    /// Takes the states that are handed over.
    pub keep: &'a (dyn Fn(State) -> Result<()> + Sync),
    /// Hears of each pass over images how long its steps waited for what is made ahead of them, and how long it took; nothing
    /// where nothing is.
    pub waited: Waited<'a>,
}

/// Hears how long something was waited for, and within what time.
pub type Waited<'a> = &'a (dyn Fn(Duration, Duration) + Sync);

impl Along<'_> {
    /// Training from the beginning to the end, unwatched.
    pub const ALONE: Along<'static> = Along {
        from: None,
        every: ledger::EVERY,
        watch: &|_, _| Next::Go,
        keep: &|_| Ok(()),
        waited: &|_, _| {},
    };
}

/// Whatever can train a network. The program has one, on libtorch; tests of the scheduler have one
/// without.
pub trait Trainer: Sync {
    /// Trains one network. The result depends on nothing but `setup`.
    ///
    /// # Errors
    /// [`Error::Interrupted`] where it was told to stop; otherwise what the trainer failed at.
    fn train(&self, setup: &Setup<'_>, along: &Along<'_>) -> Result<Trained>;

    /// Evaluates weights of a recipe's network on images, whose pixels are measured by `pixels`, as training does
    /// after each epoch. `name` is for messages.
    ///
    /// # Errors
    /// What the trainer failed at.
    fn evaluate(
        &self,
        name: &str,
        recipe: &Recipe,
        weights: &Weights,
        images: &Images,
        pixels: Pixels<'_>,
    ) -> Result<Evaluation>;

    /// Where and with what it trains, for manifests.
    ///
    /// # Errors
    /// Where that cannot be found out.
    fn environment(&self) -> Result<Environment>;
}

/// The trainer on libtorch.
pub struct Torch {
    numerics: &'static Numerics,
    #[cfg(test)]
    pub(crate) meddler: Option<Meddler>,
}

/// What tests do to weights and momentum after a step, to see it noticed. It is not in the program.
#[cfg(test)]
pub(crate) type Meddler = std::sync::Arc<dyn Fn(Place, &Net, &mut [Tensor]) + Send + Sync>;

impl Torch {
    /// A trainer under the numerics policy in force.
    pub fn new(numerics: &'static Numerics) -> Self {
        Self {
            numerics,
            #[cfg(test)]
            meddler: None,
        }
    }

    /// What was computed for that run, where the GPU's memory sufficed for it.
    fn sound<T>(&self, run: &str, computed: T) -> Result<T> {
        match self.numerics.memory_sufficed() {
            Ok(()) => Ok(computed),
            Err(message) => Err(Error::Torch { run: run.to_owned(), message }),
        }
    }
}

impl Trainer for Torch {
    fn train(&self, setup: &Setup<'_>, along: &Along<'_>) -> Result<Trained> {
        self.numerics.enter_thread();
        let trained = || -> Result<Trained, Problem> {
            #[cfg_attr(not(test), expect(unused_mut, reason = "tests meddle"))]
            let mut passes = Passes::new(setup, along, self.numerics.device())?;
            #[cfg(test)]
            passes.meddler.clone_from(&self.meddler);
            self.numerics.release_memory();
            // No state is kept that a GPU may have come to otherwise.
            let keep = |state| self.sound(setup.name, ()).and_then(|()| (along.keep)(state));
            passes.run(&Along { from: None, keep: &keep, ..*along })
        };
        let trained = trained();
        self.numerics.release_memory();
        self.sound(setup.name, trained.map_err(|problem| problem.of(setup.name))?)
    }

    fn evaluate(
        &self,
        name: &str,
        recipe: &Recipe,
        weights: &Weights,
        images: &Images,
        pixels: Pixels<'_>,
    ) -> Result<Evaluation> {
        self.numerics.enter_thread();
        let evaluated = || -> Result<Evaluation, Problem> {
            let net = Net::new(recipe.network.layout, weights, LAYERS, self.numerics.device())?;
            evaluate(&net, 0, &Features::new(images, pixels, recipe.input.as_ref(), &net, 0)?, &|_, _| {})
        };
        let evaluated = evaluated();
        self.numerics.release_memory();
        self.sound(name, evaluated.map_err(|problem| problem.of(name))?)
    }

    fn environment(&self) -> Result<Environment> {
        self.numerics.environment()
    }
}

/// Why a pass could not go on.
enum Problem {
    Torch(TchError),
    Other(Error),
}

impl Problem {
    /// As an error of that run, in one line.
    fn of(self, run: &str) -> Error {
        match self {
            Self::Torch(error) => Error::Torch { run: run.to_owned(), message: net::said(&error) },
            Self::Other(error) => error,
        }
    }
}

impl From<TchError> for Problem {
    fn from(error: TchError) -> Self {
        Self::Torch(error)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod caffe;
