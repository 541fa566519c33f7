//! The paper's Table 1, derived again: by how much transfer with fine-tuning (`AnB+`) beats its controls.
//!
//! Uses `audit::effect`; used by `audit`. The paper aggregates layers 1 to 7, 3 to 7 and 5 to 7, and gives
//! the mean boost over `baseB` and over the selffer control `BnB+`, in percent with one decimal.

use super::effect::{Effect, Point, Side, compare};
use super::names::SplitKind;
use super::stats::mean;
use crate::text::counted;
use crate::treatment::Kind;
use crate::verify::{Code, Finding};
use serde::Serialize;

/// The layers that are aggregated, and the published boosts over base and over selffer, in percent.
const PUBLISHED: [(u8, u8, f64, f64); 3] = [(1, 7, 1.6, 1.4), (3, 7, 1.8, 1.4), (5, 7, 2.1, 1.7)];

/// By how much a boost may change when targets are matched before it is worth a word: a tenth of the
/// largest published boost.
const MATTERS: f64 = 0.002;

/// How accuracies of several runs are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// All runs of the layers together, each with the same weight.
    Runs,
    /// A mean for each layer first, then the mean of those.
    Layers,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The first and last layer.
    pub layers: (u8, u8),
    /// The published boost over `baseB`, as a fraction.
    pub published_over_base: f64,
    /// The published boost over `BnB+`, as a fraction.
    pub published_over_selffer: f64,
    /// The boost over base: mean of all `AnB+` runs less the mean of all base networks, pooled by runs.
    pub over_base: f64,
    /// The boost over selffer, pooled by runs.
    pub over_selffer: f64,
    /// The same two with a mean for each layer first.
    pub over_base_by_layer: f64,
    /// See `over_base_by_layer`.
    pub over_selffer_by_layer: f64,
    /// Whether the row has the published digits, by each pooling.
    pub reproduced_by: Vec<Pooling>,
    /// The boost over base, each run with the base network of its own target.
    pub over_base_target_matched: f64,
    /// The same, with its interval and runs.
    pub target_matched: Effect,
    /// The boost over selffer of runs relative to the base network of their own target.
    pub over_selffer_target_matched: Option<Effect>,
}

/// The rows that the points have runs for.
pub fn table1(points: &[Point]) -> Vec<Row> {
    PUBLISHED.into_iter().filter_map(|published| row(points, published)).collect()
}

fn row(points: &[Point], (from, to, base, selffer): (u8, u8, f64, f64)) -> Option<Row> {
    let of = |kind: Kind| {
        let random = move |point: &&Point| point.split == SplitKind::Random && point.kind == kind;
        points.iter().filter(random).filter(move |point| kind == Kind::Base || (from..=to).contains(&point.n))
    };
    let by_run = |kind: Kind| mean(&of(kind).map(|point| point.accuracy).collect::<Vec<_>>());
    let by_layer = |kind: Kind| {
        let layer = |n: u8| {
            mean(&of(kind).filter(|point| point.n == n).map(|point| point.accuracy).collect::<Vec<_>>())
        };
        mean(&(from..=to).filter_map(layer).collect::<Vec<_>>())
    };
    let all_bases = by_run(Kind::Base)?;
    let over_base = by_run(Kind::TransferTuned)? - all_bases;
    let over_selffer = by_run(Kind::TransferTuned)? - by_run(Kind::SelfferTuned)?;
    let over_base_by_layer = by_layer(Kind::TransferTuned)? - all_bases;
    let over_selffer_by_layer = by_layer(Kind::TransferTuned)? - by_layer(Kind::SelfferTuned)?;
    let as_printed = |boost: f64, percent: f64| (boost * 1000.0).round() == (percent * 10.0).round();
    let poolings = [
        (Pooling::Runs, over_base, over_selffer),
        (Pooling::Layers, over_base_by_layer, over_selffer_by_layer),
    ];
    let reproduced = poolings.into_iter().filter(|(_, a, b)| as_printed(*a, base) && as_printed(*b, selffer));
    let depths = Some((from..=to).collect());
    let side = |kind| Side { kind, split: Some(SplitKind::Random), depths: depths.clone() };
    let matched = compare(points, &side(Kind::TransferTuned), &side(Kind::Base))?;
    Some(Row {
        layers: (from, to),
        published_over_base: base / 100.0,
        published_over_selffer: selffer / 100.0,
        over_base,
        over_selffer,
        over_base_by_layer,
        over_selffer_by_layer,
        reproduced_by: reproduced.map(|(pooling, _, _)| pooling).collect(),
        over_base_target_matched: matched.value,
        target_matched: matched,
        over_selffer_target_matched: compare(points, &side(Kind::TransferTuned), &side(Kind::SelfferTuned)),
    })
}

/// What is wrong with the published table, by runs that are said to be those behind it.
pub fn findings(rows: &[Row], points: &[Point]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for row in rows {
        let (from, to) = row.layers;
        let subject = format!("Table 1, layers {from}-{to}");
        if row.reproduced_by.is_empty() {
            let message = format!(
                "published are {:.1} % over base and {:.1} % over selffer; the runs give {:.2} % and {:.2} %",
                100.0 * row.published_over_base,
                100.0 * row.published_over_selffer,
                100.0 * row.over_base,
                100.0 * row.over_selffer
            );
            findings.push(Finding::new(Code::TableDiffers, &subject, message).with(format!(
                "with a mean for each layer first, {:.2} % and {:.2} %",
                100.0 * row.over_base_by_layer,
                100.0 * row.over_selffer_by_layer
            )));
        }
        let change = row.over_base_target_matched - row.over_base;
        if change.abs() > MATTERS {
            let message = format!(
                "the boost over base is {:.2} %, but {:.2} % ({:.2} to {:.2}) when each run is compared with the base \
                 network of its own target",
                100.0 * row.over_base,
                100.0 * row.over_base_target_matched,
                100.0 * row.target_matched.interval.low,
                100.0 * row.target_matched.interval.high
            );
            let finding = Finding::new(Code::TableUnmatched, &subject, message);
            findings.push(targets(row, points).into_iter().fold(finding, Finding::with));
        }
        if let Some(matched) = &row.over_selffer_target_matched
            && (matched.value - row.over_selffer).abs() > MATTERS
        {
            let message = format!(
                "the boost over selffer is {:.2} %, but {:.2} % ({:.2} to {:.2}) when each run is first compared with \
                 the base network of its own target",
                100.0 * row.over_selffer,
                100.0 * matched.value,
                100.0 * matched.interval.low,
                100.0 * matched.interval.high
            );
            let sides =
                format!("{} of AnB+ and {} of BnB+", counted(matched.left.len(), "run"), matched.right.len());
            findings.push(Finding::new(Code::TableUnmatched, &subject, message).with(sides));
        }
    }
    findings
}

/// How many of a row's transfers are on each target, and what base that has.
fn targets(row: &Row, points: &[Point]) -> Vec<String> {
    let all: Vec<f64> = points
        .iter()
        .filter(|point| point.kind == Kind::Base && point.split == SplitKind::Random)
        .map(|point| point.accuracy)
        .collect();
    let mut lines = Vec::new();
    for base in points.iter().filter(|point| row.target_matched.right.contains(&point.run)) {
        let on = |point: &&Point| point.unit == base.unit && row.target_matched.left.contains(&point.run);
        let runs = points.iter().filter(on).count();
        lines.push(format!(
            "{runs} of {} on {}, whose base network has {:.4}",
            counted(row.target_matched.left.len(), "run"),
            base.unit,
            base.accuracy
        ));
    }
    lines.push(format!(
        "the mean of all {} is {:.4}",
        counted(all.len(), "base network"),
        mean(&all).unwrap_or(f64::NAN)
    ));
    lines
}
