use super::*;
use crate::claim::Job;
use crate::testing::manifest;
use tempfile::TempDir;

/// A process of the machine `boot`; as a job, its so-manieth start.
fn process(boot: &str, pid: u32, job: Option<(&str, u32)>) -> Holder {
    let job = job.map(|(id, restarts)| Job { id: id.to_owned(), restarts });
    Holder { host: format!("host of {boot}"), boot: boot.to_owned(), pid, job }
}

fn fresh() -> (TempDir, Store) {
    let dir = TempDir::new().expect("a directory");
    let store = Store::create(dir.path()).expect("a store");
    (dir, store)
}

fn recipe() -> RecipeDigest {
    manifest(1).recipe_digest()
}

const SHORT: Duration = Duration::from_millis(300);

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(600);

fn fence<'a>(store: &'a Store, holder: Holder) -> Fence<'a> {
    Fence::new(store, holder).with_times(Duration::from_millis(5), SHORT)
}

fn stages(store: &Store) -> Vec<Stage> {
    store.claims(recipe()).unwrap().into_iter().map(|claim| claim.stage).collect()
}

fn take(fence: &Fence<'_>) -> Option<Arc<Hold>> {
    fence.take(recipe(), "half/1/baseA", 100).unwrap()
}

/// A machine whose locks nobody else sees: the lock is given up, the claim is as it was.
fn unlock(hold: &Hold) {
    hold.state().lock = None;
}

#[test]
fn one_process_has_a_network_until_it_ends() {
    let (_dir, store) = fresh();
    let [one, two] = [1, 2].map(|pid| fence(&store, process("x", pid, None)));
    let hold = take(&one).expect("it is free");
    assert!(take(&two).is_none() && take(&one).is_none());
    assert_eq!(one.finish(&hold, || Ok(7)).unwrap(), Some(7));
    assert_eq!(stages(&store), [Stage::Training, Stage::Finished]);
    // What was damaged since may be trained again.
    let again = take(&two).expect("it is free again");
    two.end(&again, Stage::Stopped);
    assert_eq!(stages(&store), [Stage::Training, Stage::Finished, Stage::Stopped]);
}

#[test]
fn what_died_on_this_machine_is_taken_at_once_and_what_died_elsewhere_after_a_while() {
    for (boot, waits) in [("here", false), ("elsewhere", true)] {
        let (_dir, store) = fresh();
        let dead = fence(&store, process(boot, 1, None));
        unlock(&take(&dead).unwrap());
        let here = fence(&store, process("here", 2, None));
        assert_eq!(take(&here).is_none(), waits, "{boot}");
        if waits {
            std::thread::sleep(SHORT * 2);
            assert!(take(&here).is_some());
        }
    }
}

#[test]
fn what_lives_elsewhere_is_let_live_though_its_lock_is_not_seen() {
    let (_dir, store) = fresh();
    let there = fence(&store, process("elsewhere", 1, None));
    let here = fence(&store, process("here", 2, None));
    let hold = take(&there).unwrap();
    for images in 1..10 {
        unlock(&hold);
        assert!(take(&here).is_none(), "after {images} beats");
        std::thread::sleep(SHORT / 2);
        hold.advance(images);
        hold.renew(&store, &mut hold.state().claim).unwrap();
    }
    assert_eq!(stages(&store), [Stage::Training]);
}

/// The daemon of a node was killed and its job lives on, while the job was started again elsewhere.
#[test]
fn the_later_start_of_a_job_wins_and_the_earlier_writes_nothing() {
    let (_dir, store) = fresh();
    let old = fence(&store, process("x", 1, Some(("9_1", 0))));
    let hold = take(&old).unwrap();
    assert!(old.may_write(&hold).unwrap());
    // Another job waits, and so does the same start of the same job.
    for other in [process("x", 2, Some(("9_2", 5))), process("x", 3, Some(("9_1", 0))), process("x", 4, None)]
    {
        assert!(take(&fence(&store, other)).is_none());
    }
    let new = fence(&store, process("y", 5, Some(("9_1", 1))));
    let newer = take(&new).expect("it replaces the old one");
    assert!(!old.may_write(&hold).unwrap() && hold.lost());
    assert!(hold.rival(&store).starts_with("host of y, job 9_1"), "{}", hold.rival(&store));
    let written = old.finish(&hold, || -> Result<()> { panic!("the loser writes") }).unwrap();
    assert_eq!(written, None);
    // The winner had no lock while the old one lived; now it takes it.
    let begin = Instant::now();
    while newer.state().lock.is_none() {
        assert!(begin.elapsed() < PATIENCE, "the lock is free");
        new.beat(&newer, false).unwrap();
    }
    assert_eq!(new.finish(&newer, || Ok(())).unwrap(), Some(()));
    assert_eq!(stages(&store), [Stage::Superseded, Stage::Training, Stage::Finished]);
}

/// A requeued copy on the machine of the process that it replaces has no lock while that one lives, and for a moment
/// after: nobody else there may take it for dead, and from its first second with the lock on, the lock speaks for it.
#[test]
fn a_copy_without_the_lock_is_let_live_by_its_neighbours() {
    let (_dir, store) = fresh();
    let old = fence(&store, process("x", 1, Some(("9_1", 0))));
    let hold = take(&old).unwrap();
    let hour = Duration::from_secs(3600);
    let new = Fence::new(&store, process("x", 2, Some(("9_1", 1)))).with_times(hour, hour);
    let newer = take(&new).expect("it replaces the old one");
    let claim = |number| store.claim(recipe(), number).unwrap().unwrap();
    assert_eq!((claim(1).locked, claim(2).locked), (true, false));
    // The old one hears of it, stops, and gives the lock up; the new one has not beaten since.
    old.end(&hold, Stage::Replaced);
    assert!(!store.locked(recipe()).unwrap());
    for other in [process("x", 3, Some(("9_2", 0))), process("x", 4, None), process("x", 5, Some(("9_1", 1)))]
    {
        let other = Fence::new(&store, other);
        assert!(other.alive(recipe()).unwrap());
        assert!(take(&other).is_none(), "{:?} takes what lives", other.holder);
    }
    // It has the lock and says so within seconds, though no beat is due for an hour.
    std::thread::scope(|scope| {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let new = &new;
        scope.spawn(move || new.beat_until(&ended));
        let begin = Instant::now();
        while !claim(2).locked {
            assert!(begin.elapsed() < PATIENCE, "it does not take the lock");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(store.locked(recipe()).unwrap());
        drop(end);
    });
    // Now the lock decides: a copy that ends without a word is followed at once.
    unlock(&newer);
    let other = fence(&store, process("x", 3, None));
    assert!(!other.alive(recipe()).unwrap());
    assert!(take(&other).is_some());
}

/// One that died before it had the lock is followed when its claim has not changed for long enough.
#[test]
fn a_copy_that_died_without_the_lock_is_followed_after_a_while() {
    let (_dir, store) = fresh();
    let old = fence(&store, process("x", 1, Some(("9_1", 0))));
    let hold = take(&old).unwrap();
    take(&fence(&store, process("x", 2, Some(("9_1", 1))))).expect("it replaces the old one");
    old.end(&hold, Stage::Replaced);
    let other = fence(&store, process("x", 3, None));
    assert!(take(&other).is_none());
    std::thread::sleep(SHORT * 2);
    assert!(take(&other).is_some());
}

/// The old one was first to say that it is finished: the new one waits for it, and finds the network.
#[test]
fn what_is_being_finished_is_not_taken() {
    let (_dir, store) = fresh();
    let old = fence(&store, process("x", 1, Some(("9", 0))));
    let new = fence(&store, process("y", 2, Some(("9", 1))));
    let hold = take(&old).unwrap();
    let written = old.finish(&hold, || {
        unlock(&hold);
        assert!(take(&new).is_none());
        Ok(())
    });
    assert_eq!(written.unwrap(), Some(()));
    let hold = take(&new).expect("over is over");
    new.end(&hold, Stage::Finished);
}

/// Starts of one job on as many machines that see no lock of each other: of many that finish at once, one
/// writes.
#[test]
fn of_many_that_finish_at_once_one_writes() {
    for round in 0..30 {
        let (_dir, store) = fresh();
        let writes = AtomicU64::new(0);
        let start = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for restarts in 0..4 {
                let (store, writes, start) = (&store, &writes, &start);
                scope.spawn(move || {
                    let boot = format!("boot {restarts}");
                    let fence = Fence::new(store, process(&boot, restarts, Some(("9", restarts))));
                    start.wait();
                    let Some(hold) = take(&fence) else { return };
                    // Who gets it looks whether it is finished by now.
                    if writes.load(Ordering::Relaxed) > 0 {
                        return fence.end(&hold, Stage::Found);
                    }
                    unlock(&hold);
                    std::thread::sleep(Duration::from_micros(u64::from(restarts) * 150));
                    fence.finish(&hold, || Ok(writes.fetch_add(1, Ordering::Relaxed))).unwrap();
                });
            }
        });
        assert_eq!(writes.into_inner(), 1, "round {round}");
        assert_eq!(stages(&store).iter().filter(|stage| **stage == Stage::Finished).count(), 1);
    }
}

#[test]
fn beats_say_how_far_it_is_and_hear_of_a_rival() {
    let (_dir, store) = fresh();
    let old = fence(&store, process("x", 1, Some(("9", 0))));
    let new = fence(&store, process("y", 2, Some(("9", 1))));
    let hold = take(&old).unwrap();
    old.resumes(&hold, 20);
    std::thread::scope(|scope| {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let old = &old;
        scope.spawn(move || old.beat_until(&ended));
        hold.advance(50);
        let begin = Instant::now();
        while store.claim(recipe(), 1).unwrap().unwrap().images < 50 {
            assert!(begin.elapsed() < PATIENCE, "no beat");
            std::thread::sleep(Duration::from_millis(1));
        }
        let claim = store.claim(recipe(), 1).unwrap().unwrap();
        assert_eq!((claim.from, claim.of, claim.run.as_str()), (20, 100, "half/1/baseA"));
        take(&new).unwrap();
        while !hold.lost() {
            assert!(begin.elapsed() < PATIENCE, "it does not hear");
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(end);
    });
}
