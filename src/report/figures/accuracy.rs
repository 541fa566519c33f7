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
use crate::report::model::{Side, cell_anchor, runs as counted};
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

/// The mean of one treatment's runs at one depth.
struct Mean {
    kind: Kind,
    n: u8,
    share: f64,
    runs: usize,
}

impl Mean {
    /// All of them, treatment by treatment. Runs at chance are in none.
    fn all(points: &[&Point]) -> Vec<Self> {
        let of = |(kind, _): (Kind, f64)| {
            let ours = points.iter().copied().filter(|point| point.kind == kind);
            let means = data::means(ours, |point| Some(point.accuracy)).into_iter();
            means.map(move |(n, share, runs)| Self { kind, n, share, runs })
        };
        TREATMENTS.into_iter().flat_map(of).collect()
    }

    fn place(&self) -> (f64, f64) {
        (f64::from(self.n), 100.0 * self.share)
    }

    /// Draws its marker, which leads to its runs.
    fn draw(&self, plot: &Plot, side: &Side) {
        let Self { kind, n, share, runs } = *self;
        let (paint, shape, _) = look(kind);
        let what = if kind == Kind::Base { "base".to_owned() } else { format!("{} at n = {n}", kind.name()) };
        let note = format!("{what}: {:.2} %, mean of {}", 100.0 * share, counted(runs));
        plot.marker(
            self.place(),
            shape,
            paint,
            Some(&cell_anchor(side.key, SplitKind::Random, kind, n)),
            &note,
        );
    }
}

/// Of how many runs the means are: a reader of a page on paper has nothing to point with.
fn below(side: &Side, points: &[&Point], base: &Mean, means: &[Mean]) -> String {
    let grafts = means.iter().filter(|mean| mean.kind != Kind::Base).map(|mean| mean.runs);
    let (least, most) = grafts.fold((usize::MAX, 0), |(low, high), count| (low.min(count), high.max(count)));
    let each = if least >= most { counted(most) } else { format!("{least} to {most} runs") };
    let chance = match points.iter().filter(|point| point.at_chance).count() {
        0 => String::new(),
        count => format!("; {count} at chance, left out"),
    };
    format!(
        "{}: means on random halves; base is of {}, each other marker of {each}{chance}",
        side.title,
        counted(base.runs)
    )
}

/// The means; none where no treatment was run.
pub fn means(side: &Side) -> Result<Option<Figure>> {
    let points = similar(side);
    let means = Mean::all(&points);
    let Some(base) = means.iter().find(|mean| mean.kind == Kind::Base) else { return Ok(None) };
    if points.iter().all(|point| point.n == 0) {
        return Ok(None);
    }
    let title = "Means, and what is lost to what".to_owned();
    let sheet = Sheet::wide(WIDTH);
    let top = heading(&sheet, &title, &below(side, &points, base, &means), &keys(&points, true));
    let sheet = sheet.tall(top + HEIGHT);
    let all = means.iter().map(|mean| 100.0 * mean.share);
    let (low, high) = all.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    // Room above for a label, and below.
    let room = (high - low).max(0.5);
    let y = Axis::between("mean validation accuracy, %", low - 0.08 * room..high + 0.2 * room);
    let mut plot = Plot::new(&sheet, top, sheet.height, &Axis::layers(0), &y);

    let of = |kind: Kind| means.iter().filter(move |mean| mean.kind == kind);
    let line = |kind: Kind| of(kind).map(Mean::place).collect::<Vec<_>>();
    let base_line: Vec<_> = (0..=7).map(|n| (f64::from(n), 100.0 * base.share)).collect();
    let (selffer, transfer) = (line(Kind::Selffer), line(Kind::Transfer));
    let (tuned, tuned_selffer) = (line(Kind::TransferTuned), line(Kind::SelfferTuned));
    let areas = [
        (&base_line, &selffer, Paint::Coadaptation, "fragile co-adaptation"),
        (&selffer, &transfer, Paint::Specificity, "representation specificity"),
        (&tuned, &base_line, Paint::Gain, "performance improves"),
    ]
    .map(|(high, low, paint, text)| (area(high, low), paint, text));
    for (parts, paint, _) in &areas {
        for (high, low) in parts {
            plot.between(high, low, *paint);
        }
    }
    plot.line(&base_line, Paint::Base, 1.0, "1 3");
    for (kind, _) in TREATMENTS.into_iter().skip(1) {
        let (paint, _, dash) = look(kind);
        plot.line(&line(kind), paint, 2.0, if dash == "1 0" { "" } else { dash });
        of(kind).for_each(|mean| mean.draw(&plot, side));
    }
    base.draw(&plot, side);
    let lines = [&base_line, &selffer, &transfer, &tuned, &tuned_selffer];
    labels(&plot, &areas, &lines.map(Vec::as_slice), (low, high, room));
    let rows = means.iter().map(|mean| {
        let name = mean.kind.name().to_owned();
        let change = percent(mean.share - base.share);
        vec![name, mean.n.to_string(), percent(mean.share), change, mean.runs.to_string()]
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
