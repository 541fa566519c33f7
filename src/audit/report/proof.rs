//! How far a store was proven, as text: a line for each stage, and the networks that are not the same.
//!
//! Uses `audit::proof`'s outcome; used by `report::text`.

use crate::audit::proof::{Proof, Under, Verdict};
use crate::verify::statistical;
use std::fmt::Write as _;

/// Networks of a stage that are named; JSON has them all.
const SHOWN: usize = 10;

pub(super) fn proof(proof: &Proof) -> String {
    let Under { networks, computed, .. } = proof.under;
    let mut text = format!("Proof, stage by stage: networks of {} numerics, ", networks.name());
    match networks == computed {
        true => text.push_str("computed here under the same\n"),
        false => {
            let _ = writeln!(text, "computed here under {} ones", computed.name());
        }
    }
    for staged in &proof.stages {
        let _ =
            writeln!(text, "  {:<13}{:<11} {}", staged.verdict.word(), staged.stage.name(), staged.reason);
        let others = staged.trials.iter().filter(|trial| trial.verdict != Verdict::Bitwise);
        for trial in others.clone().take(SHOWN) {
            let _ = writeln!(text, "    {:<13}{}: {}", trial.verdict.word(), trial.run, trial.reason);
        }
        let more = others.count().saturating_sub(SHOWN);
        if more > 0 {
            let _ = writeln!(text, "    … and {more} more; --format json lists all");
        }
        if !staged.families.is_empty() {
            let table = statistical::text(&staged.families, proof.margin);
            let _ = writeln!(text, "    by kind of treatment, as trained here less as recorded:");
            table.lines().for_each(|line| {
                let _ = writeln!(text, "      {line}");
            });
        }
    }
    let left = proof.not_trained_again;
    let rest = match left {
        0 => String::new(),
        1 => ", and 1 network was not trained again".to_owned(),
        _ => format!(", and {left} networks were not trained again"),
    };
    let _ = writeln!(text, "  as a whole: {}{rest}", proof.verdict.word());
    text
}
