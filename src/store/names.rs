//! What each file of a store is called.
//!
//! Uses `digest` and `whole`; a part of `store`.

use crate::digest::{Digest, RecipeDigest, SplitDigest, WeightsDigest};
use crate::error::Result;
use crate::whole;
use std::path::{Path, PathBuf};

pub(super) const SPLITS: &str = "splits";
pub(super) const CHECKPOINTS: &str = "checkpoints";
pub(super) const MANIFESTS: &str = "manifests";
pub(super) const SNAPSHOTS: &str = "snapshots";
pub(super) const CLAIMS: &str = "claims";
pub(super) const JOBS: &str = "jobs";
pub(super) const LOCKS: &str = "locks";
/// Where a report of the store is, unless another place is named; `report::files` writes it.
pub const REPORT: &str = "report";
/// Where `report::files` makes it, and where it puts the one before for a moment: killed there, it leaves them.
pub(crate) const REPORTS_BESIDE: [&str; 2] = [".report.new", ".report.old"];

/// A file of the store, by what it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// A split.
    Split(SplitDigest),
    /// A checkpoint.
    Checkpoint(WeightsDigest),
    /// A manifest.
    Manifest(RecipeDigest),
    /// The state of a run after so many steps.
    Snapshot(RecipeDigest, u64),
}

pub(super) fn relative(entry: &Entry) -> PathBuf {
    match entry {
        Entry::Split(digest) => Path::new(SPLITS).join(format!("{}.json", digest.hex())),
        Entry::Checkpoint(digest) => Path::new(CHECKPOINTS).join(format!("{}.safetensors", digest.hex())),
        Entry::Manifest(digest) => Path::new(MANIFESTS).join(format!("{}.json", digest.hex())),
        Entry::Snapshot(digest, steps) => {
            Path::new(SNAPSHOTS).join(format!("{}-{steps}.snapshot", digest.hex()))
        }
    }
}

/// What a file in the subdirectory `sub` is by its name; `None` where it does not belong there,
/// `Some(None)` for an empty lock file, a claim, or what was taken away since it was listed.
///
/// # Errors
/// Where the system does not say what is there.
pub(super) fn entry(sub: &str, path: &Path) -> Result<Option<Option<Entry>>> {
    Ok(match whole::there_itself(path)? {
        None => Some(None),
        Some(found) if found.is_file() => named(sub, path, found.len()),
        Some(_) => None,
    })
}

/// The same of a file with so many bytes.
fn named(sub: &str, path: &Path, bytes: u64) -> Option<Option<Entry>> {
    let name = path.file_name()?.to_str()?;
    let entry = match sub {
        SPLITS => Entry::Split(name.strip_suffix(".json")?.parse().ok()?),
        CHECKPOINTS => Entry::Checkpoint(name.strip_suffix(".safetensors")?.parse().ok()?),
        MANIFESTS => Entry::Manifest(name.strip_suffix(".json")?.parse().ok()?),
        SNAPSHOTS => {
            let (recipe, steps) = numbered(path, ".snapshot")?;
            Entry::Snapshot(recipe, steps)
        }
        CLAIMS => return numbered(path, ".json").map(|_| None),
        _ => {
            name.parse::<Digest>().ok()?;
            return (bytes == 0).then_some(None);
        }
    };
    Some(Some(entry))
}

/// The recipe and the number in the name of a file: one name for each, with no plus sign and no leading zeros.
pub(super) fn numbered(path: &Path, ending: &str) -> Option<(RecipeDigest, u64)> {
    let (recipe, number) = path.file_name()?.to_str()?.strip_suffix(ending)?.split_once('-')?;
    let count: u64 = number.parse().ok()?;
    Some((recipe.parse().ok()?, count)).filter(|_| count.to_string() == number)
}
