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

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base(task) => write!(f, "base{task}"),
            Self::Reduced { target, examples } => write!(f, "base{target}@{examples}"),
            Self::Grafted { source: Source::Random, n, target } => write!(f, "R{n}{target}"),
            Self::Grafted { source: Source::Preserved { task, more }, n, target } => {
                write!(f, "{task}{n}{target}^{more}")
            }
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
    /// `R3B^2`: there is nothing to copy.
    #[error("`{0}`: a random-weight control copies nothing, so leave out the ^")]
    PreservedRandom(String),
    /// `A3B^0`, `A3B^5`.
    #[error(
        "`{0}`: after the ^ stands how many more layers are copied and trained on, 1 at least, and of the 8 \
         layers 7 in all can be copied"
    )]
    Preserved(String),
    /// `baseA@0`.
    #[error("`{0}`: after the @ stands the number of training images of each class, 1 at least")]
    Examples(String),
}

fn task(letter: &str) -> Option<Task> {
    match letter {
        "A" => Some(Task::A),
        "B" => Some(Task::B),
        _ => None,
    }
}

/// What follows the target: nothing, `+`, or `^` and what stands for k.
#[derive(Clone, Copy)]
enum Suffix<'a> {
    Frozen,
    Tuned,
    Preserved(&'a str),
}

/// The parts of `A3B+` before any is checked: source letter, what stands for n, target, what follows.
fn parts(text: &str) -> Option<(&str, &str, Task, Suffix<'_>)> {
    let (body, suffix) = match (text.strip_suffix('+'), text.split_once('^')) {
        (_, Some((body, more))) => (body, Suffix::Preserved(more)),
        (Some(body), None) => (body, Suffix::Tuned),
        (None, None) => (text, Suffix::Frozen),
    };
    if !body.is_ascii() || body.len() < 3 {
        return None;
    }
    let (source, rest) = body.split_at(1);
    let (n, target) = rest.split_at(rest.len() - 1);
    Some((source, n, task(target)?, suffix))
}

/// The number that `digits` is, if it is written as this program writes it: a text has one treatment and
/// back.
fn number<T: FromStr + ToString>(digits: &str) -> Option<T> {
    digits.parse().ok().filter(|number: &T| number.to_string() == digits)
}

impl FromStr for Treatment {
    type Err = NotATreatment;

    fn from_str(text: &str) -> Result<Self, NotATreatment> {
        let form = || NotATreatment::Form(text.to_owned());
        if let Some(rest) = text.strip_prefix("base") {
            let Some((letter, examples)) = rest.split_once('@') else {
                return task(rest).map(Self::Base).ok_or_else(form);
            };
            let target = task(letter).ok_or_else(form)?;
            let examples = number(examples).filter(|examples| *examples > 0);
            let refuse = || NotATreatment::Examples(text.to_owned());
            return examples.map(|examples| Self::Reduced { target, examples }).ok_or_else(refuse);
        }
        let (source, digits, target, suffix) = parts(text).ok_or_else(form)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(form());
        }
        let refuse = || NotATreatment::Depth(text.to_owned(), digits.to_owned());
        let n = number(digits).filter(|n| DEPTHS.contains(n)).ok_or_else(refuse)?;
        let source = match (source, suffix) {
            ("R", Suffix::Frozen) => Source::Random,
            ("R", Suffix::Tuned) => return Err(NotATreatment::TunedRandom(text.to_owned())),
            ("R", Suffix::Preserved(_)) => return Err(NotATreatment::PreservedRandom(text.to_owned())),
            (letter, Suffix::Preserved(more)) => {
                let task = task(letter).ok_or_else(form)?;
                let room = *DEPTHS.end() - n;
                let more = number(more).filter(|more| (1..=room).contains(more));
                let refuse = || NotATreatment::Preserved(text.to_owned());
                Source::Preserved { task, more: more.ok_or_else(refuse)? }
            }
            (letter, suffix) => {
                let tuned = matches!(suffix, Suffix::Tuned);
                Source::Base { task: task(letter).ok_or_else(form)?, tuned }
            }
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

/// Treatments of one form for every depth: `AnB+` is `A1B+` to `A7B+`, `AnB^2` is `A1B^2` to `A5B^2`, and with
/// `^k` every k that fits; a text with digits, or a base, is itself alone. This is how a protocol lists its
/// treatments.
///
/// # Errors
/// As for a single treatment.
pub fn family(text: &str, depths: &[u8]) -> Result<Vec<Treatment>, NotATreatment> {
    let alone = [text.to_owned()];
    let texts: Vec<String> = match parts(text) {
        Some((_, "n", _, _)) => depths.iter().map(|n| text.replacen('n', &n.to_string(), 1)).collect(),
        _ => alone.to_vec(),
    };
    match parts(text) {
        Some((source, _, _, Suffix::Preserved(more))) if source != "R" => {
            let each = |text: &String| match more {
                "k" => DEPTHS.map(|k| text.replacen('k', &k.to_string(), 1)).collect(),
                _ => vec![text.clone()],
            };
            let all: Vec<_> = texts.iter().flat_map(each).map(|text| text.parse()).collect();
            // Of a family, what does not fit above a depth is left out; alone it is an error.
            let fits = |read: &Result<Treatment, _>| !matches!(read, Err(NotATreatment::Preserved(_)));
            let fitting: Result<Vec<_>, _> = all.iter().filter(|read| fits(read)).cloned().collect();
            match fitting {
                Ok(fitting) if fitting.is_empty() => Err(NotATreatment::Preserved(text.to_owned())),
                fitting => fitting,
            }
        }
        _ => texts.iter().map(|text| text.parse()).collect(),
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
            (source, DEPTHS, task.clone()).prop_map(|(source, n, target)| Treatment::Grafted {
                source,
                n,
                target
            }),
            (task.clone(), 1u8..7, 1u8..7, task.clone()).prop_map(|(from, n, more, target)| {
                let source = Source::Preserved { task: from, more: 1 + (more - 1) % (7 - n) };
                Treatment::Grafted { source, n, target }
            }),
            (task, 1u32..).prop_map(|(target, examples)| Treatment::Reduced { target, examples }),
        ]
    }

    proptest! {
        #[test]
        fn notation_round_trips(treatment in any_treatment()) {
            prop_assert_eq!(treatment.to_string().parse(), Ok(treatment));
        }

        #[test]
        fn any_text_that_parses_is_written_back(text in "(base)?[ABRn0-9+^@]{0,6}") {
            if let Ok(treatment) = text.parse::<Treatment>() {
                prop_assert_eq!(treatment.to_string(), text);
            }
        }

        #[test]
        fn what_is_frozen_is_copied_or_random(treatment in any_treatment()) {
            prop_assert!(treatment.frozen() <= treatment.n());
            prop_assert!(treatment.n() <= treatment.grafted() && treatment.grafted() <= 7);
            prop_assert_eq!(treatment.parent().is_none(),
                matches!(treatment.kind(), Kind::Base | Kind::Reduced | Kind::Random));
            let preserved = matches!(treatment.kind(), Kind::SelfferPreserved(_) | Kind::TransferPreserved(_));
            prop_assert_eq!(treatment.grafted() > treatment.n(), preserved);
            prop_assert_eq!(treatment.examples().is_some(), treatment.kind() == Kind::Reduced);
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
        assert_eq!(
            (read("B3B^4").kind(), read("A3B^4").kind()),
            (Kind::SelfferPreserved(4), Kind::TransferPreserved(4))
        );
        assert_eq!((read("B3B^4").kind().name(), read("A1B^6").kind().name()), ("BnB^4", "AnB^6"));
        assert_eq!(read("A2B^4").parent(), Some(read("baseA")));
        assert_eq!((read("A2B^4").frozen(), read("A2B^4").grafted(), read("A2B^4").n()), (2, 6, 2));
        let reduced = read("baseB@1300");
        assert_eq!((reduced.kind(), reduced.parent(), reduced.examples()), (Kind::Reduced, None, Some(1300)));
        assert_eq!((reduced.target(), reduced.frozen(), reduced.grafted()), (Task::B, 0, 0));
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
        assert!(refuse("R3B^2").contains("leave out the ^"));
        for text in ["A3B^", "A3B^0", "A3B^5", "A7B^1", "A3B^02", "A3B^x", "A3B^2+", "A3B^1^1"] {
            assert!(refuse(text).contains("7 in all"), "{text}: {}", refuse(text));
        }
        for text in ["baseA@", "baseA@0", "baseA@025", "baseA@+2", "baseB@4294967296", "baseA@2@2"] {
            assert!(refuse(text).contains("1 at least"), "{text}: {}", refuse(text));
        }
        assert!(refuse("base@2").contains("is no treatment"));
    }

    #[test]
    fn a_kind_has_the_name_of_its_family() {
        for text in ["AnB^2", "BnB^6", "AnB", "BnB+", "RnB"] {
            for treatment in family(text, &[1]).unwrap() {
                assert_eq!(treatment.kind().name(), text);
            }
        }
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
        assert_eq!(names("BnA^2"), ["B1A^2"]);
        assert_eq!(names("AnB^k"), ["A1B^1", "A1B^2", "A1B^3", "A1B^4", "A1B^5", "A1B^6"]);
        assert_eq!(names("A5B^k"), ["A5B^1", "A5B^2"]);
        assert_eq!(names("baseA@5"), ["baseA@5"]);
        for text in ["nnB", "AnB^7", "AnB^0", "RnB^2", "RnB^k", "A7B^k", "AnC^k", "AnB^x"] {
            assert!(family(text, &[1, 7]).is_err(), "{text}");
        }
    }
}
