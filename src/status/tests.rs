use super::*;
use crate::claim::Job;
use crate::fence::Fence;
use crate::split::Catalog;
use crate::testing::{dataset, tiny};
use tempfile::TempDir;

fn holder(boot: &str, pid: u32) -> Holder {
    let job = Some(Job { id: format!("9_{pid}"), restarts: 0 });
    Holder { host: format!("host-{boot}"), boot: boot.to_owned(), pid, job }
}

fn element(phase: Phase) -> Element {
    Element { job: "9".to_owned(), index: Some(1), phase, node: Some("n1".to_owned()), log: None }
}

/// Looks at an empty store of the tiny protocol after `act`, with what jobs say.
fn look(act: impl FnOnce(&Plan<'_>, &Store), jobs: &HashMap<usize, Element>) -> Status {
    let (protocol, data) = (tiny(&[]), dataset(4, 6, 4, 8));
    let catalog = Catalog::of(data.clone());
    let plan = Plan::make(&protocol, &catalog).unwrap();
    let dir = TempDir::new().unwrap();
    let store = Store::create(dir.path()).unwrap();
    act(&plan, &store);
    Watch::new(&plan, &store, Policy::Portable).look(jobs).unwrap()
}

fn recipe(plan: &Plan<'_>, index: usize) -> RecipeDigest {
    plan.recipe(&plan.runs[index], Policy::Portable, None).digest()
}

#[test]
fn of_nothing_everything_is_to_be_done() {
    let status = look(|_, _| (), &HashMap::new());
    assert_eq!(status.standing.len(), 16);
    // Two bases and two random controls for each of two seeds; the rest waits for its base.
    let free = status.standing.iter().filter(|standing| **standing == Standing::Free).count();
    let waiting = status.standing.iter().filter(|standing| matches!(standing, Standing::Waiting(_))).count();
    assert_eq!((free, waiting), (8, 8));
    assert!(status.operations_left > 0);
    assert_eq!((status.speed, status.seconds_left), (None, None));
}

/// Of a job with several networks each may be the first that it begins, until it trains one.
#[test]
fn what_a_job_has_not_begun_waits_in_it_while_it_trains_another() {
    let jobs: HashMap<usize, Element> = [0, 1].map(|run| (run, element(Phase::Running))).into();
    let status = look(|_, _| (), &jobs);
    assert!(status.standing[..2].iter().all(|standing| matches!(standing, Standing::Starting(_))));
    // A process of Slurm's says its job, one of this program's own engine does not.
    for its in [holder("elsewhere", 1), Holder { job: None, ..holder("elsewhere", 1) }] {
        let train = |plan: &Plan<'_>, store: &Store| {
            let fence = Fence::new(store, its);
            fence.take(recipe(plan, 0), "half/1/baseA", 100).unwrap().unwrap();
        };
        let status = look(train, &jobs);
        assert!(matches!(status.standing[0], Standing::Running(_)), "{:?}", status.standing);
        let waits = Phase::Queued("in a job that runs".to_owned());
        let second = &status.standing[1];
        assert!(matches!(second, Standing::Queued(job) if job.phase == waits), "{second:?}");
    }
}

/// A process of this machine that holds its lock trains; without its lock it is gone. One of another machine is
/// believed as long as it speaks.
#[test]
fn who_trains_is_told_from_who_is_gone() {
    let here = Holder::here();
    for (whose, locked, old, running) in [
        (here.clone(), true, false, true),
        (here.clone(), true, true, true),
        (here, false, false, false),
        (holder("elsewhere", 1), false, false, true),
        (holder("elsewhere", 1), false, true, false),
    ] {
        let name = whose.to_string();
        let (protocol, data) = (tiny(&[]), dataset(4, 6, 4, 8));
        let catalog = Catalog::of(data.clone());
        let plan = Plan::make(&protocol, &catalog).unwrap();
        let dir = TempDir::new().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let at = recipe(&plan, 0);
        let fence = Fence::new(&store, whose);
        let hold = fence.take(at, "half/1/baseA", 100).unwrap().unwrap();
        let mut claim = store.claim(at, 1).unwrap().unwrap();
        claim.at -= if old { 2 * STALE.as_secs() } else { 0 };
        store.renew_claim(at, &claim).unwrap();
        if !locked {
            drop((hold, fence));
        }
        // A copy that has not got the lock yet is not taken for dead by the machine that it is on.
        if !locked && !running {
            store.renew_claim(at, &Claim { locked: false, at: now(), ..claim.clone() }).unwrap();
            let status = Watch::new(&plan, &store, Policy::Portable).look(&HashMap::new()).unwrap();
            assert!(matches!(status.standing[0], Standing::Running(_)), "{name}");
            store.renew_claim(at, &claim).unwrap();
        }
        let status = Watch::new(&plan, &store, Policy::Portable).look(&HashMap::new()).unwrap();
        match running {
            true => assert_eq!(status.standing[0], Standing::Running(Box::new(claim)), "{name}"),
            false => assert!(matches!(status.standing[0], Standing::Failed(_)), "{name}"),
        }
    }
}

/// A claim that changes between looks is of a process that lives, and one that does not is of none, whatever the
/// clock of its machine says.
#[test]
fn clocks_that_are_apart_decide_nothing_once_it_was_watched() {
    let hour = 3600;
    let (protocol, data) = (tiny(&[]), dataset(4, 6, 4, 8));
    let catalog = Catalog::of(data.clone());
    let plan = Plan::make(&protocol, &catalog).unwrap();
    for ahead in [false, true] {
        let dir = TempDir::new().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let at = recipe(&plan, 0);
        let fence = Fence::new(&store, holder("elsewhere", 1));
        drop(fence.take(at, "half/1/baseA", 100).unwrap().unwrap());
        drop(fence);
        let mut claim = store.claim(at, 1).unwrap().unwrap();
        claim.at = if ahead { now() + hour } else { now() - hour };
        store.renew_claim(at, &claim).unwrap();
        let short = Duration::from_millis(300);
        let mut watch = Watch::new(&plan, &store, Policy::Portable).with_stale(short);
        let mut running = || match watch.look(&HashMap::new()).unwrap().standing.swap_remove(0) {
            Standing::Running(_) => None,
            Standing::Failed(failure) => Some(failure.why),
            other => panic!("{other:?}"),
        };
        // At first sight there are the clocks alone, and it is said that they are believed.
        match running() {
            None => assert!(ahead),
            Some(why) => assert!(!ahead && why.contains("3600 s ago, if its clock agrees"), "{why}"),
        }
        claim.images += 1;
        store.renew_claim(at, &claim).unwrap();
        assert_eq!(running(), None, "it was seen to live");
        std::thread::sleep(short * 2);
        assert!(running().is_some(), "it was silent for long enough");
    }
}

/// A look takes its time: what ended well after it began did not fail, and what another took up since is that one's.
#[test]
fn what_ends_during_a_look_is_not_taken_for_dead() {
    let (protocol, data) = (tiny(&[]), dataset(4, 6, 4, 8));
    let catalog = Catalog::of(data.clone());
    let plan = Plan::make(&protocol, &catalog).unwrap();
    for how in ["finished", "stopped", "followed"] {
        let dir = TempDir::new().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let (at, name) = (recipe(&plan, 0), plan.name(&plan.runs[0]));
        let fence = Fence::new(&store, Holder::here());
        let hold = fence.take(at, &name, 100).unwrap().unwrap();
        // What a look begins with, and what happens before it gets to this network.
        let (claimed, there) = (store.claimed().unwrap(), HashSet::new());
        let mut manifest = crate::testing::manifest(1);
        manifest.recipe = plan.recipe(&plan.runs[0], Policy::Portable, None);
        let weights = crate::testing::weights(1);
        let mut next = None;
        match how {
            "finished" => {
                let write = || store.put_weights(&weights).and_then(|_| store.put_manifest(&manifest));
                assert_eq!(fence.finish(&hold, write).unwrap(), Some(()));
            }
            _ => fence.end(&hold, Stage::Stopped),
        }
        if how == "followed" {
            next = fence.take(at, &name, 100).unwrap();
        }
        let watch = Watch::new(&plan, &store, Policy::Portable);
        match (how, watch.one(0, &claimed, &there, None).unwrap()) {
            ("finished", Look::Finished(finished, _)) => {
                assert_eq!(finished.weights, Some(weights.digests().whole()));
            }
            ("stopped", Look::Other(Standing::Stopped(_))) => {}
            ("followed", Look::Other(Standing::Running(claim))) => assert_eq!(claim.number, 2),
            (_, Look::Other(other)) => panic!("{how}: {other:?}"),
            (_, Look::Finished(..)) => panic!("{how}: it is not finished"),
        }
        drop(next);
    }
}

/// Whoever looks at a store that is being made meets it with its mark alone.
#[test]
fn a_store_that_is_being_made_has_nothing_yet() {
    let dir = TempDir::new().unwrap();
    let (protocol, data) = (tiny(&[]), dataset(4, 6, 4, 8));
    let catalog = Catalog::of(data.clone());
    let plan = Plan::make(&protocol, &catalog).unwrap();
    drop(Store::create(dir.path()).unwrap());
    for sub in std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if sub.is_dir() {
            std::fs::remove_dir_all(sub).unwrap();
        }
    }
    let store = Store::open(dir.path()).unwrap();
    let status = Watch::new(&plan, &store, Policy::Portable).look(&HashMap::new()).unwrap();
    assert!(!status.standing.contains(&Standing::Done));
}

/// The process that a requeued copy replaced may go on for a while, and so may the machine it is on.
#[test]
fn a_machine_whose_processes_were_taken_over_from_is_not_blamed() {
    let status = look(
        |plan, store| {
            for index in [0, 1] {
                let start = |host: &str, restarts| {
                    let job = Some(Job { id: format!("9_{index}"), restarts });
                    Fence::new(store, Holder { job, ..holder(host, restarts) })
                };
                let (old, new) = (start("old", 0), start("new", 1));
                let take =
                    |fence: &Fence<'_>| fence.take(recipe(plan, index), "a run", 100).unwrap().unwrap();
                let (first, second) = (take(&old), take(&new));
                old.end(&first, Stage::Replaced);
                new.end(&second, Stage::Stopped);
                // A third claim, so that claims are looked through.
                let third = take(&new);
                new.end(&third, Stage::Stopped);
            }
        },
        &HashMap::new(),
    );
    assert_eq!(status.troubled, BTreeMap::new());
}

#[test]
fn what_a_job_says_counts_where_no_process_has_spoken() {
    let ended = |well, cancelled| Phase::Ended { well, cancelled, why: "FAILED".to_owned() };
    for (phase, expected) in [
        (Phase::Running, "starting"),
        (Phase::Queued("Priority".to_owned()), "queued"),
        (ended(false, false), "failed"),
        (ended(false, true), "free"),
        (ended(true, false), "free"),
    ] {
        let status = look(|_, _| (), &HashMap::from([(0, element(phase))]));
        let seen = match &status.standing[0] {
            Standing::Starting(_) => "starting",
            Standing::Queued(_) => "queued",
            Standing::Failed(failure) => {
                assert_eq!((failure.host.as_str(), failure.why.as_str()), ("n1", "FAILED"));
                "failed"
            }
            Standing::Free => "free",
            other => panic!("{other:?}"),
        };
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_machine_that_fails_again_and_again_is_named() {
    let status = look(
        |plan, store| {
            let bad = Fence::new(store, holder("bad", 1));
            // Two networks fail there; one of them is taken up elsewhere and fails there too.
            for index in [0, 1] {
                let hold =
                    bad.take(recipe(plan, index), &plan.name(&plan.runs[index]), 100).unwrap().unwrap();
                bad.end(&hold, Stage::Failed("no memory".to_owned()));
            }
            let good = Fence::new(store, holder("good", 2));
            for stage in [Stage::Failed("once".to_owned()), Stage::Stopped] {
                let hold = good.take(recipe(plan, 0), &plan.name(&plan.runs[0]), 100).unwrap().unwrap();
                good.end(&hold, stage);
            }
        },
        &HashMap::new(),
    );
    assert!(matches!(&status.standing[1], Standing::Failed(failure) if failure.why == "no memory"));
    assert!(matches!(status.standing[0], Standing::Stopped(_)));
    let names = vec!["half/1/baseB".to_owned(), "half/1/baseA".to_owned()];
    assert_eq!(status.troubled, BTreeMap::from([("host-bad".to_owned(), names)]));
}

/// How a job ended that its queue has forgotten is not known: it failed, unless the claims tell of something else.
#[test]
fn a_job_that_its_queue_has_forgotten_failed() {
    let forgotten = || Element::forgotten("9", Some(1), "9_1.log".into());
    let both = || HashMap::from([(0, forgotten()), (1, forgotten())]);
    let status = look(|_, _| (), &both());
    for standing in &status.standing[..2] {
        let Standing::Failed(failure) = standing else { panic!("{standing:?}") };
        assert_eq!((failure.why.as_str(), &failure.job), ("its queue has forgotten it", &Some(forgotten())));
    }
    // No machine is to be left out for what is known of none.
    assert_eq!(status.troubled, BTreeMap::new());
    for (whose, stage, why) in [
        (1, Stage::Failed("no memory".to_owned()), Some(("no memory", true))),
        (1, Stage::Stopped, None),
        // Another had it since.
        (2, Stage::Failed("no memory".to_owned()), Some(("no memory", false))),
    ] {
        let claims = |plan: &Plan<'_>, store: &Store| {
            let fence = Fence::new(store, holder("elsewhere", whose));
            let hold = fence.take(recipe(plan, 0), "half/1/baseA", 100).unwrap().unwrap();
            fence.end(&hold, stage.clone());
        };
        match (&look(claims, &both()).standing[0], why) {
            (Standing::Failed(failure), Some((why, log))) => {
                assert_eq!((failure.why.as_str(), failure.job.is_some()), (why, log));
            }
            (Standing::Stopped(_), None) => {}
            (other, _) => panic!("{other:?}"),
        }
    }
}
