//! The pixels of one part of a pack, read image by image and held against their digests.
//!
//! Uses `digest`, `error`; used by `data::images`, made by `data::pack`. Plain positioned reads, not mapped memory:
//! a file that was cut off or a disk that fails is an error in one sentence, not the end of the process, and
//! `benches/data` shows that they keep up. No byte reaches a network unchecked.

use super::images::{Sums, digest};
use crate::digest::ImageDigest;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// One part of a pack.
pub(super) struct Shards {
    /// The shards in order.
    pub files: Vec<Shard>,
    /// The digest of each image.
    pub digests: Vec<ImageDigest>,
    /// Sums over all images, of the training part.
    pub sums: Option<Sums>,
}

/// One file of pixels, image after image and nothing else.
pub(super) struct Shard {
    /// The file.
    pub path: PathBuf,
    /// The file, open.
    pub file: File,
    /// The first image's index within the part.
    pub first: usize,
}

/// The error of a shard that cannot be read to where it has to be.
fn unread(path: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            let mend = "remove it, then run the same `selffer data pack` again";
            Error::at(path, "is shorter than its pack says", mend)
        }
        _ => Error::io("read", path)(error),
    }
}

impl Shards {
    /// Reads image `at`, which is of that shape, and holds it against its digest.
    pub fn read(&self, at: usize, shape: [usize; 3], into: &mut [u8]) -> Result<()> {
        let shard = &self.files[self.files.partition_point(|shard| shard.first <= at) - 1];
        let place = at - shard.first;
        let offset = place as u64 * into.len() as u64;
        shard.file.read_exact_at(into, offset).map_err(|error| unread(&shard.path, error))?;
        if digest(shape, into) == self.digests[at] {
            return Ok(());
        }
        let problem = format!("image {place} in it, from 0, is not what was packed");
        let mend = "`selffer data verify` says what else is damaged; remove the shard's files and pack again";
        Err(Error::at(&shard.path, problem, mend))
    }
}
