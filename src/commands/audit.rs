//! `selffer audit`: the paper's archive, or a store.
//!
//! Uses the library's `audit`; used by `commands`. A store's networks may be of other numerics than this machine computes
//! with, a GPU's above all: then its numbers are held against it within a margin, not bit for bit.

use super::records::{Records, one_policy};
use super::{Inputs, Verdict, jobs, stop_on_signals, write_out};
use crate::cli::{AuditArgs, AuditFormat, FailOn};
use crate::output;
use crate::progress::Progress;
use selffer::audit::proof::{Again, Prover};
use selffer::audit::{self, Audit, report};
use selffer::numerics::Numerics;
use selffer::protocol::Protocol;
use selffer::recipe::Policy;
use selffer::store::Store;
use selffer::train::Torch;
use selffer::verify::{Context, Severity};
use selffer::{Error, Result};
use std::path::Path;

pub fn run(mut args: AuditArgs) -> anyhow::Result<Verdict> {
    let again = match (args.sample, args.seed) {
        (Some(networks), Some(seed)) => Again::Sample { networks: networks as usize, seed },
        _ if args.full => Again::Everything,
        _ => Again::Nothing,
    };
    if again != Again::Nothing && !Store::is_at(&args.path) {
        let mend = "leave out --sample and --full, or name a selffer store";
        let subject = args.path.display().to_string();
        return Err(Error::invalid(subject, "holds no networks that could be trained again", mend).into());
    }
    let audited = Audited::open(&args, &args.path)?;
    let beside = args.beside.as_deref().map(|path| Ok::<_, Error>((path, Audited::open(&args, path)?)));
    let beside = beside.transpose()?;
    // One process computes under one policy: that of the store that is audited.
    let policies = [Some(&audited), beside.as_ref().map(|(_, beside)| beside)];
    let policy = policies.into_iter().flatten().find_map(Audited::policy);
    let numerics = match policy {
        None => None,
        Some(policy) => {
            let computes = args.numerics.computing(policy);
            // Before any thread is started: it sets environment variables.
            Some(args.numerics.engage_as(computes, args.quiet)?)
        }
    };
    // The cheaper one first: what is wrong with its name is better known before networks are trained.
    let beside = match beside {
        Some((path, beside)) => Some(beside.audit(&args, Again::Nothing, numerics)?.as_beside(path)),
        None => None,
    };
    let audit = Audit { beside, ..audited.audit(&args, again, numerics)? };
    let fail_on = match args.fail_on {
        FailOn::Note => Severity::Note,
        FailOn::Warning => Severity::Warning,
        FailOn::Error => Severity::Error,
    };
    write_out(&match args.format {
        AuditFormat::Text => report::text(&audit),
        AuditFormat::Json => output::json(&audit),
        AuditFormat::Junit => report::junit(&audit, fail_on)?,
        AuditFormat::Sarif => report::sarif(&audit),
    })?;
    Ok(match audit.worst().is_some_and(|worst| worst >= fail_on) {
        true => Verdict::Findings,
        false => Verdict::Clean,
    })
}

/// What is audited.
enum Audited<'a> {
    /// The published archive.
    Archive(&'a Path),
    /// A store, for its networks of that policy.
    Store(Store, Policy),
}

impl<'a> Audited<'a> {
    fn open(args: &AuditArgs, path: &'a Path) -> Result<Self> {
        if !Store::is_at(path) {
            return Ok(Self::Archive(path));
        }
        let store = Store::open(path)?;
        let theirs = one_policy(Records::of(&store)?.whole.iter(), &Protocol::named(&args.protocol)?);
        Ok(Self::Store(store, args.numerics.of_networks(theirs)))
    }

    fn policy(&self) -> Option<Policy> {
        match self {
            Self::Archive(_) => None,
            Self::Store(_, policy) => Some(*policy),
        }
    }

    /// The audit, with some networks of a store trained again.
    fn audit(
        self,
        args: &AuditArgs,
        again: Again,
        numerics: Option<&'static Numerics>,
    ) -> anyhow::Result<Audit> {
        let (store, policy) = match self {
            Self::Archive(path) => return Ok(audit::published(path)?),
            Self::Store(store, policy) => (store, policy),
        };
        let numerics = numerics.expect("of a store's policy something computes");
        let inputs = Inputs::read(&args.protocol)?;
        let plan = inputs.plan()?;
        let context = Context::new(&plan, &store, policy)?;
        let chosen = again.chosen(&plan);
        let progress = Progress::new(&plan, &chosen, args.quiet);
        let prover = Prover {
            trainer: &Torch::new(numerics),
            policy: numerics.policy(),
            again,
            margin: args.margin / 100.0,
            jobs: jobs(args.jobs),
            memory: numerics.memory_at_hand(),
            stop: &*stop_on_signals()?,
            observer: &progress,
        };
        let audit = audit::store::store(&context, &prover);
        progress.finish();
        Ok(audit.map_err(|error| match error {
            Error::Interrupted => Error::Stopped,
            other => other,
        })?)
    }
}
