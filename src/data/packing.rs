//! Packs images: decodes them, makes them one size, and writes them shard by shard.
//!
//! Uses `data::{listing, pack, ready}` and `whole`; used by the command line. A shard is written beside its place,
//! synced and renamed, its index after it: a process that is killed at any moment loses the shard it was at, and the
//! next one goes on to the same bytes. Images are decoded on all of rayon's threads while those before are written.

mod shards;

use self::shards::{Missing, Work, lengths};
use super::images::{Images, Sums};
use super::listing::{Listed, Listing};
use super::pack::{self, CHANNELS, Entry, Format, INDEX, Index, PLAN, SUMS, ShardIndex, Skipped, shard_path};
use super::ready::refused;
use super::shards::Shards;
use super::{Dataset, Part};
use crate::canonical;
use crate::digest::{DataDigest, Digest, Hasher};
use crate::error::{Error, Result};
use crate::whole;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Shards of a part at the most: all are open while a pack is read, and systems allow 1024 open files.
const SHARDS_MAX: usize = 500;

/// What unfinished files' names begin with.
pub(crate) const UNFINISHED: &str = ".unfinished-";

/// How images are packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Height and width that every image is made.
    pub side: usize,
    /// Bytes of a shard at the most (an image at the least).
    pub shard_bytes: u64,
    /// Leave out images that cannot be decoded, and record them, instead of stopping short of the end.
    pub skip_bad: bool,
}

/// What goes along with packing.
pub struct Watch<'a> {
    /// Set from outside to stop.
    pub stop: &'a AtomicBool,
    /// Hears how many images more are done, and how many of them were there already.
    pub advanced: &'a (dyn Fn(u64, bool) + Sync),
    /// Hears of each image that cannot be decoded.
    pub bad: &'a (dyn Fn(&Skipped) + Sync),
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// What the pack holds.
    pub index: Index,
    /// Shards that were written now; the others were there.
    pub shards_new: usize,
}

/// What determines a pack, apart from the files' own bytes.
#[derive(Serialize)]
struct Plan<'a> {
    format: Format,
    side: usize,
    images_per_shard: usize,
    classes: &'a [String],
    /// Of the names and labels of all files, in order.
    files: Digest,
}

impl<'a> Plan<'a> {
    fn of(listing: &'a Listing, options: &Options) -> Self {
        let mut hasher = Hasher::new("selffer listing v1");
        for part in Part::BOTH {
            hasher.piece(part.to_string().as_bytes());
            for Listed { name, label, .. } in &listing.parts[part as usize] {
                hasher.piece(name.as_bytes()).piece(&label.to_le_bytes());
            }
        }
        let image = (options.side * options.side * CHANNELS) as u64;
        Self {
            format: Format::V2,
            side: options.side,
            images_per_shard: (options.shard_bytes / image).max(1) as usize,
            classes: &listing.classes,
            files: hasher.finish(),
        }
    }
}

/// Packs the files of `listing`, which lie under `from`, into the directory `to`.
///
/// # Errors
/// Where images cannot be decoded and were not to be skipped (all the others are packed by then), a file
/// cannot be read or written, `to` holds something else, or it is a finished pack that would come out otherwise.
pub fn pack(
    from: &Path,
    listing: &Listing,
    to: &Path,
    options: &Options,
    watch: &Watch<'_>,
) -> Result<Packed> {
    let plan = Plan::of(listing, options);
    for part in Part::BOTH {
        let shards = listing.parts[part as usize].len().div_ceil(plan.images_per_shard);
        if shards > SHARDS_MAX {
            let problem = format!("makes {shards} shards of {part} images, more than {SHARDS_MAX}");
            return Err(Error::invalid("--shard-mib", problem, "take larger shards"));
        }
    }
    let text = canonical::json(&plan);
    let claim = claim(to, &plan, &text)?;
    let finished = whole::there(&to.join(INDEX))?.map(|_| Index::read(to)).transpose()?;
    let plan_digest = Digest::of(text.as_bytes());
    if finished.as_ref().is_some_and(|index| index.plan != plan_digest) {
        let problem = format!("has the {INDEX} of another pack");
        let mend = format!("remove its {INDEX}, then run the same command again");
        return Err(Error::at(to, problem, mend));
    }
    if let Some(Index { skipped, .. }) = &finished
        && !skipped.is_empty()
        && !options.skip_bad
    {
        let problem = format!("leaves out {} of its images", skipped.len());
        let mend = "say --skip-bad, or pack into an empty directory";
        return Err(Error::at(to, problem, mend));
    }
    let size = plan.side * plan.side * CHANNELS;
    let work = Work { from, to, side: plan.side, skip_bad: options.skip_bad, finished, watch };
    let mut missing = Vec::new();
    for part in Part::BOTH {
        for (number, files) in listing.parts[part as usize].chunks(plan.images_per_shard).enumerate() {
            let shard = Missing { part, number, files, lengths: lengths(files)? };
            match work.found(&shard, size) {
                true => (watch.advanced)(files.len() as u64, true),
                false => missing.push(shard),
            }
        }
    }
    // Pixels, and eight bytes of sums for each byte of an image. What has no room leaves nothing that would be gone on with.
    room(to, missing.iter().map(|shard| ((shard.files.len() + 8) * size) as u64).sum())?;
    if !claim.planned {
        whole::write(&to.join(PLAN), UNFINISHED, text.as_bytes())?;
    }
    if let Some(index) = &work.finished
        && missing.is_empty()
        && pack::read_file(&to.join(SUMS), index.sums).is_ok()
    {
        return Ok(Packed { index: index.clone(), shards_new: 0 });
    }
    let shards_new = missing.len();
    let bad = work.shards(&missing)?;
    if !bad.is_empty() {
        return Err(refused(from, &bad, "packed", "with --skip-bad, which the pack records"));
    }
    let index = finish(to, listing, &plan, plan_digest)?;
    Ok(Packed { index, shards_new })
}

/// A directory that is this plan's, and nobody else's as long as this lives.
struct Claim {
    _lock: File,
    /// Whether the plan is written in it.
    planned: bool,
}

/// Makes `to` the directory of this plan; only the plan itself is not written yet.
fn claim(to: &Path, plan: &Plan<'_>, text: &str) -> Result<Claim> {
    whole::make_dir(to)?;
    let lock = File::open(to).map_err(Error::io("open", to))?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let problem = "is being packed by another process";
            let mend = "wait for it, or name another directory";
            return Err(Error::at(to, problem, mend));
        }
        Err(TryLockError::Error(error)) => return Err(Error::io("lock", to)(error)),
        Ok(()) => {}
    }
    let (unfinished, others) = inside(to)?;
    let planned = begun_here(to, plan, text, &unfinished, &others)?;
    for path in unfinished {
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(Claim { _lock: lock, planned })
}

/// What is in a directory: files that were being written, by their names, and all else.
fn inside(dir: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut unfinished, mut others) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir).map_err(Error::io("read the directory", dir))? {
        let path = entry.map_err(Error::io("read the directory", dir))?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        match name.starts_with(UNFINISHED.as_bytes()) && path.is_file() {
            true => unfinished.push(path),
            false => others.push(path),
        }
    }
    Ok((unfinished, others))
}

/// Whether that plan is written in `to` already; where it may be written there, it is not.
fn begun_here(
    to: &Path,
    plan: &Plan<'_>,
    text: &str,
    unfinished: &[PathBuf],
    others: &[PathBuf],
) -> Result<bool> {
    let path = to.join(PLAN);
    let there = match whole::read(&path, pack::MOST) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        // What is no file is no plan either.
        read => Some(read.map_err(Error::io("read", &path))?.unwrap_or_default()),
    };
    if there.as_deref() == Some(text.as_bytes()) {
        return Ok(true);
    }
    // A finished pack says as well what it was made from.
    if Index::read(to).is_ok_and(|index| index.plan == Digest::of(text.as_bytes())) {
        return Ok(false);
    }
    let refuse = |problem, mend| Err(Error::at(to, problem, mend));
    let strange =
        || refuse("is a directory with other things in it, not a pack", "name an empty or a new directory");
    match there {
        // Killed while its very first file was being written.
        None if others.is_empty() && unfinished.iter().all(|path| begins(path, text)) => Ok(false),
        None => strange(),
        Some(bytes) if pack::other_format(&bytes).is_some() => refuse(
            "is a pack of a format that this selffer does not write",
            "pack the images again, into an empty directory",
        ),
        Some(bytes) => match serde_json::from_slice::<Begun>(&bytes) {
            // Nothing was packed by it yet.
            Ok(_) if *others == [path] => Ok(false),
            Ok(begun) => Err(begun.differs(to, plan)),
            Err(_) if others.contains(&shard_path(to, Part::Train, 0, "shard")) => refuse(
                "is a pack that is not finished, and its plan.json is damaged",
                "remove the directory, or name an empty one",
            ),
            Err(_) => strange(),
        },
    }
}

/// Whether all that is in a file is the beginning of that plan, or it begins as every plan does.
fn begins(path: &Path, text: &str) -> bool {
    let plan = |bytes: Vec<u8>| text.as_bytes().starts_with(&bytes) || bytes.starts_with(b"{\"classes\":[");
    whole::read(path, pack::MOST).is_ok_and(|bytes| bytes.is_some_and(plan))
}

/// A [`Plan`] as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begun {
    #[expect(dead_code, reason = "read, never asked for")]
    format: Format,
    side: usize,
    images_per_shard: usize,
    #[expect(dead_code, reason = "a change of classes is one of files")]
    classes: Vec<String>,
    #[expect(dead_code, reason = "what else differs is the files")]
    files: Digest,
}

impl Begun {
    /// The error of a directory that was begun by this plan where `plan` was asked for.
    fn differs(&self, to: &Path, plan: &Plan<'_>) -> Error {
        let Self { side, images_per_shard: images, .. } = *self;
        let (problem, mend) = if side != plan.side {
            let asked = plan.side;
            (format!("has {side}×{side} images, and --size {asked} was asked"), format!("say --size {side}"))
        } else if images != plan.images_per_shard {
            let asked = plan.images_per_shard;
            let problem = format!("has {images} images a shard, and --shard-mib makes it {asked}");
            (problem, "say the --shard-mib that it was begun with".to_owned())
        } else {
            ("was begun from other files".to_owned(), "put those back".to_owned())
        };
        Error::at(to, problem, format!("{mend}, or name an empty directory"))
    }
}

/// Refuses to begin what the disk cannot hold.
fn room(to: &Path, bytes: u64) -> Result<()> {
    let disk = rustix::fs::statvfs(to).map_err(|error| Error::io("look at the disk of", to)(error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= bytes {
        return Ok(());
    }
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let problem = format!("takes {:.1} MB and its disk has {:.1}", megabytes(bytes), megabytes(free));
    Err(Error::at(to, problem, "free some space, or take a smaller --size"))
}

/// Writes what makes the pack finished.
fn finish(to: &Path, listing: &Listing, plan: &Plan<'_>, plan_digest: Digest) -> Result<Index> {
    let size = plan.side * plan.side * CHANNELS;
    let mut sums = Sums::none(size);
    let mut skipped = Vec::new();
    let mut entries: [Vec<Entry>; 2] = Default::default();
    let mut images = Vec::new();
    for part in Part::BOTH {
        let (mut digests, mut labels) = (Vec::new(), Vec::new());
        for number in 0..listing.parts[part as usize].len().div_ceil(plan.images_per_shard) {
            let path = shard_path(to, part, number, "json");
            let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
            let index: ShardIndex = serde_json::from_slice(&bytes).map_err(|error| {
                let mend = "remove it and run the same command again";
                Error::at(&path, format!("is damaged ({error})"), mend)
            })?;
            let count = index.digests.len();
            if part == Part::Train {
                let path = shard_path(to, part, number, "sums");
                sums.merge(&pack::sums_of(&pack::read_file(&path, index.sums)?, count, index.squares));
            }
            entries[part as usize].push(Entry { images: count, index: Digest::of(&bytes) });
            skipped.extend(index.skipped);
            digests.extend(index.digests);
            labels.extend(index.labels);
        }
        let mut seen = vec![false; plan.classes.len()];
        labels.iter().for_each(|label: &u16| seen[usize::from(*label)] = true);
        if let Some(empty) = seen.iter().position(|seen| !seen) {
            let problem = format!("every {part} image of class {} is bad", plan.classes[empty]);
            return Err(Error::at(to, problem, "mend one at least"));
        }
        let shards = Shards { files: Vec::new(), digests, sums: None };
        images.push(Images::of_shards([CHANNELS, plan.side, plan.side], shards, labels));
    }
    let [valid, train] = [images.pop(), images.pop()].map(|part| part.expect("two parts"));
    let data: DataDigest = Dataset { classes: plan.classes.to_vec(), train, valid }.digest();
    let bytes = pack::sums_bytes(&sums);
    whole::write(&to.join(SUMS), UNFINISHED, &bytes)?;
    let [train, valid] = entries;
    let index = Index {
        format: Format::V2,
        side: plan.side,
        classes: plan.classes.to_vec(),
        data,
        plan: plan_digest,
        train,
        valid,
        sums: Digest::of(&bytes),
        squares: sums.squares,
        skipped,
    };
    whole::write(&to.join(INDEX), UNFINISHED, pack::sealed(index.clone()).as_bytes())?;
    Ok(index)
}

#[cfg(test)]
mod tests;
