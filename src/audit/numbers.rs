//! The numbers of an archive: each run's accuracy, and their means by split, treatment and depth.
//!
//! Uses `audit::files` and `audit::effect`; used by `audit`. Table 1 is in `audit::table1`.

use super::effect::Point;
use super::files::RunFiles;
use super::names::{Split, SplitKind};
use super::stats::{mean, median};
use crate::treatment::{Kind, Treatment};
use serde::Serialize;
use std::collections::BTreeMap;

/// One run of an archive.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// The name of its directory.
    pub run: String,
    /// The kind of split.
    pub split: SplitKind,
    /// The published lists' name of its target.
    pub target: String,
    /// The treatment, in the paper's notation.
    pub treatment: Treatment,
    /// How many layers come from elsewhere.
    pub n: u8,
    /// The mean of its ten highest scores: the authors' estimate.
    pub accuracy: Option<f64>,
    /// Its last score.
    pub last: Option<f64>,
    /// By how much the first exceeds the second: scores were selected on the images they are of.
    pub excess: Option<f64>,
    /// The last iteration with a score.
    pub iterations: Option<u64>,
    /// Iterations with a score.
    pub scores: usize,
    /// Iterations at which the solver validates, without a score.
    pub missing: usize,
    /// Iterations with several scores.
    pub repeated: usize,
    /// Logs, and those among them without a solver's line.
    pub logs: usize,
    /// See `logs`.
    pub logs_empty: usize,
    /// Processes that trained it: one more than there were restarts.
    pub processes: usize,
    /// Whether it never learnt anything.
    pub at_chance: bool,
}

impl Run {
    /// A run of which nothing but its name is known.
    pub fn named(run: String, split: SplitKind, target: String, treatment: Treatment) -> Self {
        Self {
            run,
            split,
            target,
            treatment,
            n: treatment.n(),
            accuracy: None,
            last: None,
            excess: None,
            iterations: None,
            scores: 0,
            missing: 0,
            repeated: 0,
            logs: 0,
            logs_empty: 0,
            processes: 0,
            at_chance: false,
        }
    }

    /// What a run's files add up to.
    pub fn of(files: &RunFiles) -> Self {
        let (history, name) = (&files.history, files.name);
        let (accuracy, last) = (history.mean_highest(), history.last());
        Self {
            accuracy,
            last,
            excess: accuracy.zip(last).map(|(accuracy, last)| accuracy - last),
            iterations: history.scores.last().map(|one| one.score.iteration),
            scores: history.scores.len(),
            missing: match (&files.solver, history.scores.is_empty()) {
                (Some(solver), false) => history.missing(solver).len(),
                _ => 0,
            },
            repeated: history.repeats.len(),
            logs: files.logs.len(),
            logs_empty: files.logs.iter().filter(|one| one.log.processes.is_empty()).count(),
            processes: files.logs.iter().map(|one| one.log.processes.len()).sum(),
            at_chance: files.at_chance(),
            ..Self::named(files.text.clone(), name.split.kind(), name.valid_data(), name.treatment)
        }
    }

    /// The run as conclusions use it; none where it has no score.
    pub fn point(&self, files: &RunFiles) -> Option<Point> {
        let name = files.name;
        Some(Point {
            run: self.run.clone(),
            split: self.split,
            target: self.target.clone(),
            // Networks on reduced data are no controls of anything but each other.
            unit: match name.split {
                Split::Reduced(count) => format!("reduced{count:04}"),
                _ => self.target.clone(),
            },
            kind: name.treatment.kind(),
            n: self.n,
            accuracy: self.accuracy?,
            images: name.images() as u64,
            at_chance: self.at_chance,
        })
    }
}

/// The runs of one split's kind, treatment and depth together: a marker of the paper's figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// The kind of split.
    pub split: SplitKind,
    /// The treatment, seen from task B.
    pub treatment: &'static str,
    /// The depth; 0 for base networks.
    pub n: u8,
    /// Examples per class, of networks on reduced data.
    pub examples: Option<u32>,
    /// The target, where a kind's targets are told apart (the dissimilar split, reduced data).
    pub target: Option<String>,
    /// The mean accuracy.
    pub mean: f64,
    /// The median accuracy.
    pub median: f64,
    /// The lowest.
    pub lowest: f64,
    /// The highest.
    pub highest: f64,
    /// The mean of the last scores.
    pub mean_last: f64,
    /// The runs behind it.
    pub runs: Vec<String>,
}

/// All cells of some runs, each with how many examples of a class it had where those were reduced.
pub fn cells<'a>(runs: impl Iterator<Item = (&'a Run, Option<u32>)>) -> Vec<Cell> {
    let mut groups: BTreeMap<_, Vec<&Run>> = BTreeMap::new();
    for (run, examples) in runs.filter(|(run, _)| run.accuracy.is_some()) {
        // The paper's figure 3 shows the two targets of the dissimilar split apart, since one is easier; networks on
        // fewer images are told apart as well, for there may be any tasks among them.
        let apart = matches!(run.split, SplitKind::Dissimilar | SplitKind::Reduced);
        let target = apart.then(|| run.target.clone());
        // The archive's are base networks by their names.
        let kind = if run.split == SplitKind::Reduced { Kind::Reduced } else { run.treatment.kind() };
        let key = (run.split, kind, target, examples, run.n);
        groups.entry(key).or_default().push(run);
    }
    let cell = |((split, kind, target, examples, n), runs): ((SplitKind, Kind, _, _, u8), Vec<&Run>)| {
        let accuracies: Vec<f64> = runs.iter().filter_map(|run| run.accuracy).collect();
        let lasts: Vec<f64> = runs.iter().filter_map(|run| run.last).collect();
        Some(Cell {
            split,
            treatment: kind.name(),
            n,
            examples,
            target,
            mean: mean(&accuracies)?,
            median: median(&accuracies)?,
            lowest: accuracies.iter().copied().fold(f64::INFINITY, f64::min),
            highest: accuracies.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mean_last: mean(&lasts)?,
            runs: runs.iter().map(|run| run.run.clone()).collect(),
        })
    };
    groups.into_iter().filter_map(cell).collect()
}

/// How many examples of each class a run had, where they were reduced.
pub fn examples(files: &RunFiles) -> Option<u32> {
    match files.name.split {
        Split::Reduced(count) => Some(u32::from(count)),
        _ => None,
    }
}

/// How much the authors' estimator exceeds the last score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Selection {
    /// Runs with scores.
    pub runs: usize,
    /// The mean excess, as a fraction.
    pub mean: f64,
    /// The median excess.
    pub median: f64,
    /// The largest excess.
    pub largest: f64,
    /// The run with it.
    pub largest_run: String,
}

/// The excess over all runs; none where no run has a score.
pub fn selection(runs: &[Run]) -> Option<Selection> {
    let all: Vec<(&Run, f64)> = runs.iter().filter_map(|run| Some((run, run.excess?))).collect();
    let excess: Vec<f64> = all.iter().map(|(_, excess)| *excess).collect();
    let (largest_run, largest) = all.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(Selection {
        runs: all.len(),
        mean: mean(&excess)?,
        median: median(&excess)?,
        largest: *largest,
        largest_run: largest_run.run.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::treatment::Task;

    #[test]
    fn networks_on_fewer_images_are_pooled_by_task() {
        let run = |name: &str, target: &str, accuracy: f64| Run {
            accuracy: Some(accuracy),
            last: Some(accuracy),
            ..Run::named(name.into(), SplitKind::Reduced, target.into(), Treatment::Base(Task::A))
        };
        let runs = [run("a", "s/A", 0.2), run("b", "s/B", 0.4), run("c", "s/A", 0.4), run("d", "s/A", 0.9)];
        let cells = cells(runs.iter().zip([25, 25, 25, 100].map(Some)));
        let found: Vec<_> =
            cells.iter().map(|cell| (cell.target.as_deref(), cell.examples, cell.runs.len())).collect();
        let (a, b) = (Some("s/A"), Some("s/B"));
        assert_eq!(found, [(a, Some(25), 2), (a, Some(100), 1), (b, Some(25), 1)]);
        assert!((cells[0].mean - 0.3).abs() < 1e-12);
        // As a store has it, whatever the archive calls them.
        assert!(cells.iter().all(|cell| cell.treatment == "base@m"));
    }
}
