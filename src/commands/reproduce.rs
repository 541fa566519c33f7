//! `selffer reproduce`: trains what the store lacks, verifies, tabulates, compares with golden, and draws the page.
//!
//! Uses the library's `run`, `verify` and `table`; used by `commands`.

use super::records::say_elsewhere;
use super::{
    Inputs, Verdict, jobs, jobs::leave, listen_no_more, places, print, report, say, stop_when_told, verdict,
};
use crate::cli::ReproduceArgs;
use crate::output;
use crate::progress::Progress;
use selffer::report::files;
use selffer::run::{Done, Every, Runner, Snapshots, all_fit, to_train};
use selffer::store::{REPORT, Store};
use selffer::table::Table;
use selffer::text::{counted, networks};
use selffer::train::Torch;
use selffer::verify::golden::{self, Golden, Scope};
use selffer::verify::{Context, verify};
use selffer::whole::there;
use selffer::{Error, Result};
use std::path::Path;

pub fn run(args: &ReproduceArgs) -> anyhow::Result<Verdict> {
    let ReproduceArgs { common, training, golden, no_report } = args;
    let policy = common.which.numerics.policy;
    // Before any thread is started: it sets environment variables.
    let numerics = common.which.numerics.engage(common.output.quiet)?;
    let inputs = Inputs::read(&common.which.protocol)?;
    let plan = inputs.looked_at(common.output.quiet)?;
    let scope = Scope::new(&plan.protocol.name, policy, numerics.gpu().map(|gpu| gpu.name.as_str()));
    let asked = golden.dir.is_some();
    let golden = accepted(golden.dir.as_deref(), &scope)?;
    places::apart_from(&common.which.store, plan.protocol)?;
    let store = Store::create(&common.which.store)?;
    say_elsewhere(&store, &plan, policy, common.output.quiet)?;
    if !no_report {
        place_for_report(&store)?;
    }
    let to_train = to_train(&plan, &store, policy)?;
    let progress = Progress::new(&plan, &to_train, common.output.quiet);
    let stop = stop_when_told()?;
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
    let done = train(&runner, to_train.len(), common.output.quiet);
    progress.finish();
    let done = done?;
    listen_no_more(&stop)?;

    let context = Context::new(&plan, &store, policy)?;
    let verified = verify(&context)?;
    let table = Table::of(&plan, &context.manifests);
    let new = Golden::of(&plan, &table, policy, golden::fingerprint(&context.manifests));
    let mut comparison = output::Comparison::of(golden, &new, &scope);
    if asked {
        comparison.require();
    }
    let fresh = done.iter().flatten().filter(|done| done.fresh).count();
    let found = done.iter().flatten().count() - fresh;
    let mut all = verified.clone();
    all.findings.extend(comparison.findings());
    let result = output::Reproduction::new(plan.protocol, &table, all, comparison, fresh, found);
    print(common.output.format, &result, || result.text(&table))?;
    // Last: what was computed is told even where a page cannot be written.
    if !no_report {
        let page = report::of_store(&context, &verified)?;
        if !common.output.quiet {
            say(&format!("figures and tables: {}", page.display()));
        }
    }
    Ok(verdict(&result.findings))
}

/// The golden snapshot: one that cannot be read is better known before hours of training than after.
fn accepted(dir: Option<&Path>, scope: &Scope) -> Result<Option<(String, Golden)>> {
    if let Some(dir) = dir
        && !there(dir)?.is_some_and(|found| found.is_dir())
    {
        let mend = "name the directory of golden snapshots, or leave out --golden";
        return Err(Error::at(dir, "is no directory", mend));
    }
    Golden::find(dir, scope)
}

/// Whether the report can be written into the store in the end.
fn place_for_report(store: &Store) -> Result<()> {
    files::check(&store.dir().join(REPORT)).map_err(|error| match error {
        Error::Invalid { subject, problem, .. } => {
            Error::invalid(subject, problem, "move it elsewhere, or write no report with --no-report")
        }
        other => other,
    })
}

/// Says that so many networks are about to be trained.
fn say_begun(runner: &Runner<'_>, count: usize) {
    let Runner { plan, store, policy, jobs, .. } = *runner;
    let kept = match runner.snapshots.every {
        Every::Never => "no state kept".to_owned(),
        Every::Steps(steps) => format!("a state kept every {}", counted(steps as usize, "step")),
        Every::Time(time) => format!("a state kept every {} min", time.as_secs() / 60),
    };
    let (protocol, dir, policy) = (&plan.protocol.name, store.dir().display(), policy.name());
    say(&format!(
        "{protocol}: {count} of {} to train into {dir}, {} at once, under {policy} numerics; {kept}",
        networks(plan.runs.len()),
        jobs.min(count)
    ));
}

/// Trains what is not there, so many networks. What jobs have, they train.
fn train(runner: &Runner<'_>, count: usize, quiet: bool) -> Result<Vec<Option<Done>>> {
    leave(runner, quiet)?;
    all_fit(runner.plan, runner.store, runner.policy, runner.jobs, runner.memory)?;
    if count > 0 && !quiet {
        say_begun(runner, count);
    }
    runner.run()
}
