//! `selffer report`: the page with figures and tables, from a store, the published archive, or both.
//!
//! Uses `report` of the library; `reproduce` ends in the same page.

use super::inputs::protocol;
use super::records::Records;
use super::records::acquaint;
use super::{Inputs, Verdict, places, say, write_out};
use crate::cli::ReportArgs;
use anyhow::Context as _;
use selffer::audit::{self, archive::Archive};
use selffer::recipe::Policy;
use selffer::report::{self, Side, files};
use selffer::store::{REPORT, Store};
use selffer::verify::{Context, Finding, Report, Severity, verify};
use selffer::{Error, Result};
use std::path::{Path, PathBuf};

/// Draws up the report and prints the path of its page.
pub fn run(args: &ReportArgs) -> anyhow::Result<Verdict> {
    let by_default = args.archive.is_none().then(|| PathBuf::from("store"));
    let store = args.store.clone().or(by_default);
    if let Some(archive) = &args.archive
        && Store::is_at(archive)?
    {
        return Err(Error::at(archive, "is a selffer store", "name it with --store").into());
    }
    if let Some(store) = &store
        && !Store::is_at(store)?
        && audit::is_published(store)?
    {
        return Err(Error::at(store, "is a published archive", "name it with --archive").into());
    }
    if let (Some(archive), None, said @ [_, ..]) = (&args.archive, &store, args.said_of_stores().as_slice()) {
        let mend = format!("leave out {}, or name a selffer store with --store", said.join(" and "));
        return Err(Error::at(archive, "holds no networks", mend).into());
    }
    let out = match (&args.out, &store) {
        (Some(out), _) => out.clone(),
        (None, Some(store)) => store.join(REPORT),
        (None, None) => PathBuf::from(REPORT),
    };
    apart(args, store.as_deref(), &out).map_err(|error| match error {
        Error::Invalid { subject, problem, mend } => {
            Error::Invalid { subject, problem, mend: format!("{mend} with --out") }
        }
        other => other,
    })?;
    files::check(&out)?;
    let mut sides = Vec::new();
    if let Some(path) = &store {
        sides.push(side(path, args.protocol(), args.numerics.policy)?);
    }
    if let Some(path) = &args.archive {
        sides.push(report::archive(path)?);
    }
    let page = files::write(&out, &report::draw_up(&sides)?, waiting)?;
    if !args.quiet {
        for side in &sides {
            let error = |finding: &&Finding| finding.severity == Severity::Error;
            let found = match side.audit.findings.iter().filter(error).count() {
                0 => "",
                1 => " It has an error, which the page tells.",
                _ => " It has errors, which the page lists.",
            };
            say(&format!("{}: {}{found}", side.title, side.about));
        }
    }
    write_out(&format!("{}\n", page.display()))?;
    Ok(Verdict::Clean)
}

/// Refuses a place for a report in what is something else's.
fn apart(args: &ReportArgs, store: Option<&Path>, out: &Path) -> Result<()> {
    if let Some(path) = &args.archive
        && let Some(archive) = Archive::at(path)?
    {
        places::apart_from_archive(out, &archive)?;
    }
    match store {
        Some(store) if places::same(out, &store.join(REPORT)) => Ok(()),
        Some(_) => places::apart_from(out, &protocol(args.protocol())?),
        None => places::apart(out),
    }
}

/// Another process writes a report into the same directory.
fn waiting(dir: &Path) {
    say(&format!("waiting for another process that writes a report into {}", dir.display()));
}

fn side(path: &Path, protocol: &str, policy: Policy) -> anyhow::Result<Side> {
    // Before the data is read: a wrong name is better known at once.
    let store = Store::open(path)?;
    let inputs = Inputs::read(protocol)?;
    let plan = inputs.plan()?;
    let context = Context::new(&plan, &store, policy)?;
    // Else a report that is there would be replaced by one of nothing.
    acquaint(&store, &plan, policy, true)?;
    if context.manifests.iter().all(Option::is_none) && !store.manifests()?.is_empty() {
        Records::of(&store)?.sound()?;
        let problem = format!("has no network of the protocol {protocol} under {} numerics", policy.name());
        let mend = "name the store's own with --numerics";
        return Err(Error::at(path, problem, mend).into());
    }
    let found = verify(&context)?;
    Ok(report::store(&context, &found)?)
}

/// Writes the report of a store that was just verified into the store.
pub fn of_store(context: &Context<'_>, found: &Report) -> anyhow::Result<PathBuf> {
    let sides = [report::store(context, found)?];
    let out = context.store.dir().join(REPORT);
    files::write(&out, &report::draw_up(&sides)?, waiting)
        .context("the networks are whole, but the report was not written")
}
