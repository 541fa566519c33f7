//! The treatments beyond the paper's table, from TOML to table: preserved (`A1B^2`) and reduced
//! (`baseA@8`) networks are trained, checked, tabulated, and held to a golden snapshot.

use crate::common::{run, scratch, selffer};
use serde_json::Value;
use std::fs;
use std::path::Path;

const PROTOCOL: &str = r#"
name = "grammar"
data = "embedded"
train_per_class = 40
valid_per_class = 20
seeds = [1]
depths = [2, 6]

[network]
conv = [8, 8, 8, 8, 8]
hidden = [24, 24]
filler = "he"

[solver]
epochs = 4
batch = 10
rate = 0.01
rate_drops = [3]
rate_factor = 0.1
momentum = 0.9
decay = 5e-4

[[split]]
name = "four"
treatments = ["baseB", "AnB^1", "B2B^3", "AnB", "baseB@8", "baseB@20"]

[split.halves.named]
A = ["digit-0", "digit-1"]
B = ["trouser", "bag"]
"#;

/// `selffer COMMAND…` on the protocol in `dir`: what it printed, having said that all is well.
fn printed(command: &[&str], dir: &Path) -> String {
    let mut call = selffer(command);
    call.arg("--protocol").arg(dir.join("grammar.toml")).arg("--store").arg(dir.join("store"));
    run(call).expect(0).out
}

#[test]
fn preserved_and_reduced_networks_from_toml_to_table() {
    let scratch = scratch();
    let dir = scratch.path();
    fs::write(dir.join("grammar.toml"), PROTOCOL).unwrap();
    let plan: Value = serde_json::from_str(&printed(&["plan", "--format", "json"], dir)).unwrap();
    let runs: Vec<(&str, Option<&str>)> = plan["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["treatment"].as_str().unwrap(), run["parent"].as_str()))
        .collect();
    // `AnB^1` at both depths; base A is there because it is copied from.
    let (a, b) = (Some("four/1/baseA"), Some("four/1/baseB"));
    let expected = [
        ("baseB", None),
        ("baseA", None),
        ("A2B^1", a),
        ("A6B^1", a),
        ("B2B^3", b),
        ("A2B", a),
        ("A6B", a),
        ("baseB@8", None),
        ("baseB@20", None),
    ];
    assert_eq!(runs, expected);

    let golden = dir.join("golden");
    fs::create_dir(&golden).unwrap();
    let golden = golden.to_str().unwrap();
    let out = printed(&["reproduce", "--quiet"], dir);
    assert!(out.contains("grammar: 9 networks trained, 0 found"), "{out}");
    assert!(printed(&["verify"], dir).contains("clean"), "nothing is wrong");
    printed(&["golden", "accept", "--reason", "a test", "--golden", golden], dir);
    assert!(printed(&["golden", "check", "--golden", golden], dir).contains("all 9 networks"));

    let table: Value = serde_json::from_str(&printed(&["table", "--format", "json"], dir)).unwrap();
    let cell = |treatment: &str| {
        let mut cells = table["cells"].as_array().unwrap().iter();
        cells.find(|cell| cell["treatment"] == treatment).unwrap_or_else(|| panic!("{treatment}")).clone()
    };
    assert_eq!(
        (&cell("A6B^1")["n"], &cell("B2B^3")["n"], &cell("baseB@8")["n"]),
        (&6.into(), &2.into(), &0.into())
    );
    let text = printed(&["table"], dir);
    let starts = |with: &str| text.lines().any(|line| line.trim_start().starts_with(with));
    for row in ["AnB^1 ", "BnB^3 ", "AnB ", "baseB@m ", "m = "] {
        assert!(starts(row), "{row} is not in\n{text}");
    }
    // What changes is told against the base network on all images.
    let base = cell("baseB");
    let share = |cell: &Value| 100.0 * cell["correct"].as_f64().unwrap() / cell["total"].as_f64().unwrap();
    assert!(text.contains(&format!("baseB {:.1} % of 40 images", share(&base))), "{text}");
    let change = format!("{:+.1}", share(&cell("baseB@8")) - share(&base));
    assert!(text.contains(&change), "{change} is not in\n{text}");

    let audit: Value = serde_json::from_str(&audited(dir)).unwrap();
    assert_eq!(audit["proof"]["verdict"], "bitwise", "{audit}");
    let of = |treatment: &str| {
        let cells = audit["cells"].as_array().unwrap().iter();
        cells.filter(|cell| cell["treatment"] == treatment).cloned().collect::<Vec<_>>()
    };
    assert_eq!(of("AnB^1").len(), 2);
    let reduced: Vec<_> =
        of("base@m").iter().map(|cell| (cell["split"].clone(), cell["examples"].clone())).collect();
    assert_eq!(reduced, [("reduced".into(), 8.into()), ("reduced".into(), 20.into())]);
}

/// The audit of the store, with every network trained again.
fn audited(dir: &Path) -> String {
    let mut call = selffer(["audit", "--full", "--fail-on", "error", "--format", "json", "--quiet"]);
    call.arg("--protocol").arg(dir.join("grammar.toml")).arg(dir.join("store"));
    run(call).expect(0).out
}
