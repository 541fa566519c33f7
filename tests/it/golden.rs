//! Golden snapshots: the smoke protocol against its own, what is said of a store that differs, and what
//! is accepted as the next one.

use crate::common::{
    Ran, files, good_copy, good_store, on_store, protocol, repository, run, scratch, selffer, with_plan,
};
use selffer::digest::{Digest, FingerprintDigest};
use selffer::manifest::{Count, Manifest};
use selffer::protocol::Protocol;
use selffer::recipe::Policy;
use selffer::store::Store;
use selffer::table::Table;
use selffer::verify::Context;
use selffer::verify::golden::{self, Golden, Scope};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The name of the good store's snapshot.
const FILE: &str = "store.portable.snap";

/// The snapshot of a store, by the library.
fn golden_of(protocol: &str, store: &Path) -> Golden {
    let store = Store::open(store).unwrap();
    with_plan(Path::new(protocol), |plan| {
        let context = Context::new(plan, &store, Policy::Portable).unwrap();
        let fingerprint = golden::fingerprint(&context.manifests);
        assert!(fingerprint.is_some(), "all networks were trained here");
        Golden::of(plan, &Table::of(plan, &context.manifests), Policy::Portable, fingerprint)
    })
}

fn good_golden() -> Golden {
    golden_of(protocol().to_str().unwrap(), good_store())
}

/// `selffer COMMAND… --golden …` on a store of the little protocol, in text or in JSON.
fn call(command: &[&str], golden: &Path, store: &Path, format: &str) -> Ran {
    let mut call = selffer(command);
    call.arg("--protocol").arg(protocol()).arg("--store").arg(store);
    call.arg("--golden").arg(golden).args(["--format", format]);
    run(call)
}

fn check(golden: &Path) -> Ran {
    call(&["golden", "check"], golden, good_store(), "text")
}

fn accept(golden: &Path, store: &Path) -> Ran {
    call(&["golden", "accept", "--reason", "a test"], golden, store, "text")
}

/// A directory with the good store's snapshot, which the program accepted.
fn accepted() -> (TempDir, PathBuf) {
    let dir = scratch();
    let golden = dir.path().join("golden");
    accept(&golden, good_store()).expect(0);
    assert_eq!(names(&golden), [FILE]);
    (dir, golden)
}

/// The names of the files in a directory; none where there is no directory.
fn names(dir: &Path) -> Vec<String> {
    match dir.exists() {
        true => files(dir).keys().map(|path| path.display().to_string()).collect(),
        false => Vec::new(),
    }
}

/// Puts another table under the header of the snapshot in `dir`.
fn put(dir: &Path, golden: &Golden) {
    let path = dir.join(FILE);
    let file = fs::read_to_string(&path).unwrap();
    let (header, _) = file.rsplit_once("---\n").expect("a header");
    fs::write(path, format!("{header}---\n{}", golden.text())).unwrap();
}

/// Moves the golden count of a run away from what it is now, and gives the change that is to be reported.
fn shift(golden: &mut Golden, run: &str, by: u32) -> f64 {
    let Count { correct, total } = golden.runs[run].count;
    let old = if correct >= by { correct - by } else { correct + by };
    golden.runs.get_mut(run).unwrap().count = Count { correct: old, total };
    100.0 * (f64::from(correct) - f64::from(old)) / f64::from(total)
}

/// The rows of a table of differences, word by word.
fn rows(text: &str) -> Vec<Vec<String>> {
    let words = |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let header = ["run", "golden", "now", "points", "weights"];
    let mut lines = text.lines().map(words);
    assert!(lines.any(|line| line == header), "no table of differences in:\n{text}");
    lines.take_while(|line| line.len() == header.len()).collect()
}

fn share(count: Count) -> String {
    format!("{}/{}", count.correct, count.total)
}

/// The accepted networks of the smoke protocol, trained anew. insta reads the same file as the program.
#[test]
fn smoke_comes_out_as_accepted() {
    let dir = scratch();
    let store = dir.path().join("store");
    let golden = repository("golden");
    let golden = golden.to_str().unwrap();
    let command = ["reproduce", "--quiet", "--no-report", "--golden", golden];
    let ran = on_store(&command, Path::new("smoke"), &store);
    // A machine may have another fingerprint and train the same networks all the same.
    let (_, accepted) =
        Golden::find(Some(Path::new(golden)), &Scope::new("smoke", Policy::Portable, None)).unwrap().unwrap();
    assert!(accepted.fingerprint.is_some());
    let new = Golden { fingerprint: accepted.fingerprint, ..golden_of("smoke", &store) };
    insta::with_settings!({
        snapshot_path => repository("golden"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!("smoke.portable", new.text());
    });
    let ran = ran.expect(0);
    assert_eq!(ran.findings(), []);
    assert_eq!(ran.json()["golden"]["compared"], json!(new.runs.len()));
}

/// The program's file is one that insta reads, whatever the reason has in it.
#[test]
fn insta_reads_what_the_program_writes() {
    let dir = scratch();
    let reason = "new \"rates\": 0.1 # and 0.2 \\ ---, größer";
    call(&["golden", "accept", "--reason", reason], dir.path(), good_store(), "text").expect(0);
    insta::with_settings!({ snapshot_path => dir.path(), prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("store.portable", good_golden().text());
    });
    assert_eq!(names(dir.path()), [FILE], "insta saw a difference");
}

/// The program reads what insta writes: other keys in the header, and one newline at the end.
#[test]
fn the_program_reads_what_insta_writes() {
    let (_dir, golden) = accepted();
    let text = good_golden().text();
    let headers = [
        "source: tests/it/golden.rs\n",
        "source: tests/it/golden.rs\nassertion_line: 12\nexpression: text\nsnapshot_kind: text\n",
        "source: tests/it/golden.rs\ndescription: \"a: b --- c\"\ninfo:\n  cpu: x\n",
    ];
    for header in headers {
        for body in [text.clone(), format!("{}\n", text.trim_end()), text.trim_end().to_owned()] {
            let file = format!("---\n{header}---\n{body}");
            assert_eq!(Golden::parse(&file, "a file").unwrap(), good_golden(), "{file}");
            fs::write(golden.join(FILE), file).unwrap();
            check(&golden).expect(0);
        }
    }
}

/// Every cell that changed is listed with what it was, what it is, and by how much, the largest change
/// first; then what only one side has; then weights alone. JSON has the same order.
#[test]
fn changes_are_listed_the_largest_first() {
    let (_dir, golden) = accepted();
    let now = good_golden();
    let mut old = now.clone();
    // In the order of names they are neither falling nor rising.
    let changed = ["mixed/1/A4B", "mixed/1/R1B", "random-0/1/baseA", "whole/1/baseA"];
    let mut points: Vec<(&str, f64)> =
        changed.into_iter().zip([8, 20, 2, 60]).map(|(run, by)| (run, shift(&mut old, run, by))).collect();
    points.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    assert_ne!(points.iter().map(|(run, _)| *run).collect::<Vec<_>>(), changed, "names have the same order");
    assert!(old.runs.remove("mixed/1/A1A").is_some());
    old.runs.insert("mixed/2/baseA".to_owned(), now.runs["mixed/1/baseA"]);
    let other = now.runs["mixed/1/baseB"].weights;
    old.runs.get_mut("mixed/1/baseA").unwrap().weights = other;
    put(&golden, &old);

    let mut expected: Vec<[String; 5]> = Vec::new();
    for (run, points) in &points {
        let (old, new) = (share(old.runs[*run].count), share(now.runs[*run].count));
        expected.push([run.to_string(), old, new, format!("{points:+.1}"), "same".to_owned()]);
    }
    let dash = || "-".to_owned();
    let row = |run: &str| (run.to_owned(), share(now.runs[run].count));
    let (new, count) = row("mixed/1/A1A");
    expected.push([new, dash(), count, dash(), "new".to_owned()]);
    expected.push(["mixed/2/baseA".to_owned(), row("mixed/1/baseA").1, dash(), dash(), "absent".to_owned()]);
    let (alone, count) = row("mixed/1/baseA");
    expected.push([alone, count.clone(), count, "+0.0".to_owned(), "differ".to_owned()]);

    let ran = check(&golden).expect(1);
    assert_eq!(rows(&ran.out), expected, "{}", ran.out);
    let said = format!("golden: 7 networks are not those of {}", golden.join(FILE).display());
    assert!(ran.out.contains(&said), "{}", ran.out);

    let json = call(&["golden", "check"], &golden, good_store(), "json").expect(1).json();
    let differences = json["golden"]["differences"].as_array().unwrap();
    assert_eq!(differences.len(), expected.len());
    for (difference, [run, old, new, _, weights]) in differences.iter().zip(&expected) {
        let count = |value: &Value| match value {
            Value::Null => dash(),
            count => format!("{}/{}", count["correct"], count["total"]),
        };
        assert_eq!(difference["run"], json!(run));
        assert_eq!([count(&difference["old"]), count(&difference["new"])], [old.clone(), new.clone()]);
        assert_eq!(difference["weights_differ"], json!(weights != "same"));
    }
    // The findings too.
    let findings = json["findings"].as_array().unwrap();
    let subjects: Vec<&str> = findings.iter().map(|finding| finding["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, expected.iter().map(|row| row[0].as_str()).collect::<Vec<_>>());
}

/// The table stands in the output of `reproduce` as well.
#[test]
fn reproduce_lists_changes_too() {
    let (_dir, golden) = accepted();
    let mut old = good_golden();
    let points = shift(&mut old, "mixed/1/A4B", 8);
    put(&golden, &old);
    let (_store_dir, store) = good_copy();
    let ran = call(&["reproduce", "--quiet"], &golden, &store, "text").expect(1);
    let rows = rows(&ran.out);
    assert_eq!(rows.len(), 1, "{}", ran.out);
    assert_eq!([&rows[0][0], &rows[0][3]], ["mixed/1/A4B", &format!("{points:+.1}")]);
    assert!(ran.out.ends_with("1 error\n"), "{}", ran.out);
}

/// Each kind of difference alone: what is said of it names the run and both sides.
#[test]
fn each_kind_of_difference_is_named() {
    let now = good_golden();
    let run = "mixed/1/A4B";
    let count = now.runs[run].count;
    let right = format!("{} of {}", count.correct, count.total);
    let other = now.runs["mixed/1/baseB"].weights;

    let mut accuracy = now.clone();
    let points = shift(&mut accuracy, run, 8);
    let before = accuracy.runs[run].count.correct;
    let mut missing = now.clone();
    missing.runs.insert("mixed/1/A5B".to_owned(), now.runs[run]);
    let mut new = now.clone();
    new.runs.remove(run);
    let mut weights = now.clone();
    weights.runs.get_mut(run).unwrap().weights = other;
    let cases = [
        (
            accuracy,
            "golden-accuracy-differs",
            run,
            format!("{right} right, golden {before} of {} ({points:+.1} points)", count.total),
        ),
        (missing, "golden-run-missing", "mixed/1/A5B", format!("not there; the golden accuracy is {right}")),
        (new, "golden-run-new", run, format!("not in the golden snapshot ({right} right)")),
        (weights, "golden-weights-differ", run, "same accuracy, other weights".to_owned()),
    ];
    for (golden, code, subject, message) in cases {
        let (_dir, dir) = accepted();
        put(&dir, &golden);
        let ran = call(&["golden", "check"], &dir, good_store(), "json").expect(1);
        assert_eq!(ran.findings(), [(code.to_owned(), subject.to_owned())]);
        assert_eq!(ran.json()["findings"][0]["message"], json!(message));
    }
}

#[test]
fn other_inputs_are_named_with_both_sides() {
    for key in ["protocol", "data", "numerics", "split"] {
        let (_dir, golden) = accepted();
        let mut old = good_golden();
        let input = old.inputs.iter_mut().find(|(known, _)| known == key).expect("an input");
        let now = std::mem::replace(&mut input.1, "another".to_owned());
        put(&golden, &old);
        let ran = check(&golden).expect(1);
        assert!(ran.out.starts_with("error[golden-inputs-differ] "), "{}", ran.out);
        for line in [
            format!("  {}: it was made from other inputs", golden.join(FILE).display()),
            format!("      golden {key} another\n      now {key} {now}\n"),
        ] {
            assert!(ran.out.contains(&line), "{line}\n{}", ran.out);
        }
        // The networks are compared all the same.
        assert!(ran.out.contains(&format!("all {} networks are those of", old.runs.len())), "{}", ran.out);
    }
}

/// What ci/gpu holds a GPU against is too long to be trained in the gate; that it is of its protocol is seen here.
#[test]
fn what_a_gpu_is_held_against_is_of_its_protocol_as_it_is() {
    for (made, name) in [("three_seeds ci", "ci-three-seeds"), ("one_seed standard", "standard-one-seed")] {
        let mut call = Command::new("bash");
        call.args(["-c", &format!("source ci/lib.sh && {made}")]).current_dir(repository(""));
        let protocol = Protocol::parse(&run(call).expect(0).out, name).unwrap();
        let file = format!("golden/{name}.portable.snap");
        let golden = Golden::parse(&fs::read_to_string(repository(&file)).unwrap(), &file).unwrap();
        let digest = format!("{name} {}", protocol.digest().hex());
        assert!(golden.inputs.contains(&("protocol".to_owned(), digest)), "{file}: {:?}", golden.inputs);
    }
}

/// A snapshot that somebody damaged is named with the line, and no hour is spent on training first.
#[test]
fn a_damaged_snapshot_is_named_with_its_line() {
    let (_dir, golden) = accepted();
    let whole = fs::read_to_string(golden.join(FILE)).unwrap();
    let lines: Vec<String> = whole.lines().map(str::to_owned).collect();
    let at = |start: &str| lines.iter().position(|line| line.starts_with(start)).expect("such a line");
    let row = at("mixed/1/A4B ");
    let mark = at("fingerprint ");
    let with = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line.to_owned();
        lines
    };
    let mut twice = lines.clone();
    twice.insert(row + 1, lines[row].clone());
    let body = lines.iter().rposition(|line| line == "---").unwrap() + 1;
    // What is left of the file, and the line (from 1) that is to be named.
    let cases = [
        (with(row, "mixed/1/A4B many 80 abc"), row + 1, "is no row"),
        (with(row, &lines[row].replace("  ", "  -")), row + 1, "is no row"),
        (with(row, "mixed/1/A4B"), row + 1, "is no row"),
        (with(row, &lines[row][..lines[row].len() - 1]), row + 1, "is no row"),
        (with(row, &format!("{} more", lines[row])), row + 1, "is no row"),
        (twice, row + 2, "a second time"),
        (with(mark, "fingerprint"), mark + 1, "is no line of one fingerprint"),
        (with(mark, "fingerprint abc"), mark + 1, "is no line of one fingerprint"),
        (with(mark, &format!("{} more", lines[mark])), mark + 1, "is no line of one fingerprint"),
        (with(mark - 1, &lines[mark]), mark + 1, "has a fingerprint a second time"),
        (lines[body..].to_vec(), 1, "no snapshot header"),
        (lines[1..].to_vec(), 1, "no snapshot header"),
        (Vec::new(), 1, "no snapshot header"),
        (lines[..at("run ")].to_vec(), at("run "), "ends before its table"),
    ];
    for (at, (left, line, problem)) in cases.into_iter().enumerate() {
        let path = golden.join(FILE);
        fs::write(&path, left.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        let scope = Scope::new("store", Policy::Portable, None);
        let found = Golden::find(Some(&golden), &scope).unwrap_err().to_string();
        let said = format!("{}, line {line}: ", path.display());
        assert!(found.starts_with(&said) && found.contains(problem), "{said}{problem}\n{found}");
        // That the program says the same is seen at some of them.
        if at % 5 != 0 {
            continue;
        }
        let fresh = golden.with_file_name("fresh");
        let checked = check(&golden);
        let reproduced = call(&["reproduce", "--quiet"], &golden, &fresh, "text");
        assert!(!fresh.exists(), "it began to work before it looked");
        for ran in [checked, reproduced] {
            let ran = ran.expect(2);
            assert_eq!(ran.out, "");
            assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
            assert_eq!(ran.err, format!("error: {found}\n"));
            assert!(ran.err.contains("selffer golden accept --reason"), "{}", ran.err);
        }
    }
}

/// A snapshot has the fingerprint of where it was made, as a line of its own; that another machine has
/// another is no difference.
#[test]
fn the_fingerprint_is_kept_and_not_compared() {
    let (_dir, golden) = accepted();
    let now = good_golden();
    let hex = now.fingerprint.unwrap().hex();
    let line = format!("\nfingerprint {hex}\n");
    assert_eq!(fs::read_to_string(golden.join(FILE)).unwrap().matches(&line).count(), 1);
    assert!(!now.inputs.iter().any(|(key, _)| key == "fingerprint"));
    for fingerprint in [Some(FingerprintDigest(Digest::of(b"another machine"))), None] {
        let other = Golden { fingerprint, ..now.clone() };
        put(&golden, &other);
        let (_, read) =
            Golden::find(Some(&golden), &Scope::new("store", Policy::Portable, None)).unwrap().unwrap();
        assert_eq!(read, other);
        assert_eq!(call(&["golden", "check"], &golden, good_store(), "json").expect(0).findings(), []);
    }
}

/// Networks of several machines in one store are each as good; a snapshot is of one machine.
#[test]
fn networks_of_several_fingerprints_are_not_accepted() {
    let (dir, store) = good_copy();
    let path = fs::read_dir(store.join("manifests")).unwrap().next().unwrap().unwrap().path();
    let mut manifest = Manifest::from_bytes(&fs::read(&path).unwrap()).unwrap();
    manifest.environment.fingerprint = FingerprintDigest(Digest::of(b"another machine"));
    fs::write(&path, manifest.to_bytes()).unwrap();
    on_store(&["verify"], &protocol(), &store).expect(0);

    let golden = dir.path().join("golden");
    let said = format!(
        "error: {}: its networks were trained under several fingerprints; train them in one place, with `selffer \
         reproduce` in a new store\n",
        store.display()
    );
    let ran = accept(&golden, &store).expect(2);
    assert_eq!((ran.out.as_str(), &ran.err), ("", &said));
    assert!(!golden.exists());

    // Nor are they left for a review.
    let (_dir, golden) = accepted();
    let mut old = good_golden();
    shift(&mut old, "mixed/1/A4B", 8);
    put(&golden, &old);
    let ran = call(&["golden", "check", "--review"], &golden, &store, "text").expect(2);
    assert_eq!(ran.err, said);
    assert_eq!(names(&golden), [FILE]);
}

#[test]
fn without_a_snapshot_a_check_fails_and_a_reproduction_notes_it() {
    let dir = scratch();
    let ran = check(dir.path()).expect(2);
    assert_eq!(ran.out, "");
    let said = format!(
        "error: {}: has no {FILE}; name its directory with --golden, or make it with `selffer golden accept \
         --reason …`\n",
        dir.path().display()
    );
    assert_eq!(ran.err, said);

    // Where its directory was named, that is an error: a snapshot that went away is not to go unseen.
    let (_dir, store) = good_copy();
    let named = call(&["reproduce", "--quiet"], dir.path(), &store, "text").expect(1);
    let mut call = selffer(["reproduce", "--quiet", "--protocol"]);
    call.arg(protocol()).arg("--store").arg(&store);
    let noted = run(call).expect(0);
    for (ran, word, end) in [(named, "error", "1 error\n"), (noted, "note", "clean\n")] {
        let found = format!("{word}[golden-absent] ");
        let absent = format!("there is no {FILE}\n");
        for said in [&found, "selffer golden accept --reason", &absent] {
            assert!(ran.out.contains(said), "{said}\n{}", ran.out);
        }
        assert!(ran.out.ends_with(end), "{}", ran.out);
    }
}

/// A checkout may change the ends of lines.
#[test]
fn the_ends_of_lines_are_no_matter() {
    let (_dir, golden) = accepted();
    let text = fs::read_to_string(golden.join(FILE)).unwrap();
    fs::write(golden.join(FILE), text.replace('\n', "\r\n")).unwrap();
    assert!(check(&golden).expect(0).out.contains("bit for bit"));
}

/// A store that lacks a network, or has a damaged file, is no measure; the old one stays.
#[test]
fn only_a_complete_and_clean_store_is_accepted() {
    let (_dir, golden) = accepted();
    let before = files(&golden);
    let first = |store: &Path, sub: &str| {
        let dir = store.join(sub);
        dir.join(files(&dir).into_keys().next().expect("a file"))
    };
    let cases = [
        ("run-missing", "manifests", None),
        ("checkpoint-missing", "checkpoints", None),
        ("file-damaged", "checkpoints", Some("nothing")),
    ];
    for (code, sub, left) in cases {
        let (dir, store) = good_copy();
        match left {
            None => fs::remove_file(first(&store, sub)).unwrap(),
            Some(text) => fs::write(first(&store, sub), text).unwrap(),
        }
        let none = dir.path().join("golden");
        for golden in [&none, &golden] {
            let ran = accept(golden, &store).expect(1);
            assert!(ran.out.contains(&format!("error[{code}]")), "{code}\n{}", ran.out);
            assert_eq!(
                ran.err,
                "not accepted: a golden snapshot is made from a store without errors; mend what they name, or leave it out of the protocol\n"
            );
        }
        assert!(!none.exists(), "{code}: it was accepted");
        assert!(files(&golden) == before, "{code}: it was accepted over the old one");
    }
}

#[test]
fn a_reason_is_needed() {
    let dir = scratch();
    let golden = dir.path().join("golden");
    for reason in [&["--reason", ""][..], &["--reason", " \t"], &["--reason"], &[]] {
        let command = [&["golden", "accept"], reason].concat();
        let ran = call(&command, &golden, good_store(), "text").expect(2);
        assert_eq!(ran.out, "");
        assert!(ran.err.contains("--reason <TEXT>"), "{}", ran.err);
        assert!(!golden.exists());
    }
}

#[test]
fn what_was_accepted_is_clean_and_has_its_reason() {
    let dir = scratch();
    let golden = dir.path().join("golden");
    let reason = "the \"first\" one, a new rate";
    let command = ["golden", "accept", "--reason", reason];
    let ran = call(&command, &golden, good_store(), "text").expect(0);
    let count = good_golden().runs.len();
    let path = golden.join(FILE);
    assert_eq!(ran.out, format!("wrote {} with {count} networks; it is the first\n", path.display()));
    let file = fs::read_to_string(&path).unwrap();
    assert!(file.contains("\ndescription: \"the \\\"first\\\" one, a new rate\"\n"), "{file}");
    assert!(file.ends_with(&format!("\n---\n{}", good_golden().text())), "{file}");

    let ran = check(&golden).expect(0);
    let clean = format!("golden: all {count} networks are those of {}, bit for bit\n", path.display());
    assert_eq!((ran.out, ran.err), (clean, String::new()));
    let json = call(&["golden", "check"], &golden, good_store(), "json").expect(0).json();
    assert_eq!(json["golden"]["compared"], json!(count));
    assert_eq!([&json["golden"]["differences"], &json["findings"]], [&json!([]), &json!([])]);
}

#[test]
fn accepting_again_says_what_changed() {
    let (_dir, golden) = accepted();
    let path = golden.join(FILE);
    let ran = accept(&golden, good_store()).expect(0);
    assert!(ran.out.ends_with("; no network differs from the one before\n"), "{}", ran.out);

    let mut old = good_golden();
    let small = shift(&mut old, "mixed/1/A4B", 4);
    let large = shift(&mut old, "mixed/1/R1B", 20);
    put(&golden, &old);
    let command = ["golden", "accept", "--reason", "another reason"];
    let ran = call(&command, &golden, good_store(), "text").expect(0);
    assert!(ran.out.contains("; 2 networks differ from the one before:\n"), "{}", ran.out);
    let listed: Vec<(String, String)> =
        rows(&ran.out).into_iter().map(|row| (row[0].clone(), row[3].clone())).collect();
    let expected = [("mixed/1/R1B", large), ("mixed/1/A4B", small)]
        .map(|(run, points)| (run.to_owned(), format!("{points:+.1}")));
    assert_eq!(listed, expected);
    // It is the new one now, with its own reason.
    let file = fs::read_to_string(&path).unwrap();
    assert!(file.contains("\"another reason\"") && !file.contains("\"a test\""), "{file}");
    assert_eq!(Golden::parse(&file, FILE).unwrap(), good_golden());
    assert_eq!(names(&golden), [FILE]);
}

#[test]
fn a_damaged_snapshot_can_be_replaced() {
    let (_dir, golden) = accepted();
    let path = golden.join(FILE);
    for damaged in [&b""[..], b"---\n", b"not a snapshot\n", b"---\n\xff\n---\n"] {
        fs::write(&path, damaged).unwrap();
        check(&golden).expect(2);
        accept(&golden, good_store()).expect(0);
        check(&golden).expect(0);
    }
    fs::write(&path, b"\xff").unwrap();
    let says = |problem: &str| {
        let mend = "restore it, or make it anew with `selffer golden accept --reason …`";
        format!("error: {}: {problem}; {mend}\n", path.display())
    };
    assert_eq!(check(&golden).expect(2).err, says("is not UTF-8 text"));
    // A pipe that nobody writes into would be waited for without an end.
    fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert_eq!(check(&golden).expect(2).err, says("is no regular file"));
    let ran = accept(&golden, good_store()).expect(0);
    let said =
        format!("the snapshot before could not be compared with: {}: is no regular file\n", path.display());
    assert_eq!(ran.err, said);
    assert!(
        ran.out.ends_with("; the one before could not be read, so nothing was compared\n"),
        "{}",
        ran.out
    );
    check(&golden).expect(0);
    fs::write(&path, b"\xff").unwrap();
    let ran = call(&["golden", "accept", "--reason", "a test"], &golden, good_store(), "json").expect(0);
    assert_eq!(ran.json()["unreadable"], json!(format!("{}: is not UTF-8 text", path.display())));
}

/// The pending snapshot is what would be accepted, and lies where `cargo insta review` looks.
#[test]
fn a_review_has_the_new_snapshot() {
    let (_dir, golden) = accepted();
    let review = ["golden", "check", "--review"];
    let ran = call(&review, &golden, good_store(), "text").expect(0);
    assert_eq!(ran.err, "");
    assert_eq!(names(&golden), [FILE], "there is nothing to review");

    let mut old = good_golden();
    shift(&mut old, "mixed/1/A4B", 8);
    put(&golden, &old);
    let before = fs::read(golden.join(FILE)).unwrap();
    let ran = call(&review, &golden, good_store(), "text").expect(1);
    assert_eq!(rows(&ran.out).len(), 1, "the differences are shown all the same");
    let pending = format!("{FILE}.new");
    assert_eq!(names(&golden), [FILE, &pending]);
    assert!(ran.err.contains(&golden.join(&pending).display().to_string()), "{}", ran.err);
    assert_eq!(fs::read(golden.join(FILE)).unwrap(), before, "the old one was changed");
    let file = fs::read_to_string(golden.join(&pending)).unwrap();
    assert_eq!(Golden::parse(&file, &pending).unwrap(), good_golden());

    // When nothing differs any more, nothing is left to review.
    put(&golden, &good_golden());
    call(&review, &golden, good_store(), "text").expect(0);
    assert_eq!(names(&golden), [FILE]);
    put(&golden, &old);
    call(&review, &golden, good_store(), "text").expect(1);

    // What a reviewer does who agrees.
    fs::rename(golden.join(&pending), golden.join(FILE)).unwrap();
    check(&golden).expect(0);
}

/// A snapshot of a machine that computes otherwise: the same bits are still said to be the same bits; other
/// bits are compared by accuracy, and it says so.
#[test]
fn a_snapshot_made_elsewhere_is_compared_by_accuracy() {
    let (_dir, golden) = accepted();
    let mut old = good_golden();
    old.fingerprint = Some(FingerprintDigest(Digest::of(b"elsewhere")));
    put(&golden, &old);
    let ran = json_check(&golden).expect(0);
    assert_eq!(ran.json()["golden"]["how"], "bitwise");

    let other = old.runs["mixed/1/baseB"].weights;
    old.runs.get_mut("mixed/1/baseA").unwrap().weights = other;
    put(&golden, &old);
    let ran = json_check(&golden).expect(1);
    let json = ran.json();
    assert_eq!(json["golden"]["how"], "statistical");
    assert_ne!(json["golden"]["fingerprints"][0], json["golden"]["fingerprints"][1]);
    let families = json["golden"]["families"].as_array().unwrap();
    assert_eq!(families.len(), 7);
    for family in families {
        // The accuracies are the same, and the images too few to say so.
        assert_eq!((&family["difference"], &family["lies"]), (&0.0.into(), &"open".into()), "{family}");
        assert!(family["high"].as_f64() > Some(0.02) && family["low"].as_f64() < Some(-0.02), "{family}");
    }
    assert!(ran.findings().iter().all(|(code, _)| code == "golden-undecided"), "{}", ran.out);
    let text = call(&["golden", "check"], &golden, good_store(), "text").expect(1).out;
    assert!(text.contains("statistically, not bit for bit") && text.contains("undecided"), "{text}");
    assert!(!text.contains("golden  now"), "no accuracy is another: {text}");

    // The cells that changed are shown as they are where bits are compared, and each kind's units.
    let mut changed = old.clone();
    let points = ["mixed/1/A4B", "mixed/1/R1B"]
        .map(|run| shift(&mut changed, run, if run.ends_with("R1B") { 20 } else { 4 }));
    changed.runs.remove("mixed/1/A1A").unwrap();
    put(&golden, &changed);
    let text = call(&["golden", "check"], &golden, good_store(), "text").expect(1).out;
    let listed: Vec<[String; 2]> =
        rows(&text).into_iter().map(|row| [row[0].clone(), row[3].clone()]).collect();
    let row = |run: &str, points: String| [run.to_owned(), points];
    let expected = [
        row("mixed/1/R1B", format!("{:+.1}", points[1])),
        row("mixed/1/A4B", format!("{:+.1}", points[0])),
        row("mixed/1/A1A", "-".to_owned()),
    ];
    assert_eq!(listed, expected, "{text}");
    let kind = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let random: Vec<_> = kind.filter(|words| words.first() == Some(&"RnB")).collect();
    assert_eq!(random[0][1..3], ["2", "2"], "{text}");

    // Where the snapshot does not say where it was made, bits are asked for.
    old.fingerprint = None;
    put(&golden, &old);
    let ran = json_check(&golden).expect(1);
    assert_eq!(ran.findings(), [("golden-weights-differ".to_owned(), "mixed/1/baseA".to_owned())]);
}

fn json_check(golden: &Path) -> Ran {
    call(&["golden", "check"], golden, good_store(), "json")
}
