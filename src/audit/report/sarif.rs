//! An audit as SARIF 2.1.0, for code scanning: a rule for each code, a result for each finding, placed at
//! the files and lines that its evidence names.
//!
//! Uses `audit`'s outcome; used by the command line. The shapes here are the part of the OASIS standard that
//! an audit needs.

use crate::audit::Audit;
use crate::verify::{Code, Finding};
use serde_json::{Value, json};

/// The report as JSON text.
pub fn sarif(audit: &Audit) -> String {
    let mut used: Vec<Code> = audit.findings.iter().map(|finding| finding.code).collect();
    used.sort_unstable();
    used.dedup();
    let rules: Vec<Value> = used
        .iter()
        .map(|code| {
            json!({
                "id": code.name(),
                "shortDescription": { "text": code.description() },
                "defaultConfiguration": { "level": code.severity().name() },
            })
        })
        .collect();
    let result = |finding: &Finding| {
        let text = match finding.evidence.is_empty() {
            true => finding.message.clone(),
            false => format!("{}\n{}", finding.message, finding.evidence.join("\n")),
        };
        json!({
            "ruleId": finding.code.name(),
            "ruleIndex": used.binary_search(&finding.code).ok(),
            "level": finding.severity.name(),
            "message": { "text": format!("{}: {text}", finding.subject) },
            "locations": locations(finding),
        })
    };
    let results: Vec<Value> = audit.findings.iter().map(result).collect();
    // Whose numerics were held against which; null for an archive.
    let under = audit.proof.as_ref().map(|proof| proof.under);
    let report = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "selffer",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "results": results,
            "properties": { "numerics": under },
        }],
    });
    format!("{report:#}\n")
}

/// The first places that a finding names, as `file` or `file:line`; its subject by name where it names none.
fn locations(finding: &Finding) -> Vec<Value> {
    let words = finding.evidence.iter().map(String::as_str).chain([finding.subject.as_str()]);
    let first = words.filter_map(place).next();
    let location = match first {
        Some((file, Some(line))) => {
            json!({ "physicalLocation": { "artifactLocation": { "uri": uri(file) }, "region": { "startLine": line } } })
        }
        Some((file, None)) => json!({ "physicalLocation": { "artifactLocation": { "uri": uri(file) } } }),
        None if matches!(finding.code, Code::FileDamaged | Code::FileStray) => {
            json!({ "physicalLocation": { "artifactLocation": { "uri": uri(&finding.subject) } } })
        }
        None => json!({ "logicalLocations": [{ "name": finding.subject }] }),
    };
    vec![location]
}

/// A path of the archive at the beginning of a text, with its line.
fn place(text: &str) -> Option<(&str, Option<u64>)> {
    let end = text.find([' ', ',']).unwrap_or(text.len());
    let word = text[..end].trim_end_matches(':');
    if !word.starts_with("results/") && !word.starts_with("ilsvrc12/") {
        return None;
    }
    match word.rsplit_once(':') {
        Some((file, line)) => line.parse().ok().filter(|line| *line > 0).map(|line| (file, Some(line))),
        None => Some((word, None)),
    }
}

/// A path as a relative URI reference.
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_from_evidence() {
        assert_eq!(place("results/a/b.gz:12: 0.5 at iteration 3"), Some(("results/a/b.gz", Some(12))));
        assert_eq!(place("results/a/net: test_iter 1"), Some(("results/a/net", None)));
        assert_eq!(place("results/a"), Some(("results/a", None)));
        assert_eq!(place("iteration 3"), None);
        assert_eq!(uri("results/a b\u{e9}"), "results/a%20b%C3%A9");
    }
}
