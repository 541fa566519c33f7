//! The images of a part as they enter the first layer that is computed in each step.
//!
//! Uses `net`; a part of `train`. Where images enter whole, those that leave the cached layers wait in memory for all
//! steps; where windows are cut out, `feed` cuts them.

use super::Problem;
use super::feed::{Source, Wanted};
use crate::data::Images;
use crate::input::{Pixels, Window};
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
    Whole(Source<'a>),
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
            return Ok(Self { inputs: Inputs::Whole(Source { images, pixels, input }), labels });
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

    /// What windows are cut from, where they are.
    pub(super) fn source(&self) -> Option<Source<'a>> {
        match &self.inputs {
            Inputs::Resting(_) => None,
            Inputs::Whole(source) => Some(*source),
        }
    }

    /// What enters for those images, in that order, and their labels. `cut` has their windows' numbers, where
    /// windows are cut out.
    pub(super) fn batch(&self, batch: &[u32], cut: Option<Vec<f32>>) -> Result<(Tensor, Tensor), TchError> {
        let indices: Vec<i64> = batch.iter().map(|index| i64::from(*index)).collect();
        let indices = Tensor::f_from_slice(&indices)?.f_to_device(self.labels.device())?;
        let labels = self.labels.f_index_select(0, &indices)?;
        let inputs = self.inputs(cut, |resting| resting.f_index_select(0, &indices))?;
        Ok((inputs, labels))
    }

    /// What enters for the images of a range, and their labels. `cut` is as for [`Self::batch`].
    pub(super) fn range(
        &self,
        range: &Range<i64>,
        cut: Option<Vec<f32>>,
    ) -> Result<(Tensor, Tensor), TchError> {
        let (start, length) = (range.start, range.end - range.start);
        let labels = self.labels.f_narrow(0, start, length)?;
        let inputs = self.inputs(cut, |resting| resting.f_narrow(0, start, length))?;
        Ok((inputs, labels))
    }

    fn inputs(
        &self,
        cut: Option<Vec<f32>>,
        of: impl FnOnce(&Tensor) -> Result<Tensor, TchError>,
    ) -> Result<Tensor, TchError> {
        match (&self.inputs, cut) {
            (Inputs::Resting(resting), _) => of(resting),
            (Inputs::Whole(source), cut) => {
                let crop = i64::from(source.input.crop);
                let [channels, ..] = source.images.shape();
                let numbers = Tensor::f_from_slice(&cut.expect("windows are cut out"))?;
                numbers.f_reshape([-1, crop, crop, channels as i64])?.f_to_device(self.labels.device())
            }
        }
    }

    /// All images in order, as many at once as are evaluated at once.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<i64>> + use<> {
        let total = self.len() as i64;
        let all = (0..total).step_by(EVALUATED_AT_ONCE as usize);
        all.map(move |start| start..total.min(start + EVALUATED_AT_ONCE))
    }
}

impl Source<'_> {
    /// The images of a range as they are evaluated: their middles.
    pub(super) fn middles(&self, range: Range<i64>) -> Wanted {
        let middle = Window::middle(self.input, self.images.shape());
        range.map(|at| (at as usize, middle)).collect()
    }
}
