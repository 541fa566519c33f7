//! Checks of what each network began with: copied layers, layers drawn anew, and how the two relate
//! across networks.
//!
//! Uses `init` to draw the layers again; used by `verify`. A manifest records the digests of a
//! network's first weights, so nothing is trained here.

use super::{Code, Context, Finding, Sink};
use crate::architecture::{LAYERS, NAMES};
use crate::digest::LayerDigest;
use crate::error::Result;
use crate::init::initial;
use crate::manifest::Manifest;
use crate::plan::PlannedRun;
use crate::treatment::{Kind, Source, Treatment};
use std::collections::{HashMap, HashSet};

pub(super) fn check(context: &Context<'_>, sink: &mut Sink) -> Result<()> {
    for (run, name, manifest) in context.runs() {
        copied(context, run, &name, manifest, sink);
        drawn(context, run, &name, manifest, sink);
    }
    tops(context, sink);
    random(context, sink);
    Ok(())
}

/// The layers that are taken from the parent are its, bit for bit.
fn copied(context: &Context<'_>, run: &PlannedRun, name: &str, manifest: &Manifest, sink: &mut Sink) {
    let Some(parent) = run.parent.and_then(|parent| context.manifests[parent].as_ref()) else { return };
    let Some(layers) = parent.trained() else { return };
    let n = run.treatment.grafted();
    let (began, given) = (manifest.initial.prefix(n), layers.prefix(n));
    sink.expect(began == given, || {
        let message = format!("its first {n} layers did not begin as those of {}", parent.run);
        Finding::new(Code::PrefixNotCopied, name, message)
            .with(format!("began {began:?}"))
            .with(format!("{} {given:?}", parent.run))
    });
}

/// Every layer that is not copied is what its random stream gives.
fn drawn(context: &Context<'_>, run: &PlannedRun, name: &str, manifest: &Manifest, sink: &mut Sink) {
    // Copied layers were seen to above; zeros in their place keep the indices.
    let shapes = context.plan.shapes(run);
    let zeros = crate::init::zeros(&shapes);
    let expected = initial(&manifest.recipe, &shapes, Some(&zeros)).digests();
    for index in first_drawn(run.treatment)..LAYERS {
        let (began, drawn) = (manifest.initial.0[index], expected.0[index]);
        sink.expect(began == drawn, || {
            let message = format!("its {} did not begin as its random stream gives it", NAMES[index]);
            Finding::new(Code::FreshDiffers, name, message)
                .with(format!("began {began:?}"))
                .with(format!("stream {drawn:?}"))
        });
    }
}

/// The first layer that is not copied.
fn first_drawn(treatment: Treatment) -> usize {
    match treatment {
        Treatment::Grafted { source: Source::Random, .. } => 0,
        other => usize::from(other.grafted()),
    }
}

/// The layers above the cut are the same in all treatments of one split, seed and target, and in no base
/// network; so are those of all base networks on fewer images.
fn tops(context: &Context<'_>, sink: &mut Sink) {
    let mut bases: HashMap<LayerDigest, &str> = HashMap::new();
    for (_, _, manifest) in context.runs().filter(|(run, ..)| run.treatment.kind() == Kind::Base) {
        bases.extend(manifest.initial.0.iter().map(|layer| (*layer, manifest.run.as_str())));
    }
    let mut shared: HashMap<_, (LayerDigest, String)> = HashMap::new();
    for (run, name, manifest) in context.runs().filter(|(run, ..)| run.treatment.kind() != Kind::Base) {
        for index in usize::from(run.treatment.grafted())..LAYERS {
            let layer = manifest.initial.0[index];
            let base = bases.get(&layer);
            sink.expect(base.is_none(), || {
                let base = base.copied().unwrap_or_default();
                let message = format!("its {} began with the bits that {base} began with", NAMES[index]);
                Finding::new(Code::TopNotIndependent, &name, message).with(format!("{layer:?}"))
            });
            let reduced = run.treatment.kind() == Kind::Reduced;
            let key = (run.split, run.seed, run.treatment.target(), reduced, index);
            let (first, whose) = shared.entry(key).or_insert_with(|| (layer, name.clone()));
            sink.expect(*first == layer, || {
                let message = format!("its {} did not begin as that of {whose}", NAMES[index]);
                Finding::new(Code::TopNotShared, &name, message)
                    .with(format!("{name} {layer:?}"))
                    .with(format!("{whose} {first:?}"))
            });
        }
    }
}

/// No frozen layer of a random-weight control is a layer of a network that was trained.
fn random(context: &Context<'_>, sink: &mut Sink) {
    let is_random = |run: &PlannedRun| run.treatment.kind() == Kind::Random;
    let mut trained: HashSet<LayerDigest> = HashSet::new();
    for (_, _, manifest) in context.runs().filter(|(run, ..)| !is_random(run)) {
        trained.extend(manifest.trained().iter().flat_map(|layers| layers.0));
    }
    for (run, name, manifest) in context.runs().filter(|(run, ..)| is_random(run)) {
        let Some(layers) = manifest.trained() else { continue };
        for index in 0..usize::from(run.treatment.n()) {
            sink.expect(!trained.contains(&layers.0[index]), || {
                let message = format!("its random {} is a layer of a trained network", NAMES[index]);
                Finding::new(Code::RandomShared, &name, message).with(format!("{:?}", layers.0[index]))
            });
        }
    }
}
