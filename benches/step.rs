//! Times the training loop on libtorch: `cargo bench --bench step -- CASE DIR [POLICY]`.
//!
//! It trains the `ci` network for one epoch, evaluation included, through the same trainer as
//! `selffer reproduce`, and prints one JSON line. What it started from (images, order, weights,
//! solver) is left in DIR, from which `step.py` does the same in Python. `benches/step` runs both; `benches/policies` runs this one
//! under each numerics policy.

#![allow(clippy::print_stdout, clippy::print_stderr)] // what a benchmark is for

use safetensors::tensor::{Dtype, TensorView};
use selffer::data::{Dataset, Images, Part};
use selffer::init::initial;
use selffer::numerics::Numerics;
use selffer::plan::Plan;
use selffer::protocol::Protocol;
use selffer::recipe::Policy;
use selffer::split::Catalog;
use selffer::train::{Along, Task, Torch, Trained, Trainer as _};
use std::path::Path;

/// Images of a first, untimed epoch: libtorch prepares its kernels at their first use.
const WARM_UP: usize = 500;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (case, dir, policy) = match arguments.as_slice() {
        [case, dir] => (case, dir, Policy::Portable),
        [case, dir, policy] => (case, dir, policy.parse().expect("a policy")),
        // `cargo bench` and `cargo test --benches` without arguments have nothing to time.
        _ => return eprintln!("usage: cargo bench --bench step -- base|frozen|large-batch DIR [POLICY]"),
    };
    let (treatment, batch) = match case.as_str() {
        "base" => ("baseA", 50),
        "frozen" => ("R3A", 50),
        "large-batch" => ("baseA", 250),
        other => panic!("there is no case {other}"),
    };

    let numerics = Numerics::engage(policy).expect("numerics that this machine can");
    let mut protocol = Protocol::named("ci").expect("it is embedded");
    protocol.solver.batch = batch;
    protocol.solver.epochs = 1;
    protocol.solver.rate_drops.clear();
    let data = Dataset::read(&protocol.data).expect("they are embedded");
    let catalog = Catalog::of(&data);
    let plan = Plan::make(&protocol, &catalog).expect("an embedded protocol");
    let run =
        plan.runs.iter().find(|run| run.treatment.to_string() == treatment).expect("the protocol has it");
    let recipe = plan.recipe(run, policy, None);
    let initial = initial(&recipe, &plan.shapes(run), None);
    let split = &plan.splits[run.split].0;
    let [train, valid] = Part::BOTH
        .map(|part| catalog.images(split, run.treatment.target(), part).expect("the split is of these data"));

    let dir = Path::new(dir);
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(dir.join(name), bytes).expect("DIR is writable");
    write("initial.safetensors", initial.to_bytes());
    write("data.safetensors", data_file(&train, &valid, &recipe.order(0, train.len())));
    let setting = serde_json::json!({
        "frozen": recipe.treatment.frozen(), "solver": recipe.solver, "moments": catalog.moments,
        "warm_up": WARM_UP,
    });
    write("setting.json", setting.to_string().into_bytes());

    let trainer = Torch::new(numerics);
    let once = |train: &Images, valid: &Images| {
        let pixels = catalog.pixels(None);
        let task = Task { name: case, recipe: &recipe, initial: &initial, train, valid, pixels };
        match trainer.train(&task, &Along::ALONE).expect("libtorch trains") {
            Trained::Whole { epochs, .. } => epochs[0].clone(),
            Trained::Diverged { .. } => panic!("it does not diverge"),
        }
    };
    let few = first(&train, WARM_UP);
    // On a thread of its own, as the program trains: memory is managed for each thread.
    let timed = || {
        once(&few, &few);
        let start = on_cpu();
        let epoch = once(&train, &valid);
        (epoch, on_cpu() - start)
    };
    let (epoch, seconds) = std::thread::scope(|scope| scope.spawn(timed).join()).expect("no panic");
    let line = serde_json::json!({
        "case": case, "what": "selffer", "policy": policy, "images": train.len(), "seconds": seconds,
        "images_per_second": train.len() as f64 / seconds,
        "train_loss": epoch.train_loss, "valid_loss": epoch.valid_loss,
    });
    println!("{line}");
}

/// The first `count` images.
fn first(images: &Images, count: usize) -> Images {
    images.pick(&(0..count).collect::<Vec<_>>(), images.labels[..count].to_vec())
}

/// Seconds that this thread has been computing, by the kernel's account: other programs on the same
/// core do not count.
fn on_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    let nanoseconds = stat.split(' ').next().expect("it has three numbers");
    nanoseconds.parse::<f64>().expect("a number") / 1e9
}

/// The images of both parts, their labels, and the order of the training images, as safetensors.
fn data_file(train: &Images, valid: &Images, order: &[u32]) -> Vec<u8> {
    let numbers = |numbers: Vec<i64>| -> Vec<u8> { numbers.into_iter().flat_map(i64::to_le_bytes).collect() };
    let labels = |images: &Images| numbers(images.labels.iter().map(|label| i64::from(*label)).collect());
    let shape = |images: &Images| vec![images.len(), images.rows, images.cols];
    let tensors = [
        ("train.images", Dtype::U8, shape(train), train.bytes().expect("in memory").into_owned()),
        ("train.labels", Dtype::I64, vec![train.len()], labels(train)),
        ("valid.images", Dtype::U8, shape(valid), valid.bytes().expect("in memory").into_owned()),
        ("valid.labels", Dtype::I64, vec![valid.len()], labels(valid)),
        ("order", Dtype::I64, vec![order.len()], numbers(order.iter().map(|at| i64::from(*at)).collect())),
    ];
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (*name, TensorView::new(*dtype, shape.clone(), bytes).expect("as many bytes as the shape says"))
    });
    safetensors::serialize(views, None).expect("five named tensors")
}
