use super::*;
use jpeg_encoder::{ColorType as Ink, Encoder, SamplingFactor};
use proptest::prelude::*;

/// Smooth waves and an edge, in three colours that differ.
fn drawn(rows: usize, cols: usize) -> Vec<u8> {
    let mut pixels = Vec::new();
    for row in 0..rows {
        for col in 0..cols {
            let wave = |a: usize, b: usize| {
                let phase = (row * a) as f64 / rows as f64 + (col * b) as f64 / cols as f64;
                (127.0 + 100.0 * phase.sin()) as u8
            };
            let edge = if col * 3 > cols * 2 { 40 } else { 0 };
            pixels.extend([wave(3, 1), wave(1, 4), wave(2, 2).saturating_sub(edge)]);
        }
    }
    pixels
}

/// What an encoder that shares no code with the decoder makes of it.
fn encoded(
    pixels: &[u8],
    [rows, cols]: [usize; 2],
    ink: Ink,
    change: impl Fn(&mut Encoder<&mut Vec<u8>>),
) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 95);
    change(&mut encoder);
    encoder.encode(pixels, cols as u16, rows as u16, ink).expect("a JPEG file");
    file
}

fn png_file(pixels: &[u8], [rows, cols]: [usize; 2], color: ColorType, frames: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, cols as u32, rows as u32);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    if frames > 1 {
        encoder.set_animated(frames, 0).expect("frames");
    }
    let mut writer = encoder.write_header().expect("a header");
    for _ in 0..frames {
        writer.write_image_data(pixels).expect("pixels");
    }
    writer.finish().expect("an end");
    file
}

/// The largest difference, and the mean one.
#[track_caller]
fn off(one: &[u8], other: &[u8]) -> (u8, f64) {
    assert_eq!(one.len(), other.len());
    let off: Vec<u8> = one.iter().zip(other).map(|(a, b)| a.abs_diff(*b)).collect();
    let mean = off.iter().map(|off| f64::from(*off)).sum::<f64>() / off.len() as f64;
    (off.into_iter().max().expect("pixels"), mean)
}

#[test]
fn a_jpeg_comes_out_nearly_as_it_was() {
    let (size, pixels) = ([61, 83], drawn(61, 83));
    for (sampling, mean) in
        [(SamplingFactor::F_1_1, 1.0), (SamplingFactor::F_2_1, 2.0), (SamplingFactor::F_2_2, 3.0)]
    {
        for progressive in [false, true] {
            let file = encoded(&pixels, size, Ink::Rgb, |encoder| {
                encoder.set_sampling_factor(sampling);
                encoder.set_progressive(progressive);
            });
            let image = rgb(&file).unwrap();
            assert_eq!([image.rows, image.cols], size);
            let off = off(&image.pixels, &pixels).1;
            assert!(off < mean, "{sampling:?}, progressive: {progressive}: {off}");
        }
    }
}

#[test]
fn grey_and_ink_become_rgb() {
    let (size, pixels) = ([40, 56], drawn(40, 56));
    let grey: Vec<u8> = pixels.iter().step_by(3).copied().collect();
    let image = rgb(&encoded(&grey, size, Ink::Luma, |_| {})).unwrap();
    assert!(image.pixels.chunks(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]));
    assert!(off(&image.pixels.iter().step_by(3).copied().collect::<Vec<_>>(), &grey).0 < 6);

    // The encoder inverts inks, as Adobe's programs do: without black, RGB is 255 less the inks.
    let cmyk = |black: u8| -> Vec<u8> {
        pixels.chunks(3).flat_map(|rgb| [255 - rgb[0], 255 - rgb[1], 255 - rgb[2], black]).collect()
    };
    for ink in [Ink::Cmyk, Ink::CmykAsYcck] {
        let whole = rgb(&encoded(&cmyk(0), size, ink, |_| {})).unwrap();
        assert!(off(&whole.pixels, &pixels).1 < 2.0, "{ink:?}: {:?}", off(&whole.pixels, &pixels));
        // Half black halves the light.
        let half = rgb(&encoded(&cmyk(128), size, ink, |_| {})).unwrap();
        let expected: Vec<u8> = pixels.iter().map(|light| (u32::from(*light) * 127 / 255) as u8).collect();
        assert!(off(&half.pixels, &expected).1 < 2.0, "{ink:?}: {:?}", off(&half.pixels, &expected));
    }
}

#[test]
fn every_processor_decodes_to_the_same_bits() {
    for size in [[64, 64], [61, 83], [16, 200], [33, 17], [1, 1], [150, 149]] {
        let pixels = drawn(size[0], size[1]);
        for sampling in
            [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_1_2, SamplingFactor::F_2_2]
        {
            for progressive in [false, true] {
                let file = encoded(&pixels, size, Ink::Rgb, |encoder| {
                    encoder.set_sampling_factor(sampling);
                    encoder.set_progressive(progressive);
                });
                let plain = jpeg(&file, options().set_use_unsafe(false)).unwrap();
                assert_eq!(jpeg(&file, options()).unwrap(), plain, "{size:?} {sampling:?} {progressive}");
            }
        }
    }
}

#[test]
fn a_png_comes_out_as_it_was() {
    let (size, pixels) = ([20, 30], drawn(20, 30));
    assert_eq!(rgb(&png_file(&pixels, size, ColorType::Rgb, 1)).unwrap().pixels, pixels);
    let grey: Vec<u8> = pixels.iter().step_by(3).copied().collect();
    let three: Vec<u8> = grey.iter().flat_map(|grey| [*grey; 3]).collect();
    assert_eq!(rgb(&png_file(&grey, size, ColorType::Grayscale, 1)).unwrap().pixels, three);
    // Transparency is passed over, not mixed with a background.
    let alpha: Vec<u8> = pixels.chunks(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 7]).collect();
    assert_eq!(rgb(&png_file(&alpha, size, ColorType::Rgba, 1)).unwrap().pixels, pixels);
    let alpha: Vec<u8> = grey.iter().flat_map(|grey| [*grey, 0]).collect();
    assert_eq!(rgb(&png_file(&alpha, size, ColorType::GrayscaleAlpha, 1)).unwrap().pixels, three);
}

#[test]
fn whatever_is_cut_off_is_refused() {
    let (size, pixels) = ([33, 47], drawn(33, 47));
    let mut files = vec![png_file(&pixels, size, ColorType::Rgb, 1)];
    for progressive in [false, true] {
        files.push(encoded(&pixels, size, Ink::Rgb, |encoder| encoder.set_progressive(progressive)));
    }
    for file in files {
        assert!(rgb(&file).is_ok());
        for length in 0..file.len() {
            let image = rgb(&file[..length]);
            assert!(image.is_err(), "{length} of {} bytes are enough", file.len());
        }
        // What comes after the end does not matter.
        assert_eq!(rgb(&[&file[..], b"more"].concat()), rgb(&file));
    }
}

#[test]
fn what_is_no_image_is_named() {
    let cases: [(Vec<u8>, &str); 5] = [
        (Vec::new(), "is empty"),
        (b"GIF89a\x01\x00".to_vec(), "is neither JPEG nor PNG (it begins with 47494638)"),
        (png_file(&drawn(8, 8), [8, 8], ColorType::Rgb, 2), "is an animation, not an image"),
        (b"\xff\xd8\xff\xd9".to_vec(), "has damaged JPEG data"),
        (b"\xff\xd8\xff".to_vec(), "is cut off: its JPEG data have no end"),
    ];
    for (file, reason) in cases {
        let refused = guarded(&file).unwrap_err();
        assert!(refused.starts_with(reason), "{refused}");
    }
}

#[test]
fn a_small_file_that_claims_to_be_huge_is_refused() {
    let mut file = encoded(&drawn(16, 16), [16, 16], Ink::Rgb, |_| {});
    let frame = file.windows(2).position(|two| two == [0xff, 0xc0]).expect("a frame");
    file[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
    assert_eq!(rgb(&file).unwrap_err(), "says that it has 65500 × 65500 pixels, more than 100000000 in all");
    let mut file = png_file(&drawn(16, 16), [16, 16], ColorType::Rgb, 1);
    file[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    // The header's sum, so that it is the size that is refused.
    let sum = flate2::Crc::new();
    let sum = {
        let mut crc = sum;
        crc.update(&file[12..29]);
        crc.sum()
    };
    file[29..33].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(rgb(&file).unwrap_err(), "says that it has 65536 × 65536 pixels, more than 100000000 in all");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Damaged bytes make another image or a refusal, never the end of the program.
    #[test]
    fn damage_is_survived(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), kind in 0..3) {
        let pixels = drawn(24, 24);
        let mut file = match kind {
            0 => png_file(&pixels, [24, 24], ColorType::Rgb, 1),
            kind => encoded(&pixels, [24, 24], Ink::Rgb, |encoder| encoder.set_progressive(kind == 1)),
        };
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Ok(image) = guarded(&file) {
            prop_assert_eq!(image.pixels.len(), image.rows * image.cols * 3);
        }
    }
}
