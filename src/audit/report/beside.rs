//! Two results side by side, as text: what each says of the paper's claims and questions.
//!
//! Uses `audit`'s outcome; used by `report::text`. Both were judged by the same statements and margins, so
//! they have the same rows.

use super::text::{known, range};
use crate::audit::claims::{Claim, Judged, Verdict};
use crate::audit::{Audit, Beside, Source, proof};
use crate::text::{are, counted, lines, numeric, plain, signed};

pub(super) fn beside(audit: &Audit, other: &Beside) -> String {
    let this = heading(audit.source, audit.proof.as_ref().map(|proof| proof.verdict));
    let that = heading(other.source, other.verdict);
    let mut table = plain(["claim", &this, &that]);
    for (left, right) in audit.claims.iter().zip(&other.claims) {
        table.add_row([left.name.clone(), claim(left), claim(right)]);
        for (left, right) in left.parts.iter().zip(&right.parts) {
            table.add_row([format!("  {}", left.difference()), part(left), part(right)]);
        }
    }
    let mut text = format!("Side by side with {}\n{}\n", other.path, lines(&table));
    let verdicts = audit.claims.iter().zip(&other.claims).map(|(left, right)| (left.verdict, right.verdict));
    text.push_str(&agreement(&verdicts.collect::<Vec<_>>()));

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

/// On how many claims two results agree: a claim that one of them leaves open says nothing of that.
fn agreement(verdicts: &[(Verdict, Verdict)]) -> String {
    let judged = |verdict| matches!(verdict, Verdict::Supported | Verdict::Refuted);
    let both: Vec<_> = verdicts.iter().filter(|(left, right)| judged(*left) && judged(*right)).collect();
    let agree = both.iter().filter(|(left, right)| left == right).count();
    let open = verdicts.len() - both.len();
    format!(
        "Of {} both judge {}: they agree on {agree} and contradict each other on {}; {open} {} open on one side or both.\n\n",
        counted(verdicts.len(), "claim"),
        both.len(),
        both.len() - agree,
        are(open)
    )
}

fn heading(source: Source, verdict: Option<proof::Verdict>) -> String {
    match (source, verdict) {
        (Source::Archive, _) => "archive".to_owned(),
        (Source::Store, None) => "store".to_owned(),
        (Source::Store, Some(verdict)) => format!("store ({})", verdict.word()),
    }
}

fn claim(claim: &Claim) -> String {
    format!("{}, {}", claim.verdict.word(), counted(claim.runs, "run"))
}

fn part(part: &Judged) -> String {
    match &part.effect {
        None => "no runs".to_owned(),
        Some(effect) => format!("{} ({})", signed(effect.value), range(effect.interval)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_no_agreement() {
        use Verdict::{Inconclusive, Refuted, Supported, Untestable};
        let verdicts = [
            (Supported, Supported),
            (Refuted, Refuted),
            (Supported, Refuted),
            (Inconclusive, Inconclusive),
            (Untestable, Untestable),
            (Supported, Untestable),
        ];
        let whole = "Of 6 claims both judge 3: they agree on 2 and contradict each other on 1; 3 are open on one side or both.";
        assert_eq!(agreement(&verdicts).trim_end(), whole);
        let one = "Of 1 claim both judge 0: they agree on 0 and contradict each other on 0; 1 is open on one side or both.";
        assert_eq!(agreement(&verdicts[3..4]).trim_end(), one);
    }
}
