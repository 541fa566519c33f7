//! The check of the first layer: what training made of a base network's filters is no noise.
//!
//! Uses `filters` to read them and `init` to draw those that training began with; used by `verify`. It is a
//! statistical check: it counts as made only where it can tell, and `filters` says how often it errs.

use super::{Code, Context, Finding, Sink};
use crate::error::Result;
use crate::filters::{Reading, Training, Verdict, compare, read};
use crate::init::first_layer;
use crate::manifest::Manifest;
use crate::plan::PlannedRun;
use crate::treatment::Treatment;
use crate::weights::{Tensor, Weights};
use rayon::prelude::*;

pub(super) fn check(context: &Context<'_>, sink: &mut Sink) -> Result<()> {
    let base = |run: &PlannedRun| matches!(run.treatment, Treatment::Base(_));
    let bases: Vec<_> = context.runs().filter(|(run, ..)| base(run)).collect();
    let parts = bases.par_iter().map(|(run, name, manifest)| {
        let Some(layers) = manifest.trained() else { return Ok(None) };
        let Some(weights) = context.store.weights(layers.whole())?.whole() else { return Ok(None) };
        let shape = &context.plan.shapes(run)[0];
        Ok(if weights.layers[0].is_of(shape) { judge(context, run, name, manifest, &weights) } else { None })
    });
    for (told, finding) in parts.collect::<Result<Vec<_>>>()?.into_iter().flatten() {
        sink.compared += usize::from(told);
        sink.findings.extend(finding);
    }
    Ok(())
}

/// Whether it can be told, and the finding where it is wrong.
fn judge(
    context: &Context<'_>,
    run: &PlannedRun,
    name: &str,
    manifest: &Manifest,
    weights: &Weights,
) -> Option<(bool, Option<Finding>)> {
    let trained = &weights.layers[0].weight;
    let (verdict, reading, change) = match began(context, run, manifest) {
        Some(initial) => {
            let Training { trained, change, verdict, moved } = compare(trained, &initial)?;
            (verdict, trained, Some((change, moved)))
        }
        // Other first weights than its stream gives are a finding elsewhere.
        None => {
            let reading = read(trained)?;
            (reading.verdict, reading, None)
        }
    };
    let finding = || {
        let message = match &change {
            Some((Some(_), moved)) if reading.verdict != Verdict::LikeRandom => format!(
                "training changed its {} first filters by {:.0} % of their size, no better explained than noise",
                reading.per_filter.len(),
                100.0 * moved
            ),
            _ => format!("its {} first filters are no better than random ones", reading.per_filter.len()),
        };
        let finding = Finding::new(Code::FiltersRandom, name, message).with(numbers("filters", &reading));
        match &change {
            Some((Some(change), _)) => finding.with(numbers("change", change)),
            _ => finding,
        }
    };
    Some((verdict != Verdict::CannotTell, (verdict == Verdict::LikeRandom).then(finding)))
}

/// The filters that training began with, if the manifest's record of them is what their stream gives.
pub(crate) fn began(context: &Context<'_>, run: &PlannedRun, manifest: &Manifest) -> Option<Tensor> {
    let drawn = first_layer(&manifest.recipe, &context.plan.shapes(run)[0]);
    (drawn.digest(0) == manifest.initial.0[0]).then_some(drawn.weight)
}

fn numbers(what: &str, reading: &Reading) -> String {
    let Reading { network, random, .. } = reading;
    format!(
        "{what}: Gabor functions explain {:.3}; of random ones {:.3} ({:.3} to {:.3}), p {:.4}; of half structure \
         99 in 100 have {:.3} or more",
        network, random.mean, random.low, random.high, random.p, random.structured_low
    )
}
