//! Audits a result: what holds, what does not, what cannot be known, and on which evidence.
//!
//! Uses findings, `seed` and `treatment`, and for a selffer store `verify` and `run`; used by the command line. For
//! the paper's own archive of training logs, one direction:
//!
//! ```text
//! archive ─► files ─► runs, scores, splits ─► numbers ─► table1, claims, questions ─► report
//! (tree)    (parsed)  (held against names)  (accuracies)    (from points alone)     (text, JUnit, SARIF)
//! ```
//!
//! From `numbers` on nothing knows where accuracies come from, so a selffer store is judged by the same
//! claims; see [`store`]. How far a store can be trusted is for [`proof`] to say.

pub mod archive;
pub mod claims;
pub mod effect;
pub mod files;
pub mod history;
pub mod log;
pub mod names;
pub mod network;
pub mod numbers;
pub mod proof;
pub mod prototxt;
pub mod questions;
pub mod report;
pub mod runs;
pub mod scores;
pub mod splits;
pub mod stats;
pub mod store;
pub mod sums;
pub mod table1;
mod trial;

use crate::error::{Error, Result};
use crate::verify::{Code, Finding, Severity};
use archive::{Archive, Kind, NAMELESS};
use effect::Point;
use files::RunFiles;
use names::Name;
use proof::Proof;
use rayon::prelude::*;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::Path;

/// Where a result is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The paper's own archive of training logs.
    Archive,
    /// A selffer store.
    Store,
}

/// Everything that an audit came to. Its JSON is published and stable; JSON.md documents it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit {
    /// Where the result is from.
    pub source: Source,
    /// How far a store was proven; none for an archive, which has no networks.
    pub proof: Option<Proof>,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// Every run.
    pub runs: Vec<numbers::Run>,
    /// Means by split, treatment and depth.
    pub cells: Vec<numbers::Cell>,
    /// What the authors' estimator adds to the last score.
    pub selection: Option<numbers::Selection>,
    /// Table 1.
    pub table1: Vec<table1::Row>,
    /// The paper's findings.
    pub claims: Vec<claims::Claim>,
    /// The paper's questions.
    pub questions: questions::Questions,
    /// The lists and their sums; empty for a store.
    pub splits: splits::Splits,
    /// Another result, where one was set beside this one.
    pub beside: Option<Beside>,
}

/// What another result concludes, beside an audit of this one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Beside {
    /// Where it lies.
    pub path: String,
    /// Where it is from.
    pub source: Source,
    /// Under which numerics it was looked at, where it is a store.
    pub under: Option<proof::Under>,
    /// How far it was proven, likewise.
    pub verdict: Option<proof::Verdict>,
    /// Its Table 1.
    pub table1: Vec<table1::Row>,
    /// What it says of the paper's findings.
    pub claims: Vec<claims::Claim>,
    /// What it answers.
    pub questions: questions::Questions,
}

impl Audit {
    /// Its conclusions, to be set beside those of another audit. What is wrong with it is not told there.
    pub fn as_beside(self, path: &Path) -> Beside {
        let Self { source, table1, claims, questions, .. } = self;
        let (under, verdict) = self.proof.map(|proof| (proof.under, proof.verdict)).unzip();
        Beside { path: path.display().to_string(), source, under, verdict, table1, claims, questions }
    }

    /// The worst severity that was found.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

/// An audited archive, with what it was read from: for who draws curves and names files.
pub struct Published {
    /// What the audit came to.
    pub audit: Audit,
    /// The archive.
    pub archive: Archive,
    /// Every run's files, read; the audit's runs are in the same order.
    pub files: Vec<RunFiles>,
    /// The accuracies that the conclusions rest on.
    pub points: Vec<Point>,
}

/// Audits the published archive at `path`: its root, or the directory above it.
///
/// # Errors
/// Where `path` holds no archive, or the system does not let a file be read.
pub fn published(path: &Path) -> Result<Audit> {
    Ok(read_published(path)?.audit)
}

/// Whether a published archive is there.
///
/// # Errors
/// Where the system does not say.
pub fn is_published(path: &Path) -> Result<bool> {
    Ok(Archive::at(path)?.is_some())
}

/// As [`published`], and keeps what was read.
///
/// # Errors
/// As [`published`].
pub fn read_published(path: &Path) -> Result<Published> {
    let archive = Archive::named(path)?;
    let (splits, mut findings) = splits::check(&archive)?;
    let runs = read(&archive, &mut findings)?;
    for run in &runs {
        findings.extend(run.findings.iter().cloned());
    }
    let checked: Vec<Vec<Finding>> =
        runs.par_iter().map(|run| [runs::check(run), scores::check(run)].concat()).collect();
    findings.extend(checked.into_iter().flatten());
    findings.extend(runs::compare(&runs));
    findings.extend(absent(&runs, &splits));
    findings.extend(splits::unsummed(&archive, &splits, runs.iter().map(|run| run.name))?);

    let numbered: Vec<numbers::Run> = runs.iter().map(numbers::Run::of).collect();
    let points: Vec<Point> = numbered.iter().zip(&runs).filter_map(|(run, files)| run.point(files)).collect();
    let cells = numbers::cells(numbered.iter().zip(runs.iter().map(numbers::examples)));
    let selection = numbers::selection(&numbered);
    let concluded = concluded(&points)?;
    findings.extend(concluded.findings.iter().cloned());
    findings.extend(table1::findings(&concluded.table1, &points));
    let findings = sorted(findings);
    let audit =
        Audit { source: Source::Archive, findings, runs: numbered, cells, selection, splits, ..concluded };
    Ok(Published { audit, archive, files: runs, points })
}

/// The worst first, then by code and subject.
pub(crate) fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort();
    findings.sort_by_key(|finding| Reverse(finding.severity));
    findings
}

/// What follows from points alone; all else is empty.
fn concluded(points: &[Point]) -> Result<Audit> {
    let (claims, findings) = claims::judge(points)?;
    Ok(Audit {
        source: Source::Store,
        proof: None,
        findings,
        runs: Vec::new(),
        cells: Vec::new(),
        selection: None,
        table1: table1::table1(points),
        claims,
        questions: questions::answer(points),
        splits: splits::Splits::default(),
        beside: None,
    })
}

/// Every directory among the results whose name says a run, read; others become findings.
fn read(archive: &Archive, findings: &mut Vec<Finding>) -> Result<Vec<RunFiles>> {
    let mut named = Vec::new();
    for text in archive.names("results")? {
        let path = format!("results/{text}");
        match (archive.kind(&path)?, Name::read(&text)) {
            (Kind::Directory, Some(name)) => named.push((text, name)),
            (Kind::Directory, None) => {
                findings.push(Finding::new(Code::NameUnknown, path, "its name says no run; it was not read"));
            }
            (Kind::Link, _) => findings.push(archive.stray_link(&path)?),
            (Kind::Absent, _) => findings.push(Finding::new(Code::NameUnknown, path, NAMELESS)),
            (Kind::File | Kind::Other, _) => {}
        }
    }
    if named.is_empty() {
        let mend = "name the root of a whole published archive";
        return Err(Error::at(archive.root().join("results"), "has no run of the experiment", mend));
    }
    named.into_par_iter().map(|(text, name)| RunFiles::read(archive, &text, name)).collect()
}

/// Runs that the design has and the archive lacks.
fn absent(runs: &[RunFiles], splits: &splits::Splits) -> Vec<Finding> {
    let there: BTreeSet<Name> = runs.iter().map(|run| run.name).collect();
    let design = names::design(&there, splits.named());
    let lacking = design.difference(&there).map(|name| {
        let message = format!("there is no run {} on {}", name.treatment, name.valid_data());
        Finding::new(Code::RunAbsent, name.to_string(), message)
    });
    lacking.collect()
}
