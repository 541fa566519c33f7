//! The training loop: one network from its initial to its final weights, on libtorch.
//!
//! Uses `net`, `numerics`, `recipe`; used by `run` through the [`Trainer`] trait, so that all else is
//! tested without it. One of three modules that know libtorch. A run computes on the calling thread
//! alone. Frozen layers are computed once for all images, and training goes on from what leaves them, as far as
//! nothing about it is drawn in each step.

mod features;
mod feed;

use self::features::Features;
use self::feed::{Wanted, fed};
use crate::architecture::{DROPPED, LAYERS, cached, drops};
use crate::data::Images;
use crate::digest::OrderDigest;
use crate::error::{Error, Result};
use crate::input::{self, Pixels};
use crate::ledger::{self, Ledger, Place};
use crate::manifest::{Count, Environment, Epoch};
use crate::net::{self, Masks, Net};
use crate::numerics::Numerics;
use crate::protocol::{Solver, Update};
use crate::recipe::{Recipe, order_digest};
use crate::snapshot::{Progress, State};
use crate::weights::{Layer, Weights};
use tch::{Device, Kind, Reduction, TchError, Tensor};

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
}

impl Along<'_> {
    /// Training from the beginning to the end, unwatched.
    pub const ALONE: Along<'static> =
        Along { from: None, every: ledger::EVERY, watch: &|_, _| Next::Go, keep: &|_| Ok(()) };
}

/// Whatever can train a network. The program has one, on libtorch; tests of the scheduler have one
/// without.
pub trait Trainer: Sync {
    /// Trains one network. The result depends on nothing but `task`.
    ///
    /// # Errors
    /// [`Error::Interrupted`] where it was told to stop; otherwise what the trainer failed at.
    fn train(&self, task: &Task<'_>, along: &Along<'_>) -> Result<Trained>;

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
}

impl Trainer for Torch {
    fn train(&self, task: &Task<'_>, along: &Along<'_>) -> Result<Trained> {
        self.numerics.enter_thread();
        let failed = |error| torch_error(task.name, &error);
        let mut loop_ =
            Loop::new(task, along, self.numerics.device()).map_err(|problem| problem.of(task.name))?;
        #[cfg(test)]
        loop_.meddler.clone_from(&self.meddler);
        while loop_.progress.place.epoch < task.recipe.solver.epochs {
            match loop_.epoch(along).map_err(|problem| problem.of(task.name))? {
                Pass::Finished => {}
                Pass::Diverged { step } => {
                    let Progress { place, epochs, ledger, .. } = loop_.progress;
                    return Ok(Trained::Diverged { epochs, epoch: place.epoch, step, ledger });
                }
            }
        }
        let Progress { epochs, ledger, .. } = loop_.progress;
        Ok(Trained::Whole { weights: loop_.net.weights().map_err(failed)?, epochs, ledger })
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
            evaluate(&net, 0, &Features::new(images, pixels, recipe.input.as_ref(), &net, 0)?)
        };
        evaluated().map_err(|problem| problem.of(name))
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

/// How a pass over the training images ended.
enum Pass {
    Finished,
    Diverged { step: u32 },
}

/// Why a pass could not go on.
enum Problem {
    Torch(TchError),
    Other(Error),
}

impl Problem {
    fn of(self, run: &str) -> Error {
        match self {
            Self::Torch(error) => torch_error(run, &error),
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

/// The state of one run between steps.
struct Loop<'a> {
    recipe: &'a Recipe,
    steps: u32,
    net: Net,
    frozen: usize,
    // Layers of `frozen` that are computed once.
    cached: usize,
    // One for each trained tensor, in the same order: its last change, before the learning rate; where that is
    // multiplied into the momentum, after it.
    velocity: Vec<Tensor>,
    train: Features<'a>,
    valid: Features<'a>,
    progress: Progress,
    #[cfg(test)]
    meddler: Option<Meddler>,
}

impl<'a> Loop<'a> {
    fn new(task: &Task<'a>, along: &Along<'_>, device: Device) -> Result<Self, Problem> {
        let frozen = usize::from(task.recipe.treatment.frozen());
        let (layout, input) = (task.recipe.network.layout, task.recipe.input.as_ref());
        let cached = cached(layout, input.is_none(), frozen);
        let steps = task.recipe.solver.steps_of(task.train.len());
        // What cannot be a state of this run is none to go on from.
        let fits = |state: &&State| state.fits(task.recipe, task.initial, steps, task.train.len());
        let from = along.from.as_ref().filter(fits);
        let net = Net::new(layout, from.map_or(task.initial, |state| &state.weights), frozen, device)?;
        let (velocity, progress) = match from {
            Some(state) => {
                let tensors = state.momentum.iter().flat_map(|layer| [&layer.weight, &layer.bias]);
                let tensors = tensors.map(|tensor| net::to_tensor(tensor, device));
                (tensors.collect::<Result<_, TchError>>()?, state.progress.clone())
            }
            None => {
                let zeros = net.trained(frozen).into_iter().map(Tensor::f_zeros_like);
                let progress = Progress {
                    recipe: task.recipe.digest(),
                    place: Place::START,
                    epochs: Vec::new(),
                    loss_sum: 0.0,
                    correct: 0,
                    ledger: Ledger::new(along.every),
                    wall_ms: 0,
                    fingerprint: None,
                };
                (zeros.collect::<Result<_, TchError>>()?, progress)
            }
        };
        let features = |images| Features::new(images, task.pixels, input, &net, cached);
        let (train, valid) = (features(task.train)?, features(task.valid)?);
        Ok(Self {
            recipe: task.recipe,
            steps,
            net,
            frozen,
            cached,
            velocity,
            train,
            valid,
            progress,
            #[cfg(test)]
            meddler: None,
        })
    }

    /// The rest of a pass over the training images, then one over the validation images.
    fn epoch(&mut self, along: &Along<'_>) -> Result<Pass, Problem> {
        let epoch = self.progress.place.epoch;
        let order = self.recipe.order(epoch, self.train.len());
        let visited = order_digest(&order);
        let rate = self.recipe.solver.rate_at(epoch);
        let size = self.recipe.solver.batch as usize;
        let steps = || order.chunks(size).enumerate().skip(self.progress.place.step as usize);
        let (recipe, source) = (self.recipe, self.train.source());
        let windows = |(step, batch): (usize, &[u32])| {
            let source = source.expect("there are windows to cut");
            let place = Place { epoch, step: step as u32 };
            let windows = input::windows(recipe, source.input, place, source.images.shape(), batch.len());
            batch.iter().map(|index| *index as usize).zip(windows).collect()
        };
        let (batches, steps) = (steps().map(windows), steps());
        let pass = fed(source, batches, |next| self.steps(along, steps, rate, visited, next))?;
        if let Pass::Diverged { .. } = pass {
            return Ok(pass);
        }
        let valid = evaluate(&self.net, self.cached, &self.valid)?;
        // The last step's own loss was that of the weights before it.
        if !valid.loss.is_finite() {
            return Ok(Pass::Diverged { step: self.steps });
        }
        let total = order.len() as u32;
        let Progress { place, epochs, loss_sum, correct, .. } = &mut self.progress;
        epochs.push(Epoch {
            rate,
            order: visited,
            train_loss: *loss_sum / f64::from(total),
            train: Count { correct: *correct, total },
            valid_loss: valid.loss,
            valid: valid.count(),
        });
        (*place, *loss_sum, *correct) = (Place { epoch: epoch + 1, step: 0 }, 0.0, 0);
        Ok(Pass::Finished)
    }

    /// Those steps, each on its batch, for which `next` has what is cut out for it.
    fn steps<'b>(
        &mut self,
        along: &Along<'_>,
        steps: impl Iterator<Item = (usize, &'b [u32])>,
        rate: f64,
        visited: OrderDigest,
        next: &mut dyn FnMut() -> Result<Option<Vec<f32>>>,
    ) -> Result<Pass, Problem> {
        let (epoch, size) = (self.progress.place.epoch, self.recipe.solver.batch as usize);
        let visits = self.recipe.solver.visits_of(self.train.len());
        for (step, batch) in steps {
            let (loss, hits) = self.step(batch, next()?, rate)?;
            #[cfg(test)]
            if let Some(meddle) = &self.meddler {
                meddle(Place { epoch, step: step as u32 + 1 }, &self.net, &mut self.velocity);
            }
            if !loss.is_finite() {
                return Ok(Pass::Diverged { step: step as u32 });
            }
            self.progress.loss_sum += loss * batch.len() as f64;
            self.progress.correct += hits;
            self.progress.place.step = step as u32 + 1;
            if self.progress.ledger.due(self.progress.place.step, self.steps) {
                self.write_ledger(visited)?;
            }
            let images = epoch as usize * visits + step * size + batch.len();
            match (along.watch)(self.progress.place, images as u64) {
                Next::Go => {}
                Next::Keep => (along.keep)(self.state()?)?,
                Next::Stop => {
                    (along.keep)(self.state()?)?;
                    return Err(Error::Interrupted.into());
                }
            }
        }
        Ok(Pass::Finished)
    }

    /// Weights of all layers and momentum, as they are now, into the ledger.
    fn write_ledger(&mut self, order: OrderDigest) -> Result<(), TchError> {
        let tensors = self.net.trained(0).into_iter().chain(&self.velocity);
        self.progress.ledger.add(self.progress.place, order, tensors.map(net::bytes))
    }

    /// All that training needs to go on from here.
    fn state(&self) -> Result<State, TchError> {
        let momentum = self
            .velocity
            .chunks_exact(2)
            .map(|pair| Ok(Layer { weight: net::from_tensor(&pair[0])?, bias: net::from_tensor(&pair[1])? }));
        Ok(State {
            progress: self.progress.clone(),
            weights: self.net.weights()?,
            momentum: momentum.collect::<Result<_, TchError>>()?,
        })
    }

    /// One step of gradient descent on the training images of those indices, of which `cut` was cut out: their
    /// mean loss and how many were right, both before the weights changed.
    fn step(&mut self, batch: &[u32], cut: Option<Vec<f32>>, rate: f64) -> Result<(f64, u32), Problem> {
        let (inputs, labels) = self.train.batch(batch, cut)?;
        let masks = self.masks(batch.len())?;
        let logits = self.net.pass(&inputs, self.cached..LAYERS, masks.as_ref())?;
        let loss = logits.f_cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0)?;
        let value = f64::try_from(&loss)?;
        if !value.is_finite() {
            return Ok((value, 0));
        }
        let parameters = self.net.trained(self.frozen);
        let gradients = Tensor::f_run_backward(&[&loss], &parameters, false, false)?;
        let solver = &self.recipe.solver;
        tch::no_grad(|| -> Result<(), TchError> {
            for ((weight, velocity), gradient) in
                parameters.into_iter().zip(&mut self.velocity).zip(gradients)
            {
                #[cfg(test)]
                if crate::faults::hooks::update(weight, velocity, &gradient, solver, rate, batch.len())? {
                    continue;
                }
                update(solver, rate, weight, velocity, &gradient)?;
            }
            Ok(())
        })?;
        let hits = i64::try_from(&hits(&logits, &labels)?.f_sum(Kind::Int64)?)?;
        Ok((value, hits as u32))
    }

    /// What is dropped in the next step, of so many images; none where the layout drops nothing.
    fn masks(&self, images: usize) -> Result<Option<Masks>, TchError> {
        if !drops(self.recipe.network.layout) {
            return Ok(None);
        }
        let masks = DROPPED.zip(self.recipe.network.hidden).map(|(layer, units)| {
            let mask = input::mask(self.recipe, self.progress.place, layer - 1, images * units as usize);
            let mask = Tensor::f_from_slice(&mask)?.f_reshape([images as i64, i64::from(units)]);
            mask?.f_to_device(self.net.device())
        });
        let masks = masks.collect::<Result<Vec<_>, TchError>>()?;
        Ok(Some(masks.try_into().expect("a mask for each")))
    }
}

/// Numbers of a tensor that are updated at once on a CPU: what is computed on the way then stays in its cache. With 61
/// million weights it is four times as fast as all at once; no number's bits depend on it.
const PIECE: i64 = 1 << 15;

/// Changes one weight and its momentum, in place.
fn update(
    solver: &Solver,
    rate: f64,
    weight: &Tensor,
    velocity: &Tensor,
    gradient: &Tensor,
) -> Result<(), TchError> {
    let (is_bias, total) = (weight.dim() == 1, weight.numel() as i64);
    if total <= PIECE || weight.device() != Device::Cpu {
        return update_piece(solver, rate, is_bias, weight, velocity, gradient);
    }
    // A convolution's gradient may lie in memory in another order.
    let [weight, velocity, gradient] = [weight, velocity, &gradient.f_contiguous()?].map(|it| it.f_view(-1));
    let (weight, velocity, gradient) = (weight?, velocity?, gradient?);
    for start in (0..total).step_by(PIECE as usize) {
        let piece = |tensor: &Tensor| tensor.f_narrow(0, start, PIECE.min(total - start));
        update_piece(solver, rate, is_bias, &piece(&weight)?, &piece(&velocity)?, &piece(&gradient)?)?;
    }
    Ok(())
}

/// Changes a part of one weight and of its momentum, in place.
fn update_piece(
    solver: &Solver,
    rate: f64,
    is_bias: bool,
    weight: &Tensor,
    velocity: &Tensor,
    gradient: &Tensor,
) -> Result<(), TchError> {
    let (mut weight, mut velocity) = (weight.shallow_clone(), velocity.shallow_clone());
    match solver.update {
        // v ← momentum · v + gradient + decay · w;  w ← w − rate · v
        None => {
            let change = gradient.f_add(&weight.f_mul_scalar(solver.decay)?)?;
            let _ = velocity.f_mul_scalar_(solver.momentum)?.f_add_(&change)?;
            let _ = weight.f_sub_(&velocity.f_mul_scalar(rate)?)?;
        }
        // v ← momentum · v + rate · (gradient + decay · w);  w ← w − v
        Some(Update::Caffe) => {
            let change = match is_bias {
                true => gradient.f_mul_scalar(2.0 * rate)?,
                false => gradient.f_add(&weight.f_mul_scalar(solver.decay)?)?.f_mul_scalar(rate)?,
            };
            let _ = velocity.f_mul_scalar_(solver.momentum)?.f_add_(&change)?;
            let _ = weight.f_sub_(&velocity)?;
        }
    }
    Ok(())
}

/// What the layers from `first` on make of what enters them.
fn evaluate(net: &Net, first: usize, features: &Features<'_>) -> Result<Evaluation, Problem> {
    let source = features.source();
    let middles = |range| -> Wanted { source.expect("there are windows to cut").middles(range) };
    fed(source, features.ranges().map(middles), |next| {
        let (mut loss_sum, mut right) = (0.0, Vec::new());
        for range in features.ranges() {
            let (inputs, labels) = features.range(&range, next()?)?;
            let logits = tch::no_grad(|| net.forward(&inputs, first..LAYERS))?;
            let loss = logits.f_cross_entropy_loss::<Tensor>(&labels, None, Reduction::Sum, -100, 0.0)?;
            loss_sum += f64::try_from(&loss)?;
            right.extend(Vec::<bool>::try_from(hits(&logits, &labels)?)?);
        }
        Ok(Evaluation { loss: loss_sum / features.len() as f64, right })
    })
}

/// Whether each row has its largest value where the label says.
fn hits(logits: &Tensor, labels: &Tensor) -> Result<Tensor, TchError> {
    logits.f_argmax(1, false)?.f_eq_tensor(labels)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod caffe;
