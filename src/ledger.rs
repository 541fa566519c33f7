//! The ledger of a run: digests of everything that training changes, taken as it goes.
//!
//! Uses `digest`; written by `train`, kept in manifests, read by `bisect`. Each entry is chained to the one
//! before it, so two ledgers that differ in one entry differ in all that follow, and the first difference
//! is found by halving.

use crate::digest::{Hasher, LedgerDigest, OrderDigest};
use serde::{Deserialize, Deserializer, Serialize};
use std::num::NonZeroU32;

/// Steps between two entries of a small network. The cost is in METHODOLOGY.md.
pub const EVERY: u32 = 32;

/// Steps between two entries of a network of so many weights: so many more for each two million, since all of them are
/// digested on the CPU, whatever trains them.
pub fn every(weights: usize) -> u32 {
    EVERY.saturating_mul(u32::try_from(1 + weights / 2_000_000).unwrap_or(u32::MAX))
}

/// A place in training: after `step` steps of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The epoch, from 0.
    pub epoch: u32,
    /// Steps of it that are done.
    pub step: u32,
}

impl Place {
    /// Before the first step.
    pub const START: Self = Self { epoch: 0, step: 0 };

    /// Steps that are done since the start, where an epoch has `steps`.
    pub fn steps_done(self, steps: u32) -> u64 {
        u64::from(self.epoch) * u64::from(steps) + u64::from(self.step)
    }
}

/// Digests by place: after every `every` steps of an epoch, and at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Steps between two entries.
    #[serde(deserialize_with = "above_0")]
    pub every: u32,
    /// The entries, in order.
    pub entries: Vec<LedgerDigest>,
}

/// A ledger without steps between its entries is none.
fn above_0<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    NonZeroU32::deserialize(from).map(NonZeroU32::get)
}

impl Ledger {
    /// An empty ledger.
    pub fn new(every: u32) -> Self {
        Self { every, entries: Vec::new() }
    }

    /// Whether there is an entry after `step` of the `steps` of an epoch.
    pub fn due(&self, step: u32, steps: u32) -> bool {
        step > 0 && (step.is_multiple_of(self.every) || step == steps)
    }

    /// How many entries an epoch of `steps` has.
    pub fn per_epoch(&self, steps: u32) -> u32 {
        steps.div_ceil(self.every)
    }

    /// How many entries there are when training is at a place, where an epoch has `steps`.
    pub fn length_at(&self, place: Place, steps: u32) -> u64 {
        let of_epoch = (1..=place.step.min(steps)).filter(|step| self.due(*step, steps)).count() as u64;
        u64::from(self.per_epoch(steps)) * u64::from(place.epoch) + of_epoch
    }

    /// The place of the entry of that index, where an epoch has `steps`.
    pub fn place(&self, index: usize, steps: u32) -> Place {
        let per_epoch = self.per_epoch(steps) as usize;
        let step = ((index % per_epoch) as u32 + 1).saturating_mul(self.every).min(steps);
        Place { epoch: (index / per_epoch) as u32, step }
    }

    /// Adds the entry of a place: the data order of its epoch, and the tensors' bytes in order.
    pub fn add<E>(
        &mut self,
        place: Place,
        order: OrderDigest,
        tensors: impl IntoIterator<Item = Result<Vec<u8>, E>>,
    ) -> Result<(), E> {
        let mut hasher = Hasher::new("selffer ledger v1");
        if let Some(before) = self.entries.last() {
            hasher.piece(before.0.as_bytes());
        }
        hasher.piece(&place.epoch.to_le_bytes()).piece(&place.step.to_le_bytes()).piece(order.0.as_bytes());
        for tensor in tensors {
            hasher.piece(&tensor?);
        }
        self.entries.push(LedgerDigest(hasher.finish()));
        Ok(())
    }

    /// The index of the first entry that two ledgers do not share, found by halving; `compared` counts the
    /// comparisons. Where one is the beginning of the other, that is the first entry that it lacks; none where
    /// they are the same.
    pub fn first_difference(&self, other: &Self, compared: &mut usize) -> Option<usize> {
        let shared = self.entries.len().min(other.entries.len());
        let (mut low, mut high) = (0, shared);
        // Entries below `low` are equal; that at `high` differs, or there is none.
        while low < high {
            let middle = usize::midpoint(low, high);
            *compared += 1;
            match self.entries[middle] == other.entries[middle] {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        (low < self.entries.len().max(other.entries.len())).then_some(low)
    }

    /// Whether two ledgers agree before `first` and nowhere after, as entries that are chained do.
    pub fn chained_like(&self, other: &Self, first: Option<usize>) -> bool {
        let mut pairs = self.entries.iter().zip(&other.entries).enumerate();
        pairs.all(|(index, (a, b))| (a == b) == first.is_none_or(|first| index < first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use proptest::prelude::*;

    fn chained(states: &[u8]) -> Ledger {
        let mut ledger = Ledger::new(1);
        for (step, state) in states.iter().enumerate() {
            let place = Place { epoch: 0, step: step as u32 + 1 };
            ledger.add::<()>(place, OrderDigest(Digest::of(b"order")), [Ok(vec![*state])]).unwrap();
        }
        ledger
    }

    proptest! {
        #[test]
        fn what_is_digested_a_step_is_bounded(weights in 0usize..1 << 40) {
            let steps = every(weights);
            prop_assert!(weights as f64 / f64::from(steps) <= 2e6 / f64::from(EVERY));
            prop_assert_eq!(steps == EVERY, weights < 2_000_000);
        }

        #[test]
        fn the_first_difference_is_found_in_few_comparisons(states in prop::collection::vec(0u8..4, 1..300), at: prop::sample::Index) {
            let at = at.index(states.len());
            let mut changed = states.clone();
            changed[at] += 1;
            let (left, right) = (chained(&states), chained(&changed));
            let mut compared = 0;
            prop_assert_eq!(left.first_difference(&right, &mut compared), Some(at));
            prop_assert!(compared <= states.len().ilog2() as usize + 1, "{compared} of {}", states.len());
            prop_assert_eq!(left.first_difference(&left, &mut compared), None);
            prop_assert!(left.chained_like(&right, Some(at)) && left.chained_like(&left, None));
            // A ledger that ends early lacks the next entry.
            let mut early = left.clone();
            early.entries.truncate(at);
            prop_assert_eq!(left.first_difference(&early, &mut compared), Some(at));
            prop_assert_eq!(early.first_difference(&left, &mut compared), Some(at));
            // One that was edited in the middle is none that was written so.
            let mut edited = left.clone();
            edited.entries[at] = right.entries[at];
            let found = left.first_difference(&edited, &mut compared);
            prop_assert_eq!(left.chained_like(&edited, found), at + 1 == states.len());
            // What follows differs too, though the states are the same.
            prop_assert!(left.entries[at..].iter().zip(&right.entries[at..]).all(|(a, b)| a != b));
        }

        #[test]
        fn places_and_entries_are_the_same_list(every in 1u32..40, steps in 1u32..100, epochs in 1u32..4) {
            let ledger = Ledger::new(every);
            let mut places = Vec::new();
            for epoch in 0..epochs {
                places.extend((0..=steps).filter(|step| ledger.due(*step, steps)).map(|step| Place { epoch, step }));
            }
            prop_assert_eq!(places.len(), (epochs * ledger.per_epoch(steps)) as usize);
            for (index, place) in places.into_iter().enumerate() {
                prop_assert_eq!(ledger.place(index, steps), place);
            }
        }
    }
}
