//! The store: a directory of splits, checkpoints and manifests that are named by their content.
//!
//! Uses `manifest`, `split`, `weights`, `digest`; used by `run`, `verify` and others. Every result is
//! written beside its place, synced and renamed, so a name is either absent or whole, and verified when
//! it is read. A process that trains a network holds that network's lock, which the
//! system gives up when the process ends, however it ends.
//!
//! ```text
//! STORE/selffer-store                     what the directory is
//! STORE/splits/SPLIT.json                 named by the SHA-256 of the file
//! STORE/checkpoints/WEIGHTS.safetensors   named by the digest of the weights
//! STORE/manifests/RECIPE.json             named by the digest of the recipe
//! STORE/snapshots/RECIPE-STEPS.snapshot  states of unfinished runs: recipe's digest and steps done
//! STORE/report/                          the page with figures and tables, made from the rest
//! STORE/claims/RECIPE-NUMBER.json         who trains a network or did, and how far it is; see `claim`
//! STORE/jobs/                             what was handed to a queueing system; see `cluster`
//! STORE/locks/, STORE/new/                empty files; files being written, and who may sweep them
//! ```

mod claims;
mod names;
mod unfinished;

pub use self::claims::Last;
pub(crate) use self::names::REPORTS_BESIDE;
pub use self::names::{Entry, REPORT};

use self::names::{CHECKPOINTS, CLAIMS, JOBS, LOCKS, MANIFESTS, SNAPSHOTS, SPLITS, entry, relative};
use self::unfinished::{NEW, WRITERS, abandoned, unfinished};
use crate::digest::{Digest, RecipeDigest, SplitDigest, WeightsDigest};
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::snapshot::{SEAL, State};
use crate::split::Split;
use crate::weights::{self, Weights};
use crate::whole;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const MARK: &str = "selffer-store";
const MARK_TEXT: &[u8] = b"selffer store 1\n";

/// Bytes of a file that does not say itself how long it is, at the most.
const MOST: u64 = 1 << 30;

/// A store on disk.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    // A shared lock that every process that writes holds: who gets it alone may sweep.
    _writer: Option<File>,
}

/// The right to train one network; given up when dropped, or when the process ends.
pub struct Lock(#[expect(dead_code, reason = "held open, never read")] File);

/// What a look at a file of the store found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<T> {
    /// It is there and whole.
    Whole(T),
    /// It is not there.
    Absent,
    /// It is there, and not what its name says: why.
    Damaged(String),
}

impl<T> Found<T> {
    /// What was found, if it is there and whole.
    pub fn whole(self) -> Option<T> {
        match self {
            Self::Whole(value) => Some(value),
            Self::Absent | Self::Damaged(_) => None,
        }
    }
}

impl Store {
    /// Whether a directory is marked as a store.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn is_at(dir: &Path) -> Result<bool> {
        let mark = dir.join(MARK).metadata();
        match mark {
            Err(error) if whole::nothing(&error) => Ok(false),
            // Who named the directory has not heard of its mark.
            mark => Ok(mark.map_err(Error::io("look into", dir))?.is_file()),
        }
    }

    /// Opens the store in `dir` for writing; makes it where there is none, and sweeps away what killed
    /// processes left half-written.
    ///
    /// # Errors
    /// Where `dir` is another thing than a store or an empty directory, or cannot be written.
    pub fn create(dir: &Path) -> Result<Self> {
        let mark = dir.join(MARK);
        let make = |sub| whole::make_dir(&dir.join(sub));
        let marked = || whole::there(&mark).map(|mark| mark.is_some());
        // Another process may make the store between the two looks at the mark.
        if !marked()? && occupied(dir)? && !marked()? {
            let problem = "is a directory with other things in it, not a selffer store";
            let mend = "name an empty or a new directory";
            return Err(Error::at(dir, problem, mend));
        }
        if marked()? {
            Self::open(dir)?;
        }
        make(NEW)?;
        let path = dir.join(NEW).join(WRITERS);
        // Not the mark: a file that is renamed to its place can be another file than the one locked.
        let writers = whole::lock_file(&path)?;
        let mut store = Self { dir: tidy(dir), _writer: None };
        if writers.try_lock().is_ok() {
            store.sweep()?;
            writers.unlock().map_err(Error::io("unlock", &path))?;
        }
        writers.lock_shared().map_err(Error::io("lock", &path))?;
        store._writer = Some(writers);
        // The mark before the rest: a process killed here leaves what the next one recognises.
        if !marked()? {
            store.write(Path::new(MARK), MARK_TEXT)?;
        }
        for sub in [SPLITS, CHECKPOINTS, MANIFESTS, SNAPSHOTS, CLAIMS, LOCKS] {
            make(sub)?;
        }
        Ok(store)
    }

    /// Opens the store in `dir` for reading.
    ///
    /// # Errors
    /// Where there is none.
    pub fn open(dir: &Path) -> Result<Self> {
        let mark = dir.join(MARK);
        match whole::read(&mark, MOST) {
            Ok(None) => {
                let problem = "is no regular file, as the mark of a store is";
                Err(Error::at(&mark, problem, "name another store"))
            }
            Ok(Some(text)) if text == MARK_TEXT => Ok(Self { dir: tidy(dir), _writer: None }),
            Ok(_) => Err(Error::at(
                &mark,
                "is not the mark of a store of this version",
                "name another store, or write `selffer store 1` into that file if it was damaged",
            )),
            Err(error) if whole::nothing(&error) => {
                let problem = match whole::there(dir)? {
                    Some(_) => "is no selffer store",
                    None => "is not there",
                };
                Err(Error::at(dir, problem, "name a selffer store, or make one with `selffer reproduce`"))
            }
            Err(error) => Err(Error::io("read", &mark)(error)),
        }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of an entry's file.
    pub fn path(&self, entry: &Entry) -> PathBuf {
        self.dir.join(relative(entry))
    }

    /// Whether there is a file of that name, whole or not. A directory, a pipe or a link to itself is none.
    ///
    /// # Errors
    /// Where the system does not say, or the directory that it belongs into is none, or a link to what is not there: what
    /// is out of reach is not lost.
    pub fn has(&self, entry: &Entry) -> Result<bool> {
        let path = self.path(entry);
        match whole::there_at_all(&path)? {
            Some(found) => Ok(found.is_file()),
            None => absent(&path, false),
        }
    }

    /// Whether the weights that a manifest names are there, whole or not; of a network that diverged there are none to be.
    ///
    /// # Errors
    /// As for [`Store::has`].
    pub fn has_weights(&self, manifest: &Manifest) -> Result<bool> {
        manifest.weights().map_or(Ok(true), |weights| self.has(&Entry::Checkpoint(weights)))
    }

    /// Takes the lock of a network, if no other process or thread has it.
    ///
    /// # Errors
    /// Where the lock file cannot be made.
    pub fn try_lock(&self, recipe: RecipeDigest) -> Result<Option<Lock>> {
        let path = self.dir.join(LOCKS).join(recipe.hex());
        let file = whole::lock_file(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
        }
    }

    /// The manifest made by a recipe.
    ///
    /// # Errors
    /// Where the system does not let it be read. A damaged file is not an error; see [`Found`].
    pub fn manifest(&self, recipe: RecipeDigest) -> Result<Found<Manifest>> {
        self.read(&Entry::Manifest(recipe), |bytes| {
            let manifest = Manifest::from_bytes(bytes).map_err(|error| error.to_string())?;
            if manifest.recipe_digest() != recipe {
                return Err("its recipe is another than its name says".to_owned());
            }
            Ok(manifest)
        })
    }

    /// The weights of that digest.
    ///
    /// # Errors
    /// As for [`Store::manifest`].
    pub fn weights(&self, digest: WeightsDigest) -> Result<Found<Weights>> {
        self.read(&Entry::Checkpoint(digest), |bytes| {
            let weights = Weights::from_bytes(bytes).map_err(|error| error.to_string())?;
            if weights.digests().whole() != digest {
                return Err("its weights have another digest than its name says".to_owned());
            }
            Ok(weights)
        })
    }

    /// The split of that digest.
    ///
    /// # Errors
    /// As for [`Store::manifest`].
    pub fn split(&self, digest: SplitDigest) -> Result<Found<Split>> {
        self.read(&Entry::Split(digest), |bytes| {
            if Digest::of(bytes) != digest.0 {
                return Err("its bytes have another digest than its name says".to_owned());
            }
            serde_json::from_slice(bytes).map_err(|error| format!("it is no split ({error})"))
        })
    }

    /// Writes a manifest. Its checkpoint is to be there already: a manifest is what says that a network
    /// is finished.
    ///
    /// # Errors
    /// Where the system refuses; nothing half-written is left.
    pub fn put_manifest(&self, manifest: &Manifest) -> Result<()> {
        self.write(&relative(&Entry::Manifest(manifest.recipe_digest())), &manifest.to_bytes())
    }

    /// Writes weights, unless they are there and whole.
    ///
    /// # Errors
    /// As for [`Store::put_manifest`].
    pub fn put_weights(&self, weights: &Weights) -> Result<WeightsDigest> {
        let digest = weights.digests().whole();
        if self.weights(digest)?.whole().is_none() {
            self.write(&relative(&Entry::Checkpoint(digest)), &weights.to_bytes())?;
        }
        Ok(digest)
    }

    /// Writes a split, unless it is there and whole.
    ///
    /// # Errors
    /// As for [`Store::put_manifest`].
    pub fn put_split(&self, split: &Split) -> Result<SplitDigest> {
        let digest = split.digest();
        if self.split(digest)?.whole().is_none() {
            self.write(&relative(&Entry::Split(digest)), &split.to_bytes())?;
        }
        Ok(digest)
    }

    /// The state of a run after so many steps.
    ///
    /// # Errors
    /// As for [`Store::manifest`].
    pub fn snapshot(&self, recipe: RecipeDigest, steps: u64) -> Result<Found<State>> {
        self.read(&Entry::Snapshot(recipe, steps), |bytes| {
            let state = State::from_bytes(bytes)?;
            if state.progress.recipe != recipe {
                return Err("it is of another run than its name says".to_owned());
            }
            Ok(state)
        })
    }

    /// After how many steps there are snapshots of a run, in order.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn snapshots(&self, recipe: RecipeDigest) -> Result<Vec<u64>> {
        let mut steps = Vec::new();
        for path in self.inside(SNAPSHOTS)? {
            match entry(SNAPSHOTS, &path)? {
                Some(Some(Entry::Snapshot(of, count))) if of == recipe => steps.push(count),
                _ => {}
            }
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// Writes a snapshot of a run after so many steps.
    ///
    /// # Errors
    /// As for [`Store::put_manifest`].
    pub fn put_snapshot(&self, state: &State, steps: u64) -> Result<()> {
        self.write(&relative(&Entry::Snapshot(state.progress.recipe, steps)), &state.to_bytes())
    }

    /// Removes a snapshot, if it is there: another process may have removed it.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn remove_snapshot(&self, recipe: RecipeDigest, steps: u64) -> Result<()> {
        let path = self.path(&Entry::Snapshot(recipe, steps));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Every file of the store: what is an entry by its name, and the paths, relative to the store, of
    /// what has no business there, such as a file in the place of a directory.
    ///
    /// # Errors
    /// Where a directory cannot be read.
    pub fn list(&self) -> Result<(Vec<Entry>, Vec<PathBuf>)> {
        let (mut entries, mut strays) = (Vec::new(), Vec::new());
        for top in sorted(&self.dir)? {
            let name = top.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_dir = whole::there_at_all(&top)?.is_some_and(|found| found.is_dir());
            match name.as_str() {
                MARK => {}
                NEW if is_dir => {
                    let known = |path: &PathBuf| unfinished(path) || path.ends_with(WRITERS);
                    let inside = sorted(&top)?.into_iter().filter(|path| !known(path));
                    strays.extend(inside.map(|path| self.strip(&path)));
                }
                // Scripts and logs, of any name.
                JOBS if is_dir => {}
                SPLITS | CHECKPOINTS | MANIFESTS | SNAPSHOTS | CLAIMS | LOCKS if is_dir => {
                    for path in sorted(&top)? {
                        match entry(&name, &path)? {
                            Some(Some(entry)) => entries.push(entry),
                            Some(None) => {}
                            None => strays.push(self.strip(&path)),
                        }
                    }
                }
                // Made from the rest and checked by nobody: what it shows is what is checked.
                name if (name == REPORT || REPORTS_BESIDE.contains(&name)) && is_dir => {}
                _ => strays.push(self.strip(&top)),
            }
        }
        Ok((entries, strays))
    }

    /// The recipes that there are manifests of, by one look at the directory.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn manifests(&self) -> Result<Vec<RecipeDigest>> {
        let recipe = |path: &PathBuf| path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok();
        Ok(self.inside(MANIFESTS)?.iter().filter_map(recipe).collect())
    }

    /// The paths in a subdirectory, in order of name. A store that is being made has its mark before its directories, and
    /// one that is read may be older than some of them.
    fn inside(&self, sub: &str) -> Result<Vec<PathBuf>> {
        let dir = self.dir.join(sub);
        if whole::directory(&dir)? { sorted(&dir) } else { Ok(Vec::new()) }
    }

    fn strip(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.dir).unwrap_or(path).to_owned()
    }

    fn read<T>(&self, entry: &Entry, parse: impl FnOnce(&[u8]) -> Result<T, String>) -> Result<Found<T>> {
        let path = self.path(entry);
        // A file of tensors says how long it is: what is longer is damaged, and may be more than memory holds.
        let most = match entry {
            Entry::Checkpoint(_) => weights::length(&path, 0),
            Entry::Snapshot(..) => weights::length(&path, SEAL),
            Entry::Manifest(_) | Entry::Split(_) => None,
        };
        let most = most.unwrap_or(MOST);
        match whole::read(&path, most) {
            Ok(None) => Ok(Found::Damaged(format!("it {}", whole::no_file(most)))),
            Ok(Some(bytes)) => Ok(parse(&bytes).map_or_else(Found::Damaged, Found::Whole)),
            Err(error) if whole::nothing(&error) => absent(&path, Found::Absent),
            Err(error) if whole::circular(&error) => {
                let why = "it is a link that leads to itself, or through too many";
                absent(&path, Found::Damaged(why.to_owned()))
            }
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// Writes a file whole or not at all, and reads it again.
    fn write(&self, relative: &Path, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(relative);
        whole::settle(unfinished::filled(&self.dir, &path, bytes)?, &path)?;
        whole::sync(path.parent().unwrap_or(&self.dir))?;
        if fs::read(&path).map_err(Error::io("read", &path))? != bytes {
            let problem = "reads back otherwise than it was written";
            return Err(Error::at(&path, problem, "check the disk"));
        }
        Ok(())
    }

    /// Removes what killed processes left in `new/`. Only for who is the one writer.
    fn sweep(&self) -> Result<()> {
        for path in
            sorted(&self.dir.join(NEW))?.into_iter().filter(|path| unfinished(path) && abandoned(path))
        {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }
}

/// Whether `dir`, which has no mark, has anything in it that a process making a store did not leave.
fn occupied(dir: &Path) -> Result<bool> {
    let inside = |dir: &Path| match fs::metadata(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        _ => sorted(dir),
    };
    let new = dir.join(NEW);
    Ok(inside(dir)?.iter().any(|path| *path != new)
        || inside(&new)?.iter().any(|path| !unfinished(path) && *path != new.join(WRITERS)))
}

/// What is said of a file that cannot be had, where its directory is there or nothing is in its place.
fn absent<T>(path: &Path, said: T) -> Result<T> {
    path.parent().map_or(Ok(false), whole::directory).map(|_| said)
}

/// A path as it is written without a slash at its end, so that names within it read the same however it was typed.
fn tidy(dir: &Path) -> PathBuf {
    dir.components().collect()
}

/// The paths in a directory, in order of name.
fn sorted(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(Error::io("read the directory", dir))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(Error::io("read the directory", dir))?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests;
