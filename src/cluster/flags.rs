//! Options of `sbatch` that a user adds: which are not theirs to set, and how one is written in a script.
//!
//! Uses `error`; used by `resources`, which refuses, and `slurm`, which writes. `sbatch` takes `--array=3`, `--arr 3`,
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
