//! The resize of the paper's tools: any size to a square, bilinear, in OpenCV's whole-number arithmetic.
//!
//! Uses nothing of this crate; used by `data::ready`. Caffe's `convert_imageset` called `cv::resize` with its defaults:
//! sample at pixel centres, two neighbours each way, no smoothing before shrinking, the image's edge repeated.
//! OpenCV computes 8-bit images with weights of 11 bits and rounds twice on the way; so does this.
//! `tests/reference/decoding.py` holds both to the same bytes.

/// Bits of a weight.
const BITS: u32 = 11;

/// Two neighbours and their weights, which add up to 2¹¹.
struct Tap {
    at: [usize; 2],
    weight: [i32; 2],
}

/// For each place of the new side, where it samples the old one.
fn taps(from: usize, to: usize) -> Vec<Tap> {
    let scale = from as f64 / to as f64;
    let tap = |place: usize| {
        // Single precision from here on, as OpenCV has it.
        let centre = ((place as f64 + 0.5) * scale - 0.5) as f32;
        let first = centre.floor();
        let share = centre - first;
        let whole = (1 << BITS) as f32;
        let rounded = |weight: f32| (weight * whole).round_ties_even() as i32;
        let inside = |at: i64| at.clamp(0, from as i64 - 1) as usize;
        let at = [first as i64, first as i64 + 1].map(inside);
        Tap { at, weight: [rounded(1.0 - share), rounded(share)] }
    };
    (0..to).map(tap).collect()
}

/// Makes an RGB image of `rows` by `cols` pixels one of `side` by `side`.
///
/// # Panics
/// Where there are not as many bytes as the size says, or none.
pub(super) fn square(pixels: &[u8], rows: usize, cols: usize, side: usize) -> Vec<u8> {
    assert_eq!(pixels.len(), rows * cols * 3, "three bytes a pixel");
    assert!(rows > 0 && cols > 0, "an image has pixels");
    if (rows, cols) == (side, side) {
        return pixels.to_vec();
    }
    let mut across = taps(cols, side);
    // Where both are one column, OpenCV takes it whole; where both are one row, it rounds its two shares.
    across.iter_mut().filter(|tap| tap.at[0] == tap.at[1]).for_each(|tap| tap.weight = [1 << BITS, 0]);
    let stretched = |row: usize, into: &mut Vec<i32>| {
        let line = &pixels[row * cols * 3..(row + 1) * cols * 3];
        into.clear();
        for Tap { at: [left, right], weight } in &across {
            for channel in 0..3 {
                let [a, b] = [left, right].map(|at| i32::from(line[at * 3 + channel]));
                into.push(a * weight[0] + b * weight[1]);
            }
        }
    };
    // The two rows that were stretched last: the next line of the result often needs one of them.
    let mut lines: [(Option<usize>, Vec<i32>); 2] = Default::default();
    let mut result = Vec::with_capacity(side * side * 3);
    for Tap { at, weight } in taps(rows, side) {
        if lines[0].0 != Some(at[0]) && lines[1].0 == Some(at[0]) {
            lines.swap(0, 1);
        }
        for (line, row) in lines.iter_mut().zip(at) {
            if line.0 != Some(row) {
                stretched(row, &mut line.1);
                line.0 = Some(row);
            }
        }
        let [(_, above), (_, below)] = &lines;
        result.extend(above.iter().zip(below).map(|(above, below)| {
            let share = |line: i32, weight: i32| (weight * (line >> 4)) >> 16;
            ((share(*above, weight[0]) + share(*below, weight[1]) + 2) >> 2).clamp(0, 255) as u8
        }));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    /// The image `formula` of tests/reference/decoding.py.
    fn formula(rows: usize, cols: usize) -> Vec<u8> {
        let mixed = |at: usize| (at * at * 31 + at * 7919) % 1009;
        (0..rows * cols * 3).map(|at| (mixed(at) % 256) as u8).collect()
    }

    // tests/reference/decoding.py prints these: what OpenCV makes of that image.
    #[test]
    fn every_byte_is_opencv_s() {
        for (rows, cols, side, expected) in [
            (37, 23, 16, "7c6c702a9c6da5240ef4ac8ac5b6ed0e8506209b4d64cb6e5686b4fa3773d315"),
            (23, 37, 64, "92dc9d33ebfb794b4d3e24d5e4548699a171900982450cbe10920a18826ee9b5"),
            (200, 301, 256, "c010ac8bc1acd0e4f1f205fbc70f5c84680391c042601daab8818a7eca042fa2"),
            (48, 96, 24, "eca966479c92824d0837313519d141fc8079a5ac3d9cf299d2555719f378fb37"),
        ] {
            let made = square(&formula(rows, cols), rows, cols, side);
            assert_eq!(Digest::of(&made).hex(), expected, "{cols}×{rows} to {side}");
        }
    }

    #[test]
    fn what_fits_stays_and_one_colour_stays_one() {
        assert_eq!(square(&formula(8, 8), 8, 8, 8), formula(8, 8));
        for (rows, cols) in [(1, 1), (1, 300), (300, 1), (7, 9), (1000, 3)] {
            assert_eq!(square(&vec![201; rows * cols * 3], rows, cols, 32), vec![201; 32 * 32 * 3]);
        }
    }
}
