//! Files written whole or not at all: beside their place, onto the disk, then renamed.
//!
//! Uses `error`; used by `data::packing`, `store`, `cluster::record`, `verify::golden` and `report::files`.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use tempfile::NamedTempFile;

/// A file in `dir` whose name begins so, to be written; unless it gets its own name, it is removed.
pub(crate) fn begin(dir: &Path, prefix: &str) -> Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(prefix)
        // As any program's files: who else may read them is for the umask to say. Opened here, since tempfile's own
        // errors, of opening and of writing, name the temporary file, which tells a user nothing.
        .make_in(dir, |path| File::options().read(true).write(true).create_new(true).open(path))
        .map_err(Error::io("write in", dir))
}

/// The same with those bytes in it, which is to become `path`.
pub(crate) fn filled(dir: &Path, prefix: &str, path: &Path, bytes: &[u8]) -> Result<NamedTempFile> {
    fill(begin(dir, prefix)?, path, bytes)
}

fn fill(mut file: NamedTempFile, path: &Path, bytes: &[u8]) -> Result<NamedTempFile> {
    file.as_file_mut().write_all(bytes).map_err(Error::io("write", path))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The full device takes no byte; who looks for a mend has to be told of the disk and of the file's own name.
    #[test]
    fn an_error_names_the_file_that_was_to_be_and_what_the_system_said() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join("x")).unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let path = tempfile::TempPath::try_from_path(dir.path().join("x")).unwrap();
        let error = fill(NamedTempFile::from_parts(full, path), Path::new("out.json"), b"1").unwrap_err();
        let said = "cannot write out.json: No space left on device (os error 28); free some space, then run the \
                    same command again";
        assert_eq!(error.to_string(), said);
        let gone = dir.path().join("gone");
        let error = begin(&gone, ".tmp-").unwrap_err().to_string();
        let said = format!(
            "cannot write in {}: No such file or directory (os error 2); check the name",
            gone.display()
        );
        assert_eq!(error, said);
    }
}
