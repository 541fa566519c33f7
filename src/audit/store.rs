//! Audits a selffer store: how far it is proven, and the claims and questions of its own table.
//!
//! Uses `audit::proof` and `table`; used by the command line and `report`. Splits into random halves
//! are the paper's similar tasks, halves by name its dissimilar ones.

use super::effect::Point;
use super::names::SplitKind;
use super::numbers::{self, Run};
use super::proof::Prover;
use super::{Audit, Source, concluded, sorted};
use crate::data::Part;
use crate::error::Result;
use crate::manifest::Count;
use crate::plan::Plan;
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
    let (concluded, _) = conclude(context.plan, &table)?;
    findings.extend(concluded.findings);
    Ok(Audit { findings: sorted(findings), proof: Some(proof), ..concluded })
}

/// What follows from a table alone, proven or not, and the points that it rests on. Its findings are those of the
/// claims.
///
/// # Errors
/// Where the claims in the program are not of their format; a test keeps that from happening.
pub fn conclude(plan: &Plan<'_>, table: &Table) -> Result<(Audit, Vec<Point>)> {
    let (runs, points): (Vec<Run>, Vec<Point>) =
        table.cells.iter().filter_map(|cell| run(plan, cell)).unzip();
    let concluded = concluded(&points)?;
    // That another experiment does not bear the paper out is nothing wrong with it.
    let findings = concluded.findings.iter().map(|finding| finding.clone().graded(Severity::Note)).collect();
    let cells = numbers::cells(runs.iter().map(|run| (run, run.treatment.examples())));
    Ok((Audit { source: Source::Store, findings, runs, cells, ..concluded }, points))
}

fn run(plan: &Plan<'_>, cell: &Cell) -> Option<(Run, Point)> {
    let (split, _) = plan.splits.iter().find(|(split, _)| split.name == cell.split)?;
    let rule = plan.protocol.splits.iter().find(|rule| rule.name == cell.split)?;
    let kind = match cell.treatment.examples() {
        Some(_) => SplitKind::Reduced,
        None => SplitKind::of(&rule.halves),
    };
    let accuracy = cell.count().share();
    let classes = split.task(cell.target).len();
    let images = split.count(cell.target, Part::Valid);
    let target = format!("{}/{}", cell.split, cell.target);
    let run = Run {
        accuracy: Some(accuracy),
        last: Some(accuracy),
        at_chance: cell.count().at_chance(classes),
        ..Run::named(cell.run(), kind, target, cell.treatment)
    };
    let point = Point {
        run: run.run.clone(),
        split: kind,
        target: run.target.clone(),
        // Networks on reduced data are no controls of anything but each other.
        unit: match cell.treatment.examples() {
            Some(examples) => format!("{}/{}/{}@{examples}", cell.split, cell.seed, cell.target),
            None => format!("{}/{}/{}", cell.split, cell.seed, cell.target),
        },
        kind: cell.treatment.kind(),
        n: cell.n,
        accuracy,
        images: images as u64,
        at_chance: run.at_chance,
    };
    Some((run, point))
}
