//! The paper's own splits of ILSVRC2012's 1000 classes.
//!
//! Uses `audit::mt19937`, `treatment`; used by `protocol`, `split`, `outline`. A class is its place in the sorted list
//! of synsets. The random halves came from numpy: seeded with `[s]`, a permutation of 1000, whose first 500, sorted, are
//! task A. The dissimilar halves are by kind: natural things and man-made ones.

use crate::audit::mt19937::Mt19937;
use crate::treatment::Task;
use serde::{Deserialize, Serialize};

/// Classes of ILSVRC2012.
pub const CLASSES: usize = 1000;

/// Seeds of the random halves that were published.
pub const SEEDS: std::ops::RangeInclusive<u32> = 0..=3;

/// The natural classes, 449 of them; the other 551 are man-made.
const NATURAL: [std::ops::Range<u16>; 4] = [0..398, 936..959, 970..971, 972..999];

/// One of the published splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a published split is 0, 1, 2, 3 or \"natman\"")]
pub enum Published {
    /// Random halves, by seed.
    Random(u32),
    /// Halves by kind.
    Kind(Kind),
}

/// The only published split by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Task A has the natural classes, task B the man-made ones.
    #[serde(rename = "natman")]
    NaturalManMade,
}

impl Published {
    /// The classes of a task, in ascending order.
    pub fn half(self, task: Task) -> Vec<u16> {
        match self {
            Self::Random(seed) => {
                let order = Mt19937::from_array(&[seed]).permutation(CLASSES as u32);
                let (first, second) = order.split_at(CLASSES / 2);
                let chosen = if task == Task::A { first } else { second };
                let mut classes: Vec<u16> = chosen.iter().map(|class| *class as u16).collect();
                classes.sort_unstable();
                classes
            }
            Self::Kind(Kind::NaturalManMade) => {
                let natural = |class: &u16| NATURAL.iter().any(|range| range.contains(class));
                (0..CLASSES as u16).filter(|class| natural(class) == (task == Task::A)).collect()
            }
        }
    }
}
