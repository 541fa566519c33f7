//! The first layer of every base network, the random control beside it, and how well Gabor functions explain both.
//!
//! Uses the store's checkpoints, `filters` and, where the plan has no random control of a task, `init`; used by `report::store`.
//! Drawn by `report::figures::first_layer`.

use crate::architecture::NAMES;
use crate::error::Result;
use crate::filters::{self, Reading, Training};
use crate::init;
use crate::treatment::{Kind, Treatment};
use crate::verify::{Context, first_layer};
use crate::weights::Tensor;

/// The filters of one base network.
pub struct Filters {
    /// The base network's run.
    pub run: String,
    /// The filters that it learnt: `[out, in, rows, columns]`.
    pub trained: Tensor,
    /// How well they are explained; none where they are no filters.
    pub reading: Option<Reading>,
    /// How well what training changed is explained, and what both say; none where it is not known what it began with.
    pub training: Option<Training>,
    /// What stands beside them.
    pub random: Random,
}

/// Filters that were never trained.
pub struct Random {
    /// The run that they are of; none where they are what the base network itself began with.
    pub run: Option<String>,
    /// The filters: `[out, in, rows, columns]`.
    pub weight: Tensor,
    /// How well they are explained.
    pub reading: Option<Reading>,
}

/// The filters of each base network whose checkpoint is there and whole.
///
/// # Errors
/// Where the system does not let a file be read.
pub fn of(context: &Context<'_>) -> Result<Vec<Filters>> {
    debug_assert!(NAMES[0].starts_with("conv"));
    let plan = context.plan;
    let first = |index: usize| -> Result<Option<Tensor>> {
        let trained = context.manifests[index].as_ref().and_then(|manifest| manifest.trained());
        let Some(digest) = trained.map(|layers| layers.whole()) else { return Ok(None) };
        Ok(context.weights(index, digest)?.ok().map(|weights| weights.layers[0].weight.clone()))
    };
    let mut all = Vec::new();
    for (index, run) in plan.runs.iter().enumerate() {
        let Treatment::Base(target) = run.treatment else { continue };
        let Some(trained) = first(index)? else { continue };
        let control = |(_, other): &(usize, &crate::plan::PlannedRun)| {
            other.treatment.kind() == Kind::Random
                && other.treatment.target() == target
                && (other.split, other.seed) == (run.split, run.seed)
        };
        let controls = plan.runs.iter().enumerate().filter(control);
        let mut random = None;
        for (control, other) in controls {
            if let Some(weight) = first(control)? {
                random = Some((Some(plan.name(other)), weight));
                break;
            }
        }
        let random = random.unwrap_or_else(|| {
            let recipe = plan.recipe(run, context.policy, None);
            let [first, ..] = init::initial(&recipe, &plan.shapes(run), None).layers;
            (None, first.weight)
        });
        let random = Random { run: random.0, reading: filters::read(&random.1), weight: random.1 };
        let manifest = context.manifests[index].as_ref();
        let began = manifest.and_then(|manifest| first_layer::began(context, run, manifest));
        let training = began.and_then(|began| filters::compare(&trained, &began));
        let reading = filters::read(&trained);
        all.push(Filters { run: plan.name(run), trained, reading, training, random });
    }
    Ok(all)
}
