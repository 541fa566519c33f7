//! Every byte of a pack against the digests that were made when it was packed.
//!
//! Uses `data::pack` and findings; used by the command line. Training checks each image as it reads it; this checks all at
//! once, names every image that is damaged, and what has no business in the directory.

use super::{Code, Finding};
use crate::data::pack::{self, INDEX, Index, PLAN, SUMS, shard_path};
use crate::data::packing::UNFINISHED;
use crate::data::{Dataset, Part, Sums, image_digest};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::protocol::DataSource;
use crate::whole;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The mend of a shard.
const AGAIN: &str = "remove it, then run the same `selffer data pack` again";

/// Images that are read at once.
const AT_ONCE: usize = 64;

/// What was compared, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Images and files that were held against a digest.
    pub compared: u64,
    /// What is wrong, in the order of the files.
    pub findings: Vec<Finding>,
}

/// Checks the pack in `dir`. `advanced` hears how many images more were read.
///
/// # Errors
/// Where `dir` is no finished pack, or the system does not let a file be read.
pub fn check(dir: &Path, advanced: &(dyn Fn(u64) + Sync)) -> Result<Checked> {
    let mut checked = Checked::default();
    let index = match Index::read(dir) {
        // An index of another format is not damaged: it cannot be read here.
        Err(Error::Invalid { problem, mend, .. }) if dir.join(INDEX).exists() && !pack::other_index(dir) => {
            checked.compared += 1;
            checked.wrong(INDEX, format!("it {problem}; {mend}"));
            return Ok(checked);
        }
        index => index?,
    };
    let mut known: BTreeSet<_> = [INDEX, PLAN, SUMS].map(|name| dir.join(name)).into();
    checked.file(dir, PLAN, index.plan)?;
    let mut sums = Sums::none(index.size());
    for part in Part::BOTH {
        for number in 0..index.part(part).len() {
            known.extend(["shard", "json", "sums"].map(|kind| shard_path(dir, part, number, kind)));
            let of_shard = checked.shard(dir, &index, part, number, advanced)?;
            if part == Part::Train {
                sums.merge(&of_shard);
            }
        }
    }
    if checked.file(dir, SUMS, index.sums)? && checked.findings.is_empty() {
        checked.compared += 1;
        if Digest::of(&pack::sums_bytes(&sums)) != index.sums || sums.squares != index.squares {
            checked.wrong(SUMS, "the sums over the training images are not those of the images");
        }
    }
    if checked.findings.is_empty() {
        checked.compared += 1;
        if Dataset::read(&DataSource::Pack(dir.to_owned()))?.digest() != index.data {
            checked.wrong(INDEX, "its images and labels are not those of the data set that it names");
        }
    }
    for entry in fs::read_dir(dir).map_err(Error::io("read the directory", dir))? {
        let path = entry.map_err(Error::io("read the directory", dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !known.contains(&path) && !name.starts_with(UNFINISHED) {
            checked.findings.push(Finding::new(Code::FileStray, name, "it is no file of the pack"));
        }
    }
    Ok(checked)
}

impl Checked {
    fn wrong(&mut self, file: &str, message: impl Into<String>) {
        self.findings.push(Finding::new(Code::FileDamaged, file, message.into()));
    }

    /// Whether a file has its digest.
    fn file(&mut self, dir: &Path, name: &str, digest: Digest) -> Result<bool> {
        self.compared += 1;
        let message = match whole::read(&dir.join(name), pack::MOST) {
            Ok(Some(bytes)) if Digest::of(&bytes) == digest => return Ok(true),
            Ok(_) => "it does not hold what was packed",
            Err(error) if error.kind() == ErrorKind::NotFound => "it is not there",
            Err(error) => return Err(Error::io("read", &dir.join(name))(error)),
        };
        self.wrong(name, message);
        Ok(false)
    }

    /// Reads a shard whole; the sums over its images.
    fn shard(
        &mut self,
        dir: &Path,
        index: &Index,
        part: Part,
        number: usize,
        advanced: &(dyn Fn(u64) + Sync),
    ) -> Result<Sums> {
        let size = index.size();
        let name = |kind| format!("{part}-{number:05}.{kind}");
        let mut sums = Sums::none(size);
        if !self.file(dir, &name("json"), index.part(part)[number].index)? {
            return Ok(sums);
        }
        let shard = index.shard(dir, part, number)?;
        self.file(dir, &name("sums"), shard.sums)?;
        let path = shard_path(dir, part, number, "shard");
        let file = match whole::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.wrong(&name("shard"), "it is not there");
                return Ok(sums);
            }
            opened => opened.map_err(Error::io("open", &path))?,
        };
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        if length != (shard.digests.len() * size) as u64 {
            let message = format!("it has {length} bytes, not those of {} images", shard.digests.len());
            self.wrong(&name("shard"), message);
        }
        let whole = ((length / size as u64) as usize).min(shard.digests.len());
        for first in (0..whole).step_by(AT_ONCE) {
            let images = AT_ONCE.min(whole - first);
            let mut bytes = vec![0; images * size];
            match file.read_exact_at(&mut bytes, (first * size) as u64) {
                // Cut off since it was measured.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    self.wrong(&name("shard"), "it is shorter than its pack says");
                    return Ok(sums);
                }
                read => read.map_err(Error::io("read", &path))?,
            }
            let good: Vec<bool> = bytes
                .par_chunks_exact(size)
                .zip(&shard.digests[first..])
                .map(|(image, digest)| image_digest(index.shape(), image) == *digest)
                .collect();
            for (place, (good, image)) in good.into_iter().zip(bytes.chunks_exact(size)).enumerate() {
                sums.add(image);
                if !good {
                    let at = first + place;
                    let message =
                        format!("image {at} in it, {}, is not what was packed; {AGAIN}", shard.names[at]);
                    self.wrong(&name("shard"), message);
                }
            }
            self.compared += images as u64;
            advanced(images as u64);
        }
        Ok(sums)
    }
}
