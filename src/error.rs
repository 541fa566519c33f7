//! Why something could not be done, in one sentence that names the file and the mend.
//!
//! Used by every module that reads or writes. What is *wrong* with a result is not an error but a
//! [`Finding`](crate::verify::Finding); an error means that the program was unable to go on.

use rustix::io::Errno;
use std::io;
use std::path::Path;

/// What stopped the program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused a file operation.
    #[error("cannot {doing} {path}: {system}{mend}", mend = mend(system))]
    Io {
        /// What was tried, as a verb: `read`, `write`, `lock`.
        doing: &'static str,
        /// The file or directory.
        path: String,
        /// What the system said.
        system: io::Error,
    },
    /// A file, or a value that a user gave, is not what it has to be.
    #[error("{subject}: {problem}; {mend}")]
    Invalid {
        /// The file, option or value.
        subject: String,
        /// What is wrong with it.
        problem: String,
        /// What to do about it.
        mend: String,
    },
    /// The numerics policy cannot be honoured on this machine or in this process.
    #[error("cannot compute with `{policy}` numerics: {problem}")]
    Numerics {
        /// The policy's name.
        policy: &'static str,
        /// Why not, and the mend.
        problem: String,
    },
    /// libtorch failed.
    #[error("libtorch failed on {run}: {message}")]
    Torch {
        /// The run that was being trained or evaluated.
        run: String,
        /// What libtorch said.
        message: String,
    },
    /// Another process was given the network, by a queueing system that took this one for dead.
    #[error("{run} was taken over by {by}; this process stops and leaves it to that one")]
    Superseded {
        /// The run.
        run: String,
        /// Who has it now.
        by: String,
    },
    /// The user asked to stop (Ctrl-C, SIGTERM).
    #[error("stopped as asked; what was finished is kept, and the same command goes on from there")]
    Interrupted,
    /// The user asked to stop what keeps nothing.
    #[error("stopped as asked; nothing was kept, and the same command begins anew")]
    Stopped,
}

fn mend(system: &io::Error) -> &'static str {
    use io::ErrorKind::*;
    // What `ErrorKind` has no stable name for.
    match Errno::from_io_error(system) {
        Some(Errno::MFILE | Errno::NFILE) => {
            return "; raise the limit on open files (ulimit -n), then run the same command again";
        }
        Some(Errno::LOOP) => {
            return "; it is a link that leads to itself, or through too many: take it away, or name the place itself";
        }
        Some(Errno::NXIO) => return "; it is a pipe, a socket or a device: take it away",
        _ => {}
    }
    match system.kind() {
        StorageFull | QuotaExceeded => "; free some space, then run the same command again",
        FileTooLarge => "; raise the limit on file sizes (ulimit -f), then run the same command again",
        PermissionDenied | ReadOnlyFilesystem => "; allow it, or name another place",
        NotFound => "; check the name",
        InvalidFilename => "; take a shorter name",
        NotADirectory => "; name a directory",
        IsADirectory => "; it has to be a file",
        AlreadyExists => "; take away what is there, or name another place",
        _ => "",
    }
}

/// A text of one sentence; a name in it may have the end of a line in it.
fn on_one_line(name: String) -> String {
    name.replace('\n', "\\n")
}

impl Error {
    /// Wraps what the system said of one operation on `path`; for `map_err`.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = on_one_line(path.display().to_string());
        move |system| Self::Io { doing, path, system }
    }

    /// That file or directory is not what it has to be.
    pub fn at(path: impl AsRef<Path>, problem: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::invalid(path.as_ref().display().to_string(), problem, mend)
    }

    /// Something a user gave is not what it has to be.
    pub fn invalid(subject: impl Into<String>, problem: impl Into<String>, mend: impl Into<String>) -> Self {
        let [subject, problem, mend] = [subject.into(), problem.into(), mend.into()].map(on_one_line);
        Self::Invalid { subject, problem, mend }
    }
}

/// Of the names that are known, the one that is most like what was given; none where they are of other words.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let like = |name: &str| strsim::jaro_winkler(&given.to_lowercase(), &name.to_lowercase());
    known.into_iter().max_by(|a, b| like(a).total_cmp(&like(b))).filter(|name| like(name) > LIKE)
}

/// From where on two names are like each other, of 1 for the same: `per_jobs` and `per_job` are, `slurm` and `setup` not.
const LIKE: f64 = 0.7;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_the_system_says_comes_with_the_mend() {
        let dir = tempfile::tempdir().unwrap();
        let ring = dir.path().join("ring");
        std::os::unix::fs::symlink("ring", &ring).unwrap();
        let error = |error| Error::io("read", &ring)(error).to_string();
        assert_eq!(Error::at("a\nb", "is bad", "mend it").to_string(), "a\\nb: is bad; mend it");
        assert!(
            error(fs::read(&ring).unwrap_err())
                .ends_with("through too many: take it away, or name the place itself")
        );
        assert!(error(fs::read(dir.path()).unwrap_err()).ends_with("; it has to be a file"));
        assert!(error(fs::create_dir(dir.path()).unwrap_err()).ends_with("or name another place"));
        let many = error(io::Error::from_raw_os_error(Errno::MFILE.raw_os_error()));
        assert!(many.ends_with("(ulimit -n), then run the same command again"), "{many}");
    }
}
