use super::*;
use crate::seed::{Name, Stream};
use crate::testing::dataset;
use std::collections::{BTreeMap, HashSet};

// The digests and moments below are printed by tests/reference/files.py, which reads the files itself.

#[test]
fn the_embedded_data_are_what_they_were() {
    let data = Dataset::read(&DataSource::Embedded).unwrap();
    assert_eq!(data.classes.len(), 20);
    for (part, count) in [(Part::Train, 300), (Part::Valid, 100)] {
        let images = data.part(part);
        assert_eq!((images.rows, images.cols, images.len()), (28, 28, 20 * count));
        let mut counts = BTreeMap::<u16, usize>::new();
        for label in &images.labels {
            *counts.entry(*label).or_default() += 1;
        }
        assert!(counts.into_iter().eq((0..20).map(|label| (label, count))));
    }
    assert_eq!(data.digest().hex(), "a5ff291da4421763c0ae2d273269b62a7907cbbd8bac5a55de91ca337dc4b27d");
    let all: HashSet<_> = Part::BOTH.iter().flat_map(|part| data.part(*part).digests()).collect();
    assert_eq!(all.len(), 8000);
}

#[test]
fn the_embedded_pixels_have_these_moments() {
    let (mean, deviation) = Dataset::read(&DataSource::Embedded).unwrap().pixel_moments();
    // Python computed both from exact fractions.
    assert!((mean - 0.20916207733093237).abs() < 1e-15, "{mean}");
    assert!((deviation - 0.3411985519221634).abs() < 1e-15, "{deviation}");
}

#[test]
fn moments_by_hand() {
    let of = |pixels: &[u8]| {
        let mut data = dataset(2, 1, 1, 1);
        data.train = Images::new([1, 1, 1], pixels.to_vec(), vec![0; pixels.len()]);
        // Validation pixels do not count.
        data.valid.bytes_mut().unwrap().fill(77);
        data.pixel_moments()
    };
    // 0, 51, 102, 255 are 0, 0.2, 0.4, 1: mean 0.4, squares 0 + 0.04 + 0.16 + 1 over 4 = 0.3.
    let (mean, deviation) = of(&[0, 51, 102, 255]);
    assert!((mean - 0.4).abs() < 1e-15 && (deviation - (0.3f64 - 0.16).sqrt()).abs() < 1e-15);
    assert_eq!(of(&[255, 0, 102, 51]), (mean, deviation));
    assert_eq!((of(&[0; 4]), of(&[255; 4])), ((0.0, 1.0), (1.0, 1.0)));
    // Rounding leaves no variance where there is none.
    for value in 0..=255 {
        assert_eq!(of(&[value; 6]).1, 1.0, "{value}");
    }
}

#[test]
fn moments_do_not_depend_on_the_order() {
    let mut data = dataset(3, 50, 1, 8);
    let before = data.pixel_moments();
    Stream::open(&Name::new("shuffled")).shuffle(data.train.bytes_mut().unwrap());
    assert_eq!(data.pixel_moments(), before);
}

#[test]
fn an_image_s_digest_is_of_its_size_and_pixels() {
    let images = |rows, cols, labels: Vec<u16>| {
        Images::new([1, rows, cols], (0..16).map(|pixel| pixel / 8).collect(), labels).digests()
    };
    let square = images(2, 4, vec![0, 1]);
    assert_ne!(square[0], square[1]);
    assert_eq!(images(2, 4, vec![5, 5]), square);
    assert_ne!(images(4, 2, vec![0, 1])[0], square[0]);
    assert_ne!(images(1, 8, vec![0, 1])[0], square[0]);
}

#[test]
fn a_data_set_s_digest_is_of_all_that_matters() {
    let plain = dataset(3, 2, 2, 8);
    let changed = |change: &dyn Fn(&mut Dataset)| {
        let mut data = plain.clone();
        change(&mut data);
        data.digest()
    };
    let all = [
        plain.digest(),
        changed(&|data| data.classes[2].push('x')),
        changed(&|data| data.train.labels[0] = 2),
        changed(&|data| data.valid.labels[5] = 0),
        changed(&|data| data.train.bytes_mut().unwrap()[383] ^= 1),
        changed(&|data| data.valid.bytes_mut().unwrap()[0] ^= 128),
        changed(&|data| std::mem::swap(&mut data.train, &mut data.valid)),
        // The same bytes as half as many pixels of two channels.
        changed(&|data| (data.train.cols, data.train.channels) = (4, 2)),
        // The last training image with its label becomes the first for validation.
        changed(&|data| {
            let pixels = data.train.bytes_mut().unwrap().split_off(320);
            data.valid.bytes_mut().unwrap().splice(0..0, pixels);
            let label = data.train.labels.pop().unwrap();
            data.valid.labels.insert(0, label);
        }),
    ];
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
}
