//! Audits a selffer store: what `verify` says of it, and the claims and questions of its own table.
//!
//! Uses `verify` and `table`; used by the command line. Nothing is trained here. Splits into random halves
//! are the paper's similar tasks, halves by name its dissimilar ones.

use super::effect::Point;
use super::names::SplitKind;
use super::numbers::{self, Run};
use super::scores::at_chance;
use super::{Audit, Source, concluded, sorted};
use crate::data::Part;
use crate::error::Result;
use crate::plan::Plan;
use crate::protocol::Halves;
use crate::table::{Cell, Table};
use crate::verify::{Context, verify};

/// Audits what a store has of a plan.
///
/// # Errors
/// Where the system does not let a file be read.
pub fn store(context: &Context<'_>) -> Result<Audit> {
    let mut findings = verify(context)?.findings;
    let table = Table::of(context.plan, &context.manifests);
    let runs: Vec<(Run, Point)> = table.cells.iter().filter_map(|cell| run(context.plan, cell)).collect();
    let points: Vec<Point> = runs.iter().map(|(_, point)| point.clone()).collect();
    let concluded = concluded(&points)?;
    findings.extend(concluded.findings.iter().cloned());
    let cells = numbers::cells(runs.iter().map(|(run, _)| (run, None)));
    let runs = runs.into_iter().map(|(run, _)| run).collect();
    Ok(Audit { source: Source::Store, findings: sorted(findings), runs, cells, ..concluded })
}

fn run(plan: &Plan<'_>, cell: &Cell) -> Option<(Run, Point)> {
    let (split, _) = plan.splits.iter().find(|(split, _)| split.name == cell.split)?;
    let rule = plan.protocol.splits.iter().find(|rule| rule.name == cell.split)?;
    let kind = match rule.halves {
        Halves::Random(_) => SplitKind::Random,
        Halves::Named { .. } => SplitKind::Dissimilar,
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
