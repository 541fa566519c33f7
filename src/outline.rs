//! A plan without images: what a protocol on ILSVRC2012 comes to, from counts that are facts.
//!
//! Uses `cost`, `plan`, `published`; used by the command line where a protocol's pack is not there yet. It knows neither
//! digests nor what is done: those need images. Where a protocol's numbers depend on how many training images each
//! class has, there is none, because those counts are not in the program.

use crate::cost::{self, Cost};
use crate::plan::{self, PlannedRun};
use crate::protocol::{DataSource, Halves, Protocol};
use crate::published;
use crate::treatment::{Task, run_name};

/// Training and validation images of ILSVRC2012 (Russakovsky et al. 2015).
pub const IMAGES: [u64; 2] = [1_281_167, 50_000];

/// What a packed image is: channels, rows, columns.
pub const IMAGE: [usize; 3] = [3, 256, 256];

/// The networks of a protocol on ILSVRC2012, and how many classes each task has.
pub struct Outline<'a> {
    /// The protocol.
    pub protocol: &'a Protocol,
    /// The networks, in a plan's order.
    pub runs: Vec<PlannedRun>,
    /// By split, how many classes A and B have.
    pub classes: Vec<[usize; 2]>,
}

impl<'a> Outline<'a> {
    /// The outline of a protocol; none where it is not of ILSVRC2012, or its costs are not known without images.
    pub fn of(protocol: &'a Protocol) -> Option<Self> {
        let packed = matches!(protocol.data, DataSource::Pack(_));
        // Steps are then counted by the solver, and windows cut out in each: the training images do not matter.
        let counted = protocol.solver.steps.is_some() && protocol.input.is_some();
        let all = protocol.train_per_class.is_none() && protocol.valid_per_class.is_none();
        let published = |rule: &&crate::protocol::SplitRule| matches!(rule.halves, Halves::Published(_));
        if !(packed && counted && all && protocol.splits.iter().any(|rule| published(&rule))) {
            return None;
        }
        let classes = protocol.splits.iter().map(|rule| match &rule.halves {
            Halves::Published(split) => Some(Task::BOTH.map(|task| split.half(task).len())),
            Halves::Random(_) => Some([published::CLASSES / 2; 2]),
            Halves::Named { a, b } => Some([a.len(), b.len()]),
            Halves::Whole => Some([published::CLASSES, 0]),
        });
        Some(Self { protocol, runs: plan::runs(protocol), classes: classes.collect::<Option<_>>()? })
    }

    /// A run's name, as in a plan.
    pub fn name(&self, run: &PlannedRun) -> String {
        run_name(&self.protocol.splits[run.split].name, run.seed, run.treatment)
    }

    /// How many classes a run tells apart.
    pub fn classes(&self, run: &PlannedRun) -> usize {
        self.classes[run.split][run.treatment.target() as usize]
    }

    /// What a run costs.
    pub fn cost(&self, run: &PlannedRun) -> Cost {
        let classes = self.classes(run);
        // The number of training images has no part in it, see `of`.
        let train = IMAGES[0] * classes as u64 / published::CLASSES as u64;
        cost::of(
            self.protocol,
            run.treatment,
            IMAGE,
            classes,
            [train, published::VALID_PER_CLASS * classes as u64],
        )
    }

    /// Bytes of the pack, but for its tables.
    pub fn pack(&self) -> u64 {
        IMAGES.iter().sum::<u64>() * IMAGE.iter().product::<usize>() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, HashSet};

    #[test]
    fn the_paper_s_170_networks() {
        let protocol = Protocol::named("paper").unwrap();
        let outline = Outline::of(&protocol).expect("it is of ILSVRC2012");
        let names: HashSet<String> = outline.runs.iter().map(|run| outline.name(run)).collect();
        assert_eq!(names.len(), 170);
        // 10 halves, 140 transfers and selffers, the whole base, 7 random controls, 12 reduced.
        let mut counts = BTreeMap::new();
        for run in &outline.runs {
            let kind = run.treatment.kind();
            let whole = outline.protocol.splits[run.split].halves == Halves::Whole;
            *counts.entry((whole, run.parent.is_some(), kind.name())).or_insert(0) += 1;
        }
        let bases = counts[&(false, false, "base")];
        let copies: i32 = counts.iter().filter(|((_, copies, _), _)| *copies).map(|(_, count)| count).sum();
        let whole = ["base", "RnB", "base@m"].map(|kind| counts[&(true, false, kind)]);
        assert_eq!((bases, copies, whole), (10, 140, [1, 7, 12]));
        assert_eq!(outline.classes, [[500, 500], [500, 500], [500, 500], [500, 500], [449, 551], [1000, 0]]);

        // 450,000 steps of 256 images each; products by hand in the tests of `architecture`. With 500 classes:
        // 724,406,816 less 2,048,000, three ways in training, once on 25,000 images after each of 450 epochs.
        let of = |name: &str| outline.runs.iter().find(|run| outline.name(run) == name).expect("a run");
        let base = outline.cost(of("random-0/1/baseA"));
        let products = 724_406_816u64 - 2_048_000;
        assert_eq!(base.images, 450_000 * 256);
        assert_eq!(base.operations, 2 * products * (3 * 450_000 * 256 + 450 * 25_000));
        assert_eq!(base.checkpoint, 4 * (60_965_224 - 2_048_500));
        // Windows are other ones each time, so that frozen layers are computed in every step, one way.
        let frozen = outline.cost(of("random-0/1/A7B")).operations;
        assert!(frozen > base.operations / 3 && frozen < base.operations / 2);
        assert_eq!(outline.pack(), 1_331_167 * 256 * 256 * 3);
    }

    #[test]
    fn where_costs_depend_on_the_images_there_is_none() {
        for name in ["smoke", "ci", "standard"] {
            assert!(Outline::of(&Protocol::named(name).unwrap()).is_none(), "{name}");
        }
        let paper = Protocol::named("paper").unwrap();
        let changes: [fn(&mut Protocol); 4] = [
            |protocol| protocol.solver.steps = None,
            |protocol| protocol.input = None,
            |protocol| protocol.valid_per_class = Some(10),
            |protocol| protocol.data = DataSource::Embedded,
        ];
        for change in changes {
            let mut protocol = paper.clone();
            change(&mut protocol);
            assert!(Outline::of(&protocol).is_none());
        }
    }
}
