//! The plan: every network of a protocol, each after the network it copies from.
//!
//! Uses `protocol`, `split`, `treatment`, `recipe`, `architecture`; used by `run`, `table` and
//! `verify`. A plan is complete: a treatment's base network is in it even where the protocol does not
//! list it.

use crate::architecture::{self, LAYERS};
use crate::cost::{self, Cost};
use crate::data::{Dataset, Images, Part};
use crate::digest::{SplitDigest, WeightsDigest};
use crate::error::{Error, Result};
use crate::protocol::{Protocol, SplitRule};
use crate::recipe::{CORE, Policy, Recipe};
use crate::split::{Catalog, Class, Split};
use crate::treatment::{Treatment, run_name};
use std::collections::HashMap;

/// One network to be trained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRun {
    /// Index into [`Plan::splits`].
    pub split: usize,
    /// The root seed.
    pub seed: u64,
    /// The treatment.
    pub treatment: Treatment,
    /// Index into [`Plan::runs`] of the base network it copies from; smaller than its own.
    pub parent: Option<usize>,
}

/// How long networks take, in units of one job's operations: all of them shared by so many jobs, and no less than the longest
/// chain of a base network and one that copies from it. Of each run of `runs` that is to be trained, `left` has the operations.
pub fn operations_in_a_row(runs: &[PlannedRun], left: &[Option<u64>], jobs: usize) -> f64 {
    let of = |index: usize| left[index].map_or(0.0, |operations| operations as f64);
    let chain = |index: usize| of(index) + runs[index].parent.map_or(0.0, of);
    let longest = (0..runs.len()).filter(|index| left[*index].is_some()).map(chain).fold(0.0, f64::max);
    let all: f64 = (0..runs.len()).map(of).sum();
    longest.max(all / jobs as f64)
}

/// All networks of a protocol on its data.
pub struct Plan<'a> {
    /// The protocol.
    pub protocol: &'a Protocol,
    /// The data, indexed.
    pub catalog: &'a Catalog,
    /// The splits, in the protocol's order, each with its digest.
    pub splits: Vec<(Split, SplitDigest)>,
    /// The networks: bases first, then in the protocol's order.
    pub runs: Vec<PlannedRun>,
}

impl<'a> Plan<'a> {
    /// The plan of `protocol` on the data of `catalog`.
    ///
    /// # Errors
    /// Where a split cannot be made from the data.
    pub fn make(protocol: &'a Protocol, catalog: &'a Catalog) -> Result<Self> {
        cost::large_enough(protocol, catalog.data.train.shape())?;
        let mut splits = Vec::new();
        for rule in &protocol.splits {
            let split = Split::make(rule, protocol, catalog)?;
            let digest = split.digest();
            splits.push((split, digest));
            reduced(rule, &splits[splits.len() - 1].0)?;
        }
        Ok(Self { protocol, catalog, splits, runs: runs(protocol) })
    }

    /// A run's name: split, seed and treatment.
    pub fn name(&self, run: &PlannedRun) -> String {
        run_name(&self.splits[run.split].0.name, run.seed, run.treatment)
    }

    /// The recipe of a run whose parent was trained to these weights.
    pub fn recipe(&self, run: &PlannedRun, policy: Policy, parent: Option<WeightsDigest>) -> Recipe {
        Recipe {
            core: CORE,
            numerics: policy,
            data: self.catalog.digest,
            split: self.splits[run.split].1,
            seed: run.seed,
            treatment: run.treatment,
            parent,
            network: self.protocol.network.clone(),
            input: self.protocol.input.clone(),
            solver: self.protocol.solver.clone(),
        }
    }

    /// The classes of a run's target.
    pub fn classes(&self, run: &PlannedRun) -> &[Class] {
        self.splits[run.split].0.task(run.treatment.target())
    }

    /// The shapes of a run's layers.
    pub fn shapes(&self, run: &PlannedRun) -> [architecture::Layer; LAYERS] {
        shapes(self.protocol, &self.catalog.data, self.classes(run).len())
    }

    /// The images of one part of a run's target: all, or, for training on reduced data, the first of each
    /// class.
    ///
    /// # Errors
    /// Where the split names an image that the data set lacks.
    pub fn images(&self, run: &PlannedRun, part: Part) -> Result<Images> {
        let split = &self.splits[run.split].0;
        let target = run.treatment.target();
        match run.treatment.examples() {
            Some(examples) => self.catalog.images(&split.reduced(examples), target, part),
            None => self.catalog.images(split, target, part),
        }
    }

    /// How many images there are in a part of a run's target, without reading them.
    pub fn count(&self, run: &PlannedRun, part: Part) -> usize {
        let most = match (part, run.treatment.examples()) {
            (Part::Train, Some(examples)) => examples as usize,
            _ => usize::MAX,
        };
        self.classes(run).iter().map(|class| class.part(part).len().min(most)).sum()
    }

    /// The index of the run of that name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.runs.iter().position(|run| self.name(run) == name)
    }

    /// The indices of all runs, by their names: for more than one or two of them.
    pub fn by_name(&self) -> HashMap<String, usize> {
        self.runs.iter().enumerate().map(|(index, run)| (self.name(run), index)).collect()
    }

    /// How many steps an epoch of a run has.
    pub fn steps(&self, run: &PlannedRun) -> u32 {
        let images = self.count(run, Part::Train);
        self.protocol.solver.steps_of(images)
    }

    /// An estimate of what a run costs.
    pub fn cost(&self, run: &PlannedRun) -> Cost {
        let [train, valid] = Part::BOTH.map(|part| self.count(run, part) as u64);
        let image = self.catalog.data.train.shape();
        cost::of(self.protocol, run.treatment, image, self.classes(run).len(), [train, valid])
    }
}

/// Refuses networks on reduced data that would be trained on all of them: two of them would be the same
/// network.
fn reduced(rule: &SplitRule, split: &Split) -> Result<()> {
    for treatment in &rule.treatments {
        let largest = split.task(treatment.target()).iter().map(|class| class.train.len()).max();
        let (Some(examples), Some(largest)) = (treatment.examples(), largest) else { continue };
        if examples as usize > largest {
            let subject = format!("split {}", rule.name);
            let problem = format!("has {treatment}, and no class has more than {largest} training images");
            return Err(Error::invalid(subject, problem, "take fewer images, or leave it out"));
        }
    }
    Ok(())
}

/// The layers of the protocol's network on these data for that many classes.
pub fn shapes(protocol: &Protocol, data: &Dataset, classes: usize) -> [architecture::Layer; LAYERS] {
    architecture::layers(&protocol.network, cost::window(protocol, data.train.shape()), classes)
}

/// All runs of a protocol, parents first, without repeats.
pub fn runs(protocol: &Protocol) -> Vec<PlannedRun> {
    let mut runs = Vec::new();
    let mut known = HashMap::new();
    let each = || {
        protocol.splits.iter().enumerate().flat_map(|(split, rule)| {
            let seeds = protocol.seeds.iter();
            seeds.flat_map(move |seed| rule.treatments.iter().map(move |t| (split, *seed, *t)))
        })
    };
    let bases = each().filter_map(|(split, seed, treatment)| match treatment {
        Treatment::Base(_) => Some((split, seed, treatment)),
        _ => treatment.parent().map(|parent| (split, seed, parent)),
    });
    for (split, seed, treatment) in bases.chain(each()) {
        let parent = treatment.parent().map(|parent| known[&(split, seed, parent)]);
        known.entry((split, seed, treatment)).or_insert_with(|| {
            runs.push(PlannedRun { split, seed, treatment, parent });
            runs.len() - 1
        });
    }
    runs
}

#[cfg(test)]
mod tests;
