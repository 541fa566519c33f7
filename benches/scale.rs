//! Plans, arranges and looks at a plan of many networks in a store that has none, half and all of them: records
//! as long as real ones, and empty checkpoints, since none is opened. Prints seconds, and memory at its highest.
//!
//!     cargo bench --bench scale -- 100000

use selffer::cluster::Limits;
use selffer::cluster::arrange::arrange;
use selffer::data::Dataset;
use selffer::digest::{Digest, FingerprintDigest, LayerDigest, LedgerDigest, WeightsDigest};
use selffer::ledger::Ledger;
use selffer::manifest::{Count, Environment, Epoch, Format, Manifest, Outcome};
use selffer::plan::Plan;
use selffer::protocol::{EMBEDDED, Protocol};
use selffer::recipe::{Policy, order_digest};
use selffer::resources::Cluster;
use selffer::split::Catalog;
use selffer::status::Watch;
use selffer::store::{Entry, Store};
use selffer::weights::LayerDigests;
use std::collections::HashMap;
use std::fmt::Display;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

fn say(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn timed<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = act();
    say(format_args!(
        "{what:<44} {:7.2} s, at most {:5.0} MiB so far",
        start.elapsed().as_secs_f64(),
        highest()
    ));
    done
}

/// The highest resident size of this process so far, in MiB.
fn highest() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// The smoke protocol with as many seeds as make so many networks.
fn protocol(networks: usize) -> Protocol {
    let text = EMBEDDED.iter().find(|(name, _)| *name == "smoke").expect("it is embedded").1;
    let one = |seeds: &[String]| {
        let list = format!("seeds = [{}]", seeds.join(", "));
        Protocol::parse(&text.replacen("seeds = [1]", &list, 1), "smoke").expect("a protocol")
    };
    let of_one = 23;
    let seeds: Vec<String> = (1..=networks.div_ceil(of_one)).map(|seed| seed.to_string()).collect();
    one(&seeds)
}

/// A record as long as that of a real network, with weights of no network.
fn manifest(plan: &Plan<'_>, index: usize, parent: Option<WeightsDigest>) -> Manifest {
    let run = &plan.runs[index];
    let recipe = plan.recipe(run, Policy::Portable, parent);
    let layers = |role: &str| {
        let layer = |at: usize| LayerDigest(Digest::of(format!("{role} {index} {at}").as_bytes()));
        LayerDigests(std::array::from_fn(layer))
    };
    let order = order_digest(&[0]);
    let count = Count { correct: 150, total: 200 };
    let epoch = Epoch { rate: 0.01, order, train_loss: 0.5, train: count, valid_loss: 0.5, valid: count };
    Manifest {
        format: Format::V1,
        run: plan.name(run),
        recipe,
        initial: layers("initial"),
        epochs: vec![epoch; 6],
        outcome: Outcome::Trained { layers: layers("trained") },
        contradicts: None,
        ledger: Ledger { every: 32, entries: vec![LedgerDigest(Digest::of(b"entry")); 12] },
        wall_ms: 500,
        environment: Environment {
            selffer: "0.1.0".to_owned(),
            libtorch: "2.11.0".to_owned(),
            cpu: "a processor".to_owned(),
            settings: (0..25).map(|at| (format!("a setting {at}"), "as it is".to_owned())).collect(),
            fingerprint: FingerprintDigest(Digest::of(b"fingerprint")),
        },
    }
}

/// Puts the records of some runs in the store, without waiting for the disk. Of what was made so far no more is kept
/// than the weights that others copy from: memory is looked at.
fn fill(
    plan: &Plan<'_>,
    store: &Store,
    of: impl Fn(usize) -> bool,
    made: &mut HashMap<usize, WeightsDigest>,
) {
    for index in (0..plan.runs.len()).filter(|index| of(*index)) {
        let manifest = manifest(plan, index, plan.runs[index].parent.map(|parent| made[&parent]));
        let put = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).expect("a file");
        let weights = manifest.trained().expect("it is trained").whole();
        put(&store.path(&Entry::Checkpoint(weights)), b"");
        put(&store.path(&Entry::Manifest(manifest.recipe_digest())), &manifest.to_bytes());
        if plan.runs[index].parent.is_none() {
            made.insert(index, weights);
        }
    }
}

fn main() {
    let networks = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(100_000);
    let protocol = timed("protocol read", || protocol(networks));
    let data = Dataset::read(&protocol.data).expect("the embedded images");
    let catalog = Catalog::of(data.clone());
    let plan = timed("planned", || Plan::make(&protocol, &catalog).expect("a plan"));
    say(format_args!("{} networks", plan.runs.len()));
    let all: Vec<usize> = (0..plan.runs.len()).collect();
    for (per_job, elements) in [(1, 10_000), (1, 1_000_000), (50, 10_000)] {
        let limits = Limits { array: 1001, elements, whole: false };
        let cluster = Cluster { per_job: Some(per_job), ..Cluster::default() };
        let what = format!("arranged, {per_job} a job, {elements} elements at most");
        let made = timed(&what, || arrange(&plan, &all, &HashMap::new(), &cluster, limits, 0));
        say(format_args!("  {} arrays, {} networks left", made.batches.len(), made.left));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::create(dir.path()).expect("a store");
    let look = |what: &str| {
        let status = timed(what, || Watch::new(&plan, &store, Policy::Portable).look(&HashMap::new()));
        let left = status.expect("a store that can be read").operations_left;
        say(format_args!("  {:.0} GFLOP left", left as f64 / 1e9));
    };
    look("status of an empty store");
    let mut bases = HashMap::new();
    let middle = plan.runs.len() / 2;
    fill(&plan, &store, |index| plan.runs[index].parent.is_none() || index < middle, &mut bases);
    look("status of a store of half of them");
    fill(&plan, &store, |index| plan.runs[index].parent.is_some() && index >= middle, &mut bases);
    look("status of a store of all");
    let mut watch = Watch::new(&plan, &store, Policy::Portable);
    watch.look(&HashMap::new()).expect("a look");
    let again = timed("the second look of --follow", || watch.look(&HashMap::new()));
    assert_eq!(again.expect("a look").operations_left, 0);
}
