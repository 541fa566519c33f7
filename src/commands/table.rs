//! `selffer table`: the accuracies of a store as curves and tables for people, or as data.
//!
//! Uses the library's `table`; used by `commands`.

use super::{Verdict, inputs, planned, say, trained, write_out};
use crate::cli::{TableArgs, TableFormat};
use crate::output;
use crate::output::chart::{Chart, Curve, Look};
use selffer::plan::Plan;
use selffer::split::Catalog;
use selffer::store::Store;
use selffer::table::{Block, Table};
use std::fmt::Write as _;

pub fn run(args: &TableArgs) -> anyhow::Result<Verdict> {
    let common = &args.common;
    let (protocol, data) = inputs(&common.protocol)?;
    let catalog = Catalog::of(&data);
    let plan = planned(&common.protocol, &protocol, &catalog)?;
    let store = Store::open(&common.store)?;
    let table = Table::of(&plan, &trained(&plan, &store, common.numerics.policy)?);
    if !common.quiet {
        say_missing(&plan, &table);
    }
    write_out(&match common.format {
        TableFormat::Text => text(&table, Look::of_stdout(args.width.width)),
        TableFormat::Csv => table.csv()?,
        TableFormat::Json => output::json(&table),
        TableFormat::Md => markdown(&table),
    })?;
    Ok(Verdict::Clean)
}

fn say_missing(plan: &Plan<'_>, table: &Table) {
    let all = plan.runs.len();
    let missing = all - table.cells.len();
    if missing > 0 {
        say(&format!("{missing} of {all} networks are not in the store; `selffer verify` says why"));
    }
}

/// The curves of every block that has some, then the tables.
fn text(table: &Table, look: Look) -> String {
    let mut text = String::new();
    for block in table.blocks() {
        // One depth is no curve.
        if block.depths().len() > 1 {
            let _ = writeln!(text, "{}\n\n{}", title(&block), curves(&block).text(look));
        }
    }
    text + &table.text()
}

fn title(block: &Block<'_>) -> String {
    let Block { split, target, seeds, networks, images, .. } = block;
    let seeds = if *seeds > 1 { format!(", means of {seeds} seeds") } else { String::new() };
    format!("{split}, task {target}: % of {images} images that are right; {networks} networks{seeds}")
}

fn curves<'a>(block: &Block<'_>) -> Chart<'a> {
    let curve = |row: &selffer::table::Row| Curve {
        name: row.name.clone(),
        points: row.shares.iter().map(|(n, share)| (f64::from(*n), 100.0 * share)).collect(),
    };
    Chart {
        below: "n, layers that come from elsewhere",
        ticks: block.depths().into_iter().map(f64::from).collect(),
        level: block.base.map(|base| (format!("base{}", block.target), 100.0 * base)),
        curves: block.rows.iter().map(curve).collect(),
        height: 16,
    }
}

fn markdown(table: &Table) -> String {
    let mut text = String::new();
    for block in table.blocks() {
        let _ = writeln!(text, "**{}**; {} networks\n", block.heading(), block.networks);
        let depths = block.depths();
        if depths.is_empty() {
            continue;
        }
        let list = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
        let mut header = vec!["accuracy, % (change, points)".to_owned()];
        header.extend(depths.iter().map(|n| format!("n = {n}")));
        let rule =
            std::iter::once("---".to_owned()).chain(depths.iter().map(|_| "---:".to_owned())).collect();
        let _ = writeln!(text, "{}\n{}", list(header), list(rule));
        for row in &block.rows {
            let cell = |n: &u8| match (row.shares.get(n), block.base) {
                (None, _) => "-".to_owned(),
                (Some(share), None) => format!("{:.1}", 100.0 * share),
                (Some(share), Some(base)) => format!("{:.1} ({:+.1})", 100.0 * share, 100.0 * (share - base)),
            };
            let cells = std::iter::once(format!("`{}`", row.name)).chain(depths.iter().map(cell)).collect();
            let _ = writeln!(text, "{}", list(cells));
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
