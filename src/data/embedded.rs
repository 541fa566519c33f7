//! The data set inside the binary: ten handwritten digits (MNIST) and ten garments (Fashion-MNIST).
//!
//! The same IDX files that `ci/fixtures` builds into `fixtures/data/`, read by the same reader as a
//! user's own. Used by `data` alone.

use super::{Dataset, idx};
use crate::error::Result;

macro_rules! file {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../fixtures/data/", $name)).as_slice())
    };
}

const IMAGES_LABELS: [[(&str, &[u8]); 2]; 2] = [
    [file!("train-images-idx3-ubyte.gz"), file!("train-labels-idx1-ubyte.gz")],
    [file!("t10k-images-idx3-ubyte.gz"), file!("t10k-labels-idx1-ubyte.gz")],
];

pub(super) fn read() -> Result<Dataset> {
    let [train, valid] = IMAGES_LABELS.map(|[(images_name, images), (labels_name, labels)]| {
        let images = idx::images(images, images_name)?;
        let labels = idx::labels(labels, labels_name)?;
        Ok::<_, crate::error::Error>((images, labels))
    });
    let names = include_str!("../../fixtures/data/classes.txt");
    idx::assemble("the embedded data", train?, valid?, Some((idx::NAMES, names)))
}
