//! The images of a part as they enter the first layer that is computed in each step.
//!
//! Uses `net`; a part of `train`. Where images enter whole, those that leave the cached layers wait in memory for all
//! steps; where windows are cut out, `feed` cuts them, and what is subtracted from them is subtracted here.

use super::Problem;
use super::feed::{Cut, Source, Wanted};
use crate::data::Images;
use crate::input::{Pixels, Window};
use crate::net::{self, Net};
use crate::protocol::{Input, Subtract};
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
    /// Images to cut windows from, and what is subtracted from their bytes.
    Cut(Source<'a>, Subtracted),
}

enum Subtracted {
    /// The mean of all pixels, before their deviation divides them.
    Moments((f64, f64)),
    /// The mean image: rows, columns, channels.
    Mean(Tensor),
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
            let subtracted = match input.subtract {
                Subtract::Moments => Subtracted::Moments(pixels.moments),
                Subtract::MeanImage => {
                    let mean = Tensor::f_from_slice(pixels.mean.expect("the mean image"))?;
                    let size = [images.rows, images.cols, images.channels].map(|side| side as i64);
                    Subtracted::Mean(mean.f_reshape(size)?.f_to_device(net.device())?)
                }
            };
            return Ok(Self { inputs: Inputs::Cut(Source { images, input }, subtracted), labels });
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
            Inputs::Cut(source, _) => Some(*source),
        }
    }

    /// Images by their indices, for [`Self::batch`]: where the images are, so that a step waits for no copy.
    pub(super) fn indices(&self, order: &[u32]) -> Result<Tensor, TchError> {
        let indices: Vec<i64> = order.iter().map(|index| i64::from(*index)).collect();
        Tensor::f_from_slice(&indices)?.f_to_device(self.labels.device())
    }

    /// What enters for those images, in that order, and their labels. `cut` has their windows, where they are cut
    /// out.
    pub(super) fn batch(&self, indices: &Tensor, cut: Option<Cut>) -> Result<(Tensor, Tensor), TchError> {
        let labels = self.labels.f_index_select(0, indices)?;
        let inputs = self.inputs(cut, |resting| resting.f_index_select(0, indices))?;
        Ok((inputs, labels))
    }

    /// What enters for the images of a range, and their labels. `cut` is as for [`Self::batch`].
    pub(super) fn range(&self, range: &Range<i64>, cut: Option<Cut>) -> Result<(Tensor, Tensor), TchError> {
        let (start, length) = (range.start, range.end - range.start);
        let labels = self.labels.f_narrow(0, start, length)?;
        let inputs = self.inputs(cut, |resting| resting.f_narrow(0, start, length))?;
        Ok((inputs, labels))
    }

    fn inputs(
        &self,
        cut: Option<Cut>,
        of: impl FnOnce(&Tensor) -> Result<Tensor, TchError>,
    ) -> Result<Tensor, TchError> {
        match (&self.inputs, cut) {
            (Inputs::Resting(resting), _) => of(resting),
            (Inputs::Cut(source, subtracted), cut) => {
                self.numbers(source, subtracted, &cut.expect("windows are cut out"))
            }
        }
    }

    /// What enters for windows. Their bytes go to the device as they are, a quarter of what enters.
    fn numbers(&self, source: &Source<'_>, subtracted: &Subtracted, cut: &Cut) -> Result<Tensor, TchError> {
        let (shape, device) = (source.shape(), self.labels.device());
        match subtracted {
            Subtracted::Moments(moments) => net::scaled(shape, &cut.bytes, *moments, device),
            Subtracted::Mean(mean) => {
                // For each window the rows of its image that it shows, then for each the columns.
                let (crop, images) = (shape[1], cut.windows.len() as i64);
                let rows = cut.windows.iter().flat_map(|window| window.rows(crop));
                let cols = cut.windows.iter().flat_map(|window| window.cols(crop));
                let places: Vec<i64> = rows.chain(cols).map(|place| place as i64).collect();
                let places = Tensor::f_from_slice(&places)?.f_to_device(device)?;
                let places = places.f_reshape([2, images, crop as i64])?;
                let (rows, cols) =
                    (places.f_select(0, 0)?.f_unsqueeze(2)?, places.f_select(0, 1)?.f_unsqueeze(1)?);
                net::numbers(shape, &cut.bytes, device)?.f_sub_(&mean.f_index(&[Some(rows), Some(cols)])?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::LAYERS;
    use crate::numerics::Numerics;
    use crate::protocol::Layout;
    use crate::recipe::Policy;
    use crate::testing::weights;
    use proptest::prelude::*;
    use tch::Device;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Whatever a window shows, each number is its byte's, less the mean of the place in the image that the byte is
        /// of, or by mean and deviation.
        #[test]
        fn numbers_of_windows_are_those_of_their_bytes(
            windows in prop::collection::vec((0usize..4, 0usize..5, any::<bool>()), 1..6),
            bytes in prop::collection::vec(any::<u8>(), 5 * 27),
            moments in (0.01..0.9f64, 0.05..0.5f64),
        ) {
            Numerics::engage(Policy::Portable).unwrap().enter_thread();
            let window = |(row, col, mirrored)| Window { row, col, mirrored };
            let windows: Vec<_> = windows.into_iter().map(window).collect();
            let cut = || Cut { windows: windows.clone(), bytes: bytes[..27 * windows.len()].to_vec() };
            let images = Images::new([3, 6, 7], vec![0; 126], vec![0]);
            let mean: Vec<f32> = (0..126).map(|at| at as f32 * 7.3).collect();
            let net = Net::new(Layout::Small, &weights(1), LAYERS, Device::Cpu).unwrap();
            for subtract in [Subtract::MeanImage, Subtract::Moments] {
                let input = Input { crop: 3, mirror: true, subtract };
                let pixels = Pixels { moments, mean: Some(&mean) };
                let Ok(features) = Features::new(&images, pixels, Some(&input), &net, 0) else {
                    panic!("libtorch has memory")
                };
                let (numbers, _) = features.range(&(0..1), Some(cut())).unwrap();
                prop_assert_eq!(numbers.size(), [windows.len() as i64, 3, 3, 3]);
                let numbers = net::from_tensor(&numbers).unwrap().values;
                let (scale, shift) = ((1.0 / (255.0 * moments.1)) as f32, (-moments.0 / moments.1) as f32);
                for (at, window) in windows.iter().enumerate() {
                    for (row, col, channel) in (0..27).map(|at| (at / 9, at / 3 % 3, at % 3)) {
                        let here = ((at * 3 + row) * 3 + col) * 3 + channel;
                        let from = window.col + if window.mirrored { 2 - col } else { col };
                        let byte = f32::from(bytes[here]);
                        let expected = match subtract {
                            Subtract::MeanImage => byte - mean[((window.row + row) * 7 + from) * 3 + channel],
                            Subtract::Moments => byte * scale + shift,
                        };
                        prop_assert_eq!(numbers[here].to_bits(), expected.to_bits());
                    }
                }
            }
        }
    }
}
