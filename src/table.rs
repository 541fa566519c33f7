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

    /// The blocks that people read: one for each split and target, in the plan's order.
    pub fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks: BTreeMap<(usize, Task), Vec<&Cell>> = BTreeMap::new();
        let mut splits: Vec<&str> = Vec::new();
        for cell in &self.cells {
            if !splits.contains(&cell.split.as_str()) {
                splits.push(&cell.split);
            }
            let split = splits.iter().position(|name| *name == cell.split).unwrap_or_default();
            blocks.entry((split, cell.target)).or_default().push(cell);
        }
        blocks.into_iter().map(|((split, target), cells)| Block::of(splits[split], target, &cells)).collect()
    }

    /// For people: a block for each split and target, a row for each kind of treatment, a column for
    /// each depth; below it, networks on fewer images in a line. A cell has the accuracy in percent and, below, its change from the base network in
    /// points; both are means where there are several seeds.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for block in self.blocks() {
            let _ = writeln!(text, "{}", block.heading());
            if !block.rows.is_empty() {
                let _ = writeln!(text, "{}", block.grid());
            }
            if !block.reduced.is_empty() {
                let _ = writeln!(text, "{}", block.line());
            }
            text.push('\n');
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}

/// The cells of one split and target, as means over seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Block<'a> {
    /// The split's name.
    pub split: &'a str,
    /// The task that was learnt.
    pub target: Task,
    /// Seeds that there are networks of.
    pub seeds: usize,
    /// Networks in the block, bases included.
    pub networks: usize,
    /// Validation images of each accuracy.
    pub images: u32,
    /// The base network's accuracy, 0 to 1, if there is one.
    pub base: Option<f64>,
    /// One for each kind of treatment and source.
    pub rows: Vec<Row>,
    /// The accuracies of networks on fewer images, 0 to 1, by how many of each class they had.
    pub reduced: BTreeMap<u32, f64>,
}

/// The accuracies of one kind of treatment.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The treatment with `n` for its depth, as `AnB+`.
    pub name: String,
    /// By depth, in order: the mean accuracy, 0 to 1.
    pub shares: BTreeMap<u8, f64>,
}

impl<'a> Block<'a> {
    fn of(split: &'a str, target: Task, cells: &[&Cell]) -> Self {
        let mut rows: BTreeMap<(Kind, String), BTreeMap<u8, Vec<f64>>> = BTreeMap::new();
        for cell in cells.iter().filter(|cell| cell.n > 0) {
            let name = cell.treatment.to_string().replacen(&cell.n.to_string(), "n", 1);
            let row = rows.entry((cell.treatment.kind(), name)).or_default();
            row.entry(cell.n).or_default().push(cell.count().share());
        }
        let mut reduced: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for cell in cells {
            if let Some(examples) = cell.treatment.examples() {
                reduced.entry(examples).or_default().push(cell.count().share());
            }
        }
        let bases = cells.iter().filter(|cell| cell.treatment.kind() == Kind::Base);
        let row = |((_, name), by_depth): (_, BTreeMap<u8, Vec<f64>>)| {
            let shares = by_depth.into_iter().filter_map(|(n, shares)| Some((n, mean(shares.into_iter())?)));
            Row { name, shares: shares.collect() }
        };
        Self {
            split,
            target,
            seeds: cells.iter().map(|cell| cell.seed).collect::<BTreeSet<_>>().len(),
            networks: cells.len(),
            images: cells[0].total,
            base: mean(bases.map(|cell| cell.count().share())),
            rows: rows.into_iter().map(row).collect(),
            reduced: reduced
                .into_iter()
                .filter_map(|(examples, shares)| Some((examples, mean(shares.into_iter())?)))
                .collect(),
        }
    }

    /// The depths that a row has, in order.
    pub fn depths(&self) -> BTreeSet<u8> {
        self.rows.iter().flat_map(|row| row.shares.keys().copied()).collect()
    }

    /// What the block is about, with the base network's accuracy.
    pub fn heading(&self) -> String {
        let Self { split, target, images, .. } = self;
        let base = match self.base {
            Some(base) => format!("base{target} {:.1} % of {images} images", 100.0 * base),
            None => "no base network".to_owned(),
        };
        let seeds = if self.seeds > 1 { format!(", means of {} seeds", self.seeds) } else { String::new() };
        format!("{split}, task {target}: {base}{seeds}")
    }

    /// The rows and columns.
    fn grid(&self) -> String {
        let depths = self.depths();
        let header = std::iter::once("n =".to_owned()).chain(depths.iter().map(ToString::to_string));
        let mut table = plain(header);
        for row in &self.rows {
            let cell = |n: &u8| self.cell(row.shares.get(n));
            table.add_row(std::iter::once(row.name.clone()).chain(depths.iter().map(cell)));
        }
        numeric(&mut table, 1..=depths.len());
        lines(&table)
    }

    /// The networks on fewer images, in a line.
    fn line(&self) -> String {
        let header = std::iter::once("m =".to_owned()).chain(self.reduced.keys().map(ToString::to_string));
        let mut table = plain(header);
        let name = format!("base{}@m", self.target);
        table.add_row(std::iter::once(name).chain(self.reduced.values().map(|share| self.cell(Some(share)))));
        numeric(&mut table, 1..=self.reduced.len());
        lines(&table)
    }

    /// A mean accuracy in percent and, below, its change from the base network in points.
    fn cell(&self, share: Option<&f64>) -> String {
        match (share, self.base) {
            (None, _) => "-".to_owned(),
            (Some(share), None) => format!("{:.1}", 100.0 * share),
            (Some(share), Some(base)) => format!("{:.1}\n{:+.1}", 100.0 * share, 100.0 * (share - base)),
        }
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
