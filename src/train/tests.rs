use super::*;
use crate::architecture::{CONVOLUTIONS, pools};
use crate::init::initial;
use crate::net;
use crate::protocol::{Layout, Protocol};
use crate::recipe::{Policy, order_digest};
use crate::snapshot::State;
use crate::testing::{self, dataset, shapes, tiny};
use crate::weights::{Layer, Tensor as Numbers};
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

fn torch() -> Torch {
    Torch::new(Numerics::engage(Policy::Portable).expect("a CPU that can"))
}

/// What a [`Setup`] borrows from: two classes of 8×8 images, one of them brighter at the top.
struct Owned {
    recipe: Recipe,
    initial: Weights,
    train: Images,
    valid: Images,
}

const MOMENTS: (f64, f64) = (0.5, 0.3);
const PIXELS: Pixels<'_> = Pixels { moments: MOMENTS, mean: None };

impl Owned {
    fn new(protocol: &Protocol, treatment: &str, seed: u64) -> Self {
        let recipe = testing::recipe(protocol, treatment, seed);
        let shapes = shapes(protocol);
        let parent = initial(&testing::recipe(protocol, "baseA", 99), &shapes, None);
        let initial = initial(&recipe, &shapes, Some(&parent));
        let mut data = dataset(2, 12, 9, 8);
        for images in [&mut data.train, &mut data.valid] {
            let (size, labels) = (images.size(), images.labels.clone());
            let pixels = images.bytes_mut().unwrap();
            for (at, label) in labels.iter().enumerate() {
                for pixel in &mut pixels[at * size..][..size / 2] {
                    *pixel = *pixel / 2 + if *label == 0 { 0 } else { 127 };
                }
            }
        }
        Self { recipe, initial, train: data.train, valid: data.valid }
    }

    fn setup(&self) -> Setup<'_> {
        Setup {
            name: "half/1/test",
            recipe: &self.recipe,
            initial: &self.initial,
            train: &self.train,
            valid: &self.valid,
            pixels: PIXELS,
        }
    }

    fn train(&self) -> (Weights, Vec<Epoch>) {
        match torch().train(&self.setup(), &Along::ALONE).expect("libtorch trains") {
            Trained::Whole { weights, epochs, .. } => (weights, epochs),
            Trained::Diverged { epoch, step, .. } => panic!("it diverged in epoch {epoch}, step {step}"),
        }
    }
}

/// Wide enough that no layer dies, and without decay, so that only gradients move weights.
fn wide(changes: &[(&str, &str)]) -> Protocol {
    let widths =
        [("[2, 3, 2, 3, 2]", "[8, 8, 8, 8, 8]"), ("[4, 3]", "[16, 16]"), ("decay = 5e-4", "decay = 0.0")];
    tiny(&[&widths, changes].concat())
}

#[test]
fn frozen_layers_keep_their_bits_and_the_others_move() {
    for treatment in ["baseA", "A1B", "A3B", "A3B+", "B5B", "B7B", "R3A", "R7A", "A2B^3", "B1B^6", "baseB@2"]
    {
        let owned = Owned::new(&wide(&[]), treatment, 1);
        let (trained, _) = owned.train();
        let frozen = usize::from(owned.recipe.treatment.frozen());
        for (index, (ended, began)) in trained.layers.iter().zip(&owned.initial.layers).enumerate() {
            if index < frozen {
                assert_eq!(ended, began, "{treatment} layer {index}");
            } else {
                assert_ne!(ended.weight, began.weight, "{treatment} layer {index}");
                assert_ne!(ended.bias, began.bias, "{treatment} layer {index}");
            }
        }
        assert!(trained.finite());
    }
}

#[test]
fn the_same_task_gives_the_same_bits_on_any_thread() {
    let owned = Owned::new(&wide(&[]), "A3B+", 1);
    let expected = owned.train();
    assert_eq!(owned.train(), expected);
    let both = std::thread::scope(|scope| {
        [(); 2].map(|()| scope.spawn(|| owned.train())).map(|thread| thread.join().unwrap())
    });
    for found in both {
        assert_eq!(found, expected);
    }
    // Other draws, other bits: the equality above is not that of a constant.
    assert_ne!(Owned::new(&wide(&[]), "A3B+", 2).train().0, expected.0);
}

#[test]
fn epochs_are_those_of_the_recipe() {
    let owned = Owned::new(&wide(&[("epochs = 2", "epochs = 3")]), "baseA", 5);
    let images = std::sync::Mutex::new(Vec::new());
    let watch = |_, count| {
        images.lock().unwrap().push(count);
        Next::Go
    };
    let along = Along { watch: &watch, ..Along::ALONE };
    let Trained::Whole { epochs, .. } = torch().train(&owned.setup(), &along).unwrap() else {
        panic!("it diverged")
    };
    assert_eq!(epochs.len(), 3);
    for (index, epoch) in epochs.iter().enumerate() {
        let order = owned.recipe.order(index as u32, 24);
        assert_eq!(epoch.order, order_digest(&order));
        assert_eq!(epoch.rate, [0.05, 0.05 * 0.1, 0.05 * 0.1][index]);
        assert_eq!((epoch.train.total, epoch.valid.total), (24, 18));
    }
    // 24 images in steps of 5, 5, 5, 5 and 4, over three epochs.
    let expected: Vec<u64> =
        (0..3).flat_map(|epoch| [5, 10, 15, 20, 24].map(|done| epoch * 24 + done)).collect();
    assert_eq!(images.into_inner().unwrap(), expected);
}

/// The network in plain arithmetic: double precision, no library, one image at a time.
fn logits(weights: &Weights, images: &Images, at: usize) -> Vec<f64> {
    let scale = |pixel: &u8| (f64::from(*pixel) / 255.0 - MOMENTS.0) / MOMENTS.1;
    let mut x: Vec<f64> = images.image(at).unwrap().iter().map(scale).collect();
    let (mut rows, mut cols) = (images.rows, images.cols);
    for (index, Layer { weight, bias }) in weights.layers.iter().enumerate() {
        let w = |at: usize| f64::from(weight.values[at]);
        let [out, inputs] = [weight.shape[0], weight.shape[1]];
        let mut y: Vec<f64> = Vec::new();
        if index < CONVOLUTIONS {
            for channel in 0..out {
                for row in 0..rows {
                    for col in 0..cols {
                        let mut sum = f64::from(bias.values[channel]);
                        for (input, i, j) in (0..inputs * 9).map(|k| (k / 9, k / 3 % 3, k % 3)) {
                            let (r, c) = (row + i, col + j);
                            if (1..=rows).contains(&r) && (1..=cols).contains(&c) {
                                let pixel = x[(input * rows + r - 1) * cols + c - 1];
                                sum += w((channel * inputs + input) * 9 + 3 * i + j) * pixel;
                            }
                        }
                        y.push(sum.max(0.0));
                    }
                }
            }
            if pools(index) {
                let (half_rows, half_cols) = (rows / 2, cols / 2);
                let mut pooled = Vec::new();
                for (channel, row, col) in (0..out * half_rows * half_cols)
                    .map(|k| (k / (half_rows * half_cols), k / half_cols % half_rows, k % half_cols))
                {
                    let at = |i, j| y[(channel * rows + 2 * row + i) * cols + 2 * col + j];
                    pooled.push(at(0, 0).max(at(0, 1)).max(at(1, 0)).max(at(1, 1)));
                }
                (y, rows, cols) = (pooled, half_rows, half_cols);
            }
        } else {
            for unit in 0..out {
                let products = x.iter().enumerate().map(|(input, value)| w(unit * inputs + input) * value);
                let sum = f64::from(bias.values[unit]) + products.sum::<f64>();
                y.push(if index + 1 < LAYERS { sum.max(0.0) } else { sum });
            }
        }
        x = y;
    }
    x
}

/// Mean cross-entropy and right answers, in plain arithmetic.
fn evaluated(weights: &Weights, images: &Images) -> (f64, u32) {
    let (mut loss, mut correct) = (0.0, 0);
    for (at, label) in images.labels.iter().enumerate() {
        let logits = logits(weights, images, at);
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        loss += sum.ln() - logits[usize::from(*label)];
        let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
        correct += u32::from(best == Some(usize::from(*label)));
    }
    (loss / images.len() as f64, correct)
}

#[test]
fn validation_is_what_plain_arithmetic_says() {
    let mut shares = Vec::new();
    for (treatment, epochs) in [("baseA", "epochs = 2"), ("A3B", "epochs = 5"), ("R5A", "epochs = 2")] {
        let owned = Owned::new(&wide(&[("epochs = 2", epochs)]), treatment, 3);
        let (weights, epochs) = owned.train();
        let last = epochs.last().unwrap();
        let (loss, correct) = evaluated(&weights, &owned.valid);
        assert_eq!(last.valid, Count { correct, total: 18 }, "{treatment}");
        assert!((last.valid_loss - loss).abs() < 1e-5, "{treatment}: {} and {loss}", last.valid_loss);
        shares.push(last.valid.share());
    }
    // Neither all right nor all wrong, so that the counts could differ.
    assert!(shares.iter().any(|share| (0.3..0.95).contains(share)), "{shares:?}");
}

#[test]
fn one_step_goes_down_the_gradient() {
    // One batch of all images, and neither momentum nor decay: w - rate · gradient is left.
    let changes = [("epochs = 2", "epochs = 1"), ("batch = 5", "batch = 24"), ("[1]\nrate_f", "[]\nrate_f")];
    let owned = Owned::new(&wide(&changes), "baseA", 4);
    let (ended, epochs) = owned.train();
    let (loss, correct) = evaluated(&owned.initial, &owned.train);
    assert_eq!(epochs[0].train, Count { correct, total: 24 });
    assert!((epochs[0].train_loss - loss).abs() < 1e-5);

    fn tensors(weights: &mut Weights, index: usize) -> [&mut Numbers; 2] {
        let Layer { weight, bias } = &mut weights.layers[index];
        [weight, bias]
    }
    let (mut ended, mut began) = (ended, owned.initial.clone());
    let mut moved = 0;
    for index in 0..LAYERS {
        for which in 0..2 {
            let count = tensors(&mut began, index)[which].values.len();
            for at in [0, count / 2, count - 1] {
                let before = tensors(&mut began, index)[which].values[at];
                // A power of two, so that both neighbours are exact; small, to stay on one side of each ReLU.
                let width = 2f32.powi(-13);
                let mut loss_at = |value: f32| {
                    tensors(&mut began, index)[which].values[at] = value;
                    evaluated(&began, &owned.train).0
                };
                let slope = (loss_at(before + width) - loss_at(before - width))
                    / (f64::from(before + width) - f64::from(before - width));
                loss_at(before);
                let after = tensors(&mut ended, index)[which].values[at];
                let gradient = (f64::from(before) - f64::from(after)) / 0.05;
                let error = (gradient - slope).abs();
                assert!(
                    error < 1e-3 * slope.abs() + 1e-5,
                    "layer {index} {which} {at}: {gradient} and {slope}"
                );
                moved += usize::from(slope.abs() > 1e-3);
            }
        }
    }
    // Most of the slopes are not nothing.
    assert!(moved > 24, "{moved}");
}

/// Training as the trainer's description has it, through all layers in every step and with weights
/// that are replaced and not changed in place.
fn uncached(owned: &Owned) -> (Weights, Vec<f64>) {
    let solver = &owned.recipe.solver;
    let frozen = usize::from(owned.recipe.treatment.frozen());
    let mut weights = owned.initial.clone();
    let mut velocity: Vec<Tensor> = Vec::new();
    let mut losses = Vec::new();
    let pixels =
        net::scaled(owned.train.shape(), &owned.train.bytes().unwrap(), MOMENTS, tch::Device::Cpu).unwrap();
    let all: Vec<i64> = owned.train.labels.iter().map(|label| i64::from(*label)).collect();
    for epoch in 0..solver.epochs {
        let mut sum = 0.0;
        for batch in owned.recipe.order(epoch, owned.train.len()).chunks(solver.batch as usize) {
            let indices: Vec<i64> = batch.iter().map(|index| i64::from(*index)).collect();
            let labels: Vec<i64> = indices.iter().map(|index| all[*index as usize]).collect();
            let net = Net::new(Layout::Small, &weights, frozen, tch::Device::Cpu).unwrap();
            let inputs = pixels.index_select(0, &Tensor::from_slice(&indices));
            let logits = net.forward(&inputs, 0..LAYERS).unwrap();
            let loss = logits.cross_entropy_for_logits(&Tensor::from_slice(&labels));
            sum += f64::try_from(&loss).unwrap() * batch.len() as f64;
            let parameters = net.trained(frozen);
            let gradients = Tensor::run_backward(&[&loss], &parameters, false, false);
            velocity.resize_with(parameters.len(), || Tensor::from(0f32));
            for (at, (parameter, gradient)) in parameters.iter().zip(gradients).enumerate() {
                let change = gradient + parameter.detach() * solver.decay;
                velocity[at] = (&velocity[at] * solver.momentum) + change;
                let moved = parameter.detach() - &velocity[at] * solver.rate_at(epoch);
                let Layer { weight, bias } = &mut weights.layers[frozen + at / 2];
                let values = if at % 2 == 0 { &mut weight.values } else { &mut bias.values };
                *values = Vec::try_from(moved.flatten(0, -1)).unwrap();
            }
        }
        losses.push(sum / owned.train.len() as f64);
    }
    (weights, losses)
}

#[test]
fn cached_features_train_as_all_layers_do() {
    let changes = [("epochs = 2", "epochs = 4"), ("decay = 0.0", "decay = 0.01")];
    for treatment in ["baseA", "A3B", "R5A", "B7B", "A3B+"] {
        let owned = Owned::new(&wide(&changes), treatment, 6);
        let (cached, epochs) = owned.train();
        let (expected, losses) = uncached(&owned);
        // Sums in another order: the last bits may differ, and no more.
        for (epoch, loss) in epochs.iter().zip(losses) {
            assert!((epoch.train_loss - loss).abs() < 1e-5, "{treatment}: {} and {loss}", epoch.train_loss);
        }
        for (found, expected) in cached.layers.iter().zip(&expected.layers) {
            let values = |layer: &Layer| [layer.weight.values.clone(), layer.bias.values.clone()].concat();
            for (found, expected) in values(found).into_iter().zip(values(expected)) {
                assert!((found - expected).abs() < 1e-5, "{treatment}: {found} and {expected}");
            }
        }
    }
}

#[test]
fn a_rate_too_high_diverges_at_a_step() {
    let mut owned = Owned::new(&wide(&[]), "baseA", 1);
    owned.recipe.solver.rate = 1e6;
    let steps = AtomicU64::new(0);
    let watch = |_, _| {
        steps.fetch_add(1, Ordering::Relaxed);
        Next::Go
    };
    let trained = torch().train(&owned.setup(), &Along { watch: &watch, ..Along::ALONE }).unwrap();
    let Trained::Diverged { epochs, epoch, step, .. } = trained else { panic!("it did not diverge") };
    // The watch hears of each step that went well, five to an epoch.
    assert_eq!(u64::from(5 * epoch + step), steps.into_inner());
    assert_eq!(epochs.len(), epoch as usize);
    assert!((epoch, step) > (0, 0), "the first loss is that of the first weights");
    assert!(epochs.iter().all(|epoch| epoch.train_loss.is_finite() && epoch.valid_loss.is_finite()));
}

#[test]
fn a_validation_that_is_not_finite_diverges_too() {
    // All images in one step: its loss is that of the first weights, and only validation sees the last.
    let changes = [("batch = 5", "batch = 24"), ("epochs = 2", "epochs = 1"), ("[1]\nrate_f", "[]\nrate_f")];
    let mut owned = Owned::new(&wide(&changes), "baseA", 1);
    owned.recipe.solver.rate = 1e30;
    let Trained::Diverged { epochs, epoch, step, .. } = torch().train(&owned.setup(), &Along::ALONE).unwrap()
    else {
        panic!("it did not diverge")
    };
    assert_eq!((epochs, epoch, step), (vec![], 0, 1));
}

#[test]
fn a_watch_that_says_no_stops_at_that_step() {
    let owned = Owned::new(&wide(&[]), "A3B", 1);
    for last in [5u64, 15, 24, 29] {
        let heard = AtomicU64::new(0);
        let watch = |_, images| {
            heard.fetch_add(1, Ordering::Relaxed);
            if images < last { Next::Go } else { Next::Stop }
        };
        let stopped = torch().train(&owned.setup(), &Along { watch: &watch, ..Along::ALONE });
        assert!(matches!(stopped, Err(Error::Interrupted)));
        assert_eq!(heard.into_inner(), last.div_ceil(5));
    }
}

#[test]
fn what_libtorch_refuses_is_an_error_that_names_the_run() {
    let mut owned = Owned::new(&wide(&[]), "baseA", 1);
    owned.train.labels[0] = 2;
    let error = torch().train(&owned.setup(), &Along::ALONE).unwrap_err().to_string();
    assert!(error.starts_with("libtorch failed on half/1/test: "), "{error}");
    assert!(error.contains("out of bounds") && !error.contains('\n'), "{error}");
}

#[test]
fn the_environment_is_recorded() {
    let numerics = Numerics::engage(Policy::Portable).unwrap();
    let environment = torch().environment().unwrap();
    assert_eq!(environment, numerics.environment().unwrap());
    let Environment { selffer, libtorch, cpu, .. } = environment;
    assert_eq!((selffer.as_str(), libtorch.as_str()), (env!("CARGO_PKG_VERSION"), "2.11.0"));
    assert!(!cpu.is_empty());
}

#[test]
fn evaluating_again_is_what_training_recorded_to_the_last_bit() {
    for treatment in ["baseA", "A3B", "B7B", "R5A", "A3B+"] {
        let owned = Owned::new(&wide(&[]), treatment, 3);
        let (weights, epochs) = owned.train();
        let last = epochs.last().unwrap();
        let again = torch().evaluate("a test", &owned.recipe, &weights, &owned.valid, PIXELS).unwrap();
        assert_eq!((again.loss, again.count()), (last.valid_loss, last.valid), "{treatment}");
        assert_eq!(again.right.len(), owned.valid.len());
        // Other weights, another answer.
        let began = torch().evaluate("a test", &owned.recipe, &owned.initial, &owned.valid, PIXELS).unwrap();
        assert_ne!(began.loss, last.valid_loss, "{treatment}");
    }
}

/// All states of a run, one after each step, and what it ends with.
fn states(owned: &Owned, every: u32) -> (Vec<State>, Trained) {
    let states = std::sync::Mutex::new(Vec::new());
    let keep = |state| {
        states.lock().unwrap().push(state);
        Ok(())
    };
    let along = Along { every, watch: &|_, _| Next::Keep, keep: &keep, ..Along::ALONE };
    let trained = torch().train(&owned.setup(), &along).unwrap();
    (states.into_inner().unwrap(), trained)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]
    /// From every state of a run, through its file: the same weights, epochs and ledger.
    #[test]
    fn it_goes_on_from_every_step_to_the_same_bits(
        seed in 0u64..1000,
        treatment in prop::sample::select(vec!["baseA", "A3B", "A3B+", "B6B", "R2A"]),
        every in 1u32..7,
    ) {
        let owned = Owned::new(&wide(&[("decay = 0.0", "decay = 0.01")]), treatment, seed);
        let (states, whole) = states(&owned, every);
        // 24 images in steps of 5, 5, 5, 5 and 4, over two epochs.
        prop_assert_eq!(states.len(), 10);
        for (done, state) in states.into_iter().enumerate() {
            prop_assert_eq!(state.progress.place.steps_done(5), done as u64 + 1);
            let read = State::from_bytes(&state.to_bytes()).unwrap();
            prop_assert_eq!(&read, &state);
            // The ledger of the state says how often there are entries.
            let along = Along { from: Some(read), every: 99, ..Along::ALONE };
            prop_assert_eq!(&torch().train(&owned.setup(), &along).unwrap(), &whole, "after step {}", done + 1);
        }
    }
}

#[test]
fn told_to_stop_it_hands_over_the_state_first() {
    let owned = Owned::new(&wide(&[]), "A3B+", 2);
    let (states, whole) = states(&owned, 3);
    let kept = std::sync::Mutex::new(None);
    let keep = |state| {
        *kept.lock().unwrap() = Some(state);
        Ok(())
    };
    let watch = |place: Place, _| if place == (Place { epoch: 1, step: 2 }) { Next::Stop } else { Next::Go };
    let along = Along { every: 3, watch: &watch, keep: &keep, ..Along::ALONE };
    assert!(matches!(torch().train(&owned.setup(), &along), Err(Error::Interrupted)));
    let state = kept.into_inner().unwrap();
    assert_eq!(state.as_ref(), Some(&states[6]));
    assert_eq!(torch().train(&owned.setup(), &Along { from: state, ..Along::ALONE }).unwrap(), whole);
}

#[test]
fn a_ledger_sees_weights_momentum_and_order() {
    let owned = Owned::new(&wide(&[]), "A3B", 1);
    let ledger_from = |state: State| match torch()
        .train(&owned.setup(), &Along { from: Some(state), ..Along::ALONE })
        .unwrap()
    {
        Trained::Whole { ledger, .. } | Trained::Diverged { ledger, .. } => ledger,
    };
    let (states, _) = states(&owned, 1);
    let begin = &states[4];
    let ledger = ledger_from(begin.clone());
    // Steps 3 and 5 of each epoch, if there were entries every 3.
    assert_eq!(
        (ledger.entries.len(), self::states(&owned, 3).1),
        (10, {
            let Trained::Whole { weights, epochs, .. } = self::states(&owned, 1).1 else {
                panic!("it diverged")
            };
            let Trained::Whole { ledger, .. } = self::states(&owned, 3).1 else { panic!("it diverged") };
            assert_eq!(ledger.entries.len(), 4);
            Trained::Whole { weights, epochs, ledger }
        })
    );
    // One bit of a trained weight or a momentum: another ledger from the next entry on.
    let flip = |values: &mut Vec<f32>| values[0] = f32::from_bits(values[0].to_bits() ^ 1);
    let changes: [fn(&mut State) -> &mut Vec<f32>; 2] =
        [|state| &mut state.weights.layers[7].bias.values, |state| &mut state.momentum[2].weight.values];
    for change in changes {
        let mut state = begin.clone();
        flip(change(&mut state));
        let changed = ledger_from(state);
        assert_eq!(ledger.first_difference(&changed, &mut 0), Some(5));
    }
    // One of a frozen weight, no momentum, or another place: no state of this run.
    let setup = owned.setup();
    let fits = |state: &State| {
        let steps = setup.recipe.solver.steps_of(setup.train.len());
        state.fits(setup.recipe, setup.initial, steps, setup.train.len())
    };
    assert!(fits(begin));
    let misfits: [fn(&mut State); 3] = [
        |state| state.weights.layers[0].weight.values[0] += 1.0,
        |state| state.momentum.clear(),
        |state| state.progress.place.epoch += 1,
    ];
    for misfit in misfits {
        let mut state = begin.clone();
        misfit(&mut state);
        assert!(!fits(&state));
    }
}
