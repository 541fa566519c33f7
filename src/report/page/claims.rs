//! The paper's claims with their verdicts and margins, each side beside the other.
//!
//! Used by `page`.

use super::super::model::{Side, runs as counted};
use super::runs;
use crate::audit::claims::{Claim, Judged, Relation, Verdict, depths};
use crate::audit::effect::{Basis, Effect};
use crate::text::signed;
use maud::{Markup, html};

/// Every claim.
pub fn claims(sides: &[Side]) -> Markup {
    let names: Vec<&Claim> = sides.first().map(|side| side.audit.claims.iter().collect()).unwrap_or_default();
    html! {
        p { "Margins were fixed before the first verdict. A claim is supported where the interval of its effect (95 %) lies where the claim "
            "says, refuted where it lies elsewhere, inconclusive where it lies on both sides of a margin, untestable without runs." }
        @for (index, claim) in names.iter().enumerate() {
            h4 id={ "claim-" (claim.name) } { (claim.says) }
            p.small.quiet { (claim.source) }
            div.pair {
                @for side in sides {
                    @if let Some(claim) = side.audit.claims.get(index) { (judged(side, claim, sides.len() > 1)) }
                }
            }
        }
    }
}

/// A verdict as a coloured word.
pub fn tag(verdict: Verdict) -> Markup {
    let class = match verdict {
        Verdict::Supported => "tag good",
        Verdict::Refuted => "tag bad",
        Verdict::Inconclusive | Verdict::Untestable => "tag open",
    };
    html! { span class=(class) { (verdict.word()) } }
}

fn judged(side: &Side, claim: &Claim, named: bool) -> Markup {
    let mut names: Vec<String> =
        claim.parts.iter().filter_map(|part| part.effect.as_ref()).flat_map(Effect::runs).cloned().collect();
    names.sort();
    names.dedup();
    let id = format!("{}-claim-{}", side.key, claim.name);
    html! {
        div {
            p { @if named { (side.title) ": " } (tag(claim.verdict)) }
            div.wide { table {
                tbody { @for part in &claim.parts { (self::part(&id, part, claim.parts.len() > 1)) } }
            } }
            @if !names.is_empty() {
                (runs::links(side, &id, &names, &format!("by {}", counted(claim.runs))))
            }
        }
    }
}

fn part(runs: &str, part: &Judged, several: bool) -> Markup {
    let relation = match part.relation {
        Relation::Above => format!("above {}", margin(part.margin)),
        Relation::Below => format!("below {}", margin(-part.margin)),
        Relation::Within => format!("within ±{:.1}", 100.0 * part.margin),
    };
    let [left, right] = part.sides();
    html! {
        tr {
            td.words {
                (left) " − " (right) " " span.keep { (depths(&part.depths)) } br; small { (relation) " points" }
                @if several { br; (tag(part.verdict)) }
            }
            td.n {
                @match &part.effect {
                    None => { "no runs" }
                    Some(effect) => {
                        a href={ "#" (runs) } { (signed(effect.value)) } br;
                        small { (signed(effect.interval.low)) " to " (signed(effect.interval.high)) } br;
                        small { (effect.left.len()) " and " (counted(effect.right.len())) @match effect.basis {
                            Basis::SameTarget => "",
                            Basis::RelativeToBase => ", to own base",
                            Basis::Unpaired => ", unpaired",
                        } }
                    }
                }
                @if !part.left_out.is_empty() { br; small { (part.left_out.len()) " at chance, left out" } }
            }
        }
    }
}

fn margin(share: f64) -> String {
    if share == 0.0 { "0".to_owned() } else { format!("{:+.1}", 100.0 * share) }
}
