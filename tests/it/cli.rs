//! Wrong inputs and the shapes of what is printed.

use crate::archive::gzip;
use crate::common::{
    Ran, essence, files, good_copy, good_store, on_store, protocol, repository, run, say, scratch, selffer,
};
use selffer::data::{Dataset, Images, Part};
use selffer::protocol::DataSource;
use selffer::store::{Entry, Store};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Writes a data set as a directory of plain IDX files, with its class names.
pub fn write_idx(dir: &Path, data: &Dataset) {
    fs::create_dir_all(dir).unwrap();
    for (part, prefix) in Part::BOTH.into_iter().zip(["train", "t10k"]) {
        let images = data.part(part);
        let (dims, labels) = ([images.len(), images.rows, images.cols], &images.labels);
        fs::write(dir.join(format!("{prefix}-images-idx3-ubyte")), idx(&dims, &images.bytes().unwrap()))
            .unwrap();
        let labels: Vec<u8> = labels.iter().map(|label| u8::try_from(*label).unwrap()).collect();
        fs::write(dir.join(format!("{prefix}-labels-idx1-ubyte")), idx(&dims[..1], &labels)).unwrap();
    }
    fs::write(dir.join("classes.txt"), data.classes.join("\n")).unwrap();
}

/// An IDX file of unsigned bytes.
pub fn idx(dims: &[usize], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, u8::try_from(dims.len()).unwrap()];
    for dim in dims {
        file.extend(u32::try_from(*dim).unwrap().to_be_bytes());
    }
    file.extend(bytes);
    file
}

/// The protocol of the good store as text, with one passage replaced.
fn with(old: &str, new: &str) -> String {
    let text = fs::read_to_string(protocol()).unwrap();
    assert!(text.contains(old), "the protocol has no `{old}`");
    text.replacen(old, new, 1)
}

/// The protocol of the good store without its splits.
fn without_splits() -> String {
    let text = fs::read_to_string(protocol()).unwrap();
    text.split("[[split]]").next().unwrap().to_owned()
}

/// Writes a protocol with one split and three networks, whose checkpoints are larger than its split.
fn three_networks(dir: &Path) -> PathBuf {
    let mut table: toml::Table = with("hidden = [32, 32]", "hidden = [256, 256]").parse().unwrap();
    let splits = table["split"].as_array_mut().unwrap();
    splits.retain(|split| split["name"].as_str() == Some("digits-garments"));
    splits[0]["treatments"] = vec!["baseA", "baseB", "A1B"].into();
    let path = dir.join("three.toml");
    fs::write(&path, table.to_string()).unwrap();
    path
}

/// `reproduce` into `store`, with nothing said but errors.
fn reproduce(protocol: impl AsRef<OsStr>, store: &Path) -> Command {
    let mut call = selffer(["reproduce", "--jobs", "1", "--quiet", "--protocol"]);
    call.arg(protocol).arg("--store").arg(store);
    call
}

/// The program refused in one sentence that names all of `named` and says `mend`, and printed no result.
#[track_caller]
fn refused(call: Command, named: &[&str], mend: &str) {
    sentence(run(call), named, mend);
}

#[track_caller]
fn sentence(ran: Ran, named: &[&str], mend: &str) {
    let ran = ran.expect(2);
    assert_eq!(ran.out, "", "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert!(ran.err.starts_with("error: ") && ran.err.ends_with('\n'), "{}", ran.err);
    for named in named {
        assert!(ran.err.contains(named), "`{named}` is to be named in: {}", ran.err);
    }
    assert!(ran.err.contains(mend), "`{mend}` is to be the mend in: {}", ran.err);
}

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
fn a_protocol_that_is_wrong_is_refused_with_the_mend() {
    let cases: &[(String, &str, &str)] = &[
        (with("epochs = 2", "epoch = 2"), "unknown field `epoch`", "the nearest that is known is `epochs`"),
        (
            with("train_per_class", "train_per_clas"),
            "`train_per_clas`",
            "nearest that is known is `train_per_class`",
        ),
        (with("\"embedded\"", "\"embeded\""), "`embeded`", "the nearest that is known is `embedded`"),
        (with("\"A7B\"", "\"C7B\""), "`C7B` is no treatment", "write baseA or baseB"),
        (with("\"A7B\"", "\"A0B\""), "`A0B` copies 0 layers", "1 to 7 can be copied"),
        (with("\"A7B\"", "\"A8B\""), "`A8B` copies 8 layers", "1 to 7 can be copied"),
        (with("depths = [1, 4]", "depths = [0]"), "`depths` cannot be 0", "take depths from 1 to 7"),
        (with("depths = [1, 4]", "depths = [8]"), "`depths` cannot be 8", "take depths from 1 to 7"),
        (with("\"R1B\"", "\"R3B+\""), "`R3B+`", "leave out the +"),
        (with("batch = 5", "batch = 0"), "`solver.batch` cannot be 0", "take 1 to 65536"),
        (without_splits(), "missing field `split`", "README.md shows what a protocol holds"),
        (format!("split = []\n{}", without_splits()), "`split` cannot be none", "add a [[split]]"),
        (with("batch = 5", "batch = "), "line 17", "README.md shows what a protocol holds"),
    ];
    for (text, problem, mend) in cases {
        let dir = scratch();
        let (path, store) = (dir.path().join("wrong.toml"), dir.path().join("store"));
        fs::write(&path, text).unwrap();
        refused(reproduce(&path, &store), &[path.to_str().unwrap(), problem], mend);
        assert!(!store.exists(), "{problem}");
    }
}

#[test]
fn a_split_that_the_data_cannot_fill_is_refused_with_the_mend() {
    let cases = [
        (with("\"digit-6\"", "\"digit-0\""), "names class digit-0 twice", "name each class once"),
        (with("\"digit-6\"", "\"digits-6\""), "names class digits-6", "the nearest class is digit-6"),
        (
            with("\"digit-6\", \"digit-7\", \"dress\", ", ""),
            "fewer than two classes",
            "give A and B two at least",
        ),
        (
            with("train_per_class = 40", "train_per_class = 301"),
            "class digit-0 has 300 train images, not 301",
            "lower train_per_class",
        ),
    ];
    for (text, problem, mend) in cases {
        let dir = scratch();
        let (path, store) = (dir.path().join("wrong.toml"), dir.path().join("store"));
        fs::write(&path, text).unwrap();
        refused(reproduce(&path, &store), &[path.to_str().unwrap(), "split mixed", problem], mend);
        assert!(!store.exists(), "{problem}");
    }
}

#[test]
fn a_protocol_that_cannot_be_read_is_refused() {
    let dir = scratch();
    let latin = dir.path().join("latin.toml");
    fs::write(&latin, b"name = \"caf\xe9\"\n").unwrap();
    let cases = [
        (dir.path().join("nowhere.toml"), "name one of smoke, ci, standard, paper, cifar100, or a TOML file"),
        (dir.path().to_owned(), "name a file"),
        (latin, "is not UTF-8 text; name a TOML file"),
    ];
    let store = dir.path().join("store");
    for (path, mend) in cases {
        refused(reproduce(&path, &store), &[path.to_str().unwrap()], mend);
        assert!(!store.exists(), "{mend}");
    }
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

/// Four classes of images of one size, two images each and part.
fn little_data(side: usize) -> Dataset {
    let part = |first: u8| {
        let labels: Vec<u16> = (0..8).map(|at| at % 4).collect();
        let pixels = (0..8 * side * side).map(|at| first + (at % 97) as u8).collect();
        Images::new([1, side, side], pixels, labels)
    };
    let classes = ["north", "east", "south", "west"].map(str::to_owned).to_vec();
    Dataset { classes, train: part(0), valid: part(100) }
}

/// Writes a protocol for the IDX directory `idx`, of any classes.
fn idx_protocol(dir: &Path, idx: &str) -> PathBuf {
    let path = dir.join("idx.toml");
    let text = without_splits()
        .replace("data = \"embedded\"", &format!("data = {{ idx = \"{idx}\" }}"))
        .replace("train_per_class = 40", "")
        .replace("valid_per_class = 20", "");
    let split = "[[split]]\nname = \"whole\"\nhalves = \"whole\"\ntreatments = [\"baseA\"]\n";
    fs::write(&path, text + split).unwrap();
    path
}

#[test]
fn an_idx_directory_that_is_wrong_is_refused_with_the_mend() {
    const IMAGES: &str = "train-images-idx3-ubyte";
    const LABELS: &str = "train-labels-idx1-ubyte";
    /// A break of a directory of IDX files, what is to be named, and the mend.
    type Case = (fn(&Path), &'static str, &'static str);
    let cases: &[Case] = &[
        (|dir| fs::remove_dir_all(dir).unwrap(), "cannot read the directory", "check the name"),
        (
            |dir| {
                fs::remove_dir_all(dir).unwrap();
                fs::write(dir, "").unwrap();
            },
            "cannot read the directory",
            "name a directory",
        ),
        (
            |dir| fs::remove_file(dir.join(LABELS)).unwrap(),
            "has no file whose name ends in train-labels-idx1-ubyte",
            "name a directory of MNIST-family IDX files",
        ),
        (|dir| cut(&dir.join(IMAGES), 1), IMAGES, "fetch or unpack the file again"),
        // So short that not even its dimensions are there.
        (|dir| cut(&dir.join(LABELS), 10), LABELS, "check that the file is what its name says"),
        (
            |dir| {
                let packed = dir.join(format!("{IMAGES}.gz"));
                fs::write(&packed, gzip(&fs::read(dir.join(IMAGES)).unwrap())).unwrap();
                fs::remove_file(dir.join(IMAGES)).unwrap();
                cut(&packed, 20);
            },
            "train-images-idx3-ubyte.gz",
            "fetch or unpack the file again",
        ),
        (
            |dir| fs::copy(dir.join(IMAGES), dir.join(LABELS)).map(drop).unwrap(),
            "it begins with 00000803, not 00000801",
            "check that the file is what its name says",
        ),
        (
            |dir| fs::write(dir.join(LABELS), idx(&[7], &[0, 1, 2, 3, 0, 1, 2])).unwrap(),
            "has 8 training images but 7 labels",
            "pair each image file with its label file",
        ),
        (|dir| write_idx(dir, &little_data(7)), "has images of 7 rows", "8 to 4096 can be trained on"),
        (
            |dir| fs::copy(dir.join(IMAGES), dir.join(format!("my-{IMAGES}"))).map(drop).unwrap(),
            "has 2 files whose names end in train-images-idx3-ubyte",
            "leave one in it",
        ),
        (
            |dir| fs::write(dir.join("classes.txt"), "north\neast\nsouth").unwrap(),
            "has 3 names, none for label 3",
            "write a name a line",
        ),
    ];
    for (breaks, named, mend) in cases {
        let dir = scratch();
        let (data, store) = (dir.path().join("data"), dir.path().join("store"));
        write_idx(&data, &little_data(8));
        let protocol = idx_protocol(dir.path(), "data");
        // Else a test could pass for another reason than the break.
        on_store(&["plan"], &protocol, &store).expect(0);
        breaks(&data);
        refused(reproduce(&protocol, &store), &[data.to_str().unwrap(), named], mend);
        assert!(!store.exists(), "{named}");
    }
}

/// Takes bytes off the end of a file.
fn cut(path: &Path, bytes: usize) {
    let mut held = fs::read(path).unwrap();
    held.truncate(held.len() - bytes);
    fs::write(path, held).unwrap();
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
                &[store.to_str().unwrap()],
                "name one with --store, or make it with `selffer reproduce`",
            );
        }
    }
    assert_eq!(files(dir.path()), before);
    assert!(!dir.path().join("nowhere").exists() && !dir.path().join("golden").exists());
}

#[test]
fn a_store_that_cannot_be_written_is_refused_and_left_alone() {
    // Not even root makes a directory there.
    let nowhere = Path::new("/proc/selffer-test-store");
    refused(reproduce(protocol(), nowhere), &["/proc/selffer-test-store"], "; ");
    assert!(!nowhere.exists());

    // Root without any capability is bound by permissions like anyone.
    let bare: &[&str] = match is_root() {
        true => &["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
        false => &["env"],
    };
    if !succeeds(Command::new(bare[0]).args(&bare[1..]).arg("true")) {
        return say("there is no setpriv that drops root's capabilities: only /proc was tried");
    }
    let bound = |store: &Path| {
        let call = reproduce(protocol(), store);
        let mut bound = Command::new(bare[0]);
        bound.args(&bare[1..]).arg(call.get_program()).args(call.get_args());
        bound
    };
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
        let call = bound(&store);
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

#[test]
fn numerics_that_the_environment_denies_are_refused() {
    let dir = scratch();
    let store = dir.path().join("store");
    let cases = [
        ("portable", "MKL_CBWR", "AUTO", "COMPATIBLE"),
        ("portable", "ATEN_CPU_CAPABILITY", "avx512", "avx2"),
        ("portable", "ONEDNN_MAX_CPU_ISA", "", "AVX2"),
        ("baseline", "ATEN_CPU_CAPABILITY", "avx2", "default"),
        ("baseline", "ONEDNN_MAX_CPU_ISA", "AVX2", "SSE41"),
        ("baseline", "MKL_DYNAMIC", "TRUE", "FALSE"),
    ];
    for (policy, name, value, takes) in cases {
        let mut training = reproduce(protocol(), &store);
        training.args(["--numerics", policy]);
        for mut call in [training, selffer(["fingerprint", "--numerics", policy])] {
            call.env(name, value);
            let start = format!("cannot compute with `{policy}` numerics: ");
            let problem = format!("the environment has {name}={value}, and it takes {takes}");
            refused(call, &[&start, &problem], &format!("; unset {name}\n"));
            assert!(!store.exists());
        }
    }
}

/// `selffer fingerprint` under a policy, with variables set by the user.
fn fingerprint(policy: &str, variables: &[(&str, &str)]) -> Value {
    let mut call = selffer(["fingerprint", "--format", "json", "--numerics", policy]);
    call.envs(variables.iter().copied());
    let ran = run(call).expect(0);
    assert_eq!(ran.err, "");
    let json = ran.json();
    fits_command(&json, "fingerprint");
    json
}

/// A setting of `selffer fingerprint --format json`.
fn setting<'a>(json: &'a Value, name: &str) -> Option<&'a str> {
    let settings = json["settings"].as_array().unwrap();
    settings.iter().find(|setting| setting["name"] == name)?["value"].as_str()
}

#[test]
fn fingerprint_as_json() {
    let portable = fingerprint("portable", &[]);
    assert_eq!((&portable["numerics"], &portable["libtorch"]), (&json!("portable"), &json!("2.11.0")));
    assert_eq!(setting(&portable, "ATEN_CPU_CAPABILITY"), Some("avx2"));
    assert_eq!(setting(&portable, "kernels"), Some("AVX2"));
    assert_eq!(fingerprint("portable", &[]), portable, "another process has another fingerprint");
    // It is the default, and text has the same.
    let text = run(selffer(["fingerprint"])).expect(0).out;
    let mut lines = vec![
        ("numerics", "portable"),
        ("fingerprint", portable["fingerprint"].as_str().unwrap()),
        ("libtorch", "2.11.0"),
        ("cpu", portable["cpu"].as_str().unwrap()),
    ];
    for setting in portable["settings"].as_array().unwrap() {
        lines.push((setting["name"].as_str().unwrap(), setting["value"].as_str().unwrap()));
    }
    let lines: Vec<String> = lines.iter().map(|(name, value)| format!("{name:<20} {value}\n")).collect();
    assert_eq!(text, lines.concat());
    // What a network was trained under is in its manifest.
    let manifest = fs::read_dir(good_store().join("manifests")).unwrap().next().unwrap().unwrap().path();
    let manifest: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    assert_eq!(manifest["manifest"]["environment"]["fingerprint"], portable["fingerprint"]);
}

#[test]
fn each_policy_has_its_own_settings() {
    let variables =
        [("ATEN_CPU_CAPABILITY", "avx2"), ("ONEDNN_MAX_CPU_ISA", "AVX2"), ("MKL_CBWR", "COMPATIBLE")];
    let native = fingerprint("native", &[]);
    for (name, _) in variables {
        assert_eq!(setting(&native, name), None, "native sets nothing");
    }
    assert_eq!((setting(&native, "threads"), setting(&native, "deterministic")), (Some("1"), Some("true")));
    assert_eq!(fingerprint("native", &[("OMP_NUM_THREADS", "2")])["fingerprint"], native["fingerprint"]);
    // What a user sets is taken and recorded: here all that decides on portable's code.
    let pinned = fingerprint("native", &variables);
    for (name, value) in variables {
        assert_eq!(setting(&pinned, name), Some(value));
    }
    assert_eq!(pinned["fingerprint"], fingerprint("portable", &[])["fingerprint"]);
    assert_eq!(pinned["numerics"], "native");

    let baseline = fingerprint("baseline", &[]);
    assert_eq!(setting(&baseline, "kernels"), Some("DEFAULT"));
    assert_eq!(setting(&baseline, "ONEDNN_MAX_CPU_ISA"), Some("SSE41"));
    // Whether two policies compute the same is the CPU's affair, and nothing is asserted of it.
}

/// Each policy has networks of its own in a store, and a command sees those that it asks for.
#[test]
fn policies_do_not_see_each_others_networks() {
    let dir = scratch();
    let (protocol, store) = (three_networks(dir.path()), dir.path().join("store"));
    let mut tables = Vec::new();
    for (at, policy) in ["portable", "native", "baseline"].into_iter().enumerate() {
        let of = |command: &str| on_store(&[command, "--numerics", policy], &protocol, &store);
        let train = |store: &Path, more: &[&str]| {
            let words = ["reproduce", "--quiet", "--no-report", "--numerics", policy];
            on_store(&[&words, more].concat(), &protocol, store).expect(0).json()
        };
        if at > 0 {
            let table = of("table").expect(0);
            assert_eq!(table.json()["cells"], json!([]), "{policy}");
            let has = format!("under portable numerics, none under {policy}: --numerics portable\n");
            assert!(table.err.contains(&has), "{}", table.err);
            assert!(of("status").expect(0).err.contains(&has), "{policy}");
            let plan = of("plan").expect(0).json();
            assert_eq!(plan["numerics"], policy);
            assert!(plan["runs"].as_array().unwrap().iter().all(|run| run["done"] == false));
            assert!(
                of("verify").expect(1).findings().iter().all(|(code, _)| code == "run-missing"),
                "{policy}"
            );
        }
        let trained = train(&store, &[]);
        assert_eq!(trained["trained"], 3, "{policy}");
        assert_eq!(of("verify").expect(0).findings(), [], "{policy}");
        tables.push((policy, trained["cells"].clone()));
        // The same bits with other jobs, in a store of its own.
        let alone = dir.path().join(policy);
        assert_eq!(train(&alone, &["--jobs", "3"])["cells"], tables[at].1, "{policy}");
    }
    for (policy, cells) in &tables {
        assert_eq!(cells.as_array().unwrap().len(), 3);
        let table = on_store(&["table", "--numerics", policy], &protocol, &store).expect(0);
        assert_eq!(table.json()["cells"], *cells, "{policy}: the networks of another took their place");
        let golden = dir.path().join("golden");
        let mut call =
            selffer(["golden", "accept", "--reason", "a test", "--numerics", policy, "--protocol"]);
        call.arg(&protocol).arg("--store").arg(&store).arg("--golden").arg(&golden);
        run(call).expect(0);
        assert!(golden.join(format!("store.{policy}.snap")).is_file());
    }
}

#[test]
fn a_command_line_that_is_wrong_is_refused() {
    let cases: &[(&[&str], &str, &str)] = &[
        (&["plan", "--jobs", "0"], "--jobs", "0 is not in 1..=1024"),
        (&["plan", "--jobs", "many"], "--jobs", "invalid digit"),
        (&["plan", "--protokol", "ci"], "--protokol", "'--protocol'"),
        (&["plan", "--speed", "0"], "--speed", "take a number above 0"),
        (&["plan", "--speed", "9", "--measure"], "--speed", "cannot be used with '--measure'"),
        (
            &["plan", "--numerics", "fast"],
            "--numerics",
            "[possible values: portable, native, baseline, cuda]",
        ),
        (&["plan", "--format", "csv"], "--format", "[possible values: text, json]"),
        (&["verfy"], "verfy", "'verify'"),
        (&["golden", "accept", "--reason", " "], "--reason", "say in a few words why the numbers may change"),
        (&["golden", "accept"], "--reason", "were not provided"),
    ];
    for (args, named, mend) in cases {
        let ran = run(selffer(*args)).expect(2);
        assert_eq!(ran.out, "", "{args:?}");
        assert!(ran.err.starts_with("error: "), "{}", ran.err);
        assert!(ran.err.contains(named) && ran.err.contains(mend), "{named}, {mend} in: {}", ran.err);
    }
}

/// Holds a value against a shape: objects have just those fields, lists hold just such values, and a text
/// names a type.
#[track_caller]
fn fits(value: &Value, shape: &Value, at: &str) {
    match shape {
        Value::Object(fields) => {
            let object = value.as_object().unwrap_or_else(|| panic!("{at} is no object: {value}"));
            assert!(object.keys().eq(fields.keys()), "{at} has the fields {:?}", object.keys());
            for (name, shape) in fields {
                fits(&value[name], shape, &format!("{at}.{name}"));
            }
        }
        Value::Array(items) => {
            let list = value.as_array().unwrap_or_else(|| panic!("{at} is no list: {value}"));
            list.iter().for_each(|item| fits(item, &items[0], &format!("{at}[]")));
        }
        _ => {
            let good = match shape.as_str().unwrap() {
                "text" => value.is_string(),
                "text or null" => value.is_string() || value.is_null(),
                "count" => value.is_u64(),
                "number" => value.is_number(),
                "truth" => value.is_boolean(),
                "task" => value == "A" || value == "B",
                "digest" => value.as_str().is_some_and(is_digest),
                "digest or null" => value.is_null() || value.as_str().is_some_and(is_digest),
                "place or null" => value.is_null() || value["epoch"].is_u64() && value["step"].is_u64(),
                "score or null" => {
                    let score = || value["correct"].is_u64() && value["total"].is_u64();
                    value.is_null() || score() && value.as_object().unwrap().len() == 2
                }
                other => panic!("there is no type {other}"),
            };
            assert!(good, "{at} is no {shape}: {value}");
        }
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn cell() -> Value {
    json!({
        "split": "text", "target": "task", "treatment": "text", "n": "count", "seed": "count",
        "correct": "count", "total": "count", "weights": "digest",
    })
}

fn findings() -> Value {
    json!([{"code": "text", "severity": "text", "subject": "text", "message": "text", "evidence": ["text"]}])
}

fn checked() -> Value {
    json!([{"check": "text", "about": "text", "compared": "count", "findings": "count"}])
}

fn comparison() -> Value {
    let difference =
        json!({"run": "text", "old": "score or null", "new": "score or null", "weights_differ": "truth"});
    // No family is in what is looked at here; `golden` has some.
    let family = json!({
        "treatment": "text", "runs": "count", "units": "count", "difference": "number", "low": "number",
        "high": "number", "lies": "text",
    });
    json!({
        "file": "text or null", "how": "text", "compared": "count", "fingerprints": ["text or null"],
        "differences": [difference], "families": [family],
    })
}

/// A run that copies and was trained; what it might have instead is null.
fn show() -> Value {
    let count = json!({"correct": "count", "total": "count"});
    let recipe = json!({
        "core": "count", "numerics": "text", "data": "digest", "split": "digest", "seed": "count",
        "treatment": "text", "parent": "digest",
        "network": {"conv": ["count"], "hidden": ["count"], "filler": "text"},
        "solver": {
            "epochs": "count", "batch": "count", "rate": "number", "rate_drops": ["count"],
            "rate_factor": "number", "momentum": "number", "decay": "number",
        },
    });
    json!({
        "run": "text", "recipe_digest": "digest", "recipe": recipe,
        "parent": {"run": "text", "weights": "digest"}, "outcome": "text", "diverged_at": "place or null",
        "accuracy": count, "weights": "digest", "contradicts": "digest or null",
        "layers": [{"layer": "text", "began": "digest", "ended": "digest"}],
        "epochs": [{
            "rate": "number", "order": "digest", "train_loss": "number", "train": count, "valid_loss": "number",
            "valid": count,
        }],
        "ledger": {"every": "count", "entries": "count", "last": "digest"},
        "files": {"manifest": "text", "checkpoint": "text", "checkpoint_is": "text"}, "wall_ms": "count",
        "environment": {
            "selffer": "text", "libtorch": "text", "cpu": "text", "fingerprint": "digest",
            "settings": [{"name": "text", "value": "text"}],
        },
    })
}

/// What each command's JSON is.
fn shapes() -> [(&'static str, Value); 8] {
    let task = json!({"classes": ["text"], "train": "count", "valid": "count"});
    let plan = json!({
        "protocol": "text", "protocol_digest": "digest", "data": "digest", "numerics": "text",
        "splits": [{"name": "text", "digest": "digest", "A": task, "B": task}],
        "runs": [{
            "run": "text", "split": "text", "target": "task", "treatment": "text", "n": "count", "seed": "count",
            "parent": "text or null", "images": "count", "operations": "count", "done": "truth",
        }],
        "operations": "count", "operations_left": "count", "seconds_left": "number", "jobs": "count",
        "speed": "number", "speed_measured": "truth", "disk": "count", "memory": "count",
    });
    let reproduce = json!({
        "protocol": "text", "protocol_digest": "digest", "trained": "count", "found": "count", "cells": [cell()],
        "checked": checked(), "golden": comparison(), "findings": findings(),
    });
    [
        ("plan", plan),
        ("reproduce", reproduce),
        ("verify", json!({"checked": checked(), "findings": findings()})),
        ("table", json!({"cells": [cell()]})),
        ("show", show()),
        ("golden check", json!({"golden": comparison(), "findings": findings()})),
        (
            "golden accept",
            json!({"written": "text", "reason": "text", "runs": "count", "comparison": comparison()}),
        ),
        (
            "fingerprint",
            json!({
                "numerics": "text", "fingerprint": "digest", "libtorch": "text", "cpu": "text",
                "settings": [{"name": "text", "value": "text"}],
            }),
        ),
    ]
}

#[track_caller]
fn fits_command(value: &Value, command: &str) {
    let shapes = shapes();
    let (_, shape) = shapes.iter().find(|(name, _)| *name == command).expect("a command with a shape");
    fits(value, shape, command);
}

#[test]
fn every_field_is_documented() {
    fn fields(shape: &Value, found: &mut Vec<String>) {
        match shape {
            Value::Object(object) => object.iter().for_each(|(name, shape)| {
                found.push(name.clone());
                fields(shape, found);
            }),
            Value::Array(items) => fields(&items[0], found),
            _ => {}
        }
    }
    let page = fs::read_to_string(repository("JSON.md")).unwrap();
    for (command, shape) in shapes() {
        let paragraph = page.split("\n\n").find(|text| text.starts_with(&format!("`{command}`:")));
        let paragraph = paragraph.unwrap_or_else(|| panic!("JSON.md has no paragraph on {command}"));
        for name in shape.as_object().unwrap().keys() {
            assert!(paragraph.contains(&format!("\"{name}\"")), "{command}: JSON.md leaves out {name}");
        }
        let mut all = Vec::new();
        fields(&shape, &mut all);
        for name in all {
            assert!(page.contains(&format!("\"{name}\"")), "{command}: JSON.md leaves out {name}");
        }
    }
}

#[test]
fn plan_as_json() {
    let dir = scratch();
    let nowhere = dir.path().join("nowhere");
    let [trained, fresh] = [good_store(), &nowhere].map(|store| {
        let ran = on_store(&["plan"], &protocol(), store).expect(0);
        assert_eq!(ran.err, "");
        let json = ran.json();
        fits_command(&json, "plan");
        json
    });
    assert!(!nowhere.exists(), "a plan makes no store");
    for (json, done) in [(&trained, true), (&fresh, false)] {
        let runs = json["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 23);
        assert!(runs.iter().all(|run| run["done"] == done));
        assert_eq!(json["speed_measured"], done);
        let all: u64 = runs.iter().map(|run| run["operations"].as_u64().unwrap()).sum();
        assert_eq!(json["operations"], all);
        assert_eq!(json["operations_left"], if done { 0 } else { all });
        // What a network copies from is in the list, above it.
        for (at, run) in runs.iter().enumerate().filter(|(_, run)| !run["parent"].is_null()) {
            assert!(runs[..at].iter().any(|above| above["run"] == run["parent"]), "{run}");
            assert!(run["n"].as_u64().unwrap() > 0);
        }
    }
    let mixed = &fresh["splits"][0];
    assert_eq!(
        (&mixed["name"], &mixed["A"]["train"], &mixed["A"]["valid"]),
        (&json!("mixed"), &json!(160), &json!(80))
    );
    assert_eq!(mixed["B"]["classes"], json!(["digit-6", "digit-7", "dress", "bag"]));
    // 23 networks of 4 bytes a weight or bias, and what training holds at once.
    assert!(fresh["disk"].as_u64().unwrap() > 23 * 4 * 1000 && fresh["memory"].as_u64().unwrap() > 0);
    let twice = |speed: &str| {
        on_store(&["plan", "--jobs", "1", "--speed", speed], &protocol(), &nowhere).expect(0).json()
    };
    let [slow, fast] = ["100", "200"].map(twice);
    assert_eq!(slow["speed"].as_f64().unwrap() * 2.0, fast["speed"].as_f64().unwrap());
    assert_eq!(slow["seconds_left"].as_f64().unwrap(), 2.0 * fast["seconds_left"].as_f64().unwrap());
    // A number of jobs is taken as it is, and the bits do not depend on it.
    let jobs = on_store(&["plan", "--jobs", "7"], &protocol(), &nowhere).expect(0).json();
    assert_eq!((&jobs["jobs"], &jobs["runs"]), (&json!(7), &fresh["runs"]));
}

#[test]
fn a_plan_s_speed_is_measured_where_that_is_asked_for() {
    let dir = scratch();
    let nowhere = dir.path().join("nowhere");
    let ran = on_store(&["plan", "--measure", "--jobs", "1"], &protocol(), &nowhere).expect(0);
    assert_eq!(ran.err, "training a base network of store on noise; at least 5 s\n");
    let json = ran.json();
    fits_command(&json, "plan");
    // What any machine reaches, and none; and the time is told by it.
    let speed = json["speed"].as_f64().unwrap();
    assert!((1e7..1e14).contains(&speed), "{speed}");
    assert_eq!(json["speed_measured"], true);
    let seconds = json["operations_left"].as_f64().unwrap() / speed;
    assert!((json["seconds_left"].as_f64().unwrap() / seconds - 1.0).abs() < 1e-9);
    assert!(!nowhere.exists());
}

#[test]
fn the_paper_s_plan_needs_no_images() {
    let dir = scratch();
    let plan = |more: &[&str]| {
        let mut call = selffer(["plan", "--protocol", "paper", "--jobs", "2"]);
        call.args(more).current_dir(dir.path());
        run(call).expect(0)
    };
    let json = plan(&["--format", "json"]).json();
    assert_eq!(json["runs"].as_array().unwrap().len(), 170);
    assert_eq!(
        (&json["data"], &json["speed"], &json["seconds_left"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(json["splits"][4]["A"], json!({"classes": 449, "valid": 22_450}));
    assert_eq!(json["splits"][4]["B"], json!({"classes": 551, "valid": 27_550}));
    // 32-bit weights: 134 networks of 500 classes, 8 of 449 and 8 of 551, 20 of 1000.
    let parameters = |classes: u64| 60_965_224 - (1000 - classes) * 4097;
    let weights = 134 * parameters(500) + 8 * (parameters(449) + parameters(551)) + 20 * parameters(1000);
    assert_eq!(json["disk"], 4 * weights);
    assert!(plan(&[]).out.contains("170 networks"));
    assert!(plan(&[]).out.contains("is not known"), "no speed is made up");
    // One job trains 1,000 images a second; the others are as fast in operations.
    let given = plan(&["--speed", "1000", "--format", "json"]).json();
    // More operations than 64 bits count; those of the runs add up to them all the same.
    let runs = given["runs"].as_array().unwrap().iter().map(|run| run["operations"].as_u64().unwrap() as f64);
    let (all, each) = (given["operations"].as_f64().unwrap(), runs.sum::<f64>());
    assert!(all > 2f64.powi(64) && (all / each - 1.0).abs() < 1e-12, "{all} and {each}");
    let seconds = given["operations"].as_f64().unwrap() / (1000.0 * 6.0 * 722_358_816.0) / 2.0;
    assert!((given["seconds_left"].as_f64().unwrap() / seconds - 1.0).abs() < 1e-9, "{seconds}");
    assert_eq!(given["speed_measured"], false);
    assert!(plan(&["--speed", "1000"]).out.contains("(given)"));
    // A window larger than ILSVRC2012's packed images, of which none is there.
    let wide = dir.path().join("wide.toml");
    let text = fs::read_to_string(repository("src/protocols/paper.toml")).unwrap();
    fs::write(&wide, text.replace("crop = 227", "crop = 400").replace("\"paper\"", "\"wide\"")).unwrap();
    let ran = run(selffer(["plan", "--protocol", wide.to_str().unwrap()])).expect(2);
    assert!(
        ran.err.contains("windows of 400x400 pixels") && ran.err.contains("lower input.crop"),
        "{}",
        ran.err
    );
    // What needs the images says which and where from.
    for (protocol, mend) in
        [("paper", "selffer data pack DIR ilsvrc2012"), ("standard", "ci/fixtures --all digits-garments")]
    {
        let mut call = selffer(["reproduce", "--protocol", protocol]);
        call.current_dir(dir.path());
        let ran = run(call).expect(2);
        assert!(ran.err.contains("is not there") && ran.err.contains(mend), "{}", ran.err);
    }
}

#[test]
fn a_finished_store_as_json() {
    let (_dir, store) = good_copy();
    let before = files(&store);
    let [reproduced, verified, table] = ["reproduce", "verify", "table"].map(|command| {
        let ran = on_store(&[command], &protocol(), &store).expect(0);
        let page = format!("figures and tables: {}\n", store.join("report/index.html").display());
        let told = if command == "reproduce" { page } else { String::new() };
        assert_eq!(ran.err, told, "{command} has nothing else to tell");
        let json = ran.json();
        fits_command(&json, command);
        json
    });
    let mut call = selffer(["show", "mixed/1/A4B", "--format", "json", "--protocol"]);
    call.arg(protocol()).arg("--store").arg(&store);
    fits_command(&run(call).expect(0).json(), "show");
    assert_eq!(files(&store), before, "nothing was to be trained");
    assert_eq!((&reproduced["trained"], &reproduced["found"]), (&json!(0), &json!(23)));
    assert_eq!(reproduced["cells"], table["cells"]);
    assert_eq!(reproduced["checked"], verified["checked"]);
    let golden = json!({
        "file": null, "how": "bitwise", "compared": 0, "fingerprints": [null, fingerprint_of(good_store())],
        "differences": [], "families": [],
    });
    assert_eq!(reproduced["golden"], golden);
    assert_eq!(reproduced["findings"][0]["code"], "golden-absent");
    assert_eq!(reproduced["findings"][0]["severity"], "note");
    assert_eq!(verified["findings"], json!([]));
    for check in verified["checked"].as_array().unwrap() {
        assert!(check["compared"].as_u64().unwrap() > 0, "nothing was compared: {check}");
    }
}

#[test]
fn the_cells_of_the_table() {
    let json = on_store(&["table"], &protocol(), good_store()).expect(0).json();
    let cells = json["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 23);
    for cell in cells {
        let treatment = cell["treatment"].as_str().unwrap();
        let depth = treatment.chars().find_map(|letter| letter.to_digit(10)).unwrap_or(0);
        assert_eq!(cell["n"], depth, "{cell}");
        assert!(treatment.trim_end_matches('+').ends_with(cell["target"].as_str().unwrap()), "{cell}");
        assert!(cell["correct"].as_u64() <= cell["total"].as_u64(), "{cell}");
        // 20 images of each of the target's classes.
        let classes = match cell["split"].as_str().unwrap() {
            "random-0" => 10,
            "whole" => 20,
            _ => 4,
        };
        assert_eq!((&cell["total"], &cell["seed"]), (&json!(20 * classes), &json!(1)), "{cell}");
    }

    let mut call = selffer(["table", "--format", "csv", "--protocol"]);
    call.arg(protocol()).arg("--store").arg(good_store());
    let ran = run(call).expect(0);
    let mut reader = csv::Reader::from_reader(ran.out.as_bytes());
    let header = reader.headers().unwrap().clone();
    let rows: Vec<Value> = reader
        .records()
        .map(|row| {
            let row = row.unwrap();
            let read = |(name, field): (&str, &str)| {
                let value = match cell()[name].as_str() {
                    Some("count") => field.parse::<u64>().unwrap().into(),
                    _ => Value::from(field),
                };
                (name.to_owned(), value)
            };
            header.iter().zip(&row).map(read).collect()
        })
        .collect();
    assert_eq!(rows, *cells);
}

#[test]
fn golden_as_json() {
    let (dir, store) = good_copy();
    let golden = dir.path().join("golden");
    let snapshot = golden.join("store.portable.snap");
    let (snapshot_text, golden) = (snapshot.to_str().unwrap(), golden.to_str().unwrap());
    let call = |command: &[&str], code| {
        let mut words = vec!["golden"];
        words.extend(command);
        words.extend(["--golden", golden]);
        let ran = on_store(&words, &protocol(), &store).expect(code);
        assert_eq!(ran.err, "");
        let json = ran.json();
        fits_command(&json, &words[..2].join(" "));
        json
    };
    // The snapshot's fingerprint and the store's: the same, where there is a snapshot.
    let here = fingerprint_of(&store);
    let first = json!({
        "file": null, "how": "bitwise", "compared": 0, "fingerprints": [null, here], "differences": [],
        "families": [],
    });
    let written = json!({"written": snapshot_text, "reason": "the first", "runs": 23, "comparison": first});
    assert_eq!(call(&["accept", "--reason", "the first"], 0), written);
    let same = json!({
        "file": snapshot_text, "how": "bitwise", "compared": 23, "fingerprints": [here, here],
        "differences": [], "families": [],
    });
    assert_eq!(call(&["check"], 0), json!({"golden": same, "findings": []}));

    // One network had one image less, another was not there.
    let text = fs::read_to_string(&snapshot).unwrap();
    let mut correct = 0;
    let changed = text.lines().filter(|line| !line.starts_with("mixed/1/baseA ")).map(|line| {
        if !line.starts_with("mixed/1/baseB ") {
            return format!("{line}\n");
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        correct = words[1].parse().unwrap();
        format!("{} {} {} {}\n", words[0], correct - 1, words[2], words[3])
    });
    let changed: String = changed.collect();
    fs::write(&snapshot, changed).unwrap();
    let differs = call(&["check"], 1);
    assert_eq!(differs["golden"]["compared"], 22);
    let differences = differs["golden"]["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 2);
    let of = |run: &str| differences.iter().find(|difference| difference["run"] == run).unwrap();
    let score = |correct: u64| json!({"correct": correct, "total": 80});
    assert_eq!(
        (&of("mixed/1/baseB")["old"], &of("mixed/1/baseB")["new"]),
        (&score(correct - 1), &score(correct))
    );
    assert_eq!(of("mixed/1/baseA")["old"], Value::Null);
    assert_ne!(of("mixed/1/baseA")["new"], Value::Null);
    let mut codes: Vec<&str> = differs["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, ["golden-accuracy-differs", "golden-run-new"]);

    // Accepting says what it replaces.
    let again = call(&["accept", "--reason", "mended"], 0);
    assert_eq!(again["comparison"], differs["golden"]);
    assert_eq!(call(&["check"], 0)["golden"], same);
}

#[test]
fn progress_without_a_terminal_is_plain_lines() {
    let dir = scratch();
    let protocol = three_networks(dir.path());
    let [told, quiet] = [None, Some("--quiet")].map(|quiet| {
        let mut command = vec!["reproduce", "--jobs", "1"];
        command.extend(quiet);
        on_store(&command, &protocol, &dir.path().join(command.len().to_string())).expect(0)
    });
    assert_eq!(quiet.err, "");
    assert_eq!((told.json()["trained"].as_u64(), quiet.json()["trained"].as_u64()), (Some(3), Some(3)));
    assert_eq!(told.json()["cells"], quiet.json()["cells"]);
    assert!(told.err.chars().all(|letter| letter == '\n' || !letter.is_control()), "{:?}", told.err);
    // A line for each network as it is done: its name, its accuracy, and how many are done.
    let mut lines: Vec<&str> = told.err.lines().collect();
    let page = lines.pop().unwrap_or_default();
    assert!(page.starts_with("figures and tables: ") && page.ends_with("report/index.html"), "{page}");
    assert_eq!(lines.len(), 3, "{}", told.err);
    for (at, line) in lines.iter().enumerate() {
        assert!(line.starts_with("digits-garments/1/") && line.contains(" % "), "{line}");
        assert!(line.contains(&format!(" {}/3 ", at + 1)), "{line}");
    }
    for run in ["baseA", "baseB", "A1B"] {
        let name = format!("digits-garments/1/{run} ");
        assert_eq!(lines.iter().filter(|line| line.starts_with(&name)).count(), 1, "{run}");
    }
}

#[test]
fn quiet_silences_what_is_no_error() {
    let (_dir, store) = good_copy();
    let manifest = fs::read_dir(store.join("manifests")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(manifest).unwrap();
    let told = on_store(&["table"], &protocol(), &store).expect(0);
    assert_eq!(told.err, "1 of 23 networks is not in the store; `selffer verify` says why\n");
    let quiet = on_store(&["table", "--quiet"], &protocol(), &store).expect(0);
    assert_eq!((quiet.err.as_str(), &quiet.out), ("", &told.out));
    assert_eq!(quiet.json()["cells"].as_array().unwrap().len(), 22);
}

#[test]
fn images_are_the_same_wherever_they_lie() {
    let plan = |protocol: &Path| {
        let nowhere = protocol.with_file_name("nowhere");
        on_store(&["plan"], protocol, &nowhere).expect(0).json()
    };
    let embedded = plan(&protocol());
    let dir = scratch();
    let data = dir.path().join("images");
    write_idx(&data.join("plain"), &Dataset::read(&DataSource::Embedded).unwrap());
    fs::create_dir_all(data.join("packed")).unwrap();
    for entry in fs::read_dir(repository("fixtures/data")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some(OsStr::new("gz")) || path.ends_with("classes.txt") {
            fs::copy(&path, data.join("packed").join(path.file_name().unwrap())).unwrap();
        }
    }
    // The program's working directory is another: a relative path is taken from the protocol's file.
    let absolute = data.join("plain");
    for idx in ["images/plain", "images/packed", "./images/../images/plain", absolute.to_str().unwrap()] {
        let path = dir.path().join("mine.toml");
        fs::write(&path, with("\"embedded\"", &format!("{{ idx = \"{idx}\" }}"))).unwrap();
        let own = plan(&path);
        assert_eq!(own["data"], embedded["data"], "{idx}");
        assert_eq!(own["splits"], embedded["splits"], "{idx}");
    }
    // The digest is of the images: another pixel, another digest.
    let pixels = data.join("plain/t10k-images-idx3-ubyte");
    let mut bytes = fs::read(&pixels).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&pixels, bytes).unwrap();
    let path = dir.path().join("mine.toml");
    fs::write(&path, with("\"embedded\"", "{ idx = \"images/plain\" }")).unwrap();
    assert_ne!(plan(&path)["data"], embedded["data"]);
}

#[test]
fn help_has_what_readme_tells_and_nothing_else() {
    let readme = fs::read_to_string(repository("README.md")).unwrap();
    // | `selffer golden accept --reason "…"` | …
    let commands: Vec<Vec<&str>> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `selffer ")?.split_once('`'))
        .map(|(command, _)| {
            let plain = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
            command.split(' ').take_while(plain).collect()
        })
        .collect();
    let help = |command: &[&str]| {
        let ran = run(selffer(command.iter().chain(&["--help"]))).expect(0);
        assert_eq!(ran.err, "", "{command:?}");
        assert!(ran.out.contains("Usage: selffer"), "{command:?}");
        ran.out
    };
    // The commands that a help lists.
    let listed = |text: &str| -> Vec<String> {
        let after = text.split_once("\nCommands:\n").map_or("", |(_, after)| after);
        let list = after.split("\n\n").next().unwrap_or_default().lines();
        let names = list.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
        names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
    };
    let mut program = Vec::new();
    for name in listed(&help(&[])) {
        match listed(&help(&[&name])).as_slice() {
            [] => program.push(name),
            inner => program.extend(inner.iter().map(|inner| format!("{name} {inner}"))),
        }
    }
    let told: Vec<String> = commands.iter().map(|words| words.join(" ")).collect();
    assert_eq!(program, told);
    assert_eq!(told.len(), 18);
    for words in &commands {
        let help = help(words);
        let options: &[&str] = match words.as_slice() {
            ["show"] => &["--protocol", "--store", "--numerics", "--width", "--format"],
            ["table"] => &["--protocol", "--store", "--numerics", "--jobs", "--width", "--format", "--quiet"],
            ["bisect"] => &["--protocol", "--run", "--numerics", "--format", "--quiet"],
            ["audit"] => &[
                "--format",
                "--fail-on",
                "--protocol",
                "--numerics",
                "--beside",
                "--sample",
                "--seed",
                "--full",
                "--margin",
            ],
            ["golden", ..] => {
                &["--protocol", "--store", "--numerics", "--jobs", "--format", "--quiet", "--golden"]
            }
            ["data", "pack"] => &[
                "--size",
                "--train-list",
                "--valid-list",
                "--classes",
                "--skip-bad",
                "--shard-mib",
                "--jobs",
                "--format",
                "--quiet",
            ],
            ["data", ..] => &["--format", "--quiet"],
            ["fingerprint"] => &["--numerics", "--format"],
            ["plan"] => &[
                "--protocol",
                "--store",
                "--numerics",
                "--jobs",
                "--speed",
                "--measure",
                "--format",
                "--quiet",
            ],
            ["report"] => &["--store", "--archive", "--out", "--protocol", "--numerics", "--quiet"],
            ["status"] => &["--protocol", "--store", "--numerics", "--follow", "--interval", "--format"],
            ["submit"] => &[
                "--protocol",
                "--store",
                "--numerics",
                "--engine",
                "--resources",
                "--gres",
                "--time",
                "--warn-seconds",
                "--max-running",
                "--per-job",
                "--jobs",
                "--snapshot-every",
                "--dry-run",
                "--format",
                "--quiet",
            ],
            ["cancel"] => &["--protocol", "--store", "--numerics", "--format"],
            ["work"] => &["--plan", "--index"],
            _ => &["--protocol", "--store", "--numerics", "--jobs", "--format", "--quiet"],
        };
        for option in options {
            assert!(help.contains(option), "{words:?} has no {option}");
            assert!(readme.contains(option), "README has no {option}");
        }
    }
}

/// A mistyped directory is not the absence of a golden snapshot.
#[test]
fn a_golden_directory_that_is_not_there_is_refused_before_training() {
    let dir = scratch();
    let (store, golden) = (dir.path().join("store"), dir.path().join("goldne"));
    let mut call = selffer(["reproduce"]);
    call.arg("--protocol").arg(protocol()).arg("--store").arg(&store).arg("--golden").arg(&golden);
    refused(call, &[golden.to_str().unwrap()], "name the directory of golden snapshots");
    assert!(!store.exists());
}

/// The fingerprint that a store's networks were trained under.
fn fingerprint_of(store: &Path) -> String {
    let manifest = files(&store.join("manifests")).into_values().next().expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    manifest["manifest"]["environment"]["fingerprint"].as_str().expect("a fingerprint").to_owned()
}

/// Another process has a network: who needs it waits, says so, and goes on when that one is gone.
#[test]
fn who_waits_for_another_process_says_so() {
    use selffer::claim::Holder;
    use selffer::fence::Fence;
    use selffer::plan::Plan;
    use selffer::protocol::Protocol;
    use selffer::recipe::Policy;
    use selffer::split::Catalog;
    use std::io::BufRead as _;
    let dir = scratch();
    let (protocol, store) = (three_networks(dir.path()), dir.path().join("store"));
    let read = Protocol::named(protocol.to_str().unwrap()).unwrap();
    let data = Dataset::read(&read.data).unwrap();
    let catalog = Catalog::of(data.clone());
    let plan = Plan::make(&read, &catalog).unwrap();
    let base = plan.runs.iter().find(|run| run.parent.is_none()).unwrap();
    let recipe = plan.recipe(base, Policy::Portable, None).digest();
    let open = Store::create(&store).unwrap();
    let fence = Fence::new(&open, Holder::here());
    let hold = fence.take(recipe, &plan.name(base), 1).unwrap().unwrap();
    let mut call = selffer(["reproduce", "--no-report", "--protocol"]);
    call.arg(&protocol).arg("--store").arg(&store);
    let mut child = call.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let waiting = lines.find(|line| line.starts_with("waiting for")).expect("it says what it waits for");
    assert!(waiting.contains(&plan.name(base)) && waiting.contains("`selffer status`"), "{waiting}");
    drop((hold, fence));
    assert!(lines.any(|line| line.starts_with(&plan.name(base))), "it trains what it waited for");
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
