//! Accuracy by n on similar tasks, the paper's figure 2: every run, and the means with what is lost to what.
//!
//! Uses `plot` and `data`.

use super::canvas::{Paint, Sheet};
use super::data::{self, anchor, look, note, percent};
use super::label::{Lines, labels};
use super::plot::{Axis, Key, Plot, Shape, heading};
use super::{Figure, Kind as Shown};
use crate::audit::effect::Point;
use crate::audit::names::SplitKind;
use crate::error::Result;
use crate::report::model::{Side, runs as counted};
use crate::treatment::Kind;

/// The treatments of figure 2, and how far each is moved aside so that none hides another.
const TREATMENTS: [(Kind, f64); 5] = [
    (Kind::Base, 0.0),
    (Kind::Selffer, -0.27),
    (Kind::SelfferTuned, -0.1),
    (Kind::Transfer, 0.1),
    (Kind::TransferTuned, 0.27),
];

const WIDTH: f64 = 400.0;
/// The height of the plot below the legend.
const HEIGHT: f64 = 290.0;

fn similar(side: &Side) -> Vec<&Point> {
    let shown = |point: &&Point| {
        point.split == SplitKind::Random && TREATMENTS.iter().any(|(kind, _)| *kind == point.kind)
    };
    side.points.iter().filter(shown).collect()
}

fn key(kind: Kind, lines: bool) -> Key {
    let (paint, shape, dash) = look(kind);
    let text = match kind {
        Kind::Base => "base",
        Kind::Selffer => "BnB, frozen",
        Kind::SelfferTuned => "BnB+, trained on",
        Kind::Transfer => "AnB, frozen",
        Kind::TransferTuned => "AnB+, trained on",
        Kind::Random => "RnB, random",
        other => other.name(),
    };
    let dash = lines.then_some(dash).filter(|_| kind != Kind::Base);
    Key { shape: Some(shape), paint, dash, text: text.to_owned() }
}

fn keys(points: &[&Point], lines: bool) -> Vec<Key> {
    let there = TREATMENTS.iter().filter(|(kind, _)| points.iter().any(|point| point.kind == *kind));
    there.map(|(kind, _)| key(*kind, lines)).collect()
}

/// Every run; none where there are no random splits.
pub fn runs(side: &Side) -> Result<Option<Figure>> {
    let points = similar(side);
    if points.is_empty() {
        return Ok(None);
    }
    let title = "Accuracy by layers copied: every run".to_owned();
    let below = format!(
        "{}: {} on random halves, each seen from its target; {}",
        side.title,
        counted(points.len()),
        data::images(points.iter().copied())
    );
    let mut keys = keys(&points, false);
    if points.iter().any(|point| point.at_chance) {
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
    let y = Axis::over("validation accuracy, %", points.iter().map(|point| 100.0 * point.accuracy));
    let plot = Plot::new(&sheet, top, sheet.height, &Axis::layers(0), &y);
    for (kind, aside) in TREATMENTS {
        let (paint, shape, _) = look(kind);
        for n in 0..=7 {
            let here: Vec<&&Point> =
                points.iter().filter(|point| (point.kind, point.n) == (kind, n)).collect();
            for (index, point) in here.iter().enumerate() {
                // A little apart, in the order of runs: always the same way.
                let spread = match here.len() {
                    1 => 0.0,
                    count => 0.1 * (index as f64 / (count - 1) as f64 - 0.5),
                };
                let (shape, paint) =
                    if point.at_chance { (Shape::Cross, Paint::Soft) } else { (shape, paint) };
                let place = (f64::from(n) + aside + spread, 100.0 * point.accuracy);
                plot.marker(place, shape, paint, anchor(side, point), &note(side, point));
            }
        }
    }
    Ok(Some(Figure {
        kind: Shown::Runs,
        name: format!("{}-accuracy-runs", side.key),
        note:
            "Each marker is one network and leads to its entry. Treatments are moved aside for the eye alone."
                .into(),
        svg: sheet.finish(&title),
        csv: Some(data::csv(&data::POINTS, data::rows(points))?),
        title,
    }))
}

/// The means; none where no treatment was run.
pub fn means(side: &Side) -> Result<Option<Figure>> {
    let points = similar(side);
    let of = |kind: Kind| {
        data::means(points.iter().copied().filter(move |point| point.kind == kind), |point| {
            Some(point.accuracy)
        })
    };
    let Some(&(_, base, bases)) = of(Kind::Base).first() else { return Ok(None) };
    if points.iter().all(|point| point.n == 0) {
        return Ok(None);
    }
    let title = "Means, and what is lost to what".to_owned();
    // How many runs a marker is of: a reader of a page on paper has nothing to point with.
    let grafts = TREATMENTS.iter().skip(1).flat_map(|(kind, _)| of(*kind)).map(|(_, _, count)| count);
    let (least, most) = grafts.fold((usize::MAX, 0), |(low, high), count| (low.min(count), high.max(count)));
    let each = if least >= most { counted(most) } else { format!("{least} to {most} runs") };
    let chance = match points.iter().filter(|point| point.at_chance).count() {
        0 => String::new(),
        count => format!("; {count} at chance, left out"),
    };
    let below = format!(
        "{}: means on random halves; base is of {}, each other marker of {each}{chance}",
        side.title,
        counted(bases)
    );
    let line = |kind: Kind| -> Vec<(f64, f64)> {
        of(kind).into_iter().map(|(n, mean, _)| (f64::from(n), 100.0 * mean)).collect()
    };
    let base_line: Vec<(f64, f64)> = (0..=7).map(|n| (f64::from(n), 100.0 * base)).collect();
    let (selffer, transfer) = (line(Kind::Selffer), line(Kind::Transfer));
    let tuned = line(Kind::TransferTuned);
    let areas = [
        (&base_line, &selffer, Paint::Coadaptation, "fragile co-adaptation"),
        (&selffer, &transfer, Paint::Specificity, "representation specificity"),
        (&tuned, &base_line, Paint::Gain, "performance improves"),
    ];
    let areas: Vec<_> =
        areas.into_iter().map(|(high, low, paint, text)| (area(high, low), paint, text)).collect();
    let keys = keys(&points, true);
    let sheet = Sheet::wide(WIDTH);
    let top = heading(&sheet, &title, &below, &keys);
    let sheet = sheet.tall(top + HEIGHT);
    let all: Vec<f64> = TREATMENTS.iter().flat_map(|(kind, _)| line(*kind)).map(|(_, mean)| mean).collect();
    let (low, high) = all.iter().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
    // Room above for a label, and below.
    let room = (high - low).max(0.5);
    let y = Axis::between("mean validation accuracy, %", low - 0.08 * room..high + 0.2 * room);
    let mut plot = Plot::new(&sheet, top, sheet.height, &Axis::layers(0), &y);
    for (parts, paint, _) in &areas {
        for (high, low) in parts {
            plot.between(high, low, *paint);
        }
    }
    plot.line(&base_line, Paint::Base, 1.0, "1 3");
    for (kind, _) in TREATMENTS.into_iter().skip(1) {
        let (paint, shape, dash) = look(kind);
        plot.line(&line(kind), paint, 2.0, if dash == "1 0" { "" } else { dash });
        for (n, mean, count) in of(kind) {
            let note =
                format!("{} at n = {n}: {:.2} %, mean of {}", kind.name(), 100.0 * mean, counted(count));
            let to = super::super::model::cell_anchor(side.key, SplitKind::Random, kind, n);
            plot.marker((f64::from(n), 100.0 * mean), shape, paint, Some(&to), &note);
        }
    }
    let note = format!("base: {:.2} %, mean of {}", 100.0 * base, counted(bases));
    let to = super::super::model::cell_anchor(side.key, SplitKind::Random, Kind::Base, 0);
    plot.marker((0.0, 100.0 * base), Shape::Square, Paint::Base, Some(&to), &note);
    let tuned_selffer = line(Kind::SelfferTuned);
    let lines = [&base_line, &selffer, &transfer, &tuned, &tuned_selffer];
    labels(&plot, &areas, &lines.map(Vec::as_slice), (low, high, room));
    let rows = TREATMENTS.iter().flat_map(|(kind, _)| {
        of(*kind).into_iter().map(|(n, mean, count)| {
            vec![
                kind.name().to_owned(),
                n.to_string(),
                percent(mean),
                percent(mean - base),
                count.to_string(),
            ]
        })
    });
    let csv = data::csv(&["treatment", "n", "mean_percent", "change_points", "runs"], rows)?;
    Ok(Some(Figure {
        kind: Shown::Means,
        name: format!("{}-accuracy-means", side.key),
        note: "Base less BnB is what learning the upper layers again loses; BnB less AnB is what layers lose because they \
               were learnt for another task. Each marker leads to its runs."
            .into(),
        svg: sheet.finish(&title),
        csv: Some(csv),
        title,
    }))
}

/// The parts between two lines where the first is above the second, cut where they cross.
fn area(high: &[(f64, f64)], low: &[(f64, f64)]) -> Vec<Lines> {
    let both: Vec<(f64, f64, f64)> = high
        .iter()
        .filter_map(|(x, top)| Some((*x, *top, low.iter().find(|(other, _)| other == x)?.1)))
        .collect();
    let mut parts: Vec<Lines> = Vec::new();
    let mut open: Lines = (Vec::new(), Vec::new());
    for (index, &(x, top, bottom)) in both.iter().enumerate() {
        if let Some(&(before, was_top, was_bottom)) = index.checked_sub(1).and_then(|before| both.get(before))
        {
            let (gap, was) = (top - bottom, was_top - was_bottom);
            if gap * was < 0.0 {
                let share = was / (was - gap);
                let cross = (before + share * (x - before), was_top + share * (top - was_top));
                open.0.push(cross);
                open.1.push(cross);
                if was > 0.0 {
                    parts.push(std::mem::take(&mut open));
                }
            }
        }
        if top >= bottom {
            open.0.push((x, top));
            open.1.push((x, bottom));
        } else if !open.0.is_empty() {
            parts.push(std::mem::take(&mut open));
        }
    }
    parts.push(open);
    parts.retain(|(high, low)| high.len() > 1 && high.iter().zip(low).any(|(a, b)| a.1 > b.1));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_ends_where_its_lines_cross() {
        let flat = [(1.0, 1.0), (2.0, 1.0), (3.0, 1.0), (4.0, 1.0)];
        let crossing = [(1.0, 0.0), (2.0, 2.0), (3.0, 0.5), (4.0, 0.5)];
        let parts = area(&flat, &crossing);
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].0, [(1.0, 1.0), (1.5, 1.0)]);
        assert_eq!(parts[0].1, [(1.0, 0.0), (1.5, 1.0)]);
        assert_eq!(parts[1].0.first(), parts[1].1.first());
        assert_eq!(parts[1].0.last(), Some(&(4.0, 1.0)));
        // Lines over different places share only those that both have; equal lines leave nothing between them.
        assert_eq!(area(&flat, &[(2.0, 0.0), (9.0, 0.0)]), []);
        assert_eq!(area(&flat, &flat), []);
    }
}
