//! Table 1, the accuracies and the answers as tables; cells lead to their runs.
//!
//! Used by `page`.

use super::super::model::{Side, cell_anchor, runs as counted, split_words};
use super::runs;
use crate::audit::effect::Effect;
use crate::audit::names::SplitKind;
use crate::audit::numbers::Cell;
use crate::audit::questions::Layer;
use crate::audit::stats::mean;
use crate::audit::table1::Row;
use crate::text::signed;
use crate::treatment::Kind;
use maud::{Markup, html};
use std::collections::{BTreeMap, BTreeSet};

/// Table 1: what the paper prints, and what each side gives.
pub fn table1(sides: &[Side]) -> Markup {
    let mut layers: Vec<(u8, u8)> =
        sides.iter().flat_map(|side| side.audit.table1.iter().map(|row| row.layers)).collect();
    layers.sort_unstable();
    layers.dedup();
    let row =
        |side: &'_ Side, layers: (u8, u8)| side.audit.table1.iter().position(|row| row.layers == layers);
    html! {
        p { "By how many points AnB+ beats base, and the control BnB+: as printed, as the same means of runs give it, and with each run "
            "compared with the base network of its own target (95 %)." }
        @if layers.is_empty() { div.none { "There are no runs of AnB+ and BnB+ on random halves." } }
        @else {
            div.pair {
                @for (right, title) in [(Kind::Base, "AnB+ over base"), (Kind::SelfferTuned, "AnB+ over BnB+")] {
                    div {
                        h3 { (title) }
                        div.wide { table {
                            thead { tr {
                                th { "layers" } th.n { "printed" } th.n { "these means" } th.n { "own base" }
                            } }
                            tbody { @for at in &layers { @for side in sides {
                                @if let Some(index) = row(side, *at) {
                                    (table1_row(side, &side.audit.table1[index], right))
                                }
                            } } }
                        } }
                    }
                }
            }
        }
        @for side in sides {
            @for row in &side.audit.table1 {
                @let names = row_runs(side, row);
                (runs::links(
                    side, &runs_id(side, row), &names,
                    &format!("{}, layers {}-{}: {}", side.title, row.layers.0, row.layers.1, counted(names.len())),
                ))
            }
        }
    }
}

/// The runs of a treatment that the means of a row are of.
fn on(side: &Side, row: &Row, kind: Kind) -> Vec<String> {
    let all = side.points.iter().filter(|point| {
        let depth = kind == Kind::Base || (row.layers.0..=row.layers.1).contains(&point.n);
        point.split == SplitKind::Random && point.kind == kind && depth
    });
    all.map(|point| point.run.clone()).collect()
}

/// All runs that a row rests on: those of its means, and with them those that are compared with their own base networks.
fn row_runs(side: &Side, row: &Row) -> Vec<String> {
    let kinds = [Kind::Base, Kind::SelfferTuned, Kind::TransferTuned];
    kinds.into_iter().flat_map(|kind| on(side, row, kind)).collect()
}

fn table1_row(side: &Side, row: &Row, right: Kind) -> Markup {
    let (printed, means, matched) = match right {
        Kind::Base => (row.published_over_base, row.over_base, Some(&row.target_matched)),
        _ => (row.published_over_selffer, row.over_selffer, row.over_selffer_target_matched.as_ref()),
    };
    html! {
        tr {
            td { (row.layers.0) "–" (row.layers.1) br; small { (side.title) } }
            td.n { (format!("{:+.1}", 100.0 * printed)) }
            td.n { a href={ "#" (runs_id(side, row)) } { (signed(means)) } br; small {
                (on(side, row, Kind::TransferTuned).len()) " and " (of_runs(side, &on(side, row, right)))
            } }
            td.n { @match matched {
                None => "–",
                Some(effect) => {
                    a href={ "#" (runs_id(side, row)) } { (signed(effect.value)) }
                    br; small { (signed(effect.interval.low)) " to " (signed(effect.interval.high)) }
                    br; small { (effect.left.len()) " and " (counted(effect.right.len())) }
                }
            } }
        }
    }
}

/// The anchor of the runs behind a row of Table 1.
fn runs_id(side: &Side, row: &Row) -> String {
    format!("{}-table-1-{}-{}", side.key, row.layers.0, row.layers.1)
}

/// Treatments beside each other.
const COLUMNS: usize = 6;

/// Means by split, treatment and depth.
pub fn accuracies(sides: &[Side]) -> Markup {
    html! {
        p { "Mean accuracy in percent, the change from the mean of all base networks in points, and how many runs: each cell leads to them. Runs "
            "at chance are in these means, as in the commands below, and counted with a ×; the figures' means leave them out." }
        div.pair {
            @for side in sides {
                div {
                    @for (split, target) in splits(side) {
                        h3 { (side.title) ": " (split_words(split)) @if let Some(target) = &target { ", " (target) } }
                        (grid(side, split, target.as_deref()))
                    }
                }
            }
        }
    }
}

fn splits(side: &Side) -> Vec<(SplitKind, Option<String>)> {
    // All networks on fewer examples are in one table.
    let target = |cell: &Cell| cell.target.clone().filter(|_| cell.split != SplitKind::Reduced);
    let mut found: Vec<_> = side.audit.cells.iter().map(|cell| (cell.split, target(cell))).collect();
    found.sort();
    found.dedup();
    found
}

fn grid(side: &Side, split: SplitKind, target: Option<&str>) -> Markup {
    if split == SplitKind::Reduced {
        return reduced(side);
    }
    let cells: Vec<&Cell> = side
        .audit
        .cells
        .iter()
        .filter(|cell| cell.split == split && cell.target.as_deref() == target)
        .collect();
    let base = cells.iter().find(|cell| cell.n == 0).map(|cell| cell.mean);
    let at = |kind: Kind, n: u8| cells.iter().find(|cell| cell.n == n && cell.treatment == kind.name());
    let kinds: BTreeSet<Kind> = side.points.iter().map(|point| point.kind).collect();
    let kinds: Vec<Kind> =
        kinds.into_iter().filter(|kind| cells.iter().any(|cell| cell.treatment == kind.name())).collect();
    // The paper's first, then the others; no more beside each other than a phone is wide.
    let paper = |kind: &&Kind| !matches!(kind, Kind::SelfferPreserved(_) | Kind::TransferPreserved(_));
    let (papers, others): (Vec<Kind>, Vec<Kind>) = kinds.iter().partition(paper);
    let parts: Vec<&[Kind]> = papers.chunks(COLUMNS).chain(others.chunks(COLUMNS)).collect();
    let depths = |part: &[Kind]| -> BTreeSet<u8> {
        let shown = cells.iter().filter(|cell| part.iter().any(|kind| kind.name() == cell.treatment));
        shown.map(|cell| cell.n).collect()
    };
    html! { @for part in parts {
        div.wide { table {
            thead { tr { th { "n" } @for kind in part { th.n { (kind.name()) } } } }
            tbody { @for n in depths(part) { tr {
                th { (n) }
                @for kind in part { td.n { @if let Some(cell) = at(*kind, n) {
                    a href={ "#" (cell_anchor(side.key, split, *kind, n)) } { (format!("{:.2}", 100.0 * cell.mean)) }
                    @if let Some(base) = base.filter(|_| n > 0) { br; small { (signed(cell.mean - base)) } }
                    br; small { (of_runs(side, &cell.runs)) }
                } } }
            } } }
        } }
    } }
}

/// How many runs a mean is of, and how many of them are at chance.
fn of_runs(side: &Side, runs: &[String]) -> Markup {
    let chance = runs.iter().filter(|run| side.run(run).is_some_and(|run| run.at_chance)).count();
    html! {
        (counted(runs.len()))
        @if chance > 0 { br; (chance) " ×" }
    }
}

/// Accuracies and the names of their runs.
type Found = (Vec<f64>, Vec<String>);

/// A row for each number of examples and task: networks on other classes are not pooled.
fn reduced(side: &Side) -> Markup {
    let mut rows: BTreeMap<(&str, u32), Found> = BTreeMap::new();
    for run in &side.runs {
        if let (Some(examples), Some(accuracy)) = (run.examples, run.accuracy) {
            let row = rows.entry((&run.target, examples)).or_default();
            row.0.push(accuracy);
            row.1.push(run.name.clone());
        }
    }
    html! {
        div.wide { table {
            thead { tr { th { "task" } th.n { "examples of" br; "each class" } th.n { "accuracy, %" } th { "runs" } } }
            tbody { @for ((target, examples), (accuracies, runs)) in &rows { tr {
                td.words { (target) }
                td.n { (examples) }
                td.n {
                    @if let Some(mean) = mean(accuracies) { (format!("{:.2}", 100.0 * mean)) }
                    br; small { (of_runs(side, runs)) }
                }
                td.words { @for (index, run) in runs.iter().enumerate() { @if index > 0 { ", " } (runs::link(side, run)) } }
            } } }
        } }
    }
}

/// The answers by layer.
pub fn questions(sides: &[Side]) -> Markup {
    html! { div.pair { @for side in sides { div {
        h3 { (side.title) ": answers by layer" br; small.quiet { "points, and a share of what a layer is worth" } }
        div.wide { table {
            thead { tr {
                th.n { "n" } th.n { "co-adaptation" } th.n { "specificity" } th.n { "generality" }
            } }
            tbody { @for layer in &side.audit.questions.layers { tr id={ (side.key) "-question-" (layer.n) } {
                th.n { (layer.n) }
                td.n { (effect(side, layer.coadaptation.as_ref(), Kind::Selffer, layer.n)) }
                td.n { (effect(side, layer.specificity.as_ref(), Kind::Transfer, layer.n)) }
                td.n { (generality(side, layer)) }
            } } }
        } }
    } } } }
}

fn effect(side: &Side, effect: Option<&Effect>, kind: Kind, n: u8) -> Markup {
    html! { @match effect {
        None => "–",
        Some(effect) => {
            a href={ "#" (cell_anchor(side.key, SplitKind::Random, kind, n)) } { (signed(effect.value)) }
            br; small { (signed(effect.interval.low)) " to " (signed(effect.interval.high)) }
            br; small { (effect.left.len()) " and " (counted(effect.right.len())) }
        }
    } }
}

fn generality(side: &Side, layer: &Layer) -> Markup {
    let names = &layer.generality_runs;
    let random =
        names.iter().filter_map(|name| side.run(name)).find(|run| run.treatment.kind() == Kind::Random);
    let split = random.map_or(SplitKind::Random, |run| run.split);
    html! { @match &layer.generality {
        None => "–",
        Some(found) => {
            a href={ "#" (cell_anchor(side.key, split, Kind::Random, layer.n)) } { (format!("{:.3}", found.value)) }
            @if let Some(interval) = found.interval { br; small { (format!("{:.3} to {:.3}", interval.low, interval.high)) } }
            br; small { (counted(names.len())) }
        }
    } }
}
