//! What of a plan was handed to an engine: one directory of the store for each batch.
//!
//! Uses `order`; written by `selffer submit`, read by `status`, `reproduce`, `cancel` and the next `submit`.
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
use super::{After, Element, Engine};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::recipe::Policy;
use crate::store::Store;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The file of an order, in its directory.
pub const ORDER: &str = "plan.json";
const JOBS: &str = "jobs.json";

/// The jobs that were made of one order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    engine: String,
    jobs: Vec<String>,
}

/// A batch that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// The file of its order.
    pub path: PathBuf,
    /// Its order.
    pub order: Order,
    /// The engine's name.
    pub engine: String,
    /// Its last job; none where the process that was submitting it was killed.
    pub job: Option<String>,
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
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(Error::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Submitting(file)),
        Err(_) => {
            let problem = "another process is submitting or cancelling for this store";
            Err(Error::invalid(store.dir().display().to_string(), problem, "wait until it is through"))
        }
    }
}

/// Hands a batch over and writes down that it was.
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
    let mut made = made(dir)?;
    // Before it is handed over: a process that is killed here leaves what can be asked for by name.
    made.engine = engine.name().to_owned();
    made.jobs.push(String::new());
    put(&dir.join(JOBS), &json(&made))?;
    let job = engine.submit(batch, &path, after);
    made.jobs.pop();
    made.jobs.extend(job.as_ref().ok().cloned());
    put(&dir.join(JOBS), &json(&made))?;
    job
}

fn json(made: &Made) -> Vec<u8> {
    serde_json::to_vec(made).expect("a record is JSON")
}

fn made(dir: &Path) -> Result<Made> {
    let path = dir.join(JOBS);
    if !path.exists() {
        return Ok(Made::default());
    }
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let mend = "cancel its jobs by hand, and delete its directory";
        Error::invalid(path.display().to_string(), format!("is no record of jobs ({error})"), mend)
    })
}

/// Writes a file whole or not at all.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    // Who may read it is for the umask to say: others follow the same store.
    let mut file = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(dir)
        .map_err(Error::io("write in", dir))?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    file.as_file().sync_all().map_err(Error::io("write", path))?;
    file.persist(path).map_err(|error| Error::io("write", path)(error.error))?;
    Ok(())
}

/// Every batch of a store.
///
/// # Errors
/// Where a record cannot be read.
pub fn handed(store: &Path) -> Result<Vec<Handed>> {
    let all = dir(store);
    if !all.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&all).map_err(Error::io("read the directory", &all))?;
    let mut dirs: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    dirs.sort();
    let mut found = Vec::new();
    for dir in dirs.into_iter().filter(|dir| dir.join(JOBS).exists()) {
        let Made { engine, jobs } = made(&dir)?;
        if let Some(job) = jobs.into_iter().next_back() {
            let path = dir.join(ORDER);
            let order = Order::read(&path)?;
            found.push(Handed { path, order, engine, job: Some(job).filter(|job| !job.is_empty()) });
        }
    }
    Ok(found)
}

/// What engines say of a plan's runs, by index. Of a run that several jobs have, one that is alive counts,
/// else the last.
///
/// # Errors
/// Where a record cannot be read, or an engine does not answer.
pub fn jobs(
    plan: &Plan<'_>,
    policy: Policy,
    store: &Path,
    engine: impl Fn(&str) -> Result<Box<dyn Engine>>,
) -> Result<HashMap<usize, Element>> {
    let digest = plan.protocol.digest();
    let mut handed = handed(store)?;
    handed.retain(|batch| batch.order.protocol_digest == digest && batch.order.numerics == policy);
    if handed.is_empty() {
        return Ok(HashMap::new());
    }
    let mut known = HashMap::with_capacity(plan.runs.len());
    known.extend(plan.runs.iter().enumerate().map(|(index, run)| (plan.name(run), index)));
    let mut found: HashMap<usize, Element> = HashMap::new();
    let mut engines: Vec<String> = handed.iter().map(|batch| batch.engine.clone()).collect();
    engines.sort();
    engines.dedup();
    for name in engines {
        let engine = engine(&name)?;
        let mut of: HashMap<String, &Handed> = HashMap::new();
        for batch in handed.iter().filter(|batch| batch.engine == name) {
            let job = match &batch.job {
                Some(job) => Some(job.clone()),
                None => engine.find(&super::slurm::job_name(&batch.path))?,
            };
            of.extend(job.map(|job| (job, batch)));
        }
        let names: Vec<String> = of.keys().cloned().collect();
        for mut element in engine.poll(&names)? {
            let Some(batch) = of.get(&element.job) else { continue };
            let log = match element.index {
                Some(index) => format!("{}_{index}.log", element.job),
                None => "local.log".to_owned(),
            };
            element.log = Some(batch.path.with_file_name(log));
            let runs = match element.index {
                Some(index) => batch.order.elements.get(&index).into_iter().flatten().collect::<Vec<_>>(),
                None => batch.order.elements.values().flatten().collect(),
            };
            for index in runs.into_iter().filter_map(|run| known.get(run)) {
                let better = |old: &Element| element.phase.alive() || !old.phase.alive();
                if found.get(index).is_none_or(better) {
                    found.insert(*index, element.clone());
                }
            }
        }
    }
    Ok(found)
}
