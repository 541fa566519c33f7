//! One run's directory, read: its links, network and solver files, and logs.
//!
//! Uses `audit::archive` and the readers of each format; used by `audit::runs` and everything after it.
//! What cannot be read becomes a finding here; what was read is held against the name in `audit::runs`.

use super::archive::{Archive, Kind, NAMELESS, SMALL_MAX};
use super::history::History;
use super::log::{self, Log, Trouble};
use super::names::Name;
use super::network::{Network, Solver};
use super::prototxt::Malformed;
use crate::equivalence::at_chance;
use crate::error::Result;
use crate::verify::{Code, Finding};

/// The solver file of a run.
pub const SOLVER: &str = "imagenet_solver.prototxt";
/// The network that is trained.
pub const TRAIN: &str = "imagenet_train.prototxt";
/// The network that is validated.
pub const VALID: &str = "imagenet_val.prototxt";
/// The link to the training images.
pub const TRAIN_DATA: &str = "imagenet_train_leveldb";
/// The link to the validation images.
pub const VALID_DATA: &str = "imagenet_val_leveldb";
/// The link to the network whose weights are copied.
pub const BASE: &str = "basenet";

/// Problems of a log that become findings; the rest is counted.
const FINDINGS_MAX: usize = 3;

/// One log of a run.
pub struct RunLog {
    /// Its name in the run's directory.
    pub file: String,
    /// What it says.
    pub log: Log,
}

/// One run's directory.
pub struct RunFiles {
    /// The directory's name, which is the run's.
    pub text: String,
    /// What the name says.
    pub name: Name,
    /// The solver.
    pub solver: Option<Solver>,
    /// The network that is trained.
    pub train: Option<Network>,
    /// The network that is validated.
    pub valid: Option<Network>,
    /// Where the link to the training images points, from the archive's root.
    pub train_data: Option<String>,
    /// The same for the validation images.
    pub valid_data: Option<String>,
    /// Where the link to the copied network points; none where there is no link.
    pub base: Option<String>,
    /// The logs, by name.
    pub logs: Vec<RunLog>,
    /// Logs that lie there unpacked, and were not read: by name, without those that are there packed as well.
    pub unpacked: Vec<String>,
    /// The scores of all logs.
    pub history: History,
    /// What could not be read.
    pub findings: Vec<Finding>,
}

impl RunFiles {
    /// Reads the directory of a run.
    ///
    /// # Errors
    /// Where the system does not let a file be read.
    pub fn read(archive: &Archive, text: &str, name: Name) -> Result<Self> {
        let mut findings = Vec::new();
        let at = |file: &str| format!("results/{text}/{file}");
        let train = parsed(archive, &at(TRAIN), Network::read, &mut findings)?;
        let valid = parsed(archive, &at(VALID), Network::read, &mut findings)?;
        let solver = parsed(archive, &at(SOLVER), Solver::read, &mut findings)?;
        let mut link = |file: &str, needed: bool| -> Result<Option<String>> {
            match archive.link(&at(file))? {
                Some(Ok(target)) => return Ok(Some(target)),
                Some(Err(finding)) => findings.push(finding),
                None if needed => {
                    findings.push(Finding::new(Code::FileMissing, at(file), "there is no such link"));
                }
                None => {}
            }
            Ok(None)
        };
        let train_data = link(TRAIN_DATA, true)?;
        let valid_data = link(VALID_DATA, true)?;
        let base = link(BASE, name.parent().is_some())?;
        let names = archive.names(&format!("results/{text}"))?;
        let mut unpacked = Vec::new();
        for file in names.iter().filter(|file| is_unpacked_log(file)) {
            let packed = names.binary_search(&format!("{file}.gz")).is_ok();
            match archive.kind(&at(file))? {
                Kind::File if !packed => unpacked.push(file.clone()),
                Kind::Link => findings.push(archive.stray_link(&at(file))?),
                _ => {}
            }
        }
        let mut logs = Vec::new();
        for file in names.into_iter().filter(|file| file.ends_with(".gz")) {
            let path = at(&file);
            let Some(open) = archive.open(&path)? else {
                findings.push(match archive.kind(&path)? {
                    Kind::Link => archive.stray_link(&path)?,
                    Kind::Absent => Finding::new(Code::LogDamaged, &path, NAMELESS),
                    _ => Finding::new(Code::LogDamaged, &path, "it is no plain file"),
                });
                continue;
            };
            let log = Log::read(open);
            problems(&path, &log, &mut findings);
            logs.push(RunLog { file, log });
        }
        let history = History::of(logs.iter().map(|one| &one.log));
        Ok(Self {
            text: text.to_owned(),
            name,
            solver,
            train,
            valid,
            train_data,
            valid_data,
            base,
            logs,
            unpacked,
            history,
            findings,
        })
    }

    /// The path of one of its files, from the archive's root.
    pub fn at(&self, file: &str) -> String {
        format!("results/{}/{file}", self.text)
    }

    /// A finding that may come of logs that were not read, with these.
    pub fn with_unread(&self, finding: Finding) -> Finding {
        let unread =
            self.unpacked.iter().map(|file| format!("{}: unpacked, so it was not read", self.at(file)));
        unread.fold(finding, Finding::with)
    }

    /// Whether its accuracy may be that of guessing. A pass may see an image twice: different ones count.
    pub fn at_chance(&self) -> bool {
        let at_chance = |accuracy| at_chance(accuracy, self.name.classes(), self.name.images());
        self.history.mean_highest().is_some_and(at_chance)
    }

    /// The place of a score: log and line.
    pub fn place(&self, one: &super::history::Sourced) -> String {
        format!("{}:{}", self.at(&self.logs[one.log].file), one.score.line)
    }
}

/// Whether a file is called as a log is, but for the `.gz`: `140415_235516_transfer0A0B.o240766`, `catlog.oMANUAL`.
fn is_unpacked_log(file: &str) -> bool {
    let job = |job: &str| job.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    file.rsplit_once(".o").is_some_and(|(_, number)| !number.is_empty() && job(number))
}

fn parsed<T>(
    archive: &Archive,
    file: &str,
    read: fn(&str) -> Result<T, Malformed>,
    findings: &mut Vec<Finding>,
) -> Result<Option<T>> {
    let text = match archive.text(file, SMALL_MAX)? {
        Ok(text) => text,
        Err(finding) => {
            findings.push(finding);
            return Ok(None);
        }
    };
    match read(&text) {
        Ok(value) => Ok(Some(value)),
        Err(Malformed { line, problem }) => {
            let range = problem.contains("out of range");
            let code = if range { Code::NumberOutOfRange } else { Code::FileMalformed };
            findings.push(Finding::new(code, file, problem).with(format!("{file}:{line}")));
            Ok(None)
        }
    }
}

/// The findings of what was wrong in a log, a few of each kind.
fn problems(path: &str, log: &Log, findings: &mut Vec<Finding>) {
    let kinds = [
        (Trouble::Damaged, Code::LogDamaged, "what follows is lost"),
        (Trouble::Trailing, Code::LogDamaged, "they were not read"),
        (Trouble::Oversized, Code::LogOversized, "the rest was not read"),
        (Trouble::LineTooLong, Code::LineTooLong, "it was skipped"),
        (Trouble::Malformed, Code::LogMalformed, "it was skipped"),
        (Trouble::OutOfRange, Code::NumberOutOfRange, "it was skipped"),
        (Trouble::Backwards, Code::TimeReversed, "the latest time still counts"),
    ];
    for (trouble, code, then) in kinds {
        let found: Vec<&log::Problem> = log.problems.iter().filter(|one| one.trouble == trouble).collect();
        let Some(first) = found.first() else { continue };
        let message = format!("line {}: {}; {then}", first.line, first.text);
        let mut finding = Finding::new(code, path, message);
        for problem in found.iter().take(FINDINGS_MAX) {
            finding = finding.with(format!("{path}:{}: {}", problem.line, problem.text));
        }
        if found.len() > FINDINGS_MAX {
            finding = finding.with(format!("and {} lines more, or more", found.len() - FINDINGS_MAX));
        }
        findings.push(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unpacked_log_is_called_as_a_log_is() {
        for log in ["140415_235516_transfer0A0B.o240766", "catlog.oMANUAL"] {
            assert!(is_unpacked_log(log), "{log}");
        }
        for other in
            ["140415_235516_transfer0A0B.o240766.gz", SOLVER, "solver.old", "x.orig", "net.o", "basenet"]
        {
            assert!(!is_unpacked_log(other), "{other}");
        }
    }
}
