//! The two stages of a proof that see to networks one by one: evaluated again, and trained again.
//!
//! Uses `run` and a [`Trainer`](crate::train::Trainer); part of `audit::proof`.

use super::proof::{Again, Counts, Prover, Stage, Staged, Trial, Verdict, staged, tally};
use crate::architecture::{LAYERS, NAMES};
use crate::data::Part;
use crate::equivalence::{Lies, Paired, most_unseen};
use crate::error::{Error, Result};
use crate::manifest::{Count, Manifest, Outcome};
use crate::run::{self, Done};
use crate::store::Entry;
use crate::text::networks;
use crate::train::{Along, Evaluation, Next};
use crate::verify::{Code, Context, Finding, Severity};
use crate::weights::Weights;
use rayon::prelude::*;
use std::sync::atomic::Ordering;

/// A loss that is this near to the recorded one, as a share of it, differs by rounding alone.
const LOSS_ROUNDING: f64 = 1e-4;

/// A checkpoint that was evaluated: what became of it, what is wrong, and its accuracy.
type Look = (Trial, Option<Finding>, Option<Count>);

impl Prover<'_> {
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
        // Of the recipe, what comes before the first weights counts for an evaluation: no parent is needed.
        let recipe = context.plan.recipe(run, context.policy, None);
        let pixels = context.plan.catalog.pixels(recipe.input.as_ref());
        self.trainer.evaluate(&context.plan.name(run), &recipe, weights, &images, pixels)
    }

    /// Every checkpoint, evaluated again.
    pub(super) fn tables(&self, context: &Context<'_>) -> Result<(Staged, Vec<Finding>, Counts)> {
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
            format!("of the checkpoints of {}, evaluated here, {}", networks(trials.len()), tally(&trials));
        Ok((staged(Stage::Tables, reason, trials), findings, counts))
    }

    /// Refuses networks to be trained again that memory cannot hold: before this store's checks and evaluations, which take
    /// long.
    pub(super) fn fits(&self, context: &Context<'_>) -> Result<()> {
        let begins = |index: &usize| {
            let manifest = context.manifests[*index].as_ref();
            let parent = |digest| context.store.has(&Entry::Checkpoint(digest));
            manifest.is_some_and(|manifest| manifest.recipe.parent.is_none_or(parent))
        };
        let begin: Vec<usize> = self.again.chosen(context.plan).into_iter().filter(begins).collect();
        let jobs = self.jobs.min(begin.len());
        run::largest_fits(context.plan, begin, jobs, self.memory)
    }

    /// The chosen networks, trained again.
    pub(super) fn retraining(&self, context: &Context<'_>) -> Result<(Staged, Vec<Finding>)> {
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
                    "of {tried} of {}, drawn by seed {seed} and trained again, {}",
                    networks(all),
                    tally(&trials)
                )
            }
            _ if all == 1 => format!("of the 1 network, trained again, {}", tally(&trials)),
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
            format!("the same weights, but its record says that {} began otherwise", NAMES[layer])
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
