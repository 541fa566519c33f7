//! Many machines: who trains the networks of a plan besides this process.
//!
//! Uses `plan` and `store`; used by the command line and, for what a job says of itself, by `status`. An
//! [`Engine`] takes batches, says how they stand, and takes them back. What a batch trains is in a file of
//! the store ([`order`]); what runs it is `selffer work`, which is the code of `selffer reproduce`. The store
//! is all that jobs have in common.

pub mod arrange;
pub mod asked;
pub mod local;
pub mod order;
pub mod record;
pub mod slurm;

use crate::error::Result;
use arrange::Batch;
use std::path::Path;

/// How an element of a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// In the queue, and why it is not running.
    Queued(String),
    /// Running.
    Running,
    /// Ended.
    Ended {
        /// With exit code 0.
        well: bool,
        /// Somebody took it back.
        cancelled: bool,
        /// How, in the engine's word.
        why: String,
    },
}

impl Phase {
    /// Whether it runs or will.
    pub fn alive(&self) -> bool {
        !matches!(self, Self::Ended { .. })
    }
}

/// Why an element has ended of which its engine knows nothing any more, though it began.
pub const FORGOTTEN: &str = "its queue has forgotten it";

/// An element of a job that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The job's name in its engine.
    pub job: String,
    /// Which of its elements, if it has several.
    pub index: Option<u32>,
    /// How it stands.
    pub phase: Phase,
    /// Where it runs or ran.
    pub node: Option<String>,
    /// Where it writes what it says.
    pub log: Option<std::path::PathBuf>,
}

impl Element {
    /// One of which nothing is known.
    pub fn unknown() -> Self {
        Self { job: String::new(), index: None, phase: Phase::Running, node: None, log: None }
    }

    /// One that began, and that its engine has forgotten: how it ended is not known.
    pub fn forgotten(job: &str, index: Option<u32>, log: std::path::PathBuf) -> Self {
        let phase = Phase::Ended { well: false, cancelled: false, why: FORGOTTEN.to_owned() };
        Self { job: job.to_owned(), index, phase, node: None, log: Some(log) }
    }

    /// Whether it is such a one.
    pub fn is_forgotten(&self) -> bool {
        matches!(&self.phase, Phase::Ended { why, .. } if why == FORGOTTEN)
    }

    /// For people: `17_3`.
    pub fn name(&self) -> String {
        match self.index {
            Some(index) => format!("{}_{index}", self.job),
            None => self.job.clone(),
        }
    }
}

/// What an engine takes at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Elements of one job; their indices are below it.
    pub array: usize,
    /// Elements of all jobs together.
    pub elements: usize,
    /// Whether it sees to the order itself: then everything is one element.
    pub whole: bool,
}

/// What runs `selffer work` somewhere.
pub trait Engine {
    /// Its name on the command line and in records.
    fn name(&self) -> &'static str;

    /// What it takes at the most.
    ///
    /// # Errors
    /// Where it does not say.
    fn limits(&self) -> Result<Limits>;

    /// Hands over a batch whose order is the file `order`, in a directory that is the batch's own. `name` is what
    /// [`Engine::find`] is to find it by; `after` are the jobs that it waits for. Answers with the job's own name.
    ///
    /// # Errors
    /// Where the engine refuses, or does not say that it took the batch: [`Engine::find`] tells the two apart.
    fn submit(&self, batch: &Batch, order: &Path, name: &str, after: &After) -> Result<String>;

    /// How the elements of these jobs stand, as far as the engine still knows them.
    ///
    /// # Errors
    /// Where it does not answer.
    fn poll(&self, jobs: &[String]) -> Result<Vec<Element>>;

    /// The machine that alone knows of a job, where that is not this one. Such a job is not to be polled.
    fn elsewhere(&self, _job: &str) -> Option<String> {
        None
    }

    /// The job that was given that name and that order, where it was handed over and it is not known what it became.
    ///
    /// # Errors
    /// Where it does not answer.
    fn find(&self, name: &str, order: &Path) -> Result<Option<String>>;

    /// Takes jobs back, or elements of them; what they trained so far is kept.
    ///
    /// # Errors
    /// Where it refuses.
    fn cancel(&self, jobs: &[String]) -> Result<()>;
}

/// What a batch waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct After {
    /// Each element for the element of the same index of this job, and that it ends well.
    pub paired: Option<String>,
    /// All elements for the end of this job, however it ends: so that not too many run at once.
    pub ended: Option<String>,
}
