//! Files written whole or not at all: beside their place, onto the disk, then renamed. And read whole or not at all: what
//! is no regular file, such as a pipe, is not waited for, and what is too long is not taken into memory. That nothing is
//! at a place is told from that the system does not say.
//!
//! Uses `error`; used by whatever writes files or reads those that anybody may have put there.

use crate::error::{Error, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
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

/// Makes a directory where there is none, and those above it.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| match path.ancestors().find(|path| dangles(path)) {
        Some(link) => dangling(link),
        // Where something is, and may not be looked at, it is not in the way.
        None => there(path).err().unwrap_or_else(|| Error::io("create the directory", path)(error)),
    })
}

fn dangling(link: &Path) -> Error {
    let mend = "make the directory that it leads to, or name another place";
    Error::at(link, "is a link to what is not there", mend)
}

fn dangles(path: &Path) -> bool {
    path.is_symlink() && path.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// What is at a place, links followed; none where nothing is.
///
/// # Errors
/// Where the system does not say: a refused permission is not an absence.
pub fn there(path: &Path) -> Result<Option<Metadata>> {
    found(path, path.metadata())
}

/// The same, where a link that leads to itself is nothing.
pub(crate) fn there_at_all(path: &Path) -> Result<Option<Metadata>> {
    match path.metadata() {
        Err(error) if circular(&error) => Ok(None),
        meta => found(path, meta),
    }
}

/// Whether there is that directory.
///
/// # Errors
/// As of [`there`], and where something else is at its place: what belongs into it is out of reach, and not gone.
pub(crate) fn directory(path: &Path) -> Result<bool> {
    match there(path)? {
        Some(found) if found.is_dir() => Ok(true),
        Some(_) => Err(Error::at(path, "is no directory", "move it elsewhere")),
        None if there_itself(path)?.is_some() => Err(dangling(path)),
        None => Ok(false),
    }
}

/// The same as [`there`], links not followed.
pub(crate) fn there_itself(path: &Path) -> Result<Option<Metadata>> {
    found(path, path.symlink_metadata())
}

fn found(path: &Path, meta: io::Result<Metadata>) -> Result<Option<Metadata>> {
    match meta {
        Err(error) if nothing(&error) => Ok(None),
        meta => meta.map(Some).map_err(Error::io("read", path)),
    }
}

/// Whether the system said that nothing is at a place.
pub(crate) fn nothing(error: &io::Error) -> bool {
    use ErrorKind::*;
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}

/// Whether the system said that a link leads to itself: then it is there, and no file.
pub(crate) fn circular(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::LOOP)
}

/// What is not waited for when it is opened.
fn at_once() -> i32 {
    OFlags::NONBLOCK.bits() as i32
}

/// Opens a file for reading; a pipe is not waited for.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(at_once()).open(path)
}

/// Opens a file to lock, and makes it where there is none; a pipe is not waited for.
pub(crate) fn lock_file(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true).custom_flags(at_once());
    options.open(path).map_err(Error::io("open", path))
}

/// All of a regular file of at most so many bytes; none where there is anything else.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match open(path) {
        // A socket, or a device without anything behind it.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) => return Ok(None),
        file => file?,
    };
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > most {
        return Ok(None);
    }
    limited(file, meta.len(), most)
}

/// Why [`read`] gave nothing; completes the sentence "it …".
pub(crate) fn no_file(most: u64) -> String {
    format!("is no regular file of at most {most} bytes")
}

/// The text of a file that a user named, of at most so many bytes: also what another program writes into a pipe.
///
/// # Errors
/// Where it cannot be read, is longer, or no text; `mend` says what to name instead.
pub(crate) fn text(path: &Path, most: u64, mend: &str) -> Result<String> {
    let refused = |problem: String| Error::at(path, problem, mend);
    let bytes = File::open(path).and_then(|file| limited(file, 0, most)).map_err(Error::io("read", path))?;
    let bytes = bytes.ok_or_else(|| refused(format!("has more than {most} bytes")))?;
    String::from_utf8(bytes).map_err(|_| refused("is not UTF-8 text".to_owned()))
}

/// All that is in an open file, of `length` bytes as it seems; none where it is more than `most`.
fn limited(file: File, length: u64, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length as usize)?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= most))
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

    #[test]
    fn what_is_no_short_regular_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let [file, pipe, socket] = ["file", "pipe", "socket"].map(|name| dir.path().join(name));
        std::fs::write(&file, b"12345").unwrap();
        crate::testing::make_pipe(&pipe);
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(read(&file, 5).unwrap(), Some(b"12345".to_vec()));
        for other in [&pipe, &socket, dir.path(), Path::new("/dev/zero")] {
            assert_eq!(read(other, 5).unwrap(), None, "{}", other.display());
        }
        assert_eq!(read(&file, 4).unwrap(), None);
        // It says that it has no byte, and has some.
        assert_eq!(read(Path::new("/proc/self/stat"), 5).unwrap(), None);
        assert!(lock_file(&pipe).is_err() && lock_file(&file).unwrap().try_lock().is_ok());
        let endless = text(Path::new("/dev/zero"), 9, "name another").unwrap_err().to_string();
        assert_eq!(endless, "/dev/zero: has more than 9 bytes; name another");
    }
}
