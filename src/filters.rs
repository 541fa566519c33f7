//! Whether a network's first filters look like what training on images gives: Gabor functions and colour blobs.
//!
//! Uses `gabor`, `seed` and `weights`; used by `verify` and by whoever shows filters. Each filter is fitted, and
//! what the fits explain is averaged over the network: one number. It is held against two kinds of made-up
//! networks of the same shape: filters drawn at random, and filters half of whose variance is such a function.
//! Both are drawn from named streams and fitted alike, so how much a family of functions explains of anything
//! at all takes no part. METHODOLOGY.md has how often that goes wrong.

mod drawn;

use crate::gabor::{Family, Fit, Fitter, Gabor};
use crate::seed::{Name, Stream};
use crate::weights::Tensor;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::HashMap;
use std::f64::consts::{PI, TAU};
use std::sync::{Arc, Mutex, OnceLock};

/// How unlikely a network is to be among made-up ones that it is taken not to be one of.
pub const LEVEL: f64 = 0.01;

/// The share of a filter's variance that is a Gabor function in the made-up networks with structure.
pub const STRUCTURE: f64 = 0.5;

/// Below 5×5, what training changed counts as random only where it is as large as this share of what it is the change of,
/// as it is where filters were replaced. Long training of 3×3 filters changes them by a third of their size at most
/// in what was seen, and by much that is no Gabor function (METHODOLOGY.md).
pub const REPLACED: f64 = 0.75;

/// Made-up filters of each kind that are fitted.
const DRAWN: usize = 500;

/// Made-up networks of each kind: each has as many of those filters as the network, drawn with replacement.
const NETWORKS: usize = 9999;

/// The kinds of made-up filters.
const KINDS: [&str; 2] = ["random", "structured"];

/// What is said of filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// More is explained than of random filters.
    Structured,
    /// No more is explained than of random filters, and less than if half of their variance were structure.
    LikeRandom,
    /// It could be either: kernels are too small, or filters too few.
    CannotTell,
}

impl Verdict {
    /// In a few words.
    pub fn says(self) -> &'static str {
        match self {
            Self::Structured => "better than random",
            Self::LikeRandom => "no better than random",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// What made-up networks of the same shape have for [`Reading::network`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Random {
    /// The mean over networks of random filters.
    pub mean: f64,
    /// The middle 95 % of networks of random filters lie above this.
    pub low: f64,
    /// And below this.
    pub high: f64,
    /// More than this is better than random: one network in a hundred of random filters has more.
    pub limit: f64,
    /// The share of networks of random filters that have as much as this one or more, itself counted: the
    /// p-value. 0.0001 is the least.
    pub p: f64,
    /// One in a hundred of the networks that are half structure has less than this.
    pub structured_low: f64,
    /// The share of the networks that are half structure that come out better than random: the power.
    pub power: f64,
}

/// The first filters of one network, fitted and held against random ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// The functions that were fitted.
    pub family: Family,
    /// Height and width of a kernel.
    pub side: usize,
    /// Channels of a filter: 1 is grey, 3 colour.
    pub channels: usize,
    /// The best fit to each filter; none to one without variance.
    pub fits: Vec<Option<Fit>>,
    /// The share of its variance that the fit explains, filter by filter, 0 to 1; 0 where there is no fit.
    pub per_filter: Vec<f64>,
    /// The mean of that over the filters that have a fit: the one number of the network.
    pub network: f64,
    /// What random filters of that shape have.
    pub random: Random,
    /// What that says of the filters.
    pub verdict: Verdict,
}

/// Fits the filters of a first layer, and says whether they are better explained than random ones.
///
/// `weight` is `[filters, channels, side, side]`. On kernels below 5×5 it never says that filters are like random
/// ones: there the trained ones are too ([`Verdict::CannotTell`]; METHODOLOGY.md has the numbers). [`compare`]
/// tells more where the filters are known that training began with.
///
/// None where that is no layer of square kernels of 2×2 or more, a number is not finite, or no filter varies.
pub fn read(weight: &Tensor) -> Option<Reading> {
    let mut reading = read_as(weight)?;
    if reading.family == Family::Centred && reading.verdict == Verdict::LikeRandom {
        reading.verdict = Verdict::CannotTell;
    }
    Some(reading)
}

/// What training did to the first filters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Training {
    /// The filters that training ended with.
    pub trained: Reading,
    /// The difference between those and the ones it began with, as if that were filters; none where there is none.
    pub change: Option<Reading>,
    /// The size of that difference as a share of the size of the filters it began with (root of the sum of
    /// squares of all numbers).
    pub moved: f64,
    /// What is to be said of the network: what the filters say, and on kernels below 5×5 what the change says, of
    /// which no small one is like random ([`REPLACED`]).
    pub verdict: Verdict,
}

/// Compares trained filters with those that training began with. Arguments and `None` are as for [`read`]; both
/// have one shape.
pub fn compare(trained: &Tensor, initial: &Tensor) -> Option<Training> {
    if trained.shape != initial.shape {
        return None;
    }
    let pairs = || trained.values.iter().zip(&initial.values);
    let size = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let began = size(&mut initial.values.iter().map(|value| f64::from(*value)));
    let by = size(&mut pairs().map(|(now, before)| f64::from(*now) - f64::from(*before)));
    let difference = pairs().map(|(now, before)| now - before).collect();
    let trained = read(trained)?;
    let change = read_as(&Tensor { shape: initial.shape.clone(), values: difference });
    let verdict = match (trained.family, &change) {
        (Family::Centred, Some(change)) => match change.verdict {
            Verdict::LikeRandom if by < REPLACED * began => Verdict::CannotTell,
            verdict => verdict,
        },
        _ => trained.verdict,
    };
    Some(Training { trained, change, moved: if began > 0.0 { by / began } else { 0.0 }, verdict })
}

fn read_as(weight: &Tensor) -> Option<Reading> {
    let [count, channels, side, across] = *weight.shape.as_slice() else { return None };
    let numbers = channels * side * across;
    let whole = weight.values.len() == count * numbers && weight.values.iter().all(|value| value.is_finite());
    if side != across || side < 2 || channels == 0 || !whole {
        return None;
    }
    let family = Family::of(side);
    let fitter = Fitter::new(family, channels, side);
    let filters: Vec<&[f32]> = weight.values.chunks(numbers).collect();
    let fits: Vec<Option<Fit>> = filters.par_iter().map(|filter| fitter.fit(filter)).collect();
    let shares: Vec<f64> = fits.iter().flatten().map(|fit| fit.explained).collect();
    if shares.is_empty() {
        return None;
    }
    let network = mean(&shares);
    let reference = Reference::of(&fitter, family, channels, side, shares.len());
    let random = reference.random(network);
    let verdict = match network {
        more if more > random.limit => Verdict::Structured,
        less if less < random.structured_low => Verdict::LikeRandom,
        _ => Verdict::CannotTell,
    };
    let per_filter = fits.iter().map(|fit| fit.as_ref().map_or(0.0, |fit| fit.explained)).collect();
    Some(Reading { family, side, channels, fits, per_filter, network, random, verdict })
}

/// The networks that one is held against: what each has for [`Reading::network`], in order.
struct Reference {
    random: Vec<f64>,
    structured: Vec<f64>,
}

/// What was made, by shape.
type Cache<K, V> = OnceLock<Mutex<HashMap<K, Arc<V>>>>;

impl Reference {
    /// Those of a shape, made once in a process.
    fn of(fitter: &Fitter, family: Family, channels: usize, side: usize, count: usize) -> Arc<Self> {
        static MADE: Cache<(usize, usize, usize), Reference> = OnceLock::new();
        static FITTED: Cache<(usize, usize), [Vec<f64>; 2]> = OnceLock::new();
        // Held by nobody while fits are computed: another thread may do the same work, to the same numbers.
        fn look_up<K: Eq + std::hash::Hash + Copy, V: Clone>(
            cache: &Mutex<HashMap<K, V>>,
            key: K,
            make: impl FnOnce() -> V,
        ) -> V {
            let lock = || cache.lock().expect("nothing panics while it is held");
            let found = lock().get(&key).cloned();
            found.unwrap_or_else(|| {
                let made = make();
                lock().entry(key).or_insert(made).clone()
            })
        }
        look_up(MADE.get_or_init(Mutex::default), (channels, side, count), || {
            let fitted = look_up(FITTED.get_or_init(Mutex::default), (channels, side), || {
                Arc::new(drawn::kept(channels, side).unwrap_or_else(|| {
                    KINDS.map(|kind| {
                        let one = |index| score(fitter, family, channels, side, kind, index);
                        (0..DRAWN).into_par_iter().map(one).collect()
                    })
                }))
            });
            let networks = |kind: &str, scores: &[f64]| {
                let mut stream = Stream::open(&name(kind, channels, side).and("networks of", count));
                let mut means: Vec<f64> = (0..NETWORKS)
                    .map(|_| {
                        let one = |_| scores[stream.below(scores.len() as u64) as usize];
                        (0..count).map(one).sum::<f64>() / count as f64
                    })
                    .collect();
                means.sort_by(f64::total_cmp);
                means
            };
            let [random, structured] = &*fitted;
            Arc::new(Self {
                random: networks("random", random),
                structured: networks("structured", structured),
            })
        })
    }

    fn random(&self, network: f64) -> Random {
        let at = |values: &[f64], share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
        let above =
            |values: &[f64], limit: f64| values.len() - values.partition_point(|value| *value <= limit);
        let as_much = NETWORKS - self.random.partition_point(|value| *value < network);
        let limit = at(&self.random, 1.0 - LEVEL);
        Random {
            mean: mean(&self.random),
            low: at(&self.random, 0.025),
            high: at(&self.random, 0.975),
            limit,
            p: (as_much + 1) as f64 / (NETWORKS + 1) as f64,
            structured_low: at(&self.structured, LEVEL),
            power: above(&self.structured, limit) as f64 / NETWORKS as f64,
        }
    }
}

fn name(kind: &str, channels: usize, side: usize) -> Name {
    Name::new("filters").and("kind", kind).and("channels", channels).and("side", side)
}

/// What is explained of a made-up filter. Scale and sign do not matter, so one deviation stands for all.
fn score(fitter: &Fitter, family: Family, channels: usize, side: usize, kind: &str, index: usize) -> f64 {
    let mut stream = Stream::open(&name(kind, channels, side).and("filter", index));
    let filter = match kind {
        "random" => noise(&mut stream, channels * side * side),
        _ => structured(&mut stream, family, channels, side, STRUCTURE),
    };
    fitter.fit(&filter).map_or(0.0, |fit| fit.explained)
}

fn noise(stream: &mut Stream, numbers: usize) -> Vec<f32> {
    (0..numbers).map(|_| stream.gaussian() as f32).collect()
}

/// A Gabor function of the family, drawn as trained filters have them, and noise; the first has `share` of the
/// variance.
pub fn structured(stream: &mut Stream, family: Family, channels: usize, side: usize, share: f64) -> Vec<f32> {
    let wave = drawn(stream, family, channels, side).values(side);
    let noise = noise(stream, wave.len());
    let middle = mean(&wave);
    let size = wave.iter().map(|value| (value - middle) * (value - middle)).sum::<f64>().sqrt();
    let [of_wave, of_noise] = [share.sqrt() / size, ((1.0 - share) / wave.len() as f64).sqrt()];
    let mixed = wave.iter().zip(noise);
    mixed.map(|(wave, noise)| (of_wave * (wave - middle) + of_noise * f64::from(noise)) as f32).collect()
}

/// A Gabor function with the sizes that trained filters have: a wave about as long as the kernel, under an
/// envelope that fades within it.
fn drawn(stream: &mut Stream, family: Family, channels: usize, side: usize) -> Gabor {
    let size = side as f64;
    let mut between = |low: f64, high: f64| low + (high - low) * stream.uniform();
    let mut log_between = |low: f64, high: f64| libm::exp(between(libm::log(low), libm::log(high)));
    let (wavelength, widths) = match family {
        Family::Full => {
            let wavelength = log_between(0.4 * size, 1.5 * size);
            (wavelength, [log_between(size / 6.0, size / 3.0), log_between(size / 6.0, size / 3.0)])
        }
        Family::Centred => (log_between(4.0 / 3.0 * size, 4.0 * size), [size / 2.0; 2]),
    };
    let spread = if family == Family::Full { size / 6.0 } else { 0.0 };
    let (x, y) = (between(-spread, spread), between(-spread, spread));
    let orientation = between(0.0, PI);
    let phase = between(-PI, PI);
    // One wave in all channels, with heights of their own: grey where they are alike.
    let channel = |stream: &mut Stream| {
        let height = stream.gaussian();
        let phase = if height < 0.0 { (phase + TAU) % TAU - PI } else { phase };
        crate::gabor::Channel { amplitude: height.abs(), phase, offset: 0.0 }
    };
    let channels = (0..channels).map(|_| channel(stream)).collect();
    Gabor { x, y, orientation, wavelength, widths, channels }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests;
