//! The shapes of what commands print: JSON for programs, text for people.
//!
//! Uses the library; used by `commands`. JSON.md documents the JSON; tests hold it to that. A field
//! is never taken away or given another meaning within a major version.

mod bisection;
pub mod chart;
mod comparison;
mod outline;
mod shown;
mod status;

pub use bisection::{Bisection, Missing};
pub use comparison::Comparison;
pub use outline::Outline;
use selffer::digest::{FingerprintDigest, ProtocolDigest, SplitDigest};
use selffer::manifest::{Environment, Manifest};
use selffer::plan::operations_in_a_row;
use selffer::protocol::{Layout, Protocol};
use selffer::recipe::Policy;
use selffer::table::{Cell, Table};
use selffer::text::{self, networks};
use selffer::treatment::{Task, Treatment};
use selffer::verify::golden;
use selffer::verify::{Checked, Code, Finding, Report, Severity};
use serde::Serialize;
pub use shown::Shown;
pub use status::Status;
use std::fmt::Write as _;

/// Operations a second that one job is taken to do where the store has no measured run. About what
/// the `ci` protocol's networks reach on one core of a present-day server.
const ASSUMED_SPEED: f64 = 40e9;

/// Findings of one code that are printed in full; JSON has them all.
const SHOWN: usize = 10;

/// A speed for people.
fn gflops(speed: f64) -> String {
    format!("{:.*} GFLOP/s", usize::from(speed < 1e10), speed / 1e9)
}

/// The JSON of a value, indented, with a newline at its end.
pub fn json<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a value that JSON can hold");
    text.push('\n');
    text
}

/// The JSON of a value on one line.
pub fn json_line<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string(value).expect("a value that JSON can hold");
    text.push('\n');
    text
}

#[derive(Serialize)]
pub struct Plan {
    protocol: String,
    protocol_digest: ProtocolDigest,
    data: selffer::digest::DataDigest,
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
const NO_SPEED: &str =
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
    fn basis(self) -> String {
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
}

#[derive(Serialize)]
struct PlanTask {
    classes: Vec<String>,
    train: usize,
    valid: usize,
}

#[derive(Serialize)]
struct PlanRun {
    run: String,
    split: String,
    target: Task,
    treatment: Treatment,
    n: u8,
    seed: u64,
    parent: Option<String>,
    images: u64,
    operations: u64,
    done: bool,
}

impl Plan {
    pub fn of(
        plan: &selffer::plan::Plan<'_>,
        manifests: &[Option<Manifest>],
        policy: Policy,
        jobs: usize,
        pace: Option<Pace>,
    ) -> Self {
        let task = |split: &selffer::split::Split, task| PlanTask {
            classes: split.task(task).iter().map(|class| class.name.clone()).collect(),
            train: split.count(task, selffer::data::Part::Train),
            valid: split.count(task, selffer::data::Part::Valid),
        };
        let splits = plan.splits.iter().map(|(split, digest)| PlanSplit {
            name: split.name.clone(),
            digest: *digest,
            a: task(split, Task::A),
            b: task(split, Task::B),
        });
        let runs: Vec<PlanRun> = plan
            .runs
            .iter()
            .zip(manifests)
            .map(|(run, manifest)| {
                let cost = plan.cost(run);
                PlanRun {
                    run: plan.name(run),
                    split: plan.splits[run.split].0.name.clone(),
                    target: run.treatment.target(),
                    treatment: run.treatment,
                    n: run.treatment.n(),
                    seed: run.seed,
                    parent: run.parent.map(|parent| plan.name(&plan.runs[parent])),
                    images: cost.images,
                    operations: cost.operations,
                    done: manifest.is_some(),
                }
            })
            .collect();
        let (mut operations, mut left, mut measured, mut seconds) = (0, 0, 0.0, 0.0);
        for (run, manifest) in runs.iter().zip(manifests) {
            operations = run.operations.saturating_add(operations);
            match manifest {
                None => left = run.operations.saturating_add(left),
                Some(manifest) => {
                    measured += run.operations as f64;
                    seconds += manifest.wall_ms as f64 / 1000.0;
                }
            }
        }
        let in_store = measured > 0.0 && seconds > 0.0;
        let assumed = plan.protocol.network.layout == Layout::Small && policy != Policy::Cuda;
        let speed = match pace {
            Some(pace) => Some(pace.speed),
            None if in_store => Some(measured / seconds),
            None => assumed.then_some(ASSUMED_SPEED),
        };
        let to_train = |run: &PlanRun| (!run.done).then_some(run.operations);
        let to_train: Vec<_> = runs.iter().map(to_train).collect();
        let in_a_row = operations_in_a_row(&plan.runs, &to_train, jobs);
        let costs = || plan.runs.iter().map(|run| plan.cost(run));
        Self {
            protocol: plan.protocol.name.clone(),
            protocol_digest: plan.protocol.digest(),
            data: plan.catalog.digest,
            numerics: policy,
            splits: splits.collect(),
            runs,
            operations,
            operations_left: left,
            seconds_left: speed.map(|speed| in_a_row / speed),
            jobs,
            speed,
            speed_measured: pace.map_or(in_store, |pace| pace.measured),
            disk: costs().map(|cost| cost.checkpoint).sum(),
            memory: costs().map(|cost| cost.memory).max().unwrap_or(0),
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
        for PlanSplit { name, digest, a, b } in &self.splits {
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
        }
        let mut table = text::plain(["run", "copies from", "images", "GFLOP", ""]);
        for run in &self.runs {
            table.add_row([
                run.run.clone(),
                run.parent.clone().unwrap_or_else(|| "-".to_owned()),
                run.images.to_string(),
                format!("{:.1}", run.operations as f64 / 1e9),
                if run.done { "done".to_owned() } else { String::new() },
            ]);
        }
        text::numeric(&mut table, [2, 3]);
        let done = self.runs.iter().filter(|run| run.done).count();
        let _ = writeln!(text, "\n{}\n", text::lines(&table));
        let _ = write!(text, "{}, {:.0} GFLOP", networks(self.runs.len()), self.operations as f64 / 1e9);
        let _ = match done {
            0 => write!(text, "; none is in the store"),
            _ => write!(text, "; {done} are in the store"),
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
                let clock = crate::progress::clock(seconds);
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

#[derive(Serialize)]
pub struct Reproduction {
    protocol: String,
    protocol_digest: ProtocolDigest,
    /// Networks that were trained just now, and that were in the store already.
    trained: usize,
    found: usize,
    cells: Vec<Cell>,
    checked: Vec<Checked>,
    golden: Comparison,
    pub findings: Vec<Finding>,
}

impl Reproduction {
    pub fn new(
        protocol: &Protocol,
        table: &Table,
        report: Report,
        golden: Comparison,
        trained: usize,
        found: usize,
    ) -> Self {
        Self {
            protocol: protocol.name.clone(),
            protocol_digest: protocol.digest(),
            trained,
            found,
            cells: table.cells.clone(),
            checked: report.checked,
            golden,
            findings: report.findings,
        }
    }

    pub fn text(&self, table: &Table) -> String {
        let compared: usize = self.checked.iter().map(|check| check.compared).sum();
        // What differs from the golden is a table of its own.
        let in_table = |code| {
            matches!(
                code,
                Code::GoldenAccuracyDiffers
                    | Code::GoldenWeightsDiffer
                    | Code::GoldenRunMissing
                    | Code::GoldenRunNew
            )
        };
        let listed: Vec<&Finding> = self.findings.iter().filter(|finding| !in_table(finding.code)).collect();
        format!(
            "{}\n{}{}\n{}: {} trained, {} found; {} comparisons; {}\n",
            table.text(),
            findings_text(&listed),
            self.golden.text().trim_end(),
            self.protocol,
            networks(self.trained),
            self.found,
            compared,
            summary(&self.findings),
        )
    }
}

#[derive(Serialize)]
pub struct GoldenCheck {
    pub golden: Comparison,
    pub findings: Vec<Finding>,
}

impl GoldenCheck {
    pub fn text(&self) -> String {
        let inputs: Vec<&Finding> = self.golden.inputs.iter().collect();
        format!("{}{}", findings_text(&inputs), self.golden.text())
    }
}

#[derive(Serialize)]
pub struct Accepted {
    pub written: String,
    pub reason: String,
    pub runs: usize,
    pub comparison: Comparison,
}

impl Accepted {
    pub fn text(&self) -> String {
        let changes = match (&self.comparison.file, self.comparison.differences.len()) {
            (None, _) => "it is the first\n".to_owned(),
            (Some(_), 0) => "no network differs from the one before\n".to_owned(),
            (Some(_), count) => {
                let differ = if count == 1 { "differs" } else { "differ" };
                format!(
                    "{} {differ} from the one before:\n{}\n",
                    networks(count),
                    golden::text(&self.comparison.differences)
                )
            }
        };
        format!("wrote {} with {}; {changes}", self.written, networks(self.runs))
    }
}

/// How this machine computes under a policy.
#[derive(Serialize)]
pub struct Fingerprint {
    numerics: Policy,
    fingerprint: FingerprintDigest,
    libtorch: String,
    cpu: String,
    settings: Vec<Setting>,
}

#[derive(Serialize)]
struct Setting {
    name: String,
    value: String,
}

impl Fingerprint {
    pub fn of(numerics: Policy, environment: Environment) -> Self {
        let Environment { selffer: _, libtorch, cpu, settings, fingerprint } = environment;
        let settings = settings.into_iter().map(|(name, value)| Setting { name, value }).collect();
        Self { numerics, fingerprint, libtorch, cpu, settings }
    }

    pub fn text(&self) -> String {
        let mut lines = vec![
            ("numerics", self.numerics.name().to_owned()),
            ("fingerprint", self.fingerprint.hex()),
            ("libtorch", self.libtorch.clone()),
            ("cpu", self.cpu.clone()),
        ];
        lines.extend(self.settings.iter().map(|setting| (setting.name.as_str(), setting.value.clone())));
        lines.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = writeln!(text, "{name:<20} {value}");
            text
        })
    }
}

/// What `verify` prints.
pub fn report_text(report: &Report) -> String {
    let mut text = String::new();
    for Checked { check, compared, findings, .. } in &report.checked {
        let _ = writeln!(text, "{compared:>7} compared, {findings:>3} wrong   {check}");
    }
    let findings: Vec<&Finding> = report.findings.iter().collect();
    let _ = write!(text, "\n{}{}\n", findings_text(&findings), summary(&report.findings));
    text
}

/// Findings as a list: those of one code together, long lists cut short.
pub fn findings_text(findings: &[&Finding]) -> String {
    let mut text = String::new();
    // A finding may be graded otherwise than its code is.
    for group in findings.chunk_by(|a, b| (a.code, a.severity) == (b.code, b.severity)) {
        let (code, severity) = (group[0].code, group[0].severity.name());
        let _ = writeln!(text, "{severity}[{code}] {}", code.description());
        for finding in group.iter().take(SHOWN) {
            let _ = writeln!(text, "  {}: {}", finding.subject, finding.message);
            for evidence in &finding.evidence {
                let _ = writeln!(text, "      {evidence}");
            }
        }
        if group.len() > SHOWN {
            let _ = writeln!(text, "  … and {} more; --format json lists all", group.len() - SHOWN);
        }
        text.push('\n');
    }
    text
}

pub fn summary(findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let warnings = count(Severity::Warning);
    let errors = match count(Severity::Error) {
        0 if warnings == 0 => return "clean".to_owned(),
        0 => "no error".to_owned(),
        errors => text::counted(errors, "error"),
    };
    match warnings {
        0 => errors,
        warnings => format!("{errors}, {warnings} to be warned of"),
    }
}
