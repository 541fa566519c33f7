//! The eight layers as shapes: five convolutional, three fully connected.
//!
//! Uses `protocol`; used by `init`, `plan` (cost) and `net` (which computes with them). Convolutions
//! are 3×3 with one pixel of padding; the first, second and fifth are followed by 2×2 max pooling;
//! every layer but the last by ReLU.

use crate::protocol::Network;
use crate::weights;

/// The number of layers.
pub const LAYERS: usize = 8;

/// The layers' names, in order.
pub const NAMES: [&str; LAYERS] = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"];

/// How many of the layers are convolutional.
pub const CONVOLUTIONS: usize = 5;

/// Height and width of a convolution's kernel.
pub const KERNEL: usize = 3;

/// Whether max pooling follows the layer of that index.
pub fn pools(layer: usize) -> bool {
    matches!(layer, 0 | 1 | 4)
}

/// One layer's shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name, of [`NAMES`].
    pub name: &'static str,
    /// Weights: `[out, in, 3, 3]` for a convolution, `[out, in]` for a fully connected layer.
    pub weight: Vec<usize>,
    /// What leaves the layer for one image, after its activation and pooling: `[channels, rows,
    /// columns]` or `[units]`.
    pub output: Vec<usize>,
    /// Multiplications of a forward pass for one image.
    pub products: u64,
}

impl Layer {
    /// How many numbers flow into one output unit.
    pub fn fan_in(&self) -> usize {
        self.weight[1..].iter().product()
    }

    /// How many numbers leave its units for one image, before pooling.
    pub fn activations(&self) -> u64 {
        self.products / self.fan_in() as u64
    }

    /// Whether those weights and biases have its shapes.
    pub fn fits(&self, layer: &weights::Layer) -> bool {
        layer.weight.shape == self.weight && layer.bias.shape == self.weight[..1]
    }

    /// How many numbers there are in its weights and biases.
    pub fn parameters(&self) -> usize {
        self.weight.iter().product::<usize>() + self.weight[0]
    }
}

/// The layers of `network` for images of so many channels, rows and columns, and that many classes.
pub fn layers(network: &Network, image: [usize; 3], classes: usize) -> [Layer; LAYERS] {
    let [mut channels, mut height, mut width] = image;
    let mut inputs = 0;
    std::array::from_fn(|index| {
        let name = NAMES[index];
        if index < CONVOLUTIONS {
            let out = network.conv[index] as usize;
            let weight = vec![out, channels, KERNEL, KERNEL];
            let products = (out * channels * KERNEL * KERNEL * height * width) as u64;
            if pools(index) {
                (height, width) = (height / 2, width / 2);
            }
            channels = out;
            inputs = channels * height * width;
            Layer { name, weight, output: vec![channels, height, width], products }
        } else {
            let out = network.hidden.get(index - CONVOLUTIONS).map_or(classes, |units| *units as usize);
            let weight = vec![out, inputs];
            let products = (out * inputs) as u64;
            inputs = out;
            Layer { name, weight, output: vec![out], products }
        }
    })
}

#[cfg(test)]
mod tests;
