//! One image file to RGB bytes, as the paper's tools read it, or the reason why not.
//!
//! Uses nothing of this crate; used by `data::ready`. What a file is, its first bytes say, not its name: ImageNet has a PNG
//! named .JPEG. Grey images become three equal channels, CMYK ones (ImageNet has some two dozen) what OpenCV's
//! `imread` made of them; transparency and orientation are passed over, as it passed over them in 2014. Where that went on
//! with a warning at a file that is cut off, this refuses: the user decides. Damage within coded data can pass unseen (METHODOLOGY.md).

use png::{ColorType, Transformations};
use std::io::Cursor;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Pixels that an image may have: ImageNet's largest has 61 million. A small file can claim far more.
pub(super) const PIXELS_MAX: usize = 100_000_000;

/// Bytes that an image file may have.
pub(super) const BYTES_MAX: u64 = 256 << 20;

/// An image: three bytes a pixel, row after row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rgb {
    pub rows: usize,
    pub cols: usize,
    pub pixels: Vec<u8>,
}

/// Decodes a JPEG or PNG file. The error completes the sentence "the file …".
pub(super) fn rgb(file: &[u8]) -> Result<Rgb, String> {
    match file {
        [] => Err("is empty".to_owned()),
        [0xff, 0xd8, ..] => jpeg(file, options()),
        [0x89, b'P', b'N', b'G', ..] => png(file),
        _ => {
            let begins = hex::encode(&file[..file.len().min(4)]);
            Err(format!("is neither JPEG nor PNG (it begins with {begins})"))
        }
    }
}

/// Refuses a size before memory is taken for it.
fn sized(rows: usize, cols: usize) -> Result<(), String> {
    match rows.checked_mul(cols) {
        Some(0) => Err("has no pixel".to_owned()),
        Some(pixels) if pixels <= PIXELS_MAX => Ok(()),
        _ => Err(format!("says that it has {cols} × {rows} pixels, more than {PIXELS_MAX} in all")),
    }
}

fn jpeg(file: &[u8], options: DecoderOptions) -> Result<Rgb, String> {
    if !ends(file) {
        return Err("is cut off: its JPEG data have no end".to_owned());
    }
    let damaged = |error| format!("has damaged JPEG data ({error:?})");
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    decoder.decode_headers().map_err(damaged)?;
    let (cols, rows) = decoder.info().map(|info| (info.width.into(), info.height.into())).expect("headers");
    sized(rows, cols)?;
    // Four inks as they stand in the file, so that they are mixed as OpenCV mixes them.
    let space = match decoder.input_colorspace() {
        Some(four @ (ColorSpace::CMYK | ColorSpace::YCCK)) => four,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let pixels = decoder.decode().map_err(damaged)?;
    let pixels = match space {
        ColorSpace::CMYK => {
            pixels.chunks_exact(4).flat_map(|inks| mixed([inks[0], inks[1], inks[2], inks[3]])).collect()
        }
        ColorSpace::YCCK => pixels
            .chunks_exact(4)
            .flat_map(|ycck| mixed(inks([ycck[0], ycck[1], ycck[2], ycck[3]])))
            .collect(),
        _ => pixels,
    };
    match pixels.len() == rows * cols * 3 {
        true => Ok(Rgb { rows, cols, pixels }),
        false => Err("has an unusual number of JPEG components".to_owned()),
    }
}

/// Its processor-specific code and its plain code give the same bits: a test holds it to that.
fn options() -> DecoderOptions {
    DecoderOptions::default().set_strict_mode(true).set_max_width(1 << 16).set_max_height(1 << 16)
}

/// Cyan, magenta, yellow and black as RGB: Adobe's files have inks inverted (255 is none), and so OpenCV takes all.
fn mixed([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let k = i32::from(k);
    [c, m, y].map(|ink| (k - (((255 - i32::from(ink)) * k) >> 8)) as u8)
}

/// YCCK as CMYK: the first three are YCbCr of the complement; libjpeg's arithmetic in 16 bits.
fn inks([y, cb, cr, k]: [u8; 4]) -> [u8; 4] {
    let [y, cb, cr] = [i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128];
    let half = 1 << 15;
    let r = y + ((91_881 * cr + half) >> 16);
    let g = y + ((-22_554 * cb - 46_802 * cr + half) >> 16);
    let b = y + ((116_130 * cb + half) >> 16);
    let [c, m, y] = [r, g, b].map(|light| (255 - light).clamp(0, 255) as u8);
    [c, m, y, k]
}

/// Whether a JPEG file has its end: from marker to marker, over segments of stated length and over coded
/// data, to the marker of the end. Whatever comes after that does not matter.
fn ends(file: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // Between markers may be fill bytes; whatever else is there, libjpeg passes over.
        let Some(skipped) =
            file[at..].windows(2).position(|two| two[0] == 0xff && !matches!(two[1], 0 | 0xff))
        else {
            return false;
        };
        let marker = file[at + skipped + 1];
        at += skipped + 2;
        match marker {
            0xd9 => return true,
            // Markers without a segment: restarts within coded data, and one that is of no use.
            0xd0..=0xd8 | 0x01 => {}
            _ => {
                let Some(length) = file.get(at..at + 2) else { return false };
                at += usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
                if at > file.len() {
                    return false;
                }
            }
        }
    }
}

fn png(file: &[u8]) -> Result<Rgb, String> {
    let damaged = |error: png::DecodingError| match error {
        png::DecodingError::LimitsExceeded => "takes too much memory to unpack".to_owned(),
        error => format!("has damaged or cut off PNG data ({error})"),
    };
    let limits = png::Limits { bytes: 64 << 20 };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(file), limits);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let (cols, rows) = {
        let info = decoder.read_header_info().map_err(damaged)?;
        (info.width as usize, info.height as usize)
    };
    sized(rows, cols)?;
    let mut reader = decoder.read_info().map_err(damaged)?;
    if reader.info().animation_control.is_some() {
        return Err("is an animation, not an image".to_owned());
    }
    let mut pixels = vec![0; reader.output_buffer_size().ok_or("takes too much memory to unpack")?];
    let frame = reader.next_frame(&mut pixels).map_err(damaged)?;
    reader.finish().map_err(damaged)?;
    pixels.truncate(frame.buffer_size());
    let pixels = match frame.color_type {
        ColorType::Rgb => pixels,
        ColorType::Rgba => pixels.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
        ColorType::Grayscale => pixels.iter().flat_map(|grey| [*grey; 3]).collect(),
        ColorType::GrayscaleAlpha => pixels.chunks_exact(2).flat_map(|pixel| [pixel[0]; 3]).collect(),
        ColorType::Indexed => return Err("has colours of an unknown kind".to_owned()),
    };
    Ok(Rgb { rows, cols, pixels })
}

/// Decodes, and says so where a decoder gives up by panicking, as damaged files make some.
pub(super) fn guarded(file: &[u8]) -> Result<Rgb, String> {
    std::panic::catch_unwind(|| rgb(file))
        .unwrap_or_else(|_| Err("breaks the decoder: it is damaged".to_owned()))
}

#[cfg(test)]
mod tests;
