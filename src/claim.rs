//! A claim: who trains a network, how far it is, and how that ended.
//!
//! Uses nothing else here; written by `fence`, kept by `store`, read by `status`. The claims
//! of one network are numbered from 1 and never taken away. The highest number holds: whoever has a lower
//! one may write nothing more. So the list of a network's claims also says who tried, where, and how often
//! it was finished.

use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often who trains a network says how far it is. METHODOLOGY.md has what that costs.
pub const BEAT: Duration = Duration::from_secs(20);

/// A claim of another machine that does not change for so long is one of a process that is gone. Above what
/// a shared file system may take to show a change (NFS: a minute) by several beats.
pub const STALE: Duration = Duration::from_secs(180);

/// A job of a queueing system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Its name there: `17`, or `17_3` for an element of an array.
    pub id: String,
    /// How often it was started again.
    pub restarts: u32,
}

/// A process that trains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// The machine's name, or what the queueing system calls it.
    pub host: String,
    /// What tells one start of one machine from all others. Within it, the system knows who is alive.
    pub boot: String,
    /// The process.
    pub pid: u32,
    /// The job that it is, if it is one.
    pub job: Option<Job>,
}

impl Holder {
    /// This process.
    pub fn here() -> Self {
        let system = |path: &str| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let host = variable("SLURMD_NODENAME").or_else(|| system("/proc/sys/kernel/hostname"));
        let array = variable("SLURM_ARRAY_JOB_ID").zip(variable("SLURM_ARRAY_TASK_ID"));
        let id = array.map(|(job, task)| format!("{job}_{task}")).or_else(|| variable("SLURM_JOB_ID"));
        let restarts = variable("SLURM_RESTART_COUNT").and_then(|text| text.parse().ok()).unwrap_or(0);
        Self {
            host: host.unwrap_or_else(|| "unknown".to_owned()),
            boot: system("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            pid: std::process::id(),
            job: id.map(|id| Job { id, restarts }),
        }
    }

    /// For people who know the machine: `process 17` or `job 12_3`.
    pub fn on_its_host(&self) -> String {
        match &self.job {
            Some(job) => format!("job {}", job.id),
            None => format!("process {}", self.pid),
        }
    }

    /// Whether a lock that one of the two holds is seen by the other for certain.
    pub fn beside(&self, other: &Self) -> bool {
        !self.boot.is_empty() && self.boot == other.boot
    }

    /// Whether this is a later start of the job that `other` is: the queueing system gave that one up,
    /// whether it knows of it or not.
    pub fn replaces(&self, other: &Self) -> bool {
        match (&self.job, &other.job) {
            (Some(ours), Some(theirs)) => ours.id == theirs.id && ours.restarts > theirs.restarts,
            _ => false,
        }
    }
}

/// For people: `host, process 17` or `host, job 12_3`.
impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", self.host, self.on_its_host())
    }
}

/// How far a claim has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Training.
    Training,
    /// All steps are done; checkpoint and manifest are being written.
    Finishing,
    /// This process put the network in the store.
    Finished,
    /// The network was in the store when this process got to it.
    Found,
    /// Stopped as asked, its state kept.
    Stopped,
    /// Another process was given the network while this one was training it: it stopped and left it to that one.
    Replaced,
    /// It could not go on: why.
    Failed(String),
    /// All steps were done, and then another process held the network: nothing was written.
    Superseded,
}

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The run's name. For people.
    pub run: String,
    /// Its number among the claims of its network, from 1.
    pub number: u64,
    /// Whose it is.
    pub holder: Holder,
    /// Whether the holder has the network's lock. A requeued copy may not have it yet, because the process that it
    /// replaces lives on with it. Claims of older programs do not say, and were made with the lock.
    #[serde(default = "yes")]
    pub locked: bool,
    /// When it was made, in seconds since 1970 by the holder's clock.
    pub since: u64,
    /// When it was last written.
    pub at: u64,
    /// Images that were behind it when this process took it up.
    pub from: u64,
    /// Images that are behind it.
    pub images: u64,
    /// Images it takes in all.
    pub of: u64,
    /// How far it has come.
    pub stage: Stage,
}

fn yes() -> bool {
    true
}

impl Claim {
    /// Whether the lock alone says at `here` if the holder still has the network. Else only the claim's silence does.
    pub fn told_by_lock(&self, here: &Holder) -> bool {
        self.over() || (self.locked && self.holder.beside(here))
    }

    /// How long ago it was last written, if the holder's clock and this machine's agree.
    pub fn silent(&self) -> Duration {
        Duration::from_secs(now().saturating_sub(self.at))
    }

    /// Whether the process says that it is through with it, well or not.
    pub fn over(&self) -> bool {
        !matches!(self.stage, Stage::Training | Stage::Finishing)
    }
}

/// Seconds since 1970, by this machine's clock.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
