//! The options of `audit` and `report`, which look at an archive or a store.
//!
//! Used by `cli`.

use super::{Numerics, Output, Place};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Args)]
#[command(mut_arg("asked", |arg| arg.help(
    "Which networks of a store are meant, by their numerics [default: those that it has, if of one kind]. They are held \
     against the same; a GPU's, where none can be used, against the CPU's portable ones"
)))]
#[command(mut_arg("device", |arg| arg.help(
    "What a store's networks are held against: `cuda`, or `cuda:1` for the second GPU, is for a GPU's; `cpu` for all; `auto` \
     takes a GPU for a GPU's, where there is one and libtorch's libraries for it [default: auto]"
)))]
pub struct AuditArgs {
    /// The root of the published archive (it has a directory `results`), or a selffer store.
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Another archive or store, whose claims and answers are set beside those of PATH.
    #[arg(long, value_name = "PATH")]
    pub beside: Option<PathBuf>,
    /// For a store: its protocol, one that is built in or a TOML file. [default: ci]
    #[arg(long, value_name = "NAME|FILE")]
    pub protocol: Option<String>,
    #[command(flatten)]
    pub place: Place,
    /// For a store: train so many of its networks again, drawn by --seed, and compare every bit.
    #[arg(long, value_name = "K", requires = "seed", value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: Option<u32>,
    /// Your own seed for --sample: whoever made the store could not know it.
    #[arg(long, value_name = "SEED", requires = "sample", value_parser = seed)]
    pub seed: Option<u64>,
    /// For a store: train all of its networks again.
    #[arg(long, conflicts_with = "sample")]
    pub full: bool,
    /// Where a network of a store comes out with other bits: the difference of accuracy, in points, within which it
    /// is equivalent. [default: 2]
    #[arg(long, value_name = "POINTS", value_parser = margin)]
    pub margin: Option<f64>,
    /// How many networks are seen to at once, or runs of an archive. [default: the cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    #[command(flatten)]
    pub numerics: Numerics,
    /// The least severity that makes the exit code 1.
    #[arg(long, value_name = "SEVERITY", default_value = "warning")]
    pub fail_on: FailOn,
    #[command(flatten)]
    pub output: Output<AuditFormat>,
}

impl AuditArgs {
    /// The store's protocol.
    pub fn protocol(&self) -> &str {
        self.protocol.as_deref().unwrap_or("ci")
    }

    /// Within how many points a network is equivalent.
    pub fn margin(&self) -> f64 {
        self.margin.unwrap_or(2.0)
    }

    /// What of that which is for stores alone was said, but for what trains again.
    pub fn said_of_stores(&self) -> Vec<&'static str> {
        let mut said = said_of_stores(&self.protocol, &self.place, &self.numerics);
        said.extend(self.margin.map(|_| "--margin"));
        said
    }
}

/// Which of these were said: an archive has no use for them.
fn said_of_stores(protocol: &Option<String>, place: &Place, numerics: &Numerics) -> Vec<&'static str> {
    let (device, policy) = numerics.said();
    let said = [
        ("--protocol", protocol.is_some()),
        ("--data", place.data.is_some()),
        ("--device", device),
        ("--numerics", policy),
    ];
    said.into_iter().filter_map(|(option, said)| said.then_some(option)).collect()
}

#[derive(Args)]
pub struct ReportArgs {
    /// A store, whose networks are shown. [default: store, without --archive]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// The published archive (its root has a directory `results`); with --store, the two side by side.
    #[arg(long, value_name = "PATH")]
    pub archive: Option<PathBuf>,
    /// The directory to write to: an empty or a new one, or one with an earlier report. [default: `report` in the
    /// store, or in the working directory where there is no store]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// For a store: its protocol, one that is built in or a TOML file. [default: ci]
    #[arg(long, value_name = "NAME|FILE")]
    pub protocol: Option<String>,
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub numerics: Numerics,
    /// No messages but errors.
    #[arg(long, short)]
    pub quiet: bool,
}

impl ReportArgs {
    /// The store's protocol.
    pub fn protocol(&self) -> &str {
        self.protocol.as_deref().unwrap_or("ci")
    }

    /// What of that which is for stores alone was said.
    pub fn said_of_stores(&self) -> Vec<&'static str> {
        said_of_stores(&self.protocol, &self.place, &self.numerics)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    Note,
    Warning,
    Error,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditFormat {
    Text,
    Json,
    Junit,
    Sarif,
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("take a whole number from 0 to {}", u64::MAX))
}

fn margin(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(points) if points > 0.0 && points <= 100.0 => Ok(points),
        _ => Err("take a number of points above 0 and at most 100".to_owned()),
    }
}
