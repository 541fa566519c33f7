//! The options of `selffer data`: pack folders of images, check a pack, show what is in it.
//!
//! Used by `cli`.

use super::Output;
use clap::{Args, Subcommand};
use selffer::data::pack::SIDE;
use std::path::PathBuf;

#[derive(Subcommand)]
pub enum Data {
    /// Decode the images under FROM, make them one size, and write them into the directory TO.
    ///
    /// FROM has `train` and `valid` (or `val`), each with a folder for every class; or images without folders and
    /// a list of lines `name class`, as ILSVRC2012's validation images have it. Images are made square as the
    /// paper's tools did. Stop at any time and run the same command again: it goes on to the same bytes.
    Pack(PackArgs),
    /// Hold every byte of a pack against its digests; name each image and file that is damaged.
    Verify(Dir),
    /// Show a pack's classes, how many images each has, and what was skipped.
    Show(Dir),
}

#[derive(Args)]
pub struct PackArgs {
    /// The directory of images.
    #[arg(value_name = "FROM")]
    pub from: PathBuf,
    /// The directory of the pack; it is made, or gone on with.
    #[arg(value_name = "TO")]
    pub to: PathBuf,
    /// Height and width that every image is made.
    #[arg(long, value_name = "PIXELS", default_value = "256", value_parser = side)]
    pub size: usize,
    /// Lines `name class` of the training images, names under FROM/train.
    #[arg(long, value_name = "FILE")]
    pub train_list: Option<PathBuf>,
    /// Lines `name class` of the validation images, names under FROM/valid or FROM/val.
    #[arg(long, value_name = "FILE")]
    pub valid_list: Option<PathBuf>,
    /// Class names, one a line, in the order of their numbers. [default: the folders of train, sorted, or what --train-list names]
    #[arg(long, value_name = "FILE")]
    pub classes: Option<PathBuf>,
    /// Leave out images that cannot be decoded; the pack records which, and why.
    #[arg(long)]
    pub skip_bad: bool,
    /// MiB of a shard at the most.
    #[arg(long, value_name = "MIB", default_value = "1024", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub shard_mib: u64,
    /// How many images are decoded at once. The bytes do not depend on it. [default: the cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Args)]
pub struct Dir {
    /// The directory of the pack.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    #[command(flatten)]
    pub output: Output,
}

fn side(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(side) if SIDE.contains(&side) => Ok(side),
        _ => Err(format!("take {} to {} pixels", SIDE.start(), SIDE.end())),
    }
}
