//! Dissimilar tasks, random features and both relative to base: the paper's figure 3.
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

/// Transfer between dissimilar tasks: a figure for each such split.
pub fn dissimilar(side: &Side) -> Result<Vec<Figure>> {
    let shown = |point: &&Point| {
        point.split == SplitKind::Dissimilar && matches!(point.kind, Kind::Base | Kind::Transfer)
    };
    let mut splits: BTreeMap<&str, BTreeMap<&str, Vec<&Point>>> = BTreeMap::new();
    for point in side.points.iter().filter(shown) {
        let target = point.target.as_str();
        splits.entry(side.split(point)).or_default().entry(target).or_default().push(point);
    }
    splits.retain(|_, targets| targets.values().flatten().any(|point| point.kind == Kind::Transfer));
    let several = splits.len() > 1;
    // A split has two targets.
    let looks = [(Shape::Hexagon, "1 0"), (Shape::OpenHexagon, "6 3")];
    let mut figures = Vec::new();
    for (split, targets) in splits {
        let row = |((name, points), (shape, dash))| Row {
            text: format!("AnB to {name}"),
            paint: Paint::Transfer,
            shape,
            dash,
            points,
        };
        let lines: Vec<Row<'_>> = targets.into_iter().zip(looks).map(row).collect();
        let points = || lines.iter().flat_map(|row| row.points.iter().copied());
        let frame = Frame {
            kind: Shown::Dissimilar,
            name: if several { format!("dissimilar-{split}") } else { "dissimilar".to_owned() },
            title: "Transfer between dissimilar tasks".to_owned(),
            below: format!(
                "{}: {}; {}",
                side.title,
                counted(points().count()),
                data::images(points())
            ),
            x: LAYERS,
            y: "validation accuracy, %",
            note: "Halves by kind instead of by chance. One target may be easier than the other, so each has a line of its \
                   own; squares are base networks."
                .to_owned(),
        };
        figures.push(rows(side, frame, &lines, |point| Some(100.0 * point.accuracy))?);
    }
    Ok(figures)
}

/// Random features by kind of split; none where there are none.
pub fn random(side: &Side) -> Result<Option<Figure>> {
    let kinds: BTreeSet<SplitKind> =
        side.points.iter().filter(|point| point.kind == Kind::Random).map(|point| point.split).collect();
    let looks = [(Shape::Triangle, "1 0"), (Shape::OpenTriangle, "6 3"), (Shape::Disc, "2 3")];
    let lines: Vec<Row<'_>> = kinds
        .iter()
        .zip(looks)
        .map(|(split, (shape, dash))| Row {
            text: format!("RnB, {}", split_words(*split)),
            paint: Paint::Random,
            shape,
            dash,
            points: side
                .points
                .iter()
                .filter(|point| point.split == *split && matches!(point.kind, Kind::Base | Kind::Random))
                .collect(),
        })
        .collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let points = || lines.iter().flat_map(|row| row.points.iter().copied());
    let frame = Frame {
        kind: Shown::Random,
        name: "random".to_owned(),
        title: "Random, untrained lower layers".to_owned(),
        below: format!("{}: {}; {}", side.title, counted(points().count()), data::images(points())),
        x: "n, random layers",
        y: "validation accuracy, %",
        note: "The first n layers are random and frozen, the rest is trained; squares are base networks."
            .to_owned(),
    };
    rows(side, frame, &lines, |point| Some(100.0 * point.accuracy)).map(Some)
}

/// All three relative to the base network of each run's own target; none where only one could be shown.
pub fn relative(side: &Side) -> Result<Option<Figure>> {
    let with_base = |point: &Point| side.own_base(point).map(|base| 100.0 * (point.accuracy - base.accuracy));
    let of = |wanted: Kind, split: Option<SplitKind>| -> Vec<&Point> {
        let matches = |point: &&Point| {
            point.kind == wanted
                && split.is_none_or(|split| split == point.split)
                && with_base(point).is_some()
        };
        side.points.iter().filter(matches).collect()
    };
    let (paint, shape, dash) = look(Kind::Transfer);
    let mut lines = vec![
        Row {
            text: "AnB, random halves".into(),
            paint,
            shape,
            dash,
            points: of(Kind::Transfer, Some(SplitKind::Random)),
        },
        Row {
            text: "AnB, dissimilar halves".into(),
            paint: Paint::TransferTuned,
            shape: Shape::Hexagon,
            dash: "6 3",
            points: of(Kind::Transfer, Some(SplitKind::Dissimilar)),
        },
    ];
    let (paint, shape, dash) = look(Kind::Random);
    lines.push(Row { text: "RnB, random".into(), paint, shape, dash, points: of(Kind::Random, None) });
    lines.retain(|row| !row.points.is_empty());
    if lines.len() < 2 {
        return Ok(None);
    }
    let count: usize = lines.iter().map(|row| row.points.len()).sum();
    let points = lines.iter().flat_map(|row| row.points.iter().copied());
    let frame = Frame {
        kind: Shown::Relative,
        name: "relative".to_owned(),
        title: "All three relative to base".to_owned(),
        below: format!(
            "{}: {}, each less the base network of its own target; {}",
            side.title,
            counted(count),
            data::images(points)
        ),
        x: "n, layers copied or random",
        y: "change from own base, points",
        note: "Lines are means. What random features lose at a depth is the most that features can be worth there."
            .to_owned(),
    };
    let mut figure = rows(side, frame, &lines, with_base)?;
    let table = lines.iter().flat_map(|row| {
        row.points.iter().map(|point| {
            vec![
                point.run.clone(),
                row.text.clone(),
                point.n.to_string(),
                with_base(point).map_or_else(String::new, |change| format!("{change:.3}")),
                side.own_base(point).map_or_else(String::new, |base| base.run.clone()),
                point.at_chance.to_string(),
            ]
        })
    });
    figure.csv = Some(data::csv(&["run", "line", "n", "change_points", "base", "at_chance"], table)?);
    Ok(Some(figure))
}
