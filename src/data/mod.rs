//! Images with labels, held in memory: what every source of data turns into.
//!
//! Uses `digest` and `error`; used by `split` and by whoever trains. `idx` reads MNIST-family
//! directories, `embedded` the fixture inside the binary; both give a [`Dataset`].

mod embedded;
mod idx;

use crate::digest::{DataDigest, Hasher, ImageDigest};
use crate::error::{Error, Result};
use crate::protocol::DataSource;
use rayon::prelude::*;
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

/// One part of a data set: images of one size, a byte for each channel of each pixel, row after row, the
/// channels of a pixel together (grey images have one, coloured ones red, green and blue).
#[derive(Clone, PartialEq, Eq)]
pub struct Images {
    /// Height in pixels.
    pub rows: usize,
    /// Width in pixels.
    pub cols: usize,
    /// Channels: 1 or 3.
    pub channels: usize,
    /// The bytes of all images, one image after the other.
    pub pixels: Vec<u8>,
    /// For each image, its class as an index into [`Dataset::classes`].
    pub labels: Vec<u16>,
}

impl Images {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The bytes of one image, [`Images::size`] of them.
    pub fn image(&self, index: usize) -> &[u8] {
        let size = self.size();
        &self.pixels[index * size..(index + 1) * size]
    }

    /// What enters a network for one image: channels, rows, columns.
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.rows, self.cols]
    }

    /// Bytes of one image.
    pub fn size(&self) -> usize {
        self.shape().iter().product()
    }

    /// The digest of each image: its size and pixels, not its label.
    pub fn digests(&self) -> Vec<ImageDigest> {
        (0..self.len())
            .into_par_iter()
            .map(|index| {
                let mut hasher = Hasher::new("selffer image v1");
                hasher.piece(&(self.rows as u64).to_le_bytes());
                hasher.piece(&(self.cols as u64).to_le_bytes());
                // Grey images had digests before there were others.
                if self.channels != 1 {
                    hasher.piece(&(self.channels as u64).to_le_bytes());
                }
                hasher.piece(self.image(index));
                ImageDigest(hasher.finish())
            })
            .collect()
    }
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Images({} of {}×{}×{})", self.len(), self.channels, self.rows, self.cols)
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
            DataSource::Pack(dir) => {
                let mend = "take a version of selffer that does";
                Err(Error::invalid(
                    dir.display().to_string(),
                    "is a pack, which this version does not read",
                    mend,
                ))
            }
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
    pub fn mean_image(&self) -> Vec<f32> {
        let mut sums = vec![0u64; self.train.size()];
        for index in 0..self.train.len() {
            sums.iter_mut().zip(self.train.image(index)).for_each(|(sum, byte)| *sum += u64::from(*byte));
        }
        sums.iter().map(|sum| (*sum as f64 / self.train.len() as f64) as f32).collect()
    }

    /// Mean and standard deviation of all training pixels, on the scale 0 to 1.
    ///
    /// Summed in whole numbers, so the order of images does not matter. A data set whose training
    /// pixels are all equal has deviation 1 (there is nothing to scale).
    pub fn pixel_moments(&self) -> (f64, f64) {
        let count = self.train.pixels.len() as f64;
        let sum: u64 = self.train.pixels.iter().map(|pixel| u64::from(*pixel)).sum();
        let squares: u64 = self.train.pixels.iter().map(|pixel| u64::from(*pixel).pow(2)).sum();
        let mean = sum as f64 / count;
        let variance = squares as f64 / count - mean * mean;
        let deviation = if variance > 0.0 { variance.sqrt() / 255.0 } else { 1.0 };
        (mean / 255.0, deviation)
    }
}

#[cfg(test)]
mod tests;
