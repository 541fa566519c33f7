//! Every run with its evidence and its curve, and what the page was made from.
//!
//! Used by `page`; every number of the page leads here.

use super::super::figures::{Drawn, look_of};
use super::super::model::{Entry, Fact, Side, cell_anchor, grouped, runs as counted, split_words};
use super::command;
use crate::audit::Source;
use crate::audit::names::SplitKind;
use crate::treatment::Kind;
use maud::{Markup, PreEscaped, html};
use std::collections::BTreeMap;

/// A run's name as a link to its entry.
pub fn link(side: &Side, name: &str) -> Markup {
    match side.run(name) {
        Some(run) => html! { a href={ "#" (run.anchor) } { (name) } },
        None => html! { (name) },
    }
}

/// Several runs as links, folded away; a link to `id` unfolds them.
pub fn links(side: &Side, id: &str, names: &[String], summary: &str) -> Markup {
    html! {
        details { summary { (summary) } div.small id=(id) {
            @for (index, name) in names.iter().enumerate() { @if index > 0 { ", " } (link(side, name)) }
        } }
    }
}

/// All runs.
pub fn runs(sides: &[Side], drawn: &Drawn) -> Markup {
    html! {
        p { "Open a run to see how it went, what it was made from, and the command that shows it again." }
        @for (index, side) in sides.iter().enumerate() {
            h3 { (side.title) ": " (counted(side.runs.len())) }
            p.small.noprint {
                a href={ "data/" (side.key) "-runs.csv" } { "all runs as CSV" } " · "
                a href={ "data/" (side.key) "-curves.csv" } { "all curves as CSV" }
            }
            (groups(index, side, drawn))
        }
    }
}

/// Runs by split, treatment and depth; each depth is an anchor, for means lead there.
fn groups(index: usize, side: &Side, drawn: &Drawn) -> Markup {
    let mut groups: BTreeMap<(SplitKind, Kind), BTreeMap<u8, Vec<usize>>> = BTreeMap::new();
    for (at, run) in side.runs.iter().enumerate() {
        let group = groups.entry((run.split, run.treatment.kind())).or_default();
        group.entry(run.treatment.n()).or_default().push(at);
    }
    html! {
        @for ((split, kind), depths) in &groups {
            h4 { (look_of(*kind)) " " (kind.name()) ", " (split_words(*split)) }
            @for (n, members) in depths {
                div id=(cell_anchor(side.key, *split, *kind, *n)) {
                    @for at in members { (entry(index, side, *at, drawn)) }
                }
            }
        }
    }
}

fn result(run: &Entry) -> String {
    match (run.accuracy, run.right, &run.lacks) {
        (Some(share), Some((right, total)), _) => {
            format!("{:.2} %, {} of {} images", 100.0 * share, grouped(right.into()), grouped(total.into()))
        }
        (Some(share), None, _) => format!("{:.2} % of {} images", 100.0 * share, grouped(run.images)),
        (None, _, Some(lacks)) => lacks.clone(),
        (None, _, None) => "no accuracy".to_owned(),
    }
}

fn entry(index: usize, side: &Side, at: usize, drawn: &Drawn) -> Markup {
    let run = &side.runs[at];
    html! {
        details {
            summary { (run.name) " " span.quiet.small { (result(run)) @if run.at_chance { "; at chance" } } }
            div.entry id=(run.anchor) {
                @if let Some(figure) = drawn.curve(index, at) {
                    figure {
                        (PreEscaped(&figure.svg))
                        figcaption.noprint { a href=(figure.file()) { "SVG" } }
                    }
                }
                div {
                    dl.facts {
                        dt { "treatment" } dd { (run.treatment.to_string()) }
                        dt { "accuracy" } dd { (result(run)) }
                        @if let Some(parent) = &run.parent { dt { "copies from" } dd { (link(side, parent)) } }
                        @for fact in &run.facts { (self::fact(fact)) }
                    }
                    (command(&run.command))
                }
            }
        }
    }
}

/// A text whose commands stand between backticks.
pub fn coded(text: &str) -> Markup {
    html! { @for (index, part) in text.split('`').enumerate() {
        @if index % 2 == 1 { code { (part) } } @else { (part) }
    } }
}

fn fact(fact: &Fact) -> Markup {
    html! { dt { (fact.name) } dd { @if fact.code { code { (fact.value) } } @else { (fact.value) } } }
}

/// Plan, environment, commands and inputs.
pub fn sources(sides: &[Side]) -> Markup {
    html! {
        p { "In commands, " @for (index, side) in sides.iter().enumerate() {
            @if index > 0 { " and " }
            code { (side.variable) } " is the directory of " @match side.audit.source {
                Source::Store => "the store",
                Source::Archive => "the archive",
            }
        } "; a protocol of your own is named by its file." }
        @let options: Vec<&str> = sides.iter().map(|side| side.options.as_str()).collect();
        p.small.quiet { "this report" (command(&format!("selffer report {} --out report", options.join(" ")))) }
        div.pair {
            @for side in sides {
                div {
                    h3 { (side.title) }
                    @for remark in &side.remarks { p.small { (coded(remark)) } }
                    dl.facts { @for fact in &side.facts { (self::fact(fact)) } }
                    @if !side.splits.is_empty() { h4 { "Splits" } (splits(side)) }
                    @if !side.checked.is_empty() {
                        h4 { "Checked by " code { "selffer verify" } }
                        ul.small { @for checked in &side.checked {
                            li { (grouped(checked.compared as u64)) " compared, " (checked.errors) " wrong: " (checked.check) (checked.besides()) }
                        } }
                    }
                    h4 { "Commands" }
                    @for (what, text) in &side.commands { p.small.quiet { (what) } (command(text)) }
                    (inputs(side))
                }
            }
        }
    }
}

fn splits(side: &Side) -> Markup {
    html! {
        @for task in &side.splits {
            p.small {
                b { (task.split) ", task " (task.task) } ": " (grouped(task.train as u64)) " training and " (grouped(task.valid as u64))
                " validation images of " (task.classes.join(", ")) ". " code { (task.digest) }
            }
        }
    }
}

fn inputs(side: &Side) -> Markup {
    html! {
        details {
            summary { "What this was made from: " (grouped(side.inputs.len() as u64)) " inputs with their SHA-256" }
            div {
                ol.inputs {
                    @for input in &side.inputs { li { (input.what) " " code { (input.path) } br; code.quiet { (input.digest) } } }
                }
            }
        }
    }
}
