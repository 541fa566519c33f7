//! What the name of a directory among the published results says about its run.
//!
//! Uses `treatment` and `protocol`; used by everything else in `audit`. The authors' names, with `{s}` a random split,
//! `{X}` and `{Y}` its halves, `{n}` a depth:
//!
//! ```text
//! half{s}{X}, halfnatman{X}                         baseX on a random half, on the natural (A) or man-made (B) half
//! netbase                                           a base network on all 1000 classes
//! transfer{s}{X}{s}{Y}_1_{n}, transfernatman{X}{Y}_1_{n}   XnY: layers 1 to n of baseX, frozen, on Y
//! transfer-ft{s}{X}{s}{Y}_1_{n}                     XnY+: the same, trained on
//! nolearn_1_{n}                                     the random-weight control, on all 1000 classes
//! reduced-{k}                                       a base network on k examples of each of the 1000 classes
//! ```

use crate::protocol::Halves;
use crate::published::{Published, VALID_PER_CLASS};
use crate::treatment::{DEPTHS, Kind, Source, Task, Treatment};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// How many classes ILSVRC2012 has.
pub const CLASSES: usize = crate::published::CLASSES;

/// How many classes the natural half (A) and the man-made half (B) have, by the paper (section 4).
pub const NATURAL: usize = 449;
/// See [`NATURAL`].
pub const MANMADE: usize = 551;

/// The classes and images that a run's tasks are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// Random halves, by their seed.
    Random(u8),
    /// The natural half (A) and the man-made half (B).
    NatMan,
    /// All classes; task A.
    Whole,
    /// All classes, that many training images of each; task A.
    Reduced(u16),
}

/// Splits of one kind, whose runs are pooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitKind {
    /// Random halves: similar tasks.
    Random,
    /// Halves by kind: dissimilar tasks.
    Dissimilar,
    /// All classes.
    Whole,
    /// All classes, fewer images.
    Reduced,
}

impl SplitKind {
    /// Its word, in JSON and for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Dissimilar => "dissimilar",
            Self::Whole => "whole",
            Self::Reduced => "reduced",
        }
    }

    /// The kind of a protocol's split: halves by name are the paper's dissimilar tasks.
    pub fn of(halves: &Halves) -> Self {
        match halves {
            Halves::Random(_) | Halves::Published(Published::Random(_)) => Self::Random,
            Halves::Named { .. } | Halves::Published(Published::Kind(_)) => Self::Dissimilar,
            Halves::Whole => Self::Whole,
        }
    }
}

impl Split {
    /// What kind of split it is.
    pub fn kind(self) -> SplitKind {
        match self {
            Self::Random(_) => SplitKind::Random,
            Self::NatMan => SplitKind::Dissimilar,
            Self::Whole => SplitKind::Whole,
            Self::Reduced(_) => SplitKind::Reduced,
        }
    }
}

/// A run, as its directory's name says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The split whose tasks it is about.
    pub split: Split,
    /// The treatment.
    pub treatment: Treatment,
}

impl Name {
    /// The run of that directory name; none where the name is none of the forms above.
    pub fn read(text: &str) -> Option<Self> {
        let base = |split, task| Some(Self { split, treatment: Treatment::Base(task) });
        if text == "netbase" {
            return base(Split::Whole, Task::A);
        }
        if let Some(task) = text.strip_prefix("halfnatman") {
            return base(Split::NatMan, self::task(task)?);
        }
        if let Some(half) = text.strip_prefix("half") {
            let (split, task) = self::half(half)?;
            return base(split, task);
        }
        if let Some(count) = text.strip_prefix("reduced-") {
            let digits = count.len() == 4 && count.bytes().all(|byte| byte.is_ascii_digit());
            return base(Split::Reduced(digits.then(|| count.parse().ok())??), Task::A);
        }
        let (body, n) = text.rsplit_once("_1_")?;
        let n = n.parse().ok().filter(|depth| n.len() == 1 && DEPTHS.contains(depth))?;
        let grafted =
            |split, source, target| Some(Self { split, treatment: Treatment::Grafted { source, n, target } });
        if body == "nolearn" {
            return grafted(Split::Whole, Source::Random, Task::A);
        }
        let (body, tuned) = match body.strip_prefix("transfer-ft") {
            Some(body) => (body, true),
            None => (body.strip_prefix("transfer")?, false),
        };
        if let Some(tasks) = body.strip_prefix("natman") {
            let (from, to) = tasks.is_ascii().then(|| tasks.split_at_checked(1))??;
            return grafted(Split::NatMan, Source::Base { task: task(from)?, tuned }, task(to)?);
        }
        let (from, to) = body.is_ascii().then(|| body.split_at_checked(2))??;
        let ((split, from), (other, to)) = (half(from)?, half(to)?);
        (split == other).then(|| grafted(split, Source::Base { task: from, tuned }, to))?
    }

    /// The run whose weights this one copies.
    pub fn parent(self) -> Option<Self> {
        self.treatment.parent().map(|treatment| Self { split: self.split, treatment })
    }

    /// The base network with the same task: what the run's accuracy is compared with.
    pub fn own_base(self) -> Self {
        Self { split: self.split, treatment: Treatment::Base(self.treatment.target()) }
    }

    /// The published lists' name of its training data, without `_train`.
    pub fn train_data(self) -> String {
        match self.split {
            // ILSVRC2012 has at most 1300 images of a class, so that is all of it.
            Split::Reduced(1300) => "whole".to_owned(),
            Split::Reduced(count) => format!("reduced{count:04}"),
            _ => self.valid_data(),
        }
    }

    /// The published lists' name of its validation data, without `_valid`.
    pub fn valid_data(self) -> String {
        let target = self.treatment.target();
        match self.split {
            Split::Random(seed) => format!("half{seed}{target}"),
            Split::NatMan => format!("halfnatman{target}"),
            Split::Whole | Split::Reduced(_) => "whole".to_owned(),
        }
    }

    /// How many classes it tells apart.
    pub fn classes(self) -> usize {
        match (self.split, self.treatment.target()) {
            (Split::Random(_), _) => CLASSES / 2,
            (Split::NatMan, Task::A) => NATURAL,
            (Split::NatMan, Task::B) => MANMADE,
            (Split::Whole | Split::Reduced(_), _) => CLASSES,
        }
    }

    /// How many different images it is validated on.
    pub fn images(self) -> usize {
        self.classes() * VALID_PER_CLASS as usize
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, x) = match self.split {
            Split::Random(seed) => (seed.to_string(), self.treatment.target()),
            _ => (String::new(), self.treatment.target()),
        };
        match (self.split, self.treatment) {
            (Split::Whole, Treatment::Base(_)) => f.write_str("netbase"),
            (Split::Reduced(count), _) => write!(f, "reduced-{count:04}"),
            (Split::NatMan, Treatment::Base(task)) => write!(f, "halfnatman{task}"),
            (_, Treatment::Base(task)) => write!(f, "half{s}{task}"),
            (_, Treatment::Grafted { source: Source::Random, n, .. }) => write!(f, "nolearn_1_{n}"),
            // The authors published none of these, so they have no name among theirs.
            (_, Treatment::Reduced { .. } | Treatment::Grafted { source: Source::Preserved { .. }, .. }) => {
                write!(f, "{}", self.treatment)
            }
            (split, Treatment::Grafted { source: Source::Base { task, tuned }, n, .. }) => {
                let ft = if tuned { "-ft" } else { "" };
                match split {
                    Split::NatMan => write!(f, "transfer{ft}natman{task}{x}_1_{n}"),
                    _ => write!(f, "transfer{ft}{s}{task}{s}{x}_1_{n}"),
                }
            }
        }
    }
}

fn task(text: &str) -> Option<Task> {
    match text {
        "A" => Some(Task::A),
        "B" => Some(Task::B),
        _ => None,
    }
}

/// `0A`: a random split and one of its halves.
fn half(text: &str) -> Option<(Split, Task)> {
    let (seed, letter) = text.is_ascii().then(|| text.split_at_checked(1))??;
    Some((Split::Random(seed.parse().ok()?), task(letter)?))
}

/// The runs that the experiment's design has, given the runs that are there and the published lists.
///
/// The design is the paper's: on each random split both base networks, and each of its four treatments
/// for every depth and both targets; on the dissimilar split both base networks and both transfers; on
/// all classes one base network and the random-weight controls. A part of which there is no trace at all
/// is not asked for, so that a partial copy can be audited for what it has.
pub fn design(there: &BTreeSet<Name>, lists: impl IntoIterator<Item = Split>) -> BTreeSet<Name> {
    let mut splits: BTreeSet<Split> = there.iter().map(|name| name.split).collect();
    splits.extend(lists);
    let traces: BTreeSet<(SplitKind, Kind)> =
        there.iter().map(|name| (name.split.kind(), name.treatment.kind())).collect();
    let mut design = BTreeSet::new();
    for split in splits {
        let targets: &[Task] = match split {
            Split::Random(_) | Split::NatMan => &Task::BOTH,
            Split::Whole | Split::Reduced(_) => &[Task::A],
        };
        for &target in targets {
            design.insert(Name { split, treatment: Treatment::Base(target) });
            let sources = Task::BOTH
                .into_iter()
                .flat_map(|task| [true, false].map(|tuned| Source::Base { task, tuned }))
                .chain([Source::Random]);
            let grafted =
                sources.flat_map(|source| DEPTHS.map(move |n| Treatment::Grafted { source, n, target }));
            for treatment in grafted.filter(|one| traces.contains(&(split.kind(), one.kind()))) {
                design.insert(Name { split, treatment });
            }
        }
    }
    design
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Split, String) {
        let name = Name::read(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(name.to_string(), text);
        (name.split, name.treatment.to_string())
    }

    #[test]
    fn the_authors_names() {
        assert_eq!(read("half3B"), (Split::Random(3), "baseB".into()));
        assert_eq!(read("halfnatmanA"), (Split::NatMan, "baseA".into()));
        assert_eq!(read("netbase"), (Split::Whole, "baseA".into()));
        assert_eq!(read("nolearn_1_7"), (Split::Whole, "R7A".into()));
        assert_eq!(read("reduced-0025"), (Split::Reduced(25), "baseA".into()));
        assert_eq!(read("transfer0A0B_1_4"), (Split::Random(0), "A4B".into()));
        assert_eq!(read("transfer-ft1A1A_1_3"), (Split::Random(1), "A3A+".into()));
        assert_eq!(read("transfernatmanBA_1_1"), (Split::NatMan, "B1A".into()));
    }

    #[test]
    fn other_names_are_no_runs() {
        for text in [
            "",
            "half",
            "half0",
            "half0C",
            "half00A",
            "halfnatman",
            "netbase2",
            "nolearn_1_8",
            "nolearn_1_0",
            "nolearn_2_3",
            "reduced-25",
            "reduced-99999",
            "reduced-+025",
            "transfer0A1B_1_4",
            "transfer0A0B",
            "transfer0A0B_1_04",
            "transfernatmanAB",
            "transferé_1_1",
            "halfé",
            "transfer-ft0A0B_1_",
            ".git",
        ] {
            assert_eq!(Name::read(text), None, "{text}");
        }
    }

    #[test]
    fn the_design_is_symmetric_and_asks_for_what_there_is_a_trace_of() {
        let there = ["half0A", "transfer0A0B_1_4", "transfernatmanAB_1_1", "nolearn_1_2"];
        let there = there.iter().map(|text| Name::read(text).unwrap()).collect();
        let design = design(&there, [Split::Random(1)]);
        let count = |kind, split: SplitKind| {
            design.iter().filter(|name| name.treatment.kind() == kind && name.split.kind() == split).count()
        };
        assert_eq!(count(Kind::Base, SplitKind::Random), 4);
        assert_eq!(count(Kind::Transfer, SplitKind::Random), 28);
        assert_eq!(count(Kind::Selffer, SplitKind::Random), 0);
        assert_eq!(count(Kind::Transfer, SplitKind::Dissimilar), 14);
        assert_eq!(count(Kind::Random, SplitKind::Whole), 7);
        assert_eq!(design.len(), 4 + 28 + 2 + 14 + 1 + 7);
    }
}
