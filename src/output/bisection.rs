//! What `bisect` prints.
//!
//! Uses the library's `bisect`; used by `commands::bisect`.

use selffer::bisect::{Cause, Difference, Number, Parting};
use selffer::ledger::Place;
use selffer::plan::Plan;
use selffer::text::{are, networks};
use serde::Serialize;
use std::fmt::Write as _;

/// Where two records part, or that they do not.
#[derive(Serialize)]
pub struct Bisection {
    /// How many networks were compared.
    pub compared: usize,
    /// Networks, up to the one that parts, that one side alone has.
    pub missing: Vec<Missing>,
    /// Where the last of them parts.
    pub parting: Option<Parting>,
}

/// A network that could not be compared.
#[derive(Serialize)]
pub struct Missing {
    /// The run.
    pub run: String,
    /// The side that has no record of it, or cannot have one.
    pub side: String,
    /// Why, after the side's name.
    pub why: &'static str,
}

impl Bisection {
    pub fn text(&self, plan: &Plan<'_>) -> String {
        let mut text = String::new();
        for Missing { run, side, why } in &self.missing {
            let _ = writeln!(text, "{run} is not compared: {side} {why}");
        }
        let Some(parting) = &self.parting else {
            let _ =
                writeln!(text, "{} {} the same, step by step", networks(self.compared), are(self.compared));
            return text;
        };
        let steps = plan.find(&parting.run).map(|run| plan.steps(&plan.runs[run]));
        let place = |place: Place| {
            let all = steps.map_or(0, |steps| place.steps_done(steps));
            format!("epoch {}, step {} (step {all} of the run)", place.epoch, place.step)
        };
        let same = self.compared - 1;
        let _ = writeln!(text, "{} parts; {} before it {} the same", parting.run, networks(same), are(same));
        let first = if parting.exact { "differs first after" } else { "is known to differ after" };
        let _ = match parting.agree_until {
            // Behind that there is no step.
            Some(until) if until == parting.differ_at => {
                writeln!(text, "  agrees until {}, the last", place(until))
            }
            Some(until) => {
                writeln!(text, "  agrees until {}\n  {first} {}", place(until), place(parting.differ_at))
            }
            None => writeln!(text, "  differs before the first step"),
        };
        let (compared, entries) = (parting.compared, parting.entries);
        let _ = match (parting.agree_until, parting.cause) {
            // First weights say that, and no ledger.
            (None, _) => Ok(()),
            _ if entries == 0 => Ok(()),
            // Halving goes by what entries are that are chained.
            (_, Cause::Edited) => {
                writeln!(text, "  by comparing the {entries} entries of the ledgers one by one")
            }
            _ => writeln!(
                text,
                "  by {compared} comparisons of {entries} entries of the ledgers, and {entries} more to see that none agrees again"
            ),
        };
        if let Some(Difference { first, numbers, largest_ulps }) = &parting.difference {
            let Number { layer, tensor, index, left, right, ulps } = first;
            let index = index.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let _ = writeln!(
                text,
                "  first number: {layer} {tensor} [{index}]: left {left:e} (0x{:08x}), right {right:e} (0x{:08x}), {ulps} units in the last place",
                left.to_bits(),
                right.to_bits()
            );
            let _ = writeln!(text, "  {numbers} numbers differ there, by at most {largest_ulps} units");
        }
        for unknown in &parting.unknown {
            let _ = writeln!(text, "  not known: {unknown}");
        }
        let _ = writeln!(text, "cause: {}", parting.cause.sentence());
        for evidence in &parting.evidence {
            let _ = writeln!(text, "  {evidence}");
        }
        text
    }
}
