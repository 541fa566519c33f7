//! The published archive as a tree of files: finds it, lists it, reads from it within stated limits.
//!
//! Uses `error`, `whole` and findings; used by `audit::files` and `audit::splits`. Links are read, never followed:
//! the authors link data sets and base networks, and a checkout without links has small text files with
//! the target in their place. Nothing but plain files is ever opened, and nothing outside the archive
//! except the sums file that may stand beside it.

use crate::error::{Error, Result};
use crate::verify::{Code, Finding};
use crate::whole;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

/// Entries of one directory; the published archive has 170 results.
pub const ENTRIES_MAX: usize = 10_000;

/// Bytes of one text file; the longest published network has 5 kB, the validation list 1.7 MB, and the
/// training list 43 MB.
pub const TEXT_MAX: u64 = 64 << 20;

/// Bytes of a network, solver or link file.
pub const SMALL_MAX: u64 = 1 << 20;

/// Why nothing is at a name that the archive has.
pub const NAMELESS: &str = "its name is no UTF-8 text, so it was not read";

/// Bytes of a link's target.
const LINK_MAX: usize = 4096;

/// Where the archive is.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The directory that has `results` and `ilsvrc12`.
    root: PathBuf,
}

impl Archive {
    /// The archive at `path`, which is its root or the directory above it.
    ///
    /// Returns none where neither has a directory `results`.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn at(path: &Path) -> Result<Option<Self>> {
        for root in [path.to_owned(), path.join("convnet_transfer")] {
            if whole::there_itself(&root.join("results"))?.is_some_and(|found| found.is_dir()) {
                return Ok(Some(Self { root }));
            }
        }
        Ok(None)
    }

    /// The archive at `path`, as [`Self::at`].
    ///
    /// # Errors
    /// Where there is none, or the system does not say.
    pub fn named(path: &Path) -> Result<Self> {
        if let Some(archive) = Self::at(path)? {
            return Ok(archive);
        }
        let problem = match whole::there(path)? {
            Some(_) => "holds neither a published archive (a directory `results`) nor a selffer store",
            None => "is not there",
        };
        let mend = "name the root of a published archive or of a selffer store";
        Err(Error::at(path, problem, mend))
    }

    /// The directory that has `results`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The names in a directory of the archive, in order; those that begin with a dot are left out. At a name that is no
    /// UTF-8 text nothing is found: [`NAMELESS`] says why.
    ///
    /// # Errors
    /// Where the directory cannot be read or has more than [`ENTRIES_MAX`] entries.
    pub fn names(&self, dir: &str) -> Result<Vec<String>> {
        let path = self.root.join(dir);
        let mut names = Vec::new();
        for (index, entry) in fs::read_dir(&path).map_err(Error::io("list", &path))?.enumerate() {
            if index >= ENTRIES_MAX {
                return Err(Error::at(
                    &path,
                    format!("has more than {ENTRIES_MAX} entries"),
                    "name the root of one archive",
                ));
            }
            let name = entry.map_err(Error::io("list", &path))?.file_name();
            let name = name.to_string_lossy().into_owned();
            if !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// What stands at that place, links not followed.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn kind(&self, file: &str) -> Result<Kind> {
        Ok(match whole::there_itself(&self.root.join(file))? {
            None => Kind::Absent,
            Some(found) if found.is_symlink() => Kind::Link,
            Some(found) if found.is_file() => Kind::File,
            Some(found) if found.is_dir() => Kind::Directory,
            Some(_) => Kind::Other,
        })
    }

    /// Opens a plain file; none where there is none at that place.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn open(&self, file: &str) -> Result<Option<File>> {
        if self.kind(file)? != Kind::File {
            return Ok(None);
        }
        let path = self.root.join(file);
        File::open(&path).map(Some).map_err(Error::io("read", &path))
    }

    /// The text of a plain file of at most `max` bytes; a finding where it is none.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn text(&self, file: &str, max: u64) -> Result<Result<String, Finding>> {
        let bytes = match self.bytes(file, max)? {
            Ok(bytes) => bytes,
            Err(finding) => return Ok(Err(finding)),
        };
        Ok(String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
            Finding::new(Code::FileNotText, file, "it is not UTF-8 text")
                .with(format!("{file}:{line}: byte {:#04x}", error.as_bytes()[at]))
        }))
    }

    /// The bytes of a plain file of at most `max` bytes; a finding where it is none.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn bytes(&self, file: &str, max: u64) -> Result<Result<Vec<u8>, Finding>> {
        let Some(open) = self.open(file)? else {
            let finding = match self.kind(file)? {
                Kind::Absent => Finding::new(Code::FileMissing, file, "there is no such file"),
                Kind::Link => {
                    Finding::new(Code::LinkForFile, file, "a link stands here; it was not followed")
                }
                _ => Finding::new(Code::FileMissing, file, "this is no plain file"),
            };
            return Ok(Err(finding));
        };
        let mut bytes = Vec::new();
        let path = self.root.join(file);
        open.take(max + 1).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
        if bytes.len() as u64 > max {
            let message = format!("it has more than {max} bytes; it was not read");
            return Ok(Err(Finding::new(Code::FileMalformed, file, message)));
        }
        Ok(Ok(bytes))
    }

    /// What is wrong with a link that stands where it is not followed.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn stray_link(&self, file: &str) -> Result<Finding> {
        Ok(match self.link(file)? {
            Some(Err(finding)) => finding,
            _ => Finding::new(Code::LinkForFile, file, "a link stands here; it was not followed"),
        })
    }

    /// Where a link points, as a path from the archive's root; a text file is a link to its content.
    /// None where nothing stands there.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn link(&self, file: &str) -> Result<Option<Result<String, Finding>>> {
        let path = self.root.join(file);
        let target = match self.kind(file)? {
            Kind::Absent => return Ok(None),
            Kind::Link => {
                let target = fs::read_link(&path).map_err(Error::io("read", &path))?;
                target.to_string_lossy().into_owned()
            }
            Kind::File => match self.text(file, SMALL_MAX)? {
                Ok(text) => text.trim_end_matches(['\n', '\r']).to_owned(),
                Err(finding) => return Ok(Some(Err(finding))),
            },
            Kind::Directory | Kind::Other => {
                let finding = Finding::new(Code::FileMalformed, file, "this is no link");
                return Ok(Some(Err(finding)));
            }
        };
        if target.is_empty() || target.len() > LINK_MAX || target.contains(['\n', '\0']) {
            return Ok(Some(Err(Finding::new(Code::FileMalformed, file, "it holds no link's target"))));
        }
        Ok(Some(resolved(file, &target).ok_or_else(|| {
            Finding::new(Code::LinkLeavesArchive, file, "it points out of the archive; it was not followed")
                .with(format!("{file} -> {target}"))
        })))
    }
}

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Absent,
    /// A symbolic link.
    Link,
    /// A plain file.
    File,
    /// A directory.
    Directory,
    /// A pipe, a device, a socket.
    Other,
}

/// The target of the link `file`, by its words alone; none where it leaves the archive.
fn resolved(file: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> =
        Path::new(file).parent()?.iter().map(|part| part.to_str()).collect::<Option<_>>()?;
    for component in Path::new(target).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_resolved_by_their_words() {
        let at = |target| resolved("results/half0A/basenet", target);
        assert_eq!(at("../half0B").as_deref(), Some("results/half0B"));
        assert_eq!(at("../../ilsvrc12/./data/x/").as_deref(), Some("ilsvrc12/data/x"));
        assert_eq!(at("../..").as_deref(), Some(""));
        for out in ["../../..", "/etc/passwd", "../../../half0A", "x/../../../../y"] {
            assert_eq!(at(out), None, "{out}");
        }
    }
}
