//! The options of `bisect`, and of `replay`, which it starts for a side under another policy.
//!
//! Used by `cli`.

use super::{Numerics, Output, Place};
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub struct BisectArgs {
    /// A store, or the file of a manifest.
    #[arg(value_name = "LEFT")]
    pub left: String,
    /// A store, the file of a manifest, or `live`: trained here and now, under the other side's policy unless
    /// --numerics names one.
    #[arg(value_name = "RIGHT")]
    pub right: String,
    /// The protocol of both: one that is built in, or a TOML file.
    #[arg(long, value_name = "NAME|FILE", default_value = "ci")]
    pub protocol: String,
    #[command(flatten)]
    pub place: Place,
    /// The one run to look at, as `selffer plan` names it. [default: all, until one parts]
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    #[command(flatten)]
    pub numerics: Numerics,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Args)]
pub struct ReplayArgs {
    /// The store that the record on standard input is of.
    #[arg(long)]
    pub store: Option<PathBuf>,
    /// Another store that may have what it copies from.
    #[arg(long)]
    pub bases: Option<PathBuf>,
    /// Its protocol.
    #[arg(long)]
    pub protocol: String,
    #[command(flatten)]
    pub place: Place,
    /// Epoch and step behind which states are wanted.
    #[arg(long, num_args = 2, required = true)]
    pub after: Vec<u32>,
    /// Epoch and step of the last.
    #[arg(long, num_args = 2, required = true)]
    pub until: Vec<u32>,
    /// Epoch and step of the only one, where one is enough.
    #[arg(long, num_args = 2)]
    pub only: Option<Vec<u32>>,
}
