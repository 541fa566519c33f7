//! What a report shows, wherever it comes from: runs with their curves and evidence, conclusions, findings, inputs.
//!
//! Uses `audit`'s conclusions; made by `report::{store, archive}`, used by `report::figures` and `report::page`.

use super::filters::Filters;
use crate::audit::effect::Point;
use crate::audit::names::SplitKind;
use crate::audit::{Audit, Source};
use crate::text::counted;
use crate::treatment::{Kind, Treatment};
use crate::verify::Checked;
use std::collections::BTreeMap;

/// One source of results: a column of the page.
pub struct Side {
    /// What its anchors and files begin with: `store` or `archive`.
    pub key: &'static str,
    /// What it is called.
    pub title: String,
    /// What it is, in a sentence.
    pub about: String,
    /// How commands name it: a variable of the shell, so that no path of a machine is in the report.
    pub variable: &'static str,
    /// Its conclusions; findings are all of those that concern it, the worst first.
    pub audit: Audit,
    /// The accuracies behind them.
    pub points: Vec<Point>,
    /// Every run, also those without an accuracy.
    pub runs: Vec<Entry>,
    /// Where runs were asked to look: facts of the source as a whole.
    pub facts: Vec<Fact>,
    /// The plan's splits, of a store.
    pub splits: Vec<Task>,
    /// What `verify` did, of a store.
    pub checked: Vec<Checked>,
    /// The first layers, of a store.
    pub filters: Vec<Filters>,
    /// Everything that was read.
    pub inputs: Vec<Input>,
    /// Commands that give the numbers again: what for, and the command.
    pub commands: Vec<(&'static str, String)>,
    /// What `selffer report` is told for this side.
    pub options: String,
    /// What is to be kept in mind.
    pub remarks: Vec<String>,
    by_name: BTreeMap<String, usize>,
}

/// What the commands of a side are for: every accuracy.
pub const ACCURACIES: &str = "every accuracy";
/// See [`ACCURACIES`].
pub const FINDINGS: &str = "findings";
/// See [`ACCURACIES`].
pub const CONCLUSIONS: &str = "Table 1, claims and questions";

/// A name and what it stands for.
pub struct Fact {
    /// The name.
    pub name: &'static str,
    /// What it is.
    pub value: String,
    /// Whether that is a digest or the like.
    pub code: bool,
}

impl Fact {
    /// A fact in words.
    pub fn words(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), code: false }
    }

    /// A digest, a path, a version.
    pub fn code(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), code: true }
    }
}

/// One task of a split.
pub struct Task {
    /// The split's name.
    pub split: String,
    /// Its digest in full.
    pub digest: String,
    /// `A` or `B`.
    pub task: String,
    /// The classes.
    pub classes: Vec<String>,
    /// Training images.
    pub train: usize,
    /// Validation images.
    pub valid: usize,
}

/// A file that was read.
pub struct Input {
    /// What it is.
    pub what: &'static str,
    /// Its path within the source, or its name.
    pub path: String,
    /// Its SHA-256, or the digest that the program has for such a thing, in full.
    pub digest: String,
}

/// One run.
pub struct Entry {
    /// Its name in its source.
    pub name: String,
    /// The anchor of its entry in the page.
    pub anchor: String,
    /// The kind of its split.
    pub split: SplitKind,
    /// The treatment.
    pub treatment: Treatment,
    /// The target, by its name in the source.
    pub target: String,
    /// Examples of each class, of networks on reduced data.
    pub examples: Option<u32>,
    /// The share of validation images that were right.
    pub accuracy: Option<f64>,
    /// How many of how many, where they were counted.
    pub right: Option<(u32, u32)>,
    /// Different validation images.
    pub images: u64,
    /// Whether it is at chance.
    pub at_chance: bool,
    /// Why it has no accuracy, where it has none.
    pub lacks: Option<String>,
    /// The run that it copies from.
    pub parent: Option<String>,
    /// The rest that is known of it.
    pub facts: Vec<Fact>,
    /// How it went.
    pub curve: Curve,
    /// The command that shows or gives it again.
    pub command: String,
}

/// How a run went.
#[derive(Default)]
pub struct Curve {
    /// What is counted: `epoch` or `iteration`.
    pub unit: &'static str,
    /// The places, in order.
    pub places: Vec<Place>,
}

/// One validation of a run.
pub struct Place {
    /// The epoch that it ends, from 0 as everywhere, or how many iterations were done.
    pub at: u64,
    /// The share of validation images that were right.
    pub valid: f64,
    /// Their mean loss in nats.
    pub valid_loss: Option<f64>,
    /// The share of training images that were right.
    pub train: Option<f64>,
    /// Their mean loss in nats.
    pub train_loss: Option<f64>,
}

/// What a [`Side`] is made from.
pub struct Parts {
    /// See [`Side::title`].
    pub title: String,
    /// See [`Side::about`].
    pub about: String,
    /// See [`Side::audit`].
    pub audit: Audit,
    /// See [`Side::points`].
    pub points: Vec<Point>,
    /// See [`Side::runs`]; without anchors.
    pub runs: Vec<Entry>,
}

impl Side {
    /// A side with nothing but runs and conclusions.
    pub fn new(parts: Parts) -> Self {
        let Parts { title, about, audit, points, mut runs } = parts;
        let (key, variable) = match audit.source {
            Source::Store => ("store", "$STORE"),
            Source::Archive => ("archive", "$ARCHIVE"),
        };
        for (index, run) in runs.iter_mut().enumerate() {
            run.anchor = format!("{key}-run-{index}");
        }
        let by_name = runs.iter().enumerate().map(|(index, run)| (run.name.clone(), index)).collect();
        Self {
            key,
            title,
            about,
            variable,
            audit,
            points,
            runs,
            facts: Vec::new(),
            splits: Vec::new(),
            checked: Vec::new(),
            filters: Vec::new(),
            inputs: Vec::new(),
            commands: Vec::new(),
            options: String::new(),
            remarks: Vec::new(),
            by_name,
        }
    }

    /// The run of that name.
    pub fn run(&self, name: &str) -> Option<&Entry> {
        self.by_name.get(name).map(|index| &self.runs[*index])
    }

    /// The name of a point's split; of the archive, whose splits have none, that of its kind.
    pub fn split(&self, point: &Point) -> &str {
        let named = self.run(&point.run).and_then(|run| run.target.rsplit_once('/'));
        named.map_or(split_words(point.split), |(split, _)| split)
    }

    /// The base network of a point's own target, where there is one that learnt.
    pub fn own_base(&self, point: &Point) -> Option<&Point> {
        self.points.iter().find(|base| base.kind == Kind::Base && base.unit == point.unit && !base.at_chance)
    }
}

/// `1 run`, `2 runs`.
pub fn runs(count: usize) -> String {
    counted(count, "run")
}

/// Thousands apart: `12,500`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What a kind of split is called.
pub fn split_words(kind: SplitKind) -> &'static str {
    match kind {
        SplitKind::Random => "random halves",
        SplitKind::Dissimilar => "dissimilar halves",
        SplitKind::Whole => "all classes",
        SplitKind::Reduced => "fewer examples",
    }
}

/// The anchor of the runs behind a mean: those of one kind of split, treatment and depth.
pub fn cell_anchor(key: &str, split: SplitKind, kind: crate::treatment::Kind, n: u8) -> String {
    use crate::treatment::Kind::*;
    let split = split.name();
    let kind = match kind {
        Base => "base",
        Selffer => "selffer",
        SelfferTuned => "selffer-tuned",
        Transfer => "transfer",
        TransferTuned => "transfer-tuned",
        Random => "random",
        Reduced => "reduced",
        SelfferPreserved(more) => return format!("{key}-{split}-selffer-preserved-{more}-{n}"),
        TransferPreserved(more) => return format!("{key}-{split}-transfer-preserved-{more}-{n}"),
    };
    format!("{key}-{split}-{kind}-{n}")
}
