//! What each command does, from options to output.
//!
//! Uses the library; used by `main`. Every command reads as: get ready, do it, print, say how it went.
//! Results go to standard output in one piece; progress and messages go to standard error.

mod audit;
mod bisect;
mod cancel;
mod data;
mod golden;
mod inputs;
mod jobs;
mod places;
mod plan;
mod records;
mod replay;
mod report;
mod reproduce;
mod show;
mod status;
mod submit;
mod table;
mod work;

use crate::cli::{self, Cli, Command, Common, Format};
use crate::output;
use crate::progress::say;
use anyhow::Context as _;
use inputs::Inputs;
use records::opened;
use selffer::manifest::Manifest;
use selffer::run::finished;
use selffer::store::Store;
use selffer::verify::{Context, Finding, Severity, verify};
use selffer::{Error, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

/// Whether everything holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Clean,
    Findings,
}

/// Runs the command that was asked for.
pub fn run(mut cli: Cli) -> anyhow::Result<Verdict> {
    cli.command.settle()?;
    inputs::from(&cli);
    match cli.command {
        Command::Plan(args) => plan::run(&args),
        Command::Reproduce(args) => reproduce::run(&args),
        Command::Verify(common) => on_threads(common.jobs, || check_store(&common)),
        Command::Table(args) => on_threads(args.common.jobs, || table::run(&args)),
        Command::Show(args) => show::run(&args),
        Command::Audit(args) => audit::run(args),
        Command::Bisect(args) => bisect::run(args),
        Command::Replay(args) => replay::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Golden(command) => golden::run(&command),
        Command::Fingerprint(args) => fingerprint(&args),
        Command::Status(args) => status::run(&args),
        Command::Submit(args) => submit::run(&args),
        Command::Work(args) => work::run(&args),
        Command::Cancel(args) => cancel::run(&args),
        Command::Data(command) => data::run(&command),
    }
}

fn jobs(asked: Option<u16>) -> usize {
    match asked {
        Some(jobs) => usize::from(jobs),
        None => std::thread::available_parallelism().map_or(1, |cores| cores.get()),
    }
}

/// Does what trains nothing on so many threads: images are read and stores are checked on all of them.
fn on_threads<T: Send>(
    asked: Option<u16>,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs(asked)).build();
    pool.map_err(|error| Error::invalid("--jobs", error.to_string(), "take fewer"))?.install(work)
}

/// Of those manifests the ones whose networks the store has whole: what `reproduce` would not train again.
fn trained(store: &Store, manifests: Vec<Option<Manifest>>) -> Result<Vec<Option<Manifest>>> {
    let whole = |found: Option<Manifest>| found.map_or(Ok(None), |found| finished(store, &found.recipe));
    manifests.into_iter().map(whole).collect()
}

fn check_store(common: &Common) -> anyhow::Result<Verdict> {
    let inputs = Inputs::read(&common.which.protocol)?;
    let plan = inputs.plan()?;
    let store = opened(&common.which.store, &plan, common.which.numerics.policy, common.output.quiet)?;
    let report = verify(&Context::new(&plan, &store, common.which.numerics.policy)?)?;
    print(common.output.format, &report, || output::report_text(&report))?;
    Ok(verdict(&report.findings))
}

fn fingerprint(args: &cli::Fingerprint) -> anyhow::Result<Verdict> {
    let numerics = args.numerics.engage(false)?;
    let result = output::Fingerprint::of(numerics.policy(), numerics.environment()?);
    print(args.format, &result, || result.text())?;
    Ok(Verdict::Clean)
}

fn verdict(findings: &[Finding]) -> Verdict {
    match findings.iter().any(|finding| finding.severity == Severity::Error) {
        true => Verdict::Findings,
        false => Verdict::Clean,
    }
}

/// Whether Ctrl-C and SIGTERM end the process at once: until a command listens, and again after the first.
static AT_ONCE: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| Arc::new(AtomicBool::new(true)));

/// Whether no command listens: a closed terminal ends the process at once then.
static UNHEARD: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| Arc::new(AtomicBool::new(true)));

const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// Has Ctrl-C, SIGTERM and a closed terminal end the process with the exit code that README tells.
pub fn end_on_signals() {
    let end = signal_hook::flag::register_conditional_shutdown;
    // Where they cannot be listened to, they end the process by themselves.
    for signal in SIGNALS {
        let _ = end(signal, crate::INTERRUPTED, Arc::clone(&AT_ONCE));
    }
    if !ignores_hang_up() {
        let _ = end(SIGHUP, crate::INTERRUPTED, Arc::clone(&UNHEARD));
    }
}

/// Whether the process is to go on when its terminal is closed, as under `nohup`.
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) != 0)
}

/// A flag that Ctrl-C, SIGTERM and a closed terminal set. The last is never taken for the second signal: a session that ends
/// sends both.
fn stop_when_told() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = stop_on_signals()?;
    if !ignores_hang_up() {
        signal_hook::flag::register(SIGHUP, Arc::clone(&stop)).context("cannot listen for signals")?;
    }
    Ok(stop)
}

/// A flag that Ctrl-C and SIGTERM set; the second signal ends the process at once.
fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in SIGNALS {
        for flag in [&stop, &*AT_ONCE] {
            signal_hook::flag::register(signal, Arc::clone(flag)).context("cannot listen for signals")?;
        }
    }
    AT_ONCE.store(false, Ordering::Relaxed);
    UNHEARD.store(false, Ordering::Relaxed);
    Ok(stop)
}

/// Has signals end the process at once again: what follows keeps nothing that could be lost.
///
/// # Errors
/// Where one came since the command began to listen, and nobody looked.
fn listen_no_more(stop: &AtomicBool) -> Result<()> {
    AT_ONCE.store(true, Ordering::Relaxed);
    UNHEARD.store(true, Ordering::Relaxed);
    // After that: one that comes in between ends the process.
    match stop.load(Ordering::Relaxed) {
        true => Err(Error::Interrupted),
        false => Ok(()),
    }
}

fn print<T: serde::Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    match format {
        Format::Text => write_out(&text()),
        Format::Json => write_out(&output::json(value)),
    }
}

/// Writes to standard output. A reader that went away (`| head`) is no failure.
fn write_out(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("write to", Path::new("standard output"))(error).into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{jobs, on_threads};

    #[test]
    fn what_trains_nothing_has_as_many_threads_as_were_asked_for() {
        let threads = |asked| on_threads(asked, || Ok(rayon::current_num_threads())).unwrap();
        assert_eq!([threads(Some(1)), threads(Some(3)), threads(None)], [1, 3, jobs(None)]);
    }
}
