//! Networks against the same of a machine that computes otherwise: whether accuracies are the same within a margin, by kind
//! of treatment.
//!
//! Uses `verify::golden` and `equivalence`; used by the command line where a golden snapshot has another fingerprint, and by
//! `audit::trial` for networks trained again. Bits are not expected to be the same there, so what is asked is whether the
//! experiment comes to the same.

use super::golden::{Entry, Golden};
use super::{Code, Finding};
use crate::equivalence::{self, Lies, far_off, lies, normal, student};
use crate::manifest::Count;
use crate::text::{lines, networks, numeric, plain, points, signed};
use crate::treatment::{Kind, Treatment, of_run_name};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The difference of accuracy, as a share, within which a kind of treatment comes to the same as in a snapshot.
pub const MARGIN: f64 = 0.02;

/// All networks of one kind of treatment, in both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Family {
    /// The kind's name (`base`, `BnB`, `AnB+` …), or `all`.
    pub treatment: &'static str,
    /// Networks that both have.
    pub runs: usize,
    /// Targets of a split and seed that they are of.
    pub units: usize,
    /// Mean difference of accuracy, new minus old, as a share.
    pub difference: f64,
    /// The 90 % interval of the difference: two one-sided tests at 5 %.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// Where the interval lies to the margin; open where it is of one unit that is not the same bit for bit.
    pub lies: Lies,
    /// Whether it is further off than the margin and what chance would do, in one of twenty comparisons, to any of the kinds
    /// that were compared; of one unit nobody can say.
    pub far: bool,
}

/// One network in both.
pub struct Pair {
    treatment: Treatment,
    unit: String,
    old: Count,
    new: Count,
    /// Whether it is the same bit for bit.
    same: bool,
}

impl Family {
    /// Its finding: how it lies to the margin, in words.
    pub fn finding(&self, code: Code, lies: &str, margin: f64) -> Finding {
        let message = format!(
            "{}, {} points (90 %: {} to {}), which {lies} {}",
            networks(self.runs),
            signed(self.difference),
            signed(self.low),
            signed(self.high),
            points(margin)
        );
        Finding::new(code, format!("treatment {}", self.treatment), message)
    }
}

/// Kinds of treatment as a table for people.
pub fn text(families: &[Family], margin: f64) -> String {
    let within = format!("within {}", points(margin));
    let mut table = plain(["treatment", "networks", "units", "points", "90 %", &within]);
    for Family { treatment, runs, units, difference, low, high, lies, far } in families {
        let verdict = match lies {
            Lies::Within => "yes",
            Lies::Beyond if *far => "no, far off",
            Lies::Beyond => "no",
            Lies::Open => "undecided",
        };
        table.add_row([
            (*treatment).to_owned(),
            runs.to_string(),
            units.to_string(),
            signed(*difference),
            format!("{} to {}", signed(*low), signed(*high)),
            verdict.to_owned(),
        ]);
    }
    numeric(&mut table, 1..=3);
    lines(&table)
}

impl Pair {
    /// The network of that run, with its right answers before and now; none where there is no run of that name.
    pub fn of(run: &str, [old, new]: [Count; 2], same: bool) -> Option<Self> {
        let (unit, treatment) = of_run_name(run)?;
        let unit = format!("{unit}/{}", treatment.target());
        Some(Self { treatment, unit, old, new, same })
    }

    fn golden(run: &str, old: &Entry, new: &Entry) -> Option<Self> {
        Self::of(run, [old.count, new.count], old == new)
    }
}

/// The networks that both snapshots have.
pub fn pairs(old: &Golden, new: &Golden) -> Vec<Pair> {
    old.runs.iter().filter_map(|(run, entry)| Pair::golden(run, entry, new.runs.get(run)?)).collect()
}

/// Compares all kinds, and all networks together.
pub fn families(pairs: &[Pair], margin: f64) -> Vec<Family> {
    let kinds: BTreeSet<Kind> = pairs.iter().map(|pair| pair.treatment.kind()).collect();
    let compared = kinds.len() + 1;
    let of = |kind: Kind| pairs.iter().filter(|pair| pair.treatment.kind() == kind).collect::<Vec<_>>();
    let each = kinds.into_iter().filter_map(|kind| family(kind.name(), &of(kind), margin, compared));
    each.chain(family("all", &pairs.iter().collect::<Vec<_>>(), margin, compared)).collect()
}

/// One of `compared` kinds.
fn family(treatment: &'static str, pairs: &[&Pair], margin: f64, compared: usize) -> Option<Family> {
    // Networks of one unit were validated on the same images: together they are no more than one.
    let mut units: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for pair in pairs {
        units.entry(&pair.unit).or_default().push((difference(pair), variance(pair)));
    }
    let mean = |values: &[(f64, f64)], which: fn(&(f64, f64)) -> f64| {
        values.iter().map(which).sum::<f64>() / values.len() as f64
    };
    let units: Vec<(f64, f64)> =
        units.values().map(|runs| (mean(runs, |run| run.0), mean(runs, |run| run.1))).collect();
    if units.is_empty() {
        return None;
    }
    let count = units.len() as f64;
    let difference = mean(&units, |unit| unit.0);
    let by_images = (mean(&units, |unit| unit.1) / count).sqrt();
    let spread: f64 = units.iter().map(|unit| (unit.0 - difference).powi(2)).sum();
    let by_units = if units.len() > 1 { (spread / (count - 1.0) / count).sqrt() } else { 0.0 };
    // What units say of their own spread is itself uncertain: Student's distribution.
    let half = |level: f64| (normal(level) * by_images).max(student(units.len(), level) * by_units);
    let (low, high) = (difference - half(0.95), difference + half(0.95));
    // One unit says nothing of how far machines scatter, unless they did not.
    let tells = units.len() > 1 || pairs.iter().all(|pair| pair.same);
    let lies = if tells { lies(low, high, margin) } else { Lies::Open };
    let far = units.len() > 1 && difference.abs() > margin + half(1.0 - 0.025 / compared as f64);
    Some(Family { treatment, runs: pairs.len(), units: units.len(), difference, low, high, lies, far })
}

/// New minus old.
fn difference(pair: &Pair) -> f64 {
    pair.new.share() - pair.old.share()
}

fn variance(pair: &Pair) -> f64 {
    equivalence::variance([pair.old, pair.new].map(|count| (count.correct, count.total)))
}

/// What is wrong: kinds that came to something else or cannot be told, and single networks that are far off.
pub fn findings(old: &Golden, new: &Golden) -> Vec<Finding> {
    let mut findings = Vec::new();
    for family in families(&pairs(old, new), MARGIN) {
        let (code, what) = match (family.lies, lies(family.low, family.high, MARGIN)) {
            (Lies::Within, _) => continue,
            (Lies::Beyond, _) => (Code::GoldenFamilyDiffers, "is beyond the margin of"),
            (Lies::Open, Lies::Open) => (Code::GoldenUndecided, "lies on both sides of the margin of"),
            (Lies::Open, _) => (
                Code::GoldenUndecided,
                "is of one target of one split and seed, and so tells neither how machines scatter nor whether it is \
                 within the margin of",
            ),
        };
        findings.push(family.finding(code, what, MARGIN));
    }
    let differences = old.differences(new);
    for difference in &differences {
        let pair = |run: &str| Pair::golden(run, old.runs.get(run)?, new.runs.get(run)?);
        match pair(&difference.run) {
            Some(pair) => {
                if self::difference(&pair).abs() > far_off(MARGIN, variance(&pair), old.runs.len()) {
                    findings.push(difference.finding());
                }
            }
            None => findings.push(difference.finding()),
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Digest, WeightsDigest};
    use proptest::prelude::*;

    /// Two units with the networks of three kinds each, of so many images, and the changes in right answers.
    fn golden(images: u32, change: impl Fn(&str) -> i32) -> Golden {
        let runs = ["a/1/baseA", "a/1/baseB", "a/1/A1B", "a/1/A4B", "a/1/B1A", "a/1/R1A", "a/1/R1B"];
        let entry = |run: &str| Entry {
            count: Count { correct: (images as i32 * 9 / 10 + change(run)) as u32, total: images },
            weights: WeightsDigest(Digest::of(run.as_bytes())),
        };
        let runs = runs.map(|run| (run.to_owned(), entry(run))).into();
        Golden { inputs: Vec::new(), fingerprint: None, runs }
    }

    fn families(old: &Golden, new: &Golden) -> Vec<Family> {
        super::families(&pairs(old, new), MARGIN)
    }

    fn codes(findings: &[Finding]) -> Vec<(Code, &str)> {
        findings.iter().map(|finding| (finding.code, finding.subject.as_str())).collect()
    }

    #[test]
    fn small_changes_come_to_the_same_where_there_are_images_enough() {
        let old = golden(4000, |_| 0);
        let new = golden(4000, |run| if run.ends_with('A') { 12 } else { -9 });
        let families = families(&old, &new);
        let names: Vec<(&str, usize, usize)> =
            families.iter().map(|f| (f.treatment, f.runs, f.units)).collect();
        assert_eq!(names, [("base", 2, 2), ("AnB", 3, 2), ("RnB", 2, 2), ("all", 7, 2)]);
        assert!(families.iter().all(|family| family.lies == Lies::Within), "{families:?}");
        // By hand: +12 and -9 of 4000, so half of 3 of 4000.
        assert!((families[0].difference - 0.000375).abs() < 1e-12);
        assert_eq!(findings(&old, &new), []);
    }

    #[test]
    fn few_images_leave_it_open() {
        let (old, new) = (golden(60, |_| 0), golden(60, |_| 1));
        let found = findings(&old, &new);
        assert!(found.iter().all(|finding| finding.code == Code::GoldenUndecided), "{found:?}");
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn a_kind_that_came_to_something_else_is_named() {
        let old = golden(4000, |_| 0);
        let new = golden(4000, |run| if run.contains('R') { -200 } else { 0 });
        let found = findings(&old, &new);
        assert!(codes(&found).contains(&(Code::GoldenFamilyDiffers, "treatment RnB")), "{found:?}");
        assert!(!codes(&found).iter().any(|(_, subject)| subject.ends_with("base")), "{found:?}");
    }

    #[test]
    fn one_network_that_is_far_off_is_not_lost_among_the_others() {
        let old = golden(4000, |_| 0);
        let new = golden(4000, |run| if run == "a/1/A4B" { -400 } else { 0 });
        let found = findings(&old, &new);
        assert!(codes(&found).contains(&(Code::GoldenAccuracyDiffers, "a/1/A4B")), "{found:?}");
    }

    #[test]
    fn networks_on_one_side_only_are_named() {
        let old = golden(4000, |_| 0);
        let mut new = golden(4000, |_| 1);
        new.runs.remove("a/1/R1B");
        let found = findings(&old, &new);
        // The other random control is one unit, which cannot tell.
        assert_eq!(
            codes(&found),
            [(Code::GoldenUndecided, "treatment RnB"), (Code::GoldenRunMissing, "a/1/R1B")]
        );
    }

    proptest! {
        /// Far off is beyond the margin, and never what one unit alone says.
        #[test]
        fn what_is_far_off_is_beyond(
            images in 100u32..50_000, changes in prop::array::uniform7(-100i32..100), margin in 0.001..0.05f64,
        ) {
            let names: Vec<String> = golden(1000, |_| 0).runs.into_keys().collect();
            let at = |run: &str| names.iter().position(|name| name == run).expect("a run");
            let (old, new) = (golden(images, |_| 0), golden(images, |run| changes[at(run)] * (images / 1000) as i32));
            for family in super::families(&pairs(&old, &new), margin) {
                prop_assert!(!family.far || (family.lies == Lies::Beyond && family.units > 1), "{family:?}");
            }
        }

        /// Whatever the images say, one unit with other bits says neither that machines agree nor that they do not; with
        /// the same bits it may be the same.
        #[test]
        fn one_unit_decides_nothing(images in 1000u32..100_000, changes in prop::array::uniform2(-400i32..40)) {
            let only = |golden: Golden| Golden {
                runs: golden.runs.into_iter().filter(|(run, _)| ["a/1/A1B", "a/1/A4B"].contains(&run.as_str())).collect(),
                ..golden
            };
            let old = only(golden(images, |_| 0));
            let new = only(golden(images, |run| changes[usize::from(run == "a/1/A4B")]));
            for family in families(&old, &new) {
                prop_assert_eq!(family.units, 1);
                prop_assert!(family.lies == Lies::Open || (family.lies == Lies::Within && changes == [0, 0]));
            }
        }
    }

    #[test]
    fn one_unit_is_told_as_the_reason() {
        let (old, mut new) = (golden(50_000, |_| 0), golden(50_000, |_| 0));
        new.runs.get_mut("a/1/B1A").unwrap().weights = WeightsDigest(Digest::of(b"other"));
        for run in ["a/1/baseA", "a/1/R1A"] {
            new.runs.remove(run);
        }
        let one = |found: &[Finding]| -> Vec<String> {
            let open = found.iter().filter(|finding| finding.code == Code::GoldenUndecided);
            open.map(|finding| format!("{}: {}", finding.subject, finding.message)).collect()
        };
        // The base, A's transfers and random controls are of B alone, and the same bits.
        assert_eq!(one(&findings(&old, &new)), [""; 0]);
        for run in ["a/1/A1B", "a/1/A4B"] {
            new.runs.remove(run);
        }
        let says = "treatment AnB: 1 network, +0.00 points (90 %: -0.31 to +0.31), which is of one target of one split and \
                    seed, and so tells neither how machines scatter nor whether it is within the margin of 2";
        assert_eq!(one(&findings(&old, &new)), [says]);
    }

    /// Seven networks a unit, each less good by so many of 1,000 images, give or take a few.
    fn worse(units: usize, by: i32) -> Vec<Pair> {
        let runs = ["baseA", "B1A", "A1A", "R1A", "B3A", "A3A", "R3A"];
        let all = (0..units).flat_map(|unit| runs.map(|run| (unit, run)));
        let pair = |(index, (unit, run)): (usize, (usize, &str))| {
            let noise = (index * 7 % 11) as i32 - 5;
            let counts = [900, (900 - by + noise) as u32].map(|correct| Count { correct, total: 1000 });
            Pair::of(&format!("split-{unit}/1/{run}"), counts, false)
        };
        all.enumerate().filter_map(pair).collect()
    }

    #[test]
    fn what_no_network_shows_by_itself_many_show_together() {
        let far = |pairs: &[Pair]| super::families(pairs, MARGIN).iter().filter(|family| family.far).count();
        // 4.5 points: less than far off for any of them.
        let pairs = worse(6, 45);
        assert_eq!(pairs.len(), 42);
        assert!(pairs.iter().all(|pair| difference(pair).abs() < far_off(MARGIN, variance(pair), 42)));
        assert_eq!(far(&pairs), 5, "base, BnB, AnA, RnB and all");
        assert_eq!(far(&worse(6, 20)), 0, "at the margin");
        assert_eq!(far(&worse(1, 45)), 0, "one unit");
    }
}
