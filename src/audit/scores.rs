//! Holds what a run's logs say against the run's solver, and each score against the others.
//!
//! Uses `audit::files`; used by `audit`. One function for each thing that can be wrong with a curve.

use super::files::RunFiles;
use super::history::{HIGHEST, Sourced};
use super::log::clock;
use super::network::Solver;
use super::stats::{mean, median};
use crate::text::counted;
use crate::verify::{Code, Finding, Severity};

/// Scores are printed with six digits, and are sums of single-precision shares: how far a share of the
/// images may be from its fraction.
const PRINTED: f64 = 3e-6;

/// A change of a run's accuracy by less than this touches no conclusion: a tenth of the smallest effect
/// that the paper's Table 1 prints.
const MATTERS: f64 = 0.0014;

/// Two scores of one iteration, from before and after a restart, differ by less than this, except by
/// another training.
const REPEAT_MAX: f64 = 0.05;

/// A score is an outlier where it is further than this many times the usual distance from the median
/// of its four neighbours, and further than [`OUTLIER_MIN`].
const OUTLIER_TIMES: f64 = 25.0;

/// See [`OUTLIER_TIMES`].
const OUTLIER_MIN: f64 = 0.002;

/// Scores that a finding shows.
const SHOWN: usize = 4;

/// Everything that a run's logs say wrong.
pub fn check(run: &RunFiles) -> Vec<Finding> {
    let mut findings = Vec::new();
    unpacked(run, &mut findings);
    contradicted(run, &mut findings);
    if run.history.scores.is_empty() {
        findings.push(empty(run));
        return findings;
    }
    repeated(run, &mut findings);
    chance(run, &mut findings);
    if let Some(solver) = &run.solver {
        finished(run, solver, &mut findings);
        overran(run, solver, &mut findings);
        missing(run, solver, &mut findings);
        rates(run, solver, &mut findings);
        grid(run, solver, &mut findings);
        outliers(run, solver, &mut findings);
    }
    findings
}

/// Logs that were not read.
fn unpacked(run: &RunFiles, findings: &mut Vec<Finding>) {
    if !run.unpacked.is_empty() {
        let message =
            "it has unpacked logs, and only those that end in .gz are read; pack them again with gzip";
        findings.push(run.with_unread(Finding::new(Code::LogUnpacked, &run.text, message)));
    }
}

/// A run that has a directory only.
fn empty(run: &RunFiles) -> Finding {
    let logs: Vec<String> =
        run.logs.iter().map(|one| format!("{}: {} lines", run.at(&one.file), one.log.lines)).collect();
    let message = match logs.len() {
        0 if !run.unpacked.is_empty() => "there is no log but unpacked ones, which are not read".to_owned(),
        0 => "there is no log".to_owned(),
        count => format!("its {count} logs hold no validation score"),
    };
    let finding = Finding::new(Code::RunEmpty, &run.text, message);
    run.with_unread(logs.into_iter().fold(finding, Finding::with))
}

/// One process scores an iteration once.
fn contradicted(run: &RunFiles, findings: &mut Vec<Finding>) {
    for group in &run.history.repeats {
        let pair = group.iter().enumerate().find_map(|(index, a)| {
            let same = |b: &&Sourced| a.log == b.log && a.score.process == b.score.process;
            group[index + 1..].iter().find(same).map(|b| (a, b))
        });
        if let Some((a, b)) = pair {
            let message = format!(
                "iteration {} has the scores {} and {} from one process",
                a.score.iteration, a.score.accuracy, b.score.accuracy
            );
            let finding = Finding::new(Code::ScoreContradicted, &run.text, message);
            findings.push([a, b].into_iter().fold(finding, |finding, one| finding.with(shown(run, one))));
        }
    }
}

fn shown(run: &RunFiles, one: &Sourced) -> String {
    let score = &one.score;
    format!("{}: {} at iteration {}, {}", run.place(one), score.accuracy, score.iteration, clock(score.at))
}

/// Iterations that a restart scored again.
fn repeated(run: &RunFiles, findings: &mut Vec<Finding>) {
    let repeats = &run.history.repeats;
    let distance = |group: &[Sourced]| {
        let values = group.iter().map(|one| one.score.accuracy);
        values.clone().fold(f64::MIN, f64::max) - values.fold(f64::MAX, f64::min)
    };
    let Some(widest) = repeats.iter().max_by(|a, b| distance(a).total_cmp(&distance(b))) else { return };
    let moved = match (run.history.mean_highest(), run.history.mean_highest_of_first()) {
        (Some(latest), Some(first)) => latest - first,
        _ => 0.0,
    };
    let matters = moved.abs() > MATTERS || distance(widest) > REPEAT_MAX;
    let message = format!(
        "{} of {} iterations were scored more than once, up to {:.4} apart; had the first counted, its accuracy \
         would differ by {:.5}",
        repeats.len(),
        run.history.scores.len(),
        distance(widest),
        moved.abs(),
    );
    let finding = Finding::new(Code::ScoresRepeated, &run.text, message);
    let finding = widest.iter().take(SHOWN).fold(finding, |finding, one| finding.with(shown(run, one)));
    findings.push(finding.graded(if matters { Severity::Warning } else { Severity::Note }));
}

fn finished(run: &RunFiles, solver: &Solver, findings: &mut Vec<Finding>) {
    let Some(last) = run.history.scores.last().filter(|last| last.score.iteration < solver.max_iter) else {
        return;
    };
    let message = format!(
        "its last score is of iteration {}, but it was to train for {}",
        last.score.iteration, solver.max_iter
    );
    let finding = Finding::new(Code::RunUnfinished, &run.text, message).with(shown(run, last));
    findings.push(run.with_unread(finding));
}

/// Iterations after the solver's last. What was scored there counts, by the authors' rule: what is read is not
/// repaired, and how much it matters is told.
fn overran(run: &RunFiles, solver: &Solver, findings: &mut Vec<Finding>) {
    let logged = run.logs.iter().flat_map(|one| {
        let processes = one.log.processes.iter();
        processes.filter_map(move |process| Some((process.iterations?.1, run.at(&one.file))))
    });
    let scores = run.history.scores.iter().filter(|one| one.score.iteration > solver.max_iter);
    let late: Vec<&Sourced> = scores.collect();
    let scored = late.iter().map(|one| (one.score.iteration, run.place(one)));
    let Some((last, place)) = logged.chain(scored).max().filter(|(last, _)| *last > solver.max_iter) else {
        return;
    };
    let mut message = format!("it goes on to iteration {last}, but it was to train for {}", solver.max_iter);
    if !late.is_empty() {
        let count = counted(late.len(), "score");
        message += &match (run.history.mean_highest(), run.history.mean_highest_until(solver.max_iter)) {
            (Some(all), Some(until)) => {
                format!(
                    "; without the {count} after that its accuracy would differ by {:.5}",
                    (all - until).abs()
                )
            }
            _ => "; it has no score from before that".to_owned(),
        };
    }
    let finding = Finding::new(Code::RunOverrun, &run.text, message);
    findings.push(match late.is_empty() {
        true => finding.with(format!("{place}: iteration {last}")),
        false => late.into_iter().take(SHOWN).fold(finding, |finding, one| finding.with(shown(run, one))),
    });
}

/// Gaps, graded by whether one of the ten highest scores could be missing.
fn missing(run: &RunFiles, solver: &Solver, findings: &mut Vec<Finding>) {
    let last = run.history.scores.last().map_or(0, |one| one.score.iteration);
    let missing: Vec<u64> =
        run.history.missing(solver).into_iter().filter(|iteration| *iteration < last).collect();
    if missing.is_empty() {
        return;
    }
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &iteration in &missing {
        match ranges.last_mut() {
            Some((_, to)) if *to + solver.test_interval == iteration => *to = iteration,
            _ => ranges.push((iteration, iteration)),
        }
    }
    let planned = solver.max_iter / solver.test_interval;
    let end = solver.max_iter / solver.stepsize * solver.stepsize;
    let late = missing.iter().filter(|iteration| **iteration >= end).count();
    let message = format!(
        "{} of {planned} validation scores are missing{}",
        missing.len(),
        match late {
            0 => ", none since the last change of the learning rate".to_owned(),
            late => format!(", {late} since the last change of the learning rate, where the highest are"),
        }
    );
    let finding = Finding::new(Code::ScoresMissing, &run.text, message);
    let finding = ranges.iter().take(SHOWN).fold(finding, |finding, (from, to)| {
        finding.with(if from == to {
            format!("iteration {from}")
        } else {
            format!("iterations {from} to {to}")
        })
    });
    // With most of a curve gone, nobody can tell what the run was before.
    let matters = late > 0 || missing.len() as u64 * 2 > planned;
    let finding = run.with_unread(finding);
    findings.push(finding.graded(if matters { Severity::Warning } else { Severity::Note }));
}

/// The learning rates that were logged are those of the solver file.
fn rates(run: &RunFiles, solver: &Solver, findings: &mut Vec<Finding>) {
    for one in &run.logs {
        let wrong = one.log.rates.iter().find_map(|logged| {
            let at = [logged.iterations.0, logged.iterations.1];
            // Logged with six digits; a stretch of one rate has the same rate at its ends.
            at.into_iter()
                .find(|at| (solver.rate(*at) - logged.rate).abs() > 1e-4 * logged.rate)
                .map(|at| (logged, at))
        });
        if let Some((logged, at)) = wrong {
            let message = format!(
                "at iteration {at} it learns at rate {}, by its solver at {:.3e}",
                logged.rate,
                solver.rate(at)
            );
            let place = format!("{}:{}", run.at(&one.file), logged.line);
            findings.push(Finding::new(Code::RateDiffers, &run.text, message).with(place));
        }
    }
}

/// Each score is a whole number of images among those of a pass.
fn grid(run: &RunFiles, solver: &Solver, findings: &mut Vec<Finding>) {
    let Some(batch) = run.valid.as_ref().and_then(|network| network.data()?.batch) else { return };
    let images = (solver.test_iter * batch) as f64;
    let off = |one: &&Sourced| {
        let right = one.score.accuracy * images;
        (right - right.round()).abs() / images > PRINTED
    };
    let all: Vec<&Sourced> = run
        .history
        .scores
        .iter()
        .chain(run.history.repeats.iter().flat_map(|group| &group[..group.len() - 1]))
        .collect();
    let wrong: Vec<&Sourced> = all.into_iter().filter(off).collect();
    if wrong.is_empty() {
        return;
    }
    let message =
        format!("of its scores {} cannot be: no whole number of the {images} images of a pass", wrong.len());
    let finding = Finding::new(Code::ScoreOffGrid, &run.text, message);
    findings.push(wrong.into_iter().take(SHOWN).fold(finding, |finding, one| finding.with(shown(run, one))));
}

/// Once the learning rate has been lowered twice, a curve is smooth: no score stands apart.
fn outliers(run: &RunFiles, solver: &Solver, findings: &mut Vec<Finding>) {
    let scores = &run.history.scores;
    let stage = |one: &Sourced| one.score.iteration / solver.stepsize;
    // By stage: how far each score is from the median of its four neighbours of the same stage. A stage
    // begins with a jump, so its first scores are left out.
    let mut wrong = Vec::new();
    for part in scores.chunk_by(|a, b| stage(a) == stage(b)).filter(|part| stage(&part[0]) >= 2) {
        let part = &part[part.len().min(1)..];
        let accuracy = |at: usize| part[at].score.accuracy;
        let middle = |at: usize| median(&[at - 2, at - 1, at + 1, at + 2].map(accuracy)).unwrap_or_default();
        let places = 2..part.len().saturating_sub(2);
        let distances: Vec<f64> = places.clone().map(|at| (accuracy(at) - middle(at)).abs()).collect();
        let Some(usual) = median(&distances) else { continue };
        let limit = (OUTLIER_TIMES * usual).max(OUTLIER_MIN);
        wrong.extend(
            places
                .zip(&distances)
                .filter(|(_, distance)| **distance > limit)
                .map(|(at, distance)| (&part[at], *distance)),
        );
        // At the ends of a curve there are neighbours on one side only.
        if part.len() >= HIGHEST {
            let ends = [0, 1, part.len() - 2, part.len() - 1];
            let near: Vec<f64> = part[part.len() - HIGHEST..].iter().map(|one| one.score.accuracy).collect();
            let begin: Vec<f64> = part[..HIGHEST].iter().map(|one| one.score.accuracy).collect();
            for at in ends {
                let side = if at < 2 { &begin } else { &near };
                let distance = (accuracy(at) - median(side).unwrap_or_default()).abs();
                if distance > limit.max(2.0 * OUTLIER_MIN) {
                    wrong.push((&part[at], distance));
                }
            }
        }
    }
    for (one, distance) in wrong.into_iter().take(SHOWN) {
        let message = format!(
            "the score {} of iteration {} is {distance:.4} from its neighbours",
            one.score.accuracy, one.score.iteration
        );
        findings.push(Finding::new(Code::ScoreOutlier, &run.text, message).with(shown(run, one)));
    }
}

/// Whether the network learnt anything.
fn chance(run: &RunFiles, findings: &mut Vec<Finding>) {
    let Some(accuracy) = run.history.mean_highest().filter(|_| run.at_chance()) else { return };
    let classes = run.name.classes();
    let losses: Vec<f64> = run.history.scores.iter().filter_map(|one| one.score.loss).collect();
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let message = format!(
        "it never left chance: accuracy {accuracy:.5}, where guessing among {classes} classes gives {:.5}",
        1.0 / classes as f64
    );
    let mut finding = Finding::new(Code::RunAtChance, &run.text, message).with(format!(
        "lowest validation loss {lowest:.4}; guessing has ln {classes} = {:.4}",
        (classes as f64).ln()
    ));
    if let Some(mean) = mean(&losses) {
        finding = finding.with(format!("mean validation loss {mean:.4} over {} passes", losses.len()));
    }
    if let Some(last) = run.history.scores.last() {
        finding = finding.with(shown(run, last));
    }
    findings.push(finding.graded(Severity::Warning));
}
