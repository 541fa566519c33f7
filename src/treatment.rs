//! The paper's notation for what a network is: `baseA`, `B3B`, `B3B+`, `A3B`, `A3B+`, `R3B`.
//!
//! Uses nothing of this crate; used by everything after the protocol. A treatment says where the
//! first n layers come from, how many they are, which task is learnt, and whether the copied layers
//! are trained on (`+`) or frozen.
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
//! // A protocol lists families; the first seven of eight layers can be copied.
//! assert_eq!(family("RnA", &[1, 7])?, ["R1A".parse()?, "R7A".parse()?]);
//! assert!("A8B".parse::<Treatment>().is_err());
//! # Ok::<(), NotATreatment>(())
//! ```

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

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
    /// Random weights, never trained (the paper's random-weight control).
    Random,
}

/// What one network is, in the paper's notation; see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Treatment {
    /// `baseA`, `baseB`: all layers trained from random weights.
    Base(Task),
    /// All others: the first `n` layers from `source`, the rest fresh, trained on `target`.
    Grafted {
        /// Where the first `n` layers come from.
        source: Source,
        /// How many layers are taken, in [`DEPTHS`].
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
    /// Copied from the same task, frozen (`BnB`).
    Selffer,
    /// Copied from the same task, trained on (`BnB+`).
    SelfferTuned,
    /// Copied from the other task, frozen (`AnB`).
    Transfer,
    /// Copied from the other task, trained on (`AnB+`).
    TransferTuned,
    /// Random, frozen (`RnB`).
    Random,
}

impl Kind {
    /// Its name in tables and claims, seen from task B.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Selffer => "BnB",
            Self::SelfferTuned => "BnB+",
            Self::Transfer => "AnB",
            Self::TransferTuned => "AnB+",
            Self::Random => "RnB",
        }
    }
}

impl Treatment {
    /// The task that the network learns.
    pub fn target(self) -> Task {
        match self {
            Self::Base(task) => task,
            Self::Grafted { target, .. } => target,
        }
    }

    /// How many layers come from elsewhere: 0 for a base network.
    pub fn n(self) -> u8 {
        match self {
            Self::Base(_) => 0,
            Self::Grafted { n, .. } => n,
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
            Self::Grafted { source: Source::Base { task, .. }, .. } => Some(Self::Base(task)),
            _ => None,
        }
    }

    /// What it is, seen from its target and without its depth.
    pub fn kind(self) -> Kind {
        match self {
            Self::Base(_) => Kind::Base,
            Self::Grafted { source: Source::Random, .. } => Kind::Random,
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

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base(task) => write!(f, "base{task}"),
            Self::Grafted { source: Source::Random, n, target } => write!(f, "R{n}{target}"),
            Self::Grafted { source: Source::Base { task, tuned }, n, target } => {
                write!(f, "{task}{n}{target}{}", if *tuned { "+" } else { "" })
            }
        }
    }
}

/// A text that is no treatment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotATreatment {
    /// Not of the form of any treatment.
    #[error(
        "`{0}` is no treatment: write baseA or baseB, or a source (A, B or R for random), a depth \
         and a target (A or B), as in A3B, and a + where copied layers are trained on"
    )]
    Form(String),
    /// A depth outside 1..=7.
    #[error("`{0}` copies {1} layers: of the 8 layers, 1 to 7 can be copied")]
    Depth(String, String),
    /// `R3B+`: training random layers on is only training from scratch.
    #[error("`{0}`: a random-weight control is frozen by definition, so leave out the +")]
    TunedRandom(String),
}

fn task(letter: &str) -> Option<Task> {
    match letter {
        "A" => Some(Task::A),
        "B" => Some(Task::B),
        _ => None,
    }
}

/// The parts of `A3B+` before any is checked: source letter, what stands for n, target, `+`.
fn parts(text: &str) -> Option<(&str, &str, Task, bool)> {
    let (body, tuned) = match text.strip_suffix('+') {
        Some(body) => (body, true),
        None => (text, false),
    };
    if !body.is_ascii() || body.len() < 3 {
        return None;
    }
    let (source, rest) = body.split_at(1);
    let (n, target) = rest.split_at(rest.len() - 1);
    Some((source, n, task(target)?, tuned))
}

impl FromStr for Treatment {
    type Err = NotATreatment;

    fn from_str(text: &str) -> Result<Self, NotATreatment> {
        let form = || NotATreatment::Form(text.to_owned());
        if let Some(letter) = text.strip_prefix("base") {
            return task(letter).map(Self::Base).ok_or_else(form);
        }
        let (source, digits, target, tuned) = parts(text).ok_or_else(form)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(form());
        }
        // Only the canonical digit is read, so that a text has one treatment and back.
        let n = match digits.parse() {
            Ok(n) if DEPTHS.contains(&n) && digits.len() == 1 => n,
            _ => return Err(NotATreatment::Depth(text.to_owned(), digits.to_owned())),
        };
        let source = match (source, tuned) {
            ("R", false) => Source::Random,
            ("R", true) => return Err(NotATreatment::TunedRandom(text.to_owned())),
            (letter, tuned) => Source::Base { task: task(letter).ok_or_else(form)?, tuned },
        };
        Ok(Self::Grafted { source, n, target })
    }
}

impl TryFrom<String> for Treatment {
    type Error = NotATreatment;

    fn try_from(text: String) -> Result<Self, NotATreatment> {
        text.parse()
    }
}

impl From<Treatment> for String {
    fn from(treatment: Treatment) -> Self {
        treatment.to_string()
    }
}

/// Treatments of one form for every depth: `AnB+` is `A1B+` to `A7B+`; a text with a digit, or a base,
/// is itself alone. This is how a protocol lists its treatments.
///
/// # Errors
/// As for a single treatment.
pub fn family(text: &str, depths: &[u8]) -> Result<Vec<Treatment>, NotATreatment> {
    match parts(text) {
        Some((_, "n", _, _)) => {
            depths.iter().map(|n| text.replacen('n', &n.to_string(), 1).parse()).collect()
        }
        _ => text.parse().map(|treatment| vec![treatment]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn any_treatment() -> impl Strategy<Value = Treatment> {
        let task = prop_oneof![Just(Task::A), Just(Task::B)];
        let source = prop_oneof![
            (task.clone(), any::<bool>()).prop_map(|(task, tuned)| Source::Base { task, tuned }),
            Just(Source::Random),
        ];
        prop_oneof![
            task.clone().prop_map(Treatment::Base),
            (source, DEPTHS, task).prop_map(|(source, n, target)| Treatment::Grafted { source, n, target }),
        ]
    }

    proptest! {
        #[test]
        fn notation_round_trips(treatment in any_treatment()) {
            prop_assert_eq!(treatment.to_string().parse(), Ok(treatment));
        }

        #[test]
        fn any_text_that_parses_is_written_back(text in "(base)?[ABRn0-9+]{0,5}") {
            if let Ok(treatment) = text.parse::<Treatment>() {
                prop_assert_eq!(treatment.to_string(), text);
            }
        }

        #[test]
        fn what_is_frozen_is_copied_or_random(treatment in any_treatment()) {
            prop_assert!(treatment.frozen() <= treatment.n());
            prop_assert_eq!(treatment.parent().is_none(),
                matches!(treatment.kind(), Kind::Base | Kind::Random));
        }
    }

    #[test]
    fn the_paper_s_names() {
        let read = |text: &str| text.parse::<Treatment>().unwrap();
        assert_eq!(read("A3B").parent(), Some(read("baseA")));
        assert_eq!(read("A3B").kind(), Kind::Transfer);
        assert_eq!(read("B3B+").kind(), Kind::SelfferTuned);
        assert_eq!((read("B3B+").frozen(), read("B3B").frozen(), read("R7A").frozen()), (0, 3, 7));
        assert_eq!(read("B3A").target(), Task::A);
    }

    #[test]
    fn refusals_say_why() {
        let refuse = |text: &str| text.parse::<Treatment>().unwrap_err().to_string();
        for text in ["", "A", "baseC", "basA", "A3", "3B", "C3B", "A3C", "AxB", "a3b", "Å3B", "A3B++"] {
            assert!(refuse(text).contains("is no treatment"), "{text}: {}", refuse(text));
        }
        for text in ["A0B", "A8B", "A03B", "A99999B"] {
            assert!(refuse(text).contains("1 to 7"), "{text}");
        }
        assert!(refuse("R3B+").contains("leave out the +"));
    }

    #[test]
    fn families_name_every_depth() {
        let names = |text: &str| -> Vec<String> {
            family(text, &[1, 7]).unwrap().iter().map(ToString::to_string).collect()
        };
        assert_eq!(names("AnB+"), ["A1B+", "A7B+"]);
        assert_eq!(names("RnA"), ["R1A", "R7A"]);
        assert_eq!(names("baseB"), ["baseB"]);
        assert_eq!(names("A2B"), ["A2B"]);
        assert!(family("nnB", &[1]).is_err());
    }
}
