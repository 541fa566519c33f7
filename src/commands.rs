//! What each command does, from options to output.
//!
//! Uses the library; used by `main`. Every command reads as: get ready, do it, print, say how it went.
//! Results go to standard output in one piece; progress and messages go to standard error.

mod audit;
mod bisect;
mod cancel;
pub mod data;
mod inputs;
mod jobs;
mod plan;
mod records;
mod replay;
pub mod report;
mod show;
mod status;
mod submit;
mod table;
mod work;

use crate::cli::{self, Cli, Command, Common, Format, Golden as GoldenCommand, GoldenDir, Training};
use crate::output;
use crate::progress::Progress;
use anyhow::Context as _;
use inputs::Inputs;
use selffer::digest::RecipeDigest;
use selffer::manifest::{Environment, Manifest};
use selffer::plan::Plan;
use selffer::recipe::Policy;
use selffer::report::files;
use selffer::run::{Runner, Snapshots, all_fit, finished, survey};
use selffer::store::{REPORT, Store};
use selffer::table::Table;
use selffer::train::Torch;
use selffer::verify::golden::{self, Golden, Scope};
use selffer::verify::{Context, Finding, Severity, verify};
use selffer::{Error, Result};
use std::collections::HashSet;
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
    inputs::from(&cli)?;
    match cli.command {
        Command::Plan(args) => plan::run(&args),
        Command::Reproduce { common, training, golden, no_report } => {
            reproduce(&common, &training, &golden, no_report)
        }
        Command::Verify(common) => check_store(&common),
        Command::Table(args) => table::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Audit(args) => audit::run(args),
        Command::Bisect(args) => bisect::run(args),
        Command::Replay(args) => replay::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Golden(GoldenCommand::Check { common, golden, review }) => {
            golden_check(&common, &golden, review)
        }
        Command::Golden(GoldenCommand::Accept { common, golden, reason }) => {
            golden_accept(&common, &golden, &reason)
        }
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

/// The store of a plan's networks, after a word where they are of another policy.
fn opened(path: &Path, plan: &Plan<'_>, policy: Policy, quiet: bool) -> Result<Store> {
    let store = Store::open(path)?;
    say_elsewhere(&store, plan, policy, quiet)?;
    Ok(store)
}

/// The policies of which a store has base networks of a plan, where it has none of that one: a machine with a GPU and one
/// without take different ones by themselves.
fn elsewhere(store: &Store, plan: &Plan<'_>, policy: Policy) -> Result<Vec<Policy>> {
    let there: HashSet<RecipeDigest> = store.manifests()?.into_iter().collect();
    let has = |policy: &Policy| {
        let mut bases = plan.runs.iter().filter(|run| run.parent.is_none());
        bases.any(|base| there.contains(&plan.recipe(base, *policy, None).digest()))
    };
    let none = there.is_empty() || has(&policy);
    Ok(if none { Vec::new() } else { Policy::ALL.into_iter().filter(has).collect() })
}

/// Says so where there are such.
fn say_elsewhere(store: &Store, plan: &Plan<'_>, policy: Policy, quiet: bool) -> Result<()> {
    if quiet {
        return Ok(());
    }
    for other in elsewhere(store, plan, policy)? {
        let (path, none, name) = (store.dir().display(), policy.name(), other.name());
        say(&format!(
            "{path} has networks of this protocol under {name} numerics, none under {none}: --numerics {name}"
        ));
    }
    Ok(())
}

/// The manifests of the runs that `reproduce` would not train again.
fn trained(plan: &Plan<'_>, store: &Store, policy: Policy) -> Result<Vec<Option<Manifest>>> {
    let whole = |found: Option<Manifest>| found.map_or(Ok(None), |found| finished(store, &found.recipe));
    survey(plan, store, policy)?.into_iter().map(whole).collect()
}

fn reproduce(
    common: &Common,
    training: &Training,
    golden: &GoldenDir,
    no_report: bool,
) -> anyhow::Result<Verdict> {
    let policy = common.numerics.policy;
    // Before any thread is started: it sets environment variables.
    let numerics = common.numerics.engage(common.quiet)?;
    let inputs = Inputs::read(&common.protocol)?;
    let plan = inputs.plan()?;
    // A golden that cannot be read is better known before hours of training than after.
    if let Some(dir) = golden.dir.as_deref().filter(|dir| !dir.is_dir()) {
        let mend = "name the directory of golden snapshots, or leave out --golden";
        return Err(Error::invalid(dir.display().to_string(), "is no directory", mend).into());
    }
    let scope = Scope::new(policy, numerics.gpu().map(|gpu| gpu.name.as_str()));
    let golden = Golden::find(golden.dir.as_deref(), &plan.protocol.name, &scope)?;
    let store = Store::create(&common.store)?;
    say_elsewhere(&store, &plan, policy, common.quiet)?;
    if !no_report {
        files::check(&store.dir().join(REPORT)).map_err(|error| match error {
            Error::Invalid { subject, problem, .. } => {
                Error::invalid(subject, problem, "move it elsewhere, or write no report with --no-report")
            }
            other => other,
        })?;
    }
    let everything: Vec<usize> = (0..plan.runs.len()).collect();
    let progress = Progress::new(&plan, &everything, common.quiet);
    let stop = stop_on_signals()?;
    let runner = Runner {
        plan: &plan,
        store: &store,
        trainer: &Torch::new(numerics),
        policy,
        jobs: jobs(common.jobs),
        memory: numerics.memory_at_hand(),
        snapshots: Snapshots { every: training.snapshot_every, keep: training.keep_snapshots },
        only: None,
        stop: &stop,
        observer: &progress,
    };
    // What jobs have, they train.
    let done = jobs::leave(&runner, common.quiet)
        .and_then(|()| all_fit(&plan, &store, policy, runner.jobs, runner.memory))
        .and_then(|()| runner.run());
    progress.finish();
    let done = done?;

    let context = Context::new(&plan, &store, policy)?;
    let mut report = verify(&context)?;
    let verified = report.clone();
    let table = Table::of(&plan, &context.manifests);
    let new = Golden::of(&plan, &table, policy, golden::fingerprint(&context.manifests));
    let comparison = output::Comparison::of(golden, &new, &plan.protocol.name, &scope);
    report.findings.extend(comparison.findings());
    let fresh = done.iter().flatten().filter(|done| done.fresh).count();
    let found = done.iter().flatten().count() - fresh;
    let result = output::Reproduction::new(plan.protocol, &table, report, comparison, fresh, found);
    print(common.format, &result, || result.text(&table))?;
    // Last: what was computed is told even where a page cannot be written.
    if !no_report {
        let page = report::of_store(&context, &verified)?;
        if !common.quiet {
            say(&format!("figures and tables: {}", page.display()));
        }
    }
    Ok(verdict(&result.findings))
}

fn check_store(common: &Common) -> anyhow::Result<Verdict> {
    let inputs = Inputs::read(&common.protocol)?;
    let plan = inputs.plan()?;
    let store = opened(&common.store, &plan, common.numerics.policy, common.quiet)?;
    let report = verify(&Context::new(&plan, &store, common.numerics.policy)?)?;
    print(common.format, &report, || output::report_text(&report))?;
    Ok(verdict(&report.findings))
}

fn golden_check(common: &Common, dir: &GoldenDir, review: bool) -> anyhow::Result<Verdict> {
    let policy = common.numerics.policy;
    let inputs = Inputs::read(&common.protocol)?;
    let plan = inputs.plan()?;
    let store = opened(&common.store, &plan, common.numerics.policy, common.quiet)?;
    let context = Context::new(&plan, &store, policy)?;
    // Only what is whole in the store is compared: a manifest alone is a claim, not a network.
    let manifests = trained(&plan, &store, policy)?;
    let new = Golden::of(&plan, &Table::of(&plan, &manifests), policy, golden::fingerprint(&manifests));
    let scope = Scope::of(policy, &manifests);
    let found = Golden::find(dir.dir.as_deref(), &plan.protocol.name, &scope)?;
    if found.is_none() {
        let name = scope.file_name(&plan.protocol.name);
        let dir = dir.dir.as_deref().unwrap_or(Path::new("golden")).display().to_string();
        let mend = "name its directory with --golden, or make it with `selffer golden accept --reason …`";
        return Err(Error::invalid(dir, format!("has no {name}"), mend).into());
    }
    let comparison = output::Comparison::of(found, &new, &plan.protocol.name, &scope);
    let findings = comparison.findings();
    let dir = dir.dir.as_deref().unwrap_or(Path::new("golden"));
    if review && findings.is_empty() {
        Golden::remove_pending(dir, &plan.protocol.name, &scope)?;
    } else if review && verdict(&verify(&context)?.findings) == Verdict::Findings {
        Golden::remove_pending(dir, &plan.protocol.name, &scope)?;
        say("no snapshot to review is written: `selffer verify` has findings");
    } else if review {
        let path = new.write_pending(dir, &plan.protocol.name, &scope, &environment(&context)?)?;
        say(&format!("wrote {}; `cargo insta review` shows it", path.display()));
    }
    let result = output::GoldenCheck { golden: comparison, findings };
    print(common.format, &result, || result.text())?;
    Ok(verdict(&result.findings))
}

fn golden_accept(common: &Common, dir: &GoldenDir, reason: &str) -> anyhow::Result<Verdict> {
    let policy = common.numerics.policy;
    let inputs = Inputs::read(&common.protocol)?;
    let plan = inputs.plan()?;
    let store = opened(&common.store, &plan, common.numerics.policy, common.quiet)?;
    let context = Context::new(&plan, &store, policy)?;
    let report = verify(&context)?;
    if verdict(&report.findings) == Verdict::Findings {
        let result = output::report_text(&report);
        print(common.format, &report, || result)?;
        say("not accepted: a golden snapshot is made from a store without findings");
        return Ok(Verdict::Findings);
    }
    let fingerprint = golden::fingerprint(&context.manifests);
    let new = Golden::of(&plan, &Table::of(&plan, &context.manifests), policy, fingerprint);
    let dir = dir.dir.as_deref().unwrap_or(Path::new("golden"));
    let scope = Scope::of(policy, &context.manifests);
    let old = match Golden::find(Some(dir), &plan.protocol.name, &scope) {
        // What is being replaced may be damaged: that is a reason to accept, not to refuse.
        Err(error @ Error::Invalid { .. }) => {
            say(&format!("the snapshot before could not be compared with: {error}"));
            None
        }
        found => found?,
    };
    let comparison = output::Comparison::of(old, &new, &plan.protocol.name, &scope);
    let path = new.write(dir, &plan.protocol.name, &scope, reason, &environment(&context)?)?;
    let result = output::Accepted {
        written: path.display().to_string(),
        reason: reason.to_owned(),
        runs: new.runs.len(),
        comparison,
    };
    print(common.format, &result, || result.text())?;
    Ok(Verdict::Clean)
}

/// Where the networks of a complete store were trained. A snapshot says what one machine computes: where
/// they have several fingerprints, there is no such place.
fn environment(context: &Context<'_>) -> anyhow::Result<Environment> {
    let mut manifests = context.manifests.iter().flatten();
    let first =
        manifests.next().context("the store has no network of this protocol; run `selffer reproduce`")?;
    if golden::fingerprint(&context.manifests).is_none() {
        let store = context.store.dir().display().to_string();
        let problem = "its networks were trained under several fingerprints";
        let mend = "train them in one place, with `selffer reproduce` in a new store";
        return Err(Error::invalid(store, problem, mend).into());
    }
    Ok(first.environment.clone())
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

const SIGNALS: [i32; 2] = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];

/// Has Ctrl-C and SIGTERM end the process with the exit code that README tells.
pub fn end_on_signals() {
    for signal in SIGNALS {
        let end = signal_hook::flag::register_conditional_shutdown;
        // Where they cannot be listened to, they end the process by themselves.
        let _ = end(signal, crate::INTERRUPTED, Arc::clone(&AT_ONCE));
    }
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
    Ok(stop)
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

/// A message for people, on standard error.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
