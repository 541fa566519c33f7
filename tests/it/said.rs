//! What is said beside the results: help, progress, what is waited for.

use crate::common::{good_copy, hold, on_store, protocol, repository, run, scratch, selffer, three_networks};
use selffer::data::{Dataset, Part};
use selffer::protocol::DataSource;
use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

#[test]
fn progress_without_a_terminal_is_plain_lines() {
    let dir = scratch();
    let protocol = three_networks(dir.path());
    let [told, quiet] = [None, Some("--quiet")].map(|quiet| {
        let mut command = vec!["reproduce", "--jobs", "1"];
        command.extend(quiet);
        on_store(&command, &protocol, &dir.path().join(command.len().to_string())).expect(0)
    });
    assert_eq!(quiet.err, "");
    assert_eq!((told.json()["trained"].as_u64(), quiet.json()["trained"].as_u64()), (Some(3), Some(3)));
    assert_eq!(told.json()["cells"], quiet.json()["cells"]);
    assert!(told.err.chars().all(|letter| letter == '\n' || !letter.is_control()), "{:?}", told.err);
    // What is begun; a line for each network as it is done: its name, its accuracy, and how many are done; the page.
    let mut lines: Vec<&str> = told.err.lines().collect();
    let first = lines.remove(0);
    let begun = "3 of 3 networks to train into ";
    let how = ", 1 at once, under portable numerics; a state kept every 10 min";
    assert!(first.contains(begun) && first.ends_with(how), "{first}");
    let page = lines.pop().unwrap_or_default();
    assert!(page.starts_with("figures and tables: ") && page.ends_with("report/index.html"), "{page}");
    assert_eq!(lines.len(), 3, "{}", told.err);
    for (at, line) in lines.iter().enumerate() {
        assert!(line.starts_with("digits-garments/1/") && line.contains(" % "), "{line}");
        assert!(line.contains(&format!(" {}/3 ", at + 1)), "{line}");
    }
    for run in ["baseA", "baseB", "A1B"] {
        let name = format!("digits-garments/1/{run} ");
        assert_eq!(lines.iter().filter(|line| line.starts_with(&name)).count(), 1, "{run}");
    }
}

/// What is made anew is told with the file that was damaged, and counted as what is to be trained.
#[test]
fn what_is_damaged_is_told_before_it_is_made_anew() {
    let (_dir, store) = good_copy();
    let checkpoint = fs::read_dir(store.join("checkpoints")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&checkpoint).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&checkpoint, &bytes).unwrap();
    let said = on_store(&["reproduce", "--jobs", "1", "--no-report"], &protocol(), &store).expect(0);
    let lines: Vec<&str> = said.err.lines().collect();
    let damaged = format!("{} is damaged (", checkpoint.display());
    assert!(
        lines[0].starts_with(&damaged) && lines[0].ends_with("), and is to be made anew"),
        "{}",
        said.err
    );
    assert!(
        lines.len() == 2 && lines[1].contains(" 1/1 ") && lines[1].ends_with(" 0 s left"),
        "{}",
        said.err
    );
    assert_eq!(said.json()["trained"].as_u64(), Some(1));
}

/// An image on both sides of a split is told by its places before anything is trained.
#[test]
fn what_is_wrong_with_images_is_told_first() {
    let dir = scratch();
    let mut data = Dataset::read(&DataSource::Embedded).unwrap();
    let of = |data: &Dataset, part: Part, class: u16| {
        data.part(part).labels.iter().position(|label| *label == class).expect("an image of the class")
    };
    let (from, to) = (of(&data, Part::Train, 0), of(&data, Part::Valid, 0));
    let pixels = data.train.image(from).unwrap().to_vec();
    let size = pixels.len();
    data.valid.bytes_mut().unwrap()[to * size..(to + 1) * size].copy_from_slice(&pixels);
    crate::wrong::write_idx(dir.path(), &data);
    let text = fs::read_to_string(three_networks(dir.path())).unwrap();
    let path = dir.path().join("copies.toml");
    let idx = format!("data = {{ idx = {:?} }}", dir.path().display().to_string());
    fs::write(&path, text.replacen("data = \"embedded\"", &idx, 1)).unwrap();
    let plan = on_store(&["plan"], &path, &dir.path().join("none")).expect(0);
    let message = "1 image is in training and in validation; take such images out of the data";
    assert!(plan.err.contains("image-in-train-and-validation") && plan.err.contains(message), "{}", plan.err);
    assert!(plan.err.contains(": A train digit-0 1, A valid digit-0 1"), "{}", plan.err);
    let quiet = on_store(&["plan", "--quiet"], &path, &dir.path().join("none")).expect(0);
    assert_eq!((quiet.err.as_str(), quiet.out), ("", plan.out));
}

#[test]
fn quiet_silences_what_is_no_error() {
    let (_dir, store) = good_copy();
    let manifest = fs::read_dir(store.join("manifests")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(manifest).unwrap();
    let told = on_store(&["table"], &protocol(), &store).expect(0);
    assert_eq!(told.err, "1 of 23 networks is not in the store; `selffer verify` says why\n");
    let quiet = on_store(&["table", "--quiet"], &protocol(), &store).expect(0);
    assert_eq!((quiet.err.as_str(), &quiet.out), ("", &told.out));
    assert_eq!(quiet.json()["cells"].as_array().unwrap().len(), 22);
}

#[test]
fn help_has_what_readme_tells_and_nothing_else() {
    let readme = fs::read_to_string(repository("README.md")).unwrap();
    // | `selffer golden accept --reason "…"` | …
    let commands: Vec<Vec<&str>> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `selffer ")?.split_once('`'))
        .map(|(command, _)| {
            let plain = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
            command.split(' ').take_while(plain).collect()
        })
        .collect();
    let help = |command: &[&str]| {
        let ran = run(selffer(command.iter().chain(&["--help"]))).expect(0);
        assert_eq!(ran.err, "", "{command:?}");
        assert!(ran.out.contains("Usage: selffer"), "{command:?}");
        ran.out
    };
    // The commands that a help lists.
    let listed = |text: &str| -> Vec<String> {
        let after = text.split_once("\nCommands:\n").map_or("", |(_, after)| after);
        let list = after.split("\n\n").next().unwrap_or_default().lines();
        let names = list.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
        names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
    };
    let mut program = Vec::new();
    for name in listed(&help(&[])) {
        match listed(&help(&[&name])).as_slice() {
            [] => program.push(name),
            inner => program.extend(inner.iter().map(|inner| format!("{name} {inner}"))),
        }
    }
    let told: Vec<String> = commands.iter().map(|words| words.join(" ")).collect();
    assert_eq!(program, told);
    assert_eq!(told.len(), 18);
    let options = |text: &str| -> BTreeSet<String> {
        let words = text.split(|letter: char| letter != '-' && !letter.is_ascii_lowercase());
        words.filter(|word| word.starts_with("--") && !word.ends_with('-')).map(str::to_owned).collect()
    };
    // All but these have what README says of all.
    let apart =
        ["audit", "bisect", "fingerprint", "report", "show", "data", "status", "submit", "cancel", "work"];
    let common = ["--protocol", "--store", "--numerics", "--device", "--jobs", "--format", "--quiet"];
    let mut offered = BTreeSet::new();
    for words in &commands {
        let help = help(words);
        let its = options(&help);
        if !apart.contains(&words[0]) {
            assert!(common.iter().all(|option| its.contains(*option)), "{words:?} has {its:?}");
        }
        if ["verify", "table", "golden"].contains(&words[0]) {
            let text = help.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains("where none is trained, how many threads read and check"), "{text}");
        }
        offered.extend(its);
    }
    let told = options(&readme);
    let missing: Vec<&String> = offered.difference(&told).collect();
    assert!(missing.is_empty(), "README leaves out {missing:?}");
    // Of cargo, sbatch, sha256sum and the scripts of ci.
    let others = ["--all", "--array", "--built", "--check", "--cuda", "--open", "--output", "--pack"];
    assert!(told.difference(&offered).eq(others), "{:?}", told.difference(&offered));
}

/// Another process has a network: who needs it waits, says so, and goes on when that one is gone.
#[test]
fn who_waits_for_another_process_says_so() {
    use std::io::BufRead as _;
    let dir = scratch();
    let (protocol, store) = (three_networks(dir.path()), dir.path().join("store"));
    let base = "digits-garments/1/baseA";
    let held = hold(&protocol, &store, base);
    let mut call = selffer(["reproduce", "--no-report", "--protocol"]);
    call.arg(&protocol).arg("--store").arg(&store);
    let mut child = call.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let waiting = lines.find(|line| line.starts_with("waiting for")).expect("it says what it waits for");
    assert!(waiting.contains(base) && waiting.contains("`selffer status`"), "{waiting}");
    drop(held);
    assert!(lines.any(|line| line.starts_with(base)), "it trains what it waited for");
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
