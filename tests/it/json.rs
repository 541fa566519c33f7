//! The shapes of what is printed as JSON, held against JSON.md.

use crate::common::{files, good_copy, good_store, on_store, protocol, repository, run, scratch, selffer};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Holds a value against a shape: objects have just those fields, lists hold just such values, and a text
/// names a type.
#[track_caller]
fn fits(value: &Value, shape: &Value, at: &str) {
    match shape {
        Value::Object(fields) => {
            let object = value.as_object().unwrap_or_else(|| panic!("{at} is no object: {value}"));
            assert!(object.keys().eq(fields.keys()), "{at} has the fields {:?}", object.keys());
            for (name, shape) in fields {
                fits(&value[name], shape, &format!("{at}.{name}"));
            }
        }
        Value::Array(items) => {
            let list = value.as_array().unwrap_or_else(|| panic!("{at} is no list: {value}"));
            list.iter().for_each(|item| fits(item, &items[0], &format!("{at}[]")));
        }
        _ => {
            let good = match shape.as_str().unwrap() {
                "text" => value.is_string(),
                "text or null" => value.is_string() || value.is_null(),
                "count" => value.is_u64(),
                "number" => value.is_number(),
                "truth" => value.is_boolean(),
                "task" => value == "A" || value == "B",
                "digest" => value.as_str().is_some_and(is_digest),
                "digest or null" => value.is_null() || value.as_str().is_some_and(is_digest),
                "place or null" => value.is_null() || value["epoch"].is_u64() && value["step"].is_u64(),
                "score or null" => {
                    let score = || value["correct"].is_u64() && value["total"].is_u64();
                    value.is_null() || score() && value.as_object().unwrap().len() == 2
                }
                other => panic!("there is no type {other}"),
            };
            assert!(good, "{at} is no {shape}: {value}");
        }
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn cell() -> Value {
    json!({
        "split": "text", "target": "task", "treatment": "text", "n": "count", "seed": "count",
        "correct": "count", "total": "count", "weights": "digest",
    })
}

fn findings() -> Value {
    json!([{"code": "text", "severity": "text", "subject": "text", "message": "text", "evidence": ["text"]}])
}

fn checked() -> Value {
    json!([{"check": "text", "about": "text", "compared": "count", "findings": "count", "errors": "count", "warnings": "count"}])
}

fn comparison() -> Value {
    let difference =
        json!({"run": "text", "old": "score or null", "new": "score or null", "weights_differ": "truth"});
    // No family is in what is looked at here; `golden` has some.
    let family = json!({
        "treatment": "text", "runs": "count", "units": "count", "difference": "number", "low": "number",
        "high": "number", "lies": "text", "far": "truth",
    });
    json!({
        "file": "text or null", "how": "text", "compared": "count", "fingerprints": ["text or null"],
        "differences": [difference], "families": [family],
    })
}

/// A run that copies and was trained; what it might have instead is null.
fn show() -> Value {
    let count = json!({"correct": "count", "total": "count"});
    let recipe = json!({
        "core": "count", "numerics": "text", "data": "digest", "split": "digest", "seed": "count",
        "treatment": "text", "parent": "digest",
        "network": {"conv": ["count"], "hidden": ["count"], "filler": "text"},
        "solver": {
            "epochs": "count", "batch": "count", "rate": "number", "rate_drops": ["count"],
            "rate_factor": "number", "momentum": "number", "decay": "number",
        },
    });
    json!({
        "run": "text", "recipe_digest": "digest", "recipe": recipe,
        "parent": {"run": "text", "weights": "digest"}, "outcome": "text", "diverged_at": "place or null",
        "accuracy": count, "weights": "digest", "contradicts": "digest or null",
        "layers": [{"layer": "text", "began": "digest", "ended": "digest"}],
        "epochs": [{
            "rate": "number", "order": "digest", "train_loss": "number", "train": count, "valid_loss": "number",
            "valid": count,
        }],
        "ledger": {"every": "count", "entries": "count", "last": "digest"},
        "files": {"manifest": "text", "checkpoint": "text", "checkpoint_is": "text"}, "wall_ms": "count",
        "environment": {
            "selffer": "text", "libtorch": "text", "cpu": "text", "fingerprint": "digest",
            "settings": [{"name": "text", "value": "text"}],
        },
    })
}

/// What each command's JSON is.
fn shapes() -> [(&'static str, Value); 8] {
    let task = json!({"classes": ["text"], "train": "count", "valid": "count"});
    let plan = json!({
        "protocol": "text", "protocol_digest": "digest", "data": "digest", "numerics": "text",
        "splits": [{"name": "text", "digest": "digest", "A": task, "B": task, "neither": ["text"]}],
        "runs": [{
            "run": "text", "split": "text", "target": "task", "treatment": "text", "n": "count", "seed": "count",
            "parent": "text or null", "images": "count", "operations": "count", "done": "truth",
        }],
        "operations": "count", "operations_left": "count", "seconds_left": "number", "jobs": "count",
        "speed": "number", "speed_measured": "truth", "disk": "count", "memory": "count",
    });
    let reproduce = json!({
        "protocol": "text", "protocol_digest": "digest", "trained": "count", "found": "count", "cells": [cell()],
        "checked": checked(), "golden": comparison(), "findings": findings(),
    });
    [
        ("plan", plan),
        ("reproduce", reproduce),
        ("verify", json!({"checked": checked(), "findings": findings()})),
        ("table", json!({"cells": [cell()]})),
        ("show", show()),
        ("golden check", json!({"golden": comparison(), "findings": findings()})),
        (
            "golden accept",
            json!({"written": "text", "reason": "text", "runs": "count", "unreadable": "text or null", "comparison": comparison()}),
        ),
        (
            "fingerprint",
            json!({
                "numerics": "text", "fingerprint": "digest", "libtorch": "text", "cpu": "text",
                "settings": [{"name": "text", "value": "text"}],
            }),
        ),
    ]
}

#[track_caller]
pub fn fits_command(value: &Value, command: &str) {
    let shapes = shapes();
    let (_, shape) = shapes.iter().find(|(name, _)| *name == command).expect("a command with a shape");
    fits(value, shape, command);
}

#[test]
fn every_field_is_documented() {
    fn fields(shape: &Value, found: &mut Vec<String>) {
        match shape {
            Value::Object(object) => object.iter().for_each(|(name, shape)| {
                found.push(name.clone());
                fields(shape, found);
            }),
            Value::Array(items) => fields(&items[0], found),
            _ => {}
        }
    }
    let page = fs::read_to_string(repository("JSON.md")).unwrap();
    for (command, shape) in shapes() {
        let paragraph = page.split("\n\n").find(|text| text.starts_with(&format!("`{command}`:")));
        let paragraph = paragraph.unwrap_or_else(|| panic!("JSON.md has no paragraph on {command}"));
        for name in shape.as_object().unwrap().keys() {
            assert!(paragraph.contains(&format!("\"{name}\"")), "{command}: JSON.md leaves out {name}");
        }
        let mut all = Vec::new();
        fields(&shape, &mut all);
        for name in all {
            assert!(page.contains(&format!("\"{name}\"")), "{command}: JSON.md leaves out {name}");
        }
    }
}

#[test]
fn plan_as_json() {
    let dir = scratch();
    let nowhere = dir.path().join("nowhere");
    let [trained, fresh] = [good_store(), &nowhere].map(|store| {
        let ran = on_store(&["plan"], &protocol(), store).expect(0);
        assert_eq!(ran.err, "");
        let json = ran.json();
        fits_command(&json, "plan");
        json
    });
    assert!(!nowhere.exists(), "a plan makes no store");
    for (json, done) in [(&trained, true), (&fresh, false)] {
        let runs = json["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 23);
        assert!(runs.iter().all(|run| run["done"] == done));
        assert_eq!(json["speed_measured"], done);
        let all: u64 = runs.iter().map(|run| run["operations"].as_u64().unwrap()).sum();
        assert_eq!(json["operations"], all);
        assert_eq!(json["operations_left"], if done { 0 } else { all });
        // What a network copies from is in the list, above it.
        for (at, run) in runs.iter().enumerate().filter(|(_, run)| !run["parent"].is_null()) {
            assert!(runs[..at].iter().any(|above| above["run"] == run["parent"]), "{run}");
            assert!(run["n"].as_u64().unwrap() > 0);
        }
    }
    let mixed = &fresh["splits"][0];
    assert_eq!(
        (&mixed["name"], &mixed["A"]["train"], &mixed["A"]["valid"]),
        (&json!("mixed"), &json!(160), &json!(80))
    );
    assert_eq!(mixed["B"]["classes"], json!(["digit-6", "digit-7", "dress", "bag"]));
    // Of 20 classes 8 are named.
    assert_eq!(mixed["neither"].as_array().unwrap().len(), 12);
    assert!(mixed["neither"].as_array().unwrap().contains(&json!("digit-2")));
    // 23 networks of 4 bytes a weight or bias, and what training holds at once.
    assert!(fresh["disk"].as_u64().unwrap() > 23 * 4 * 1000 && fresh["memory"].as_u64().unwrap() > 0);
    let twice = |speed: &str| {
        on_store(&["plan", "--jobs", "1", "--speed", speed], &protocol(), &nowhere).expect(0).json()
    };
    let [slow, fast] = ["100", "200"].map(twice);
    assert_eq!(slow["speed"].as_f64().unwrap() * 2.0, fast["speed"].as_f64().unwrap());
    assert_eq!(slow["seconds_left"].as_f64().unwrap(), 2.0 * fast["seconds_left"].as_f64().unwrap());
    // A number of jobs is taken as it is, and the bits do not depend on it.
    let jobs = on_store(&["plan", "--jobs", "7"], &protocol(), &nowhere).expect(0).json();
    assert_eq!((&jobs["jobs"], &jobs["runs"]), (&json!(7), &fresh["runs"]));
}

#[test]
fn a_plan_s_speed_is_measured_where_that_is_asked_for() {
    let dir = scratch();
    let nowhere = dir.path().join("nowhere");
    let ran = on_store(&["plan", "--measure", "--jobs", "1"], &protocol(), &nowhere).expect(0);
    assert_eq!(ran.err, "training a base network of store on noise; at least 5 s\n");
    let json = ran.json();
    fits_command(&json, "plan");
    // What any machine reaches, and none; and the time is told by it.
    let speed = json["speed"].as_f64().unwrap();
    assert!((1e7..1e14).contains(&speed), "{speed}");
    assert_eq!(json["speed_measured"], true);
    let seconds = json["operations_left"].as_f64().unwrap() / speed;
    assert!((json["seconds_left"].as_f64().unwrap() / seconds - 1.0).abs() < 1e-9);
    assert!(!nowhere.exists());
}

#[test]
fn the_paper_s_plan_needs_no_images() {
    let dir = scratch();
    let plan = |more: &[&str]| {
        let mut call = selffer(["plan", "--protocol", "paper", "--jobs", "2"]);
        call.args(more).current_dir(dir.path());
        run(call).expect(0)
    };
    let json = plan(&["--format", "json"]).json();
    assert_eq!(json["runs"].as_array().unwrap().len(), 170);
    assert_eq!(
        (&json["data"], &json["speed"], &json["seconds_left"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(json["splits"][4]["A"], json!({"classes": 449, "valid": 22_450}));
    assert_eq!(json["splits"][4]["B"], json!({"classes": 551, "valid": 27_550}));
    // 32-bit weights: 134 networks of 500 classes, 8 of 449 and 8 of 551, 20 of 1000.
    let parameters = |classes: u64| 60_965_224 - (1000 - classes) * 4097;
    let weights = 134 * parameters(500) + 8 * (parameters(449) + parameters(551)) + 20 * parameters(1000);
    assert_eq!(json["disk"], 4 * weights);
    assert!(plan(&[]).out.contains("170 networks"));
    assert!(plan(&[]).out.contains("is not known"), "no speed is made up");
    // One job trains 1,000 images a second; the others are as fast in operations.
    let given = plan(&["--speed", "1000", "--format", "json"]).json();
    // More operations than 64 bits count; those of the runs add up to them all the same.
    let runs = given["runs"].as_array().unwrap().iter().map(|run| run["operations"].as_u64().unwrap() as f64);
    let (all, each) = (given["operations"].as_f64().unwrap(), runs.sum::<f64>());
    assert!(all > 2f64.powi(64) && (all / each - 1.0).abs() < 1e-12, "{all} and {each}");
    let seconds = given["operations"].as_f64().unwrap() / (1000.0 * 6.0 * 722_358_816.0) / 2.0;
    assert!((given["seconds_left"].as_f64().unwrap() / seconds - 1.0).abs() < 1e-9, "{seconds}");
    assert_eq!(given["speed_measured"], false);
    assert!(plan(&["--speed", "1000"]).out.contains("(given)"));
    // A window larger than ILSVRC2012's packed images, of which none is there.
    let wide = dir.path().join("wide.toml");
    let text = fs::read_to_string(repository("src/protocols/paper.toml")).unwrap();
    fs::write(&wide, text.replace("crop = 227", "crop = 400").replace("\"paper\"", "\"wide\"")).unwrap();
    let ran = run(selffer(["plan", "--protocol", wide.to_str().unwrap()])).expect(2);
    assert!(
        ran.err.contains("windows of 400x400 pixels") && ran.err.contains("lower input.crop"),
        "{}",
        ran.err
    );
    // What needs the images says which and where from.
    for (protocol, mend) in
        [("paper", "selffer data pack DIR ilsvrc2012"), ("standard", "ci/fixtures --all digits-garments")]
    {
        let mut call = selffer(["reproduce", "--protocol", protocol]);
        call.current_dir(dir.path());
        let ran = run(call).expect(2);
        assert!(ran.err.contains("is not there") && ran.err.contains(mend), "{}", ran.err);
    }
}

#[test]
fn a_finished_store_as_json() {
    let (_dir, store) = good_copy();
    let before = files(&store);
    let [reproduced, verified, table] = ["reproduce", "verify", "table"].map(|command| {
        let ran = on_store(&[command], &protocol(), &store).expect(0);
        let page = format!("figures and tables: {}\n", store.join("report/index.html").display());
        let told = if command == "reproduce" { page } else { String::new() };
        assert_eq!(ran.err, told, "{command} has nothing else to tell");
        let json = ran.json();
        fits_command(&json, command);
        json
    });
    let mut call = selffer(["show", "mixed/1/A4B", "--format", "json", "--protocol"]);
    call.arg(protocol()).arg("--store").arg(&store);
    fits_command(&run(call).expect(0).json(), "show");
    assert_eq!(files(&store), before, "nothing was to be trained");
    assert_eq!((&reproduced["trained"], &reproduced["found"]), (&json!(0), &json!(23)));
    assert_eq!(reproduced["cells"], table["cells"]);
    assert_eq!(reproduced["checked"], verified["checked"]);
    let golden = json!({
        "file": null, "how": "bitwise", "compared": 0, "fingerprints": [null, fingerprint_of(good_store())],
        "differences": [], "families": [],
    });
    assert_eq!(reproduced["golden"], golden);
    assert_eq!(reproduced["findings"][0]["code"], "golden-absent");
    assert_eq!(reproduced["findings"][0]["severity"], "note");
    assert_eq!(verified["findings"], json!([]));
    for check in verified["checked"].as_array().unwrap() {
        assert!(check["compared"].as_u64().unwrap() > 0, "nothing was compared: {check}");
    }
}

#[test]
fn the_cells_of_the_table() {
    let json = on_store(&["table"], &protocol(), good_store()).expect(0).json();
    let cells = json["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 23);
    for cell in cells {
        let treatment = cell["treatment"].as_str().unwrap();
        let depth = treatment.chars().find_map(|letter| letter.to_digit(10)).unwrap_or(0);
        assert_eq!(cell["n"], depth, "{cell}");
        assert!(treatment.trim_end_matches('+').ends_with(cell["target"].as_str().unwrap()), "{cell}");
        assert!(cell["correct"].as_u64() <= cell["total"].as_u64(), "{cell}");
        // 20 images of each of the target's classes.
        let classes = match cell["split"].as_str().unwrap() {
            "random-0" => 10,
            "whole" => 20,
            _ => 4,
        };
        assert_eq!((&cell["total"], &cell["seed"]), (&json!(20 * classes), &json!(1)), "{cell}");
    }

    let mut call = selffer(["table", "--format", "csv", "--protocol"]);
    call.arg(protocol()).arg("--store").arg(good_store());
    let ran = run(call).expect(0);
    let mut reader = csv::Reader::from_reader(ran.out.as_bytes());
    let header = reader.headers().unwrap().clone();
    let rows: Vec<Value> = reader
        .records()
        .map(|row| {
            let row = row.unwrap();
            let read = |(name, field): (&str, &str)| {
                let value = match cell()[name].as_str() {
                    Some("count") => field.parse::<u64>().unwrap().into(),
                    _ => Value::from(field),
                };
                (name.to_owned(), value)
            };
            header.iter().zip(&row).map(read).collect()
        })
        .collect();
    assert_eq!(rows, *cells);

    // The same columns where there is no row.
    let (_dir, store) = good_copy();
    fs::remove_dir_all(store.join("manifests")).unwrap();
    let mut call = selffer(["table", "--format", "csv", "--quiet", "--protocol"]);
    call.arg(protocol()).arg("--store").arg(&store);
    let empty = run(call).expect(0).out;
    assert_eq!(empty.lines().collect::<Vec<_>>(), [ran.out.lines().next().unwrap()]);
}

#[test]
fn golden_as_json() {
    let (dir, store) = good_copy();
    let golden = dir.path().join("golden");
    let snapshot = golden.join("store.portable.snap");
    let (snapshot_text, golden) = (snapshot.to_str().unwrap(), golden.to_str().unwrap());
    let call = |command: &[&str], code| {
        let mut words = vec!["golden"];
        words.extend(command);
        words.extend(["--golden", golden]);
        let ran = on_store(&words, &protocol(), &store).expect(code);
        assert_eq!(ran.err, "");
        let json = ran.json();
        fits_command(&json, &words[..2].join(" "));
        json
    };
    // The snapshot's fingerprint and the store's: the same, where there is a snapshot.
    let here = fingerprint_of(&store);
    let first = json!({
        "file": null, "how": "bitwise", "compared": 0, "fingerprints": [null, here], "differences": [],
        "families": [],
    });
    let written = json!({"written": snapshot_text, "reason": "the first", "runs": 23, "unreadable": null, "comparison": first});
    assert_eq!(call(&["accept", "--reason", "the first"], 0), written);
    let same = json!({
        "file": snapshot_text, "how": "bitwise", "compared": 23, "fingerprints": [here, here],
        "differences": [], "families": [],
    });
    assert_eq!(call(&["check"], 0), json!({"golden": same, "findings": []}));

    // One network had one image less, another was not there.
    let text = fs::read_to_string(&snapshot).unwrap();
    let mut correct = 0;
    let changed = text.lines().filter(|line| !line.starts_with("mixed/1/baseA ")).map(|line| {
        if !line.starts_with("mixed/1/baseB ") {
            return format!("{line}\n");
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        correct = words[1].parse().unwrap();
        format!("{} {} {} {}\n", words[0], correct - 1, words[2], words[3])
    });
    let changed: String = changed.collect();
    fs::write(&snapshot, changed).unwrap();
    let differs = call(&["check"], 1);
    assert_eq!(differs["golden"]["compared"], 22);
    let differences = differs["golden"]["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 2);
    let of = |run: &str| differences.iter().find(|difference| difference["run"] == run).unwrap();
    let score = |correct: u64| json!({"correct": correct, "total": 80});
    assert_eq!(
        (&of("mixed/1/baseB")["old"], &of("mixed/1/baseB")["new"]),
        (&score(correct - 1), &score(correct))
    );
    assert_eq!(of("mixed/1/baseA")["old"], Value::Null);
    assert_ne!(of("mixed/1/baseA")["new"], Value::Null);
    let mut codes: Vec<&str> = differs["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, ["golden-accuracy-differs", "golden-run-new"]);

    // Accepting says what it replaces.
    let again = call(&["accept", "--reason", "mended"], 0);
    assert_eq!(again["comparison"], differs["golden"]);
    assert_eq!(call(&["check"], 0)["golden"], same);
}

/// The fingerprint that a store's networks were trained under.
fn fingerprint_of(store: &Path) -> String {
    let manifest = files(&store.join("manifests")).into_values().next().expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    manifest["manifest"]["environment"]["fingerprint"].as_str().expect("a fingerprint").to_owned()
}
