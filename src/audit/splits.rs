//! The published lists of classes and images: made again from their seeds, held against their md5 sums.
//!
//! Uses `audit::{archive, names}`, `published`; used by `audit`. The authors' script shuffles the 1000 classes
//! with numpy, seeded with `[s]`; the first 500, sorted, are task A of split s. A half's list is the whole
//! list with the other half's images left out and classes numbered anew; a reduced list has the first
//! k images of each class. The sums stand in comments at the end of that script, or in a file of their own.

use super::archive::{Archive, TEXT_MAX};
use super::names::{CLASSES, MANMADE, NATURAL, Split};
use crate::error::{Error, Result};
use crate::published::random_half;
use crate::treatment::Task;
use crate::verify::{Code, Finding};
use md5::{Digest as _, Md5};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

/// Where the sums may stand: in the archive, and beside it.
const SUMS: [&str; 2] = ["ilsvrc12/make_reduced_datasets.sh", "split-md5.txt"];

/// Sums that are read; the authors published 33.
const SUMS_MAX: usize = 1000;

/// The natural half's classes and the man-made half's.
const NATMAN: [(&str, usize); 2] =
    [("ilsvrc12/data/half_nat_idx.txt", NATURAL), ("ilsvrc12/data/half_man_idx.txt", MANMADE)];

/// Which images of the whole list a list has.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// All.
    Whole,
    /// Those of these classes, which are numbered anew in this order.
    Classes(Vec<u16>),
    /// The first so many of each class.
    First(u32),
}

/// How a sum was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It matches.
    Match,
    /// It does not.
    Differs,
    /// It was not checked.
    Unchecked,
}

/// One published sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// The list, as its directory is named.
    pub list: String,
    /// The published md5 sum, in hexadecimal.
    pub md5: String,
    /// Whether it holds.
    pub state: State,
    /// What was summed, or why nothing was.
    pub how: String,
}

/// What the lists came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Splits {
    /// Where the published sums were read; none where there are none.
    pub sums_from: Option<String>,
    /// Every published sum.
    pub sums: Vec<Sum>,
}

impl Splits {
    /// The random splits that have a published sum.
    pub fn named(&self) -> impl Iterator<Item = Split> + '_ {
        self.sums.iter().filter_map(|sum| {
            let seed = sum.list.strip_prefix("half")?.split_once(['A', 'B'])?.0;
            seed.parse().ok().map(Split::Random)
        })
    }
}

/// Checks all lists and sums.
///
/// # Errors
/// Where the system does not let a file be read.
pub fn check(archive: &Archive) -> Result<(Splits, Vec<Finding>)> {
    let mut findings = Vec::new();
    let natman = natman(archive, &mut findings)?;
    let (sums_from, published) = published(archive, &mut findings)?;
    let mut sums = Vec::new();
    for part in ["train", "valid"] {
        let wanted: Vec<&(String, String)> =
            published.iter().filter(|(list, _)| list.ends_with(&format!("_{part}"))).collect();
        let file = format!("ilsvrc12/data/whole_{part}/files.txt");
        let whole = match wanted.is_empty() {
            true => None,
            false => Whole::read(archive, &file, &mut findings)?,
        };
        let checked: Vec<Result<(Sum, Option<Finding>)>> = wanted
            .par_iter()
            .map(|(list, md5)| sum(archive, list, md5, whole.as_ref(), &file, &natman))
            .collect();
        for one in checked {
            let (sum, finding) = one?;
            sums.push(sum);
            findings.extend(finding);
        }
    }
    sums.sort_by(|a, b| a.list.cmp(&b.list));
    unchecked(&sums, &mut findings);
    Ok((Splits { sums_from, sums }, findings))
}

/// One finding for all sums that cannot be checked, by reason.
fn unchecked(sums: &[Sum], findings: &mut Vec<Finding>) {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for sum in sums.iter().filter(|sum| sum.state == State::Unchecked) {
        reasons.entry(&sum.how).or_default().push(&sum.list);
    }
    for (reason, lists) in reasons {
        let message = format!("{} published sums cannot be checked: {reason}", lists.len());
        findings.push(Finding::new(Code::SumUnchecked, "published md5 sums", message).with(lists.join(", ")));
    }
}

/// The published sums: where they stand, and each list with its sum.
type Published = (Option<String>, Vec<(String, String)>);

/// Lines like `# 83f4…  half0A_train/files.txt`, with or without the `#`.
fn published(archive: &Archive, findings: &mut Vec<Finding>) -> Result<Published> {
    for file in SUMS {
        if archive.kind(file) == super::archive::Kind::Absent {
            continue;
        }
        match archive.text(file, TEXT_MAX)? {
            Ok(text) => {
                let found = sums_of(&text);
                if !found.is_empty() {
                    return Ok((Some(file.to_owned()), found));
                }
            }
            Err(finding) => findings.push(finding),
        }
    }
    // Beside the archive: what the authors published elsewhere.
    let beside = archive.root().join("..").join(SUMS[1]);
    let plain = beside.symlink_metadata().is_ok_and(|found| found.is_file() && found.len() <= TEXT_MAX);
    if plain {
        let bytes = std::fs::read(&beside).map_err(Error::io("read", &beside))?;
        let found = sums_of(&String::from_utf8_lossy(&bytes));
        if !found.is_empty() {
            return Ok((Some(format!("../{}", SUMS[1])), found));
        }
    }
    Ok((None, Vec::new()))
}

fn sums_of(text: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let (md5, file) = line.trim_start_matches(['#', ' ', '\t']).split_once("  ")?;
        let list = file.trim_end().strip_suffix("/files.txt")?;
        let hex = md5.len() == 32 && md5.bytes().all(|byte| byte.is_ascii_hexdigit());
        let name = list.ends_with("_train") || list.ends_with("_valid");
        let plain = list.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (hex && name && plain).then(|| (list.to_owned(), md5.to_ascii_lowercase()))
    };
    text.lines().filter_map(line).take(SUMS_MAX).collect()
}

/// The classes of the natural and the man-made half; none where a list cannot be used.
fn natman(archive: &Archive, findings: &mut Vec<Finding>) -> Result<Option<[Vec<u16>; 2]>> {
    let mut halves = [Vec::new(), Vec::new()];
    for ((file, _), half) in NATMAN.iter().zip(&mut halves) {
        if archive.kind(file) == super::archive::Kind::Absent {
            return Ok(None);
        }
        let text = match archive.text(file, TEXT_MAX)? {
            Ok(text) => text,
            Err(finding) => {
                findings.push(finding);
                return Ok(None);
            }
        };
        for (index, line) in text.lines().enumerate() {
            match line.trim().parse::<u16>() {
                Ok(class) if usize::from(class) < CLASSES => half.push(class),
                _ => {
                    let message = format!("line {} is no class of 0 to {}", index + 1, CLASSES - 1);
                    findings.push(
                        Finding::new(Code::FileMalformed, *file, message)
                            .with(format!("{file}:{}", index + 1)),
                    );
                    return Ok(None);
                }
            }
        }
        half.sort_unstable();
    }
    let mut places = vec![Vec::new(); CLASSES];
    for ((file, size), half) in NATMAN.iter().zip(&halves) {
        if half.len() != *size {
            let message = format!("it has {} classes; the paper's half has {size}", half.len());
            findings.push(Finding::new(Code::HalvesDiffer, *file, message));
        }
        half.iter().for_each(|class| places[usize::from(*class)].push(*file));
    }
    let wrong = places.iter().enumerate().filter(|(_, places)| places.len() != 1).take(10);
    let evidence: Vec<String> = wrong
        .map(|(class, places)| match places.len() {
            0 => format!("class {class} is in neither list"),
            _ => format!("class {class} is in {}", places.join(" and ")),
        })
        .collect();
    if !evidence.is_empty() {
        let message = "the natural and the man-made half do not hold each of the 1000 classes once";
        let finding = Finding::new(Code::HalvesDiffer, "half_nat_idx.txt, half_man_idx.txt", message);
        findings.push(evidence.into_iter().fold(finding, Finding::with));
    }
    Ok(Some(halves))
}

/// The list of all images.
struct Whole {
    text: String,
    /// The class of each line.
    classes: Vec<u16>,
}

impl Whole {
    fn read(archive: &Archive, file: &str, findings: &mut Vec<Finding>) -> Result<Option<Self>> {
        if archive.kind(file) == super::archive::Kind::Absent {
            return Ok(None);
        }
        let text = match archive.text(file, TEXT_MAX)? {
            Ok(text) => text,
            Err(finding) => {
                findings.push(finding);
                return Ok(None);
            }
        };
        let mut classes = Vec::new();
        for (index, line) in text.lines().enumerate() {
            match line.rsplit_once(' ').and_then(|(_, class)| class.parse::<u16>().ok()) {
                Some(class) if usize::from(class) < CLASSES => classes.push(class),
                _ => {
                    let message = format!("line {} is no image and class of 0 to {}", index + 1, CLASSES - 1);
                    findings.push(
                        Finding::new(Code::FileMalformed, file, message)
                            .with(format!("{file}:{}", index + 1)),
                    );
                    return Ok(None);
                }
            }
        }
        Ok(Some(Self { text, classes }))
    }

    /// The lines of the list that a rule makes, in order.
    fn lines<'a>(&'a self, rule: &'a Rule) -> impl Iterator<Item = (&'a str, u16)> {
        let mut number = vec![None; CLASSES];
        let mut left = vec![u32::MAX; CLASSES];
        match rule {
            Rule::Whole => number.iter_mut().zip(0..).for_each(|(slot, class)| *slot = Some(class)),
            Rule::Classes(classes) => {
                classes.iter().zip(0..).for_each(|(class, new)| number[usize::from(*class)] = Some(new));
            }
            Rule::First(count) => {
                number.iter_mut().zip(0..).for_each(|(slot, class)| *slot = Some(class));
                left.fill(*count);
            }
        }
        self.text.lines().zip(&self.classes).filter_map(move |(line, class)| {
            let class = usize::from(*class);
            let new = number[class]?;
            left[class] = left[class].checked_sub(1)?;
            Some((line.rsplit_once(' ')?.0, new))
        })
    }

    fn md5(&self, rule: &Rule) -> String {
        let mut hash = Md5::new();
        let mut buffer = Vec::with_capacity(1 << 16);
        for (image, class) in self.lines(rule) {
            buffer.extend_from_slice(image.as_bytes());
            buffer.push(b' ');
            buffer.extend_from_slice(class.to_string().as_bytes());
            buffer.push(b'\n');
            if buffer.len() > (1 << 16) - 512 {
                hash.update(&buffer);
                buffer.clear();
            }
        }
        hash.update(&buffer);
        hex::encode(hash.finalize())
    }
}

/// Which images a list has, by its name; none where the name is no list of the experiment or needs a file
/// that is not there.
fn rule(list: &str, natman: &Option<[Vec<u16>; 2]>) -> Option<Rule> {
    let name = list.rsplit_once('_')?.0;
    if name == "whole" {
        return Some(Rule::Whole);
    }
    if let Some(count) = name.strip_prefix("reduced") {
        return count.parse().ok().map(Rule::First);
    }
    let half = name.strip_prefix("half")?;
    let (split, task) = half.split_at_checked(half.len().checked_sub(1)?)?;
    let task = match task {
        "A" => Task::A,
        "B" => Task::B,
        _ => return None,
    };
    if split == "natman" {
        let [natural, manmade] = natman.as_ref()?;
        return Some(Rule::Classes(if task == Task::A { natural.clone() } else { manmade.clone() }));
    }
    Some(Rule::Classes(random_half(split.parse().ok()?, task)))
}

/// Checks one sum, on the list itself where it is there, and on the list made again from the whole one.
fn sum(
    archive: &Archive,
    list: &str,
    md5: &str,
    whole: Option<&Whole>,
    whole_file: &str,
    natman: &Option<[Vec<u16>; 2]>,
) -> Result<(Sum, Option<Finding>)> {
    let file = format!("ilsvrc12/data/{list}/files.txt");
    let rule = rule(list, natman);
    let answer = |state, how: &str, finding| {
        Ok((Sum { list: list.to_owned(), md5: md5.to_owned(), state, how: how.to_owned() }, finding))
    };
    let differs = |what: &str, found: &str| {
        Finding::new(Code::SumDiffers, list, format!("{what} does not have the published md5 sum"))
            .with(format!("published {md5}"))
            .with(format!("found {found}"))
    };
    let mut how = Vec::new();
    if archive.kind(&file) != super::archive::Kind::Absent {
        let bytes = match archive.bytes(&file, TEXT_MAX)? {
            Ok(bytes) => bytes,
            Err(finding) => return answer(State::Unchecked, "the list cannot be read", Some(finding)),
        };
        let found = hex::encode(Md5::digest(&bytes));
        if found != md5 {
            let mut finding = differs(&file, &found);
            if let (Some(whole), Some(rule)) = (whole, &rule) {
                let text = String::from_utf8_lossy(&bytes);
                let mut here = text.lines();
                let made = whole.lines(rule).map(|(image, class)| format!("{image} {class}"));
                let other = made.enumerate().find_map(|(index, made)| {
                    let line = here.next().unwrap_or("nothing");
                    (line != made).then(|| format!("{file}:{}: `{line}`, made again `{made}`", index + 1))
                });
                finding = other.into_iter().fold(finding, Finding::with);
            }
            return answer(State::Differs, "the list itself", Some(finding));
        }
        how.push("the list itself");
    }
    match (whole, &rule) {
        (Some(whole), Some(rule)) if *rule != Rule::Whole => {
            let found = whole.md5(rule);
            if found != md5 {
                return answer(
                    State::Differs,
                    "the list made again",
                    Some(differs("the list made again from the whole list", &found)),
                );
            }
            how.push("the list made again");
        }
        _ => {}
    }
    if !how.is_empty() {
        return answer(State::Match, &how.join(" and "), None);
    }
    let reason = match (whole, rule) {
        (None, _) => format!("{whole_file} is not at hand"),
        (_, None) => "which classes it has is not at hand".to_owned(),
        _ => format!("{file} is not at hand"),
    };
    answer(State::Unchecked, &reason, None)
}

#[cfg(test)]
mod tests;
