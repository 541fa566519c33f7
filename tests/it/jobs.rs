//! Many machines, without a queueing system: status beside a run, work orders, jobs in the background, and two
//! processes that both take themselves for the same job. `ci/slurm` does the same with Slurm.

use crate::common::{Ran, essence, files, good_store, on_store, protocol, repository, run, scratch, selffer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(240);

/// Waits until `look` has something.
#[track_caller]
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(20));
    }
}

/// A protocol of a base and one network that copies from it, each long enough to be met while it trains.
fn slow(dir: &Path, epochs: u32) -> PathBuf {
    let text = fs::read_to_string(repository("src/protocols/smoke.toml")).unwrap();
    let lines = text.lines().map(|line| match line.split(" = ").next() {
        _ if line == "name = \"smoke\"" => "name = \"slow\"".to_owned(),
        Some("epochs") => format!("epochs = {epochs}"),
        Some("rate_drops") => "rate_drops = [1]".to_owned(),
        Some("depths") => "depths = [4]".to_owned(),
        Some("treatments") => "treatments = [\"AnB\"]".to_owned(),
        _ => line.to_owned(),
    });
    let path = dir.join("slow.toml");
    fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
    path
}

fn status(protocol: &Path, store: &Path) -> Value {
    let ran = on_store(&["status"], protocol, store);
    assert!(ran.code == Some(0) || ran.code == Some(1), "{ran:?}");
    ran.json()
}

fn list(status: &Value, key: &str) -> Vec<Value> {
    status[key].as_array().unwrap_or_else(|| panic!("{key} in {status}")).clone()
}

/// The claims of a store: by network, stage after stage.
fn stages(store: &Path) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, BTreeMap<u64, String>> = BTreeMap::new();
    for (_, bytes) in files(&store.join("claims")) {
        let claim: Value = serde_json::from_slice(&bytes).unwrap();
        let stage = match &claim["stage"] {
            Value::String(stage) => stage.clone(),
            other => other.to_string(),
        };
        let of = found.entry(claim["run"].as_str().unwrap().to_owned()).or_default();
        of.insert(claim["number"].as_u64().unwrap(), stage);
    }
    found.into_iter().map(|(run, stages)| (run, stages.into_values().collect())).collect()
}

#[test]
fn a_run_is_followed_from_a_second_terminal() {
    let dir = scratch();
    let (protocol, store) = (slow(dir.path(), 300), dir.path().join("store"));
    let mut call = selffer(["reproduce", "--quiet", "--format", "json", "--protocol"]);
    call.arg(&protocol).arg("--store").arg(&store).stdout(Stdio::null());
    let mut child = call.spawn().unwrap();
    wait_for("there is no store", || store.join("selffer-store").exists().then_some(()));
    let seen = wait_for("it does not train", || {
        let seen = status(&protocol, &store);
        (!list(&seen, "running").is_empty()).then_some(seen)
    });
    let running = &list(&seen, "running")[0];
    assert_eq!(
        (running["run"].as_str(), running["process"].as_u64()),
        (Some("random-0/1/baseA"), Some(u64::from(child.id())))
    );
    assert_eq!(
        list(&seen, "waiting"),
        [serde_json::json!({ "run": "random-0/1/A4B", "on": "random-0/1/baseA" })]
    );
    assert_eq!((seen["networks"].as_u64(), seen["done"].as_u64()), (Some(2), Some(0)));
    // Killed, it is told from one that lives, at once.
    child.kill().unwrap();
    child.wait().unwrap();
    let ran = on_store(&["status"], &protocol, &store).expect(1);
    let failed = list(&ran.json(), "failed");
    assert!(failed[0]["why"].as_str().unwrap().ends_with("ended without a word"), "{failed:?}");
    let text = run({
        let mut call = selffer(["status", "--protocol"]);
        call.arg(&protocol).arg("--store").arg(&store);
        call
    });
    assert!(
        text.out.starts_with("slow: 0 of 2 networks done, 1 waiting for what they copy from, 1 failed\n"),
        "{}",
        text.out
    );
}

#[test]
fn of_a_finished_store_everything_is_done() {
    let seen = on_store(&["status", "--follow"], &protocol(), good_store());
    // With --follow, one document a line, and an end when there is nothing to wait for.
    let seen = seen.expect(0);
    assert_eq!(seen.out.lines().count(), 1);
    let json = seen.json();
    assert_eq!(json["done"], json["networks"]);
    assert_eq!((list(&json, "findings"), list(&json, "running")), (vec![], vec![]));
    assert!(json["speed"].as_f64().unwrap() > 0.0);
    // Each network was claimed once and finished once.
    let stages = stages(good_store());
    assert_eq!(stages.len() as u64, json["networks"].as_u64().unwrap());
    assert!(stages.values().all(|stages| *stages == ["training", "finished"]), "{stages:?}");
}

fn submit(protocol: &Path, store: &Path, more: &[&str]) -> Command {
    let mut call = selffer(["submit", "--format", "json", "--protocol"]);
    call.arg(protocol).arg("--store").arg(store).args(more);
    call
}

#[test]
fn in_the_background_it_comes_to_the_same_networks() {
    let dir = scratch();
    let store = dir.path().join("it's a \"store\"");
    let first = run(submit(&protocol(), &store, &["--engine", "local"])).expect(0).json();
    assert_eq!(first["networks"], on_store(&["status"], &protocol(), good_store()).json()["networks"]);
    assert!(first["follow"].as_str().unwrap().starts_with("selffer status --follow --protocol "));
    // Submitted twice, it is not run twice.
    let second = run(submit(&protocol(), &store, &["--engine", "local"])).expect(0).json();
    assert_eq!(second["networks"], 0);
    let mut call = selffer(["status", "--follow", "--interval", "1", "--protocol"]);
    call.arg(protocol()).arg("--store").arg(&store);
    run(call).expect(0);
    let names = |files: BTreeMap<PathBuf, Vec<u8>>| files.into_keys().collect::<Vec<_>>();
    assert_eq!(names(essence(&store)), names(essence(good_store())));
    assert!(stages(&store).values().all(|stages| *stages == ["training", "finished"]));
    assert_eq!(on_store(&["verify"], &protocol(), &store).expect(0).findings(), []);
    // And a third time there is nothing to be done.
    let third = run(submit(&protocol(), &store, &["--engine", "local"])).expect(0).json();
    assert_eq!((third["networks"].as_u64(), &third["done"]), (Some(0), &first["networks"]));
}

#[test]
fn what_is_cancelled_keeps_its_state_and_goes_on_from_it() {
    let dir = scratch();
    let (protocol, store) = (slow(dir.path(), 300), dir.path().join("store"));
    run(submit(&protocol, &store, &["--engine", "local"])).expect(0);
    let images = || list(&status(&protocol, &store), "running").first()?["images"].as_u64();
    wait_for("it does not train", images);
    sleep(Duration::from_secs(1));
    let cancelled = on_store(&["cancel"], &protocol, &store).expect(0).json();
    assert_eq!(cancelled["networks"], 2);
    let seen = wait_for("it does not stop", || {
        let seen = status(&protocol, &store);
        (list(&seen, "running").is_empty()).then_some(seen)
    });
    assert_eq!(list(&seen, "stopped"), ["random-0/1/baseA"]);
    assert_eq!(files(&store.join("snapshots")).len(), 1);
    let again = run(submit(&protocol, &store, &["--engine", "local"])).expect(0).json();
    assert_eq!(again["networks"], 2);
    wait_for("it does not go on", images);
    let from: Vec<Value> = files(&store.join("claims"))
        .into_values()
        .map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap()["from"].clone())
        .collect();
    assert!(from.iter().any(|from| from.as_u64() > Some(0)), "it began anew: {from:?}");
    on_store(&["cancel"], &protocol, &store).expect(0);
    wait_for("it does not stop", || images().is_none().then_some(()));
}

/// `selffer work` as the so-manieth start of a job.
fn work(order: &Path, restarts: u32) -> Child {
    let mut call = selffer(["work", "--plan"]);
    call.arg(order).env("SLURM_JOB_ID", "9").env("SLURM_RESTART_COUNT", restarts.to_string());
    call.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The daemon of a node died, its job lives on, and the job was started again: the later start wins, whether
/// or not the file system shows locks, and the network is trained to its end once.
#[test]
fn of_two_starts_of_one_job_the_later_trains() {
    let dir = scratch();
    let (protocol, store) = (slow(dir.path(), 60), dir.path().join("store"));
    // An order, without a job that works on it: Slurm's script is not submitted, its plan is as ours.
    let submitted = run(submit(&protocol, &store, &["--engine", "local", "--snapshot-every", "5"])).expect(0);
    drop(submitted);
    on_store(&["cancel"], &protocol, &store).expect(0);
    wait_for("it does not stop", || list(&status(&protocol, &store), "running").is_empty().then_some(()));
    let orders = files(&store.join("jobs")).into_keys().find(|path| path.ends_with("plan.json")).unwrap();
    let order = store.join("jobs").join(orders);

    let trains = |pid: u32| {
        let running = list(&status(&protocol, &store), "running");
        running.first().is_some_and(|it| it["process"].as_u64() == Some(u64::from(pid))).then_some(())
    };
    let old = work(&order, 0);
    wait_for("the first start does not train", || trains(old.id()));
    let new = work(&order, 1);
    let new: Ran = new.wait_with_output().unwrap().into();
    new.expect(0);
    let old: Ran = old.wait_with_output().unwrap().into();
    let old = old.expect(2);
    assert!(old.err.contains("was taken over by") && old.err.contains("job 9"), "{}", old.err);
    let stages = stages(&store);
    for (run, stages) in &stages {
        assert_eq!(stages.iter().filter(|stage| *stage == "finished").count(), 1, "{run}: {stages:?}");
        assert!(!stages.iter().any(|stage| stage == "superseded"), "{run}: {stages:?}");
        // The one that was taken over from did not fail.
        assert!(!stages.iter().any(|stage| stage.contains("failed")), "{run}: {stages:?}");
    }
    assert!(stages.values().flatten().any(|stage| stage == "replaced"), "{stages:?}");
    let seen = status(&protocol, &store);
    assert_eq!((seen["done"].as_u64(), stages.len()), (Some(2), 2));
    // The bits are those of a run that nothing disturbed.
    let alone = dir.path().join("alone");
    on_store(&["reproduce", "--quiet"], &protocol, &alone).expect(0);
    let names = |store: &Path| files(&store.join("checkpoints")).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&store), names(&alone));
}

#[test]
fn without_slurm_it_says_so_in_one_sentence_and_a_dry_run_shows_the_scripts() {
    let dir = scratch();
    let store = dir.path().join("a store");
    let mut call = submit(&protocol(), &store, &[]);
    call.env("PATH", dir.path());
    let ran = run(call).expect(2);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert!(ran.err.contains("there is no Slurm on this machine"), "{}", ran.err);
    assert!(!store.exists());

    let more = [
        "--dry-run",
        "--partition",
        "gpu",
        "--gres",
        "gpu:1",
        "--time",
        "60",
        "--max-running",
        "3",
        "--sbatch=--account=a lab",
    ];
    let mut call = submit(&protocol(), &store, &more);
    call.env("PATH", dir.path());
    let ran = run(call).expect(0);
    assert!(!store.exists(), "a dry run wrote something");
    for line in [
        "#SBATCH --partition=gpu",
        "#SBATCH --gres=gpu:1",
        "#SBATCH --time=60",
        "#SBATCH --account=\"a lab\"",
        "#SBATCH --requeue",
        "#SBATCH --array=",
    ] {
        assert!(ran.out.contains(line), "{line} in\n{}", ran.out);
    }
    assert!(ran.out.contains("--dependency=aftercorr:$job0"), "{}", ran.out);
    assert!(ran.err.contains("Slurm's own limits were taken, 1001 elements"), "{}", ran.err);
}

/// A shell reads a quoted text back as it was, whatever is in it. Here, since tests of locks are not to have
/// processes started beside them: one that is being started holds every lock for a moment.
#[test]
fn a_shell_reads_what_was_quoted() {
    for text in ["", "plain", "it's", "'", "''\\'", "a \"b\" $HOME `id` \\ %j\n;&|*?", "ü — 🦀", "-n"] {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("printf %s {}", selffer::cluster::slurm::quoted(text)));
        assert_eq!(run(shell).expect(0).out, text);
    }
}

#[test]
fn what_is_wrong_with_an_order_is_one_sentence() {
    let dir = scratch();
    let order = dir.path().join("plan.json");
    for (text, problem) in [(None, "cannot read"), (Some("{}"), "is no work order")] {
        if let Some(text) = text {
            fs::write(&order, text).unwrap();
        }
        let mut call = selffer(["work", "--plan"]);
        call.arg(&order);
        let ran = run(call).expect(2);
        assert!(ran.err.contains(problem) && ran.err.lines().count() == 1, "{}", ran.err);
    }
}
