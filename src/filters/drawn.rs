//! What is explained of the made-up filters of the shapes that the program's own protocols have: fitted once for all,
//! since the same numbers come out on every machine.
//!
//! Used by `filters` alone, which fits those of any other shape itself. A file has 64-bit floats, little-endian: first
//! those of random filters, then those with structure. A test fits them again; to write the files anew:
//! `SELFFER_WRITE_DRAWN=1 cargo test --release --lib filters::drawn`.

use super::{DRAWN, KINDS};

macro_rules! files {
    ($($channels:literal $side:literal $name:literal)*) => {
        /// Channels, height and width, and the file's bytes.
        const FILES: &[(usize, usize, &[u8])] = &[$(($channels, $side, include_bytes!(concat!("drawn/", $name)))),*];
    };
}

// Grey and coloured images in small layouts, the paper's in Caffe's.
files! { 1 3 "1x3.f64" 3 3 "3x3.f64" 3 11 "3x11.f64" }

/// Those of a shape, by kind; none where they are not kept.
pub(super) fn kept(channels: usize, side: usize) -> Option<[Vec<f64>; KINDS.len()]> {
    let (_, _, bytes) = FILES.iter().find(|(of, by, _)| (*of, *by) == (channels, side))?;
    let (numbers, _) = bytes.as_chunks::<8>();
    let numbers: Vec<f64> = numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    let kind = |at: usize| numbers[at * DRAWN..(at + 1) * DRAWN].to_vec();
    Some([kind(0), kind(1)])
}

#[cfg(test)]
mod tests {
    use super::super::score;
    use super::*;
    use crate::gabor::{Family, Fitter};
    use rayon::prelude::*;

    #[test]
    fn what_is_kept_is_what_fitting_gives() {
        let write = std::env::var_os("SELFFER_WRITE_DRAWN").is_some();
        for (channels, side, bytes) in FILES {
            let (channels, side, family) = (*channels, *side, Family::of(*side));
            let fitter = Fitter::new(family, channels, side);
            // Large ones take a while: some stand for all.
            let step = if write || side < 5 { 1 } else { 50 };
            let fitted = KINDS.map(|kind| {
                let indices = (0..DRAWN).into_par_iter().step_by(step);
                let scores = indices.map(|index| score(&fitter, family, channels, side, kind, index));
                scores.collect::<Vec<f64>>()
            });
            if write {
                let path = format!("{}/src/filters/drawn/{channels}x{side}.f64", env!("CARGO_MANIFEST_DIR"));
                let bytes: Vec<u8> = fitted.concat().into_iter().flat_map(f64::to_le_bytes).collect();
                std::fs::write(path, bytes).unwrap();
                continue;
            }
            assert_eq!(bytes.len(), 8 * KINDS.len() * DRAWN);
            let kept = kept(channels, side).unwrap();
            for (kept, fitted) in kept.iter().zip(fitted) {
                let some: Vec<u64> = kept.iter().step_by(step).map(|score| score.to_bits()).collect();
                assert_eq!(some, fitted.iter().map(|score| score.to_bits()).collect::<Vec<_>>());
            }
        }
    }
}
