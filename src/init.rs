//! The weights that a network starts from.
//!
//! Uses `architecture`, `recipe`, `seed` and `weights`; used by `run` (to train), by `verify` (to
//! compute them again), by `bisect`, `report` and `speed`, and by `numerics`' probe. Four roles have streams of their own: `base` (a base network's layers),
//! `top` (the layers above those that a treatment takes from elsewhere: shared by all treatments of a target,
//! and independent of its base network), `random` (the random-weight control's frozen layers) and `reduced`
//! (a base network's on fewer images: shared by all of a target, however few, and no layer of the base
//! network on all of them, so that one more on all is a repetition of it and no copy).

use crate::architecture::{self, LAYERS};
use crate::protocol::Filler;
use crate::recipe::Recipe;
use crate::seed::Stream;
use crate::treatment::{Source, Treatment};
use crate::weights::{Layer, Tensor, Weights};

/// The weights that training starts from. `parent` is the base network that `recipe` copies from,
/// and not looked at where the treatment copies nothing.
///
/// # Panics
/// Where a parent is needed and not given: a mistake of the caller.
pub fn initial(recipe: &Recipe, shapes: &[architecture::Layer; LAYERS], parent: Option<&Weights>) -> Weights {
    let layers = std::array::from_fn(|index| {
        let shape = &shapes[index];
        match recipe.treatment {
            Treatment::Base(_) => fresh(recipe, "base", index, shape),
            Treatment::Reduced { .. } => fresh(recipe, "reduced", index, shape),
            Treatment::Grafted { .. } if index >= usize::from(recipe.treatment.grafted()) => {
                fresh(recipe, "top", index, shape)
            }
            Treatment::Grafted { source: Source::Random, .. } => fresh(recipe, "random", index, shape),
            Treatment::Grafted { source: Source::Base { .. } | Source::Preserved { .. }, .. } => {
                parent.expect("a treatment that copies has a parent").layers[index].clone()
            }
        }
    });
    #[cfg(test)]
    let layers = crate::faults::hooks::initial(recipe, shapes, parent, layers);
    Weights { layers }
}

/// The first layer that a base network of that recipe starts from, alone: the rest takes longer to draw.
pub fn first_layer(recipe: &Recipe, shape: &architecture::Layer) -> Layer {
    fresh(recipe, "base", 0, shape)
}

/// The paper's deviations of weights, and first biases, by layer: the fillers of the authors' network files.
const CAFFE: [(f64, f32); LAYERS] = [
    (0.01, 0.0),
    (0.01, 1.0),
    (0.01, 0.0),
    (0.01, 1.0),
    (0.01, 1.0),
    (0.005, 1.0),
    (0.005, 1.0),
    (0.01, 0.0),
];

/// A layer drawn from the stream of its role and name.
fn fresh(recipe: &Recipe, role: &str, index: usize, shape: &architecture::Layer) -> Layer {
    let (deviation, bias) = match recipe.network.filler {
        Filler::He => ((2.0 / shape.fan_in() as f64).sqrt(), 0.0),
        Filler::Gaussian(deviation) => (deviation, 0.0),
        Filler::Caffe => CAFFE[index],
    };
    let mut stream = Stream::open(&recipe.stream("init").and("role", role).and("layer", shape.name));
    let count = shape.weight.iter().product();
    let values = (0..count).map(|_| (deviation * stream.gaussian()) as f32).collect();
    let out = shape.weight[0];
    Layer {
        weight: Tensor { shape: shape.weight.clone(), values },
        bias: Tensor { shape: vec![out], values: vec![bias; out] },
    }
}

/// Weights of those shapes that are all zero.
pub fn zeros(shapes: &[architecture::Layer; LAYERS]) -> Weights {
    let zeros = |shape: &[usize]| Tensor { shape: shape.to_vec(), values: vec![0.0; shape.iter().product()] };
    let layers = std::array::from_fn(|index| {
        let weight = &shapes[index].weight;
        Layer { weight: zeros(weight), bias: zeros(&weight[..1]) }
    });
    Weights { layers }
}

#[cfg(test)]
mod tests;
