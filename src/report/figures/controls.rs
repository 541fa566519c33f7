//! What the paper did not draw: all treatments on one dissimilar task or on all classes, and networks whose copied layers
//! are partly trained on (`AnB^k`). With the figures of the paper, every run with an accuracy is in some figure: a test.
//!
//! Uses `rows` and `data`.

use super::canvas::Paint;
use super::data::{self, LAYERS, look};
use super::plot::Shape;
use super::rows::{Frame, Row, rows};
use super::{Figure, Kind as Shown};
use crate::audit::effect::Point;
use crate::audit::names::SplitKind;
use crate::error::Result;
use crate::report::model::{Side, runs as counted, split_words};
use crate::treatment::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// What figure 2 shows of random halves, for each other task that has more than figure 3 shows of it.
pub fn treatments(side: &Side) -> Result<Vec<Figure>> {
    const KINDS: [Kind; 5] =
        [Kind::Base, Kind::Selffer, Kind::SelfferTuned, Kind::Transfer, Kind::TransferTuned];
    let mut targets: BTreeMap<&str, Vec<&Point>> = BTreeMap::new();
    for point in side.points.iter().filter(|point| KINDS.contains(&point.kind)) {
        if point.split != SplitKind::Random {
            targets.entry(point.target.as_str()).or_default().push(point);
        }
    }
    let elsewhere = |point: &&Point| {
        point.kind == Kind::Base || (point.kind == Kind::Transfer && point.split == SplitKind::Dissimilar)
    };
    targets.retain(|_, points| !points.iter().all(elsewhere));
    let figure = |(target, points): (&str, Vec<&Point>)| {
        let lines = KINDS.map(|kind| {
            let (paint, shape, dash) = look(kind);
            let points = points.iter().copied().filter(|point| point.kind == kind).collect();
            Row { text: kind.name().to_owned(), paint, shape, dash, points }
        });
        let lines: Vec<Row<'_>> = lines.into_iter().filter(|row| !row.points.is_empty()).collect();
        let frame = Frame {
            kind: Shown::Treatments,
            name: format!("treatments-{}", target.replace('/', "-")),
            title: format!("Treatments and controls on {target}"),
            below: below(side, &points, points[0].split),
            x: LAYERS,
            y: "validation accuracy, %",
            note: "Each marker is one network and leads to its entry; lines are means.".to_owned(),
        };
        rows(side, frame, &lines, |point| Some(100.0 * point.accuracy))
    };
    targets.into_iter().map(figure).collect()
}

fn below(side: &Side, points: &[&Point], split: SplitKind) -> String {
    let images = data::images(points.iter().copied());
    format!("{}: {}, {}; {images}", side.title, counted(points.len()), split_words(split))
}

/// How the lines for k = 1 to 6 look; the colour of the fourth is that of the other figure's k = 0.
fn more(selffer: bool, k: u8) -> (Paint, Shape, &'static str) {
    match k {
        1 => (Paint::TransferTuned, Shape::OpenDiamond, "6 3"),
        2 => (Paint::Random, Shape::Triangle, "2 3"),
        3 => (Paint::SelfferTuned, Shape::Ring, "4 2"),
        4 => (if selffer { Paint::Transfer } else { Paint::Selffer }, Shape::Hexagon, "8 2 2 2"),
        5 => (Paint::Ink, Shape::OpenTriangle, "1 3"),
        _ => (Paint::Soft, Shape::OpenHexagon, "3 3"),
    }
}

/// Networks with k more layers copied and trained on, beside those with none: for random halves, and for each other task.
pub fn preserved(side: &Side) -> Result<Vec<Figure>> {
    // None of a target is for all of the random halves together.
    let mut groups: BTreeMap<(SplitKind, Option<&str>, bool), Vec<&Point>> = BTreeMap::new();
    for point in &side.points {
        let target = (point.split != SplitKind::Random).then_some(point.target.as_str());
        let mut put = |selffer: bool| groups.entry((point.split, target, selffer)).or_default().push(point);
        match point.kind {
            Kind::Base => [true, false].into_iter().for_each(put),
            Kind::Selffer | Kind::SelfferPreserved(_) => put(true),
            Kind::Transfer | Kind::TransferPreserved(_) => put(false),
            _ => {}
        }
    }
    let preserved =
        |point: &&Point| matches!(point.kind, Kind::SelfferPreserved(_) | Kind::TransferPreserved(_));
    groups.retain(|_, points| points.iter().any(preserved));
    let figure = |((split, target, selffer), points): ((SplitKind, Option<&str>, bool), Vec<&Point>)| {
        let kinds: BTreeSet<Kind> = points.iter().map(|point| point.kind).collect();
        let row = |kind: Kind| {
            let ((paint, shape, dash), text) = match kind {
                Kind::SelfferPreserved(k) | Kind::TransferPreserved(k) => {
                    (more(selffer, k), format!("k = {k}"))
                }
                Kind::Base => (look(kind), "base".to_owned()),
                _ => (look(kind), format!("k = 0: {}", kind.name())),
            };
            let points = points.iter().copied().filter(|point| point.kind == kind).collect();
            Row { text, paint, shape, dash, points }
        };
        let lines: Vec<Row<'_>> = kinds.into_iter().map(row).collect();
        let (name, treatment) = if selffer { ("selffer", "BnB^k") } else { ("transfer", "AnB^k") };
        let place = target.map_or_else(|| "random".to_owned(), |target| target.replace('/', "-"));
        let on = target.map_or_else(String::new, |target| format!(" on {target}"));
        let frame = Frame {
            kind: Shown::Preserved,
            name: format!("preserved-{name}-{place}"),
            title: format!("{treatment}: k more layers copied{on}"),
            below: below(side, &points, split),
            x: "n, layers copied and frozen",
            y: "validation accuracy, %",
            note: "Above n frozen layers, k more are copied and trained on instead of learnt anew. Each marker is one network; \
                   lines are means."
                .to_owned(),
        };
        rows(side, frame, &lines, |point| Some(100.0 * point.accuracy))
    };
    groups.into_iter().map(figure).collect()
}
