//! An audit as JUnit XML, for CI: a case for each kind of finding, each stage of a proof, and each
//! claim.
//!
//! Uses `audit`'s outcome; used by the command line. What is at or above the severity that fails the audit
//! is a failure; notes below it stand in the case's output.

use crate::audit::claims::Verdict;
use crate::audit::{Audit, Source, proof};
use crate::error::{Error, Result};
use crate::text::counted;
use crate::verify::{Code, Finding, Severity};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

/// The report, failing what is at or above `fail_on`.
///
/// # Errors
/// Never in practice: the writer is memory.
pub fn junit(audit: &Audit, fail_on: Severity) -> Result<String> {
    let mut report = Report::new("selffer audit");
    let mut checks = TestSuite::new("checks");
    for code in Code::ALL {
        let found: Vec<&Finding> = audit.findings.iter().filter(|finding| finding.code == *code).collect();
        let ours = match audit.source {
            Source::Archive => code.of_archive(),
            Source::Store => !code.of_archive(),
        };
        if ours || !found.is_empty() {
            checks.add_test_case(case(code.name(), &found, fail_on));
        }
    }
    report.add_test_suite(checks);
    if let Some(proof) = &audit.proof {
        let mut stages = TestSuite::new("stages");
        for staged in &proof.stages {
            let reason = format!("{}: {}", staged.verdict.word(), staged.reason);
            let mut case = TestCase::new(staged.stage.name(), stage_status(staged.verdict, &reason));
            case.set_system_out(reason);
            stages.add_test_case(case);
        }
        report.add_test_suite(stages);
    }
    let mut claims = TestSuite::new("claims");
    for claim in &audit.claims {
        let status = match claim.verdict {
            Verdict::Supported => TestCaseStatus::success(),
            // That a claim is refuted is a finding, and fails as one; here it is told.
            _ => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(format!("{}: {}", claim.verdict.word(), claim.says));
                status
            }
        };
        claims.add_test_case(TestCase::new(claim.name.clone(), status));
    }
    report.add_test_suite(claims);
    report.to_string().map_err(|error| Error::invalid("junit", error.to_string(), "report it"))
}

fn stage_status(verdict: proof::Verdict, reason: &str) -> TestCaseStatus {
    let mut status = match verdict {
        proof::Verdict::Bitwise | proof::Verdict::Equivalent => return TestCaseStatus::success(),
        proof::Verdict::Unverifiable => TestCaseStatus::skipped(),
        proof::Verdict::Refuted => TestCaseStatus::non_success(NonSuccessKind::Failure),
    };
    status.set_message(reason);
    status
}

fn case(name: &str, found: &[&Finding], fail_on: Severity) -> TestCase {
    let failing = found.iter().filter(|finding| finding.severity >= fail_on).count();
    let mut status = TestCaseStatus::success();
    if failing > 0 {
        status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(counted(failing, "finding")).set_description(lines(found));
    }
    let mut case = TestCase::new(name, status);
    if failing == 0 && !found.is_empty() {
        case.set_system_out(lines(found));
    }
    case
}

fn lines(found: &[&Finding]) -> String {
    let line = |finding: &&Finding| format!("{}: {}", finding.subject, finding.message);
    found.iter().map(line).collect::<Vec<_>>().join("\n")
}
