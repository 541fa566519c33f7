//! What of a plan was handed to an engine: one directory of the store for each batch.
//!
//! Uses `order`, `claim` and `whole`; written by `selffer submit`, read by `asked`.
//!
//! ```text
//! STORE/jobs/DIGEST/plan.json    the work order, named by its own digest
//! STORE/jobs/DIGEST/jobs.json    the engine, and the jobs that were made of it, the last one last
//! STORE/jobs/DIGEST/script.sh    what Slurm was given
//! STORE/jobs/DIGEST/*.log        what the jobs said
//! STORE/jobs/lock                held while one process submits
//! ```

use super::arrange::Batch;
use super::order::Order;
use super::{After, Engine};
use crate::claim::Holder;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::whole;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The file of an order, in its directory.
pub const ORDER: &str = "plan.json";
const JOBS: &str = "jobs.json";

/// Bytes of a record, at the most.
const MOST: u64 = 1 << 24;

/// The jobs that were made of one order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    engine: String,
    jobs: Vec<String>,
    /// The name that a job is being handed over under, which no other has: a process that is killed meanwhile leaves
    /// what can be asked for by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<String>,
}

/// A batch that was handed over.
#[derive(Debug)]
pub struct Handed {
    /// The file of its order.
    pub path: PathBuf,
    /// Its order, if it can be read.
    pub order: Result<Order>,
    /// Who has it, if the record can be read.
    pub given: Result<Given>,
}

/// Whom a batch was handed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The engine's name.
    pub engine: String,
    /// Its last job.
    pub job: Job,
}

/// A job, by what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Its name in its engine.
    Known(String),
    /// The name that it was to be found by, where the process that was submitting it was killed.
    Pending(String),
}

/// The right to submit for a store.
pub struct Submitting(#[expect(dead_code, reason = "held open, never read")] File);

/// The directory of all batches.
pub fn dir(store: &Path) -> PathBuf {
    store.join("jobs")
}

/// The file of an order that is or will be in a store.
pub fn path(store: &Path, order: &Order) -> PathBuf {
    dir(store).join(order.digest().hex()).join(ORDER)
}

/// Takes the right to submit.
///
/// # Errors
/// Where another process has it.
pub fn begin(store: &Store) -> Result<Submitting> {
    let dir = dir(store.dir());
    fs::create_dir_all(&dir).map_err(Error::io("create the directory", &dir))?;
    let path = dir.join("lock");
    let file = whole::lock_file(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(Submitting(file)),
        Err(TryLockError::WouldBlock) => {
            let problem = "another process is submitting or cancelling for this store";
            Err(Error::at(store.dir(), problem, "wait until it is through"))
        }
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
    }
}

/// Hands a batch over and writes down that it was. An engine that answers with an error may have taken it all the same
/// (it was slow to answer): it is asked by the name that no other job has. As long as it does not answer that either,
/// the name stays in the record, and what the job may have is not known.
///
/// # Errors
/// Where the store cannot be written, or the engine refuses.
pub fn hand_over(
    store: &Store,
    engine: &dyn Engine,
    batch: &Batch,
    order: &Order,
    after: &After,
) -> Result<String> {
    let path = path(store.dir(), order);
    let dir = path.parent().unwrap_or(store.dir());
    fs::create_dir_all(dir).map_err(Error::io("create the directory", dir))?;
    put(&path, &order.to_bytes())?;
    let before = made(dir)?;
    let name = job_name(&path);
    let record = dir.join(JOBS);
    let engine_name = engine.name().to_owned();
    let pending = Made { engine: engine_name.clone(), pending: Some(name.clone()), ..before.clone() };
    put(&record, &json(&pending))?;
    let job = match engine.submit(batch, &path, &name, after) {
        Ok(job) => job,
        Err(error) => match engine.find(&name, &path) {
            Ok(Some(job)) => job,
            Ok(None) => {
                put(&record, &json(&before))?;
                return Err(error);
            }
            Err(_) => return Err(error),
        },
    };
    let jobs = before.jobs.into_iter().chain([job.clone()]).collect();
    put(&record, &json(&Made { engine: engine_name, jobs, pending: None }))?;
    Ok(job)
}

/// A name for a job of that order: the order's own for people, and what no other submission has, be it of the same
/// plan into another store.
fn job_name(order: &Path) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let this = format!("{order:?} {:?} {now:?}", Holder::here());
    format!("{}-{}", shown_name(order), &Digest::of(this.as_bytes()).hex()[..8])
}

/// What a dry run shows as the name of that order's job: all but what tells one submission from others.
pub fn shown_name(order: &Path) -> String {
    let dir = order.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    format!("selffer-{}", &dir[..dir.len().min(16)])
}

fn json(made: &Made) -> Vec<u8> {
    serde_json::to_vec(made).expect("a record is JSON")
}

fn made(dir: &Path) -> Result<Made> {
    let path = dir.join(JOBS);
    if whole::there(&path)?.is_none() {
        return Ok(Made::default());
    }
    let refused = |problem| {
        let mend = "see to its jobs in the queue, then have them forgotten: `selffer cancel --forget`";
        Error::at(&path, problem, mend)
    };
    let bytes = whole::read(&path, MOST).map_err(Error::io("read", &path))?;
    let bytes = bytes.ok_or_else(|| refused(whole::no_file(MOST)))?;
    serde_json::from_slice(&bytes).map_err(|error| refused(format!("is no record of jobs ({error})")))
}

/// Writes a file whole or not at all.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    whole::write(path, ".tmp", bytes)
}

/// Takes a batch's jobs out of the store's memory. Its order and what its jobs said stay.
///
/// # Errors
/// Where the system refuses.
pub fn forget(order: &Path) -> Result<()> {
    let record = order.with_file_name(JOBS);
    fs::remove_file(&record).map_err(Error::io("remove", &record))
}

/// Every batch of a store, those that cannot be read too.
///
/// # Errors
/// Where the directory cannot be read.
pub fn handed(store: &Path) -> Result<Vec<Handed>> {
    let all = dir(store);
    if !whole::directory(&all)? {
        return Ok(Vec::new());
    }
    // What is no directory is none of selffer's.
    let read = || -> std::io::Result<Vec<PathBuf>> {
        let mut dirs = Vec::new();
        for entry in fs::read_dir(&all)? {
            let entry = entry?;
            dirs.extend(entry.file_type()?.is_dir().then(|| entry.path()));
        }
        Ok(dirs)
    };
    let mut dirs = read().map_err(Error::io("read the directory", &all))?;
    dirs.sort();
    let mut found = Vec::new();
    for dir in dirs {
        let path = dir.join(ORDER);
        match whole::there(&dir.join(JOBS)) {
            Ok(Some(_)) => {}
            Ok(None) => continue,
            // One that cannot be looked into hides no other, nor is it forgotten: its networks would be submitted again.
            Err(error) => {
                found.push(Handed { order: Order::read(&path), path, given: Err(error) });
                continue;
            }
        }
        let given = match made(&dir) {
            Ok(Made { engine, pending: Some(name), .. }) => Ok(Given { engine, job: Job::Pending(name) }),
            Ok(Made { engine, mut jobs, .. }) => match jobs.pop() {
                Some(job) => Ok(Given { engine, job: Job::Known(job) }),
                // Its engine refused it.
                None => continue,
            },
            Err(error) => Err(error),
        };
        // A pipe is waited for only where a user names it.
        let order = match path.is_file() || !path.exists() {
            true => Order::read(&path),
            false => {
                let mend =
                    "see to its jobs in the queue, then have them forgotten: `selffer cancel --forget`";
                Err(Error::at(&path, "is no regular file", mend))
            }
        };
        found.push(Handed { order, path, given });
    }
    Ok(found)
}
