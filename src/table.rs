//! The accuracy table: for each split, target, treatment, depth and seed, how many images were right.
//!
//! Uses `plan` and `manifest`; used by `verify::golden` and the command line. Counts, never rounded
//! shares, except where a person reads.

use crate::digest::WeightsDigest;
use crate::error::{Error, Result};
use crate::manifest::{Count, Manifest};
use crate::plan::Plan;
use crate::treatment::{Kind, Task, Treatment};
use comfy_table::presets;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// One network's accuracy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The split's name.
    pub split: String,
    /// The task that was learnt.
    pub target: Task,
    /// The treatment, in the paper's notation.
    pub treatment: Treatment,
    /// How many layers come from elsewhere; 0 for a base network.
    pub n: u8,
    /// The root seed.
    pub seed: u64,
    /// Validation images classified rightly.
    pub correct: u32,
    /// All validation images of the target.
    pub total: u32,
    /// The digest of the network's weights, in full.
    pub weights: WeightsDigest,
}

impl Cell {
    /// The name of the run.
    pub fn run(&self) -> String {
        format!("{}/{}/{}", self.split, self.seed, self.treatment)
    }

    /// The accuracy as counts.
    pub fn count(&self) -> Count {
        Count { correct: self.correct, total: self.total }
    }
}

/// The accuracy table of a plan, in the plan's order. Runs that are missing or diverged have no cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// The cells.
    pub cells: Vec<Cell>,
}

impl Table {
    /// The table of `manifests`, which are indexed like the plan's runs.
    pub fn of(plan: &Plan<'_>, manifests: &[Option<Manifest>]) -> Self {
        let cell = |(run, manifest): (&crate::plan::PlannedRun, &Option<Manifest>)| {
            let manifest = manifest.as_ref()?;
            let count = manifest.accuracy()?;
            Some(Cell {
                split: plan.splits[run.split].0.name.clone(),
                target: run.treatment.target(),
                treatment: run.treatment,
                n: run.treatment.n(),
                seed: run.seed,
                correct: count.correct,
                total: count.total,
                weights: manifest.trained()?.whole(),
            })
        };
        Self { cells: plan.runs.iter().zip(manifests).filter_map(cell).collect() }
    }

    /// As CSV, with a header.
    ///
    /// # Errors
    /// Never in practice: the writer is memory.
    pub fn csv(&self) -> Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for cell in &self.cells {
            writer.serialize(cell).map_err(|error| Error::invalid("csv", error.to_string(), "report it"))?;
        }
        let bytes =
            writer.into_inner().map_err(|error| Error::invalid("csv", error.to_string(), "report it"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// For people: a block for each split and target, a row for each kind of treatment, a column for
    /// each depth; below it, networks on fewer images in a line. A cell has the accuracy in percent and, below, its change from the base network in
    /// points; both are means where there are several seeds.
    pub fn text(&self) -> String {
        let mut blocks: BTreeMap<(usize, Task), Vec<&Cell>> = BTreeMap::new();
        let mut splits: Vec<&str> = Vec::new();
        for cell in &self.cells {
            if !splits.contains(&cell.split.as_str()) {
                splits.push(&cell.split);
            }
            let split = splits.iter().position(|name| *name == cell.split).unwrap_or_default();
            blocks.entry((split, cell.target)).or_default().push(cell);
        }
        let mut text = String::new();
        for ((split, target), cells) in blocks {
            let base = mean(
                cells
                    .iter()
                    .filter(|cell| cell.treatment.kind() == Kind::Base)
                    .map(|cell| cell.count().share()),
            );
            let seeds = cells.iter().map(|cell| cell.seed).collect::<BTreeSet<_>>().len();
            let _ = write!(text, "{}, task {target}: ", splits[split]);
            match base {
                Some(base) => {
                    let _ = write!(text, "base{target} {:.1} % of {} images", 100.0 * base, cells[0].total);
                }
                None => text.push_str("no base network"),
            }
            let _ = writeln!(
                text,
                "{}",
                if seeds > 1 { format!(", means of {seeds} seeds") } else { String::new() }
            );
            if cells.iter().any(|cell| cell.n > 0) {
                let _ = writeln!(text, "{}", grid(&cells, base));
            }
            if cells.iter().any(|cell| cell.treatment.examples().is_some()) {
                let _ = writeln!(text, "{}", reduced(&cells, base));
            }
            text.push('\n');
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}

/// The rows and columns of one split and target.
fn grid(cells: &[&Cell], base: Option<f64>) -> String {
    let mut rows: BTreeMap<(Kind, String), BTreeMap<u8, Vec<f64>>> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.n > 0) {
        let name = cell.treatment.to_string().replacen(&cell.n.to_string(), "n", 1);
        let row = rows.entry((cell.treatment.kind(), name)).or_default();
        row.entry(cell.n).or_default().push(cell.count().share());
    }
    let depths: BTreeSet<u8> = rows.values().flat_map(|row| row.keys().copied()).collect();
    let mut table = plain(std::iter::once("n =".to_owned()).chain(depths.iter().map(ToString::to_string)));
    for ((_, name), by_depth) in rows {
        let cell = |n: &u8| accuracy(by_depth.get(n), base);
        table.add_row(std::iter::once(name).chain(depths.iter().map(cell)));
    }
    numeric(&mut table, 1..=depths.len());
    lines(&table)
}

/// The networks on fewer images of one split and target, by how many images of each class they had.
fn reduced(cells: &[&Cell], base: Option<f64>) -> String {
    let mut row: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for cell in cells {
        if let Some(examples) = cell.treatment.examples() {
            row.entry(examples).or_default().push(cell.count().share());
        }
    }
    let mut table = plain(std::iter::once("m =".to_owned()).chain(row.keys().map(ToString::to_string)));
    let target = cells.first().map_or(Task::A, |cell| cell.target);
    let shares = row.values().map(|shares| accuracy(Some(shares), base));
    table.add_row(std::iter::once(format!("base{target}@m")).chain(shares));
    numeric(&mut table, 1..=row.len());
    lines(&table)
}

/// A mean accuracy in percent and, below, its change from the base network in points.
fn accuracy(shares: Option<&Vec<f64>>, base: Option<f64>) -> String {
    match (mean(shares.into_iter().flatten().copied()), base) {
        (None, _) => "-".to_owned(),
        (Some(share), None) => format!("{:.1}", 100.0 * share),
        (Some(share), Some(base)) => format!("{:.1}\n{:+.1}", 100.0 * share, 100.0 * (share - base)),
    }
}

/// A table for people, without borders, with that header. Its rows are added by the caller.
pub fn plain(header: impl IntoIterator<Item = impl Into<comfy_table::Cell>>) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(header.into_iter().map(Into::into).collect::<Vec<comfy_table::Cell>>());
    table
}

/// Aligns the columns of those indices to the right.
pub fn numeric(table: &mut comfy_table::Table, columns: impl IntoIterator<Item = usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
}

/// The lines of a table, without the blanks that fill its last column.
pub fn lines(table: &comfy_table::Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}
