//! The page: one HTML file with all figures and tables, that needs no network and no script.
//!
//! Uses `report::{model, figures}` and maud; used by `report`. A section for each thing that a reader asks, each with a column
//! for each side; what stands behind a number is a link away, in `runs`.

mod claims;
mod findings;
mod runs;
mod tables;

use super::figures::{Drawn, Figure, Kind, canvas};
use super::filters::Filters;
use super::model::{ACCURACIES, CONCLUSIONS, FINDINGS, Side, runs as counted};
use crate::audit::Source;
use crate::audit::claims::Verdict;
use crate::audit::effect::Effect;
use crate::filters::Reading;
use crate::verify::Severity;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::collections::BTreeSet;

const SECTIONS: [(&str, &str); 11] = [
    ("similar", "Similar tasks"),
    ("other", "Dissimilar tasks, random features"),
    ("more", "Other treatments and tasks"),
    ("questions", "The three questions"),
    ("first-layer", "First layer"),
    ("table-1", "Table 1"),
    ("claims", "Claims"),
    ("accuracies", "Accuracies"),
    ("findings", "Findings"),
    ("runs", "Runs"),
    ("sources", "Sources"),
];

/// The page of these sides.
pub fn page(sides: &[Side], drawn: &Drawn) -> String {
    let (light, dark) = canvas::variables();
    let colours = format!(
        ":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}@media print{{:root{{{light}}}}}{}",
        canvas::rules()
    );
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Without it, a browser asks for one.
                link rel="icon" href="data:,";
                title { (title(sides)) }
                style { (PreEscaped(colours)) (PreEscaped(include_str!("page/style.css"))) }
            }
            body {
                (head(sides))
                main {
                    (section(0, html! {
                        p { "After training on one task, the first " i { "n" } " layers of a network are copied into a new one, which learns "
                            "the rest for a task of the same kind: halves of the classes, drawn by chance." }
                        (figures(sides, drawn, &[Kind::Runs, Kind::Means]))
                    }))
                    (section(1, html! {
                        p { "Where the halves differ in kind, layers may transfer worse; random layers are what any of them are measured "
                            "against." }
                        (figures(sides, drawn, &[Kind::Dissimilar, Kind::Random, Kind::Relative]))
                    }))
                    (section(2, html! {
                        p { "What the paper has in its supplement, or does not draw: the controls on other tasks, more layers copied above the "
                            "frozen ones, fewer examples, and what base networks reach on each task." }
                        (figures(sides, drawn, &[Kind::Treatments, Kind::Preserved, Kind::Reduced, Kind::Bases]))
                    }))
                    (section(3, html! {
                        p { "Whether a layer depends on the layers above it, and whether on its task; and where the one turns into the "
                            "other." }
                        (figures(sides, drawn, &[Kind::Coadaptation, Kind::Specificity, Kind::Generality]))
                        (tables::questions(sides))
                        (again(sides, CONCLUSIONS))
                    }))
                    (section(4, first_layer(sides, drawn)))
                    (section(5, html! { (tables::table1(sides)) (again(sides, CONCLUSIONS)) }))
                    (section(6, html! { (claims::claims(sides)) (again(sides, CONCLUSIONS)) }))
                    (section(7, html! { (tables::accuracies(sides)) (again(sides, ACCURACIES)) }))
                    (section(8, html! { (findings::findings(sides)) (again(sides, FINDINGS)) }))
                    (section(9, runs::runs(sides, drawn)))
                    (section(10, runs::sources(sides)))
                }
                footer {
                    "Yosinski, Clune, Bengio and Lipson, " i { "How transferable are features in deep neural networks?" }
                    " (NIPS 2014). Drawn up by selffer " (env!("CARGO_PKG_VERSION")) "; the same sources give the same bytes."
                }
            }
        }
    };
    markup.into_string()
}

fn title(sides: &[Side]) -> &'static str {
    match (sides.len(), sides.first().map(|side| side.audit.source)) {
        (1, Some(Source::Archive)) => "How transferable are features? The published runs",
        (1, _) => "How transferable are features? A reproduction",
        _ => "How transferable are features? These runs beside the published ones",
    }
}

fn section(index: usize, content: Markup) -> Markup {
    let (id, title) = SECTIONS[index];
    html! { section id=(id) { h2 { (title) } (content) } }
}

fn head(sides: &[Side]) -> Markup {
    html! {
        header {
            h1 { (title(sides)) }
            p.quiet {
                b { "base" } ": trained from scratch on its task. " b { "BnB" } ": the first n layers copied from base and frozen, the rest "
                "learnt again on the same task (the control). " b { "AnB" } ": the same, copied from the other task. " b { "+" } ": copied "
                "layers are trained on. " b { "RnB" } ": the first n layers random and frozen."
            }
            div.pair { @for side in sides { (card(side)) } }
            nav { ul { @for (id, name) in SECTIONS { li { a href={ "#" (id) } { (name) } } } } }
        }
    }
}

/// A side at a glance.
fn card(side: &Side) -> Markup {
    let count = |severity| side.audit.findings.iter().filter(|finding| finding.severity == severity).count();
    let ending = |word: &str, count: usize| if count == 1 { word.to_owned() } else { format!("{word}s") };
    let verdicts = |verdict| side.audit.claims.iter().filter(|claim| claim.verdict == verdict).count();
    let measured = side.runs.iter().filter(|run| run.accuracy.is_some()).count();
    html! {
        div.card {
            h3 { (side.title) }
            p.small.quiet { (side.about) }
            div.numbers {
                div { b { (measured) } span { "of " (counted(side.runs.len())) " with an accuracy" } }
                div { b { a href="#findings" { (count(Severity::Error)) } } span {
                    (ending("error", count(Severity::Error))) "; "
                    (count(Severity::Warning)) " " (ending("warning", count(Severity::Warning))) ", "
                    (count(Severity::Note)) " " (ending("note", count(Severity::Note)))
                } }
                div { b { a href="#claims" { (verdicts(Verdict::Supported)) } } span {
                    "of the paper's " (side.audit.claims.len()) " claims supported; " (verdicts(Verdict::Refuted)) " refuted, "
                    (verdicts(Verdict::Inconclusive) + verdicts(Verdict::Untestable)) " open"
                } }
                @if let Some(transition) = &side.audit.questions.transition {
                    div { b { a href="#questions" { (format!("{:.2}", transition.layer.value)) } } span {
                        "the layer where features turn specific, by " (counted(specific(side))) " on " (transition.targets.len())
                        (if transition.targets.len() == 1 { " target" } else { " targets" })
                    } }
                }
            }
        }
    }
}

/// How many runs the transition rests on: those of every layer's specificity.
fn specific(side: &Side) -> usize {
    let effects = side.audit.questions.layers.iter().filter_map(|layer| layer.specificity.as_ref());
    let runs: BTreeSet<&String> = effects.flat_map(Effect::runs).collect();
    runs.len()
}

/// Figures of some kinds, side by side: a row for each kind where there are two sides.
fn figures(sides: &[Side], drawn: &Drawn, kinds: &[Kind]) -> Markup {
    html! {
        div.pair {
            @for kind in kinds {
                @let found: Vec<Vec<&Figure>> = (0..sides.len()).map(|side| drawn.of(side, *kind)).collect();
                @if found.iter().any(|figures| !figures.is_empty()) {
                    @for (side, figures) in sides.iter().zip(&found) {
                        @for figure in figures { (self::figure(figure)) }
                        @if figures.is_empty() {
                            div.none { (side.title) ": " (lacking(*kind)) "." }
                        }
                    }
                }
            }
            @if kinds.iter().all(|kind| (0..sides.len()).all(|side| drawn.of(side, *kind).is_empty())) {
                div.none { "Here are " (kinds.first().map_or("no runs", |kind| lacking(*kind))) "." }
            }
        }
    }
}

/// What there is none of where a figure is missing.
fn lacking(kind: Kind) -> &'static str {
    match kind {
        Kind::Runs | Kind::Means => "no networks on random halves",
        Kind::Dissimilar => "no networks on halves that differ in kind",
        Kind::Random => "no networks with random layers",
        Kind::Relative => "no two treatments to be set beside each other",
        Kind::Treatments => "no controls on dissimilar halves or on all classes",
        Kind::Preserved => "no networks with more layers copied above frozen ones",
        Kind::Reduced => "no networks on fewer examples of each class",
        Kind::Bases => "no base networks",
        Kind::Coadaptation => "no runs of base and BnB to compare",
        Kind::Specificity => "no runs of BnB and AnB to compare",
        Kind::Generality => "no runs of BnB, AnB and RnB to compare",
        Kind::FirstLayer | Kind::Curve => "no weights, no curves",
    }
}

/// The commands that give the numbers of a section again.
fn again(sides: &[Side], what: &str) -> Markup {
    html! {
        div.again {
            @for side in sides {
                @for (_, text) in side.commands.iter().filter(|(name, _)| *name == what) {
                    p.small.quiet { (side.title) ", again:" (command(text)) }
                }
            }
        }
    }
}

/// A figure with its caption and its files.
fn figure(figure: &Figure) -> Markup {
    html! {
        figure id=(figure.name) {
            (PreEscaped(&figure.svg))
            figcaption {
                @if !figure.note.is_empty() { p { (figure.note) } }
                p.noprint {
                    a href=(figure.file()) { "SVG" }
                    @if let Some((path, _)) = figure.data() { " · " a href=(path) { "CSV" } }
                }
            }
        }
    }
}

fn first_layer(sides: &[Side], drawn: &Drawn) -> Markup {
    html! {
        p { "What networks learn first on natural images, whatever their task, looks like edges at all angles and blobs of colour. Filters "
            "that look like their random beginnings are a sign that nothing was learnt. A Gabor function is fitted to each filter; the table says "
            "how much of the filters' variance the fits explain, on average, and of made-up random filters of that shape. Small kernels are "
            "explained well whatever they are, so there what training changed is looked at as well." }
        div.pair {
            @for (index, side) in sides.iter().enumerate() {
                @let pictures = drawn.of(index, Kind::FirstLayer);
                @for (figure, filters) in pictures.iter().zip(&side.filters) {
                    div {
                        (self::figure(figure))
                        p.small { "Weights of " (runs::link(side, &filters.run)) @if let Some(run) = &filters.random.run {
                            " and of " (runs::link(side, run))
                        } "." }
                        (explained(filters))
                    }
                }
                @if pictures.is_empty() {
                    div.none { (side.title) ": " @match side.audit.source {
                        Source::Archive => "weights were not published, so no filter can be seen.",
                        Source::Store => "no base network has a checkpoint that is whole.",
                    } }
                }
            }
        }
    }
}

/// How well the filters of one network are explained, beside those of its control.
fn explained(filters: &Filters) -> Markup {
    let percent = |share: f64| format!("{:.1}", 100.0 * share);
    let change = filters.training.as_ref().and_then(|training| training.change.as_ref());
    let rows = [
        ("trained", filters.reading.as_ref()),
        ("what training changed", change),
        ("beside it, untrained", filters.random.reading.as_ref()),
    ];
    html! {
        table {
            thead { tr { th { "explained, %" } th.n { "filters" } th.n { "mean" } th.n { "random: 95 %" } th.n { "p" } } }
            @for (what, reading) in rows {
                @if let Some(Reading { network, per_filter, random, .. }) = reading {
                    tr {
                        td { (what) } td.n { (per_filter.len()) } td.n { (percent(*network)) }
                        td.n.keep { (percent(random.low)) " to " (percent(random.high)) }
                        td.n { (format!("{:.4}", random.p)) }
                    }
                }
            }
        }
        @let verdict = match (&filters.training, &filters.reading) {
            (Some(training), _) => Some(training.verdict),
            (None, reading) => reading.as_ref().map(|reading| reading.verdict),
        };
        @if let Some(verdict) = verdict { p.small { "Filters of 1 network: " b { (verdict.says()) } "." } }
    }
}

/// A command to copy.
fn command(text: &str) -> Markup {
    html! { pre { code { (text) } } }
}
