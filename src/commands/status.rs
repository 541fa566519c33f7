//! `selffer status`: how a plan stands, once or until it is done.
//!
//! Uses the library's `status`; used by `commands`. It writes nothing, so it may be run beside anything.

use super::jobs::{Asker, FORGET, unknown_left};
use super::records::say_elsewhere;
use super::{Inputs, Verdict, print, say, verdict, write_out};
use crate::cli::{Format, StatusArgs};
use crate::output;
use selffer::status::{Standing, Status, Watch};
use selffer::store::Store;
use selffer::text::{networks, printable};
use std::io::IsTerminal as _;
use std::time::Duration;

/// Clears a terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub fn run(args: &StatusArgs) -> anyhow::Result<Verdict> {
    let inputs = Inputs::read(&args.which.protocol)?;
    let plan = inputs.plan()?;
    let policy = args.which.numerics.policy;
    let store = Store::open(&args.which.store)?;
    say_elsewhere(&store, &plan, policy, args.output.quiet)?;
    let mut watch = Watch::new(&plan, &store, policy);
    let redraws = args.follow && args.output.format == Format::Text && std::io::stdout().is_terminal();
    let mut before = None;
    let mut asker = Asker::new(&plan, policy, &store, args.output.quiet);
    let mut said = args.output.quiet;
    loop {
        let jobs = asker.ask();
        let status = watch.look(&jobs.of)?;
        let shown = output::Status::of(&plan, &status, policy);
        // One that reads lines is told what is new alone.
        if before.as_ref() != Some(&status) || redraws {
            match (args.follow, args.output.format) {
                (true, Format::Json) => write_out(&output::json_line(&shown))?,
                (true, Format::Text) if redraws => {
                    write_out(&format!("{CLEAR}{}", printable(&shown.text())))?
                }
                _ => print(args.output.format, &shown, || printable(&shown.text()))?,
            }
        }
        // A queue that does not answer may have what is left.
        let unknown = unknown_left(&jobs, &status).len();
        if unknown > 0 && !said {
            let perhaps = networks(unknown);
            say(&format!("jobs may have {perhaps} of which nothing is known here ({FORGET})"));
            said = true;
        }
        if !args.follow || (settled(&status) && unknown == 0) {
            let failed = status.standing.iter().any(|standing| matches!(standing, Standing::Failed(_)));
            return Ok(if failed { Verdict::Findings } else { verdict(&status.findings) });
        }
        before = Some(status);
        std::thread::sleep(Duration::from_secs(u64::from(args.interval)));
    }
}

/// Whether nobody does or will do anything more by itself.
fn settled(status: &Status) -> bool {
    !status.standing.iter().any(|standing| {
        matches!(standing, Standing::Running(_) | Standing::Starting(_) | Standing::Queued(_))
    })
}
