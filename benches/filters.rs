//! How often the check of the first layer is right: `cargo bench --bench filters -- made-up`, or `-- PROTOCOL STORE`.
//!
//! `made-up` reads made-up networks, with none of a filter's variance in a Gabor function up to all of it, on kernels
//! of several sizes, and prints how often each verdict comes out, and the time for a network. With a protocol and a
//! store it prints what is read of every base network there, and how many of the networks come out better than
//! random when read: trained, as drawn, by what training changed, with filters drawn anew in place of the trained
//! ones; and of the random controls.

#![allow(clippy::print_stdout)] // what a benchmark is for

use selffer::filters::{Reading, Training, Verdict, compare, read, structured};
use selffer::gabor::Family;
use selffer::init::initial;
use selffer::plan::Plan;
use selffer::protocol::Protocol;
use selffer::recipe::Policy;
use selffer::seed::{Name, Stream};
use selffer::split::Catalog;
use selffer::store::Store;
use selffer::treatment::Treatment;
use selffer::verify::Context;
use selffer::weights::Tensor;
use std::path::Path;
use std::time::Instant;

/// Made-up networks in a row of the table.
const NETWORKS: usize = 200;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["made-up"] => made_up(),
        [protocol, store] => of_store(protocol, Path::new(store)),
        _ => {}
    }
}

fn made_up() {
    println!("side channels filters structure  mean  better like-random cannot-tell  ms");
    let shapes = [
        (3, 1, 2),
        (3, 1, 4),
        (3, 1, 8),
        (3, 1, 16),
        (3, 3, 16),
        (5, 1, 16),
        (7, 1, 16),
        (7, 3, 16),
        (11, 1, 16),
    ];
    for (side, channels, filters) in shapes {
        for share in [0.0, 0.1, 0.25, 0.5, 0.75] {
            let networks = if side > 3 { NETWORKS / 10 } else { NETWORKS };
            let (mut counts, mut mean) = ([0; 3], 0.0);
            let mut took = 0.0;
            for network in 0..networks {
                let mut stream =
                    Stream::open(&Name::new("bench").and("network", network).and("share", share));
                let values = (0..filters)
                    .flat_map(|_| structured(&mut stream, Family::of(side), channels, side, share));
                let weight = Tensor { shape: vec![filters, channels, side, side], values: values.collect() };
                // The change is read whole, whatever the kernel; the weights it is the change of are zero.
                let zero = Tensor { values: vec![0.0; weight.values.len()], ..weight.clone() };
                let start = Instant::now();
                let reading = compare(&weight, &zero).and_then(|training| training.change).expect("filters");
                if network > 0 {
                    took += start.elapsed().as_secs_f64() * 500.0 / (networks - 1) as f64;
                }
                counts[slot(reading.verdict)] += 1;
                mean += reading.network / networks as f64;
            }
            let shares = counts.map(|count| 100.0 * f64::from(count) / networks as f64);
            println!(
                "{side:4} {channels:8} {filters:7} {share:9.2} {mean:.3} {:6.1}% {:10.1}% {:10.1}% {took:5.1}",
                shares[0], shares[1], shares[2]
            );
        }
    }
}

fn slot(verdict: Verdict) -> usize {
    match verdict {
        Verdict::Structured => 0,
        Verdict::LikeRandom => 1,
        Verdict::CannotTell => 2,
    }
}

fn of_store(protocol: &str, store: &Path) {
    let protocol = Protocol::named(protocol).expect("a protocol");
    let data = selffer::data::Dataset::read(&protocol.data).expect("its images");
    let catalog = Catalog::of(data.clone());
    let plan = Plan::make(&protocol, &catalog).expect("a plan");
    let store = Store::open(store).expect("a store");
    let context = Context::new(&plan, &store, Policy::Portable).expect("its manifests");
    let mut counts: Vec<(&str, [usize; 3])> = Vec::new();
    let mut count = |what: &'static str, verdict: Verdict| {
        let at = counts.iter().position(|(known, _)| *known == what).unwrap_or_else(|| {
            counts.push((what, [0; 3]));
            counts.len() - 1
        });
        counts[at].1[slot(verdict)] += 1;
    };
    println!(
        "{:<24} {:>5}  trained (p)  as drawn (p)   change (p)  anew (p)  random (power)",
        "run", "moved"
    );
    for (index, run) in plan.runs.iter().enumerate() {
        let Some(manifest) = &context.manifests[index] else { continue };
        let Some(layers) = manifest.trained() else { continue };
        let Ok(Ok(weights)) = context.weights(index, layers.whole()) else { continue };
        let conv1 = &weights.layers[0].weight;
        match run.treatment {
            Treatment::Base(_) => {
                let drawn = |seed| {
                    let recipe = selffer::recipe::Recipe { seed, ..manifest.recipe.clone() };
                    initial(&recipe, &plan.shapes(run), None).layers[0].weight.clone()
                };
                let (began, other) = (drawn(run.seed), drawn(run.seed + 1_000_003));
                let training = compare(conv1, &began).expect("filters");
                let first = read(&began).expect("filters");
                let replaced = compare(&other, &began).expect("filters");
                let Training { trained, change: Some(change), moved, verdict } = &training else { continue };
                let number = |reading: &Reading| format!("{:.3} ({:.4})", reading.network, reading.random.p);
                println!(
                    "{:<24} {:5.3} {} {} {} {} {:.3} ({:.3}) {}",
                    plan.name(run),
                    moved,
                    number(trained),
                    number(&first),
                    number(change),
                    replaced.change.as_ref().map(number).unwrap_or_default(),
                    trained.random.mean,
                    trained.random.power,
                    verdict.says(),
                );
                count("trained filters", trained.verdict);
                count("filters as drawn", first.verdict);
                count("network (filters and change)", *verdict);
                count("network with filters drawn anew", replaced.verdict);
            }
            _ if run.treatment.to_string() == format!("R1{}", run.treatment.target()) => {
                count("random control", read(conv1).expect("filters").verdict);
            }
            Treatment::Reduced { .. } | Treatment::Grafted { .. } => {}
        }
    }
    println!();
    for (what, [better, random, open]) in counts {
        println!("{what:<34} {better} better than random, {random} no better, {open} cannot tell");
    }
}
