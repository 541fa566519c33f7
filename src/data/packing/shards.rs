//! The shards of a pack: which are there, and writing those that are not.
//!
//! Uses `data::{pack, ready}` and `whole`; a part of `data::packing`.

use super::UNFINISHED;
use super::Watch;
use crate::canonical;
use crate::data::Part;
use crate::data::images::Sums;
use crate::data::listing::Listed;
use crate::data::pack::{self, CHANNELS, Entry, Format, Index, ShardIndex, Skipped, shard_path};
use crate::data::ready::{Ready, ready, skipped_name};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::whole;
use rayon::prelude::*;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread::ScopedJoinHandle;
use tempfile::NamedTempFile;

/// Images of a thread between two writes, at the most, and the bytes they may have.
const AT_ONCE: usize = 32;
const BYTES_AT_ONCE: usize = 32 << 20;

/// A shard that is to be written.
#[derive(Clone, Copy)]
pub(super) struct Missing<'a> {
    pub part: Part,
    pub number: usize,
    pub files: &'a [Listed],
    pub lengths: Digest,
}

/// The digest of the lengths of files: what is replaced has another length, nearly always, and is packed again.
pub(super) fn lengths(files: &[Listed]) -> Result<Digest> {
    let length = |file: &Listed| fs::metadata(&file.path).map(|meta| meta.len());
    let all: Vec<_> = files.par_iter().map(length).collect();
    let mut hasher = Hasher::new("selffer lengths v1");
    for (file, length) in files.iter().zip(all) {
        hasher.piece(&length.map_err(Error::io("read", &file.path))?.to_le_bytes());
    }
    Ok(hasher.finish())
}

/// A shard that is written and has yet to get its names.
struct Unnamed {
    pixels: NamedTempFile,
    sums: Vec<u8>,
    index: String,
}

/// Packing, once the directory is claimed.
pub(super) struct Work<'a> {
    pub from: &'a Path,
    pub to: &'a Path,
    pub side: usize,
    pub skip_bad: bool,
    /// What the pack is, where it was finished before.
    pub finished: Option<Index>,
    pub watch: &'a Watch<'a>,
}

impl Work<'_> {
    /// Whether a shard is there, of those files with those lengths. One that lacks images which now are not to be skipped is not.
    pub(super) fn found(&self, shard: &Missing<'_>, size: usize) -> bool {
        let Missing { part, number, files, lengths } = *shard;
        let path = |kind| shard_path(self.to, part, number, kind);
        let Ok(Some(bytes)) = whole::read(&path("json"), pack::MOST) else { return false };
        if self.entry(part, number).is_some_and(|entry| entry.index != Digest::of(&bytes)) {
            return false;
        }
        serde_json::from_slice(&bytes).is_ok_and(|index: ShardIndex| {
            let left_out =
                |file: &&Listed| index.skipped.iter().any(|bad| bad.name == skipped_name(part, file));
            let packed = files.iter().filter(|file| !left_out(file)).map(|file| (&file.name, file.label));
            let length = fs::metadata(path("shard")).map(|meta| meta.len());
            packed.eq(index.names.iter().zip(index.labels.iter().copied()))
                && [index.names.len(), index.labels.len()] == [index.digests.len(); 2]
                && length.ok() == Some((index.digests.len() * size) as u64)
                && index.lengths == lengths
                && pack::read_file(&path("sums"), index.sums).is_ok()
                && (self.skip_bad || index.skipped.is_empty())
        })
    }

    /// What a shard was when the pack was finished.
    fn entry(&self, part: Part, number: usize) -> Option<&Entry> {
        self.finished.as_ref().and_then(|pack| pack.part(part).get(number))
    }

    /// Writes shards, each put on the disk while the next is decoded: a slow disk keeps no core idle. The images that are
    /// bad where they are not to be skipped; their shards are not written.
    pub(super) fn shards(&self, missing: &[Missing<'_>]) -> Result<Vec<Skipped>> {
        let mut bad = Vec::new();
        std::thread::scope(|scope| {
            let mut last: Option<ScopedJoinHandle<'_, Result<()>>> = None;
            let ended = |last: Option<ScopedJoinHandle<'_, Result<()>>>| {
                last.map_or(Ok(()), |last| last.join().expect("it does not panic"))
            };
            for shard in missing {
                match self.shard(shard)? {
                    Ok(unnamed) => {
                        ended(last.take())?;
                        last = Some(scope.spawn(move || self.name(shard, unnamed)));
                    }
                    Err(more) => bad.extend(more),
                }
            }
            ended(last)
        })?;
        Ok(bad)
    }

    /// Gives a shard's files their names, last the one that says that the others are whole.
    fn name(&self, shard: &Missing<'_>, unnamed: Unnamed) -> Result<()> {
        let path = |kind| shard_path(self.to, shard.part, shard.number, kind);
        let (sums, index) = (path("sums"), path("json"));
        match fs::remove_file(&index) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io("remove", &index)(error));
            }
            _ => {}
        }
        whole::settle(unnamed.pixels, &path("shard"))?;
        whole::write(&sums, UNFINISHED, &unnamed.sums)?;
        whole::write(&index, UNFINISHED, unnamed.index.as_bytes())
    }

    /// Decodes a shard into a file; where images are bad and not to be skipped, those.
    fn shard(&self, shard: &Missing<'_>) -> Result<Result<Unnamed, Vec<Skipped>>> {
        let Missing { part, number, files, lengths } = *shard;
        let path = |kind| shard_path(self.to, part, number, kind);
        let mut file = whole::begin(self.to, UNFINISHED)?;
        let size = self.side * self.side * CHANNELS;
        let mut sums = Sums::none(size);
        let mut index = ShardIndex {
            format: Format::V2,
            digests: Vec::new(),
            labels: Vec::new(),
            names: Vec::new(),
            skipped: Vec::new(),
            lengths,
            sums: Digest::of(b""),
            squares: 0,
        };
        let at_once = (BYTES_AT_ONCE / size).clamp(1, AT_ONCE);
        let mut batches = files.chunks(at_once * rayon::current_num_threads());
        let mut next = batches.next().map(|files| (files, self.decoded(part, files)));
        while let Some((files, images)) = next {
            let following = batches.next();
            let write = || -> Result<()> {
                for (listed, image) in files.iter().zip(images?) {
                    match image {
                        Ok(Ready { digest, pixels }) => {
                            file.as_file_mut()
                                .write_all(&pixels)
                                .map_err(Error::io("write", &path("shard")))?;
                            sums.add(&pixels);
                            index.digests.push(digest);
                            index.labels.push(listed.label);
                            index.names.push(listed.name.clone());
                        }
                        Err(skipped) => {
                            (self.watch.bad)(&skipped);
                            index.skipped.push(skipped);
                        }
                    }
                }
                (self.watch.advanced)(files.len() as u64, false);
                Ok(())
            };
            let decode = || following.map(|files| (files, self.decoded(part, files)));
            let written;
            (written, next) = rayon::join(write, decode);
            written?;
        }
        // Of a finished pack it is said below what is wrong: leaving more out is no way for it.
        if !index.skipped.is_empty() && !self.skip_bad && self.finished.is_none() {
            return Ok(Err(index.skipped));
        }
        let sums_bytes = pack::sums_bytes(&sums);
        (index.sums, index.squares) = (Digest::of(&sums_bytes), sums.squares);
        let text = canonical::json(&index);
        if self.entry(part, number).is_some_and(|entry| entry.index != Digest::of(text.as_bytes())) {
            let shard = path("shard");
            let shard = shard.file_name().unwrap_or_default().display();
            let problem = format!(
                "is not what {} was packed from: files of {shard} have other lengths or pixels",
                self.to.display()
            );
            let mend = "put the images back that it was packed from, or pack into an empty directory";
            return Err(Error::at(self.from, problem, mend));
        }
        Ok(Ok(Unnamed { pixels: file, sums: sums_bytes, index: text }))
    }

    /// Decodes those files, in order; those that are no images by name and reason.
    fn decoded(&self, part: Part, files: &[Listed]) -> Result<Vec<Result<Ready, Skipped>>> {
        files
            .par_iter()
            .map(|listed| {
                if self.watch.stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                ready(part, listed, self.side)
            })
            .collect()
    }
}
