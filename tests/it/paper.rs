//! The paper's experiment in small, from files to table: a thousand classes in folders and lists as Caffe has them, its
//! published halves, its network with eight filters a layer, and every kind of treatment that its protocol has.

use crate::common::{CAFFE, Ran, repository, run, scratch, selffer};
use jpeg_encoder::{ColorType, Encoder};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Two depths, one seed, two steps an epoch; all else as in `paper.toml`.
fn text() -> String {
    format!(
        r#"
name = "paper-in-small"
data = {{ pack = "pack" }}
seeds = [1]
depths = [2, 5]

{CAFFE}epochs = 2
steps = 2
batch = 64
rate = 0.01
rate_drops = [1]
rate_factor = 0.1
momentum = 0.9
decay = 5e-4

[[split]]
name = "half"
halves = {{ published = 3 }}
treatments = ["baseA", "baseB", "BnB", "BnB+", "AnB", "AnB+", "A2B^1"]

[[split]]
name = "natman"
halves = {{ published = "natman" }}
treatments = ["baseA", "baseB", "AnB", "BnA"]

[[split]]
name = "whole"
halves = "whole"
treatments = ["baseA", "RnA", "baseA@1"]
"#
    )
}

/// A patchwork of 48 × 48 that no other number has.
fn draw(path: &Path, number: usize) {
    let pixel = |at: usize| {
        let (row, col, channel) = (at / 3 / 48, at / 3 % 48, at % 3);
        let patch = (row / 8) * 6 + col / 8;
        ((number * 977 + patch * (number % 89 + 31) + channel * 57) % 251) as u8
    };
    let pixels: Vec<u8> = (0..48 * 48 * 3).map(pixel).collect();
    Encoder::new_file(path, 90).unwrap().encode(&pixels, 48, 48, ColorType::Rgb).unwrap();
}

/// Two training images and one for validation of each synset: the former in folders and in a list, in an order that mixes
/// classes, the latter flat with a list of numbers.
fn images(dir: &Path) {
    let synsets = fs::read_to_string(repository("src/published/synsets.txt")).unwrap();
    let synsets: Vec<&str> = synsets.lines().collect();
    fs::create_dir_all(dir.join("val")).unwrap();
    let (mut train, mut valid) = (String::new(), String::new());
    for at in 0..2 * synsets.len() {
        let class = at * 7 % synsets.len();
        let name = format!("{0}/{0}_{at}.JPEG", synsets[class]);
        fs::create_dir_all(dir.join("train").join(synsets[class])).unwrap();
        draw(&dir.join("train").join(&name), at);
        writeln!(train, "{name} {class}").unwrap();
    }
    for at in 0..synsets.len() {
        let name = format!("ILSVRC2012_val_{:08}.JPEG", at + 1);
        draw(&dir.join("val").join(&name), 2 * synsets.len() + at);
        writeln!(valid, "{name} {}", at * 3 % synsets.len()).unwrap();
    }
    fs::write(dir.join("train.txt"), train).unwrap();
    fs::write(dir.join("val.txt"), valid).unwrap();
}

#[test]
fn from_a_thousand_folders_to_a_table() {
    let dir = scratch();
    let from = dir.path().join("images");
    images(&from);
    let mut pack = selffer(["data", "pack", "--quiet", "--format", "json", "--size", "48"]);
    pack.arg("--train-list").arg(from.join("train.txt")).arg("--valid-list").arg(from.join("val.txt"));
    pack.arg(&from).arg(dir.path().join("pack"));
    run(pack).expect(0);
    fs::write(dir.path().join("paper.toml"), text()).unwrap();
    let call = |command: &[&str]| -> Ran {
        let mut call = selffer(command);
        call.arg("--protocol").arg(dir.path().join("paper.toml"));
        call.arg("--store").arg(dir.path().join("store"));
        call.output().unwrap().into()
    };
    // Four steps end at chance, with filters as random as they were drawn: that is found, and nothing else.
    let reproduced = call(&["reproduce", "--format", "json", "--jobs", "2"]).expect(1);
    let waited = reproduced.err.lines().find_map(|line| line.strip_prefix("steps waited ")).unwrap();
    let seconds: Vec<f64> = waited.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(waited.contains(" s for what is made ahead of them (") && seconds[0] < seconds[1], "{waited}");
    let codes: BTreeMap<String, usize> =
        reproduced.findings().into_iter().fold(BTreeMap::new(), |mut codes, (code, _)| {
            *codes.entry(code).or_default() += 1;
            codes
        });
    assert_eq!(
        codes.keys().collect::<Vec<_>>(),
        ["filters-random", "golden-absent", "run-at-chance"],
        "{codes:?}"
    );

    let table = call(&["table", "--format", "json"]).expect(0).json();
    let mut networks: BTreeMap<&str, Vec<(&str, u64)>> = BTreeMap::new();
    for cell in table["cells"].as_array().unwrap() {
        let total = cell["total"].as_u64().unwrap();
        networks
            .entry(cell["split"].as_str().unwrap())
            .or_default()
            .push((cell["treatment"].as_str().unwrap(), total));
    }
    networks.values_mut().for_each(|networks| networks.sort_unstable());
    let of = |total: u64, names: &[&'static str]| -> Vec<(&str, u64)> {
        names.iter().map(|name| (*name, total)).collect()
    };
    let half = ["A2B", "A2B+", "A2B^1", "A5B", "A5B+", "B2B", "B2B+", "B5B", "B5B+", "baseA", "baseB"];
    assert_eq!(networks["half"], of(500, &half));
    // The paper's halves by kind: 449 natural classes and 551 man-made ones.
    let mut natman = [of(449, &["B2A", "B5A", "baseA"]), of(551, &["A2B", "A5B", "baseB"])].concat();
    natman.sort_unstable();
    assert_eq!(networks["natman"], natman);
    assert_eq!(networks["whole"], of(1000, &["R2A", "R5A", "baseA", "baseA@1"]));
    assert_eq!(networks.len(), 3);

    // The table of the program itself, and the report.
    let shown = call(&["table"]).expect(0).out;
    assert!(shown.contains("A2B^1") || shown.contains("AnB^1"), "{shown}");
    let page = dir.path().join("store/report/index.html");
    assert!(fs::read_to_string(page).unwrap().contains("paper-in-small"));
    let mut audit = selffer(["audit", "--format", "json", "--quiet", "--protocol"]);
    audit.arg(dir.path().join("paper.toml")).arg(dir.path().join("store"));
    let audited = run(audit).json();
    assert_eq!(
        (&audited["proof"]["verdict"], audited["claims"].as_array().unwrap().len()),
        (&json!("bitwise"), 14)
    );
}
