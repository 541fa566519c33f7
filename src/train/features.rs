//! The images of a part as they enter the first layer that is computed in each step.
//!
//! Uses `net` and `input`; a part of `train`. Where images enter whole, those that leave the cached layers wait in
//! memory for all steps; where windows are cut out, images are cut as they are asked for.

use super::Problem;
use crate::data::Images;
use crate::input::{Pixels, Window, cut};
use crate::net::{self, Net};
use crate::protocol::Input;
use std::ops::Range;
use tch::{TchError, Tensor};

/// Images that are evaluated at once. It is part of the training core: another number may change
/// the last bits of a loss.
pub(super) const EVALUATED_AT_ONCE: i64 = 250;

/// Images as they enter the first layer that is computed in each step, with their labels.
pub(super) struct Features<'a> {
    inputs: Inputs<'a>,
    labels: Tensor,
}

enum Inputs<'a> {
    /// What leaves the cached layers, for all images.
    Resting(Tensor),
    /// Images to cut windows from.
    Whole { images: &'a Images, pixels: Pixels<'a>, input: &'a Input },
}

impl<'a> Features<'a> {
    /// Runs all images through the cached layers, once; none are where windows are cut out.
    pub(super) fn new(
        images: &'a Images,
        pixels: Pixels<'a>,
        input: Option<&'a Input>,
        net: &Net,
        cached: usize,
    ) -> Result<Self, Problem> {
        let labels: Vec<i64> = images.labels.iter().map(|label| i64::from(*label)).collect();
        let labels = Tensor::f_from_slice(&labels)?.f_to_device(net.device())?;
        if let Some(input) = input {
            return Ok(Self { inputs: Inputs::Whole { images, pixels, input }, labels });
        }
        let scaled = net::scaled(images.shape(), &images.bytes()?, pixels.moments, net.device())?;
        let inputs = if cached == 0 {
            scaled
        } else {
            let parts = scaled.f_split(EVALUATED_AT_ONCE, 0)?;
            let through = |part| net::rest(&tch::no_grad(|| net.forward(part, 0..cached))?);
            Tensor::f_cat(&parts.iter().map(through).collect::<Result<Vec<_>, TchError>>()?, 0)?
        };
        Ok(Self { inputs: Inputs::Resting(inputs), labels })
    }

    pub(super) fn len(&self) -> usize {
        self.labels.numel()
    }

    /// What enters for those images, in that order, and their labels. `windows` is asked where windows are
    /// cut out, for images of so many channels, rows and columns.
    pub(super) fn batch(
        &self,
        batch: &[u32],
        windows: impl FnOnce(&Input, [usize; 3]) -> Vec<Window>,
    ) -> Result<(Tensor, Tensor), Problem> {
        let indices: Vec<i64> = batch.iter().map(|index| i64::from(*index)).collect();
        let indices = Tensor::f_from_slice(&indices)?.f_to_device(self.labels.device())?;
        let labels = self.labels.f_index_select(0, &indices)?;
        let inputs = match &self.inputs {
            Inputs::Resting(inputs) => inputs.f_index_select(0, &indices)?,
            Inputs::Whole { images, pixels, input } => {
                let windows = windows(input, images.shape());
                let at = batch.iter().map(|index| *index as usize);
                cut_out(images, *pixels, input, at.zip(windows))?.f_to_device(self.labels.device())?
            }
        };
        Ok((inputs, labels))
    }

    /// What enters for the images of a range in evaluation, and their labels.
    pub(super) fn range(&self, range: Range<i64>) -> Result<(Tensor, Tensor), Problem> {
        let (start, length) = (range.start, range.end - range.start);
        let labels = self.labels.f_narrow(0, start, length)?;
        let inputs = match &self.inputs {
            Inputs::Resting(inputs) => inputs.f_narrow(0, start, length)?,
            Inputs::Whole { images, pixels, input } => {
                let middle = Window::middle(input, images.shape());
                let windows = range.map(|at| (at as usize, middle));
                cut_out(images, *pixels, input, windows)?.f_to_device(self.labels.device())?
            }
        };
        Ok((inputs, labels))
    }
}

/// Windows of images, as [`net::rest`] lays them out.
fn cut_out(
    images: &Images,
    pixels: Pixels<'_>,
    input: &Input,
    windows: impl Iterator<Item = (usize, Window)>,
) -> Result<Tensor, Problem> {
    let mut numbers = Vec::new();
    for (at, window) in windows {
        cut(&images.image(at)?, images.shape(), input, window, pixels, &mut numbers);
    }
    let crop = i64::from(input.crop);
    let [channels, ..] = images.shape();
    Ok(Tensor::f_from_slice(&numbers)?.f_reshape([-1, crop, crop, channels as i64])?)
}
