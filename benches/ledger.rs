//! Times what the ledger costs: `cargo bench --bench ledger -- ROUNDS`.
//!
//! It trains networks of the `ci` protocol for one epoch with a ledger entry after every step and with one at
//! the end alone, in turns, and prints what the entries add to the second time, in percent: least, median,
//! most, and the median for one entry every 32 steps. One in 32 by itself is lost in the noise.

#![allow(clippy::print_stdout)] // what a benchmark is for

use selffer::data::{Dataset, Part};
use selffer::init::{initial, zeros};
use selffer::ledger::EVERY;
use selffer::numerics::Numerics;
use selffer::plan::Plan;
use selffer::protocol::Protocol;
use selffer::recipe::Policy;
use selffer::split::Catalog;
use selffer::train::{Along, Setup, Torch, Trainer as _};

fn main() {
    let rounds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(0);
    let numerics = Numerics::engage(Policy::Portable).expect("portable numerics");
    let mut protocol = Protocol::named("ci").expect("it is embedded");
    (protocol.solver.epochs, protocol.solver.rate_drops) = (1, Vec::new());
    let data = Dataset::read(&protocol.data).expect("they are embedded");
    let catalog = Catalog::of(data.clone());
    let plan = Plan::make(&protocol, &catalog).expect("an embedded protocol");
    let trainer = Torch::new(numerics);
    for treatment in ["baseA", "A3B", "A5B", "A7B"] {
        let run = plan.runs.iter().find(|run| run.treatment.to_string() == treatment).expect("it is planned");
        let recipe = plan.recipe(run, Policy::Portable, None);
        let shapes = plan.shapes(run);
        let initial = initial(&recipe, &shapes, Some(&zeros(&shapes)));
        let [train, valid] = Part::BOTH.map(|part| plan.images(run, part).expect("images of the plan"));
        let setup = Setup {
            name: treatment,
            recipe: &recipe,
            initial: &initial,
            train: &train,
            valid: &valid,
            pixels: catalog.pixels(None),
        };
        let timed = |every| {
            let start = on_cpu();
            trainer.train(&setup, &Along { every, ..Along::ALONE }).expect("libtorch trains");
            on_cpu() - start
        };
        let mut shares: Vec<f64> = (0..rounds).map(|_| 100.0 * (timed(1) / timed(u32::MAX) - 1.0)).collect();
        shares.sort_by(f64::total_cmp);
        if let [least, .., most] = shares.as_slice() {
            let median = shares[shares.len() / 2];
            let usual = median / f64::from(EVERY);
            println!(
                "{treatment:<6} every step {least:6.1} {median:6.1} {most:6.1}   every {EVERY}: {usual:.2} %"
            );
        }
    }
}

/// Seconds that this thread has been computing, by the kernel's account.
fn on_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    let nanoseconds = stat.split(' ').next().expect("it has three numbers");
    nanoseconds.parse::<f64>().expect("a number") / 1e9
}
