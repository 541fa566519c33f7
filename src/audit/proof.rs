//! How far a selffer store was proven, in stages that cost more and prove more: its files, its
//! invariants, its numbers from its checkpoints, and networks trained again.
//!
//! Uses `verify` and a [`Trainer`]; used by `audit::store`. `audit::trial` has the last two stages. A network
//! that is trained again starts from what the store says it started from, so each one is a proof of its
//! own, whatever others are.

use crate::digest::FingerprintDigest;
use crate::error::{Error, Result};
use crate::manifest::{Count, Manifest};
use crate::plan::Plan;
use crate::recipe::Policy;
use crate::run::Observer;
use crate::seed::{Name, Stream};
use crate::train::Trainer;
use crate::verify::statistical::Family;
use crate::verify::{self, About, Code, Context, Finding, Report, Severity};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

/// What became of something that a store says, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It came out again to the last bit.
    Bitwise,
    /// Its bits differ, and its numbers are the same within the margin.
    Equivalent,
    /// It could not be held against anything, or too little to tell.
    Unverifiable,
    /// It is not so.
    Refuted,
}

impl Verdict {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bitwise => "Bitwise",
            Self::Equivalent => "Equivalent",
            Self::Unverifiable => "Unverifiable",
            Self::Refuted => "Refuted",
        }
    }
}

/// What a stage holds against what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Each file against its digest, and what is there against the plan.
    Integrity,
    /// Splits, first weights and training against the protocol.
    Invariants,
    /// Recorded counts and losses against the checkpoints, evaluated again.
    Tables,
    /// Networks against themselves, trained again.
    Retraining,
}

impl Stage {
    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::Invariants => "invariants",
            Self::Tables => "tables",
            Self::Retraining => "retraining",
        }
    }
}

/// One network in one stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// The run.
    pub run: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// Whether it was evaluated or trained: not where it, or what it copies from, is not there.
    pub tried: bool,
}

/// What a stage came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Staged {
    /// The stage.
    pub stage: Stage,
    /// The worst that became of anything in it.
    pub verdict: Verdict,
    /// Why, in a sentence.
    pub reason: String,
    /// The networks that were tried one by one; none in the first two stages.
    pub trials: Vec<Trial>,
    /// Networks trained again where nobody promised the same bits, by kind of treatment: as trained here beside as recorded.
    pub families: Vec<Family>,
}

/// Whose numerics networks are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Under {
    /// The policy of the networks.
    pub networks: Policy,
    /// The policy that was computed under.
    pub computed: Policy,
    /// What its probe came to here.
    pub fingerprint: FingerprintDigest,
}

impl Under {
    /// Whether nobody promised that a record comes out here bit for bit. What a record says of its fingerprint is the
    /// store's word, so it is of no weight where a policy promises the same everywhere.
    pub(super) fn otherwise(&self, then: &Manifest) -> bool {
        let elsewhere = || !self.networks.everywhere() && then.environment.fingerprint != self.fingerprint;
        self.networks != self.computed || elsewhere()
    }
}

/// How far a store was proven.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proof {
    /// Under which numerics.
    pub under: Under,
    /// The difference of accuracy, as a share, within which two networks are equivalent.
    pub margin: f64,
    /// The worst verdict of its stages.
    pub verdict: Verdict,
    /// The stages that were gone through.
    pub stages: Vec<Staged>,
    /// How many networks were not trained again: that their weights come from training as it is recorded is
    /// not proven.
    pub not_trained_again: usize,
}

/// Which networks are trained again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// None.
    Nothing,
    /// So many, drawn by the auditor's seed.
    Sample {
        /// How many; all, where there are fewer.
        networks: usize,
        /// The seed.
        seed: u64,
    },
    /// All.
    Everything,
}

impl Again {
    /// Which runs of a plan, by index. A draw depends on its seed and the protocol, and on nothing else.
    pub fn chosen(self, plan: &Plan<'_>) -> Vec<usize> {
        let count = plan.runs.len();
        match self {
            Self::Nothing => Vec::new(),
            Self::Everything => (0..count).collect(),
            Self::Sample { networks, seed } => {
                let protocol = plan.protocol.digest().hex();
                let name = Name::new("audit sample").and("seed", seed).and("protocol", protocol);
                let drawn = Stream::open(&name).permutation(count).into_iter().take(networks);
                let mut chosen: Vec<usize> = drawn.map(|index| index as usize).collect();
                chosen.sort_unstable();
                chosen
            }
        }
    }
}

/// With what, and how far, a store is to be proven.
pub struct Prover<'a> {
    /// What evaluates and trains.
    pub trainer: &'a dyn Trainer,
    /// The policy that it does so under. Where that is not the networks', no bits are promised.
    pub policy: Policy,
    /// Which networks are trained again.
    pub again: Again,
    /// The difference of accuracy, as a share, within which two networks are equivalent.
    pub margin: f64,
    /// How many networks are seen to at once.
    pub jobs: usize,
    /// Bytes of memory that they may take together.
    pub memory: u64,
    /// Set by another thread to stop.
    pub stop: &'a AtomicBool,
    /// Who hears of networks that are trained again.
    pub observer: &'a dyn Observer,
}

/// What evaluating the checkpoints gave, by run.
pub type Counts = BTreeMap<String, Count>;

impl Prover<'_> {
    /// Goes through the stages. The answer has what is wrong, and the accuracies that evaluating gave.
    ///
    /// # Errors
    /// Where the system does not let a file be read, the trainer fails, or it was told to stop.
    pub fn prove(&self, context: &Context<'_>) -> Result<(Proof, Vec<Finding>, Counts)> {
        self.fits(context)?;
        let report = verify::verify(context)?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.jobs)
            .build()
            .map_err(|error| Error::invalid("--jobs", error.to_string(), "take fewer"))?;
        let fingerprint = self.trainer.environment()?.fingerprint;
        let under = Under { networks: context.policy, computed: self.policy, fingerprint };
        let (tables, evaluated, counts) = pool.install(|| self.tables(context, under))?;
        let mut stages = vec![
            checked(context, &report, Stage::Integrity, About::Integrity),
            checked(context, &report, Stage::Invariants, About::Invariants),
            tables,
        ];
        let mut findings = report.findings;
        findings.extend(evaluated);
        let mut not_trained_again = context.plan.runs.len();
        if self.again != Again::Nothing {
            let (retrained, found) = pool.install(|| self.retraining(context, under))?;
            not_trained_again -= tried(&retrained.trials);
            stages.push(retrained);
            findings.extend(found);
        }
        let verdict = worst(stages.iter().map(|staged| staged.verdict));
        Ok((Proof { under, margin: self.margin, verdict, stages, not_trained_again }, findings, counts))
    }
}

fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    // Where nothing was tried, nothing is known.
    verdicts.max().unwrap_or(Verdict::Unverifiable)
}

pub(super) fn staged(stage: Stage, reason: String, trials: Vec<Trial>) -> Staged {
    let verdict = worst(trials.iter().map(|trial| trial.verdict));
    Staged { stage, verdict, reason, trials, families: Vec::new() }
}

/// How many networks were evaluated, or trained.
pub(super) fn tried(trials: &[Trial]) -> usize {
    trials.iter().filter(|trial| trial.tried).count()
}

/// How many of those that were tried came to what, in words, and how many could not be.
pub(super) fn tally(trials: &[Trial]) -> String {
    let count = |verdict| trials.iter().filter(|trial| trial.tried && trial.verdict == verdict).count();
    let all = [
        (Verdict::Bitwise, "are the same to the last bit"),
        (Verdict::Equivalent, "are equivalent"),
        (Verdict::Unverifiable, "cannot be verified"),
        (Verdict::Refuted, "are refuted"),
    ];
    let mut parts: Vec<String> = all
        .into_iter()
        .filter(|(verdict, _)| count(*verdict) > 0)
        .map(|(verdict, words)| format!("{} {words}", count(verdict)))
        .collect();
    let not = trials.len() - tried(trials);
    if not > 0 {
        parts.push(format!("{not} could not be tried"));
    }
    if parts.is_empty() { "none was tried".to_owned() } else { parts.join(", ") }
}

/// The verdict of what `verify` held against one another.
fn checked(context: &Context<'_>, report: &Report, stage: Stage, about: About) -> Staged {
    let (compared, found) = report.about(about);
    let count = |weight: Weight| found.iter().filter(|finding| weigh(finding) == weight).count();
    let (wrong, missing) = (count(Weight::Refutes), count(Weight::Lacks));
    let verdict = match () {
        () if wrong > 0 => Verdict::Refuted,
        () if missing > 0 || context.manifests.iter().all(Option::is_none) => Verdict::Unverifiable,
        () => Verdict::Bitwise,
    };
    let reason = match () {
        () if context.manifests.iter().all(Option::is_none) => {
            let policy = context.policy.name();
            format!(
                "the store has no network of this protocol under {policy} numerics, or not what they copy from; name its \
                 --protocol and --numerics"
            )
        }
        () if found.is_empty() => format!("all {compared} comparisons hold"),
        () => {
            let aside = found.len() - wrong - missing;
            format!(
                "of {compared} comparisons {wrong} refute, {missing} find nothing there, {aside} are to be known"
            )
        }
    };
    Staged { stage, verdict, reason, trials: Vec::new(), families: Vec::new() }
}

/// What a finding does to a verdict.
#[derive(PartialEq)]
enum Weight {
    /// Something that the store says is not so.
    Refutes,
    /// Something is not there to be held against anything.
    Lacks,
    /// It says nothing of whether what is there is so.
    Aside,
}

fn weigh(finding: &Finding) -> Weight {
    match finding.code {
        Code::SplitMissing | Code::RunMissing | Code::CheckpointMissing | Code::RunBarred => Weight::Lacks,
        Code::FileStray | Code::LossNotFinite | Code::RunAtChance => Weight::Aside,
        _ if finding.severity == Severity::Error => Weight::Refutes,
        _ => Weight::Aside,
    }
}
