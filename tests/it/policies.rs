//! Numerics policies: their settings and fingerprints, what the environment denies, and networks that each has for itself.

use crate::common::{
    good_store, on_store, protocol, refused, reproduce, run, scratch, selffer, three_networks,
};
use crate::json::fits_command;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

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
