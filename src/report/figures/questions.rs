//! The three questions by layer, each with its intervals, and the transition from general to specific.
//!
//! Uses `plot` and `data`; the answers are `audit::questions`'.

use super::canvas::{Paint, Sheet, short};
use super::data;
use super::plot::{Axis, Plot, SMALL, Shape, heading};
use super::{Figure, Kind};
use crate::audit::questions::{Form, Layer, Transition};
use crate::audit::stats::Interval;
use crate::error::Result;
use crate::report::model::{Side, runs as counted};
use std::collections::BTreeSet;

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 230.0;

/// An answer at one depth.
struct Answer {
    n: u8,
    value: f64,
    interval: Option<Interval>,
    /// The runs behind it.
    runs: Vec<String>,
}

struct Question {
    kind: Kind,
    name: &'static str,
    title: &'static str,
    y: &'static str,
    paint: Paint,
    shape: Shape,
    note: String,
    /// Where it means that there is nothing to be seen: 0 for losses.
    neutral: f64,
}

/// The questions that have an answer at any depth.
pub fn all(side: &Side) -> Result<Vec<Figure>> {
    let layers = &side.audit.questions.layers;
    let points = |effect: &Option<crate::audit::effect::Effect>, n: u8| {
        let effect = effect.as_ref()?;
        let Interval { low, high } = effect.interval;
        Some(Answer {
            n,
            value: 100.0 * effect.value,
            interval: Some(Interval { low: 100.0 * low, high: 100.0 * high }),
            runs: effect.runs().cloned().collect(),
        })
    };
    let form = layers.iter().find_map(|layer| layer.generality_form);
    let questions = [
        (
            Question {
                kind: Kind::Coadaptation,
                name: "coadaptation",
                title: "How co-adapted are neighbouring layers?",
                y: "base - BnB, points",
                paint: Paint::Selffer,
                shape: Shape::Disc,
                note: "What is lost by learning the layers above n again, on the same task.".into(),
                neutral: 0.0,
            },
            layers.iter().filter_map(|layer| points(&layer.coadaptation, layer.n)).collect::<Vec<_>>(),
        ),
        (
            Question {
                kind: Kind::Specificity,
                name: "specificity",
                title: "How specific is a layer to its task?",
                y: "BnB - AnB, points",
                paint: Paint::Transfer,
                shape: Shape::Diamond,
                note: "What is lost by taking the first n layers from the other task instead of the same one.".into(),
                neutral: 0.0,
            },
            layers.iter().filter_map(|layer| points(&layer.specificity, layer.n)).collect::<Vec<_>>(),
        ),
        (
            Question {
                kind: Kind::Generality,
                name: "generality",
                title: "How general is a layer?",
                y: "share of its worth kept (1 = all)",
                paint: Paint::Random,
                shape: Shape::Triangle,
                note: match form {
                    Some(Form::RelativeToBase) => {
                        "(AnB/base - RnB/base') / (BnB/base - RnB/base'): the random controls have another target, so each \
                         accuracy is divided by that of its own base network. 1 keeps all, 0 no more than random layers."
                    }
                    _ => "(AnB - RnB) / (BnB - RnB) on the same targets: 1 keeps all, 0 no more than random layers.",
                }
                .into(),
                neutral: 1.0,
            },
            layers.iter().filter_map(generality).collect::<Vec<_>>(),
        ),
    ];
    let mut figures = Vec::new();
    for (question, answers) in questions {
        if !answers.is_empty() {
            figures.push(figure(side, question, &answers)?);
        }
    }
    Ok(figures)
}

fn generality(layer: &Layer) -> Option<Answer> {
    let found = layer.generality?;
    let runs = layer.generality_runs.clone();
    Some(Answer { n: layer.n, value: found.value, interval: found.interval, runs })
}

fn figure(side: &Side, question: Question, answers: &[Answer]) -> Result<Figure> {
    let runs: BTreeSet<&String> = answers.iter().flat_map(|answer| &answer.runs).collect();
    let transition = match question.kind {
        Kind::Specificity => side.audit.questions.transition.as_ref(),
        _ => None,
    };
    let mut below =
        format!("{}: {} on random halves; bars hold the middle 95 %", side.title, counted(runs.len()));
    if answers.iter().all(|answer| answer.interval.is_none()) {
        below = format!(
            "{}: {} on random halves; one target with one seed, so no interval",
            side.title,
            counted(runs.len())
        );
    }
    let sheet = Sheet::wide(WIDTH);
    let top = heading(&sheet, question.title, &below, &[]);
    let sheet = sheet.tall(top + HEIGHT);
    let ends = answers.iter().flat_map(|answer| {
        let interval = answer.interval.map_or([answer.value; 2], |found| [found.low, found.high]);
        [interval[0], interval[1], answer.value]
    });
    let mut y = Axis::over(question.y, ends.chain([question.neutral]));
    if transition.is_some() {
        // Room for what is said of the transition.
        let wide = y.range.end - y.range.start;
        y = Axis::between(question.y, y.range.start..y.range.end + 0.24 * wide);
    }
    let mut plot = Plot::new(&sheet, top, sheet.height, &Axis::layers(1), &y);
    if let Some(transition) = transition {
        mark(&sheet, &mut plot, transition, &y);
    }
    plot.line(&[(0.5, question.neutral), (7.5, question.neutral)], Paint::Base, 1.0, "1 3");
    let line: Vec<(f64, f64)> = answers.iter().map(|answer| (f64::from(answer.n), answer.value)).collect();
    plot.line(&line, question.paint, 2.0, "");
    for answer in answers {
        let x = f64::from(answer.n);
        let mut note = format!("n = {}: {:.3}", answer.n, answer.value);
        if let Some(Interval { low, high }) = answer.interval {
            plot.interval(x, low, high, question.paint);
            note = format!("{note} ({low:.3} to {high:.3})");
        }
        let note = format!("{note}, {}", counted(answer.runs.len()));
        let to = format!("{}-question-{}", side.key, answer.n);
        plot.marker((x, answer.value), question.shape, question.paint, Some(&to), &note);
    }
    let rows = answers.iter().map(|answer| {
        let end = |end: Option<f64>| end.map_or_else(String::new, |end| format!("{end:.4}"));
        vec![
            answer.n.to_string(),
            format!("{:.4}", answer.value),
            end(answer.interval.map(|found| found.low)),
            end(answer.interval.map(|found| found.high)),
            answer.runs.len().to_string(),
            answer.runs.join(" "),
        ]
    });
    let csv = data::csv(&["n", "value", "low", "high", "runs", "run_names"], rows)?;
    let name = format!("{}-{}", side.key, question.name);
    let (kind, title, note) = (question.kind, question.title.to_owned(), question.note);
    Ok(Figure { kind, name, svg: sheet.finish(&title), title, note, csv: Some(csv) })
}

/// Where layers turn from general to specific: a line, and an area over its interval.
fn mark(sheet: &Sheet, plot: &mut Plot, transition: &Transition, y: &Axis) {
    let (at, top) = (transition.layer.value, y.range.end);
    if let Some(Interval { low, high }) = transition.layer.interval {
        let (low, high) = (low.max(0.5), high.min(7.5));
        plot.between(
            &[(low, top), (high, top)],
            &[(low, y.range.start), (high, y.range.start)],
            Paint::Specificity,
        );
    }
    plot.line(&[(at, y.range.start), (at, top)], Paint::Transfer, 1.2, "4 3");
    let interval = transition.layer.interval;
    let interval =
        interval.map_or_else(String::new, |found| format!(" ({:.2} to {:.2})", found.low, found.high));
    let text = [format!("turns specific at layer {at:.2}{interval},"), {
        let targets = transition.targets.len();
        let spread = transition.layers.value;
        format!("over {spread:.2} layers, by {targets} target{}", if targets == 1 { "" } else { "s" })
    }];
    let (left, high) = plot.at(0.55, top);
    for (index, line) in text.iter().enumerate() {
        let baseline = high + SMALL * (1.3 + 1.25 * index as f64);
        sheet.text((left + 4.0, baseline), SMALL, "start", Paint::Ink, false, line);
    }
    // From the text to the line.
    let (x, _) = plot.at(at, top);
    let baseline = high + SMALL * 2.9;
    let from = left + 8.0;
    if x > from + 10.0 {
        sheet.raw(&format!(
            "<path class=\"s-soft\" stroke-width=\".9\" d=\"M{} {y}H{}\"/>",
            short(from),
            short(x),
            y = short(baseline)
        ));
    }
}
