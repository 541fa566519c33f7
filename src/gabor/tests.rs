use super::*;
use crate::seed::{Name, Stream};
use proptest::prelude::*;
use serde::Deserialize;

/// A filter with what scipy's `curve_fit` explains of it: tests/reference/filters.py.
#[derive(Deserialize)]
struct Reference {
    side: usize,
    channels: usize,
    noise: Option<f64>,
    /// x, y, orientation, wavelength, widths along and across: what it was made of.
    shape: Option<[f64; 6]>,
    values: Vec<f32>,
    explained: f64,
}

fn reference() -> Vec<Reference> {
    #[derive(Deserialize)]
    struct File {
        fits: Vec<Reference>,
    }
    let file: File = serde_json::from_str(include_str!("../../tests/reference/filters.json")).unwrap();
    file.fits
}

/// What a function leaves of a filter's variance, by the formula.
fn left(gabor: &Gabor, side: usize, filter: &[f32]) -> f64 {
    let mean = filter.iter().map(|value| f64::from(*value)).sum::<f64>() / filter.len() as f64;
    let square = |(value, of): (&f32, f64)| (f64::from(*value) - of).powi(2);
    let rest: f64 = filter.iter().zip(gabor.values(side)).map(square).sum();
    rest / filter.iter().map(|value| square((value, mean))).sum::<f64>()
}

fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut stream = Stream::open(&Name::new("test filters").and("seed", seed));
    (0..count).map(|_| stream.gaussian() as f32).collect()
}

#[test]
fn as_much_is_explained_as_by_scipy() {
    let all = reference();
    assert!(all.len() >= 12);
    for Reference { side, channels, noise, shape, values, explained } in all {
        let fit = Fitter::new(Family::Full, channels, side).fit(&values).unwrap();
        let what = format!("{side}×{side}×{channels}, noise {noise:?}: {} and {explained}", fit.explained);
        // Noise has many maxima nearly as good as the best, and forty starts of scipy's see more of them than four.
        let tolerance = if noise.is_some() { 1e-5 } else { 0.01 };
        assert!((fit.explained - explained).abs() < tolerance, "{what}");
        if let (Some([x, y, orientation, wavelength, along, across]), Some(0.0)) = (shape, noise) {
            let Gabor { widths, .. } = fit.gabor;
            let turn = (fit.gabor.orientation - orientation).rem_euclid(PI);
            assert!(turn.min(PI - turn) < 1e-4, "{what}: {:?}", fit.gabor);
            for (ours, made) in [(fit.gabor.x, x), (fit.gabor.y, y), (fit.gabor.wavelength, wavelength)] {
                assert!((ours - made).abs() < 1e-3, "{what}: {ours} and {made}");
            }
            for (ours, made) in widths.into_iter().zip([along, across]) {
                assert!((ours - made).abs() < 1e-3, "{what}: {ours} and {made}");
            }
        }
    }
}

/// Any function of the full family that a kernel shows well enough.
fn functions(channels: usize) -> impl Strategy<Value = (usize, Gabor)> {
    let channel = (0.3..2.0f64, -PI..PI, -1.0..1.0f64).prop_map(|(amplitude, phase, offset)| Channel {
        amplitude,
        phase,
        offset,
    });
    let shape = (-0.2..0.2f64, -0.2..0.2f64, 0.0..PI, 0.45..1.4f64, 0.15..0.35f64, 0.15..0.35f64);
    let side = prop::sample::select(vec![7usize, 9, 11]);
    (side, shape, prop::collection::vec(channel, channels)).prop_map(|(side, shape, channels)| {
        let (x, y, orientation, wavelength, along, across) = shape;
        let size = side as f64;
        let [x, y, wavelength, along, across] = [x, y, wavelength, along, across].map(|share| share * size);
        (side, Gabor { x, y, orientation, wavelength, widths: [along, across], channels })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_gabor_function_is_explained_whole((side, gabor) in functions(1)) {
        let filter: Vec<f32> = gabor.values(side).into_iter().map(|value| value as f32).collect();
        let fit = Fitter::new(Family::Full, 1, side).fit(&filter).unwrap();
        prop_assert!(fit.explained > 0.999, "{gabor:?}: {fit:?}");
    }

    #[test]
    fn one_in_colour_too((side, gabor) in functions(3)) {
        let filter: Vec<f32> = gabor.values(side).into_iter().map(|value| value as f32).collect();
        let fit = Fitter::new(Family::Full, 3, side).fit(&filter).unwrap();
        prop_assert!(fit.explained > 0.999, "{gabor:?}: {fit:?}");
    }

    #[test]
    fn what_is_explained_is_what_the_function_does_not_leave(
        seed: u64, side in 2usize..8, channels in 1usize..4, scale in 1e-6f32..1e6, by in -3f32..3.0
    ) {
        let filter: Vec<f32> = noise(seed, channels * side * side).iter().map(|v| scale * (v + by)).collect();
        for family in [Family::Full, Family::Centred] {
            let fit = Fitter::new(family, channels, side).fit(&filter).unwrap();
            prop_assert!((0.0..=1.0).contains(&fit.explained));
            let left = left(&fit.gabor, side, &filter);
            prop_assert!((1.0 - fit.explained - left).abs() < 1e-6, "{left} is left: {fit:?}");
            prop_assert!(fit.gabor.channels.iter().all(|channel| channel.amplitude >= 0.0));
            prop_assert!((0.0..PI).contains(&fit.gabor.orientation));
        }
    }

    #[test]
    fn scale_and_sign_do_not_matter(seed: u64, side in 3usize..8, power in -20i32..20) {
        let filter = noise(seed, side * side);
        let fitter = Fitter::new(Family::of(side), 1, side);
        let explained = |by: f32| {
            let scaled: Vec<f32> = filter.iter().map(|value| by * value).collect();
            fitter.fit(&scaled).unwrap().explained
        };
        let once = explained(1.0);
        // Exactly, where scaling does not round.
        prop_assert_eq!(once.to_bits(), explained(-1.0).to_bits());
        prop_assert_eq!(once.to_bits(), explained(2f32.powi(power)).to_bits());
        prop_assert!((once - explained(0.3)).abs() < 1e-4);
    }
}

#[test]
fn what_has_no_variance_has_no_fit() {
    let fitter = Fitter::new(Family::Centred, 1, 3);
    for filter in [[0.0; 9], [0.1; 9], [f32::NAN; 9], [f32::INFINITY; 9]] {
        assert_eq!(fitter.fit(&filter), None);
    }
    assert!(fitter.fit(&[0.0, 0.0, 0.0, 0.0, 1e-30, 0.0, 0.0, 0.0, 0.0]).is_some());
}
