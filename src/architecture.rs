//! The eight layers as shapes: five convolutional, three fully connected.
//!
//! Uses `protocol`; used by `init`, `plan` (cost) and `net` (which computes with them). In the small layout
//! convolutions are 3×3 with one pixel of padding; in Caffe's they are those of the paper's network. In both, max
//! pooling follows the first, second and fifth, and ReLU every layer but the last.

use crate::protocol::{Layout, Network};

/// The number of layers.
pub const LAYERS: usize = 8;

/// The layers' names, in order.
pub const NAMES: [&str; LAYERS] = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"];

/// How many of the layers are convolutional.
pub const CONVOLUTIONS: usize = 5;

/// Largest-of pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Rows and columns that it looks at.
    pub size: usize,
    /// Rows and columns from one look to the next.
    pub stride: usize,
    /// Whether a last look may reach over the border (Caffe), or what is left there is passed over.
    pub over: bool,
}

impl Pool {
    /// How many rows or columns are left of so many.
    fn left(self, side: usize) -> usize {
        let steps = side as i64 - self.size as i64;
        let stride = self.stride as i64;
        let steps =
            if self.over { (steps + stride - 1).div_euclid(stride) } else { steps.div_euclid(stride) };
        (steps + 1).max(0) as usize
    }
}

/// How a convolutional layer computes: convolution, ReLU, then pooling and normalisation where it has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Rows and columns from one place of the kernel to the next.
    pub stride: usize,
    /// Rows and columns of zeros around the image.
    pub padding: usize,
    /// Groups of channels, each of which sees its own part of the input alone.
    pub groups: usize,
    /// Its pooling.
    pub pool: Option<Pool>,
    /// Whether local response normalisation follows the pooling.
    pub normalised: bool,
}

/// How the convolutional layer of that index computes.
pub fn convolution(layout: Layout, layer: usize) -> Convolution {
    match layout {
        Layout::Small => Convolution {
            kernel: 3,
            stride: 1,
            padding: 1,
            groups: 1,
            pool: pools(layer).then_some(Pool { size: 2, stride: 2, over: false }),
            normalised: false,
        },
        Layout::Caffe => Convolution {
            kernel: [11, 5, 3, 3, 3][layer],
            stride: [4, 1, 1, 1, 1][layer],
            padding: [0, 2, 1, 1, 1][layer],
            groups: [1, 2, 1, 2, 2][layer],
            pool: pools(layer).then_some(Pool { size: 3, stride: 2, over: true }),
            normalised: layer < 2,
        },
    }
}

/// Local response normalisation divides each value by (1 + [`NORM_ALPHA`] · m) ^ [`NORM_BETA`], where m is the mean
/// square over [`NORM_SIZE`] neighbouring channels at its place, absent ones counted as 0 (Krizhevsky et al.
/// 2012; Caffe).
pub const NORM_SIZE: usize = 5;
/// See [`NORM_SIZE`].
pub const NORM_ALPHA: f64 = 1e-4;
/// See [`NORM_SIZE`].
pub const NORM_BETA: f64 = 0.75;

/// Before which layers half of what enters is dropped in training, in a layout that drops: fc7 and fc8.
pub const DROPPED: std::ops::Range<usize> = CONVOLUTIONS + 1..LAYERS;

/// Whether a layout drops units in training.
pub fn drops(layout: Layout) -> bool {
    layout == Layout::Caffe
}

/// How many of the first `frozen` layers can be computed once for all steps: none where images do not enter
/// `whole`, and none above the first that drops.
pub fn cached(layout: Layout, whole: bool, frozen: usize) -> usize {
    match (whole, drops(layout)) {
        (false, _) => 0,
        (true, true) => frozen.min(DROPPED.start),
        (true, false) => frozen,
    }
}

/// Whether max pooling follows the layer of that index.
pub fn pools(layer: usize) -> bool {
    matches!(layer, 0 | 1 | 4)
}

/// One layer's shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name, of [`NAMES`].
    pub name: &'static str,
    /// Weights: `[out, in / groups, rows, columns]` for a convolution, `[out, in]` for a fully connected layer.
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
            let Convolution { kernel, stride, padding, groups, pool, .. } =
                convolution(network.layout, index);
            let weight = vec![out, channels / groups, kernel, kernel];
            // Where a kernel does not fit, nothing leaves the layer; whoever plans refuses that.
            let places = |side: usize| (side + 2 * padding + stride).saturating_sub(kernel) / stride;
            (height, width) = (places(height), places(width));
            let products = (weight.iter().product::<usize>() * height * width) as u64;
            if let Some(pool) = pool {
                (height, width) = (pool.left(height), pool.left(width));
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
