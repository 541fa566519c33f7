//! Means, medians, quantiles and the bootstrap.
//!
//! Uses `seed` for its draws; used by the numbers, claims and questions of `audit`. The known
//! quantiles are numpy's (`numpy.quantile`, its default method).

use crate::seed::Stream;
use serde::Serialize;

/// Resamples behind an interval.
pub const RESAMPLES: usize = 2000;

/// The share of resamples that an interval holds.
pub const LEVEL: f64 = 0.95;

/// The arithmetic mean; none of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The median; none of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}

/// A quantile of values in ascending order, with linear interpolation between neighbours (Hyndman and
/// Fan's type 7, numpy's default); none of nothing.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = share.clamp(0.0, 1.0) * last as f64;
    let (below, part) = (at.floor() as usize, at.fract());
    let above = (below + 1).min(last);
    Some(sorted[below] + part * (sorted[above] - sorted[below]))
}

/// An interval that holds a quantity in 95 of 100 repetitions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// The interval of a quantity with that standard error.
    pub fn around(value: f64, error: f64) -> Self {
        // The normal distribution's 97.5 % point.
        let half = 1.959_963_984_540_054 * error;
        Self { low: value - half, high: value + half }
    }

    /// How wide it is.
    pub fn width(self) -> f64 {
        self.high - self.low
    }

    /// The middle [`LEVEL`] of the resampled values; none where there are none.
    pub fn of(mut resampled: Vec<f64>) -> Option<Self> {
        resampled.sort_by(f64::total_cmp);
        let tail = (1.0 - LEVEL) / 2.0;
        Some(Self { low: quantile(&resampled, tail)?, high: quantile(&resampled, 1.0 - tail)? })
    }
}

/// Draws as many items as there are, with replacement.
pub fn resample<'a, T>(items: &'a [T], stream: &mut Stream) -> Vec<&'a T> {
    (0..items.len()).map(|_| &items[stream.below(items.len() as u64) as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Name;

    #[test]
    fn quantiles_are_numpy_s() {
        let values = [0.1, 0.25, 0.3, 0.7, 0.85, 1.9, 2.0];
        let known = [(0.025, 0.1225), (0.25, 0.275), (0.5, 0.7), (0.975, 1.985), (0.0, 0.1), (1.0, 2.0)];
        for (share, value) in known {
            assert!((quantile(&values, share).unwrap() - value).abs() < 1e-12, "{share}");
        }
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!((median(&[]), mean(&[]), quantile(&[], 0.5)), (None, None, None));
    }

    #[test]
    fn the_bootstrap_of_a_mean_has_its_standard_error() {
        // Two hundred values with deviation 1: the mean's standard error is 1 / sqrt(200).
        let mut stream = Stream::open(&Name::new("test"));
        let values: Vec<f64> = (0..200).map(|_| stream.gaussian()).collect();
        let resampled = |stream: &mut Stream| resample(&values, stream).into_iter().sum::<f64>() / 200.0;
        let interval = Interval::of((0..RESAMPLES).map(|_| resampled(&mut stream)).collect()).unwrap();
        let normal = Interval::around(mean(&values).unwrap(), 1.0 / 200f64.sqrt());
        assert!((interval.low - normal.low).abs() < 0.03 && (interval.high - normal.high).abs() < 0.03);
    }
}
