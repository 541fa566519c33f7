//! The network on libtorch: weights in and out, and the forward pass.
//!
//! Uses `architecture` and `weights`; used by `train`, and by `numerics` for its probe. One of three modules that know libtorch.
//! Nothing here draws a random number or keeps state beyond the tensors. Where libtorch refuses, most
//! often for want of memory, the answer is its error, never a panic.
//!
//! Activations between convolutions lie in memory with the channel fastest (NHWC), which libtorch's
//! CPU convolutions are quicker with; seen from tch they are (N, C, H, W) all the same.

use crate::architecture::{CONVOLUTIONS, DROPPED, LAYERS, NORM_ALPHA, NORM_BETA, NORM_SIZE, convolution};
use crate::protocol::Layout;
use crate::weights::{Layer, Tensor as Numbers, Weights};
use std::ops::Range;
use tch::{Device, Kind, TchError, Tensor};

/// What is multiplied into what enters each of [`DROPPED`] in training: 0 or 2.
pub(crate) type Masks = [Tensor; DROPPED.end - DROPPED.start];

/// A network's weights as libtorch's tensors, weight and bias of each layer.
pub(crate) struct Net {
    layout: Layout,
    device: Device,
    layers: [[Tensor; 2]; LAYERS],
}

/// What libtorch says of an error, in one line: it goes on with a stack.
pub(crate) fn said(error: &TchError) -> String {
    let text = error.to_string();
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given").to_owned()
}

/// A tensor of those numbers on that device.
pub(crate) fn to_tensor(numbers: &Numbers, device: Device) -> Result<Tensor, TchError> {
    let shape: Vec<i64> = numbers.shape.iter().map(|dim| *dim as i64).collect();
    Tensor::f_from_slice(&numbers.values)?.f_reshape(shape)?.f_to_device(device)
}

/// The bits of a tensor's numbers.
pub(crate) fn bytes(tensor: &Tensor) -> Result<Vec<u8>, TchError> {
    let mut bytes = vec![0; tensor.numel() * 4];
    tensor.f_to_device(Device::Cpu)?.f_contiguous()?.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}

/// A tensor's numbers.
pub(crate) fn from_tensor(tensor: &Tensor) -> Result<Numbers, TchError> {
    let shape = tensor.size().iter().map(|dim| *dim as usize).collect();
    let mut values = vec![0f32; tensor.numel()];
    tensor.f_to_device(Device::Cpu)?.f_contiguous()?.f_copy_data(&mut values, tensor.numel())?;
    Ok(Numbers { shape, values })
}

impl Net {
    /// The network of those weights in that layout, on that device. The layers from `frozen` on ask for gradients.
    pub(crate) fn new(
        layout: Layout,
        weights: &Weights,
        frozen: usize,
        device: Device,
    ) -> Result<Self, TchError> {
        let layers = weights.layers.iter().enumerate().map(|(index, Layer { weight, bias })| {
            let asks = index >= frozen;
            let tensor = |numbers| to_tensor(numbers, device).map(|tensor| tensor.set_requires_grad(asks));
            Ok([tensor(weight)?, tensor(bias)?])
        });
        let layers = layers.collect::<Result<Vec<_>, TchError>>()?;
        Ok(Self { layout, device, layers: layers.try_into().expect("eight layers") })
    }

    /// Where it computes, and what enters it has to be.
    pub(crate) fn device(&self) -> Device {
        self.device
    }

    /// The weights as they are now.
    pub(crate) fn weights(&self) -> Result<Weights, TchError> {
        let layers = self
            .layers
            .iter()
            .map(|[weight, bias]| Ok(Layer { weight: from_tensor(weight)?, bias: from_tensor(bias)? }));
        let layers = layers.collect::<Result<Vec<_>, TchError>>()?;
        Ok(Weights { layers: layers.try_into().expect("eight layers") })
    }

    /// The tensors from layer `frozen` on, in order.
    pub(crate) fn trained(&self, frozen: usize) -> Vec<&Tensor> {
        self.layers[frozen..].iter().flatten().collect()
    }

    /// Runs `input`, what enters layer `range.start` as [`rest`] lays it out, through the layers of
    /// `range`, as in evaluation: nothing is dropped.
    pub(crate) fn forward(&self, input: &Tensor, range: Range<usize>) -> Result<Tensor, TchError> {
        self.pass(input, range, None)
    }

    /// [`Net::forward`], and where there are masks they are multiplied into what enters their layers.
    pub(crate) fn pass(
        &self,
        input: &Tensor,
        range: Range<usize>,
        masks: Option<&Masks>,
    ) -> Result<Tensor, TchError> {
        let mut x = wake(input)?;
        for index in range {
            let [weight, bias] = &self.layers[index];
            #[cfg(test)]
            if let Some(faulty) = crate::faults::hooks::layer(index, &x, weight, bias)? {
                x = faulty;
                continue;
            }
            if index < CONVOLUTIONS {
                let form = convolution(self.layout, index);
                let both = |side: usize| [side as i64; 2];
                let (stride, padding) = (both(form.stride), both(form.padding));
                x = x.f_conv2d(weight, Some(bias), stride, padding, [1, 1], form.groups as i64)?.f_relu()?;
                if let Some(pool) = form.pool {
                    x = x.f_max_pool2d(both(pool.size), both(pool.stride), [0, 0], [1, 1], pool.over)?;
                }
                if form.normalised {
                    x = normalised(&x)?;
                }
            } else {
                if let (Some(masks), true) = (masks, DROPPED.contains(&index)) {
                    x = x.f_mul(&masks[index - DROPPED.start])?;
                }
                if index == CONVOLUTIONS {
                    x = x.f_flatten(1, -1)?;
                }
                x = x.f_linear(weight, Some(bias))?;
                if index + 1 < LAYERS {
                    x = x.f_relu()?;
                }
            }
        }
        Ok(x)
    }
}

/// Local response normalisation. Channels are last in memory, so that averaging over neighbouring ones is pooling
/// along rows of a matrix; libtorch's own way there has no deterministic gradient on a GPU. The power is taken by
/// reciprocals of square roots, which libtorch computes by itself, and every CPU rounds alike; square roots it leaves to
/// MKL's vector functions, which give other bits on other processors whatever MKL is told.
fn normalised(x: &Tensor) -> Result<Tensor, TchError> {
    const { assert!(NORM_BETA == 0.75) };
    let x = rest(x)?;
    let size = x.size();
    let [images, rows, cols, channels] = size[..] else { unreachable!("a convolution has four dimensions") };
    let squares = x.f_mul(&x)?.f_reshape([images, 1, rows * cols, channels])?;
    let (wide, reach) = (NORM_SIZE as i64, NORM_SIZE as i64 / 2);
    let mean = squares.f_avg_pool2d([1, wide], [1, 1], [0, reach], false, true, None::<i64>)?;
    let sum = mean.f_mul_scalar(NORM_ALPHA)?.f_add_scalar(1.0)?;
    // s^(-3/4) = s^(-1/2) · (s · s^(-1/2))^(-1/2)
    let half = sum.f_rsqrt()?;
    let power = half.f_mul(&sum.f_mul(&half)?.f_rsqrt()?)?.f_reshape(&size)?;
    wake(&x.f_mul(&power)?)
}

/// Lays activations out to wait in memory: images as (N, H, W, C), contiguous, so that rows can be
/// picked out; vectors as (N, units).
pub(crate) fn rest(x: &Tensor) -> Result<Tensor, TchError> {
    match x.dim() {
        4 => x.f_permute([0, 2, 3, 1])?.f_contiguous(),
        _ => x.f_contiguous(),
    }
}

/// The inverse of [`rest`], without moving anything.
fn wake(x: &Tensor) -> Result<Tensor, TchError> {
    match x.dim() {
        4 => x.f_permute([0, 3, 1, 2]),
        _ => Ok(x.shallow_clone()),
    }
}

/// Images, whose shape and bytes those are, as numbers 0 to 255, as [`rest`] lays them out, on that device.
pub(crate) fn numbers(shape: [usize; 3], bytes: &[u8], device: Device) -> Result<Tensor, TchError> {
    let [channels, rows, cols] = shape.map(|side| side as i64);
    // SAFETY: the bytes are borrowed for longer than the tensor over them is: `f_to_kind` copies, and so does a GPU.
    #[allow(unsafe_code)]
    let lent = unsafe {
        Tensor::f_from_blob(bytes.as_ptr(), &[bytes.len() as i64], &[1], Kind::Uint8, Device::Cpu)?
    };
    let numbers = lent.f_to_device(device)?.f_to_kind(Kind::Float)?;
    numbers.f_reshape([-1, rows, cols, channels])
}

/// [`numbers`], scaled by mean and deviation (of pixels on the scale 0 to 1).
pub(crate) fn scaled(
    shape: [usize; 3],
    bytes: &[u8],
    (mean, deviation): (f64, f64),
    device: Device,
) -> Result<Tensor, TchError> {
    let (scale, shift) = (1.0 / (255.0 * deviation), -mean / deviation);
    // In place: all images of a part are here at once.
    numbers(shape, bytes, device)?.f_mul_scalar_(scale)?.f_add_scalar_(shift)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod caffe;
