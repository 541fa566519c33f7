//! The training loop: one network from its initial to its final weights, on libtorch.
//!
//! Uses `net`, `numerics`, `recipe`; used by `run` through the [`Trainer`] trait, so that all else is
//! tested without it. One of three modules that know libtorch. A run computes on the calling thread
//! alone. Frozen layers are computed once for all images, and training goes on from what leaves them.

use crate::architecture::LAYERS;
use crate::data::Images;
use crate::error::{Error, Result};
use crate::manifest::{Count, Environment, Epoch};
use crate::net::{self, Net};
use crate::numerics::Numerics;
use crate::recipe::{Recipe, order_digest};
use crate::weights::Weights;
use tch::{Kind, Reduction, TchError, Tensor};

/// Images that are evaluated at once. It is part of the training core: another number may change
/// the last bits of a loss.
const EVALUATED_AT_ONCE: i64 = 250;

/// All that a trainer needs for one network.
pub struct Task<'a> {
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
    /// Mean and deviation of the data set's pixels, on the scale 0 to 1.
    pub moments: (f64, f64),
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
    },
    /// The loss was not finite in that step, or in the validation after the epoch, and training stopped.
    Diverged {
        /// The epochs that were finished.
        epochs: Vec<Epoch>,
        /// The epoch, from 0.
        epoch: u32,
        /// The step within it, from 0; as many as there are steps where it was the validation.
        step: u32,
    },
}

/// Hears how far a run is, after each step: images trained on so far. Its answer is whether to go on.
pub type Watch<'a> = &'a (dyn Fn(u64) -> bool + Sync);

/// Whatever can train a network. The program has one, on libtorch; tests of the scheduler have one
/// without.
pub trait Trainer: Sync {
    /// Trains one network. The result depends on nothing but `task`.
    ///
    /// # Errors
    /// [`Error::Interrupted`] where `watch` said to stop; otherwise what the trainer failed at.
    fn train(&self, task: &Task<'_>, watch: Watch<'_>) -> Result<Trained>;

    /// Where and with what it trains, for manifests.
    ///
    /// # Errors
    /// Where that cannot be found out.
    fn environment(&self) -> Result<Environment>;
}

/// The trainer on libtorch.
pub struct Torch {
    numerics: &'static Numerics,
}

impl Torch {
    /// A trainer under the numerics policy in force.
    pub fn new(numerics: &'static Numerics) -> Self {
        Self { numerics }
    }
}

impl Trainer for Torch {
    fn train(&self, task: &Task<'_>, watch: Watch<'_>) -> Result<Trained> {
        self.numerics.enter_thread();
        let failed = |error| torch_error(task.name, &error);
        let mut loop_ = Loop::new(task).map_err(failed)?;
        let mut epochs = Vec::new();
        for epoch in 0..task.recipe.solver.epochs {
            match loop_.epoch(epoch, watch).map_err(failed)? {
                Pass::Finished(record) => epochs.push(record),
                Pass::Diverged { step } => return Ok(Trained::Diverged { epochs, epoch, step }),
                Pass::Stopped => return Err(Error::Interrupted),
            }
        }
        Ok(Trained::Whole { weights: loop_.net.weights().map_err(failed)?, epochs })
    }

    fn environment(&self) -> Result<Environment> {
        self.numerics.environment()
    }
}

/// What libtorch failed at, in one line: its errors go on with a stack.
fn torch_error(run: &str, error: &TchError) -> Error {
    let text = error.to_string();
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    Error::Torch { run: run.to_owned(), message: line.trim().to_owned() }
}

/// Images as they enter the first trained layer, with their labels.
struct Features {
    inputs: Tensor,
    labels: Tensor,
}

impl Features {
    /// Runs all images through the frozen layers, once.
    fn new(images: &Images, moments: (f64, f64), net: &Net, frozen: usize) -> Result<Self, TchError> {
        let labels: Vec<i64> = images.labels.iter().map(|label| i64::from(*label)).collect();
        let scaled = net::scaled(&images.pixels, images.rows, images.cols, moments)?;
        let inputs = if frozen == 0 {
            scaled
        } else {
            let parts = scaled.f_split(EVALUATED_AT_ONCE, 0)?;
            let through = |part| net::rest(&tch::no_grad(|| net.forward(part, 0..frozen))?);
            Tensor::f_cat(&parts.iter().map(through).collect::<Result<Vec<_>, _>>()?, 0)?
        };
        Ok(Self { inputs, labels: Tensor::f_from_slice(&labels)? })
    }

    fn len(&self) -> i64 {
        self.labels.size()[0]
    }
}

/// How a pass over the training images ended.
enum Pass {
    Finished(Epoch),
    Diverged { step: u32 },
    Stopped,
}

/// The state of one run between steps.
struct Loop<'a> {
    recipe: &'a Recipe,
    net: Net,
    frozen: usize,
    // One for each trained tensor, in the same order: its last change, before the learning rate.
    velocity: Vec<Tensor>,
    train: Features,
    valid: Features,
    images_done: u64,
}

impl<'a> Loop<'a> {
    fn new(task: &Task<'a>) -> Result<Self, TchError> {
        let frozen = usize::from(task.recipe.treatment.frozen());
        let net = Net::new(task.initial, frozen)?;
        let velocity = net.trained(frozen).into_iter().map(Tensor::f_zeros_like);
        let velocity = velocity.collect::<Result<_, _>>()?;
        let features = |images| Features::new(images, task.moments, &net, frozen);
        let (train, valid) = (features(task.train)?, features(task.valid)?);
        Ok(Self { recipe: task.recipe, net, frozen, velocity, train, valid, images_done: 0 })
    }

    /// One pass over the training images, then one over the validation images.
    fn epoch(&mut self, epoch: u32, watch: Watch<'_>) -> Result<Pass, TchError> {
        let order = self.recipe.order(epoch, self.train.len() as usize);
        let rate = self.recipe.solver.rate_at(epoch);
        let (mut loss_sum, mut correct) = (0.0, 0);
        for (step, batch) in order.chunks(self.recipe.solver.batch as usize).enumerate() {
            let indices: Vec<i64> = batch.iter().map(|index| i64::from(*index)).collect();
            let (loss, hits) = self.step(&Tensor::f_from_slice(&indices)?, rate)?;
            if !loss.is_finite() {
                return Ok(Pass::Diverged { step: step as u32 });
            }
            loss_sum += loss * batch.len() as f64;
            correct += hits;
            self.images_done += batch.len() as u64;
            if !watch(self.images_done) {
                return Ok(Pass::Stopped);
            }
        }
        let (valid_loss, valid) = self.evaluate()?;
        // The last step's own loss was that of the weights before it.
        if !valid_loss.is_finite() {
            let steps = order.len().div_ceil(self.recipe.solver.batch as usize);
            return Ok(Pass::Diverged { step: steps as u32 });
        }
        let total = order.len() as u32;
        Ok(Pass::Finished(Epoch {
            rate,
            order: order_digest(&order),
            train_loss: loss_sum / f64::from(total),
            train: Count { correct, total },
            valid_loss,
            valid,
        }))
    }

    /// One step of gradient descent on the training images of those indices: their mean loss and how
    /// many were right, both before the weights changed.
    fn step(&mut self, indices: &Tensor, rate: f64) -> Result<(f64, u32), TchError> {
        let inputs = self.train.inputs.f_index_select(0, indices)?;
        let labels = self.train.labels.f_index_select(0, indices)?;
        let logits = self.net.forward(&inputs, self.frozen..LAYERS)?;
        let loss = logits.f_cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0)?;
        let value = f64::try_from(&loss)?;
        if !value.is_finite() {
            return Ok((value, 0));
        }
        let parameters = self.net.trained(self.frozen);
        let gradients = Tensor::f_run_backward(&[&loss], &parameters, false, false)?;
        let solver = &self.recipe.solver;
        tch::no_grad(|| -> Result<(), TchError> {
            // v ← momentum · v + gradient + decay · w;  w ← w − rate · v
            for ((weight, velocity), gradient) in
                parameters.into_iter().zip(&mut self.velocity).zip(gradients)
            {
                let change = gradient.f_add(&weight.f_mul_scalar(solver.decay)?)?;
                let _ = velocity.f_mul_scalar_(solver.momentum)?.f_add_(&change)?;
                let _ = weight.shallow_clone().f_sub_(&velocity.f_mul_scalar(rate)?)?;
            }
            Ok(())
        })?;
        Ok((value, hits(&logits, &labels)?))
    }

    /// Mean loss and right answers on all validation images.
    fn evaluate(&self) -> Result<(f64, Count), TchError> {
        let (mut loss_sum, mut correct) = (0.0, 0);
        let total = self.valid.len();
        let mut start = 0;
        while start < total {
            let length = EVALUATED_AT_ONCE.min(total - start);
            let labels = self.valid.labels.f_narrow(0, start, length)?;
            let inputs = self.valid.inputs.f_narrow(0, start, length)?;
            let logits = tch::no_grad(|| self.net.forward(&inputs, self.frozen..LAYERS))?;
            let loss = logits.f_cross_entropy_loss::<Tensor>(&labels, None, Reduction::Sum, -100, 0.0)?;
            loss_sum += f64::try_from(&loss)?;
            correct += hits(&logits, &labels)?;
            start += length;
        }
        Ok((loss_sum / total as f64, Count { correct, total: total as u32 }))
    }
}

/// How many rows have their largest value where the label says.
fn hits(logits: &Tensor, labels: &Tensor) -> Result<u32, TchError> {
    let right = logits.f_argmax(1, false)?.f_eq_tensor(labels)?.f_sum(Kind::Int64)?;
    Ok(i64::try_from(&right)? as u32)
}

#[cfg(test)]
mod tests;
