//! Accuracies as points, and the difference between two groups of them with an interval.
//!
//! Uses `audit::stats`, `equivalence` and `treatment`; used by `audit::{table1, claims, questions}`. Points come from the
//! published archive or from a selffer store: nothing here knows which.

use super::names::SplitKind;
use super::stats::{Interval, mean};
use crate::equivalence;
use crate::treatment::Kind;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One trained network, as far as conclusions depend on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The run's name in its source.
    pub run: String,
    /// What kind of split its task is of.
    pub split: SplitKind,
    /// The target: whose validation images it was seen on, whatever its seed.
    pub target: String,
    /// The target and, where there are several, the seed: what paired runs have in common.
    pub unit: String,
    /// The kind of treatment.
    pub kind: Kind,
    /// How many layers come from elsewhere; 0 for a base network.
    pub n: u8,
    /// The share of validation images that are right.
    pub accuracy: f64,
    /// How many different validation images its task has.
    pub images: u64,
    /// Whether it never learnt anything: it says nothing of features then, and no conclusion uses it.
    pub at_chance: bool,
}

/// Which points make one side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The kind of treatment.
    pub kind: Kind,
    /// The kind of split; any where there is none.
    pub split: Option<SplitKind>,
    /// The depths; any where there is none.
    pub depths: Option<Vec<u8>>,
}

impl Side {
    /// Whether a point is on this side.
    pub fn matches(&self, point: &Point) -> bool {
        self.kind == point.kind
            && self.split.is_none_or(|split| split == point.split)
            && (self.kind == Kind::Base
                || self.depths.as_ref().is_none_or(|depths| depths.contains(&point.n)))
    }
}

/// How two groups were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Run by run, with one of the same target and seed (and depth, where both have one).
    SameTarget,
    /// Each run with the base network of its own target and seed, then the two groups of differences, depth by
    /// depth: no target and seed has both.
    RelativeToBase,
    /// Mean against mean: base networks with each other, of targets that differ. Any other two groups of unlike tasks say
    /// more of the tasks than of the groups.
    Unpaired,
}

/// What an interval allows for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// How targets scatter, or the seeds of a single one.
    Targets,
    /// The sampling of validation images, as if each side had drawn its own: where one side has a single
    /// target with a single seed, or the interval by targets is narrower.
    Images,
}

/// A difference between two groups of runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effect {
    /// The mean difference, left minus right, as a fraction.
    pub value: f64,
    /// The interval that holds it in 95 of 100 repetitions.
    pub interval: Interval,
    /// Where the interval is from.
    pub source: Source,
    /// How the groups were compared.
    pub basis: Basis,
    /// The runs of the left side.
    pub left: Vec<String>,
    /// The runs of the right side.
    pub right: Vec<String>,
    /// The base networks that both sides are relative to; none where they are not.
    pub bases: Vec<String>,
}

impl Effect {
    /// All runs that it rests on.
    pub fn runs(&self) -> impl Iterator<Item = &String> {
        self.left.iter().chain(&self.right).chain(&self.bases)
    }
}

/// One run's value, at its depth.
#[derive(Debug, Clone, Copy)]
struct Value<'a> {
    unit: &'a str,
    n: u8,
    value: f64,
    /// The variance that the choice of validation images gives it.
    variance: f64,
}

/// The values of each target.
type Targets<'a> = Vec<Vec<Value<'a>>>;

/// The difference between two sides; none where there are no runs to compare. Runs at chance are left out.
pub fn compare(points: &[Point], left: &Side, right: &Side) -> Option<Effect> {
    let used: Vec<&Point> = points.iter().filter(|point| !point.at_chance).collect();
    let lefts: Vec<&Point> = used.iter().copied().filter(|point| left.matches(point)).collect();
    let rights: Vec<&Point> = used.iter().copied().filter(|point| right.matches(point)).collect();
    let across = left.split.is_some() && right.split.is_some() && left.split != right.split;
    let pairs = if across { Vec::new() } else { pairs(&lefts, &rights) };
    let mut bases = Vec::new();
    let (basis, (a, left_runs), (b, right_runs)) = if !pairs.is_empty() {
        let right = names(pairs.iter().flat_map(|(_, found)| found.iter().copied()));
        (Basis::SameTarget, relative(&pairs), (Vec::new(), right))
    } else if left.kind == Kind::Base && right.kind == Kind::Base {
        (Basis::Unpaired, plain(&lefts), plain(&rights))
    } else {
        // A base network is relative to none, so that a run without its own is compared with nothing.
        let all: Vec<&Point> = used.iter().copied().filter(|point| point.kind == Kind::Base).collect();
        let [lefts, rights] = [lefts, rights].map(|points| self::pairs(&points, &all));
        bases = names(lefts.iter().chain(&rights).flat_map(|(_, own)| own.iter().copied()));
        (Basis::RelativeToBase, relative(&lefts), relative(&rights))
    };
    if a.is_empty() || (b.is_empty() && basis != Basis::SameTarget) {
        return None;
    }
    let statistic = |a: &[Value<'_>], b: &[Value<'_>]| match basis {
        Basis::SameTarget => average(a),
        Basis::Unpaired => Some(average(a)? - average(b)?),
        Basis::RelativeToBase => by_depth(a, b),
    };
    let value = statistic(&a.concat(), &b.concat())?;
    let by_targets = || {
        let (all_a, all_b) = (a.concat(), b.concat());
        let mut sides = vec![left_out(&things(&a), |rest| statistic(rest, &all_b))?];
        if basis != Basis::SameTarget {
            sides.push(left_out(&things(&b), |rest| statistic(&all_a, rest))?);
        }
        Interval::left_out(value, &sides)
    };
    // Few targets may agree by luck, but no closer than their images can tell: the wider interval counts.
    let images = Interval::around(value, (variance(basis, &a, &b) + variance(basis, &b, &a)).sqrt());
    let (interval, source) = match by_targets().filter(|found| found.width() > images.width()) {
        Some(found) => (found, Source::Targets),
        None => (images, Source::Images),
    };
    // No further than accuracies can be apart.
    let most = if basis == Basis::RelativeToBase { 2.0 } else { 1.0 };
    let interval = interval.within(-most, most);
    Some(Effect { value, interval, source, basis, left: left_runs, right: right_runs, bases })
}

/// Each left point with the right points of its target and seed, and of its depth where those have one.
fn pairs<'a>(lefts: &[&'a Point], rights: &[&'a Point]) -> Vec<(&'a Point, Vec<&'a Point>)> {
    let mut by_unit: BTreeMap<&str, Vec<&Point>> = BTreeMap::new();
    for right in rights {
        by_unit.entry(&right.unit).or_default().push(right);
    }
    let partners = |left: &&'a Point| -> Option<(&'a Point, Vec<&'a Point>)> {
        let same = by_unit.get(left.unit.as_str())?.iter().copied();
        let found: Vec<&Point> = same.filter(|right| right.n == 0 || right.n == left.n).collect();
        (!found.is_empty() && left.kind != found[0].kind).then_some((*left, found))
    };
    lefts.iter().filter_map(partners).collect()
}

/// The differences of paired points, by target, and the names of the left ones.
fn relative<'a>(pairs: &[(&'a Point, Vec<&'a Point>)]) -> (Targets<'a>, Vec<String>) {
    let differences = pairs.iter().map(|(left, rights)| {
        let right: Vec<f64> = rights.iter().map(|right| right.accuracy).collect();
        let variances: f64 = rights.iter().map(|right| sampling(right)).sum();
        let value = left.accuracy - mean(&right).unwrap_or(f64::NAN);
        let variance = sampling(left) + variances / (rights.len() * rights.len()) as f64;
        (left.target.as_str(), Value { unit: &left.unit, n: left.n, value, variance })
    });
    (by_target(differences), names(pairs.iter().map(|(left, _)| *left)))
}

/// The accuracies of points, by target, and their names.
fn plain<'a>(points: &[&'a Point]) -> (Targets<'a>, Vec<String>) {
    let values = points.iter().map(|point| {
        let (value, variance) = (point.accuracy, sampling(point));
        (point.target.as_str(), Value { unit: &point.unit, n: point.n, value, variance })
    });
    (by_target(values), names(points.iter().copied()))
}

/// What was found by the target that it is of, in the order of targets.
pub(super) fn by_target<'a, T>(found: impl Iterator<Item = (&'a str, T)>) -> Vec<Vec<T>> {
    let mut targets: BTreeMap<&str, Vec<T>> = BTreeMap::new();
    for (target, one) in found {
        targets.entry(target).or_default().push(one);
    }
    targets.into_values().collect()
}

/// The variance of an accuracy by the choice of validation images.
fn sampling(point: &Point) -> f64 {
    let images = point.images as f64;
    equivalence::sampling(point.accuracy * images, images)
}

/// The variance that images give to a side's part of the difference: of each target, by the weight that its runs have there
/// together. They share their images, so more of them help nothing.
fn variance(basis: Basis, side: &Targets<'_>, other: &Targets<'_>) -> f64 {
    let weight = weight(basis, &side.concat(), &other.concat());
    let target = |runs: &Vec<Value<'_>>| {
        let whole: f64 = runs.iter().map(|value| weight(value.n)).sum();
        whole * runs.iter().map(|value| weight(value.n) * value.variance).sum::<f64>()
    };
    side.iter().map(target).sum()
}

/// The weight of one run of a side, by its depth: the same for all, or where depths are compared one by one, for those of a
/// depth that the other side has as well.
fn weight(basis: Basis, side: &[Value<'_>], other: &[Value<'_>]) -> impl Fn(u8) -> f64 + use<> {
    let runs = side.len();
    let mut depths: BTreeMap<u8, usize> = BTreeMap::new();
    side.iter().for_each(|value| *depths.entry(value.n).or_default() += 1);
    depths.retain(|n, _| other.iter().any(|value| value.n == *n));
    move |n| match (basis, depths.get(&n)) {
        (Basis::RelativeToBase, None) => 0.0,
        (Basis::RelativeToBase, Some(at)) => 1.0 / (depths.len() * at) as f64,
        (Basis::SameTarget | Basis::Unpaired, _) => 1.0 / runs as f64,
    }
}

fn average(values: &[Value<'_>]) -> Option<f64> {
    mean(&values.iter().map(|value| value.value).collect::<Vec<_>>())
}

/// The mean over the depths that both have of the difference of their means at that depth.
fn by_depth(a: &[Value<'_>], b: &[Value<'_>]) -> Option<f64> {
    let depths: BTreeSet<u8> = a.iter().map(|value| value.n).collect();
    let at = |values: &[Value<'_>], n: u8| {
        average(&values.iter().copied().filter(|value| value.n == n).collect::<Vec<_>>())
    };
    mean(&depths.into_iter().filter_map(|n| Some(at(a, n)? - at(b, n)?)).collect::<Vec<_>>())
}

/// What scatters independently: targets, or of a single one its seeds.
fn things<'a>(targets: &Targets<'a>) -> Vec<Vec<Value<'a>>> {
    match targets.as_slice() {
        [single] => by_target(single.iter().map(|value| (value.unit, *value))),
        several => several.to_vec(),
    }
}

/// What is found where each of some things is left out in turn; none where something is not found then.
pub(super) fn left_out<T: Copy>(things: &[Vec<T>], find: impl Fn(&[T]) -> Option<f64>) -> Option<Vec<f64>> {
    let rest = |out: usize| -> Vec<T> {
        things.iter().enumerate().filter(|(at, _)| *at != out).flat_map(|(_, one)| one).copied().collect()
    };
    (0..things.len()).map(|out| find(&rest(out))).collect()
}

fn names<'a>(points: impl Iterator<Item = &'a Point>) -> Vec<String> {
    points.map(|point| point.run.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn point(unit: &str, kind: Kind, n: u8, accuracy: f64) -> Point {
        let run = format!("{unit} {} {n}", kind.name());
        let target = unit.to_owned();
        Point {
            run,
            split: SplitKind::Random,
            unit: target.clone(),
            target,
            kind,
            n,
            accuracy,
            images: 25_000,
            at_chance: false,
        }
    }

    /// The same with that seed, beside others of the target.
    pub fn seeded(target: &str, seed: u64, kind: Kind, n: u8, accuracy: f64) -> Point {
        Point { target: target.to_owned(), ..point(&format!("{target}/{seed}"), kind, n, accuracy) }
    }

    fn side(kind: Kind) -> Side {
        Side { kind, split: Some(SplitKind::Random), depths: None }
    }

    fn effect(points: &[Point], left: Kind, right: Kind) -> Option<Effect> {
        compare(points, &side(left), &side(right))
    }

    #[test]
    fn runs_are_compared_with_the_base_of_their_own_target() {
        // All transfers are on the target with the better base: pooled they gain 0.01, paired nothing.
        let points = [
            point("0A", Kind::Base, 0, 0.60),
            point("0B", Kind::Base, 0, 0.62),
            point("0B", Kind::TransferTuned, 1, 0.62),
            point("0B", Kind::TransferTuned, 2, 0.62),
        ];
        let effect = effect(&points, Kind::TransferTuned, Kind::Base).unwrap();
        assert_eq!((effect.basis, effect.source), (Basis::SameTarget, Source::Images));
        assert!(effect.value.abs() < 1e-12);
        assert_eq!(effect.right, ["0B base 0"]);
        // Two runs share one target's images, hence one image error of each side.
        let share = 15_500.5 / 25_001.0f64;
        let error = (2.0 * share * (1.0 - share) / 25_001.0).sqrt();
        assert!((effect.interval.high - 1.959_963_984_540_054 * error).abs() < 1e-12);
    }

    /// Of a target without a base network there is nothing to compare with, whatever another target's reaches.
    #[test]
    fn a_run_is_not_compared_with_the_base_of_another_target() {
        let points = [
            point("0A", Kind::Base, 0, 0.95),
            point("0B", Kind::TransferTuned, 1, 0.85),
            point("0B", Kind::TransferTuned, 2, 0.85),
        ];
        for (left, right) in [(Kind::TransferTuned, Kind::Base), (Kind::Base, Kind::TransferTuned)] {
            assert_eq!(effect(&points, left, right), None);
        }
    }

    /// As few images as there can be: that all of them are right is no certainty.
    #[test]
    fn none_and_all_right_leave_an_interval() {
        for (base, tuned) in [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0)] {
            let mut points = [point("0A", Kind::Base, 0, base), point("0A", Kind::TransferTuned, 1, tuned)];
            points.iter_mut().for_each(|point| point.images = 10);
            let Interval { low, high } = effect(&points, Kind::TransferTuned, Kind::Base).unwrap().interval;
            let apart = tuned - base;
            assert!(low < apart - 0.1 && high >= (apart + 0.1).min(1.0), "{base} {tuned}: {low} to {high}");
        }
    }

    /// By how much an interval by images reaches over its value, squared, in standard errors.
    fn by_images(effect: &Effect) -> f64 {
        assert_eq!(effect.source, Source::Images);
        ((effect.interval.high - effect.value) / 1.959_963_984_540_054).powi(2)
    }

    #[test]
    fn a_target_s_images_count_by_its_share_of_the_runs() {
        // Three runs on one target, one on the other, all of the same accuracy, so that targets do not scatter.
        let mut points: Vec<Point> = (1..=3).map(|n| point("0A", Kind::TransferTuned, n, 0.6)).collect();
        points.push(point("0B", Kind::TransferTuned, 1, 0.6));
        points.extend(["0A", "0B"].map(|unit| point(unit, Kind::Base, 0, 0.6)));
        let found = effect(&points, Kind::TransferTuned, Kind::Base).unwrap();
        let pair = 2.0 * sampling(&points[0]);
        assert!((by_images(&found) / ((9.0 + 1.0) / 16.0 * pair) - 1.0).abs() < 1e-9, "{found:?}");
        // By depth: 0A has half of depth 1 and all of depth 2, and 3 is not on the other side.
        points.extend((1..=2).map(|n| point("1A", Kind::SelfferTuned, n, 0.6)));
        points.push(point("1A", Kind::Base, 0, 0.6));
        let found = effect(&points, Kind::TransferTuned, Kind::SelfferTuned).unwrap();
        assert_eq!(found.basis, Basis::RelativeToBase);
        assert!((by_images(&found) / ((9.0 + 1.0) / 16.0 * pair + pair) - 1.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn seeds_of_one_target_share_its_images_and_are_paired_by_themselves() {
        let seed = |seed: u64, base: f64| {
            [seeded("0A", seed, Kind::Base, 0, base), seeded("0A", seed, Kind::TransferTuned, 1, base + 0.01)]
        };
        let [one, both] = [vec![1], vec![1, 2]].map(|seeds| {
            let points: Vec<Point> =
                seeds.into_iter().flat_map(|at| seed(at, 0.5 + 0.1 * at as f64)).collect();
            effect(&points, Kind::TransferTuned, Kind::Base).unwrap()
        });
        // Were a run compared with the base of another seed, it would be off by 0.1.
        assert!((one.value - 0.01).abs() < 1e-12 && (both.value - 0.01).abs() < 1e-12);
        // More seeds are no more images: the error is that of a mean seed, not of half its variance.
        let other = sampling(&seed(2, 0.7)[0]) + sampling(&seed(2, 0.7)[1]);
        assert!((by_images(&both) / ((by_images(&one) + other) / 2.0) - 1.0).abs() < 1e-9, "{both:?}");
        // Seeds that are far apart are seen to be, on one target too.
        let mut points: Vec<Point> = [1, 2].into_iter().flat_map(|at| seed(at, 0.5)).collect();
        points[3].accuracy += 0.2;
        let apart = effect(&points, Kind::TransferTuned, Kind::Base).unwrap();
        assert_eq!(apart.source, Source::Targets);
        // Of two seeds, Student's interval would reach further than accuracies can be apart.
        assert_eq!(apart.interval, Interval { low: -1.0, high: 1.0 });
    }

    #[test]
    fn without_a_common_target_differences_from_base_are_compared_by_depth() {
        let points = [
            point("0A", Kind::Base, 0, 0.60),
            point("0B", Kind::Base, 0, 0.62),
            point("0A", Kind::SelfferTuned, 1, 0.61),
            point("0A", Kind::SelfferTuned, 3, 0.99),
            point("0B", Kind::TransferTuned, 1, 0.64),
        ];
        let effect = effect(&points, Kind::TransferTuned, Kind::SelfferTuned).unwrap();
        assert_eq!(effect.basis, Basis::RelativeToBase);
        assert!((effect.value - 0.01).abs() < 1e-12);
        assert_eq!(effect.bases, ["0A base 0", "0B base 0"]);
        assert_eq!(effect.runs().count(), 5);
    }

    #[test]
    fn several_targets_are_seen_to_scatter_and_runs_at_chance_left_out() {
        let mut points = Vec::new();
        for (unit, base, selffer) in [("0A", 0.60, 0.59), ("0B", 0.62, 0.60), ("1A", 0.61, 0.58)] {
            points.push(point(unit, Kind::Base, 0, base));
            points.push(point(unit, Kind::Selffer, 4, selffer));
        }
        let found = effect(&points, Kind::Selffer, Kind::Base).unwrap();
        assert_eq!(found.source, Source::Targets);
        assert!((found.value + 0.02).abs() < 1e-12);
        // Student's point for three, times the standard error of the mean of -0.01, -0.02 and -0.03.
        let half = 4.302_652_729_749_464 * 0.01 / 3f64.sqrt();
        assert!((found.interval.high + 0.02 - half).abs() < 1e-9, "{found:?}");
        assert_eq!(found, effect(&points, Kind::Selffer, Kind::Base).unwrap());
        for point in &mut points {
            point.at_chance = point.kind == Kind::Selffer;
        }
        assert_eq!(effect(&points, Kind::Selffer, Kind::Base), None);
    }

    #[test]
    fn bases_of_different_splits_are_compared_mean_by_mean() {
        let mut whole = point("whole", Kind::Base, 0, 0.57);
        whole.split = SplitKind::Whole;
        let points = [point("0A", Kind::Base, 0, 0.60), point("0B", Kind::Base, 0, 0.62), whole];
        let right = Side { kind: Kind::Base, split: Some(SplitKind::Whole), depths: None };
        let effect = compare(&points, &side(Kind::Base), &right).unwrap();
        assert_eq!((effect.basis, effect.source), (Basis::Unpaired, Source::Images));
        assert!((effect.value - 0.04).abs() < 1e-12);
    }
}
