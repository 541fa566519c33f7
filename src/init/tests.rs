use super::*;
use crate::digest::LayerDigest;
use crate::protocol::Protocol;
use crate::testing::{edited, recipe, shapes, tiny, weights};
use proptest::prelude::*;
use std::collections::HashSet;

/// The first layers' digests of a treatment; its parent, if any, has `weights(99)`.
fn layers(protocol: &Protocol, treatment: &str, seed: u64) -> [LayerDigest; LAYERS] {
    let parent = weights(99);
    initial(&recipe(protocol, treatment, seed), &shapes(protocol), Some(&parent)).digests().0
}

proptest! {
    #[test]
    fn each_layer_comes_from_where_the_notation_says(
        source in prop::sample::select(vec!["A", "B", "R"]),
        n in 1usize..=7,
        target in prop::sample::select(vec!["A", "B"]),
        tuned: bool,
        more in 0usize..=6,
        seed: u64,
    ) {
        let protocol = tiny(&[]);
        let more = if source == "R" { 0 } else { more.min(7 - n) };
        let suffix = match (more, source) {
            (0, "A" | "B") if tuned => "+".to_owned(),
            (0, _) => String::new(),
            (more, _) => format!("^{more}"),
        };
        let found = layers(&protocol, &format!("{source}{n}{target}{suffix}"), seed);
        let parent = weights(99).digests().0;
        // `R7X` and `X1X` between them show every layer's `random` and `top` draw.
        let random = layers(&protocol, &format!("R7{target}"), seed);
        let top = layers(&protocol, &format!("{target}1{target}"), seed);
        for index in 0..LAYERS {
            let expected = match (index < n + more, source) {
                (false, _) => top[index],
                (true, "R") => random[index],
                (true, _) => parent[index],
            };
            prop_assert_eq!(found[index], expected, "layer {}", index);
        }
    }
}

#[test]
fn copied_layers_are_the_parent_s_bit_for_bit() {
    let protocol = tiny(&[]);
    let mut parent = weights(99);
    // Bits that arithmetic would not keep.
    parent.layers[0].weight.values[0] = f32::from_bits(0x7fc0_1234);
    parent.layers[2].bias.values[1] = -0.0;
    for treatment in ["A3B", "A3B+", "B3B"] {
        let began = initial(&recipe(&protocol, treatment, 1), &shapes(&protocol), Some(&parent));
        assert_eq!(began.layers[..3], parent.layers[..3], "{treatment}");
        assert_ne!(began.layers[3], parent.layers[3]);
    }
}

#[test]
fn roles_seeds_targets_layers_and_splits_have_draws_of_their_own() {
    // Layers of one shape, so that nothing but the draws tells them apart.
    let protocol =
        tiny(&[("conv = [2, 3, 2, 3, 2]", "conv = [4, 4, 4, 4, 4]"), ("hidden = [4, 3]", "hidden = [4, 4]")]);
    let mut seen = HashSet::new();
    let mut count = 0;
    for seed in [1, 2] {
        for target in ["A", "B"] {
            // All eight of the base; the first seven random; the last seven of a treatment's top.
            seen.extend(layers(&protocol, &format!("base{target}"), seed));
            seen.extend(&layers(&protocol, &format!("R7{target}"), seed)[..7]);
            seen.extend(&layers(&protocol, &format!("{target}1{target}"), seed)[1..]);
            count += 8 + 7 + 7;
        }
    }
    let mut split = recipe(&protocol, "baseA", 1);
    split.split.0 = crate::digest::Digest::of(b"another split");
    seen.extend(initial(&split, &shapes(&protocol), None).digests().0);
    assert_eq!(seen.len(), count + LAYERS);
}

#[test]
fn other_weights_are_other_numbers() {
    // Digests differ when a single bit does; independent draws differ nearly everywhere.
    let protocol = tiny(&[("hidden = [4, 3]", "hidden = [64, 64]")]);
    let values = |treatment, seed| {
        let weights = initial(&recipe(&protocol, treatment, seed), &shapes(&protocol), None);
        weights.layers[6].weight.values.clone()
    };
    let base = values("baseA", 1);
    for (treatment, seed) in [("baseB", 1), ("baseA", 2), ("R1A", 1), ("R7A", 1)] {
        let other = values(treatment, seed);
        let n = base.len() as f64;
        assert!(base.iter().zip(&other).filter(|(a, b)| a == b).count() < 3);
        let product = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let correlation = product(&base, &other) / (product(&base, &base) * product(&other, &other)).sqrt();
        assert!(correlation.abs() < 4.0 / n.sqrt(), "{treatment} {seed}: {correlation}");
    }
}

#[test]
fn deviations_are_as_the_filler_says() {
    let wide = [
        ("conv = [2, 3, 2, 3, 2]", "conv = [64, 32, 32, 32, 32]"),
        ("hidden = [4, 3]", "hidden = [128, 128]"),
    ];
    let text = edited(crate::testing::TINY, &wide);
    for filler in [r#""he""#, "{ gaussian = 0.01 }"] {
        let protocol = Protocol::parse(&edited(&text, &[(r#""he""#, filler)]), "a test").unwrap();
        let shapes = shapes(&protocol);
        let weights = initial(&recipe(&protocol, "baseA", 1), &shapes, None);
        // Fan-in by hand: 1·3·3, 64·3·3, 32·3·3 three times, 32·1·1 (8×8 pooled three times), 128, 128.
        let fan_in = [9, 576, 288, 288, 288, 32, 128, 128];
        for (index, layer) in weights.layers.iter().enumerate() {
            assert_eq!(layer.weight.shape, shapes[index].weight);
            assert!(layer.bias.values.iter().all(|value| value.to_bits() == 0));
            let values: Vec<f64> = layer.weight.values.iter().map(|value| f64::from(*value)).collect();
            let n = values.len() as f64;
            let expected = if filler == r#""he""# { (2.0 / f64::from(fan_in[index])).sqrt() } else { 0.01 };
            let mean = values.iter().sum::<f64>() / n;
            let deviation = (values.iter().map(|x| x * x).sum::<f64>() / n).sqrt();
            // Four standard errors of a deviation and of a mean.
            assert!(
                (deviation / expected - 1.0).abs() < 4.0 / (2.0 * n).sqrt(),
                "layer {index}: {deviation}"
            );
            assert!(mean.abs() < 4.0 * expected / n.sqrt(), "layer {index}: {mean}");
        }
    }
}

#[test]
fn zeros_have_the_shapes_and_nothing_else() {
    let protocol = tiny(&[]);
    let (zeros, drawn) = (zeros(&shapes(&protocol)), weights(1));
    for (zero, drawn) in zeros.layers.iter().zip(&drawn.layers) {
        assert_eq!((&zero.weight.shape, &zero.bias.shape), (&drawn.weight.shape, &drawn.bias.shape));
        assert!(zero.weight.values.iter().chain(&zero.bias.values).all(|value| value.to_bits() == 0));
        assert_eq!(zero.weight.values.len(), drawn.weight.values.len());
    }
}

/// By the authors' network files: deviations 0.01, and 0.005 in fc6 and fc7; biases of 1 in five layers.
#[test]
fn the_paper_s_fillers() {
    let caffe = [
        ("conv = [2, 3, 2, 3, 2]", "layout = \"caffe\"\nconv = [16, 32, 32, 32, 16]"),
        ("hidden = [4, 3]", "hidden = [64, 64]"),
        (r#""he""#, r#""caffe""#),
    ];
    let protocol = tiny(&caffe);
    let shapes = crate::architecture::layers(&protocol.network, [3, 67, 67], 40);
    let weights = initial(&recipe(&protocol, "baseA", 1), &shapes, None);
    let expected = [0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01];
    let biases = [0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0];
    for ((layer, deviation), bias) in weights.layers.iter().zip(expected).zip(biases) {
        let values = &layer.weight.values;
        let found =
            (values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
        // Six standard deviations of what so few draws come to.
        assert!((found / deviation - 1.0).abs() < 6.0 / (2.0 * values.len() as f64).sqrt(), "{found}");
        assert!(layer.bias.values.iter().all(|value| *value == bias));
    }
}
