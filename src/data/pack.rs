//! A pack: a data set's images, decoded and of one size, in a directory of shards; its format, and reading it.
//!
//! Uses `digest`, `canonical`, `error`, `data::{images, shards}`; used by `data`, `data::packing` and `verify::pack`. In the directory:
//!
//! - `pack.json`: sizes, classes, the digest of every file that follows; written last, so that a directory with
//!   one is finished. It begins with its own digest.
//! - `train-00000.shard`, …: pixels, image after image, and nothing else.
//! - `train-00000.json`: the digest, label and name of each image in that shard, and what was skipped.
//! - `train-00000.sums`: for each byte of an image, its sum over the shard, as little-endian u64; `train.sums`: over all.
//! - `plan.json`: what was to be packed, so that a pack that was stopped goes on only with the same.

use super::images::{Images, Sums};
use super::shards::{Shard, Shards};
use super::{Dataset, Part};
use crate::canonical;
use crate::digest::{DataDigest, Digest, ImageDigest};
use crate::error::{Error, Result};
pub use crate::protocol::SIDE;
use crate::whole;
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The file whose presence makes a directory a finished pack.
pub(crate) const INDEX: &str = "pack.json";

/// What was to be packed.
pub(crate) const PLAN: &str = "plan.json";

/// Sums over all training images.
pub(crate) const SUMS: &str = "train.sums";

/// Bytes of a file that is no shard, at the most.
pub(crate) const MOST: u64 = 1 << 32;

/// Bytes of a pixel: red, green, blue.
pub(crate) const CHANNELS: usize = 3;

/// `pack.json`: the digest of the canonical JSON of what it says, and what it says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    digest: Digest,
    pack: Index,
}

/// What a finished pack holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// The format's name and version.
    pub format: Format,
    /// Height and width in pixels; a pixel has three bytes: red, green, blue.
    pub side: usize,
    /// The classes' names; labels are indices into this list.
    pub classes: Vec<String>,
    /// The data set's digest.
    pub data: DataDigest,
    /// The digest of `plan.json`.
    pub plan: Digest,
    /// The shards of training images.
    pub train: Vec<Entry>,
    /// The shards of validation images.
    pub valid: Vec<Entry>,
    /// The digest of `train.sums`.
    pub sums: Digest,
    /// The sum of the squares of all bytes of all training images.
    pub squares: u64,
    /// Images that could not be decoded and were left out, as the user asked.
    pub skipped: Vec<Skipped>,
}

/// The only format of packs that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// Version 2.
    #[serde(rename = "selffer pack 2")]
    V2,
}

/// One shard, as `pack.json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// How many images it holds.
    pub images: usize,
    /// The digest of its own index, which has a digest for each image.
    pub index: Digest,
}

/// One shard's own index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShardIndex {
    pub format: Format,
    /// Of each image: its digest, its label, its file's name.
    pub digests: Vec<ImageDigest>,
    pub labels: Vec<u16>,
    pub names: Vec<String>,
    pub skipped: Vec<Skipped>,
    /// Of the lengths of the files it was packed from, with those that were left out.
    pub lengths: Digest,
    /// The digest of the file of sums.
    pub sums: Digest,
    pub squares: u64,
}

/// An image that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// Its part and file name.
    pub name: String,
    /// Why: completes the sentence "the file …".
    pub reason: String,
}

/// The path of a shard's file: `shard`, `json` or `sums`.
pub(crate) fn shard_path(dir: &Path, part: Part, number: usize, kind: &str) -> PathBuf {
    dir.join(format!("{part}-{number:05}.{kind}"))
}

/// The text of `pack.json`.
pub(crate) fn sealed(index: Index) -> String {
    canonical::json(&Sealed { digest: Digest::of(canonical::json(&index).as_bytes()), pack: index })
}

/// The bytes of a file of sums.
pub(crate) fn sums_bytes(sums: &Sums) -> Vec<u8> {
    sums.bytes.iter().flat_map(|sum| sum.to_le_bytes()).collect()
}

/// The sums in those bytes.
pub(crate) fn sums_of(bytes: &[u8], images: usize, squares: u64) -> Sums {
    let sum = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    Sums { images: images as u64, bytes: bytes.chunks_exact(8).map(sum).collect(), squares }
}

/// Reads a file that has that digest; otherwise says what it is instead.
pub(crate) fn read_file(path: &Path, digest: Digest) -> Result<Vec<u8>> {
    let bytes = whole::read(path, MOST).map_err(|error| unread(path, error))?;
    let bytes = bytes.ok_or_else(|| damaged(path, &whole::no_file(MOST)))?;
    match Digest::of(&bytes) == digest {
        true => Ok(bytes),
        false => Err(damaged(path, "is not the file that was packed")),
    }
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| match other_format(bytes) {
        Some(format) => {
            let problem = format!("is of the format `{format}`, which this selffer does not read");
            Error::at(path, problem, "pack the images again, into an empty directory")
        }
        None => damaged(path, &format!("does not read as a pack's index ({error})")),
    })
}

/// The format that a file of a pack says it has, where that is none that is read here.
pub(crate) fn other_format(bytes: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let format = json.get("format").or_else(|| json.get("pack")?.get("format"))?;
    let known = serde_json::from_value::<Format>(format.clone()).is_ok();
    format.as_str().filter(|_| !known).map(str::to_owned)
}

/// Whether the index of the pack in `dir` is of a format that is not read here.
pub(crate) fn other_index(dir: &Path) -> bool {
    let bytes = whole::read(&dir.join(INDEX), MOST).ok().flatten();
    bytes.is_some_and(|bytes| other_format(&bytes).is_some())
}

/// The error of a file of a pack that cannot be read.
fn unread(path: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => {
            let mend = "run the same `selffer data pack` again, which makes it anew";
            Error::at(path, "is missing from its pack", mend)
        }
        _ => Error::io("read", path)(error),
    }
}

/// The error of a file that is damaged.
fn damaged(path: &Path, problem: &str) -> Error {
    let mend = "remove it, then run the same `selffer data pack` again";
    Error::at(path, problem, mend)
}

/// Whether a directory is a pack, be it damaged.
///
/// # Errors
/// Where the system does not say.
pub fn is_at(dir: &Path) -> Result<bool> {
    Ok(whole::there(&dir.join(INDEX))?.is_some() && whole::there(&dir.join(PLAN))?.is_some())
}

impl Index {
    /// Reads `pack.json` of a finished pack.
    ///
    /// # Errors
    /// Where `dir` is no finished pack, or the file is damaged.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(INDEX);
        let bytes = match whole::read(&path, MOST) {
            Err(error) if error.kind() == ErrorKind::NotFound && dir.is_dir() => {
                let (problem, mend) = match whole::there(&dir.join(PLAN))? {
                    Some(_) => (
                        "is a pack that is not finished".to_owned(),
                        "run the same `selffer data pack` again, which goes on from where it stopped",
                    ),
                    None => (format!("is no pack: it has no {INDEX}"), "make one with `selffer data pack`"),
                };
                return Err(Error::at(dir, problem, mend));
            }
            read => read.map_err(Error::io("read", &path))?,
        };
        let bytes = bytes.ok_or_else(|| damaged(&path, &whole::no_file(MOST)))?;
        let Sealed { digest, pack } = parse(&path, &bytes)?;
        if Digest::of(canonical::json(&pack).as_bytes()) != digest {
            return Err(damaged(&path, "does not have the digest that it says"));
        }
        // Only who makes the digest fit as well comes here with such numbers.
        if !SIDE.contains(&pack.side)
            || pack.classes.is_empty()
            || pack.train.is_empty()
            || pack.valid.is_empty()
        {
            return Err(damaged(&path, "describes no data set"));
        }
        Ok(pack)
    }

    /// The shards of one part.
    pub fn part(&self, part: Part) -> &[Entry] {
        match part {
            Part::Train => &self.train,
            Part::Valid => &self.valid,
        }
    }

    /// How many images a part has.
    pub fn count(&self, part: Part) -> usize {
        self.part(part).iter().map(|shard| shard.images).sum()
    }

    /// Channels, rows, columns of an image.
    pub fn shape(&self) -> [usize; 3] {
        [CHANNELS, self.side, self.side]
    }

    /// Bytes of an image.
    pub fn size(&self) -> usize {
        self.shape().iter().product()
    }

    /// One shard's own index, which has to be the one that was packed.
    pub(crate) fn shard(&self, dir: &Path, part: Part, number: usize) -> Result<ShardIndex> {
        let path = shard_path(dir, part, number, "json");
        let entry = &self.part(part)[number];
        let index: ShardIndex = parse(&path, &read_file(&path, entry.index)?)?;
        let counts = [index.digests.len(), index.labels.len(), index.names.len()];
        let fits = |label: &u16| usize::from(*label) < self.classes.len();
        match counts == [entry.images; 3] && index.labels.iter().all(fits) {
            true => Ok(index),
            false => Err(damaged(&path, "does not fit the pack")),
        }
    }
}

/// Opens a pack. Everything but the pixels is read and held against its digests; pixels are as they are read.
///
/// # Errors
/// Where `dir` is no finished pack, or a file of it is missing or damaged.
pub(super) fn read(dir: &Path) -> Result<Dataset> {
    let pack = Index::read(dir)?;
    let part = |part: Part| -> Result<Images> {
        let numbers = (0..pack.part(part).len()).into_par_iter();
        let indices: Vec<ShardIndex> =
            numbers.map(|number| pack.shard(dir, part, number)).collect::<Result<_>>()?;
        let sums = match part {
            Part::Train => {
                let path = dir.join(SUMS);
                let bytes = read_file(&path, pack.sums)?;
                if bytes.len() != 8 * pack.size() {
                    return Err(damaged(&path, "does not fit the pack"));
                }
                Some(sums_of(&bytes, pack.count(part), pack.squares))
            }
            Part::Valid => None,
        };
        let mut shards = Shards { files: Vec::new(), digests: Vec::new(), sums };
        let mut labels = Vec::new();
        for (number, index) in indices.into_iter().enumerate() {
            let path = shard_path(dir, part, number, "shard");
            let file = whole::open(&path).map_err(|error| unread(&path, error))?;
            let length = file.metadata().map_err(Error::io("read", &path))?.len();
            if length != (index.digests.len() * pack.size()) as u64 {
                let problem = format!("has {length} bytes, not those of {} images", index.digests.len());
                return Err(damaged(&path, &problem));
            }
            shards.files.push(Shard { path, file, first: shards.digests.len() });
            shards.digests.extend(index.digests);
            labels.extend(index.labels);
        }
        Ok(Images::of_shards(pack.shape(), shards, labels))
    };
    let (train, valid) = (part(Part::Train)?, part(Part::Valid)?);
    Ok(Dataset { classes: pack.classes, train, valid })
}
