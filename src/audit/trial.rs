//! The two stages of a proof that see to networks one by one: evaluated again, and trained again.
//!
//! Uses `run` and a [`Trainer`](crate::train::Trainer); part of `audit::proof`.

use super::proof::{Again, Counts, Prover, Stage, Staged, Trial, Under, Verdict, staged, tally, tried};
use crate::architecture::{LAYERS, NAMES};
use crate::data::Part;
use crate::equivalence::{Lies, Paired, far_off, most_unseen, variance};
use crate::error::{Error, Result};
use crate::manifest::{Count, Epoch, Manifest, Outcome};
use crate::run::{self, Done};
use crate::store::Entry;
use crate::text::{networks, points, signed};
use crate::train::{Along, Evaluation, Next};
use crate::verify::statistical::{Family, Pair, families};
use crate::verify::{Code, Context, Finding, Severity};
use crate::weights::Weights;
use rayon::prelude::*;
use std::sync::atomic::Ordering;

/// A loss that is this near to the recorded one, as a share of it, differs by rounding alone.
const LOSS_ROUNDING: f64 = 1e-4;

/// One image in so many, and one, may be counted otherwise where nobody promised the same bits: those whose two largest outputs
/// are the same to rounding.
const IMAGES_ROUNDED: u32 = 1000;

/// A checkpoint that was evaluated: what became of it, what is wrong, and its accuracy.
type Look = (Trial, Option<Finding>, Option<Count>);

/// A network that was trained again: what became of it, what is wrong, and how it compares with its record.
type Retrained = (Trial, Option<Finding>, Option<Pair>);

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
    pub(super) fn tables(
        &self,
        context: &Context<'_>,
        under: Under,
    ) -> Result<(Staged, Vec<Finding>, Counts)> {
        let look = |index: usize| -> Result<Option<Look>> {
            let run = context.plan.name(&context.plan.runs[index]);
            let open = |reason: &str| Ok(Some((untried(&run, reason), None, None)));
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
            let otherwise = under.otherwise(manifest);
            let (verdict, reason) = beside_record(epoch, &evaluation, otherwise);
            let finding = (verdict != Verdict::Bitwise).then(|| {
                let finding = Finding::new(Code::EvaluatedDifferently, &run, reason)
                    .with(format!("recorded {}, loss {}", show(epoch.valid), epoch.valid_loss))
                    .with(format!("evaluated {}, loss {}", show(count), evaluation.loss));
                graded(finding, verdict, otherwise)
            });
            let trial = Trial { run, verdict, reason: reason.to_owned(), tried: true };
            Ok(Some((trial, finding, Some(count))))
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
        let mut begin = Vec::new();
        for index in self.again.chosen(context.plan) {
            let Some(manifest) = &context.manifests[index] else { continue };
            let begins = match manifest.recipe.parent {
                Some(parent) => context.store.has(&Entry::Checkpoint(parent))?,
                None => true,
            };
            begin.extend(begins.then_some(index));
        }
        let jobs = self.jobs.min(begin.len());
        run::largest_fits(context.plan, begin, jobs, self.memory)
    }

    /// The chosen networks, trained again.
    pub(super) fn retraining(&self, context: &Context<'_>, under: Under) -> Result<(Staged, Vec<Finding>)> {
        let chosen = self.again.chosen(context.plan);
        let again = chosen
            .par_iter()
            .map(|index| self.retrain(context, under, *index, chosen.len()))
            .collect::<Result<Vec<_>>>()?;
        let (mut trials, mut findings, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
        for (trial, finding, pair) in again {
            trials.push(trial);
            findings.extend(finding);
            pairs.extend(pair);
        }
        let (all, tried) = (context.plan.runs.len(), tried(&trials));
        let which = match self.again {
            Again::Sample { seed, .. } => {
                format!("{} of {}, drawn by seed {seed} and", trials.len(), networks(all))
            }
            _ if all == 1 => "the 1 network,".to_owned(),
            _ => format!("all {all} networks,"),
        };
        let mut reason = format!("of {which} trained again, {}", tally(&trials));
        // Only a sample without exception says something of the rest.
        if tried < all && tried > 0 && trials.iter().all(|trial| trial.verdict == Verdict::Bitwise) {
            let most = most_unseen(all, tried);
            reason.push_str(&format!(
                "; were more than {most} of the {all} otherwise, 95 of 100 such samples would have met one"
            ));
        }
        let mut staged = staged(Stage::Retraining, reason, trials);
        if !pairs.is_empty() {
            staged.families = families(&pairs, self.margin);
        }
        let far: Vec<&Family> = staged.families.iter().filter(|family| family.far).collect();
        if !far.is_empty() {
            let kinds: Vec<&str> = far.iter().map(|family| family.treatment).collect();
            staged.verdict = Verdict::Refuted;
            staged.reason.push_str(&format!("; as kinds, far off: {}", kinds.join(", ")));
        }
        let finding = |family: &Family| {
            let far = "is far beyond the margin of";
            family.finding(Code::RetrainedFamilyDiffers, far, self.margin)
        };
        findings.extend(far.into_iter().map(finding));
        Ok((staged, findings))
    }

    /// One of `compared` networks, trained again; the last is how it compares with its record where nobody promised the same
    /// bits.
    fn retrain(
        &self,
        context: &Context<'_>,
        under: Under,
        index: usize,
        compared: usize,
    ) -> Result<Retrained> {
        self.go_on()?;
        let plan = context.plan;
        let run = plan.name(&plan.runs[index]);
        let open = |reason: &str| Ok((untried(&run, reason), None, None));
        let Some(then) = &context.manifests[index] else { return open("it is not in the store") };
        let parent = match then.recipe.parent.zip(plan.runs[index].parent) {
            None => None,
            Some((digest, base)) => match context.weights(base, digest)? {
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
        let otherwise = under.otherwise(then);
        let (verdict, code, reason) = match alike(then, &now, otherwise) {
            Some((verdict, reason)) => (verdict, Code::RecordDiffers, reason),
            None => {
                let (verdict, reason) =
                    self.other_outcome(context, index, then, weights.as_ref(), compared, otherwise)?;
                (verdict, Code::RetrainedDifferently, reason)
            }
        };
        let finding = (verdict != Verdict::Bitwise).then(|| {
            let finding = Finding::new(code, &run, &reason)
                .with(format!("recorded {}", outcome(then)))
                .with(format!("trained again {}", outcome(&now)));
            graded(finding, verdict, otherwise)
        });
        let pair = if otherwise { pair(&run, then, &now) } else { None };
        Ok((Trial { run, verdict, reason, tried: true }, finding, pair))
    }

    /// Holds a network against what it was trained again to: other weights, or another end.
    fn other_outcome(
        &self,
        context: &Context<'_>,
        index: usize,
        then: &Manifest,
        weights: Option<&Weights>,
        compared: usize,
        otherwise: bool,
    ) -> Result<(Verdict, String)> {
        let open = unless(otherwise);
        let (layers, weights) = match (then.trained(), weights) {
            (Some(layers), Some(weights)) => (layers, weights),
            (None, None) => return Ok((open, "it diverged at another step".to_owned())),
            _ => return Ok((open, "one of the two diverged, and not the other".to_owned())),
        };
        let old = match context.weights(index, layers.whole())? {
            Ok(old) => old,
            Err(why) => {
                let reason = format!("other weights, and its checkpoint {why}, so its answers are not known");
                return Ok((Verdict::Unverifiable, reason));
            }
        };
        let [old, new] = [&old, weights].map(|weights| self.evaluate(context, index, weights));
        let (old, new) = (old?, new?);
        if !(old.loss.is_finite() && new.loss.is_finite()) {
            return Ok((open, "other weights, and a loss that is not finite".to_owned()));
        }
        Ok(beside_other_weights([&old, &new], self.margin, compared, otherwise))
    }
}

/// A network that there was nothing to try with.
fn untried(run: &str, reason: &str) -> Trial {
    Trial { run: run.to_owned(), verdict: Verdict::Unverifiable, reason: reason.to_owned(), tried: false }
}

/// What is refuted is an error, what is not the same or not known a warning; what is equivalent where nobody promised the
/// same bits (`otherwise`), a note.
fn graded(finding: Finding, verdict: Verdict, otherwise: bool) -> Finding {
    finding.graded(match verdict {
        Verdict::Refuted => Severity::Error,
        Verdict::Equivalent if otherwise => Severity::Note,
        _ => Severity::Warning,
    })
}

/// What it comes to that something is not as it is recorded: refuted, unless nobody promised that it would be. Training that
/// rounds otherwise is other training.
fn unless(otherwise: bool) -> Verdict {
    if otherwise { Verdict::Unverifiable } else { Verdict::Refuted }
}

/// A record beside that of the same network, trained again to the same outcome; none where the outcome is another.
fn alike(then: &Manifest, now: &Manifest, otherwise: bool) -> Option<(Verdict, String)> {
    if then.outcome != now.outcome {
        return None;
    }
    let outcome = match then.outcome {
        Outcome::Trained { .. } => "the same weights",
        Outcome::Diverged { .. } => "it diverged in the same step",
    };
    let record = |manifest: &Manifest| (manifest.initial, manifest.epochs.clone(), manifest.ledger.clone());
    Some(match record(then) == record(now) {
        true => (Verdict::Bitwise, format!("{outcome}, the same losses and counts to the last bit")),
        false => (unless(otherwise), format!("{outcome}, but {}", unlike(then, now))),
    })
}

/// What an evaluation comes to beside a record of the same weights'. `otherwise`: nobody promised the same bits.
fn beside_record(then: &Epoch, now: &Evaluation, otherwise: bool) -> (Verdict, &'static str) {
    let (count, recorded) = (now.count(), then.valid);
    // False where either is no number.
    let rounded = (now.loss - then.valid_loss).abs() <= LOSS_ROUNDING * then.valid_loss.abs();
    let images = recorded.correct.abs_diff(count.correct);
    let near = otherwise && count.total == recorded.total && images <= 1 + count.total / IMAGES_ROUNDED;
    match count == recorded {
        true if now.loss.to_bits() == then.valid_loss.to_bits() => {
            (Verdict::Bitwise, "the same count, and the same loss to the last bit")
        }
        true if rounded => (Verdict::Equivalent, "the same count; the loss differs by rounding"),
        false if rounded && near => {
            (Verdict::Equivalent, "count and loss differ by rounding, as other code computed them")
        }
        _ => (Verdict::Refuted, "its checkpoint does not give what its manifest records"),
    }
}

/// What a network's answers come to beside those of the same network trained again to other weights, one of `compared`.
fn beside_other_weights(
    [then, now]: [&Evaluation; 2],
    margin: f64,
    compared: usize,
    otherwise: bool,
) -> (Verdict, String) {
    let paired = Paired::of(&now.right, &then.right);
    let (low, high) = paired.interval();
    let sides = [then, now].map(|side| (side.count().correct, side.count().total));
    let far = paired.difference().abs() > far_off(margin, variance(sides), compared);
    let (verdict, word) = match paired.lies(margin) {
        Lies::Within => (Verdict::Equivalent, "within"),
        Lies::Open => (Verdict::Unverifiable, "on both sides of"),
        // The interval is by images alone: how far training scatters where it rounds otherwise is not in it.
        Lies::Beyond if otherwise && !far => (Verdict::Unverifiable, "beyond, but not far beyond,"),
        Lies::Beyond => (Verdict::Refuted, "beyond"),
    };
    let reason = format!(
        "other weights; on the same {} images {} points (90 %: {} to {}), {word} the margin of {}",
        paired.images,
        signed(paired.difference()),
        signed(low),
        signed(high),
        points(margin)
    );
    (verdict, reason)
}

/// Where two records of the same outcome part first.
fn unlike(then: &Manifest, now: &Manifest) -> String {
    let layer = (0..LAYERS).find(|layer| then.initial.0[*layer] != now.initial.0[*layer]);
    let epoch = then.epochs.iter().zip(&now.epochs).position(|(then, now)| then != now);
    match (layer, epoch) {
        (Some(layer), _) => format!("its record says that {} began otherwise", NAMES[layer]),
        (None, Some(epoch)) => format!("its record of epoch {epoch} is not what training gives"),
        (None, None) if then.ledger != now.ledger => "its ledger is not what training gives".to_owned(),
        (None, None) => {
            format!("its record has {} epochs, and training {}", then.epochs.len(), now.epochs.len())
        }
    }
}

/// A network as it is recorded and as trained again; none where it diverged.
fn pair(run: &str, then: &Manifest, now: &Manifest) -> Option<Pair> {
    Pair::of(run, [then.accuracy()?, now.accuracy()?], then.outcome == now.outcome)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::recipe::Policy;
    use crate::testing::manifest;
    use proptest::prelude::*;

    fn epoch(correct: u32, total: u32, loss: f64) -> Epoch {
        let order = crate::digest::OrderDigest(Digest::of(b"order"));
        let train = Count { correct: 0, total: 1 };
        let valid = Count { correct, total };
        Epoch { rate: 0.1, order, train_loss: 1.0, train, valid_loss: loss, valid }
    }

    fn evaluation(correct: usize, total: usize, loss: f64) -> Evaluation {
        Evaluation { loss, right: (0..total).map(|at| at < correct).collect() }
    }

    #[test]
    fn an_evaluation_is_held_against_its_record() {
        use Verdict::{Bitwise, Equivalent, Refuted};
        let rounded = 0.5 * (1.0 + 0.9 * LOSS_ROUNDING);
        // Right answers and loss now, beside 900 of 1,000 and 0.5; what they come to where the same code computed the record,
        // and where other code did.
        let cases = [
            (900, 0.5, [Bitwise, Bitwise]),
            (900, rounded, [Equivalent, Equivalent]),
            (899, rounded, [Refuted, Equivalent]),
            (902, 0.5, [Refuted, Equivalent]),
            (903, rounded, [Refuted, Refuted]),
            (900, 0.5001, [Refuted, Refuted]),
            (900, f64::NAN, [Refuted, Refuted]),
        ];
        for (correct, loss, expected) in cases {
            for (otherwise, expected) in [false, true].into_iter().zip(expected) {
                let now = evaluation(correct, 1000, loss);
                let (verdict, _) = beside_record(&epoch(900, 1000, 0.5), &now, otherwise);
                assert_eq!(verdict, expected, "{correct} right, loss {loss}, otherwise {otherwise}");
            }
        }
        let fewer = evaluation(899, 999, 0.5);
        assert_eq!(beside_record(&epoch(900, 1000, 0.5), &fewer, true).0, Refuted);
    }

    /// Whatever the outcome, a record that parts from the same end is refuted where the same bits were promised.
    #[test]
    fn a_record_of_the_same_outcome_is_bitwise_or_parts() {
        let trained = manifest(1);
        let diverged = Manifest { outcome: Outcome::Diverged { epoch: 1, step: 2 }, ..trained.clone() };
        for (then, outcome) in [(&trained, "the same weights"), (&diverged, "it diverged in the same step")] {
            let (verdict, reason) = alike(then, then, false).unwrap();
            assert_eq!(
                (verdict, reason),
                (Verdict::Bitwise, format!("{outcome}, the same losses and counts to the last bit"))
            );
            let mut loss = then.clone();
            loss.epochs[0].train_loss += 1.0;
            let mut ledger = then.clone();
            ledger.ledger.every += 1;
            for other in [&loss, &ledger] {
                for (otherwise, expected) in [(false, Verdict::Refuted), (true, Verdict::Unverifiable)] {
                    let (verdict, reason) = alike(then, other, otherwise).unwrap();
                    assert_eq!(verdict, expected);
                    assert!(reason.starts_with(&format!("{outcome}, but its ")), "{reason}");
                }
            }
        }
        assert_eq!(alike(&trained, &diverged, true), None);
    }

    /// What a record says of its fingerprint is of weight only where a policy promises nothing elsewhere.
    #[test]
    fn a_fingerprint_excuses_nothing_that_was_promised_everywhere() {
        let then = manifest(1);
        let here = then.environment.fingerprint;
        let another = crate::digest::FingerprintDigest(Digest::of(b"another machine"));
        let otherwise =
            |networks, computed, fingerprint| Under { networks, computed, fingerprint }.otherwise(&then);
        for policy in Policy::ALL {
            assert!(!otherwise(policy, policy, here), "{}", policy.name());
            let excused = matches!(policy, Policy::Native | Policy::Cuda);
            assert_eq!(otherwise(policy, policy, another), excused, "{}", policy.name());
        }
        assert!(otherwise(Policy::Cuda, Policy::Portable, here));
    }

    proptest! {
        /// Other code takes nothing from what is equivalent, and refutes no less than what chance would not do.
        #[test]
        fn other_code_leaves_open_what_the_same_refutes(
            then in 0usize..=1000, now in 0usize..=1000, compared in 1usize..200, margin in 0.001..0.05f64,
        ) {
            let sides = [evaluation(then, 1000, 1.0), evaluation(now, 1000, 1.0)];
            let of = |otherwise| beside_other_weights([&sides[0], &sides[1]], margin, compared, otherwise).0;
            let sides = [(then as u32, 1000), (now as u32, 1000)];
            let far = (then as f64 - now as f64).abs() / 1000.0 > far_off(margin, variance(sides), compared);
            match of(false) {
                Verdict::Refuted if far => prop_assert_eq!(of(true), Verdict::Refuted),
                Verdict::Refuted => prop_assert!(matches!(of(true), Verdict::Refuted | Verdict::Unverifiable)),
                other => prop_assert_eq!(of(true), other),
            }
        }
    }
}
