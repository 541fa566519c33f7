//! `selffer audit` on a small archive of its own, on broken copies of it, and on the published archive.

use crate::archive::{self, Mutation};
use crate::common;
use selffer::audit::archive::NAMELESS;
use selffer::audit::claims::Verdict;
use selffer::audit::splits::State;
use selffer::audit::table1::Pooling;
use selffer::audit::{Audit, published};
use selffer::verify::{Code, Severity};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

fn at_or_above(audit: &Audit, severity: Severity) -> Vec<String> {
    let bad = audit.findings.iter().filter(|finding| finding.severity >= severity);
    bad.map(|finding| {
        format!("{} {}: {} {:?}", finding.code, finding.subject, finding.message, finding.evidence)
    })
    .collect()
}

#[test]
fn the_small_archive_is_clean_and_says_what_the_paper_says() {
    let audit = published(archive::small()).unwrap();
    assert_eq!(at_or_above(&audit, Severity::Warning), Vec::<String>::new());
    assert_eq!(audit.runs.len(), archive::runs().len());
    assert!(audit.runs.iter().all(|run| run.scores == 90 && run.repeated == 2 && run.processes == 2));
    for claim in &audit.claims {
        assert_eq!(claim.verdict, Verdict::Supported, "{claim:?}");
    }
    assert!(audit.table1.iter().all(|row| row.reproduced_by.contains(&Pooling::Runs)));
    assert!(audit.splits.sums.iter().all(|sum| sum.state == State::Match), "{:?}", audit.splits);
    let transition = audit.questions.transition.unwrap();
    assert!(transition.layer.value > 5.0 && transition.targets.len() == 4);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What the finding is about.
    subject: String,
    /// A piece of its message or evidence.
    says: String,
    mutation: Vec<Mutation>,
}

/// The fixtures of archives, by code.
fn fixtures() -> BTreeMap<String, Fixture> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/broken/archive");
    let mut fixtures = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let fixture = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        fixtures.insert(stem, fixture);
    }
    fixtures
}

#[test]
fn every_code_of_an_archive_has_a_fixture() {
    let fixtures = fixtures();
    for code in Code::ALL.iter().filter(|code| code.of_archive()) {
        assert!(fixtures.contains_key(code.name()), "fixtures/broken/archive/{code}.toml is missing");
    }
    for name in fixtures.keys() {
        assert!(Code::ALL.iter().any(|code| code.name() == name), "{name} is no code");
    }
}

#[test]
fn every_alteration_is_named() {
    let whole = published(archive::small()).unwrap();
    let mut failed: Vec<String> = Vec::new();
    for (name, fixture) in fixtures() {
        for case in fixture.case {
            let dir = tempfile::tempdir_in(archive::small().parent().unwrap()).unwrap();
            archive::copy(archive::small(), dir.path());
            case.mutation.iter().for_each(|mutation| mutation.apply(dir.path()));
            let audit = published(dir.path()).unwrap();
            let fits = |audit: &Audit| {
                audit.findings.iter().any(|finding| {
                    let text = format!("{} {}", finding.message, finding.evidence.join(" "));
                    finding.code.name() == name
                        && finding.subject == case.subject
                        && text.contains(&case.says)
                })
            };
            if !fits(&audit) {
                let found = at_or_above(&audit, Severity::Warning).join("\n    ");
                failed.push(format!(
                    "{name} of {} ({}) is not named, but\n    {found}",
                    case.subject, case.says
                ));
            }
            if fits(&whole) {
                failed.push(format!("{name} of {} is there without an alteration", case.subject));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The exit code, standard output and standard error of `selffer audit ARGS`.
fn audit(args: &[&str]) -> (Option<i32>, String, String) {
    let ran = common::run(common::selffer([&["audit"], args].concat()));
    (ran.code, ran.out, ran.err)
}

#[test]
fn the_program_exits_by_severity_and_writes_every_format() {
    let path = archive::small().to_str().unwrap();
    let (code, text, errors) = audit(&[path]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(text.contains("Table 1") && text.contains("14 supported"), "{text}");
    assert_eq!(audit(&[path]).1, text, "the same archive, the same bytes");
    assert_eq!(audit(&[path, "--fail-on", "note"]).0, Some(1));
    assert_eq!(audit(&[path, "--fail-on", "error"]).0, Some(0));

    let (_, json, _) = audit(&[path, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    for key in ["findings", "runs", "cells", "table1", "claims", "questions", "splits", "selection", "source"]
    {
        assert!(json.get(key).is_some(), "{key}");
    }
    for key in ["layers", "over_base", "over_selffer", "over_base_target_matched"] {
        assert!(json["table1"][0].get(key).is_some(), "{key}");
    }
    for key in ["code", "severity", "subject", "message", "evidence"] {
        assert!(json["findings"][0].get(key).is_some(), "{key}");
    }

    let (code, junit, _) = audit(&[path, "--format", "junit", "--fail-on", "note"]);
    assert_eq!(code, Some(1));
    assert!(
        junit.starts_with("<?xml") && junit.contains("<failure") && junit.contains("frozen-differs"),
        "{junit}"
    );
    assert!(!audit(&[path, "--format", "junit"]).1.contains("<failure"));

    let (_, sarif, _) = audit(&[path, "--format", "sarif"]);
    let sarif: serde_json::Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), json["findings"].as_array().unwrap().len());
    assert!(results.iter().any(|result| {
        let place = &result["locations"][0]["physicalLocation"];
        place["artifactLocation"]["uri"].as_str().is_some_and(|uri| uri.starts_with("results/"))
            && place["region"]["startLine"].is_u64()
    }));
}

#[test]
fn what_is_no_archive_is_refused_in_one_sentence() {
    let empty = tempfile::tempdir().unwrap();
    let file = empty.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let (nowhere, small) = (empty.path().join("nowhere"), archive::small().to_str().unwrap());
    let (neither, absent) = ("holds neither a published archive", "is not there");
    for (path, problem) in [(empty.path(), neither), (file.as_path(), neither), (nowhere.as_path(), absent)] {
        let path = path.to_str().unwrap();
        let said = format!("error: {path}: {problem}");
        for args in [&[path][..], &[path, "--full"], &[path, "--protocol", "ci"], &[small, "--beside", path]]
        {
            let (code, text, errors) = audit(args);
            assert_eq!((code, text.as_str(), errors.lines().count()), (Some(2), "", 1), "{errors}");
            assert!(errors.starts_with(&said) && errors.contains("; name the root"), "{errors}");
        }
    }
    let many = empty.path().join("results");
    std::fs::create_dir(&many).unwrap();
    // Nothing can be lacking where nothing is there: such an audit would be clean.
    std::fs::create_dir(many.join("another")).unwrap();
    let (code, text, errors) = audit(&[empty.path().to_str().unwrap()]);
    assert_eq!((code, text.as_str(), errors.lines().count()), (Some(2), "", 1), "{errors}");
    assert!(errors.contains("results: has no run of the experiment; name the root"), "{errors}");
    for index in 0..=selffer::audit::archive::ENTRIES_MAX {
        std::fs::write(many.join(index.to_string()), "").unwrap();
    }
    let (code, _, errors) = audit(&[empty.path().to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("entries"), "{errors}");
}

/// Such a name cannot be written into a finding as it is, nor is what lies under it passed over without a word.
#[test]
fn what_has_a_name_that_is_no_text_is_told() {
    let dir = tempfile::tempdir_in(archive::small().parent().unwrap()).unwrap();
    archive::copy(archive::small(), dir.path());
    let run = std::fs::read_dir(dir.path().join("results")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(run.join(OsStr::from_bytes(b"140415_\xff_net.o1.gz")), "x").unwrap();
    std::fs::create_dir(dir.path().join("results").join(OsStr::from_bytes(b"half\xff"))).unwrap();
    let audit = published(dir.path()).unwrap();
    let subject = format!("results/{}/140415_\u{fffd}_net.o1.gz", run.file_name().unwrap().display());
    for (code, subject) in [("log-damaged", subject.as_str()), ("name-unknown", "results/half\u{fffd}")] {
        let found = audit.findings.iter().find(|finding| finding.subject == subject).expect(subject);
        assert_eq!((found.code.name(), found.message.as_str()), (code, NAMELESS));
    }
}

/// The published archive; none, with a line that says so, where it is not beside the checkout.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn the_published() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/published");
    let path = std::env::var_os("SELFFER_PUBLISHED").map_or(beside, PathBuf::from);
    let there = path.is_dir();
    if !there {
        let line = format!("skipped: {} is not there; SELFFER_PUBLISHED names another place", path.display());
        eprintln!("{line}");
    }
    there.then_some(path)
}

#[test]
fn the_published_archive() {
    let Some(path) = the_published() else { return };
    let audit = published(&path).unwrap();
    assert_eq!(at_or_above(&audit, Severity::Error), Vec::<String>::new());
    // Table 1, to its printed digit, in all six cells.
    for (row, published) in audit.table1.iter().zip([(1.6, 1.4), (1.8, 1.4), (2.1, 1.7)]) {
        let printed = |boost: f64| format!("{:.1}", 100.0 * boost);
        assert_eq!(
            (printed(row.over_base), printed(row.over_selffer)),
            (published.0.to_string(), published.1.to_string())
        );
        assert_eq!(row.reproduced_by, [Pooling::Runs]);
        assert!(row.over_base_target_matched < 0.012);
    }
    // Every validation list, made again from its seed or its classes, has its sum.
    let sums = |state| audit.splits.sums.iter().filter(|sum| sum.state == state).count();
    assert_eq!((sums(State::Match), sums(State::Differs), sums(State::Unchecked)), (11, 0, 22));
    // Found by listing the directories without a log.
    let empty = audit.findings.iter().filter(|finding| finding.code == Code::RunEmpty).count();
    assert_eq!((audit.runs.len(), empty), (170, 22));
    let chance: Vec<&str> =
        audit.runs.iter().filter(|run| run.at_chance).map(|run| run.run.as_str()).collect();
    assert_eq!(
        chance,
        ["nolearn_1_3", "reduced-0005", "reduced-0010", "reduced-0025", "reduced-0050", "reduced-0100"]
    );
    let found = audit.findings.iter().filter(|finding| finding.code == Code::RunAtChance);
    assert_eq!(found.map(|finding| finding.subject.as_str()).collect::<Vec<_>>(), chance);
    // Printed by the authors' own notebook, and by tests/reference/published.py.
    let accuracy = |name: &str| audit.runs.iter().find(|run| run.run == name).unwrap().accuracy.unwrap();
    for (name, value) in [
        ("halfnatmanB", 0.537244),
        ("transfernatmanAB_1_7", 0.291372),
        ("transfernatmanBA_1_3", 0.6250239),
        ("reduced-1300", 0.5517618),
        ("reduced-0001", 0.003796),
    ] {
        assert!((accuracy(name) - value).abs() < 1e-9, "{name}: {}", accuracy(name));
    }
}

/// The authors' script has the sums; a copy without it may have them in a file beside it.
#[test]
fn sums_may_stand_beside_the_archive() {
    let dir = tempfile::tempdir_in(archive::small().parent().unwrap()).unwrap();
    let root = dir.path().join("convnet_transfer");
    archive::copy(archive::small(), &root);
    let (script, beside) = (root.join("ilsvrc12/make_reduced_datasets.sh"), dir.path().join("split-md5.txt"));
    let whole = published(dir.path()).unwrap();
    std::fs::rename(script, &beside).unwrap();
    let moved = published(dir.path()).unwrap();
    assert_eq!(moved.splits.sums, whole.splits.sums);
    assert_eq!(moved.splits.sums_from.as_deref(), Some("../split-md5.txt"));
    // What is no comment there is meant as a sum: a line of the script.
    let lost = moved.findings.iter().find(|finding| finding.code == Code::SumUnreadable).unwrap();
    assert_eq!((lost.subject.as_str(), lost.evidence.len()), ("../split-md5.txt", 1));
    // A link is not followed, and what it hides is told.
    std::fs::rename(&beside, dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", &beside).unwrap();
    let linked = published(dir.path()).unwrap();
    assert_eq!(linked.splits.sums_from, None);
    let told: Vec<Code> = linked.findings.iter().map(|finding| finding.code).collect();
    assert!(told.contains(&Code::SumAbsent) && told.contains(&Code::LinkForFile), "{told:?}");
}
