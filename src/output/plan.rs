//! What `selffer plan` prints of a protocol whose images are there; `outline` has the others.

use crate::progress::clock;
use selffer::cost::Cost;
use selffer::data::Part;
use selffer::digest::{DataDigest, ProtocolDigest, SplitDigest};
use selffer::manifest::Manifest;
use selffer::plan::{PlannedRun, operations_in_a_row};
use selffer::protocol::Layout;
use selffer::recipe::Policy;
use selffer::split::Split;
use selffer::text::{self, are, networks};
use selffer::treatment::{Task, Treatment};
use serde::Serialize;
use std::fmt::Write as _;

/// Operations a second that one job is taken to do where the store has no measured run. About what
/// the `ci` protocol's networks reach on one core of a present-day server.
const ASSUMED_SPEED: f64 = 40e9;

/// A speed for people.
pub(super) fn gflops(speed: f64) -> String {
    format!("{:.*} GFLOP/s", usize::from(speed < 1e10), speed / 1e9)
}

#[derive(Serialize)]
pub struct Plan {
    protocol: String,
    protocol_digest: ProtocolDigest,
    data: DataDigest,
    numerics: Policy,
    splits: Vec<PlanSplit>,
    runs: Vec<PlanRun>,
    /// All operations of the plan, and those that are still to be done.
    operations: u64,
    operations_left: u64,
    /// Seconds that they are expected to take with that many jobs; none where no speed is known.
    seconds_left: Option<f64>,
    jobs: usize,
    /// Operations a second and job behind that estimate, and whether it was measured, in this store or just now.
    speed: Option<f64>,
    speed_measured: bool,
    /// Bytes of all checkpoints, and of memory for the network that takes most.
    disk: u64,
    memory: u64,
    #[serde(skip)]
    pace: Option<Pace>,
}

/// How long a plan takes whose speed nobody knows.
pub(super) const NO_SPEED: &str =
    "how long it takes is not known: --measure finds out; or name a measured speed with --speed";

/// Images of a base network that one job trains a second, and the operations that they take, as it was given, or measured just now.
#[derive(Clone, Copy)]
pub struct Pace {
    pub images: f64,
    pub speed: f64,
    pub measured: bool,
}

impl Pace {
    /// What it rests on, for people.
    pub(super) fn basis(self) -> String {
        match self.measured {
            true => format!(
                "measured now: {:.*} images/s of a base network",
                usize::from(self.images < 100.0),
                self.images
            ),
            false => "given".to_owned(),
        }
    }
}

#[derive(Serialize)]
struct PlanSplit {
    name: String,
    digest: SplitDigest,
    #[serde(rename = "A")]
    a: PlanTask,
    #[serde(rename = "B")]
    b: PlanTask,
    /// Classes of the data that are in none of the two.
    neither: Vec<String>,
}

#[derive(Serialize)]
struct PlanTask {
    classes: Vec<String>,
    train: usize,
    valid: usize,
}

#[derive(Serialize)]
struct PlanRun {
    #[serde(flatten)]
    listed: Listed,
    done: bool,
}

/// A network of a plan, with its images or without.
#[derive(Serialize)]
pub(super) struct Listed {
    run: String,
    split: String,
    target: Task,
    treatment: Treatment,
    n: u8,
    seed: u64,
    parent: Option<String>,
    images: u64,
    operations: u64,
}

impl Listed {
    /// The run of that index, whose split is called so.
    pub(super) fn of(
        runs: &[PlannedRun],
        at: usize,
        cost: &Cost,
        split: &str,
        name: impl Fn(&PlannedRun) -> String,
    ) -> Self {
        let run = &runs[at];
        Self {
            run: name(run),
            split: split.to_owned(),
            target: run.treatment.target(),
            treatment: run.treatment,
            n: run.treatment.n(),
            seed: run.seed,
            parent: run.parent.map(|parent| name(&runs[parent])),
            images: cost.images,
            operations: cost.operations,
        }
    }

    /// Its row in a table, the operations in so many at once.
    pub(super) fn row(&self, unit: f64) -> [String; 4] {
        [
            self.run.clone(),
            self.parent.clone().unwrap_or_else(|| "-".to_owned()),
            self.images.to_string(),
            format!("{:.1}", self.operations as f64 / unit),
        ]
    }
}

impl PlanSplit {
    fn of(split: &Split, digest: SplitDigest, classes: &[String]) -> Self {
        let task = |task| PlanTask {
            classes: split.task(task).iter().map(|class| class.name.clone()).collect(),
            train: split.count(task, Part::Train),
            valid: split.count(task, Part::Valid),
        };
        let (a, b) = (task(Task::A), task(Task::B));
        let divided = |class: &&String| a.classes.contains(class) || b.classes.contains(class);
        let neither = classes.iter().filter(|class| !divided(class)).cloned().collect();
        Self { name: split.name.clone(), digest, a, b, neither }
    }
}

/// Operations a second and job that the networks in the store were trained at, those to their end; none where it has none.
fn measured(costs: &[Cost], manifests: &[Option<Manifest>]) -> Option<f64> {
    let (mut operations, mut seconds) = (0.0, 0.0);
    for (cost, manifest) in costs.iter().zip(manifests) {
        if let Some(manifest) = manifest
            && manifest.trained().is_some()
        {
            operations += cost.operations as f64;
            seconds += manifest.wall_ms as f64 / 1000.0;
        }
    }
    (operations > 0.0 && seconds > 0.0).then(|| operations / seconds)
}

impl Plan {
    pub fn of(
        plan: &selffer::plan::Plan<'_>,
        manifests: &[Option<Manifest>],
        policy: Policy,
        jobs: usize,
        pace: Option<Pace>,
    ) -> Self {
        let costs: Vec<Cost> = plan.runs.iter().map(|run| plan.cost(run)).collect();
        let runs: Vec<PlanRun> = (0..plan.runs.len())
            .map(|at| {
                let split = &plan.splits[plan.runs[at].split].0.name;
                let listed = Listed::of(&plan.runs, at, &costs[at], split, |run| plan.name(run));
                PlanRun { listed, done: manifests[at].is_some() }
            })
            .collect();
        let to_train: Vec<_> = runs.iter().map(|run| (!run.done).then_some(run.listed.operations)).collect();
        let sum = |operations: &mut dyn Iterator<Item = u64>| operations.fold(0, u64::saturating_add);
        let measured = measured(&costs, manifests);
        let assumed = plan.protocol.network.layout == Layout::Small && policy != Policy::Cuda;
        let speed = pace.map(|pace| pace.speed).or(measured).or(assumed.then_some(ASSUMED_SPEED));
        let in_a_row = operations_in_a_row(&plan.runs, &to_train, jobs);
        Self {
            protocol: plan.protocol.name.clone(),
            protocol_digest: plan.protocol.digest(),
            data: plan.catalog.digest,
            numerics: policy,
            splits: plan
                .splits
                .iter()
                .map(|(split, digest)| PlanSplit::of(split, *digest, &plan.catalog.data.classes))
                .collect(),
            operations: sum(&mut costs.iter().map(|cost| cost.operations)),
            operations_left: sum(&mut to_train.iter().copied().flatten()),
            runs,
            seconds_left: speed.map(|speed| in_a_row / speed),
            jobs,
            speed,
            speed_measured: pace.map_or(measured.is_some(), |pace| pace.measured),
            disk: costs.iter().map(|cost| cost.checkpoint).sum(),
            memory: costs.iter().map(|cost| cost.memory).max().unwrap_or(0),
            pace,
        }
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "protocol {} {}, data {}, {} numerics\n\n",
            self.protocol,
            self.protocol_digest,
            self.data,
            self.numerics.name()
        );
        for PlanSplit { name, digest, a, b, neither } in &self.splits {
            let _ = writeln!(text, "split {name} {digest}");
            for (task, PlanTask { classes, train, valid }) in [("A", a), ("B", b)] {
                if !classes.is_empty() {
                    let _ = writeln!(
                        text,
                        "  {task}: {train} training and {valid} validation images of {}",
                        classes.join(", ")
                    );
                }
            }
            if !neither.is_empty() {
                let _ = writeln!(text, "  in neither task: {}", neither.join(", "));
            }
        }
        let mut table = text::plain(["run", "copies from", "images", "GFLOP", ""]);
        for run in &self.runs {
            let done = if run.done { "done" } else { "" };
            table.add_row(run.listed.row(1e9).into_iter().chain([done.to_owned()]));
        }
        text::numeric(&mut table, [2, 3]);
        let done = self.runs.iter().filter(|run| run.done).count();
        let _ = writeln!(text, "\n{}\n", text::lines(&table));
        let _ = write!(text, "{}, {:.0} GFLOP", networks(self.runs.len()), self.operations as f64 / 1e9);
        let _ = match done {
            0 => write!(text, "; none is in the store"),
            _ => write!(text, "; {done} {} in the store", are(done)),
        };
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (disk, memory) = (mib(self.disk), mib(self.memory));
        let _ = write!(text, "\n{disk:.1} MiB of checkpoints; at least {memory:.1} MiB of memory a job");
        let basis = match (self.pace, self.speed_measured) {
            (Some(pace), _) => pace.basis(),
            (None, true) => "measured in this store".to_owned(),
            (None, false) => "assumed".to_owned(),
        };
        match self.seconds_left.zip(self.speed) {
            Some((_, speed)) if done == self.runs.len() => {
                if self.pace.is_some() {
                    let _ = write!(text, "\n{} a job ({basis})", gflops(speed));
                }
            }
            None if done == self.runs.len() => {}
            Some((seconds, speed)) => {
                let clock = clock(seconds);
                let _ = write!(
                    text,
                    "\nabout {clock} with {}, at {} a job ({basis})",
                    text::counted(self.jobs, "job"),
                    gflops(speed)
                );
            }
            None => text.push_str(&format!("\n{NO_SPEED}")),
        }
        text.push('\n');
        text
    }
}
