//! The Gabor function that is nearest to a filter: a wave under a Gaussian envelope, and how much of the filter
//! it explains.
//!
//! Uses nothing of this crate; used by `filters`. The height of wave and offset are linear, so for any place,
//! orientation, wavelength and widths the best ones are a projection; only those six are searched for, from
//! a grid of starts, by Levenberg and Marquardt's method (`search`). Every function is `libm`'s and every sum is
//! in one order: the same bits on every machine and every run.

mod search;

use serde::Serialize;
use std::f64::consts::{PI, TAU};

/// Which functions are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Any place, orientation, wavelength and widths that a kernel can show: six numbers beside height, phase
    /// and offset.
    Full,
    /// In the middle of the kernel, round, half the kernel wide, and a wave no shorter than a kernel and a third:
    /// orientation and wavelength alone beside height, phase and offset. Where a kernel has nine numbers, the
    /// full family explains any of them.
    Centred,
}

impl Family {
    /// The family that can be told from chance on kernels of `side × side` numbers.
    pub fn of(side: usize) -> Self {
        if side < 5 { Self::Centred } else { Self::Full }
    }
}

/// One channel's part of a Gabor function.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Channel {
    /// Height of the wave in the middle of the envelope, in the filter's units; not negative.
    pub amplitude: f64,
    /// Where the wave is there, in radians, -π to π: 0 is a bright bar, ±π/2 an edge.
    pub phase: f64,
    /// What is added everywhere.
    pub offset: f64,
}

/// A Gabor function of one or more channels: `offset + amplitude · exp(-u²/2a² - v²/2b²) · cos(2πu/wavelength +
/// phase)`, where `u` and `v` are the distances from its place along its orientation and across it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gabor {
    /// Where its middle is: pixels to the right of the kernel's middle.
    pub x: f64,
    /// Pixels below the kernel's middle.
    pub y: f64,
    /// The direction in which the wave runs, in radians from the x axis towards the y axis, 0 to π.
    pub orientation: f64,
    /// Pixels from crest to crest.
    pub wavelength: f64,
    /// Standard deviations of the envelope, in pixels: along the wave, and across.
    pub widths: [f64; 2],
    /// One for each channel of the filter.
    pub channels: Vec<Channel>,
}

impl Gabor {
    /// Its values on a kernel of `side × side` pixels: channel by channel, row by row.
    pub fn values(&self, side: usize) -> Vec<f64> {
        let shape = self.shape();
        let turn = shape.turn();
        let values = |channel: &Channel| {
            let Channel { amplitude, phase, offset } = *channel;
            let (cos, sin) = (amplitude * libm::cos(phase), amplitude * libm::sin(phase));
            pixels(side).map(move |(x, y)| {
                let [even, odd] = shape.at(turn, x, y);
                offset + cos * even - sin * odd
            })
        };
        self.channels.iter().flat_map(values).collect()
    }

    fn shape(&self) -> Shape {
        Shape {
            x: self.x,
            y: self.y,
            orientation: self.orientation,
            wavelength: self.wavelength,
            along: self.widths[0],
            across: self.widths[1],
        }
    }
}

/// The pixels of a kernel, row by row, as distances from its middle: to the right, and down.
fn pixels(side: usize) -> impl Iterator<Item = (f64, f64)> + Clone {
    let middle = (side as f64 - 1.0) / 2.0;
    (0..side * side).map(move |at| ((at % side) as f64 - middle, (at / side) as f64 - middle))
}

/// All of a Gabor function but what is linear.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shape {
    x: f64,
    y: f64,
    orientation: f64,
    wavelength: f64,
    along: f64,
    across: f64,
}

impl Shape {
    /// The cosine and sine of its orientation.
    fn turn(&self) -> [f64; 2] {
        [libm::cos(self.orientation), libm::sin(self.orientation)]
    }

    /// The envelope times the wave's cosine and sine.
    fn at(&self, [cos, sin]: [f64; 2], x: f64, y: f64) -> [f64; 2] {
        let (dx, dy) = (x - self.x, y - self.y);
        let (u, v) = (dx * cos + dy * sin, dy * cos - dx * sin);
        let (a, b) = (u / self.along, v / self.across);
        let envelope = libm::exp(-(a * a + b * b) / 2.0);
        let wave = TAU * u / self.wavelength;
        [envelope * libm::cos(wave), envelope * libm::sin(wave)]
    }
}

/// What fits a filter best.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fit {
    /// The function.
    pub gabor: Gabor,
    /// The share of the filter's variance, of all its numbers about their mean, that the function explains:
    /// 0 to 1.
    pub explained: f64,
}

/// Fits functions to filters of one kernel size.
pub struct Fitter {
    side: usize,
    channels: usize,
    search: search::Search,
}

impl Fitter {
    /// A fitter for filters of that many channels of `side × side` numbers.
    ///
    /// # Panics
    /// Where the kernel is smaller than 2×2 or there is no channel.
    pub fn new(family: Family, channels: usize, side: usize) -> Self {
        assert!(side >= 2 && channels >= 1, "a filter of {channels} channels of {side}×{side} has no shape");
        Self { side, channels, search: search::Search::new(family, side) }
    }

    /// The best fit to a filter: its numbers channel by channel, row by row. None where the filter has no
    /// variance, or a number that is not finite.
    ///
    /// # Panics
    /// Where there are not as many numbers as the fitter is for.
    pub fn fit(&self, filter: &[f32]) -> Option<Fit> {
        let values: Vec<f64> = filter.iter().map(|value| f64::from(*value)).collect();
        assert_eq!(values.len(), self.channels * self.side * self.side, "a filter of another shape");
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let moved: Vec<f64> = values.iter().map(|value| value - mean).collect();
        let size = moved.iter().map(|value| value * value).sum::<f64>().sqrt();
        // A constant filter's numbers differ from their mean by rounding alone.
        let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        if !size.is_finite() || size <= 1e-9 * largest || size == 0.0 {
            return None;
        }
        // At unit variance the search is the same however large the filter's numbers are.
        let unit: Vec<f64> = moved.iter().map(|value| value / size).collect();
        let (shape, left) = self.search.best(&unit);
        let channels = search::Basis::of(&shape, self.side);
        let channel = |numbers: &[f64]| {
            let [offset, even, odd] = channels.heights(numbers);
            // cos(a + p) = cos a cos p - sin a sin p
            let amplitude = size * libm::hypot(even, odd);
            let phase = libm::atan2(-odd, even);
            Channel { amplitude, phase, offset: mean + size * offset }
        };
        let channels = unit.chunks(self.side * self.side).map(channel).collect();
        let gabor = upright(shape, channels);
        Some(Fit { gabor, explained: (1.0 - left).clamp(0.0, 1.0) })
    }
}

/// The function with its orientation in 0..π: turned by half a turn, the same wave runs the other way.
fn upright(shape: Shape, mut channels: Vec<Channel>) -> Gabor {
    let turns = (shape.orientation / PI).floor();
    let mut orientation = shape.orientation - turns * PI;
    if orientation >= PI {
        orientation = 0.0;
    }
    if turns.rem_euclid(2.0) == 1.0 {
        channels.iter_mut().for_each(|channel| channel.phase = -channel.phase);
    }
    let Shape { x, y, wavelength, along, across, .. } = shape;
    Gabor { x, y, orientation, wavelength, widths: [along, across], channels }
}

#[cfg(test)]
mod tests;
