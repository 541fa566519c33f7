//! An audit as a page of text: what is wrong, the numbers, Table 1, the claims, the questions.
//!
//! Uses `audit`'s outcome; used by the command line.

use super::beside::beside;
use super::proof::proof;
use crate::audit::claims::Verdict;
use crate::audit::effect::{Basis, Effect};
use crate::audit::names::SplitKind;
use crate::audit::numbers::{Cell, Run};
use crate::audit::questions::Form;
use crate::audit::splits::State;
use crate::audit::stats::Interval;
use crate::audit::table1::Pooling;
use crate::audit::{Audit, Source};
use crate::text::{counted, lines, numeric, plain, signed};
use crate::treatment::DEPTHS;
use crate::verify::{Finding, Severity};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Different messages of one code that are printed; JSON has them all.
const SHOWN: usize = 6;

/// Pieces of evidence of one finding that are printed.
const EVIDENCE: usize = 5;

/// The page.
pub fn text(audit: &Audit) -> String {
    let sections = [
        findings(audit),
        lists(audit),
        figures(audit),
        others(audit),
        selection(audit),
        table1(audit),
        claims(audit),
        questions(audit),
        audit.beside.as_ref().map_or_else(String::new, |other| beside(audit, other)),
        audit.proof.as_ref().map_or_else(String::new, proof),
        summary(audit),
    ];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Findings by severity and code; those with one message together.
fn findings(audit: &Audit) -> String {
    let mut text = String::new();
    let groups = audit.findings.chunk_by(|a, b| (a.code, a.severity) == (b.code, b.severity));
    for group in groups {
        let (code, count) = (group[0].code, group.len());
        let _ = write!(text, "{}[{code}] {}", group[0].severity.name(), code.description());
        let _ = writeln!(text, "{}", if count > 1 { format!(" ({count})") } else { String::new() });
        let mut messages: Vec<(&str, Vec<&Finding>)> = Vec::new();
        for finding in group {
            match messages.iter_mut().find(|(message, _)| *message == finding.message) {
                Some((_, same)) => same.push(finding),
                None => messages.push((&finding.message, vec![finding])),
            }
        }
        // A message that only repeats the subject is no message of its own.
        if messages.len() == count && count > SHOWN && code == crate::verify::Code::RunAbsent {
            let subjects: Vec<&str> = group.iter().map(|finding| finding.subject.as_str()).collect();
            let _ = writeln!(text, "  {}\n", compact(&subjects));
            continue;
        }
        for (message, same) in messages.iter().take(SHOWN) {
            let subjects: Vec<&str> = same.iter().map(|finding| finding.subject.as_str()).collect();
            let _ = writeln!(text, "  {}: {message}", compact(&subjects));
            for evidence in same[0].evidence.iter().take(if same.len() == 1 { EVIDENCE } else { 0 }) {
                let _ = writeln!(text, "      {evidence}");
            }
        }
        if messages.len() > SHOWN {
            let _ = writeln!(text, "  … and {} more; --format json lists all", messages.len() - SHOWN);
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Names as a list, with runs of depths put together: `transfer0A0B_1_{1-7}`.
fn compact(names: &[&str]) -> String {
    let mut families: Vec<(&str, Vec<u8>)> = Vec::new();
    for name in names {
        let split = name.rsplit_once("_1_").and_then(|(family, n)| Some((family, n.parse::<u8>().ok()?)));
        match (split, families.last_mut()) {
            (Some((family, n)), Some((last, depths))) if *last == family && !depths.is_empty() => {
                depths.push(n)
            }
            (Some((family, n)), _) => families.push((family, vec![n])),
            (None, _) => families.push((name, Vec::new())),
        }
    }
    let one = |(family, mut depths): (&str, Vec<u8>)| {
        depths.sort_unstable();
        let runs = depths.chunk_by(|a, b| a.checked_add(1) == Some(*b)).map(|run| match run {
            [n] => n.to_string(),
            [first, .., last] => format!("{first}-{last}"),
            [] => String::new(),
        });
        match depths.len() {
            0 => family.to_owned(),
            1 => format!("{family}_1_{}", depths[0]),
            _ => format!("{family}_1_{{{}}}", runs.collect::<Vec<_>>().join(",")),
        }
    };
    families.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

fn lists(audit: &Audit) -> String {
    let Some(from) = &audit.splits.sums_from else { return String::new() };
    let sums = &audit.splits.sums;
    let count = |state| sums.iter().filter(|sum| sum.state == state).count();
    let (held, differ, open) = (count(State::Match), count(State::Differs), count(State::Unchecked));
    format!(
        "Lists: of {} md5 sums in {from}, {held} match, {differ} differ, {open} cannot be checked\n",
        sums.len()
    )
}

fn percent(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}

/// A row for each kind of treatment, a column for each depth.
fn grid(title: &str, cells: &[&Cell], reference: Option<f64>) -> String {
    let mut rows: BTreeMap<(usize, &str), BTreeMap<u8, &Cell>> = BTreeMap::new();
    let order = ["base", "BnB", "BnB+", "AnB", "AnB+", "RnB"];
    for cell in cells {
        let place = order.iter().position(|name| *name == cell.treatment).unwrap_or(order.len());
        rows.entry((place, cell.treatment)).or_default().insert(cell.n, cell);
    }
    let mut table =
        plain(std::iter::once("n =".to_owned()).chain((0..=*DEPTHS.end()).map(|n| n.to_string())));
    for ((_, name), row) in rows {
        let cell = |n: u8| match row.get(&n) {
            None => String::new(),
            Some(cell) => {
                let change = match reference.filter(|_| n > 0) {
                    Some(base) => format!("\n{}", signed(cell.mean - base)),
                    None => String::new(),
                };
                format!("{}{change}\n({})", percent(cell.mean), cell.runs.len())
            }
        };
        table.add_row(std::iter::once(name.to_owned()).chain((0..=*DEPTHS.end()).map(cell)));
    }
    numeric(&mut table, 1..=usize::from(*DEPTHS.end()) + 1);
    format!("{title}\n{}\n", lines(&table))
}

fn figures(audit: &Audit) -> String {
    let of = |split: SplitKind| audit.cells.iter().filter(move |cell| cell.split == split);
    let mut text = String::new();
    let random: Vec<&Cell> = of(SplitKind::Random).collect();
    let base = random.iter().find(|cell| cell.n == 0).map(|cell| cell.mean);
    if !random.is_empty() {
        let title = "Random splits (figure 2): accuracy in percent, change from the mean of all base networks, (runs)";
        text.push_str(&grid(title, &random, base));
    }
    let mut targets: BTreeMap<&str, Vec<&Cell>> = BTreeMap::new();
    for cell in of(SplitKind::Dissimilar) {
        targets.entry(cell.target.as_deref().unwrap_or_default()).or_default().push(cell);
    }
    for (target, cells) in targets {
        let base = cells.iter().find(|cell| cell.n == 0).map(|cell| cell.mean);
        let _ = write!(
            text,
            "\n{}",
            grid(&format!("Dissimilar split (figure 3), target {target}"), &cells, base)
        );
    }
    let whole: Vec<&Cell> = of(SplitKind::Whole).collect();
    if !whole.is_empty() {
        let base = whole.iter().find(|cell| cell.n == 0).map(|cell| cell.mean);
        let _ = write!(text, "\n{}", grid("All classes: base and random features (figure 3)", &whole, base));
    }
    text
}

/// Networks on fewer examples.
fn others(audit: &Audit) -> String {
    let reduced: Vec<&Cell> = audit.cells.iter().filter(|cell| cell.split == SplitKind::Reduced).collect();
    if reduced.is_empty() {
        return String::new();
    }
    let chance = |cell: &Cell| {
        let at_chance = |run: &&Run| run.at_chance && cell.runs.contains(&run.run);
        match (audit.runs.iter().filter(at_chance).count(), cell.runs.len()) {
            (0, _) => String::new(),
            (chance, all) if chance == all => "\nchance".to_owned(),
            (chance, all) => format!("\n{chance} of {all}\nat chance"),
        }
    };
    let examples: BTreeSet<u32> = reduced.iter().filter_map(|cell| cell.examples).collect();
    let targets: BTreeSet<&str> = reduced.iter().filter_map(|cell| cell.target.as_deref()).collect();
    let mut table = plain(
        std::iter::once("examples of a class".to_owned()).chain(examples.iter().map(ToString::to_string)),
    );
    for target in targets {
        let at = |examples: &u32| {
            let here =
                |cell: &&&Cell| cell.target.as_deref() == Some(target) && cell.examples == Some(*examples);
            let cell = reduced.iter().find(here);
            cell.map_or_else(String::new, |cell| percent(cell.mean) + &chance(cell))
        };
        table.add_row(std::iter::once(target.to_owned()).chain(examples.iter().map(at)));
    }
    numeric(&mut table, 1..=examples.len());
    format!("Fewer examples (supplement): accuracy in percent, by task\n{}\n", lines(&table))
}

fn selection(audit: &Audit) -> String {
    let Some(selection) = &audit.selection else { return String::new() };
    format!(
        "Selection: an accuracy is the mean of a run's ten highest validation scores. Over {} that exceeds the last\n\
         score by {:.3} points on average (median {:.3}, most {:.3}, {}).\n",
        counted(selection.runs, "run"),
        100.0 * selection.mean,
        100.0 * selection.median,
        100.0 * selection.largest,
        selection.largest_run
    )
}

pub(super) fn range(interval: Interval) -> String {
    format!("{} to {}", signed(interval.low), signed(interval.high))
}

fn table1(audit: &Audit) -> String {
    if audit.table1.is_empty() {
        return String::new();
    }
    let mut table = plain([
        "layers",
        "over base:\npublished",
        "these runs",
        "by layer\nfirst",
        "own target's base\n(95 %)",
        "over BnB+:\npublished",
        "these runs",
        "by layer\nfirst",
        "relative to own base\n(95 %)",
        "printed digits\nreproduced by",
    ]);
    for row in &audit.table1 {
        let matched = |effect: &Effect| format!("{}\n({})", percent(effect.value), range(effect.interval));
        let poolings = row.reproduced_by.iter().map(|pooling| match pooling {
            Pooling::Runs => "runs",
            Pooling::Layers => "layers",
        });
        let poolings: Vec<&str> = poolings.collect();
        table.add_row([
            format!("{}-{}", row.layers.0, row.layers.1),
            format!("{:.1}", 100.0 * row.published_over_base),
            percent(row.over_base),
            percent(row.over_base_by_layer),
            matched(&row.target_matched),
            format!("{:.1}", 100.0 * row.published_over_selffer),
            percent(row.over_selffer),
            percent(row.over_selffer_by_layer),
            row.over_selffer_target_matched.as_ref().map_or_else(|| "-".to_owned(), matched),
            if poolings.is_empty() { "none".to_owned() } else { poolings.join(", ") },
        ]);
    }
    numeric(&mut table, 1..=8);
    let mut text = format!("Table 1: mean boost of AnB+ in percentage points\n{}\n", lines(&table));
    if audit.source == Source::Archive {
        let all = |pooling| audit.table1.iter().all(|row| row.reproduced_by.contains(&pooling));
        if all(Pooling::Runs) {
            text.push_str(
                "All printed digits are reproduced by pooling runs: the mean of all AnB+ runs of the layers, less the mean of\n\
                 all base networks, or of all BnB+ runs of the layers. No target is matched in that.\n",
            );
        }
    }
    text
}

fn claims(audit: &Audit) -> String {
    let mut text = String::from("Claims\n");
    for claim in &audit.claims {
        let _ = writeln!(
            text,
            "  {:<13}{} ({}; {})",
            claim.verdict.word(),
            claim.says,
            claim.source,
            counted(claim.runs, "run")
        );
        for part in &claim.parts {
            let relation = match part.relation {
                crate::audit::claims::Relation::Above => format!("above {:+.1}", 100.0 * part.margin),
                crate::audit::claims::Relation::Below => format!("below {:+.1}", -100.0 * part.margin + 0.0),
                crate::audit::claims::Relation::Within => format!("within {:.1}", 100.0 * part.margin),
            };
            let measured = match &part.effect {
                None => "no runs".to_owned(),
                Some(effect) => format!(
                    "{} points ({}), {} and {}{}",
                    signed(effect.value),
                    range(effect.interval),
                    effect.left.len(),
                    counted(effect.right.len(), "run"),
                    basis(effect)
                ),
            };
            let left_out = match part.left_out.is_empty() {
                true => String::new(),
                false => format!("; left out, at chance: {}", part.left_out.join(", ")),
            };
            let _ = writeln!(
                text,
                "    {:<13}{}, {relation}: {measured}{left_out}",
                if claim.parts.len() > 1 { part.verdict.word() } else { "" },
                part.difference()
            );
        }
    }
    text
}

fn basis(effect: &Effect) -> &'static str {
    match effect.basis {
        Basis::SameTarget => "",
        Basis::RelativeToBase => ", each relative to its own base",
        Basis::Unpaired => ", unpaired",
    }
}

pub(super) fn known(effect: &Option<Effect>) -> String {
    effect.as_ref().map_or_else(
        || "-".to_owned(),
        |effect| format!("{}\n({})", signed(effect.value), range(effect.interval)),
    )
}

fn questions(audit: &Audit) -> String {
    let mut table = plain(["n", "co-adaptation\nbase - BnB", "specificity\nBnB - AnB", "generality"]);
    let mut relative = false;
    for layer in &audit.questions.layers {
        relative |= layer.generality_form == Some(Form::RelativeToBase);
        let generality = layer.generality.map_or_else(
            || "-".to_owned(),
            |found| match found.interval {
                Some(interval) => {
                    format!("{:.3}\n({:.3} to {:.3})", found.value, interval.low, interval.high)
                }
                None => format!("{:.3}", found.value),
            },
        );
        table.add_row([
            layer.n.to_string(),
            known(&layer.coadaptation),
            known(&layer.specificity),
            generality,
        ]);
    }
    numeric(&mut table, 0..=3);
    let mut text =
        format!("Questions, on the random splits, in percentage points (95 %)\n{}\n", lines(&table));
    if relative {
        text.push_str("Generality is relative to base, since the random controls have another target:\n(AnB/base - RnB/base') / (BnB/base - RnB/base').\n");
    }
    if let Some(transition) = &audit.questions.transition {
        let with = |estimate: &crate::audit::questions::Estimate| match estimate.interval {
            Some(interval) => format!("{:.2} ({:.2} to {:.2})", estimate.value, interval.low, interval.high),
            None => format!("{:.2}", estimate.value),
        };
        let _ = writeln!(
            text,
            "Features turn from general to specific at layer {}, spread over {} layers, by {}.",
            with(&transition.layer),
            with(&transition.layers),
            counted(transition.targets.len(), "target")
        );
    }
    text
}

fn summary(audit: &Audit) -> String {
    let count = |severity, word: &str| {
        counted(audit.findings.iter().filter(|finding| finding.severity == severity).count(), word)
    };
    let verdicts = |verdict| audit.claims.iter().filter(|claim| claim.verdict == verdict).count();
    format!(
        "{}, {} with scores; {}, {}, {}; of {} {} supported, {} refuted, {} inconclusive, {} untestable\n",
        counted(audit.runs.len(), "run"),
        audit.runs.iter().filter(|run| run.accuracy.is_some()).count(),
        count(Severity::Error, "error"),
        count(Severity::Warning, "warning"),
        count(Severity::Note, "note"),
        counted(audit.claims.len(), "claim"),
        verdicts(Verdict::Supported),
        verdicts(Verdict::Refuted),
        verdicts(Verdict::Inconclusive),
        verdicts(Verdict::Untestable),
    )
}

#[cfg(test)]
mod tests;
