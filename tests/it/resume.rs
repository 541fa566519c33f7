//! However a store came to be, killed and taken up again, stopped, with more jobs, by two processes, or
//! with a file gone in between, it comes to the same networks, bit for bit.

use crate::common::{
    Ran, essence, files, good_copy, good_store, manifests, on_store, protocol, scratch, selffer,
};
use selffer::digest::RecipeDigest;
use selffer::manifest::Manifest;
use selffer::store::{Entry, Store};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a process is killed.
const KILLS: usize = 20;

/// The command whose results are not to depend on how it went, with `more` options.
fn reproduce(store: &Path, more: &[&str]) -> Command {
    let mut call = selffer(["reproduce", "--quiet", "--format", "json"]);
    call.arg("--protocol").arg(protocol()).arg("--store").arg(store).args(more);
    call.stdout(Stdio::piped()).stderr(Stdio::piped());
    call
}

/// Waits for a process that is to end by itself.
fn wait(child: Child) -> Ran {
    child.wait_with_output().expect("the program ends").into()
}

/// The names of the findings that are not the note that there is no golden snapshot.
fn wrong(ran: &Ran) -> Vec<(String, String)> {
    ran.findings().into_iter().filter(|(code, _)| code != "golden-absent").collect()
}

/// How many networks a `reproduce` that went well trained, and how many it found.
#[track_caller]
fn counts(ran: Ran) -> (u64, u64) {
    let ran = ran.expect(0);
    assert_eq!(wrong(&ran), []);
    let json = ran.json();
    let count = |key: &str| json[key].as_u64().expect("a count");
    (count("trained"), count("found"))
}

/// How many networks the protocol has.
fn all() -> u64 {
    manifests(good_store()) as u64
}

/// The store holds the networks of the good store and nothing else.
#[track_caller]
fn same_as_good(store: &Path) {
    let (good, now) = (essence(good_store()), essence(store));
    let names = |files: &std::collections::BTreeMap<PathBuf, Vec<u8>>| -> BTreeSet<PathBuf> {
        files.keys().cloned().collect()
    };
    // The names first: they are what a person can read.
    assert_eq!(names(&now), names(&good));
    for (path, bytes) in good {
        assert!(now[&path] == bytes, "{} has other bytes", path.display());
    }
}

/// What lies in `new/` apart from the file that writers lock.
fn leftovers(store: &Path) -> Vec<PathBuf> {
    files(&store.join("new")).into_keys().filter(|path| path != Path::new("writers")).collect()
}

/// Numbers from 0 up to 1 that are the same in each run of the tests (splitmix64).
fn fractions(mut state: u64) -> impl Iterator<Item = f64> {
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) as f64 / 2f64.powi(64)
    })
}

/// Killed at any moment, from before there is a store to the last checks, and started again each time.
#[test]
fn killed_at_any_moment_it_goes_on() {
    good_store();
    let begin = Instant::now();
    let dir = scratch();
    counts(wait(reproduce(&dir.path().join("whole"), &["--jobs", "2"]).spawn().unwrap()));
    let whole = begin.elapsed();

    // A process that is done before it is killed has finished its store; the next kills are for a new one.
    let mut stores = vec![dir.path().join("0")];
    let (mut tries, mut seen) = (0, Vec::new());
    // Well below the time of a whole run, so that most kills come before the end; each process gets
    // further than the one before, so that together the kills are spread over all of it.
    let mut fractions = fractions(20);
    while seen.len() < KILLS {
        tries += 1;
        // A machine that grew faster since the whole run was timed makes misses; most are to hit even so.
        assert!(tries < 2 * KILLS, "only {} of {tries} kills hit a living process", seen.len());
        let store = stores.last().unwrap().clone();
        let mut child = reproduce(&store, &["--jobs", "2"]).stdout(Stdio::null()).spawn().unwrap();
        sleep(whole.mul_f64(0.5 * fractions.next().unwrap()));
        // SIGKILL: nothing in the process can tidy up.
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if status.signal() == Some(9) {
            seen.push(manifests(&store));
        } else {
            assert_eq!(status.code(), Some(0), "it ended before it was killed, and not well");
            stores.push(dir.path().join(stores.len().to_string()));
        }
    }
    let different: BTreeSet<usize> = seen.iter().copied().collect();
    assert!(different.len() >= 5, "the kills hit at no more than these numbers of manifests: {seen:?}");

    for store in &stores {
        let (trained, found) = counts(wait(reproduce(store, &["--jobs", "2"]).spawn().unwrap()));
        assert_eq!(trained + found, all());
        same_as_good(store);
        assert_eq!(on_store(&["verify"], &protocol(), store).expect(0).findings(), []);
        // Nothing is left to be done, and nothing to be swept away.
        let again = counts(wait(reproduce(store, &["--jobs", "2"]).spawn().unwrap()));
        assert_eq!(again, (0, all()));
        assert_eq!(leftovers(store), [] as [PathBuf; 0]);
    }
}

/// Killed within a network, again and again, it goes on from the last state that was kept.
#[test]
fn killed_within_a_network_it_goes_on_from_there() {
    good_store();
    let dir = scratch();
    let store = dir.path().join("store");
    let begin = Instant::now();
    let whole = dir.path().join("whole");
    counts(wait(reproduce(&whole, &["--jobs", "2", "--snapshot-every", "1"]).spawn().unwrap()));
    let pause = begin.elapsed().mul_f64(0.2);
    same_as_good(&whole);
    let snapshots = |store: &Path| files(&store.join("snapshots")).into_keys().collect::<Vec<_>>();
    let (mut within, mut fractions) = (0, fractions(10));
    for _ in 0..10 {
        let mut child = reproduce(&store, &["--jobs", "2", "--snapshot-every", "1"]);
        let mut child = child.stdout(Stdio::null()).spawn().unwrap();
        sleep(pause.mul_f64(fractions.next().unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
        within += usize::from(store.exists() && !snapshots(&store).is_empty());
    }
    assert!(within >= 3, "no more than {within} of 10 kills left a state to go on from");

    counts(wait(reproduce(&store, &["--jobs", "2"]).spawn().unwrap()));
    same_as_good(&store);

    // That it goes on from such a state, and not from the beginning: one is made to say that it took an hour.
    let store = dir.path().join("another");
    Store::create(&store).unwrap();
    let open = Store::open(&store).unwrap();
    let mut caught = (0..20).find_map(|_| {
        let mut child = reproduce(&store, &["--jobs", "1", "--snapshot-every", "1"]).spawn().unwrap();
        while snapshots(&store).is_empty() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before a state was kept");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Between the look and the kill, the network may have been finished and its states removed.
        let name = snapshots(&store).pop()?.to_str()?.to_owned();
        let recipe = RecipeDigest(name.split('-').next()?.parse().ok()?);
        let steps = open.snapshots(recipe).unwrap().pop()?;
        open.snapshot(recipe, steps).unwrap().whole().map(|state| (state, steps))
    });
    let (state, steps) = caught.as_mut().expect("a state");
    let hour = 3_600_000;
    state.progress.wall_ms = hour;
    open.put_snapshot(state, *steps).unwrap();
    let (trained, found) = counts(wait(reproduce(&store, &["--jobs", "2"]).spawn().unwrap()));
    assert_eq!(trained + found, all());
    assert!(open.manifest(state.progress.recipe).unwrap().whole().unwrap().wall_ms > hour);
    same_as_good(&store);
}

/// A kill between writing and renaming is rare, so what it leaves is put there by hand.
#[test]
fn what_a_killed_process_left_half_written_is_swept_away() {
    let (_dir, store) = good_copy();
    fs::write(store.join("new/.tmpAbCdEf"), "half a checkp").unwrap();
    assert_eq!(leftovers(&store).len(), 1);
    let ran = wait(reproduce(&store, &["--jobs", "2"]).spawn().unwrap());
    assert_eq!(counts(ran), (0, all()));
    assert_eq!(leftovers(&store), [] as [PathBuf; 0]);
    same_as_good(&store);
}

#[test]
fn asked_to_stop_it_says_so_and_goes_on_later() {
    // Ctrl-C, and what a system sends that shuts down.
    for signal in ["-INT", "-TERM"] {
        let dir = scratch();
        let store = dir.path().join("store");
        let mut child = reproduce(&store, &["--jobs", "2"]).spawn().unwrap();
        while manifests(&store) < 3 {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            sleep(Duration::from_millis(2));
        }
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let ran = wait(child).expect(130);
        assert_eq!(ran.out, "", "a result of a run that is not finished");
        let said = "stopped as asked; what was finished is kept, and the same command goes on from there\n";
        assert_eq!(ran.err, said);

        let kept = manifests(&store) as u64;
        assert!((3..all()).contains(&kept), "it stopped with {kept} networks");
        assert_eq!(leftovers(&store), [] as [PathBuf; 0]);
        let (trained, found) = counts(wait(reproduce(&store, &["--jobs", "2"]).spawn().unwrap()));
        assert_eq!((trained, found), (all() - kept, kept));
        same_as_good(&store);
    }
}

/// Whatever a command is at, also before it trains or where it never does.
#[test]
fn a_signal_ends_any_command_with_one_exit_code() {
    let dir = scratch();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (command, signal) in [("plan", "-TERM"), ("verify", "-INT"), ("reproduce", "-TERM")] {
        // It waits for a protocol that nobody writes.
        let mut call = selffer([command, "--store", "nowhere", "--protocol"]);
        call.arg(&pipe).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = call.spawn().unwrap();
        sleep(Duration::from_millis(500));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(wait(child).expect(130).out, "");
    }
}

#[test]
fn the_number_of_jobs_changes_no_bit() {
    for jobs in ["1", "2", "4"] {
        let dir = scratch();
        let store = dir.path().join("store");
        let ran = wait(reproduce(&store, &["--jobs", jobs]).spawn().unwrap());
        assert_eq!(counts(ran), (all(), 0), "with {jobs} jobs");
        same_as_good(&store);
    }
}

#[test]
fn a_second_time_nothing_is_trained_and_no_file_touched() {
    let (_dir, store) = good_copy();
    let before = files(&store);
    let ran = wait(reproduce(&store, &["--jobs", "2"]).spawn().unwrap());
    assert_eq!(counts(ran), (0, all()));
    assert!(files(&store) == before, "a file is another");
}

/// Only the network whose file is gone or damaged is trained again: not those that were copied from it.
#[test]
fn a_network_that_lost_a_file_is_trained_again_and_no_other() {
    let manifests: Vec<Manifest> = files(&good_store().join("manifests"))
        .into_values()
        .map(|bytes| Manifest::from_bytes(&bytes).unwrap())
        .collect();
    let layers = |manifest: &Manifest| manifest.trained().expect("a trained network").whole();
    for (run, copied_from) in [("mixed/1/baseA", true), ("mixed/1/A4B", false)] {
        let manifest = manifests.iter().find(|manifest| manifest.run == run).expect("a run");
        let copies = manifests.iter().any(|other| other.recipe.parent == Some(layers(manifest)));
        assert_eq!(copies, copied_from, "{run} is not what the test takes it for");
        let entries = [Entry::Checkpoint(layers(manifest)), Entry::Manifest(manifest.recipe_digest())];
        for (entry, gone) in entries.iter().flat_map(|entry| [(entry, true), (entry, false)]) {
            let (_dir, store) = good_copy();
            let path = Store::open(&store).unwrap().path(entry);
            match gone {
                true => fs::remove_file(&path).unwrap(),
                false => {
                    let mut bytes = fs::read(&path).unwrap();
                    bytes.truncate(bytes.len() / 2);
                    fs::write(&path, bytes).unwrap();
                }
            }
            let ran = wait(reproduce(&store, &["--jobs", "2"]).spawn().unwrap());
            assert_eq!(counts(ran), (1, all() - 1), "{run}, {entry:?}, gone: {gone}");
            same_as_good(&store);
        }
    }
}

/// Two processes that begin at the same time on one store share the work: none is done twice.
#[test]
fn two_processes_share_the_work() {
    let dir = scratch();
    let store = dir.path().join("store");
    let both = [(); 2].map(|()| reproduce(&store, &["--jobs", "1"]).spawn().unwrap());
    let ran = both.map(wait);
    // Each has the whole table to show, whoever trained it.
    let tables: Vec<Value> = ran.iter().map(|ran| ran.json()["cells"].clone()).collect();
    assert_eq!(tables[0].as_array().map(Vec::len), Some(all() as usize));
    assert_eq!(tables[0], tables[1]);
    let ran = ran.map(counts);
    for (trained, found) in ran {
        assert_eq!(trained + found, all());
    }
    assert_eq!(ran[0].0 + ran[1].0, all(), "networks were trained twice, or not at all: {ran:?}");
    same_as_good(&store);
    assert_eq!(leftovers(&store), [] as [PathBuf; 0]);
}
