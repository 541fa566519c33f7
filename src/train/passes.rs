//! The passes over the images: steps, validation, ledger entries and states between them.
//!
//! Uses `net`, `input`, `ledger`, and `features`, `feed` and `update` beside it; a part of `train`.

#[cfg(test)]
use super::Meddler;
use super::features::Features;
use super::feed::{Cut, ahead};
use super::update::update;
use super::{Along, Evaluation, Next, Problem, Setup, Trained, Waited};
use crate::architecture::{DROPPED, LAYERS, cached, drops};
use crate::digest::OrderDigest;
use crate::error::{Error, Result};
use crate::input;
use crate::ledger::{Ledger, Place};
use crate::manifest::{Count, Epoch};
use crate::net::{self, Masks, Net};
use crate::recipe::{Recipe, order_digest};
use crate::snapshot::{Progress, State};
use crate::weights::Layer;
use tch::{Device, Kind, Reduction, TchError, Tensor};

/// The state of one run between steps.
pub(super) struct Passes<'a> {
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
    pub(super) meddler: Option<Meddler>,
}

impl<'a> Passes<'a> {
    pub(super) fn new(setup: &Setup<'a>, along: &Along<'_>, device: Device) -> Result<Self, Problem> {
        let frozen = usize::from(setup.recipe.treatment.frozen());
        let (layout, input) = (setup.recipe.network.layout, setup.recipe.input.as_ref());
        let cached = cached(layout, input.is_none(), frozen);
        let steps = setup.recipe.solver.steps_of(setup.train.len());
        let from = along.from.as_ref();
        let fits = |state: &State| state.fits(setup.recipe, setup.initial, steps, setup.train.len());
        assert!(from.is_none_or(fits), "whoever has a state asks first whether it fits");
        let net = Net::new(layout, from.map_or(setup.initial, |state| &state.weights), frozen, device)?;
        let (velocity, progress) = match from {
            Some(state) => {
                let tensors = state.momentum.iter().flat_map(|layer| [&layer.weight, &layer.bias]);
                let tensors = tensors.map(|tensor| net::to_tensor(tensor, device));
                (tensors.collect::<Result<_, TchError>>()?, state.progress.clone())
            }
            None => {
                let zeros = net.trained(frozen).into_iter().map(Tensor::f_zeros_like);
                let progress = Progress {
                    recipe: setup.recipe.digest(),
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
        let features = |images| Features::new(images, setup.pixels, input, &net, cached);
        let (train, valid) = (features(setup.train)?, features(setup.valid)?);
        Ok(Self {
            recipe: setup.recipe,
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

    /// All passes that are left.
    pub(super) fn run(mut self, along: &Along<'_>) -> Result<Trained, Problem> {
        while self.progress.place.epoch < self.recipe.solver.epochs {
            if let Pass::Diverged { step } = self.epoch(along)? {
                let Progress { place, epochs, ledger, .. } = self.progress;
                return Ok(Trained::Diverged { epochs, epoch: place.epoch, step, ledger });
            }
        }
        let Progress { epochs, ledger, .. } = self.progress;
        Ok(Trained::Whole { weights: self.net.weights()?, epochs, ledger })
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
        let made = |(step, batch): (usize, &[u32])| {
            let place = Place { epoch, step: step as u32 };
            let cut = source.map(|source| {
                let windows = input::windows(recipe, source.input, place, source.images.shape(), batch.len());
                source.cut(&batch.iter().map(|index| *index as usize).zip(windows).collect())
            });
            Ok(Made { cut: cut.transpose()?, dropped: dropped(recipe, place, batch.len()) })
        };
        let indices = self.train.indices(&order)?;
        let batch = |(step, batch): (usize, &[u32])| {
            (step, indices.f_narrow(0, (step * size) as i64, batch.len() as i64))
        };
        let (made, steps) = (steps().map(made), steps().map(batch));
        let dear = source.is_some() || drops(recipe.network.layout);
        let pass = ahead(dear, along.waited, made, |next| self.steps(along, steps, rate, visited, next))?;
        if let Pass::Diverged { .. } = pass {
            return Ok(pass);
        }
        let valid = evaluate(&self.net, self.cached, &self.valid, along.waited)?;
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

    /// Those steps, each on the images of its indices and with what `next` has for it.
    fn steps(
        &mut self,
        along: &Along<'_>,
        steps: impl Iterator<Item = (usize, Result<Tensor, TchError>)>,
        rate: f64,
        visited: OrderDigest,
        next: &mut dyn FnMut() -> Result<Made>,
    ) -> Result<Pass, Problem> {
        let (epoch, size) = (self.progress.place.epoch, self.recipe.solver.batch as usize);
        let visits = self.recipe.solver.visits_of(self.train.len());
        for (step, indices) in steps {
            let indices = indices?;
            let batch = indices.numel();
            let (loss, hits) = self.step(&indices, next()?, rate)?;
            #[cfg(test)]
            if let Some(meddle) = &self.meddler {
                meddle(Place { epoch, step: step as u32 + 1 }, &self.net, &mut self.velocity);
            }
            if !loss.is_finite() {
                return Ok(Pass::Diverged { step: step as u32 });
            }
            self.progress.loss_sum += loss * batch as f64;
            self.progress.correct += hits;
            self.progress.place.step = step as u32 + 1;
            if self.progress.ledger.due(self.progress.place.step, self.steps) {
                self.write_ledger(visited)?;
            }
            let images = epoch as usize * visits + step * size + batch;
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

    /// One step of gradient descent on the training images of those indices, with what was made for it: their
    /// mean loss and how many were right, both before the weights changed.
    fn step(&mut self, indices: &Tensor, made: Made, rate: f64) -> Result<(f64, u32), Problem> {
        let (inputs, labels) = self.train.batch(indices, made.cut)?;
        let masks = made.dropped.map(|dropped| self.masks(dropped)).transpose()?;
        let logits = self.net.pass(&inputs, self.cached..LAYERS, masks.as_ref())?;
        let loss = logits.f_cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0)?;
        let parameters = self.net.trained(self.frozen);
        let gradients = Tensor::f_run_backward(&[&loss], &parameters, false, false)?;
        // A GPU is not waited for before it was told all that it can be.
        let hits = hits(&logits, &labels)?.f_sum(Kind::Int64)?;
        let (value, hits) = (f64::try_from(&loss)?, i64::try_from(&hits)?);
        if !value.is_finite() {
            return Ok((value, 0));
        }
        let changes = parameters.into_iter().zip(&self.velocity).zip(gradients);
        let changes = changes.map(|((weight, velocity), gradient)| {
            [weight.shallow_clone(), velocity.shallow_clone(), gradient]
        });
        tch::no_grad(|| -> Result<(), TchError> {
            let solver = &self.recipe.solver;
            #[cfg(not(test))]
            let changes = changes.collect();
            #[cfg(test)]
            let changes = crate::faults::hooks::left_to_make(changes, solver, rate, indices.numel())?;
            update(solver, rate, changes)
        })?;
        Ok((value, hits as u32))
    }

    /// What is dropped, on the device.
    fn masks(&self, dropped: [Vec<u8>; 2]) -> Result<Masks, TchError> {
        let masks = dropped.into_iter().zip(self.recipe.network.hidden).map(|(mask, units)| {
            Tensor::f_from_slice(&mask)?.f_reshape([-1, i64::from(units)])?.f_to_device(self.net.device())
        });
        Ok(masks.collect::<Result<Vec<_>, TchError>>()?.try_into().expect("a mask for each"))
    }
}

/// What is made for one step ahead of it: windows, and for each layer that drops units the factors of its units.
struct Made {
    cut: Option<Cut>,
    dropped: Option<[Vec<u8>; 2]>,
}

/// What is dropped in the step at that place, of so many images; none where the layout drops nothing.
fn dropped(recipe: &Recipe, place: Place, images: usize) -> Option<[Vec<u8>; 2]> {
    let mask = |(layer, units)| input::mask(recipe, place, layer - 1, images * units as usize);
    let masks = || DROPPED.zip(recipe.network.hidden).map(mask).collect::<Vec<_>>();
    drops(recipe.network.layout).then(|| masks().try_into().expect("a mask for each"))
}

/// How a pass over the training images ended.
enum Pass {
    Finished,
    Diverged { step: u32 },
}

/// What the layers from `first` on make of what enters them.
pub(super) fn evaluate(
    net: &Net,
    first: usize,
    features: &Features<'_>,
    waited: Waited<'_>,
) -> Result<Evaluation, Problem> {
    let source = features.source();
    let cut = |range| source.map(|source| source.cut(&source.middles(range))).transpose();
    ahead(source.is_some(), waited, features.ranges().map(cut), |next| {
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
