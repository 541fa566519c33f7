use super::*;
use crate::protocol::Protocol;
use crate::split::Catalog;
use crate::testing::{dataset, tiny};
use proptest::prelude::*;

const LIMITS: Limits = Limits { array: 1001, elements: 10_000, whole: false };

fn protocol(seeds: usize) -> Protocol {
    let list: Vec<String> = (1..=seeds).map(|seed| seed.to_string()).collect();
    tiny(&[("seeds = [1, 2]", &format!("seeds = [{}]", list.join(", ")))])
}

/// Arranges those of the plan's runs, or all, and hands both to `look`.
fn with<T>(
    protocol: &Protocol,
    cluster: &Cluster,
    limits: Limits,
    todo: Option<&[usize]>,
    elsewhere: &HashMap<usize, (String, u32)>,
    look: impl FnOnce(&Plan<'_>, Arrangement) -> T,
) -> T {
    let data = dataset(4, 6, 4, 8);
    let catalog = Catalog::of(data.clone());
    let plan = Plan::make(protocol, &catalog).unwrap();
    let all: Vec<usize> = (0..plan.runs.len()).collect();
    let made = arrange(&plan, todo.unwrap_or(&all), elsewhere, cluster, limits, 0);
    look(&plan, made)
}

/// Every network is in one element or left; every element waits for the elements its networks copy from and for
/// nothing else; no array is over the limit.
fn hold(plan: &Plan<'_>, todo: usize, made: &Arrangement, limits: Limits, per_job: usize) {
    let mut place: HashMap<usize, (usize, u32)> = HashMap::new();
    for (at, batch) in made.batches.iter().enumerate() {
        assert!(!batch.elements.is_empty() && batch.elements.len() <= limits.array);
        for (index, runs) in &batch.elements {
            assert!((*index as usize) < limits.array);
            assert!((1..=per_job).contains(&runs.len()));
            for run in runs {
                assert_eq!(place.insert(*run, (at, *index)), None, "a network is in two elements");
                assert_eq!(batch.copies, plan.runs[*run].parent.is_some());
                match plan.runs[*run].parent.and_then(|base| place.get(&base)) {
                    None => assert_eq!(batch.pair, Pair::Nothing),
                    Some((base, element)) => {
                        assert_eq!(
                            (&batch.pair, index),
                            (&Pair::Batch(*base), element),
                            "{}",
                            plan.name(&plan.runs[*run])
                        );
                        assert!(*base < at);
                    }
                }
            }
        }
        assert!(batch.behind.is_none_or(|behind| behind < at));
    }
    assert_eq!(place.len() + made.left, todo);
    let elements: usize = made.batches.iter().map(|batch| batch.elements.len()).sum();
    assert!(elements <= limits.elements);
    // What is left is not what something that is not left copies from.
    for run in place.keys() {
        assert!(plan.runs[*run].parent.is_none_or(|base| place.contains_key(&base)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn each_network_waits_for_its_own_base_alone(
        seeds in 1usize..7,
        array in 1usize..9,
        elements in 0usize..60,
        per_job in 1u32..5,
        max_running in prop::option::of(1u32..9),
    ) {
        let limits = Limits { array, elements, whole: false };
        let cluster = Cluster { per_job: Some(per_job), max_running, ..Cluster::default() };
        with(&protocol(seeds), &cluster, limits, None, &HashMap::new(), |plan, made| {
            hold(plan, plan.runs.len(), &made, limits, per_job as usize);
            let Some(most) = max_running else { return };
            for copies in [false, true] {
                let level = || made.batches.iter().filter(|batch| batch.copies == copies);
                // Of the arrays that may run at the same time, the shares come to no more than was asked for.
                let free: u32 = level().filter(|batch| batch.behind.is_none()).map(|batch| batch.throttle.unwrap()).sum();
                assert!(free <= most, "{free} of {most}");
                assert!(level().filter(|batch| batch.behind.is_some()).all(|batch| batch.throttle == Some(1)));
                let mut behind: Vec<usize> = level().filter_map(|batch| batch.behind).collect();
                behind.sort_unstable();
                let waited = behind.len();
                behind.dedup();
                assert_eq!(behind.len(), waited, "two arrays follow one");
            }
        });
    }
}

#[test]
fn the_children_of_a_base_are_in_as_many_arrays_under_its_index() {
    with(&protocol(3), &Cluster::default(), LIMITS, None, &HashMap::new(), |plan, made| {
        hold(plan, 24, &made, LIMITS, 1);
        // Bases; random controls; and as many as copy from one base: A1B and A4B, B1B+ and B4B+.
        let sizes: Vec<usize> = made.batches.iter().map(|batch| batch.elements.len()).collect();
        assert_eq!(sizes, [6, 6, 6, 6]);
    });
}

#[test]
fn a_base_that_a_job_has_is_waited_for_there_and_one_that_is_done_is_not() {
    let elsewhere = HashMap::from([(0, ("77".to_owned(), 5))]);
    // half/1/baseA is in job 77, half/1/baseB done.
    with(&protocol(1), &Cluster::default(), LIMITS, Some(&[2, 3, 4, 5]), &elsewhere, |plan, made| {
        let names = |batch: &Batch| -> Vec<(u32, String)> {
            let name = |run: &usize| plan.name(&plan.runs[*run]);
            batch
                .elements
                .iter()
                .flat_map(|(at, runs)| runs.iter().map(move |run| (*at, name(run))))
                .collect()
        };
        let seen: Vec<(Pair, Vec<(u32, String)>)> =
            made.batches.iter().map(|batch| (batch.pair.clone(), names(batch))).collect();
        let name = |name: &str| format!("half/1/{name}");
        assert_eq!(
            seen,
            [
                (Pair::Nothing, vec![(0, name("B1B+")), (1, name("B4B+"))]),
                (Pair::Job("77".to_owned()), vec![(5, name("A1B"))]),
                (Pair::Job("77".to_owned()), vec![(5, name("A4B"))]),
            ]
        );
    });
}

#[test]
fn networks_with_other_resources_have_arrays_of_their_own() {
    let text =
        "partition = \"p\"\ntime = \"60\"\n[[network]]\ntreatments = [\"baseA\", \"AnB\"]\ntime = \"90\"\n";
    let cluster: Cluster = toml::from_str(text).unwrap();
    with(&protocol(2), &cluster, LIMITS, None, &HashMap::new(), |plan, made| {
        hold(plan, 16, &made, LIMITS, 1);
        for batch in &made.batches {
            for run in batch.elements.values().flatten() {
                let longer =
                    ["baseA", "A1B", "A4B"].contains(&plan.runs[*run].treatment.to_string().as_str());
                let resources = &batch.resources;
                assert_eq!(resources.time.as_deref(), Some(if longer { "90" } else { "60" }));
                assert_eq!(resources.partition.as_deref(), Some("p"));
            }
        }
    });
    let wrong = toml::from_str::<Cluster>("partitoin = \"p\"").unwrap_err().to_string();
    assert!(wrong.contains("unknown field `partitoin`"), "{wrong}");
}

#[test]
fn an_engine_that_sees_to_the_order_gets_everything_at_once() {
    let limits = Limits { array: 1, elements: usize::MAX, whole: true };
    with(&protocol(2), &Cluster::default(), limits, None, &HashMap::new(), |plan, made| {
        assert_eq!(made.batches.len(), 1);
        assert!(made.batches[0].elements[&0].iter().copied().eq(0..plan.runs.len()));
    });
}
