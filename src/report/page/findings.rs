//! All findings, the worst first.
//!
//! Used by `page`.

use super::super::model::Side;
use super::runs;
use crate::verify::{Finding, Severity};
use maud::{Markup, html};

/// The findings of each side.
pub fn findings(sides: &[Side]) -> Markup {
    html! {
        p { "An error means that a result does not hold; a warning, that it holds with a reservation; a note can touch no conclusion." }
        div.pair { @for side in sides { div { h3 { (side.title) } (of(side)) } } }
    }
}

fn of(side: &Side) -> Markup {
    let all = &side.audit.findings;
    html! {
        @if all.is_empty() { p { "None: everything that was checked holds." } }
        @for severity in all.chunk_by(|a, b| a.severity == b.severity) {
            h4 { (word(severity[0].severity)) ": " (severity.len()) }
            @for group in severity.chunk_by(|a, b| a.code == b.code) {
                @let open = group[0].severity != Severity::Note;
                details open[open] {
                    summary { code { (group[0].code) } " " (group[0].code.description()) span.quiet { " (" (group.len()) ")" } }
                    div { ul.findings { @for finding in group { (self::finding(side, finding)) } } }
                }
            }
        }
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "Errors",
        Severity::Warning => "Warnings",
        Severity::Note => "Notes",
    }
}

fn finding(side: &Side, finding: &Finding) -> Markup {
    html! {
        li {
            (runs::link(side, &finding.subject)) ": " (runs::coded(&finding.message))
            @if !finding.evidence.is_empty() { ul { @for line in &finding.evidence { li { (line) } } } }
        }
    }
}
