//! Times the training loop on libtorch: `cargo bench --bench step -- CASE DIR [POLICY [DEVICE [BATCH]]]`.
//!
//! The small network (`base`, `frozen`, `large-batch`): one epoch of the `ci` protocol, evaluation included, through the same
//! trainer as `selffer reproduce`. The paper's network at full width (`caffe`): some steps of the `paper` protocol, windows, mirrors
//! and dropped units included, on drawn images. It prints one JSON line. What it started from (images, order, weights,
//! solver, windows) is left in DIR, from which `step.py` does the same in Python. `ci/bench` runs both; `benches/policies` runs
//! this one under each numerics policy.

#![allow(clippy::print_stdout, clippy::print_stderr)] // what a benchmark is for

use safetensors::tensor::{Dtype, TensorView};
use selffer::architecture::{self, DROPPED};
use selffer::cost;
use selffer::data::{Dataset, Images, Part};
use selffer::init::initial;
use selffer::input::{Pixels, mask, windows};
use selffer::ledger::{self, Ledger, Place};
use selffer::numerics::Numerics;
use selffer::plan::Plan;
use selffer::protocol::{Protocol, Solver};
use selffer::recipe::{Policy, Recipe};
use selffer::speed;
use selffer::split::Catalog;
use selffer::train::{Along, Next, Setup, Torch, Trained, Trainer as _};
use selffer::weights::Weights;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

/// Images of a first, untimed epoch of the small network: libtorch prepares its kernels at their first use.
const WARM_UP: usize = 500;

/// Untimed steps of the paper's network, in which the script's losses are held to those here.
const STEPS_UNTIMED: u32 = 2;

/// Its timed steps.
const STEPS_TIMED: u32 = 4;

/// Rows and columns of its images.
const SIDE: usize = 256;
const CLASSES: usize = 1000;

/// What was timed.
struct Timed {
    images: usize,
    seconds: f64,
    operations: u64,
    losses: serde_json::Value,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    // `cargo bench` and `cargo test --benches` without arguments have nothing to time.
    let [case, dir, more @ ..] = arguments.as_slice() else {
        return eprintln!(
            "usage: cargo bench --bench step -- base|frozen|large-batch|caffe DIR [POLICY [DEVICE [BATCH]]]"
        );
    };
    let policy = more.first().map_or(Policy::Portable, |policy| policy.parse().expect("a policy"));
    let device = more.get(1).map_or("cpu", String::as_str);
    let batch = more.get(2).map(|batch| batch.parse().expect("a number of images"));
    assert_eq!(device != "cpu", policy == Policy::Cuda, "the policy `cuda` and a GPU go together");
    let trainer = Torch::new(Numerics::engage(policy).expect("numerics that this machine can"));
    let clock = Clock { device, begin: Instant::now() };
    let dir = Path::new(dir);
    let timed = match case.as_str() {
        "base" => small("baseA", batch.unwrap_or(50), dir, policy, &trainer, &clock),
        "frozen" => small("R3A", batch.unwrap_or(50), dir, policy, &trainer, &clock),
        "large-batch" => small("baseA", batch.unwrap_or(250), dir, policy, &trainer, &clock),
        "caffe" => caffe(batch.unwrap_or(8), dir, policy, &trainer, &clock),
        other => panic!("there is no case {other}"),
    };
    let Timed { images, seconds, operations, losses } = timed;
    let line = serde_json::json!({
        "case": case, "what": "selffer", "policy": policy, "images": images, "seconds": seconds,
        "images_per_second": images as f64 / seconds, "operations": operations, "losses": losses,
    });
    println!("{line}");
}

/// Seconds, as far as they count.
struct Clock<'a> {
    device: &'a str,
    begin: Instant,
}

impl Clock<'_> {
    /// On a CPU those that this thread has been computing, by the kernel's account: other programs on the same core do
    /// not count. On an accelerator those that passed: each step ends in reading its loss, which waits for it.
    fn now(&self) -> f64 {
        if self.device != "cpu" {
            return self.begin.elapsed().as_secs_f64();
        }
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
        let nanoseconds = stat.split(' ').next().expect("it has three numbers");
        nanoseconds.parse::<f64>().expect("a number") / 1e9
    }
}

/// On a thread of its own, as the program trains: memory is managed for each thread.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join()).expect("no panic")
}

fn write(dir: &Path, name: &str, bytes: impl FnOnce() -> Vec<u8>) {
    let path = dir.join(name);
    // The same in each round.
    if !path.exists() {
        std::fs::write(path, bytes()).expect("DIR is writable");
    }
}

/// One epoch of the `ci` network.
fn small(
    treatment: &str,
    batch: u32,
    dir: &Path,
    policy: Policy,
    trainer: &Torch,
    clock: &Clock<'_>,
) -> Timed {
    let mut protocol = Protocol::named("ci").expect("it is embedded");
    protocol.solver.batch = batch;
    protocol.solver.epochs = 1;
    protocol.solver.rate_drops.clear();
    let data = Dataset::read(&protocol.data).expect("they are embedded");
    let catalog = Catalog::of(data.clone());
    let plan = Plan::make(&protocol, &catalog).expect("an embedded protocol");
    let run =
        plan.runs.iter().find(|run| run.treatment.to_string() == treatment).expect("the protocol has it");
    let recipe = plan.recipe(run, policy, None);
    let initial = initial(&recipe, &plan.shapes(run), None);
    let split = &plan.splits[run.split].0;
    let [train, valid] = Part::BOTH
        .map(|part| catalog.images(split, run.treatment.target(), part).expect("the split is of these data"));

    write(dir, "initial.safetensors", || initial.to_bytes());
    write(dir, "data.safetensors", || data_file(&train, &valid, &recipe.order(0, train.len()), &[]));
    let setting = serde_json::json!({
        "layout": "small", "frozen": recipe.treatment.frozen(), "solver": recipe.solver,
        "moments": catalog.moments, "warm_up": WARM_UP,
    });
    write(dir, "setting.json", || setting.to_string().into_bytes());

    let once = |train: &Images, valid: &Images| {
        let pixels = catalog.pixels(None);
        let setup = Setup { name: treatment, recipe: &recipe, initial: &initial, train, valid, pixels };
        match trainer.train(&setup, &Along::ALONE).expect("libtorch trains") {
            Trained::Whole { epochs, .. } => epochs[0].clone(),
            Trained::Diverged { .. } => panic!("it does not diverge"),
        }
    };
    let few = first(&train, WARM_UP);
    let (epoch, seconds) = on_a_thread(|| {
        once(&few, &few);
        let start = clock.now();
        let epoch = once(&train, &valid);
        (epoch, clock.now() - start)
    });
    Timed {
        images: train.len(),
        seconds,
        operations: plan.cost(run).operations,
        losses: serde_json::json!([epoch.train_loss, epoch.valid_loss]),
    }
}

/// Steps of the paper's network. Setting up and evaluation are not timed: they are nothing beside 450,000 steps; what the ledger
/// takes is, at the share that it has.
fn caffe(batch: u32, dir: &Path, policy: Policy, trainer: &Torch, clock: &Clock<'_>) -> Timed {
    let protocol = Protocol::named("paper").expect("it is embedded");
    let steps = STEPS_UNTIMED + STEPS_TIMED + 1;
    let solver =
        Solver { epochs: 1, steps: Some(steps), batch, rate_drops: Vec::new(), ..protocol.solver.clone() };
    let recipe = speed::base(&protocol, policy, solver);
    let input = protocol.input.as_ref().expect("it cuts windows out");
    let crop = input.crop as usize;
    let shapes = architecture::layers(&recipe.network, [3, crop, crop], CLASSES);
    let initial = initial(&recipe, &shapes, None);
    let data = speed::noise([3, SIDE, SIDE], CLASSES);
    let mean = data.mean_image();
    let pixels = Pixels { moments: data.pixel_moments(), mean: Some(&mean) };

    let order = recipe.order(0, data.train.len());
    let places = || (0..steps).map(|step| Place { epoch: 0, step });
    let cut: Vec<Vec<_>> = places()
        .map(|place| {
            let windows = windows(&recipe, input, place, data.train.shape(), batch as usize);
            windows.iter().map(|window| (window.row, window.col, window.mirrored)).collect()
        })
        .collect();
    let dropped: Vec<(String, Vec<f32>)> = places()
        .take(STEPS_UNTIMED as usize)
        .flat_map(|place| DROPPED.zip(recipe.network.hidden).map(move |(layer, units)| (place, layer, units)))
        .map(|(place, layer, units)| {
            let mask = mask(&recipe, place, layer - 1, (batch * units) as usize);
            (format!("mask.{}.{}", place.step, layer - 1), mask.into_iter().map(f32::from).collect())
        })
        .collect();
    write(dir, "initial.safetensors", || initial.to_bytes());
    write(dir, "data.safetensors", || data_file(&data.train, &data.valid, &order, &dropped));
    let setting = serde_json::json!({
        "layout": "caffe", "frozen": 0, "solver": recipe.solver, "crop": crop, "windows": cut,
        "untimed": STEPS_UNTIMED, "timed": STEPS_TIMED,
    });
    write(dir, "setting.json", || setting.to_string().into_bytes());

    let train = |recipe: &Recipe, initial: &Weights, watch: &(dyn Fn(Place, u64) -> Next + Sync)| {
        let setup = Setup { name: "caffe", recipe, initial, train: &data.train, valid: &data.valid, pixels };
        // The only entry of the ledger is at the end.
        let along = Along { every: u32::MAX, watch, ..Along::ALONE };
        match trainer.train(&setup, &along).expect("libtorch trains") {
            Trained::Whole { epochs, .. } => epochs[0].train_loss,
            Trained::Diverged { .. } => panic!("it does not diverge"),
        }
    };
    let mut short = recipe.clone();
    short.solver.steps = Some(STEPS_UNTIMED);
    let stamps = Mutex::new(Vec::new());
    let watch = |_: Place, _: u64| {
        stamps.lock().expect("no panic").push(clock.now());
        Next::Go
    };
    let loss = on_a_thread(|| {
        let loss = train(&short, &initial, &|_, _| Next::Go);
        train(&recipe, &initial, &watch);
        loss
    });
    let stamps = stamps.into_inner().expect("no panic");
    let [begin, end] = [STEPS_UNTIMED, STEPS_UNTIMED + STEPS_TIMED].map(|step| stamps[step as usize - 1]);
    let step = (end - begin) / f64::from(STEPS_TIMED);
    // The last step, less a step, is the ledger's entry; an epoch has some of them.
    let weights =
        initial.layers.iter().map(|layer| layer.weight.values.len() + layer.bias.values.len()).sum();
    let of_epoch = protocol.solver.steps.expect("its epochs are of so many steps");
    let entries = Ledger::new(ledger::every(weights)).per_epoch(of_epoch);
    let entry =
        (stamps.last().expect("steps") - end - step).max(0.0) * f64::from(entries) / f64::from(of_epoch);
    let images = (STEPS_TIMED * batch) as usize;
    Timed {
        images,
        seconds: f64::from(STEPS_TIMED) * (step + entry),
        operations: cost::trained_image(&protocol, [3, SIDE, SIDE], CLASSES) * images as u64,
        losses: serde_json::json!([loss]),
    }
}

/// The first `count` images.
fn first(images: &Images, count: usize) -> Images {
    images.pick(&(0..count).collect::<Vec<_>>(), images.labels[..count].to_vec())
}

/// The images of both parts, their labels, the order of the training images, and what is dropped, as safetensors.
fn data_file(train: &Images, valid: &Images, order: &[u32], dropped: &[(String, Vec<f32>)]) -> Vec<u8> {
    let numbers = |numbers: Vec<i64>| -> Vec<u8> { numbers.into_iter().flat_map(i64::to_le_bytes).collect() };
    let labels = |images: &Images| numbers(images.labels.iter().map(|label| i64::from(*label)).collect());
    let shape = |images: &Images| match images.channels {
        1 => vec![images.len(), images.rows, images.cols],
        channels => vec![images.len(), images.rows, images.cols, channels],
    };
    let bytes = |images: &Images| images.bytes().expect("in memory").into_owned();
    let mut tensors = vec![
        ("train.images", Dtype::U8, shape(train), bytes(train)),
        ("train.labels", Dtype::I64, vec![train.len()], labels(train)),
        ("valid.images", Dtype::U8, shape(valid), bytes(valid)),
        ("valid.labels", Dtype::I64, vec![valid.len()], labels(valid)),
        ("order", Dtype::I64, vec![order.len()], numbers(order.iter().map(|at| i64::from(*at)).collect())),
    ];
    for (name, mask) in dropped {
        let bytes = mask.iter().flat_map(|number| number.to_le_bytes()).collect();
        tensors.push((name.as_str(), Dtype::F32, vec![mask.len()], bytes));
    }
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (*name, TensorView::new(*dtype, shape.clone(), bytes).expect("as many bytes as the shape says"))
    });
    safetensors::serialize(views, None).expect("named tensors")
}
