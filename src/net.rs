//! The network on libtorch: weights in and out, and the forward pass.
//!
//! Uses `architecture` and `weights`; used by `train` alone. One of three modules that know libtorch.
//! Nothing here draws a random number or keeps state beyond the tensors.
//!
//! Activations between convolutions lie in memory with the channel fastest (NHWC), which libtorch's
//! CPU convolutions are quicker with; seen from tch they are (N, C, H, W) all the same.

use crate::architecture::{CONVOLUTIONS, KERNEL, LAYERS, pools};
use crate::weights::{Layer, Tensor as Numbers, Weights};
use tch::{Kind, Tensor};

/// A network's weights as libtorch's tensors, weight and bias of each layer.
pub(crate) struct Net {
    layers: [[Tensor; 2]; LAYERS],
}

fn to_tensor(numbers: &Numbers) -> Tensor {
    let shape: Vec<i64> = numbers.shape.iter().map(|dim| *dim as i64).collect();
    Tensor::from_slice(&numbers.values).reshape(shape)
}

fn from_tensor(tensor: &Tensor) -> Numbers {
    let shape = tensor.size().iter().map(|dim| *dim as usize).collect();
    let mut values = vec![0f32; tensor.numel()];
    tensor.contiguous().copy_data(&mut values, tensor.numel());
    Numbers { shape, values }
}

impl Net {
    /// The network of those weights. The layers from `frozen` on ask for gradients.
    pub(crate) fn new(weights: &Weights, frozen: usize) -> Self {
        let layers = std::array::from_fn(|index| {
            let Layer { weight, bias } = &weights.layers[index];
            [weight, bias].map(|numbers| to_tensor(numbers).set_requires_grad(index >= frozen))
        });
        Self { layers }
    }

    /// The weights as they are now.
    pub(crate) fn weights(&self) -> Weights {
        let layers = std::array::from_fn(|index| {
            let [weight, bias] = self.layers[index].each_ref().map(from_tensor);
            Layer { weight, bias }
        });
        Weights { layers }
    }

    /// The tensors from layer `frozen` on, in order.
    pub(crate) fn trained(&self, frozen: usize) -> Vec<&Tensor> {
        self.layers[frozen..].iter().flatten().collect()
    }

    /// Runs `input`, what enters layer `range.start` as [`rest`] lays it out, through the layers of
    /// `range`.
    pub(crate) fn forward(&self, input: &Tensor, range: std::ops::Range<usize>) -> Tensor {
        let mut x = wake(input);
        for index in range {
            let [weight, bias] = &self.layers[index];
            if index < CONVOLUTIONS {
                let padding = (KERNEL / 2) as i64;
                x = x.conv2d(weight, Some(bias), [1, 1], [padding, padding], [1, 1], 1).relu();
                if pools(index) {
                    x = x.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
                }
            } else {
                if index == CONVOLUTIONS {
                    x = x.flatten(1, -1);
                }
                x = x.linear(weight, Some(bias));
                if index + 1 < LAYERS {
                    x = x.relu();
                }
            }
        }
        x
    }
}

/// Lays activations out to wait in memory: images as (N, H, W, C), contiguous, so that rows can be
/// picked out; vectors as (N, units).
pub(crate) fn rest(x: &Tensor) -> Tensor {
    match x.dim() {
        4 => x.permute([0, 2, 3, 1]).contiguous(),
        _ => x.contiguous(),
    }
}

/// The inverse of [`rest`], without moving anything.
fn wake(x: &Tensor) -> Tensor {
    match x.dim() {
        4 => x.permute([0, 3, 1, 2]),
        _ => x.shallow_clone(),
    }
}

/// Grey images scaled by mean and deviation (of pixels on the scale 0 to 1), as [`rest`] lays them out.
pub(crate) fn scaled(pixels: &[u8], rows: usize, cols: usize, (mean, deviation): (f64, f64)) -> Tensor {
    let raw = Tensor::from_slice(pixels).to_kind(Kind::Float);
    let (scale, shift) = (1.0 / (255.0 * deviation), -mean / deviation);
    (raw * scale + shift).reshape([-1, rows as i64, cols as i64, 1])
}

#[cfg(test)]
mod tests;
