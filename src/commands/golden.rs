//! `selffer golden`: holds a store against the accepted snapshot, or accepts it as the next one.
//!
//! Uses the library's `verify::golden`; used by `commands`.

use super::records::opened;
use super::{Inputs, Verdict, on_threads, print, say, trained, verdict};
use crate::cli::{Golden as Command, GoldenArgs};
use crate::output;
use anyhow::Context as _;
use selffer::Error;
use selffer::manifest::Environment;
use selffer::table::Table;
use selffer::verify::golden::{self, Golden, Scope};
use selffer::verify::{Context, verify};

pub fn run(command: &Command) -> anyhow::Result<Verdict> {
    let (Command::Check { of, .. } | Command::Accept { of, .. }) = command;
    on_threads(of.common.jobs, || compare(command, of))
}

fn compare(command: &Command, of: &GoldenArgs) -> anyhow::Result<Verdict> {
    let (common, policy) = (&of.common, of.common.which.numerics.policy);
    let inputs = Inputs::read(&common.which.protocol)?;
    let plan = inputs.plan()?;
    let store = opened(&common.which.store, &plan, policy, common.output.quiet)?;
    let context = Context::new(&plan, &store, policy)?;
    match command {
        Command::Check { review, .. } => check(&context, of, *review),
        Command::Accept { reason, .. } => accept(&context, of, reason),
    }
}

fn check(context: &Context<'_>, of: &GoldenArgs, review: bool) -> anyhow::Result<Verdict> {
    let Context { plan, store, policy, .. } = *context;
    // Only what is whole in the store is compared: a manifest alone is a claim, not a network.
    let manifests = trained(store, context.manifests.clone())?;
    let new = Golden::of(plan, &Table::of(plan, &manifests), policy, golden::fingerprint(&manifests));
    let scope = Scope::of(&plan.protocol.name, policy, &manifests);
    let (dir, found) = (of.golden.place(), Golden::find(of.golden.dir.as_deref(), &scope)?);
    if found.is_none() {
        let problem = format!("has no {}", scope.file_name());
        let mend = "name its directory with --golden, or make it with `selffer golden accept --reason …`";
        return Err(Error::at(dir, problem, mend).into());
    }
    let comparison = output::Comparison::of(found, &new, &scope);
    let findings = comparison.findings();
    if review && findings.is_empty() {
        Golden::remove_pending(dir, &scope)?;
    } else if review && verdict(&verify(context)?.findings) == Verdict::Findings {
        Golden::remove_pending(dir, &scope)?;
        say("no snapshot to review is written: `selffer verify` has findings");
    } else if review {
        let path = new.write_pending(dir, &scope, &environment(context)?)?;
        say(&format!("wrote {}; `cargo insta review` shows it", path.display()));
    }
    let result = output::GoldenCheck { golden: comparison, findings };
    print(of.common.output.format, &result, || result.text())?;
    Ok(verdict(&result.findings))
}

fn accept(context: &Context<'_>, of: &GoldenArgs, reason: &str) -> anyhow::Result<Verdict> {
    let Context { plan, policy, ref manifests, .. } = *context;
    let report = verify(context)?;
    if verdict(&report.findings) == Verdict::Findings {
        print(of.common.output.format, &report, || output::report_text(&report))?;
        say(
            "not accepted: a golden snapshot is made from a store without errors; mend what they name, or leave it out of the protocol",
        );
        return Ok(Verdict::Findings);
    }
    let new = Golden::of(plan, &Table::of(plan, manifests), policy, golden::fingerprint(manifests));
    let (dir, scope) = (of.golden.place(), Scope::of(&plan.protocol.name, policy, manifests));
    let (old, unreadable) = match Golden::find(Some(dir), &scope) {
        // What is being replaced may be damaged: that is a reason to accept, not to refuse. Its mend is this command.
        Err(Error::Invalid { subject, problem, .. }) => (None, Some(format!("{subject}: {problem}"))),
        found => (found?, None),
    };
    if let Some(why) = &unreadable {
        say(&format!("the snapshot before could not be compared with: {why}"));
    }
    let comparison = output::Comparison::of(old, &new, &scope);
    let path = new.write(dir, &scope, reason, &environment(context)?)?;
    let result = output::Accepted {
        written: path.display().to_string(),
        reason: reason.to_owned(),
        runs: new.runs.len(),
        unreadable,
        comparison,
    };
    print(of.common.output.format, &result, || result.text())?;
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
