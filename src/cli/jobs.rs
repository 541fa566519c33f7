//! The options of the commands that know many machines: `submit`, `work`, `status`, `cancel`.
//!
//! Used by `cli`.

use super::{Format, Output, Which};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    /// Job arrays of Slurm.
    Slurm,
    /// One process in the background of this machine.
    Local,
}

impl EngineName {
    pub fn name(self) -> &'static str {
        match self {
            Self::Slurm => "slurm",
            Self::Local => "local",
        }
    }
}

#[derive(Args)]
#[command(mut_arg("protocol", |arg| arg.help("The protocol: one that is built in, or a TOML file. Its text goes with the jobs")))]
#[command(mut_arg("store", |arg| arg.help("The store, on a file system that all machines share")))]
pub struct SubmitArgs {
    #[command(flatten)]
    pub which: Which,
    /// What runs the networks.
    #[arg(long, value_name = "ENGINE", default_value = "slurm")]
    pub engine: EngineName,
    /// A TOML file of resources, as a protocol's [slurm] table has them; options go before it, it goes before
    /// the protocol.
    #[arg(long, value_name = "FILE")]
    pub resources: Option<PathBuf>,
    /// Slurm's --partition.
    #[arg(long, value_name = "NAME")]
    pub partition: Option<String>,
    /// Slurm's --gres, such as gpu:1.
    #[arg(long, value_name = "LIST")]
    pub gres: Option<String>,
    /// Slurm's --time for each element. Before it is over, the state is kept and the job started again.
    #[arg(long, value_name = "TIME")]
    pub time: Option<String>,
    /// Slurm's --mem.
    #[arg(long, value_name = "SIZE")]
    pub mem: Option<String>,
    /// Slurm's --cpus-per-task.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub cpus: Option<u32>,
    /// How many seconds before its time limit an element saves. [default: 120]
    #[arg(long, value_name = "SECONDS")]
    pub warn_seconds: Option<u32>,
    /// Another option of sbatch, as --sbatch=--account=lab; may be given several times.
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    pub sbatch: Vec<String>,
    /// How many elements of one level (bases; what copies from them) run at once, at the most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_running: Option<u32>,
    /// How many networks an element has, at the most; they are trained side by side. [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub per_job: Option<u32>,
    /// How many networks of an element are trained at once. [default: all on an accelerator, else the cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// How often the state of a network in training is kept.
    #[arg(long, value_name = "STEPS|Nmin", default_value = "10min", value_parser = kept)]
    pub snapshot_every: String,
    /// Print the scripts as they would be submitted, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub output: Output,
}

/// The text, where it names states that are kept: a job that keeps none cannot be started again.
fn kept(text: &str) -> Result<String, String> {
    match super::every(text)? {
        selffer::run::Every::Never => Err("a job has to keep its state: take a number of steps (500), or \
                                           of minutes (10min)"
            .to_owned()),
        _ => Ok(text.to_owned()),
    }
}

#[derive(Args)]
pub struct WorkArgs {
    /// The work order: a plan.json that `selffer submit` wrote into the store.
    #[arg(long, value_name = "FILE")]
    pub plan: PathBuf,
    /// Which element of it. [default: all of them, each network after what it copies from]
    #[arg(long, value_name = "I")]
    pub index: Option<u32>,
    /// How many seconds before its time limit the job is warned; so long it can ask to be started again.
    #[arg(long, value_name = "SECONDS", default_value_t = selffer::resources::WARN)]
    pub warn_seconds: u32,
}

#[derive(Args)]
#[command(mut_arg("format", |arg| arg.help("What standard output is written as; with --follow, JSON is one document a line")))]
pub struct StatusArgs {
    #[command(flatten)]
    pub which: Which,
    /// Look again and again, until nothing runs and nothing is in a queue.
    #[arg(long)]
    pub follow: bool,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub interval: u32,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Args)]
pub struct CancelArgs {
    /// The runs whose jobs are cancelled, as `selffer plan` names them. [default: all]
    #[arg(value_name = "RUN")]
    pub runs: Vec<String>,
    /// Cancel also the other networks of the elements that have them; else that is refused.
    #[arg(long, requires = "runs")]
    pub together: bool,
    /// Cancel nothing, but forget jobs that cannot be asked after: those of an engine that does not answer, and those
    /// whose record in the store is damaged. One that lives on all the same harms nothing.
    #[arg(long, conflicts_with = "runs")]
    pub forget: bool,
    #[command(flatten)]
    pub which: Which,
    /// What standard output is written as.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
}
