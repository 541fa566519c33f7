//! The IDX format of the MNIST family, plain or gzip, and directories of it.
//!
//! Used by `data` alone; `cifar` puts its parts together here too. A directory holds four files whose names end as MNIST's do, with `.` or `-`
//! before `idx` and with or without `.gz`; EMNIST's prefixes are fine. `classes.txt`, where there is
//! one, names the classes, one a line, in the order of the labels from 0.

use super::pack::SIDE;
use super::{Dataset, Images};
use crate::error::{Error, Result};
use crate::whole;
use flate2::bufread::MultiGzDecoder;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The file of class names.
pub(super) const NAMES: &str = "classes.txt";

/// What one IDX file may say that it holds. All of EMNIST is half as large.
const BYTES_MAX: u64 = 2 << 30;

/// What a file of class names may hold: there are at most 256 labels.
pub(super) const NAMES_MAX: u64 = 1 << 20;

/// Images as files have them: channels, rows, columns, bytes as [`Images`] lays them out.
pub(super) struct RawImages {
    pub channels: usize,
    pub rows: usize,
    pub cols: usize,
    pub pixels: Vec<u8>,
}

/// Reads a directory of IDX files.
pub(super) fn read_dir(dir: &Path) -> Result<Dataset> {
    let entries = std::fs::read_dir(dir).map_err(Error::io("read the directory", dir))?;
    let mut files = Vec::new();
    for entry in entries {
        files.push(entry.map_err(Error::io("read the directory", dir))?.path());
    }
    files.sort();
    let part = |prefixes: &[&str]| -> Result<_> {
        let (path, file) = find(dir, &files, prefixes, "images", 3)?;
        let images = images(file, &path)?;
        let (path, file) = find(dir, &files, prefixes, "labels", 1)?;
        Ok((images, labels(file, &path)?))
    };
    let (train, valid) = (part(&["train"])?, part(&["t10k", "test"])?);
    let names = names(&dir.join(NAMES))?;
    assemble(&dir.display().to_string(), train, valid, names.as_deref().map(|names| (NAMES, names)))
}

/// The text of a file of class names, where there is one.
pub(super) fn names(path: &Path) -> Result<Option<String>> {
    let refused = |problem: String, mend| Error::at(path, problem, mend);
    let bytes = match whole::read(path, NAMES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(Error::io("read", path))?,
    };
    let bytes = bytes.ok_or_else(|| refused(whole::no_file(NAMES_MAX), "write a name a line into it"))?;
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| refused("is not UTF-8 text".to_owned(), "save it as UTF-8"))
}

/// The one file of `files` that holds `what` for one of the `prefixes`.
fn find(
    dir: &Path,
    files: &[PathBuf],
    prefixes: &[&str],
    what: &str,
    rank: u8,
) -> Result<(String, impl BufRead)> {
    let fits = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        prefixes.iter().any(|prefix| {
            ["-", "."].iter().any(|dot| name.ends_with(&format!("{prefix}-{what}{dot}idx{rank}-ubyte")))
        })
    };
    let found: Vec<_> = files.iter().filter(fits).collect();
    let expected = format!("{}-{what}-idx{rank}-ubyte", prefixes[0]);
    match found.as_slice() {
        [path] => {
            let name = path.display().to_string();
            // A pipe would be waited for.
            if !std::fs::metadata(path).map_err(Error::io("read", path))?.is_file() {
                return Err(Error::invalid(name, "is no regular file", "put the file itself there"));
            }
            let file = File::open(path).map_err(Error::io("read", path))?;
            Ok((name, BufReader::new(file)))
        }
        [] => Err(Error::at(
            dir,
            format!("has no file whose name ends in {expected} or {expected}.gz"),
            "name a directory of MNIST-family IDX files",
        )),
        several => Err(Error::at(
            dir,
            format!("has {} files whose names end in {expected}[.gz]", several.len()),
            "leave one in it",
        )),
    }
}

/// The images of an IDX file of rank 3.
pub(super) fn images(file: impl BufRead, origin: &str) -> Result<RawImages> {
    let ([count, rows, cols], pixels) = parse::<3>(file, origin, "images")?;
    for (side, name) in [(rows, "rows"), (cols, "columns")] {
        if !SIDE.contains(&side) {
            let problem = format!("has images of {side} {name}");
            let mend = format!("{} to {} can be trained on", SIDE.start(), SIDE.end());
            return Err(Error::invalid(origin, problem, mend));
        }
    }
    if count == 0 {
        return Err(Error::invalid(origin, "holds no image", "name data with images"));
    }
    Ok(RawImages { channels: 1, rows, cols, pixels })
}

/// The labels of an IDX file of rank 1.
pub(super) fn labels(file: impl BufRead, origin: &str) -> Result<Vec<u8>> {
    parse::<1>(file, origin, "labels").map(|(_, labels)| labels)
}

/// Takes an IDX file of unsigned bytes apart: its `RANK` dimensions and its bytes. Nothing beyond what
/// the header says is unpacked.
fn parse<const RANK: usize>(
    mut file: impl BufRead,
    origin: &str,
    what: &str,
) -> Result<([usize; RANK], Vec<u8>)> {
    let bad = |problem: String, mend: &str| Err(Error::invalid(origin, problem, mend));
    let again = "fetch or unpack the file again";
    let failed = |error| Error::io("read", Path::new(origin))(error);
    let gzip = file.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
    let mut file: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut read = |most: u64| {
        let mut bytes = Vec::new();
        match file.by_ref().take(most).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) if gzip && error.kind() != std::io::ErrorKind::OutOfMemory => {
                let problem = format!("its gzip data is damaged or cut off ({error})");
                Err(Error::invalid(origin, problem, again))
            }
            Err(error) => Err(failed(error)),
        }
    };
    let header = read(4 + 4 * RANK as u64)?;
    let magic = [0, 0, 0x08, RANK as u8];
    if !header.starts_with(&magic) || header.len() < 4 + 4 * RANK {
        let begins = match header.len() {
            0 => "is empty".to_owned(),
            length => {
                format!("begins with {}, not {}", hex::encode(&header[..length.min(4)]), hex::encode(magic))
            }
        };
        let problem = format!("is no IDX file of {what}: it {begins}");
        return bad(problem, "check that the file is what its name says");
    }
    let dims: [u32; RANK] =
        std::array::from_fn(|i| u32::from_be_bytes(header[4 + 4 * i..][..4].try_into().expect("four bytes")));
    let said = dims.map(|dim| dim.to_string()).join(" × ");
    let size = dims.iter().try_fold(1u64, |size, dim| size.checked_mul(u64::from(*dim)));
    let Some(size) = size.filter(|size| *size <= BYTES_MAX) else {
        return bad(format!("says that it holds {said} bytes of {what}, more than {BYTES_MAX}"), again);
    };
    // One byte more than it says, to see that there is none.
    let bytes = read(size + 1)?;
    if bytes.len() as u64 != size {
        let held = if bytes.len() as u64 > size { "more".to_owned() } else { bytes.len().to_string() };
        return bad(format!("says that it holds {said} bytes of {what}, but holds {held}"), again);
    }
    Ok((dims.map(|dim| dim as usize), bytes))
}

/// Puts the parts together; `names` is the name and the text of the file of class names. Labels that no training image has are not classes (EMNIST's letters
/// begin at 1), so class indices are without gaps.
pub(super) fn assemble(
    origin: &str,
    train: (RawImages, Vec<u8>),
    valid: (RawImages, Vec<u8>),
    names: Option<(&str, &str)>,
) -> Result<Dataset> {
    let sizes = [&train.0, &valid.0].map(|images| (images.rows, images.cols));
    if sizes[0] != sizes[1] {
        let problem =
            format!("has training images of {:?} pixels and validation images of {:?}", sizes[0], sizes[1]);
        return Err(Error::invalid(origin, problem, "make them one size"));
    }
    let labels: Vec<u8> = train.1.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let classes = class_names(origin, &labels, names)?;
    let part = |(images, raw_labels): (RawImages, Vec<u8>), which: &str| -> Result<Images> {
        let RawImages { channels, rows, cols, pixels } = images;
        let count = pixels.len() / (channels * rows * cols);
        if count != raw_labels.len() {
            let problem = format!("has {count} {which} images but {} labels", raw_labels.len());
            return Err(Error::invalid(origin, problem, "pair each image file with its label file"));
        }
        let index = |label: &u8| {
            labels.binary_search(label).map(|index| index as u16).map_err(|_| {
                let problem =
                    format!("has {which} images of label {label}, of which there is no training image");
                Error::invalid(origin, problem, "leave that label out, or add training images")
            })
        };
        let labels = raw_labels.iter().map(index).collect::<Result<_>>()?;
        Ok(Images::new([channels, rows, cols], pixels, labels))
    };
    Ok(Dataset { classes, train: part(train, "training")?, valid: part(valid, "validation")? })
}

fn class_names(origin: &str, labels: &[u8], names: Option<(&str, &str)>) -> Result<Vec<String>> {
    let Some((file, text)) = names else {
        return Ok(labels.iter().map(ToString::to_string).collect());
    };
    let names: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let subject = format!("{file} of {origin}");
    if let Some(name) = names.iter().find(|name| name.chars().any(char::is_control)) {
        let problem = format!("names a class {name:?}, with a control character");
        return Err(Error::invalid(subject, problem, "use printable characters only"));
    }
    let distinct: BTreeSet<_> = names.iter().collect();
    if distinct.len() != names.len() {
        return Err(Error::invalid(subject, "names a class twice", "give each label its own name"));
    }
    let name = |label: &u8| {
        names.get(usize::from(*label)).map(ToString::to_string).ok_or_else(|| {
            let problem = format!("has {} names, none for label {label}", names.len());
            Error::invalid(&subject, problem, "write a name a line, in the order of the labels from 0")
        })
    };
    labels.iter().map(name).collect()
}

#[cfg(test)]
mod tests;
