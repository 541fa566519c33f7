//! Which files are to be packed, and of which class: folders as they are, or lists of names.
//!
//! Uses `error`; used by `data::{packing, folder}`. Under the source are `train` and `valid` (or `val`, `validation`), each with a folder for
//! every class, or flat with a list file of lines `name class`, as ILSVRC2012's validation images have it. Classes are in
//! the order of their names by bytes, files too; a list keeps its own order.

use super::Part;
use crate::error::{Error, Result};
use crate::text::{are, counted};
use crate::whole;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Names that the directory of a part may have.
const DIRS: [&[&str]; 2] = [&["train"], &["valid", "val", "validation"]];

/// Endings of image files, in lower case.
const ENDINGS: [&str; 4] = ["jpeg", "jpg", "jpe", "png"];

/// Bytes that a list file may have: ILSVRC2012's has 43 million.
const LIST_MAX: u64 = 1 << 30;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Where it is.
    pub path: PathBuf,
    /// Its name within its part's directory.
    pub name: String,
    /// Its class, as an index into the classes.
    pub label: u16,
}

/// All files of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The classes' names.
    pub classes: Vec<String>,
    /// Training files and validation files, in the order in which they are packed.
    pub parts: [Vec<Listed>; 2],
    /// Files in class folders whose names do not end as an image's does.
    pub left_out: usize,
    /// The endings of those.
    pub endings: BTreeSet<String>,
}

/// Files of names, where folders do not say it all.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    /// Lines `name class` of the training and of the validation images.
    pub parts: [Option<PathBuf>; 2],
    /// Class names, one a line, in the order of their numbers.
    pub classes: Option<PathBuf>,
}

impl Listing {
    /// Lists what is under `from`.
    ///
    /// # Errors
    /// Where a directory or list is missing, a class has no image, or a name is of no use.
    pub fn of(from: &Path, lists: &Lists) -> Result<Self> {
        let mut classes = match &lists.classes {
            Some(path) => Some(class_names(path)?),
            None => None,
        };
        let mut left_out = Vec::new();
        let mut parts: [Vec<Listed>; 2] = Default::default();
        for part in Part::BOTH {
            let dir = part_dir(from, part)?;
            parts[part as usize] = match &lists.parts[part as usize] {
                Some(list) => listed(&dir, list, &mut classes)?,
                None => in_folders(&dir, part, &mut classes, &mut left_out)?,
            };
        }
        let classes = classes.expect("the training images gave them");
        let endings = left_out.iter().map(|name| ending(name)).collect();
        let listing = Self { classes, parts, left_out: left_out.len(), endings };
        listing.complete(from)?;
        Ok(listing)
    }

    /// What is said of files that were left out by their names; nothing where there are none.
    pub fn others(&self) -> Option<String> {
        let (files, are) = (counted(self.left_out, "file"), are(self.left_out));
        let endings: Vec<&str> = self.endings.iter().map(String::as_str).collect();
        (self.left_out > 0)
            .then(|| format!("{files} {are} left out by the names' endings ({})", endings.join(", ")))
    }

    /// Every class has an image in both parts.
    fn complete(&self, from: &Path) -> Result<()> {
        let subject = from.display().to_string();
        if !(2..=usize::from(u16::MAX)).contains(&self.classes.len()) {
            let problem = format!("has {}", counted_classes(self.classes.len()));
            return Err(Error::invalid(subject, problem, format!("pack 2 to {} of them", u16::MAX)));
        }
        for part in Part::BOTH {
            let mut seen = vec![false; self.classes.len()];
            self.parts[part as usize].iter().for_each(|file| seen[usize::from(file.label)] = true);
            if let Some(empty) = seen.iter().position(|seen| !seen) {
                let problem = format!("has no {part} image of class {}", self.classes[empty]);
                return Err(Error::invalid(subject, problem, "add one, or take the class out of both parts"));
            }
        }
        Ok(())
    }
}

/// Where the directories of parts are, or would be taken for one.
pub fn places(from: &Path) -> Vec<PathBuf> {
    DIRS.into_iter().flatten().map(|name| from.join(name)).collect()
}

/// The directory of a part.
fn part_dir(from: &Path, part: Part) -> Result<PathBuf> {
    // What the system says of the source itself is more to the point than what is missing in it.
    fs::read_dir(from).map_err(Error::io("read the directory", from))?;
    let mut found = Vec::new();
    for dir in DIRS[part as usize].iter().map(|name| from.join(name)) {
        found.extend(whole::there(&dir)?.map(|_| dir));
    }
    match found.as_slice() {
        [dir] => Ok(dir.clone()),
        [] => {
            let problem = format!("has no directory {}", DIRS[part as usize].join(" or "));
            let mend = "put a folder for each class into train and into valid";
            Err(Error::at(from, problem, mend))
        }
        several => {
            let names: Vec<_> =
                several.iter().filter_map(|dir| Some(dir.file_name()?.to_string_lossy())).collect();
            let problem = format!("has {}", names.join(" and "));
            Err(Error::at(from, problem, "leave one of them"))
        }
    }
}

/// A name that messages and files can hold.
fn plain(dir: &Path, name: &OsStr) -> Result<String> {
    match name.to_str() {
        Some(text) if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => {
            let subject = dir.join(name).display().to_string().escape_debug().to_string();
            Err(Error::invalid(subject, "has a name that is no printable text", "rename it"))
        }
    }
}

/// Entries of a directory by name, hidden ones left out: name, path, whether it is a directory.
fn entries(dir: &Path) -> Result<BTreeMap<String, (PathBuf, bool)>> {
    let failed = || Error::io("read the directory", dir);
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let (name, path) = (entry.file_name(), entry.path());
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let name = plain(dir, &name)?;
        let mut kind = entry.file_type().map_err(failed())?;
        if kind.is_symlink() {
            kind = fs::metadata(&path).map_err(Error::io("follow the link", &path))?.file_type();
        }
        // A pipe would be waited for.
        if !kind.is_dir() && !kind.is_file() {
            let mend = "take it away, or put the file itself there";
            return Err(Error::at(&path, "is neither a file nor a directory", mend));
        }
        found.insert(name, (path, kind.is_dir()));
    }
    Ok(found)
}

fn is_image(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

fn counted_classes(count: usize) -> String {
    if count == 1 { "1 class".to_owned() } else { format!("{count} classes") }
}

/// The ending of a file's name, as messages have it.
fn ending(name: &str) -> String {
    name.rsplit_once('.').map_or_else(|| "no ending".to_owned(), |(_, ending)| format!(".{ending}"))
}

/// A part that has a folder for each class.
fn in_folders(
    dir: &Path,
    part: Part,
    classes: &mut Option<Vec<String>>,
    left_out: &mut Vec<String>,
) -> Result<Vec<Listed>> {
    let inside = entries(dir)?;
    if let Some(stray) = inside.iter().find(|(name, (_, is_dir))| !is_dir && is_image(name)) {
        let problem = format!("has {} outside of a class's folder", stray.0);
        let mend = format!(
            "give each class a folder, or name a list of lines `name class` with --{part}-list ({part}_list in a protocol)"
        );
        return Err(Error::at(dir, problem, mend));
    }
    let folders = inside.into_iter().filter(|(_, (_, is_dir))| *is_dir);
    let folders: Vec<(String, PathBuf)> = folders.map(|(name, (path, _))| (name, path)).collect();
    let classes = classes.get_or_insert_with(|| folders.iter().map(|(name, _)| name.clone()).collect());
    let label = labels(classes);
    let mut files = Vec::new();
    for (class, folder) in folders {
        let Some(label) = label.get(class.as_str()) else {
            let problem = "is the folder of a class that is not among the classes";
            let mend = "the classes are those of --classes, else the folders of train: add it there, or take it away";
            return Err(Error::at(&folder, problem, mend));
        };
        let mut found = 0;
        for (name, (path, is_dir)) in entries(&folder)? {
            if is_dir {
                let mend = "put the images themselves into the class's folder";
                return Err(Error::at(&path, "is a folder within a class's folder", mend));
            }
            if !is_image(&name) {
                left_out.push(name);
                continue;
            }
            found += 1;
            files.push(Listed { path, name: format!("{class}/{name}"), label: *label });
        }
        if found == 0 {
            let mend = "put the class's images into it, or take it away";
            return Err(Error::at(&folder, "has no .jpeg, .jpg or .png file", mend));
        }
    }
    // With --classes, folders need not be in the order of the labels.
    files.sort_by_key(|file| file.label);
    Ok(files)
}

/// Each class's label.
fn labels(classes: &[String]) -> BTreeMap<&str, u16> {
    // More classes than a label can number are refused later, before a label is used.
    classes.iter().enumerate().map(|(at, class)| (class.as_str(), at as u16)).collect()
}

fn text_of(path: &Path) -> Result<String> {
    let refused = |problem| Error::at(path, problem, "name a text file");
    let bytes = whole::read(path, LIST_MAX).map_err(Error::io("read", path))?;
    let bytes = bytes.ok_or_else(|| refused(whole::no_file(LIST_MAX)))?;
    String::from_utf8(bytes).map_err(|_| refused("is not UTF-8 text".to_owned()))
}

/// The class names of a file.
fn class_names(path: &Path) -> Result<Vec<String>> {
    let text = text_of(path)?;
    let names: Vec<String> =
        text.lines().map(|line| line.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    let mut seen = BTreeSet::new();
    for name in &names {
        plain(path, OsStr::new(name))?;
        if !seen.insert(name) {
            let problem = format!("names class {name} twice");
            return Err(Error::at(path, problem, "name each class once"));
        }
    }
    Ok(names)
}

/// A part that has a list.
fn listed(dir: &Path, list: &Path, classes: &mut Option<Vec<String>>) -> Result<Vec<Listed>> {
    let text = text_of(list)?;
    let at = |line: usize| format!("{}:{}", list.display(), line + 1);
    let mut lines = Vec::new();
    let mut seen = HashSet::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line = line.trim_end();
        let Some((name, class)) = line.rsplit_once([' ', '\t']).map(|(name, class)| (name.trim_end(), class))
        else {
            return Err(Error::invalid(
                at(number),
                "is no line `name class`",
                "write a name, a space and its class",
            ));
        };
        let within =
            Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if name.is_empty() || !within || name.chars().any(char::is_control) {
            let mend = format!("name files under {}", dir.display());
            return Err(Error::invalid(at(number), format!("names {name:?}"), mend));
        }
        // However it is written: `./a.png` is `a.png`.
        let same: PathBuf =
            Path::new(name).components().filter(|part| matches!(part, Component::Normal(_))).collect();
        if !seen.insert(same) {
            return Err(Error::invalid(
                at(number),
                format!("names {name} a second time"),
                "leave one of the lines",
            ));
        }
        lines.push((number, name, class));
    }
    if lines.is_empty() {
        return Err(Error::at(list, "names no image", "write a line `name class` for each"));
    }
    let classes = classes.get_or_insert_with(|| folders_of(&lines).unwrap_or_else(|| named_in(&lines)));
    let label = labels(classes);
    // Where classes are called by numbers, a number is a name: `3` of the classes 0, 1 and 3 is the third of them.
    let numbered = !classes.iter().any(|class| class.parse::<u32>().is_ok());
    let by_number = |class: &str| {
        class.parse::<u16>().ok().filter(|class| numbered && usize::from(*class) < classes.len())
    };
    let file = |(number, name, class): (usize, &str, &str)| match label
        .get(class)
        .copied()
        .or_else(|| by_number(class))
    {
        Some(label) => Ok(Listed { path: dir.join(name), name: name.to_owned(), label }),
        None => {
            let problem =
                format!("names class {class}, which is not among the {}", counted_classes(classes.len()));
            let mend = match numbered {
                true => "a class is a name, or its number from 0 in the order of --classes or of train",
                false => {
                    "a class is a name of --classes or of train; some of those are numbers, so none counts them"
                }
            };
            Err(Error::invalid(at(number), problem, mend))
        }
    };
    lines.into_iter().map(file).collect()
}

/// The classes that a list names: numbers in the order of numbers, and after them words.
fn named_in(lines: &[(usize, &str, &str)]) -> Vec<String> {
    let mut names: Vec<&str> = lines.iter().map(|(_, _, class)| *class).collect();
    names.sort_unstable();
    names.dedup();
    names.sort_by_key(|name| name.parse::<u32>().unwrap_or(u32::MAX));
    names.into_iter().map(str::to_owned).collect()
}

/// The folders of a list as Caffe has it, `n01440764/n01440764_10026.JPEG 0`: where it has the numbers from 0 alone, and
/// each is that of one folder, in their order, the folders are the classes' names.
fn folders_of(lines: &[(usize, &str, &str)]) -> Option<Vec<String>> {
    let mut folders: BTreeMap<u32, &str> = BTreeMap::new();
    for (_, name, class) in lines {
        let mut parts = Path::new(name).components().filter(|part| matches!(part, Component::Normal(_)));
        let folder = parts.next()?.as_os_str().to_str()?;
        parts.next()?;
        if *folders.entry(class.parse().ok()?).or_insert(folder) != folder {
            return None;
        }
    }
    let counted = folders.keys().copied().eq(0..folders.len() as u32);
    let names: Vec<&str> = folders.into_values().collect();
    let sorted = names.is_sorted_by(|one, next| one < next);
    let words = names.iter().all(|name| name.parse::<u32>().is_err());
    (counted && sorted && words).then(|| names.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests;
