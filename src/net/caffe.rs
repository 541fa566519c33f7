//! The paper's network at full width, layer by layer, against PyTorch: `tests/reference/caffe.py` says how,
//! `caffe.json` what came out.

use super::*;
use crate::architecture::{NAMES, layers};
use crate::init::zeros;
use crate::numerics::Numerics;
use crate::protocol::{Filler, Network};
use crate::recipe::Policy;
use crate::testing::{Summary, hashed};
use serde_json::Value;
use tch::{Device, Reduction};

/// How far a number may be from PyTorch's, as a share of its tensor's norm: of what leaves a layer, or a loss. Here 32
/// bits are summed, there 64.
const TOLERANCE: f64 = 1e-5;

/// The same of a gradient, whose sums are longer.
const TOLERANCE_OF_GRADIENTS: f64 = 1e-4;

/// Where the formula's images begin: those in which rounding turns no unit on or off.
const CHOSEN: u64 = 54 << 24;

const SCALES: [f32; LAYERS] =
    [1.0 / 4.0, 1.0 / 8.0, 1.0 / 32.0, 1.0 / 16.0, 1.0 / 16.0, 1.0 / 64.0, 1.0 / 32.0, 1.0 / 32.0];

fn network() -> Network {
    let (conv, hidden) = (Network::PAPER_CONV, Network::PAPER_HIDDEN);
    Network { layout: Layout::Caffe, conv, hidden, filler: Filler::Caffe }
}

/// What the tests of the two scripts have for weights: a formula.
pub(crate) fn formula(weights: &mut Weights, scales: [f32; LAYERS]) {
    for (layer, tensors) in weights.layers.iter_mut().enumerate() {
        let first = (layer as u64) << 40;
        for (index, value) in tensors.weight.values.iter_mut().enumerate() {
            *value = (hashed(first + index as u64) * f64::from(scales[layer])) as f32;
        }
        for (index, value) in tensors.bias.values.iter_mut().enumerate() {
            *value = (hashed(first + (1 << 39) + index as u64) / 4.0) as f32;
        }
    }
}

#[test]
fn the_paper_s_network_computes_as_pytorch_s() {
    Numerics::engage(Policy::Portable).unwrap().enter_thread();
    let reference: Value = serde_json::from_str(include_str!("../../tests/reference/caffe.json")).unwrap();
    let reference = &reference["full"];
    let mut weights = zeros(&layers(&network(), [3, 227, 227], 1000));
    formula(&mut weights, SCALES);
    let net = Net::new(Layout::Caffe, &weights, 0, Device::Cpu).unwrap();
    drop(weights);

    let pixel = |at: u64| ((hashed(at) + 0.5) * 256.0).floor() as f32;
    let size = 227 * 227 * 3;
    let input: Vec<f32> = (0..2 * size)
        .map(|at| pixel((8 << 40) + CHOSEN + at) - pixel((9 << 40) + CHOSEN + at % size))
        .collect();
    let input = Tensor::from_slice(&input).reshape([2, 227, 227, 3]);
    let labels = Tensor::from_slice(&[7i64, 991]);
    let loss =
        |logits: &Tensor| logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0);
    let close = |found: f64, expected: &Value, what: &str| {
        let expected = expected.as_f64().unwrap();
        assert!((found - expected).abs() < TOLERANCE * expected, "{what}: {found} and {expected}");
    };
    let alike = |found: &Tensor, expected: &Value, what: &str, tolerance: f64| {
        let difference = Summary::of(&from_tensor(found).unwrap()).difference(expected, what);
        assert!(difference < tolerance, "{what} differs by {difference} of its norm");
    };

    let mut x = input.shallow_clone();
    for index in 0..LAYERS {
        let output = tch::no_grad(|| net.forward(&x, index..index + 1)).unwrap();
        alike(&output, &reference["outputs"][index], NAMES[index], TOLERANCE);
        x = rest(&output).unwrap();
    }
    close(loss(&x).double_value(&[]), &reference["loss"], "loss");

    let mask = |layer: u64| {
        let mask: Vec<f32> =
            (0..2 * 4096).map(|at| if hashed((layer << 40) + at) < 0.0 { 2.0 } else { 0.0 }).collect();
        Tensor::from_slice(&mask).reshape([2, 4096])
    };
    let masks = [mask(10), mask(11)];
    let dropped = loss(&net.pass(&input, 0..LAYERS, Some(&masks)).unwrap());
    close(dropped.double_value(&[]), &reference["training_loss"], "loss with units dropped");
    let gradients = Tensor::run_backward(&[&dropped], &net.trained(0), false, false);
    assert_eq!(gradients.len(), 2 * LAYERS);
    for (index, gradient) in gradients.iter().enumerate() {
        let what = format!("the gradient of {} ({})", NAMES[index / 2], ["weight", "bias"][index % 2]);
        alike(gradient, &reference["gradients"][index], &what, TOLERANCE_OF_GRADIENTS);
    }
}
