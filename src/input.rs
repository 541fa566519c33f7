//! What enters a network and what is dropped within it: windows of images, cut out, mirrored and less their mean,
//! and masks. All draws are of streams named by epoch and step, shared by all networks of a target.
//!
//! Uses `protocol`, `recipe`, `seed`; used by `train`, and by `split` for what a data set's pixels are measured
//! by. Nothing here knows libtorch.

use crate::architecture::NAMES;
use crate::ledger::Place;
use crate::protocol::{Input, Subtract};
use crate::recipe::Recipe;
use crate::seed::Stream;

/// What pixels are measured by: of a data set's training images, whichever of them a task has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pixels<'a> {
    /// Mean and deviation of all pixels, on the scale 0 to 1.
    pub moments: (f64, f64),
    /// The mean image, on the scale 0 to 255, as images lie in memory; there where a recipe subtracts it.
    pub mean: Option<&'a [f32]>,
}

/// A square window of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first row.
    pub row: usize,
    /// The first column.
    pub col: usize,
    /// Whether left and right are exchanged.
    pub mirrored: bool,
}

impl Window {
    /// The window in the middle of an image of so many channels, rows and columns, as in evaluation.
    ///
    /// # Panics
    /// Where the image is smaller than the window, which whoever plans refuses.
    pub fn middle(input: &Input, [_, rows, cols]: [usize; 3]) -> Self {
        let crop = input.crop as usize;
        Self { row: (rows - crop) / 2, col: (cols - crop) / 2, mirrored: false }
    }
}

/// The windows of the images of the step that is taken at `place`, in the order of its batch.
pub fn windows(
    recipe: &Recipe,
    input: &Input,
    place: Place,
    [_, rows, cols]: [usize; 3],
    images: usize,
) -> Vec<Window> {
    let name = recipe.stream("window").and("epoch", place.epoch).and("step", place.step);
    let mut stream = Stream::open(&name);
    let crop = input.crop as usize;
    let mut below = |bound: usize| stream.below(bound as u64) as usize;
    let mut window = || {
        let (row, col) = (below(rows - crop + 1), below(cols - crop + 1));
        Window { row, col, mirrored: input.mirror && below(2) == 1 }
    };
    (0..images).map(|_| window()).collect()
}

/// Cuts a window out of an image's bytes and writes its numbers into `out`, row after row, channels together.
///
/// # Panics
/// Where the mean image is to be subtracted and there is none, or `out` is not as large as the window: a
/// mistake of the caller.
pub fn cut(
    image: &[u8],
    [channels, _, cols]: [usize; 3],
    input: &Input,
    window: Window,
    pixels: Pixels<'_>,
    out: &mut [f32],
) {
    let crop = input.crop as usize;
    let wide = crop * channels;
    assert_eq!(out.len(), crop * wide);
    for (out, row) in out.chunks_exact_mut(wide).zip(window.row..) {
        let first = (row * cols + window.col) * channels;
        let bytes = &image[first..first + wide];
        match input.subtract {
            Subtract::MeanImage => {
                let mean = &pixels.mean.expect("the mean image")[first..first + wide];
                for ((out, byte), mean) in out.iter_mut().zip(bytes).zip(mean) {
                    *out = f32::from(*byte) - mean;
                }
            }
            Subtract::Moments => {
                let (mean, deviation) = pixels.moments;
                let (scale, shift) = ((1.0 / (255.0 * deviation)) as f32, (-mean / deviation) as f32);
                for (out, byte) in out.iter_mut().zip(bytes) {
                    *out = f32::from(*byte) * scale + shift;
                }
            }
        }
        if window.mirrored {
            // Exchange the pixels, and leave the channels within each as they are.
            out.reverse();
            out.chunks_exact_mut(channels).for_each(<[f32]>::reverse);
        }
    }
}

/// What is multiplied, in the step that is taken at `place`, into the `count` numbers that leave the layer of
/// that index: 0 for half of them, by chance, and 2 for the others, so that their mean stays.
pub fn mask(recipe: &Recipe, place: Place, layer: usize, count: usize) -> Vec<f32> {
    let name = recipe.stream("dropout").and("layer", NAMES[layer]);
    let mut stream = Stream::open(&name.and("epoch", place.epoch).and("step", place.step));
    let mut mask = Vec::with_capacity(count.next_multiple_of(64));
    while mask.len() < count {
        let bits = stream.bits();
        mask.extend((0..64).map(|bit| 2.0 * (bits >> bit & 1) as f32));
    }
    mask.truncate(count);
    mask
}

#[cfg(test)]
mod tests;
