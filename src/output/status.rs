//! What `selffer status` prints.
//!
//! Uses the library's `status`; used by `commands::status`. Text is cut to what fits a screen; JSON has all.

use super::findings_text;
use crate::progress::clock;
use selffer::claim::{Claim, now};
use selffer::cluster::Element;
use selffer::plan::Plan;
use selffer::recipe::Policy;
use selffer::status::{self, Failure, Standing};
use selffer::text::networks;
use selffer::verify::Finding;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Networks of one kind that are listed in text.
const LISTED: usize = 12;

/// How much of a log's end is looked at, and how many of its lines are shown.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 3;

#[derive(Serialize)]
pub struct Status {
    protocol: String,
    numerics: Policy,
    networks: usize,
    done: usize,
    running: Vec<Running>,
    queued: Vec<Queued>,
    waiting: Vec<Waiting>,
    /// Not done, and nobody has them: stopped ones begin where they were.
    free: Vec<String>,
    stopped: Vec<String>,
    failed: Vec<Failed>,
    barred: Vec<String>,
    /// Operations a second that one network gets, operations to be done, and seconds they may take.
    speed: Option<f64>,
    operations_left: u64,
    seconds_left: Option<f64>,
    troubled: BTreeMap<String, Vec<String>>,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Running {
    run: String,
    host: String,
    job: Option<String>,
    process: Option<u32>,
    images: Option<u64>,
    of: Option<u64>,
    since: Option<u64>,
    said_at: Option<u64>,
}

#[derive(Serialize)]
struct Queued {
    run: String,
    job: String,
    reason: String,
}

#[derive(Serialize)]
struct Waiting {
    run: String,
    on: String,
}

#[derive(Serialize)]
struct Failed {
    run: String,
    host: String,
    why: String,
    job: Option<String>,
    log: Option<String>,
    last_lines: Vec<String>,
}

impl Status {
    pub fn of(plan: &Plan<'_>, status: &status::Status, policy: Policy) -> Self {
        let name = |index: usize| plan.name(&plan.runs[index]);
        let mut shown = Self {
            protocol: plan.protocol.name.clone(),
            numerics: policy,
            networks: plan.runs.len(),
            done: 0,
            running: Vec::new(),
            queued: Vec::new(),
            waiting: Vec::new(),
            free: Vec::new(),
            stopped: Vec::new(),
            failed: Vec::new(),
            barred: Vec::new(),
            speed: status.speed,
            operations_left: status.operations_left,
            seconds_left: status.seconds_left,
            troubled: status.troubled.clone(),
            findings: status.findings.clone(),
        };
        for (index, standing) in status.standing.iter().enumerate() {
            match standing {
                Standing::Done => shown.done += 1,
                Standing::Barred => shown.barred.push(name(index)),
                Standing::Running(claim) => shown.running.push(running(claim)),
                Standing::Starting(job) => shown.running.push(starting(name(index), job)),
                Standing::Queued(job) => shown.queued.push(queued(name(index), job)),
                Standing::Waiting(on) => shown.waiting.push(Waiting { run: name(index), on: name(*on) }),
                Standing::Failed(failure) => shown.failed.push(failed(name(index), failure)),
                Standing::Stopped(_) => shown.stopped.push(name(index)),
                Standing::Free => shown.free.push(name(index)),
            }
        }
        shown
    }

    pub fn text(&self) -> String {
        let mut text = format!("{}: {} of {} done", self.protocol, self.done, networks(self.networks));
        for (count, what) in [
            (self.running.len(), "running"),
            (self.queued.len(), "in the queue"),
            (self.waiting.len(), "waiting for what they copy from"),
            (self.stopped.len(), "stopped"),
            (self.free.len(), "not begun"),
            (self.failed.len(), "failed"),
            (self.barred.len(), "that cannot be trained"),
        ] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        text.push('\n');
        self.speed_text(&mut text);
        listed(&mut text, "running", &self.running, |running| {
            let share = match (running.images, running.of) {
                (Some(images), Some(of)) => format!("{:3.0} %", 100.0 * images as f64 / of.max(1) as f64),
                _ => "begins".to_owned(),
            };
            let whose = match (&running.job, running.process) {
                (Some(job), _) => format!("job {job}"),
                (None, Some(process)) => format!("process {process}"),
                (None, None) => String::new(),
            };
            let since = running.since.map(|since| clock(now().saturating_sub(since) as f64));
            let since = since.map_or_else(String::new, |since| format!("for {since}"));
            format!("{:<28} {share:>6}  {since:<12} {}  {whose}", running.run, running.host)
        });
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for queued in &self.queued {
            *reasons.entry(queued.reason.as_str()).or_default() += 1;
        }
        let reasons: Vec<(&str, usize)> = reasons.into_iter().collect();
        listed(&mut text, "in the queue", &reasons, |(reason, count)| {
            format!("{count} {}", if reason.is_empty() { "to start" } else { reason })
        });
        let mut bases: BTreeMap<&str, usize> = BTreeMap::new();
        for waiting in &self.waiting {
            *bases.entry(waiting.on.as_str()).or_default() += 1;
        }
        let bases: Vec<(&str, usize)> = bases.into_iter().collect();
        listed(&mut text, "waiting", &bases, |(base, count)| format!("{count} for {base}"));
        listed(&mut text, "failed", &self.failed, |failed| {
            let place = match failed.host.as_str() {
                status::UNKNOWN => String::new(),
                host => format!("on {host}: "),
            };
            let mut lines = format!("{:<28} {place}{}", failed.run, failed.why);
            for line in &failed.last_lines {
                let _ = write!(lines, "\n      {line}");
            }
            lines
        });
        if !self.failed.is_empty() || !self.stopped.is_empty() {
            text.push_str(
                "\n`selffer reproduce`, or `selffer submit`, goes on from the last state of each\n",
            );
        }
        for (host, runs) in &self.troubled {
            let (count, more) = (runs.len(), if runs.len() > 3 { ", …" } else { "" });
            let names = runs.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            let _ = writeln!(
                text,
                "\n{host}: {} failed or were lost there ({names}{more}); where other machines do better, leave it out \
                 (for Slurm: --sbatch=--exclude={host})",
                networks(count)
            );
        }
        let findings: Vec<&Finding> = self.findings.iter().collect();
        match findings.is_empty() {
            true => text.push_str("\nno findings so far; `selffer verify` looks at everything\n"),
            false => {
                let _ = write!(text, "\nfindings so far\n{}", findings_text(&findings));
            }
        }
        text
    }

    fn speed_text(&self, text: &mut String) {
        let Some(speed) = self.speed else { return };
        let _ = write!(text, "{:.1} GFLOP/s a network", speed / 1e9);
        if let Some(seconds) = self.seconds_left.filter(|_| self.operations_left > 0) {
            let _ =
                write!(text, ", about {} left with {} at once", clock(seconds), self.running.len().max(1));
        }
        text.push('\n');
    }
}

/// A headed list, long ones cut short.
fn listed<T>(text: &mut String, head: &str, all: &[T], line: impl Fn(&T) -> String) {
    if all.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{head}");
    for one in all.iter().take(LISTED) {
        let _ = writeln!(text, "  {}", line(one).trim_end());
    }
    if all.len() > LISTED {
        let _ = writeln!(text, "  … and {} more; --format json lists all", all.len() - LISTED);
    }
}

fn running(claim: &Claim) -> Running {
    Running {
        run: claim.run.clone(),
        host: claim.holder.host.clone(),
        job: claim.holder.job.as_ref().map(|job| job.id.clone()),
        process: Some(claim.holder.pid),
        images: Some(claim.images),
        of: Some(claim.of),
        since: Some(claim.since),
        said_at: Some(claim.at),
    }
}

fn starting(run: String, job: &Element) -> Running {
    let name = Some(job.name()).filter(|name| !name.is_empty());
    let host = job.node.clone().unwrap_or_default();
    Running { run, host, job: name, process: None, images: None, of: None, since: None, said_at: None }
}

fn queued(run: String, job: &Element) -> Queued {
    let reason = match &job.phase {
        selffer::cluster::Phase::Queued(reason) => reason.clone(),
        _ => String::new(),
    };
    Queued { run, job: job.name(), reason }
}

fn failed(run: String, failure: &Failure) -> Failed {
    let log = failure.job.as_ref().and_then(|job| job.log.as_deref());
    Failed {
        run,
        host: failure.host.clone(),
        why: failure.why.clone(),
        job: failure.job.as_ref().map(Element::name),
        log: log.map(|log| log.display().to_string()),
        last_lines: log.map(tail).unwrap_or_default(),
    }
}

/// The last lines of a log, as far as it can be read.
fn tail(path: &Path) -> Vec<String> {
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| plain(line)).collect()
}

/// A line as a terminal would have it in the end, and without what a terminal would obey: what a program wrote over
/// is left out, and control characters are shown as such.
fn plain(line: &str) -> String {
    let line = line.trim_end_matches('\r');
    let last = line.rsplit('\r').next().unwrap_or(line);
    let shown = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    last.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_log_do_nothing_to_a_terminal() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("7_0.log");
        std::fs::write(&path, " 1 %\r 50 %\r100 %\r\n\x1b[2J\x1b]0;title\x07it\tfailed\n\u{9b}31mred\r\r\n")
            .unwrap();
        let shown = "\u{fffd}[2J\u{fffd}]0;title\u{fffd}it failed";
        assert_eq!(tail(&path), ["100 %", shown, "\u{fffd}31mred"]);
    }
}
