//! A report on disk: written whole or not at all, and never over what selffer did not write.
//!
//! Uses `error` and `digest`; used by the command line. The files are written beside their place, in a directory that then
//! changes places with the report before. `SHA256SUMS` (for `sha256sum --check`) lists them: that is how a later report
//! knows what is its own.
//!
//! ```text
//! OUT/index.html            the page
//! OUT/figures/, OUT/data/   each figure as SVG, its numbers as CSV
//! OUT/SHA256SUMS            the digest of each file
//! ```

use super::{Files, PAGE};
use crate::digest::Digest;
use crate::error::{Error, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The file that lists the others.
const SUMS: &str = "SHA256SUMS";

/// Its first line.
const MARK: &str = "# selffer report 1";

/// Says whether a report can be written to `out`: there is nothing there, or an empty directory, or a report and nothing else.
///
/// # Errors
/// Where there is something else, or the system does not let it be read.
pub fn check(out: &Path) -> Result<()> {
    let refuse = |problem: String| {
        let mend = "name an empty or a new directory with --out";
        Err(Error::invalid(out.display().to_string(), problem, mend))
    };
    match fs::metadata(out) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("read", out)(error)),
        Ok(found) if !found.is_dir() => return refuse("is no directory".to_owned()),
        Ok(_) => {}
    }
    let found = below(out)?;
    if found.is_empty() {
        return Ok(());
    }
    let Some(own) = listed(out)? else {
        return refuse("is a directory with other things in it, not a report of selffer's".to_owned());
    };
    match found.iter().find(|path| !own.contains(*path) && path.as_path() != Path::new(SUMS)) {
        None => Ok(()),
        Some(path) => refuse(format!("has {} in it, which selffer did not write", path.display())),
    }
}

/// Writes a report to `asked`, in place of the one that is there. The answer is the path of the page.
///
/// # Errors
/// As [`check`], and where the system refuses; what was there before is there still.
pub fn write(asked: &Path, files: &Files) -> Result<PathBuf> {
    // Where `out` is a link, what it leads to is what changes places.
    let out = fs::canonicalize(asked).unwrap_or_else(|_| asked.to_owned());
    let parent = match out.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let Some(name) = out.file_name() else {
        let mend = "name a directory in another one with --out";
        return Err(Error::invalid(out.display().to_string(), "has no name to be replaced by", mend));
    };
    fs::create_dir_all(&parent).map_err(Error::io("create the directory", &parent))?;
    // One at a time. Where the file system has no locks, two at the same moment are the user's to avoid.
    let lock = File::open(&parent).map_err(Error::io("open", &parent))?;
    let _ = lock.lock();
    check(&out)?;
    let new = parent.join(staging(&name.to_string_lossy()));
    // What a killed process left, or the report before last.
    discard(&new)?;
    let made = fill(&new, files).and_then(|()| replace(&new, &out));
    let cleared = discard(&new);
    made?;
    cleared?;
    Ok(asked.join(PAGE))
}

/// The name of the directory in which a report of that name is made.
pub fn staging(name: &str) -> String {
    format!(".{name}.new")
}

fn fill(dir: &Path, files: &Files) -> Result<()> {
    let put = |path: &Path, bytes: &[u8]| {
        let path = dir.join(path);
        let parent = path.parent().unwrap_or(dir);
        fs::create_dir_all(parent).map_err(Error::io("create the directory", parent))?;
        fs::write(&path, bytes).map_err(Error::io("write", &path))
    };
    // First the list: whoever finds this half-written knows what may be removed.
    let mut sums = format!("{MARK}\n");
    for (path, bytes) in files {
        sums.push_str(&format!("{}  {path}\n", Digest::of(bytes).hex()));
    }
    put(Path::new(SUMS), sums.as_bytes())?;
    files.iter().try_for_each(|(path, bytes)| put(Path::new(path), bytes))
}

/// Puts `new` where `out` is; what was there is then where `new` was.
fn replace(new: &Path, out: &Path) -> Result<()> {
    let failed = || Error::io("write", out);
    if !out.exists() {
        return fs::rename(new, out).map_err(failed());
    }
    match renameat_with(CWD, new, CWD, out, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        // Not every file system can exchange two directories at once.
        Err(_) => {
            let aside = new.with_extension("old");
            fs::rename(out, &aside).map_err(failed())?;
            if let Err(error) = fs::rename(new, out) {
                let _ = fs::rename(&aside, out);
                return Err(failed()(error));
            }
            fs::rename(&aside, new).map_err(failed())
        }
    }
}

/// Removes a report that was replaced or never finished: the files that it lists, and directories that are empty then.
fn discard(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let own = listed(dir)?.unwrap_or_default();
    for path in own.iter().map(|path| dir.join(path)).chain([dir.join(SUMS)]) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io("remove", &path)(error));
            }
            _ => {}
        }
    }
    let mut dirs: BTreeSet<PathBuf> = BTreeSet::new();
    for path in &own {
        dirs.extend(path.ancestors().skip(1).map(|path| dir.join(path)));
    }
    // The deepest first. What is not empty has something that is not ours, and stays.
    for path in dirs.iter().rev().map(PathBuf::as_path).chain([dir]) {
        let _ = fs::remove_dir(path);
    }
    Ok(())
}

/// The paths that a report lists as its own; none where there is no list of a report.
fn listed(dir: &Path) -> Result<Option<BTreeSet<PathBuf>>> {
    let path = dir.join(SUMS);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
            return Ok(None);
        }
        Err(error) => return Err(Error::io("read", &path)(error)),
    };
    let mut lines = text.lines();
    if lines.next() != Some(MARK) {
        return Ok(None);
    }
    let inside = |path: &Path| path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let paths = lines.filter_map(|line| line.split_once("  ")).map(|(_, path)| PathBuf::from(path));
    Ok(Some(paths.filter(|path| inside(path)).collect()))
}

/// Everything below a directory that is no directory, by its path from there.
fn below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).map_err(Error::io("read the directory", &next))? {
            let entry = entry.map_err(Error::io("read the directory", &next))?;
            let kind = entry.file_type().map_err(Error::io("read", &entry.path()))?;
            match kind.is_dir() {
                true => open.push(entry.path()),
                false => found.push(entry.path().strip_prefix(dir).unwrap_or(&entry.path()).to_owned()),
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[(&str, &str)]) -> Files {
        texts.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
    }

    fn names(dir: &Path) -> Vec<String> {
        below(dir).unwrap().iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn a_report_takes_the_place_of_the_one_before_and_of_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("deep/report");
        let first = files(&[("index.html", "1"), ("figures/a.svg", "a")]);
        assert_eq!(write(&out, &first).unwrap(), out.join("index.html"));
        assert_eq!(names(&out), ["SHA256SUMS", "figures/a.svg", "index.html"]);
        let second = files(&[("index.html", "2"), ("data/b.csv", "b")]);
        write(&out, &second).unwrap();
        assert_eq!(names(&out), ["SHA256SUMS", "data/b.csv", "index.html"]);
        assert_eq!(fs::read_to_string(out.join("index.html")).unwrap(), "2");
        // Nothing is left beside it.
        assert_eq!(names(out.parent().unwrap()).len(), 3);
        fs::write(out.join("data/notes.txt"), "mine").unwrap();
        let refused = write(&out, &first).unwrap_err().to_string();
        assert!(refused.contains("notes.txt") && refused.contains("--out"), "{refused}");
        assert_eq!(fs::read_to_string(out.join("index.html")).unwrap(), "2");
    }

    #[test]
    fn other_directories_are_refused_and_empty_ones_taken() {
        let dir = tempfile::tempdir().unwrap();
        let report = files(&[("index.html", "1")]);
        for (name, other) in [("a", "index.html"), ("b", SUMS)] {
            let out = dir.path().join(name);
            fs::create_dir(&out).unwrap();
            fs::write(out.join(other), "mine").unwrap();
            assert!(write(&out, &report).is_err());
            assert_eq!(fs::read_to_string(out.join(other)).unwrap(), "mine");
        }
        fs::create_dir(dir.path().join("empty")).unwrap();
        write(&dir.path().join("empty"), &report).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(check(&dir.path().join("file")).is_err());
    }

    #[test]
    fn what_a_killed_process_left_is_no_hindrance() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("report");
        let new = dir.path().join(staging("report"));
        fill(&new, &files(&[("index.html", "half"), ("figures/x.svg", "x")])).unwrap();
        fs::remove_file(new.join("index.html")).unwrap();
        write(&out, &files(&[("index.html", "whole")])).unwrap();
        assert_eq!(names(dir.path()), ["report/SHA256SUMS", "report/index.html"]);
    }
}
