//! Training of the Caffe network, an eighth as wide, against PyTorch: windows, mirrors, dropped units, batches that
//! run on, Caffe's momentum. `tests/reference/caffe.py` says how, `caffe.json` what came out.

use super::*;
use crate::architecture::layers;
use crate::data::Images;
use crate::digest::{DataDigest, Digest, SplitDigest, WeightsDigest};
use crate::init::zeros;
use crate::protocol::{Filler, Input, Layout, Network, Solver, Subtract, Update};
use crate::recipe::{CORE, Policy};
use crate::testing::{Summary, hashed};
use serde_json::Value;
use std::sync::Mutex;

/// How far a loss may be from PyTorch's, as a share of it, and a weight, as a share of its tensor's norm;
/// what was seen is below a tenth of this.
const TOLERANCE: f64 = 2e-5;

const SIDE: usize = 76;
const CLASSES: usize = 3;
const SCALES: [f32; LAYERS] = [0.25, 0.125, 0.0625, 0.125, 0.125, 0.25, 0.25, 0.25];

fn recipe(treatment: &str) -> Recipe {
    let digest = Digest::of(b"reference");
    let treatment: crate::treatment::Treatment = treatment.parse().unwrap();
    Recipe {
        core: CORE,
        numerics: Policy::Portable,
        data: DataDigest(digest),
        split: SplitDigest(digest),
        seed: 1,
        treatment,
        parent: treatment.parent().map(|_| WeightsDigest(digest)),
        network: Network {
            layout: Layout::Caffe,
            conv: [12, 32, 48, 48, 32],
            hidden: [64, 48],
            filler: Filler::Caffe,
        },
        input: Some(Input { crop: 71, mirror: true, subtract: Subtract::MeanImage }),
        solver: Solver {
            epochs: 3,
            steps: Some(4),
            batch: 4,
            rate: 1.0 / 256.0,
            rate_drops: vec![2],
            rate_factor: 0.1,
            momentum: 0.9,
            decay: 0.05,
            update: Some(Update::Caffe),
        },
    }
}

/// Noise, with a bright stripe of 25 rows where the label says.
fn images(first: u64, count: usize) -> Images {
    let size = SIDE * SIDE * 3;
    let pixels = (0..count * size).map(|at| {
        let byte = ((hashed((first << 40) + at as u64) + 0.5) * 256.0).floor() as u8;
        let (label, row) = (at / size % CLASSES, at % size / (SIDE * 3));
        if row / 25 == label { 255 - byte / 4 } else { byte }
    });
    let labels = (0..count).map(|at| (at % CLASSES) as u16).collect();
    Images::new([3, SIDE, SIDE], pixels.collect(), labels)
}

/// What `work` makes of a setup of that recipe.
fn with_setup<T>(recipe: &Recipe, work: impl FnOnce(&Torch, &Setup<'_>) -> T) -> T {
    let side = recipe.input.as_ref().map_or(SIDE, |input| input.crop as usize);
    let mut initial = zeros(&layers(&recipe.network, [3, side, side], CLASSES));
    crate::net::caffe::formula(&mut initial, SCALES);
    let (train, valid) = (images(12, 10), images(13, 7));
    let data = crate::data::Dataset { classes: Vec::new(), train, valid };
    let mean = data.mean_image();
    let setup = Setup {
        name: "reference",
        recipe,
        initial: &initial,
        train: &data.train,
        valid: &data.valid,
        pixels: Pixels { moments: (0.5, 0.25), mean: Some(&mean) },
    };
    work(&Torch::new(Numerics::engage(Policy::Portable).expect("this machine can")), &setup)
}

fn train(recipe: &Recipe) -> (Weights, Vec<Epoch>) {
    with_setup(recipe, |torch, setup| match torch.train(setup, &Along::ALONE).expect("libtorch trains") {
        Trained::Whole { weights, epochs, .. } => {
            // What training counted last is what evaluation counts.
            let again = torch.evaluate("reference", recipe, &weights, setup.valid, setup.pixels);
            let (again, last) =
                (again.expect("libtorch evaluates"), epochs.last().expect("there are epochs"));
            assert_eq!((again.loss, again.count()), (last.valid_loss, last.valid));
            (weights, epochs)
        }
        Trained::Diverged { .. } => panic!("it does not diverge"),
    })
}

/// The largest difference, in units of the tolerance, and whether all counts are the same.
fn difference((weights, epochs): &(Weights, Vec<Epoch>), expected: &Value) -> (f64, bool) {
    let (mut largest, mut same): (f64, bool) = (0.0, true);
    let expected_epochs = expected["epochs"].as_array().unwrap();
    assert_eq!(epochs.len(), expected_epochs.len());
    for (epoch, expected) in epochs.iter().zip(expected_epochs) {
        for (ours, theirs) in [(epoch.train_loss, "train_loss"), (epoch.valid_loss, "valid_loss")] {
            let theirs = expected[theirs].as_f64().unwrap();
            largest = largest.max((ours - theirs).abs() / theirs);
        }
        same &= expected["train_correct"] == epoch.train.correct && epoch.train.total == 16;
        same &= expected["valid_correct"] == epoch.valid.correct && epoch.valid.total == 7;
    }
    let tensors = weights.layers.iter().flat_map(|layer| [&layer.weight, &layer.bias]);
    for (index, tensor) in tensors.enumerate() {
        let off = Summary::of(tensor).difference(&expected["weights"][index], &format!("tensor {index}"));
        largest = largest.max(off);
    }
    (largest / TOLERANCE, same)
}

#[test]
fn it_trains_as_pytorch_does() {
    let reference: Value = serde_json::from_str(include_str!("../../tests/reference/caffe.json")).unwrap();
    // Where fc7 is frozen, what leaves fc6 is dropped in each step all the same.
    let cases = [
        ("baseB", "frozen 0"),
        ("A3B+", "frozen 0"),
        ("A3B", "frozen 3"),
        ("A3B^2", "frozen 3"),
        ("A7B", "frozen 7"),
    ];
    for (treatment, case) in cases {
        let (largest, same) = difference(&train(&recipe(treatment)), &reference[case]);
        assert!(largest < 1.0, "{treatment}: {largest} times the tolerance");
        assert!(same, "{treatment}");
    }
    // The reference is near enough to notice each part.
    let changes: [fn(&mut Recipe); 8] = [
        |recipe| recipe.solver.update = None,
        |recipe| recipe.solver.decay = 0.049,
        |recipe| recipe.solver.momentum = 0.899,
        |recipe| recipe.solver.rate = 0.004,
        |recipe| recipe.solver.rate_drops = vec![1],
        |recipe| recipe.input.as_mut().unwrap().mirror = false,
        |recipe| recipe.input.as_mut().unwrap().subtract = Subtract::Moments,
        |recipe| recipe.seed = 2,
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut recipe = recipe("baseB");
        change(&mut recipe);
        let (largest, _) = difference(&train(&recipe), &reference["frozen 0"]);
        assert!(largest > 2.0, "change {index}: {largest} times the tolerance");
    }
}

/// Where images enter whole, layers below the first that drops are computed once; it comes to the same as windows
/// of the images' own size, which are computed in every step.
#[test]
fn cached_layers_train_as_those_that_are_not() {
    for treatment in ["baseB", "A3B", "A6B", "A7B"] {
        let once = |crop: Option<u32>| {
            let mut recipe = recipe(treatment);
            recipe.input = crop.map(|crop| Input { crop, mirror: false, subtract: Subtract::Moments });
            recipe
        };
        let [cached, cut] = [once(None), once(Some(SIDE as u32))].map(|recipe| train(&recipe));
        for (a, b) in cached.1.iter().zip(&cut.1) {
            assert!((a.train_loss - b.train_loss).abs() < 1e-4, "{treatment}: {a:?} {b:?}");
            assert!((a.valid_loss - b.valid_loss).abs() < 1e-4, "{treatment}: {a:?} {b:?}");
        }
        for (a, b) in cached.0.layers.iter().zip(&cut.0.layers) {
            let off =
                a.weight.values.iter().zip(&b.weight.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 1e-4, "{treatment}: {off}");
        }
    }
}

/// Windows, mirrors and what is dropped are those of a step, whichever step training went on at.
#[test]
fn it_goes_on_from_every_step_to_the_same_bits() {
    for (treatment, windows) in [("baseB", true), ("A3B", true), ("A3B", false)] {
        let mut recipe = recipe(treatment);
        recipe.input = recipe.input.filter(|_| windows);
        recipe.solver.epochs = 2;
        with_setup(&recipe, |torch, setup| {
            let states = Mutex::new(Vec::new());
            let keep = |state| {
                states.lock().unwrap().push(state);
                Ok(())
            };
            let whole = torch
                .train(setup, &Along { watch: &|_, _| Next::Keep, keep: &keep, ..Along::ALONE })
                .unwrap();
            let states = states.into_inner().unwrap();
            assert_eq!(states.len(), 8);
            for (at, state) in states.into_iter().enumerate() {
                let again = torch.train(setup, &Along { from: Some(state), ..Along::ALONE }).unwrap();
                assert!(again == whole, "{treatment}, windows {windows}, after step {}", at + 1);
            }
        });
    }
}
