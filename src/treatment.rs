//! The paper's notation for what a network is: `baseA`, `B3B`, `B3B+`, `A3B`, `A3B+`, `R3B`, and two that
//! the paper describes without a sign for them: `A3B^2`, `baseA@25`.
//!
//! Uses nothing of this crate; used by everything after the protocol. A treatment says where the
//! first n layers come from, how many they are, which task is learnt, whether the copied layers
//! are trained on (`+`) or frozen, how many more are copied and trained on (`^`, *preserved*), and on how
//! many images of each class a base network is trained (`@`, *reduced*).
//!
//! ```
//! use selffer::treatment::{Kind, NotATreatment, Task, Treatment, family};
//!
//! // Three layers copied from baseA and frozen, the other five trained on B: transfer.
//! let transfer: Treatment = "A3B".parse()?;
//! assert_eq!((transfer.n(), transfer.frozen(), transfer.target()), (3, 3, Task::B));
//! assert_eq!(transfer.parent(), Some(Treatment::Base(Task::A)));
//! assert_eq!(transfer.kind(), Kind::Transfer);
//!
//! // Its control: copied from the same task. With `+`, the copied layers are trained on.
//! let control: Treatment = "B3B+".parse()?;
//! assert_eq!((control.kind(), control.frozen()), (Kind::SelfferTuned, 0));
//! assert_eq!(control.to_string(), "B3B+");
//!
//! // Three frozen layers, and two more that are copied and trained on.
//! let preserved: Treatment = "A3B^2".parse()?;
//! assert_eq!((preserved.n(), preserved.grafted(), preserved.frozen()), (3, 5, 3));
//!
//! // A base network on the first 25 images of each class.
//! let reduced: Treatment = "baseA@25".parse()?;
//! assert_eq!((reduced.examples(), reduced.n()), (Some(25), 0));
//!
//! // A protocol lists families; the first seven of eight layers can be copied.
//! assert_eq!(family("RnA", &[1, 7])?, ["R1A".parse()?, "R7A".parse()?]);
//! assert_eq!(family("AnB^3", &[1, 4, 7])?, ["A1B^3".parse()?, "A4B^3".parse()?]);
//! assert!("A8B".parse::<Treatment>().is_err());
//! # Ok::<(), NotATreatment>(())
//! ```

mod notation;

pub use self::notation::{NotATreatment, family};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::RangeInclusive;

/// The name of a run: its split, its seed and its treatment.
pub fn run_name(split: &str, seed: u64, treatment: Treatment) -> String {
    format!("{split}/{seed}/{treatment}")
}

/// The split and seed in a run's name, as they stand there, and its treatment; none where it is no such name.
pub fn of_run_name(name: &str) -> Option<(&str, Treatment)> {
    let (split_and_seed, treatment) = name.rsplit_once('/')?;
    Some((split_and_seed, treatment.parse().ok()?))
}

/// How many layers can be copied: all but the last of eight.
pub const DEPTHS: RangeInclusive<u8> = 1..=7;

/// One half of a split: the classes that a network learns.
///
/// On a `whole` split, task A is all classes and task B has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Task {
    /// The first half.
    A,
    /// The second half.
    B,
}

impl Task {
    /// Both tasks, A first.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other half.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

/// Where a treatment's first n layers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Copied from the base network of that task, and trained on (`+`) or frozen.
    Base {
        /// The task that the base network learnt.
        task: Task,
        /// `+`: the copied layers are trained on. Otherwise they are frozen.
        tuned: bool,
    },
    /// Copied from the base network of that task: the first n frozen, and `more` above them trained on.
    Preserved {
        /// The task that the base network learnt.
        task: Task,
        /// How many layers above the frozen ones are copied too, so that no cut is between them.
        more: u8,
    },
    /// Random weights, never trained (the paper's random-weight control).
    Random,
}

/// What one network is, in the paper's notation; see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Treatment {
    /// `baseA`, `baseB`: all layers trained from random weights.
    Base(Task),
    /// `baseA@25`: a base network on fewer images, as in the paper's supplement.
    Reduced {
        /// The task that is learnt.
        target: Task,
        /// Training images of each class, the first in the split's order; all where a class has fewer.
        examples: u32,
    },
    /// All others: the first `n` layers from `source`, the rest fresh, trained on `target`.
    Grafted {
        /// Where the first `n` layers come from.
        source: Source,
        /// How many layers are taken, in [`DEPTHS`]; where more are preserved, how many are frozen.
        n: u8,
        /// The task that is learnt.
        target: Task,
    },
}

/// What stands between base and selffer and transfer, for tables and reports: the treatment without
/// its depth and with its tasks seen from the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Trained from scratch.
    Base,
    /// Trained from scratch on fewer images (`base@m`).
    Reduced,
    /// Copied from the same task, frozen (`BnB`).
    Selffer,
    /// Copied from the same task, trained on (`BnB+`).
    SelfferTuned,
    /// Copied from the same task, frozen, and so many more copied layers trained on (`BnB^2`).
    SelfferPreserved(u8),
    /// Copied from the other task, frozen (`AnB`).
    Transfer,
    /// Copied from the other task, trained on (`AnB+`).
    TransferTuned,
    /// Copied from the other task, frozen, and so many more copied layers trained on (`AnB^2`).
    TransferPreserved(u8),
    /// Random, frozen (`RnB`).
    Random,
}

impl Kind {
    /// Its name in tables and claims, seen from task B.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Reduced => "base@m",
            Self::Selffer => "BnB",
            Self::SelfferTuned => "BnB+",
            Self::SelfferPreserved(more) => {
                ["BnB^1", "BnB^2", "BnB^3", "BnB^4", "BnB^5", "BnB^6"][usize::from(more) - 1]
            }
            Self::Transfer => "AnB",
            Self::TransferTuned => "AnB+",
            Self::TransferPreserved(more) => {
                ["AnB^1", "AnB^2", "AnB^3", "AnB^4", "AnB^5", "AnB^6"][usize::from(more) - 1]
            }
            Self::Random => "RnB",
        }
    }
}

impl Treatment {
    /// The task that the network learns.
    pub fn target(self) -> Task {
        match self {
            Self::Base(task) => task,
            Self::Reduced { target, .. } | Self::Grafted { target, .. } => target,
        }
    }

    /// What n stands for in its name: 0 for a network that is trained from scratch.
    pub fn n(self) -> u8 {
        match self {
            Self::Base(_) | Self::Reduced { .. } => 0,
            Self::Grafted { n, .. } => n,
        }
    }

    /// How many layers, from the first, are not drawn anew above a cut: n, and those preserved besides.
    pub fn grafted(self) -> u8 {
        match self {
            Self::Grafted { source: Source::Preserved { more, .. }, n, .. } => n + more,
            other => other.n(),
        }
    }

    /// On how many training images of each class it is trained, where not on all.
    pub fn examples(self) -> Option<u32> {
        match self {
            Self::Reduced { examples, .. } => Some(examples),
            _ => None,
        }
    }

    /// How many layers, from the first, are never trained.
    pub fn frozen(self) -> u8 {
        match self {
            Self::Grafted { source: Source::Base { tuned: true, .. }, .. } => 0,
            other => other.n(),
        }
    }

    /// The treatment whose trained network this one copies from, if it copies.
    pub fn parent(self) -> Option<Self> {
        match self {
            Self::Grafted { source: Source::Base { task, .. } | Source::Preserved { task, .. }, .. } => {
                Some(Self::Base(task))
            }
            _ => None,
        }
    }

    /// What it is, seen from its target and without its depth.
    pub fn kind(self) -> Kind {
        match self {
            Self::Base(_) => Kind::Base,
            Self::Reduced { .. } => Kind::Reduced,
            Self::Grafted { source: Source::Random, .. } => Kind::Random,
            Self::Grafted { source: Source::Preserved { task, more }, target, .. } => match task == target {
                true => Kind::SelfferPreserved(more),
                false => Kind::TransferPreserved(more),
            },
            Self::Grafted { source: Source::Base { task, tuned }, target, .. } => {
                match (task == target, tuned) {
                    (true, false) => Kind::Selffer,
                    (true, true) => Kind::SelfferTuned,
                    (false, false) => Kind::Transfer,
                    (false, true) => Kind::TransferTuned,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
