use super::*;
use crate::protocol::Subtract;
use crate::testing::{recipe, tiny};
use proptest::prelude::*;
use std::collections::HashSet;

fn input(crop: u32, mirror: bool, subtract: Subtract) -> Input {
    Input { crop, mirror, subtract }
}

#[test]
fn a_window_by_hand() {
    // Two rows and three columns of two channels: 10 times the pixel, and the channel.
    let image = [0, 1, 10, 11, 20, 21, 30, 31, 40, 41, 50, 51];
    let shape = [2, 2, 3];
    let cut = |window| {
        let mut out = [255; 8];
        cut(&image, shape, 2, window, &mut out);
        out
    };
    let window = Window { row: 0, col: 1, mirrored: false };
    assert_eq!(cut(window), [10, 11, 20, 21, 40, 41, 50, 51]);
    let mirrored = Window { mirrored: true, ..window };
    assert_eq!(cut(mirrored), [20, 21, 10, 11, 50, 51, 40, 41]);
    let places = |window: Window| (window.rows(2).collect::<Vec<_>>(), window.cols(2).collect::<Vec<_>>());
    assert_eq!(places(window), (vec![0, 1], vec![1, 2]));
    assert_eq!(places(mirrored), (vec![0, 1], vec![2, 1]));
    assert_eq!(Window::middle(&input(227, true, Subtract::MeanImage), [3, 256, 256]).row, 14);
    let plain = input(2, true, Subtract::Moments);
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
                let mut out = vec![255; crop * crop * channels];
                cut(&image, shape, crop, Window { mirrored, ..window }, &mut out);
                out
            };
            let (there, back) = (cut(false), cut(true));
            prop_assert_eq!(there.len(), crop * crop * channels);
            let shown = window.rows(crop).flat_map(|row| {
                let window = Window { mirrored: false, ..window };
                window.cols(crop).flat_map(move |col| (0..channels).map(move |channel| [row, col, channel]))
            });
            for (at, [row, col, channel]) in shown.enumerate() {
                prop_assert_eq!(there[at], image[(row * shape[2] + col) * channels + channel]);
                let (row, col) = (row - window.row, col - window.col);
                prop_assert_eq!(there[at], back[(row * crop + crop - 1 - col) * channels + channel]);
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
    assert!(fc6.iter().all(|value| [0, 2].contains(value)));
    // Six standard deviations of 50 about a half.
    let kept = fc6.iter().filter(|value| **value == 2).count();
    assert!((4_700..5_300).contains(&kept), "{kept}");
    assert_eq!(fc6[..100], mask(&recipe, place, 5, 100));
    assert_ne!(fc6, mask(&recipe, place, 6, 10_001));
    assert_ne!(fc6, mask(&recipe, Place { epoch: 2, step: 8 }, 5, 10_001));
    assert_eq!(fc6, mask(&crate::testing::recipe(&tiny(&[]), "A3B", 1), place, 5, 10_001));
}
