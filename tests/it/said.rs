//! What is said beside the results: help, progress, what is waited for.

use crate::common::{good_copy, hold, on_store, protocol, repository, run, scratch, selffer, three_networks};
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
    for words in &commands {
        let help = help(words);
        let options: &[&str] = match words.as_slice() {
            ["show"] => &["--protocol", "--store", "--numerics", "--width", "--format"],
            ["table"] => &["--protocol", "--store", "--numerics", "--jobs", "--width", "--format", "--quiet"],
            ["bisect"] => &["--protocol", "--run", "--numerics", "--format", "--quiet"],
            ["audit"] => &[
                "--format",
                "--fail-on",
                "--protocol",
                "--numerics",
                "--beside",
                "--sample",
                "--seed",
                "--full",
                "--margin",
            ],
            ["golden", ..] => {
                &["--protocol", "--store", "--numerics", "--jobs", "--format", "--quiet", "--golden"]
            }
            ["data", "pack"] => &[
                "--size",
                "--train-list",
                "--valid-list",
                "--classes",
                "--skip-bad",
                "--shard-mib",
                "--jobs",
                "--format",
                "--quiet",
            ],
            ["data", ..] => &["--format", "--quiet"],
            ["fingerprint"] => &["--numerics", "--format"],
            ["plan"] => &[
                "--protocol",
                "--store",
                "--numerics",
                "--jobs",
                "--speed",
                "--measure",
                "--format",
                "--quiet",
            ],
            ["report"] => &["--store", "--archive", "--out", "--protocol", "--numerics", "--quiet"],
            ["status"] => &["--protocol", "--store", "--numerics", "--follow", "--interval", "--format"],
            ["submit"] => &[
                "--protocol",
                "--store",
                "--numerics",
                "--engine",
                "--resources",
                "--gres",
                "--time",
                "--warn-seconds",
                "--max-running",
                "--per-job",
                "--jobs",
                "--snapshot-every",
                "--dry-run",
                "--format",
                "--quiet",
            ],
            ["cancel"] => &["--protocol", "--store", "--numerics", "--format"],
            ["work"] => &["--plan", "--index"],
            _ => &["--protocol", "--store", "--numerics", "--jobs", "--format", "--quiet"],
        };
        if matches!(words.as_slice(), ["verify" | "table" | "golden", ..]) {
            let words: Vec<&str> = help.split_whitespace().collect();
            let text = words.join(" ");
            assert!(text.contains("where none is trained, how many threads read and check"), "{text}");
        }
        for option in options {
            assert!(help.contains(option), "{words:?} has no {option}");
            assert!(readme.contains(option), "README has no {option}");
        }
    }
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
