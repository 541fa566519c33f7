//! The three questions that the paper asks, as numbers: how co-adapted are neighbouring layers, how
//! specific is a layer to its task, how general; and where one turns into the other.
//!
//! Uses `audit::effect`; used by `audit`, for the published archive and for a selffer store alike.

use super::effect::{Effect, Point, Side, by_target, compare, left_out};
use super::names::SplitKind;
use super::stats::{Interval, mean};
use crate::treatment::{DEPTHS, Kind};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A number with what it may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// By how targets scatter, or the seeds of a single one; none where there is one target with one seed, or where without
    /// one of them there is no such number.
    pub interval: Option<Interval>,
}

/// Which accuracies the generality compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Of the same targets: (AnB - RnB) / (BnB - RnB).
    SameTarget,
    /// Each divided by the accuracy of the base network of its own target, since the random controls have
    /// another target: (AnB/base - RnB/base') / (BnB/base - RnB/base').
    RelativeToBase,
}

/// The answers for one depth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Layer {
    /// The depth.
    pub n: u8,
    /// base - BnB: what is lost by learning the layers above again.
    pub coadaptation: Option<Effect>,
    /// BnB - AnB: what is lost by taking the layers from the other task.
    pub specificity: Option<Effect>,
    /// What a transferred layer keeps of the worth of the task's own, over random ones: 1 is all, 0 none.
    pub generality: Option<Estimate>,
    /// Which form of it.
    pub generality_form: Option<Form>,
    /// The runs that it rests on.
    pub generality_runs: Vec<String>,
}

/// Where layers turn from general to specific.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Transition {
    /// The mean layer at which specificity is gained, each layer weighted with its gain. A weighted layer:
    /// 1 to 7.
    pub layer: Estimate,
    /// Over how many layers the gain spreads: 1 where all of it is in one layer, 7 where it is even.
    pub layers: Estimate,
    /// The targets that it rests on.
    pub targets: Vec<String>,
}

/// All answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Questions {
    /// By depth.
    pub layers: Vec<Layer>,
    /// The transition; none where specificity is not known for every depth.
    pub transition: Option<Transition>,
}

/// Answers the questions, on the random splits.
pub fn answer(points: &[Point]) -> Questions {
    let used: Vec<Point> = points.iter().filter(|point| !point.at_chance).cloned().collect();
    Questions { layers: DEPTHS.map(|n| layer(&used, n)).collect(), transition: transition(&used) }
}

fn side(kind: Kind, n: u8) -> Side {
    Side { kind, split: Some(SplitKind::Random), depths: Some(vec![n]) }
}

fn layer(points: &[Point], n: u8) -> Layer {
    // base - BnB is minus the difference that runs are compared by.
    let coadaptation = compare(points, &side(Kind::Selffer, n), &side(Kind::Base, n));
    let specificity = compare(points, &side(Kind::Transfer, n), &side(Kind::Selffer, n));
    let (generality, generality_form, generality_runs) = match generality(points, n) {
        Some((estimate, form, runs)) => (Some(estimate), Some(form), runs),
        None => (None, None, Vec::new()),
    };
    Layer {
        n,
        coadaptation: coadaptation.map(negated),
        specificity: specificity.map(negated),
        generality,
        generality_form,
        generality_runs,
    }
}

fn negated(effect: Effect) -> Effect {
    let Interval { low, high } = effect.interval;
    Effect {
        value: -effect.value,
        interval: Interval { low: -high, high: -low },
        left: effect.right,
        right: effect.left,
        ..effect
    }
}

/// The mean accuracy by target and seed of a kind on random splits.
fn by_unit(points: &[Point], kind: Kind, n: u8) -> BTreeMap<&str, f64> {
    let mut units: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for point in points.iter().filter(|point| side(kind, n).matches(point)) {
        units.entry(&point.unit).or_default().push(point.accuracy);
    }
    units.into_iter().filter_map(|(unit, values)| Some((unit, mean(&values)?))).collect()
}

/// The generality at a depth, its form, and the runs that it rests on.
fn generality(points: &[Point], n: u8) -> Option<(Estimate, Form, Vec<String>)> {
    let runs = |used: &dyn Fn(&Point) -> bool| -> Vec<String> {
        points.iter().filter(|point| used(point)).map(|point| point.run.clone()).collect()
    };
    let of = |point: &Point, kind: Kind| side(kind, n).matches(point);
    let (transfer, selffer) = (by_unit(points, Kind::Transfer, n), by_unit(points, Kind::Selffer, n));
    let random = by_unit(points, Kind::Random, n);
    let three =
        |unit: &str| Some((Some(*transfer.get(unit)?), Some(*selffer.get(unit)?), *random.get(unit)?));
    let same = with_target(points, transfer.keys().filter_map(|unit| Some((*unit, three(unit)?))));
    if !same.is_empty() {
        let found = estimate(&same, 0.0)?;
        let kinds = [Kind::Transfer, Kind::Selffer, Kind::Random];
        let used =
            |point: &Point| three(&point.unit).is_some() && kinds.into_iter().any(|kind| of(point, kind));
        return Some((found, Form::SameTarget, runs(&used)));
    }
    // The random controls of all classes, and their base network.
    let on_whole = |point: &Point, kind: Kind| {
        point.split == SplitKind::Whole && point.kind == kind && (kind == Kind::Base || point.n == n)
    };
    let whole = |kind: Kind| {
        let all = points.iter().filter(|point| on_whole(point, kind));
        mean(&all.map(|point| point.accuracy).collect::<Vec<_>>())
    };
    let floor = whole(Kind::Random)? / whole(Kind::Base)?;
    let base = by_unit(points, Kind::Base, n);
    let relative = base.iter().map(|(unit, base)| {
        let share = |found: &BTreeMap<&str, f64>| Some(found.get(unit)? / base);
        (*unit, (share(&transfer), share(&selffer), 0.0))
    });
    let relative = with_target(points, relative.filter(|(_, (a, b, _))| a.is_some() || b.is_some()));
    let used = |point: &Point| {
        let grafted = |point: &Point| of(point, Kind::Transfer) || of(point, Kind::Selffer);
        let both = |unit: &str| {
            base.contains_key(unit) && (transfer.contains_key(unit) || selffer.contains_key(unit))
        };
        on_whole(point, Kind::Random)
            || on_whole(point, Kind::Base)
            || both(&point.unit) && (grafted(point) || of(point, Kind::Base))
    };
    let runs = runs(&used);
    let found = estimate(&relative, floor)?;
    Some((found, Form::RelativeToBase, runs))
}

/// What is known of each target and seed, by target: seeds of one target share its images.
fn with_target<'a, T>(points: &[Point], found: impl Iterator<Item = (&'a str, T)>) -> Vec<Vec<T>> {
    let targets: BTreeMap<&str, &str> =
        points.iter().map(|point| (point.unit.as_str(), point.target.as_str())).collect();
    by_target(found.filter_map(|(unit, one)| Some((*targets.get(unit)?, one))))
}

/// What scatters independently: targets, or of a single one its seeds.
fn things<T: Copy>(targets: &[Vec<T>]) -> Vec<Vec<T>> {
    match targets {
        [single] => single.iter().map(|seed| vec![*seed]).collect(),
        several => several.to_vec(),
    }
}

/// What generality compares of one target and seed: A, B and R of (A - R) / (B - R), A or B none where it is not known.
type Three = (Option<f64>, Option<f64>, f64);

/// The ratio of mean A - R to mean B - R, where `floor` is taken off both.
fn estimate(targets: &[Vec<Three>], floor: f64) -> Option<Estimate> {
    let over = |units: &[Three], which: fn(&Three) -> Option<f64>| {
        let known: Vec<f64> = units.iter().filter_map(|unit| Some(which(unit)? - unit.2)).collect();
        Some(mean(&known)? - floor)
    };
    let ratio = |units: &[Three]| {
        let (top, bottom) = (over(units, |unit| unit.0)?, over(units, |unit| unit.1)?);
        // Where the task's own layers are worth no more than random ones, there is nothing to keep.
        (bottom > 0.0).then(|| top / bottom)
    };
    let value = ratio(&targets.concat())?;
    let without = left_out(&things(targets), ratio);
    Some(Estimate { value, interval: without.and_then(|without| Interval::left_out(value, &[without])) })
}

fn transition(points: &[Point]) -> Option<Transition> {
    // The curve of BnB - AnB of each target and seed that has both at every depth.
    let curves: BTreeMap<&str, Vec<f64>> = {
        let pairs: Vec<_> =
            DEPTHS.map(|n| (by_unit(points, Kind::Selffer, n), by_unit(points, Kind::Transfer, n))).collect();
        let units: BTreeSet<&str> = pairs.iter().flat_map(|(selffer, _)| selffer.keys().copied()).collect();
        let curve = |unit: &str| -> Option<Vec<f64>> {
            pairs.iter().map(|(selffer, transfer)| Some(selffer.get(unit)? - transfer.get(unit)?)).collect()
        };
        units.into_iter().filter_map(|unit| Some((unit, curve(unit)?))).collect()
    };
    let targets: BTreeSet<&str> = points
        .iter()
        .filter(|point| curves.contains_key(point.unit.as_str()))
        .map(|point| point.target.as_str())
        .collect();
    let all = with_target(points, curves.iter().map(|(unit, curve)| (*unit, curve)));
    let (layer, layers) = turning(&all.concat())?;
    let things = things(&all);
    let estimate = |value: f64, which: fn((f64, f64)) -> f64| {
        let without = left_out(&things, |rest| turning(rest).map(which));
        let interval = without.and_then(|without| Interval::left_out(value, &[without]));
        // A layer, and a number of them.
        let possible = |interval: Interval| interval.within(1.0, f64::from(*DEPTHS.end()));
        Estimate { value, interval: interval.map(possible) }
    };
    Some(Transition {
        layer: estimate(layer, |one| one.0),
        layers: estimate(layers, |one| one.1),
        targets: targets.into_iter().map(str::to_owned).collect(),
    })
}

/// The weighted layer of the mean curve's rise, and over how many layers it spreads: the inverse of the
/// sum of squared weights. None where it never rises.
fn turning(curves: &[&Vec<f64>]) -> Option<(f64, f64)> {
    let mut before = 0.0;
    let mut gains = Vec::new();
    for at in 0..DEPTHS.count() {
        let here = mean(&curves.iter().map(|curve| curve[at]).collect::<Vec<_>>())?;
        gains.push((here - before).max(0.0));
        before = here;
    }
    let total: f64 = gains.iter().sum();
    let weights: Vec<f64> = gains.iter().map(|gain| gain / total).collect();
    let layer: f64 = weights.iter().zip(DEPTHS).map(|(weight, n)| weight * f64::from(n)).sum();
    let squares: f64 = weights.iter().map(|weight| weight * weight).sum();
    (total > 0.0).then(|| (layer, 1.0 / squares))
}

#[cfg(test)]
mod tests {
    use super::super::effect::tests::{point, seeded};
    use super::*;

    fn table(random_on_target: bool) -> Vec<Point> {
        let mut points = Vec::new();
        for unit in ["0A", "1A", "2A"] {
            points.push(point(unit, Kind::Base, 0, 0.6));
            for n in DEPTHS {
                points.push(point(unit, Kind::Selffer, n, 0.58));
                // All specificity is gained at layers 4 and 6, in equal parts.
                let lost = 0.1 * f64::from(u8::from(n >= 4) + u8::from(n >= 6));
                points.push(point(unit, Kind::Transfer, n, 0.58 - lost));
                if random_on_target {
                    points.push(point(unit, Kind::Random, n, 0.08));
                }
            }
        }
        points
    }

    #[test]
    fn losses_are_told_apart_and_the_transition_found() {
        let answers = answer(&table(true));
        let layer = &answers.layers[4];
        assert_eq!(layer.n, 5);
        assert!((layer.coadaptation.as_ref().unwrap().value - 0.02).abs() < 1e-12);
        assert!((layer.specificity.as_ref().unwrap().value - 0.1).abs() < 1e-12);
        assert!((layer.generality.unwrap().value - 0.8).abs() < 1e-12);
        assert_eq!(layer.generality_form, Some(Form::SameTarget));
        assert_eq!(layer.generality_runs.len(), 9);
        let transition = answers.transition.unwrap();
        assert!(
            (transition.layer.value - 5.0).abs() < 1e-12 && (transition.layers.value - 2.0).abs() < 1e-12
        );
        assert_eq!(transition.targets, ["0A", "1A", "2A"]);
    }

    #[test]
    fn a_target_without_all_three_is_no_part_of_its_generality() {
        let mut points = table(true);
        points.push(point("3A", Kind::Transfer, 5, 0.9));
        points.push(point("3A", Kind::Selffer, 5, 0.9));
        let layers = answer(&points).layers;
        assert_eq!(layers[4].generality, answer(&table(true)).layers[4].generality);
        let runs = &layers[4].generality_runs;
        assert!(runs.len() == 9 && !runs.iter().any(|run| run.starts_with("3A")), "{runs:?}");
    }

    #[test]
    fn seeds_of_one_target_scatter_and_are_no_more_targets() {
        // Seeds that differ in all but what is paired: at 0A each transfer keeps half, whatever its seed.
        let seed = |target: &'static str, seed: u64| {
            let (random, lift) = (0.1 * seed as f64, 0.02 * seed as f64);
            DEPTHS.flat_map(move |n| {
                let kept = 0.2 + lift;
                [(Kind::Selffer, 2.0 * kept), (Kind::Transfer, kept), (Kind::Random, 0.0)]
                    .map(|(kind, worth)| seeded(target, seed, kind, n, random + worth))
            })
        };
        let points: Vec<Point> = (1..=3).flat_map(|at| seed("0A", at)).collect();
        let answers = answer(&points);
        let generality = answers.layers[0].generality.unwrap();
        let interval = generality.interval.unwrap();
        assert!((generality.value - 0.5).abs() < 1e-12 && interval.width() < 1e-12, "{generality:?}");
        let transition = answers.transition.unwrap();
        assert_eq!(transition.targets, ["0A"]);
        assert!(transition.layer.interval.is_some());
        let one = answer(&seed("0A", 1).collect::<Vec<_>>());
        assert_eq!(one.layers[0].generality.unwrap().interval, None, "nothing that scatters");
        assert_eq!(one.transition.unwrap().layer.interval, None);
        let more: Vec<Point> = points.into_iter().chain((1..=3).flat_map(|at| seed("0B", at))).collect();
        let answers = answer(&more);
        assert!(answers.layers[0].generality.unwrap().interval.is_some());
        assert_eq!(answers.transition.unwrap().targets, ["0A", "0B"]);
    }

    #[test]
    fn random_controls_of_another_target_are_taken_relative_to_base() {
        let mut points = table(false);
        for (kind, n, accuracy) in [(Kind::Base, 0, 0.5), (Kind::Random, 5, 0.1)] {
            let mut whole = point("whole", kind, n, accuracy);
            whole.split = SplitKind::Whole;
            points.push(whole);
        }
        let answers = answer(&points);
        let layer = &answers.layers[4];
        assert_eq!(layer.generality_form, Some(Form::RelativeToBase));
        let expected = (0.48 / 0.6 - 0.2) / (0.58 / 0.6 - 0.2);
        assert!((layer.generality.unwrap().value - expected).abs() < 1e-12);
        // Three targets with their base networks, and two networks of all classes.
        assert_eq!(layer.generality_runs.len(), 3 * 3 + 2);
        assert_eq!((answers.layers[0].generality, answers.layers[0].generality_runs.len()), (None, 0));
        let lone = point("3A", Kind::Transfer, 5, 0.9);
        points.push(lone.clone());
        assert_eq!(answer(&points).layers[4], *layer, "it has no base network");
        points.retain(|point| *point != lone);
        points.iter_mut().filter(|point| point.kind == Kind::Random).for_each(|point| point.at_chance = true);
        assert_eq!(answer(&points).layers[4].generality, None);
    }

    #[test]
    fn without_runs_there_are_no_answers() {
        let answers = answer(&[]);
        assert_eq!(answers.transition, None);
        assert!(
            answers.layers.iter().all(|layer| layer.coadaptation.is_none() && layer.generality.is_none())
        );
    }
}
