//! Where results may lie: apart from what is something else's, which they would spoil.
//!
//! Uses `store`, `data` and `audit` of the library; used by the commands that make stores, packs and reports.

use selffer::audit::archive::Archive;
use selffer::data::{listing, pack};
use selffer::protocol::{DataSource, Folder, Protocol};
use selffer::store::Store;
use selffer::{Error, Result};
use std::path::{Component, Path, PathBuf};

/// Where a path leads, links followed: what is not there yet lies where what is there above it does.
fn place(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let (above, place) = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)))?;
    let rest = path.strip_prefix(above).ok()?;
    if !rest.components().any(|part| part == Component::ParentDir) {
        return Some(place.join(rest));
    }
    // Out of a directory that is yet to be made, and then through what may be there.
    let mut leads = place;
    for part in rest.components() {
        match part {
            Component::ParentDir => _ = leads.pop(),
            part => leads.push(part),
        }
    }
    self::place(&leads)
}

/// Whether two paths lead to one place.
pub fn same(one: &Path, other: &Path) -> bool {
    place(one).is_some_and(|one| place(other) == Some(one))
}

/// A place that is refused for what it lies in.
fn refused<T>(to: &Path, lies_in: String) -> Result<T> {
    Err(Error::at(to, format!("lies in {lies_in}"), "name a directory elsewhere"))
}

/// Refuses a place that lies in a store or in a pack.
pub fn apart(to: &Path) -> Result<()> {
    let Some(place) = place(to) else { return Ok(()) };
    for above in place.ancestors().skip(1) {
        // What may not be looked into may not be written into either: that is told by who tries.
        let kind = match (Store::is_at(above), pack::is_at(above)) {
            (Ok(true), _) => "store",
            (_, Ok(true)) => "pack",
            _ => continue,
        };
        return refused(to, format!("the {kind} {}, which holds nothing else", above.display()));
    }
    Ok(())
}

/// Refuses a place where it would be taken for images of the folder `from`.
pub fn apart_from_images(to: &Path, from: &Path) -> Result<()> {
    let Some(to_place) = place(to) else { return Ok(()) };
    let within = |dir: &PathBuf| place(dir).is_some_and(|dir| to_place.starts_with(dir));
    match listing::places(from).into_iter().find(within) {
        Some(dir) => refused(to, format!("{}, which is for images", dir.display())),
        None => Ok(()),
    }
}

/// Refuses a place for what comes of a protocol where it would spoil something else.
pub fn apart_from(to: &Path, protocol: &Protocol) -> Result<()> {
    if let DataSource::Images(Folder { dir, .. }) = &protocol.data {
        apart_from_images(to, dir)?;
    }
    apart(to)
}

/// Refuses a place that lies in a published archive.
pub fn apart_from_archive(to: &Path, archive: &Archive) -> Result<()> {
    let within = place(archive.root()).zip(place(to)).is_some_and(|(root, to)| to.starts_with(root));
    match within {
        true => refused(to, format!("the published archive {}", archive.root().display())),
        false => Ok(()),
    }
}
