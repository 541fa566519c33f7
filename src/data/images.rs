//! Images with labels: some of those that memory or a pack holds, in an order of their own.
//!
//! Uses `digest`, `error` and `data::shards`; used by whoever reads pixels. Picking images copies labels, never
//! pixels: the bytes stay where they are, in memory or in a pack's shards, until an image is read.

use super::shards::Shards;
use crate::digest::{Hasher, ImageDigest};
use crate::error::Result;
use rayon::prelude::*;
use std::borrow::Cow;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

/// Images of one size with their labels: a byte for each channel of each pixel, row after row, the channels
/// of a pixel together (grey images have one, coloured ones red, green and blue).
#[derive(Clone)]
pub struct Images {
    /// Height in pixels.
    pub rows: usize,
    /// Width in pixels.
    pub cols: usize,
    /// Channels: 1 or 3.
    pub channels: usize,
    /// For each image, its class as an index into [`Dataset::classes`](super::Dataset::classes), or into a
    /// task's classes.
    pub labels: Vec<u16>,
    source: Arc<Source>,
    // Which of the source's images these are; all of them, in its order, where there is none.
    picked: Option<Vec<u32>>,
}

/// Where pixels are.
enum Source {
    Memory(Vec<u8>),
    Shards(Shards),
}

/// Whole-number sums over images, from which means and deviations follow. They do not depend on the
/// order of images.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sums {
    /// How many images were summed.
    pub images: u64,
    /// For each byte of an image, the sum of that byte over all images: the mean image times `images`.
    pub bytes: Vec<u64>,
    /// The sum of the squares of all bytes of all images.
    pub squares: u64,
}

impl Sums {
    /// Sums of no image, of `size` bytes each.
    pub fn none(size: usize) -> Self {
        Self { images: 0, bytes: vec![0; size], squares: 0 }
    }

    /// Adds one image.
    pub fn add(&mut self, image: &[u8]) {
        self.images += 1;
        // Wrapping, because checks would make this slow; it takes 2⁵⁶ images to get there.
        for (sum, byte) in self.bytes.iter_mut().zip(image) {
            *sum = sum.wrapping_add(u64::from(*byte));
        }
        let square = |byte: &u8| u64::from(u16::from(*byte) * u16::from(*byte));
        self.squares += image.iter().map(square).fold(0, u64::wrapping_add);
    }

    /// Adds what was summed elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.images += other.images;
        self.bytes.iter_mut().zip(&other.bytes).for_each(|(sum, more)| *sum += more);
        self.squares += other.squares;
    }

    /// Mean and standard deviation of all bytes, on the scale 0 to 1; deviation 1 where all are equal (there
    /// is nothing to scale).
    pub fn moments(&self) -> (f64, f64) {
        let count = (self.images * self.bytes.len() as u64) as f64;
        let mean = self.bytes.iter().sum::<u64>() as f64 / count;
        let variance = self.squares as f64 / count - mean * mean;
        (mean / 255.0, if variance > 0.0 { variance.sqrt() / 255.0 } else { 1.0 })
    }
}

impl Images {
    /// Images in memory: their `[channels, rows, cols]`, all bytes one image after the other, their labels.
    ///
    /// # Panics
    /// Where there are not as many bytes as the labels and the size make.
    pub fn new([channels, rows, cols]: [usize; 3], pixels: Vec<u8>, labels: Vec<u16>) -> Self {
        assert_eq!(pixels.len(), channels * rows * cols * labels.len(), "bytes of {} images", labels.len());
        Self { rows, cols, channels, labels, source: Arc::new(Source::Memory(pixels)), picked: None }
    }

    /// All images of a part of a pack.
    pub(super) fn of_shards([channels, rows, cols]: [usize; 3], shards: Shards, labels: Vec<u16>) -> Self {
        Self { rows, cols, channels, labels, source: Arc::new(Source::Shards(shards)), picked: None }
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// What enters a network for one image: channels, rows, columns.
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.rows, self.cols]
    }

    /// Bytes of one image.
    pub fn size(&self) -> usize {
        self.shape().iter().product()
    }

    /// Those images, in that order, with those labels. No pixel is copied.
    ///
    /// # Panics
    /// Where an index is out of range or there are not as many labels.
    pub fn pick(&self, indices: &[usize], labels: Vec<u16>) -> Self {
        assert_eq!(indices.len(), labels.len(), "a label for each image");
        let picked = indices.iter().map(|index| self.at(*index) as u32).collect();
        Self { labels, source: Arc::clone(&self.source), picked: Some(picked), ..*self }
    }

    /// Where the source has that image.
    fn at(&self, index: usize) -> usize {
        assert!(index < self.len(), "image {index} of {}", self.len());
        self.picked.as_ref().map_or(index, |picked| picked[index] as usize)
    }

    /// The bytes of one image, [`Images::size`] of them. One from a pack has the digest that the pack says.
    ///
    /// # Errors
    /// Where a pack cannot be read, or holds other bytes than were packed.
    pub fn image(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        let (at, size) = (self.at(index), self.size());
        match &*self.source {
            Source::Memory(pixels) => Ok(Cow::Borrowed(&pixels[at * size..(at + 1) * size])),
            Source::Shards(shards) => {
                let mut bytes = vec![0; size];
                shards.read(at, self.shape(), &mut bytes)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// The bytes of those images, one after the other; from a pack on all of rayon's threads.
    ///
    /// # Errors
    /// As of [`Images::image`].
    pub fn gather(&self, indices: &[u32]) -> Result<Vec<u8>> {
        let size = self.size();
        let mut bytes = vec![0; indices.len() * size];
        let at = |index: &u32| self.at(*index as usize);
        match &*self.source {
            Source::Memory(pixels) => {
                for (index, into) in indices.iter().zip(bytes.chunks_exact_mut(size)) {
                    into.copy_from_slice(&pixels[at(index) * size..][..size]);
                }
            }
            Source::Shards(shards) => aside(|| {
                let wanted = bytes.par_chunks_exact_mut(size).zip(indices);
                wanted.try_for_each(|(into, index)| shards.read(at(index), self.shape(), into))
            })?,
        }
        Ok(bytes)
    }

    /// The bytes of all images, one after the other. For as many images as fit into memory.
    ///
    /// # Errors
    /// As of [`Images::image`].
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match (&*self.source, &self.picked) {
            (Source::Memory(pixels), None) => Ok(Cow::Borrowed(pixels)),
            _ => Ok(Cow::Owned(self.gather(&(0..self.len() as u32).collect::<Vec<_>>())?)),
        }
    }

    /// The bytes of all images, to be changed: in memory, and this value's own.
    ///
    /// # Errors
    /// As of [`Images::image`].
    pub fn bytes_mut(&mut self) -> Result<&mut Vec<u8>> {
        if self.picked.is_some() || !matches!(Arc::get_mut(&mut self.source), Some(Source::Memory(_))) {
            let own = self.bytes()?.into_owned();
            (self.source, self.picked) = (Arc::new(Source::Memory(own)), None);
        }
        match Arc::get_mut(&mut self.source) {
            Some(Source::Memory(pixels)) => Ok(pixels),
            _ => unreachable!("it was made so above"),
        }
    }

    /// The digest of each image: its size and pixels, not its label. A pack knows them.
    pub fn digests(&self) -> Vec<ImageDigest> {
        match &*self.source {
            Source::Memory(pixels) => (0..self.len())
                .into_par_iter()
                .map(|index| digest(self.shape(), &pixels[self.at(index) * self.size()..][..self.size()]))
                .collect(),
            Source::Shards(shards) => (0..self.len()).map(|index| shards.digests[self.at(index)]).collect(),
        }
    }

    /// Sums over all images. A pack knows those of all its training images; otherwise every image is read.
    ///
    /// # Errors
    /// As of [`Images::image`].
    pub fn sums(&self) -> Result<Cow<'_, Sums>> {
        if let (Source::Shards(Shards { sums: Some(sums), .. }), None) = (&*self.source, &self.picked) {
            return Ok(Cow::Borrowed(sums));
        }
        let mut sums = Sums::none(self.size());
        for index in 0..self.len() {
            sums.add(&self.image(index)?);
        }
        Ok(Cow::Owned(sums))
    }
}

/// Does `work` on a thread of no pool. A pool's own thread that waits for others takes up a job of its pool meanwhile:
/// another network, which is over hours later.
fn aside<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

/// The digest of one image of that shape: channels, rows, columns.
pub(crate) fn digest([channels, rows, cols]: [usize; 3], pixels: &[u8]) -> ImageDigest {
    let mut hasher = Hasher::new("selffer image v1");
    hasher.piece(&(rows as u64).to_le_bytes());
    hasher.piece(&(cols as u64).to_le_bytes());
    // Grey images had digests before there were others.
    if channels != 1 {
        hasher.piece(&(channels as u64).to_le_bytes());
    }
    hasher.piece(pixels);
    ImageDigest(hasher.finish())
}

/// Images are equal where their shapes, labels and pixels are, wherever those lie.
impl PartialEq for Images {
    fn eq(&self, other: &Self) -> bool {
        (self.shape(), &self.labels) == (other.shape(), &other.labels) && self.digests() == other.digests()
    }
}

impl Eq for Images {}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Images({} of {}×{}×{})", self.len(), self.channels, self.rows, self.cols)
    }
}
