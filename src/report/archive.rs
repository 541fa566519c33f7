//! What a report shows of the published archive: its audit, and every run's scores.
//!
//! Uses `audit::read_published`; makes a `report::model::Side`.

use super::model::{
    ACCURACIES, CONCLUSIONS, Curve, Entry, FINDINGS, Fact, Input, Parts, Place, Side, grouped,
};
use crate::audit::archive::Archive;
use crate::audit::files::RunFiles;
use crate::audit::log::UNPACKED_MAX;
use crate::audit::numbers::{Run, examples};
use crate::audit::{Published, read_published};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::text::counted;
use rayon::prelude::*;
use std::path::Path;

/// The side of the archive at `path`: its root, or the directory above it.
///
/// # Errors
/// Where `path` holds no archive, or the system does not let a file be read.
pub fn archive(path: &Path) -> Result<Side> {
    let Published { audit, archive, files, points } = read_published(path)?;
    let runs: Vec<Entry> = audit.runs.iter().zip(&files).map(|(run, files)| entry(run, files)).collect();
    let scored = runs.iter().filter(|run| run.accuracy.is_some()).count();
    let title = "Published".to_owned();
    let about = format!(
        "The paper's own archive of training logs: {}, {scored} of them with scores.",
        counted(runs.len(), "run")
    );
    let logs: usize = files.iter().map(|run| run.logs.len()).sum();
    let selection = audit.selection.clone();
    let mut side = Side::new(Parts { title, about, audit, points, runs });
    side.inputs = inputs(&archive, &files)?;
    side.facts = vec![
        Fact::words("runs", side.runs.len().to_string()),
        Fact::words("logs", grouped(logs as u64)),
        Fact::words("lists' md5 sums", sums(&side)),
    ];
    side.remarks = vec![
        "An accuracy is the authors' estimate: the mean of a run's ten highest validation scores.".to_owned(),
        "Weights were not published: what is here are the numbers that the logs hold.".to_owned(),
    ];
    if let Some(selection) = selection {
        side.remarks.push(format!(
            "Over {} that estimate exceeds the last score by {:.3} points on average, at most {:.3} ({}).",
            counted(selection.runs, "run"),
            100.0 * selection.mean,
            100.0 * selection.largest,
            selection.largest_run
        ));
    }
    side.commands = vec![
        (ACCURACIES, "selffer audit \"$ARCHIVE\" --format json | jq .cells".to_owned()),
        (FINDINGS, "selffer audit \"$ARCHIVE\" --format json | jq .findings".to_owned()),
        (CONCLUSIONS, "selffer audit \"$ARCHIVE\"".to_owned()),
    ];
    side.options = "--archive \"$ARCHIVE\"".to_owned();
    Ok(side)
}

fn sums(side: &Side) -> String {
    use crate::audit::splits::State;
    let splits = &side.audit.splits;
    if splits.sums_from.is_none() {
        return "none published at hand".to_owned();
    }
    let count = |state| splits.sums.iter().filter(|sum| sum.state == state).count();
    format!(
        "{} of {} match, {} differ, {} cannot be checked",
        count(State::Match),
        splits.sums.len(),
        count(State::Differs),
        count(State::Unchecked)
    )
}

fn processes(count: usize) -> String {
    if count == 1 { "1 process".to_owned() } else { format!("{count} processes") }
}

fn entry(run: &Run, files: &RunFiles) -> Entry {
    let mut facts = vec![Fact::words("learns", format!("{}: {} classes", run.target, files.name.classes()))];
    if let Some(last) = run.last {
        facts.push(Fact::words("last score", format!("{:.3} %", 100.0 * last)));
    }
    facts.push(Fact::words(
        "scores",
        format!("{}, of {} and {}", run.scores, counted(run.logs, "log"), processes(run.processes)),
    ));
    if run.missing > 0 {
        facts.push(Fact::words("scores missing", run.missing.to_string()));
    }
    for log in &files.logs {
        facts.push(Fact::code("log", files.at(&log.file)));
    }
    let places = files.history.scores.iter().map(|one| Place {
        at: one.score.iteration,
        valid: one.score.accuracy,
        valid_loss: one.score.loss,
        train: None,
        train_loss: None,
    });
    Entry {
        name: run.run.clone(),
        anchor: String::new(),
        split: run.split,
        treatment: run.treatment,
        target: run.target.clone(),
        examples: examples(files),
        accuracy: run.accuracy,
        right: None,
        images: files.name.images() as u64,
        at_chance: run.at_chance,
        lacks: run.accuracy.is_none().then(|| "no score is in its logs".to_owned()),
        parent: files.name.parent().map(|parent| parent.to_string()),
        facts,
        curve: Curve { unit: "iteration", places: places.collect() },
        command: format!(
            "selffer audit \"$ARCHIVE\" --format json | jq '.runs[] | select(.run == \"{}\")'",
            run.run
        ),
    }
}

/// Every log, with the SHA-256 of the file.
fn inputs(archive: &Archive, runs: &[RunFiles]) -> Result<Vec<Input>> {
    let paths = runs.iter().flat_map(|run| run.logs.iter().map(|log| run.at(&log.file)));
    let paths: Vec<String> = paths.collect();
    let input = |path: String| -> Result<Input> {
        let bytes = archive.bytes(&path, UNPACKED_MAX)?.map_err(|finding| {
            let mend = "let nothing change the archive while it is read";
            Error::invalid(path.clone(), format!("changed since it was read ({})", finding.message), mend)
        })?;
        Ok(Input { what: "log", path, digest: Digest::of(&bytes).hex() })
    };
    paths.into_par_iter().map(input).collect()
}
