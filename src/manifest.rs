//! A manifest: the record of one trained network.
//!
//! Uses `recipe`, `weights`, `digest`; written by `run`, read by every later stage. Its file is
//! canonical JSON, with a digest over the rest of the file at its end, so that any changed byte shows.

use crate::canonical;
use crate::digest::{Digest, FingerprintDigest, OrderDigest, RecipeDigest, WeightsDigest};
use crate::equivalence::at_chance;
use crate::ledger::{Ledger, Place};
use crate::recipe::Recipe;
use crate::weights::LayerDigests;
use serde::{Deserialize, Serialize};

/// How many of how many images were classified rightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// Images whose most likely class was theirs.
    pub correct: u32,
    /// All images.
    pub total: u32,
}

impl Count {
    /// The share that is correct, 0 to 1.
    pub fn share(self) -> f64 {
        // A record of no images at all is a finding; here it is a share of nothing.
        if self.total == 0 { 0.0 } else { f64::from(self.correct) / f64::from(self.total) }
    }

    /// Whether it may be that of guessing among so many classes.
    pub fn at_chance(self, classes: usize) -> bool {
        at_chance(self.share(), classes, self.total as usize)
    }
}

/// One epoch of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// The learning rate.
    pub rate: f64,
    /// The digest of the order in which the training images were visited.
    pub order: OrderDigest,
    /// Mean cross-entropy of the training images in nats, each before the step that it took part in.
    pub train_loss: f64,
    /// Training images classified rightly, each before the step that it took part in.
    pub train: Count,
    /// Mean cross-entropy of the validation images in nats, after the epoch.
    pub valid_loss: f64,
    /// Validation images classified rightly after the epoch.
    pub valid: Count,
}

/// How training ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Outcome {
    /// All epochs were run.
    Trained {
        /// The digests of the layers that training ended with.
        layers: LayerDigests,
    },
    /// The loss was not finite, and training stopped there: there is no checkpoint.
    Diverged {
        /// The epoch, from 0.
        epoch: u32,
        /// The step within it, from 0; as many as there are steps where it was the validation after them.
        step: u32,
    },
}

/// Where and with what a network was trained. Nothing about the network is decided by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// This crate's version.
    pub selffer: String,
    /// libtorch's version.
    pub libtorch: String,
    /// The processor's name.
    pub cpu: String,
    /// How libtorch computed: the variables that were set, in capitals, then what was read back from it.
    pub settings: Vec<(String, String)>,
    /// What libtorch computed the probe to there.
    pub fingerprint: FingerprintDigest,
}

impl Environment {
    /// The name of the GPU that computed, where one did.
    pub fn gpu(&self) -> Option<&str> {
        let gpu = self.settings.iter().find(|(name, _)| name == GPU);
        gpu.map(|(_, value)| value.as_str())
    }
}

/// The setting that names the GPU which computed.
pub const GPU: &str = "gpu";

/// The record of one trained network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format's name and version.
    pub format: Format,
    /// The run's name: split, seed and treatment. For people; the recipe decides.
    pub run: String,
    /// All that determined its bits.
    pub recipe: Recipe,
    /// The digests of the layers that training began with.
    pub initial: LayerDigests,
    /// The epochs, in order; where it diverged, those that were finished.
    pub epochs: Vec<Epoch>,
    /// How training ended.
    pub outcome: Outcome,
    /// Where it was trained again because its checkpoint was gone, and came out otherwise: the weights it
    /// had before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contradicts: Option<WeightsDigest>,
    /// Digests of its state as training went.
    pub ledger: Ledger,
    /// How long it took, in milliseconds.
    pub wall_ms: u64,
    /// Where it was trained.
    pub environment: Environment,
}

/// The only format of manifests there is so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// Version 1.
    #[serde(rename = "selffer manifest 1")]
    V1,
}

/// A manifest's file: the manifest and the SHA-256 of its canonical JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    digest: Digest,
    manifest: Manifest,
}

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAManifest {
    /// Not JSON, or not of the format.
    #[error("it is no manifest ({0})")]
    Format(String),
    /// The digest inside is not that of the manifest, or the file is not canonical.
    #[error("its bytes are not those that its digest was taken of")]
    Seal,
}

impl Manifest {
    /// The digest of its recipe, by which the store names its file.
    pub fn recipe_digest(&self) -> RecipeDigest {
        self.recipe.digest()
    }

    /// The digests of the layers that training ended with, if it did not diverge.
    pub fn trained(&self) -> Option<&LayerDigests> {
        match &self.outcome {
            Outcome::Trained { layers } => Some(layers),
            Outcome::Diverged { .. } => None,
        }
    }

    /// The digest of the weights that training ended with, if it did not diverge.
    pub fn weights(&self) -> Option<WeightsDigest> {
        self.trained().map(LayerDigests::whole)
    }

    /// How many epochs it has to record: those that were trained to their end.
    pub fn epochs_due(&self) -> u32 {
        match self.outcome {
            Outcome::Trained { .. } => self.recipe.solver.epochs,
            Outcome::Diverged { epoch, .. } => epoch,
        }
    }

    /// What is wrong with the number of its epochs, if anything is.
    pub fn epochs_are_off(&self) -> Option<String> {
        let (kept, due) = (self.epochs.len(), self.epochs_due());
        (kept != due as usize).then(|| format!("it records {kept} epochs, where training has {due}"))
    }

    /// How many entries its ledger has to have, where an epoch has `steps`: one for each place up to where training ended.
    pub fn entries_due(&self, steps: u32) -> u64 {
        let end = match self.outcome {
            Outcome::Trained { .. } => Place { epoch: self.recipe.solver.epochs, step: 0 },
            Outcome::Diverged { epoch, step } => Place { epoch, step },
        };
        self.ledger.length_at(end, steps)
    }

    /// What is wrong with its ledger's length, where an epoch has `steps`, if anything is.
    pub fn ledger_is_off(&self, steps: u32) -> Option<String> {
        let (kept, due) = (self.ledger.entries.len() as u64, self.entries_due(steps));
        (kept != due).then(|| format!("its ledger has {kept} entries, where training has {due}"))
    }

    /// Validation images classified rightly at the end, if training did not diverge.
    pub fn accuracy(&self) -> Option<Count> {
        self.trained().and(self.epochs.last()).map(|epoch| epoch.valid)
    }

    /// The manifest's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let digest = Digest::of(canonical::json(self).as_bytes());
        canonical::json(&Sealed { digest, manifest: self.clone() }).into_bytes()
    }

    /// Reads a manifest's file.
    ///
    /// # Errors
    /// Where the bytes are not exactly what [`Manifest::to_bytes`] gives for some manifest.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotAManifest> {
        let sealed: Sealed =
            serde_json::from_slice(bytes).map_err(|error| NotAManifest::Format(error.to_string()))?;
        // Writing it again computes the digest anew: one comparison checks the digest and the form.
        if sealed.manifest.to_bytes() != bytes {
            return Err(NotAManifest::Seal);
        }
        Ok(sealed.manifest)
    }
}

#[cfg(test)]
mod tests;
