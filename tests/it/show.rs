//! `selffer show` and `selffer table` from outside: what they draw and print, and what they answer to mistakes.

use crate::common::{good_copy, good_store, protocol, run, scratch, selffer, sentence};
use selffer::digest::{Digest, WeightsDigest};
use selffer::manifest::{Manifest, Outcome};
use selffer::store::{Entry, Store};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

fn call(command: &[&str], store: &Path) -> Command {
    let mut call = selffer(command);
    call.arg("--protocol").arg(protocol()).arg("--store").arg(store);
    for name in ["LC_ALL", "LC_CTYPE", "LANG", "TERM", "NO_COLOR"] {
        call.env_remove(name);
    }
    call
}

fn utf8(command: &[&str], store: &Path) -> String {
    let mut call = call(command, store);
    call.env("LANG", "C.UTF-8");
    run(call).expect(0).out
}

fn show(name: &str, store: &Path) -> Value {
    run(call(&["show", name, "--format", "json"], store)).expect(0).json()
}

/// The manifest of a run of the good store, as the file has it.
fn manifest(store: &Path, name: &str) -> Manifest {
    let open = Store::open(store).unwrap();
    let (entries, _) = open.list().unwrap();
    let of = |entry: Entry| match entry {
        Entry::Manifest(digest) => open.manifest(digest).unwrap().whole(),
        _ => None,
    };
    entries.into_iter().filter_map(of).find(|manifest| manifest.run == name).unwrap()
}

#[test]
fn a_run_is_what_its_manifest_says() {
    let store = good_store();
    let (base, run_) = (manifest(store, "mixed/1/baseA"), manifest(store, "mixed/1/A4B"));
    let shown = show("mixed/1/A4B", store);
    let open = Store::open(store).unwrap();
    assert_eq!(shown["run"], "mixed/1/A4B");
    assert_eq!(shown["recipe"], serde_json::to_value(&run_.recipe).unwrap());
    assert_eq!(shown["recipe_digest"], run_.recipe_digest().hex());
    let parent = base.trained().unwrap().whole();
    assert_eq!(shown["parent"], serde_json::json!({"run": "mixed/1/baseA", "weights": parent.hex()}));
    assert_eq!(shown["epochs"], serde_json::to_value(&run_.epochs).unwrap());
    let Outcome::Trained { layers } = run_.outcome else { panic!("it was trained") };
    for (index, layer) in shown["layers"].as_array().unwrap().iter().enumerate() {
        assert_eq!(layer["began"], run_.initial.0[index].hex());
        assert_eq!(layer["ended"], layers.0[index].hex());
        // Four layers are frozen.
        assert_eq!(layer["began"] == layer["ended"], index < 4, "{layer}");
    }
    let path = |entry| open.path(&entry).display().to_string();
    assert_eq!(
        shown["files"],
        serde_json::json!({
            "manifest": path(Entry::Manifest(run_.recipe_digest())),
            "checkpoint": path(Entry::Checkpoint(layers.whole())),
            "checkpoint_is": "whole",
        })
    );
    assert_eq!(shown["ledger"]["entries"], run_.ledger.entries.len());
    assert_eq!(shown["environment"]["fingerprint"], run_.environment.fingerprint.hex());
    assert_eq!((&shown["outcome"], &shown["contradicts"]), (&"trained".into(), &Value::Null));
}

#[test]
fn a_digest_names_a_run_as_well() {
    let store = good_store();
    let run_ = manifest(store, "mixed/1/R1B");
    let (recipe, weights) = (run_.recipe_digest().hex(), run_.trained().unwrap().whole().hex());
    for name in [&recipe, &weights, &recipe[..12], &weights[..12], &weights[..12].to_uppercase()] {
        assert_eq!(show(name, store)["run"], "mixed/1/R1B", "{name}");
    }
}

#[test]
fn text_has_all_of_it_in_80_columns() {
    for (store, name) in [(good_store(), "mixed/1/A4B"), (good_store(), "whole/1/baseA")] {
        let run_ = manifest(store, name);
        let text = utf8(&["show", name], store);
        // Where the store lies is as long as it is.
        for line in text.lines().filter(|line| !line.contains(store.to_str().unwrap())) {
            assert!(line.chars().count() <= 80, "{line}");
            assert!(!line.contains('\x1b'), "{line}");
        }
        let lines: Vec<&str> = text.lines().collect();
        for (name, end) in [("manifest", ".json"), ("checkpoint", ".safetensors")] {
            let at = lines.iter().position(|line| line.trim_start().starts_with(name)).unwrap();
            let path = format!("{}{}", lines[at].split_whitespace().nth(1).unwrap(), lines[at + 1].trim());
            assert!(path.ends_with(end) && Path::new(&path).is_file(), "{path} in:\n{text}");
        }
        let count = run_.accuracy().unwrap();
        let digests = [run_.recipe_digest().hex(), run_.trained().unwrap().whole().hex()];
        for part in digests.into_iter().chain([
            format!("{} of {} validation images", count.correct, count.total),
            run_.environment.fingerprint.hex(),
            run_.ledger.entries.last().unwrap().hex(),
            format!("of {} training and {} validation images", run_.epochs[0].train.total, count.total),
            format!("{:.4}", run_.epochs[1].valid_loss),
        ]) {
            assert!(text.contains(&part), "{part} in:\n{text}");
        }
        // Two charts of two curves each.
        assert_eq!(text.matches("● training").count(), 2, "{text}");
        assert_eq!(text.matches("○ validation").count(), 2, "{text}");
    }
}

/// A narrow terminal, and words that are longer than usual.
#[test]
fn text_keeps_to_the_width_that_is_asked_for() {
    let text = utf8(&["show", "mixed/1/A4B", "--width", "80"], good_store());
    assert!(text.contains("rate outside the momentum, biases as weights"), "{text}");
    let narrow = utf8(&["show", "mixed/1/A4B", "--width", "44"], good_store());
    let words = |text: &str| {
        let recipe = text.split("recipe\n").nth(1).unwrap().split("\ntrained on").next().unwrap();
        recipe.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(words(&narrow), words(&text), "a word is lost");
    let short = |line: &&str| line.split_whitespace().all(|word| word.len() <= 24);
    let recipe = narrow.split("recipe\n").nth(1).unwrap().split("\ntrained on").next().unwrap();
    for line in recipe.lines().filter(short) {
        assert!(line.chars().count() <= 44, "{line}");
    }
}

#[test]
fn what_is_out_of_the_ordinary_is_shown() {
    let (_dir, store) = good_copy();
    let open = Store::open(&store).unwrap();
    let mut again = manifest(&store, "mixed/1/B4B");
    let before = WeightsDigest(Digest::of(b"before"));
    again.contradicts = Some(before);
    open.put_manifest(&again).unwrap();
    fs::remove_file(open.path(&Entry::Checkpoint(again.trained().unwrap().whole()))).unwrap();
    let mut diverged = manifest(&store, "mixed/1/R1B");
    diverged.outcome = Outcome::Diverged { epoch: 1, step: 3 };
    diverged.epochs.pop();
    open.put_manifest(&diverged).unwrap();
    let shown = show("mixed/1/B4B", &store);
    assert_eq!(shown["contradicts"], before.hex());
    assert_eq!(shown["files"]["checkpoint_is"], "missing");
    let text = utf8(&["show", "mixed/1/B4B"], &store);
    assert!(text.contains(&before.hex()) && text.contains("missing; `selffer reproduce`"), "{text}");
    let shown = show("mixed/1/R1B", &store);
    assert_eq!(shown["outcome"], "diverged");
    assert_eq!(shown["diverged_at"], serde_json::json!({"epoch": 1, "step": 3}));
    assert_eq!((&shown["weights"], &shown["accuracy"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&shown["files"]["checkpoint"], &shown["files"]["checkpoint_is"]),
        (&Value::Null, &"none".into())
    );
    let text = utf8(&["show", "mixed/1/R1B"], &store);
    assert!(text.contains("the loss was not finite in epoch 1, step 3"), "{text}");
}

#[test]
fn what_is_no_run_is_answered_with_the_nearest() {
    let store = good_store();
    let refuse = |name: &str, words: &[&str]| sentence(run(call(&["show", name], store)), words);
    refuse("mixed/1/A3B", &["is no run of the protocol", "mixed/1/A4B", "`selffer plan` lists all"]);
    // As people type it.
    refuse("MIXED/1/BASEb", &["the nearest are mixed/1/baseB, "]);
    refuse("a4b+", &["the nearest are mixed/1/A4B+, "]);
    refuse("A4B+", &["mixed/1/A4B+", "`selffer plan` lists all"]);
    refuse("mixed/2/baseA", &["mixed/1/baseA"]);
    refuse("", &["`selffer plan` lists all"]);
    // The digits of a digest, but of none that is there.
    refuse("00000000000000000000", &["no recipe's and no weights' digest", "begins so"]);
    let mut none = call(&["show", "mixed/1/A4B"], Path::new("/no/such/store"));
    sentence(run(none), &["/no/such/store"]);
    none = call(&["show", "mixed/1/A4B", "--numerics", "baseline"], store);
    sentence(run(none), &["is not trained yet", "mixed/1/baseA", "has networks of: --numerics portable"]);
}

#[test]
fn one_beginning_of_two_digests_is_no_name() {
    let (_dir, store) = good_copy();
    let open = Store::open(&store).unwrap();
    // Two runs that ended with the same weights.
    let [one, mut other] = ["mixed/1/A4B", "mixed/1/B4B"].map(|name| manifest(&store, name));
    other.outcome = one.outcome.clone();
    open.put_manifest(&other).unwrap();
    let weights = one.trained().unwrap().whole().hex();
    let ran = run(call(&["show", &weights], &store));
    sentence(ran, &["2 runs have a digest that begins so", "mixed/1/A4B", "mixed/1/B4B", "give more digits"]);
}

#[test]
fn a_run_that_is_not_there_yet_says_so() {
    let (_dir, store) = good_copy();
    let open = Store::open(&store).unwrap();
    let path = |name: &str| open.path(&Entry::Manifest(manifest(&store, name).recipe_digest()));
    let [treatment, base] = ["mixed/1/A4B", "mixed/1/baseB"].map(path);
    let says = |name: &str, words: &[&str]| sentence(run(call(&["show", name], &store)), words);
    fs::remove_file(&treatment).unwrap();
    says("mixed/1/A4B", &["mixed/1/A4B: is not trained yet in", "`selffer reproduce` trains it"]);
    fs::write(&treatment, "{}").unwrap();
    says("mixed/1/A4B", &["its manifest", "cannot be used", "`selffer reproduce` trains it again"]);
    fs::remove_file(&base).unwrap();
    says("mixed/1/B4B", &["is not trained yet, nor is mixed/1/baseB, which it copies from"]);
}

/// A curve's mark at its right end stands at the height of its last point.
#[test]
fn the_table_draws_every_curve() {
    let text = utf8(&["table", "--quiet"], good_store());
    let charts = text.split("of 80 images that are right").skip(1).collect::<Vec<_>>();
    // The block with two depths in each direction.
    assert_eq!(charts.len(), 2, "{text}");
    for name in ["○ BnB+", "● BnB", "■ AnB", "□ AnB+", "─ baseB"] {
        assert_eq!(charts[1].matches(name).count(), 1, "{name}: {text}");
    }
    assert!(charts[1].contains("n, layers that come from elsewhere"));
    for line in text.lines() {
        assert!(line.chars().count() <= 80 && !line.contains('\x1b'), "{line}");
    }
    // The tables follow, as they were.
    let tables = text.rfind("mixed, task A: baseA").expect("tables");
    assert!(text[tables..].contains("n =") && !text[tables..].contains('┤'), "{text}");
    for width in ["40", "60", "120"] {
        let text = utf8(&["table", "--quiet", "--width", width], good_store());
        let drawn = |line: &&str| line.contains('┤') || line.contains('│') || line.contains('└');
        let widest = text.lines().filter(drawn).map(|line| line.chars().count()).max().unwrap();
        assert_eq!(widest.to_string(), width, "{text}");
        // Titles as well; the tables are as wide as they are.
        let charts = &text[..text.find("mixed, task A: baseA").expect("tables")];
        assert!(charts.lines().all(|line| line.chars().count() <= widest), "{text}");
    }
}

#[test]
fn without_utf8_everything_is_ascii() {
    for locale in [
        &[][..],
        &[("LANG", "C")],
        &[("LANG", "C.UTF-8"), ("LC_ALL", "POSIX")],
        &[("LANG", "C.UTF-8"), ("TERM", "dumb")],
    ] {
        let mut call = call(&["table", "--quiet"], good_store());
        let text = run({
            call.envs(locale.iter().copied());
            call
        });
        let text = text.expect(0).out;
        assert!(text.is_ascii(), "{locale:?}\n{text}");
        assert!(text.contains("# AnB") && text.contains("x BnB+"), "{text}");
    }
}

#[test]
fn a_terminal_gets_colour_and_its_own_width() {
    // `script` gives a program a terminal; 60 columns are asked of it.
    if Command::new("script").arg("--version").output().is_err() {
        crate::common::say("NOT CHECKED: there is no `script` to give the program a terminal");
        return;
    }
    let on_terminal = |variables: &str| {
        let line = format!(
            "stty rows 24 cols 60; env -u LC_ALL -u LC_CTYPE -u NO_COLOR LANG=C.UTF-8 TERM=xterm {variables} {} table --quiet --protocol {} --store {}",
            env!("CARGO_BIN_EXE_selffer"),
            protocol().display(),
            good_store().display()
        );
        let dir = scratch();
        let output =
            Command::new("script").current_dir(&dir).args(["-qec", &line, "/dev/null"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().replace('\r', "")
    };
    let plain = on_terminal("NO_COLOR=1");
    assert!(!plain.contains('\x1b') && plain.contains('┤'), "{plain}");
    let drawn = |line: &&str| line.contains('┤') || line.contains('│');
    assert!(plain.lines().filter(drawn).all(|line| line.chars().count() <= 60), "{plain}");
    assert!(plain.contains("● BnB"));
    let coloured = on_terminal("");
    assert!(coloured.contains("\x1b[34m● BnB\x1b[0m"), "{coloured}");
}

#[test]
fn the_table_as_markdown() {
    let text = run(call(&["table", "--format", "md"], good_store())).expect(0).out;
    let json = run(call(&["table", "--format", "json"], good_store())).expect(0).json();
    let cell = |treatment: &str| {
        let cells = json["cells"].as_array().unwrap();
        let cell =
            cells.iter().find(|cell| cell["split"] == "mixed" && cell["treatment"] == treatment).unwrap();
        100.0 * cell["correct"].as_f64().unwrap() / cell["total"].as_f64().unwrap()
    };
    let base = cell("baseB");
    let change = |treatment: &str| format!("{:.1} ({:+.1})", cell(treatment), cell(treatment) - base);
    let row = format!("| `BnB` | {} | {} |", change("B1B"), change("B4B"));
    assert!(text.lines().any(|line| line.starts_with(row.trim_end_matches(" |"))), "{row} in:\n{text}");
    assert!(text.starts_with("**mixed, task A: baseA"), "{text}");
    // Every row of a table has as many cells as its header.
    for table in text.split("\n\n").filter(|part| part.starts_with('|')) {
        let bars: Vec<usize> = table.lines().map(|line| line.matches('|').count()).collect();
        assert!(bars.windows(2).all(|pair| pair[0] == pair[1]), "{table}");
    }
}

#[test]
fn a_width_that_is_none_is_a_wrong_option() {
    for width in ["39", "401", "wide"] {
        let ran = run(call(&["table", "--width", width], good_store())).expect(2);
        assert!(ran.err.contains("--width"), "{}", ran.err);
    }
}
