//! Every random draw of an experiment, from streams that are named by what they are for.
//!
//! Uses nothing of this crate but [`crate::digest`]; used by all that draws, `split`, `init`, `input` and `recipe` above
//! all. There is no global generator: a draw depends on its stream's name and on its position in that stream, hence
//! not on the order of runs, on how many run at once, or on the device. A stream is ChaCha20 keyed
//! with a SHA-256 of its name. The shuffle and the Gaussian are written out here and held to known
//! values, because a library may change a distribution's values in a minor release.

use crate::digest::Hasher;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use std::fmt::Display;

/// What a stream's draws are for: a role and any number of `key`, `value` pairs.
///
/// Names with other pieces, or the same pieces in another order, are other streams.
#[derive(Debug, Clone)]
pub struct Name(Vec<String>);

impl Name {
    /// The name of a stream for `role`.
    pub fn new(role: &str) -> Self {
        Self(vec![role.to_owned()])
    }

    /// The name with one more pair.
    pub fn and(mut self, key: &str, value: impl Display) -> Self {
        self.0.push(key.to_owned());
        self.0.push(value.to_string());
        self
    }
}

/// A stream of random numbers.
pub struct Stream {
    cipher: ChaCha20Rng,
    // The polar method makes Gaussians in pairs; the second waits here.
    spare: Option<f64>,
}

impl Stream {
    /// The stream of that name, at its beginning.
    pub fn open(name: &Name) -> Self {
        let mut key = Hasher::new("selffer stream v1");
        for piece in &name.0 {
            key.piece(piece.as_bytes());
        }
        Self { cipher: ChaCha20Rng::from_seed(*key.finish().as_bytes()), spare: None }
    }

    /// The next 64 bits of the cipher stream, little-endian.
    pub fn bits(&mut self) -> u64 {
        self.cipher.next_u64()
    }

    /// A whole number in `0..bound`, each equally likely.
    ///
    /// # Panics
    /// Where `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below 0");
        // The last, incomplete run of `bound` values is rejected, so that none is likelier.
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let bits = self.bits();
            if bits < limit {
                return bits % bound;
            }
        }
    }

    /// A number in `[0, 1)`, a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A draw from the normal distribution of mean 0 and variance 1, by Marsaglia's polar method.
    pub fn gaussian(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (u, v) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                // `libm`, not `std`: the system's logarithm differs between C libraries.
                let factor = (-2.0 * libm::log(s) / s).sqrt();
                self.spare = Some(v * factor);
                return u * factor;
            }
        }
    }

    /// Puts `items` in random order (Fisher and Yates, from the last place down).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }

    /// The numbers `0..len` in random order.
    pub fn permutation(&mut self, len: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..u32::try_from(len).expect("fewer than 2^32 items")).collect();
        self.shuffle(&mut order);
        order
    }
}

#[cfg(test)]
mod tests;
