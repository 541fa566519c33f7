//! What `selffer plan` prints of a protocol whose images are not there.

use super::plan::{Listed, NO_SPEED, Pace, gflops};
use crate::progress::clock;
use selffer::digest::ProtocolDigest;
use selffer::plan::operations_in_a_row;
use selffer::published::VALID_PER_CLASS;
use selffer::text;
use serde::Serialize;
use std::fmt::Write as _;

/// The plan by counts alone: as a plan, without what only images say.
#[derive(Serialize)]
pub struct Outline {
    protocol: String,
    protocol_digest: ProtocolDigest,
    /// No digest: the images are not there.
    data: Option<String>,
    splits: Vec<OutlineSplit>,
    runs: Vec<Listed>,
    /// More than 64 bits hold, hence no whole number.
    operations: f64,
    /// Seconds for all of them with that many jobs; none where no speed was given.
    seconds_left: Option<f64>,
    jobs: usize,
    /// Operations a second and job, and whether that was measured just now.
    speed: Option<f64>,
    speed_measured: bool,
    /// Bytes: of all checkpoints, of the packed images, and of memory for the network that takes most.
    disk: u64,
    disk_images: u64,
    memory: u64,
    #[serde(skip)]
    pace: Option<Pace>,
}

#[derive(Serialize)]
struct OutlineSplit {
    name: String,
    #[serde(rename = "A")]
    a: OutlineTask,
    #[serde(rename = "B")]
    b: OutlineTask,
}

#[derive(Serialize)]
struct OutlineTask {
    classes: usize,
    valid: u64,
}

impl Outline {
    /// The outline with so many jobs, each as fast as that, if it is known.
    pub fn of(outline: &selffer::outline::Outline<'_>, jobs: usize, pace: Option<Pace>) -> Self {
        let task = |classes: usize| OutlineTask { classes, valid: VALID_PER_CLASS * classes as u64 };
        let splits = outline.protocol.splits.iter().zip(&outline.classes);
        let splits =
            splits.map(|(rule, [a, b])| OutlineSplit { name: rule.name.clone(), a: task(*a), b: task(*b) });
        let costs: Vec<_> = outline.runs.iter().map(|run| outline.cost(run)).collect();
        let runs = (0..outline.runs.len()).map(|at| {
            let split = &outline.protocol.splits[outline.runs[at].split].name;
            Listed::of(&outline.runs, at, &costs[at], split, |run| outline.name(run))
        });
        let operations: f64 = costs.iter().map(|cost| cost.operations as f64).sum();
        let to_train: Vec<_> = costs.iter().map(|cost| Some(cost.operations)).collect();
        let in_a_row = operations_in_a_row(&outline.runs, &to_train, jobs);
        Self {
            protocol: outline.protocol.name.clone(),
            protocol_digest: outline.protocol.digest(),
            data: None,
            splits: splits.collect(),
            runs: runs.collect(),
            operations,
            seconds_left: pace.map(|pace| in_a_row / pace.speed),
            jobs,
            speed: pace.map(|pace| pace.speed),
            speed_measured: pace.is_some_and(|pace| pace.measured),
            disk: costs.iter().map(|cost| cost.checkpoint).sum(),
            disk_images: outline.pack(),
            memory: costs.iter().map(|cost| cost.memory).max().unwrap_or(0),
            pace,
        }
    }

    pub fn text(&self) -> String {
        let mut text =
            format!("protocol {} {}, counted without its images\n\n", self.protocol, self.protocol_digest);
        for OutlineSplit { name, a, b } in &self.splits {
            let _ = writeln!(text, "split {name}");
            for (task, OutlineTask { classes, valid }) in [("A", a), ("B", b)] {
                if *classes > 0 {
                    let _ = writeln!(text, "  {task}: {classes} classes, {valid} validation images");
                }
            }
        }
        let mut table = text::plain(["run", "copies from", "images", "PFLOP"]);
        for run in &self.runs {
            table.add_row(run.row(1e15));
        }
        text::numeric(&mut table, [2, 3]);
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        let _ = writeln!(text, "\n{}\n", text::lines(&table));
        let _ = writeln!(
            text,
            "{} networks, {:.0} PFLOP\n{:.1} GiB of checkpoints and {:.1} GiB of packed images; at least {:.1} GiB of \
             memory a job",
            self.runs.len(),
            self.operations / 1e15,
            gib(self.disk),
            gib(self.disk_images),
            gib(self.memory)
        );
        match self.seconds_left.zip(self.pace) {
            Some((seconds, pace)) => {
                let hours = self.operations / pace.speed / 3600.0;
                let _ = writeln!(
                    text,
                    "about {} with {}, {hours:.0} hours of one, at {} a job ({})",
                    clock(seconds),
                    text::counted(self.jobs, "job"),
                    gflops(pace.speed),
                    pace.basis()
                );
            }
            None => {
                let _ = writeln!(text, "{NO_SPEED}");
            }
        }
        text
    }
}
