//! Puts the networks of a plan into batches: a batch is a job array, its elements the networks.
//!
//! Uses `plan` and `resources`; used by `selffer submit`. Pure: the same networks give the same batches.
//! A base network and what copies from it have the same index in their arrays, so that one word of the
//! engine (`aftercorr`) pairs them: the first network that copies from base k is element k of one array, the
//! second is element k of the next. So no transfer waits for any base but its own.

use super::Limits;
use crate::plan::Plan;
use crate::resources::{Cluster, Resources};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What a batch's elements are paired with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pair {
    /// Nothing: what they copy from, if anything, is done.
    Nothing,
    /// The batch of that index among those that are arranged with it.
    Batch(usize),
    /// A job that was handed over before.
    Job(String),
}

/// A job array to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The runs of each element, by the element's index in the array.
    pub elements: BTreeMap<u32, Vec<usize>>,
    /// What the elements wait for.
    pub pair: Pair,
    /// The batch whose end all of it waits for, so that not too many run at once.
    pub behind: Option<usize>,
    /// How many elements may run at once.
    pub throttle: Option<u32>,
    /// What each element asks for.
    pub resources: Resources,
    /// Whether its networks copy from others.
    pub copies: bool,
}

/// What was arranged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrangement {
    /// The batches; one that another is paired with comes before it.
    pub batches: Vec<Batch>,
    /// Networks that the engine's limit leaves for another time.
    pub left: usize,
}

/// Arranges the runs of indices `todo`. `elsewhere` says of a base network that a job has already which
/// element it is. `taken` elements are in the engine's hands before.
pub fn arrange(
    plan: &Plan<'_>,
    todo: &[usize],
    elsewhere: &HashMap<usize, (String, u32)>,
    cluster: &Cluster,
    limits: Limits,
    taken: usize,
) -> Arrangement {
    if limits.whole {
        let elements = BTreeMap::from([(0, todo.to_vec())]);
        let resources = cluster.all.clone();
        let (pair, behind, throttle, copies) = (Pair::Nothing, None, None, false);
        let batch = Batch { elements, pair, behind, throttle, resources, copies };
        return Arrangement { batches: Vec::from_iter((!todo.is_empty()).then_some(batch)), left: 0 };
    }
    let mut made = Making {
        plan,
        cluster,
        limits,
        room: limits.elements.saturating_sub(taken),
        left: 0,
        copies: false,
        batches: Vec::new(),
        place: HashMap::new(),
        passed: HashSet::new(),
    };
    let (bases, copies): (Vec<usize>, Vec<usize>) =
        todo.iter().partition(|index| plan.runs[**index].parent.is_none());
    // Random controls are bases of nothing; those that others wait for go first.
    let parents: HashSet<usize> = copies.iter().filter_map(|index| plan.runs[*index].parent).collect();
    let (awaited, alone): (Vec<usize>, Vec<usize>) =
        bases.into_iter().partition(|base| parents.contains(base));
    for level in [awaited, alone] {
        made.level(level.into_iter().map(|index| (index, Pair::Nothing, None)));
    }
    made.copies = true;
    let (place, passed) = (made.place.clone(), made.passed.clone());
    let base = |index: &usize| plan.runs[*index].parent.expect("it copies");
    // Its base found no room: neither does it.
    let (waits, with): (Vec<usize>, Vec<usize>) =
        copies.into_iter().partition(|index| passed.contains(&base(index)));
    made.left += waits.len();
    made.level(with.into_iter().map(|index| {
        match (place.get(&base(&index)), elsewhere.get(&base(&index))) {
            (Some((batch, element)), _) => (index, Pair::Batch(*batch), Some(*element)),
            (None, Some((job, element))) => (index, Pair::Job(job.clone()), Some(*element)),
            (None, None) => (index, Pair::Nothing, None),
        }
    }));
    made.throttle();
    Arrangement { batches: made.batches, left: made.left }
}

struct Making<'a> {
    plan: &'a Plan<'a>,
    cluster: &'a Cluster,
    limits: Limits,
    // Elements that there is room for.
    room: usize,
    left: usize,
    copies: bool,
    batches: Vec<Batch>,
    // The batch and element of each network, and those that found no room.
    place: HashMap<usize, (usize, u32)>,
    passed: HashSet<usize>,
}

impl Making<'_> {
    /// Puts runs of one level into groups and the groups into batches. With each run comes what it is paired
    /// with, and which index its element has to have.
    fn level(&mut self, runs: impl Iterator<Item = (usize, Pair, Option<u32>)>) {
        let per_job = self.cluster.per_job.unwrap_or(1) as usize;
        // In order of what they wait for, each with the resources that it asks for.
        let mut groups: BTreeMap<(Pair, Option<u32>, Resources), Vec<usize>> = BTreeMap::new();
        for (index, pair, element) in runs {
            let resources = self.cluster.given(self.plan.runs[index].treatment);
            groups.entry((pair, element, resources)).or_default().push(index);
        }
        // Of what waits for the same element, the first group goes into the first array, and so on.
        let mut arrays: BTreeMap<(Pair, usize, Resources), usize> = BTreeMap::new();
        for ((pair, element, resources), members) in groups {
            for (rank, group) in members.chunks(per_job).enumerate() {
                if self.room == 0 {
                    self.left += group.len();
                    self.passed.extend(group);
                    continue;
                }
                self.room -= 1;
                let key = (pair.clone(), if element.is_some() { rank } else { 0 }, resources.clone());
                let open = arrays.get(&key).copied();
                let full = |batch: usize| self.batches[batch].elements.len() >= self.limits.array;
                let batch = match open {
                    Some(batch) if !full(batch) => batch,
                    _ => {
                        self.batches.push(Batch {
                            elements: BTreeMap::new(),
                            pair: pair.clone(),
                            behind: None,
                            throttle: None,
                            resources: resources.clone(),
                            copies: self.copies,
                        });
                        arrays.insert(key, self.batches.len() - 1);
                        self.batches.len() - 1
                    }
                };
                let next = self.batches[batch].elements.len() as u32;
                let element = element.unwrap_or(next);
                for run in group {
                    self.place.insert(*run, (batch, element));
                }
                self.batches[batch].elements.insert(element, group.to_vec());
            }
        }
    }

    /// Shares out how many may run at once: the arrays of a level together keep to it.
    fn throttle(&mut self) {
        let Some(most) = self.cluster.max_running else { return };
        for copies in [false, true] {
            let level: Vec<usize> =
                (0..self.batches.len()).filter(|batch| self.batches[*batch].copies == copies).collect();
            let (arrays, most) = (level.len(), most as usize);
            for (at, batch) in level.iter().enumerate() {
                let share = (most / arrays.max(1) + usize::from(at < most % arrays.max(1))).max(1);
                self.batches[*batch].throttle = Some(share as u32);
                // More arrays than may run: each waits for the end of one before it.
                self.batches[*batch].behind = (at >= most).then(|| level[at - most]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
