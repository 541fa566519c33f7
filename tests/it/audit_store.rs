//! `selffer audit STORE`: how far a store is proven, what is drawn to be trained again, and two results side
//! by side. What it finds in broken stores is in `broken`.

use crate::archive::{self, Size};
use crate::common::{
    Ran, files, good_copy, good_store, protocol, run, scratch, selffer, sentence, signal, wait_for,
};
use rustix::process::Signal;
use selffer::manifest::Manifest;
use selffer::store::Store;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

fn audit(store: &Path, options: &[&str]) -> Ran {
    let mut call = selffer(["audit", "--quiet", "--protocol"]);
    call.arg(protocol()).arg(store).args(options);
    run(call)
}

fn json(store: &Path, options: &[&str]) -> Value {
    audit(store, &[&["--format", "json"], options].concat()).expect(0).json()
}

/// The stage of that name.
fn stage<'a>(audit: &'a Value, name: &str) -> &'a Value {
    let stages = audit["proof"]["stages"].as_array().expect("stages");
    stages.iter().find(|stage| stage["stage"] == name).unwrap_or_else(|| panic!("no stage {name}"))
}

fn tried(audit: &Value) -> BTreeSet<String> {
    let trials = stage(audit, "retraining")["trials"].as_array().expect("trials");
    trials.iter().map(|trial| trial["run"].as_str().expect("a run").to_owned()).collect()
}

#[test]
fn a_good_store_is_bitwise_as_far_as_one_goes() {
    let audit = json(good_store(), &[]);
    assert_eq!(audit["source"], "store");
    assert_eq!(audit["proof"]["verdict"], "bitwise");
    assert_eq!(audit["proof"]["not_trained_again"], 23);
    let stages: Vec<&str> =
        audit["proof"]["stages"].as_array().unwrap().iter().map(|s| s["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["integrity", "invariants", "tables"]);
    let trials = stage(&audit, "tables")["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 23);
    assert!(trials.iter().all(|trial| trial["verdict"] == "bitwise"), "{trials:?}");
    // Evaluating gave the accuracies that the table has.
    let table = crate::common::on_store(&["table"], &protocol(), good_store()).expect(0).json();
    let cells = table["cells"].as_array().unwrap();
    assert_eq!(audit["runs"].as_array().unwrap().len(), cells.len());
    for (run, cell) in audit["runs"].as_array().unwrap().iter().zip(cells) {
        let share = cell["correct"].as_f64().unwrap() / cell["total"].as_f64().unwrap();
        assert_eq!(run["accuracy"].as_f64(), Some(share), "{run}");
    }

    let audit = json(good_store(), &["--full", "--jobs", "2"]);
    let retraining = stage(&audit, "retraining");
    assert_eq!(retraining["verdict"], "bitwise");
    assert_eq!(retraining["reason"], "of all 23 networks, trained again, 23 are the same to the last bit");
    assert_eq!(tried(&audit).len(), 23);
}

#[test]
fn a_sample_is_drawn_by_the_auditor_s_seed() {
    let sample = |count: &str, seed: &str| json(good_store(), &["--sample", count, "--seed", seed]);
    let first = sample("4", "1");
    assert_eq!(tried(&first).len(), 4);
    assert_eq!(json(good_store(), &["--sample", "4", "--seed", "1", "--jobs", "1"]), first);
    assert_ne!(tried(&sample("4", "2")), tried(&first));
    // A larger sample of one seed has the smaller in it.
    assert!(tried(&sample("5", "1")).is_superset(&tried(&first)));
    let reason = stage(&first, "retraining")["reason"].as_str().unwrap();
    // From tests/reference/equivalence.py: of 23, 4.
    assert!(reason.contains("were more than 11 of the 23 otherwise"), "{reason}");
    // There are no more than all, and then there is no rest to speak of.
    let all = sample("99", "1");
    assert_eq!(tried(&all).len(), 23);
    assert!(!stage(&all, "retraining")["reason"].as_str().unwrap().contains("were more than"));
}

#[test]
fn what_is_not_there_is_unverifiable_and_concludes_nothing() {
    let (_dir, store) = good_copy();
    let whole = json(&store, &[]);
    let manifest = files(&store.join("manifests"))
        .into_values()
        .map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap()["manifest"].clone())
        .find(|manifest| manifest["run"] == "mixed/1/baseB")
        .unwrap();
    // The checkpoint that those who copy from baseB name as their parent's.
    let parent = files(&store.join("manifests"))
        .into_values()
        .map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap()["manifest"]["recipe"].clone())
        .find(|recipe| recipe["treatment"] == "B1B" && recipe["split"] == manifest["recipe"]["split"])
        .unwrap()["parent"]
        .clone();
    fs::remove_file(store.join(format!("checkpoints/{}.safetensors", parent.as_str().unwrap()))).unwrap();
    let ran = audit(&store, &["--format", "json", "--full"]).expect(1);
    let broken = ran.json();
    assert_eq!(broken["proof"]["verdict"], "unverifiable");
    // baseB itself is trained again to the bits that its manifest names.
    for (stage_name, lost) in [("tables", 1), ("retraining", 5)] {
        let trials = stage(&broken, stage_name)["trials"].as_array().unwrap();
        let open: Vec<&Value> = trials.iter().filter(|trial| trial["verdict"] != "bitwise").collect();
        assert!(open.iter().all(|trial| trial["verdict"] == "unverifiable"), "{open:?}");
        assert_eq!(open.len(), lost, "{stage_name}: {open:?}");
    }
    // Only what was tried is counted as tried.
    for (stage_name, reason) in [
        (
            "tables",
            "of the checkpoints of 23 networks, evaluated here, 22 are the same to the last bit, 1 could not be tried",
        ),
        (
            "retraining",
            "of all 23 networks, trained again, 18 are the same to the last bit, 5 could not be tried",
        ),
    ] {
        assert_eq!(stage(&broken, stage_name)["reason"], reason);
        let trials = stage(&broken, stage_name)["trials"].as_array().unwrap();
        assert!(trials.iter().all(|trial| trial["tried"] == (trial["verdict"] == "bitwise")), "{trials:?}");
    }
    assert_eq!(broken["proof"]["not_trained_again"], 5);
    let runs = |audit: &Value| audit["runs"].as_array().unwrap().len();
    assert_eq!(runs(&broken), runs(&whole) - 1);
}

#[test]
fn every_format_has_the_proof() {
    let text = audit(good_store(), &[]).expect(0).out;
    let first = "Proof, stage by stage: networks of portable numerics, computed here under the same\n  Bitwise      integrity ";
    assert!(text.contains(first), "{text}");
    assert!(text.contains("  as a whole: Bitwise, and 23 networks were not trained again\n"), "{text}");
    assert_eq!(audit(good_store(), &[]).out, text, "the same store, the same bytes");
    let junit = audit(good_store(), &["--format", "junit"]).expect(0).out;
    assert!(junit.contains("<testsuite name=\"stages\" tests=\"3\""), "{junit}");
    let sarif = audit(good_store(), &["--format", "sarif"]).expect(0).json();
    assert_eq!(sarif["version"], "2.1.0");
    let under = &sarif["runs"][0]["properties"]["numerics"];
    assert_eq!((&under["networks"], &under["computed"]), (&"portable".into(), &"portable".into()));
    // A damaged file is a place for whoever shows them.
    let (_dir, store) = good_copy();
    fs::write(store.join("stray"), "x").unwrap();
    let sarif = audit(&store, &["--format", "sarif"]).expect(1).json();
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"];
    assert!(place["uri"].as_str().unwrap().ends_with("/store/stray"), "{place}");
}

#[test]
fn two_results_stand_side_by_side() {
    let dir = scratch();
    archive::write(dir.path(), Size::SMALL);
    let (archive, store) = (dir.path().to_str().unwrap(), good_store().to_str().unwrap());
    let left = json(good_store(), &["--beside", archive]);
    let right = json(dir.path(), &["--beside", store]);
    assert_eq!((&left["beside"]["source"], &right["beside"]["source"]), (&"archive".into(), &"store".into()));
    assert_eq!(right["beside"]["verdict"], "bitwise");
    // Either way each is judged as it is alone.
    for (one, other) in [(&left, &right), (&right, &left)] {
        for part in ["claims", "questions", "table1"] {
            assert_eq!(one[part], other["beside"][part], "{part}");
        }
    }
    assert_eq!(json(good_store(), &[])["claims"], left["claims"]);
    assert!(json(good_store(), &[])["beside"].is_null());

    let text = audit(dir.path(), &["--beside", store]).expect(0).out;
    let section = text.split_once("Side by side with ").expect("the section").1;
    assert!(section.contains("archive") && section.contains("store (Bitwise)"), "{section}");
    let row = section.lines().find(|line| line.contains("AnB+ - base at n = 1-7 ")).expect("a row");
    let effect = |audit: &Value| {
        let claims = audit["claims"].as_array().unwrap();
        let claim = claims.iter().find(|claim| claim["name"] == "tuned-transfer-exceeds-base").unwrap();
        format!("{:+.2} (", 100.0 * claim["parts"][0]["effect"]["value"].as_f64().unwrap())
    };
    let (first, second) = (row.find(&effect(&right)), row.rfind(&effect(&left)));
    assert!(first.is_some() && second.is_some() && first < second, "{row}");
}

#[test]
fn options_that_cannot_be_are_refused() {
    let dir = scratch();
    archive::write(dir.path(), Size::SMALL);
    let path = dir.path().to_str().unwrap();
    for options in [&["--full"][..], &["--sample", "3", "--seed", "1"]] {
        let ran = audit(dir.path(), options).expect(2);
        assert_eq!((ran.out.as_str(), ran.err.lines().count()), ("", 1), "{}", ran.err);
        assert!(ran.err.contains(path) && ran.err.contains("or name a selffer store"), "{}", ran.err);
    }
    // What is of a store's networks is no more for an archive, alone or beside another.
    for (options, said) in [
        (&["--protocol", "ci"][..], "leave out --protocol, or name a selffer store"),
        (&["--numerics", "native"], "leave out --numerics, or"),
        (&["--device", "auto"], "leave out --device, or"),
        (&["--data", path], "leave out --data, or"),
        (&["--margin", "2", "--beside", path], "leave out --margin, or"),
        (&["--margin", "1", "--protocol", "smoke"], "leave out --protocol and --margin, or"),
    ] {
        let mut call = selffer(["audit", path]);
        call.args(options);
        sentence(run(call), &[path, "holds no networks", said]);
    }
    for options in [
        &["--sample", "3"][..],
        &["--seed", "3"],
        &["--sample", "0", "--seed", "1"],
        &["--full", "--sample", "3", "--seed", "1"],
        &["--margin", "0"],
        &["--margin", "NaN"],
        &["--beside", "/no/such/place"],
    ] {
        let ran = audit(good_store(), options).expect(2);
        assert!(ran.out.is_empty() && ran.err.starts_with("error: "), "{options:?}: {}", ran.err);
    }
}

/// A protocol that the store was not made by, and a second one that was interrupted before its first network.
#[test]
fn another_protocol_is_told_from_a_wrong_store() {
    let (dir, store) = good_copy();
    let mut call = selffer(["audit", "-q", "--protocol", "smoke"]);
    call.arg(&store);
    sentence(run(call), &["none of the protocol smoke", "name theirs with --protocol"]);
    let other = audit(&store, &["--numerics", "native", "--format", "json"]).expect(1).json();
    assert_eq!(other["proof"]["verdict"], "unverifiable");
    let reason = stage(&other, "invariants")["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("the store has no network of this protocol under native numerics, "),
        "{reason}"
    );

    let text = fs::read_to_string(protocol()).unwrap();
    let path = dir.path().join("other.toml");
    fs::write(&path, text.replace("random = 0", "random = 1")).unwrap();
    let (whole, begun) = (scratch(), dir.path().join("begun"));
    crate::common::on_store(&["reproduce", "-q", "--no-report"], &path, whole.path()).expect(0);
    crate::common::copy(&store, &begun);
    for (name, bytes) in files(&whole.path().join("splits")) {
        fs::write(begun.join("splits").join(name), bytes).unwrap();
    }
    assert_eq!(json(&begun, &[])["proof"]["verdict"], "bitwise");
}

/// What is found in names that others chose cannot move the cursor or pass for a line of the program's own.
#[test]
fn names_are_shown_without_control_characters() {
    let (_dir, store) = good_copy();
    fs::write(store.join("checkpoints").join("\u{1b}[2J\nerror[fake] yes"), "x").unwrap();
    let ran = audit(&store, &[]).expect(1);
    assert!(!ran.out.contains('\u{1b}') && !ran.out.lines().any(|line| line.starts_with("error[fake]")));
    assert!(ran.out.contains("\\u{1b}[2J\\nerror[fake] yes"), "{}", ran.out);
    // A stray file says nothing of the networks.
    assert!(ran.out.contains("  as a whole: Bitwise"), "{}", ran.out);
}

#[test]
fn asked_to_stop_an_audit_says_that_it_keeps_nothing() {
    // A network whose record has it that training took as many epochs as there can be: to train it again has no end.
    let (dir, store) = good_copy();
    let text = fs::read_to_string(protocol()).unwrap();
    let text = text.split("[[split]]").next().unwrap().replace("epochs = 2", "epochs = 100000");
    let split = "[[split]]\nname = \"whole\"\nhalves = \"whole\"\ntreatments = [\"baseA\"]\n";
    let path = dir.path().join("long.toml");
    fs::write(&path, text + split).unwrap();
    let manifests = files(&store.join("manifests")).into_values();
    let mut manifests = manifests.map(|bytes| Manifest::from_bytes(&bytes).unwrap());
    let mut long = manifests.find(|manifest| manifest.run == "whole/1/baseA").unwrap();
    long.recipe.solver.epochs = 100_000;
    Store::open(&store).unwrap().put_manifest(&long).unwrap();
    let before = files(&store);
    let mut lasts = Duration::from_secs(1);
    let said = wait_for("it is never asked while it works", || {
        let mut call = selffer(["audit", "--full", "--protocol"]);
        call.arg(&path).arg(&store).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = call.spawn().unwrap();
        sleep(lasts);
        signal(&child, Signal::INT);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        // A process that is asked before it works ends without a word; before it began, by the signal itself.
        let early =
            said.is_empty() && (output.status.code() == Some(130) || output.status.signal() == Some(2));
        lasts *= 2;
        assert!(early || output.status.code() == Some(130), "{said}");
        (!early).then_some(said)
    });
    assert_eq!(said, "stopped as asked; nothing was kept, and the same command begins anew\n");
    assert_eq!(files(&store), before, "an audit writes nothing");
}
