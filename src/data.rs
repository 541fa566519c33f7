//! Images with labels, in memory or in a pack: what every source of data turns into.
//!
//! Uses `digest` and `error`; used by `split` and by whoever trains. `idx` reads MNIST-family
//! directories, `cifar` those of CIFAR, `embedded` the fixture inside the binary, `pack` what `packing` made of image files, `folder` such files
//! directly; each gives a [`Dataset`].

mod cifar;
mod decode;
mod embedded;
pub mod folder;
mod idx;
mod images;
pub mod listing;
pub mod pack;
pub mod packing;
mod ready;
mod resize;
mod shards;

use crate::digest::{DataDigest, Hasher};
use crate::error::Result;
use crate::protocol::DataSource;
pub(crate) use images::digest as image_digest;
pub use images::{Images, Sums};
use std::fmt;

/// Training or validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The images that weights are trained on.
    Train,
    /// The images that accuracies are counted on.
    Valid,
}

impl Part {
    /// Both parts, training first.
    pub const BOTH: [Self; 2] = [Self::Train, Self::Valid];
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Valid => "valid",
        })
    }
}

/// A data set: class names, training and validation images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// The classes' names; labels are indices into this list.
    pub classes: Vec<String>,
    /// Training images.
    pub train: Images,
    /// Validation images, of the same size.
    pub valid: Images,
}

impl Dataset {
    /// Reads the data that a protocol names.
    ///
    /// # Errors
    /// Where a file is missing, truncated, or not what its name says.
    pub fn read(source: &DataSource) -> Result<Self> {
        match source {
            DataSource::Embedded => embedded::read(),
            DataSource::Idx(dir) => idx::read_dir(dir),
            DataSource::Cifar(dir) => cifar::read_dir(dir),
            DataSource::Pack(dir) => pack::read(dir),
            DataSource::Images(folder) => Ok(folder::read(folder, &|_| {})?.0),
        }
    }

    /// One part.
    pub fn part(&self, part: Part) -> &Images {
        match part {
            Part::Train => &self.train,
            Part::Valid => &self.valid,
        }
    }

    /// The digest of the class names and of every image with its label, in order.
    pub fn digest(&self) -> DataDigest {
        let mut hasher = Hasher::new("selffer data v1");
        for class in &self.classes {
            hasher.piece(class.as_bytes());
        }
        for part in Part::BOTH {
            hasher.piece(part.to_string().as_bytes());
            let images = self.part(part);
            for (digest, label) in images.digests().iter().zip(&images.labels) {
                hasher.piece(digest.0.as_bytes());
                hasher.piece(&label.to_le_bytes());
            }
        }
        DataDigest(hasher.finish())
    }

    /// The mean of all training images: of each byte of an image, on the scale 0 to 255. Summed in whole numbers,
    /// so the order of images does not matter.
    ///
    /// # Panics
    /// As [`Self::pixel_moments`].
    pub fn mean_image(&self) -> Vec<f32> {
        let sums = self.train.sums().expect("memory and a whole pack know their sums");
        sums.bytes.iter().map(|sum| (*sum as f64 / sums.images as f64) as f32).collect()
    }

    /// Mean and standard deviation of all training pixels, on the scale 0 to 1.
    ///
    /// Summed in whole numbers, so the order of images does not matter. A data set whose training
    /// pixels are all equal has deviation 1 (there is nothing to scale).
    ///
    /// # Panics
    /// Where the training images are some of a pack's, not all, and the pack cannot be read.
    pub fn pixel_moments(&self) -> (f64, f64) {
        self.train.sums().expect("memory and a whole pack know their sums").moments()
    }
}

#[cfg(test)]
mod tests;
