//! Training on a GPU, as far as it can be seen without one: on something that stands in for it, whose kernels are the CPU's
//! and whose memory is not (`tests/standin/` has what it refuses). Weights have to come out as the CPU's kernels
//! give them, whatever happens in between; what a GPU's own kernels give, `ci/gpu` has.

use crate::common::{
    CAFFE, Ran, files, good_store, manifests, names, protocol, repository, reproduce, run, say, scratch,
    selffer, standin, three_networks, wait_for, with_driver,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use selffer::numerics::Numerics;
use selffer::recipe::Policy;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use tch::{Device, Kind, Tensor};

/// What comes to a GPU in training and evaluation, and in the probe of the fingerprint. None calls `alertNotDeterministic` on
/// a GPU (METHODOLOGY.md says how that was seen); what adds up numbers of a tensor does so without atomic operations
/// (read in PyTorch's sources: `AveragePool2d.cu`, `DilatedMaxPool2d.cu`, `Loss.cu`). Look up what is new before it is
/// added here. On a GPU the solver's rule is `_foreach_add` and the like in place of `add`, `mul` and `sub`.
const LOOKED_UP: [&str; 40] = [
    "_log_softmax",
    "_log_softmax_backward_data",
    "_reshape_alias",
    "_softmax",
    "add",
    "addmm",
    "argmax",
    "as_strided",
    "avg_pool2d",
    "avg_pool2d_backward",
    "cat",
    "convolution",
    "convolution_backward",
    "copy_",
    "copy_from",
    "copy_to",
    "div",
    "empty",
    "empty_strided",
    "eq",
    "exp",
    "fill_",
    "gt",
    "index",
    "index_select",
    "max_pool2d_with_indices",
    "max_pool2d_with_indices_backward",
    "mean",
    "mm",
    "mul",
    "nll_loss_backward",
    "nll_loss_forward",
    "pow",
    "relu",
    "rsqrt",
    "sub",
    "sum",
    "threshold_backward",
    "view",
    "zero_",
];

/// Runs it to the end of its networks. What they are worth is of no matter: a few steps leave some at chance.
fn finish(command: Command) -> Ran {
    let ran = run(command);
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    ran
}

/// Shows a command the stand-in.
fn shown(command: &mut Command) -> &mut Command {
    with_driver(command, &standin().join("torch"))
}

/// The command with that protocol and store, on the stand-in.
fn on_gpu(command: &[&str], protocol: &Path, store: &Path) -> Command {
    let mut call = selffer(command);
    shown(call.arg("--protocol").arg(protocol).arg("--store").arg(store));
    call
}

const TRAIN: &[&str] = &["reproduce", "--no-report", "--quiet", "--jobs", "2", "--device"];

/// Trains it on the stand-in's GPU of that name.
fn train(protocol: &Path, store: &Path, gpu: &str) {
    finish(on_gpu(&[TRAIN, &[gpu]].concat(), protocol, store));
}

/// The checkpoints of a store: the names are the digests of what is in them.
fn checkpoints(store: &Path) -> BTreeSet<String> {
    names(&store.join("checkpoints"))
}

/// What the protocol comes to on the CPU's kernels of choice, those of the stand-in.
fn natively(protocol: &Path, store: &Path) -> BTreeSet<String> {
    let mut call = selffer([TRAIN, &["cpu", "--numerics", "native"]].concat());
    call.arg("--protocol").arg(protocol).arg("--store").arg(store);
    finish(call);
    checkpoints(store)
}

/// A protocol of the paper's network in small, with windows, mirrors, the mean image and what is dropped.
fn caffe(dir: &Path) -> PathBuf {
    let text = format!(
        "name = \"caffe\"\ndata = {{ pack = \"pack\" }}\nseeds = [1]\ndepths = [2, 6]\n{CAFFE}epochs = 2\nsteps = 3\n\
         batch = 4\nrate = 0.01\nrate_drops = [1]\nrate_factor = 0.1\nmomentum = 0.9\ndecay = 5e-4\n\n[[split]]\n\
         name = \"random-0\"\nhalves = {{ random = 0 }}\ntreatments = [\"baseA\", \"baseB\", \"AnB\", \"BnB+\"]\n"
    );
    let drawn = Command::new("python3")
        .arg(repository("ci/draw.py"))
        .arg(dir.join("images"))
        .args(["48", "4", "6"])
        .status();
    assert!(drawn.unwrap().success());
    let mut pack = selffer(["data", "pack", "--quiet", "--size", "48"]);
    pack.arg(dir.join("images")).arg(dir.join("pack"));
    run(pack).expect(0);
    let path = dir.join("caffe.toml");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn networks_are_those_of_the_cpu_s_kernels() {
    let dir = scratch();
    let caffe = caffe(dir.path());
    for (name, protocol) in [("small", protocol().as_path()), ("caffe", &caffe)] {
        let store = |on: &str| dir.path().join(format!("{name}-{on}"));
        let expected = natively(protocol, &store("cpu"));
        for gpu in ["cuda", "cuda:1"] {
            train(protocol, &store(gpu), gpu);
            assert_eq!(checkpoints(&store(gpu)), expected, "{name} on {gpu}");
        }
        // Evaluated, and trained again from what is recorded.
        let mut audit = selffer(["audit", "--quiet", "--sample", "3", "--seed", "1", "--device", "cuda"]);
        audit.arg(store("cuda"));
        shown(&mut audit).arg("--protocol").arg(protocol);
        let said = finish(audit).out;
        assert!(said.contains("\n  Bitwise      tables "), "{said}");
        assert!(said.contains("\n  Bitwise      retraining  of 3 of "), "{said}");
    }
}

/// How ci/gpu holds the first steps of a GPU against the CPU's: what rounds otherwise is near, what was trained otherwise is not.
#[test]
fn two_states_are_held_against_each_other() {
    let dir = scratch();
    let protocol = three_networks(dir.path());
    let trained = |numerics: &str| {
        let store = dir.path().join(numerics);
        let mut call = reproduce(&protocol, &store);
        call.args(["--no-report", "--snapshot-every", "1", "--keep-snapshots", "--numerics", numerics]);
        finish(call);
        store
    };
    let (portable, native) = (trained("portable"), trained("native"));
    let state = |store: &Path, run: &str, steps: u32| {
        let of_run = |name: &String| {
            let manifest = fs::read_to_string(store.join("manifests").join(name)).unwrap();
            manifest.contains(&format!("\"digits-garments/1/{run}\""))
        };
        let manifest = names(&store.join("manifests")).into_iter().find(of_run).unwrap();
        store.join("snapshots").join(manifest.replace(".json", &format!("-{steps}.snapshot")))
    };
    let compared = |left: PathBuf, right: PathBuf| {
        let mut call = Command::new("python3");
        run({
            call.arg(repository("ci/states.py")).arg(left).arg(right).arg("0.01");
            call.stdout(Stdio::piped()).stderr(Stdio::piped());
            call
        })
    };
    let same = compared(state(&portable, "baseA", 2), state(&portable, "baseA", 2)).expect(0).out;
    assert!(same.starts_with("of 16 tensors ") && same.ends_with("is furthest off: 0.0e+00\n"), "{same}");
    let near = compared(state(&native, "baseA", 2), state(&portable, "baseA", 2)).expect(0).out;
    assert!(near.lines().count() == 1 && !near.ends_with(": 0.0e+00\n"), "{near}");
    for far in [("baseA", 3), ("baseB", 2)] {
        let said = compared(state(&native, far.0, far.1), state(&portable, "baseA", 2)).expect(1).out;
        assert!(said.contains("off, more than 0.01\n"), "{said}");
    }
    let absent = compared(dir.path().join("none"), state(&portable, "baseA", 2)).expect(2).err;
    assert!(absent.contains("none is no snapshot: "), "{absent}");
    // Its frozen layer has no momentum.
    let said = compared(state(&native, "A1B", 2), state(&portable, "baseA", 2)).expect(2);
    assert_eq!(
        (said.out.as_str(), said.err.as_str()),
        ("", "ci/states.py: they are not states of one network\n")
    );
}

/// What a store's manifests say of where they were trained: the GPU, or none.
fn gpus(store: &Path) -> BTreeSet<Option<String>> {
    let gpu = |name: &String| {
        let text = fs::read_to_string(store.join("manifests").join(name)).unwrap();
        let manifest: Value = serde_json::from_str(&text).unwrap();
        let settings = manifest["manifest"]["environment"]["settings"].as_array().unwrap();
        let gpu = settings.iter().find(|pair| pair[0] == "gpu")?;
        Some(gpu[1].as_str().unwrap().to_owned())
    };
    names(&store.join("manifests")).iter().map(gpu).collect()
}

/// Killed over and over, and taken up where it was.
#[test]
fn killed_it_goes_on_to_the_same_networks() {
    let dir = scratch();
    let store = dir.path().join("store");
    let options = [TRAIN, &["cuda:1", "--snapshot-every", "1"]].concat();
    for finished in [0, 2, 9] {
        let mut call = on_gpu(&options, &protocol(), &store);
        let mut child = call.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("it does not train", || (manifests(&store) >= finished).then_some(()));
        wait_for("it keeps no state", || {
            let kept = names(&store.join("snapshots"));
            (!kept.is_empty() || child.try_wait().unwrap().is_some()).then_some(())
        });
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "it ended before it was killed");
    }
    let claims = files(&store.join("claims"));
    let from = |bytes: &Vec<u8>| serde_json::from_slice::<Value>(bytes).unwrap()["from"].as_u64();
    assert!(claims.values().any(|bytes| from(bytes) > Some(0)), "no network went on from where it was");
    train(&protocol(), &store, "cuda:1");
    assert_eq!(checkpoints(&store), natively(&protocol(), &dir.path().join("cpu")));
    assert_eq!(gpus(&store), BTreeSet::from([Some("stand-in 1".to_owned())]));
}

/// A job in the background trains on the GPU that was named.
#[test]
fn a_job_trains_on_the_gpu_that_was_named() {
    let dir = scratch();
    let store = dir.path().join("store");
    run(on_gpu(&["submit", "--device", "cuda:1", "--engine", "local"], &protocol(), &store)).expect(0);
    wait_for("it does not train all", || (manifests(&store) >= manifests(good_store())).then_some(()));
    assert_eq!(checkpoints(&store), natively(&protocol(), &dir.path().join("cpu")));
    assert_eq!(gpus(&store), BTreeSet::from([Some("stand-in 1".to_owned())]));
}

/// A GPU that gives other bits from time to time is found out: by another run of it, and by training again.
#[test]
fn a_gpu_that_does_not_repeat_is_found_out() {
    let dir = scratch();
    let [steady, other] = ["steady", "other"].map(|name| dir.path().join(name));
    train(&protocol(), &steady, "cuda");
    let mut wobbling = on_gpu(&[TRAIN, &["cuda"]].concat(), &protocol(), &other);
    wobbling.env("STANDIN_WOBBLE", "50");
    finish(wobbling);
    let compare = |left: &Path, right: &Path| {
        let mut bisect = selffer(["bisect", "--device", "cuda", "--protocol"]);
        shown(bisect.arg(protocol()).arg(left).arg(right));
        run(bisect)
    };
    let said = compare(&steady, &other).expect(1).out;
    assert!(said.contains("cause: arithmetic: "), "{said}");
    train(&protocol(), &other.with_extension("steady"), "cuda:1");
    let said = compare(&steady, &other.with_extension("steady")).expect(0).out;
    assert_eq!(said, "23 networks are the same, step by step\n");
    // Where the first GPU is none that fits, the other side is trained again on one that does.
    let mut apart = selffer(["bisect", "--device", "cpu", "--run", "whole/1/baseA", "--protocol"]);
    shown(apart.arg(protocol()).arg(good_store()).arg(&steady)).env("STANDIN_OLD", "1");
    let said = run(apart).expect(1).out;
    assert!(said.contains("cause: they were computed under other numerics policies"), "{said}");
    assert!(said.contains("\n  first number: conv"), "{said}");
    let mut again = selffer(["audit", "--quiet", "--sample", "8", "--seed", "1", "--device", "cuda"]);
    shown(again.arg(&steady).arg("--protocol").arg(protocol()));
    again.env("STANDIN_WOBBLE", "5");
    let said = finish(again).out;
    assert!(said.contains(" retraining  of 8 of ") && !said.contains("Bitwise      retraining"), "{said}");
}

/// Where a GPU's memory ran out, libtorch goes on in another way and says nothing: nothing of it is kept or told.
#[test]
fn what_a_gpu_without_memory_came_to_is_refused() {
    let dir = scratch();
    let refused = |mut command: Command, at: usize, what: &str| {
        command.env("STANDIN_OOM", at.to_string());
        let said = run(command).expect(2).err;
        let why = "the GPU ran out of memory and may have computed otherwise; take fewer --jobs\n";
        assert!(said.ends_with(&format!("{what}: {why}")), "{said}");
    };
    let probe = || {
        let mut probe = selffer(["fingerprint", "--device", "cuda"]);
        shown(&mut probe);
        probe
    };
    refused(probe(), 1, "cannot compute with `cuda` numerics");
    // Each operation takes memory once at the most: it runs out after the probe, in training.
    let log = dir.path().join("log");
    let streams = logged(probe(), &log);
    let gradients = streams.values().flatten().filter(|name| *name == "convolution_backward").count();
    assert_eq!(gradients, 10 + 5 + 1, "on a GPU, one at the paper's full width");
    let after = fs::read_to_string(log).unwrap().lines().count() + 50;
    let store = dir.path().join("store");
    let options =
        ["reproduce", "--no-report", "--quiet", "--jobs", "1", "--device", "cuda", "--snapshot-every", "1"];
    refused(on_gpu(&options, &protocol(), &store), after, "/baseA");
    for part in ["manifests", "checkpoints"] {
        assert_eq!(names(&store.join(part)), BTreeSet::new(), "{part}");
    }
    // A state that was kept before is sound: training goes on from it to the same bits.
    let trained = dir.path().join("trained");
    for store in [&store, &trained] {
        train(&protocol(), store, "cuda");
    }
    assert_eq!(checkpoints(&store), checkpoints(&trained));
}

/// Networks of a GPU's are audited where there is none: what they record is held against the CPU's numerics, and where a
/// network comes out otherwise that alone refutes nothing.
#[test]
fn a_gpu_s_networks_are_audited_without_one() {
    let dir = scratch();
    let store = dir.path().join("store");
    train(&protocol(), &store, "cuda");
    let audit = |options: &[&str], gpu: bool| {
        let mut call = selffer([&["audit", "--quiet"], options].concat());
        call.arg(&store).arg("--protocol").arg(protocol());
        if gpu {
            shown(&mut call);
        }
        run(call)
    };
    let there = audit(&[], true).expect(0).out;
    assert!(there.contains("evaluated here, 23 are the same to the last bit"), "{there}");
    // The same, left to what is there, asked for by the networks' policy, and by the device.
    let here = audit(&[], false).expect(0).out;
    for options in
        [&["--numerics", "cuda"][..], &["--device", "cpu"], &["--device", "cpu", "--numerics", "cuda"]]
    {
        assert_eq!(audit(options, false).expect(0).out, here, "{options:?}");
    }
    assert_eq!(audit(&["--device", "cpu"], true).expect(0).out, here);
    let under = "Proof, stage by stage: networks of cuda numerics, computed here under portable ones\n";
    assert!(here.contains(under), "{here}");
    assert!(here.contains("as a whole: Equivalent, and 23 networks were not trained again"), "{here}");
    let again = audit(&["--full", "--format", "json", "--fail-on", "error"], false).expect(0).json();
    let trials = again["proof"]["stages"][3]["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 23);
    assert!(trials.iter().all(|trial| trial["verdict"] != "refuted"), "{trials:?}");
    let kinds = again["proof"]["stages"][3]["families"].as_array().unwrap();
    let names: Vec<&str> = kinds.iter().map(|kind| kind["treatment"].as_str().unwrap()).collect();
    assert_eq!(names, ["base", "BnB", "BnB+", "AnB", "AnB+", "RnB", "all"]);
    assert!(kinds.iter().all(|kind| kind["far"] == false), "{kinds:?}");
    let under = &again["proof"]["under"];
    assert_eq!((&under["networks"], &under["computed"]), (&"cuda".into(), &"portable".into()));
    let refused = audit(&["--device", "cuda"], false);
    assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{refused:?}");
    // On a machine with a GPU, the CPU's networks are the CPU's.
    let mut cpu_s = selffer(["audit", "--quiet", "--protocol"]);
    shown(cpu_s.arg(protocol()).arg(good_store()));
    let said = run(cpu_s).expect(0).out;
    assert!(said.contains("as a whole: Bitwise, and 23 networks were not trained again"), "{said}");
}

/// The log of one process: for each stream its operations in order, by name.
fn logged(mut command: Command, log: &Path) -> BTreeMap<String, Vec<String>> {
    command.env("STANDIN_LOG", log);
    finish(command);
    let mut streams = BTreeMap::<_, Vec<_>>::new();
    for line in fs::read_to_string(log).unwrap().lines() {
        let [device, stream, operation] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let operation = operation.strip_prefix("aten::").expect("an operation of libtorch's").to_owned();
        streams.entry(format!("{device} {stream}")).or_default().push(operation);
    }
    streams
}

/// The operations of each step but a stream's last, from its loss's gradient up to the next one's.
fn steps(operations: &[String]) -> Vec<&[String]> {
    let begins = |at: &usize| operations[*at] == "nll_loss_backward";
    // The probe of the fingerprint ends with a loss of its own, after its last softmax.
    let probe = operations.iter().rposition(|name| name == "_softmax");
    let after = probe.map_or(0, |at| (at..operations.len()).find(begins).expect("the probe goes on") + 1);
    let marks: Vec<usize> = (after..operations.len()).filter(begins).collect();
    marks.windows(2).map(|pair| &operations[pair[0]..pair[1]]).collect()
}

/// Which operations come to a GPU, and how often a step waits for it.
#[test]
fn a_gpu_is_given_what_was_looked_up_and_waited_for_when_its_work_is_told() {
    let dir = scratch();
    let caffe = caffe(dir.path());
    let mut seen = BTreeSet::new();
    // Copies to the GPU before a step: none where images wait there; else windows, their places, and two masks.
    for (name, protocol, before) in [("small", protocol().as_path(), 0), ("caffe", &caffe, 4)] {
        let call = on_gpu(&[TRAIN, &["cuda"]].concat(), protocol, &dir.path().join(name));
        let streams = logged(call, &dir.path().join(format!("{name}.log")));
        let steps: Vec<&[String]> = streams.values().flat_map(|operations| steps(operations)).collect();
        let training = streams.values().filter(|operations| self::steps(operations).len() > 1);
        let gives_back = training.map(|operations| operations.iter().any(|name| name == "empty_cache"));
        let gives_back: Vec<bool> = gives_back.collect();
        assert_eq!(
            gives_back, [true; 2],
            "{name}: two networks at once have a stream each, and give memory back"
        );
        let mut copies = BTreeMap::<_, usize>::new();
        for step in steps {
            let of = |part: &[String], way: &str| part.iter().filter(|name| *name == way).count();
            let last = step.iter().rposition(|name| name == "convolution_backward" || name == "mm");
            let (way_back, rest) = step.split_at(last.expect("gradients of weights"));
            let waits = of(way_back, "copy_from") + of(way_back, "copy_to");
            assert_eq!(waits, 0, "{name}: a step waits before its gradients are asked for");
            *copies.entry([of(rest, "copy_from"), of(rest, "copy_to")]).or_default() += 1;
        }
        // Most steps are followed by another; the rest by an entry of the ledger, by validation, or by another network.
        let (usual, _) = copies.iter().max_by_key(|(_, count)| **count).unwrap();
        assert_eq!(*usual, [2, before], "{name}: {copies:?}");
        assert!(copies.keys().all(|[from, to]| *from >= 2 && *to >= before), "{name}: {copies:?}");
        seen.extend(streams.into_values().flatten().filter(|operation| operation != "empty_cache"));
    }
    let looked_up = BTreeSet::from(LOOKED_UP.map(str::to_owned));
    assert_eq!(seen, looked_up);
}

/// Variables that have NVIDIA's libraries write to standard output, seen of cuBLASLt's and cuDNN's own.
const LOGS: [&str; 4] =
    ["CUBLAS_LOGDEST_DBG", "CUBLASLT_LOG_LEVEL", "CUBLASLT_LOG_MASK", "CUDNN_LOGDEST_DBG"];

/// Runs `body` in a process of its own that is shown the stand-in: this test's, once more, by its name. What came of it;
/// none in that process.
fn inside(test: &str, body: impl FnOnce()) -> Option<Output> {
    if env::var_os("STANDIN_INSIDE").is_some() {
        body();
        return None;
    }
    let mut again = Command::new(env::current_exe().unwrap());
    shown(&mut again);
    again.env("STANDIN_INSIDE", "1").envs(LOGS.map(|name| (name, "stdout"))).args([
        "--exact",
        &format!("standin::{test}"),
        "--nocapture",
    ]);
    Some(again.output().unwrap())
}

/// The stand-in refuses what it is to refuse, or all of the above shows little.
#[test]
fn what_would_be_wrong_on_a_gpu_is_refused() {
    let came = inside("what_would_be_wrong_on_a_gpu_is_refused", || {
        Numerics::engage(Policy::Cuda).unwrap().enter_thread();
        assert_eq!(LOGS.map(env::var_os), [const { None }; 4], "results alone are written");
        let there = |gpu| Tensor::ones([2, 3], (Kind::Float, Device::Cuda(gpu)));
        let (a, b, other) = (there(0), there(0), there(1));
        let sum = a.f_add(&b).unwrap().f_mul_scalar(0.5).unwrap();
        assert_eq!(f64::try_from(sum.sum(Kind::Float)).unwrap(), 6.0);
        let said = |result: Result<Tensor, tch::TchError>| result.unwrap_err().to_string();
        let here = Tensor::ones([2, 3], (Kind::Float, Device::Cpu));
        let mixed = said(a.f_add(&here));
        assert!(mixed.contains("Expected all tensors to be on the same device"), "{mixed}");
        let mixed = said(a.f_index_select(0, &Tensor::from_slice(&[1i64])));
        assert!(mixed.contains("aten::index_select is given a tensor of the CPU"), "{mixed}");
        let two = said(a.f_add(&other));
        assert!(two.contains("Expected all tensors to be on the same device"), "{two}");
        let two = said(Tensor::f_cat(&[&a, &other], 0));
        assert!(two.contains("aten::cat is given tensors of two GPUs"), "{two}");
        let tensors = [a.shallow_clone(), b.shallow_clone()];
        let elsewhere = thread::spawn(move || {
            Numerics::engage(Policy::Cuda).unwrap().enter_thread();
            said(tensors[0].f_add(&tensors[1]))
        });
        let from_elsewhere = elsewhere.join().unwrap();
        assert!(from_elsewhere.contains("aten::add on "), "{from_elsewhere}");
        assert!(from_elsewhere.contains(" is given a tensor of stream "), "{from_elsewhere}");
        // Without a stream of its own, a second thread works on one that another has.
        let shared =
            || said(thread::spawn(|| Tensor::f_ones([1], (Kind::Float, Device::Cuda(1)))).join().unwrap());
        assert!(shared().contains("stand-in: two threads work on "), "{}", shared());
    });
    if let Some(came) = came {
        let came = Ran::from(came).expect(0);
        assert!(came.out.contains("1 passed"), "{came:?}");
    }
}

/// Its memory is not the machine's: who reads it as that is at the end.
#[test]
fn a_gpu_s_memory_is_not_read_as_the_machine_s() {
    let came = inside("a_gpu_s_memory_is_not_read_as_the_machine_s", || {
        Numerics::engage(Policy::Cuda).unwrap().enter_thread();
        let there = Tensor::ones([4], (Kind::Float, Device::Cuda(0)));
        let nothing = Rlimit { current: Some(0), maximum: Some(0) };
        setrlimit(Resource::Core, nothing).unwrap();
        say("before it is read");
        #[expect(unsafe_code, reason = "this is what is tried")]
        // SAFETY: there is none. The address is not one, which ends the process before anything is read.
        let read = unsafe { std::ptr::read_volatile(there.data_ptr() as *const f32) };
        say(&format!("read {read}"));
    });
    if let Some(came) = came {
        let said = String::from_utf8_lossy(&came.stderr);
        assert_eq!(came.status.signal(), Some(11), "{said}");
        assert!(said.contains("before it is read\n") && !said.contains("\nread "), "{said}");
    }
}
