//! Accuracy against examples of each class (the paper's supplement), and base networks by their tasks.
//!
//! Uses `plot` and `data`.

use super::canvas::{Paint, Sheet, width};
use super::data::{self, anchor, note, percent};
use super::plot::{Axis, Key, Plot, SMALL, Shape, heading, wrapped};
use super::{Figure, Kind as Shown};
use crate::audit::effect::Point;
use crate::audit::names::SplitKind;
use crate::audit::stats::mean;
use crate::error::Result;
use crate::report::model::{Entry, Side, runs as counted, split_words};
use crate::text;
use crate::treatment::Kind;
use std::collections::BTreeMap;

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 270.0;

/// How the tasks of one figure look.
const LOOKS: [(Paint, Shape, &str); 6] = [
    (Paint::Selffer, Shape::Disc, "1 0"),
    (Paint::Transfer, Shape::Diamond, "6 3"),
    (Paint::Random, Shape::Triangle, "2 3"),
    (Paint::TransferTuned, Shape::OpenDiamond, "8 2 2 2"),
    (Paint::SelfferTuned, Shape::Ring, "4 2"),
    (Paint::Base, Shape::OpenHexagon, "1 3"),
];

/// One task's networks: how many examples of each class, and what came of them.
type Reduced<'a> = Vec<(u32, &'a Entry, f64)>;

fn log(count: u32) -> f64 {
    f64::from(count).log10()
}

/// Accuracy against examples of each class: a line for each task, as many tasks in a figure as can be told apart.
pub fn reduced(side: &Side) -> Result<Vec<Figure>> {
    let mut tasks: BTreeMap<&str, Reduced<'_>> = BTreeMap::new();
    for run in &side.runs {
        if let (Some(examples), Some(accuracy)) = (run.examples, run.accuracy) {
            tasks.entry(&run.target).or_default().push((examples, run, accuracy));
        }
    }
    let tasks: Vec<(&str, Reduced<'_>)> = tasks.into_iter().collect();
    tasks.chunks(LOOKS.len()).enumerate().map(|(index, part)| figure(side, index, part)).collect()
}

fn figure(side: &Side, index: usize, tasks: &[(&str, Reduced<'_>)]) -> Result<Figure> {
    let every = || tasks.iter().flat_map(|(_, runs)| runs.iter());
    let title = "Accuracy by examples of each class".to_owned();
    let images =
        data::images(side.points.iter().filter(|point| every().any(|(_, run, _)| run.name == point.run)));
    let below =
        format!("{}: {} on fewer examples of each class; {images}", side.title, counted(every().count()));
    let mut keys: Vec<Key> = tasks
        .iter()
        .zip(LOOKS)
        .map(|((target, _), (paint, shape, dash))| Key {
            shape: Some(shape),
            paint,
            dash: Some(dash),
            text: format!("base networks, {target}"),
        })
        .collect();
    if every().any(|(_, run, _)| run.at_chance) {
        let text = "at chance, in no line".to_owned();
        keys.push(Key { shape: Some(Shape::Cross), paint: Paint::Soft, dash: None, text });
    }
    let sheet = Sheet::wide(WIDTH);
    let top = heading(&sheet, &title, &below, &keys);
    let sheet = sheet.tall(top + HEIGHT);
    let x = examples_axis(every().map(|(count, ..)| *count).collect());
    let y = Axis::over("validation accuracy, %", every().map(|(.., accuracy)| 100.0 * accuracy));
    let mut plot = Plot::new(&sheet, top, sheet.height, &x, &y);
    for ((_, runs), (paint, _, dash)) in tasks.iter().zip(LOOKS) {
        let mut by_count: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for (count, _, accuracy) in runs.iter().filter(|(_, run, _)| !run.at_chance) {
            by_count.entry(*count).or_default().push(100.0 * accuracy);
        }
        let line: Vec<(f64, f64)> =
            by_count.into_iter().filter_map(|(count, all)| Some((log(count), mean(&all)?))).collect();
        plot.line(&line, paint, 2.0, if dash == "1 0" { "" } else { dash });
    }
    for ((_, runs), (paint, shape, _)) in tasks.iter().zip(LOOKS) {
        for (count, run, accuracy) in runs {
            let (shape, paint) = if run.at_chance { (Shape::Cross, Paint::Soft) } else { (shape, paint) };
            let chance = if run.at_chance { "; at chance" } else { "" };
            let note = format!(
                "{}: {:.2} % with {} of each class{chance}",
                run.name,
                100.0 * accuracy,
                text::counted(*count as usize, "example")
            );
            plot.marker((log(*count), 100.0 * accuracy), shape, paint, Some(&run.anchor), &note);
        }
    }
    let mut table: Vec<_> = every()
        .map(|(count, run, accuracy)| {
            let cells = vec![
                run.name.clone(),
                count.to_string(),
                percent(*accuracy),
                run.at_chance.to_string(),
                run.target.clone(),
            ];
            (run.target.as_str(), *count, cells)
        })
        .collect();
    table.sort();
    let header = ["run", "examples_per_class", "accuracy_percent", "at_chance", "target"];
    let number = if index == 0 { String::new() } else { format!("-{}", index + 1) };
    Ok(Figure {
        kind: Shown::Reduced,
        name: format!("{}-examples{number}", side.key),
        note: "Each marker is one network, trained on the first examples of each class; a line for each task leads \
               through the means."
            .into(),
        svg: sheet.finish(&title),
        csv: Some(data::csv(&header, table.into_iter().map(|(.., row)| row))?),
        title,
    })
}

/// A logarithmic axis over those numbers, marked with the numbers themselves where there is room, else with round ones.
fn examples_axis(mut counts: Vec<u32>) -> Axis {
    counts.sort_unstable();
    counts.dedup();
    let (least, most) = (counts.first().copied().unwrap_or(1), counts.last().copied().unwrap_or(1));
    let room = 0.04 * (log(most) - log(least)).max(1.0);
    let range = log(least) - room..log(most) + room;
    let unit = (WIDTH - 70.0) / (range.end - range.start);
    let apart = |marks: &Vec<u32>| {
        marks.windows(2).all(|pair| {
            let words = width(&pair[0].to_string(), SMALL) + width(&pair[1].to_string(), SMALL);
            (log(pair[1]) - log(pair[0])) * unit > words / 2.0 + 4.0
        })
    };
    let round = |steps: &[u32]| -> Vec<u32> {
        let powers = (0..10).map(|power| 10u32.pow(power));
        let all = powers.flat_map(|power| steps.iter().filter_map(move |step| power.checked_mul(*step)));
        all.filter(|mark| (least..=most).contains(mark)).collect()
    };
    let ends = vec![least, most];
    let marks = [counts, round(&[1, 2, 5]), round(&[1])];
    let marks = marks.into_iter().find(|marks| !marks.is_empty() && apart(marks)).unwrap_or(ends);
    Axis {
        label: "training examples of each class (logarithmic)",
        range,
        marks: marks.into_iter().map(|mark| (log(mark), mark.to_string())).collect(),
        room: 0.0,
    }
}

/// Every base network by its task; none where there is none.
pub fn bases(side: &Side) -> Result<Option<Figure>> {
    // The archive's networks on fewer examples are base networks too, and in the figure above.
    let base = |point: &&Point| point.kind == Kind::Base && point.split != SplitKind::Reduced;
    let mut tasks: BTreeMap<(SplitKind, Option<&str>), Vec<&Point>> = BTreeMap::new();
    for point in side.points.iter().filter(base) {
        let target = (point.split != SplitKind::Random).then_some(point.target.as_str());
        tasks.entry((point.split, target)).or_default().push(point);
    }
    if tasks.is_empty() {
        return Ok(None);
    }
    let every = || tasks.values().flatten().copied();
    let title = "Base networks by task".to_owned();
    let below = format!("{}: {}; {}", side.title, counted(every().count()), data::images(every()));
    let chance = every().any(|point| point.at_chance);
    let text = "at chance, in no mean".to_owned();
    let keys = chance.then_some(Key { shape: Some(Shape::Cross), paint: Paint::Soft, dash: None, text });
    let sheet = Sheet::wide(WIDTH);
    let top = heading(&sheet, &title, &below, keys.as_slice());
    let words = |(split, target): &(SplitKind, Option<&str>), points: &[&Point]| {
        let name = target.map_or_else(
            || split_words(*split).to_owned(),
            |target| format!("{target} ({})", split_words(*split)),
        );
        let learnt: Vec<f64> =
            points.iter().filter(|point| !point.at_chance).map(|point| 100.0 * point.accuracy).collect();
        let mean = match (mean(&learnt), learnt.len()) {
            (Some(mean), 2..) => format!(", mean {mean:.2} %"),
            _ => String::new(),
        };
        wrapped(&format!("{name}: {}{mean}", counted(points.len())), SMALL, WIDTH - 50.0)
    };
    // A band for each task: its words, and its runs below them. Heights are in units of the sheet.
    const LINE: f64 = 15.0;
    const RUNS: f64 = 24.0;
    let bands: Vec<_> = tasks.iter().map(|(task, points)| (words(task, points), points)).collect();
    let high: f64 = bands.iter().map(|(words, _)| words.len() as f64 * LINE + RUNS).sum();
    let sheet = sheet.tall(top + high + 60.0);
    let x = Axis::over("validation accuracy, %", every().map(|point| 100.0 * point.accuracy));
    let y = Axis { label: "", range: 0.0..high, marks: Vec::new(), room: 0.0 };
    let plot = Plot::new(&sheet, top, sheet.height, &x, &y);
    let (left, above) = plot.at(x.range.start, high);
    let scale = (plot.at(x.range.start, 0.0).1 - above) / high;
    let mut place = 0.0;
    for (words, points) in &bands {
        for (index, line) in words.iter().enumerate() {
            let baseline = above + scale * (place + LINE * (index as f64 + 0.9));
            sheet.text((left + 6.0, baseline), SMALL, "start", Paint::Ink, false, line);
        }
        place += words.len() as f64 * LINE;
        for point in *points {
            let (shape, paint) =
                if point.at_chance { (Shape::Cross, Paint::Soft) } else { (Shape::Square, Paint::Base) };
            let at = (100.0 * point.accuracy, high - place - RUNS / 2.0);
            plot.marker(at, shape, paint, anchor(side, point), &note(side, point));
        }
        place += RUNS;
    }
    let csv = data::csv(&data::POINTS, data::rows(every()))?;
    Ok(Some(Figure {
        kind: Shown::Bases,
        name: format!("{}-bases", side.key),
        note: "How hard each task is for a network that copies nothing. Each marker is one network.".into(),
        svg: sheet.finish(&title),
        csv: Some(csv),
        title,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_of_examples_is_marked_with_what_there_is_room_for() {
        let marks = |counts: &[u32]| -> Vec<String> {
            examples_axis(counts.to_vec()).marks.into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(marks(&[20, 8, 20]), ["8", "20"]);
        assert_eq!(marks(&[25]), ["25"]);
        assert_eq!(marks(&[3, 5, 7, 30]), ["3", "5", "7", "30"]);
        let paper = [1, 2, 5, 10, 25, 50, 100, 250, 500, 750, 1000, 1300];
        assert_eq!(marks(&paper), ["1", "2", "5", "10", "20", "50", "100", "200", "500", "1000"]);
        assert_eq!(marks(&[1, 9_999, 10_000, 10_001]), ["1", "10", "100", "1000", "10000"]);
        assert_eq!(marks(&[3_001, 3_002, 3_003]), ["3001", "3003"]);
    }
}
