//! Where a protocol's images come from.
//!
//! Uses nothing of this crate; a part of `protocol`, read by `data`. Where images lie changes no bits, so a protocol's
//! digest leaves out every path: what they are is in the data's own digest, which recipes have.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Sides of an image that is made from a file, in pixels. Three poolings by two leave nothing of an image below 8.
pub const SIDE: std::ops::RangeInclusive<usize> = 8..=4096;

/// Where the images come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataSource {
    /// The 20 classes in the binary: ten digits, ten garments.
    Embedded,
    /// A directory of MNIST-family IDX files, plain or gzip. In a protocol file the path is relative
    /// to that file.
    Idx(#[serde(skip_serializing)] PathBuf),
    /// A directory of the binary version of CIFAR-10 or CIFAR-100 (fine labels); its path as of `Idx`.
    Cifar(#[serde(skip_serializing)] PathBuf),
    /// A directory that `selffer data pack` made; its path as of `Idx`.
    Pack(#[serde(skip_serializing)] PathBuf),
    /// Image files as they are; its paths as of `Idx`.
    Images(Folder),
}

/// Image files, a folder for each class or with lists, to be decoded in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "{ dir = \"DIR\", size = PIXELS }")]
pub struct Folder {
    /// The directory that has `train` and `valid`, as for `selffer data pack`.
    #[serde(skip_serializing)]
    pub dir: PathBuf,
    /// Height and width that every image is made.
    pub size: usize,
    /// Leave out images that cannot be decoded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_bad: bool,
    /// Lines `name class` of the training images.
    #[serde(default, skip_serializing)]
    pub train_list: Option<PathBuf>,
    /// Lines `name class` of the validation images.
    #[serde(default, skip_serializing)]
    pub valid_list: Option<PathBuf>,
    /// Class names, one a line, in the order of their numbers.
    #[serde(default, skip_serializing)]
    pub classes: Option<PathBuf>,
}

impl DataSource {
    /// The directory that it names.
    pub fn dir(&self) -> Option<&Path> {
        match self {
            Self::Embedded => None,
            Self::Idx(dir) | Self::Cifar(dir) | Self::Pack(dir) | Self::Images(Folder { dir, .. }) => {
                Some(dir)
            }
        }
    }

    /// The directory that it names.
    pub fn dir_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Embedded => None,
            Self::Idx(dir) | Self::Cifar(dir) | Self::Pack(dir) | Self::Images(Folder { dir, .. }) => {
                Some(dir)
            }
        }
    }

    /// Takes all its paths from that directory on, where they are not absolute.
    pub fn relative_to(&mut self, base: &Path) {
        if let Some(dir) = self.dir_mut() {
            *dir = base.join(&*dir);
        }
        if let Self::Images(Folder { train_list, valid_list, classes, .. }) = self {
            for path in [train_list, valid_list, classes].into_iter().flatten() {
                *path = base.join(&*path);
            }
        }
    }
}
