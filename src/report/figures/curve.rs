//! How one run went: accuracy and loss by epoch, or by iteration.
//!
//! Uses `plot`.

use super::canvas::{Paint, Sheet};
use super::plot::{Axis, Key, Plot, Shape, heading};
use super::{Figure, Kind};
use crate::report::model::{Entry, Place, Side, grouped, runs as counted};

const WIDTH: f64 = 400.0;
const PANEL: f64 = 170.0;

type Line = Vec<(f64, f64)>;

/// Places that a curve is drawn with a marker each; more are a line alone.
const MARKED: usize = 30;

/// The curve of a run; none where it has none.
pub fn curve(side: &Side, run: &Entry) -> Option<Figure> {
    let places = &run.curve.places;
    let last = places.last()?;
    let thousands = run.curve.unit == "iteration" && last.at >= 10_000;
    let x = |place: &Place| if thousands { place.at as f64 / 1000.0 } else { place.at as f64 };
    let label = match (run.curve.unit, thousands) {
        ("epoch", _) => "epoch, from 0",
        (_, true) => "thousand iterations",
        _ => "iteration",
    };
    let title = format!("{}: accuracy and loss", run.name);
    let below = format!(
        "{}: {}, {} validations of {} images",
        side.title,
        counted(1),
        grouped(places.len() as u64),
        grouped(run.images)
    );
    let trained = places.iter().any(|place| place.train.is_some() || place.train_loss.is_some());
    let key = |paint, dash, text: &str| Key { shape: None, paint, dash: Some(dash), text: text.to_owned() };
    let mut keys = vec![key(Paint::Selffer, "1 0", "validation")];
    if trained {
        keys.push(key(Paint::Transfer, "6 3", "training, during the epoch"));
    }
    let line = |value: &dyn Fn(&Place) -> Option<f64>| -> Line {
        places.iter().filter_map(|place| Some((x(place), value(place)?))).collect()
    };
    let accuracy = [line(&|place| Some(100.0 * place.valid)), line(&|place| Some(100.0 * place.train?))];
    let loss = [line(&|place| place.valid_loss), line(&|place| place.train_loss)];
    let panels: Vec<(&'static str, [Line; 2])> = [("accuracy, %", accuracy), ("loss, nats", loss)]
        .into_iter()
        .filter(|(_, lines)| lines.iter().any(|line| !line.is_empty()))
        .collect();
    let sheet = Sheet::wide(WIDTH);
    let top = heading(&sheet, &title, &below, &keys);
    let sheet = sheet.tall(top + PANEL * panels.len() as f64);
    let mut axes: Vec<Axis> = panels
        .iter()
        .map(|(name, lines)| Axis::over(name, lines.iter().flatten().map(|place| place.1)))
        .collect();
    let room = axes.iter().map(Axis::widest).fold(0.0, f64::max);
    for ((index, (_, lines)), y) in panels.iter().enumerate().zip(&mut axes) {
        y.room = room;
        let above = top + PANEL * index as f64;
        let across = Axis::counted(label, x(&places[0]).min(1.0), x(last));
        let mut plot = Plot::new(&sheet, above, above + PANEL, &across, y);
        let looks = [(Paint::Selffer, "", Shape::Disc), (Paint::Transfer, "6 3", Shape::OpenDiamond)];
        for (line, (paint, dash, shape)) in lines.iter().zip(looks) {
            plot.line(line, paint, 1.6, dash);
            for place in line.iter().filter(|_| line.len() <= MARKED) {
                plot.marker(*place, shape, paint, None, &format!("{label} {}: {:.3}", place.0, place.1));
            }
        }
    }
    let index = side.runs.iter().position(|other| other.name == run.name)?;
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' };
    let name: String = run.name.replace('+', "-plus").chars().map(plain).collect();
    Some(Figure {
        kind: Kind::Curve,
        name: format!("{}-{index}-{name}", side.key),
        note: String::new(),
        svg: sheet.finish(&title),
        csv: None,
        title,
    })
}
