//! One run's validation scores from all its logs: which of several scores counts, and what they add up to.
//!
//! Uses `audit::log`; used by `audit::scores` and `audit::numbers`. As the authors do it, of several
//! scores of one iteration the latest counts.

use super::log::{Log, Score, Stamp, YEAR};
use super::network::Solver;

/// How many of the highest scores the authors' estimator averages.
pub const HIGHEST: usize = 10;

/// A score and the log that it is from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sourced {
    /// The score.
    pub score: Score,
    /// The log, as an index into the run's.
    pub log: usize,
    /// Microseconds since the run's first score, over a new year where there is one.
    pub since: Stamp,
}

/// One run's scores.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// The score that counts of each iteration, by iteration.
    pub scores: Vec<Sourced>,
    /// Iterations with several scores: all of them, the one that counts last.
    pub repeats: Vec<Vec<Sourced>>,
}

impl History {
    /// Puts a run's logs together.
    pub fn of<'a>(logs: impl IntoIterator<Item = &'a Log>) -> Self {
        let each = logs
            .into_iter()
            .enumerate()
            .flat_map(|(log, read)| read.scores.iter().map(move |score| (log, *score)));
        let mut all: Vec<(usize, Score)> = each.collect();
        let start = beginning(all.iter().map(|(_, score)| score.at));
        // The line breaks ties within a log; between logs, their order.
        all.sort_by_key(|(log, score)| (score.iteration, since(score.at, start), *log, score.line));
        let mut history = Self::default();
        for group in all.chunk_by(|a, b| a.1.iteration == b.1.iteration) {
            let group: Vec<Sourced> = group
                .iter()
                .map(|&(log, score)| Sourced { score, log, since: since(score.at, start) })
                .collect();
            history.scores.push(group[group.len() - 1]);
            if group.len() > 1 {
                history.repeats.push(group);
            }
        }
        history
    }

    /// The authors' estimate of the accuracy: the mean of the ten highest scores.
    pub fn mean_highest(&self) -> Option<f64> {
        highest(self.scores.iter().map(|one| one.score.accuracy))
    }

    /// The same of the scores up to an iteration.
    pub fn mean_highest_until(&self, iteration: u64) -> Option<f64> {
        let until = self.scores.iter().filter(|one| one.score.iteration <= iteration);
        highest(until.map(|one| one.score.accuracy))
    }

    /// The same with the first score of each iteration instead of the last.
    pub fn mean_highest_of_first(&self) -> Option<f64> {
        let first = |one: &Sourced| {
            let again = self.repeats.iter().find(|group| group[0].score.iteration == one.score.iteration);
            again.map_or(one.score.accuracy, |group| group[0].score.accuracy)
        };
        highest(self.scores.iter().map(first))
    }

    /// The accuracy of the last iteration.
    pub fn last(&self) -> Option<f64> {
        self.scores.last().map(|one| one.score.accuracy)
    }

    /// The iterations at which the solver validates and no score is there.
    pub fn missing(&self, solver: &Solver) -> Vec<u64> {
        let planned = (1..=solver.max_iter / solver.test_interval).map(|pass| pass * solver.test_interval);
        let has =
            |iteration: &u64| self.scores.binary_search_by_key(iteration, |one| one.score.iteration).is_ok();
        planned.filter(|iteration| !has(iteration)).collect()
    }
}

/// The mean of the [`HIGHEST`] highest values, or of all where they are fewer.
fn highest(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values.truncate(HIGHEST);
    super::stats::mean(&values)
}

/// The stamp after the year's longest stretch without one: where a run began that takes less than a year.
fn beginning(stamps: impl Iterator<Item = Stamp>) -> Stamp {
    let mut stamps: Vec<Stamp> = stamps.collect();
    stamps.sort_unstable();
    stamps.dedup();
    let Some(last) = stamps.last() else { return 0 };
    let mut before = *last;
    let mut longest = (0, stamps[0]);
    for &stamp in &stamps {
        let gap = if stamp > before { stamp - before } else { stamp + YEAR - before };
        longest = longest.max((gap, stamp));
        before = stamp;
    }
    longest.1
}

fn since(stamp: Stamp, start: Stamp) -> Stamp {
    if stamp >= start { stamp - start } else { stamp + YEAR - start }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Stamp = 86_400_000_000;

    fn log(scores: &[(u64, Stamp, f64)]) -> Log {
        let score = |(line, &(iteration, at, accuracy)): (usize, &(u64, Stamp, f64))| Score {
            iteration,
            at,
            process: 1,
            line: line as u64,
            accuracy,
            loss: None,
        };
        Log { scores: scores.iter().enumerate().map(score).collect(), ..Log::default() }
    }

    fn accuracies(history: &History) -> Vec<(u64, f64)> {
        history.scores.iter().map(|one| (one.score.iteration, one.score.accuracy)).collect()
    }

    #[test]
    fn the_latest_score_counts_whatever_the_order_of_logs() {
        let first = log(&[(1000, DAY, 0.1), (2000, 2 * DAY, 0.2), (3000, 3 * DAY, 0.3)]);
        let again = log(&[(2000, 5 * DAY, 0.25), (3000, 6 * DAY, 0.35)]);
        for logs in [[first.clone(), again.clone()], [again, first]] {
            let history = History::of(&logs);
            assert_eq!(accuracies(&history), [(1000, 0.1), (2000, 0.25), (3000, 0.35)]);
            assert_eq!(history.repeats.len(), 2);
            assert_eq!(history.mean_highest_of_first(), Some((0.3 + 0.2 + 0.1) / 3.0));
        }
    }

    #[test]
    fn a_run_over_the_new_year_keeps_its_order() {
        let before = log(&[(1000, YEAR - 3 * DAY, 0.1), (2000, YEAR - DAY, 0.2)]);
        let after = log(&[(2000, DAY, 0.3)]);
        assert_eq!(accuracies(&History::of(&[after, before])), [(1000, 0.1), (2000, 0.3)]);
        let same = log(&[(1000, DAY, 0.1), (2000, DAY, 0.2), (2000, DAY, 0.3)]);
        assert_eq!(accuracies(&History::of(&[same])), [(1000, 0.1), (2000, 0.3)]);
    }

    #[test]
    fn the_estimate_is_the_mean_of_the_ten_highest() {
        let scores: Vec<_> = (1..=20).map(|i| (i * 1000, i * DAY, i as f64 / 100.0)).collect();
        let history = History::of(&[log(&scores)]);
        assert!((history.mean_highest().unwrap() - 0.155).abs() < 1e-12);
        assert!((history.mean_highest_until(15_000).unwrap() - 0.105).abs() < 1e-12);
        assert_eq!(history.mean_highest_until(999), None);
        assert_eq!(history.last(), Some(0.2));
        assert_eq!(History::default().mean_highest(), None);
        let solver = "test_iter: 1\ntest_interval: 1000\nbase_lr: 1\nlr_policy: 'step'\ngamma: 1\nstepsize: 1\n\
                      max_iter: 22500";
        assert_eq!(history.missing(&Solver::read(solver).unwrap()), [21_000, 22_000]);
    }
}
