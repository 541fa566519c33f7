//! Wrong inputs: protocols, splits, images and command lines that are refused, each with the mend.

use crate::archive::gzip;
use crate::common::{
    good_copy, on_store, protocol, refused, repository, reproduce, run, scratch, selffer, with,
    without_splits,
};
use selffer::data::{Dataset, Images, Part};
use selffer::protocol::DataSource;
use selffer::store::Store;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

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
        (dir.path().to_owned(), "it has to be a file"),
        (latin, "is not UTF-8 text; name a TOML file"),
    ];
    let store = dir.path().join("store");
    for (path, mend) in cases {
        refused(reproduce(&path, &store), &[path.to_str().unwrap()], mend);
        assert!(!store.exists(), "{mend}");
    }
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
        (|dir| fs::remove_dir_all(dir).unwrap(), "is not there", "or say with --data DIR"),
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
fn a_command_line_that_is_wrong_is_refused() {
    let cases: &[(&[&str], &str, &str)] = &[
        (&["plan", "--jobs", "0"], "--jobs", "0 is not in 1..=1024"),
        (&["plan", "--jobs", "many"], "--jobs", "invalid digit"),
        (&["plan", "--protokol", "ci"], "--protokol", "'--protocol'"),
        (&["plan", "--speed", "0"], "--speed", "take a number from 0.001 to 1e12"),
        (&["plan", "--speed", "-1"], "invalid value '-1' for '--speed", "take a number from 0.001 to 1e12"),
        (&["plan", "--speed", "1e300"], "--speed", "take a number from 0.001 to 1e12"),
        (
            &["audit", ".", "--seed", "-3", "--sample", "1"],
            "invalid value '-3' for '--seed",
            "take a whole number from 0 to ",
        ),
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

/// Who forgets --protocol is told so, and not to train another's networks.
#[test]
fn a_store_of_another_protocol_is_told_as_such() {
    let dir = scratch();
    let store = dir.path().join("store");
    let smoke = fs::read_to_string(repository("src/protocols/smoke.toml")).unwrap();
    let (head, _) = smoke.split_once("treatments = [").unwrap();
    let of_mine = dir.path().join("mine.toml");
    fs::write(&of_mine, format!("{head}treatments = [\"baseA\"]\n").replace("\"smoke\"", "\"mine\""))
        .unwrap();
    run(reproduce(&of_mine, &store)).expect(0);
    let golden = repository("golden");
    let at = |command: &[&str], protocol: &Path| {
        let mut call = selffer(command);
        call.arg("--protocol").arg(protocol);
        if command[0] != "audit" && command[0] != "bisect" {
            call.arg("--store").arg(&store);
        }
        call
    };
    let out = dir.path().join("out");
    let out = out.to_str().unwrap();
    let (path, golden) = (store.to_str().unwrap(), golden.to_str().unwrap());
    let commands: [&[&str]; 8] = [
        &["verify"],
        &["table"],
        &["show", "mixed/1/A4B"],
        &["audit", path],
        &["bisect", path, "live"],
        &["golden", "check", "--golden", golden],
        &["golden", "accept", "--golden", golden, "--reason", "none"],
        &["report", "--out", out],
    ];
    let problem = [path, "has 1 network, and none of the protocol store and its images as they are now"];
    for command in commands {
        refused(at(command, &protocol()), &problem, "name theirs with --protocol, smoke by the look of them");
    }
    // Those that may go on say so.
    for command in [&["plan"][..], &["status"], &["submit", "--engine", "local", "--dry-run"]] {
        let ran = run(at(command, &protocol())).expect(0);
        assert!(problem.iter().all(|words| ran.err.contains(words)), "{command:?}: {}", ran.err);
    }
    // One that was edited since is another.
    let edited = dir.path().join("edited.toml");
    fs::write(&edited, fs::read_to_string(&of_mine).unwrap().replace("rate = 0.01", "rate = 0.02")).unwrap();
    refused(
        at(&["verify"], &edited),
        &["none of the protocol mine and its images as they are now"],
        "smoke by the look of them",
    );
    // Records that were given other names are not: they are what is wrong.
    let (_dir, renamed) = good_copy();
    let open = Store::open(&renamed).unwrap();
    for digest in open.manifests().unwrap() {
        let mut manifest = open.manifest(digest).unwrap().whole().unwrap();
        manifest.run = manifest.run.replace("/1/", "/2/");
        open.put_manifest(&manifest).unwrap();
    }
    assert!(on_store(&["verify"], &protocol(), &renamed).expect(1).findings().len() >= 23);
    // Nor are more seeds and treatments.
    let more = fs::read_to_string(&of_mine)
        .unwrap()
        .replace("[1]", "[1, 2]")
        .replace("\"baseA\"", "\"baseA\", \"baseB\"");
    fs::write(&edited, more).unwrap();
    assert_eq!(run(at(&["verify", "--format", "json"], &edited)).expect(1).findings().len(), 3);
}

#[test]
fn images_that_are_not_there_can_be_said_to_lie_elsewhere() {
    let dir = scratch();
    for source in
        ["idx = \"gone\"", "pack = \"gone\"", "cifar = \"gone\"", "images = { dir = \"gone\", size = 16 }"]
    {
        let path = dir.path().join("mine.toml");
        fs::write(&path, with("\"embedded\"", &format!("{{ {source} }}"))).unwrap();
        let store = dir.path().join("store");
        refused(reproduce(&path, &store), &["gone: is not there"], "or say with --data DIR where they lie");
    }
}
