//! Files being written, in `new/`: each is renamed to its place when it is whole.
//!
//! Uses `whole`, and `claim` for what tells this machine from others; a part of `store`.

use crate::claim::Holder;
use crate::error::Result;
use crate::whole;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::NamedTempFile;

/// Where they are in a store.
pub(super) const NEW: &str = "new";

/// In `new/`: the file that every process that writes holds a shared lock on.
pub(super) const WRITERS: &str = "writers";

/// How names of files begin that are being written. After it comes what tells this start of this machine from
/// others: the lock of another machine's writers may not be seen here.
const UNFINISHED: &str = ".tmp";
/// After how long a file that another machine was writing is swept away all the same.
pub(super) const LEFT: Duration = Duration::from_secs(24 * 3600);

/// A file with those bytes, which is to become `path` in a store. Dropped before that, it is removed.
pub(super) fn filled(store: &Path, path: &Path, bytes: &[u8]) -> Result<NamedTempFile> {
    whole::filled(&store.join(NEW), &being_written(), path, bytes)
}

/// Whether a path in `new/` is of a file being written, by its name.
pub(super) fn unfinished(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(UNFINISHED)) && !path.is_dir()
}

/// How the names of files begin that this machine is writing.
pub(super) fn being_written() -> String {
    let boot: String = Holder::here().boot.chars().take(8).collect();
    format!("{UNFINISHED}-{boot}-")
}

/// Whether an unfinished file is one of this machine, or so old that nobody is writing it.
pub(super) fn abandoned(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let elsewhere = name.starts_with(&format!("{UNFINISHED}-")) && !name.starts_with(&being_written());
    let age = fs::metadata(path).and_then(|meta| meta.modified()).map(|time| time.elapsed());
    !elsewhere || age.is_ok_and(|age| age.is_ok_and(|age| age > LEFT))
}
