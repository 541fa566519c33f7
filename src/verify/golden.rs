//! Golden snapshots: the accepted table and weights of a protocol under one numerics policy.
//!
//! Uses `plan`, `table`, `text` and `whole`; used by the command line. A snapshot is in insta's file format, so that
//! `cargo insta review` works on it: a header with the reason and the provenance, then a text that
//! people read and this module parses back.

use super::{Code, Finding};
use crate::digest::{FingerprintDigest, WeightsDigest};
use crate::error::{Error, Result};
use crate::manifest::{Count, Environment, Manifest};
use crate::plan::Plan;
use crate::recipe::Policy;
use crate::table::Table;
use crate::text;
use crate::whole;
use include_dir::{Dir, include_dir};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The snapshots that were accepted when this binary was built.
static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/golden");

/// What to do about a snapshot that is none.
const MEND: &str = "restore it, or make it anew with `selffer golden accept --reason …`";

/// The input that is the policy.
const NUMERICS: &str = "numerics";

/// One network in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Validation images classified rightly, of how many.
    pub count: Count,
    /// The digest of its weights.
    pub weights: WeightsDigest,
}

/// The contents of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Golden {
    /// What it was made from: `protocol`, `data`, `numerics` and each `split`, with their digests.
    pub inputs: Vec<(String, String)>,
    /// What libtorch computed the probe to where the networks were trained; none where it was not the same
    /// for all, or there are none. It is not an input: another machine may rightly have another.
    pub fingerprint: Option<FingerprintDigest>,
    /// The networks, by the name of the run.
    pub runs: BTreeMap<String, Entry>,
}

/// A network that is not as in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The run.
    pub run: String,
    /// The golden accuracy, where the snapshot has the run.
    pub old: Option<Count>,
    /// The accuracy now, where there is one.
    pub new: Option<Count>,
    /// Whether the weights differ too (they do in every case but a forged snapshot).
    pub weights_differ: bool,
}

impl Difference {
    /// The change of accuracy in points; `None` where one side is missing.
    pub fn points(&self) -> Option<f64> {
        Some(100.0 * (self.new?.share() - self.old?.share()))
    }

    /// Its finding.
    pub fn finding(&self) -> Finding {
        let show = |count: Count| format!("{} of {}", count.correct, count.total);
        match (self.old, self.new) {
            (Some(old), Some(new)) if old != new => {
                let points = self.points().unwrap_or_default();
                let message = format!("{} right, golden {} ({points:+.1} points)", show(new), show(old));
                Finding::new(Code::GoldenAccuracyDiffers, &self.run, message)
            }
            (Some(_), Some(_)) => {
                Finding::new(Code::GoldenWeightsDiffer, &self.run, "same accuracy, other weights")
            }
            (Some(old), None) => {
                let message = format!("not there; the golden accuracy is {}", show(old));
                Finding::new(Code::GoldenRunMissing, &self.run, message)
            }
            (None, new) => {
                let count = new.map_or_else(String::new, |new| format!(" ({} right)", show(new)));
                Finding::new(Code::GoldenRunNew, &self.run, format!("not in the golden snapshot{count}"))
            }
        }
    }
}

/// What a snapshot holds for: a protocol, a policy and, where a GPU computes, its model. Its file is called by it:
/// `ci.portable.snap`, `ci.cuda-nvidia-h100-80gb-hbm3.snap`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    protocol: String,
    policy: Policy,
    gpu: Option<String>,
}

impl Scope {
    /// The scope of a protocol under a policy, on that GPU where the policy computes on one.
    pub fn new(protocol: &str, policy: Policy, gpu: Option<&str>) -> Self {
        let gpu = gpu.filter(|_| policy == Policy::Cuda).map(str::to_owned);
        Self { protocol: protocol.to_owned(), policy, gpu }
    }

    /// The scope of a protocol's networks that were trained under a policy. Where several GPUs trained them it is none's.
    pub fn of(protocol: &str, policy: Policy, manifests: &[Option<Manifest>]) -> Self {
        let mut gpus = manifests.iter().flatten().map(|manifest| manifest.environment.gpu());
        let first = gpus.next().flatten();
        Self::new(protocol, policy, first.filter(|_| gpus.all(|other| other == first)))
    }

    /// The file name of the snapshot.
    pub fn file_name(&self) -> String {
        let gpu = self.gpu.iter().flat_map(|gpu| gpu.split(|letter: char| !letter.is_ascii_alphanumeric()));
        let words: Vec<String> = gpu.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect();
        let model = if words.is_empty() { String::new() } else { format!("-{}", words.join("-")) };
        format!("{}.{}{model}.snap", self.protocol, self.policy.name())
    }

    fn pending_name(&self) -> String {
        format!("{}.new", self.file_name())
    }

    /// Where to look instead: a GPU that has no snapshot is held against the CPU's.
    fn instead(&self) -> Option<Self> {
        (self.policy == Policy::Cuda).then(|| Self::new(&self.protocol, Policy::Portable, None))
    }
}

/// The fingerprint of where all those networks were trained; none where there are several, or none.
pub fn fingerprint(manifests: &[Option<Manifest>]) -> Option<FingerprintDigest> {
    let mut all = manifests.iter().flatten().map(|manifest| manifest.environment.fingerprint);
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

impl Golden {
    /// The snapshot of what a plan came to, where libtorch has that [`fingerprint`].
    pub fn of(
        plan: &Plan<'_>,
        table: &Table,
        policy: Policy,
        fingerprint: Option<FingerprintDigest>,
    ) -> Self {
        let mut inputs = vec![
            ("protocol".to_owned(), format!("{} {}", plan.protocol.name, plan.protocol.digest().hex())),
            ("data".to_owned(), plan.catalog.digest.hex()),
            (NUMERICS.to_owned(), policy.name().to_owned()),
        ];
        for (split, digest) in &plan.splits {
            inputs.push(("split".to_owned(), format!("{} {}", split.name, digest.hex())));
        }
        let entry =
            |cell: &crate::table::Cell| (cell.run(), Entry { count: cell.count(), weights: cell.weights });
        Self { inputs, fingerprint, runs: table.cells.iter().map(entry).collect() }
    }

    /// The text of the snapshot, without insta's header.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.inputs {
            text.push_str(&format!("{key:<8} {value}\n"));
        }
        if let Some(fingerprint) = self.fingerprint {
            text.push_str(&format!("fingerprint {}\n", fingerprint.hex()));
        }
        let width = self.runs.keys().map(String::len).max().unwrap_or_default().max(3);
        text.push_str(&format!("\n{:<width$} {:>7} {:>6} weights\n", "run", "correct", "total"));
        for (run, Entry { count, weights }) in &self.runs {
            let Count { correct, total } = count;
            text.push_str(&format!("{run:<width$} {correct:>7} {total:>6} {}\n", weights.hex()));
        }
        text
    }

    /// Reads a snapshot file, header and all; `origin` is its name in messages.
    ///
    /// # Errors
    /// Where it is not what [`Golden::file`] or insta writes.
    pub fn parse(file: &str, origin: &str) -> Result<Self> {
        let bad =
            |line: usize, problem: &str| Error::invalid(format!("{origin}, line {line}"), problem, MEND);
        let body = file
            .strip_prefix("---\n")
            .and_then(|rest| rest.split_once("\n---\n"))
            .map(|(_, body)| body)
            .ok_or_else(|| bad(1, "has no snapshot header between two lines of ---"))?;
        let header_lines = file.lines().count() - body.lines().count();
        let mut golden = Self { inputs: Vec::new(), fingerprint: None, runs: BTreeMap::new() };
        let mut in_runs = false;
        for (at, line) in body.lines().enumerate() {
            let number = header_lines + at + 1;
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [] => {}
                ["run", "correct", "total", "weights"] => in_runs = true,
                [run, correct, total, weights] if in_runs => {
                    let read = || {
                        let (correct, total): (u32, u32) = (correct.parse().ok()?, total.parse().ok()?);
                        (correct <= total && total > 0).then_some(())?;
                        Some(Entry { count: Count { correct, total }, weights: weights.parse().ok()? })
                    };
                    let entry = read().ok_or_else(|| bad(number, "is no row of run, counts and weights"))?;
                    if golden.runs.insert((*run).to_owned(), entry).is_some() {
                        return Err(bad(number, "has that run a second time"));
                    }
                }
                ["fingerprint", value @ ..] if !in_runs => {
                    let [value] = value else { return Err(bad(number, "is no line of one fingerprint")) };
                    let digest = value.parse().map_err(|_| bad(number, "is no line of one fingerprint"))?;
                    if golden.fingerprint.replace(digest).is_some() {
                        return Err(bad(number, "has a fingerprint a second time"));
                    }
                }
                [key, value @ ..] if !in_runs && !value.is_empty() => {
                    golden.inputs.push(((*key).to_owned(), value.join(" ")));
                }
                _ => return Err(bad(number, "is no row of run, counts and weights")),
            }
        }
        if !in_runs {
            return Err(bad(header_lines + body.lines().count(), "the snapshot ends before its table"));
        }
        Ok(golden)
    }

    /// The snapshot file: insta's header, with the reason and the provenance, and the text.
    pub fn file(&self, reason: &str, environment: &Environment) -> String {
        let quote = |text: &str| serde_json::to_string(text).unwrap_or_default();
        format!(
            "---\nsource: tests/it/golden.rs\ndescription: {}\ninfo:\n  selffer: {}\n  libtorch: {}\n  cpu: {}\n{}---\n{}",
            quote(reason),
            quote(&environment.selffer),
            quote(&environment.libtorch),
            quote(&environment.cpu),
            environment.gpu().map_or_else(String::new, |gpu| format!("  gpu: {}\n", quote(gpu))),
            self.text(),
        )
    }

    /// Finds the snapshot of a scope: in `dir` where one is given; else in `golden/` of the working
    /// directory; else among those built into the program. For a GPU of which there is none, the CPU's is
    /// found. The answer has the place for messages.
    ///
    /// # Errors
    /// Where a file is there and cannot be read, or is no snapshot.
    pub fn find(dir: Option<&Path>, scope: &Scope) -> Result<Option<(String, Self)>> {
        match (Self::of_scope(dir, scope)?, scope.instead()) {
            (None, Some(instead)) => Self::of_scope(dir, &instead),
            (found, _) => Ok(found),
        }
    }

    fn of_scope(dir: Option<&Path>, scope: &Scope) -> Result<Option<(String, Self)>> {
        let name = scope.file_name();
        let path = dir.unwrap_or(Path::new("golden")).join(&name);
        if let Some(text) = text_of(&path)? {
            let origin = path.display().to_string();
            let golden = Self::parse(&text, &origin)?;
            return Ok(Some((origin, golden)));
        }
        match dir {
            Some(_) => Ok(None),
            None => Ok(Self::embedded(scope)?.map(|(origin, _, golden)| (origin, golden))),
        }
    }

    /// The snapshot of a scope that is built into the program: its place for messages, its file, and what it
    /// says.
    ///
    /// # Errors
    /// Where it is no snapshot; tests keep that from happening.
    pub fn embedded(scope: &Scope) -> Result<Option<(String, &'static str, Self)>> {
        let name = scope.file_name();
        let Some(text) = EMBEDDED.get_file(&name).and_then(|file| file.contents_utf8()) else {
            return Ok(None);
        };
        let origin = format!("the built-in golden/{name}");
        let golden = Self::parse(text, &origin)?;
        Ok(Some((origin, text, golden)))
    }

    /// Writes the snapshot file into `dir`, whole or not at all, and gives its path.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn write(
        &self,
        dir: &Path,
        scope: &Scope,
        reason: &str,
        environment: &Environment,
    ) -> Result<PathBuf> {
        write(&dir.join(scope.file_name()), &self.file(reason, environment))
    }

    /// Writes the snapshot as one that is pending: `.snap.new`, which `cargo insta review` shows.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn write_pending(&self, dir: &Path, scope: &Scope, environment: &Environment) -> Result<PathBuf> {
        let name = scope.pending_name();
        write(&dir.join(name), &self.file("written by `selffer golden check --review`", environment))
    }

    /// Removes a pending snapshot, now that there is nothing to review.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn remove_pending(dir: &Path, scope: &Scope) -> Result<()> {
        let path = dir.join(scope.pending_name());
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// How `new` differs from this snapshot, the largest change of accuracy first, then what is only
    /// on one side, then other weights alone.
    pub fn differences(&self, new: &Self) -> Vec<Difference> {
        let names: std::collections::BTreeSet<&String> = self.runs.keys().chain(new.runs.keys()).collect();
        let mut differences: Vec<Difference> = names
            .into_iter()
            .filter_map(|run| {
                let (old, new) = (self.runs.get(run), new.runs.get(run));
                let count = |entry: Option<&Entry>| entry.map(|entry| entry.count);
                let weights_differ = old.map(|entry| entry.weights) != new.map(|entry| entry.weights);
                let (old, new) = (count(old), count(new));
                (weights_differ || old != new).then(|| Difference {
                    run: run.clone(),
                    old,
                    new,
                    weights_differ,
                })
            })
            .collect();
        let rank = |difference: &Difference| match difference.points() {
            Some(points) if points != 0.0 => points.abs(),
            None => 1e-9,
            Some(_) => 0.0,
        };
        differences.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
        differences
    }

    /// What of the inputs differs: one finding, or none. The policy is none where only accuracies are compared.
    pub fn inputs_finding(&self, new: &Self, bitwise: bool, origin: &str) -> Option<Finding> {
        let counts = |input: &&(String, String)| bitwise || input.0 != NUMERICS;
        let gone: Vec<_> = self.inputs.iter().filter(counts).filter(|it| !new.inputs.contains(it)).collect();
        let come: Vec<_> = new.inputs.iter().filter(counts).filter(|it| !self.inputs.contains(it)).collect();
        if gone.is_empty() && come.is_empty() && (!bitwise || self.inputs == new.inputs) {
            return None;
        }
        let message = "it was made from other inputs; run the protocol it was made from, or accept a new one";
        let mut finding = Finding::new(Code::GoldenInputsDiffer, origin, message);
        for (key, value) in gone {
            finding = finding.with(format!("golden {key} {value}"));
        }
        for (key, value) in come {
            finding = finding.with(format!("now {key} {value}"));
        }
        Some(finding)
    }
}

/// The text of a snapshot's file; none where there is no file. What is no regular file, as a pipe, is not waited for.
fn text_of(path: &Path) -> Result<Option<String>> {
    let wrong = |problem| Error::at(path, problem, MEND);
    let meta = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        meta => meta.map_err(Error::io("read", path))?,
    };
    if !meta.is_file() {
        return Err(wrong("is no regular file"));
    }
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8 text"))?;
    // A checkout may have changed the ends of lines.
    Ok(Some(text.replace("\r\n", "\n")))
}

/// Writes a file whole or not at all, and its directory where there is none.
fn write(path: &Path, text: &str) -> Result<PathBuf> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).map_err(Error::io("create the directory", dir))?;
    whole::write(path, ".tmp", text.as_bytes())?;
    Ok(path.to_owned())
}

/// The differences as a table for people.
pub fn text(differences: &[Difference]) -> String {
    let mut table = text::plain(["run", "golden", "now", "points", "weights"]);
    let show = |count: Option<Count>| match count {
        Some(Count { correct, total }) => format!("{correct}/{total}"),
        None => "-".to_owned(),
    };
    for difference in differences {
        let points = difference.points().map_or_else(|| "-".to_owned(), |points| format!("{points:+.1}"));
        let weights = match (difference.old, difference.new) {
            (_, None) => "absent",
            (None, _) => "new",
            _ if difference.weights_differ => "differ",
            _ => "same",
        };
        table.add_row([
            difference.run.clone(),
            show(difference.old),
            show(difference.new),
            points,
            weights.to_owned(),
        ]);
    }
    text::numeric(&mut table, [1, 2, 3]);
    text::lines(&table)
}

#[cfg(test)]
mod tests;
