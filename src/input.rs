//! What enters a network and what is dropped within it: windows of images, cut out and mirrored, and masks. All draws
//! are of streams named by epoch and step, shared by all networks of a target.
//!
//! Uses `protocol`, `recipe`, `seed`; used by `train`, and by `split` for what a data set's pixels are measured
//! by. Nothing here knows libtorch.

use crate::architecture::NAMES;
use crate::ledger::Place;
use crate::protocol::Input;
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

    /// The image's rows that a window of that side shows, from the top.
    pub fn rows(self, crop: usize) -> impl Iterator<Item = usize> {
        self.row..self.row + crop
    }

    /// The image's columns that a window of that side shows, from the left.
    pub fn cols(self, crop: usize) -> impl Iterator<Item = usize> {
        (0..crop).map(move |at| self.col + if self.mirrored { crop - 1 - at } else { at })
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

/// Cuts a window of that side out of an image's bytes, into `out`: row after row, channels together.
///
/// # Panics
/// Where `out` is not as large as the window: a mistake of the caller.
pub fn cut(image: &[u8], [channels, _, cols]: [usize; 3], crop: usize, window: Window, out: &mut [u8]) {
    let wide = crop * channels;
    assert_eq!(out.len(), crop * wide);
    for (out, row) in out.chunks_exact_mut(wide).zip(window.rows(crop)) {
        out.copy_from_slice(&image[(row * cols + window.col) * channels..][..wide]);
        if window.mirrored {
            // Exchange the pixels, and leave the channels within each as they are.
            out.reverse();
            out.chunks_exact_mut(channels).for_each(<[u8]>::reverse);
        }
    }
}

/// What is multiplied, in the step that is taken at `place`, into the `count` numbers that leave the layer of
/// that index: 0 for half of them, by chance, and 2 for the others, so that their mean stays.
pub fn mask(recipe: &Recipe, place: Place, layer: usize, count: usize) -> Vec<u8> {
    let name = recipe.stream("dropout").and("layer", NAMES[layer]);
    let mut stream = Stream::open(&name.and("epoch", place.epoch).and("step", place.step));
    let mut mask = Vec::with_capacity(count.next_multiple_of(64));
    while mask.len() < count {
        let bits = stream.bits();
        mask.extend((0..64).map(|bit| 2 * (bits >> bit & 1) as u8));
    }
    mask.truncate(count);
    mask
}

#[cfg(test)]
mod tests;
