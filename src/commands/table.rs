//! `selffer table`: the accuracies of a store as curves and tables for people, or as data.
//!
//! Uses the library's `table`; used by `commands`.

use super::records::opened;
use super::{Inputs, Verdict, say, trained, write_out};
use crate::cli::{TableArgs, TableFormat};
use crate::output;
use crate::output::chart::{Chart, Curve, Look};
use selffer::plan::Plan;
use selffer::run::survey;
use selffer::table::{Block, Mean, Table};
use selffer::text::{are, networks, wrapped};
use std::fmt::Write as _;

pub fn run(args: &TableArgs) -> anyhow::Result<Verdict> {
    let common = &args.common;
    let inputs = Inputs::read(&common.which.protocol)?;
    let plan = inputs.plan()?;
    let store = opened(&common.which.store, &plan, common.which.numerics.policy, common.output.quiet)?;
    let table = Table::of(&plan, &trained(&store, survey(&plan, &store, common.which.numerics.policy)?)?);
    if !common.output.quiet {
        say_missing(&plan, &table);
    }
    write_out(&match common.output.format {
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
        let (all, are) = (networks(all), are(missing));
        say(&format!("{missing} of {all} {are} not in the store; `selffer verify` says why"));
    }
}

/// The curves of every block that has some, then the tables.
fn text(table: &Table, look: Look) -> String {
    let mut text = String::new();
    for block in table.blocks() {
        // One depth is no curve.
        if block.depths().len() > 1 {
            let title = wrapped(&title(&block), usize::from(look.width), 2);
            let _ = writeln!(text, "{title}\n\n{}", curves(&block).text(look));
        }
    }
    text + &table.text()
}

fn title(block: &Block<'_>) -> String {
    let Block { split, target, images, .. } = block;
    format!("{split}, task {target}: % of {images} images that are right; {}", block.counts())
}

fn curves<'a>(block: &Block<'_>) -> Chart<'a> {
    let curve = |row: &selffer::table::Row| Curve {
        name: row.name.clone(),
        points: row.means.iter().map(|(n, mean)| (f64::from(*n), 100.0 * mean.share)).collect(),
    };
    Chart {
        below: "n, layers that come from elsewhere",
        ticks: block.depths().into_iter().map(f64::from).collect(),
        level: block.base.map(|base| {
            let few = block.few(base).map_or_else(String::new, |few| format!(" ({few})"));
            (format!("base{}{few}", block.target), 100.0 * base.share)
        }),
        curves: block.rows.iter().map(curve).collect(),
        height: 16,
    }
}

fn markdown(table: &Table) -> String {
    let list = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    // A header of columns, and rows below it.
    let grid = |columns: Vec<String>, rows: Vec<Vec<String>>| {
        let rule = std::iter::once("---").chain(columns.iter().map(|_| "---:")).map(str::to_owned).collect();
        let header = [vec!["accuracy, % (change, points)".to_owned()], columns].concat();
        let rows = rows.into_iter().map(list).collect::<String>();
        format!("{}{}{rows}\n", list(header), list(rule))
    };
    let mut text = String::new();
    for block in table.blocks() {
        let _ = writeln!(text, "**{}**\n", block.heading());
        let cell = |mean: Option<&Mean>| {
            let Some(mean) = mean else { return "-".to_owned() };
            let change = mean.change_text().map(|change| format!(" ({change})"));
            let few = block.few(*mean).map(|few| format!(", {few}"));
            format!("{:.1}{}{}", 100.0 * mean.share, change.unwrap_or_default(), few.unwrap_or_default())
        };
        let row = |name: String, cells: Vec<String>| [vec![format!("`{name}`")], cells].concat();
        let depths = block.depths();
        if !depths.is_empty() {
            let cells = |of: &selffer::table::Row| depths.iter().map(|n| cell(of.means.get(n))).collect();
            let rows = block.rows.iter().map(|of| row(of.name.clone(), cells(of))).collect();
            text += &grid(depths.iter().map(|n| format!("n = {n}")).collect(), rows);
        }
        if !block.reduced.is_empty() {
            let cells = block.reduced.values().map(|mean| cell(Some(mean))).collect();
            let columns = block.reduced.keys().map(|examples| format!("m = {examples}")).collect();
            text += &grid(columns, vec![row(format!("base{}@m", block.target), cells)]);
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
