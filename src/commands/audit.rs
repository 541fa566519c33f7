//! `selffer audit`: the paper's archive, or a store.
//!
//! Uses the library's `audit`; used by `commands`. A store's networks may be of other numerics than this machine computes
//! with, a GPU's above all: then they are held against those that it has, and nobody promised the same bits.

use super::records::{Records, acquaint, one_policy};
use super::{Inputs, Verdict, jobs, listen_no_more, on_threads, stop_when_told, write_out};
use crate::cli::{self, AuditArgs, AuditFormat, FailOn};
use crate::output;
use crate::progress::Progress;
use selffer::audit::archive::Archive;
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
    let protocol = args.protocol().to_owned();
    let audited = Audited::open(&args.path, &protocol, &mut args.numerics)?;
    let beside = args.beside.as_deref();
    let beside =
        beside.map(|path| Ok::<_, Error>((path, Audited::open(path, &protocol, &mut args.numerics)?)));
    let beside = beside.transpose()?;
    // One process computes under one policy: what the store that is audited takes, else the one beside it.
    let computed = audited.computed().or(beside.as_ref().and_then(|(_, beside)| beside.computed()));
    refuse(&args, audited.computed().is_some(), computed.is_some())?;
    // Before any thread is started: it sets environment variables.
    let numerics = computed.map(|policy| args.numerics.engage_as(policy, args.output.quiet)).transpose()?;
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
    write_out(&match args.output.format {
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

/// Refuses what is said of networks and would be ignored: where PATH is no store, where neither side is one, where none is
/// trained again.
fn refuse(args: &AuditArgs, store: bool, either: bool) -> Result<()> {
    let of_either = args.said_of_stores();
    let again = args.sample.is_some() || args.full;
    if args.margin.is_some() && store && !again {
        let problem = "has to have networks trained again, which are held against it";
        return Err(Error::invalid("--margin", problem, "say --sample or --full as well"));
    }
    let (problem, said) = match again {
        true if !store => ("holds no networks that could be trained again", vec!["--sample", "--full"]),
        _ if !either && !of_either.is_empty() => ("holds no networks", of_either),
        _ if !store && args.margin.is_some() => ("holds no networks", vec!["--margin"]),
        _ => return Ok(()),
    };
    let mend = format!("leave out {}, or name a selffer store", said.join(" and "));
    Err(Error::invalid(args.path.display().to_string(), problem, mend))
}

/// What is audited.
enum Audited<'a> {
    /// The published archive.
    Archive(&'a Path),
    /// A store, the policy of its networks, and the one to compute under.
    Store(Store, Policy, Policy),
}

impl<'a> Audited<'a> {
    fn open(path: &'a Path, protocol: &str, numerics: &mut cli::Numerics) -> Result<Self> {
        if !Store::is_at(path)? {
            Archive::named(path)?;
            return Ok(Self::Archive(path));
        }
        let store = Store::open(path)?;
        let theirs = one_policy(Records::of(&store)?.whole.iter(), &Protocol::named(protocol)?);
        let (networks, computed) = numerics.settle_for(theirs);
        Ok(Self::Store(store, networks, computed))
    }

    fn computed(&self) -> Option<Policy> {
        match self {
            Self::Archive(_) => None,
            Self::Store(.., computed) => Some(*computed),
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
            Self::Archive(path) => return on_threads(args.jobs, || Ok(audit::published(path)?)),
            Self::Store(store, policy, _) => (store, policy),
        };
        let numerics = numerics.expect("of a store's policy something computes");
        let inputs = Inputs::read(args.protocol())?;
        let plan = inputs.plan()?;
        acquaint(&store, &plan, policy, args.output.quiet)?;
        let context = Context::new(&plan, &store, policy)?;
        let chosen = again.chosen(&plan);
        let progress = Progress::new(&plan, &chosen, args.output.quiet);
        let stop = stop_when_told()?;
        let prover = Prover {
            trainer: &Torch::new(numerics),
            policy: numerics.policy(),
            again,
            margin: args.margin() / 100.0,
            jobs: jobs(args.jobs),
            memory: numerics.memory_at_hand(),
            stop: &stop,
            observer: &progress,
        };
        let audit = audit::store::store(&context, &prover);
        progress.finish();
        Ok(audit.and_then(|audit| listen_no_more(&stop).map(|()| audit)).map_err(|error| match error {
            Error::Interrupted => Error::Stopped,
            other => other,
        })?)
    }
}
