//! `selffer plan`: the networks of a protocol, and what they cost.
//!
//! Uses `plan`, `outline`, `speed`, `output`; used by `commands`. It changes nothing, and computes only where it is asked
//! to measure.

use super::records::say_elsewhere;
use super::{Inputs, Verdict, inputs, jobs, print, say, trained};
use crate::cli::PlanArgs;
use crate::output::{self, Pace};
use selffer::architecture::LAYERS;
use selffer::cost;
use selffer::data::Part;
use selffer::numerics::Numerics;
use selffer::outline::{self, Outline};
use selffer::protocol::Protocol;
use selffer::published;
use selffer::run::survey;
use selffer::speed::Measurement;
use selffer::store::Store;
use selffer::train::Torch;
use selffer::whole::there;
use std::time::Duration;

/// How long is measured.
const MEASURED: Duration = Duration::from_secs(5);

pub fn run(args: &PlanArgs) -> anyhow::Result<Verdict> {
    let common = &args.common;
    // Before any thread is started: it sets environment variables.
    let numerics = args.measure.then(|| common.which.numerics.engage(common.output.quiet)).transpose()?;
    let protocol = inputs::protocol(&common.which.protocol)?;
    // Who says where the images lie means them, not a plan without.
    let at_hand = inputs::data().is_some()
        || match protocol.data.dir() {
            Some(dir) => there(dir)?.is_some(),
            None => false,
        };
    if let (Some(outline), false) = (Outline::of(&protocol), at_hand) {
        cost::large_enough(&protocol, outline::IMAGE)?;
        let classes = outline.runs.first().map_or(2, |run| outline.classes(run));
        let images = outline::IMAGES[0] * classes as u64 / published::CLASSES as u64;
        let base = Base {
            protocol: &protocol,
            image: outline::IMAGE,
            classes,
            images,
            networks: outline.runs.len(),
        };
        let listing = output::Outline::of(&outline, jobs(common.jobs), base.pace(args, numerics)?);
        print(common.output.format, &listing, || listing.text())?;
        return Ok(Verdict::Clean);
    }
    let inputs = Inputs::of(&common.which.protocol, protocol)?;
    let plan = inputs.looked_at(common.output.quiet)?;
    // A plan can be looked at before there is a store.
    let manifests = match there(&common.which.store)? {
        Some(_) => {
            let store = Store::open(&common.which.store)?;
            say_elsewhere(&store, &plan, common.which.numerics.policy, common.output.quiet)?;
            trained(&store, survey(&plan, &store, common.which.numerics.policy)?)?
        }
        None => vec![None; plan.runs.len()],
    };
    let first = plan.runs.first();
    let classes = first.map_or(2, |run| plan.shapes(run)[LAYERS - 1].weight[0]);
    let images = first.map_or(0, |run| plan.splits[run.split].0.count(run.treatment.target(), Part::Train));
    let image = plan.catalog.data.train.shape();
    let base =
        Base { protocol: plan.protocol, image, classes, images: images as u64, networks: plan.runs.len() };
    let pace = base.pace(args, numerics)?;
    let listing = output::Plan::of(&plan, &manifests, common.which.numerics.policy, jobs(common.jobs), pace);
    print(common.output.format, &listing, || listing.text())?;
    Ok(Verdict::Clean)
}

/// The base network by which a plan's speed is told: the first one's task, and how many networks the plan has.
struct Base<'a> {
    protocol: &'a Protocol,
    image: [usize; 3],
    classes: usize,
    images: u64,
    networks: usize,
}

impl Base<'_> {
    /// How fast it is trained: as it was given, or as is measured, where there are numerics for it.
    fn pace(&self, args: &PlanArgs, numerics: Option<&'static Numerics>) -> anyhow::Result<Option<Pace>> {
        let Self { protocol, image, classes, images, networks } = *self;
        let pace = |images, measured| {
            let speed = images * cost::trained_image(protocol, image, classes) as f64;
            Some(Pace { images, speed, measured })
        };
        let Some(numerics) = numerics else { return Ok(args.speed.and_then(|images| pace(images, false))) };
        let jobs = jobs(args.common.jobs).min(networks);
        if !args.common.output.quiet {
            let at_once = if jobs == 1 { String::new() } else { format!(", {jobs} at once") };
            let seconds = MEASURED.as_secs();
            say(&format!(
                "training a base network of {} on noise{at_once}; at least {seconds} s",
                protocol.name
            ));
        }
        let (policy, memory) = (numerics.policy(), numerics.memory_at_hand());
        let measurement =
            Measurement { protocol, policy, image, classes, images, jobs, memory, time_min: MEASURED };
        Ok(pace(measurement.images_per_second(&Torch::new(numerics))?, true))
    }
}
