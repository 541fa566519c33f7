//! The fingerprint: what libtorch computes a fixed probe to, as one digest.
//!
//! Uses `seed`, `net`, `architecture`, `init` and libtorch; used by `numerics` alone, which calls it with a policy in force. The probe
//! does what training does (convolution, pooling, linear layers, softmax and cross-entropy, their
//! gradients, a step of momentum), in the layouts that `net` uses and the sizes of the `ci` protocol,
//! and in a few odd sizes, where kernels take their other ways; and the paper's network, narrower, up to its gradients, for
//! what it alone has (strides, groups, overlapping pooling, normalisation, dropped units); on a GPU one gradient of it at full
//! width. Its data come from this crate's own
//! streams. A digest that differs says that this machine computes otherwise; the same digest does not prove that every size of
//! every operation is the same.

use crate::architecture::{self, DROPPED, LAYERS, NAMES};
use crate::digest::{FingerprintDigest, Hasher};
use crate::init::zeros;
use crate::net::{self, Net};
use crate::protocol::{Filler, Layout, Network};
use crate::seed::{Name, Stream};
use tch::{Device, Kind, Reduction, TchError, Tensor};

/// Convolutions of 3×3, padded by 1: images at once, channels in and out, rows, columns, and whether
/// 2×2 pooling follows. First those of the `ci` network, on its batch and once as many as are evaluated;
/// then odd ones, a single image among them, which libtorch gives to other code than oneDNN's.
const CONVOLUTIONS: [(i64, i64, i64, i64, i64, bool); 10] = [
    (50, 1, 16, 28, 28, true),
    (50, 16, 24, 14, 14, true),
    (50, 24, 32, 7, 7, false),
    (50, 32, 32, 7, 7, false),
    (50, 32, 24, 7, 7, true),
    (250, 16, 24, 14, 14, true),
    (10, 1, 8, 28, 28, true),
    (3, 5, 7, 9, 11, true),
    (1, 17, 13, 8, 8, false),
    (13, 3, 1, 15, 10, true),
];

/// Linear layers: rows at once, units in and out. As above.
const LINEAR: [(i64, i64, i64); 7] =
    [(50, 216, 64), (50, 64, 64), (50, 64, 10), (250, 64, 20), (7, 33, 5), (1, 129, 17), (40, 3, 2)];

/// Softmax and cross-entropy: rows at once and classes. As above.
const LOSSES: [(i64, i64); 6] = [(50, 10), (250, 20), (50, 20), (7, 5), (1, 2), (13, 33)];

/// Exponentials at once: whole vectors, and with a rest.
const EXPONENTIALS: [i64; 3] = [4096, 1023, 7];

/// The paper's layers, an eighth as wide: channels, units, rows and columns of a window, images at once, classes.
const PAPER_CONV: [u32; 5] = [12, 32, 48, 48, 32];
const PAPER_HIDDEN: [u32; 2] = [64, 48];
const PAPER_SIDE: usize = 67;
const PAPER_IMAGES: i64 = 3;
const PAPER_CLASSES: usize = 21;
/// The largest pixel, less the mean: so that what is normalised lies where it does in training.
const PAPER_PIXEL: f64 = 120.0;

/// The paper's fifth convolution: images at once, sides of what enters it, channels in and out, groups.
const WIDE_IMAGES: i64 = 64;
const WIDE_SIDE: i64 = 13;
const WIDE_FROM: i64 = 384;
const WIDE_TO: i64 = 256;
const WIDE_GROUPS: i64 = 2;

/// Rate, momentum and decay of a step.
const STEP: (f64, f64, f64) = (0.005, 0.9, 5e-4);

/// Computes the probe on the calling thread and that device.
pub(super) fn compute(device: Device) -> Result<FingerprintDigest, TchError> {
    let draw = |name: &str, shape: &[i64]| draw(name, shape, device);
    let layer = |name: &str, shape: &[i64]| layer(name, shape, device);
    let mut probe = Probe { sum: Hasher::new("selffer fingerprint v2") };
    for (at, (images, from, to, rows, cols, pooled)) in CONVOLUTIONS.into_iter().enumerate() {
        let name = format!("convolution {at}");
        // As `net` has it: the channel fastest in memory.
        let input = draw(&format!("{name} input"), &[images, rows, cols, from])?;
        let input = input.f_permute([0, 3, 1, 2])?.set_requires_grad(true);
        let (weight, bias) = layer(&name, &[to, from, 3, 3])?;
        let mut output = input.f_conv2d(&weight, Some(&bias), [1, 1], [1, 1], [1, 1], 1)?.f_relu()?;
        if pooled {
            output = output.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
        }
        probe.layer(&name, &output, &[&input, &weight, &bias])?;
    }
    for (at, (rows, from, to)) in LINEAR.into_iter().enumerate() {
        let name = format!("linear {at}");
        let input = draw(&format!("{name} input"), &[rows, from])?.set_requires_grad(true);
        let (weight, bias) = layer(&name, &[to, from])?;
        let output = input.f_linear(&weight, Some(&bias))?.f_relu()?;
        probe.layer(&name, &output, &[&input, &weight, &bias])?;
    }
    for (at, (rows, classes)) in LOSSES.into_iter().enumerate() {
        let name = format!("loss {at}");
        // As wide as logits get.
        let logits = draw(&name, &[rows, classes])?.f_mul_scalar(12.0)?.set_requires_grad(true);
        let mut stream = stream(&format!("{name} labels"));
        let labels: Vec<i64> = (0..rows).map(|_| stream.below(classes as u64) as i64).collect();
        let labels = Tensor::f_from_slice(&labels)?.f_to_device(device)?;
        for reduction in [Reduction::Mean, Reduction::Sum] {
            let loss = logits.f_cross_entropy_loss::<Tensor>(&labels, None, reduction, -100, 0.0)?;
            let gradients = Tensor::f_run_backward(&[&loss], &[&logits], false, false)?;
            probe.add(&name, &loss)?;
            probe.add(&name, &gradients[0])?;
        }
        probe.add(&name, &logits.f_softmax(1, Kind::Float)?)?;
    }
    for length in EXPONENTIALS {
        let name = format!("exponential {length}");
        // From where it is nothing to where it is large.
        probe.add(&name, &draw(&name, &[length])?.f_mul_scalar(30.0)?.f_exp()?)?;
    }
    probe.paper_s_network(device)?;
    if device != Device::Cpu {
        probe.wide_gradient(device)?;
    }
    Ok(FingerprintDigest(probe.sum.finish()))
}

struct Probe {
    sum: Hasher,
}

impl Probe {
    /// Adds what a layer puts out, its gradients by what enters it, and its weights after a step.
    fn layer(&mut self, name: &str, output: &Tensor, of: &[&Tensor; 3]) -> Result<(), TchError> {
        self.add(name, output)?;
        // Any scalar would do whose gradient differs from place to place.
        let loss = output.f_mul(output)?.f_mean(Kind::Float)?;
        self.add(name, &loss)?;
        let gradients = Tensor::f_run_backward(&[&loss], of, false, false)?;
        let (rate, momentum, decay) = STEP;
        for (tensor, gradient) in of.iter().zip(&gradients) {
            self.add(name, gradient)?;
            let step = || -> Result<Tensor, TchError> {
                let change = gradient.f_add(&tensor.f_mul_scalar(decay)?)?;
                let velocity = gradient.f_mul_scalar(momentum)?.f_add(&change)?;
                tensor.f_sub(&velocity.f_mul_scalar(rate)?)
            };
            self.add(name, &tch::no_grad(step)?)?;
        }
        Ok(())
    }

    /// Adds what the paper's network puts out with some units dropped, its loss, and the gradients of all layers.
    fn paper_s_network(&mut self, device: Device) -> Result<(), TchError> {
        let (layout, filler) = (Layout::Caffe, Filler::Caffe);
        let network = Network { layout, conv: PAPER_CONV, hidden: PAPER_HIDDEN, filler };
        let window = [3, PAPER_SIDE, PAPER_SIDE];
        let mut weights = zeros(&architecture::layers(&network, window, PAPER_CLASSES));
        for (name, layer) in NAMES.iter().zip(&mut weights.layers) {
            // What leaves a layer is as large as what enters it.
            let entering = layer.weight.values.len() / layer.bias.values.len();
            let even = (3.0 / entering as f32).sqrt();
            let tensors = [("weight", even, &mut layer.weight), ("bias", 1.0, &mut layer.bias)];
            for (of, scale, tensor) in tensors {
                let drawn = numbers(&format!("paper {name} {of}"), tensor.values.len());
                tensor.values = drawn.map(|number| number * scale).collect();
            }
        }
        let net = Net::new(layout, &weights, 0, device)?;
        let side = PAPER_SIDE as i64;
        let input = draw("paper input", &[PAPER_IMAGES, side, side, 3], device)?.f_mul_scalar(PAPER_PIXEL)?;
        let masks = DROPPED.zip(PAPER_HIDDEN).map(|(layer, units)| {
            let drawn = draw(&format!("paper mask {layer}"), &[PAPER_IMAGES, i64::from(units)], device)?;
            drawn.f_gt(0.0)?.f_to_kind(Kind::Float)?.f_mul_scalar(2.0)
        });
        let masks = masks.collect::<Result<Vec<_>, TchError>>()?.try_into().expect("a mask for each");
        let logits = net.pass(&input, 0..LAYERS, Some(&masks))?;
        let labels: Vec<i64> = (0..PAPER_IMAGES).map(|image| image * 8 % PAPER_CLASSES as i64).collect();
        let labels = Tensor::f_from_slice(&labels)?.f_to_device(device)?;
        let loss = logits.f_cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0)?;
        self.add("paper logits", &logits)?;
        self.add("paper loss", &loss)?;
        for gradient in Tensor::f_run_backward(&[&loss], &net.trained(0), false, false)? {
            self.add("paper gradient", &gradient)?;
        }
        Ok(())
    }

    /// Adds the gradient of the paper's fifth convolution at full width by its weight. For convolutions as large cuDNN has
    /// another engine than for all above.
    fn wide_gradient(&mut self, device: Device) -> Result<(), TchError> {
        let name = "paper wide";
        // As `net` has it: the channel fastest in memory.
        let drawn = |of: &str, channels| {
            let shape = [WIDE_IMAGES, WIDE_SIDE, WIDE_SIDE, channels];
            draw(&format!("{name} {of}"), &shape, device)?.f_permute([0, 3, 1, 2])
        };
        let (weight, _) = layer(name, &[WIDE_TO, WIDE_FROM / WIDE_GROUPS, 3, 3], device)?;
        let output = drawn("input", WIDE_FROM)?.f_conv2d(
            &weight,
            None::<&Tensor>,
            [1, 1],
            [1, 1],
            [1, 1],
            WIDE_GROUPS,
        )?;
        let loss = output.f_mul(&drawn("output", WIDE_TO)?)?.f_sum(Kind::Float)?;
        let gradients = Tensor::f_run_backward(&[&loss], &[&weight], false, false)?;
        self.add(name, &gradients[0])
    }

    /// Adds a tensor: its name, its shape, and the bits of its numbers in the order of its indices.
    fn add(&mut self, name: &str, tensor: &Tensor) -> Result<(), TchError> {
        let shape: Vec<u8> = tensor.size().into_iter().flat_map(i64::to_le_bytes).collect();
        self.sum.piece(name.as_bytes()).piece(&shape).piece(&net::bytes(tensor)?);
        Ok(())
    }
}

fn stream(name: &str) -> Stream {
    Stream::open(&Name::new("fingerprint").and("tensor", name))
}

/// So many numbers from -1 to 1.
fn numbers(name: &str, count: usize) -> impl Iterator<Item = f32> + use<> {
    let mut stream = stream(name);
    (0..count).map(move |_| (2.0 * stream.uniform() - 1.0) as f32)
}

/// Those numbers as a tensor.
fn draw(name: &str, shape: &[i64], device: Device) -> Result<Tensor, TchError> {
    let values: Vec<f32> = numbers(name, shape.iter().product::<i64>() as usize).collect();
    Tensor::f_from_slice(&values)?.f_reshape(shape)?.f_to_device(device)
}

/// A layer's weight in that shape, and its bias.
fn layer(name: &str, shape: &[i64], device: Device) -> Result<(Tensor, Tensor), TchError> {
    let weight = draw(&format!("{name} weight"), shape, device)?.f_mul_scalar(0.25)?;
    let bias = draw(&format!("{name} bias"), &shape[..1], device)?;
    Ok((weight.set_requires_grad(true), bias.set_requires_grad(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest is of names, shapes and every bit.
    #[test]
    fn any_change_shows() {
        let of = |name: &str, shape: &[i64], values: &[f32]| {
            let mut probe = Probe { sum: Hasher::new("test") };
            probe.add(name, &Tensor::from_slice(values).reshape(shape)).unwrap();
            probe.sum.finish()
        };
        let values = [0.0, 1.5, -2.25, 3.0, 4.0, 5.0];
        let plain = of("a", &[2, 3], &values);
        assert_eq!(plain, of("a", &[2, 3], &values));
        assert_ne!(plain, of("b", &[2, 3], &values));
        assert_ne!(plain, of("a", &[3, 2], &values));
        for at in 0..values.len() {
            let mut other = values;
            other[at] = f32::from_bits(values[at].to_bits() ^ 1);
            assert_ne!(plain, of("a", &[2, 3], &other), "number {at}");
        }
        // 0 and -0 are equal as numbers.
        assert_ne!(plain, of("a", &[2, 3], &[-0.0, 1.5, -2.25, 3.0, 4.0, 5.0]));
    }
}
