//! Folders of image files as a protocol's data directly: decoded in memory when a command begins.
//!
//! Uses `data::{listing, ready}`, `machine`, `protocol`; used by `data` and the command line. For sets that decode in seconds and
//! fit into memory: the same images as a pack of them has, hence the same networks. Larger ones are packed once.

use super::images::Images;
use super::listing::{Listed, Listing, Lists};
use super::pack::{CHANNELS, Skipped};
use super::ready::{ready, refused};
use super::{Dataset, Part};
use crate::error::{Error, Result};
use crate::machine;
use crate::protocol::Folder;
use rayon::prelude::*;

/// What is not among the images of a folder.
#[derive(Debug)]
pub struct LeftOut {
    /// Images that cannot be decoded, left out as the protocol asks.
    pub bad: Vec<Skipped>,
    /// What is said of files whose names do not end as an image's does; nothing where there are none.
    pub others: Option<String>,
}

/// Decodes all images of a folder. `begun` hears how many there are.
///
/// # Errors
/// As of [`Listing::of`]; where images cannot be decoded and were not to be skipped, or all do not fit into memory.
pub fn read(folder: &Folder, begun: &dyn Fn(usize)) -> Result<(Dataset, LeftOut)> {
    let Folder { dir, size, skip_bad, train_list, valid_list, classes } = folder;
    let lists = Lists { parts: [train_list.clone(), valid_list.clone()], classes: classes.clone() };
    let listing = Listing::of(dir, &lists)?;
    let images = listing.parts.iter().map(Vec::len).sum();
    fits(folder, images, machine::memory_at_hand())?;
    begun(images);
    let mut bad = Vec::new();
    let [train, valid] = Part::BOTH.map(|part| decoded(part, &listing.parts[part as usize], *size, &mut bad));
    let (train, valid) = (train?, valid?);
    if !bad.is_empty() && !skip_bad {
        return Err(refused(dir, &bad, "decoded", "with `skip_bad = true` beside the protocol's `dir`"));
    }
    for (part, images) in [(Part::Train, &train), (Part::Valid, &valid)] {
        let mut seen = vec![false; listing.classes.len()];
        images.labels.iter().for_each(|label| seen[usize::from(*label)] = true);
        if let Some(empty) = seen.iter().position(|seen| !seen) {
            let problem = format!("every {part} image of class {} is bad", listing.classes[empty]);
            return Err(Error::at(dir, problem, "mend one at least"));
        }
    }
    let others = listing.others();
    Ok((Dataset { classes: listing.classes, train, valid }, LeftOut { bad, others }))
}

/// Refuses more images than that many bytes of memory hold.
fn fits(folder: &Folder, images: usize, memory: u64) -> Result<()> {
    let bytes = (folder.size * folder.size * CHANNELS) as u64 * images as u64;
    if bytes <= memory {
        return Ok(());
    }
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let problem = format!(
        "has {images} images, which take {:.1} GiB of memory at {size}×{size}, and {:.1} are free",
        gib(bytes),
        gib(memory),
        size = folder.size
    );
    let mend = "pack them with `selffer data pack`, and name the pack: it is read image by image";
    Err(Error::at(&folder.dir, problem, mend))
}

/// The images of one part, in the listing's order; those that are none are added to `bad`.
fn decoded(part: Part, files: &[Listed], side: usize, bad: &mut Vec<Skipped>) -> Result<Images> {
    let size = side * side * CHANNELS;
    let mut pixels = vec![0; files.len() * size];
    let images = pixels.par_chunks_exact_mut(size).zip(files).map(|(into, listed)| {
        Ok(ready(part, listed, side)?.map(|image| into.copy_from_slice(&image.pixels)))
    });
    let images: Vec<Result<(), Skipped>> = images.collect::<Result<_>>()?;
    let mut labels = Vec::new();
    for (at, (listed, image)) in files.iter().zip(images).enumerate() {
        match image {
            Ok(()) => {
                pixels.copy_within(at * size..(at + 1) * size, labels.len() * size);
                labels.push(listed.label);
            }
            Err(skipped) => bad.push(skipped),
        }
    }
    pixels.truncate(labels.len() * size);
    Ok(Images::new([CHANNELS, side, side], pixels, labels))
}

#[cfg(test)]
mod tests;
