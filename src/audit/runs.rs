//! Holds each run's files against what its name says, and against the runs that it is compared with.
//!
//! Uses `audit::files`; used by `audit`. One function for each thing that a name promises.

use super::files::{BASE, RunFiles, RunLog, SOLVER, TRAIN, TRAIN_DATA, VALID, VALID_DATA};
use super::names::{Name, Split};
use super::network::{Layer, Network, WEIGHTED};
use crate::treatment::{Source, Task, Treatment};
use crate::verify::{Code, Finding, Severity};
use std::collections::{BTreeMap, BTreeSet};

/// Lines of difference that a finding shows.
const LINES_MAX: usize = 4;

/// Everything that one run's files promise or break by themselves.
pub fn check(run: &RunFiles) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(network) = &run.train {
        layers(run, network, &mut findings);
        if let Some(valid) = &run.valid {
            same_network(run, network, valid, &mut findings);
        }
    }
    base(run, &mut findings);
    data(run, &mut findings);
    validation(run, &mut findings);
    findings
}

/// Frozen and renamed layers, and how wide the last is.
fn layers(run: &RunFiles, network: &Network, findings: &mut Vec<Finding>) {
    let path = run.at(TRAIN);
    let weighted: Vec<&Layer> = network.weighted().collect();
    if weighted.len() != WEIGHTED {
        let message =
            format!("it has {} layers with weights; the experiment's have {WEIGHTED}", weighted.len());
        findings.push(Finding::new(Code::NetworkDiffers, &run.text, message).with(path));
        return;
    }
    let treatment = run.name.treatment;
    let (frozen, copied) = (usize::from(treatment.frozen()), usize::from(treatment.n()));
    let copies = run.name.parent().is_some();
    for (index, layer) in weighted.iter().enumerate() {
        let (number, name) = (index + 1, &layer.name);
        let rates = || {
            let each = layer.rates.iter().map(|(rate, line)| format!("{path}:{line}: blobs_lr {rate}"));
            let each: Vec<String> = each.collect();
            if each.is_empty() { vec![format!("{path}:{}: no blobs_lr", layer.line)] } else { each }
        };
        let wrong = match index < frozen {
            true if layer.is_frozen() => None,
            true => Some(format!(
                "layer {number} ({name}) is trained, but {} freezes layers 1 to {frozen}",
                run.text
            )),
            false if layer.is_trained() => None,
            false => Some(format!(
                "layer {number} ({name}) is not trained, but {} freezes {}",
                run.text,
                upto(frozen)
            )),
        };
        if let Some(message) = wrong {
            let finding = Finding::new(Code::FrozenDiffers, &run.text, message);
            findings.push(rates().into_iter().fold(finding, Finding::with));
        }
        let fresh = copies && index >= copied;
        if layer.is_renamed() != fresh {
            let what = if fresh { "is copied by its name" } else { "is renamed, hence drawn anew" };
            let message = match copies {
                true => {
                    format!("layer {number} ({name}) {what}, but {} copies layers 1 to {copied}", run.text)
                }
                false => format!("layer {number} ({name}) is renamed, but {} copies nothing", run.text),
            };
            findings.push(
                Finding::new(Code::FreshLayersDiffer, &run.text, message)
                    .with(format!("{path}:{}", layer.line)),
            );
        }
    }
    let (last, classes) = (weighted[WEIGHTED - 1], run.name.classes() as u64);
    if let Some(outputs) = last.outputs.filter(|outputs| *outputs != classes) {
        let code = if outputs < classes { Code::ClassifierNarrow } else { Code::ClassifierWide };
        let message = format!("{} has {outputs} outputs for {classes} classes", last.plain_name());
        findings.push(Finding::new(code, &run.text, message).with(format!("{path}:{}", last.line)));
    }
}

fn upto(frozen: usize) -> String {
    match frozen {
        0 => "no layer".to_owned(),
        1 => "layer 1 only".to_owned(),
        n => format!("layers 1 to {n} only"),
    }
}

/// What is validated is what is trained.
fn same_network(run: &RunFiles, train: &Network, valid: &Network, findings: &mut Vec<Finding>) {
    let mut different = differences(&train.signature(false), &valid.signature(false));
    let names = |network: &Network| network.weighted().map(|layer| layer.name.clone()).collect::<Vec<_>>();
    if names(train) != names(valid) {
        different.push(format!("layers named {} and {}", names(train).join(" "), names(valid).join(" ")));
    }
    if !different.is_empty() {
        let message = format!("{TRAIN} and {VALID} are different networks");
        let finding = Finding::new(Code::NetworkDiffers, &run.text, message);
        findings.push(different.into_iter().take(LINES_MAX).fold(finding, Finding::with));
    }
}

/// The lines that differ between two signatures.
fn differences(a: &[String], b: &[String]) -> Vec<String> {
    let none = String::from("nothing");
    (0..a.len().max(b.len()))
        .map(|index| (a.get(index).unwrap_or(&none), b.get(index).unwrap_or(&none)))
        .filter(|(a, b)| a != b)
        .map(|(a, b)| format!("`{a}` and `{b}`"))
        .collect()
}

/// Where the weights come from.
fn base(run: &RunFiles, findings: &mut Vec<Finding>) {
    let expected = run.name.parent().map(|parent| format!("results/{parent}"));
    // A link that is missing or cannot be read has a finding already.
    let Some(target) = &run.base else { return };
    let message = match expected {
        Some(expected) if expected == *target => return,
        Some(expected) => format!("its weights come from {target}, but its name says {expected}"),
        None => format!("its weights come from {target}, but its name says that it copies nothing"),
    };
    findings.push(Finding::new(Code::BaseDiffers, &run.text, message).with(run.at(BASE)));
}

/// What it trains and validates on.
fn data(run: &RunFiles, findings: &mut Vec<Finding>) {
    let train = (&run.train_data, TRAIN_DATA, run.name.train_data(), "train");
    let valid = (&run.valid_data, VALID_DATA, run.name.valid_data(), "valid");
    for (target, file, list, part) in [train, valid] {
        let Some(target) = target else { continue };
        let expected = format!("ilsvrc12/data/{list}_{part}/leveldb");
        if *target == expected {
            continue;
        }
        // The authors' runs on reduced data link to `reduced-0025`, their lists say `reduced0025_train`.
        let renamed = match run.name.split {
            Split::Reduced(count) => {
                part == "train" && *target == format!("ilsvrc12/data/reduced-{count:04}/leveldb")
            }
            _ => false,
        };
        let finding = if renamed {
            let message =
                format!("its training data is {target}; the published list of it is {list}_{part}/files.txt");
            Finding::new(Code::DataLinkRenamed, &run.text, message)
        } else {
            let does = if part == "train" { "trains" } else { "validates" };
            let message = format!("it {does} on {target}, but its name says {expected}");
            Finding::new(Code::TaskDiffers, &run.text, message)
        };
        findings.push(finding.with(run.at(file)));
    }
}

/// Whether a validation pass sees each image equally often.
fn validation(run: &RunFiles, findings: &mut Vec<Finding>) {
    let batch = run.valid.as_ref().and_then(|network| network.data()?.batch);
    let (Some(solver), Some(batch)) = (&run.solver, batch) else { return };
    let seen = solver.test_iter * batch;
    let images = run.name.images() as u64;
    if seen % images != 0 {
        let message =
            format!("a pass validates on {seen} images, which is no multiple of the task's {images}");
        findings.push(
            Finding::new(Code::ValidationUneven, &run.text, message)
                .with(format!("{}: test_iter {}", run.at(SOLVER), solver.test_iter))
                .with(format!("{}: batchsize {batch}", run.at(VALID))),
        );
    }
}

/// Runs against each other: one solver and one network for all that are compared, no log in two runs.
pub fn compare(runs: &[RunFiles]) -> Vec<Finding> {
    let mut findings = Vec::new();
    // The runs on reduced data are compared with each other only; they have a schedule of their own.
    let group = |run: &RunFiles| matches!(run.name.split, Split::Reduced(_));
    for reduced in [false, true] {
        let solvers: Vec<(&RunFiles, Vec<String>)> = runs
            .iter()
            .filter(|run| group(run) == reduced)
            .filter_map(|run| Some((run, run.solver.as_ref()?)))
            .map(|(run, solver)| {
                (run, solver.settings.iter().map(|(name, value)| format!("{name}: {value}")).collect())
            })
            .collect();
        odd_ones(&solvers, Code::SolverDiffers, SOLVER, "its solver", &mut findings);
    }
    let networks: Vec<(&RunFiles, Vec<String>)> = runs
        .iter()
        .filter_map(|run| Some((run, run.train.as_ref()?.signature(true))))
        .filter(|(_, signature)| !signature.is_empty())
        .collect();
    odd_ones(&networks, Code::NetworkDiffers, TRAIN, "its network", &mut findings);
    misplaced(runs, &mut findings);
    findings
}

/// A finding for each run that is not like most.
fn odd_ones(
    all: &[(&RunFiles, Vec<String>)],
    code: Code,
    file: &str,
    what: &str,
    findings: &mut Vec<Finding>,
) {
    let mut counts: BTreeMap<&[String], usize> = BTreeMap::new();
    for (_, lines) in all {
        *counts.entry(lines).or_default() += 1;
    }
    // Of equally frequent ones, the first in order, so that the outcome does not depend on names.
    let Some((usual, count)) =
        counts.iter().max_by_key(|(lines, count)| (**count, std::cmp::Reverse(**lines)))
    else {
        return;
    };
    for (run, lines) in all.iter().filter(|(_, lines)| lines != usual) {
        let message = format!("{what} is not that of the {count} runs that it is compared with");
        let finding = Finding::new(code, &run.text, message).with(run.at(file));
        let (has, usual): (BTreeSet<&String>, BTreeSet<&String>) =
            (lines.iter().collect(), usual.iter().collect());
        let here = has.difference(&usual).map(|line| format!("here `{line}`"));
        let there = usual.difference(&has).map(|line| format!("there `{line}`"));
        findings.push(here.take(LINES_MAX).chain(there.take(LINES_MAX)).fold(finding, Finding::with));
    }
}

/// What the name of a log says: `140415_235516_transfer0A0B.o240766.gz`.
struct LogName<'a> {
    /// When the job was first submitted, `140415_235516`.
    submitted: &'a str,
    /// The job's name: the run's without its depth.
    job: &'a str,
}

impl<'a> LogName<'a> {
    fn read(file: &'a str) -> Option<Self> {
        let (name, _) = file.rsplit_once(".o")?;
        let (submitted, rest) = name.split_at_checked(13)?;
        let digits = submitted
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 6 { byte == b'_' } else { byte.is_ascii_digit() });
        Some(Self { submitted: digits.then_some(submitted)?, job: rest.strip_prefix('_')? })
    }
}

/// Logs that belong to another run: by their job's name, by scores that another run has too, or by a
/// time of submission that is not the run's.
fn misplaced(runs: &[RunFiles], findings: &mut Vec<Finding>) {
    let mut passes: BTreeMap<(u64, u64, u64), &RunFiles> = BTreeMap::new();
    let mut submitted: BTreeMap<Name, &str> = BTreeMap::new();
    for run in runs {
        let family = run.text.rsplit_once("_1_").map_or(run.text.as_str(), |(family, _)| family);
        let mut times: BTreeMap<&str, &str> = BTreeMap::new();
        for RunLog { file, log } in &run.logs {
            let path = run.at(file);
            if let Some(name) = LogName::read(file) {
                times.entry(name.submitted).or_insert(file);
                // The authors' job names may say more (`reduced-1300-2om`), not something else.
                if name.job != family && !name.job.starts_with(&format!("{family}-")) {
                    let message = format!("the log's job is {}, not {family}", name.job);
                    findings.push(Finding::new(Code::LogMisplaced, &run.text, message).with(path.clone()));
                }
            }
            let shared: Vec<(&RunFiles, u64)> = log
                .scores
                .iter()
                .filter_map(|score| {
                    let first = *passes.entry((score.at, score.process, score.iteration)).or_insert(run);
                    (first.text != run.text).then_some((first, score.line))
                })
                .collect();
            // Which of the two the log belongs to is not in the scores, so both are named.
            if let Some((other, line)) = shared.first() {
                for (one, with) in [(run, *other), (*other, run)] {
                    let message = format!(
                        "{} of its scores are in {} too, at the same time in the same process",
                        shared.len(),
                        with.text
                    );
                    let finding = Finding::new(Code::LogMisplaced, &one.text, message);
                    findings.push(finding.with(format!("{path}:{line}")));
                }
            }
        }
        if times.len() > 1 {
            let message = "its logs were submitted at different times: not all are of this run";
            let finding = Finding::new(Code::LogMisplaced, &run.text, message);
            findings
                .push(times.values().take(LINES_MAX).map(|file| run.at(file)).fold(finding, Finding::with));
        } else if let Some((time, _)) = times.first_key_value() {
            submitted.insert(run.name, time);
        }
    }
    exchanged(&submitted, findings);
}

/// A family's jobs were submitted in the order of their depths, seconds apart: logs that were exchanged
/// within a family show in that order.
fn exchanged(submitted: &BTreeMap<Name, &str>, findings: &mut Vec<Finding>) {
    type Members<'a> = Vec<(Name, &'a str)>;
    let mut families: BTreeMap<(Split, Source, Task), Members<'_>> = BTreeMap::new();
    for (name, time) in submitted {
        if let Treatment::Grafted { source, target, .. } = name.treatment {
            families.entry((name.split, source, target)).or_default().push((*name, time));
        }
    }
    for family in families.values() {
        for pair in family.windows(2) {
            let [(a, early), (b, late)] = pair else { continue };
            if early >= late {
                let message = format!(
                    "its logs were submitted no earlier than those of {b}: they may be another run's"
                );
                let finding = Finding::new(Code::LogMisplaced, a.to_string(), message);
                findings
                    .push(finding.with(format!("submitted {early}; {b} {late}")).graded(Severity::Warning));
            }
        }
    }
}
