//! What the system refuses: memory, disks, permissions, pipes. One sentence each, and nothing half-written.

use crate::common::{
    essence, files, good_copy, good_store, on_store, protocol, refused, reproduce, run, say, scratch,
    selffer, sentence, three_networks, with,
};
use selffer::store::{Entry, Store};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Every file of a store that is there is whole, and nothing half-written lies about.
#[track_caller]
fn all_whole(dir: &Path) {
    let store = Store::open(dir).unwrap();
    let (entries, strays) = store.list().unwrap();
    assert_eq!(strays, [] as [PathBuf; 0]);
    for entry in entries {
        let whole = match entry {
            Entry::Split(digest) => store.split(digest).unwrap().whole().is_some(),
            Entry::Checkpoint(digest) => store.weights(digest).unwrap().whole().is_some(),
            Entry::Manifest(digest) => store.manifest(digest).unwrap().whole().is_some(),
            Entry::Snapshot(recipe, steps) => store.snapshot(recipe, steps).unwrap().whole().is_some(),
        };
        assert!(whole, "{} is there, and not whole", store.path(&entry).display());
    }
    let unfinished: Vec<PathBuf> = files(&dir.join("new")).into_keys().collect();
    assert_eq!(unfinished, [PathBuf::from("writers")], "something half-written was left");
}

/// Whether whoever runs the tests is root, whom permissions do not bind.
fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Whether a command can be run here and succeeds.
fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

#[test]
fn a_network_that_memory_cannot_hold_is_refused_with_the_mend() {
    let dir = scratch();
    let (path, store) = (dir.path().join("wide.toml"), dir.path().join("store"));
    // Each network takes more than 150 GiB, and there are 23 jobs for the 23 networks. Their operations, all together, are
    // more than 64 bits count.
    let wide = with("conv = [8, 8, 8, 8, 8]", "conv = [16384, 16384, 16384, 16384, 16384]");
    fs::write(&path, wide.replace("epochs = 2", "epochs = 100000\nsteps = 200000000")).unwrap();
    let mut call = selffer(["reproduce", "--jobs", "64", "--quiet", "--protocol"]);
    call.arg(&path).arg("--store").arg(&store);
    refused(call, &["takes at least", "GiB of memory in each of 23 jobs"], "take fewer --jobs");
}

/// A base network fits in 2.5 GB and what copies from it does not: that is said before the base network is trained.
#[test]
fn a_later_network_that_memory_cannot_hold_is_refused_before_the_first() {
    let dir = scratch();
    let (path, store) = (dir.path().join("wide.toml"), dir.path().join("store"));
    fs::write(&path, with("hidden = [32, 32]", "hidden = [12000, 12000]")).unwrap();
    let program = reproduce(&path, &store);
    let mut call = Command::new("sh");
    call.args(["-c", "ulimit -v 2500000; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args());
    refused(
        call,
        &["random-0/1/A1B+: takes at least 2.7 GiB of memory, and 2.4 are free"],
        "take fewer --jobs",
    );
    assert_eq!(fs::read_dir(store.join("claims")).unwrap().count(), 0, "training was begun");
}

/// A limit that the least estimate keeps to and training does not: libtorch's own refusal is told in
/// one sentence, and the store is whole.
#[test]
fn libtorch_without_memory_is_one_sentence() {
    let dir = scratch();
    let (path, store) = (dir.path().join("wide.toml"), dir.path().join("store"));
    let batch = with("batch = 5", "batch = 65536").replace("train_per_class = 40", "train_per_class = 300");
    let wide = batch.replace("conv = [8, 8, 8, 8, 8]", "conv = [160, 160, 8, 8, 8]");
    // Without the network on all classes, of which it is known that it does not fit.
    fs::write(&path, wide.split("# One base network on all").next().unwrap()).unwrap();
    let program = reproduce(&path, &store);
    let mut call = Command::new("sh");
    call.args(["-c", "ulimit -v 2200000; exec \"$0\" \"$@\""]).arg(program.get_program());
    // Threads and their arenas take address space as well: as few of them as can be.
    call.args(program.get_args()).envs([("RAYON_NUM_THREADS", "1"), ("MALLOC_ARENA_MAX", "1")]);
    refused(call, &["libtorch failed on mixed/1/base", "allocate memory"], "");
    all_whole(&store);
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let dir = scratch();
    let (file, foreign) = (dir.path().join("file"), dir.path().join("foreign"));
    fs::write(&file, "mine").unwrap();
    fs::create_dir_all(foreign.join("inner")).unwrap();
    fs::write(foreign.join("inner/thesis.tex"), "mine").unwrap();
    let before = files(dir.path());
    refused(reproduce(protocol(), &file), &[file.to_str().unwrap()], "name a directory");
    refused(
        reproduce(protocol(), &foreign),
        &[foreign.to_str().unwrap()],
        "name an empty or a new directory",
    );

    let golden = dir.path().join("golden");
    let golden = golden.to_str().unwrap();
    let commands: [&[&str]; 4] = [
        &["verify"],
        &["table"],
        &["golden", "check", "--golden", golden],
        &["golden", "accept", "--golden", golden, "--reason", "none"],
    ];
    for command in commands {
        for store in [&file, &foreign, &dir.path().join("nowhere")] {
            let ran = on_store(command, &protocol(), store);
            sentence(
                ran,
                &[store.to_str().unwrap(), "name a selffer store, or make one with `selffer reproduce`"],
            );
        }
    }
    assert_eq!(files(dir.path()), before);
    assert!(!dir.path().join("nowhere").exists() && !dir.path().join("golden").exists());
}

/// The same call by somebody who is bound by permissions: as root is without any capability.
fn bound(call: &Command) -> Command {
    let mut bound = match is_root() {
        true => {
            let mut bare = Command::new("setpriv");
            bare.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(call.get_program());
            bare
        }
        false => Command::new(call.get_program()),
    };
    bound.args(call.get_args());
    bound
}

/// What may not be looked at is neither absent nor lost: a queue would train it all again.
#[test]
fn what_may_not_be_read_is_told_as_that() {
    if !succeeds(&mut bound(&Command::new("true"))) {
        return say("there is no setpriv that drops root's capabilities: nothing was tried");
    }
    let (dir, store) = good_copy();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::copy(protocol(), inner.join("protocol.toml")).unwrap();
    fs::create_dir(inner.join("results")).unwrap();
    let checkpoints = store.join("checkpoints");
    let close = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let tried = |closed: &Path, call: Command, named: &str| {
        close(closed, 0o000);
        let ran = run(bound(&call)).expect(2);
        close(closed, 0o755);
        let said = format!("cannot {named}: Permission denied");
        assert!(
            ran.err.contains(&said) && ran.err.ends_with("; allow it, or name another place\n"),
            "{}",
            ran.err
        );
        assert_eq!(ran.out, "");
    };
    for command in [&["status"] as &[&str], &["submit", "--dry-run", "--quiet"], &["verify"]] {
        let call = || {
            let mut call = selffer(command);
            call.arg("--protocol").arg(protocol()).arg("--store").arg(&store);
            call
        };
        close(&checkpoints, 0o000);
        let ran = run(bound(&call())).expect(2);
        close(&checkpoints, 0o755);
        assert!(ran.err.contains("Permission denied (os error 13); allow it"), "{}", ran.err);
        assert_eq!(ran.out, "", "{command:?}");
        let named = match command[0] {
            "submit" => format!("look into {}", store.display()),
            _ => format!("read {}", store.join("selffer-store").display()),
        };
        tried(&store, call(), &named);
    }
    // What may be listed and not be looked at: neither strays, nor states that are not there.
    for sub in ["claims", "locks", "snapshots"] {
        fs::write(store.join("snapshots").join(format!("{}-7.snapshot", "0".repeat(64))), "x").unwrap();
        close(&store.join(sub), 0o444);
        let mut call = selffer(["verify", "--quiet", "--protocol"]);
        call.arg(protocol()).arg("--store").arg(&store);
        let ran = run(bound(&call)).expect(2);
        close(&store.join(sub), 0o755);
        let said = format!("cannot read {}", store.join(sub).display());
        assert!(ran.err.contains(&said) && ran.err.contains("Permission denied"), "{}", ran.err);
    }
    // Behind a link that may not be followed it is not in the way of what is to be made.
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::rename(&checkpoints, closed.join("checkpoints")).unwrap();
    std::os::unix::fs::symlink(closed.join("checkpoints"), &checkpoints).unwrap();
    tried(&closed, reproduce(protocol(), &store), &format!("read {}", checkpoints.display()));

    let named = inner.join("protocol.toml");
    let mut call = selffer(["plan", "--quiet", "--protocol"]);
    call.arg(&named);
    tried(&inner, call, &format!("read {}", named.display()));
    for command in [&["audit"] as &[&str], &["report", "--archive"]] {
        let mut call = selffer(command);
        call.arg(&inner);
        tried(&inner, call, &format!("look into {}", inner.display()));
    }
    let images = inner.join("images");
    let mut call = selffer(["plan", "--quiet", "--protocol", "standard", "--data"]);
    call.arg(&images);
    tried(&inner, call, &format!("read {}", images.display()));
}

#[test]
fn a_store_that_cannot_be_written_is_refused_and_left_alone() {
    // Not even root makes a directory there.
    let nowhere = Path::new("/proc/selffer-test-store");
    refused(reproduce(protocol(), nowhere), &["/proc/selffer-test-store"], "; ");
    assert!(!nowhere.exists());

    if !succeeds(&mut bound(&Command::new("true"))) {
        return say("there is no setpriv that drops root's capabilities: only /proc was tried");
    }
    let (dir, store) = good_copy();
    let parent = dir.path().join("parent");
    fs::create_dir(&parent).unwrap();
    // One network is missing, so that there is something to write.
    let manifest = fs::read_dir(store.join("manifests")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(manifest).unwrap();
    let before = files(&store);
    let new = store.join("new");
    let close = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for (closed, store, named) in [(&parent, parent.join("store"), &parent), (&new, store.clone(), &new)] {
        close(closed, 0o555);
        let call = bound(&reproduce(protocol(), &store));
        refused(call, &[named.to_str().unwrap()], "; allow it, or name another place");
        close(closed, 0o755);
    }
    assert_eq!(fs::read_dir(&parent).unwrap().count(), 0);
    let mut after = files(&store);
    // The network's lock was taken before the disk was found closed; a lock is an empty file.
    after.retain(|path, _| !path.starts_with("locks") || before.contains_key(path));
    assert_eq!(after, before);
}

/// Mounts a disk of a size, runs `reproduce` on it, and keeps what it wrote.
const ON_A_SMALL_DISK: &str = r#"
mount -t tmpfs -o size="$1" none "$2" || exit 77
"$4" reproduce --protocol "$5" --store "$2/store" --jobs 1 --quiet
code=$?
cp -r "$2/store" "$3"
exit $code"#;

#[test]
fn a_full_disk_is_one_sentence_and_no_half_written_file() {
    // A mount that this process alone sees, and that goes away with it.
    let apart = || {
        let mut unshare = Command::new("unshare");
        if !is_root() {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare.args(["--mount", "sh", "-c"]);
        unshare
    };
    let dir = scratch();
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    if !succeeds(apart().args(["mount -t tmpfs -o size=100k none \"$1\"", "sh"]).arg(&disk)) {
        return say("no disk can be mounted here: a limit on file sizes stands for a full one");
    }
    // The first is full while the splits are written, the second after some networks.
    for (size, trained) in [("100k", 0..1), ("500k", 1..23)] {
        let kept = dir.path().join(size);
        let mut call = apart();
        call.args([ON_A_SMALL_DISK, "sh", size]).arg(&disk).arg(&kept);
        call.arg(env!("CARGO_BIN_EXE_selffer")).arg(protocol());
        refused(
            call,
            &[disk.join("store").to_str().unwrap()],
            "free some space, then run the same command again",
        );
        all_whole(&kept);
        let manifests = fs::read_dir(kept.join("manifests")).unwrap().count();
        assert!(trained.contains(&manifests), "{manifests} manifests on a disk of {size}");

        // On a disk with room, the same command goes on and ends with what a straight run has.
        let rest = on_store(&["reproduce", "--quiet"], &protocol(), &kept).expect(0).json();
        assert_eq!(rest["found"], manifests);
        assert_eq!(rest["trained"], 23 - manifests);
        assert!(essence(&kept) == essence(good_store()), "another store than that of a straight run");
    }
}

#[test]
fn a_limit_on_file_sizes_is_one_sentence_and_no_half_written_file() {
    let dir = scratch();
    let (protocol, store) = (three_networks(dir.path()), dir.path().join("store"));
    // The split fits, a checkpoint does not; 60 or 120 KiB, by the shell's unit.
    let mut call = Command::new("sh");
    call.args(["-c", "ulimit -f 120; exec \"$@\"", "sh"]);
    let inner = reproduce(&protocol, &store);
    call.arg(inner.get_program()).args(inner.get_args());
    refused(
        call,
        &[store.join("checkpoints").to_str().unwrap()],
        "raise the limit on file sizes (ulimit -f)",
    );
    all_whole(&store);
    assert_eq!(fs::read_dir(store.join("splits")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(store.join("checkpoints")).unwrap().count(), 0);
    assert_eq!(on_store(&["reproduce", "--quiet"], &protocol, &store).expect(0).json()["trained"], 3);
}

#[test]
fn a_result_that_cannot_be_printed_is_an_error() {
    let (_dir, store) = good_copy();
    let before = files(&store);
    for command in ["plan", "reproduce", "verify", "table"] {
        let mut call = selffer([command, "--quiet", "--protocol"]);
        call.arg(protocol()).arg("--store").arg(&store);
        call.stdout(File::options().write(true).open("/dev/full").unwrap());
        refused(call, &["cannot write to standard output"], "free some space");
    }
    assert_eq!(files(&store), before);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for command in ["plan", "reproduce", "verify", "table"] {
        for format in ["text", "json"] {
            let mut call = selffer([command, "--quiet", "--format", format, "--protocol"]);
            call.arg(protocol()).arg("--store").arg(good_store());
            // Gone before the program starts, so that every write meets a closed pipe.
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            call.stdout(writer);
            let ran = run(call).expect(0);
            assert_eq!(ran.err, "", "{command}");
        }
    }
    // Nor is one of progress: what is asked for is done all the same.
    let dir = scratch();
    let (protocol, store) = (three_networks(dir.path()), dir.path().join("store"));
    let mut call = selffer(["reproduce", "--format", "json", "--protocol"]);
    call.arg(protocol).arg("--store").arg(&store);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    call.stderr(writer);
    assert_eq!(run(call).expect(0).json()["trained"], 3);
}
