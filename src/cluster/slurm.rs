//! Slurm: the script of a batch, and `sbatch`, `squeue`, `scancel`, `scontrol` called and read.
//!
//! Uses `arrange` and `flags`; used by the command line through [`Engine`]. What Slurm is asked is plain text in formats
//! that this module names itself, so nothing depends on how a site set its defaults.

use super::arrange::Batch;
use super::{After, Element, Engine, Limits, Phase};
use crate::error::{Error, Result};
use crate::resources::{Resources, WARN, flags};
use crate::text::shell_quoted;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Slurm's own defaults, where there is no Slurm to be asked.
pub const DEFAULTS: Limits = Limits { array: 1001, elements: 10_000, whole: false };

/// How squeue is asked: job, element, state, node, reason. The reason may hold anything, so it is last.
const FORMAT: &str = "%F|%K|%T|%N|%r";

/// What in the environment would send a call to another cluster than the one of this machine.
const CLUSTERS: [&str; 2] = ["SBATCH_CLUSTERS", "SLURM_CLUSTERS"];

/// How many jobs one call names.
const AT_ONCE: usize = 200;

/// The Slurm of this machine.
pub struct Slurm {
    program: PathBuf,
}

impl Slurm {
    /// Slurm, whose jobs run that program.
    ///
    /// # Errors
    /// Where there is none on this machine.
    pub fn find(program: PathBuf) -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|dir| dir.join("sbatch").is_file());
        match found {
            true => Ok(Self { program }),
            false => {
                let mend = "run it where jobs are submitted, take --engine local, or see with --dry-run";
                Err(Error::invalid("--engine slurm", "there is no Slurm on this machine (no sbatch)", mend))
            }
        }
    }

    /// The answer of a command of Slurm's, or why it refused.
    fn ask(command: &mut Command) -> Result<String> {
        let name = command.get_program().to_string_lossy().into_owned();
        // A user's own defaults for what is shown and whom it concerns are not for calls from here.
        for (variable, _) in std::env::vars_os() {
            let own = ["SQUEUE_", "SCANCEL_"].iter().any(|own| variable.to_string_lossy().starts_with(own));
            if own || CLUSTERS.iter().any(|other| variable == *other) {
                command.env_remove(variable);
            }
        }
        let out = command.output().map_err(Error::io("run", Path::new(&name)))?;
        match out.status.success() {
            true => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
            false => {
                let said = String::from_utf8_lossy(&out.stderr);
                // What comes before the last line led to it.
                let said = said.trim().lines().next_back().unwrap_or("it does not say why").to_owned();
                let mend = match name.as_str() {
                    "sbatch" => {
                        "see what Slurm says; what was submitted before stays, and the same command goes on"
                    }
                    _ => "see what Slurm says, and try again (`scontrol ping` tells whether it answers)",
                };
                Err(Error::invalid(name, format!("refused: {said}"), mend))
            }
        }
    }
}

/// A value as a line `#SBATCH --name=…` takes it.
fn directive(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=:,./+@%[]*".contains(c);
    match text.chars().all(plain) {
        true => text.to_owned(),
        // Slurm reads quotes and backslashes there as a shell does.
        false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

/// Indices as Slurm takes them: `0-4,7`.
fn ranges(indices: impl Iterator<Item = u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for index in indices {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => runs.push((index, index)),
        }
    }
    let one = |(from, to): (u32, u32)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    runs.into_iter().map(one).collect::<Vec<_>>().join(",")
}

/// The path as text, where it can stand in a script and in the name of a log.
///
/// # Errors
/// Where it cannot: Slurm replaces nothing in a log's name that has a backslash, a script is lines, and a path that
/// is no UTF-8 cannot be written down.
pub fn nameable(path: &Path) -> Result<&str> {
    let problem = match path.to_str() {
        Some(text) if text.contains('\\') => "has a backslash in it, which Slurm takes for a command",
        Some(text) if text.chars().any(char::is_control) => "has a line break or a control character in it",
        Some(text) => return Ok(text),
        None => "is not UTF-8, which a script has to be",
    };
    let mend = "name it by another path, such as a symbolic link to it";
    // In quotes that show what is in it.
    Err(Error::invalid(format!("{path:?}"), problem, mend))
}

/// What is done with a warning that came before the program was called: starting again would come to the same.
const LATE: &str = "\
trap '' USR1
if [ -n \"${late:-}\" ]; then
    echo 'the time limit is near before training could begin; submit again with a longer --time' >&2
    exit 2
fi
";

/// The options of a batch that stand in its script.
fn lines(batch: &Batch, name: &str) -> Vec<String> {
    let Resources { partition, gres, time, mem, cpus, warn_seconds, flags, setup: _ } = &batch.resources;
    let warn = warn_seconds.unwrap_or(WARN);
    let throttle = batch.throttle.map_or_else(String::new, |most| format!("%{most}"));
    let array = ranges(batch.elements.keys().copied());
    let mut lines = vec![
        format!("--job-name={name}"),
        format!("--array={array}{throttle}"),
        "--open-mode=append".to_owned(),
        "--requeue".to_owned(),
        "--kill-on-invalid-dep=yes".to_owned(),
        format!("--signal=B:USR1@{warn}"),
    ];
    let cpus = cpus.map(|cpus| cpus.to_string());
    for (name, value) in
        [("partition", partition), ("gres", gres), ("time", time), ("mem", mem), ("cpus-per-task", &cpus)]
    {
        lines.extend(value.as_ref().map(|value| format!("--{name}={}", directive(value))));
    }
    lines.extend(flags.iter().map(|flag| flags::line(flag, directive)));
    lines
}

/// The script of a batch.
///
/// No path stands in a line that Slurm reads; see [`options`]. `exec`, so that Slurm's signals reach the program.
pub fn script(program: &Path, batch: &Batch, order: &Path, name: &str) -> String {
    let Resources { warn_seconds, setup, .. } = &batch.resources;
    let warn = warn_seconds.unwrap_or(WARN);
    let mut text = "#!/bin/bash\n".to_owned();
    for line in lines(batch, name) {
        let _ = writeln!(text, "#SBATCH {line}");
    }
    // The warning may come while the lines of a user run, or before the program listens: it is not to end the job
    // without a word.
    text.push_str("trap 'late=1' USR1\n");
    for line in setup {
        let _ = writeln!(text, "{line}");
    }
    text.push_str(LATE);
    let (program, order) =
        (shell_quoted(&program.display().to_string()), shell_quoted(&order.display().to_string()));
    let _ = writeln!(
        text,
        "exec {program} work --plan {order} --index \"$SLURM_ARRAY_TASK_ID\" --warn-seconds {warn}"
    );
    text
}

/// The options of `sbatch` that are not in the script: what a batch waits for, and where it writes what it
/// says. A path may hold anything, and a percent sign in it is not to be replaced.
pub fn options(after: &After, order: &Path) -> Vec<String> {
    let paired = after.paired.as_ref().map(|job| format!("aftercorr:{job}"));
    let ended = after.ended.as_ref().map(|job| format!("afterany:{job}"));
    let all: Vec<String> = [paired, ended].into_iter().flatten().collect();
    let dependency = (!all.is_empty()).then(|| format!("--dependency={}", all.join(",")));
    let dir = order.parent().unwrap_or(Path::new(".")).display().to_string().replace('%', "%%");
    dependency.into_iter().chain([format!("--output={dir}/%A_%a.log")]).collect()
}

/// The elements in squeue's answer.
fn elements(text: &str) -> Vec<Element> {
    let one = |line: &str| -> Option<Element> {
        let [job, index, state, node, reason] = line.splitn(5, '|').collect::<Vec<_>>().try_into().ok()?;
        let phase = phase(state, reason);
        let node = Some(node.to_owned()).filter(|node| !node.is_empty() && phase_has_node(&phase));
        Some(Element { job: job.to_owned(), index: index.parse().ok(), phase, node, log: None })
    };
    text.lines().filter_map(one).collect()
}

fn phase_has_node(phase: &Phase) -> bool {
    !matches!(phase, Phase::Queued(_))
}

/// What Slurm's word for a state means here.
fn phase(state: &str, reason: &str) -> Phase {
    let reason = if reason == "None" { "" } else { reason };
    match state {
        "PENDING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "SPECIAL_EXIT" | "RESV_DEL_HOLD" => {
            Phase::Queued(reason.to_owned())
        }
        "RUNNING" | "COMPLETING" | "CONFIGURING" | "STAGE_OUT" | "SIGNALING" | "STOPPED" | "SUSPENDED"
        | "RESIZING" => Phase::Running,
        "COMPLETED" => Phase::Ended { well: true, cancelled: false, why: state.to_owned() },
        _ => {
            let why = match (state, reason) {
                (_, "") => state.to_owned(),
                (_, reason) if reason == state => state.to_owned(),
                _ => format!("{state} ({reason})"),
            };
            let cancelled = state == "CANCELLED";
            Phase::Ended { well: false, cancelled, why }
        }
    }
}

/// A number that `scontrol show config` prints.
fn setting(config: &str, name: &str) -> Option<usize> {
    let line = config.lines().find(|line| line.split_whitespace().next() == Some(name))?;
    line.split_once('=')?.1.trim().parse().ok()
}

impl Engine for Slurm {
    fn name(&self) -> &'static str {
        "slurm"
    }

    fn limits(&self) -> Result<Limits> {
        let config = Self::ask(Command::new("scontrol").args(["show", "config"]))?;
        Ok(Limits {
            array: setting(&config, "MaxArraySize").unwrap_or(DEFAULTS.array),
            elements: setting(&config, "MaxJobCount").unwrap_or(DEFAULTS.elements),
            whole: false,
        })
    }

    fn submit(&self, batch: &Batch, order: &Path, name: &str, after: &After) -> Result<String> {
        nameable(&self.program)?;
        nameable(order)?;
        let dir = order.parent().unwrap_or(Path::new("."));
        let path = dir.join("script.sh");
        std::fs::write(&path, script(&self.program, batch, order, name))
            .map_err(Error::io("write", &path))?;
        let mut call = Command::new("sbatch");
        call.current_dir("/").arg("--parsable").args(options(after, order)).arg(&path);
        // What in the environment goes before the lines of a script, and would undo them.
        for variable in flags::overriding(&lines(batch, name)) {
            call.env_remove(variable);
        }
        let answer = Self::ask(&mut call)?;
        // The job, and after a semicolon the cluster where there are several.
        let job = answer.trim().split(';').next().unwrap_or_default().to_owned();
        match job.parse::<u64>() {
            Ok(_) => Ok(job),
            Err(_) => {
                let problem = format!("answered `{}`, which names no job", answer.trim());
                Err(Error::invalid("sbatch", problem, "see `squeue`"))
            }
        }
    }

    fn poll(&self, jobs: &[String]) -> Result<Vec<Element>> {
        let mut found = Vec::new();
        for some in jobs.chunks(AT_ONCE) {
            let mut call = Command::new("squeue");
            call.args(["--noheader", "--array", "--states=all", "--format", FORMAT]);
            let answer = Self::ask(call.arg(format!("--jobs={}", some.join(","))));
            match answer {
                Ok(text) => found.extend(elements(&text)),
                // Of one job that it has forgotten it says so; of several it leaves those out.
                Err(error) if error.to_string().contains("Invalid job id") => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn find(&self, name: &str, _order: &Path) -> Result<Option<String>> {
        let mut call = Command::new("squeue");
        call.args(["--noheader", "--format", "%F", "--name", name]);
        Ok(Self::ask(&mut call)?.split_whitespace().next().map(str::to_owned))
    }

    fn cancel(&self, jobs: &[String]) -> Result<()> {
        for some in jobs.chunks(AT_ONCE) {
            Self::ask(Command::new("scancel").args(some))?;
        }
        Ok(())
    }
}

/// Has this job started again from the beginning of its script, at a time that Slurm chooses.
///
/// # Errors
/// Where Slurm refuses.
pub fn requeue(job: &str) -> Result<()> {
    Slurm::ask(Command::new("scontrol").args(["requeue", job])).map(|_| ())
}

#[cfg(test)]
mod tests;
