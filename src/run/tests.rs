mod world;

use self::world::*;
use super::*;
use crate::claim::Claim;
use crate::digest::RecipeDigest;
use crate::seed::{Name, Stream};
use crate::split::Catalog;
use crate::store::Entry;
use crate::testing::{dataset, tiny};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;

#[test]
fn bits_depend_neither_on_jobs_nor_on_order() {
    let listed = tiny(&[]);
    let fake = || Fake { step: Duration::from_micros(300), ..Fake::default() };
    let expected = digests(&World::new(listed.clone()).run(&fake()).unwrap());
    // Two bases, 2 transferred, 2 tuned and 2 random, for two seeds; all different.
    assert_eq!(expected.len(), 16);
    assert_eq!(expected.values().collect::<HashSet<_>>().len(), 16);
    for jobs in 1..=4 {
        let mut stream = Stream::open(&Name::new("order of the plan").and("jobs", jobs));
        let mut protocol = listed.clone();
        stream.shuffle(&mut protocol.seeds);
        stream.shuffle(&mut protocol.splits[0].treatments);
        assert_ne!(protocol, listed);
        let world = World { jobs, ..World::new(protocol) };
        assert_eq!(digests(&world.run(&fake()).unwrap()), expected, "{jobs} jobs");
    }
}

/// Writes down what it hears.
#[derive(Default)]
struct Diary(Mutex<Vec<(&'static str, usize)>>);

impl Diary {
    fn note(&self, what: &'static str, run: usize) {
        self.0.lock().unwrap().push((what, run));
    }
}

impl Observer for Diary {
    fn started(&self, run: usize) {
        self.note("started", run);
    }
    fn finished(&self, run: usize, done: &Done) {
        self.note(if done.fresh { "trained" } else { "found" }, run);
    }
    fn barred(&self, run: usize) {
        self.note("barred", run);
    }
}

#[test]
fn parents_come_first() {
    let protocol = tiny(&[]);
    let data = dataset(4, 6, 4, 8);
    let catalog = Catalog::of(data.clone());
    let plan = Plan::make(&protocol, &catalog).unwrap();
    for jobs in [1, 3] {
        let world = World { jobs, ..World::new(protocol.clone()) };
        let diary = Diary::default();
        let fake = Fake { step: Duration::from_millis(1), ..Fake::default() };
        world.watched(&fake, &AtomicBool::new(false), &diary).unwrap();
        let diary = diary.0.into_inner().unwrap();
        let at = |note| diary.iter().position(|other| *other == note).expect("it was noted");
        assert_eq!(diary.len(), 2 * plan.runs.len());
        for (index, run) in plan.runs.iter().enumerate() {
            assert!(at(("started", index)) < at(("trained", index)));
            if let Some(parent) = run.parent {
                assert!(at(("trained", parent)) < at(("started", index)), "{}", plan.name(run));
            }
        }
    }
}

#[test]
fn children_begin_with_what_their_parents_ended_with() {
    let all = World::new(one_seed()).run(&Fake::default()).unwrap();
    for (name, parent, n) in [("A1B", "baseA", 1), ("A4B", "baseA", 4), ("B4B+", "baseB", 4)] {
        let (child, parent) =
            (done(&all, &format!("half/1/{name}")), done(&all, &format!("half/1/{parent}")));
        let given = parent.manifest.trained().unwrap();
        assert_eq!(child.manifest.initial.prefix(n), given.prefix(n), "{name}");
        assert_ne!(child.manifest.initial.0[usize::from(n)], given.0[usize::from(n)], "{name}");
        assert_eq!(child.manifest.recipe.parent, Some(given.whole()));
    }
    assert_eq!(done(&all, "half/1/R4A").manifest.recipe.parent, None);
}

#[test]
fn a_second_run_trains_nothing() {
    let world = World::new(tiny(&[]));
    let fake = Fake::default();
    let first = world.run(&fake).unwrap();
    assert_eq!((fresh(&first).len(), fake.called().len()), (16, 16));
    let second = world.run(&fake).unwrap();
    assert_eq!((fresh(&second).len(), fake.called().len()), (0, 0));
    // Down to the time it took: the manifests are those of the first.
    for (name, done) in &second {
        let first = first[name].as_ref().unwrap();
        assert_eq!(done.as_ref().unwrap(), &Done { fresh: false, ..first.clone() });
    }
}

#[test]
fn a_diverged_base_bars_its_children_alone() {
    let world = World { jobs: 2, ..World::new(tiny(&[])) };
    let fake = Fake { diverges: HashSet::from(["half/2/baseA", "half/1/R1A"]), ..Fake::default() };
    let all = world.run(&fake).unwrap();
    let barred: Vec<_> =
        all.iter().filter(|(_, done)| done.is_none()).map(|(name, _)| name.as_str()).collect();
    assert_eq!(barred, ["half/2/A1B", "half/2/A4B"]);
    for name in ["half/2/baseA", "half/1/R1A"] {
        let manifest = &done(&all, name).manifest;
        assert_eq!(manifest.outcome, Outcome::Diverged { epoch: 0, step: 1 });
        assert_eq!((manifest.trained(), manifest.accuracy()), (None, None));
    }
    let trained = all.values().flatten().filter(|done| done.manifest.trained().is_some()).count();
    assert_eq!((trained, fake.called().len()), (12, 14));
    // That a network diverges is a result too: nothing is tried again.
    let again = world.run(&fake).unwrap();
    assert_eq!((fresh(&again).len(), fake.called().len()), (0, 0));
    assert!(again["half/2/A4B"].is_none());
}

#[test]
fn the_first_failure_is_told_and_what_was_finished_is_kept() {
    let world = World::new(one_seed());
    let failing = Fake { fails: HashSet::from(["half/1/R1A", "half/1/A1B"]), ..Fake::default() };
    let error = world.run(&failing).unwrap_err().to_string();
    // With one job, nothing is begun after the first that fails.
    let before = failing.called();
    let last = before.last().unwrap();
    assert!(failing.fails.contains(last.as_str()));
    assert_eq!(error, format!("libtorch failed on {last}: as the test says"));
    assert_eq!(before.iter().filter(|name| failing.fails.contains(name.as_str())).count(), 1);

    let fake = Fake::default();
    let all = world.run(&fake).unwrap();
    let after: HashSet<String> = fake.called().into_iter().collect();
    let kept: HashSet<String> = before[..before.len() - 1].iter().cloned().collect();
    assert!(!kept.is_empty() && after.is_disjoint(&kept));
    assert_eq!(after.len() + kept.len(), 8);
    assert_eq!(digests(&all), digests(&World::new(one_seed()).run(&fake).unwrap()));
}

#[test]
fn a_failure_stops_the_others() {
    let world = World { jobs: 2, ..World::new(one_seed()) };
    let slow = Fake {
        fails: HashSet::from(["half/1/baseA", "half/1/baseB"]),
        step: Duration::from_millis(5),
        ..Fake::default()
    };
    let error = world.run(&slow).unwrap_err();
    assert!(matches!(error, Error::Torch { .. }), "{error}");
    assert!(slow.called().len() <= 4);
    assert_eq!(world.run(&Fake::default()).unwrap().len(), 8);
}

#[test]
fn what_was_stopped_goes_on() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let expected = digests(&World::new(one_seed()).run(&Fake::default()).unwrap());
    for jobs in [1, 3] {
        for call in [0, 3, 7] {
            let world = World { jobs, ..World::new(one_seed()) };
            STOP.store(false, Ordering::Relaxed);
            let fake = Fake { stops: Some((call, &STOP)), ..Fake::default() };
            let error = world.watched(&fake, &STOP, &Unobserved).unwrap_err();
            assert!(matches!(error, Error::Interrupted), "{error}");
            let before = fake.called();
            // What was in hand is given up, and nothing more begun.
            let kept = Store::open(world.dir.path()).unwrap().list().unwrap().0;
            let kept = kept.iter().filter(|entry| matches!(entry, Entry::Manifest(_))).count();
            assert!(before.len() > call && before.len() - kept <= jobs, "{before:?}, {kept} kept");

            let rest = Fake::default();
            assert_eq!(digests(&world.run(&rest).unwrap()), expected);
            assert_eq!(rest.called().len(), 8 - kept);
        }
    }
    // Told before it began, it begins nothing.
    STOP.store(true, Ordering::Relaxed);
    let (world, fake) = (World::new(one_seed()), Fake::default());
    assert!(matches!(world.watched(&fake, &STOP, &Unobserved), Err(Error::Interrupted)));
    assert_eq!(fake.called(), [""; 0]);
}

#[test]
fn what_is_lost_or_damaged_is_trained_again_alone() {
    let (world, fake) = (World::new(one_seed()), Fake::default());
    let first = world.run(&fake).unwrap();
    let expected = digests(&first);
    fake.called();
    for name in ["half/1/baseA", "half/1/A4B", "half/1/R4A"] {
        let checkpoint = world.checkpoint(done(&first, name));
        let manifest = world.path(&Entry::Manifest(done(&first, name).manifest.recipe_digest()));
        let harms: [&dyn Fn(); 4] = [
            &|| fs::remove_file(&checkpoint).unwrap(),
            &|| flip(&checkpoint),
            &|| fs::remove_file(&manifest).unwrap(),
            &|| flip(&manifest),
        ];
        for (harm, act) in harms.into_iter().enumerate() {
            act();
            let again = world.run(&fake).unwrap();
            assert_eq!((fake.called(), fresh(&again)), (vec![name.to_owned()], vec![name]), "harm {harm}");
            assert_eq!(digests(&again), expected);
            assert_eq!(done(&again, name).manifest.contradicts, None);
        }
    }
}

#[test]
fn other_bits_from_the_same_recipe_are_told() {
    let world = World::new(one_seed());
    let first = world.run(&Fake::default()).unwrap();
    let other = Fake { machine: 1, ..Fake::default() };

    // A network that nothing copies from.
    fs::remove_file(world.checkpoint(done(&first, "half/1/R4A"))).unwrap();
    let second = world.run(&other).unwrap();
    assert_eq!(other.called(), ["half/1/R4A"]);
    let again = done(&second, "half/1/R4A");
    assert_eq!(again.manifest.contradicts, Some(whole(done(&first, "half/1/R4A"))));
    assert_ne!(again.manifest.contradicts, Some(whole(again)));
    assert_eq!(second.values().flatten().filter(|done| done.manifest.contradicts.is_some()).count(), 1);

    // A base: those that copy from it have another recipe now, so there is nothing that they contradict.
    fs::remove_file(world.checkpoint(done(&first, "half/1/baseA"))).unwrap();
    let third = world.run(&other).unwrap();
    assert_eq!(other.called(), ["half/1/baseA", "half/1/A1B", "half/1/A4B"]);
    let told: Vec<_> = third
        .iter()
        .filter_map(|(name, done)| Some((name.as_str(), done.as_ref()?.manifest.contradicts?)))
        .collect();
    // That R4A came out otherwise once is not forgotten.
    let before = |name| (name, whole(done(&first, name)));
    assert_eq!(told, [before("half/1/R4A"), before("half/1/baseA")]);

    // Nor is it when it is trained once more, to the bits it has now.
    fs::remove_file(world.checkpoint(done(&third, "half/1/R4A"))).unwrap();
    let fourth = world.run(&other).unwrap();
    assert_eq!(done(&fourth, "half/1/R4A").manifest.contradicts, Some(before("half/1/R4A").1));
}

#[test]
fn a_recipe_that_diverges_the_second_time_contradicts() {
    let world = World::new(one_seed());
    let first = world.run(&Fake::default()).unwrap();
    let before = done(&first, "half/1/A4B");
    fs::remove_file(world.checkpoint(before)).unwrap();
    let fake = Fake { diverges: HashSet::from(["half/1/A4B"]), ..Fake::default() };
    let second = world.run(&fake).unwrap();
    assert_eq!(done(&second, "half/1/A4B").manifest.contradicts, Some(whole(before)));
}

/// Removes the checkpoint of a finished run, once.
struct Thief<'a>(&'a World, AtomicBool);

impl Observer for Thief<'_> {
    fn finished(&self, _run: usize, done: &Done) {
        if done.manifest.run.ends_with("baseA") && !self.1.swap(true, Ordering::Relaxed) {
            fs::remove_file(self.0.checkpoint(done)).expect("it is there");
        }
    }
}

#[test]
fn a_base_that_vanishes_is_told_and_mended() {
    let world = World::new(one_seed());
    let thief = Thief(&world, AtomicBool::new(false));
    let error = world.watched(&Fake::default(), &AtomicBool::new(false), &thief).unwrap_err().to_string();
    assert!(error.contains("was there and is gone; run the same command again"), "{error}");
    let expected = digests(&World::new(one_seed()).run(&Fake::default()).unwrap());
    assert_eq!(digests(&world.run(&Fake::default()).unwrap()), expected);
}

#[test]
fn two_on_one_store_train_each_network_once() {
    let world = World { jobs: 2, ..World::new(tiny(&[])) };
    let fake = Fake { step: Duration::from_millis(3), ..Fake::default() };
    let [one, two] = std::thread::scope(|scope| {
        [(); 2].map(|()| scope.spawn(|| world.run(&fake).unwrap())).map(|thread| thread.join().unwrap())
    });
    assert_eq!(digests(&one), digests(&two));
    let mut counts: HashMap<String, usize> = HashMap::new();
    for name in fake.called() {
        *counts.entry(name).or_default() += 1;
    }
    assert_eq!((counts.len(), counts.values().max()), (16, Some(&1)));
    // Each was fresh for one of the two.
    let mut both = [fresh(&one), fresh(&two)].concat();
    both.sort_unstable();
    assert!(both.into_iter().eq(one.keys()));
}

/// Another process, which takes over every network as soon as it is trained.
struct Rival<'a>(&'a World);

impl Observer for Rival<'_> {
    fn advanced(&self, _run: usize, _images: u64) {
        let store = Store::open(self.0.dir.path()).unwrap();
        for recipe in store.claimed().unwrap().into_keys() {
            let (number, claim) = store.last_claim(recipe).unwrap().unwrap();
            store.make_claim(recipe, &Claim { number: number + 1, ..claim.unwrap() }).unwrap();
        }
    }
}

#[test]
fn what_fails_in_other_hands_is_no_failure() {
    let world = World { snapshots: Snapshots { every: Every::Never, ..EACH_STEP }, ..World::new(one_seed()) };
    let fake = Fake { fails: ["half/1/baseA"].into(), ..Fake::default() };
    let ended = world.watched(&fake, &AtomicBool::new(false), &Rival(&world));
    assert!(matches!(ended, Err(Error::Superseded { .. })), "{ended:?}");
    let store = Store::open(world.dir.path()).unwrap();
    let recipes: Vec<_> = store.claimed().unwrap().into_keys().collect();
    assert_eq!(recipes.len(), 1);
    assert_eq!(store.claim(recipes[0], 1).unwrap().unwrap().stage, Stage::Replaced);
}

#[test]
fn a_network_that_memory_cannot_hold_is_refused_before_training() {
    let fake = Fake::default();
    // Each takes 10 KB or so; see the tests of `plan`.
    let narrow = World { memory: 15_000, jobs: 2, ..World::new(tiny(&[])) };
    let error = narrow.run(&fake).expect_err("two jobs do not fit").to_string();
    // Of two jobs either may be the first to be refused.
    assert!(error.starts_with("half/1/base"), "{error}");
    assert!(error.contains(": takes at least 0.0 GiB of memory in each of 2 jobs"), "{error}");
    assert!(error.contains("take fewer --jobs"), "{error}");
    assert!(fake.called().is_empty());
    // One at a time they do.
    let alone = World { memory: 15_000, ..World::new(tiny(&[])) };
    assert!(alone.run(&fake).is_ok());
}

#[test]
fn what_is_to_be_trained_is_to_fit_and_what_is_there_need_not() {
    // One target, so that its base network and those that copy from it are all.
    let treatments = (r#"["baseA", "baseB", "AnB", "BnB+", "RnA"]"#, r#"["baseB", "BnB+"]"#);
    let world = World::new(tiny(&[treatments, ("seeds = [1, 2]", "seeds = [1]")]));
    let catalog = Catalog::of(dataset(4, 6, 4, 8));
    let plan = Plan::make(&world.protocol, &catalog).unwrap();
    let takes = |run: usize| plan.cost(&plan.runs[run]).memory;
    // Room for the base network, and not for B1B+ and B4B+, which are as large as each other.
    assert!(takes(0) < takes(1) && takes(1) == takes(2));
    let asks = |jobs, memory| {
        let store = Store::open(world.dir.path()).unwrap();
        let asked = all_fit(&plan, &store, Policy::Portable, jobs, memory);
        asked.err().map(|error| error.to_string().split(':').next().unwrap().to_owned())
    };
    let refused = |name: &str| Some(format!("half/1/{name}"));
    Store::create(world.dir.path()).unwrap();
    assert_eq!(asks(1, takes(1)), None);
    assert_eq!(asks(1, takes(0)), refused("B1B+"));
    assert_eq!(asks(2, takes(1)), refused("B1B+"));
    // A base network that diverged has nothing to be copied.
    world.run(&Fake { diverges: HashSet::from(["half/1/baseB"]), ..Fake::default() }).unwrap();
    assert_eq!(asks(1, takes(0)), None);
    let all = world.dir.path().join("manifests");
    fs::remove_dir_all(&all).and_then(|()| fs::create_dir(&all)).unwrap();
    world.run(&Fake::default()).unwrap();
    assert_eq!(asks(1, 0), None);
    // What one that is gone had to be copied from is known by its name: it need not be trained again.
    let store = Store::open(world.dir.path()).unwrap();
    let entry = |name: &str| {
        let all =
            store.manifests().unwrap().into_iter().map(|digest| store.manifest(digest).unwrap().whole());
        let manifest = all.flatten().find(|manifest| manifest.run == format!("half/1/{name}")).unwrap();
        let weights = manifest.trained().unwrap().whole();
        (Entry::Manifest(manifest.recipe_digest()), Entry::Checkpoint(weights))
    };
    let [(base, _), (_, tuned)] = ["baseB", "B4B+"].map(entry);
    let to_train = || {
        let runs = to_train(&plan, &store, Policy::Portable).unwrap();
        runs.into_iter().map(|run| plan.name(&plan.runs[run])).collect::<Vec<_>>()
    };
    assert_eq!(to_train(), [""; 0]);
    fs::remove_file(store.path(&base)).unwrap();
    assert_eq!(to_train(), ["half/1/baseB"]);
    assert_eq!((asks(1, takes(0)), asks(1, takes(0) - 1)), (None, refused("baseB")));
    // Not that of another protocol by the same names.
    let other = tiny(&[treatments, ("seeds = [1, 2]", "seeds = [1]"), ("rate = 0.05", "rate = 0.06")]);
    let other = Plan::make(&other, &catalog).unwrap();
    let asked = all_fit(&other, &store, Policy::Portable, 1, takes(0));
    assert!(asked.unwrap_err().to_string().starts_with("half/1/B1B+: "));
    // A record without its weights is trained again.
    fs::remove_file(store.path(&tuned)).unwrap();
    assert_eq!(asks(1, takes(0)), refused("B4B+"));
    assert_eq!(to_train(), ["half/1/baseB", "half/1/B4B+"]);
    world.run(&Fake::default()).unwrap();
    assert_eq!(asks(1, 0), None);
}

#[test]
fn a_run_that_was_stopped_goes_on_from_its_last_state() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let world = World::new(one_seed());
    let expected = digests(&World::new(one_seed()).run(&Fake::default()).unwrap());
    let stopped = Fake { stops: Some((1, &STOP)), ..Fake::default() };
    assert!(matches!(world.watched(&stopped, &STOP, &Unobserved), Err(Error::Interrupted)));
    let left = || std::fs::read_dir(world.dir.path().join("snapshots")).unwrap().count();
    assert_eq!(left(), 1);
    let again = Fake::default();
    assert_eq!(digests(&world.run(&again).unwrap()), expected);
    assert_eq!(again.called().first().map(String::as_str), Some("half/1/A1B"));
    // The first to be trained had its first epoch behind it, the others began.
    let begun = again.begun.into_inner().unwrap();
    assert_eq!((begun[0], begun[1..].iter().sum::<u32>()), (1, 0));
    assert_eq!(left(), 0, "what is finished needs no snapshot");
}

#[test]
fn a_damaged_state_is_passed_over_and_told() {
    let kept = Kept::new();
    // Three steps an epoch: the fake's one is the first of each.
    assert_eq!(kept.store.snapshots(kept.base).unwrap(), [1, 4]);
    for (harm, begins) in [(4, 1), (1, 0)] {
        flip(&kept.store.path(&Entry::Snapshot(kept.base, harm)));
        let (begun, passed) = kept.again();
        assert_eq!(begun, [begins], "harm {harm}");
        assert_eq!((passed.len(), passed[0].0, passed[0].2), (1, 4, u64::from(begins)));
        assert!(passed[0].1.starts_with("is damaged ("), "{passed:?}");
        // It wrote those anew that it passed.
        if harm == 4 {
            flip(&kept.store.path(&Entry::Snapshot(kept.base, 4)));
        }
    }
}

/// Writes down which states are passed over, and from where training goes on.
#[derive(Default)]
struct Passed(Mutex<Vec<(u64, String, u64)>>);

impl Observer for Passed {
    fn passes_over(&self, _run: usize, kept: u64, why: &str, from: u64) {
        self.0.lock().unwrap().push((kept, why.to_owned(), from));
    }
}

/// A plan that was trained with all states kept, and a base network of it.
struct Kept {
    world: World,
    store: Store,
    base: RecipeDigest,
    digests: BTreeMap<String, Option<WeightsDigest>>,
}

impl Kept {
    fn new() -> Self {
        let world = World { snapshots: Snapshots { keep: true, ..EACH_STEP }, ..World::new(one_seed()) };
        let whole = world.run(&Fake::default()).unwrap();
        let base = done(&whole, "half/1/baseA").manifest.recipe_digest();
        let store = Store::open(world.dir.path()).unwrap();
        Self { world, store, base, digests: digests(&whole) }
    }

    /// Trains the base network again, to the same weights: the epochs that it began with, and what was passed over.
    fn again(&self) -> (Vec<u32>, Vec<(u64, String, u64)>) {
        fs::remove_file(self.store.path(&Entry::Manifest(self.base))).unwrap();
        let (fake, passed) = (Fake::default(), Passed::default());
        let ended = self.world.watched(&fake, &AtomicBool::new(false), &passed).unwrap();
        assert_eq!(digests(&ended), self.digests);
        (fake.begun.into_inner().unwrap(), passed.0.into_inner().unwrap())
    }
}

#[test]
fn a_state_of_another_machine_is_passed_over_and_told() {
    let kept = Kept::new();
    // Its own are after steps 1 and 4; see above.
    assert_eq!(kept.again(), (vec![2], vec![]));
    let from_elsewhere = |done: u64| {
        let mut state = kept.store.snapshot(kept.base, done).unwrap().whole().unwrap();
        state.progress.fingerprint =
            Some(Fake { machine: 1, ..Fake::default() }.environment().unwrap().fingerprint);
        kept.store.put_snapshot(&state, done).unwrap();
    };
    let other = "was computed under another fingerprint than this machine has".to_owned();
    from_elsewhere(4);
    assert_eq!(kept.again(), (vec![1], vec![(4, other.clone(), 1)]));
    // One of this machine's that is no state of this network.
    let mut state = kept.store.snapshot(kept.base, 4).unwrap().whole().unwrap();
    state.momentum.clear();
    kept.store.put_snapshot(&state, 4).unwrap();
    let misfit = "is no state of its network in training".to_owned();
    assert_eq!(kept.again(), (vec![1], vec![(4, misfit, 1)]));
    from_elsewhere(4);
    from_elsewhere(1);
    assert_eq!(kept.again(), (vec![0], vec![(4, other, 0)]));
}
