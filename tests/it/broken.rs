//! Every finding is seen: each code has a fixture under `fixtures/broken/` that changes the good store
//! and comes out as that code and no other. README.md there explains the words that fixtures are
//! written in; this module is what they mean.

use crate::common::{
    copy, files, good_copy, good_store, on_store, protocol, repository, scratch, selffer, with_plan,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use selffer::architecture::NAMES;
use selffer::data::{Dataset, Part};
use selffer::digest::{Digest, FingerprintDigest, LayerDigest, SplitDigest};
use selffer::init::initial;
use selffer::manifest::{Count, Manifest, Outcome};
use selffer::plan::Plan;
use selffer::protocol::DataSource;
use selffer::recipe::Policy;
use selffer::split::Split;
use selffer::store::{Entry, Store};
use selffer::verify::golden::{Golden, Scope};
use selffer::verify::{Code, Context, Severity, of_record, verify};
use selffer::weights::{LayerDigests, Weights};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// A fixture file: one code, and ways to come by it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    case: Vec<Case>,
}

/// One way.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Case {
    /// What is wrong, in words.
    what: String,
    /// Which command is to notice.
    #[serde(default)]
    by: By,
    /// Further options of an audit.
    #[serde(default)]
    options: Vec<String>,
    /// The numerics of what is trained anew.
    numerics: Option<String>,
    /// Changes of the protocol. Where there are any, the store is trained anew with it.
    protocol: Option<toml::Table>,
    /// Changes of the images. Where there are any, the store is trained anew with them.
    #[serde(default)]
    images: Vec<ImageChange>,
    /// Changes of the store.
    #[serde(default)]
    store: Vec<Change>,
    /// Changes of the golden snapshot, which is otherwise that of the good store.
    #[serde(default)]
    golden: Vec<GoldenChange>,
    /// What the findings of the fixture's code are to name: these and no others.
    subjects: BTreeSet<String>,
    /// The codes that cannot but come along.
    #[serde(default)]
    also: BTreeSet<String>,
    /// What an audit is to say of the whole.
    verdict: Option<String>,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum By {
    #[default]
    Verify,
    Reproduce,
    /// `verify`, after `reproduce` was called twice.
    VerifyLater,
    GoldenCheck,
    /// `audit`, which evaluates every checkpoint, with the case's options.
    Audit,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageChange {
    copy: String,
    over: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
enum Change {
    Flip {
        file: String,
        byte: usize,
    },
    Delete(String),
    Add {
        file: String,
        text: String,
    },
    Set {
        run: String,
        at: String,
        value: Value,
    },
    Copy {
        run: String,
        at: String,
        from_run: String,
        from_at: String,
    },
    Graft {
        run: String,
        layer: String,
        from: String,
        start_too: bool,
    },
    Fill {
        run: String,
        layer: String,
        value: f32,
    },
    Nudge {
        run: String,
        layer: String,
    },
    Scale {
        run: String,
        layer: String,
        factor: f32,
    },
    Transpose {
        run: String,
        layer: String,
    },
    MoveClass {
        split: String,
        class: String,
        renamed: bool,
    },
    /// All of it was trained on a machine that computes otherwise.
    Elsewhere,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum GoldenChange {
    Remove,
    Correct {
        run: String,
        correct: u32,
    },
    Weights {
        run: String,
        like: String,
    },
    Drop(String),
    Add {
        run: String,
        like: String,
    },
    Input {
        key: String,
        value: String,
    },
    /// Made on a machine that computes otherwise.
    Elsewhere,
}

/// A store that a case changes, with what it was trained by.
struct World {
    _dir: TempDir,
    protocol: PathBuf,
    store: PathBuf,
    golden: PathBuf,
    // By run: the manifest as it is now.
    manifests: BTreeMap<String, Manifest>,
    // By name: where the split's file is now.
    splits: BTreeMap<String, PathBuf>,
}

impl World {
    /// The good store, or one that is trained anew where the case changes protocol or images.
    fn new(case: &Case) -> Self {
        let (dir, protocol_path) = match (&case.protocol, case.images.as_slice()) {
            (None, []) => (good_copy().0, protocol()),
            (changes, images) => {
                let dir = scratch();
                let text = fs::read_to_string(protocol()).unwrap();
                let mut table: toml::Table = text.parse().unwrap();
                merge(&mut table, changes.clone().unwrap_or_default());
                if !images.is_empty() {
                    write_images(&dir.path().join("data"), images);
                    let idx = toml::Table::from_iter([("idx".to_owned(), "data".into())]);
                    table.insert("data".to_owned(), idx.into());
                }
                let path = dir.path().join("protocol.toml");
                fs::write(&path, table.to_string()).unwrap();
                let numerics = case.numerics.as_deref().unwrap_or("portable");
                let train = ["reproduce", "--jobs", "1", "-q", "--no-report", "--numerics", numerics];
                let ran = on_store(&train, &path, &dir.path().join("store"));
                assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
                (dir, path)
            }
        };
        let store = dir.path().join("store");
        let (mut manifests, mut splits) = (BTreeMap::new(), BTreeMap::new());
        for (path, bytes) in files(&store) {
            if path.starts_with("manifests") {
                let manifest = Manifest::from_bytes(&bytes).unwrap();
                manifests.insert(manifest.run.clone(), manifest);
            } else if path.starts_with("splits") {
                let split: Split = serde_json::from_slice(&bytes).unwrap();
                splits.insert(split.name, store.join(path));
            }
        }
        let golden = dir.path().join("golden");
        Self { _dir: dir, protocol: protocol_path, store, golden, manifests, splits }
    }

    fn manifest(&self, run: &str) -> &Manifest {
        self.manifests.get(run).unwrap_or_else(|| panic!("the good store has no run {run}"))
    }

    fn layers(&self, run: &str) -> LayerDigests {
        *self.manifest(run).trained().expect("a run that was trained")
    }

    fn open(&self) -> Store {
        Store::open(&self.store).unwrap()
    }

    /// The path that a fixture means by `manifest:RUN`, `checkpoint:RUN`, `split:NAME`, `golden:` or, below
    /// the store, `file:PATH`; none where it means a plain text.
    fn path(&self, text: &str) -> Option<PathBuf> {
        let (kind, name) = text.split_once(':')?;
        Some(match kind {
            "manifest" => self.open().path(&Entry::Manifest(self.manifest(name).recipe_digest())),
            "checkpoint" => self.open().path(&Entry::Checkpoint(self.layers(name).whole())),
            "split" => self.splits[name].clone(),
            "golden" => self.golden.join(Scope::new("store", Policy::Portable, None).file_name()),
            "file" => self.store.join(name),
            _ => panic!("{text} names no kind of file"),
        })
    }

    /// Writes a manifest with a seal of its own, so that nothing but its contents can give it away.
    fn put(&mut self, manifest: Manifest, run: &str) {
        assert_eq!(manifest.recipe, self.manifest(run).recipe, "another recipe is another run");
        self.open().put_manifest(&manifest).unwrap();
        self.manifests.insert(run.to_owned(), manifest);
    }

    /// Changes a manifest as JSON and seals it again.
    fn edit(&mut self, run: &str, at: &str, value: Value) {
        let mut json = serde_json::to_value(self.manifest(run)).unwrap();
        let place = json.pointer_mut(at).unwrap_or_else(|| panic!("the manifest of {run} has no {at}"));
        assert_ne!(*place, value, "{at} of {run} is that already");
        *place = value;
        self.put(serde_json::from_value(json).unwrap(), run);
    }

    fn weights(&self, run: &str) -> Weights {
        self.open().weights(self.layers(run).whole()).unwrap().whole().expect("a whole checkpoint")
    }

    /// The weights that a run began with.
    fn start(&self, run: &str) -> Weights {
        with_plan(&self.protocol, |plan| {
            let planned = plan.runs.iter().find(|planned| plan.name(planned) == run).expect("a planned run");
            let parent = planned.parent.map(|parent| self.weights(&plan.name(&plan.runs[parent])));
            initial(&self.manifest(run).recipe, &plan.shapes(planned), parent.as_ref())
        })
    }

    /// Replaces a run's weights, in its checkpoint and in its manifest: every digest fits.
    fn reweigh(&mut self, run: &str, change: impl FnOnce(&mut Weights)) {
        let nobody_copies = |other: &Manifest| other.recipe.parent != Some(self.layers(run).whole());
        assert!(self.manifests.values().all(nobody_copies), "other runs copy from {run}");
        let mut weights = self.weights(run);
        change(&mut weights);
        let old = self.path(&format!("checkpoint:{run}")).unwrap();
        self.open().put_weights(&weights).unwrap();
        let mut manifest = self.manifest(run).clone();
        manifest.outcome = Outcome::Trained { layers: weights.digests() };
        self.put(manifest, run);
        assert_ne!(self.path(&format!("checkpoint:{run}")).unwrap(), old, "the weights did not change");
        fs::remove_file(old).unwrap();
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Flip { file, byte } => {
                let path = self.path(file).expect("a file");
                let mut bytes = fs::read(&path).unwrap();
                bytes[*byte] ^= 1;
                fs::write(path, bytes).unwrap();
            }
            Change::Delete(file) => fs::remove_file(self.path(file).expect("a file")).unwrap(),
            Change::Add { file, text } => fs::write(self.path(file).expect("a file"), text).unwrap(),
            Change::Set { run, at, value } => self.edit(run, at, value.clone()),
            Change::Copy { run, at, from_run, from_at } => {
                let from = serde_json::to_value(self.manifest(from_run)).unwrap();
                self.edit(run, at, from.pointer(from_at).expect("a place in the manifest").clone());
            }
            Change::Graft { run, layer, from, start_too } => {
                let index = layer_index(layer);
                let source = match from.strip_prefix("start of ") {
                    Some(other) => self.start(other),
                    None => self.weights(from),
                };
                self.reweigh(run, |weights| weights.layers[index] = source.layers[index].clone());
                if *start_too {
                    let LayerDigests(layers) = self.layers(run);
                    self.edit(run, &format!("/initial/{index}"), digest(layers[index]));
                }
            }
            Change::Fill { run, layer, value } => {
                let index = layer_index(layer);
                self.reweigh(run, |weights| weights.layers[index].bias.values.fill(*value));
            }
            Change::Nudge { run, layer } => {
                let index = layer_index(layer);
                self.reweigh(run, |weights| {
                    let value = &mut weights.layers[index].bias.values[0];
                    *value = f32::from_bits(value.to_bits() ^ 1);
                });
            }
            Change::Scale { run, layer, factor } => {
                let index = layer_index(layer);
                self.reweigh(run, |weights| {
                    weights.layers[index].weight.values.iter_mut().for_each(|value| *value *= factor);
                });
            }
            Change::Transpose { run, layer } => {
                let index = layer_index(layer);
                self.reweigh(run, |weights| weights.layers[index].weight.shape.swap(0, 1));
            }
            Change::Elsewhere => {
                let runs: Vec<String> = self.manifests.keys().cloned().collect();
                let other = Digest::of(b"another machine").hex();
                runs.iter().for_each(|run| self.edit(run, "/environment/fingerprint", other.as_str().into()));
            }
            Change::MoveClass { split, class, renamed } => {
                let path = self.splits[split].clone();
                let moved = move_class(&path, class);
                let new = match renamed {
                    true => self.open().path(&Entry::Split(moved.digest())),
                    false => path.clone(),
                };
                fs::remove_file(path).unwrap();
                fs::write(&new, moved.to_bytes()).unwrap();
                self.splits.insert(split.clone(), new);
            }
        }
    }

    /// Writes the golden snapshot that the case wants.
    fn write_golden(&self, changes: &[GoldenChange]) {
        fs::create_dir_all(&self.golden).unwrap();
        let mut golden = good_golden().clone();
        for change in changes {
            match change {
                GoldenChange::Remove => return,
                GoldenChange::Correct { run, correct } => {
                    let count = &mut golden.runs.get_mut(run).expect("a run").count;
                    assert_ne!(count.correct, *correct);
                    *count = Count { correct: *correct, total: count.total };
                }
                GoldenChange::Weights { run, like } => {
                    let weights = golden.runs[like].weights;
                    golden.runs.get_mut(run).expect("a run").weights = weights;
                }
                GoldenChange::Drop(run) => assert!(golden.runs.remove(run).is_some()),
                GoldenChange::Add { run, like } => {
                    let entry = golden.runs[like];
                    assert!(golden.runs.insert(run.clone(), entry).is_none());
                }
                GoldenChange::Elsewhere => {
                    golden.fingerprint = Some(FingerprintDigest(Digest::of(b"elsewhere")));
                }
                GoldenChange::Input { key, value } => {
                    let input = golden.inputs.iter_mut().find(|(known, _)| known == key);
                    input.expect("an input").1.clone_from(value);
                }
            }
        }
        let environment = &self.manifests.values().next().expect("a run").environment;
        golden
            .write(&self.golden, &Scope::new("store", Policy::Portable, None), "a test", environment)
            .unwrap();
    }

    /// The codes and subjects of what the case's command finds.
    fn findings(&self, case: &Case) -> Vec<(String, String)> {
        let command: &[&str] = match case.by {
            By::Verify => return verified(&self.protocol, &self.store),
            By::VerifyLater => {
                for _ in 0..2 {
                    let train = ["reproduce", "-q", "--jobs", "1", "--no-report"];
                    on_store(&train, &self.protocol, &self.store).expect(1);
                }
                return verified(&self.protocol, &self.store);
            }
            By::Reproduce => &["reproduce", "-q", "--jobs", "1", "--no-report"],
            By::GoldenCheck => &["golden", "check"],
            By::Audit => return self.audited(case),
        };
        let golden = self.golden.to_str().unwrap();
        let ran = on_store(&[command, &["--golden", golden]].concat(), &self.protocol, &self.store);
        let findings = ran.findings();
        let json = ran.json();
        let mut severities = json["findings"].as_array().unwrap().iter().map(|finding| &finding["severity"]);
        let wrong = severities.any(|severity| severity == "error");
        ran.expect(i32::from(wrong));
        findings
    }
}

impl World {
    /// What an audit finds in the store, but for what the paper's claims come to on such little networks.
    fn audited(&self, case: &Case) -> Vec<(String, String)> {
        let mut call = selffer(["audit", "-q", "--format", "json", "--protocol"]);
        call.arg(&self.protocol).arg(&self.store).args(&case.options);
        let ran = crate::common::run(call);
        let mut findings = ran.findings();
        findings.retain(|(code, _)| code != "claim-refuted");
        let ran = ran.expect(i32::from(!findings.is_empty()));
        let verdict = case.verdict.as_deref().expect("the verdict of an audit");
        assert_eq!(ran.json()["proof"]["verdict"], verdict, "{}: {}", case.what, ran.json()["proof"]);
        findings
    }
}

fn layer_index(name: &str) -> usize {
    NAMES.iter().position(|known| *known == name).unwrap_or_else(|| panic!("there is no layer {name}"))
}

fn digest(layer: LayerDigest) -> Value {
    Value::String(layer.hex())
}

fn code(name: &str) -> Code {
    *Code::ALL.iter().find(|code| code.name() == name).unwrap_or_else(|| panic!("there is no code {name}"))
}

/// Puts `changes` over `table`, table by table; lists are replaced whole.
fn merge(table: &mut toml::Table, changes: toml::Table) {
    for (key, value) in changes {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// The embedded data with changes, as a directory of IDX files.
fn write_images(dir: &Path, changes: &[ImageChange]) {
    let mut data = Dataset::read(&DataSource::Embedded).unwrap();
    // `train digit-0 3` is the fourth training image of that class.
    let find = |data: &Dataset, text: &str| {
        let [part, class, index] = text.split(' ').collect::<Vec<_>>().try_into().expect("three words");
        let part = Part::BOTH.into_iter().find(|known| known.to_string() == part).expect("train or valid");
        let class = data.classes.iter().position(|known| known == class).expect("a class") as u16;
        let labels = data.part(part).labels.iter().enumerate();
        let mut images = labels.filter(|(_, label)| **label == class).map(|(at, _)| at);
        (part, images.nth(index.parse().unwrap()).expect("an image"))
    };
    for ImageChange { copy, over } in changes {
        let (from, to) = (find(&data, copy), find(&data, over));
        let pixels = data.part(from.0).image(from.1).unwrap().to_vec();
        let part = match to.0 {
            Part::Train => &mut data.train,
            Part::Valid => &mut data.valid,
        };
        let size = pixels.len();
        part.bytes_mut().unwrap()[to.1 * size..(to.1 + 1) * size].copy_from_slice(&pixels);
    }
    crate::wrong::write_idx(dir, &data);
}

/// A split with one class in the other task.
fn move_class(path: &Path, name: &str) -> Split {
    let mut split: Split = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let place = |classes: &[selffer::split::Class]| classes.iter().position(|class| class.name == name);
    if let Some(at) = place(&split.a) {
        let class = split.a.remove(at);
        split.b.push(class);
    } else {
        let at = place(&split.b).expect("a class of the split");
        let class = split.b.remove(at);
        split.a.push(class);
    }
    split
}

/// The golden snapshot of the good store.
fn good_golden() -> &'static Golden {
    static GOLDEN: OnceLock<Golden> = OnceLock::new();
    GOLDEN.get_or_init(|| {
        let dir = scratch();
        let path = dir.path().to_str().unwrap();
        let accept = ["golden", "accept", "--reason", "a test", "--golden", path];
        on_store(&accept, &protocol(), good_store()).expect(0);
        let (_, golden) =
            Golden::find(Some(dir.path()), &Scope::new("store", Policy::Portable, None)).unwrap().unwrap();
        golden
    })
}

/// The codes and subjects of what [`verify`] finds.
fn found(plan: &Plan<'_>, store: &Path) -> Vec<(String, String)> {
    let store = Store::open(store).unwrap();
    let report = verify(&Context::new(plan, &store, Policy::Portable).unwrap()).unwrap();
    report.findings.into_iter().map(|finding| (finding.code.name().to_owned(), finding.subject)).collect()
}

fn verified(protocol: &Path, store: &Path) -> Vec<(String, String)> {
    with_plan(protocol, |plan| found(plan, store))
}

/// Runs the fixture of one code.
fn try_fixture(code: Code) {
    let path = repository("fixtures/broken").join(format!("{code}.toml"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(text.starts_with("# "), "{} is to say what it does in a comment", path.display());
    let fixture: Fixture = toml::from_str(&text).unwrap_or_else(|error| panic!("{code}: {error}"));
    for case in &fixture.case {
        let mut world = World::new(case);
        // Named before a change may take the file away, except those that a change puts in place.
        let subject = |world: &World, text: &String| {
            world.path(text).map_or_else(|| text.clone(), |path| path.display().to_string())
        };
        let before: BTreeSet<String> = case.subjects.iter().map(|text| subject(&world, text)).collect();
        for change in &case.store {
            world.apply(change);
        }
        let after: BTreeSet<String> = case.subjects.iter().map(|text| subject(&world, text)).collect();
        world.write_golden(&case.golden);
        let findings = world.findings(case);

        let codes: BTreeSet<&str> = findings.iter().map(|(code, _)| code.as_str()).collect();
        let mut expected: BTreeSet<&str> = case.also.iter().map(String::as_str).collect();
        expected.insert(code.name());
        assert_eq!(codes, expected, "{code}, {}: {findings:#?}", case.what);
        let named: BTreeSet<String> = findings
            .iter()
            .filter(|(name, _)| name == code.name())
            .map(|(_, subject)| subject.clone())
            .collect();
        assert!(named == before || named == after, "{code}, {}: it named {named:?}", case.what);
    }
}

macro_rules! fixtures {
    ($($test:ident)*) => {
        /// The codes that a test below tries.
        const TRIED: &[&str] = &[$(stringify!($test),)*];

        $(#[test]
        fn $test() {
            try_fixture(code(&stringify!($test).replace('_', "-")));
        })*
    };
}

// A test for each code, so that a failure has its name and they run beside one another.
fixtures! {
    file_damaged file_stray split_missing run_missing checkpoint_missing run_misnamed run_barred class_moved
    image_in_both_tasks image_in_train_and_validation image_in_two_classes prefix_not_copied frozen_moved trained_unmoved
    filters_random fresh_differs top_not_shared top_not_independent random_shared order_differs ledger_differs
    epochs_differ
    count_impossible shape_differs weights_shared weights_not_finite loss_not_finite run_at_chance retrained_differently retrained_family_differs
    record_differs evaluated_differently
    golden_absent golden_inputs_differ golden_accuracy_differs golden_weights_differ golden_family_differs golden_undecided
    golden_run_missing
    golden_run_new
}

/// A random control that guesses is what the paper saw, and a network on few images may: neither is an error.
#[test]
fn a_random_control_at_chance_is_a_note_and_another_network_an_error() {
    with_plan(&protocol(), |plan| {
        let store = Store::open(good_store()).unwrap();
        let context = Context::new(plan, &store, Policy::Portable).unwrap();
        for (index, manifest) in context.manifests.iter().enumerate() {
            let mut manifest = manifest.clone().unwrap();
            let valid = &mut manifest.epochs.last_mut().unwrap().valid;
            valid.correct = valid.total / plan.classes(&plan.runs[index]).len() as u32;
            let found = of_record(plan, &store, index, &manifest);
            let name = plan.name(&plan.runs[index]);
            let random = name.contains("/R");
            let severity = if random { Severity::Note } else { Severity::Error };
            let found: Vec<_> =
                found.iter().map(|one| (one.code, one.severity, one.subject.as_str())).collect();
            assert_eq!(found, [(Code::RunAtChance, severity, name.as_str())]);
        }
        let index = plan.runs.iter().position(|run| plan.name(run) == "mixed/1/R1B").unwrap();
        let mut manifest = context.manifests[index].clone().unwrap();
        manifest.epochs.last_mut().unwrap().valid.correct = 31;
        // Of 80 images and four classes: 20, and three deviations of 3.87.
        let says =
            "31 of 80 images are right; guessing gives 20, and by chance up to 31 (3 standard deviations)";
        assert_eq!(of_record(plan, &store, index, &manifest)[0].message, says);
        manifest.epochs.last_mut().unwrap().valid.correct = 32;
        assert_eq!(of_record(plan, &store, index, &manifest), []);
    });
}

#[test]
fn every_code_has_a_fixture_a_test_and_a_description() {
    let all: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(all.len(), Code::ALL.len(), "two codes share a name");
    // Those of archives have fixtures of their own, in `audit`; one code is of both.
    let of_store = Code::ALL.iter().filter(|code| !code.of_archive() || **code == Code::RunAtChance);
    let codes: BTreeSet<String> = of_store.map(|code| code.name().to_owned()).collect();
    let tried: BTreeSet<String> = TRIED.iter().map(|test| test.replace('_', "-")).collect();
    assert_eq!(tried, codes);
    let mut fixtures = BTreeSet::new();
    for entry in fs::read_dir(repository("fixtures/broken")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        match name.strip_suffix(".toml") {
            Some("store") => {}
            Some(code) => assert!(fixtures.insert(code.to_owned())),
            None => assert!(["README.md", "archive"].contains(&name), "what is {name}?"),
        }
    }
    assert_eq!(fixtures, codes);
    for code in Code::ALL {
        let description = code.description();
        assert!(description.ends_with('.') && description.len() > 20, "{code}: `{description}`");
    }
}

#[test]
fn the_good_store_is_clean_and_of_every_kind() {
    let ran = on_store(&["verify"], &protocol(), good_store()).expect(0);
    assert_eq!(ran.findings(), []);
    for check in ran.json()["checked"].as_array().expect("a list of checks") {
        assert!(check["compared"].as_u64() > Some(0), "{check} compared nothing");
    }
    let kinds: BTreeSet<_> = files(good_store())
        .into_iter()
        .filter(|(path, _)| path.starts_with("manifests"))
        .map(|(_, bytes)| Manifest::from_bytes(&bytes).unwrap().recipe.treatment.kind())
        .collect();
    assert_eq!(kinds.len(), 6, "{kinds:?}");
}

/// One byte of one file, anywhere, changed to anything: `verify` says which file. The offsets are other
/// ones in each run of the tests; a failure says which.
#[test]
fn any_byte_of_any_file_counts() {
    let (_dir, store) = good_copy();
    let all = files(&store);
    let counts = |sub: &str| all.keys().filter(|path| path.starts_with(sub)).count();
    assert_eq!([counts("splits"), counts("manifests"), counts("checkpoints")], [4, 23, 23]);
    // Claims say who trained, and a report shows what the rest holds: no result rests on either.
    let others = ["claims", "report"];
    with_plan(&protocol(), |plan| any_byte(plan, &store, all, &others));
    on_store(&["verify"], &protocol(), &store).expect(0);
}

/// The same by the library, and for one file of each kind by the program as well.
fn any_byte(plan: &Plan<'_>, store: &Path, all: BTreeMap<PathBuf, Vec<u8>>, others: &[&str]) {
    let mut kinds = BTreeSet::new();
    for (relative, bytes) in all {
        if others.iter().any(|other| relative.starts_with(other)) {
            continue;
        }
        // Locks hold nothing; what a byte in them means has a test of its own.
        if bytes.is_empty() {
            assert!(relative.starts_with("locks") || relative == Path::new("new/writers"), "{relative:?}");
            continue;
        }
        let path = store.join(&relative);
        let first = kinds.insert(relative.parent().map(Path::to_owned));
        let config = Config { cases: 1, failure_persistence: None, ..Config::default() };
        let strategy = (0..bytes.len(), 1..=u8::MAX);
        let tried = TestRunner::new(config).run(&strategy, |(offset, mask)| {
            let mut changed = bytes.clone();
            changed[offset] ^= mask;
            fs::write(&path, changed).unwrap();
            let mark = relative == Path::new("selffer-store");
            let findings = if mark { Vec::new() } else { found(plan, store) };
            let ran = first.then(|| on_store(&["verify"], &protocol(), store));
            fs::write(&path, &bytes).unwrap();
            if mark {
                let ran = ran.expect("it is one of its kind");
                prop_assert_eq!(ran.code, Some(2));
                prop_assert!(ran.err.contains("selffer-store"), "{}", ran.err);
                return Ok(());
            }
            let damaged = ("file-damaged".to_owned(), path.display().to_string());
            prop_assert!(findings.contains(&damaged), "{findings:?}");
            if let Some(ran) = ran {
                prop_assert_eq!(ran.code, Some(1));
                prop_assert_eq!(ran.findings(), findings);
            }
            Ok(())
        });
        tried.unwrap_or_else(|error| panic!("{}: {error}", relative.display()));
    }
}

/// A lock file is empty; a byte put into it is a stray file.
#[test]
fn a_byte_in_a_lock_counts() {
    let (_dir, store) = good_copy();
    let all = files(&store);
    let lock = store.join(all.keys().find(|path| path.starts_with("locks")).expect("a lock"));
    fs::write(&lock, "x").unwrap();
    assert_eq!(verified(&protocol(), &store), [("file-stray".to_owned(), lock.display().to_string())]);
}

/// A class of each task of every split, put into the other task, is named: A's first where only the
/// file was changed, B's last where it was named anew as well, so that all its digests fit.
#[test]
fn any_class_that_moved_is_named() {
    for (path, bytes) in files(&good_store().join("splits")) {
        let split: Split = serde_json::from_slice(&bytes).unwrap();
        let named: SplitDigest = path.to_str().unwrap().strip_suffix(".json").unwrap().parse().unwrap();
        assert_eq!(split.digest(), named);
        // One of each task, and each way of writing it once.
        for (class, renamed) in split.a.first().into_iter().chain(split.b.last()).zip([false, true]) {
            let (_dir, store) = good_copy();
            let old = store.join("splits").join(&path);
            let moved = move_class(&old, &class.name);
            let new = match renamed {
                true => store.join("splits").join(format!("{}.json", moved.digest().hex())),
                false => old.clone(),
            };
            fs::remove_file(&old).unwrap();
            fs::write(&new, moved.to_bytes()).unwrap();
            let mut call = selffer(["verify"]);
            call.arg("--protocol").arg(protocol()).arg("--store").arg(&store);
            let ran = crate::common::run(call).expect(1);
            let said = format!("class {} of split {} is in task", class.name, split.name);
            assert!(ran.out.contains(&said), "{said}\n{}", ran.out);
            assert!(ran.out.contains(&new.display().to_string()), "{}", ran.out);
        }
    }
}

/// What fixtures rely on: the copy is a store like the good one.
#[test]
fn a_copied_store_is_as_clean() {
    let dir = scratch();
    copy(good_store(), &dir.path().join("store"));
    assert_eq!(verified(&protocol(), &dir.path().join("store")), []);
}

/// A manifest says what a network came to; without the network itself nothing is golden.
#[test]
fn a_golden_check_takes_no_manifest_s_word() {
    let (dir, store) = good_copy();
    let golden = dir.path().join("golden");
    let here = ["--golden", golden.to_str().unwrap()];
    let accept = ["golden", "accept", "--reason", "a test"];
    on_store(&[accept.as_slice(), &here].concat(), &protocol(), &store).expect(0);
    let check = [["golden", "check"], here].concat();
    assert_eq!(on_store(&check, &protocol(), &store).expect(0).findings(), []);
    let checkpoint = fs::read_dir(store.join("checkpoints")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(checkpoint).unwrap();
    let findings = on_store(&check, &protocol(), &store).expect(1).findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].0, "golden-run-missing");
}

/// Another protocol may have other halves under the same name, in the same store.
#[test]
fn two_protocols_share_a_store() {
    let (dir, store) = good_copy();
    let text = fs::read_to_string(protocol()).unwrap();
    let other = dir.path().join("other.toml");
    fs::write(&other, text.replace("random = 0", "random = 1").replace("\"store\"", "\"other\"")).unwrap();
    let ran = on_store(&["reproduce", "-q"], &other, &store).expect(0);
    assert!(ran.json()["trained"].as_u64() > Some(0), "{}", ran.out);
    assert_eq!(verified(&other, &store), []);
    assert_eq!(verified(&protocol(), &store), []);
}
