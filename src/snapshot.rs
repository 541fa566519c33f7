//! The state of a run between two steps, and the file that it is kept in until the run is finished.
//!
//! Uses `weights`, `ledger`, `manifest`, `recipe`; written and read by `store`, made and taken up by `train`. The
//! file is a safetensors file of weights and momentum whose metadata holds the rest, after a line with the
//! SHA-256 of all that follows, so that any changed byte shows.

use crate::architecture::{LAYERS, NAMES};
use crate::canonical;
use crate::digest::{Digest, FingerprintDigest, Hasher, RecipeDigest};
use crate::ledger::{Ledger, Place};
use crate::manifest::Epoch;
use crate::recipe::Recipe;
use crate::weights::{Layer, Tensor, Weights};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// All that training needs to go on: the same bits follow as if it had not been interrupted.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// How far it is.
    pub progress: Progress,
    /// The weights.
    pub weights: Weights,
    /// The last change of each trained weight, before the learning rate: a layer for each trained layer.
    pub momentum: Vec<Layer>,
}

/// How far training is, and what it has counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The run that this is a state of.
    pub recipe: RecipeDigest,
    /// Where it is.
    pub place: Place,
    /// The epochs that are finished.
    pub epochs: Vec<Epoch>,
    /// Sum of the losses of the training images of this epoch so far.
    pub loss_sum: f64,
    /// Training images of this epoch that were right so far.
    pub correct: u32,
    /// The ledger so far.
    pub ledger: Ledger,
    /// How long it took so far, in milliseconds, as far as whoever keeps the state says.
    pub wall_ms: u64,
    /// What the machine that it was computed on makes of the probe, as whoever keeps the state says: on
    /// another, other bits would follow.
    #[serde(default)]
    pub fingerprint: Option<FingerprintDigest>,
}

/// Bytes of the line before the safetensors file.
pub(crate) const SEAL: u64 = 65;

/// The key of the metadata that holds the progress.
const PROGRESS: &str = "selffer snapshot 1";

impl State {
    /// Whether training by that recipe, from those weights, on so many images in so many steps an epoch, can
    /// have come to such a state. A file whose digest fits may still be of something else.
    pub fn fits(&self, recipe: &Recipe, initial: &Weights, steps: u32, images: usize) -> bool {
        let frozen = usize::from(recipe.treatment.frozen());
        let Progress { place, epochs, loss_sum, correct, ledger, .. } = &self.progress;
        let alike = |a: &Layer, b: &Layer| a.weight.shape == b.weight.shape && a.bias.shape == b.bias.shape;
        let whole = |tensor: &Tensor| tensor.shape.iter().product::<usize>() == tensor.values.len();
        let layers = || self.weights.layers.iter().chain(&self.momentum);
        let seen = u64::from(place.step) * u64::from(recipe.solver.batch);
        // Where batches run on from pass to pass, an epoch may see an image more than once.
        let most = if recipe.solver.steps.is_some() { seen } else { seen.min(images as u64) };
        place.epoch < recipe.solver.epochs
            && place.step <= steps
            && epochs.len() == place.epoch as usize
            && ledger.entries.len() as u64 == ledger.length_at(*place, steps)
            && u64::from(*correct) <= most
            && loss_sum.is_finite()
            && *loss_sum >= 0.0
            && self.momentum.len() == LAYERS - frozen
            && layers().all(|layer| whole(&layer.weight) && whole(&layer.bias))
            && self.weights.layers.iter().zip(&initial.layers).all(|(a, b)| alike(a, b))
            && self.momentum.iter().zip(&initial.layers[frozen..]).all(|(a, b)| alike(a, b))
            && self.weights.layers[..frozen] == initial.layers[..frozen]
    }

    /// A digest of its weights and momentum, by which two states are told from each other without both in memory.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new("selffer state v1");
        for layer in self.weights.layers.iter().chain(&self.momentum) {
            hasher.piece(&layer.weight.le_bytes()).piece(&layer.bias.le_bytes());
        }
        hasher.finish()
    }

    /// The snapshot's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let first = LAYERS - self.momentum.len();
        let named = self.weights.layers.iter().enumerate().map(|(index, layer)| ("", index, layer));
        let moving = self.momentum.iter().enumerate().map(|(at, layer)| ("momentum.", first + at, layer));
        let tensors = named.chain(moving).flat_map(|(prefix, index, layer)| {
            layer.tensors(index).map(|(name, tensor)| (format!("{prefix}{name}"), tensor))
        });
        let metadata = HashMap::from([(PROGRESS.to_owned(), canonical::json(&self.progress))]);
        let file = safetensors::serialize(tensors, Some(metadata)).expect("named tensors");
        [format!("{}\n", Digest::of(&file).hex()).into_bytes(), file].concat()
    }

    /// Reads a snapshot's file.
    ///
    /// # Errors
    /// Why it is none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (seal, file) = bytes.split_at_checked(SEAL as usize).ok_or("it is cut off")?;
        if seal != format!("{}\n", Digest::of(file).hex()).as_bytes() {
            return Err("its bytes are not those that its digest was taken of".to_owned());
        }
        let broken = |error: safetensors::SafeTensorError| format!("it is no safetensors file ({error})");
        let (_, metadata) = SafeTensors::read_metadata(file).map_err(broken)?;
        let metadata = metadata.metadata().as_ref();
        let text = metadata.and_then(|map| map.get(PROGRESS)).ok_or("it is no snapshot")?;
        let progress = serde_json::from_str(text).map_err(|error| format!("it is no snapshot ({error})"))?;
        let tensors = SafeTensors::deserialize(file).map_err(broken)?;
        let layer = |prefix: &str, index: usize| -> Result<Layer, String> {
            let tensor = |what: &str| {
                let name = format!("{prefix}{}.{what}", NAMES[index]);
                Ok::<_, String>(Tensor::of_file(&tensors.tensor(&name).map_err(broken)?))
            };
            Ok(Layer { weight: tensor("weight")?, bias: tensor("bias")? })
        };
        let layers: Vec<Layer> = (0..LAYERS).map(|index| layer("", index)).collect::<Result<_, _>>()?;
        let moving = (tensors.len() / 2).saturating_sub(LAYERS).min(LAYERS);
        let momentum = (LAYERS - moving..LAYERS).map(|index| layer("momentum.", index));
        Ok(Self {
            progress,
            weights: Weights { layers: layers.try_into().expect("eight layers") },
            momentum: momentum.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::LedgerDigest;
    use crate::testing::{manifest, weights};
    use proptest::prelude::*;

    fn state(seed: u64, frozen: usize) -> State {
        let manifest = manifest(seed);
        let progress = Progress {
            recipe: manifest.recipe_digest(),
            place: Place { epoch: 1, step: 3 },
            epochs: manifest.epochs[..1].to_vec(),
            loss_sum: 0.1 + 0.2,
            correct: 4,
            ledger: Ledger { every: 2, entries: vec![LedgerDigest(Digest::of(b"x"))] },
            wall_ms: 12,
            fingerprint: Some(FingerprintDigest(Digest::of(b"here"))),
        };
        let momentum = weights(seed + 1).layers[frozen..].to_vec();
        State { progress, weights: weights(seed), momentum }
    }

    proptest! {
        #[test]
        fn a_file_reads_back_and_any_flipped_bit_shows(
            seed in 0u64..1000,
            frozen in 0..LAYERS,
            at: prop::sample::Index,
            bit in 0..8u8,
        ) {
            let state = state(seed, frozen);
            let mut bytes = state.to_bytes();
            prop_assert_eq!(State::from_bytes(&bytes), Ok(state.clone()));
            prop_assert_eq!(&state.to_bytes(), &bytes);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(State::from_bytes(&bytes).is_err());
            prop_assert!(State::from_bytes(&bytes[..at]).is_err());
        }
    }
}
