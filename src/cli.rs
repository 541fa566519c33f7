//! The command line's words: commands, options, and the help that teaches them.
//!
//! Used by `main` and `commands`.

mod audit;
mod bisect;
pub mod data;
mod jobs;
mod numerics;

pub use audit::{AuditArgs, AuditFormat, FailOn, ReportArgs};
pub use bisect::{BisectArgs, ReplayArgs};
pub use jobs::{CancelArgs, EngineName, StatusArgs, SubmitArgs, WorkArgs};
pub use numerics::Numerics;

use clap::{Args, CommandFactory, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use selffer::run::Every;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Rerun, check and audit layer-transfer experiments, bit for bit.
///
/// The experiment is that of Yosinski, Clune, Bengio and Lipson, "How transferable are features in deep
/// neural networks?" (2014). A protocol's classes are split in task A and task B. An 8-layer network is
/// trained on each (baseA, baseB). Then, for n = 1 to 7, its first n layers are copied into fresh
/// networks:
///
///   B3B   3 layers of baseB, frozen, the rest trained on B   (selffer, the control)
///   A3B   3 layers of baseA, frozen, the rest trained on B   (transfer)
///   A3B+  the same, with the copied layers trained on as well
///   R3B   3 layers random and frozen                         (random-weight control)
///   A3B^2     as A3B, with 2 layers more copied and trained on   (preserved)
///   baseA@25  a base network on the first 25 images of each class (reduced)
///
/// Begin with `selffer plan` to see what would be trained, then `selffer reproduce`. Every network is
/// kept in a store and never trained twice; stop at any time and run the same command again.
///
/// Exit codes: 0 clean; 1 there are findings; 2 it could not run; 130 stopped by a signal.
#[derive(Parser)]
#[command(version, max_term_width = 100, verbatim_doc_comment)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// What the command line says.
    pub fn told() -> Result<Self, clap::Error> {
        let mut command = numbers(Self::command());
        let matches = command.try_get_matches_from_mut(std::env::args_os())?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }

    /// Whether nothing but results and errors is to be said.
    pub fn quiet(&self) -> bool {
        match &self.command {
            Command::Plan(args) => args.common.output.quiet,
            Command::Reproduce(args) => args.common.output.quiet,
            Command::Verify(common) => common.output.quiet,
            Command::Golden(Golden::Check { of, .. } | Golden::Accept { of, .. }) => of.common.output.quiet,
            Command::Table(TableArgs { common, .. }) => common.output.quiet,
            Command::Audit(args) => args.output.quiet,
            Command::Bisect(args) => args.output.quiet,
            Command::Status(args) => args.output.quiet,
            Command::Submit(args) => args.output.quiet,
            Command::Report(args) => args.quiet,
            // Whoever asked for it hears what went wrong, and nothing else.
            Command::Replay(_) => true,
            _ => false,
        }
    }

    /// Where a protocol's images lie, if it is said.
    pub fn data(&self) -> Option<&Path> {
        let place = match &self.command {
            Command::Plan(args) => &args.common.which.place,
            Command::Reproduce(args) => &args.common.which.place,
            Command::Verify(common) => &common.which.place,
            Command::Golden(Golden::Check { of, .. } | Golden::Accept { of, .. }) => &of.common.which.place,
            Command::Table(TableArgs { common, .. }) => &common.which.place,
            Command::Show(args) => &args.which.place,
            Command::Status(args) => &args.which.place,
            Command::Submit(args) => &args.which.place,
            Command::Cancel(args) => &args.which.place,
            Command::Audit(args) => &args.place,
            Command::Bisect(args) => &args.place,
            Command::Replay(args) => &args.place,
            Command::Report(args) => &args.place,
            Command::Work(_) | Command::Fingerprint(_) | Command::Data(_) => return None,
        };
        place.data.as_deref()
    }
}

/// A number below 0 is the value that an option refuses, and no other option.
fn numbers(command: clap::Command) -> clap::Command {
    let takes = |arg: clap::Arg| match arg.get_action().takes_values() {
        true => arg.allow_negative_numbers(true),
        false => arg,
    };
    command.mut_args(takes).mut_subcommands(numbers)
}

#[derive(Subcommand)]
pub enum Command {
    /// List the networks of a protocol: what each copies from, what it costs, whether it is done.
    ///
    /// The `paper` protocol's networks are counted without its images too.
    Plan(PlanArgs),
    /// Train what the store lacks, verify, tabulate, and compare with the golden snapshot.
    Reproduce(ReproduceArgs),
    /// Check every file and every invariant of a store; nothing is trained.
    ///
    /// Files against their digests; splits and runs against the protocol; copied, frozen, trained,
    /// re-initialised and random layers against what the treatment says; data order, rates, counts.
    Verify(Common),
    /// Draw and print the accuracy of every network in the store.
    ///
    /// As text: for each split and task the curves of accuracy by n, then the tables. Without UTF-8 (LANG,
    /// LC_ALL) they are drawn in ASCII; NO_COLOR leaves out colour, as does output that is no terminal.
    Table(TableArgs),
    /// Print one run: its recipe, its parent, digests and files, where it was trained, its curve.
    Show(ShowArgs),
    /// Write a page with the paper's figures and tables: of a store, of the published archive, or both side by side.
    ///
    /// Figures are SVG in one HTML file that needs no network, and files of their own, with their numbers as CSV. A
    /// store's counts are those that its manifests record, with what `verify` says of them; nothing is trained.
    Report(ReportArgs),
    /// Audit a result: the paper's own published archive of training logs, or a selffer store.
    ///
    /// For the archive: lists against their md5 sums; each run's network, solver, links and logs against
    /// its name; every accuracy derived again; Table 1; the paper's claims and questions, each with an
    /// interval and the runs behind it. For a store: what `verify` says; every accuracy, from the checkpoints
    /// evaluated again; with --sample or --full, networks trained again; and the same claims and questions.
    Audit(AuditArgs),
    /// Find where two records of a network part: step, layer, tensor, number, and the kind of cause.
    ///
    /// Of two stores, the first network that came out otherwise is looked at, bases first. Ledgers say
    /// between which two entries; both are trained again from what they share to find the very step. Exit
    /// code 1 where they part.
    Bisect(BisectArgs),
    /// Train a recorded run again from one entry of its ledger to another: what `bisect` starts for a side
    /// under another numerics policy, since a process computes under one.
    #[command(hide = true)]
    Replay(ReplayArgs),
    /// Compare a store with the accepted snapshot, or accept it as the new one.
    #[command(subcommand)]
    Golden(Golden),
    /// Say how a plan stands: done, running and where, waiting for what, failed and why, time left.
    ///
    /// For what `reproduce` trains on this machine and for what jobs train on others. It reads the store and
    /// asks the queue, and changes nothing. Exit code 1 where a network failed or there are findings so far.
    Status(StatusArgs),
    /// Hand what is to be trained to Slurm, or to the background of this machine, and come back.
    ///
    /// Each network starts as soon as the one it copies from is there. What is finished or in a queue already
    /// is not submitted. Killed, stopped and repeated jobs go on to the same bits.
    Submit(SubmitArgs),
    /// Cancel the jobs of a store; what they trained so far is kept.
    Cancel(CancelArgs),
    /// What a job runs: train the networks of one element of a work order.
    Work(WorkArgs),
    /// Print how this machine computes: a digest of what libtorch makes of a fixed probe, and what it says
    /// of itself.
    ///
    /// Where two machines have the same fingerprint under a policy, they may be expected to train the same
    /// bits; where they have not, they do not. Every manifest and golden snapshot records it.
    Fingerprint(Fingerprint),
    /// Pack folders of images for a protocol, check a pack, or show what is in it.
    #[command(subcommand)]
    Data(data::Data),
}

#[derive(Args)]
pub struct Fingerprint {
    #[command(flatten)]
    pub numerics: Numerics,
    /// What standard output is written as.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
}

#[derive(Subcommand)]
pub enum Golden {
    /// Compare the store's table and weights with the snapshot; show each cell that changed.
    Check {
        #[command(flatten)]
        of: GoldenArgs,
        /// Where they differ, also write the new snapshot beside the golden one as a `.snap.new`, for
        /// `cargo insta review`.
        #[arg(long)]
        review: bool,
    },
    /// Write the store's table and weights as the golden snapshot.
    Accept {
        #[command(flatten)]
        of: GoldenArgs,
        /// Why the numbers may change; kept in the snapshot.
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
}

/// Where a protocol's images lie.
#[derive(Args)]
pub struct Place {
    /// The directory in which the protocol's images lie, instead of the one that it names. No digest depends on it.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Which networks of which store.
#[derive(Args)]
pub struct Which {
    /// The protocol: one that is built in (smoke: seconds; ci: minutes; standard, cifar100: hours, on images of yours;
    /// paper: ILSVRC2012), or a TOML file.
    #[arg(long, value_name = "NAME|FILE", default_value = "ci")]
    pub protocol: String,
    #[command(flatten)]
    pub place: Place,
    /// The directory of checkpoints and manifests; `reproduce` makes it.
    #[arg(long, value_name = "DIR", default_value = "store")]
    pub store: PathBuf,
    #[command(flatten)]
    pub numerics: Numerics,
}

/// What is written where. `table` and `audit` have two more formats each.
#[derive(Args)]
pub struct Output<F: ValueEnum + Send + Sync + 'static = Format> {
    /// What standard output is written as. Progress and messages go to standard error.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: F,
    /// No progress and no messages but errors.
    #[arg(long, short)]
    pub quiet: bool,
}

/// What commands that look at a store by a protocol take.
#[derive(Args)]
pub struct Common<F: ValueEnum + Send + Sync + 'static = Format> {
    #[command(flatten)]
    pub which: Which,
    /// How many networks are trained at once; where none is trained, how many threads read and check. The bits do not
    /// depend on it. [default: the cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    #[command(flatten)]
    pub output: Output<F>,
}

#[derive(Args)]
pub struct ReproduceArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub training: Training,
    #[command(flatten)]
    pub golden: GoldenDir,
    /// Write no page with figures and tables into the store (`report/index.html` there).
    #[arg(long)]
    pub no_report: bool,
}

/// Which store, and where its snapshot is.
#[derive(Args)]
pub struct GoldenArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub golden: GoldenDir,
}

#[derive(Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub common: Common,
    /// Images a second that one job trains a base network on, where it was measured: how long the plan
    /// takes is told by it. [default: what the networks in the store took]
    #[arg(long, value_name = "IMAGES", value_parser = speed)]
    pub speed: Option<f64>,
    /// Measure that speed now: as many base networks as there are jobs, and no more than the plan has networks, are trained at once for
    /// some steps, on noise. Nothing is kept. The `paper` protocol needs no images for it.
    #[arg(long, conflicts_with = "speed")]
    pub measure: bool,
}

#[derive(Args)]
pub struct TableArgs {
    #[command(flatten)]
    pub common: Common<TableFormat>,
    #[command(flatten)]
    pub width: Width,
}

#[derive(Args)]
pub struct Width {
    /// How many columns curves may take. [default: the terminal's, at most 80]
    #[arg(long, value_name = "COLUMNS", value_parser = clap::value_parser!(u16).range(40..=400))]
    pub width: Option<u16>,
}

#[derive(Args)]
pub struct ShowArgs {
    /// The run as `selffer plan` names it (`random-0/1/A3B`), or the beginning of the digest of its recipe or
    /// of its weights.
    #[arg(value_name = "RUN")]
    pub run: String,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub width: Width,
    /// What standard output is written as.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
}

/// A speed that something could have: of no other can it be said how long a plan takes.
fn speed(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (1e-3..=1e12).contains(number));
    number.ok_or_else(|| "take a number from 0.001 to 1e12".to_owned())
}

/// What only a command that trains takes.
#[derive(Args)]
pub struct Training {
    /// How often the state of a network in training is kept, so that a killed run goes on from there: a
    /// number of steps, or of minutes (`10min`), or `never`. The bits do not depend on it.
    #[arg(long, value_name = "STEPS|Nmin|never", default_value = "10min", value_parser = every)]
    pub snapshot_every: Every,
    /// Keep every such state, also of finished networks: `selffer bisect` begins from them.
    #[arg(long)]
    pub keep_snapshots: bool,
}

#[derive(Args)]
pub struct GoldenDir {
    /// The directory of golden snapshots. [default: ./golden, else those built into the program]
    #[arg(long = "golden", value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

impl GoldenDir {
    /// Where snapshots are written.
    pub fn place(&self) -> &Path {
        self.dir.as_deref().unwrap_or(Path::new("golden"))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    Text,
    Json,
    Csv,
    Md,
}

fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say in a few words why the numbers may change".to_owned()),
        text => Ok(text.to_owned()),
    }
}

pub fn every(text: &str) -> Result<Every, String> {
    let above_0 = |number: &str| number.parse::<u64>().ok().filter(|number| *number > 0);
    match text.strip_suffix("min") {
        _ if text == "never" => Some(Every::Never),
        Some(minutes) => above_0(minutes)
            .and_then(|minutes| minutes.checked_mul(60))
            .map(|seconds| Every::Time(Duration::from_secs(seconds))),
        None => above_0(text).map(Every::Steps),
    }
    .ok_or_else(|| "take a number of steps (500), of minutes (10min), or never".to_owned())
}
