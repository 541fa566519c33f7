//! Files of a pack, each whole or not there: written beside their place, synced and renamed.
//!
//! Uses nothing else here; a part of `data::packing`.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::NamedTempFile;

/// What unfinished files' names begin with.
pub(crate) const UNFINISHED: &str = ".unfinished-";

/// A temporary file in `to`; unless it is persisted, it is removed.
pub(super) fn unfinished(to: &Path) -> Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(UNFINISHED)
        // As the umask says: one pack may serve many.
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(to)
        .map_err(Error::io("write in", to))
}

/// Gives a file its name once it is on the disk. The name is, once the directory is synced.
pub(super) fn settle(file: NamedTempFile, path: &Path) -> Result<()> {
    file.as_file().sync_all().map_err(Error::io("write", path))?;
    file.persist(path).map_err(|error| Error::io("write", path)(error.error))?;
    Ok(())
}

pub(super) fn sync(to: &Path) -> Result<()> {
    File::open(to).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", to))
}

pub(super) fn written(to: &Path, path: &Path, bytes: &[u8]) -> Result<NamedTempFile> {
    let mut file = unfinished(to)?;
    file.as_file_mut().write_all(bytes).map_err(Error::io("write", path))?;
    Ok(file)
}

pub(super) fn write(to: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    settle(written(to, path, bytes)?, path)?;
    sync(to)
}
