//! Two results side by side, as text: what each says of the paper's claims and questions.
//!
//! Uses `audit`'s outcome; used by `report::text`. Both were judged by the same statements and margins, so
//! they have the same rows.

use super::text::{known, range};
use crate::audit::claims::{Claim, Judged, depths};
use crate::audit::{Audit, Beside, Source, proof};
use crate::text::{lines, numeric, plain};

pub(super) fn beside(audit: &Audit, other: &Beside) -> String {
    let this = heading(audit.source, audit.proof.as_ref().map(|proof| proof.verdict));
    let that = heading(other.source, other.verdict);
    let mut table = plain(["claim", &this, &that]);
    for (left, right) in audit.claims.iter().zip(&other.claims) {
        table.add_row([left.name.clone(), claim(left), claim(right)]);
        for (left, right) in left.parts.iter().zip(&right.parts) {
            let what = format!("  {} - {}{}", left.left, left.right, depths(&left.depths));
            table.add_row([what, part(left), part(right)]);
        }
    }
    let mut text = format!("Side by side with {}\n{}\n", other.path, lines(&table));
    let agree =
        audit.claims.iter().zip(&other.claims).filter(|(left, right)| left.verdict == right.verdict).count();
    text.push_str(&format!("The two agree on {agree} of {} claims.\n\n", audit.claims.len()));

    let sides = |what: &str| [this.as_str(), &that].map(|side| format!("{what}\n{side}"));
    let columns = ["co-adaptation", "specificity"].map(sides);
    let mut table = plain(std::iter::once("n".to_owned()).chain(columns.into_iter().flatten()));
    for (left, right) in audit.questions.layers.iter().zip(&other.questions.layers) {
        table.add_row([
            left.n.to_string(),
            known(&left.coadaptation),
            known(&right.coadaptation),
            known(&left.specificity),
            known(&right.specificity),
        ]);
    }
    numeric(&mut table, 0..=4);
    text.push_str(&format!("Questions side by side, in percentage points (95 %)\n{}\n", lines(&table)));
    text
}

fn heading(source: Source, verdict: Option<proof::Verdict>) -> String {
    match (source, verdict) {
        (Source::Archive, _) => "archive".to_owned(),
        (Source::Store, None) => "store".to_owned(),
        (Source::Store, Some(verdict)) => format!("store ({})", verdict.word()),
    }
}

fn claim(claim: &Claim) -> String {
    format!("{}, {} runs", claim.verdict.word(), claim.runs)
}

fn part(part: &Judged) -> String {
    match &part.effect {
        None => "no runs".to_owned(),
        Some(effect) => format!("{:+.2} ({})", 100.0 * effect.value, range(effect.interval)),
    }
}
