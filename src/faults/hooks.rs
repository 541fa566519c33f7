//! Faults in code that others call: what `init`, `recipe`, `net` and `train` ask at one place each, in tests.
//!
//! Without a fault in the thread, each answers that there is none, and the code goes on as it is.

use super::{Fault, planted, soundly};
use crate::architecture::{self, CONVOLUTIONS, LAYERS, pools};
use crate::init;
use crate::protocol::Solver;
use crate::recipe::Recipe;
use crate::seed::Stream;
use crate::treatment::{Kind, Source, Treatment};
use crate::weights::{Layer, Weights};
use tch::{TchError, Tensor};

/// The first weights, from those that are right.
pub(crate) fn initial(
    recipe: &Recipe,
    shapes: &[architecture::Layer; LAYERS],
    parent: Option<&Weights>,
    mut layers: [Layer; LAYERS],
) -> [Layer; LAYERS] {
    let Some(planted) = planted() else { return layers };
    let n = usize::from(recipe.treatment.n());
    // What another recipe begins with.
    let other = |change: &dyn Fn(&mut Recipe)| {
        let mut other = recipe.clone();
        change(&mut other);
        soundly(|| init::initial(&other, shapes, parent)).layers
    };
    if let (Fault::FanOut, first) = (planted.fault, if recipe.treatment.parent().is_some() { n } else { 0 }) {
        for (layer, shape) in layers[first..].iter_mut().zip(&shapes[first..]) {
            let fan_out = shape.weight.iter().product::<usize>() / shape.weight[1];
            let factor = (shape.fan_in() as f64 / fan_out as f64).sqrt() as f32;
            layer.weight.values.iter_mut().for_each(|value| *value *= factor);
        }
    }
    let Treatment::Grafted { source, target, .. } = recipe.treatment else { return layers };
    match (planted.fault, source) {
        (Fault::CopiedTooFew, Source::Base { .. }) => {
            let fewer = |recipe: &mut Recipe| {
                recipe.treatment = Treatment::Grafted { source, n: n as u8 - 1, target };
            };
            layers[n - 1] = other(&fewer)[n - 1].clone();
        }
        (Fault::CopiedTooMany, Source::Base { .. }) => {
            layers[n] = parent.expect("it copies").layers[n].clone();
        }
        (Fault::BiasNotCopied, Source::Base { .. }) => {
            layers[..n].iter_mut().for_each(|layer| layer.bias.values.fill(0.0));
        }
        (Fault::CopiedUntrained, Source::Base { task, .. }) => {
            let base = other(&|recipe| recipe.treatment = Treatment::Base(task));
            layers[..n].clone_from_slice(&base[..n]);
        }
        (Fault::CopiedByReference, Source::Base { task, .. }) => {
            if let Some(changed) = planted.kept(&format!("base{task} now")) {
                layers[..n].clone_from_slice(&changed.layers[..n]);
            }
        }
        (Fault::TopOfBase, _) => {
            let base = other(&|recipe| recipe.treatment = Treatment::Base(target));
            layers[n..].clone_from_slice(&base[n..]);
        }
        (Fault::SeedIgnored, _) => layers[n..].clone_from_slice(&other(&|recipe| recipe.seed = 0)[n..]),
        (Fault::RandomFromBase, Source::Random) => {
            let base = planted.kept(&Treatment::Base(target).to_string()).expect("base networks come first");
            layers[..n].clone_from_slice(&base.layers[..n]);
        }
        _ => {}
    }
    layers
}

/// Whether a network has to be kept after training for what [`initial`] does with it, and as what.
pub(super) fn keeps(fault: Fault, treatment: Treatment) -> Option<String> {
    match (fault, treatment.kind()) {
        (Fault::RandomFromBase, Kind::Base) => Some(treatment.to_string()),
        (Fault::CopiedByReference, Kind::SelfferTuned | Kind::TransferTuned) => {
            treatment.parent().map(|base| format!("{base} now"))
        }
        _ => None,
    }
}

/// The order of an epoch.
pub(crate) fn order(recipe: &Recipe, epoch: u32, count: usize) -> Option<Vec<u32>> {
    let planted = planted()?;
    match planted.fault {
        Fault::GlobalGenerator => Some(planted.global.lock().unwrap().permutation(count)),
        Fault::SameOrder => Some(soundly(|| recipe.order(0, count))),
        Fault::NoOrder => Some((0..count as u32).collect()),
        Fault::WithReplacement => {
            let mut stream = Stream::open(&recipe.stream("order").and("epoch", epoch));
            Some((0..count).map(|_| stream.below(count as u64) as u32).collect())
        }
        _ => None,
    }
}

/// What leaves a layer that `x` enters.
pub(crate) fn layer(
    index: usize,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
) -> Result<Option<Tensor>, TchError> {
    let Some(planted) = planted() else { return Ok(None) };
    let convolved = |x: &Tensor, padding: i64| {
        x.f_conv2d(weight, Some(bias), [1, 1], [padding, padding], [1, 1], 1)?.f_relu()
    };
    // The experiment's network is of the small layout.
    let padding = 1;
    Ok(Some(match planted.fault {
        Fault::ReluMissing if index == LAYERS - 2 => x.f_linear(weight, Some(bias))?,
        Fault::AveragePool if pools(index) => {
            convolved(x, padding)?.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None::<i64>)?
        }
        Fault::BorderRepeated if index == 0 => {
            let wider = x.f_replication_pad2d([padding; 4])?;
            convolved(&wider, 0)?.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?
        }
        Fault::DropoutInEvaluation if index == CONVOLUTIONS => {
            let y = x.f_flatten(1, -1)?.f_linear(weight, Some(bias))?.f_relu()?;
            // Only training asks for gradients here.
            match y.requires_grad() {
                true => y,
                false => {
                    let mut stream = planted.global.lock().unwrap();
                    let mask: Vec<f32> = (0..y.numel()).map(|_| 2.0 * stream.below(2) as f32).collect();
                    y.f_mul(&Tensor::f_from_slice(&mask)?.f_reshape(y.size())?)?
                }
            }
        }
        _ => return Ok(None),
    }))
}

/// Takes the step of those tensors of which it is to be another, with a batch of so many images: weights, their momentum
/// and gradients. What comes back is left to be done as it should.
pub(crate) fn left_to_make(
    changes: impl Iterator<Item = [Tensor; 3]>,
    solver: &Solver,
    rate: f64,
    batch: usize,
) -> Result<Vec<[Tensor; 3]>, TchError> {
    let mut left = Vec::new();
    for mut change in changes {
        if !made(&mut change, solver, rate, batch)? {
            left.push(change);
        }
    }
    Ok(left)
}

/// Takes a step for one tensor; false where the right step is to be taken.
fn made(
    [weight, velocity, gradient]: &mut [Tensor; 3],
    solver: &Solver,
    rate: f64,
    batch: usize,
) -> Result<bool, TchError> {
    let Some(planted) = planted() else { return Ok(false) };
    let decay = weight.f_mul_scalar(solver.decay)?;
    let change = gradient.f_add(&decay)?;
    let mut push =
        |change: &Tensor| velocity.f_mul_scalar_(solver.momentum)?.f_add_(change).map(|v| v.shallow_clone());
    let step = match planted.fault {
        Fault::SummedLoss => {
            push(&gradient.f_mul_scalar(batch as f64)?.f_add(&decay)?)?.f_mul_scalar(rate)?
        }
        Fault::Nesterov => {
            let velocity = push(&change)?;
            change.f_add(&velocity.f_mul_scalar(solver.momentum)?)?.f_mul_scalar(rate)?
        }
        Fault::BiasNotDecayed if weight.dim() == 1 => push(gradient)?.f_mul_scalar(rate)?,
        Fault::DecoupledDecay => push(gradient)?.f_add(&decay)?.f_mul_scalar(rate)?,
        Fault::RateInMomentum => push(&change.f_mul_scalar(rate)?)?,
        Fault::LastBatchDropped if batch < solver.batch as usize => return Ok(true),
        _ => return Ok(false),
    };
    let _ = weight.f_sub_(&step)?;
    Ok(true)
}
