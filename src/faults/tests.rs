//! Runs a small experiment with each fault and sees what catches it; FAULTS.md is what came out.

use super::trainer::Faulty;
use super::{Fault, Planted, plant};
use crate::audit::proof::{Again, Prover};
use crate::data::Dataset;
use crate::manifest::Manifest;
use crate::numerics::Numerics;
use crate::plan::Plan;
use crate::protocol::{DataSource, Protocol};
use crate::recipe::Policy;
use crate::run::{Every, Observer, Runner, Snapshots, Unobserved};
use crate::split::Catalog;
use crate::store::Store;
use crate::table::Table;
use crate::testing::edited;
use crate::train::{Torch, Trainer};
use crate::treatment::{Kind, Treatment};
use crate::verify::golden::{Golden, fingerprint};
use crate::verify::{Code, Context, Finding, verify};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

/// Most kinds of treatment at two depths, on real images; the last batch of an epoch is smaller.
const PROTOCOL: &str = r#"
name = "faults"
data = "embedded"
train_per_class = 40
valid_per_class = 20
seeds = [1]
depths = [1, 4]

[network]
conv = [8, 8, 8, 8, 8]
hidden = [32, 32]
filler = "he"

[solver]
epochs = 3
batch = 12
rate = 0.01
rate_drops = [2]
rate_factor = 0.5
momentum = 0.9
decay = 5e-4

[[split]]
name = "mixed"
treatments = ["baseA", "baseB", "BnB", "BnB+", "AnB", "AnB+", "AnB^2", "RnB", "baseA@30"]

[split.halves.named]
A = ["digit-0", "digit-1", "trouser", "sandal"]
B = ["digit-6", "digit-7", "dress", "bag"]
"#;

const POLICY: Policy = Policy::Portable;

fn numerics() -> &'static Numerics {
    Numerics::engage(POLICY).expect("a CPU that can")
}

fn protocol(seed: u64) -> Protocol {
    Protocol::parse(&edited(PROTOCOL, &[("[1]", &format!("[{seed}]"))]), "a test").expect("a protocol")
}

fn data() -> &'static Dataset {
    static DATA: OnceLock<Dataset> = OnceLock::new();
    DATA.get_or_init(|| Dataset::read(&DataSource::Embedded).expect("the embedded data"))
}

fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| Catalog::of(data().clone()))
}

/// A store that a plan was run into.
struct Ran {
    _dir: TempDir,
    store: Store,
}

fn run(plan: &Plan<'_>, trainer: &dyn Trainer, observer: &dyn Observer, jobs: usize) -> Ran {
    let dir = TempDir::new().unwrap();
    let store = Store::create(dir.path()).unwrap();
    let snapshots = Snapshots { every: Every::Never, keep: false };
    let stop = &AtomicBool::new(false);
    let memory = u64::MAX;
    let runner = Runner {
        plan,
        store: &store,
        trainer,
        policy: POLICY,
        jobs,
        memory,
        snapshots,
        only: None,
        stop,
        observer,
    };
    runner.run().unwrap();
    Ran { _dir: dir, store }
}

fn golden(plan: &Plan<'_>, manifests: &[Option<Manifest>]) -> Golden {
    Golden::of(plan, &Table::of(plan, manifests), POLICY, fingerprint(manifests))
}

/// What is wrong with a store by `selffer audit`, which trains the networks again, with a sound trainer.
fn audited(context: &Context<'_>, again: Again) -> Vec<Finding> {
    let trainer = &Torch::new(numerics());
    let (stop, observer) = (&AtomicBool::new(false), &Unobserved);
    let (policy, memory) = (POLICY, u64::MAX);
    let prover = Prover { trainer, policy, again, margin: 0.01, jobs: 1, memory, stop, observer };
    prover.prove(context).unwrap().1
}

/// What the experiment comes to without a fault.
struct Clean {
    records: Vec<String>,
    golden: Golden,
}

fn clean() -> &'static Clean {
    static CLEAN: OnceLock<Clean> = OnceLock::new();
    CLEAN.get_or_init(|| {
        let protocol = protocol(1);
        let plan = Plan::make(&protocol, catalog()).unwrap();
        let ran = run(&plan, &Torch::new(numerics()), &Unobserved, 1);
        let context = Context::new(&plan, &ran.store, POLICY).unwrap();
        assert_eq!(verify(&context).unwrap().findings, []);
        Clean { records: records(&context.manifests), golden: golden(&plan, &context.manifests) }
    })
}

/// All that is recorded of each network but what it was made by, where and when.
fn records(manifests: &[Option<Manifest>]) -> Vec<String> {
    let record = |manifest: &Option<Manifest>| {
        let parts = manifest
            .as_ref()
            .map(|manifest| (manifest.initial, &manifest.epochs, &manifest.outcome, &manifest.ledger));
        format!("{parts:?}")
    };
    manifests.iter().map(record).collect()
}

/// What caught a fault first.
struct Caught {
    by: &'static str,
    codes: BTreeSet<Code>,
}

fn caught(by: &'static str, findings: impl IntoIterator<Item = Finding>) -> Option<Caught> {
    let codes: BTreeSet<Code> = findings.into_iter().map(|finding| finding.code).collect();
    (!codes.is_empty()).then_some(Caught { by, codes })
}

/// Runs the experiment with a fault. What caught it; else why it is no planted fault, or a missed one.
fn judge(fault: Fault) -> Result<Caught, &'static str> {
    let protocol = protocol(1);
    let mut data = data().clone();
    if fault == Fault::ValidInData {
        let size = data.valid.size();
        let at = |labels: &[u16]| size * labels.iter().position(|label| *label == 0).expect("class 0");
        let (from, to) = (at(&data.valid.labels), at(&data.train.labels));
        let valid = data.valid.bytes().unwrap()[from..from + size].to_vec();
        data.train.bytes_mut().unwrap()[to..to + size].copy_from_slice(&valid);
    }
    let other_data = (fault == Fault::ValidInData).then(|| Catalog::of(data.clone()));
    let mut plan = Plan::make(&protocol, other_data.as_ref().unwrap_or(catalog())).unwrap();
    if fault == Fault::OwnBase {
        for index in 0..plan.runs.len() {
            let treatment = plan.runs[index].treatment;
            if matches!(treatment.kind(), Kind::Transfer | Kind::TransferTuned) {
                let own = Treatment::Base(treatment.target());
                plan.runs[index].parent = plan.runs.iter().position(|run| run.treatment == own);
            }
        }
    }
    let planted = Planted::new(fault);
    let faulty = Faulty { planted: Arc::clone(&planted), plan: &plan, numerics: numerics() };
    let ran = run(&plan, &faulty, &faulty, 1);
    let context = Context::new(&plan, &ran.store, POLICY).unwrap();
    if records(&context.manifests) == clean().records {
        return Err("it changes nothing");
    }

    let threads = rayon::ThreadPoolBuilder::new().num_threads(1).start_handler(move |_| plant(&planted));
    let report = threads.build().unwrap().install(|| verify(&context)).unwrap();
    let against_golden = || {
        let now = golden(&plan, &context.manifests);
        let golden = &clean().golden;
        let differences = golden.differences(&now);
        let inputs = golden.inputs_finding(&now, true, "golden");
        inputs.into_iter().chain(differences.into_iter().map(|difference| difference.finding()))
    };
    // Whether a network fails to learn for a fault is luck, and says nothing of what is wrong.
    let tells = |finding: &Finding| !matches!(finding.code, Code::RunAtChance | Code::LossNotFinite);
    caught("`verify`", report.findings.into_iter().filter(tells))
        .or_else(|| caught("golden", against_golden()))
        .or_else(|| caught("`audit`", audited(&context, Again::Everything)))
        .ok_or("nothing caught it")
}

/// The page of faults.
fn page(all: &[(Fault, Caught)]) -> String {
    let count = |by: &str| all.iter().filter(|(_, caught)| caught.by == by).count();
    let mut page = format!(
        "# Planted faults

Generated by the test `every_fault_is_caught` in `src/faults/tests.rs`; do not edit. To write it anew:
`SELFFER_WRITE_FAULTS=1 cargo test --release --lib faults`.

Each fault is a bug that an experiment like this could have. Tests put it into the code or around the training loop, run a small
experiment of 15 networks on real images with it, and hold the store against `selffer verify`, then against the golden snapshot
of a run without faults, then against `selffer audit --full` with sound code. The table has the first that finds something, and
all that it finds. Every digest in these stores fits: the computation was wrong, no file was damaged.

A fault in code that `verify` shares with training (first weights, orders) stays in while `verify` draws anew, as a real bug
would. That a network did not learn (`run-at-chance`, `loss-not-finite`) does not count for `verify` here: with a fault, it is luck.
What moves a weight the golden catches at the latest; recorded numbers that it does not have, `audit` computes again. No line says
anything of a bug that was there before the golden was accepted.

Of {} faults `verify` caught {}, the golden {} and `audit` {}.

| fault | what is wrong | caught by | as |
|---|---|---|---|
",
        all.len(),
        count("`verify`"),
        count("golden"),
        count("`audit`")
    );
    for (fault, Caught { by, codes }) in all {
        let codes: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
        writeln!(page, "| `{}` | {} | {by} | {} |", fault.name(), fault.wrong(), codes.join(", ")).unwrap();
    }
    page
}

#[test]
fn every_fault_is_caught() {
    clean();
    let judged: Vec<_> = Fault::ALL.par_iter().map(|fault| (*fault, judge(*fault))).collect();
    let missed: Vec<_> =
        judged.iter().filter_map(|(fault, judged)| Some((fault.name(), judged.as_ref().err()?))).collect();
    assert!(missed.is_empty(), "{missed:?}");
    let all: Vec<_> = judged.into_iter().filter_map(|(fault, judged)| Some((fault, judged.ok()?))).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/FAULTS.md");
    let page = page(&all);
    if std::env::var_os("SELFFER_WRITE_FAULTS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == page,
        "FAULTS.md is not what came out; its first lines say how to write it anew:\n{page}"
    );
}

#[test]
fn ten_clean_runs_raise_nothing() {
    for seed in 1..=10 {
        let protocol = protocol(seed);
        let plan = Plan::make(&protocol, catalog()).unwrap();
        let ran = run(&plan, &Torch::new(numerics()), &Unobserved, 1 + seed as usize % 3);
        let context = Context::new(&plan, &ran.store, POLICY).unwrap();
        // The checks of `verify`, every checkpoint evaluated, and two networks trained again.
        assert_eq!(audited(&context, Again::Sample { networks: 2, seed }), [], "seed {seed}");
        if seed == 1 {
            let golden = golden(&plan, &context.manifests);
            assert_eq!(clean().golden.differences(&golden), []);
            assert_eq!(clean().golden.inputs_finding(&golden, true, "golden"), None);
        }
    }
}

#[test]
fn faults_have_names_of_their_own() {
    let names: BTreeSet<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
    assert_eq!(names.len(), Fault::ALL.len());
    assert!(names.len() >= 20);
}
