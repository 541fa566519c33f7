//! Axes, lines, areas and markers: plotters' charts with the few things that every figure here does alike.
//!
//! Uses `canvas` and plotters; used by each figure. A marker has a shape of its own for each treatment and a line its dashes,
//! so that colour is never all that tells two things apart; a marker can be a link with a note.

use super::canvas::{FINE, Paint, Sheet, escaped, short, width};
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::drawing::{DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::Polygon;
use plotters::prelude::Cartesian2d;
use plotters::series::LineSeries;
use plotters::style::{Color as _, FontDesc, FontFamily, FontStyle, ShapeStyle, TextStyle};
use std::convert::Infallible;
use std::ops::Range;

/// Sizes of text, in units of the sheet.
pub const TITLE: f64 = 15.0;
/// See [`TITLE`].
pub const TEXT: f64 = 13.0;
/// See [`TITLE`].
pub const SMALL: f64 = 12.0;

/// One axis.
pub struct Axis {
    /// What it shows, with its unit.
    pub label: &'static str,
    /// From where to where.
    pub range: Range<f64>,
    /// Where it has marks, and what they say.
    pub marks: Vec<(f64, String)>,
    /// Room for the words of marks at least, in units of the sheet: panels below each other are to begin alike.
    pub room: f64,
}

impl Axis {
    /// An axis over all values, with a little room and round marks.
    pub fn over(label: &'static str, values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = values
            .into_iter()
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let room = ((high - low) * 0.06).max(1e-3 * high.abs()).max(1e-6);
        Self::between(label, low - room..high + room)
    }

    /// An axis over a range, with round marks.
    pub fn between(label: &'static str, range: Range<f64>) -> Self {
        let marks = marks(&range, &[1.0, 2.0, 2.5, 5.0, 10.0]);
        Self { label, range, marks, room: 0.0 }
    }

    /// An axis over things that are counted, from the first to the last: no mark between two of them.
    pub fn counted(label: &'static str, first: f64, last: f64) -> Self {
        let room = 0.04 * (last - first).max(1.0);
        let range = first - room..last + room;
        let whole = |(value, _): &(f64, String)| value.fract() == 0.0;
        let marks = marks(&range, &[1.0, 2.0, 5.0, 10.0]).into_iter().filter(whole);
        let marks = marks.map(|(value, _)| (value, format!("{value:.0}"))).collect();
        Self { label, range, marks, room: 0.0 }
    }

    /// How wide the widest of its marks is.
    pub fn widest(&self) -> f64 {
        self.marks.iter().map(|(_, text)| width(text, SMALL)).fold(self.room, f64::max)
    }

    /// The layers from `from` to 7.
    pub fn layers(from: u8) -> Self {
        let range = f64::from(from) - 0.5..7.5;
        let marks = (from..=7).map(|n| (f64::from(n), if n == 0 { "base".into() } else { n.to_string() }));
        Self { label: super::data::LAYERS, range, marks: marks.collect(), room: 0.0 }
    }
}

/// Round numbers in a range, three to seven of them: multiples of one of `steps` times a power of ten.
fn marks(range: &Range<f64>, steps: &[f64]) -> Vec<(f64, String)> {
    let raw = (range.end - range.start) / 6.5;
    let power = 10f64.powf(raw.log10().floor());
    let step = steps.iter().map(|times| times * power).find(|step| *step >= raw * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let digits = (0..6).find(|digits| {
        let scaled = step * 10f64.powi(*digits);
        (scaled - scaled.round()).abs() < 1e-6 * scaled
    });
    let first = (range.start / step).ceil() as i64;
    let last = (range.end / step).floor() as i64;
    let text = |value: f64| format!("{value:.*}", digits.unwrap_or(6) as usize);
    // A mark at an axis's very end would draw its line a second time.
    let inside =
        |value: &f64| (value - range.start).min(range.end - value) > 0.012 * (range.end - range.start);
    let values = (first..=last).map(|count| count as f64 * step);
    values.filter(inside).map(|value| (value, text(value))).collect()
}

/// The shape of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A filled circle.
    Disc,
    /// An open circle.
    Ring,
    /// A filled diamond.
    Diamond,
    /// An open diamond.
    OpenDiamond,
    /// A filled triangle.
    Triangle,
    /// A filled hexagon.
    Hexagon,
    /// An open hexagon.
    OpenHexagon,
    /// An open triangle.
    OpenTriangle,
    /// An open square.
    Square,
    /// A cross.
    Cross,
}

/// How a marker of that shape looks at a place, as SVG.
pub fn marker((x, y): (f64, f64), shape: Shape, paint: Paint) -> String {
    let polygon = |corners: &[(f64, f64)]| {
        let points = corners.iter().map(|(dx, dy)| format!("{} {}", short(x + dx), short(y + dy)));
        format!("M{}Z", points.collect::<Vec<_>>().join("L"))
    };
    let class = paint.class();
    let filled = |path: String| format!("<path class=\"f-{class} m s-paper\" d=\"{path}\"/>");
    let open = |path: String| format!("<path class=\"s-{class} m f-paper\" d=\"{path}\"/>");
    let diamond = || polygon(&[(0.0, -5.0), (5.0, 0.0), (0.0, 5.0), (-5.0, 0.0)]);
    let hexagon = |r: f64| {
        let (half, high) = (r / 2.0, 0.87 * r);
        polygon(&[(-r, 0.0), (-half, -high), (half, -high), (r, 0.0), (half, high), (-half, high)])
    };
    match shape {
        Shape::Disc => {
            format!("<circle class=\"f-{class} m s-paper\" cx=\"{}\" cy=\"{}\" r=\"4\"/>", short(x), short(y))
        }
        Shape::Ring => {
            format!(
                "<circle class=\"s-{class} m f-paper\" cx=\"{}\" cy=\"{}\" r=\"3.4\"/>",
                short(x),
                short(y)
            )
        }
        Shape::Diamond => filled(diamond()),
        Shape::OpenDiamond => open(polygon(&[(0.0, -4.4), (4.4, 0.0), (0.0, 4.4), (-4.4, 0.0)])),
        Shape::Triangle => filled(polygon(&[(0.0, -5.0), (4.8, 3.8), (-4.8, 3.8)])),
        Shape::OpenTriangle => open(polygon(&[(0.0, -4.4), (4.2, 3.4), (-4.2, 3.4)])),
        Shape::Hexagon => filled(hexagon(4.8)),
        Shape::OpenHexagon => open(hexagon(4.2)),
        Shape::Square => open(polygon(&[(-3.4, -3.4), (3.4, -3.4), (3.4, 3.4), (-3.4, 3.4)])),
        Shape::Cross => {
            let (l, r, t, b) = (short(x - 3.6), short(x + 3.6), short(y - 3.6), short(y + 3.6));
            format!("<path class=\"s-{class} m\" d=\"M{l} {t}L{r} {b}M{l} {b}L{r} {t}\"/>")
        }
    }
}

/// An entry of a legend.
pub struct Key {
    /// The marker; none for an area.
    pub shape: Option<Shape>,
    /// Its colour.
    pub paint: Paint,
    /// The dashes of its line, where it has one.
    pub dash: Option<&'static str>,
    /// What it says.
    pub text: String,
}

/// Writes the title, a line below it and the legend at the top of a sheet, and says where they end.
pub fn heading(sheet: &Sheet, title: &str, below: &str, keys: &[Key]) -> f64 {
    let mut y = 4.0;
    for line in wrapped(title, TITLE * 1.05, sheet.width - 8.0) {
        y += TITLE * 1.2;
        sheet.text((4.0, y - 2.0), TITLE, "start", Paint::Ink, true, &line);
    }
    for line in wrapped(below, SMALL, sheet.width - 8.0) {
        y += SMALL * 1.3;
        sheet.text((4.0, y), SMALL, "start", Paint::Soft, false, &line);
    }
    y += 6.0;
    let mut x = 4.0;
    let row = TEXT * 1.45;
    for key in keys {
        let sample = if key.dash.is_some() { 30.0 } else { 16.0 };
        let lines = filled(&key.text, TEXT, sheet.width - sample - 18.0);
        let longest = lines.iter().map(|line| width(line, TEXT)).fold(0.0, f64::max);
        let wide = sample + 6.0 + longest + 14.0;
        if x > 4.0 && (x + wide > sheet.width || lines.len() > 1) {
            (x, y) = (4.0, y + row);
        }
        let middle = y + row / 2.0;
        let class = key.paint.class();
        if let Some(dash) = key.dash {
            sheet.raw(&format!(
                "<path class=\"s-{class}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\" d=\"M{} {m}H{}\"/>",
                short(x),
                short(x + sample),
                m = short(middle)
            ));
        }
        match key.shape {
            Some(shape) => sheet.raw(&marker((x + sample / 2.0, middle), shape, key.paint)),
            None if key.dash.is_none() => sheet.raw(&format!(
                "<rect class=\"f-{class}\" x=\"{}\" y=\"{}\" width=\"{sample}\" height=\"10\"/>",
                short(x),
                short(middle - 5.0)
            )),
            None => {}
        }
        for (index, line) in lines.iter().enumerate() {
            let baseline = middle + TEXT * 0.35 + index as f64 * row;
            sheet.text((x + sample + 6.0, baseline), TEXT, "start", Paint::Ink, false, line);
        }
        x += wide;
        if lines.len() > 1 {
            // What follows begins below it.
            (x, y) = (sheet.width, y + (lines.len() - 1) as f64 * row);
        }
    }
    if keys.is_empty() { y } else { y + row + 4.0 }
}

/// The lines of a text that is not to be wider than that: as few as they can be, and about as long as each other.
pub fn wrapped(text: &str, size: f64, wide: f64) -> Vec<String> {
    let lines = filled(text, size, wide);
    let narrower = (1..20).map(|step| wide * (1.0 - 0.03 * f64::from(step)));
    let even = narrower.map(|wide| filled(text, size, wide)).take_while(|found| found.len() == lines.len());
    even.last().unwrap_or(lines)
}

fn filled(text: &str, size: f64, wide: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    // A word that is wider than all is cut, for a picture cannot grow.
    let letters = ((wide / width("x", size)) as usize).max(1);
    let cut = |word: &str| -> Vec<String> {
        let all: Vec<char> = word.chars().collect();
        all.chunks(letters).map(|part| part.iter().collect()).collect()
    };
    for word in text.split_whitespace().flat_map(cut) {
        let word = word.as_str();
        match lines.last_mut() {
            Some(line) if width(line, size) + width(word, size) + size / 2.0 <= wide => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// An axis as plotters takes it, with its marks where this crate puts them.
#[derive(Clone)]
struct Marked {
    range: Range<f64>,
    marks: Vec<f64>,
}

impl Ranged for Marked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        from + (f64::from(to - from) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.marks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

type Coordinates = Cartesian2d<Marked, Marked>;

/// A chart on a sheet.
pub struct Plot {
    sheet: Sheet,
    chart: ChartContext<'static, Sheet, Coordinates>,
}

/// A sheet takes whatever is drawn; plotters' own errors are of areas that overlap, which these do not.
fn drawn<T>(result: Result<T, DrawingAreaErrorKind<Infallible>>) -> T {
    result.expect("a sheet takes whatever is drawn")
}

fn fine(units: f64) -> u32 {
    (units * f64::from(FINE)).round().max(0.0) as u32
}

fn font(size: f64, paint: Paint) -> TextStyle<'static> {
    let font = FontDesc::new(FontFamily::SansSerif, size * f64::from(FINE), FontStyle::Normal);
    TextStyle { color: paint.colour().to_backend_color(), ..TextStyle::from(font) }
}

fn stroke(paint: Paint, wide: f64) -> ShapeStyle {
    paint.colour().stroke_width(fine(wide))
}

impl Plot {
    /// Draws axes between `top` and `bottom` of a sheet, over its whole width.
    pub fn new(sheet: &Sheet, top: f64, bottom: f64, x: &Axis, y: &Axis) -> Self {
        let root = sheet.clone().into_drawing_area();
        let widest = y.widest();
        let end = sheet.width * f64::from(FINE);
        let area = root.shrink((0, fine(top) as i32), (end as i32, fine(bottom - top) as i32));
        let keys = |axis: &Axis| {
            let marks = axis.marks.iter().map(|(value, _)| *value).collect();
            Marked { range: axis.range.clone(), marks }
        };
        let mut builder = ChartBuilder::on(&area);
        // Letters reach further than plotters takes them to.
        builder
            .margin_right(fine(10.0))
            .margin_top(fine(4.0))
            .margin_left(fine(3.0))
            .margin_bottom(fine(4.0));
        builder.x_label_area_size(fine(SMALL * 3.1)).y_label_area_size(fine(widest + SMALL * 2.2));
        let mut chart = drawn(builder.build_cartesian_2d(keys(x), keys(y)));
        let text = |axis: &Axis, value: f64| {
            let found = axis.marks.iter().find(|(mark, _)| (mark - value).abs() < 1e-9);
            found.map_or_else(String::new, |(_, text)| text.clone())
        };
        let mut mesh = chart.configure_mesh();
        let (x_text, y_text) = (|value: &f64| text(x, *value), |value: &f64| text(y, *value));
        mesh.disable_x_mesh()
            .x_labels(x.marks.len())
            .y_labels(y.marks.len())
            .x_label_formatter(&x_text)
            .y_label_formatter(&y_text)
            .bold_line_style(stroke(Paint::Grid, 1.0))
            .light_line_style(Paint::Grid.colour().mix(0.0))
            .axis_style(stroke(Paint::Soft, 1.0))
            .label_style(font(SMALL, Paint::Soft))
            .axis_desc_style(font(SMALL, Paint::Soft))
            .set_all_tick_mark_size(fine(3.0))
            .x_desc(x.label)
            .y_desc(y.label);
        drawn(mesh.draw());
        Self { sheet: sheet.clone(), chart }
    }

    /// Where a value is on the sheet, in its units.
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let (x, y) = self.chart.backend_coord(&(x, y));
        (f64::from(x) / f64::from(FINE), f64::from(y) / f64::from(FINE))
    }

    /// A line through points, with those dashes (of `stroke-dasharray`; none of an empty text).
    pub fn line(&mut self, points: &[(f64, f64)], paint: Paint, wide: f64, dash: &str) {
        if !dash.is_empty() {
            self.sheet.raw(&format!("<g stroke-dasharray=\"{dash}\">"));
        }
        drawn(self.chart.draw_series(LineSeries::new(points.iter().copied(), stroke(paint, wide))));
        if !dash.is_empty() {
            self.sheet.raw("</g>");
        }
    }

    /// The area between two lines over the same places.
    pub fn between(&mut self, upper: &[(f64, f64)], lower: &[(f64, f64)], paint: Paint) {
        let outline: Vec<_> = upper.iter().chain(lower.iter().rev()).copied().collect();
        drawn(self.chart.draw_series(std::iter::once(Polygon::new(outline, paint.colour().filled()))));
    }

    /// A marker; a link with a note where `to` says where to.
    pub fn marker(&self, (x, y): (f64, f64), shape: Shape, paint: Paint, to: Option<&str>, note: &str) {
        let marker = marker(self.at(x, y), shape, paint);
        let note = format!("<title>{}</title>", escaped(note));
        self.sheet.raw(&match to {
            Some(to) => format!("<a href=\"#{to}\">{note}{marker}</a>"),
            None => format!("<g>{note}{marker}</g>"),
        });
    }

    /// A vertical bar from `low` to `high` with caps: an interval.
    pub fn interval(&self, x: f64, low: f64, high: f64, paint: Paint) {
        let ((x, top), (_, bottom)) = (self.at(x, high), self.at(x, low));
        let (left, right) = (short(x - 3.0), short(x + 3.0));
        let (x, top, bottom) = (short(x), short(top), short(bottom));
        self.sheet.raw(&format!(
            "<path class=\"s-{}\" stroke-width=\"1.4\" d=\"M{x} {top}V{bottom}M{left} {top}H{right}M{left} {bottom}H{right}\"/>",
            paint.class()
        ));
    }

    /// A text beside a thin line that leads from it to a place in the plot.
    pub fn label(&self, text: &str, beside: (f64, f64), to: (f64, f64)) {
        let ((x, y), (to_x, to_y)) = (beside, self.at(to.0, to.1));
        let lines = text.split('\n').collect::<Vec<_>>();
        let wide = lines.iter().map(|line| width(line, SMALL)).fold(0.0, f64::max);
        // From the side that is nearest.
        let middle = y - SMALL * 0.35;
        let from = match to_x {
            _ if to_x < x => (x - 2.0, middle),
            _ if to_x > x + wide => (x + wide + 2.0, middle),
            _ if to_y < y => (to_x, y - SMALL),
            _ => (to_x, y + SMALL * 0.4),
        };
        self.sheet.raw(&format!(
            "<path class=\"s-soft\" stroke-width=\".9\" d=\"M{} {}L{} {}\"/><circle class=\"f-soft\" cx=\"{2}\" cy=\"{3}\" r=\"1.6\"/>",
            short(from.0),
            short(from.1),
            short(to_x),
            short(to_y)
        ));
        for (index, line) in lines.into_iter().enumerate() {
            let y = y + index as f64 * SMALL * 1.2;
            self.sheet.text((x, y), SMALL, "start", Paint::Ink, false, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_inside() {
        let texts = |range: Range<f64>| -> Vec<String> {
            marks(&range, &[1.0, 2.0, 2.5, 5.0, 10.0]).into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(texts(53.2..65.9), ["54", "56", "58", "60", "62", "64"].map(|text| text.to_owned()));
        assert_eq!(texts(60.4..89.2), ["65", "70", "75", "80", "85"].map(|text| text.to_owned()));
        assert_eq!(texts(0.0..1.0), ["0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(texts(-3.0..101.0), ["0", "20", "40", "60", "80"]);
        let epochs: Vec<String> =
            Axis::counted("epoch", 1.0, 10.0).marks.into_iter().map(|(_, text)| text).collect();
        assert_eq!(epochs, ["2", "4", "6", "8", "10"].map(|text| text.to_owned()));
        assert_eq!(Axis::counted("epoch", 1.0, 1.0).marks.len(), 1);
        let axis = Axis::over("x", [5.0, 5.0]);
        assert!(axis.range.start < 5.0 && axis.range.end > 5.0);
        assert_eq!(Axis::over("x", [f64::NAN]).range.start.floor(), -1.0);
    }

    #[test]
    fn texts_are_wrapped_and_lose_no_word() {
        let text = "all runs of the random splits, seen from their target";
        let lines = wrapped(text, 12.0, 150.0);
        assert!(lines.len() > 1 && lines.iter().all(|line| width(line, 12.0) <= 150.0));
        assert_eq!(lines.join(" "), text);
        // A name without a blank is cut, and loses no letter either.
        let name = "a".repeat(64);
        let lines = wrapped(&name, 12.0, 150.0);
        assert!(lines.len() > 1 && lines.iter().all(|line| width(line, 12.0) <= 150.0));
        assert_eq!(lines.concat(), name);
    }
}
