//! Tests of `audit::report::text`: the page.

use super::*;
use crate::audit::{numbers, questions, splits};
use crate::treatment::{Task, Treatment};

#[test]
fn names_are_put_together_by_depth() {
    let names = ["half0A", "transfer0A0B_1_1", "transfer0A0B_1_2", "transfer0A0B_1_4", "nolearn_1_3"];
    assert_eq!(compact(&names), "half0A, transfer0A0B_1_{1-2,4}, nolearn_1_3");
    // Not that an archive has such.
    assert_eq!(compact(&["x_1_255", "x_1_0255"]), "x_1_{255,255}");
}

/// An audit with nothing in it but these runs and their means.
fn audit(runs: Vec<(Run, Option<u32>)>) -> Audit {
    let cells = numbers::cells(runs.iter().map(|(run, examples)| (run, *examples)));
    Audit {
        source: Source::Store,
        proof: None,
        findings: Vec::new(),
        runs: runs.into_iter().map(|(run, _)| run).collect(),
        cells,
        selection: None,
        table1: Vec::new(),
        claims: Vec::new(),
        questions: questions::answer(&[]),
        splits: splits::Splits::default(),
        beside: None,
    }
}

#[test]
fn a_mean_is_at_chance_where_all_of_its_runs_are() {
    let run = |name: usize, target: &str, at_chance: bool| Run {
        accuracy: Some(0.5),
        last: Some(0.5),
        at_chance,
        ..Run::named(name.to_string(), SplitKind::Reduced, target.into(), Treatment::Base(Task::A))
    };
    let runs = [("s/A", true), ("s/A", false), ("s/A", false), ("s/B", true), ("s/B", true)];
    let runs =
        runs.into_iter().enumerate().map(|(name, (target, chance))| (run(name, target, chance), Some(25)));
    let text = others(&audit(runs.collect()));
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    let expected: [&[&str]; 6] = [
        &["examples", "of", "a", "class", "25"],
        &["s/A", "50.00"],
        &["1", "of", "3"],
        &["at", "chance"],
        &["s/B", "50.00"],
        &["chance"],
    ];
    assert_eq!(rows, expected, "{text}");
}

#[test]
fn one_is_counted_as_one() {
    let run = Run::named("a".into(), SplitKind::Random, "s/A".into(), Treatment::Base(Task::A));
    let mut one = audit(vec![(run, None)]);
    one.findings.push(Finding::new(crate::verify::Code::NameUnknown, "x", "y"));
    let said = "1 run, 0 with scores; 0 errors, 0 warnings, 1 note; of 0 claims 0 supported, 0 refuted, 0 inconclusive, \
                0 untestable\n";
    assert_eq!(summary(&one), said);
}
