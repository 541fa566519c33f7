//! The shapes of what commands print: JSON for programs, text for people.
//!
//! Uses the library; used by `commands`. JSON.md documents the JSON; tests hold it to that. A field
//! is never taken away or given another meaning within a major version.

mod bisection;
pub mod chart;
mod comparison;
mod outline;
mod plan;
mod shown;
mod status;

pub use bisection::{Bisection, Missing};
pub use comparison::Comparison;
pub use outline::Outline;
pub use plan::{Pace, Plan};
use selffer::digest::{FingerprintDigest, ProtocolDigest};
use selffer::manifest::Environment;
use selffer::protocol::Protocol;
use selffer::recipe::Policy;
use selffer::table::{Cell, Table};
use selffer::text::{self, networks};
use selffer::verify::golden;
use selffer::verify::{Checked, Code, Finding, Report, Severity};
use serde::Serialize;
pub use shown::Shown;
pub use status::Status;
use std::fmt::Write as _;

/// Findings of one code that are printed in full; JSON has them all.
const SHOWN: usize = 10;

/// The JSON of a value, indented, with a newline at its end.
pub fn json<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a value that JSON can hold");
    text.push('\n');
    text
}

/// The JSON of a value on one line.
pub fn json_line<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string(value).expect("a value that JSON can hold");
    text.push('\n');
    text
}

#[derive(Serialize)]
pub struct Reproduction {
    protocol: String,
    protocol_digest: ProtocolDigest,
    /// Networks that were trained just now, and that were in the store already.
    trained: usize,
    found: usize,
    cells: Vec<Cell>,
    checked: Vec<Checked>,
    golden: Comparison,
    pub findings: Vec<Finding>,
}

impl Reproduction {
    pub fn new(
        protocol: &Protocol,
        table: &Table,
        report: Report,
        golden: Comparison,
        trained: usize,
        found: usize,
    ) -> Self {
        Self {
            protocol: protocol.name.clone(),
            protocol_digest: protocol.digest(),
            trained,
            found,
            cells: table.cells.clone(),
            checked: report.checked,
            golden,
            findings: report.findings,
        }
    }

    pub fn text(&self, table: &Table) -> String {
        let compared: usize = self.checked.iter().map(|check| check.compared).sum();
        // What differs from the golden is a table of its own.
        let in_table = |code| {
            matches!(
                code,
                Code::GoldenAccuracyDiffers
                    | Code::GoldenWeightsDiffer
                    | Code::GoldenRunMissing
                    | Code::GoldenRunNew
            )
        };
        let listed: Vec<&Finding> = self.findings.iter().filter(|finding| !in_table(finding.code)).collect();
        format!(
            "{}\n{}{}\n{}: {} trained, {} found; {} comparisons; {}\n",
            table.text(),
            findings_text(&listed),
            self.golden.text().trim_end(),
            self.protocol,
            networks(self.trained),
            self.found,
            compared,
            summary(&self.findings),
        )
    }
}

#[derive(Serialize)]
pub struct GoldenCheck {
    pub golden: Comparison,
    pub findings: Vec<Finding>,
}

impl GoldenCheck {
    pub fn text(&self) -> String {
        let inputs: Vec<&Finding> = self.golden.inputs.iter().collect();
        format!("{}{}", findings_text(&inputs), self.golden.text())
    }
}

#[derive(Serialize)]
pub struct Accepted {
    pub written: String,
    pub reason: String,
    pub runs: usize,
    /// Why the snapshot before could not be compared with, where there was one that could not be read.
    pub unreadable: Option<String>,
    pub comparison: Comparison,
}

impl Accepted {
    pub fn text(&self) -> String {
        let changes = match (&self.comparison.file, self.comparison.differences.len()) {
            (None, _) if self.unreadable.is_some() => {
                "the one before could not be read, so nothing was compared\n".to_owned()
            }
            (None, _) => "it is the first\n".to_owned(),
            (Some(_), 0) => "no network differs from the one before\n".to_owned(),
            (Some(_), count) => {
                let differ = if count == 1 { "differs" } else { "differ" };
                format!(
                    "{} {differ} from the one before:\n{}\n",
                    networks(count),
                    golden::text(&self.comparison.differences)
                )
            }
        };
        format!("wrote {} with {}; {changes}", self.written, networks(self.runs))
    }
}

/// How this machine computes under a policy.
#[derive(Serialize)]
pub struct Fingerprint {
    numerics: Policy,
    fingerprint: FingerprintDigest,
    libtorch: String,
    cpu: String,
    settings: Vec<Setting>,
}

#[derive(Serialize)]
struct Setting {
    name: String,
    value: String,
}

impl Fingerprint {
    pub fn of(numerics: Policy, environment: Environment) -> Self {
        let Environment { selffer: _, libtorch, cpu, settings, fingerprint } = environment;
        let settings = settings.into_iter().map(|(name, value)| Setting { name, value }).collect();
        Self { numerics, fingerprint, libtorch, cpu, settings }
    }

    pub fn text(&self) -> String {
        let mut lines = vec![
            ("numerics", self.numerics.name().to_owned()),
            ("fingerprint", self.fingerprint.hex()),
            ("libtorch", self.libtorch.clone()),
            ("cpu", self.cpu.clone()),
        ];
        lines.extend(self.settings.iter().map(|setting| (setting.name.as_str(), setting.value.clone())));
        lines.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = writeln!(text, "{name:<20} {value}");
            text
        })
    }
}

/// What `verify` prints.
pub fn report_text(report: &Report) -> String {
    let mut text = String::new();
    for checked in &report.checked {
        let Checked { check, compared, errors, .. } = checked;
        let _ = writeln!(text, "{compared:>7} compared, {errors:>3} wrong   {check}{}", checked.besides());
    }
    let findings: Vec<&Finding> = report.findings.iter().collect();
    let _ = write!(text, "\n{}{}\n", findings_text(&findings), summary(&report.findings));
    text
}

/// Findings as a list: those of one code together, long lists cut short.
pub fn findings_text(findings: &[&Finding]) -> String {
    let mut text = String::new();
    // A finding may be graded otherwise than its code is.
    for group in findings.chunk_by(|a, b| (a.code, a.severity) == (b.code, b.severity)) {
        let (code, severity) = (group[0].code, group[0].severity.name());
        let _ = writeln!(text, "{severity}[{code}] {}", code.description());
        for finding in group.iter().take(SHOWN) {
            let _ = writeln!(text, "  {}: {}", finding.subject, finding.message);
            for evidence in &finding.evidence {
                let _ = writeln!(text, "      {evidence}");
            }
        }
        if group.len() > SHOWN {
            let _ = writeln!(text, "  … and {} more; --format json lists all", group.len() - SHOWN);
        }
        text.push('\n');
    }
    text
}

pub fn summary(findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let warnings = count(Severity::Warning);
    let errors = match count(Severity::Error) {
        0 if warnings == 0 => return "clean".to_owned(),
        0 => "no error".to_owned(),
        errors => text::counted(errors, "error"),
    };
    match warnings {
        0 => errors,
        warnings => format!("{errors}, {warnings} to be warned of"),
    }
}
