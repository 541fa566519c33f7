//! Checks of what training did: it followed the recipe, moved what it was to move and nothing else,
//! and ended with numbers that can be.
//!
//! Uses `recipe` to compute orders and rates again, and `store` for the weights; used by `verify`.

use super::{Code, Context, Finding, Severity, Sink};
use crate::architecture::NAMES;
use crate::data::Part;
use crate::digest::WeightsDigest;
use crate::equivalence::guessed;
use crate::error::Result;
use crate::manifest::{Count, Manifest, Outcome};
use crate::plan::PlannedRun;
use crate::recipe::order_digest;
use crate::store::Entry;
use crate::treatment::Kind;
use rayon::prelude::*;
use std::collections::HashMap;

pub(super) fn check(context: &Context<'_>, sink: &mut Sink) -> Result<()> {
    let runs: Vec<_> = context.runs().collect();
    let parts = runs.par_iter().map(|(run, name, manifest)| {
        let mut sink = Sink::default();
        epochs(context, run, name, manifest, &mut sink);
        ledger(context, run, name, manifest, &mut sink);
        again(context, name, manifest, &mut sink);
        moved(run, name, manifest, &mut sink);
        weights(context, run, name, manifest, &mut sink)?;
        chance(context, run, name, manifest, &mut sink);
        Ok(sink)
    });
    for part in parts.collect::<Result<Vec<Sink>>>()? {
        sink.compared += part.compared;
        sink.findings.extend(part.findings);
    }
    shared(&runs, sink);
    Ok(())
}

/// What a network's record alone says, without drawing or reading anything again.
pub(super) fn record(
    context: &Context<'_>,
    run: &PlannedRun,
    name: &str,
    manifest: &Manifest,
    sink: &mut Sink,
) {
    again(context, name, manifest, sink);
    moved(run, name, manifest, sink);
    chance(context, run, name, manifest, sink);
    if let Outcome::Diverged { epoch, step } = manifest.outcome {
        sink.expect(false, || diverged(name, epoch, step));
    }
}

/// The finding of a network that diverged.
pub(super) fn diverged(name: &str, epoch: u32, step: u32) -> Finding {
    let message = format!("the loss was not finite in epoch {epoch}, step {step}; lower the learning rate");
    Finding::new(Code::LossNotFinite, name, message)
}

/// No two networks ended with the same weights: each has draws, layers or images of its own.
fn shared(runs: &[(&PlannedRun, String, &Manifest)], sink: &mut Sink) {
    let mut first: HashMap<WeightsDigest, &str> = HashMap::new();
    for (_, name, manifest) in runs {
        let Some(layers) = manifest.trained() else { continue };
        let whose = *first.entry(layers.whole()).or_insert(name);
        sink.expect(whose == name, || {
            Finding::new(Code::WeightsShared, name, format!("it ended with the weights of {whose}"))
                .with(format!("{:?}", layers.whole()))
        });
    }
}

/// The epochs are those of the recipe: their number, rates, orders, and counts of images.
fn epochs(context: &Context<'_>, run: &PlannedRun, name: &str, manifest: &Manifest, sink: &mut Sink) {
    let solver = &manifest.recipe.solver;
    let [train, valid] = Part::BOTH.map(|part| context.plan.count(run, part));
    let off = manifest.epochs_are_off();
    sink.expect(off.is_none(), || Finding::new(Code::EpochsDiffer, name, off.unwrap_or_default()));
    let visits = solver.visits_of(train);
    for (index, epoch) in manifest.epochs.iter().enumerate() {
        let rate = solver.rate_at(index as u32);
        sink.expect(epoch.rate == rate, || {
            let message = format!("epoch {index} was trained at rate {}, not {rate}", epoch.rate);
            Finding::new(Code::EpochsDiffer, name, message)
        });
        let order = order_digest(&manifest.recipe.order(index as u32, train));
        sink.expect(epoch.order == order, || {
            let message = format!("epoch {index} did not visit the images in the recipe's order");
            Finding::new(Code::OrderDiffers, name, message)
                .with(format!("visited {:?}", epoch.order))
                .with(format!("recipe {order:?}"))
        });
        for (loss, part) in [(epoch.train_loss, Part::Train), (epoch.valid_loss, Part::Valid)] {
            sink.expect(loss.is_finite() && loss >= 0.0, || {
                let message =
                    format!("epoch {index} has a {part} loss of {loss}; a cross-entropy is not negative");
                Finding::new(Code::CountImpossible, name, message)
            });
        }
        for (count, images, part) in [(epoch.train, visits, Part::Train), (epoch.valid, valid, Part::Valid)] {
            let Count { correct, total } = count;
            sink.expect(correct <= total && total as usize == images, || {
                let message = format!(
                    "epoch {index} counts {correct} right of {total} {part} images; the split has {images}"
                );
                Finding::new(Code::CountImpossible, name, message)
            });
        }
    }
}

/// The ledger has an entry for each place where its recipe has one, up to where training ended: `bisect` goes by that.
fn ledger(context: &Context<'_>, run: &PlannedRun, name: &str, manifest: &Manifest, sink: &mut Sink) {
    let off = manifest.ledger_is_off(context.plan.steps(run));
    sink.expect(off.is_none(), || Finding::new(Code::LedgerDiffers, name, off.unwrap_or_default()));
}

/// Where it was trained more than once, it came out with the same bits.
fn again(context: &Context<'_>, name: &str, manifest: &Manifest, sink: &mut Sink) {
    sink.expect(manifest.contradicts.is_none(), || {
        let message = "its checkpoint was gone or damaged, and training it again gave other bits";
        let path = context.store.path(&Entry::Manifest(manifest.recipe_digest()));
        let evidence = |when: &str, weights: Option<WeightsDigest>| match weights {
            Some(weights) => format!("{when} {weights:?}"),
            None => format!("{when} it diverged"),
        };
        Finding::new(Code::RetrainedDifferently, name, message)
            .with(evidence("before", manifest.contradicts))
            .with(evidence("now", manifest.weights()))
            .with(format!("until it is deleted, {} keeps both", path.display()))
    });
}

/// Frozen layers kept their bits, and every other layer moved.
fn moved(run: &PlannedRun, name: &str, manifest: &Manifest, sink: &mut Sink) {
    let Some(layers) = manifest.trained() else { return };
    let frozen = run.treatment.frozen();
    for (index, layer) in NAMES.iter().enumerate() {
        let (began, ended) = (manifest.initial.0[index], layers.0[index]);
        let evidence =
            |finding: Finding| finding.with(format!("began {began:?}")).with(format!("ended {ended:?}"));
        if index < usize::from(frozen) {
            sink.expect(began == ended, || {
                evidence(Finding::new(
                    Code::FrozenMoved,
                    name,
                    format!("its frozen {layer} did not end as it began"),
                ))
            });
        } else {
            sink.expect(began != ended, || {
                evidence(Finding::new(
                    Code::TrainedUnmoved,
                    name,
                    format!("its {layer} is trained, yet ended as it began"),
                ))
            });
        }
    }
}

/// The checkpoint has the network's shapes and finite numbers.
fn weights(
    context: &Context<'_>,
    run: &PlannedRun,
    name: &str,
    manifest: &Manifest,
    sink: &mut Sink,
) -> Result<()> {
    let Some(layers) = manifest.trained() else { return Ok(()) };
    let Some(weights) = context.store.weights(layers.whole())?.whole() else { return Ok(()) };
    for (layer, shape) in weights.layers.iter().zip(context.plan.shapes(run)) {
        let expected = [shape.weight.clone(), vec![shape.weight[0]]];
        let found = [layer.weight.shape.clone(), layer.bias.shape.clone()];
        sink.expect(found == expected, || {
            let message =
                format!("its {} has shapes {found:?}, and the recipe's network {expected:?}", shape.name);
            Finding::new(Code::ShapeDiffers, name, message)
        });
    }
    sink.expect(weights.finite(), || {
        Finding::new(Code::WeightsNotFinite, name, "its weights are not all finite; lower the learning rate")
    });
    Ok(())
}

/// The network is better than guessing.
fn chance(context: &Context<'_>, run: &PlannedRun, name: &str, manifest: &Manifest, sink: &mut Sink) {
    let Some(count) = manifest.accuracy() else { return };
    let Count { correct, total } = count;
    let classes = context.plan.classes(run).len();
    let (expected, most) = guessed(classes, total as usize);
    // So few images that not even all of them right would tell it from guessing.
    if most >= f64::from(total) {
        return;
    }
    sink.expect(!count.at_chance(classes), || {
        let message = format!(
            "{correct} of {total} images are right; guessing gives {expected:.0}, and by chance up to {most} (3 standard \
             deviations)",
            most = most.floor()
        );
        let finding = Finding::new(Code::RunAtChance, name, message);
        match run.treatment.kind() {
            // With few images it may be so, as in the paper's supplement, and with random layers too, as in its figure 3:
            // it is what such networks show.
            Kind::Reduced | Kind::Random => finding.graded(Severity::Note),
            _ => finding,
        }
    });
}
