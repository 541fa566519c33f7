//! Many machines, without a queueing system: status beside a run, work orders, jobs in the background, and two
//! processes that both take themselves for the same job. `ci/slurm` does the same with Slurm.

use crate::common::{
    Ran, essence, executable, files, good_copy, good_store, make_pipe, names, on_store, protocol,
    read_by_now, repository, run, scratch, selffer, sentence, signal, wait_for,
};
use crate::data::{beside, good};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Epochs that no machine comes to the end of while a test looks: who trains so long is stopped.
const ENDLESS: u32 = 100_000;

/// A protocol of a base and one network that copies from it.
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
    let (protocol, store) = (slow(dir.path(), ENDLESS), dir.path().join("store"));
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
    // The machine has a place of its own.
    assert_eq!(failed[0]["why"], format!("process {} ended without a word", child.id()), "{failed:?}");
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

/// What was taken away after it was finished is no machine's failure.
#[test]
fn what_was_finished_and_is_gone_is_told_from_what_failed() {
    let (_dir, store) = good_copy();
    for (name, _) in files(&store.join("checkpoints")) {
        fs::remove_file(store.join("checkpoints").join(name)).unwrap();
    }
    let seen = on_store(&["status"], &protocol(), &store).expect(1).json();
    let failed = list(&seen, "failed");
    assert!(failed.len() > 1, "{seen}");
    for failed in &failed {
        assert!(
            failed["why"]
                .as_str()
                .unwrap()
                .starts_with("was finished, and its record or its checkpoint is gone")
        );
    }
    assert_eq!(seen["troubled"], serde_json::json!({}));
}

fn submit(protocol: &Path, store: &Path, more: &[&str]) -> Command {
    let mut call = selffer(["submit", "--protocol"]);
    call.arg(protocol).arg("--store").arg(store).args(more);
    // Scripts are no JSON.
    if !more.contains(&"--dry-run") {
        call.args(["--format", "json"]);
    }
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
    let (protocol, store) = (slow(dir.path(), ENDLESS), dir.path().join("store"));
    run(submit(&protocol, &store, &["--engine", "local"])).expect(0);
    let images = || list(&status(&protocol, &store), "running").first()?["images"].as_u64();
    wait_for("it does not train", images);
    // One of two that one process has cannot be taken back alone.
    let refused = on_store(&["cancel", "random-0/1/A4B"], &protocol, &store).expect(2);
    assert!(refused.err.contains("1 more that would stop as well: random-0/1/baseA"), "{}", refused.err);
    assert!(images().is_some(), "it was cancelled all the same");
    let none = on_store(&["cancel", "random-0/1/B4B"], &protocol, &store).expect(2);
    assert!(none.err.contains("no job has it"), "{}", none.err);
    let cancelled = on_store(&["cancel", "random-0/1/A4B", "--together"], &protocol, &store).expect(0).json();
    assert_eq!(
        (&cancelled["networks"], list(&cancelled, "also")),
        (&Value::from(2), vec!["random-0/1/baseA".into()])
    );
    // Its process has ended then, too: until it has, the network counts as one that runs.
    wait_for("it does not stop", || {
        (list(&status(&protocol, &store), "stopped") == ["random-0/1/baseA"]).then_some(())
    });
    assert_eq!(files(&store.join("snapshots")).len(), 1);
    let again = run(submit(&protocol, &store, &["--engine", "local"])).expect(0).json();
    assert_eq!(again["networks"], 2);
    // A claim says from where once its process has read the state.
    wait_for("it began anew", || {
        let from = |bytes: &Vec<u8>| serde_json::from_slice::<Value>(bytes).unwrap()["from"].as_u64();
        files(&store.join("claims")).values().any(|bytes| from(bytes) > Some(0)).then_some(())
    });
    on_store(&["cancel"], &protocol, &store).expect(0);
    wait_for("it does not stop", || images().is_none().then_some(()));
}

/// `selffer work` as the so-manieth start of a job.
fn work(order: &Path, restarts: u32) -> Child {
    let mut call = selffer(["work", "--plan"]);
    call.arg(order).env("SLURM_JOB_ID", "9").env("SLURM_RESTART_COUNT", restarts.to_string());
    call.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Submits to the background of this machine and takes it back, so that there is an order that nobody works on.
fn order(protocol: &Path, store: &Path, more: &[&str]) -> PathBuf {
    run(submit(protocol, store, &[&["--engine", "local"], more].concat())).expect(0);
    on_store(&["cancel"], protocol, store).expect(0);
    wait_for("it does not stop", || list(&status(protocol, store), "running").is_empty().then_some(()));
    let orders = files(&store.join("jobs")).into_keys().find(|path| path.ends_with("plan.json")).unwrap();
    store.join("jobs").join(orders)
}

/// As where `submit` is killed, or finds no room for its last record, when its process is started already.
#[test]
fn a_process_that_was_started_and_not_written_down_is_known() {
    let dir = scratch();
    let (protocol, store) = (slow(dir.path(), ENDLESS), dir.path().join("store"));
    let submitted = || run(submit(&protocol, &store, &["--engine", "local"])).expect(0).json();
    let job = list(&submitted(), "jobs")[0]["job"].clone();
    let record = files(&store.join("jobs")).into_keys().find(|path| path.ends_with("jobs.json")).unwrap();
    let pending = r#"{"engine":"local","jobs":[],"pending":"selffer-0123456789abcdef-01234567"}"#;
    fs::write(store.join("jobs").join(record), pending).unwrap();
    // No second one is started beside it, and it can be taken back.
    assert_eq!(submitted()["networks"], 0);
    let cancelled = on_store(&["cancel"], &protocol, &store).expect(0).json();
    assert_eq!((list(&cancelled, "jobs"), &cancelled["networks"]), (vec![job], &Value::from(2)));
    wait_for("it does not stop", || (submitted()["networks"] == 2).then_some(()));
    on_store(&["cancel"], &protocol, &store).expect(0);
    wait_for("it does not stop", || list(&status(&protocol, &store), "running").is_empty().then_some(()));
}

/// An order is known by its directory, from wherever it is named.
#[test]
fn an_order_may_be_named_from_within_its_directory() {
    let dir = scratch();
    let (protocol, store) = (slow(dir.path(), 2), dir.path().join("store"));
    let order = order(&protocol, &store, &[]);
    let mut call = selffer(["work", "--plan", "plan.json"]);
    call.current_dir(order.parent().unwrap());
    run(call).expect(0);
    assert_eq!(status(&protocol, &store)["done"], 2);
}

/// The daemon of a node died, its job lives on, and the job was started again: the later start wins, whether
/// or not the file system shows locks, and the network is trained to its end once.
#[test]
fn of_two_starts_of_one_job_the_later_trains() {
    const EPOCHS: u32 = 12;
    let dir = scratch();
    let protocol = slow(dir.path(), EPOCHS);
    // The claim that a process made last.
    let claim = |store: &Path, pid: u32| {
        let claims = files(&store.join("claims")).into_values();
        let claims = claims.map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap());
        claims.filter(|claim| claim["holder"]["pid"] == pid).max_by_key(|claim| claim["number"].as_u64())
    };
    let mut tried = 0;
    let (store, order, old) = wait_for("the first start is never met while it trains", || {
        tried += 1;
        let store = dir.path().join(format!("store {tried}"));
        let order = order(&protocol, &store, &["--snapshot-every", "5"]);
        let mut old = work(&order, 0);
        wait_for("the first start does not train", || claim(&store, old.id()));
        // It stands still until the second has taken the network, however long that takes to start.
        signal(&old, Signal::STOP);
        wait_for("it does not stand still", || {
            let status = fs::read_to_string(format!("/proc/{}/status", old.id())).unwrap();
            status.lines().any(|line| line.starts_with("State:\tT")).then_some(())
        });
        // Not at the end of the base by now: of the 40 steps of an epoch it has kept a state every five.
        let kept = names(&store.join("snapshots")).pop_last();
        let steps: Option<u32> = kept.map_or(Some(0), |name| {
            name.split_once('-').and_then(|(_, steps)| steps.strip_suffix(".snapshot")?.parse().ok())
        });
        let last = claim(&store, old.id()).unwrap();
        let met = (&last["run"], &last["stage"]) == (&"random-0/1/baseA".into(), &"training".into());
        if met && steps.unwrap() < 40 * EPOCHS - 40 {
            return Some((store, order, old));
        }
        old.kill().unwrap();
        old.wait().unwrap();
        None
    });
    let new = work(&order, 1);
    wait_for("the second start does not take it over", || claim(&store, new.id()));
    signal(&old, Signal::CONT);
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
    on_store(&["reproduce", "--quiet", "--no-report"], &protocol, &alone).expect(0);
    assert_eq!(names(&store.join("checkpoints")), names(&alone.join("checkpoints")));
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
    let resources = dir.path().join("resources.toml");
    fs::write(&resources, "[[network]]\ntreatments = [\"baseB\", \"A3B\"]\nmem = \"9G\"\n").unwrap();
    let mut call = submit(&protocol(), &store, &more);
    call.arg("--resources").arg(&resources).env("PATH", dir.path());
    let ran = run(call).expect(0);
    assert!(!store.exists(), "a dry run wrote something");
    // It has depths 1 and 4 alone.
    let none = format!("resources for `A3B`: {} has no such network\n", protocol().display());
    assert!(ran.err.starts_with(&none) && !ran.err.contains("`baseB`"), "{}", ran.err);
    for line in [
        "#SBATCH --mem=9G",
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
        shell.arg("-c").arg(format!("printf %s {}", selffer::text::shell_quoted(text)));
        assert_eq!(run(shell).expect(0).out, text);
    }
}

/// A directory of commands that stand for Slurm's: `sbatch` names job 7, and `squeue` does what its file says. Who asks
/// `squeue` is noted.
fn pretended(dir: &Path, squeue: &str) -> String {
    let bin = dir.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let config = "echo MaxArraySize = 1001; echo MaxJobCount = 10000";
    let squeue = format!("echo $PPID >> '{}'; {squeue}", dir.join("asked").display());
    for (name, does) in [("sbatch", "echo 7"), ("scontrol", config), ("squeue", &squeue)] {
        executable(&bin.join(name), does);
    }
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

const SILENT: &str = "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1";
const FORGOT: &str = "exit 0";

/// A program that is started, and what it says on standard error as far as it has said it.
fn started(mut call: Command, log: &Path) -> Child {
    call.stdout(Stdio::null()).stderr(fs::File::create(log).unwrap()).spawn().unwrap()
}

/// A queue that does not answer may have what it was handed: nobody trains it here, and nobody takes it for done.
#[test]
fn a_queue_that_does_not_answer_is_waited_for() {
    let dir = scratch();
    let (protocol, store) = (slow(dir.path(), 6), dir.path().join("store"));
    let path = pretended(dir.path(), SILENT);
    let call = |mut call: Command| {
        call.env("PATH", &path);
        call
    };
    let first = run(call(submit(&protocol, &store, &[]))).expect(0).json();
    assert_eq!(first["networks"], 2);
    // Nor is it submitted again, in earnest or not.
    for more in [&["--dry-run"][..], &["--engine", "local"], &[]] {
        let again = run(call(submit(&protocol, &store, more))).expect(0);
        assert!(again.err.contains("jobs may have 2 networks of which nothing is known"), "{}", again.err);
        match more {
            ["--dry-run"] => assert!(!again.out.contains("sbatch"), "{}", again.out),
            _ => assert_eq!((&again.json()["networks"], &again.json()["elsewhere"]), (&0.into(), &2.into())),
        }
    }
    let command = |words: &[&str]| {
        let mut call = selffer(words);
        call.env("PATH", &path).arg("--protocol").arg(&protocol).arg("--store").arg(&store);
        call
    };
    let logs = ["follow", "reproduce"].map(|name| dir.path().join(name));
    let mut follow = started(command(&["status", "--follow", "--interval", "1"]), &logs[0]);
    let mut reproduce = started(command(&["reproduce", "--no-report"]), &logs[1]);
    for log in &logs {
        let says =
            || fs::read_to_string(log).unwrap().contains("`selffer cancel --forget` says so").then_some(());
        wait_for("it does not say the way out", says);
    }
    // Three looks of either later, the last of which has been followed by another.
    for child in [&follow, &reproduce] {
        let asks = || {
            let asked = fs::read_to_string(dir.path().join("asked")).unwrap();
            asked.lines().filter(|pid| *pid == child.id().to_string()).count()
        };
        wait_for("it does not ask again", || (asks() > 3).then_some(()));
    }
    for (child, log) in [&mut follow, &mut reproduce].into_iter().zip(&logs) {
        assert!(child.try_wait().unwrap().is_none(), "{}", fs::read_to_string(log).unwrap());
        let said = fs::read_to_string(log).unwrap();
        assert_eq!(said.matches("Unable to contact").count(), 1, "{said}");
    }
    assert_eq!(files(&store.join("claims")).len(), 0, "it was trained all the same");
    let cancelled = run(command(&["cancel"])).expect(2);
    assert!(cancelled.err.contains("could not be asked after, nor cancelled"), "{}", cancelled.err);
    let named = run(command(&["cancel", "random-0/1/baseA"])).expect(2);
    for says in ["whether a job has it is not known", "`selffer cancel --forget` says so"] {
        assert!(named.err.contains(says), "{says} in {}", named.err);
    }
    // The queue answers, and has none of it: then it is trained here, and followed to its end.
    pretended(dir.path(), FORGOT);
    assert_eq!(reproduce.wait().unwrap().code(), Some(0), "{}", fs::read_to_string(&logs[1]).unwrap());
    wait_for("it follows for ever", || follow.try_wait().unwrap());
    assert_eq!(status(&protocol, &store)["done"], 2);
}

/// A job may be there and have nothing left to do: nobody waits for that.
#[test]
fn what_is_done_is_not_waited_for() {
    let dir = scratch();
    let (protocol, store) = (slow(dir.path(), 2), dir.path().join("store"));
    let path = pretended(dir.path(), FORGOT);
    let mut call = submit(&protocol, &store, &[]);
    call.env("PATH", &path);
    run(call).expect(0);
    let reproduce = || {
        let mut call = selffer(["reproduce", "--no-report", "--protocol"]);
        call.arg(&protocol).arg("--store").arg(&store).env("PATH", &path);
        started(call, &dir.path().join("said"))
    };
    assert_eq!(reproduce().wait().unwrap().code(), Some(0));
    pretended(dir.path(), "echo '7|0|RUNNING|n1|None'");
    let mut again = reproduce();
    let status = wait_for("it waits for what is done", || again.try_wait().unwrap());
    assert_eq!(status.code(), Some(0), "{}", fs::read_to_string(dir.path().join("said")).unwrap());
}

/// Slurm forgets a job some minutes after its end: that it failed, and why, is still to be seen.
#[test]
fn what_died_is_told_after_its_queue_has_forgotten_it() {
    let dir = scratch();
    let (protocol, store) = (slow(dir.path(), 6), dir.path().join("store"));
    let path = pretended(dir.path(), FORGOT);
    let mut call = submit(&protocol, &store, &[]);
    call.env("PATH", &path);
    run(call).expect(0);
    for order in files(&store.join("jobs")).into_keys().filter(|path| path.ends_with("plan.json")) {
        let order = store.join("jobs").join(order);
        let text = fs::read_to_string(&order).unwrap();
        if text.contains(r#"{"0":["random-0/1/baseA"]}"#) {
            fs::write(order.with_file_name("7_0.log"), "selffer: no space left\n").unwrap();
        }
    }
    let mut call = selffer(["status", "--format", "json", "--protocol"]);
    call.arg(&protocol).arg("--store").arg(&store).env("PATH", &path);
    let seen = run(call).expect(1).json();
    let failed = &list(&seen, "failed")[0];
    assert_eq!(
        (&failed["run"], &failed["why"], list(failed, "last_lines")),
        (
            &"random-0/1/baseA".into(),
            &"its queue has forgotten it".into(),
            vec!["selffer: no space left".into()]
        )
    );
}

/// Slurm is not on this machine, and never will be again: what it was handed is forgotten by one command.
#[test]
fn jobs_of_a_queue_that_is_gone_can_be_forgotten() {
    let dir = scratch();
    let (protocol, store) = (slow(dir.path(), 6), dir.path().join("store"));
    let path = pretended(dir.path(), FORGOT);
    let mut call = submit(&protocol, &store, &[]);
    call.env("PATH", path);
    run(call).expect(0);
    let command = |words: &[&str]| {
        let mut call = selffer(words);
        call.env("PATH", dir.path()).arg("--protocol").arg(&protocol).arg("--store").arg(&store);
        run(call)
    };
    let seen = command(&["status"]).expect(0);
    for says in ["there is no Slurm on this machine", "`selffer cancel --forget` says so"] {
        assert!(seen.err.contains(says), "{says} in {}", seen.err);
    }
    let forgot = command(&["cancel", "--forget", "--format", "json"]).expect(0);
    assert_eq!(list(&forgot.json(), "orders").len(), 2);
    let seen = command(&["status"]).expect(0);
    assert!(seen.err.is_empty() && seen.out.contains("1 not begun"), "{seen:?}");
    assert!(command(&["cancel", "--forget"]).expect(0).out.starts_with("all jobs can be asked after"));
    command(&["reproduce", "--quiet", "--no-report"]).expect(0);
}

/// A warning may come at any moment of a job, and is not to end it without a word.
#[test]
fn a_warning_is_heard_from_the_first_moment() {
    let dir = scratch();
    // Before the order is read: this one can be read when somebody writes it.
    let order = dir.path().join("plan.json");
    make_pipe(&order);
    let child = work(&order, 0);
    let mut unwritten = read_by_now(&order);
    signal(&child, Signal::USR1);
    unwritten.write_all(b"{}").unwrap();
    drop(unwritten);
    Ran::from(child.wait_with_output().unwrap()).expect(2);
    // In the lines of a user, which come before the program.
    let (resources, [begun, go]) =
        (dir.path().join("resources.toml"), ["begun", "go"].map(|name| dir.path().join(name)));
    let lines = format!("touch {}; until [ -e {} ]; do sleep 0.1; done", begun.display(), go.display());
    fs::write(&resources, format!("setup = [\"{lines}\"]\n")).unwrap();
    let mut call = submit(&protocol(), &dir.path().join("store"), &["--dry-run", "--resources"]);
    call.arg(&resources);
    let scripts = run(call).expect(0).out;
    let script = scripts.split("#!/bin/bash\n").nth(1).unwrap();
    let mut call = Command::new("bash");
    call.arg("-c").arg(script).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = call.spawn().unwrap();
    wait_for("it does not begin", || begun.exists().then_some(()));
    signal(&child, Signal::USR1);
    fs::write(&go, "").unwrap();
    let ran: Ran = child.wait_with_output().unwrap().into();
    let ran = ran.expect(2);
    assert!(
        ran.err.contains("submit again with a longer --time") && ran.err.lines().count() == 1,
        "{}",
        ran.err
    );
}

/// A start that is told to stop before it did one step is not started again: the next would come to the same.
#[test]
fn a_job_without_progress_is_not_started_again() {
    let dir = scratch();
    let (protocol, store) = (slow(dir.path(), ENDLESS), dir.path().join("store"));
    let order = order(&protocol, &store, &[]);
    // `scontrol` is what would start it again. It does not answer at first.
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let script = "if [ ! -e DIR/tried ]; then : > DIR/tried; echo 'Socket timed out' >&2; exit 1; fi\n\
                  echo \"$@\" >> DIR/asked";
    executable(&bin.join("scontrol"), &script.replace("DIR", dir.path().to_str().unwrap()));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let asked = || fs::read_to_string(dir.path().join("asked")).unwrap_or_default();
    let start = |restarts: u32| {
        let mut call = selffer(["work", "--plan"]);
        call.arg(&order)
            .env("SLURM_JOB_ID", "9")
            .env("SLURM_RESTART_COUNT", restarts.to_string())
            .env("PATH", &path);
        call.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let child = start(0);
    // Who has claimed a network does one step at least.
    wait_for("it does not train", || {
        let running = list(&status(&protocol, &store), "running");
        (running.first()?["process"] == child.id()).then_some(())
    });
    signal(&child, Signal::USR1);
    let ran = Ran::from(child.wait_with_output().unwrap()).expect(130);
    assert_eq!(asked(), "requeue 9\n");
    let at = |text: &str| ran.err.find(text).unwrap_or_else(|| panic!("{text} in {}", ran.err));
    assert!(at("Socket timed out") < at("job 9 is started again"), "{}", ran.err);
    // Told before it could begin: it waits for its order, which it gets after the warning.
    let text = fs::read(&order).unwrap();
    fs::remove_file(&order).unwrap();
    make_pipe(&order);
    let child = start(1);
    let mut unwritten = read_by_now(&order);
    signal(&child, Signal::USR1);
    unwritten.write_all(&text).unwrap();
    drop(unwritten);
    let ran: Ran = child.wait_with_output().unwrap().into();
    let ran = ran.expect(2);
    assert!(ran.err.contains("submit again with a longer --time"), "{}", ran.err);
    assert_eq!(asked(), "requeue 9\n");
}

/// What a user set for sbatch by hand goes before the lines of a script: what would undo them is left out, and the
/// rest is kept.
#[test]
fn the_environment_does_not_undo_a_script() {
    let dir = scratch();
    let path = pretended(dir.path(), FORGOT);
    let seen = dir.path().join("seen");
    executable(&dir.path().join("bin/sbatch"), &format!("env >> '{}'\necho 7", seen.display()));
    let never = ["SBATCH_ARRAY_INX", "SBATCH_WAIT", "SBATCH_CLUSTERS", "SLURM_CLUSTERS"];
    let a_users =
        ["SBATCH_ACCOUNT", "SBATCH_QOS", "SBATCH_PARTITION", "SBATCH_TIMELIMIT", "SBATCH_MEM_PER_CPU"];
    for (store, more, left) in [
        ("one", &[][..], &[0, 1, 2, 3, 4][..]),
        ("two", &["--time", "60", "--mem", "16G", "--sbatch=-q long"], &[0, 2]),
    ] {
        let mut call = submit(&protocol(), &dir.path().join(store), more);
        call.env("PATH", &path).envs(never.iter().chain(&a_users).map(|name| (name, "theirs")));
        run(call).expect(0);
        let text = fs::read_to_string(&seen).unwrap();
        fs::remove_file(&seen).unwrap();
        let has = |name: &&str| text.contains(&format!("{name}=theirs\n"));
        assert!(!never.iter().any(has), "{text}");
        let kept: Vec<usize> = (0..a_users.len()).filter(|at| has(&a_users[*at])).collect();
        assert_eq!(kept, left, "{text}");
    }
}

/// What cannot be handed to Slurm as it is is refused in one sentence, before anything is made.
#[test]
fn what_slurm_would_read_otherwise_is_refused_first() {
    let dir = scratch();
    let store = dir.path().join("store");
    let mut call = submit(&protocol(), &store, &["--engine", "local", "--dry-run"]);
    call.args(["--format", "json"]);
    sentence(run(call), &["--dry-run: prints scripts, which are no JSON"]);
    for (store, more, says) in [
        (dir.path().join("back\\slash"), &[][..], "has a backslash in it"),
        (dir.path().join("line\nbreak"), &[], "has a line break"),
        (store.clone(), &["--sbatch=-a 0-3"], "sets sbatch's --array"),
        (store.clone(), &["--sbatch=--job-name=mine"], "sets sbatch's --job-name"),
        (store.clone(), &["--time", "2"], "take a longer --time, or fewer --warn-seconds"),
        (store.clone(), &["--time", "-5"], "`time` is \"-5\", which is none of Slurm's times; take minutes"),
        (
            store.clone(),
            &["--mem", "abc"],
            "`mem` is \"abc\", which is none of Slurm's sizes; take a whole number",
        ),
        (store.clone(), &["--partition", ""], "`partition` is empty; say what it is, or leave it out"),
    ] {
        for more in [more.to_vec(), [more, &["--dry-run"]].concat()] {
            let ran = run(submit(&protocol(), &store, &more)).expect(2);
            assert!(ran.err.contains(says) && ran.err.lines().count() == 1, "{}", ran.err);
            assert!(!store.exists());
        }
    }
}

/// As of a disk that is not mounted: what lies there is not lost, and not to be trained again.
#[test]
fn what_is_out_of_reach_is_not_handed_over_again() {
    let (dir, store) = good_copy();
    for sub in ["checkpoints", "manifests"] {
        fs::rename(store.join(sub), dir.path().join(sub)).unwrap();
        std::os::unix::fs::symlink(dir.path().join("mounted").join(sub), store.join(sub)).unwrap();
        let says = format!(
            "{}: is a link to what is not there; make the directory that it leads to",
            store.join(sub).display()
        );
        for command in [&["status"] as &[&str], &["verify"], &["table"], &["plan"]] {
            sentence(on_store(command, &protocol(), &store), &[&says]);
        }
        for more in [&["--engine", "local"][..], &["--engine", "local", "--dry-run"]] {
            sentence(run(submit(&protocol(), &store, more)), &[&says]);
        }
        sentence(on_store(&["reproduce"], &protocol(), &store), &[&says]);
        fs::remove_file(store.join(sub)).unwrap();
        fs::rename(dir.path().join(sub), store.join(sub)).unwrap();
    }
    on_store(&["status"], &protocol(), &store).expect(0);
}

/// Where nothing was handed over, there is nothing to keep others from, nor to write.
#[test]
fn to_cancel_nothing_makes_nothing() {
    let (_dir, store) = good_copy();
    let before = files(&store);
    let call = |more: &[&str]| {
        let mut call = selffer(["cancel", "--protocol"]);
        call.arg(protocol()).arg("--store").arg(&store).args(more);
        run(call)
    };
    assert_eq!(call(&[]).expect(0).out, "no job of this protocol is alive\n");
    assert_eq!(call(&["--forget"]).expect(0).out, "all jobs can be asked after; nothing was forgotten\n");
    sentence(call(&["mixed/1/A1B"]), &["mixed/1/A1B: no job has it"]);
    assert!(files(&store) == before && !store.join("jobs").exists());
}

/// A job cannot be told where images lie; who submits it can.
#[test]
fn a_job_whose_images_are_gone_says_how_to_submit_it_again() {
    let (dir, protocol) = beside(good().1);
    let (store, moved) = (dir.path().join("store"), dir.path().join("moved"));
    let submitted = |more: &[&str]| {
        let mut call = submit(&protocol, &store, more);
        call.env("PATH", pretended(dir.path(), FORGOT));
        run(call).expect(0);
        let orders = files(&store.join("jobs")).into_keys().filter(|path| path.ends_with("plan.json"));
        orders.map(|order| store.join("jobs").join(order)).collect::<BTreeSet<_>>()
    };
    let first = submitted(&[]);
    let works = |order: &Path| {
        let mut call = selffer(["work", "--index", "0", "--plan"]);
        call.arg(order);
        run(call)
    };
    fs::rename(dir.path().join("pack"), &moved).unwrap();
    let order = first.first().unwrap();
    sentence(
        works(order),
        &["pack: is not there", "bring the protocol's images there, or submit again with --data DIR"],
    );
    let again = submitted(&["--data", moved.to_str().unwrap()]);
    let of_bases = |order: &&PathBuf| fs::read_to_string(order).unwrap().contains("\"0\":[\"two-two/1/base");
    works(again.difference(&first).find(of_bases).unwrap()).expect(0);
    let now = on_store(&["status", "--data", moved.to_str().unwrap()], &protocol, &store).expect(0).json();
    assert_eq!(now["done"], 1);
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
    // One that was edited in place trains nothing.
    let store = dir.path().join("store");
    let mut call = submit(&protocol(), &store, &[]);
    call.env("PATH", pretended(dir.path(), FORGOT));
    run(call).expect(0);
    let written =
        files(&store.join("jobs")).into_iter().find(|(path, _)| path.ends_with("plan.json")).unwrap();
    let order = store.join("jobs").join(written.0);
    let text = String::from_utf8(written.1).unwrap();
    fs::write(&order, text.replacen("10min", "20min", 1)).unwrap();
    let mut call = selffer(["work", "--index", "0", "--plan"]);
    call.arg(&order);
    let ran = run(call).expect(2);
    assert!(ran.err.contains("it was changed after it was written"), "{}", ran.err);
    assert_eq!(files(&store.join("claims")).len(), 0);
}
