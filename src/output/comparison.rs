//! A store against its golden snapshot: what `golden check` prints, and a part of what `reproduce` does.
//!
//! Uses the library's `verify::golden` and `verify::statistical`; used by `output` and `commands`.

use selffer::digest::FingerprintDigest;
use selffer::text::networks;
use selffer::verify::golden::{self, Difference, Golden, Scope};
use selffer::verify::statistical::{self, Family, MARGIN};
use selffer::verify::{Code, Finding, Severity};
use serde::Serialize;

/// How a store was compared.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum How {
    /// Bit for bit.
    Bitwise,
    /// By accuracies, since the snapshot is of a machine that computes otherwise.
    Statistical,
}

/// A store against its golden snapshot.
#[derive(Serialize)]
pub struct Comparison {
    /// Where the snapshot is; none where there is no snapshot.
    pub file: Option<String>,
    /// How it was compared.
    how: How,
    /// How many networks were compared.
    compared: usize,
    /// The fingerprints of where the snapshot and the store were made.
    fingerprints: [Option<FingerprintDigest>; 2],
    /// Networks that are not the same bits.
    pub differences: Vec<Difference>,
    /// Kinds of treatment, where it was compared statistically.
    families: Vec<Family>,
    #[serde(skip)]
    findings: Vec<Finding>,
    #[serde(skip)]
    pub inputs: Option<Finding>,
    #[serde(skip)]
    name: String,
}

impl Comparison {
    pub fn of(golden: Option<(String, Golden)>, new: &Golden, scope: &Scope) -> Self {
        let name = scope.file_name();
        let Some((file, golden)) = golden else {
            let message = "there is nothing to compare with; `selffer golden accept --reason …` makes it";
            return Self {
                file: None,
                how: How::Bitwise,
                compared: 0,
                fingerprints: [None, new.fingerprint],
                differences: Vec::new(),
                families: Vec::new(),
                findings: vec![Finding::new(Code::GoldenAbsent, &name, message)],
                inputs: None,
                name,
            };
        };
        let differences = golden.differences(new);
        // Where a fingerprint is not known, nothing less than the same bits is asked for.
        let elsewhere = golden.fingerprint.zip(new.fingerprint).is_some_and(|(old, new)| old != new);
        let how = if elsewhere && !differences.is_empty() { How::Statistical } else { How::Bitwise };
        let findings = match how {
            How::Bitwise => differences.iter().map(Difference::finding).collect(),
            How::Statistical => statistical::findings(&golden, new),
        };
        let families = match how {
            How::Bitwise => Vec::new(),
            How::Statistical => statistical::families(&statistical::pairs(&golden, new), MARGIN),
        };
        Self {
            compared: golden.runs.keys().filter(|run| new.runs.contains_key(*run)).count(),
            inputs: golden.inputs_finding(new, how == How::Bitwise, &file),
            fingerprints: [golden.fingerprint, new.fingerprint],
            file: Some(file),
            how,
            differences,
            families,
            findings,
            name,
        }
    }

    /// That there is no snapshot is wrong where a user named the directory that it is to be in.
    pub fn require(&mut self) {
        for finding in self.findings.iter_mut().filter(|finding| finding.code == Code::GoldenAbsent) {
            *finding = finding.clone().graded(Severity::Error);
        }
    }

    pub fn findings(&self) -> Vec<Finding> {
        self.inputs.iter().chain(&self.findings).cloned().collect()
    }

    /// How it was compared and what came of it, with a table of what differs.
    pub fn text(&self) -> String {
        let Some(file) = &self.file else { return format!("golden: there is no {}\n", self.name) };
        let count = self.differences.len();
        match self.how {
            How::Bitwise if count == 0 => match self.compared {
                1 => format!("golden: the 1 network is that of {file}, bit for bit\n"),
                all => format!("golden: all {all} networks are those of {file}, bit for bit\n"),
            },
            How::Bitwise => {
                let those = if count == 1 { "is not that" } else { "are not those" };
                format!(
                    "golden: {} {those} of {file}\n{}\n",
                    networks(count),
                    golden::text(&self.differences)
                )
            }
            How::Statistical => {
                let short =
                    |print: Option<FingerprintDigest>| print.map_or_else(String::new, |it| it.to_string());
                format!(
                    "golden: compared with {file} statistically, not bit for bit: it was made under fingerprint {}, \
                     and these networks under {}\n{}\n\n{}{}",
                    short(self.fingerprints[0]),
                    short(self.fingerprints[1]),
                    statistical::text(&self.families, MARGIN),
                    self.changed(),
                    self.single()
                )
            }
        }
    }

    /// Networks whose accuracy is another, or on one side only: that weights differ is expected.
    fn changed(&self) -> String {
        let changed: Vec<Difference> =
            self.differences.iter().filter(|one| one.old != one.new).cloned().collect();
        if changed.is_empty() { String::new() } else { format!("{}\n\n", golden::text(&changed)) }
    }

    /// Networks that are far off by themselves, or on one side only.
    fn single(&self) -> String {
        let single =
            |finding: &&Finding| !matches!(finding.code, Code::GoldenFamilyDiffers | Code::GoldenUndecided);
        let line = |finding: &Finding| format!("  {}: {}\n", finding.subject, finding.message);
        let lines: String = self.findings.iter().filter(single).map(line).collect();
        if lines.is_empty() { lines } else { format!("far off by themselves, or on one side only:\n{lines}") }
    }
}
