//! Numbers as CSV, and what figures have in common: means of points, looks of treatments.
//!
//! Uses `report::model`; used by every figure.

use super::canvas::Paint;
use super::plot::Shape;
use crate::audit::effect::Point;
use crate::audit::stats::mean;
use crate::error::Result;
use crate::report::model::{Side, grouped};
use crate::text;
use crate::treatment::Kind;
use std::collections::BTreeMap;
use std::iter;

/// What is across where layers are copied.
pub const LAYERS: &str = "n, layers copied";

/// Rows as CSV, the header first.
///
/// # Errors
/// Never in practice: the writer is memory.
pub fn csv(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<String> {
    let header = header.iter().map(|name| (*name).to_owned()).collect();
    text::csv(iter::once(header).chain(rows))
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    format!("{:.3}", 100.0 * share)
}

/// Every run of a side.
///
/// # Errors
/// As [`csv()`].
pub fn runs(side: &Side) -> Result<String> {
    let header = [
        "run",
        "split",
        "target",
        "treatment",
        "n",
        "examples",
        "accuracy_percent",
        "right",
        "images",
        "at_chance",
        "copies_from",
        "lacks",
    ];
    let rows = side.runs.iter().map(|run| {
        let text = |value: Option<String>| value.unwrap_or_default();
        vec![
            run.name.clone(),
            crate::report::model::split_words(run.split).to_owned(),
            run.target.clone(),
            run.treatment.to_string(),
            run.treatment.n().to_string(),
            text(run.examples.map(|count| count.to_string())),
            text(run.accuracy.map(percent)),
            text(run.right.map(|(right, _)| right.to_string())),
            run.images.to_string(),
            run.at_chance.to_string(),
            text(run.parent.clone()),
            text(run.lacks.clone()),
        ]
    });
    csv(&header, rows)
}

/// Every validation of every run of a side.
///
/// # Errors
/// As [`csv()`].
pub fn curves(side: &Side) -> Result<String> {
    let header = [
        "run",
        "counted_in",
        "at",
        "valid_accuracy_percent",
        "valid_loss_nats",
        "train_accuracy_percent",
        "train_loss_nats",
    ];
    let rows = side.runs.iter().flat_map(|run| {
        run.curve.places.iter().map(|place| {
            let loss = |loss: Option<f64>| loss.map_or_else(String::new, |loss| format!("{loss:.6}"));
            vec![
                run.name.clone(),
                run.curve.unit.to_owned(),
                place.at.to_string(),
                percent(place.valid),
                loss(place.valid_loss),
                place.train.map_or_else(String::new, percent),
                loss(place.train_loss),
            ]
        })
    });
    csv(&header, rows)
}

/// How a treatment looks: colour, shape of its markers, dashes of its lines.
pub fn look(kind: Kind) -> (Paint, Shape, &'static str) {
    match kind {
        Kind::Base | Kind::Reduced => (Paint::Base, Shape::Square, "1 3"),
        Kind::Selffer => (Paint::Selffer, Shape::Disc, "1 0"),
        Kind::SelfferTuned | Kind::SelfferPreserved(_) => (Paint::SelfferTuned, Shape::Ring, "6 3"),
        Kind::Transfer => (Paint::Transfer, Shape::Diamond, "1 0"),
        Kind::TransferTuned | Kind::TransferPreserved(_) => (Paint::TransferTuned, Shape::OpenDiamond, "6 3"),
        Kind::Random => (Paint::Random, Shape::Triangle, "2 3"),
    }
}

/// The mean of points at each depth, with how many they are. Points at chance are left out.
pub fn means<'a>(
    points: impl IntoIterator<Item = &'a Point>,
    value: impl Fn(&Point) -> Option<f64>,
) -> Vec<(u8, f64, usize)> {
    let mut by_depth: BTreeMap<u8, Vec<f64>> = BTreeMap::new();
    for point in points.into_iter().filter(|point| !point.at_chance) {
        by_depth.entry(point.n).or_default().extend(value(point));
    }
    by_depth.into_iter().filter_map(|(n, values)| Some((n, mean(&values)?, values.len()))).collect()
}

/// How many validation images points rest on, in words.
pub fn images<'a>(points: impl IntoIterator<Item = &'a Point>) -> String {
    let (low, high) = points
        .into_iter()
        .fold((u64::MAX, 0), |(low, high), point| (low.min(point.images), high.max(point.images)));
    match low >= high {
        true => format!("{} validation images each", grouped(high)),
        false => format!("{} to {} validation images each", grouped(low), grouped(high)),
    }
}

/// What a marker says when it is pointed at.
pub fn note(side: &Side, point: &Point) -> String {
    let counted = side.run(&point.run).and_then(|run| run.right);
    let of = match counted {
        Some((right, total)) => format!("{right} of {total} images"),
        None => format!("{} images", grouped(point.images)),
    };
    let chance = if point.at_chance { "; at chance" } else { "" };
    format!("{}: {:.2} % ({of}){chance}", point.run, 100.0 * point.accuracy)
}

/// Where a point's run has its entry in the page.
pub fn anchor<'a>(side: &'a Side, point: &Point) -> Option<&'a str> {
    side.run(&point.run).map(|run| run.anchor.as_str())
}

/// The rows of a CSV of points.
pub fn rows<'a>(points: impl IntoIterator<Item = &'a Point>) -> Vec<Vec<String>> {
    let row = |point: &Point| {
        vec![
            point.run.clone(),
            point.target.clone(),
            point.kind.name().to_owned(),
            point.n.to_string(),
            percent(point.accuracy),
            point.images.to_string(),
            point.at_chance.to_string(),
        ]
    };
    points.into_iter().map(row).collect()
}

/// The header of [`rows`].
pub const POINTS: [&str; 7] = ["run", "target", "treatment", "n", "accuracy_percent", "images", "at_chance"];
