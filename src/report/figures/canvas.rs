//! A sheet of SVG that plotters draws on: colours are classes, so that one picture follows light, dark and print.
//!
//! Uses plotters' backend trait; used by every figure. Plotters has an SVG backend of its own, but that writes colours as
//! numbers and knows no links. Here a colour is a [`Paint`], written as a class that the page (or the file's own style) gives
//! a value, and what is drawn can be a link. Coordinates are tenths of the sheet's units, for plotters counts in whole ones.

use plotters::style::RGBColor;
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontStyle,
    FontTransform,
};
use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::rc::Rc;

/// Plotters' whole numbers in one unit of the sheet.
pub const FINE: i32 = 10;

/// How wide a letter is taken to be, as a share of the font's size: wider than the fonts that readers have are on average,
/// so that no text is cut.
const LETTER: f64 = 0.58;

macro_rules! paints {
    ($($variant:ident $class:literal $light:literal $dark:literal)*) => {
        /// What a colour is for. The colours of treatments are Okabe and Ito's, which colour-blind readers tell apart.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Paint { $(#[doc = $class] $variant,)* }

        impl Paint {
            const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name as a class.
            pub fn class(self) -> &'static str {
                match self { $(Self::$variant => $class,)* }
            }
        }

        /// The colours as CSS variables, for light paper and for dark.
        pub fn variables() -> (String, String) {
            let (mut light, mut dark) = (String::new(), String::new());
            $(
                let _ = write!(light, "--{}:{};", $class, $light);
                let _ = write!(dark, "--{}:{};", $class, $dark);
            )*
            (light, dark)
        }
    };
}

paints! {
    Paper "paper" "#ffffff" "#14171c"
    Ink "ink" "#1b1f24" "#e6e8eb"
    Soft "soft" "#59626d" "#a4adb8"
    Grid "grid" "#dfe3e8" "#2d333c"
    Base "base" "#1b1f24" "#e6e8eb"
    Selffer "selffer" "#0072b2" "#4ba3e3"
    SelfferTuned "selffer-tuned" "#3a9fd8" "#9bd8ff"
    Transfer "transfer" "#c44e00" "#ff7f3a"
    TransferTuned "transfer-tuned" "#d18f00" "#ffc14d"
    Random "random" "#00795a" "#3fc99c"
    Coadaptation "coadaptation" "#bcdcf0" "#1e4460"
    Specificity "specificity" "#f7d2b8" "#5d3318"
    Gain "gain" "#f8e3ae" "#5a4510"
}

impl Paint {
    /// As a colour for plotters; it comes back to this backend as it is.
    pub fn colour(self) -> RGBColor {
        RGBColor(Self::ALL.iter().position(|paint| *paint == self).unwrap_or_default() as u8, 0, 0)
    }

    fn of(colour: BackendColor) -> Self {
        Self::ALL.get(usize::from(colour.rgb.0)).copied().unwrap_or(Self::Ink)
    }
}

/// The rules that give classes their colours; the same for the page and for a file.
pub fn rules() -> String {
    let mut css = String::new();
    // Fills last: what has a line's class and an area's is both.
    for class in Paint::ALL.iter().map(|paint| paint.class()) {
        let _ = write!(css, ".s-{class}{{stroke:var(--{class});fill:none}}");
    }
    for class in Paint::ALL.iter().map(|paint| paint.class()) {
        let _ = write!(css, ".f-{class}{{fill:var(--{class})}}");
    }
    css.push_str(
        ".chart text{font-family:system-ui,\"Segoe UI\",Roboto,\"Helvetica Neue\",Arial,sans-serif}",
    );
    css.push_str(".m{stroke-width:1.6}.m.s-paper{stroke-width:.8}a:hover>.m,a:focus>.m{stroke-width:4}");
    css
}

/// The style of an SVG file that stands by itself.
pub fn style() -> String {
    let (light, dark) = variables();
    format!(
        "svg{{{light}background:var(--paper)}}@media (prefers-color-scheme:dark){{svg{{{dark}}}}}@media print{{svg{{{light}}}}}{}",
        rules()
    )
}

/// A text as XML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// About how wide a text is at that size, rather too wide than too narrow.
pub fn width(text: &str, size: f64) -> f64 {
    LETTER * size * text.chars().count() as f64
}

/// A number of the sheet's units, as short as it can be written.
pub fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// The sheet: what was drawn so far. Clones draw on the same sheet.
#[derive(Clone)]
pub struct Sheet {
    out: Rc<RefCell<String>>,
    /// Its width in units.
    pub width: f64,
    /// Its height.
    pub height: f64,
}

impl Sheet {
    /// An empty one, of that width and no height yet.
    pub fn wide(width: f64) -> Self {
        Self { out: Rc::default(), width, height: 0.0 }
    }

    /// The same sheet with a height, once it is known.
    pub fn tall(self, height: f64) -> Self {
        Self { height, ..self }
    }

    /// Puts SVG on it as it is.
    pub fn raw(&self, svg: &str) {
        self.out.borrow_mut().push_str(svg);
    }

    /// A line of text whose baseline begins, ends or is centred (`anchor`: `start`, `end`, `middle`) there.
    pub fn text(&self, (x, y): (f64, f64), size: f64, anchor: &str, paint: Paint, bold: bool, text: &str) {
        let weight = if bold { " font-weight=\"600\"" } else { "" };
        self.raw(&format!(
            "<text class=\"f-{}\" x=\"{}\" y=\"{}\" font-size=\"{}\" text-anchor=\"{anchor}\"{weight}>{}</text>",
            paint.class(),
            short(x),
            short(y),
            short(size),
            escaped(text)
        ));
    }

    /// What was drawn, as an SVG element with a name for who cannot see it.
    pub fn finish(&self, title: &str) -> String {
        let (width, height) = (short(self.width), short(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" role=\"img\" viewBox=\"0 0 {width} {height}\" \
             aria-label=\"{}\">{}</svg>",
            escaped(title),
            self.out.borrow()
        )
    }
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

fn at(value: i32) -> String {
    short(f64::from(value) / f64::from(FINE))
}

/// How something is drawn: its class, and the width of its lines or its opacity.
fn look(style: &impl BackendStyle, filled: bool) -> String {
    let colour = style.color();
    let class = Paint::of(colour).class();
    let mut text = match filled {
        true => format!("class=\"f-{class}\""),
        false => format!("class=\"s-{class}\" stroke-width=\"{}\"", at(style.stroke_width() as i32)),
    };
    if colour.alpha < 1.0 {
        let _ = write!(text, " opacity=\"{}\"", colour.alpha);
    }
    text
}

fn path(points: impl IntoIterator<Item = BackendCoord>) -> String {
    let mut text = String::new();
    for (index, (x, y)) in points.into_iter().enumerate() {
        let _ = write!(text, "{}{} {}", if index == 0 { "M" } else { "L" }, at(x), at(y));
    }
    text
}

impl DrawingBackend for Sheet {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        ((self.width * f64::from(FINE)) as u32, (self.height * f64::from(FINE)) as u32)
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Drawn {
        self.draw_rect(point, (point.0 + FINE, point.1 + FINE), &color, true)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        self.raw(&format!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" {}/>",
            at(left),
            at(top),
            at(right - left),
            at(bottom - top),
            look(style, fill)
        ));
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        points: I,
        style: &S,
    ) -> Drawn {
        if style.color().alpha > 0.0 {
            self.raw(&format!("<path d=\"{}\" {}/>", path(points), look(style, false)));
        }
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        points: I,
        style: &S,
    ) -> Drawn {
        self.raw(&format!("<path d=\"{}Z\" {}/>", path(points), look(style, true)));
        Ok(())
    }

    fn draw_text<T: BackendTextStyle>(&mut self, text: &str, style: &T, (x, y): BackendCoord) -> Drawn {
        let size = style.size() / f64::from(FINE);
        let (anchor, place) = (style.anchor(), (f64::from(x) / 10.0, f64::from(y) / 10.0));
        let horizontal = match anchor.h_pos {
            HPos::Left => "start",
            HPos::Center => "middle",
            HPos::Right => "end",
        };
        // From the top, the middle or the bottom of the letters to their baseline.
        let down = size
            * match anchor.v_pos {
                VPos::Top => 0.8,
                VPos::Center => 0.35,
                VPos::Bottom => -0.2,
            };
        let turned = match style.transform() {
            FontTransform::None => None,
            FontTransform::Rotate90 => Some(90),
            FontTransform::Rotate180 => Some(180),
            FontTransform::Rotate270 => Some(270),
        };
        let paint = Paint::of(style.color());
        let bold = matches!(style.style(), FontStyle::Bold);
        match turned {
            None => self.text((place.0, place.1 + down), size, horizontal, paint, bold, text),
            Some(degrees) => {
                self.raw(&format!(
                    "<g transform=\"translate({} {}) rotate({degrees})\">",
                    short(place.0),
                    short(place.1)
                ));
                self.text((0.0, down), size, horizontal, paint, bold, text);
                self.raw("</g>");
            }
        }
        Ok(())
    }

    fn estimate_text_size<T: BackendTextStyle>(
        &self,
        text: &str,
        style: &T,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        Ok((width(text, style.size()) as u32, style.size() as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_comes_back_as_what_it_is_for() {
        for paint in Paint::ALL {
            let RGBColor(red, green, blue) = paint.colour();
            assert_eq!(Paint::of(BackendColor { alpha: 1.0, rgb: (red, green, blue) }), *paint);
        }
        assert!(style().contains("prefers-color-scheme:dark") && style().contains("@media print"));
    }

    #[test]
    fn texts_are_written_as_xml() {
        let sheet = Sheet::wide(100.0).tall(50.0);
        sheet.text((1.0, 2.25), 12.0, "start", Paint::Ink, false, "a < b & \"c\"");
        let svg = sheet.finish("\"x\"");
        assert!(svg.contains("y=\"2.2\" font-size=\"12\"") && svg.contains(">a &lt; b &amp; &quot;c&quot;<"));
        assert!(svg.contains("viewBox=\"0 0 100 50\" aria-label=\"&quot;x&quot;\""));
    }
}
