//! However a store came to be, killed and taken up again, stopped, with more jobs, by two processes, or
//! with a file gone in between, it comes to the same networks, bit for bit.

use crate::common::{
    Ran, essence, files, good_copy, good_store, hold, make_pipe, manifests, names, on_store, protocol,
    read_by_now, run, scratch, selffer, signal, wait_for,
};
use rustix::process::Signal;
use selffer::digest::{Digest, FingerprintDigest, RecipeDigest};
use selffer::manifest::Manifest;
use selffer::store::{Entry, Store};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// How often a process is killed.
const KILLS: usize = 10;

/// Options of those whose report is of no matter.
const BARE: &[&str] = &["--jobs", "2", "--no-report"];

/// The same, keeping a state after each step.
const STEP_BY_STEP: &[&str] = &["--jobs", "2", "--no-report", "--snapshot-every", "1"];

/// The command whose results are not to depend on how it went, with `more` options.
fn reproduce(store: &Path, more: &[&str]) -> Command {
    let mut call = selffer(["reproduce", "--quiet", "--format", "json"]);
    call.arg("--protocol").arg(protocol()).arg("--store").arg(store).args(more);
    call.stdout(Stdio::piped()).stderr(Stdio::piped());
    call
}

/// The same command, to which a closed terminal does what it does by `default`, or which is to `ignore` it as under nohup:
/// what runs these tests may ignore it too.
fn hung_up(how: &str, call: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg(format!("--{how}-signal=HUP")).arg(call.get_program()).args(call.get_args());
    env.envs(call.get_envs().filter_map(|(name, value)| Some((name, value?))));
    env.stdout(Stdio::piped()).stderr(Stdio::piped());
    env
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

/// Kills a process, which tidies up nothing then. Whether it was alive; else it had come to its end, and well.
#[track_caller]
fn killed(mut child: Child) -> bool {
    child.kill().unwrap();
    let status = child.wait().unwrap();
    let alive = status.signal() == Some(9);
    assert!(alive || status.code() == Some(0), "it ended before it was killed, and not well: {status}");
    alive
}

/// A process whose results nobody reads.
fn started(store: &Path, options: &[&str]) -> Child {
    reproduce(store, options).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Killed at any moment, from before there is a store to the last checks, and started again each time.
#[test]
fn killed_at_any_moment_it_goes_on() {
    good_store();
    let dir = scratch();
    let mut stores = vec![dir.path().join("0")];
    let first = &stores[0];
    // While the store is made: as soon as there is anything of it, and as soon as it has its mark.
    for sign in ["new", "selffer-store"] {
        let child = started(first, BARE);
        wait_for("it makes no store", || first.join(sign).exists().then_some(()));
        killed(child);
    }
    // One network is held here, so that no process can come to the end before it is killed.
    let last = "whole/1/baseA";
    let mut held = hold(&protocol(), first, last);
    let (mut fractions, mut seen, mut kills) = (fractions(20), BTreeSet::new(), 0);
    while kills < KILLS || seen.len() < 5 {
        let store = stores.last().unwrap().clone();
        // After so many networks more, and a moment that differs each time.
        let wanted = manifests(&store) + kills % 4;
        let child = started(&store, BARE);
        wait_for("it does not train", || (manifests(&store) >= wanted).then_some(()));
        let longest = if kills % 4 == 0 { 400.0 } else { 40.0 };
        sleep(Duration::from_secs_f64(longest * fractions.next().unwrap() / 1000.0));
        assert!(killed(child), "it ended without the network that is held");
        let finished = manifests(&store);
        // Where nothing else was left to be done, the kill came within no work, and the next are for a new store.
        if finished + 4 < all() as usize {
            (kills, _) = (kills + 1, seen.insert(finished));
        } else {
            stores.push(dir.path().join(stores.len().to_string()));
            held = hold(&protocol(), stores.last().unwrap(), last);
        }
    }
    drop(held);
    // During the last network, the checks and the report.
    for _ in 0..2 {
        let store = stores.last().unwrap();
        let child = started(store, &["--jobs", "2"]);
        wait_for("it does not finish", || (manifests(store) >= all() as usize).then_some(()));
        sleep(Duration::from_secs_f64(0.3 * fractions.next().unwrap()));
        killed(child);
    }

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
    let states = |store: &Path| names(&store.join("snapshots"));
    let mut fractions = fractions(10);
    // Kills a process once it has kept another state than those that are there. The state that is left, if one is: the
    // network may just have been finished.
    let mut kill = |store: &Path, options: &[&str]| {
        let before = states(store);
        let mut child = started(store, options);
        wait_for("it keeps no state", || {
            let now = states(store);
            ((!now.is_empty() && now != before) || child.try_wait().unwrap().is_some()).then_some(())
        });
        sleep(Duration::from_secs_f64(0.02 * fractions.next().unwrap()));
        (killed(child), states(store).pop_last())
    };
    let (mut stores, mut within) = (vec![dir.path().join("0")], 0);
    while within < KILLS / 2 {
        match kill(stores.last().unwrap(), STEP_BY_STEP) {
            (true, state) => within += usize::from(state.is_some()),
            (false, _) => stores.push(dir.path().join(stores.len().to_string())),
        }
    }
    for store in &stores {
        counts(wait(reproduce(store, STEP_BY_STEP).spawn().unwrap()));
        same_as_good(store);
    }

    // That it goes on from such a state, and not from the beginning: one is made to say that it took an hour.
    let mut tried = 0;
    let (store, mut caught) = wait_for("no kill leaves a state", || {
        tried += 1;
        let store = dir.path().join(format!("another {tried}"));
        let name = kill(&store, STEP_BY_STEP).1?;
        let recipe = RecipeDigest(name.split('-').next()?.parse().ok()?);
        let open = Store::open(&store).unwrap();
        let steps = open.snapshots(recipe).unwrap().pop()?;
        let state = open.snapshot(recipe, steps).unwrap().whole()?;
        Some((store, (state, steps)))
    });
    let open = Store::open(&store).unwrap();
    let (state, steps) = &mut caught;
    let hour = 3_600_000;
    state.progress.wall_ms = hour;
    open.put_snapshot(state, *steps).unwrap();
    let (trained, found) = counts(wait(reproduce(&store, BARE).spawn().unwrap()));
    assert_eq!(trained + found, all());
    assert!(open.manifest(state.progress.recipe).unwrap().whole().unwrap().wall_ms > hour);
    same_as_good(&store);
}

/// What another machine kept is of no use here, and hours of training are not lost without a word.
#[test]
fn a_state_of_another_fingerprint_is_passed_over_and_told() {
    let dir = scratch();
    let store = dir.path().join("store");
    let ran =
        reproduce(&store, &["--no-report", "--snapshot-every", "40", "--keep-snapshots"]).spawn().unwrap();
    counts(wait(ran));
    let open = Store::open(&store).unwrap();
    let (base, file) = files(&store.join("manifests"))
        .into_iter()
        .map(|(name, bytes)| (Manifest::from_bytes(&bytes).unwrap(), store.join("manifests").join(name)))
        .find(|(manifest, _)| manifest.run == "mixed/1/baseA")
        .unwrap();
    // 64 steps: the only state is that after 40.
    let recipe = base.recipe_digest();
    assert_eq!(open.snapshots(recipe).unwrap(), [40]);
    let mut state = open.snapshot(recipe, 40).unwrap().whole().unwrap();
    state.progress.fingerprint = Some(FingerprintDigest(Digest::of(b"another machine")));
    open.put_snapshot(&state, 40).unwrap();
    // Where it is damaged, it matters whether the network is finished.
    let kept = open.path(&Entry::Snapshot(recipe, 40));
    let whole = fs::read(&kept).unwrap();
    let mend = || {
        let found = on_store(&["verify"], &protocol(), &store).expect(1).json();
        let all = found["findings"].as_array().unwrap().clone();
        let damaged = all.into_iter().find(|finding| finding["code"] == "file-damaged").expect("a finding");
        damaged["message"].as_str().unwrap().split_once("; ").unwrap().1.to_owned()
    };
    fs::write(&kept, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(mend(), "delete it: its network is finished and does without");
    fs::remove_file(file).unwrap();
    assert_eq!(mend(), "delete it, and `selffer reproduce` goes on from an earlier state");
    fs::write(&kept, &whole).unwrap();
    let mut call = selffer(["reproduce", "--no-report", "--protocol"]);
    call.arg(protocol()).arg("--store").arg(&store);
    let said = run(call).expect(0).err;
    let says = "mixed/1/baseA: what was kept after step 40 was computed under another fingerprint than this machine \
                has, and is not used; training begins anew\n";
    assert!(said.contains(says), "{said}");
}

/// A kill between writing and renaming is rare, so what it leaves is put there by hand.
#[test]
fn what_a_killed_process_left_half_written_is_swept_away() {
    let (_dir, store) = good_copy();
    fs::write(store.join("new/.tmpAbCdEf"), "half a checkp").unwrap();
    assert_eq!(leftovers(&store).len(), 1);
    let ran = wait(reproduce(&store, BARE).spawn().unwrap());
    assert_eq!(counts(ran), (0, all()));
    assert_eq!(leftovers(&store), [] as [PathBuf; 0]);
    same_as_good(&store);
}

#[test]
fn asked_to_stop_it_says_so_and_goes_on_later() {
    let dir = scratch();
    let store = dir.path().join("store");
    // One network is held here, so that no process can come to the end before it is asked.
    let held = hold(&protocol(), &store, "whole/1/baseA");
    let mut kept = 0;
    // Ctrl-C, what a system sends that shuts down, and what a terminal does that is closed.
    for asked in [Signal::INT, Signal::TERM, Signal::HUP] {
        let wanted = (kept + 3).min(all() as usize - 1);
        let child = hung_up("default", &reproduce(&store, BARE)).spawn().unwrap();
        wait_for("it does not train", || (manifests(&store) >= wanted).then_some(()));
        signal(&child, asked);
        let ran = wait(child).expect(130);
        assert_eq!(ran.out, "", "a result of a run that is not finished");
        let said = "stopped as asked; what was finished is kept, and the same command goes on from there\n";
        assert_eq!(ran.err, said);
        kept = manifests(&store);
        assert!((wanted..all() as usize).contains(&kept), "it stopped with {kept} networks");
        assert_eq!(leftovers(&store), [] as [PathBuf; 0]);
    }
    // Under nohup it goes on.
    let child = hung_up("ignore", &reproduce(&store, BARE)).spawn().unwrap();
    wait_for("it does not train", || (manifests(&store) > kept || kept + 1 == all() as usize).then_some(()));
    signal(&child, Signal::HUP);
    drop(held);
    assert_eq!(counts(wait(child)), (all() - kept as u64, kept as u64));
    same_as_good(&store);
}

/// Whatever a command is at, also before it trains or where it never does.
#[test]
fn a_signal_ends_any_command_with_one_exit_code() {
    let dir = scratch();
    let all = [
        ("plan", Signal::TERM),
        ("verify", Signal::INT),
        ("reproduce", Signal::TERM),
        ("table", Signal::HUP),
    ];
    for (command, sent) in all {
        // It waits for a protocol that nobody writes.
        let pipe = dir.path().join(command);
        make_pipe(&pipe);
        let mut call = selffer([command, "--store", "nowhere", "--protocol"]);
        call.arg(&pipe);
        let child = hung_up("default", &call).spawn().unwrap();
        let unwritten = read_by_now(&pipe);
        signal(&child, sent);
        assert_eq!(wait(child).expect(130).out, "");
        drop(unwritten);
    }
}

#[test]
fn the_number_of_jobs_changes_no_bit() {
    // The good store was made by two.
    for jobs in ["1", "3", "4"] {
        let dir = scratch();
        let store = dir.path().join("store");
        let ran = wait(reproduce(&store, &["--no-report", "--jobs", jobs]).spawn().unwrap());
        assert_eq!(counts(ran), (all(), 0), "with {jobs} jobs");
        same_as_good(&store);
    }
}

/// Splits, treatments and depths the other way round: another order of the plan, and the same networks.
#[test]
fn the_order_of_the_plan_changes_no_bit() {
    let dir = scratch();
    let mut text: toml::Table = fs::read_to_string(protocol()).unwrap().parse().unwrap();
    let reverse = |value: &mut toml::Value| value.as_array_mut().unwrap().reverse();
    reverse(&mut text["depths"]);
    text["split"].as_array_mut().unwrap().iter_mut().for_each(|split| reverse(&mut split["treatments"]));
    reverse(&mut text["split"]);
    let turned = dir.path().join("turned.toml");
    fs::write(&turned, text.to_string()).unwrap();
    let store = dir.path().join("store");
    let mut call = selffer(["reproduce", "--quiet", "--format", "json", "--no-report", "--jobs", "3"]);
    call.arg("--protocol").arg(&turned).arg("--store").arg(&store);
    assert_eq!(counts(run(call)), (all(), 0));
    same_as_good(&store);
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
            let ran = wait(reproduce(&store, BARE).spawn().unwrap());
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
