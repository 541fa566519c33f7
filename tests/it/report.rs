//! The report: the same bytes from the same sources, nothing overwritten that selffer did not write, and what a real browser
//! makes of the page, on a desk and on a phone, in light and dark.

use crate::archive::{self, Size};
use crate::browser::Browser;
use crate::common::{
    Ran, files, good_copy, good_store, on_store, protocol, run, say, scratch, selffer, signal, wait_for,
};
use rustix::process::Signal;
use selffer::manifest::Outcome;
use selffer::store::{Entry, Store};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use tempfile::TempDir;

fn report(store: Option<&Path>, archive: Option<&Path>, out: &Path) -> Ran {
    let mut call = selffer(["report", "--quiet"]);
    if store.is_some() {
        call.arg("--protocol").arg(protocol());
    }
    for (option, path) in [("--store", store), ("--archive", archive), ("--out", Some(out))] {
        if let Some(path) = path {
            call.arg(option).arg(path);
        }
    }
    run(call)
}

/// The report of the good store and the small archive side by side, written once.
fn both() -> &'static Path {
    static BOTH: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, out) = BOTH.get_or_init(|| {
        let dir = scratch();
        let out = dir.path().join("report");
        report(Some(good_store()), Some(archive::small()), &out).expect(0);
        (dir, out)
    });
    out
}

#[test]
fn the_same_sources_give_the_same_bytes_wherever_they_lie() {
    let first = files(both());
    let dir = scratch();
    // Elsewhere, by other paths, from another working directory.
    let (_kept, store) = good_copy();
    let archive = dir.path().join("deep/convnet_transfer");
    fs::create_dir_all(&archive).unwrap();
    archive::write(&archive, Size::SMALL);
    let mut call = selffer(["report", "--archive", "deep", "--out", "there", "--protocol"]);
    call.arg(protocol()).arg("--store").arg(&store).current_dir(dir.path());
    let ran = run(call).expect(0);
    assert_eq!(ran.out.trim(), "there/index.html");
    let second = files(&dir.path().join("there"));
    let names =
        |files: &std::collections::BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&first), names(&second));
    for (path, bytes) in &first {
        assert!(second[path] == *bytes, "{} has other bytes", path.display());
    }
    let page = String::from_utf8(first[Path::new("index.html")].clone()).unwrap();
    for place in
        [store.to_str().unwrap(), good_store().to_str().unwrap(), dir.path().to_str().unwrap(), "/home/"]
    {
        assert!(!page.contains(place), "{place} is in the page");
    }
}

/// What is wrong with a store is told without where it lies.
#[test]
fn a_damaged_store_gives_the_same_bytes_wherever_it_lies() {
    // A slash at the end is what a shell adds.
    let pages = ["", "/"].map(|end| {
        let (dir, store) = good_copy();
        let checkpoints = fs::read_dir(store.join("checkpoints")).unwrap();
        let mut all: Vec<_> = checkpoints.map(|entry| entry.unwrap().path()).collect();
        all.sort();
        fs::write(&all[0], "cut off").unwrap();
        fs::write(store.join("manifests/stray.txt"), "x").unwrap();
        let mut call = selffer(["report", "-q", "--protocol"]);
        call.arg(protocol()).arg("--store").arg(format!("{}{end}", store.display()));
        call.arg("--out").arg(dir.path().join("out"));
        run(call).expect(0);
        let page = fs::read_to_string(dir.path().join("out/index.html")).unwrap();
        assert!(page.contains("manifests/stray.txt") && !page.contains(store.to_str().unwrap()));
        page
    });
    assert!(pages[0] == pages[1], "the pages differ");
}

/// A report of networks is not replaced by one of none because --protocol was forgotten.
#[test]
fn a_store_of_another_protocol_is_no_report() {
    let (_dir, store) = good_copy();
    let before = files(&store);
    let mut call = selffer(["report", "--store"]);
    call.arg(&store);
    let ran = run(call).expect(2);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert!(
        ran.err.contains("has 23 networks, and none of the protocol ci and its images as they are now; name"),
        "{}",
        ran.err
    );
    assert!(files(&store) == before, "something was written");
}

/// What is checked as a store stays one.
#[test]
fn a_report_within_a_store_is_where_it_belongs() {
    let (_dir, store) = good_copy();
    let before = files(&store);
    for name in ["reportx", "a/b", "checkpoints", "manifests/../x"] {
        let mut call = selffer(["report", "-q", "--protocol"]);
        call.arg(protocol()).arg("--store").arg(&store).arg("--out").arg(store.join(name));
        let ran = run(call).expect(2);
        assert!(ran.err.contains("lies in the store"), "{name}: {}", ran.err);
    }
    // Nor is it another store's, or the archive's.
    let (_other, other) = good_copy();
    let of_other = files(&other);
    for (of, out) in [
        (["--store", store.to_str().unwrap()], other.join("report")),
        (["--archive", small()], other.join("x")),
    ] {
        let mut call = selffer(["report", "-q"]);
        call.args(of).arg("--out").arg(&out);
        let ran = run(call).expect(2);
        assert!(ran.err.contains("lies in the store"), "{}", ran.err);
    }
    assert!(files(&other) == of_other, "something was written");
    let out = Path::new(small()).join("results/report");
    let ran = run(selffer(["report", "-q", "--archive", small(), "--out", out.to_str().unwrap()])).expect(2);
    assert!(ran.err.contains("lies in the published archive") && !out.exists(), "{}", ran.err);
    assert!(files(&store) == before, "something was written");
    let mut call = selffer(["report", "-q", "--protocol"]);
    call.arg(protocol()).arg("--store").arg(&store).arg("--out").arg(store.join("report"));
    run(call).expect(0);
}

/// An archive has no networks that another protocol could name.
#[test]
fn what_is_said_of_a_store_is_of_no_use_without_one() {
    let ran = run(selffer(["report", "-q", "--archive", small(), "--protocol", "smoke", "--device", "cpu"]))
        .expect(2);
    let mend = "holds no networks; leave out --protocol and --device, or name a selffer store with --store\n";
    assert!(ran.err.ends_with(mend), "{}", ran.err);
}

fn small() -> &'static str {
    archive::small().to_str().unwrap()
}

/// A name for which the directory beside it would have too long a one is refused before anything is read.
#[test]
fn a_name_that_is_too_long_is_refused() {
    let dir = scratch();
    let out = dir.path().join("x".repeat(252));
    let mut call = selffer(["report", "--archive", "/nowhere", "--out"]);
    let ran = run({
        call.arg(&out);
        call
    })
    .expect(2);
    assert!(ran.err.contains("has a name that is too long"), "{}", ran.err);
}

#[test]
fn a_report_lists_its_files_and_inputs_with_their_digests() {
    use sha2::{Digest as _, Sha256};
    let all = files(both());
    let sums = String::from_utf8(all[Path::new("SHA256SUMS")].clone()).unwrap();
    let listed: Vec<(&str, &str)> = sums.lines().skip(1).filter_map(|line| line.split_once("  ")).collect();
    assert_eq!(listed.len() + 1, all.len());
    for (digest, path) in listed {
        assert_eq!(digest, hex::encode(Sha256::digest(&all[Path::new(path)])), "{path}");
    }
    let page = String::from_utf8(all[Path::new("index.html")].clone()).unwrap();
    let mut inputs = 0;
    let store = files(&good_store().join("manifests"))
        .into_iter()
        .map(|(name, bytes)| (Path::new("manifests").join(name), bytes));
    // The archive's links lead nowhere: only its logs are read.
    let mut logs = Vec::new();
    for dir in fs::read_dir(archive::small().join("results")).unwrap() {
        for entry in fs::read_dir(dir.unwrap().path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "gz") {
                let inside = path.strip_prefix(archive::small()).unwrap().to_owned();
                logs.push((inside, fs::read(&path).unwrap()));
            }
        }
    }
    for (path, bytes) in store.chain(logs) {
        let (path, digest) = (path.to_str().unwrap().to_owned(), hex::encode(Sha256::digest(bytes)));
        assert!(page.contains(&path) && page.contains(&digest), "{path} is not among the inputs");
        inputs += 1;
    }
    assert!(inputs > 200);
    // Every network's weights, recipe and manifest, and the split and protocol that they rest on.
    let table = on_store(&["table"], &protocol(), good_store()).expect(0).json();
    for cell in table["cells"].as_array().unwrap() {
        assert!(page.contains(cell["weights"].as_str().unwrap()), "{cell}");
    }
    let plan = on_store(&["plan"], &protocol(), good_store()).expect(0).json();
    let digests = plan["splits"].as_array().unwrap().iter().map(|split| &split["digest"]);
    for digest in digests.chain([&plan["protocol_digest"], &plan["data"]]) {
        assert!(page.contains(digest.as_str().unwrap()), "{digest}");
    }
}

#[test]
fn numbers_are_those_that_other_commands_give() {
    let csv = |name: &str| -> Vec<Vec<String>> {
        let bytes = fs::read(both().join("data").join(name)).unwrap();
        let rows = csv::Reader::from_reader(bytes.as_slice()).into_records();
        rows.map(|row| row.unwrap().iter().map(ToString::to_string).collect()).collect()
    };
    let table = on_store(&["table"], &protocol(), good_store()).expect(0).json();
    let runs = csv("store-runs.csv");
    assert_eq!(runs.len(), 23);
    for cell in table["cells"].as_array().unwrap() {
        let name = format!("{}/{}/{}", cell["split"], cell["seed"], cell["treatment"]).replace('"', "");
        let row = runs.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("no row of {name}"));
        assert_eq!(
            (row[7].as_str(), row[8].as_str()),
            (cell["correct"].to_string().as_str(), cell["total"].to_string().as_str())
        );
    }
    let mut audit = selffer(["audit", "--format", "json"]);
    audit.arg(archive::small());
    let audit = run(audit).json();
    for run in audit["runs"].as_array().unwrap() {
        let row =
            csv("archive-runs.csv").into_iter().find(|row| row[0] == run["run"].as_str().unwrap()).unwrap();
        let percent = format!("{:.3}", 100.0 * run["accuracy"].as_f64().unwrap());
        assert_eq!(row[6], percent, "{row:?}");
    }
    let means = csv("archive-accuracy-means.csv");
    let cell = audit["cells"]
        .as_array()
        .unwrap()
        .iter()
        .find(|cell| cell["split"] == "random" && cell["treatment"] == "AnB" && cell["n"] == 5);
    let (cell, row) = (cell.unwrap(), means.iter().find(|row| row[0] == "AnB" && row[1] == "5").unwrap());
    assert_eq!(row[2], format!("{:.3}", 100.0 * cell["mean"].as_f64().unwrap()));
    assert_eq!(row[4], cell["runs"].as_array().unwrap().len().to_string());
    // What a generality rests on.
    let layers = audit["questions"]["layers"].as_array().unwrap();
    let generality = csv("archive-generality.csv");
    assert_eq!(generality.len(), layers.len());
    for (row, layer) in generality.iter().zip(layers) {
        let runs = layer["generality_runs"].as_array().unwrap().len();
        assert!(runs > 0 && row[4] == runs.to_string() && row[5].split(' ').count() == runs, "{row:?}");
    }
    // Every score of every run.
    let scores: u64 =
        audit["runs"].as_array().unwrap().iter().map(|run| run["scores"].as_u64().unwrap()).sum();
    assert_eq!(csv("archive-curves.csv").len() as u64, scores);
    assert_eq!(csv("store-curves.csv").len(), 23 * 2);
    // Epochs count from 0, as in `show` and in protocols.
    for row in csv("store-curves.csv").chunks(2) {
        assert_eq!((row[0][1].as_str(), row[0][2].as_str(), row[1][2].as_str()), ("epoch", "0", "1"));
    }
}

/// One command makes both sides again, and none is named that could not work.
#[test]
fn commands_are_those_that_work() {
    let page = fs::read_to_string(both().join("index.html")).unwrap();
    let commands: Vec<&str> =
        page.split("<pre><code>").skip(1).filter_map(|rest| rest.split("</code>").next()).collect();
    let own: Vec<_> = commands.iter().filter(|text| text.starts_with("selffer report ")).collect();
    let options = "--protocol store.toml --numerics portable --store &quot;$STORE&quot; --archive &quot;$ARCHIVE&quot; --out report";
    assert_eq!(own, [&format!("selffer report {options}")]);
    // The program has no golden snapshot of this protocol.
    assert!(!commands.iter().any(|text| text.contains("golden")), "{commands:?}");
    // In sentences as well they are told from words.
    let text = page.replace("&quot;", "\"");
    let verify = "<code>selffer verify --protocol store.toml --numerics portable --store \"$STORE\"</code> held every file";
    assert!(text.contains(verify) && !text.contains('`'), "{verify}");
    // As printed, from where the protocol's file is.
    let dir = scratch();
    let line = own[0].replace("&quot;", "\"").replace("--out report", "--out \"$OUT\"");
    let line = line.replacen("selffer", env!("CARGO_BIN_EXE_selffer"), 1);
    let mut call = std::process::Command::new("sh");
    call.args(["-c", &line]).current_dir(protocol().parent().unwrap());
    call.env("STORE", good_store()).env("ARCHIVE", archive::small()).env("OUT", dir.path().join("out"));
    run(call).expect(0);
    assert!(fs::read_to_string(dir.path().join("out/index.html")).unwrap() == page);
}

/// Every treatment that the notation has, on every kind of split: as few images as there can be.
const ALL_TREATMENTS: &str = r#"
name = "all"
data = "embedded"
train_per_class = 6
valid_per_class = 10
seeds = [1]
depths = [1, 5]

[network]
conv = [8, 8, 8, 8, 8]
hidden = [24, 24]
filler = "he"

[solver]
epochs = 1
batch = 10
rate = 0.01
rate_drops = []
rate_factor = 0.1
momentum = 0.9
decay = 5e-4

[[split]]
name = "random-0"
halves = { random = 0 }
treatments = [
  "baseA", "baseB", "BnB", "BnB+", "AnB", "AnB+", "BnB^k", "AnB^k", "BnA^2", "RnB", "baseB@2", "baseB@5", "baseA@3",
]

[[split]]
name = "kinds"
treatments = ["baseA", "baseB", "BnB", "BnB+", "AnB", "AnB+", "BnB^2", "AnB^k", "AnA", "RnB", "baseB@2", "baseB@4"]

[split.halves.named]
A = ["digit-0", "digit-1"]
B = ["trouser", "bag"]

[[split]]
name = "a-name-that-is-longer-than-the-picture-of-a-figure-is-wide-on-a-phone"
treatments = ["baseB", "AnB", "BnB"]

[split.halves.named]
A = ["digit-2", "digit-3"]
B = ["coat", "sandal"]

[[split]]
name = "whole"
halves = "whole"
treatments = ["baseA", "AnA", "AnA+", "AnA^1", "RnA", "baseA@2"]
"#;

/// The report of those, written once.
fn all_treatments() -> &'static Path {
    static ALL: OnceLock<TempDir> = OnceLock::new();
    let dir = ALL.get_or_init(|| {
        let dir = scratch();
        fs::write(dir.path().join("all.toml"), ALL_TREATMENTS).unwrap();
        // So little training leaves some at chance, which is a finding.
        let (file, store) = (dir.path().join("all.toml"), dir.path().join("store"));
        let ran = on_store(&["reproduce", "-q", "--jobs", "2"], &file, &store);
        assert!(ran.code == Some(0) || ran.code == Some(1), "{}", ran.err);
        dir
    });
    dir.path()
}

/// Behind the means of Table 1 are base networks and controls too that no run is compared with by itself.
#[test]
fn the_runs_of_table_1_are_those_of_its_means() {
    let dir = scratch();
    let (archive, out) = (dir.path().join("convnet_transfer"), dir.path().join("report"));
    archive::copy(archive::small(), &archive);
    for n in 1..=7 {
        fs::remove_dir_all(archive.join(format!("results/transfer-ft0B0A_1_{n}"))).unwrap();
    }
    report(None, Some(&archive), &out).expect(0);
    let page = fs::read_to_string(out.join("index.html")).unwrap();
    let list = page.split_once("id=\"archive-table-1-1-7\"").expect("the list").1;
    let list = list.split_once("</details>").unwrap().0;
    for run in ["half0A", "half0B", "transfer-ft0A0A_1_1", "transfer-ft0A0B_1_7"] {
        assert!(list.contains(&format!(">{run}</a>")), "{run}: {list}");
    }
}

#[test]
fn networks_on_fewer_examples_are_in_one_table() {
    let page = fs::read_to_string(all_treatments().join("store/report/index.html")).unwrap();
    let (head, table) = ("<h3>These runs: fewer examples</h3>", "examples of<br>each class");
    assert_eq!((page.matches(head).count(), page.matches(table).count()), (1, 1));
}

#[test]
fn every_run_of_every_treatment_is_in_a_figure() {
    let dir = all_treatments();
    let plan = on_store(&["plan"], &dir.join("all.toml"), &dir.join("store")).expect(0).json();
    let runs: Vec<&str> =
        plan["runs"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap()).collect();
    assert!(runs.len() > 70, "{}", runs.len());
    let report = dir.join("store/report");
    let mut shown = BTreeSet::new();
    for (path, bytes) in files(&report.join("data")) {
        let name = path.to_str().unwrap();
        if name.ends_with("-runs.csv") && name != "store-accuracy-runs.csv" || name.ends_with("-curves.csv") {
            continue;
        }
        let mut csv = csv::Reader::from_reader(bytes.as_slice());
        let Some(column) = csv.headers().unwrap().iter().position(|name| name == "run") else { continue };
        shown.extend(csv.records().map(|row| row.unwrap()[column].to_owned()));
    }
    let lost: Vec<&&str> = runs.iter().filter(|run| !shown.contains(**run)).collect();
    assert_eq!(lost, [&""; 0], "in no figure's numbers");
    // And each is a marker that leads to its entry; entries are in the plan's order.
    let pictures: String = files(&report.join("figures"))
        .into_iter()
        .filter(|(path, _)| !path.starts_with("curves"))
        .map(|(_, bytes)| String::from_utf8(bytes).unwrap())
        .collect();
    for (index, run) in runs.iter().enumerate() {
        assert!(pictures.contains(&format!("index.html#store-run-{index}\"")), "{run} has no marker");
    }
    // Tasks have lines of their own.
    let examples = fs::read_to_string(report.join("figures/store-examples.svg")).unwrap();
    for task in ["random-0/A", "random-0/B", "kinds/B", "whole/A"] {
        assert!(examples.contains(&format!(">base networks, {task}<")), "{task}");
    }
}

/// A mean that has runs at chance in it says so; the number is that of the figures' own list of runs.
#[test]
fn runs_at_chance_are_told_beside_their_means() {
    let dir = all_treatments();
    let csv = fs::read(dir.join("store/report/data/store-runs.csv")).unwrap();
    let rows: Vec<csv::StringRecord> =
        csv::Reader::from_reader(csv.as_slice()).into_records().map(|row| row.unwrap()).collect();
    // The same ones as `verify` finds.
    let verified = on_store(&["verify"], &dir.join("all.toml"), &dir.join("store"));
    let found = verified.findings().into_iter().filter(|(code, _)| code == "run-at-chance");
    let found: BTreeSet<String> = found.map(|(_, run)| run).collect();
    let flagged = rows.iter().filter(|row| &row[9] == "true").map(|row| row[0].to_owned());
    assert_eq!(flagged.collect::<BTreeSet<_>>(), found);
    let page = fs::read_to_string(dir.join("store/report/index.html")).unwrap();
    let tables =
        page.split("<section id=\"accuracies\">").nth(1).unwrap().split("</section>").next().unwrap();
    let chance = rows.iter().filter(|row| &row[9] == "true").count();
    assert!(chance > 0, "no run is at chance, so there is nothing to see");
    let told: Vec<&str> =
        tables.split(" ×</small>").filter_map(|before| before.rsplit("<br>").next()).collect();
    let told: usize = told.iter().filter_map(|count| count.parse::<usize>().ok()).sum();
    assert_eq!(told, chance);
}

#[test]
fn reproduce_ends_in_a_report_that_is_no_stray_and_can_be_left_out() {
    let (_dir, store) = good_copy();
    let page = store.join("report/index.html");
    let first = fs::read(&page).unwrap();
    on_store(&["verify"], &protocol(), &store).expect(0);
    // `report` writes there too, the same.
    let mut call = selffer(["report", "--protocol"]);
    call.arg(protocol()).arg("--store").arg(&store);
    let ran = run(call).expect(0);
    assert_eq!(ran.out.trim(), page.display().to_string());
    assert!(fs::read(&page).unwrap() == first);
    fs::remove_dir_all(store.join("report")).unwrap();
    on_store(&["reproduce", "-q", "--no-report"], &protocol(), &store).expect(0);
    assert!(!store.join("report").exists());
    on_store(&["reproduce", "-q"], &protocol(), &store).expect(0);
    assert!(fs::read(&page).unwrap() == first);
    // What somebody put there is refused before anything is trained, and stays.
    fs::write(store.join("report/mine.txt"), "mine").unwrap();
    let ran = on_store(&["reproduce", "-q"], &protocol(), &store).expect(2);
    assert!(ran.err.contains("mine.txt") && ran.err.contains("--no-report"), "{}", ran.err);
    assert!(store.join("report/mine.txt").exists() && fs::read(&page).unwrap() == first);
}

/// What was trained is kept by then, and nobody listens for a signal to go on from it.
#[test]
fn a_reproduce_that_waits_for_another_report_ends_at_the_first_signal() {
    let (dir, store) = good_copy();
    let held = fs::File::open(&store).unwrap();
    held.lock().unwrap();
    let said = dir.path().join("said");
    let mut call = selffer(["reproduce", "--quiet", "--protocol"]);
    call.arg(protocol()).arg("--store").arg(&store).stdout(Stdio::null());
    let mut child = call.stderr(fs::File::create(&said).unwrap()).spawn().unwrap();
    wait_for("it does not wait", || fs::read_to_string(&said).unwrap().contains("waiting for").then_some(()));
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn wrong_sources_are_one_sentence_and_write_nothing() {
    let dir = scratch();
    let out = dir.path().join("out");
    let nothing = dir.path().join("nothing");
    for (store, archive, named) in [
        (Some(nothing.as_path()), None, "is not there"),
        (None, Some(nothing.as_path()), "is not there"),
        (None, Some(dir.path()), "holds neither a published archive"),
        (Some(good_store()), Some(nothing.as_path()), "is not there"),
    ] {
        let ran = report(store, archive, &out).expect(2);
        assert!(ran.err.contains(named) && ran.err.trim().lines().count() == 1, "{}", ran.err);
        assert!(!out.exists());
    }
    // Each by the other's name; and by none, `store` in the working directory.
    let ran = report(None, Some(good_store()), &out).expect(2);
    assert!(ran.err.contains("is a selffer store; name it with --store"), "{}", ran.err);
    let ran = report(Some(archive::small()), None, &out).expect(2);
    assert!(ran.err.contains("is a published archive; name it with --archive"), "{}", ran.err);
    let mut call = selffer(["report"]);
    call.current_dir(dir.path());
    let ran = run(call).expect(2);
    assert!(ran.err.starts_with("error: store: is not there"), "{}", ran.err);
    assert!(!out.exists() && !dir.path().join("store").exists());
}

#[test]
fn a_store_with_findings_or_without_networks_has_a_page_that_says_so() {
    let (_dir, store) = good_copy();
    let manifest = files(&store.join("manifests")).into_keys().next().unwrap();
    fs::write(store.join("manifests").join(&manifest), "{}").unwrap();
    let out = scratch();
    report(Some(&store), None, out.path()).expect(0);
    let page = fs::read_to_string(out.path().join("index.html")).unwrap();
    assert!(page.contains("file-damaged") && page.contains(manifest.to_str().unwrap()));
    assert!(page.contains("the store has no manifest of it"));
    // A place in training is called as `show` and `verify` call it.
    let kept = Store::open(&store).unwrap();
    let whole = |entry| match entry {
        Entry::Manifest(digest) => kept.manifest(digest).unwrap().whole(),
        _ => None,
    };
    let mut diverged = kept.list().unwrap().0.into_iter().find_map(whole).unwrap();
    diverged.outcome = Outcome::Diverged { epoch: 1, step: 3 };
    diverged.epochs.pop();
    kept.put_manifest(&diverged).unwrap();
    report(Some(&store), None, out.path()).expect(0);
    let page = fs::read_to_string(out.path().join("index.html")).unwrap();
    assert!(page.contains("training diverged in epoch 1, step 3"));
    assert!(page.contains("the loss was not finite in epoch 1, step 3"));
    for sub in ["manifests", "checkpoints"] {
        fs::remove_dir_all(store.join(sub)).unwrap();
        fs::create_dir(store.join(sub)).unwrap();
    }
    report(Some(&store), None, out.path()).expect(0);
    let page = fs::read_to_string(out.path().join("index.html")).unwrap();
    assert!(page.contains("run-missing") && page.contains("Here are no networks on random halves."));
}

/// Opens every fold, then says of the page what a reader would see wrong.
const LOOK: &str = r#"
document.querySelectorAll('details').forEach(fold => fold.open = true);
const wrong = [], say = (where, what) => wrong.push(where + ': ' + what);
const charts = [...document.querySelectorAll('figure svg.chart')];
for (const chart of charts) {
    const name = chart.getAttribute('aria-label'), box = chart.getBoundingClientRect();
    const marks = chart.querySelectorAll('path, circle, image, rect').length;
    if (box.width < 200 || box.height < 100 || marks < 4) say(name, 'it is empty');
    const texts = [...chart.querySelectorAll('text')].map(text => ({
        text: text.textContent, box: text.getBoundingClientRect(),
        size: parseFloat(text.getAttribute('font-size')) * box.width / chart.viewBox.baseVal.width,
    }));
    if (texts.length < 4) say(name, 'it has no words');
    if (!texts.some(one => /\d (run|network)|\d+ of them/.test(one.text))) say(name, 'it does not say of how many runs');
    for (const one of texts) {
        if (one.size < 9.5) say(name, one.text + ' is ' + one.size.toFixed(1) + ' px high');
        const room = 0.6;
        if (one.box.left < box.left - room || one.box.right > box.right + room ||
            one.box.top < box.top - room || one.box.bottom > box.bottom + room) say(name, one.text + ' is cut');
    }
    for (let a = 0; a < texts.length; a++) for (let b = a + 1; b < texts.length; b++) {
        const [p, q] = [texts[a].box, texts[b].box];
        const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
        const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
        // A line's box has room above and below its letters.
        if (wide > 1 && high > 0.3 * Math.min(p.height, q.height)) say(name, texts[a].text + ' on ' + texts[b].text);
    }
}
for (const image of document.querySelectorAll('svg image')) {
    if (!image.getAttribute('href').startsWith('data:image/png;base64,')) say('image', 'it is elsewhere');
}
const width = document.documentElement.clientWidth;
for (const one of document.querySelectorAll('body *')) {
    if (one.closest('svg') && one.tagName !== 'svg') continue;
    if (one.closest('.wide') && !one.classList.contains('wide')) continue;
    const box = one.getBoundingClientRect();
    if (box.right > innerWidth + 0.6) { say(one.tagName + '.' + one.className, 'it reaches ' + box.right.toFixed(0)); break; }
}
for (const table of document.querySelectorAll('.wide')) {
    if (table.scrollWidth > table.clientWidth + 1) say('table', table.textContent.slice(0, 60) + ' is ' + table.scrollWidth + ' wide');
}
wrong.splice(12);
const links = [...new Set([...document.querySelectorAll('a')].map(link => link.getAttribute('href')))];
return {
    charts: charts.length, names: charts.map(chart => chart.getAttribute('aria-label')), wrong,
    broken: links.filter(link => link.startsWith('#') && !document.getElementById(link.slice(1))),
    files: links.filter(link => !link.startsWith('#')),
    scroll: document.documentElement.scrollWidth, width,
    paper: getComputedStyle(document.body).backgroundColor,
    title: document.title, outside: performance.getEntriesByType('resource').map(one => one.name),
};
"#;

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|one| one.as_str().expect("a text")).collect()
}

#[test]
fn a_browser_shows_all_of_it_on_a_desk_and_on_a_phone_in_light_and_dark() {
    let Some(browser) = Browser::start() else {
        return say(
            "NOT CHECKED: the report in a browser, for there is no chromedriver (apt-get install chromium chromium-driver)",
        );
    };
    let page = both().join("index.html");
    let mut papers = BTreeSet::new();
    for (width, dark) in [(390, false), (390, true), (1280, false), (1280, true)] {
        browser.looks(width, dark);
        browser.open(&page);
        let seen = browser.run(LOOK);
        assert_eq!(texts(&seen["wrong"]), [""; 0], "at {width} pixels");
        assert_eq!(texts(&seen["broken"]), [""; 0]);
        assert!(
            seen["scroll"].as_u64() <= Some(width.into()),
            "it scrolls sideways: {} of {width}",
            seen["scroll"]
        );
        assert_eq!(browser.console(), [""; 0]);
        assert_eq!(texts(&seen["outside"]), [""; 0], "it needs no other file");
        papers.insert(seen["paper"].as_str().unwrap().to_owned());
        // Nine kinds of figures of the archive, those of the store, its filters, and every curve.
        let curves = 23 + archive::runs().len() as u64;
        let own =
            files(&both().join("figures")).keys().filter(|path| path.parent() == Some(Path::new(""))).count()
                as u64;
        assert_eq!(seen["charts"].as_u64(), Some(curves + own));
        for title in [
            "Accuracy by layers copied: every run",
            "Means, and what is lost to what",
            "Transfer between dissimilar tasks",
            "Random, untrained lower layers",
            "All three relative to base",
            "Accuracy by examples of each class",
            "How co-adapted are neighbouring layers?",
            "How specific is a layer to its task?",
            "How general is a layer?",
            "First layer of random-0/1/baseA",
            "random-0/1/A1B+: accuracy and loss",
            "reduced-0025: accuracy and loss",
        ] {
            assert!(texts(&seen["names"]).contains(&title), "there is no figure {title}");
        }
        for file in texts(&seen["files"]) {
            assert!(both().join(file).is_file(), "{file} is not there");
        }
    }
    assert_eq!(papers.len(), 2, "light and dark have one paper: {papers:?}");
    // Names that are longer than a figure is wide, and every kind of figure.
    browser.looks(390, false);
    browser.open(&all_treatments().join("store/report/index.html"));
    let seen = browser.run(LOOK);
    assert_eq!((texts(&seen["wrong"]), texts(&seen["broken"])), (vec![], vec![]));
    assert!(seen["scroll"].as_u64() <= Some(390), "it scrolls sideways: {}", seen["scroll"]);
    assert_eq!(browser.console(), [""; 0]);
    for title in [
        "Treatments and controls on kinds/B",
        "Treatments and controls on whole/A",
        "AnB^k: k more layers copied",
        "BnB^k: k more layers copied on kinds/B",
        "Base networks by task",
    ] {
        assert!(texts(&seen["names"]).contains(&title), "there is no figure {title}");
    }
}

#[test]
fn every_figure_is_a_picture_of_its_own() {
    let Some(browser) = Browser::start() else { return };
    let look = "const svg = document.documentElement; const box = svg.getBoundingClientRect(); \
                return [svg.tagName, svg.querySelectorAll('text').length, \
                getComputedStyle(svg.querySelector('text')).fill, box.width]";
    let figures = files(&both().join("figures"));
    assert!(figures.len() > 100);
    for (path, bytes) in &figures {
        assert!(bytes.starts_with(b"<?xml"), "{}", path.display());
    }
    // The curves are all drawn by the same few lines: the first stands for them.
    let curve = figures.keys().find(|path| path.starts_with("curves")).into_iter();
    let others = figures.keys().filter(|path| !path.starts_with("curves"));
    for path in others.chain(curve) {
        let mut fills = BTreeSet::new();
        for dark in [false, true] {
            browser.looks(800, dark);
            browser.open(&both().join("figures").join(path));
            let seen = browser.run(look);
            assert_eq!(seen[0], "svg", "{}: {seen}", path.display());
            assert!(
                seen[1].as_u64() > Some(3) && seen[3].as_f64() > Some(300.0),
                "{}: {seen}",
                path.display()
            );
            fills.insert(seen[2].to_string());
            assert_eq!(browser.console(), [""; 0], "{}", path.display());
        }
        assert_eq!(fills.len(), 2, "{} is the same in light and dark", path.display());
    }
}
