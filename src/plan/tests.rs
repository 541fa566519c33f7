use super::*;
use crate::protocol::{DataSource, Halves, SplitRule};
use crate::testing::{dataset, tiny};
use crate::treatment::{DEPTHS, Kind, Source, Task, family};
use proptest::prelude::*;
use proptest::sample::subsequence;
use std::collections::{BTreeMap, HashSet};

const FAMILIES: [&str; 16] = [
    "baseA", "baseB", "AnA", "AnA+", "BnB", "BnB+", "BnA", "BnA+", "AnB", "AnB+", "RnA", "RnB", "A1B^2",
    "B1A^k", "baseA@1", "baseB@2",
];

/// Any protocol on four classes: some seeds, some depths, some splits with some families each.
fn any_protocol() -> impl Strategy<Value = Protocol> {
    let depths = subsequence(DEPTHS.collect::<Vec<u8>>(), 1..=7).prop_shuffle();
    let seeds = prop::collection::hash_set(any::<u64>(), 1..4);
    let families = subsequence(FAMILIES.to_vec(), 1..=FAMILIES.len()).prop_shuffle();
    let splits = prop::collection::vec((any::<u64>(), families), 1..4);
    (depths, seeds, splits).prop_map(|(depths, seeds, splits)| {
        let split = |(index, (seed, families)): (usize, (u64, Vec<&str>))| SplitRule {
            name: format!("split-{index}"),
            halves: Halves::Random(seed),
            treatments: families.iter().flat_map(|text| family(text, &depths).expect("a family")).collect(),
        };
        let splits = splits.into_iter().enumerate().map(split).collect();
        Protocol {
            seeds: seeds.into_iter().collect(),
            splits,
            train_per_class: None,
            valid_per_class: None,
            ..tiny(&[])
        }
    })
}

fn with_plan<T>(protocol: &Protocol, look: impl FnOnce(&Plan<'_>) -> T) -> T {
    let data = dataset(4, 2, 1, 8);
    let catalog = Catalog::of(data.clone());
    look(&Plan::make(protocol, &catalog).expect("a plan"))
}

proptest! {
    #[test]
    fn a_plan_is_complete_and_in_order(protocol in any_protocol()) {
        with_plan(&protocol, |plan| {
            // Counted by hand: what is listed, and the bases that it copies from, once each.
            let mut expected = HashSet::new();
            for (split, rule) in protocol.splits.iter().enumerate() {
                for seed in &protocol.seeds {
                    for treatment in &rule.treatments {
                        expected.insert((split, *seed, *treatment));
                        expected.extend(treatment.parent().map(|parent| (split, *seed, parent)));
                    }
                }
            }
            let planned: HashSet<_> =
                plan.runs.iter().map(|run| (run.split, run.seed, run.treatment)).collect();
            prop_assert_eq!(&planned, &expected);
            prop_assert_eq!(plan.runs.len(), expected.len());

            let names: HashSet<String> = plan.runs.iter().map(|run| plan.name(run)).collect();
            prop_assert_eq!(names.len(), plan.runs.len());

            for (index, run) in plan.runs.iter().enumerate() {
                prop_assert_eq!(run.parent.is_some(), run.treatment.parent().is_some());
                let Some(parent) = run.parent else { continue };
                prop_assert!(parent < index);
                let parent = &plan.runs[parent];
                prop_assert_eq!((parent.split, parent.seed), (run.split, run.seed));
                prop_assert_eq!(Some(parent.treatment), run.treatment.parent());
            }
            Ok(())
        })?;
    }

    #[test]
    fn recipes_of_different_runs_differ(protocol in any_protocol()) {
        with_plan(&protocol, |plan| {
            // Splits that a seed makes alike still have names of their own.
            let recipes: HashSet<_> =
                plan.runs.iter().map(|run| plan.recipe(run, Policy::Portable, None).digest()).collect();
            prop_assert_eq!(recipes.len(), plan.runs.len());
            Ok(())
        })?;
    }

    #[test]
    fn the_more_is_frozen_the_less_it_costs(protocol in any_protocol()) {
        with_plan(&protocol, |plan| {
            let mut by_frozen: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for run in &plan.runs {
                let cost = plan.cost(run);
                let images = run.treatment.examples();
                let key = (run.split, run.treatment.target(), images, run.treatment.frozen());
                by_frozen.entry(key).or_default().push(cost);
            }
            for costs in by_frozen.values() {
                // A copy keeps its parent's weights in memory beside its own.
                let trained = |cost: &Cost| (cost.images, cost.operations);
                prop_assert!(costs.windows(2).all(|pair| trained(&pair[0]) == trained(&pair[1])));
            }
            let all: Vec<_> = by_frozen.iter().map(|(key, costs)| (*key, costs[0])).collect();
            for pair in all.windows(2) {
                let [(left, dear), (right, cheap)] = pair else { continue };
                if (left.0, left.1, left.2) == (right.0, right.1, right.2) {
                    prop_assert!(dear.operations > cheap.operations, "{left:?} {right:?}");
                    prop_assert_eq!(dear.images, cheap.images);
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn reduced_data_are_the_first_images_of_each_class() {
    let protocol = tiny(&[(r#""baseA", "baseB", "AnB""#, r#""baseA", "baseA@2", "baseA@6", "baseB""#)]);
    let data = dataset(4, 6, 4, 8);
    let catalog = Catalog::of(data.clone());
    let plan = Plan::make(&protocol, &catalog).unwrap();
    let of = |text: &str| plan.runs.iter().find(|run| run.treatment.to_string() == text).expect("a run");
    let [whole, reduced, all] = ["baseA", "baseA@2", "baseA@6"].map(of);
    let [train, fewer] = [whole, reduced].map(|run| plan.images(run, Part::Train).unwrap());
    // Six of each of two classes, class by class.
    assert_eq!(train.labels, [[0; 6], [1; 6]].concat());
    assert_eq!(fewer.labels, [0, 0, 1, 1]);
    for (at, from) in [0, 1, 6, 7].into_iter().enumerate() {
        assert_eq!(fewer.image(at).unwrap(), train.image(from).unwrap());
    }
    assert!(plan.images(all, Part::Train).unwrap() == train);
    assert!(plan.images(reduced, Part::Valid).unwrap() == plan.images(whole, Part::Valid).unwrap());
    for run in [whole, reduced, all] {
        for part in Part::BOTH {
            assert_eq!(plan.count(run, part), plan.images(run, part).unwrap().len());
        }
    }
    // 4 images in steps of 5; 12 in steps of 5.
    assert_eq!((plan.steps(reduced), plan.steps(whole)), (1, 3));
    let [fewer, more] = [reduced, whole].map(|run| plan.cost(run));
    assert_eq!((3 * fewer.images, fewer.operations < more.operations), (more.images, true));

    // More than there are would be the same network under another name.
    let more = tiny(&[(r#""baseA", "baseB", "AnB""#, r#""baseA@7""#)]);
    let error = Plan::make(&more, &catalog).err().expect("it is refused").to_string();
    assert!(error.contains("baseA@7, and no class has more than 6"), "{error}");
}

#[test]
fn a_cost_by_hand() {
    // 8×8 images, pooled to 4, 2, 2, 2 and 1; widths 2, 3, 2, 3, 2 and 4, 3; two classes a task.
    // Products: 2·1·9·64, 3·2·9·16, 2·3·9·4, 3·2·9·4, 2·3·9·4 (before pooling), 4·2, 3·4, 2·3.
    let products = [1152, 864, 216, 216, 216, 8, 12, 6];
    // Two classes of 2 training and 1 validation images, 2 epochs.
    let (train, valid, epochs) = (4, 2, 2);
    let protocol = tiny(&[("train_per_class = 6", ""), ("valid_per_class = 4", "")]);
    with_plan(&protocol, |plan| {
        let cost = |text: &str| {
            let run = plan.runs.iter().find(|run| run.treatment.to_string() == text).expect("a run");
            plan.cost(run)
        };
        let all: u64 = products.iter().sum();
        let passes = 2 * epochs * (3 * train + valid);
        // 281 weights and biases as drawn, as trained, in momentum and in gradients; 213 activations of
        // each of 4 images; 64 pixels of each of 6. A copy has its parent's weights beside it.
        let numbers = 4 * 281 + 4 * 213 + 6 * 64;
        let base = Cost { images: 8, operations: all * passes, memory: 4 * numbers, checkpoint: 4 * 281 };
        assert_eq!(cost("baseB"), base);
        assert_eq!(cost("B4B+"), Cost { memory: 4 * (numbers + 281), ..base });
        let frozen: u64 = products[..4].iter().sum();
        let operations = 2 * frozen * (train + valid) + (all - frozen) * passes;
        // From conv5 on 91 are trained, with 17 activations; 3 channels of 2×2 enter it. Before that, while 64 pixels of
        // each of 4 images, scaled, are replaced by those, there are three sets of weights and the momentum, which is more.
        let training = 4 * (3 * 281 + 2 * 91 + 4 * 17 + 6 * 12);
        let memory = 4 * (3 * 281 + 91) + 4 * (64 + 2 * 12) * 4;
        assert!(memory > training);
        assert_eq!(cost("A4B"), Cost { images: 8, operations, memory, checkpoint: 4 * 281 });
    });
}

/// Where there are many images for small layers, to let them in takes more than to train on them.
#[test]
fn images_that_enter_whole_take_memory_by_hand() {
    let data = dataset(4, 500, 100, 8);
    let protocol = tiny(&[("train_per_class = 6", ""), ("valid_per_class = 4", "")]);
    let catalog = Catalog::of(data.clone());
    let plan = Plan::make(&protocol, &catalog).unwrap();
    let memory = |text: &str| {
        let run = plan.runs.iter().find(|run| run.treatment.to_string() == text).expect("a run");
        plan.cost(run).memory
    };
    // 1,000 training and 200 validation images of 64 pixels.
    assert_eq!(memory("baseB"), 4 * 3 * 281 + 5 * 1000 * 64);
    // Four layers leave 12 numbers of an image, one layer 2 channels of 4×4: with these twice, in pieces and put together,
    // the pixels as they are scaled are more than as they enter.
    assert_eq!(memory("A4B"), 4 * (3 * 281 + 91) + 4 * (64 + 2 * 12) * 1000);
    assert_eq!(memory("A1B"), 4 * (3 * 281 + 261) + 4 * (64 + 2 * 32) * 1000);
    // Windows are cut out as they are asked for: one batch as numbers, two ahead as bytes.
    let protocol = tiny(&[
        ("train_per_class = 6", ""),
        ("valid_per_class = 4", ""),
        ("[solver]", "[input]\ncrop = 8\nmirror = false\nsubtract = \"moments\"\n\n[solver]"),
    ]);
    let plan = Plan::make(&protocol, &catalog).unwrap();
    let run = plan.runs.iter().find(|run| run.treatment.to_string() == "baseB").expect("a run");
    assert_eq!(plan.cost(run).memory, 4 * (4 * 281 + 5 * 213 + 5 * 64 * 3 / 2));
}

#[test]
fn bases_that_are_not_listed_are_planned() {
    let protocol = tiny(&[
        (r#""baseA", "baseB", "AnB", "BnB+", "RnA""#, r#""A4B", "A1B", "R1A""#),
        ("seeds = [1, 2]", "seeds = [7]"),
        ("train_per_class = 6", ""),
        ("valid_per_class = 4", ""),
    ]);
    with_plan(&protocol, |plan| {
        let names: Vec<String> = plan.runs.iter().map(|run| plan.name(run)).collect();
        // baseB is not needed; the rest is in the protocol's order.
        assert_eq!(names, ["half/7/baseA", "half/7/A4B", "half/7/A1B", "half/7/R1A"]);
    });
}

#[test]
fn the_ci_protocol_is_the_whole_experiment() {
    let protocol = Protocol::named("ci").unwrap();
    let data = Dataset::read(&DataSource::Embedded).unwrap();
    let catalog = Catalog::of(data.clone());
    let plan = Plan::make(&protocol, &catalog).unwrap();
    assert_eq!(plan.runs.len(), 103);
    assert_eq!(protocol.seeds.len(), 1);

    let of_split = |name: &str| -> HashSet<Treatment> {
        let at = plan.splits.iter().position(|(split, _)| split.name == name).unwrap();
        plan.runs.iter().filter(|run| run.split == at).map(|run| run.treatment).collect()
    };
    // Everything that the grammar can say of two tasks: 2 bases, 2 × 2 × 2 ways to copy, 2 random, 7 depths.
    let mut all: HashSet<Treatment> = Task::BOTH.map(Treatment::Base).into();
    for n in DEPTHS {
        for target in Task::BOTH {
            let copied = Task::BOTH.into_iter().flat_map(|task| {
                [true, false].map(|tuned| Treatment::Grafted {
                    source: Source::Base { task, tuned },
                    n,
                    target,
                })
            });
            all.extend(copied);
            all.insert(Treatment::Grafted { source: Source::Random, n, target });
        }
    }
    assert_eq!(of_split("random-0"), all);

    // The dissimilar split: transfer both ways, random controls on the same targets, both bases.
    let frozen = [Kind::Base, Kind::Transfer, Kind::Random];
    let dissimilar: HashSet<Treatment> = all.iter().copied().filter(|t| frozen.contains(&t.kind())).collect();
    assert_eq!(of_split("digits-garments"), dissimilar);
    let (split, _) = plan.splits.iter().find(|(split, _)| split.name == "digits-garments").unwrap();
    assert!(split.a.len() == 10 && split.a.iter().all(|class| class.name.starts_with("digit-")));
    assert!(split.b.len() == 10 && split.b.iter().all(|class| !class.name.starts_with("digit-")));

    // One base on all 20 classes.
    assert_eq!(of_split("whole"), HashSet::from([Treatment::Base(Task::A)]));
    assert_eq!(plan.splits[2].0.a.len(), 20);

    // 1,938,432 products an image with 20 classes, computed by hand in the tests of `architecture`.
    let whole = plan.runs.iter().find(|run| run.split == 2).unwrap();
    let Cost { images, operations, .. } = plan.cost(whole);
    assert_eq!((images, operations), (60_000, 2 * 1_938_432 * 10 * (3 * 6000 + 2000)));
}

proptest! {
    /// However many jobs there are, nothing is quicker than a base network and one that copies from it, nor than all shared out.
    #[test]
    fn a_plan_takes_its_longest_chain_at_least(
        of in proptest::collection::vec((0usize..8, proptest::option::of(1u64..1000)), 1..30),
        jobs in 1usize..40,
    ) {
        let treatment: Treatment = "baseA".parse().unwrap();
        let parent = |at: usize, base: usize| (base > 0 && base < at).then(|| base - 1);
        let runs: Vec<PlannedRun> = of
            .iter()
            .enumerate()
            .map(|(at, (base, _))| PlannedRun { split: 0, seed: 1, treatment, parent: parent(at, *base) })
            .collect();
        let left: Vec<Option<u64>> = of.iter().map(|(_, left)| *left).collect();
        let all: u64 = left.iter().flatten().sum();
        let takes = |jobs| operations_in_a_row(&runs, &left, jobs);
        prop_assert!(takes(jobs) >= all as f64 / jobs as f64 && takes(jobs) <= all as f64);
        prop_assert!(takes(jobs + 1) <= takes(jobs));
        prop_assert_eq!(takes(1), all as f64);
        let chain = |at: usize| {
            let base = runs[at].parent.and_then(|base| left[base]).unwrap_or(0);
            left[at].map_or(0, |own| own + base)
        };
        let longest = (0..runs.len()).map(chain).max().unwrap();
        prop_assert!(takes(jobs) >= longest as f64);
        prop_assert_eq!(takes(1_000_000), longest as f64);
    }
}
