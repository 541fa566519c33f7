//! Dissimilar tasks, random features and both relative to base (the paper's figure 3), and fewer examples (its supplement).
//!
//! Uses `plot` and `data`.

use super::canvas::{Paint, Sheet};
use super::data::{self, anchor, look, means, note, percent};
use super::plot::{Axis, Key, Plot, Shape, heading};
use super::{Figure, Kind as Shown};
use crate::audit::effect::Point;
use crate::audit::names::SplitKind;
use crate::error::Result;
use crate::report::model::{Side, runs as counted, split_words};
use crate::treatment::Kind;
use std::collections::BTreeSet;

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 270.0;

/// One line of a figure, with its points.
struct Row<'a> {
    text: String,
    paint: Paint,
    shape: Shape,
    dash: &'static str,
    points: Vec<&'a Point>,
}

impl Row<'_> {
    fn key(&self) -> Key {
        Key { shape: Some(self.shape), paint: self.paint, dash: Some(self.dash), text: self.text.clone() }
    }
}

/// What differs between the figures of this file that show rows by n.
struct Frame {
    kind: Shown,
    name: &'static str,
    title: &'static str,
    below: String,
    y: &'static str,
    note: &'static str,
}

/// Draws rows by n: every point where it is, and a line through the means. `value` is in percent or points.
fn rows(
    side: &Side,
    frame: Frame,
    rows: &[Row<'_>],
    value: impl Fn(&Point) -> Option<f64>,
) -> Result<Figure> {
    let every = || rows.iter().flat_map(|row| row.points.iter().copied());
    let sheet = Sheet::wide(WIDTH);
    let mut keys: Vec<Key> = rows.iter().map(Row::key).collect();
    if every().any(|point| point.at_chance) {
        let text = "at chance, in no mean".to_owned();
        keys.push(Key { shape: Some(Shape::Cross), paint: Paint::Soft, dash: None, text });
    }
    let top = heading(&sheet, frame.title, &frame.below, &keys);
    let sheet = sheet.tall(top + HEIGHT);
    let y = Axis::over(frame.y, every().filter_map(&value));
    let from = u8::from(every().all(|point| point.n > 0));
    let mut plot = Plot::new(&sheet, top, sheet.height, &Axis::layers(from), &y);
    if frame.kind == Shown::Relative {
        plot.line(&[(0.5, 0.0), (7.5, 0.0)], Paint::Base, 1.0, "1 3");
    }
    for row in rows {
        let found = means(row.points.iter().copied(), &value);
        let line: Vec<(f64, f64)> = found.iter().map(|(n, mean, _)| (f64::from(*n), *mean)).collect();
        plot.line(&line, row.paint, 2.0, if row.dash == "1 0" { "" } else { row.dash });
    }
    let aside = |index: usize| 0.12 * (index as f64 - (rows.len() as f64 - 1.0) / 2.0);
    for (index, row) in rows.iter().enumerate() {
        for point in &row.points {
            let Some(value) = value(point) else { continue };
            let (shape, paint) = match (point.at_chance, point.kind) {
                (true, _) => (Shape::Cross, Paint::Soft),
                (_, Kind::Base) => (Shape::Square, row.paint),
                _ => (row.shape, row.paint),
            };
            let place = (f64::from(point.n) + aside(index), value);
            plot.marker(place, shape, paint, anchor(side, point), &note(side, point));
        }
    }
    Ok(Figure {
        kind: frame.kind,
        name: format!("{}-{}", side.key, frame.name),
        title: frame.title.to_owned(),
        note: frame.note.to_owned(),
        svg: sheet.finish(frame.title),
        csv: Some(data::csv(&data::POINTS, data::rows(every()))?),
    })
}

/// The name of a target without that of its seed.
fn target(side: &Side, point: &Point) -> String {
    side.run(&point.run).map_or_else(|| point.unit.clone(), |run| run.target.clone())
}

/// Transfer between dissimilar tasks; none where there is no such split.
pub fn dissimilar(side: &Side) -> Result<Option<Figure>> {
    let shown = |point: &&Point| {
        point.split == SplitKind::Dissimilar && matches!(point.kind, Kind::Base | Kind::Transfer)
    };
    let points: Vec<&Point> = side.points.iter().filter(shown).collect();
    let targets: BTreeSet<String> = points.iter().map(|point| target(side, point)).collect();
    let looks = [(Shape::Hexagon, "1 0"), (Shape::OpenHexagon, "6 3")];
    let lines: Vec<Row<'_>> = targets
        .iter()
        .zip(looks.iter().cycle())
        .map(|(name, (shape, dash))| Row {
            text: format!("AnB to {name}"),
            paint: Paint::Transfer,
            shape: *shape,
            dash,
            points: points.iter().copied().filter(|point| target(side, point) == *name).collect(),
        })
        .collect();
    if points.is_empty() {
        return Ok(None);
    }
    let frame = Frame {
        kind: Shown::Dissimilar,
        name: "dissimilar",
        title: "Transfer between dissimilar tasks",
        below: format!("{}: {}; {}", side.title, counted(points.len()), data::images(points.iter().copied())),
        y: "validation accuracy, %",
        note: "Halves by kind instead of by chance. One target may be easier than the other, so each has a line of its own; \
               squares are base networks.",
    };
    rows(side, frame, &lines, |point| Some(100.0 * point.accuracy)).map(Some)
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
        name: "random",
        title: "Random, untrained lower layers",
        below: format!("{}: {}; {}", side.title, counted(points().count()), data::images(points())),
        y: "validation accuracy, %",
        note: "The first n layers are random and frozen, the rest is trained; squares are base networks.",
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
        name: "relative",
        title: "All three relative to base",
        below: format!(
            "{}: {}, each less the base network of its own target; {}",
            side.title,
            counted(count),
            data::images(points)
        ),
        y: "change from own base, points",
        note: "Lines are means. What random features lose at a depth is the most that features can be worth there.",
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

/// Accuracy against examples of each class; none where no network had fewer.
pub fn reduced(side: &Side) -> Result<Option<Figure>> {
    let found: Vec<_> =
        side.runs.iter().filter_map(|run| Some((run, run.examples?, run.accuracy?))).collect();
    if found.is_empty() {
        return Ok(None);
    }
    let title = "Accuracy by examples of each class".to_owned();
    let images = data::images(side.points.iter().filter(|point| point.split == SplitKind::Reduced));
    let below = format!("{}: {} on fewer examples of each class; {images}", side.title, counted(found.len()));
    let mut keys = vec![Key {
        shape: Some(Shape::Disc),
        paint: Paint::Selffer,
        dash: Some("1 0"),
        text: "base network".into(),
    }];
    if found.iter().any(|(run, ..)| run.at_chance) {
        keys.push(Key {
            shape: Some(Shape::Cross),
            paint: Paint::Soft,
            dash: None,
            text: "at chance".into(),
        });
    }
    let sheet = Sheet::wide(WIDTH);
    let top = heading(&sheet, &title, &below, &keys);
    let sheet = sheet.tall(top + HEIGHT);
    let log = |count: u32| f64::from(count).log10();
    let most = found.iter().map(|(_, count, _)| *count).max().unwrap_or(1);
    let marks = [1u32, 10, 100, 1000, 10_000].into_iter().filter(|mark| *mark <= most);
    let x = Axis {
        label: "training examples of each class (logarithmic)",
        range: -0.12..log(most) + 0.12,
        marks: marks.map(|mark| (log(mark), mark.to_string())).collect(),
        room: 0.0,
    };
    let y = Axis::over("validation accuracy, %", found.iter().map(|(.., accuracy)| 100.0 * accuracy));
    let mut plot = Plot::new(&sheet, top, sheet.height, &x, &y);
    let mut line: Vec<(f64, f64)> = found
        .iter()
        .filter(|(run, ..)| !run.at_chance)
        .map(|(_, count, accuracy)| (log(*count), 100.0 * accuracy))
        .collect();
    line.sort_by(|a, b| a.0.total_cmp(&b.0));
    plot.line(&line, Paint::Selffer, 2.0, "");
    for (run, count, accuracy) in &found {
        let (shape, paint) =
            if run.at_chance { (Shape::Cross, Paint::Soft) } else { (Shape::Disc, Paint::Selffer) };
        let chance = if run.at_chance { "; it never left chance" } else { "" };
        let note =
            format!("{}: {:.2} % with {count} examples of each class{chance}", run.name, 100.0 * accuracy);
        plot.marker((log(*count), 100.0 * accuracy), shape, paint, Some(&run.anchor), &note);
    }
    let mut table: Vec<_> = found
        .iter()
        .map(|(run, count, accuracy)| {
            (*count, vec![run.name.clone(), count.to_string(), percent(*accuracy), run.at_chance.to_string()])
        })
        .collect();
    table.sort();
    let table = table.into_iter().map(|(_, row)| row);
    Ok(Some(Figure {
        kind: Shown::Reduced,
        name: format!("{}-examples", side.key),
        note: "One network for each number of examples: a smaller set of the same classes.".into(),
        svg: sheet.finish(&title),
        csv: Some(data::csv(&["run", "examples_per_class", "accuracy_percent", "at_chance"], table)?),
        title,
    }))
}
