//! Options of `sbatch` that a user adds: which are not theirs to set, and how one is written in a script; and what in
//! the environment would undo options.
//!
//! Uses `error`; used by `resources`, which refuses, and `cluster::slurm`, which writes. `sbatch` takes `--array=3`, `--arr 3`,
//! `-a 3`, `-a3` and `-Ha3` for the same, so an option is read as getopt reads it: the last one given would win.

use crate::error::{Error, Result};

/// What of an option is refused: its long name, its letter, and what to do instead.
const REFUSED: &[(&str, Option<char>, &str)] = &[
    ("array", Some('a'), OURS),
    ("dependency", Some('d'), OURS),
    ("kill-on-invalid-dep", None, OURS),
    ("job-name", Some('J'), OURS),
    ("output", Some('o'), OURS),
    ("error", Some('e'), "leave it out: what jobs say is in the store, under jobs/"),
    ("open-mode", None, OURS),
    ("chdir", Some('D'), OURS),
    ("signal", None, "say it with --warn-seconds"),
    ("requeue", None, OURS),
    ("no-requeue", None, "leave it out: a job that may not start again cannot go on"),
    ("time", Some('t'), "say it with --time, or `time` in a file of resources"),
    ("parsable", None, OURS),
    ("wrap", None, OURS),
    ("wait", Some('W'), "leave it out: `selffer status --follow` waits"),
    ("hold", Some('H'), "leave it out, and use `scontrol hold` on the jobs that are printed"),
    ("test-only", None, "leave it out: --dry-run shows what would be submitted"),
    ("clusters", Some('M'), "leave it out, and submit where that cluster's jobs are submitted"),
    ("help", Some('h'), "leave it out"),
    ("usage", None, "leave it out"),
    ("version", Some('V'), "leave it out"),
];

const OURS: &str = "leave it out: selffer says that itself";

/// Letters of `sbatch` that take a value; what follows one in its word is that value.
const WITH_VALUE: &str = "AabBCcDdeFGiJLMmNnopqpStUwx";

/// Variables that `sbatch` reads as options, and that go before those of a script: the option, its letter, and the
/// variables. From the section INPUT ENVIRONMENT VARIABLES of sbatch(1).
const VARIABLES: &[(&str, Option<char>, &[&str])] = &[
    ("account", Some('A'), &["SBATCH_ACCOUNT"]),
    ("acctg-freq", None, &["SBATCH_ACCTG_FREQ"]),
    ("array", Some('a'), &["SBATCH_ARRAY_INX"]),
    ("batch", None, &["SBATCH_BATCH"]),
    ("bb", None, &["SBATCH_BURST_BUFFER"]),
    ("bbf", None, &["SBATCH_BURST_BUFFER"]),
    ("cluster-constraint", None, &["SBATCH_CLUSTER_CONSTRAINT"]),
    ("constraint", Some('C'), &["SBATCH_CONSTRAINT"]),
    ("container", None, &["SBATCH_CONTAINER"]),
    ("container-id", None, &["SBATCH_CONTAINER_ID"]),
    ("core-spec", Some('S'), SPECIALIZED),
    ("cpu-freq", None, &["SBATCH_CPU_FREQ_REQ", "SLURM_CPU_FREQ_REQ"]),
    ("cpus-per-gpu", None, &["SBATCH_CPUS_PER_GPU"]),
    ("delay-boot", None, &["SBATCH_DELAY_BOOT"]),
    ("distribution", Some('m'), &["SBATCH_DISTRIBUTION"]),
    ("exclusive", None, &["SBATCH_EXCLUSIVE"]),
    ("export", None, &["SBATCH_EXPORT"]),
    ("get-user-env", None, &["SBATCH_GET_USER_ENV"]),
    ("gpu-bind", None, &["SBATCH_GPU_BIND"]),
    ("gpu-freq", None, &["SBATCH_GPU_FREQ"]),
    ("gpus", Some('G'), &["SBATCH_GPUS"]),
    ("gpus-per-node", None, &["SBATCH_GPUS_PER_NODE"]),
    ("gpus-per-socket", None, &["SBATCH_GPUS_PER_SOCKET"]),
    ("gpus-per-task", None, &["SBATCH_GPUS_PER_TASK"]),
    ("gres", None, &["SBATCH_GRES"]),
    ("gres-flags", None, &["SBATCH_GRES_FLAGS"]),
    ("hint", None, &["SBATCH_HINT", "SLURM_HINT"]),
    ("ignore-pbs", None, &["SBATCH_IGNORE_PBS"]),
    ("input", Some('i'), &["SBATCH_INPUT"]),
    ("job-name", Some('J'), &["SBATCH_JOB_NAME"]),
    ("mem", None, MEMORY),
    ("mem-bind", None, &["SBATCH_MEM_BIND"]),
    ("mem-per-cpu", None, MEMORY),
    ("mem-per-gpu", None, MEMORY),
    ("network", None, &["SBATCH_NETWORK"]),
    ("no-kill", Some('k'), &["SBATCH_NO_KILL"]),
    ("open-mode", None, &["SBATCH_OPEN_MODE"]),
    // What is said on errors goes there too, unless it is sent elsewhere.
    ("output", Some('o'), &["SBATCH_OUTPUT", "SBATCH_ERROR"]),
    ("overcommit", Some('O'), &["SBATCH_OVERCOMMIT"]),
    ("oversubscribe", Some('s'), &["SBATCH_EXCLUSIVE"]),
    // With it sbatch is to say which job it is, and not to wait for that job.
    ("parsable", None, &["SBATCH_WAIT"]),
    ("partition", Some('p'), &["SBATCH_PARTITION"]),
    ("power", None, &["SBATCH_POWER"]),
    ("prefer", None, &["SBATCH_PREFER"]),
    ("profile", None, &["SBATCH_PROFILE"]),
    ("qos", Some('q'), &["SBATCH_QOS"]),
    ("requeue", None, &["SBATCH_REQUEUE", "SBATCH_NO_REQUEUE"]),
    ("reservation", None, &["SBATCH_RESERVATION"]),
    ("signal", None, &["SBATCH_SIGNAL"]),
    ("spread-job", None, &["SBATCH_SPREAD_JOB"]),
    ("switches", None, &["SBATCH_REQ_SWITCH", "SBATCH_WAIT4SWITCH"]),
    ("thread-spec", None, SPECIALIZED),
    ("threads-per-core", None, &["SBATCH_THREADS_PER_CORE"]),
    ("time", Some('t'), &["SBATCH_TIMELIMIT"]),
    ("tres-bind", None, &["SBATCH_TRES_BIND"]),
    ("tres-per-task", None, &["SBATCH_TRES_PER_TASK"]),
    ("use-min-nodes", None, &["SBATCH_USE_MIN_NODES"]),
    ("verbose", Some('v'), &["SBATCH_DEBUG"]),
    ("wait-all-nodes", None, &["SBATCH_WAIT_ALL_NODES"]),
    ("wckey", None, &["SBATCH_WCKEY"]),
];

/// Of these `sbatch` takes one alone.
const MEMORY: &[&str] = &["SBATCH_MEM_PER_CPU", "SBATCH_MEM_PER_GPU", "SBATCH_MEM_PER_NODE"];
const SPECIALIZED: &[&str] = &["SBATCH_CORE_SPEC", "SBATCH_THREAD_SPEC"];

/// An option that was read.
#[derive(Debug, PartialEq, Eq)]
struct Flag<'a> {
    /// As it is written: `--account`, `-A`, `-Hk`.
    name: &'a str,
    /// Its value, if it has one.
    value: Option<&'a str>,
}

fn read(text: &str) -> Option<Flag<'_>> {
    let value = |text: &'_ str| Some(text.trim()).filter(|text| !text.is_empty()).map(str::len);
    let name_is = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if let Some(long) = text.strip_prefix("--") {
        let end = long.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(long.len());
        let given = (end < long.len()).then(|| long[end + 1..].trim());
        return (end > 0 && name_is(&long[..end])).then_some(Flag { name: &text[..end + 2], value: given });
    }
    let letters = text.strip_prefix('-')?;
    let mut end = 0;
    for letter in letters.chars() {
        if !letter.is_ascii_alphabetic() {
            break;
        }
        end += 1;
        if WITH_VALUE.contains(letter) {
            break;
        }
    }
    let rest = &letters[end..];
    let given = value(rest).map(|_| rest.trim());
    (end > 0).then_some(Flag { name: &text[..=end], value: given })
}

/// Refuses an option that is not a user's to set, in any form that `sbatch` would take it in.
///
/// # Errors
/// With the mend.
pub fn check(origin: &str, text: &str) -> Result<()> {
    let refuse =
        |problem: String, mend: &str| Err(Error::invalid(origin, format!("`{text}` {problem}"), mend));
    let Some(flag) = read(text) else {
        return refuse("is no option of sbatch".to_owned(), "write it as `--name=value`");
    };
    let found = match flag.name.strip_prefix("--") {
        // Any beginning of a name stands for it.
        Some(name) => REFUSED.iter().find(|(long, ..)| long.starts_with(name)),
        None => {
            flag.name.chars().find_map(|letter| REFUSED.iter().find(|(_, short, _)| *short == Some(letter)))
        }
    };
    match found {
        Some((long, _, mend)) => refuse(format!("sets sbatch's --{long}, which is not to be set here"), mend),
        // A second option in the same text would be read as a part of the value.
        None if flag.name.starts_with("--") || flag.name.len() == 2 || flag.value.is_none() => Ok(()),
        None => refuse("has several options in one".to_owned(), "give each by itself"),
    }
}

/// An option as a line of a script takes it, its value quoted with `quote`. One that cannot be read is left as it is:
/// [`check`] refuses it.
pub fn line(text: &str, quote: impl Fn(&str) -> String) -> String {
    match read(text) {
        Some(Flag { name, value: None }) => name.to_owned(),
        Some(Flag { name, value: Some(value) }) if name.starts_with("--") => {
            format!("{name}={}", quote(value))
        }
        Some(Flag { name, value: Some(value) }) => format!("{name} {}", quote(value)),
        None => quote(text),
    }
}

/// The variables of the environment that would undo what these options say, `--parsable` and `--output` among them,
/// which are always given.
pub fn overriding(options: &[String]) -> Vec<&'static str> {
    let mut found = Vec::new();
    for flag in options.iter().map(String::as_str).chain(["--parsable", "--output"]).filter_map(read) {
        let (long, letters) = match flag.name.strip_prefix("--") {
            Some(long) => (Some(long), ""),
            None => (None, &flag.name[1..]),
        };
        // Any beginning of a name stands for it, unless it is a name itself.
        let whole = VARIABLES.iter().any(|(name, ..)| Some(*name) == long);
        let named =
            |name: &str| long.is_some_and(|long| if whole { name == long } else { name.starts_with(long) });
        for (name, letter, variables) in VARIABLES {
            if named(name) || letter.is_some_and(|letter| letters.contains(letter)) {
                found.extend_from_slice(variables);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_undoes_the_script_is_refused_in_every_form() {
        for text in [
            "-a",
            "-a3",
            "-a 0-3",
            "-a=3",
            "--array=3",
            "--array 3",
            "--arr=3",
            "--arr",
            "-o x",
            "--out=x",
            "--output x",
            "-e x",
            "--err=x",
            "--error=x",
            "-J x",
            "--job-name=x",
            "--job=x",
            "--signal=TERM@5",
            "--sig=9",
            "--no-requeue",
            "--no-req",
            "--requeue",
            "--test-only",
            "--parsable",
            "--wait",
            "-W",
            "-kW",
            "-Qa3",
            "-d afterok:1",
            "--dependency=afterok:1",
            "--dep=singleton",
            "--wrap=true",
            "--wrap true",
            "-H",
            "--hold",
            "-D /",
            "--chdir=/",
            "--open-mode=truncate",
            "--kill-on-invalid-dep=no",
            "-t 5",
            "--time=5",
            "-M other",
            "--clusters=other",
            "-h",
            "--array\t3",
            "--array= 3",
        ] {
            let said = check("a file", text).expect_err(text).to_string();
            assert!(said.contains("which is not to be set here; "), "{said}");
            assert_eq!(said.lines().count(), 1);
        }
        for text in
            ["", "-", "--", "account=lab", "--=x", "-=x", "- a", "--acc ount\u{a0}=x y\u{2003}--array=3 x"]
        {
            let _ = check("a file", text).map_err(|error| assert_eq!(error.to_string().lines().count(), 1));
        }
        for text in ["", "-", "--", "account=lab", "--=x", "-=x", "- a", "--a/b"] {
            let said = check("a file", text).expect_err(text).to_string();
            assert!(said.contains("is no option of sbatch"), "{said}");
        }
    }

    #[test]
    fn the_environment_is_set_aside_where_it_would_undo_an_option() {
        let always = ["SBATCH_ERROR", "SBATCH_OUTPUT", "SBATCH_WAIT"];
        for (text, variables) in [
            ("--kill-on-invalid-dep=yes", &[][..]),
            ("--nodes=2", &[]),
            ("--account=lab", &["SBATCH_ACCOUNT"]),
            ("--acco=lab", &["SBATCH_ACCOUNT"]),
            ("-A lab", &["SBATCH_ACCOUNT"]),
            ("-Alab", &["SBATCH_ACCOUNT"]),
            ("-kO", &["SBATCH_NO_KILL", "SBATCH_OVERCOMMIT"]),
            ("--gpus=4", &["SBATCH_GPUS"]),
            ("--gres=gpu:1", &["SBATCH_GRES"]),
            ("--mem=16G", &["SBATCH_MEM_PER_CPU", "SBATCH_MEM_PER_GPU", "SBATCH_MEM_PER_NODE"]),
            ("--time=60", &["SBATCH_TIMELIMIT"]),
            ("--requeue", &["SBATCH_NO_REQUEUE", "SBATCH_REQUEUE"]),
        ] {
            let mut expected = [&always, variables].concat();
            expected.sort_unstable();
            assert_eq!(overriding(&[text.to_owned()]), expected, "{text}");
        }
    }

    #[test]
    fn what_is_a_users_own_is_taken_and_written_so_that_it_stays_one_option() {
        let quote = |text: &str| format!("<{text}>");
        for (text, line_of) in [
            ("--account=lab", "--account=<lab>"),
            ("--account lab", "--account=<lab>"),
            ("-A lab", "-A <lab>"),
            ("-Alab", "-A <lab>"),
            ("--exclusive", "--exclusive"),
            ("--exclude=n1,n2", "--exclude=<n1,n2>"),
            ("--wait-all-nodes=1", "--wait-all-nodes=<1>"),
            ("--time-min=5", "--time-min=<5>"),
            ("--nodelist=n1", "--nodelist=<n1>"),
            ("-w n1", "-w <n1>"),
            ("-k", "-k"),
            ("--comment=--array=3", "--comment=<--array=3>"),
            ("--comment=x --array=3", "--comment=<x --array=3>"),
            ("-C a --array=3", "-C <a --array=3>"),
            ("--qos=", "--qos=<>"),
        ] {
            check("a file", text).expect(text);
            assert_eq!(line(text, quote), line_of);
        }
    }
}
