//! The published md5 sums of the lists: where they stand, and what of them cannot be read.
//!
//! Uses `audit::archive`; used by `audit::splits`. The authors published them as comments at the end of a script; they may
//! stand in a file of their own.

use super::archive::{Archive, Kind, TEXT_MAX};
use crate::error::Result;
use crate::verify::{Code, Finding};

/// What findings about all of them are about.
pub const SUBJECT: &str = "published md5 sums";

/// The authors' script.
const SCRIPT: &str = "ilsvrc12/make_reduced_datasets.sh";

/// Where they may stand: in the archive, and beside it.
const PLACES: [&str; 3] = [SCRIPT, "split-md5.txt", "../split-md5.txt"];

/// Sums that are read; the authors published 33.
const SUMS_MAX: usize = 1000;

/// Lines that a finding shows.
const SHOWN: usize = 4;

/// Characters of a line that a finding shows.
const WIDTH: usize = 100;

/// The published sums: where they stand, and each list with its sum.
pub type Published = (Option<String>, Vec<(String, String)>);

/// The sums of the first place that has any. Where none has, that is a finding.
///
/// # Errors
/// Where the system does not let a file be read.
pub fn published(archive: &Archive, findings: &mut Vec<Finding>) -> Result<Published> {
    let message = "none is at hand, so the lists were held against none; put the authors' script there, or their sums \
                   into a file split-md5.txt beside the archive";
    let mut absent = Finding::new(Code::SumAbsent, SUBJECT, message);
    for place in PLACES {
        if archive.kind(place)? == Kind::Absent {
            absent = absent.with(format!("{place}: there is no such file"));
            continue;
        }
        let text = match archive.text(place, TEXT_MAX)? {
            Ok(text) => text,
            Err(finding) => {
                absent = absent.with(format!("{place}: {}", finding.message));
                findings.push(finding);
                continue;
            }
        };
        let sums = sums_of(&text);
        findings.extend(unreadable(place, &text, sums.len()));
        if !sums.is_empty() {
            return Ok((Some(place.to_owned()), sums.into_iter().take(SUMS_MAX).collect()));
        }
        absent = absent.with(format!("{place}: no line of it is a sum"));
    }
    findings.push(absent);
    Ok((None, Vec::new()))
}

/// The sums of a text.
fn sums_of(text: &str) -> Vec<(String, String)> {
    text.lines().filter_map(sum).collect()
}

/// A line like `# 83f4…  half0A_train/files.txt`, with or without the `#`.
fn sum(line: &str) -> Option<(String, String)> {
    let (md5, file) = uncommented(line).split_once("  ")?;
    let list = file.trim_end().strip_suffix("/files.txt")?;
    let hex = md5.len() == 32 && md5.bytes().all(|byte| byte.is_ascii_hexdigit());
    let plain = list.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (hex && is_list(list) && plain).then(|| (list.to_owned(), md5.to_ascii_lowercase()))
}

/// Whether a list is of training or of validation images, by its name.
pub fn is_list(name: &str) -> bool {
    name.ends_with("_train") || name.ends_with("_valid")
}

/// One finding for the lines that are meant as sums and are none, and for sums beyond those that are read.
fn unreadable(place: &str, text: &str, sums: usize) -> Option<Finding> {
    let lines = text.lines().zip(1..).filter(|(line, _)| is_meant(place, line) && sum(line).is_none());
    let lines: Vec<(&str, u32)> = lines.collect();
    let skipped =
        lines.first().map(|(_, number)| format!("line {number} is no sum and its list; it was skipped"));
    let beyond =
        (sums > SUMS_MAX).then(|| format!("it has more than {SUMS_MAX} sums; the rest was not read"));
    let message = [skipped, beyond].into_iter().flatten().reduce(|one, other| format!("{one}; {other}"))?;
    let mut finding = Finding::new(Code::SumUnreadable, place, message);
    for (line, number) in lines.iter().take(SHOWN) {
        let shown: String = line.chars().take(WIDTH).collect();
        finding = finding.with(format!("{place}:{number}: {shown}"));
    }
    match lines.len().checked_sub(SHOWN) {
        None | Some(0) => Some(finding),
        Some(more) => Some(finding.with(format!("and {more} lines more"))),
    }
}

/// Whether a line is meant as a sum: a comment of two words, of which the second is a list and the first has something of a
/// sum; in a file of sums whatever else is no comment as well.
fn is_meant(place: &str, line: &str) -> bool {
    let (line, words) = (line.trim(), uncommented(line).split_whitespace());
    match line.starts_with('#') {
        true => {
            let words: Vec<&str> = words.collect();
            let digits = |word: &str| word.bytes().any(|byte| byte.is_ascii_digit());
            matches!(words[..], [sum, list] if digits(sum) && list.ends_with("/files.txt"))
        }
        false => place != SCRIPT && !line.is_empty(),
    }
}

fn uncommented(line: &str) -> &str {
    line.trim_start_matches(['#', ' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "make_half 0\n# 83f4e664c68213ba43dd9b4465dd7d4e  half0A_train/files.txt\n\
                        B6284A7C08FBA47457C2C1F6049A156E  whole_valid/files.txt\n\
                        # 83f4  half0A_train/files.txt\n# $ md5sum *valid/files.txt\n\n\
                        83f4e664c68213ba43dd9b4465dd7d4e  ../../x_train/files.txt\n";

    #[test]
    fn sums_are_read_from_comments_and_from_a_file() {
        let lists: Vec<String> = sums_of(TEXT).into_iter().map(|(list, _)| list).collect();
        assert_eq!(lists, ["half0A_train", "whole_valid"]);
    }

    #[test]
    fn what_is_meant_as_a_sum_and_is_none_is_told() {
        let lines = |place: &str| {
            let finding = unreadable(place, TEXT, 2).unwrap();
            let lines = finding.evidence.into_iter();
            lines.map(|one| one.strip_prefix(place).unwrap()[1..2].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(lines(SCRIPT), ["4"]);
        assert_eq!(lines("split-md5.txt"), ["1", "4", "7"]);
        let good = "# see x\n\n83f4e664c68213ba43dd9b4465dd7d4e  half0A_train/files.txt\r\n";
        assert_eq!(unreadable("split-md5.txt", good, 1), None);
        assert_eq!(unreadable(SCRIPT, "# see half0A_train/files.txt\n", 1), None);
        let both = unreadable("split-md5.txt", "x\n", SUMS_MAX + 1).unwrap().message;
        assert!(both.starts_with("line 1 is no sum") && both.contains("more than 1000"), "{both}");
        assert!(unreadable(SCRIPT, "", SUMS_MAX + 1).unwrap().message.contains("more than 1000"));
        let many = unreadable("split-md5.txt", &"x\n".repeat(SHOWN + 2), 0).unwrap();
        assert_eq!(many.evidence.last().map(String::as_str), Some("and 2 lines more"));
    }
}
