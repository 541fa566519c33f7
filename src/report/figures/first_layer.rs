//! The filters of a base network's first layer, and those of its random control beside them.
//!
//! Uses `report::filters` and the `png` crate. Every weight is a square of a PNG within the SVG; both pictures of a network
//! have one scale, so that grey is the same number in either.

use super::canvas::{Paint, Sheet, short};
use super::data;
use super::plot::{SMALL, TEXT, heading};
use super::{Figure, Kind};
use crate::error::{Error, Result};
use crate::report::model::Side;
use crate::weights::Tensor;
use base64::Engine as _;

const WIDTH: f64 = 400.0;

/// Pixels of the picture along one weight.
const WEIGHT: usize = 4;

/// The width of one bank of filters.
const BANK: f64 = 180.0;

/// The pictures of all base networks.
pub fn all(side: &Side) -> Result<Vec<Figure>> {
    side.filters
        .iter()
        .enumerate()
        .map(|(index, filters)| {
            let random = &filters.random;
            let beside = match &random.run {
                Some(_) => "random control",
                None => "untrained: its beginning",
            };
            let [count, channels, rows, columns] = shape(&filters.trained);
            let title = format!("First layer of {}", filters.run);
            let below = format!(
                "{}: 1 network, {count} filters of {rows} × {columns} weights{}",
                side.title,
                if channels == 3 { ", red, green and blue together" } else { "" }
            );
            let most = filters
                .trained
                .values
                .iter()
                .chain(&random.weight.values)
                .fold(0f32, |most, value| if value.is_finite() { most.max(value.abs()) } else { most });
            let sheet = Sheet::wide(WIDTH);
            let top = heading(&sheet, &title, &below, &[]);
            let mut bottom: f64 = 0.0;
            for (place, (tensor, text)) in
                [(&filters.trained, "trained"), (&random.weight, beside)].into_iter().enumerate()
            {
                let left = 4.0 + place as f64 * (WIDTH - BANK - 8.0);
                sheet.text((left, top + TEXT), SMALL, "start", Paint::Ink, true, text);
                bottom = bottom.max(bank(&sheet, (left, top + TEXT + 8.0), tensor, most)?);
            }
            let bottom = scale(&sheet, bottom + 12.0, most)?;
            let sheet = sheet.tall(bottom);
            let banks = [
                ("trained", &filters.trained, &filters.reading),
                ("random", &random.weight, &random.reading),
            ];
            let rows = banks.into_iter().flat_map(|(name, tensor, reading)| {
                weights(name, tensor, reading.as_ref().map(|reading| reading.per_filter.as_slice()))
            });
            let head = ["bank", "filter", "channel", "row", "column", "weight", "explained"];
            let csv = data::csv(&head, rows)?;
            Ok(Figure {
                kind: Kind::FirstLayer,
                name: format!("{}-filters-{index}", side.key),
                note: String::new(),
                svg: sheet.finish(&title),
                csv: Some(csv),
                title,
            })
        })
        .collect()
}

fn shape(tensor: &Tensor) -> [usize; 4] {
    let side = |index: usize| tensor.shape.get(index).copied().unwrap_or(1);
    [side(0), side(1), side(2), side(3)]
}

/// A row for each weight, with the share of its filter that a Gabor function explains.
fn weights(name: &'static str, tensor: &Tensor, explained: Option<&[f64]>) -> Vec<Vec<String>> {
    let [_, channels, rows, columns] = shape(tensor);
    let row = |(index, value): (usize, &f32)| {
        let (column, rest) = (index % columns, index / columns);
        let (row, rest) = (rest % rows, rest / rows);
        let numbers = [rest / channels, rest % channels, row, column];
        let mut cells = vec![name.to_owned()];
        cells.extend(numbers.map(|number| number.to_string()));
        cells.push(value.to_string());
        let share = explained.and_then(|shares| shares.get(rest / channels));
        cells.push(share.map_or_else(String::new, |share| format!("{share:.6}")));
        cells
    };
    tensor.values.iter().enumerate().map(row).collect()
}

/// The grey of a weight: black is minus the scale's end, white its end.
fn grey(value: f32, most: f32) -> u8 {
    let share = if most > 0.0 && value.is_finite() { value / most } else { 0.0 };
    (127.5 * (1.0 + share)).round() as u8
}

/// Draws a bank of filters at a place, and says where it ends below.
fn bank(sheet: &Sheet, (left, top): (f64, f64), tensor: &Tensor, most: f32) -> Result<f64> {
    let [count, channels, rows, columns] = shape(tensor);
    // Three channels are the colours of one tile; other numbers of channels are tiles of their own.
    let (tiles, coloured) = if channels == 3 { (count, true) } else { (count * channels, false) };
    let across = (tiles as f64).sqrt().ceil().max(1.0) as usize;
    let down = tiles.div_ceil(across);
    // A gap between tiles of about a quarter of a tile, without colour.
    let gap = 1 + WEIGHT * columns / 5;
    let (pitch_x, pitch_y) = (WEIGHT * columns + gap, WEIGHT * rows + gap);
    let (wide, high) = (across * pitch_x - gap, down * pitch_y - gap);
    let mut pixels = vec![0u8; 4 * wide * high];
    for tile in 0..tiles {
        for down in 0..WEIGHT * rows {
            for right in 0..WEIGHT * columns {
                let (row, column) = (down / WEIGHT, right / WEIGHT);
                let value = |channel: usize| {
                    tensor.values.get((channel * rows + row) * columns + column).copied().unwrap_or(0.0)
                };
                let colour = match coloured {
                    true => [0, 1, 2].map(|channel| grey(value(3 * tile + channel), most)),
                    false => [grey(value(tile), most); 3],
                };
                let x = tile % across * pitch_x + right;
                let y = tile / across * pitch_y + down;
                let at = 4 * (y * wide + x);
                pixels[at..at + 3].copy_from_slice(&colour);
                pixels[at + 3] = 255;
            }
        }
    }
    let height = BANK * high as f64 / wide as f64;
    image(sheet, (left, top, BANK, height), (wide, high), &pixels)?;
    Ok(top + height)
}

/// The legend of both pictures: from black to white, and the numbers that they stand for.
fn scale(sheet: &Sheet, top: f64, most: f32) -> Result<f64> {
    let steps = 64;
    let pixels: Vec<u8> = (0..steps)
        .flat_map(|step| {
            let value = grey(most * (2.0 * step as f32 / (steps - 1) as f32 - 1.0), most);
            [value, value, value, 255]
        })
        .collect();
    image(sheet, (4.0, top, BANK, 10.0), (steps, 1), &pixels)?;
    // Its white end is to be seen on white paper.
    sheet.raw(&format!(
        "<rect class=\"s-soft\" stroke-width=\".6\" x=\"4\" y=\"{}\" width=\"{BANK}\" height=\"10\"/>",
        short(top)
    ));
    let below = top + 10.0 + SMALL * 1.2;
    let end = format!("{most:.3}");
    sheet.text((4.0, below), SMALL, "start", Paint::Soft, false, &format!("-{end}"));
    sheet.text((4.0 + BANK / 2.0, below), SMALL, "middle", Paint::Soft, false, "0");
    sheet.text((4.0 + BANK, below), SMALL, "end", Paint::Soft, false, &end);
    let words = "weights, one scale for both";
    sheet.text((WIDTH - BANK - 4.0, top + 9.0), SMALL, "start", Paint::Soft, false, words);
    Ok(below + SMALL * 0.6)
}

fn image(
    sheet: &Sheet,
    (x, y, wide, high): (f64, f64, f64, f64),
    (columns, rows): (usize, usize),
    pixels: &[u8],
) -> Result<()> {
    let wrong = |error: png::EncodingError| Error::invalid("png", error.to_string(), "report it");
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, columns as u32, rows as u32);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(wrong)?;
    writer.write_image_data(pixels).map_err(wrong)?;
    writer.finish().map_err(wrong)?;
    let data = base64::engine::general_purpose::STANDARD.encode(bytes);
    sheet.raw(&format!(
        "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
         style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{data}\"/>",
        short(x),
        short(y),
        short(wide),
        short(high)
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greys_are_even_about_zero() {
        assert_eq!([-2.0, 0.0, 2.0].map(|value| grey(value, 2.0)), [0, 128, 255]);
        assert_eq!([0.0, f32::NAN].map(|value| grey(value, 0.0)), [128, 128]);
    }

    #[test]
    fn every_weight_is_a_row_with_its_place() {
        let tensor = Tensor { shape: vec![2, 1, 1, 2], values: vec![0.5, 1.5, 2.5, 3.5] };
        let rows: Vec<String> =
            weights("x", &tensor, Some(&[0.25, 1.0])).iter().map(|row| row.join(" ")).collect();
        assert_eq!(
            rows,
            [
                "x 0 0 0 0 0.5 0.250000",
                "x 0 0 0 1 1.5 0.250000",
                "x 1 0 0 0 2.5 1.000000",
                "x 1 0 0 1 3.5 1.000000"
            ]
        );
    }

    #[test]
    fn a_bank_is_a_picture_with_a_pixel_for_each_weight() {
        let tensor = Tensor { shape: vec![2, 3, 1, 1], values: vec![1.0, -1.0, 0.0, -1.0, 1.0, 0.0] };
        let sheet = Sheet::wide(300.0).tall(300.0);
        bank(&sheet, (0.0, 0.0), &tensor, 1.0).unwrap();
        let svg = sheet.finish("x");
        let data = svg.split("base64,").nth(1).unwrap().split('"').next().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        // Two coloured tiles of 4 by 4 pixels, a clear pixel between them.
        let row = [[255, 0, 128, 255]; 4].into_iter().chain([[0; 4]]).chain([[0, 255, 128, 255]; 4]);
        assert_eq!(pixels, row.flatten().collect::<Vec<u8>>().repeat(4));
    }
}
