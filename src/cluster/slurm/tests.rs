use super::*;
use crate::cluster::arrange::Pair;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn batch(indices: &[u32], resources: Resources) -> Batch {
    let elements: BTreeMap<u32, Vec<usize>> = indices.iter().map(|index| (*index, vec![0])).collect();
    Batch { elements, pair: Pair::Nothing, behind: None, throttle: Some(4), resources, copies: false }
}

const ORDER: &str = "/data/it's a \"store\" %j/jobs/0123456789abcdef0123/plan.json";

#[test]
fn the_script_says_what_was_asked_for_and_quotes_it() {
    let text = |text: &str| Some(text.to_owned());
    let resources = Resources {
        partition: text("gpu"),
        gres: text("gpu:1"),
        time: text("12:00:00"),
        mem: text("16G"),
        cpus: Some(4),
        warn_seconds: Some(300),
        flags: vec!["--account=a lab".to_owned(), "--exclusive".to_owned(), "-w n 1".to_owned()],
        setup: vec!["module load cuda".to_owned()],
    };
    let script =
        script(Path::new("/opt/my program"), &batch(&[0, 1, 2, 7], resources), Path::new(ORDER), "a-name");
    let expected = r#"#!/bin/bash
#SBATCH --job-name=a-name
#SBATCH --array=0-2,7%4
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --signal=B:USR1@300
#SBATCH --partition=gpu
#SBATCH --gres=gpu:1
#SBATCH --time=12:00:00
#SBATCH --mem=16G
#SBATCH --cpus-per-task=4
#SBATCH --account="a lab"
#SBATCH --exclusive
#SBATCH -w "n 1"
trap 'late=1' USR1
module load cuda
trap '' USR1
if [ -n "${late:-}" ]; then
    echo 'the time limit is near before training could begin; submit again with a longer --time' >&2
    exit 2
fi
exec '/opt/my program' work --plan '/data/it'\''s a "store" %j/jobs/0123456789abcdef0123/plan.json' --index "$SLURM_ARRAY_TASK_ID" --warn-seconds 300
"#;
    assert_eq!(script, expected);
}

#[test]
fn what_a_batch_waits_for_and_where_it_writes_are_options() {
    let after = |paired: Option<&str>, ended: Option<&str>| {
        options(
            &After { paired: paired.map(str::to_owned), ended: ended.map(str::to_owned) },
            Path::new(ORDER),
        )
    };
    let output = "--output=/data/it's a \"store\" %%j/jobs/0123456789abcdef0123/%A_%a.log";
    assert_eq!(after(None, None), [output]);
    assert_eq!(after(Some("7"), None), ["--dependency=aftercorr:7", output]);
    assert_eq!(after(Some("7"), Some("9")), ["--dependency=aftercorr:7,afterany:9", output]);
}

#[test]
fn a_path_that_slurm_would_read_otherwise_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    assert_eq!(nameable(Path::new(ORDER)).unwrap(), ORDER);
    for bytes in [b"/a\\b/plan.json".as_slice(), b"/a\nb", b"/a\x07b", b"/a\xffb", b"/a\x7f"] {
        let said = nameable(Path::new(std::ffi::OsStr::from_bytes(bytes))).unwrap_err().to_string();
        assert!(said.contains("symbolic link") && said.lines().count() == 1, "{said}");
        assert!(!said.chars().any(char::is_control), "{said}");
    }
}

#[test]
fn squeue_is_read() {
    // As Slurm 22.05 printed it, and a reason with the separator in it.
    let text = "12|0|RUNNING|n1|None\n12|1|PENDING||Dependency\n12|2|FAILED|n2|NonZeroExitCode\n\
                12|3|NODE_FAIL|n1|None\n12|4|COMPLETED|n2|None\n12|5|CANCELLED||a|b\n13|N/A|PENDING||Priority\nrubbish\n";
    let found = elements(text);
    let phases: Vec<(Option<u32>, Phase, Option<&str>)> =
        found.iter().map(|it| (it.index, it.phase.clone(), it.node.as_deref())).collect();
    let ended = |well, cancelled, why: &str| Phase::Ended { well, cancelled, why: why.to_owned() };
    assert_eq!(
        phases,
        [
            (Some(0), Phase::Running, Some("n1")),
            (Some(1), Phase::Queued("Dependency".to_owned()), None),
            (Some(2), ended(false, false, "FAILED (NonZeroExitCode)"), Some("n2")),
            (Some(3), ended(false, false, "NODE_FAIL"), Some("n1")),
            (Some(4), ended(true, false, "COMPLETED"), Some("n2")),
            (Some(5), ended(false, true, "CANCELLED (a|b)"), None),
            (None, Phase::Queued("Priority".to_owned()), None),
        ]
    );
    assert!(found[..6].iter().all(|element| element.job == "12"));
    assert_eq!((found[3].name(), found[6].name()), ("12_3".to_owned(), "13".to_owned()));
}

#[test]
fn limits_are_read_from_the_configuration() {
    let config = "MaxArraySize            = 1001\nMaxJobCount             = 10000\nMaxJobId = 5\n";
    assert_eq!(setting(config, "MaxArraySize"), Some(1001));
    assert_eq!(setting(config, "MaxJobCount"), Some(10_000));
    assert_eq!(setting(config, "MaxStepCount"), None);
}

proptest! {
    #[test]
    fn ranges_name_each_index_once(indices in prop::collection::btree_set(0u32..60, 0..40)) {
        let text = ranges(indices.iter().copied());
        let mut read = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            read.extend(from.parse::<u32>().unwrap()..=to.parse().unwrap());
        }
        prop_assert!(read.into_iter().eq(indices));
    }
}
