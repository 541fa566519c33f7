//! A recipe: all that determines the bits of one network.
//!
//! Uses `protocol`, `treatment` and `digest`; used by all that makes, keeps or checks networks: `plan`,
//! `init`, `train`, `run`, `manifest`, `verify`. To resume is to look up a recipe: a network is trained unless the store has one made by the same recipe.

use crate::canonical;
use crate::digest::{DataDigest, Digest, OrderDigest, RecipeDigest, SplitDigest, WeightsDigest};
use crate::protocol::{Input, Network, Protocol, Solver};
use crate::seed::{Name, Stream};
use crate::treatment::Treatment;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The version of the training core. It goes up with every change that changes bits, and then
/// every network is trained anew.
pub const CORE: u32 = 2;

/// The numerics policies: what makes a computation give the same bits again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The same bits on every x86-64-v3 CPU, with the same libtorch.
    Portable,
    /// The code that libtorch chooses for the CPU: the same bits on the same machine alone.
    Native,
    /// The same bits on every x86-64 CPU that libtorch starts on, slowly.
    Baseline,
    /// A GPU: the same bits on the same model with the same libraries.
    Cuda,
}

impl Policy {
    /// All of them, the default first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Native, Self::Baseline, Self::Cuda];

    /// Whether its bits are the same on every machine that can honour it.
    pub fn everywhere(self) -> bool {
        matches!(self, Self::Portable | Self::Baseline)
    }

    /// Its name on command lines, in files and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Native => "native",
            Self::Baseline => "baseline",
            Self::Cuda => "cuda",
        }
    }
}

/// A text that names no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no numerics policy: it takes portable, native, baseline or cuda")]
pub struct NotAPolicy(String);

impl FromStr for Policy {
    type Err = NotAPolicy;

    fn from_str(text: &str) -> Result<Self, NotAPolicy> {
        let named = Self::ALL.into_iter().find(|policy| policy.name() == text);
        named.ok_or_else(|| NotAPolicy(text.to_owned()))
    }
}

/// All that determines the bits of one network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The training core's version, [`CORE`].
    pub core: u32,
    /// The numerics policy.
    pub numerics: Policy,
    /// The data set (its mean and deviation scale the images).
    pub data: DataDigest,
    /// The split, which names the images of each task.
    pub split: SplitDigest,
    /// The root seed of all random draws.
    pub seed: u64,
    /// The treatment.
    pub treatment: Treatment,
    /// The trained base network that layers are copied from.
    pub parent: Option<WeightsDigest>,
    /// The network.
    pub network: Network,
    /// How images enter it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Input>,
    /// The solver.
    pub solver: Solver,
}

impl Recipe {
    /// Whether it is of a protocol's network, input and solver.
    pub fn is_of(&self, protocol: &Protocol) -> bool {
        (&self.network, &self.input, &self.solver) == (&protocol.network, &protocol.input, &protocol.solver)
    }

    /// The digest of its canonical JSON.
    pub fn digest(&self) -> RecipeDigest {
        RecipeDigest(Digest::of(canonical::json(self).as_bytes()))
    }

    /// The name of a stream of random draws for `role`. The treatment is not part of it: all networks
    /// of one seed, split and target share their draws, so that treatments are compared in pairs.
    pub fn stream(&self, role: &str) -> Name {
        Name::new(role)
            .and("seed", self.seed)
            .and("split", self.split.hex())
            .and("target", self.treatment.target())
    }

    /// The order in which an epoch visits the `count` training images, as indices. Where an epoch is a number of
    /// steps, it goes on where the one before ended, in pass after pass, each in an order of its own.
    pub fn order(&self, epoch: u32, count: usize) -> Vec<u32> {
        #[cfg(test)]
        if let Some(faulty) = crate::faults::hooks::order(self, epoch, count) {
            return faulty;
        }
        let order =
            |pass: &str, index: u64| Stream::open(&self.stream("order").and(pass, index)).permutation(count);
        if self.solver.steps.is_none() {
            return order("epoch", u64::from(epoch));
        }
        let visits = self.solver.visits_of(count);
        let begun = u64::from(epoch) * visits as u64;
        let (mut pass, mut skip) = (begun / count as u64, (begun % count as u64) as usize);
        let mut visited = Vec::with_capacity(visits);
        while visited.len() < visits {
            visited.extend(order("pass", pass).into_iter().skip(skip).take(visits - visited.len()));
            (pass, skip) = (pass + 1, 0);
        }
        visited
    }
}

/// The digest of an epoch's order.
pub fn order_digest(order: &[u32]) -> OrderDigest {
    let bytes: Vec<u8> = order.iter().flat_map(|index| index.to_le_bytes()).collect();
    OrderDigest(Digest::of(&bytes))
}

#[cfg(test)]
mod tests;
