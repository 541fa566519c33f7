//! Where results may lie: apart from what is something else's, which they would spoil.
//!
//! Uses `store`, `data` and `audit` of the library; used by the commands that make stores, packs and reports.

use selffer::audit::archive::Archive;
use selffer::data::listing;
use selffer::data::pack::Index;
use selffer::protocol::{DataSource, Folder, Protocol};
use selffer::store::Store;
use selffer::{Error, Result};
use std::path::{Path, PathBuf};

const MEND: &str = "name a directory elsewhere";

/// Where a path leads, links followed: what is not there yet lies where what is there above it does.
pub fn place(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let (above, place) = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)))?;
    Some(path.strip_prefix(above).map_or_else(|_| place.clone(), |rest| place.join(rest)))
}

/// Whether two paths lead to one place.
pub fn same(one: &Path, other: &Path) -> bool {
    place(one).is_some_and(|one| place(other) == Some(one))
}

/// Refuses a place that lies in a store, in a pack, or in one of those directories of images.
pub fn apart(to: &Path, images: &[PathBuf]) -> Result<()> {
    let Some(place) = place(to) else { return Ok(()) };
    for above in place.ancestors().skip(1) {
        let kind = match (Store::is_at(above)?, Index::read(above).is_ok()) {
            (true, _) => "store",
            (_, true) => "pack",
            _ => continue,
        };
        let problem = format!("lies in the {kind} {}, which holds nothing else", above.display());
        return Err(Error::at(to, problem, MEND));
    }
    let within = |dir: &&PathBuf| dir.canonicalize().is_ok_and(|dir| place.starts_with(dir));
    images.iter().find(within).map_or(Ok(()), |dir| {
        let problem = format!("lies in {}, where it would be taken for images", dir.display());
        Err(Error::at(to, problem, MEND))
    })
}

/// The same of a protocol's images, as far as they lie in folders. Where they do not lie is told by who reads them.
pub fn apart_from(to: &Path, protocol: &Protocol) -> Result<()> {
    match &protocol.data {
        DataSource::Images(Folder { dir, .. }) => match listing::dirs(dir) {
            Ok(dirs) => apart(to, &dirs),
            Err(_) => apart(to, &[]),
        },
        _ => apart(to, &[]),
    }
}

/// Refuses a place that lies in a published archive.
pub fn apart_from_archive(to: &Path, archive: &Archive) -> Result<()> {
    let root = archive.root();
    match (place(to), root.canonicalize()) {
        (Some(place), Ok(real)) if place.starts_with(&real) => {
            let problem = format!("lies in the published archive {}", root.display());
            Err(Error::at(to, problem, MEND))
        }
        _ => Ok(()),
    }
}
