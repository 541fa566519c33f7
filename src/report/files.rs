//! A report on disk: written whole or not at all, and never over what selffer did not write.
//!
//! Uses `error`, `digest` and `whole`; used by the command line. The files are written beside their place, in a directory
//! that is put on the disk and then changes places with the report before: a machine that goes down at any moment leaves
//! one of the two whole. `SHA256SUMS` (for `sha256sum --check`) lists them: that is how a later report
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
use crate::whole;
use rustix::fs::{Access, AtFlags, CWD, RenameFlags, StatxAttributes, StatxFlags, renameat_with};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The file that lists the others.
const SUMS: &str = "SHA256SUMS";

/// Its first line.
const MARK: &str = "# selffer report 1";

/// The ending of a report's name while another takes its place.
const ASIDE: &str = "old";

/// Bytes of a file, at the most.
const MOST: u64 = 1 << 30;

/// Bytes of a file's name, at the most.
const NAME_MAX: usize = 255;

/// How long another process is waited for without a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// Says whether a report can be written to `out`, where nothing can be lost: there is nothing, or an empty directory, or a
/// report as it was written.
///
/// # Errors
/// Where there is something else, or the directory cannot change places with another, or the system does not let it be
/// read or written.
pub fn check(out: &Path) -> Result<()> {
    look(out).or_else(|error| {
        // A report that another process is writing at this moment may look like anything: then it is waited for.
        let place = fs::canonicalize(out).unwrap_or_else(|_| out.to_owned());
        let parent = place_of(place.parent().unwrap_or(Path::new("")));
        let Ok(_lock) = lock(&parent, |_| ()) else { return Err(error) };
        look(out)
    })
}

/// [`check`], where nobody writes meanwhile.
fn look(out: &Path) -> Result<()> {
    let mend = "name an empty or a new directory with --out";
    let refuse = |problem: &str| Err(Error::at(out, problem, mend));
    match fs::metadata(out) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if out.is_symlink() {
                return refuse("is a link to what is not there");
            }
            let Some(name) = out.file_name() else { return refuse("is no name of a directory") };
            if staging(&name.to_string_lossy()).len() > NAME_MAX {
                return refuse("has a name that is too long");
            }
            let above = out.ancestors().skip(1).map(place_of);
            let Some(above) = above.into_iter().find(|above| above.exists()) else { return Ok(()) };
            writable(&above)?;
            return unfinished(&beside(out, name));
        }
        Err(error) => return Err(Error::io("read", out)(error)),
        Ok(found) if !found.is_dir() => return refuse("is no directory"),
        Ok(_) => {}
    }
    // A link is followed: what it leads to changes places.
    let place = fs::canonicalize(out).map_err(Error::io("read", out))?;
    let (Some(name), Some(parent)) = (place.file_name(), place.parent()) else {
        return refuse("is the root of all files and cannot change places with a new directory");
    };
    if mounted(&place, parent) {
        return refuse("is where a file system is mounted and cannot change places with a new directory");
    }
    writable(parent)?;
    if let Some(problem) = foreign(&place, true)? {
        let mend = "move it elsewhere, or name an empty or a new directory with --out";
        return Err(Error::at(out, problem, mend));
    }
    unfinished(&beside(&place, name))
}

/// A path as something that can be opened: a relative name's parent has none.
fn place_of(path: &Path) -> PathBuf {
    if path == Path::new("") { PathBuf::from(".") } else { path.to_owned() }
}

fn beside(out: &Path, name: &OsStr) -> PathBuf {
    out.with_file_name(staging(&name.to_string_lossy()))
}

fn writable(dir: &Path) -> Result<()> {
    let refused = |error: rustix::io::Errno| Error::io("write into the directory", dir)(error.into());
    rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK).map_err(refused)
}

/// Whether a file system begins there.
fn mounted(dir: &Path, parent: &Path) -> bool {
    let marked =
        rustix::fs::statx(CWD, dir, AtFlags::empty(), StatxFlags::BASIC_STATS).ok().and_then(|found| {
            let known = found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
            known.then(|| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
        });
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    marked.unwrap_or_else(|| device(dir) != device(parent))
}

/// Refuses to take for a report that was not finished what has something else in it.
fn unfinished(new: &Path) -> Result<()> {
    match new.is_symlink() || new.exists() {
        false => Ok(()),
        true => match foreign(new, false)? {
            None => Ok(()),
            Some(problem) => Err(Error::at(new, problem, "move it elsewhere; reports are made there")),
        },
    }
}

/// What a directory is or has in it that selffer did not write, or that was changed since: the first such thing, if there
/// is one. Where a report was not `finished`, files may be half-written.
fn foreign(dir: &Path, finished: bool) -> Result<Option<String>> {
    let no_report = || Some("is a directory with other things in it, not a report of selffer's".to_owned());
    if dir.is_symlink() || !dir.is_dir() {
        return Ok(Some("is no directory".to_owned()));
    }
    if fs::read_dir(dir).map_err(Error::io("read the directory", dir))?.next().is_none() {
        return Ok(None);
    }
    // The list before all else: what has none may be anything, and large.
    let Some(own) = listed(dir, finished)? else { return Ok(no_report()) };
    let dirs: BTreeSet<&Path> = own.keys().flat_map(|path| path.ancestors().skip(1)).collect();
    for (path, is_dir) in below(dir)? {
        let shown = path.display();
        let problem = match (is_dir, own.get(&path)) {
            (true, _) if dirs.contains(path.as_path()) => continue,
            (false, _) if path == Path::new(SUMS) => continue,
            (false, Some(_)) if !finished => continue,
            (false, Some(digest)) => {
                let path = dir.join(&path);
                // A link that took a file's place is another thing, whatever it leads to.
                let is =
                    |bytes: Option<Vec<u8>>| bytes.is_some_and(|bytes| Digest::of(&bytes).hex() == *digest);
                let same = !path.is_symlink() && whole::read(&path, MOST).is_ok_and(is);
                if same {
                    continue;
                }
                format!("has {shown} in it, which was changed since selffer wrote it")
            }
            _ => format!("has {shown} in it, which selffer did not write"),
        };
        return Ok(Some(problem));
    }
    Ok(None)
}

/// Writes a report to `asked`, in place of the one that is there. The answer is the path of the page. `waits` is called once
/// where another process writes beside it and takes long.
///
/// # Errors
/// As [`check`], and where the system refuses; what was there before is there still, or this one whole.
pub fn write(asked: &Path, files: &Files, waits: impl FnOnce(&Path)) -> Result<PathBuf> {
    check(asked)?;
    // Where `out` is a link, what it leads to is what changes places.
    let out = fs::canonicalize(asked).unwrap_or_else(|_| asked.to_owned());
    let parent = place_of(out.parent().unwrap_or(Path::new("")));
    whole::make_dir(&parent)?;
    let _lock = lock(&parent, waits)?;
    // Somebody may have been quicker.
    look(&out)?;
    let new = beside(&out, out.file_name().unwrap_or_default());
    // What a killed process left, or the report before last.
    discard(&new)?;
    let aside = new.with_extension(ASIDE);
    take_back(&aside, &out)?;
    // The one before goes when this one and its name are on the disk.
    let made = fill(&new, files)
        .and_then(|()| settle(&new))
        .and_then(|()| replace(&new, &out))
        .and_then(|()| whole::sync(&parent));
    let cleared = discard(&new);
    made?;
    cleared?;
    clear(&aside)?;
    Ok(asked.join(PAGE))
}

/// One at a time beside each other. Where the file system has no locks, two at the same moment are the user's to avoid.
fn lock(parent: &Path, waits: impl FnOnce(&Path)) -> Result<File> {
    let lock = File::open(parent).map_err(Error::io("open", parent))?;
    let begun = Instant::now();
    let mut waits = Some(waits);
    while let Err(TryLockError::WouldBlock) = lock.try_lock() {
        if let Some(waits) = waits.take_if(|_| begun.elapsed() > PATIENCE) {
            waits(parent);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(lock)
}

/// The name of the directory in which a report of that name is made. What ends otherwise is the report before, for a
/// moment. `store::names` knows both of a store's own report.
fn staging(name: &str) -> String {
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
    whole::sync(&dir.join(SUMS))?;
    whole::sync(dir)?;
    files.iter().try_for_each(|(path, bytes)| put(Path::new(path), bytes))
}

/// Has a directory on the disk with all that is in it: its whole file system at once, which is quicker than file by file.
fn settle(dir: &Path) -> Result<()> {
    let failed = || Error::io("write", dir);
    let opened = File::open(dir).map_err(failed())?;
    rustix::fs::syncfs(opened).map_err(|error| failed()(error.into()))
}

/// Puts `new` where `out` is; what was there is then where `new` was.
fn replace(new: &Path, out: &Path) -> Result<()> {
    let failed = || Error::io("write", out);
    let Ok(before) = fs::metadata(out) else { return fs::rename(new, out).map_err(failed()) };
    // Who may read it is for whoever made the directory to say.
    fs::set_permissions(new, before.permissions()).map_err(failed())?;
    match renameat_with(CWD, new, CWD, out, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        // Not every file system can exchange two directories at once.
        Err(_) => replace_in_turn(new, out),
    }
}

/// The same, one after the other.
fn replace_in_turn(new: &Path, out: &Path) -> Result<()> {
    let failed = || Error::io("write", out);
    let aside = new.with_extension(ASIDE);
    // One that was left there is of no use any more: those in `out` and `new` are whole.
    clear(&aside)?;
    fs::rename(out, &aside).map_err(Error::io("write", &aside))?;
    if let Err(error) = fs::rename(new, out) {
        let _ = fs::rename(&aside, out);
        return Err(failed()(error));
    }
    fs::rename(&aside, new).map_err(failed())
}

/// Puts a report back that a process had put aside when it was killed, where nothing took its place: it may be the only
/// whole one.
fn take_back(aside: &Path, out: &Path) -> Result<()> {
    let failed = || Error::io("write", out);
    let nothing = match fs::read_dir(out) {
        Ok(mut inside) => inside.next().is_none(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    if !nothing || !is_report(aside) {
        return Ok(());
    }
    if let Ok(before) = fs::metadata(out) {
        fs::set_permissions(aside, before.permissions()).map_err(failed())?;
    }
    // Over an empty directory as well.
    fs::rename(aside, out).map_err(failed())
}

/// Removes a report that was put aside; what is somebody's own stays.
fn clear(aside: &Path) -> Result<()> {
    if is_report(aside) { discard(aside) } else { Ok(()) }
}

/// Whether a directory is a report as selffer wrote it; a link to one is not.
fn is_report(dir: &Path) -> bool {
    dir.join(SUMS).is_file() && matches!(foreign(dir, true), Ok(None))
}

/// Removes a report that was replaced or never finished: the files that it lists, and directories that are empty then.
fn discard(dir: &Path) -> Result<()> {
    if dir.is_symlink() || !dir.is_dir() {
        return Ok(());
    }
    let own: BTreeSet<PathBuf> = listed(dir, false)?.unwrap_or_default().into_keys().collect();
    let remove = |path: &Path| match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    };
    own.iter().try_for_each(|path| remove(&dir.join(path)))?;
    let mut dirs: BTreeSet<PathBuf> = BTreeSet::new();
    for path in &own {
        dirs.extend(path.ancestors().skip(1).map(|path| dir.join(path)));
    }
    // The deepest first. What is not empty has something that is not ours, and stays. The list goes last: whoever is killed
    // here leaves what the next knows.
    for path in dirs.iter().rev() {
        let _ = fs::remove_dir(path);
    }
    remove(&dir.join(SUMS))?;
    let _ = fs::remove_dir(dir);
    Ok(())
}

/// The paths that a report lists as its own, each with its digest; none where there is no list of a report. Of one that is
/// not `finished`, the list itself may be half-written.
fn listed(dir: &Path, finished: bool) -> Result<Option<BTreeMap<PathBuf, String>>> {
    let path = dir.join(SUMS);
    let bytes = match whole::read(&path, MOST) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        read => read.map_err(Error::io("read", &path))?,
    };
    let Some(text) = bytes.and_then(|bytes| String::from_utf8(bytes).ok()) else { return Ok(None) };
    let mut lines = text.lines();
    if lines.next() != Some(MARK) && (finished || !MARK.starts_with(&text)) {
        return Ok(None);
    }
    let inside = |path: &Path| path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let pairs = lines.filter_map(|line| line.split_once("  "));
    let pairs = pairs.map(|(digest, path)| (PathBuf::from(path), digest.to_owned()));
    Ok(Some(pairs.filter(|(path, _)| inside(path)).collect()))
}

/// Everything below a directory by its path from there, and whether it is a directory.
fn below(dir: &Path) -> Result<Vec<(PathBuf, bool)>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).map_err(Error::io("read the directory", &next))? {
            let entry = entry.map_err(Error::io("read the directory", &next))?;
            let kind = entry.file_type().map_err(Error::io("read", &entry.path()))?;
            if kind.is_dir() {
                open.push(entry.path());
            }
            found.push((entry.path().strip_prefix(dir).unwrap_or(&entry.path()).to_owned(), kind.is_dir()));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
