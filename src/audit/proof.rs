//! How far a selffer store was proven, in stages that cost more and prove more: its files, its
//! invariants, its numbers from its checkpoints, and networks trained again.
//!
//! Uses `verify`, `run` and a [`Trainer`]; used by `audit::store`. A network that is trained again starts
//! from what the store says it started from, so each one is a proof of its own, whatever others are.

use crate::architecture::LAYERS;
use crate::data::Part;
use crate::equivalence::{Lies, Paired, most_unseen};
use crate::error::{Error, Result};
use crate::manifest::{Count, Manifest, Outcome};
use crate::plan::Plan;
use crate::run::{self, Done, Observer};
use crate::seed::{Name, Stream};
use crate::train::{Along, Evaluation, Next, Trainer};
use crate::verify::{self, About, Code, Context, Finding, Report, Severity};
use crate::weights::Weights;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// A loss that is this near to the recorded one, as a share of it, differs by rounding alone.
const LOSS_ROUNDING: f64 = 1e-4;

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
}

/// How far a store was proven.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proof {
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

/// A checkpoint that was evaluated: what became of it, what is wrong, and its accuracy.
type Look = (Trial, Option<Finding>, Option<Count>);

/// What evaluating the checkpoints gave, by run.
pub type Counts = BTreeMap<String, Count>;

impl Prover<'_> {
    /// Goes through the stages. The answer has what is wrong, and the accuracies that evaluating gave.
    ///
    /// # Errors
    /// Where the system does not let a file be read, the trainer fails, or it was told to stop.
    pub fn prove(&self, context: &Context<'_>) -> Result<(Proof, Vec<Finding>, Counts)> {
        let report = verify::verify(context)?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.jobs)
            .build()
            .map_err(|error| Error::invalid("--jobs", error.to_string(), "take fewer"))?;
        let (tables, evaluated, counts) = pool.install(|| self.tables(context))?;
        let mut stages = vec![
            checked(context, &report, Stage::Integrity, About::Integrity),
            checked(context, &report, Stage::Invariants, About::Invariants),
            tables,
        ];
        let mut findings = report.findings;
        findings.extend(evaluated);
        if self.again != Again::Nothing {
            let (retrained, found) = pool.install(|| self.retraining(context))?;
            stages.push(retrained);
            findings.extend(found);
        }
        let verdict = worst(stages.iter().map(|staged| staged.verdict));
        let not_trained_again = context.plan.runs.len() - self.again.chosen(context.plan).len();
        Ok((Proof { verdict, stages, not_trained_again }, findings, counts))
    }

    fn go_on(&self) -> Result<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }

    fn evaluate(&self, context: &Context<'_>, index: usize, weights: &Weights) -> Result<Evaluation> {
        self.go_on()?;
        let run = &context.plan.runs[index];
        let images = context.plan.images(run, Part::Valid)?;
        self.trainer.evaluate(&context.plan.name(run), weights, &images, context.plan.catalog.moments)
    }

    /// Every checkpoint, evaluated again.
    fn tables(&self, context: &Context<'_>) -> Result<(Staged, Vec<Finding>, Counts)> {
        let look = |index: usize| -> Result<Option<Look>> {
            let run = context.plan.name(&context.plan.runs[index]);
            let trial =
                |verdict, reason: &str| Trial { run: run.clone(), verdict, reason: reason.to_owned() };
            let open = |reason: &str| Ok(Some((trial(Verdict::Unverifiable, reason), None, None)));
            let Some(manifest) = &context.manifests[index] else { return open("it is not in the store") };
            // Where training diverged there is nothing to evaluate.
            let Some(layers) = manifest.trained() else { return Ok(None) };
            let Some(epoch) = manifest.epochs.last() else { return open("its manifest has no epoch") };
            let weights = match context.weights(index, layers.whole())? {
                Ok(weights) => weights,
                Err(why) => return open(&format!("its checkpoint {why}")),
            };
            let evaluation = self.evaluate(context, index, &weights)?;
            let count = evaluation.count();
            let off = (evaluation.loss - epoch.valid_loss).abs();
            let (verdict, reason) = match count == epoch.valid {
                true if evaluation.loss.to_bits() == epoch.valid_loss.to_bits() => {
                    (Verdict::Bitwise, "the same count, and the same loss to the last bit")
                }
                // False where either is no number.
                true if off <= LOSS_ROUNDING * epoch.valid_loss.abs() => {
                    (Verdict::Equivalent, "the same count; the loss differs by rounding")
                }
                _ => (Verdict::Refuted, "its checkpoint does not give what its manifest records"),
            };
            let finding = (verdict != Verdict::Bitwise).then(|| {
                let finding = Finding::new(Code::EvaluatedDifferently, &run, reason)
                    .with(format!("recorded {}, loss {}", show(epoch.valid), epoch.valid_loss))
                    .with(format!("evaluated {}, loss {}", show(count), evaluation.loss));
                graded(finding, verdict)
            });
            Ok(Some((trial(verdict, reason), finding, Some(count))))
        };
        let looks: Vec<_> =
            (0..context.plan.runs.len()).into_par_iter().map(look).collect::<Result<Vec<_>>>()?;
        let (mut trials, mut findings, mut counts) = (Vec::new(), Vec::new(), Counts::new());
        for (trial, finding, count) in looks.into_iter().flatten() {
            counts.extend(count.map(|count| (trial.run.clone(), count)));
            findings.extend(finding);
            trials.push(trial);
        }
        let reason =
            format!("of the checkpoints of {} networks, evaluated here, {}", trials.len(), tally(&trials));
        Ok((staged(Stage::Tables, reason, trials), findings, counts))
    }

    /// The chosen networks, trained again.
    fn retraining(&self, context: &Context<'_>) -> Result<(Staged, Vec<Finding>)> {
        let chosen = self.again.chosen(context.plan);
        let trials = chosen
            .par_iter()
            .map(|index| self.retrain(context, *index))
            .collect::<Result<Vec<(Trial, Option<Finding>)>>>()?;
        let (trials, findings): (Vec<Trial>, Vec<Option<Finding>>) = trials.into_iter().unzip();
        let (all, tried) = (context.plan.runs.len(), trials.len());
        let mut reason = match self.again {
            Again::Sample { seed, .. } => {
                format!(
                    "of {tried} of {all} networks, drawn by seed {seed} and trained again, {}",
                    tally(&trials)
                )
            }
            _ => format!("of all {all} networks, trained again, {}", tally(&trials)),
        };
        // Only a sample without exception says something of the rest.
        if tried < all && tried > 0 && trials.iter().all(|trial| trial.verdict == Verdict::Bitwise) {
            let most = most_unseen(all, tried);
            reason.push_str(&format!(
                "; were more than {most} of the {all} otherwise, 95 of 100 such samples would have met one"
            ));
        }
        Ok((staged(Stage::Retraining, reason, trials), findings.into_iter().flatten().collect()))
    }

    fn retrain(&self, context: &Context<'_>, index: usize) -> Result<(Trial, Option<Finding>)> {
        self.go_on()?;
        let plan = context.plan;
        let run = plan.name(&plan.runs[index]);
        let open = |reason: &str| {
            let trial = Trial { run: run.clone(), verdict: Verdict::Unverifiable, reason: reason.to_owned() };
            Ok((trial, None))
        };
        let Some(then) = &context.manifests[index] else { return open("it is not in the store") };
        let parent = match then.recipe.parent {
            None => None,
            Some(digest) => match context.weights(index, digest)? {
                Ok(weights) => Some(weights),
                Err(why) => return open(&format!("the checkpoint that it copies from {why}")),
            },
        };
        run::fits(plan, index, self.jobs.min(self.again.chosen(plan).len()), self.memory)?;
        self.observer.started(index);
        let watch = |_, images| {
            self.observer.advanced(index, images);
            if self.stop.load(Ordering::Relaxed) { Next::Stop } else { Next::Go }
        };
        let along = Along { every: then.ledger.every, watch: &watch, ..Along::ALONE };
        let (now, weights) =
            run::train(plan, index, then.recipe.clone(), parent.as_ref(), self.trainer, &along)?;
        self.observer.finished(index, &Done { manifest: now.clone(), fresh: true });
        let (verdict, code, reason) = self.compare(context, index, then, &now, weights.as_ref())?;
        let finding = (verdict != Verdict::Bitwise).then(|| {
            let finding = Finding::new(code, &run, &reason)
                .with(format!("recorded {}", outcome(then)))
                .with(format!("trained again {}", outcome(&now)));
            graded(finding, verdict)
        });
        Ok((Trial { run, verdict, reason }, finding))
    }

    /// Holds a record against that of the same network, trained again.
    fn compare(
        &self,
        context: &Context<'_>,
        index: usize,
        then: &Manifest,
        now: &Manifest,
        weights: Option<&Weights>,
    ) -> Result<(Verdict, Code, String)> {
        let record =
            |manifest: &Manifest| (manifest.initial, manifest.epochs.clone(), manifest.ledger.clone());
        if then.outcome == now.outcome {
            return Ok(match record(then) == record(now) {
                true => {
                    let reason = "the same weights, losses and counts to the last bit";
                    (Verdict::Bitwise, Code::RecordDiffers, reason.to_owned())
                }
                false => (Verdict::Refuted, Code::RecordDiffers, unlike(then, now)),
            });
        }
        let differs = |verdict, reason: String| Ok((verdict, Code::RetrainedDifferently, reason));
        let (layers, weights) = match (then.trained(), weights) {
            (Some(layers), Some(weights)) => (layers, weights),
            (None, None) => return differs(Verdict::Refuted, "it diverged at another step".to_owned()),
            _ => return differs(Verdict::Refuted, "one of the two diverged, and not the other".to_owned()),
        };
        let old = match context.weights(index, layers.whole())? {
            Ok(old) => old,
            Err(why) => {
                let reason = format!("other weights, and its checkpoint {why}, so its answers are not known");
                return differs(Verdict::Unverifiable, reason);
            }
        };
        let [old, new] = [&old, weights].map(|weights| self.evaluate(context, index, weights));
        let (old, new) = (old?, new?);
        if !(old.loss.is_finite() && new.loss.is_finite()) {
            return differs(Verdict::Refuted, "other weights, and a loss that is not finite".to_owned());
        }
        let paired = Paired::of(&new.right, &old.right);
        let (low, high) = paired.interval();
        let (verdict, word) = match paired.lies(self.margin) {
            Lies::Within => (Verdict::Equivalent, "within"),
            Lies::Beyond => (Verdict::Refuted, "beyond"),
            Lies::Open => (Verdict::Unverifiable, "on both sides of"),
        };
        // As it was given: 1.7, not what a hundred times its hundredth is.
        let percent = |share: f64| (1e11 * share).round() / 1e9;
        differs(
            verdict,
            format!(
                "other weights; on the same {} images {:+.2} points (90 %: {:+.2} to {:+.2}), {word} the margin of {}",
                paired.images,
                percent(paired.difference()),
                percent(low),
                percent(high),
                percent(self.margin)
            ),
        )
    }
}

/// Where two records of the same weights part first.
fn unlike(then: &Manifest, now: &Manifest) -> String {
    let layer = (0..LAYERS).find(|layer| then.initial.0[*layer] != now.initial.0[*layer]);
    let epoch = then.epochs.iter().zip(&now.epochs).position(|(then, now)| then != now);
    match (layer, epoch) {
        (Some(layer), _) => {
            format!(
                "the same weights, but its record says that {} began otherwise",
                crate::architecture::NAMES[layer]
            )
        }
        (None, Some(epoch)) => {
            format!("the same weights, but its record of epoch {epoch} is not what training gives")
        }
        (None, None) if then.ledger != now.ledger => {
            "the same weights, but its ledger is not what training gives".to_owned()
        }
        (None, None) => format!(
            "the same weights, but its record has {} epochs, and training {}",
            then.epochs.len(),
            now.epochs.len()
        ),
    }
}

fn outcome(manifest: &Manifest) -> String {
    match (&manifest.outcome, manifest.epochs.last()) {
        (Outcome::Trained { layers }, Some(epoch)) => {
            format!("{:?}, {}, loss {}", layers.whole(), show(epoch.valid), epoch.valid_loss)
        }
        (Outcome::Trained { layers }, None) => format!("{:?}, no epoch", layers.whole()),
        (Outcome::Diverged { epoch, step }, _) => format!("as diverged in epoch {epoch}, step {step}"),
    }
}

fn show(Count { correct, total }: Count) -> String {
    format!("{correct} of {total}")
}

/// What is refuted is an error, what is not the same or not known a warning.
fn graded(finding: Finding, verdict: Verdict) -> Finding {
    finding.graded(if verdict == Verdict::Refuted { Severity::Error } else { Severity::Warning })
}

fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    // Where nothing was tried, nothing is known.
    verdicts.max().unwrap_or(Verdict::Unverifiable)
}

fn staged(stage: Stage, reason: String, trials: Vec<Trial>) -> Staged {
    Staged { stage, verdict: worst(trials.iter().map(|trial| trial.verdict)), reason, trials }
}

/// How many trials came to what, in words.
fn tally(trials: &[Trial]) -> String {
    let count = |verdict| trials.iter().filter(|trial| trial.verdict == verdict).count();
    let all = [
        (Verdict::Bitwise, "are the same to the last bit"),
        (Verdict::Equivalent, "are equivalent"),
        (Verdict::Unverifiable, "cannot be verified"),
        (Verdict::Refuted, "are refuted"),
    ];
    let parts: Vec<String> = all
        .into_iter()
        .filter(|(verdict, _)| count(*verdict) > 0)
        .map(|(verdict, words)| format!("{} {words}", count(verdict)))
        .collect();
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
            "the store has no network of this protocol; name the --protocol that it was made by".to_owned()
        }
        () if found.is_empty() => format!("all {compared} comparisons hold"),
        () => {
            let aside = found.len() - wrong - missing;
            format!(
                "of {compared} comparisons {wrong} refute, {missing} find nothing there, {aside} are to be known"
            )
        }
    };
    Staged { stage, verdict, reason, trials: Vec::new() }
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
