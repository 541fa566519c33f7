//! The accuracy table: for each split, target, treatment, depth and seed, how many images were right.
//!
//! Uses `plan`, `manifest` and `text`; used by golden snapshots, `audit`, `report` and the command line. Counts, never
//! rounded shares, except where a person reads.

use crate::digest::WeightsDigest;
use crate::error::Result;
use crate::manifest::{Count, Manifest};
use crate::plan::Plan;
use crate::text::{csv, lines, networks, numeric, plain, wrapped};
use crate::treatment::{Kind, Task, Treatment, run_name};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Numbers of examples beside each other in text: more would not go into 80 columns.
const ACROSS: usize = 7;

/// Columns that text keeps to.
const COLUMNS: usize = 80;

/// A cell's fields, as the header of CSV has them.
const FIELDS: [&str; 8] = ["split", "target", "treatment", "n", "seed", "correct", "total", "weights"];

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
        run_name(&self.split, self.seed, self.treatment)
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
                weights: manifest.weights()?,
            })
        };
        Self { cells: plan.runs.iter().zip(manifests).filter_map(cell).collect() }
    }

    /// As CSV, with a header.
    ///
    /// # Errors
    /// Never in practice: the writer is memory.
    pub fn csv(&self) -> Result<String> {
        match self.cells.is_empty() {
            // Whoever reads it by columns finds them, too, where nothing is trained yet.
            true => csv([FIELDS]),
            false => csv(&self.cells),
        }
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
    /// each depth; below it, networks on fewer images. A cell has the accuracy in percent and, below, its change from the
    /// base networks of its own seeds in points; both are means where there are several seeds, and a cell of fewer says so.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for block in self.blocks() {
            let _ = writeln!(text, "{}", wrapped(&block.heading(), COLUMNS, 2));
            if !block.rows.is_empty() {
                let _ = writeln!(text, "{}", block.grid());
            }
            if !block.reduced.is_empty() {
                let _ = writeln!(text, "{}", block.fewer());
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
    /// The base network's accuracy, if there is one.
    pub base: Option<Mean>,
    /// One for each kind of treatment and source.
    pub rows: Vec<Row>,
    /// The accuracies of networks on fewer images, by how many of each class they had.
    pub reduced: BTreeMap<u32, Mean>,
}

/// A mean accuracy over seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// The mean, 0 to 1.
    pub share: f64,
    /// Networks that it is of.
    pub networks: usize,
    /// The mean change from the base network of the same seed, over the seeds that have both, and how many these are; none
    /// where none has.
    pub change: Option<(f64, usize)>,
}

impl Mean {
    /// The change in points, and of how many seeds it is where they are fewer than the networks.
    pub fn change_text(&self) -> Option<String> {
        let (change, seeds) = self.change?;
        let few = if seeds < self.networks { format!(" of {seeds}") } else { String::new() };
        Some(format!("{:+.1}{few}", 100.0 * change))
    }

    /// The fewest seeds that any of its numbers is of.
    fn fewest(&self) -> usize {
        self.change.map_or(self.networks, |(_, seeds)| seeds.min(self.networks))
    }
}

/// The accuracies of one kind of treatment.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The treatment with `n` for its depth, as `AnB+`.
    pub name: String,
    /// By depth, in order: the mean accuracy.
    pub means: BTreeMap<u8, Mean>,
}

impl<'a> Block<'a> {
    fn of(split: &'a str, target: Task, cells: &[&Cell]) -> Self {
        let mut rows: BTreeMap<(Kind, String), BTreeMap<u8, Vec<&Cell>>> = BTreeMap::new();
        for cell in cells.iter().filter(|cell| cell.n > 0) {
            let name = cell.treatment.to_string().replacen(&cell.n.to_string(), "n", 1);
            let row = rows.entry((cell.treatment.kind(), name)).or_default();
            row.entry(cell.n).or_default().push(*cell);
        }
        let mut reduced: BTreeMap<u32, Vec<&Cell>> = BTreeMap::new();
        for cell in cells {
            if let Some(examples) = cell.treatment.examples() {
                reduced.entry(examples).or_default().push(*cell);
            }
        }
        let bases: Vec<&Cell> =
            cells.iter().filter(|cell| cell.treatment.kind() == Kind::Base).copied().collect();
        let row = |((_, name), by_depth): (_, BTreeMap<u8, Vec<&Cell>>)| {
            let means = by_depth.into_iter().filter_map(|(n, cells)| Some((n, Mean::of(&cells, &bases)?)));
            Row { name, means: means.collect() }
        };
        Self {
            split,
            target,
            seeds: cells.iter().map(|cell| cell.seed).collect::<BTreeSet<_>>().len(),
            networks: cells.len(),
            images: cells[0].total,
            base: Mean::of(&bases, &bases),
            rows: rows.into_iter().map(row).collect(),
            reduced: reduced
                .into_iter()
                .filter_map(|(examples, cells)| Some((examples, Mean::of(&cells, &bases)?)))
                .collect(),
        }
    }

    /// The depths that a row has, in order.
    pub fn depths(&self) -> BTreeSet<u8> {
        self.rows.iter().flat_map(|row| row.means.keys().copied()).collect()
    }

    /// What the block is about, with the base network's accuracy and how many networks the numbers are of.
    pub fn heading(&self) -> String {
        let Self { split, target, images, .. } = self;
        let base = match self.base {
            Some(base) => {
                let few = self.few(base).map_or_else(String::new, |few| format!(" ({few})"));
                format!("base{target} {:.1} % of {images} images{few}", 100.0 * base.share)
            }
            None => format!("no base network, {images} images"),
        };
        format!("{split}, task {target}: {base}; {}", self.counts())
    }

    /// How many networks the block has, and how many a number is the mean of.
    pub fn counts(&self) -> String {
        let all = networks(self.networks);
        let every = self.rows.iter().flat_map(|row| row.means.values()).chain(self.reduced.values());
        let fewer = every.chain(&self.base).any(|mean| mean.fewest() < self.seeds);
        match (self.seeds, fewer) {
            (0 | 1, _) => all,
            (seeds, false) => format!("{all}, means of {seeds}"),
            (seeds, true) => format!("{all}, means of {seeds} where no fewer are named"),
        }
    }

    /// What is said of a number that is the mean of fewer networks than there are seeds.
    pub fn few(&self, mean: Mean) -> Option<String> {
        (mean.networks < self.seeds).then(|| format!("of {}", mean.networks))
    }

    /// The rows and columns.
    fn grid(&self) -> String {
        let depths = self.depths();
        let header = std::iter::once("n =".to_owned()).chain(depths.iter().map(ToString::to_string));
        let mut table = plain(header);
        for row in &self.rows {
            let cell = |n: &u8| self.cell(row.means.get(n).copied());
            table.add_row(std::iter::once(row.name.clone()).chain(depths.iter().map(cell)));
        }
        numeric(&mut table, 1..=depths.len());
        lines(&table)
    }

    /// The networks on fewer images, in as many lines as it takes.
    fn fewer(&self) -> String {
        let all: Vec<_> = self.reduced.iter().collect();
        let part = |part: &[(&u32, &Mean)]| {
            let examples = part.iter().map(|(examples, _)| examples.to_string());
            let mut table = plain(std::iter::once("m =".to_owned()).chain(examples));
            let cells = part.iter().map(|(_, mean)| self.cell(Some(**mean)));
            table.add_row(std::iter::once(format!("base{}@m", self.target)).chain(cells));
            numeric(&mut table, 1..=part.len());
            lines(&table)
        };
        all.chunks(ACROSS).map(part).collect::<Vec<_>>().join("\n")
    }

    /// A mean accuracy in percent and, below, its change from its base networks in points; below that, of how many
    /// networks it is where they are fewer than the heading says.
    fn cell(&self, mean: Option<Mean>) -> String {
        let Some(mean) = mean else { return "-".to_owned() };
        let mut text = format!("{:.1}", 100.0 * mean.share);
        if let Some(change) = mean.change_text() {
            let _ = write!(text, "\n{change}");
        }
        if let Some(few) = self.few(mean) {
            let _ = write!(text, "\n{few}");
        }
        text
    }
}

impl Mean {
    /// The mean of some cells, beside those of the base networks that have their seeds; none of no cells. Right answers are
    /// summed before they are divided, so that what is the same comes out, and is rounded, the same.
    fn of(cells: &[&Cell], bases: &[&Cell]) -> Option<Self> {
        // All of a block are of the same images.
        let images = f64::from(cells.first()?.total);
        let share = |right: i64, networks: usize| right as f64 / (networks as f64 * images);
        let right: i64 = cells.iter().map(|cell| i64::from(cell.correct)).sum();
        let change = |cell: &&Cell| {
            let base = bases.iter().find(|base| base.seed == cell.seed)?;
            Some(i64::from(cell.correct) - i64::from(base.correct))
        };
        let changes: Vec<i64> = cells.iter().filter_map(change).collect();
        let change =
            (!changes.is_empty()).then(|| (share(changes.iter().sum(), changes.len()), changes.len()));
        Some(Self { share: share(right, cells.len()), networks: cells.len(), change })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use proptest::prelude::*;

    fn cell(treatment: &str, seed: u64, correct: u32) -> Cell {
        let treatment: Treatment = treatment.parse().unwrap();
        Cell {
            split: "s".into(),
            target: treatment.target(),
            treatment,
            n: treatment.n(),
            seed,
            correct,
            total: 100,
            weights: WeightsDigest(Digest::of(b"")),
        }
    }

    #[test]
    fn a_mean_of_fewer_seeds_says_so_wherever_it_stands() {
        let mut cells = Vec::new();
        for (seed, correct) in [(1, 90), (2, 80), (3, 70)] {
            cells.extend(["baseB", "B1B", "A1B"].map(|treatment| cell(treatment, seed, correct)));
        }
        let whole = Table { cells: cells.clone() };
        assert_eq!(
            whole.text(),
            "s, task B: baseB 80.0 % of 100 images; 9 networks, means of 3\n n =     1\n BnB  80.0\n      +0.0\n AnB  \
             80.0\n      +0.0\n"
        );
        // One seed's transfer and another's base are missing: changes are of the seeds that have both.
        cells.retain(|one| {
            !matches!((one.seed, one.treatment.to_string().as_str()), (3, "A1B") | (1, "baseB"))
        });
        cells.push(cell("baseB@5", 2, 50));
        let text = Table { cells }.text();
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        assert_eq!(
            text,
            "s, task B: baseB 75.0 % of 100 images (of 2); 8 networks, means of 3 where no\n  fewer are named\n n =          1\n \
             BnB       80.0\n      +0.0 of 2\n AnB       85.0\n      +0.0 of 1\n           of 2\n m =          5\n baseB@m   50.0\n          \
             -30.0\n           of 1\n"
        );
    }

    /// Two bases of 130 and 148 of 200, and one transfer of the first: as means of different seeds it would seem a loss.
    #[test]
    fn a_change_is_from_the_bases_of_the_same_seeds() {
        let of = |treatment, seed, correct| Cell { total: 200, ..cell(treatment, seed, correct) };
        let table = Table {
            cells: vec![of("baseB", 1, 130), of("baseB", 2, 148), of("A1B", 1, 138), of("B1B", 3, 100)],
        };
        let blocks = table.blocks();
        let mean = |row: usize| blocks[0].rows[row].means[&1];
        assert_eq!((blocks[0].rows[1].name.as_str(), mean(1).networks), ("AnB", 1));
        assert_eq!(mean(1).change_text().as_deref(), Some("+4.0"));
        assert_eq!(mean(0).change, None, "its seed has no base network");
        assert!(table.text().contains("+4.0"), "{}", table.text());
    }

    /// 98 and 114 are as many as 82 and 130: exact halves of the last digit shown go the same way.
    #[test]
    fn the_same_sum_is_shown_the_same() {
        let of = |treatment, seed, correct| Cell { total: 200, ..cell(treatment, seed, correct) };
        let right = [("baseB", [119, 148]), ("A1B", [98, 114]), ("A2B", [82, 130])];
        let each = |(treatment, right): (&'static str, [u32; 2])| {
            [of(treatment, 1, right[0]), of(treatment, 2, right[1])]
        };
        let table = Table { cells: right.into_iter().flat_map(each).collect() };
        let means = &table.blocks()[0].rows[0].means;
        assert_eq!((means[&1].change_text(), means[&1].share), (means[&2].change_text(), means[&2].share));
    }

    proptest! {
        /// Whatever is missing, a change of so many points in every network shows as that.
        #[test]
        fn what_is_missing_moves_no_change(
            bases in prop::collection::btree_map(1u64..9, 10u32..80, 1..8),
            seeds in prop::collection::btree_set(1u64..9, 1..8),
            by in 0u32..20,
        ) {
            let mut cells: Vec<Cell> = bases.iter().map(|(seed, right)| cell("baseB", *seed, *right)).collect();
            let right = |seed: &u64| bases.get(seed).map_or(50, |right| right + by);
            cells.extend(seeds.iter().map(|seed| cell("A1B", *seed, right(seed))));
            let table = Table { cells };
            let change = table.blocks()[0].rows[0].means[&1].change;
            let both = seeds.iter().any(|seed| bases.contains_key(seed));
            prop_assert_eq!(change.map(|(change, _)| (100.0 * change).round()), both.then_some(f64::from(by)));
        }
    }

    #[test]
    fn networks_on_fewer_images_keep_to_80_columns() {
        let examples = [1, 2, 5, 10, 25, 50, 100, 250, 500, 750, 1000, 1300, 100_000];
        let cells = examples.map(|examples| cell(&format!("baseB@{examples}"), 1, 50)).to_vec();
        let text = Table { cells }.text();
        assert!(text.starts_with("s, task B: no base network, 100 images; 13 networks\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(text.matches("50.0").count(), 13, "{text}");
    }
}
