//! How long a claim has not changed, by this machine's clock alone: clocks of two machines may be apart.
//!
//! Uses `store` and `digest`; used by `fence`, which trains after a silence, and by `status`, which tells it.

use crate::digest::RecipeDigest;
use crate::store::Last;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Claims as they were seen.
#[derive(Default)]
pub struct Silences(Mutex<HashMap<RecipeDigest, Seen>>);

struct Seen {
    last: Last,
    since: Instant,
    changed: bool,
}

/// What is known of one claim's silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// For how long it has been seen without a change.
    pub seen: Duration,
    /// Whether it was ever seen to change: then its holder lived when it did.
    pub changed: bool,
}

impl Silences {
    /// Looks at the last claim of a network.
    pub fn of(&self, recipe: RecipeDigest, last: &Last) -> Silence {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Seen { last: last.clone(), since: Instant::now(), changed: false };
        let seen = all.entry(recipe).or_insert_with(new);
        if seen.last != *last {
            *seen = Seen { changed: true, ..new() };
        }
        Silence { seen: seen.since.elapsed(), changed: seen.changed }
    }
}
