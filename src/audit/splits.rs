//! The published lists of classes and images: made again from their seeds, held against their md5 sums.
//!
//! Uses `audit::{archive, names, sums}`, `published`; used by `audit`. The authors' script shuffles the 1000 classes
//! with numpy, seeded with `[s]`; the first 500, sorted, are task A of split s. A half's list is the whole
//! list with the other half's images left out and classes numbered anew; a reduced list has the first
//! k images of each class.

use super::archive::{Archive, Kind, TEXT_MAX};
use super::names::{CLASSES, MANMADE, NATURAL, Name, Split};
use super::sums;
use crate::error::Result;
use crate::published::random_half;
use crate::text::counted;
use crate::treatment::Task;
use crate::verify::{Code, Finding};
use md5::{Digest as _, Md5};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Where the lists are, each in a directory of its name.
const LISTS: &str = "ilsvrc12/data";

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
    let (sums_from, published) = sums::published(archive, &mut findings)?;
    let mut sums = Vec::new();
    for part in ["train", "valid"] {
        let wanted: Vec<&(String, String)> =
            published.iter().filter(|(list, _)| list.ends_with(&format!("_{part}"))).collect();
        let file = format!("{LISTS}/whole_{part}/files.txt");
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
        let sums = counted(lists.len(), "published sum");
        let message = format!("{sums} cannot be checked: {reason}");
        findings.push(Finding::new(Code::SumUnchecked, sums::SUBJECT, message).with(lists.join(", ")));
    }
}

/// One finding for the lists that no published sum is of: of those at hand, and those that the runs are named for. None
/// where there are no sums at all, which is told where they are read.
///
/// # Errors
/// Where the lists cannot be listed.
pub fn unsummed(
    archive: &Archive,
    splits: &Splits,
    runs: impl Iterator<Item = Name>,
) -> Result<Option<Finding>> {
    if splits.sums_from.is_none() {
        return Ok(None);
    }
    let named = runs.flat_map(|run| [run.train_data() + "_train", run.valid_data() + "_valid"]);
    let summed: BTreeSet<&String> = splits.sums.iter().map(|sum| &sum.list).collect();
    let lists: BTreeSet<String> =
        named.chain(at_hand(archive)?).filter(|list| !summed.contains(list)).collect();
    Ok((!lists.is_empty()).then(|| {
        let count = counted(lists.len(), "list");
        let message = format!("{count} without a published sum: held against none");
        let lists: Vec<String> = lists.into_iter().collect();
        Finding::new(Code::SumAbsent, sums::SUBJECT, message).with(lists.join(", "))
    }))
}

/// The lists that are at hand.
fn at_hand(archive: &Archive) -> Result<Vec<String>> {
    if archive.kind(LISTS)? != Kind::Directory {
        return Ok(Vec::new());
    }
    let mut lists = Vec::new();
    for list in archive.names(LISTS)?.into_iter().filter(|list| sums::is_list(list)) {
        if archive.kind(&format!("{LISTS}/{list}/files.txt"))? == Kind::File {
            lists.push(list);
        }
    }
    Ok(lists)
}

/// The text of a list; none where there is no such file, or one that cannot be read as text, which is a finding.
fn text_of(archive: &Archive, file: &str, findings: &mut Vec<Finding>) -> Result<Option<String>> {
    if archive.kind(file)? == Kind::Absent {
        return Ok(None);
    }
    Ok(archive.text(file, TEXT_MAX)?.map_err(|finding| findings.push(finding)).ok())
}

/// The classes of the natural and the man-made half; none where a list cannot be used.
fn natman(archive: &Archive, findings: &mut Vec<Finding>) -> Result<Option<[Vec<u16>; 2]>> {
    let mut halves = [Vec::new(), Vec::new()];
    for ((file, _), half) in NATMAN.iter().zip(&mut halves) {
        let Some(text) = text_of(archive, file, findings)? else { return Ok(None) };
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
        let Some(text) = text_of(archive, file, findings)? else { return Ok(None) };
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
    let file = format!("{LISTS}/{list}/files.txt");
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
    if archive.kind(&file)? != Kind::Absent {
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
