//! Writes a small archive of training logs in the published one's format, and breaks copies of it.
//!
//! Used by `audit`. The accuracies are made up so that the archive says what the paper says, Table 1
//! included; nothing is wrong with it that touches a conclusion.

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use md5::{Digest as _, Md5};
use selffer::audit::names::{CLASSES, NATURAL, Name, Split, SplitKind};
use selffer::published::random_half;
use selffer::treatment::{DEPTHS, Kind, Source, Task, Treatment};
use serde::Deserialize;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::OnceLock;

/// How much is logged.
#[derive(Clone, Copy)]
pub struct Size {
    /// Iterations between two validation passes; there are 90 of them and five learning rates.
    pub interval: u64,
    /// Training lines between two passes.
    pub lines: u64,
}

impl Size {
    pub const SMALL: Self = Self { interval: 100, lines: 2 };
}

const PASSES: u64 = 90;

/// All runs of the archive.
pub fn runs() -> Vec<Name> {
    let mut treatments: Vec<(Split, Treatment)> = Vec::new();
    let mut add = |split, treatment| treatments.push((split, treatment));
    for target in Task::BOTH {
        for split in [Split::Random(0), Split::Random(1), Split::NatMan] {
            add(split, Treatment::Base(target));
        }
        for n in DEPTHS {
            for (task, tuned) in [(Task::A, false), (Task::A, true), (Task::B, false), (Task::B, true)] {
                for split in [Split::Random(0), Split::Random(1)] {
                    add(split, Treatment::Grafted { source: Source::Base { task, tuned }, n, target });
                }
            }
            let source = Source::Base { task: target.other(), tuned: false };
            add(Split::NatMan, Treatment::Grafted { source, n, target });
        }
    }
    for n in DEPTHS {
        add(Split::Whole, Treatment::Grafted { source: Source::Random, n, target: Task::A });
    }
    for split in [Split::Whole, Split::Reduced(1), Split::Reduced(25), Split::Reduced(1300)] {
        add(split, Treatment::Base(Task::A));
    }
    treatments.into_iter().map(|(split, treatment)| Name { split, treatment }).collect()
}

/// What a run ends at.
fn accuracy(name: Name) -> f64 {
    let n = usize::from(name.treatment.n());
    let base = match (name.split, name.treatment.target()) {
        (Split::Random(0), Task::A) => 0.6100,
        (Split::Random(0), Task::B) => 0.6400,
        (Split::Random(_), Task::A) => 0.6300,
        (Split::Random(_), Task::B) => 0.6200,
        (Split::NatMan, Task::A) => 0.6500,
        (Split::NatMan, Task::B) => 0.5400,
        (Split::Whole, _) => 0.5750,
        (Split::Reduced(count), _) => [(1, 0.004), (25, 0.2), (1300, 0.55)]
            .into_iter()
            .find_map(|(examples, accuracy)| (examples == count).then_some(accuracy))
            .unwrap_or(0.3),
    };
    let change: [f64; 8] = match (name.treatment.kind(), name.split.kind()) {
        (Kind::Base, _) => [0.0; 8],
        (Kind::Selffer, _) => [0.0, 0.0, -0.001, -0.004, -0.018, -0.03, -0.005, 0.0],
        // These two give Table 1 its printed digits.
        (Kind::SelfferTuned, _) => [0.0, -0.003, -0.003, 0.004, 0.004, 0.004, 0.004, 0.004],
        (Kind::TransferTuned, _) => [0.0, 0.011, 0.011, 0.0135, 0.0135, 0.021, 0.021, 0.021],
        (Kind::Transfer, SplitKind::Dissimilar) => [0.0, -0.001, -0.01, -0.03, -0.07, -0.13, -0.17, -0.25],
        (Kind::Transfer, _) => [0.0, 0.0, -0.002, -0.007, -0.025, -0.047, -0.045, -0.083],
        (Kind::Random, _) => [0.0, -0.085, -0.175, -0.5, -0.55, -0.525, -0.56, -0.56],
        (Kind::Reduced | Kind::SelfferPreserved(_) | Kind::TransferPreserved(_), _) => {
            unreachable!("the archive has none")
        }
    };
    base + change[n]
}

/// Writes the archive's `results` and `ilsvrc12` into `root`.
pub fn write(root: &Path, size: Size) {
    let mut lists = Vec::new();
    for (index, name) in runs().into_iter().enumerate() {
        let dir = root.join("results").join(name.to_string());
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("imagenet_solver.prototxt"), solver(name, size)).unwrap();
        fs::write(dir.join("imagenet_train.prototxt"), network(name, true)).unwrap();
        fs::write(dir.join("imagenet_val.prototxt"), network(name, false)).unwrap();
        let data = |list: &str, part: &str| format!("../../ilsvrc12/data/{list}_{part}/leveldb");
        symlink(data(&name.train_data(), "train"), dir.join("imagenet_train_leveldb")).unwrap();
        symlink(data(&name.valid_data(), "valid"), dir.join("imagenet_val_leveldb")).unwrap();
        if let Some(parent) = name.parent() {
            symlink(format!("../{parent}"), dir.join("basenet")).unwrap();
        }
        // Two jobs: the second goes on from pass 45, after the first scored up to 47.
        let job = job(name);
        let submitted = format!("1404{:02}_0101{:02}", 1 + index / 60, name.treatment.n());
        for (part, passes) in [(0, 1..=47), (1, 46..=PASSES)] {
            let file = dir.join(format!("{submitted}_{job}.o{}.gz", 1000 * (part + 1) + index as u64));
            fs::write(file, gzip(log(name, size, part, passes).as_bytes())).unwrap();
        }
    }
    let data = root.join("ilsvrc12/data");
    fs::create_dir_all(data.join("whole_valid")).unwrap();
    let whole: Vec<(String, usize)> =
        (0..2 * CLASSES).map(|image| (format!("image_{image:05}.JPEG"), image * 7 % CLASSES)).collect();
    let list = |classes: &[u16]| -> String {
        let place = |class: usize| classes.iter().position(|have| usize::from(*have) == class);
        whole.iter().filter_map(|(image, class)| Some(format!("{image} {}\n", place(*class)?))).collect()
    };
    let classes = |range: std::ops::Range<usize>| -> Vec<u16> { range.map(|class| class as u16).collect() };
    let (natural, manmade) = (classes(0..NATURAL), classes(NATURAL..CLASSES));
    let lines = |classes: &[u16]| -> String { classes.iter().map(|class| format!("{class}\n")).collect() };
    fs::write(data.join("half_nat_idx.txt"), lines(&natural)).unwrap();
    fs::write(data.join("half_man_idx.txt"), lines(&manmade)).unwrap();
    fs::write(data.join("whole_valid/files.txt"), list(&classes(0..CLASSES))).unwrap();
    for seed in 0..2 {
        for task in Task::BOTH {
            lists.push((format!("half{seed}{task}_valid"), list(&random_half(seed, task))));
        }
    }
    lists.push(("halfnatmanA_valid".into(), list(&natural)));
    lists.push(("halfnatmanB_valid".into(), list(&manmade)));
    lists.push(("whole_valid".into(), list(&classes(0..CLASSES))));
    // One half's list is at hand itself.
    fs::create_dir_all(data.join("half1B_valid")).unwrap();
    fs::write(data.join("half1B_valid/files.txt"), list(&random_half(1, Task::B))).unwrap();
    let sum =
        |(list, text): &(String, String)| format!("# {}  {list}/files.txt\n", hex::encode(Md5::digest(text)));
    let script = format!("#! /bin/bash\nmake_half_tv 0\n{}", lists.iter().map(sum).collect::<String>());
    fs::write(root.join("ilsvrc12/make_reduced_datasets.sh"), script).unwrap();
}

fn job(name: Name) -> String {
    let text = name.to_string();
    text.rsplit_once("_1_").map_or(text.clone(), |(family, _)| family.to_owned())
}

fn solver(name: Name, size: Size) -> String {
    let rate = if matches!(name.split, Split::Reduced(_)) { 0.0125 } else { 0.01 };
    format!(
        "train_net: \"imagenet_train.prototxt\"\ntest_net: \"imagenet_val.prototxt\"\ntest_iter: 1000\n\
         test_interval: {}\nbase_lr: {rate}\nlr_policy: \"step\"\ngamma: 0.1\nstepsize: {}\nmax_iter: {}\n",
        size.interval,
        20 * size.interval,
        PASSES * size.interval
    )
}

fn network(name: Name, train: bool) -> String {
    let batch = if train { 256 } else { 50 };
    let mut text = format!(
        "name: \"CaffeNet\"\nlayers {{\n  layer {{\n    name: \"data\"\n    type: \"data\"\n    batchsize: {batch}\n  }}\n  \
         top: \"data\"\n  top: \"label\"\n}}\n"
    );
    let mut below = "data".to_owned();
    for index in 0..8u8 {
        let copies = name.parent().is_some();
        let renamed = if copies && index >= name.treatment.n() { "-new" } else { "" };
        let (kind, plain) = if index < 5 { ("conv", "conv") } else { ("innerproduct", "fc") };
        let layer = format!("{plain}{}{renamed}", index + 1);
        let outputs = if index == 7 { 1000 } else { 64 };
        let _ = write!(
            text,
            "layers {{\n  layer {{\n    name: \"{layer}\"\n    type: \"{kind}\"\n    num_output: {outputs}\n"
        );
        if train {
            let rates = if index < name.treatment.frozen() { ["0.", "0."] } else { ["1.", "2."] };
            let _ = write!(
                text,
                "    weight_filler {{\n      type: \"gaussian\"\n      std: 0.01\n    }}\n    blobs_lr: {}\n    blobs_lr: {}\n",
                rates[0], rates[1]
            );
        }
        let _ = write!(text, "  }}\n  bottom: \"{below}\"\n  top: \"{layer}\"\n}}\n");
        below = layer;
    }
    text
}

/// A log of some passes: training lines, then a validation pass, each ten seconds after the other.
fn log(name: Name, size: Size, part: u64, passes: std::ops::RangeInclusive<u64>) -> String {
    let rate = if matches!(name.split, Split::Reduced(_)) { 0.0125 } else { 0.01 };
    let aim = accuracy(name);
    // Differs by run, so that no two runs log the same second in the same process.
    let number: u64 = name.to_string().bytes().fold(7, |sum, byte| (sum * 31 + u64::from(byte)) % 30_000);
    let mut text = String::from("\n");
    let mut second = 86_400 * (3 + 4 * part);
    let line = |text: &mut String, second: &mut u64, place: u32, message: &str| {
        *second += 1;
        let (day, rest) = (*second / 86_400, *second % 86_400);
        let _ = writeln!(
            text,
            "I04{day:02} {:02}:{:02}:{:02}.{:06} {number:>5} solver.cpp:{place}] {message}",
            rest / 3600,
            rest / 60 % 60,
            rest % 60,
            // As hard to compress as a real clock.
            (*second ^ (number << 20)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 45
        );
    };
    for pass in passes {
        let end = pass * size.interval;
        let stage = |iteration: u64| iteration / (20 * size.interval);
        let lr =
            |iteration: u64| format!("{}", (rate * 0.1f64.powi(stage(iteration) as i32) * 1e9).round() / 1e9);
        for step in 1..=size.lines {
            let iteration = end - size.interval + step * size.interval / size.lines;
            line(&mut text, &mut second, 217, &format!("Iteration {iteration}, lr = {}", lr(iteration)));
            line(
                &mut text,
                &mut second,
                74,
                &format!(
                    "Iteration {iteration}, loss = {:.5}",
                    3.0 - 0.02 * pass as f64 + (iteration * 7919 % 9973) as f64 / 1e5
                ),
            );
        }
        line(&mut text, &mut second, 96, &format!("Iteration {end}, Testing net"));
        // It rises at once with each change of the rate, and little between; a pass is a whole number of
        // the 50,000 images that it validates on, twice 25,000.
        let risen = 1.0 - 0.4 * 0.2f64.powi(stage(end) as i32) * 0.98f64.powi((pass % 20) as i32);
        let flat = if stage(end) >= 3 { 1.0 } else { risen };
        let right = (aim * flat * 25_000.0).round() as i64 * 2
            + [0, 2, -2, 0, 2][(pass as usize + number as usize) % 5];
        line(&mut text, &mut second, 123, &format!("Test score #0: {}", right as f64 / 50_000.0));
        line(&mut text, &mut second, 123, &format!("Test score #1: {:.5}", 4.0 - 3.0 * aim * flat));
    }
    text
}

pub fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// One thing that is altered in a copy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// The file, from the archive's root; `*` in its name stands for anything, of the first that fits; `@`
    /// of the last.
    file: String,
    /// Replaces this text, where it first occurs...
    replace: Option<String>,
    /// ... after this text ...
    after: Option<String>,
    /// ... by this one, or everywhere.
    with: Option<String>,
    #[serde(default)]
    everywhere: bool,
    /// Writes this text instead; with `times`, so many of it.
    write: Option<String>,
    /// Appends this text; with `times`, so many of it.
    append: Option<String>,
    times: Option<usize>,
    /// Writes these bytes, in hexadecimal.
    bytes: Option<String>,
    /// Cuts the file to so many bytes, or the unpacked text to so many lines.
    cut: Option<u64>,
    lines: Option<usize>,
    /// Deletes the file or directory.
    #[serde(default)]
    remove: bool,
    /// Puts a link to this target in its place.
    link: Option<String>,
    /// Puts a copy of this file in its place.
    copy: Option<String>,
    /// Adds this to every accuracy of a log.
    add: Option<f64>,
}

impl Mutation {
    /// Applies it to the archive at `root`.
    pub fn apply(&self, root: &Path) {
        let path = found(root, &self.file);
        let packed = path.extension().is_some_and(|ending| ending == "gz");
        if let Some(other) = &self.copy {
            let bytes = fs::read(found(root, other)).unwrap();
            return replaced(&path, &bytes);
        }
        if self.remove {
            return if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
        if let Some(target) = &self.link {
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            return symlink(target, path).unwrap();
        }
        if let Some(hex) = &self.bytes {
            return replaced(&path, &hex::decode(hex).unwrap());
        }
        if let Some(cut) = self.cut {
            let bytes = fs::read(&path).unwrap();
            return replaced(&path, &bytes[..cut as usize]);
        }
        let mut text = match (&self.write, packed) {
            (Some(write), _) => write.repeat(self.times.unwrap_or(1)),
            (None, true) => {
                let mut text = String::new();
                GzDecoder::new(&fs::read(&path).unwrap()[..]).read_to_string(&mut text).unwrap();
                text
            }
            (None, false) => fs::read_to_string(&path).unwrap(),
        };
        if let Some(old) = &self.replace {
            let new = self.with.as_deref().unwrap_or_default();
            let from = self
                .after
                .as_ref()
                .map_or(0, |after| text.find(after.as_str()).unwrap_or_else(|| panic!("no {after}")));
            assert!(text[from..].contains(old), "{}: no {old}", self.file);
            text = match self.everywhere {
                true => text.replace(old, new),
                false => format!("{}{}", &text[..from], text[from..].replacen(old, new, 1)),
            };
        }
        if let Some(lines) = self.lines {
            text = text.lines().take(lines).map(|line| format!("{line}\n")).collect();
        }
        if let Some(more) = &self.append {
            text.push_str(&more.repeat(self.times.unwrap_or(1)));
        }
        if let Some(add) = self.add {
            text = text
                .lines()
                .map(|line| match line.split_once("#0: ") {
                    Some((head, value)) => format!("{head}#0: {:.6}\n", value.parse::<f64>().unwrap() + add),
                    None => format!("{line}\n"),
                })
                .collect();
        }
        replaced(&path, &if packed { gzip(text.as_bytes()) } else { text.into_bytes() });
    }
}

/// Files of a copy are shared with the original, so they are never written into.
fn replaced(path: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn found(root: &Path, file: &str) -> std::path::PathBuf {
    let Some((head, tail)) = file.split_once(['*', '@']) else { return root.join(file) };
    let (dir, start) = head.rsplit_once('/').unwrap();
    let mut names: Vec<String> = fs::read_dir(root.join(dir))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let fits = |name: &&String| name.starts_with(start) && name.ends_with(tail);
    let found = if file.contains('*') { names.iter().find(fits) } else { names.iter().rfind(fits) };
    root.join(dir).join(found.unwrap_or_else(|| panic!("{file}")))
}

/// A copy that shares its files with the original.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, to) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path()).unwrap(), to).unwrap();
        } else {
            fs::hard_link(entry.path(), to).unwrap();
        }
    }
}

/// The small archive, written once.
pub fn small() -> &'static Path {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), Size::SMALL);
        dir
    })
    .path()
}
