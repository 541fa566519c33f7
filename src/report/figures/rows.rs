//! Rows by n: every run where it is and a line through the means, for each of some groups of runs.
//!
//! Uses `plot` and `data`; used by the figures beside it that compare groups: `others`, `controls`.

use super::canvas::{Paint, Sheet};
use super::data::{self, anchor, means, note};
use super::plot::{Axis, Key, Plot, Shape, heading};
use super::{Figure, Kind as Shown};
use crate::audit::effect::Point;
use crate::error::Result;
use crate::report::model::Side;
use crate::treatment::Kind;

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 270.0;

/// One line of a figure, with its points.
pub struct Row<'a> {
    /// What it is called.
    pub text: String,
    /// Its colour.
    pub paint: Paint,
    /// The shape of its markers.
    pub shape: Shape,
    /// The dashes of its line; `1 0` for none.
    pub dash: &'static str,
    /// The runs.
    pub points: Vec<&'a Point>,
}

impl Row<'_> {
    fn key(&self) -> Key {
        // A point alone has no line.
        let line = self.points.iter().any(|point| point.n > 0);
        let dash = line.then_some(self.dash);
        Key { shape: Some(self.shape), paint: self.paint, dash, text: self.text.clone() }
    }
}

/// What else a figure of rows has.
pub struct Frame {
    /// What it shows.
    pub kind: Shown,
    /// Its name without its side's.
    pub name: String,
    /// Its title.
    pub title: String,
    /// The line below that: of whom, of how many runs.
    pub below: String,
    /// What is across, and what is up.
    pub x: &'static str,
    /// See `x`.
    pub y: &'static str,
    /// What to see in it.
    pub note: String,
}

/// Draws rows by n. `value` is in percent or points.
///
/// # Errors
/// As [`data::csv`].
pub fn rows(
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
    let top = heading(&sheet, &frame.title, &frame.below, &keys);
    let sheet = sheet.tall(top + HEIGHT);
    let y = Axis::over(frame.y, every().filter_map(&value));
    let from = u8::from(every().all(|point| point.n > 0));
    let x = Axis { label: frame.x, ..Axis::layers(from) };
    let mut plot = Plot::new(&sheet, top, sheet.height, &x, &y);
    if frame.kind == Shown::Relative {
        plot.line(&[(0.5, 0.0), (7.5, 0.0)], Paint::Base, 1.0, "1 3");
    }
    for row in rows {
        let found = means(row.points.iter().copied(), &value);
        let line: Vec<(f64, f64)> = found.iter().map(|(n, mean, _)| (f64::from(*n), *mean)).collect();
        plot.line(&line, row.paint, 2.0, if row.dash == "1 0" { "" } else { row.dash });
    }
    // Apart, but each nearer to its own n than to the next.
    let step = (0.7 / rows.len().max(1) as f64).min(0.12);
    let aside = |index: usize| step * (index as f64 - (rows.len() as f64 - 1.0) / 2.0);
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
        svg: sheet.finish(&frame.title),
        title: frame.title,
        note: frame.note,
        csv: Some(data::csv(&data::POINTS, data::rows(every()))?),
    })
}
