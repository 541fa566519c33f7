//! The figures: SVG that follows light, dark and print, each with its numbers as CSV.
//!
//! Uses `report::model` and plotters, through `canvas` and `plot`; used by `report` and its page. One file for each kind of
//! figure.

mod accuracy;
pub mod canvas;
mod controls;
mod curve;
pub mod data;
mod examples;
mod first_layer;
mod label;
mod others;
pub mod plot;
mod questions;
mod rows;

use super::model::Side;
use crate::error::Result;

/// What a figure shows; a side has at most one of those of the paper's figure 2 and of the questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Every run's accuracy by n (figure 2, top).
    Runs,
    /// The means, and what is lost to what (figure 2, bottom).
    Means,
    /// Transfer between dissimilar tasks (figure 3, left).
    Dissimilar,
    /// Random features (figure 3, middle).
    Random,
    /// All three relative to base (figure 3, right).
    Relative,
    /// All treatments on a dissimilar task, or on all classes.
    Treatments,
    /// Networks with more layers copied and trained on above the frozen ones.
    Preserved,
    /// Accuracy against examples of each class (supplement).
    Reduced,
    /// Base networks by task.
    Bases,
    /// Base less BnB by layer.
    Coadaptation,
    /// BnB less AnB by layer, with the transition.
    Specificity,
    /// What a transferred layer keeps.
    Generality,
    /// The first layer of one base network.
    FirstLayer,
    /// How one run went.
    Curve,
}

/// A figure.
pub struct Figure {
    /// What it shows.
    pub kind: Kind,
    /// Its name: of its anchor and its files.
    pub name: String,
    /// Its title.
    pub title: String,
    /// What to see in it, in a sentence or two.
    pub note: String,
    /// The picture, to stand within a page.
    pub svg: String,
    /// Its numbers; none of a curve, for those of all runs are in one file.
    pub csv: Option<String>,
}

impl Figure {
    /// The path of its picture within the report.
    pub fn file(&self) -> String {
        match self.kind {
            Kind::Curve => format!("figures/curves/{}.svg", self.name),
            _ => format!("figures/{}.svg", self.name),
        }
    }

    /// The path and text of its numbers.
    pub fn data(&self) -> Option<(String, &str)> {
        Some((format!("data/{}.csv", self.name), self.csv.as_deref()?))
    }

    /// The picture as a file of its own: with its colours, and with links into the page.
    pub fn standalone(&self) -> String {
        let up = if self.kind == Kind::Curve { "../.." } else { ".." };
        let linked = self.svg.replace("href=\"#", &format!("href=\"{up}/{}#", super::PAGE));
        let style = format!("<style>{}</style>", canvas::style());
        let (tag, rest) = linked.split_once('>').unwrap_or((&linked, ""));
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{tag}><title>{}</title>{style}{rest}\n",
            canvas::escaped(&self.title)
        )
    }
}

/// The figures of all sides.
pub struct Drawn {
    /// By side: the figures about all runs.
    figures: Vec<Vec<Figure>>,
    /// By side and run: its curve, where it has one.
    curves: Vec<Vec<Option<Figure>>>,
}

impl Drawn {
    /// All of them.
    pub fn every(&self) -> impl Iterator<Item = &Figure> {
        self.figures.iter().flatten().chain(self.curves.iter().flatten().flatten())
    }

    /// Those of one kind on the side of that index.
    pub fn of(&self, side: usize, kind: Kind) -> Vec<&Figure> {
        self.figures[side].iter().filter(|figure| figure.kind == kind).collect()
    }

    /// The curve of a run of a side, both by index.
    pub fn curve(&self, side: usize, run: usize) -> Option<&Figure> {
        self.curves[side][run].as_ref()
    }
}

/// Draws the figures of all sides.
///
/// # Errors
/// Where a picture or a table cannot be written; never in practice, for they are written to memory.
pub fn all(sides: &[Side]) -> Result<Drawn> {
    let mut figures = Vec::new();
    for side in sides {
        let mut found = Vec::new();
        found.extend(accuracy::runs(side)?);
        found.extend(accuracy::means(side)?);
        found.extend(others::dissimilar(side)?);
        found.extend(others::random(side)?);
        found.extend(others::relative(side)?);
        found.extend(controls::treatments(side)?);
        found.extend(controls::preserved(side)?);
        found.extend(examples::reduced(side)?);
        found.extend(examples::bases(side)?);
        found.extend(questions::all(side)?);
        found.extend(first_layer::all(side)?);
        figures.push(found);
    }
    let curves = sides.iter().map(|side| side.runs.iter().map(|run| curve::curve(side, run)).collect());
    Ok(Drawn { figures, curves: curves.collect() })
}

/// The marker of a treatment, to stand within a text.
pub fn look_of(kind: crate::treatment::Kind) -> maud::PreEscaped<String> {
    let (paint, shape, _) = data::look(kind);
    maud::PreEscaped(format!(
        "<svg class=\"chart\" width=\"14\" height=\"14\" viewBox=\"0 0 14 14\" aria-hidden=\"true\">{}</svg>",
        plot::marker((7.0, 7.0), shape, paint)
    ))
}
