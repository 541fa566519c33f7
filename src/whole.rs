//! Files written whole or not at all: beside their place, onto the disk, then renamed.
//!
//! Uses `error`; used by `data::packing`, `store`, `cluster::record`, `verify::golden` and `report::files`.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::NamedTempFile;

/// A file in `dir` whose name begins so, to be written; unless it gets its own name, it is removed.
pub(crate) fn begin(dir: &Path, prefix: &str) -> Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(prefix)
        // As any program's files: who else may read them is for the umask to say.
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(dir)
        .map_err(Error::io("write in", dir))
}

/// The same with those bytes in it, which is to become `path`.
pub(crate) fn filled(dir: &Path, prefix: &str, path: &Path, bytes: &[u8]) -> Result<NamedTempFile> {
    let mut file = begin(dir, prefix)?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    Ok(file)
}

/// Gives a file its name once it is on the disk. The name is, once the directory is synced.
pub(crate) fn settle(file: NamedTempFile, path: &Path) -> Result<()> {
    file.as_file().sync_all().map_err(Error::io("write", path))?;
    file.persist(path).map_err(|error| Error::io("write", path)(error.error))?;
    Ok(())
}

/// Has a file, or the names in a directory, on the disk.
pub(crate) fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("sync", path))
}

/// Writes a file in the place of the one before; until it is there, it is beside it under a name that begins so.
pub(crate) fn write(path: &Path, prefix: &str, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    settle(filled(dir, prefix, path, bytes)?, path)?;
    sync(dir)
}
