//! What the tests share: the program, a good store that was trained for real, and ways to look into
//! and to change a store.

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use selffer::data::Dataset;
use selffer::plan::Plan;
use selffer::protocol::Protocol;
use selffer::recipe::Policy;
use selffer::split::Catalog;
use selffer::store::{Lock, Store};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything is waited for. No test measures time by it: it ends one that would never end.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// The file `relative` of the repository.
pub fn repository(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// The paper's network in small, with windows, mirrors and the mean image: `[network]`, `[input]` and the beginning of
/// `[solver]`.
pub const CAFFE: &str = r#"[network]
layout = "caffe"
conv = [8, 8, 8, 8, 8]
hidden = [16, 16]
filler = "caffe"

[input]
crop = 43
mirror = true
subtract = "mean-image"

[solver]
update = "caffe"
"#;

/// The protocol of the good store.
pub fn protocol() -> PathBuf {
    repository("fixtures/broken/store.toml")
}

/// A text for whoever reads the test's output.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// An empty directory that is removed with the value.
pub fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// The program with those arguments, in an empty working directory of its own: no `golden/` and no
/// `store/` of the repository is in reach.
pub fn selffer<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    static EMPTY: OnceLock<PathBuf> = OnceLock::new();
    let empty = EMPTY.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("empty");
        fs::create_dir_all(&dir).expect("a directory for tests");
        dir
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_selffer"));
    // Tests compare bits of the CPU's: a GPU that is there is not to be taken.
    command.current_dir(empty).args(args).env("CUDA_VISIBLE_DEVICES", "");
    command
}

/// What stands in for a GPU where there is none (`ci/standin` says how), built once in this process.
pub fn standin() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("standin");
        let mut build = Command::new(repository("ci/standin"));
        build.arg(&dir);
        run(build).expect(0);
        dir
    })
}

/// Shows a command the driver of the stand-in, and that torch directory.
pub fn with_driver<'a>(command: &'a mut Command, torch: &Path) -> &'a mut Command {
    command.env("LD_LIBRARY_PATH", standin()).env("LIBTORCH_CUDA", torch)
}

/// How one call of the program went.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8 output");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ran {
    /// The exit code was `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "standard output:\n{}\nstandard error:\n{}", self.out, self.err);
        self
    }

    /// Standard output is one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in:\n{}", self.out))
    }

    /// The codes and subjects of its findings.
    #[track_caller]
    pub fn findings(&self) -> Vec<(String, String)> {
        let json = self.json();
        let findings = json["findings"].as_array().expect("a list of findings").iter();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        findings.map(|finding| (text(&finding["code"]), text(&finding["subject"]))).collect()
    }
}

/// Runs a command to its end.
pub fn run(mut command: Command) -> Ran {
    command.output().expect("the program starts").into()
}

/// `selffer COMMAND… --protocol … --store … --format json`, run to its end.
pub fn on_store(command: &[&str], protocol: &Path, store: &Path) -> Ran {
    let mut call = selffer(command);
    call.arg("--protocol").arg(protocol).arg("--store").arg(store).args(["--format", "json"]);
    run(call)
}

/// The directory of the good store: trained by the program itself, once in this process. Nobody changes
/// it; [`copy`] it first.
pub fn good_store() -> &'static Path {
    static STORE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, store) = STORE.get_or_init(|| {
        let dir = scratch();
        let store = dir.path().join("store");
        let ran = on_store(&["reproduce", "--jobs", "2", "--quiet"], &protocol(), &store).expect(0);
        let errors: Vec<_> = ran.findings().into_iter().filter(|(code, _)| code != "golden-absent").collect();
        assert_eq!(errors, [], "the good store is to be without a finding");
        (dir, store)
    });
    store
}

/// A copy of the good store, under a temporary directory that is returned with it.
pub fn good_copy() -> (TempDir, PathBuf) {
    let dir = scratch();
    let store = dir.path().join("store");
    copy(good_store(), &store);
    (dir, store)
}

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for (relative, bytes) in files(from) {
        let path = to.join(relative);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, bytes).expect("a copy");
    }
    // Directories without a file in them count too.
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        if entry.path().is_dir() {
            fs::create_dir_all(to.join(entry.file_name())).expect("a directory");
        }
    }
}

/// Every file below `dir` by its path relative to `dir`, in order.
pub fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn collect(dir: &Path, top: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => collect(&path, top, found),
                false => {
                    let relative = path.strip_prefix(top).expect("a path below").to_owned();
                    found.insert(relative, fs::read(&path).expect("a file"));
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(dir, dir, &mut found);
    found
}

/// What of a store has to be the same however it came to be: the names of splits, checkpoints and
/// manifests, each of which is a digest of what it holds, and the bytes of all but the manifests and the report,
/// which say how long training took. Locks, claims and jobs say who did it.
pub fn essence(store: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = files(store);
    let of_others = ["locks", "claims", "jobs", "report"];
    files.retain(|path, _| !of_others.iter().any(|other| path.starts_with(other)));
    for (_, bytes) in files.iter_mut().filter(|(path, _)| path.starts_with("manifests")) {
        let mut manifest: Value = serde_json::from_slice(bytes).expect("a manifest");
        manifest["digest"] = Value::Null;
        manifest["manifest"]["wall_ms"] = Value::Null;
        *bytes = manifest.to_string().into_bytes();
    }
    files
}

/// The names of what is in a directory, none where there is no directory. It may change meanwhile.
pub fn names(dir: &Path) -> BTreeSet<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.expect("an entry").file_name().into_string().expect("a name in UTF-8")
    };
    fs::read_dir(dir).map_or_else(|_| BTreeSet::new(), |entries| entries.map(name).collect())
}

/// Waits until `look` has something.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        let waited = begin.elapsed();
        assert!(waited < PATIENCE, "{what}");
        // Seldom where it takes long: who looks takes time from those that are looked at.
        std::thread::sleep((waited / 10).clamp(Duration::from_millis(1), Duration::from_millis(100)));
    }
}

/// Sends a process a signal.
pub fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("the process is there");
}

/// Makes a pipe with a name.
pub fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

/// Waits until a process reads a pipe, which then waits for what is written here.
pub fn read_by_now(pipe: &Path) -> File {
    // Refused as long as nobody has it open for reading.
    let at_once = OFlags::NONBLOCK.bits() as i32;
    wait_for("nobody reads the pipe", || File::options().write(true).custom_flags(at_once).open(pipe).ok())
}

/// Writes a program that a shell runs. In a process of its own: a file that this one is writing is open in every process
/// that is being started meanwhile, and what is open for writing cannot be run.
pub fn executable(path: &Path, text: &str) {
    let mut shell = Command::new("sh");
    let write = r#"printf '#!/bin/sh\n%s\n' "$2" > "$1.new" && chmod 755 "$1.new" && mv "$1.new" "$1""#;
    shell.args(["-c", write, "sh"]).arg(path).arg(text);
    run(shell).expect(0);
}

/// A look at the plan of a protocol.
pub fn with_plan<T>(protocol: &Path, look: impl FnOnce(&Plan<'_>) -> T) -> T {
    let protocol = Protocol::named(protocol.to_str().unwrap()).unwrap();
    let catalog = Catalog::of(Dataset::read(&protocol.data).unwrap());
    look(&Plan::make(&protocol, &catalog).unwrap())
}

/// Takes the lock of a network, so that no process trains it, or comes to the end of its store, until the value is dropped.
pub fn hold(protocol: &Path, store: &Path, run: &str) -> Lock {
    let recipe = with_plan(protocol, |plan| {
        let base = plan.runs.iter().find(|planned| plan.name(planned) == run).expect("a run of the plan");
        assert_eq!(base.parent, None, "{run} has a recipe of its own");
        plan.recipe(base, Policy::Portable, None).digest()
    });
    let store = Store::create(store).expect("a store");
    wait_for("another has its lock", || store.try_lock(recipe).expect("a lock"))
}

/// How many networks the store has a manifest of; 0 where there is no store yet.
pub fn manifests(store: &Path) -> usize {
    fs::read_dir(store.join("manifests")).map_or(0, |entries| entries.count())
}

/// The protocol of the good store as text, with one passage replaced.
pub fn with(old: &str, new: &str) -> String {
    let text = fs::read_to_string(protocol()).unwrap();
    assert!(text.contains(old), "the protocol has no `{old}`");
    text.replacen(old, new, 1)
}

/// The protocol of the good store without its splits.
pub fn without_splits() -> String {
    let text = fs::read_to_string(protocol()).unwrap();
    text.split("[[split]]").next().unwrap().to_owned()
}

/// Writes a protocol with one split and three networks, whose checkpoints are larger than its split.
pub fn three_networks(dir: &Path) -> PathBuf {
    let mut table: toml::Table = with("hidden = [32, 32]", "hidden = [256, 256]").parse().unwrap();
    let splits = table["split"].as_array_mut().unwrap();
    splits.retain(|split| split["name"].as_str() == Some("digits-garments"));
    splits[0]["treatments"] = vec!["baseA", "baseB", "A1B"].into();
    let path = dir.join("three.toml");
    fs::write(&path, table.to_string()).unwrap();
    path
}

/// `reproduce` into `store`, with nothing said but errors.
pub fn reproduce(protocol: impl AsRef<OsStr>, store: &Path) -> Command {
    let mut call = selffer(["reproduce", "--jobs", "1", "--quiet", "--protocol"]);
    call.arg(protocol).arg("--store").arg(store);
    call
}

/// The program refused in one sentence that names all of `named` and says `mend`, and printed no result.
#[track_caller]
pub fn refused(call: Command, named: &[&str], mend: &str) {
    sentence(run(call), &[named, &[mend]].concat());
}

/// It ended with code 2, printed no result, and said one sentence with all of these words.
#[track_caller]
pub fn sentence(ran: Ran, words: &[&str]) {
    let ran = ran.expect(2);
    assert_eq!(ran.out, "", "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert!(ran.err.starts_with("error: ") && ran.err.ends_with('\n'), "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "`{word}` is to be in: {}", ran.err);
    }
}
