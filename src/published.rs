//! The paper's own splits of ILSVRC2012's 1000 classes, which its authors published as lists.
//!
//! Uses `mt19937`, `treatment`, `error`; used by `protocol`, `split`, `outline` and `audit`. A class is its place in the
//! sorted list of synsets. The random halves came from numpy: seeded with `[s]`, a permutation of 1000, whose first 500, sorted, are task A. The dissimilar
//! halves are lists by kind: natural things and man-made ones.

use crate::error::{Error, Result};
use crate::mt19937::Mt19937;
use crate::treatment::Task;
use serde::{Deserialize, Serialize};

/// Classes of ILSVRC2012.
pub const CLASSES: usize = 1000;

/// Validation images of each class.
pub const VALID_PER_CLASS: u64 = 50;

/// Seeds of the random halves that were published.
pub const SEEDS: std::ops::RangeInclusive<u32> = 0..=3;

/// The natural classes, 449 of them; the other 551 are man-made.
const NATURAL: [std::ops::Range<u16>; 4] = [0..398, 936..959, 970..971, 972..999];

/// The 1000 synsets in the order of the class numbers.
const SYNSETS: &str = include_str!("published/synsets.txt");

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
            Self::Random(seed) => random_half(seed, task),
            Self::Kind(Kind::NaturalManMade) => {
                let natural = |class: &u16| NATURAL.iter().any(|range| range.contains(class));
                (0..CLASSES as u16).filter(|class| natural(class) == (task == Task::A)).collect()
            }
        }
    }
}

/// The classes of a random half, in ascending order.
pub fn random_half(seed: u32, task: Task) -> Vec<u16> {
    let order = Mt19937::from_array(&[seed]).permutation(CLASSES as u32);
    let (first, second) = order.split_at(CLASSES / 2);
    let chosen = if task == Task::A { first } else { second };
    let mut classes: Vec<u16> = chosen.iter().map(|class| *class as u16).collect();
    classes.sort_unstable();
    classes
}

/// The 1000 synsets in the order of the class numbers.
pub fn synsets() -> impl Iterator<Item = &'static str> {
    SYNSETS.lines()
}

/// Whether a data set's classes are ILSVRC2012's, in its order: the lists are of class numbers.
///
/// # Errors
/// Where they are not; `subject` is whose split it is.
pub fn numbered_alike(classes: &[String], subject: &str) -> Result<()> {
    let mend = "take a pack of ILSVRC2012 with a folder for each synset, or with --classes synsets.txt";
    if classes.len() != CLASSES {
        let problem = format!("is of ILSVRC2012's {CLASSES} classes, and the data have {}", classes.len());
        return Err(Error::invalid(subject, problem, mend));
    }
    match classes.iter().zip(synsets()).position(|(class, synset)| class != synset) {
        None => Ok(()),
        Some(at) => {
            let synset = synsets().nth(at).expect("there are as many");
            let problem = format!("takes class {at} for {synset}, and in the data it is {}", classes[at]);
            Err(Error::invalid(subject, problem, mend))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use md5::{Digest as _, Md5};
    use std::io::Read as _;

    /// The published md5 sums of the lists of validation images.
    const SUMS: [(&str, &str); 11] = [
        ("half0A", "2f10009e20d77eb7007cf70674958b94"),
        ("half0B", "cce39b383d681345c873faf2c0c28d33"),
        ("half1A", "9ab48b6420504e32ff4498e7d8569f8b"),
        ("half1B", "57522f5e2aa69547846089f5197c8a6b"),
        ("half2A", "03d05b6565ab9176baccdd05d746bfd1"),
        ("half2B", "18de8b37378e07e60dc602b6130eeeb2"),
        ("half3A", "46086440ddde128f169f23331998499d"),
        ("half3B", "e5f9f0895fd0d49a8ac0b804ec891282"),
        ("halfnatmanA", "4fb63c72229ba07106a558127192cb9f"),
        ("halfnatmanB", "f03be5732fb6bc7928ee53397b043613"),
        ("whole", "b6284a7c08fba47457c2c1f6049a156e"),
    ];

    #[test]
    fn the_lists_have_their_published_sums() {
        let file = include_bytes!("../fixtures/published/valid-labels.u16.gz");
        let mut bytes = Vec::new();
        GzDecoder::new(file.as_slice()).read_to_end(&mut bytes).unwrap();
        let labels: Vec<u16> =
            bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect();
        for (name, sum) in SUMS {
            let classes: Vec<u16> = match name.strip_prefix("half") {
                None => (0..1000).collect(),
                Some(half) => {
                    let (split, task) = half.split_at(half.len() - 1);
                    let split = match split {
                        "natman" => Published::Kind(Kind::NaturalManMade),
                        seed => Published::Random(seed.parse().unwrap()),
                    };
                    split.half(if task == "A" { Task::A } else { Task::B })
                }
            };
            // As the authors wrote it: an image and its class, numbered anew within the half.
            let mut list = String::new();
            for (at, label) in labels.iter().enumerate() {
                if let Ok(class) = classes.binary_search(label) {
                    list += &format!("ILSVRC2012_val_{:08}.JPEG {class}\n", at + 1);
                }
            }
            assert_eq!(hex::encode(Md5::digest(list.as_bytes())), sum, "{name}");
        }
    }

    #[test]
    fn each_class_is_in_one_half() {
        for split in SEEDS.map(Published::Random).chain([Published::Kind(Kind::NaturalManMade)]) {
            let [a, b] = [Task::A, Task::B].map(|task| split.half(task));
            let mut all = [&a[..], &b[..]].concat();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..1000), "{split:?}");
            let sizes = if matches!(split, Published::Kind(_)) { (449, 551) } else { (500, 500) };
            assert_eq!((a.len(), b.len()), sizes);
        }
    }

    #[test]
    fn other_classes_are_refused() {
        let mut classes: Vec<String> = synsets().map(str::to_owned).collect();
        assert!(classes.is_sorted() && classes.len() == CLASSES);
        numbered_alike(&classes, "split x").unwrap();
        classes.swap(3, 4);
        let error = numbered_alike(&classes, "split x").unwrap_err().to_string();
        assert!(
            error.starts_with("split x: takes class 3 for n01491361, and in the data it is n01494475; "),
            "{error}"
        );
        let error = numbered_alike(&classes[..999], "split x").unwrap_err().to_string();
        assert!(error.contains("and the data have 999"), "{error}");
    }
}
