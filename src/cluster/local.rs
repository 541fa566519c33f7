//! This machine as an engine: one `selffer work` in the background, for all networks of a plan.
//!
//! Uses `claim` and `arrange`; used by the command line through [`Engine`].

use super::arrange::Batch;
use super::{After, Element, Engine, Limits, Phase};
use crate::claim::Holder;
use crate::error::{Error, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// This machine, running that program.
pub struct Local {
    program: PathBuf,
}

impl Local {
    /// This machine.
    pub fn new(program: PathBuf) -> Self {
        Self { program }
    }
}

/// What tells a process from all others on this machine, before and after it: when it began. None where
/// there is none, or it ended and was not waited for.
fn began(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (*fields.first()? != "Z").then(|| fields.get(19).map(|&field| field.to_owned()))?
}

/// This start of this machine.
fn boot() -> String {
    Holder::here().boot.chars().take(8).collect()
}

/// This machine's name. Not what Slurm calls it: in a job or not, it is the same machine.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// A job's name but for its machine: the start of that, the process, and when it began.
fn stem(pid: u32) -> Option<String> {
    Some(format!("{}-{pid}-{}", boot(), began(pid)?))
}

/// The job that a process of this machine is.
fn job(pid: u32) -> Option<String> {
    Some(format!("{}@{}", stem(pid)?, host()))
}

/// The parts of a job's name: all but its machine, and its machine, which older programs did not write.
fn parts(job: &str) -> (&str, Option<&str>) {
    job.split_once('@').map_or((job, None), |(stem, host)| (stem, Some(host)))
}

/// The process of a job that is alive.
fn process(job: &str) -> Option<u32> {
    let ours = parts(job).0;
    let pid: u32 = ours.split('-').nth(1)?.parse().ok()?;
    (stem(pid).as_deref() == Some(ours)).then_some(pid)
}

/// Whether a process is a `selffer work` of that order.
fn works_on(pid: u32, order: &Path) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let order = order.canonicalize().ok();
    words.windows(3).any(|words| {
        let [b"work", b"--plan", path] = words else { return false };
        order.is_some() && Path::new(OsStr::from_bytes(path)).canonicalize().ok() == order
    })
}

/// The machine of a job that neither this start of this machine nor an earlier one has.
fn elsewhere(job: &str, boot: &str, host: &str) -> Option<String> {
    let (stem, its) = parts(job);
    let other = its.is_some_and(|its| its != host) && stem.split('-').next() != Some(boot);
    its.filter(|_| other).map(str::to_owned)
}

impl Engine for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn limits(&self) -> Result<Limits> {
        Ok(Limits { array: 1, elements: usize::MAX, whole: true })
    }

    fn submit(&self, _batch: &Batch, order: &Path, _name: &str, _after: &After) -> Result<String> {
        let path = order.with_file_name("local.log");
        let open = || File::options().create(true).append(true).open(&path);
        let [out, err] =
            [open().map_err(Error::io("write", &path))?, open().map_err(Error::io("write", &path))?];
        let mut call = Command::new(&self.program);
        call.arg("work").arg("--plan").arg(order);
        // A group of its own: Ctrl-C in this terminal is not for it.
        call.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        let child = call.spawn().map_err(Error::io("run", &self.program))?;
        job(child.id()).ok_or_else(|| {
            let problem = "ended as soon as it was started";
            Error::invalid("selffer work", problem, format!("see {}", path.display()))
        })
    }

    fn poll(&self, jobs: &[String]) -> Result<Vec<Element>> {
        let one = |job: &String| {
            let phase = match process(job) {
                Some(_) => Phase::Running,
                None => Phase::Ended { well: false, cancelled: false, why: String::new() },
            };
            Element { job: job.clone(), index: None, phase, node: Some(Holder::here().host), log: None }
        };
        Ok(jobs.iter().map(one).collect())
    }

    fn elsewhere(&self, job: &str) -> Option<String> {
        elsewhere(job, &boot(), &host())
    }

    /// By its order: the name is in no process.
    fn find(&self, _name: &str, order: &Path) -> Result<Option<String>> {
        let all = Path::new("/proc");
        let entries = std::fs::read_dir(all).map_err(Error::io("read the directory", all))?;
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Ok(pids.filter(|pid| works_on(*pid, order)).find_map(job))
    }

    fn cancel(&self, jobs: &[String]) -> Result<()> {
        for pid in jobs.iter().filter_map(|job| process(job)) {
            let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
            // One that ended since needs no signal.
            let _ = kill_process(pid, Signal::TERM);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::{Duration, Instant};

    /// A process that was started and not written down is found by the order that it has, however that is spelt.
    #[test]
    fn a_worker_is_found_by_its_order() {
        let dir = tempfile::tempdir().unwrap();
        let [order, other] = ["a", "b"].map(|name| dir.path().join(name).join("plan.json"));
        for order in [&order, &other] {
            std::fs::create_dir(order.parent().unwrap()).unwrap();
            std::fs::write(order, "{}").unwrap();
        }
        let local = Local::new(PathBuf::from("selffer"));
        assert_eq!(local.find("any", &order).unwrap(), None);
        // `work --plan ORDER` are arguments of its own that it never looks at.
        let mut call = Command::new("sh");
        call.args(["-c", "read line", "selffer", "work", "--plan"]).arg(&order).stdin(Stdio::piped());
        let mut worker = call.spawn().unwrap();
        // For a moment after it was started a process has no arguments to be seen.
        let begun = Instant::now();
        let found = loop {
            match local.find("any", &dir.path().join("b/../a/plan.json")).unwrap() {
                None if begun.elapsed() < Duration::from_secs(60) => thread::yield_now(),
                found => break found,
            }
        };
        assert_eq!(process(&found.unwrap()), Some(worker.id()));
        assert_eq!(local.find("any", &other).unwrap(), None);
        drop(worker.stdin.take());
        worker.wait().unwrap();
        assert_eq!(local.find("any", &order).unwrap(), None);
    }

    #[test]
    fn a_job_of_another_machine_is_told_from_one_that_ended_with_an_earlier_start_of_this() {
        for (job, other) in [
            ("aaaaaaaa-17-5@here", None),
            // Before this machine was started again.
            ("bbbbbbbb-17-5@here", None),
            ("bbbbbbbb-17-5@some-other_host", Some("some-other_host")),
            // This machine by another name.
            ("aaaaaaaa-17-5@before", None),
            // As older programs named them.
            ("bbbbbbbb-17-5", None),
        ] {
            assert_eq!(elsewhere(job, "aaaaaaaa", "here").as_deref(), other, "{job}");
        }
        let this = stem(std::process::id()).unwrap();
        assert_eq!(process(&format!("{this}@here")), Some(std::process::id()));
        assert_eq!(process(&this), Some(std::process::id()));
        assert_eq!(process(&format!("{this}0@here")), None);
    }
}
