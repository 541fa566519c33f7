//! The paper's findings as statements with margins, and the verdict of a table of accuracies on each.
//!
//! Uses `audit::effect`; used by `audit`. The statements are in `claims.toml`, which is part of the program.
//! The same judge serves the published archive and a selffer store.

use super::effect::{Effect, Point, Side, compare};
use super::names::SplitKind;
use crate::error::{Error, Result};
use crate::text::counted;
use crate::treatment::{DEPTHS, Kind};
use crate::verify::{Code, Finding};
use serde::{Deserialize, Serialize};

/// What the paper claims; see the file's own comments.
const CLAIMS: &str = include_str!("claims.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    claim: Vec<Statement>,
}

/// One claim, before it is judged.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// A short name.
    pub name: String,
    /// What is claimed, in a sentence.
    pub says: String,
    /// Where the paper says so.
    pub source: String,
    part: Vec<Part>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    left: Group,
    right: Group,
    depths: Option<Vec<u8>>,
    #[serde(default)]
    pooled: bool,
    relation: Relation,
    margin: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    treatment: String,
    split: Option<SplitKind>,
}

/// How an effect has to lie to its margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// Above the margin.
    Above,
    /// Below minus the margin.
    Below,
    /// Between minus the margin and the margin.
    Within,
}

/// What the runs say of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The interval lies where the claim says.
    Supported,
    /// There are no runs to test it on.
    Untestable,
    /// The interval lies on both sides of a margin.
    Inconclusive,
    /// The interval lies where the claim says it does not.
    Refuted,
}

impl Verdict {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Supported => "Supported",
            Self::Untestable => "Untestable",
            Self::Inconclusive => "Inconclusive",
            Self::Refuted => "Refuted",
        }
    }
}

/// A part of a claim, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    /// The treatment on the left, at these depths.
    pub left: &'static str,
    /// The treatment on the right.
    pub right: &'static str,
    /// The kind of split of the left side; any where there is none.
    pub left_split: Option<SplitKind>,
    /// Of the right side, likewise.
    pub right_split: Option<SplitKind>,
    /// The depths; none where both sides are base networks.
    pub depths: Vec<u8>,
    /// How the effect should lie.
    pub relation: Relation,
    /// The margin.
    pub margin: f64,
    /// What the runs say.
    pub verdict: Verdict,
    /// The difference; none where it is untestable.
    pub effect: Option<Effect>,
    /// Runs that it would be about but that are at chance.
    pub left_out: Vec<String>,
}

impl Judged {
    /// What is compared, for people: `AnB - base at n = 7`, and where the sides are of splits of different kinds
    /// `dissimilar AnB - random AnB at n = 7`.
    pub fn difference(&self) -> String {
        let [left, right] = self.sides();
        format!("{left} - {right}{}", depths(&self.depths))
    }

    /// What the sides are called, for people.
    pub fn sides(&self) -> [String; 2] {
        let apart = self.left_split != self.right_split;
        [(self.left, self.left_split), (self.right, self.right_split)].map(|(name, split)| match split {
            Some(split) if apart => format!("{} {name}", split.name()),
            _ => name.to_owned(),
        })
    }
}

/// A claim, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Claim {
    /// The short name.
    pub name: String,
    /// What is claimed.
    pub says: String,
    /// Where the paper says so.
    pub source: String,
    /// The least favourable verdict of its parts.
    pub verdict: Verdict,
    /// How many different runs it rests on.
    pub runs: usize,
    /// The parts.
    pub parts: Vec<Judged>,
}

/// The claims that are part of the program.
///
/// # Errors
/// Where the file in the program is not of its format; a test keeps that from happening.
pub fn statements() -> Result<Vec<Statement>> {
    let invalid = |problem: String| Error::invalid("claims.toml in the program", problem, "report it");
    let file: File = toml::from_str(CLAIMS).map_err(|error| invalid(error.message().to_owned()))?;
    for statement in &file.claim {
        if statement.part.is_empty() {
            return Err(invalid(format!("{}: it has no part", statement.name)));
        }
        for part in &statement.part {
            for group in [&part.left, &part.right] {
                kind(&group.treatment)
                    .ok_or_else(|| invalid(format!("`{}` is no treatment", group.treatment)))?;
            }
            let possible = part.depths.iter().flatten().all(|n| DEPTHS.contains(n));
            let signed = part.relation != Relation::Within || part.margin >= 0.0;
            if !possible || !signed {
                return Err(invalid(format!("{}: a depth or margin is out of range", statement.name)));
            }
        }
    }
    Ok(file.claim)
}

fn kind(name: &str) -> Option<Kind> {
    let all =
        [Kind::Base, Kind::Selffer, Kind::SelfferTuned, Kind::Transfer, Kind::TransferTuned, Kind::Random];
    all.into_iter().find(|kind| kind.name() == name)
}

/// Judges each claim by the points.
///
/// # Errors
/// As [`statements`].
pub fn judge(points: &[Point]) -> Result<(Vec<Claim>, Vec<Finding>)> {
    let claims: Vec<Claim> = statements()?.iter().map(|statement| claim(points, statement)).collect();
    let findings = claims.iter().filter(|claim| claim.verdict == Verdict::Refuted).map(finding).collect();
    Ok((claims, findings))
}

fn claim(points: &[Point], statement: &Statement) -> Claim {
    let mut parts = Vec::new();
    for part in &statement.part {
        match (&part.depths, part.pooled) {
            (Some(depths), false) => {
                parts.extend(depths.iter().map(|n| judged(points, part, Some(vec![*n]))));
            }
            (depths, _) => parts.push(judged(points, part, depths.clone())),
        }
    }
    let effects = parts.iter().filter_map(|part| part.effect.as_ref());
    let runs: std::collections::BTreeSet<&String> = effects.flat_map(Effect::runs).collect();
    Claim {
        name: statement.name.clone(),
        says: statement.says.clone(),
        source: statement.source.clone(),
        verdict: parts.iter().map(|part| part.verdict).max().unwrap_or(Verdict::Untestable),
        runs: runs.len(),
        parts,
    }
}

fn judged(points: &[Point], part: &Part, depths: Option<Vec<u8>>) -> Judged {
    // Kinds were checked when the claims were read.
    let side = |group: &Group| Side {
        kind: kind(&group.treatment).unwrap_or(Kind::Base),
        split: group.split,
        depths: depths.clone(),
    };
    let (left, right) = (side(&part.left), side(&part.right));
    let effect = compare(points, &left, &right);
    Judged {
        left: left.kind.name(),
        right: right.kind.name(),
        left_split: left.split,
        right_split: right.split,
        relation: part.relation,
        margin: part.margin,
        verdict: effect
            .as_ref()
            .map_or(Verdict::Untestable, |effect| verdict(effect, part.relation, part.margin)),
        effect,
        left_out: points
            .iter()
            .filter(|point| point.at_chance && (left.matches(point) || right.matches(point)))
            .filter(|point| point.split != SplitKind::Reduced)
            .map(|point| point.run.clone())
            .collect(),
        depths: depths.unwrap_or_default(),
    }
}

fn verdict(effect: &Effect, relation: Relation, margin: f64) -> Verdict {
    let (low, high) = (effect.interval.low, effect.interval.high);
    let (holds, fails) = match relation {
        Relation::Above => (low > margin, high <= margin),
        Relation::Below => (high < -margin, low >= -margin),
        Relation::Within => (low >= -margin && high <= margin, low > margin || high < -margin),
    };
    match (holds, fails) {
        (true, _) => Verdict::Supported,
        (_, true) => Verdict::Refuted,
        _ => Verdict::Inconclusive,
    }
}

fn finding(claim: &Claim) -> Finding {
    let mut finding = Finding::new(Code::ClaimRefuted, format!("claim {}", claim.name), claim.says.clone());
    for part in claim.parts.iter().filter(|part| part.verdict == Verdict::Refuted) {
        if let Some(Effect { value, interval, left, right, .. }) = &part.effect {
            let [of, than] = part.sides();
            finding = finding.with(format!(
                "{of} less {than}{}: {value:+.4} ({:+.4} to {:+.4}), from {} and {}",
                depths(&part.depths),
                interval.low,
                interval.high,
                left.len(),
                counted(right.len(), "run")
            ));
        }
    }
    finding
}

/// ` at n = 6` or ` at n = 1-7`; nothing for no depth.
pub fn depths(depths: &[u8]) -> String {
    match depths {
        [] => String::new(),
        [n] => format!(" at n = {n}"),
        [first, .., last] => format!(" at n = {first}-{last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::effect::tests::point;
    use super::*;

    fn table(transfer: impl Fn(u8) -> f64) -> Vec<Point> {
        let mut points = Vec::new();
        for (index, unit) in ["0A", "0B", "1A", "1B"].into_iter().enumerate() {
            let base = 0.60 + 0.002 * index as f64;
            points.push(point(unit, Kind::Base, 0, base));
            points.extend(
                DEPTHS.map(|n| point(unit, Kind::Transfer, n, base + transfer(n) + 1e-4 * index as f64)),
            );
        }
        points
    }

    fn verdict_of(points: &[Point], name: &str) -> Verdict {
        let (claims, _) = judge(points).unwrap();
        claims.into_iter().find(|claim| claim.name == name).unwrap().verdict
    }

    #[test]
    fn verdicts_follow_the_interval() {
        let falling = table(|n| -0.005 * f64::from(n.saturating_sub(2)) - 0.01 * f64::from(u8::from(n > 3)));
        assert_eq!(verdict_of(&falling, "transfer-holds-in-lower-layers"), Verdict::Supported);
        assert_eq!(verdict_of(&falling, "transfer-falls-from-the-third-layer"), Verdict::Supported);
        assert_eq!(verdict_of(&falling, "transfer-below-selffer-at-the-top"), Verdict::Untestable);
        let flat = table(|_| 0.0);
        assert_eq!(verdict_of(&flat, "transfer-falls-from-the-third-layer"), Verdict::Refuted);
        let (_, findings) = judge(&flat).unwrap();
        assert_eq!(findings[0].subject, "claim transfer-falls-from-the-third-layer");
        let mut noisy = table(|_| 0.0);
        for (index, point) in noisy.iter_mut().filter(|point| point.n > 0).enumerate() {
            point.accuracy += if index % 14 < 7 { 0.03 } else { -0.03 };
        }
        assert_eq!(verdict_of(&noisy, "transfer-holds-in-lower-layers"), Verdict::Inconclusive);
    }

    #[test]
    fn a_run_at_chance_makes_a_claim_untestable() {
        let mut points = vec![point("0A", Kind::Base, 0, 0.6), point("0A", Kind::Random, 3, 0.001)];
        assert_eq!(verdict_of(&points, "random-features-collapse-at-the-third-layer"), Verdict::Supported);
        points[1].at_chance = true;
        let (claims, _) = judge(&points).unwrap();
        let claim =
            claims.iter().find(|claim| claim.name == "random-features-collapse-at-the-third-layer").unwrap();
        assert_eq!(claim.verdict, Verdict::Untestable);
        assert_eq!(claim.parts[0].left_out, ["0A RnB 3"]);
    }

    #[test]
    fn sides_of_different_splits_are_told_apart() {
        let (claims, _) = judge(&[]).unwrap();
        let first =
            |name: &str| claims.iter().find(|claim| claim.name == name).unwrap().parts[0].difference();
        assert_eq!(first("dissimilar-tasks-transfer-worse"), "dissimilar AnB - random AnB at n = 3");
        assert_eq!(first("fewer-classes-are-easier"), "random base - whole base");
        assert_eq!(first("transfer-below-selffer-at-the-top"), "AnB - BnB at n = 6");
        assert_eq!(first("random-features-fall-at-once"), "RnB - base at n = 1");
    }

    #[test]
    fn no_points_test_no_claim() {
        let (claims, findings) = judge(&[]).unwrap();
        assert!(claims.len() > 10 && claims.iter().all(|claim| claim.verdict == Verdict::Untestable));
        assert_eq!(findings, []);
    }
}
