//! Audits a selffer store: how far it is proven, and the claims and questions of its own table.
//!
//! Uses `audit::proof` and `table`; used by the command line. Splits into random halves
//! are the paper's similar tasks, halves by name its dissimilar ones.

use super::effect::Point;
use super::names::SplitKind;
use super::numbers::{self, Run};
use super::proof::Prover;
use super::scores::at_chance;
use super::{Audit, Source, concluded, sorted};
use crate::data::Part;
use crate::error::Result;
use crate::manifest::Count;
use crate::plan::Plan;
use crate::protocol::Halves;
use crate::published::Published;
use crate::table::{Cell, Table};
use crate::verify::{Context, Severity};

/// Audits what a store has of a plan, and proves it as far as `prover` is to go. What is concluded rests on
/// the accuracies that evaluating the checkpoints gives, not on those that manifests record.
///
/// # Errors
/// Where the system does not let a file be read, or a network cannot be evaluated or trained.
pub fn store(context: &Context<'_>, prover: &Prover<'_>) -> Result<Audit> {
    let (proof, mut findings, counts) = prover.prove(context)?;
    let mut table = Table::of(context.plan, &context.manifests);
    table.cells.retain_mut(|cell| match counts.get(&cell.run()) {
        None => false,
        Some(Count { correct, total }) => {
            (cell.correct, cell.total) = (*correct, *total);
            true
        }
    });
    let runs: Vec<(Run, Point)> = table.cells.iter().filter_map(|cell| run(context.plan, cell)).collect();
    let points: Vec<Point> = runs.iter().map(|(_, point)| point.clone()).collect();
    let concluded = concluded(&points)?;
    // That another experiment does not bear the paper out is nothing wrong with it.
    findings.extend(concluded.findings.iter().map(|finding| finding.clone().graded(Severity::Note)));
    let cells = numbers::cells(runs.iter().map(|(run, _)| (run, None)));
    let runs = runs.into_iter().map(|(run, _)| run).collect();
    Ok(Audit {
        source: Source::Store,
        findings: sorted(findings),
        runs,
        cells,
        proof: Some(proof),
        ..concluded
    })
}

fn run(plan: &Plan<'_>, cell: &Cell) -> Option<(Run, Point)> {
    let (split, _) = plan.splits.iter().find(|(split, _)| split.name == cell.split)?;
    let rule = plan.protocol.splits.iter().find(|rule| rule.name == cell.split)?;
    let kind = match rule.halves {
        Halves::Random(_) | Halves::Published(Published::Random(_)) => SplitKind::Random,
        Halves::Named { .. } | Halves::Published(Published::Kind(_)) => SplitKind::Dissimilar,
        Halves::Whole => SplitKind::Whole,
    };
    let accuracy = cell.count().share();
    let classes = split.task(cell.target).len();
    let images = split.count(cell.target, Part::Valid);
    let target = format!("{}/{}", cell.split, cell.target);
    let run = Run {
        accuracy: Some(accuracy),
        last: Some(accuracy),
        at_chance: at_chance(accuracy, classes, images),
        ..Run::named(cell.run(), kind, target, cell.treatment)
    };
    let point = Point {
        run: run.run.clone(),
        split: kind,
        unit: format!("{}/{}/{}", cell.split, cell.seed, cell.target),
        kind: cell.treatment.kind(),
        n: cell.n,
        accuracy,
        images: images as u64,
        at_chance: run.at_chance,
    };
    Some((run, point))
}
