//! How the numbers of two networks differ: the first that does, how many do, and by how much.
//!
//! Uses `weights` and `snapshot`; used by `bisect`.

use crate::architecture::{LAYERS, NAMES};
use crate::snapshot::State;
use crate::weights::{Layer, Weights};
use serde::Serialize;

/// A number that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Number {
    /// The layer.
    pub layer: &'static str,
    /// `weight` or `bias`, or the momentum of one.
    pub tensor: &'static str,
    /// Its indices in that tensor.
    pub index: Vec<usize>,
    /// Its value on the left.
    pub left: f32,
    /// Its value on the right.
    pub right: f32,
    /// How many 32-bit floats they are apart.
    pub ulps: u64,
}

/// How two states differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The first number that differs, in the order of layers; weights before momentum.
    pub first: Number,
    /// How many numbers differ.
    pub numbers: usize,
    /// The largest distance, in units in the last place.
    pub largest_ulps: u64,
}

impl Difference {
    /// How two networks' weights differ; none where they are the same bits.
    pub(super) fn of_weights(left: &Weights, right: &Weights) -> Option<Self> {
        Self::of(numbers(&left.layers, &right.layers, 0, ["weight", "bias"]))
    }

    /// How two states differ in weights and momentum; none where they are the same bits.
    pub(super) fn of_states(left: &State, right: &State) -> Option<Self> {
        let first = LAYERS - left.momentum.len().min(right.momentum.len());
        let weights = numbers(&left.weights.layers, &right.weights.layers, 0, ["weight", "bias"]);
        let momentum =
            numbers(&left.momentum, &right.momentum, first, ["momentum of weight", "momentum of bias"]);
        Self::of(weights.chain(momentum))
    }

    fn of(mut numbers: impl Iterator<Item = Number>) -> Option<Self> {
        let first = numbers.next()?;
        let start = (1, first.ulps);
        let (numbers, largest_ulps) =
            numbers.fold(start, |(count, largest), number| (count + 1, largest.max(number.ulps)));
        Some(Self { first, numbers, largest_ulps })
    }
}

/// The numbers that differ between layers, of which the first is that of index `first`.
fn numbers<'a>(
    left: &'a [Layer],
    right: &'a [Layer],
    first: usize,
    tensors: [&'static str; 2],
) -> impl Iterator<Item = Number> + 'a {
    left.iter().zip(right).enumerate().flat_map(move |(at, (left, right))| {
        let pairs = [(&left.weight, &right.weight), (&left.bias, &right.bias)];
        pairs.into_iter().zip(tensors).flat_map(move |((left, right), tensor)| {
            let values = left.values.iter().zip(&right.values).enumerate();
            values.filter(|(_, (a, b))| a.to_bits() != b.to_bits()).map(move |(flat, (a, b))| Number {
                layer: NAMES[first + at],
                tensor,
                index: unflatten(flat, &left.shape),
                left: *a,
                right: *b,
                ulps: ulps(*a, *b),
            })
        })
    })
}

/// The indices of the number at `flat`, the last dimension fastest.
pub(super) fn unflatten(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|size| {
            let at = flat % size;
            flat /= size;
            at
        })
        .collect();
    index.reverse();
    index
}

/// How many 32-bit floats lie between two, the second included; zero and minus zero are one apart.
fn ulps(a: f32, b: f32) -> u64 {
    // The order of floats as that of whole numbers.
    let rank = |value: f32| {
        let bits = i64::from(value.to_bits() & 0x7fff_ffff);
        if value.is_sign_negative() { -bits - 1 } else { bits }
    };
    rank(a).abs_diff(rank(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn distances_count_floats(bits in any::<u32>(), steps in 0u32..1000) {
            let a = f32::from_bits(bits);
            prop_assume!(a.is_finite());
            let mut b = a;
            (0..steps).for_each(|_| b = b.next_up());
            // Minus zero and zero are two of the floats that are counted, and one to `next_up`.
            let across = u64::from(a.is_sign_negative() && b.is_sign_positive());
            prop_assert_eq!(ulps(a, b), u64::from(steps) + across);
            prop_assert_eq!(ulps(b, a), ulps(a, b));
        }
    }
}
