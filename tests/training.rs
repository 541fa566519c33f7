//! The training loop against PyTorch in Python, which trained the same small networks from the same
//! weights on the same images: `reference/training.py` says how, `reference/training.json` what came
//! out.

use selffer::architecture::{self, LAYERS, NAMES};
use selffer::data::Images;
use selffer::digest::{DataDigest, Digest, SplitDigest, WeightsDigest};
use selffer::init;
use selffer::input::Pixels;
use selffer::manifest::Epoch;
use selffer::numerics::Numerics;
use selffer::protocol::{Filler, Layout, Network, Solver};
use selffer::recipe::{CORE, Policy, Recipe};
use selffer::train::{Along, Setup, Torch, Trained, Trainer as _};
use selffer::treatment::Treatment;
use selffer::weights::Weights;
use serde_json::Value;

/// How far a loss may be from PyTorch's, as a share of it, and a weight, as a share of its tensor's
/// norm. They are not the same bits, because the two scale and store images differently and so round
/// differently; what was seen is below a tenth of this.
const TOLERANCE: f64 = 1e-5;

const CLASSES: usize = 3;
const SIDE: usize = 12;
const SCALES: [f32; LAYERS] = [1.0, 0.5, 0.25, 0.25, 0.25, 1.0, 1.0, 0.5];

fn recipe(treatment: &str) -> Recipe {
    let treatment: Treatment = treatment.parse().expect("a treatment");
    let digest = Digest::of(b"reference");
    Recipe {
        core: CORE,
        numerics: Policy::Portable,
        data: DataDigest(digest),
        split: SplitDigest(digest),
        seed: 1,
        treatment,
        parent: treatment.parent().map(|_| WeightsDigest(digest)),
        network: Network { layout: Layout::Small, conv: [5, 6, 7, 6, 5], hidden: [9, 8], filler: Filler::He },
        input: None,
        solver: Solver {
            epochs: 2,
            steps: None,
            batch: 10,
            rate: 0.05,
            rate_drops: vec![1],
            rate_factor: 0.1,
            momentum: 0.9,
            decay: 0.01,
            update: None,
        },
    }
}

/// Numbers in 0..1009 that look random.
fn mixed(index: usize) -> usize {
    (index * index * 31 + index * 7919) % 1009
}

/// Noise, with a bright stripe of four columns where the label says.
fn images(first: usize, count: usize) -> Images {
    let labels: Vec<u16> = (0..count).map(|image| (image % CLASSES) as u16).collect();
    let pixels = (0..count * SIDE * SIDE).map(|at| {
        let (image, col) = (at / (SIDE * SIDE), at % SIDE);
        let bright = if col / 4 == image % CLASSES { 100 } else { 0 };
        (mixed(first + at) % 128 + bright) as u8
    });
    Images::new([1, SIDE, SIDE], pixels.collect(), labels)
}

fn first_weights(recipe: &Recipe) -> Weights {
    let mut weights = init::zeros(&architecture::layers(&recipe.network, [1, SIDE, SIDE], CLASSES));
    for (layer, weights) in weights.layers.iter_mut().enumerate() {
        for (index, value) in weights.weight.values.iter_mut().enumerate() {
            *value = (mixed(10_007 * layer + index) as f32 - 504.0) / 512.0 * SCALES[layer];
        }
    }
    weights
}

fn train(recipe: &Recipe) -> (Weights, Vec<Epoch>) {
    let setup = Setup {
        name: "reference",
        recipe,
        initial: &first_weights(recipe),
        train: &images(0, 26),
        valid: &images(500_000, 260),
        pixels: Pixels { moments: (0.4, 0.25), mean: None },
    };
    let numerics = Numerics::engage(Policy::Portable).expect("this machine can");
    match Torch::new(numerics).train(&setup, &Along::ALONE).expect("libtorch trains") {
        Trained::Whole { weights, epochs, .. } => (weights, epochs),
        Trained::Diverged { .. } => panic!("it does not diverge"),
    }
}

/// The largest difference of losses and weights, in units of [`TOLERANCE`], and whether the counts of
/// right answers are the same.
fn difference((weights, epochs): &(Weights, Vec<Epoch>), expected: &Value) -> (f64, bool) {
    let number = |value: &Value| value.as_f64().expect("a number");
    let mut largest: f64 = 0.0;
    let mut hold = |ours: f64, theirs: f64, scale: f64| {
        largest = largest.max((ours - theirs).abs() / (scale * TOLERANCE));
    };
    let mut same_counts = true;
    for (epoch, expected) in epochs.iter().zip(expected["epochs"].as_array().expect("a list")) {
        for (ours, theirs) in [(epoch.train_loss, "train_loss"), (epoch.valid_loss, "valid_loss")] {
            hold(ours, number(&expected[theirs]), number(&expected[theirs]));
        }
        same_counts &= expected["train_correct"] == epoch.train.correct;
        same_counts &= expected["valid_correct"] == epoch.valid.correct;
    }
    for (name, layer) in NAMES.iter().zip(&weights.layers) {
        for (part, tensor) in [("weight", &layer.weight), ("bias", &layer.bias)] {
            let values: Vec<f64> = tensor.values.iter().map(|value| f64::from(*value)).collect();
            let expected = &expected["weights"][format!("{name}.{part}")];
            let norm = number(&expected["norm"]);
            if norm == 0.0 {
                assert!(values.iter().all(|value| *value == 0.0), "{name}.{part} stays 0 where frozen");
                continue;
            }
            hold(values.iter().map(|value| value * value).sum::<f64>().sqrt(), norm, norm);
            hold(values.iter().sum(), number(&expected["sum"]), norm);
            hold(values[0], number(&expected["first"]), norm);
            hold(values[values.len() - 1], number(&expected["last"]), norm);
        }
    }
    (largest, same_counts)
}

// One test: the numerics policy is put in force before any other thread computes.
#[test]
fn trains_as_pytorch_does_in_python() {
    let reference: Value = serde_json::from_str(include_str!("reference/training.json")).expect("JSON");
    // A network whose copied layers are trained on is trained like a base network.
    for (treatment, case) in [("baseB", "frozen 0"), ("A3B+", "frozen 0"), ("A3B", "frozen 3")] {
        let recipe = recipe(treatment);
        let orders = [recipe.order(0, 26), recipe.order(1, 26)];
        assert_eq!(serde_json::json!(orders), reference["orders"], "{treatment}");
        let trained = train(&recipe);
        assert_eq!(trained.1.len(), 2, "{treatment}");
        let (largest, same_counts) = difference(&trained, &reference[case]);
        assert!(largest < 1.0, "{treatment}: {largest} times the tolerance");
        assert!(same_counts, "{treatment}: {:?}", trained.1);
        let frozen = recipe.treatment.frozen();
        let first = first_weights(&recipe).digests();
        assert_eq!(trained.0.digests().prefix(frozen), first.prefix(frozen), "{treatment}");
    }

    // The reference is near enough to notice each part of the solver.
    let changes: [fn(&mut Solver); 5] = [
        |solver| solver.decay = 0.0099,
        |solver| solver.momentum = 0.899,
        |solver| solver.rate = 0.0501,
        |solver| solver.rate_factor = 0.101,
        |solver| solver.batch = 13,
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut recipe = recipe("baseB");
        change(&mut recipe.solver);
        let (largest, _) = difference(&train(&recipe), &reference["frozen 0"]);
        assert!(largest > 2.0, "change {index}: {largest} times the tolerance");
    }
}
