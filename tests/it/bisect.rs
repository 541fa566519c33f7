//! `selffer bisect` from outside. That it finds any planted change to the step and number is tested beside
//! the library's `bisect`; here are the sides that it takes, and what it prints.

use crate::common::{Ran, copy, files, good_copy, good_store, on_store, protocol, run, scratch, selffer};
use selffer::digest::{Digest, LedgerDigest};
use selffer::manifest::{Manifest, Outcome};
use selffer::recipe::Policy;
use selffer::store::{Entry, Store};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn bisect(left: &Path, right: &Path, options: &[&str]) -> Ran {
    let mut call = selffer(["bisect", "--quiet", "--protocol"]);
    call.arg(protocol()).arg(left).arg(right).args(options);
    run(call)
}

fn json(left: &Path, right: &Path, options: &[&str], code: i32) -> Value {
    bisect(left, right, &[&["--format", "json"], options].concat()).expect(code).json()
}

/// The manifest of a run, and its file.
fn manifest(store: &Path, run: &str) -> (Manifest, PathBuf) {
    let manifests = files(&store.join("manifests")).into_iter();
    manifests
        .map(|(path, bytes)| (Manifest::from_bytes(&bytes).unwrap(), store.join("manifests").join(path)))
        .find(|(manifest, _)| manifest.run == run)
        .unwrap()
}

#[test]
fn the_same_are_the_same_as_stores_as_manifests_and_live() {
    let (_dir, copy) = good_copy();
    assert_eq!(
        json(good_store(), &copy, &[], 0),
        serde_json::json!({"compared": 23, "missing": [], "parting": null})
    );
    let text = bisect(good_store(), &copy, &[]).expect(0).out;
    assert_eq!(text, "23 networks are the same, step by step\n");
    let (_, file) = manifest(&copy, "mixed/1/A4B");
    let one = serde_json::json!({"compared": 1, "missing": [], "parting": null});
    assert_eq!(json(good_store(), &file, &[], 0), one);
    assert_eq!(json(&file, Path::new("live"), &[], 0), one);
    assert_eq!(json(Path::new("live"), good_store(), &["--run", "mixed/1/baseB"], 0), one);
}

/// A base network's checkpoint that is gone stands in the way of those alone that copy from it.
#[test]
fn what_has_nothing_to_copy_from_is_left_out() {
    let (_dir, store) = good_copy();
    let (base, _) = manifest(&store, "random-0/1/baseA");
    let lost = Entry::Checkpoint(base.trained().unwrap().whole());
    fs::remove_file(Store::open(&store).unwrap().path(&lost)).unwrap();
    let why = "has no checkpoint to copy from: it is not in the other side's store";
    let found = serde_json::json!({
        "compared": 22, "missing": [{"run": "random-0/1/A1B+", "side": "live", "why": why}], "parting": null
    });
    assert_eq!(json(&store, Path::new("live"), &[], 1), found);
    let alone = bisect(&store, Path::new("live"), &["--run", "random-0/1/A1B+"]).expect(2);
    assert!(alone.err.contains("copies from a checkpoint that is not at hand"), "{}", alone.err);
}

#[test]
fn another_ledger_is_another_run_from_there_on() {
    let (_dir, store) = good_copy();
    let (mut changed, _) = manifest(&store, "mixed/1/baseA");
    // 160 images in steps of 5: an entry at step 32 of each of two epochs.
    assert_eq!((changed.ledger.every, changed.ledger.entries.len()), (32, 2));
    changed.ledger.entries[1] = LedgerDigest(Digest::of(b"another"));
    Store::open(&store).unwrap().put_manifest(&changed).unwrap();
    let found = json(good_store(), &store, &[], 1);
    // The very first of the plan.
    assert_eq!(found["compared"], 1);
    let parting = &found["parting"];
    assert_eq!(parting["run"], "mixed/1/baseA");
    assert_eq!(parting["cause"], "arithmetic");
    assert_eq!(parting["agree_until"], serde_json::json!({"epoch": 0, "step": 32}));
    assert_eq!(parting["differ_at"], serde_json::json!({"epoch": 1, "step": 32}));
    assert_eq!((&parting["exact"], &parting["difference"]), (&false.into(), &Value::Null));
    let unknown = parting["unknown"][0].as_str().unwrap();
    assert!(unknown.contains("it does not come out as it is recorded"), "{unknown}");
    assert!(unknown.starts_with(store.to_str().unwrap()), "{unknown}");
    let text = bisect(good_store(), &store, &[]).expect(1).out;
    for line in [
        "mixed/1/baseA parts; 0 networks before it are the same",
        "  agrees until epoch 0, step 32 (step 32 of the run)",
        "  is known to differ after epoch 1, step 32 (step 64 of the run)",
        "  by 2 comparisons of 2 entries of the ledgers, and 2 more to see that none agrees again",
        "cause: arithmetic: the same computation came to other numbers",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    // Where one agrees again, halving has nothing to go by.
    let (_dir, other) = good_copy();
    let (mut edited, _) = manifest(&other, "mixed/1/baseA");
    edited.ledger.entries[0] = LedgerDigest(Digest::of(b"another"));
    Store::open(&other).unwrap().put_manifest(&edited).unwrap();
    let text = bisect(good_store(), &other, &[]).expect(1).out;
    assert!(text.contains("\n  by comparing the 2 entries of the ledgers one by one\n"), "{text}");
    assert!(
        text.contains("\ncause: one of the records is none that training writes: it was edited\n"),
        "{text}"
    );
    // An audit that trains it again notices, too.
    let mut call = selffer(["audit", "--quiet", "--full", "--format", "json", "--protocol"]);
    call.arg(protocol()).arg(&store);
    let findings = run(call).expect(1).findings();
    assert!(findings.contains(&("record-differs".to_owned(), "mixed/1/baseA".to_owned())), "{findings:?}");
}

#[test]
fn weights_that_were_changed_after_training_are_told_by_number() {
    let (_dir, store) = good_copy();
    let open = Store::open(&store).unwrap();
    let (mut changed, _) = manifest(&store, "mixed/1/A4B");
    let digest = changed.trained().unwrap().whole();
    let mut weights = open.weights(digest).unwrap().whole().unwrap();
    let value = &mut weights.layers[5].weight.values[9];
    let (old, new) = (*value, f32::from_bits(value.to_bits() ^ 1));
    *value = new;
    open.put_weights(&weights).unwrap();
    changed.outcome = Outcome::Trained { layers: weights.digests() };
    open.put_manifest(&changed).unwrap();
    fs::remove_file(open.path(&Entry::Checkpoint(digest))).unwrap();
    let found = json(good_store(), &store, &[], 1);
    let parting = &found["parting"];
    assert_eq!((&parting["run"], &parting["cause"]), (&"mixed/1/A4B".into(), &"after-training".into()));
    let first = &parting["difference"]["first"];
    assert_eq!(
        (&first["layer"], &first["tensor"], &first["ulps"]),
        (&"fc6".into(), &"weight".into(), &1.into())
    );
    assert_eq!(parting["difference"]["numbers"], 1);
    // fc6 has 8 channels of 3×3 for inputs.
    assert_eq!(first["index"], serde_json::json!([0, 9]));
    let value = |side: &str| first[side].as_f64().unwrap() as f32;
    assert_eq!((value("left"), value("right")), (old, new));
}

#[test]
fn an_evaluation_that_differs_is_no_other_network() {
    let (_dir, store) = good_copy();
    let (mut changed, _) = manifest(&store, "mixed/1/A4B");
    changed.epochs[1].valid.correct -= 1;
    Store::open(&store).unwrap().put_manifest(&changed).unwrap();
    let parting = &json(good_store(), &store, &[], 1)["parting"];
    assert_eq!((&parting["run"], &parting["cause"]), (&"mixed/1/A4B".into(), &"evaluation".into()));
    let says = ["the ledgers agree to the end", "the records of epoch 1 differ in losses or counts"];
    assert_eq!(parting["evidence"], serde_json::json!(says));
    assert_eq!((&parting["difference"], &parting["unknown"]), (&Value::Null, &serde_json::json!([])));
}

/// A process computes under one policy, so the other side is trained again in a process of its own.
#[test]
fn two_policies_part_at_a_step_and_a_number() {
    let (_, file) = manifest(good_store(), "mixed/1/A4B");
    let options = ["--numerics", "baseline"];
    let found = json(&file, Path::new("live"), &options, 1);
    let parting = &found["parting"];
    assert_eq!((&parting["cause"], &parting["exact"]), (&"policy".into(), &true.into()), "{parting}");
    assert_eq!(parting["unknown"], serde_json::json!([]));
    assert_eq!(parting["evidence"][0], "numerics: left portable, right baseline");
    let step = |place: &Value| 32 * place["epoch"].as_u64().unwrap() + place["step"].as_u64().unwrap();
    assert_eq!(step(&parting["differ_at"]), step(&parting["agree_until"]) + 1);
    let first = &parting["difference"]["first"];
    assert!(first["ulps"].as_u64().unwrap() > 0 && first["left"] != first["right"], "{first}");
    // The other way round the same is found, with its sides exchanged.
    let back = json(Path::new("live"), &file, &options, 1);
    assert_eq!(back["parting"]["differ_at"], parting["differ_at"]);
    assert_eq!(back["parting"]["difference"]["first"]["left"], first["right"]);

    // What the other process has to say against its side comes through.
    let (_dir, store) = good_copy();
    let (mut changed, file) = manifest(&store, "mixed/1/A4B");
    changed.ledger.entries.fill(LedgerDigest(Digest::of(b"another")));
    Store::open(&store).unwrap().put_manifest(&changed).unwrap();
    let found = json(&file, Path::new("live"), &options, 1);
    let unknown = found["parting"]["unknown"].as_array().unwrap();
    let says = format!("{}: trained again here, it does not come out as it is recorded", file.display());
    assert_eq!((unknown, &found["parting"]["exact"]), (&vec![says.into()], &false.into()));
}

/// What one side lacks is not the same on both, and what is damaged may be what parts.
#[test]
fn a_store_that_lost_a_record_is_not_the_same() {
    let (_dir, store) = good_copy();
    let (_, lost) = manifest(&store, "mixed/1/baseB");
    fs::remove_file(lost).unwrap();
    for (left, right) in [(good_store(), store.as_path()), (store.as_path(), good_store())] {
        let found = json(left, right, &[], 1);
        let missing = serde_json::json!([
            {"run": "mixed/1/baseB", "side": store.display().to_string(), "why": "has no record of it"}
        ]);
        assert_eq!((&found["compared"], &found["missing"]), (&22.into(), &missing));
        assert_eq!(found["parting"], Value::Null);
    }
    let text = bisect(good_store(), &store, &[]).expect(1).out;
    let says = format!("mixed/1/baseB is not compared: {} has no record of it\n", store.display());
    assert_eq!(text, says + "22 networks are the same, step by step\n");

    let (_, damaged) = manifest(&store, "mixed/1/A4B");
    fs::write(&damaged, "{").unwrap();
    let ran = bisect(good_store(), &store, &[]).expect(2);
    assert!(ran.err.contains(damaged.to_str().unwrap()) && ran.err.contains("is damaged"), "{}", ran.err);
    // It stands in the way of that run alone.
    let (_, file) = manifest(good_store(), "mixed/1/A1B");
    for (left, run) in [(good_store(), "mixed/1/baseA"), (file.as_path(), "mixed/1/A1B")] {
        assert_eq!(json(left, &store, &["--run", run], 0)["compared"], 1);
    }
    let ran = bisect(good_store(), &store, &["--run", "mixed/1/A4B"]).expect(2);
    assert!(ran.err.contains(damaged.to_str().unwrap()) && ran.err.contains("is damaged"), "{}", ran.err);
}

/// Of a store with networks of two policies, those of the one that is asked for are looked at.
#[test]
fn a_store_of_two_policies_has_two_records_of_a_run() {
    let (_dir, store) = good_copy();
    let mut call = selffer(["reproduce", "--quiet", "--numerics", "baseline", "--protocol"]);
    run({
        call.arg(protocol()).arg("--store").arg(&store);
        call
    })
    .expect(0);
    assert_eq!(json(good_store(), &store, &[], 0)["compared"], 23);
    let found = json(good_store(), &store, &["--numerics", "baseline", "--run", "mixed/1/baseA"], 1);
    assert_eq!(found["parting"]["cause"], "policy");

    // What is live is trained as the other side was, unless another policy is asked for.
    let name = "mixed/1/baseB";
    let live = Path::new("live");
    let all = files(&store.join("manifests")).into_keys().map(|name| store.join("manifests").join(name));
    let read = |file: &PathBuf| Manifest::from_bytes(&fs::read(file).unwrap()).unwrap();
    let (portable, baseline): (Vec<_>, Vec<_>) =
        all.partition(|file| read(file).recipe.numerics == Policy::Portable);
    let file = baseline.iter().find(|file| read(file).run == name).unwrap();
    for options in [&[][..], &["--device", "cpu"], &["--numerics", "baseline"]] {
        assert_eq!(json(file, live, options, 0)["compared"], 1, "{options:?}");
    }
    let found = json(live, file, &["--numerics", "portable"], 1);
    assert_eq!(found["parting"]["evidence"][0], "numerics: left portable, right baseline");
    // A store of two is looked at as any command does, and one of another alone under that.
    let said = |policy: &str| {
        let mut call = selffer(["bisect", "--run", name, "--protocol"]);
        call.arg(protocol()).arg(&store).arg(live);
        assert_eq!(run(call).expect(0).err, format!("training {name} here under {policy} numerics …\n"));
    };
    said("portable");
    portable.iter().for_each(|file| fs::remove_file(file).unwrap());
    said("baseline");
}

/// What differs before the first step is no difference after it.
#[test]
fn other_first_weights_part_before_the_first_step() {
    let (_dir, store) = good_copy();
    let (mut changed, _) = manifest(&store, "mixed/1/baseB");
    let (other, _) = manifest(&store, "mixed/1/baseA");
    changed.initial = other.initial;
    changed.ledger.entries.fill(LedgerDigest(Digest::of(b"another")));
    Store::open(&store).unwrap().put_manifest(&changed).unwrap();
    let parting = &json(good_store(), &store, &["--run", "mixed/1/baseB"], 1)["parting"];
    assert_eq!((&parting["cause"], &parting["agree_until"]), (&"initialisation".into(), &Value::Null));
    assert_eq!(parting["differ_at"], serde_json::json!({"epoch": 0, "step": 0}));
    let text = bisect(good_store(), &store, &["--run", "mixed/1/baseB"]).expect(1).out;
    assert!(
        !text.contains("of the ledgers") && text.contains("\n  differs before the first step\n"),
        "{text}"
    );
    let unknown = parting["unknown"][0].as_str().unwrap();
    assert!(unknown.ends_with("its first weights do not come out as they are recorded"), "{unknown}");
}

#[test]
fn sides_that_cannot_be_compared_are_refused() {
    let dir = scratch();
    let text = dir.path().join("text.json");
    fs::write(&text, "{}").unwrap();
    let (_, file) = manifest(good_store(), "mixed/1/A4B");
    let (_, other) = manifest(good_store(), "mixed/1/baseA");
    let nowhere = Path::new("/no/such/store");
    for (left, right, options, says) in [
        (good_store(), nowhere, &[][..], "is not there"),
        (good_store(), text.as_path(), &[], "it is no manifest"),
        (good_store(), good_store(), &["--run", "mixed/1/A9B"], "`selffer plan` lists all"),
        (Path::new("live"), Path::new("live"), &[], "is one side alone"),
        (file.as_path(), other.as_path(), &[], "name two records of one run"),
    ] {
        let ran = bisect(left, right, options).expect(2);
        assert_eq!((ran.out.as_str(), ran.err.lines().count()), ("", 1), "{}", ran.err);
        assert!(ran.err.contains(says), "{says}: {}", ran.err);
    }
    // A protocol that the store has nothing of.
    let mut call = selffer(["bisect", "-q", "--protocol", "smoke"]);
    call.arg(good_store()).arg(good_store());
    let ran = run(call).expect(2);
    assert!(ran.err.contains("none of the protocol smoke"), "{}", ran.err);
}

/// More images have more steps: a ledger is longer by them, and nobody edited it.
#[test]
fn other_images_are_no_edit() {
    let dir = scratch();
    let text = fs::read_to_string(protocol()).unwrap();
    let (more, store) = (dir.path().join("more.toml"), dir.path().join("store"));
    fs::write(&more, text.replace("train_per_class = 40", "train_per_class = 80")).unwrap();
    on_store(&["reproduce", "--quiet", "--no-report"], &more, &store).expect(0);
    for (left, right) in [(good_store(), store.as_path()), (store.as_path(), good_store())] {
        let parting = &json(left, right, &[], 1)["parting"];
        assert_eq!((&parting["cause"], &parting["agree_until"]), (&"data".into(), &Value::Null));
        assert!(parting["evidence"][0].as_str().unwrap().starts_with("split: left "), "{parting}");
        assert!(!parting.to_string().contains("entries, where training has"), "{parting}");
    }
    // Of two records of such images, this protocol does not know at which steps the entries are.
    let (mut changed, _) = manifest(&store, "mixed/1/baseA");
    let other = dir.path().join("other");
    copy(&store, &other);
    assert_eq!(json(&store, &other, &[], 0)["compared"], 23);
    *changed.ledger.entries.last_mut().unwrap() = LedgerDigest(Digest::of(b"another"));
    Store::open(&other).unwrap().put_manifest(&changed).unwrap();
    let ran = bisect(&store, &other, &[]).expect(2);
    let says =
        format!("{}: is of another split than the protocol store has here, and so is", other.display());
    assert!(ran.err.contains(&says), "{}", ran.err);
}

/// What is known before training is said before it.
#[test]
fn a_record_of_another_protocol_is_not_held_against_live() {
    let dir = scratch();
    let text = fs::read_to_string(protocol()).unwrap();
    for (old, new, says) in [
        ("conv = [8,", "conv = [6,", "has another seed, network, input or solver for"),
        ("train_per_class = 40", "train_per_class = 80", "was trained on other images or another split than"),
    ] {
        let other = dir.path().join("other.toml");
        fs::write(&other, text.replace(old, new)).unwrap();
        for name in ["mixed/1/A4B", "mixed/1/baseA"] {
            let (_, file) = manifest(good_store(), name);
            let mut call = selffer(["bisect", "--protocol"]);
            call.arg(&other).arg(&file).arg("live");
            let ran = run(call).expect(2);
            assert!(ran.err.starts_with(&format!("error: {}: {says}", file.display())), "{}", ran.err);
            assert!(ran.err.contains("the protocol store") && ran.err.lines().count() == 1, "{}", ran.err);
        }
        // A store has no record of such a network, and one of other images is told by its file, too.
        let mut call = selffer(["bisect", "--protocol"]);
        call.arg(&other).arg(good_store()).arg("live");
        let ran = run(call).expect(2);
        assert!(!ran.err.contains("training"), "{}", ran.err);
    }
}

/// What a user set of libtorch's variables belongs to `native`: the other process computes with it, too.
#[test]
fn a_side_in_another_process_has_the_variables_that_the_user_set() {
    let dir = scratch();
    let store = dir.path().join("store");
    let set = |mut call: Command| {
        // The policy `baseline` takes the same, and the one that `portable` takes is another.
        call.env("ATEN_CPU_CAPABILITY", "default");
        run(call)
    };
    let mut call = selffer(["reproduce", "--quiet", "--no-report", "--numerics", "native", "--protocol"]);
    call.arg(protocol()).arg("--store").arg(&store);
    set(call).expect(0);
    let mut call = selffer(["bisect", "--quiet", "--format", "json", "--numerics", "baseline", "--protocol"]);
    call.arg(protocol()).arg(&store).arg(good_store()).args(["--run", "mixed/1/baseA"]);
    let parting = &set(call).expect(1).json()["parting"];
    assert_eq!((&parting["cause"], &parting["unknown"]), (&"policy".into(), &serde_json::json!([])));
    assert_eq!(parting["exact"], true, "{parting}");
}

/// What of a record is none of training's, one thing at a time, and what was recorded of nothing but its end.
#[test]
fn a_record_that_was_edited_is_told_from_a_network_that_differs() {
    let change = |change: &dyn Fn(&mut Manifest)| -> Value {
        let (_dir, store) = good_copy();
        let (mut changed, _) = manifest(&store, "mixed/1/baseA");
        change(&mut changed);
        Store::open(&store).unwrap().put_manifest(&changed).unwrap();
        json(good_store(), &store, &["--run", "mixed/1/baseA"], 1)["parting"].clone()
    };
    let order = |manifest: &mut Manifest| manifest.epochs[1].order = manifest.epochs[0].order;
    type Edit<'a> = &'a dyn Fn(&mut Manifest);
    let diverged = |manifest: &mut Manifest| manifest.outcome = Outcome::Diverged { epoch: 1, step: 3 };
    let edits: [(Edit<'_>, &str); 5] = [
        (&diverged, "it records 2 epochs, where training has 1"),
        (&order, "the records of epoch 1 have two orders"),
        (&|manifest| manifest.epochs[1].rate *= 2.0, "its epoch 1 has another rate than its solver"),
        (&|manifest| manifest.epochs.truncate(1), "it records 1 epochs, where training has 2"),
        (
            &|manifest| manifest.epochs.push(manifest.epochs[0].clone()),
            "it records 3 epochs, where training has 2",
        ),
    ];
    for (edit, said) in edits {
        let parting = change(edit);
        assert_eq!(parting["cause"], "edited", "{parting}");
        assert!(parting["evidence"].to_string().contains(said), "{parting}");
    }
    // Whatever else differs, all steps came to the same: the end alone is another.
    let parting = change(&|manifest| {
        manifest.environment.selffer = "another".to_owned();
        let Outcome::Trained { layers } = &mut manifest.outcome else { panic!("it was trained") };
        layers.0[7] = layers.0[6];
    });
    assert_eq!(parting["cause"], "after-training", "{parting}");
}

/// A record that copies and names nothing to copy from, or a checkpoint of another network.
#[test]
fn what_training_could_not_have_copied_is_refused_before_training() {
    let (_dir, store) = good_copy();
    let opened = Store::open(&store).unwrap();
    let (whole, file) = manifest(&store, "mixed/1/A4B");
    let mut changed = whole.clone();
    let mut refuse = |parent, said: &str| {
        changed.recipe.parent = parent;
        let file = file.with_file_name("changed.json");
        fs::write(&file, changed.to_bytes()).unwrap();
        let ran = bisect(&file, Path::new("live"), &[]).expect(2);
        assert!(ran.err.contains(said) && ran.err.lines().count() == 1, "{}", ran.err);
    };
    refuse(None, "says of mixed/1/A4B otherwise than its treatment whether it copies from a base network");
    let mut narrow = opened.weights(whole.recipe.parent.unwrap()).unwrap().whole().unwrap();
    narrow.layers[2].weight.shape[0] = 1;
    narrow.layers[2].weight.values.truncate(72);
    narrow.layers[2].bias.shape = vec![1];
    narrow.layers[2].bias.values.truncate(1);
    let narrow = opened.put_weights(&narrow).unwrap();
    refuse(Some(narrow), "copies from a checkpoint of another network than its base network is");
}

/// What a store has besides, of another protocol and policy, is nothing to what is trained live.
#[test]
fn records_of_another_protocol_choose_no_policy() {
    let dir = scratch();
    let (store, other) = (dir.path().join("store"), dir.path().join("other.toml"));
    let text = fs::read_to_string(protocol()).unwrap();
    let parts: Vec<&str> = text.split("[[split]]").collect();
    let head = parts[0].replace("seeds = [1]", "seeds = [2]");
    fs::write(&other, format!("{head}[[split]]{}", parts[2])).unwrap();
    for (protocol, policy) in [(&protocol(), "native"), (&other, "portable")] {
        let mut call = selffer(["reproduce", "--quiet", "--no-report", "--jobs", "2", "--numerics", policy]);
        call.arg("--protocol").arg(protocol).arg("--store").arg(&store);
        let code = run(call).code;
        assert!(matches!(code, Some(0 | 1)), "{policy}: {code:?}");
    }
    let same = serde_json::json!({"compared": 23, "missing": [], "parting": null});
    assert_eq!(json(&store, Path::new("live"), &[], 0), same);
}
