//! One listed file as it is packed: read, decoded, made square; or why it is no image.
//!
//! Uses `data::{decode, listing, resize}`; used by `data::{packing, folder}`, so that a pack and a folder that is read directly
//! have the same images, to the last bit, and refuse the same files.

use super::images::digest;
use super::listing::Listed;
use super::pack::{CHANNELS, Skipped};
use super::{Part, decode, resize};
use crate::digest::ImageDigest;
use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

/// Bad images that an error names.
const NAMED: usize = 10;

/// One image as it is packed.
pub(super) struct Ready {
    pub digest: ImageDigest,
    pub pixels: Vec<u8>,
}

/// One file as it is packed, `side` pixels high and wide, or why it is no image.
pub(super) fn ready(part: Part, listed: &Listed, side: usize) -> Result<Result<Ready, Skipped>> {
    let image = prepared(&listed.path, side)?;
    Ok(image.map_err(|reason| Skipped { name: skipped_name(part, listed), reason }))
}

/// What a file is called where it is left out.
pub(super) fn skipped_name(part: Part, file: &Listed) -> String {
    format!("{part}: {}", file.name)
}

fn prepared(path: &Path, side: usize) -> Result<Result<Ready, String>> {
    let failed = || Error::io("read", path);
    // Before it is opened: a pipe would be waited for.
    let meta = fs::metadata(path).map_err(failed())?;
    if !meta.is_file() {
        return Err(Error::at(path, "is no regular file", "put the image there"));
    }
    if meta.len() > decode::BYTES_MAX {
        return Ok(Err(format!("has {} bytes, more than {}", meta.len(), decode::BYTES_MAX)));
    }
    let file = File::open(path).map_err(failed())?;
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    file.take(decode::BYTES_MAX).read_to_end(&mut bytes).map_err(failed())?;
    Ok(decode::guarded(&bytes).map(|image| {
        let pixels = resize::square(&image.pixels, image.rows, image.cols, side);
        Ready { digest: digest([CHANNELS, side, side], &pixels), pixels }
    }))
}

/// The error of images that cannot be decoded, and so not be `done`; `how` says how they are left out.
pub(super) fn refused(from: &Path, bad: &[Skipped], done: &str, how: &str) -> Error {
    let mut named: Vec<String> =
        bad.iter().take(NAMED).map(|Skipped { name, reason }| format!("{name} {reason}")).collect();
    if bad.len() > NAMED {
        named.push(format!("{} more", bad.len() - NAMED));
    }
    let problem = match bad.len() {
        1 => format!("1 image cannot be {done}: {}", named[0]),
        count => format!("{count} images cannot be {done}: {}", named.join(", ")),
    };
    Error::at(from, problem, format!("mend them, or leave them out {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("a.png");
        crate::testing::make_pipe(&pipe);
        let Err(error) = prepared(&pipe, 8) else { panic!("a pipe is no image") };
        assert!(error.to_string().contains("a.png: is no regular file"), "{error}");
    }
}
