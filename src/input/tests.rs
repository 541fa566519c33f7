use super::*;
use crate::testing::{recipe, tiny};
use proptest::prelude::*;
use std::collections::HashSet;

fn input(crop: u32, mirror: bool, subtract: Subtract) -> Input {
    Input { crop, mirror, subtract }
}

const PLAIN: Pixels<'_> = Pixels { moments: (0.0, 1.0 / 255.0), mean: None };

#[test]
fn a_window_by_hand() {
    // Two rows and three columns of two channels: 10 times the pixel, and the channel.
    let image = [0, 1, 10, 11, 20, 21, 30, 31, 40, 41, 50, 51];
    let shape = [2, 2, 3];
    let cut = |window, input: &Input, pixels| {
        let mut out = vec![-1.0; 8];
        cut(&image, shape, input, window, pixels, &mut out);
        out
    };
    let window = Window { row: 0, col: 1, mirrored: false };
    let plain = input(2, true, Subtract::Moments);
    assert_eq!(cut(window, &plain, PLAIN), [10.0, 11.0, 20.0, 21.0, 40.0, 41.0, 50.0, 51.0]);
    let mirrored = Window { mirrored: true, ..window };
    assert_eq!(cut(mirrored, &plain, PLAIN), [20.0, 21.0, 10.0, 11.0, 50.0, 51.0, 40.0, 41.0]);
    // The mean is that of the place in the image, wherever it ends up.
    let mean: Vec<f32> = (0..12).map(|at| at as f32).collect();
    let less = input(2, true, Subtract::MeanImage);
    let pixels = Pixels { mean: Some(&mean), ..PLAIN };
    assert_eq!(cut(mirrored, &less, pixels), [16.0, 16.0, 8.0, 8.0, 40.0, 40.0, 32.0, 32.0]);
    assert_eq!(Window::middle(&input(227, true, Subtract::MeanImage), [3, 256, 256]).row, 14);
    assert_eq!(Window::middle(&plain, shape), Window { row: 0, col: 0, mirrored: false });
}

proptest! {
    #[test]
    fn windows_lie_in_the_image_and_mirroring_twice_is_nothing(
        crop in 1usize..6,
        more in prop::array::uniform2(0usize..4),
        channels in 1usize..4,
        seed: u64,
        mirror: bool,
    ) {
        let shape = [channels, crop + more[0], crop + more[1]];
        let input = input(crop as u32, mirror, Subtract::Moments);
        let recipe = recipe(&tiny(&[]), "baseA", seed);
        let image: Vec<u8> = (0..shape.iter().product()).map(|at: usize| (at * 37 % 251) as u8).collect();
        for window in windows(&recipe, &input, Place::START, shape, 20) {
            prop_assert!(window.row <= more[0] && window.col <= more[1]);
            prop_assert!(mirror || !window.mirrored);
            let cut = |mirrored| {
                let mut out = vec![-1.0; crop * crop * channels];
                cut(&image, shape, &input, Window { mirrored, ..window }, PLAIN, &mut out);
                out
            };
            let (there, back) = (cut(false), cut(true));
            prop_assert_eq!(there.len(), crop * crop * channels);
            for (at, value) in there.iter().enumerate() {
                let (row, col, channel) = (at / channels / crop, at / channels % crop, at % channels);
                let from = ((row + window.row) * shape[2] + col + window.col) * channels + channel;
                prop_assert!((value - f32::from(image[from])).abs() < 1e-3);
                let mirrored = (row * crop + crop - 1 - col) * channels + channel;
                prop_assert_eq!(*value, back[mirrored]);
            }
        }
    }
}

#[test]
fn every_window_comes_up_and_draws_are_shared_by_a_target_s_networks() {
    let protocol = tiny(&[]);
    let input = input(2, true, Subtract::Moments);
    let shape = [1, 4, 3];
    let of = |treatment: &str, seed, step| {
        let place = Place { epoch: 1, step };
        windows(&recipe(&protocol, treatment, seed), &input, place, shape, 500)
    };
    let seen: HashSet<_> = of("baseB", 1, 0).iter().map(|w| (w.row, w.col, w.mirrored)).collect();
    assert_eq!(seen.len(), 3 * 2 * 2);
    assert_eq!(of("baseB", 1, 0), of("A3B+", 1, 0));
    assert_ne!(of("baseB", 1, 0), of("baseB", 1, 1));
    assert_ne!(of("baseB", 1, 0), of("baseB", 2, 0));
    assert_ne!(of("baseB", 1, 0), of("baseA", 1, 0));
}

#[test]
fn half_is_dropped_and_the_rest_doubled() {
    let recipe = recipe(&tiny(&[]), "baseB", 1);
    let place = Place { epoch: 2, step: 7 };
    let fc6 = mask(&recipe, place, 5, 10_001);
    assert_eq!(fc6.len(), 10_001);
    assert!(fc6.iter().all(|value| [0.0, 2.0].contains(value)));
    // Six standard deviations of 50 about a half.
    let kept = fc6.iter().filter(|value| **value == 2.0).count();
    assert!((4_700..5_300).contains(&kept), "{kept}");
    assert_eq!(fc6[..100], mask(&recipe, place, 5, 100));
    assert_ne!(fc6, mask(&recipe, place, 6, 10_001));
    assert_ne!(fc6, mask(&recipe, Place { epoch: 2, step: 8 }, 5, 10_001));
    assert_eq!(fc6, mask(&crate::testing::recipe(&tiny(&[]), "A3B", 1), place, 5, 10_001));
}
