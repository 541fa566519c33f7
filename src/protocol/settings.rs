//! The numbers of a protocol that a recipe takes over: the network, how images enter it, the solver.
//!
//! Uses nothing of this crate; a part of `protocol`, which checks what is read here. What is left out of a
//! protocol is left out of recipes too, so that a setting that is new leaves older recipes as they were.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// How weights and biases are drawn before training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filler {
    /// Normal, of standard deviation √(2 / fan-in) (He et al. 2015); biases start at 0.
    He,
    /// Normal, of this standard deviation in every layer; biases start at 0.
    Gaussian(f64),
    /// As the paper's networks: normal, of deviation 0.005 in fc6 and fc7 and 0.01 elsewhere; biases start at
    /// 1 in conv2, conv4, conv5, fc6 and fc7 and at 0 elsewhere.
    Caffe,
}

/// What the eight layers are made of, beside their widths; `architecture` has the numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// 3×3 convolutions and 2×2 pooling, for small images.
    #[default]
    Small,
    /// The Caffe reference network, as the paper's: strides, groups, overlapping pooling, local response
    /// normalisation, dropout. Images of 39 pixels at least.
    Caffe,
}

/// The eight layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub struct Network {
    /// What they are made of.
    #[serde(skip_serializing_if = "is_small")]
    pub layout: Layout,
    /// Channels of the five convolutional layers.
    pub conv: [u32; 5],
    /// Units of the first two fully connected layers; the third has a unit for each class.
    pub hidden: [u32; 2],
    /// How weights are drawn.
    pub filler: Filler,
}

impl Network {
    /// Channels of the paper's convolutional layers.
    pub const PAPER_CONV: [u32; 5] = [96, 256, 384, 384, 256];
    /// Units of the paper's first two fully connected layers.
    pub const PAPER_HIDDEN: [u32; 2] = [4096, 4096];
}

fn is_small(layout: &Layout) -> bool {
    *layout == Layout::Small
}

/// A network as it stands in a file: the widths of the Caffe layout may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(default)]
    layout: Layout,
    #[serde(default, deserialize_with = "exactly")]
    conv: Option<[u32; 5]>,
    #[serde(default, deserialize_with = "exactly")]
    hidden: Option<[u32; 2]>,
    filler: Filler,
}

impl TryFrom<Wire> for Network {
    type Error = &'static str;

    fn try_from(wire: Wire) -> Result<Self, &'static str> {
        let Wire { layout, conv, hidden, filler } = wire;
        let (conv, hidden) = match layout {
            Layout::Caffe => (conv.unwrap_or(Self::PAPER_CONV), hidden.unwrap_or(Self::PAPER_HIDDEN)),
            Layout::Small => (conv.ok_or("missing field `conv`")?, hidden.ok_or("missing field `hidden`")?),
        };
        Ok(Self { layout, conv, hidden, filler })
    }
}

/// As many widths as there are layers: serde alone reads the first `N` and passes over the rest.
fn exactly<'de, D: Deserializer<'de>, const N: usize>(from: D) -> Result<Option<[u32; N]>, D::Error> {
    let widths = Vec::deserialize(from)?;
    let refuse = |widths: Vec<u32>| D::Error::invalid_length(widths.len(), &format!("{N} widths").as_str());
    widths.try_into().map(Some).map_err(refuse)
}

/// What is taken off pixels before they enter a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subtract {
    /// From each pixel and channel its own mean over the data set's training images; what is left counts
    /// -255 to 255, as in Caffe.
    MeanImage,
    /// The mean of all pixels, and what is left is divided by their deviation.
    Moments,
}

/// How images enter a network; where a protocol does not say, whole, and by [`Subtract::Moments`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Rows and columns of the window that is cut out: anywhere in training, in the middle otherwise.
    pub crop: u32,
    /// Whether every other training image, by chance, is mirrored left to right.
    pub mirror: bool,
    /// What is taken off the pixels.
    pub subtract: Subtract,
}

/// How a gradient changes weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Update {
    /// As Caffe's solver with the paper's multipliers: the rate is multiplied into the momentum, so that a
    /// drop acts on new gradients alone; biases have twice the rate, and no decay.
    Caffe,
}

/// Stochastic gradient descent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Solver {
    /// Epochs, each with a validation after it.
    pub epochs: u32,
    /// Steps of an epoch: batches run on from one pass over the training images into the next. Where there is
    /// none, an epoch is one pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Images a step; where an epoch is one pass, its last step takes what is left.
    pub batch: u32,
    /// Learning rate at the start.
    pub rate: f64,
    /// Epochs (counted from 0) at whose start the rate is multiplied by `rate_factor`.
    pub rate_drops: Vec<u32>,
    /// See `rate_drops`.
    pub rate_factor: f64,
    /// Share of the last change of a weight that goes into the next.
    pub momentum: f64,
    /// Weight decay (L2), on weights and, unless `update` says otherwise, biases.
    pub decay: f64,
    /// How a gradient changes weights; where there is none, v ← momentum · v + gradient + decay · w and
    /// w ← w − rate · v, for weights and biases alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
}

impl Solver {
    /// The learning rate of an epoch.
    pub fn rate_at(&self, epoch: u32) -> f64 {
        let drops = self.rate_drops.iter().filter(|drop| **drop <= epoch).count();
        self.rate * self.rate_factor.powi(drops as i32)
    }

    /// How many steps an epoch has, with so many training images.
    pub fn steps_of(&self, images: usize) -> u32 {
        self.steps.unwrap_or(images.div_ceil(self.batch as usize) as u32)
    }

    /// How many images an epoch visits, of so many: each once, or as many as its steps take.
    pub fn visits_of(&self, images: usize) -> usize {
        self.steps.map_or(images, |steps| steps as usize * self.batch as usize)
    }
}
