//! Checks of a finished store: what is wrong comes out as findings, and nothing is ever trained.
//!
//! Uses every stage before it; used by the command line. A check is a function from a [`Context`] to
//! findings, and says how many comparisons it made: one that compared nothing has not passed.

mod finding;
pub(crate) mod first_layer;
pub mod golden;
mod initial;
mod integrity;
pub mod pack;
pub mod statistical;
mod training;

pub use finding::{Code, Finding, Severity};

use crate::digest::WeightsDigest;
use crate::error::Result;
use crate::manifest::Manifest;
use crate::plan::{Plan, PlannedRun};
use crate::recipe::Policy;
use crate::run::survey;
use crate::store::Store;
use crate::text::counted;
use crate::weights::Weights;
use serde::Serialize;

/// What every check is given.
pub struct Context<'a> {
    /// The plan that the store is held against.
    pub plan: &'a Plan<'a>,
    /// The store.
    pub store: &'a Store,
    /// The numerics policy of the runs in question.
    pub policy: Policy,
    /// What the store has of the plan, indexed like the plan's runs.
    pub manifests: Vec<Option<Manifest>>,
}

impl<'a> Context<'a> {
    /// Looks up what `store` has of `plan`.
    ///
    /// # Errors
    /// Where the system does not let a file be read.
    pub fn new(plan: &'a Plan<'a>, store: &'a Store, policy: Policy) -> Result<Self> {
        let manifests = survey(plan, store, policy)?;
        Ok(Self { plan, store, policy, manifests })
    }

    /// The weights of that digest, if they can be those of the run of that index; else why not, as the end of a sentence
    /// about a checkpoint.
    ///
    /// # Errors
    /// Where the system does not let the file be read.
    pub fn weights(&self, index: usize, digest: WeightsDigest) -> Result<Result<Weights, &'static str>> {
        let Some(weights) = self.store.weights(digest)?.whole() else {
            return Ok(Err("is missing or damaged"));
        };
        let fit = weights.are_of(&self.plan.shapes(&self.plan.runs[index]));
        Ok(if fit { Ok(weights) } else { Err("has other shapes than the protocol's network") })
    }

    /// The runs that the store has, with their names and manifests.
    fn runs(&self) -> impl Iterator<Item = (&PlannedRun, String, &Manifest)> {
        let both = self.plan.runs.iter().zip(&self.manifests);
        both.filter_map(|(run, manifest)| Some((run, self.plan.name(run), manifest.as_ref()?)))
    }
}

/// Where a check puts what it finds, and counts what it compared.
#[derive(Default)]
pub struct Sink {
    findings: Vec<Finding>,
    compared: usize,
}

impl Sink {
    /// Counts one comparison, and keeps the finding where it did not hold.
    fn expect(&mut self, holds: bool, finding: impl FnOnce() -> Finding) {
        self.compared += 1;
        if !holds {
            self.findings.push(finding());
        }
    }
}

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// Whether what is there is whole, and all of it there.
    Integrity,
    /// Whether what is there is the experiment that the protocol says.
    Invariants,
}

/// One check: a name, what it is about, and the function.
type Check = (&'static str, About, fn(&Context<'_>, &mut Sink) -> Result<()>);

const CHECKS: [Check; 6] = [
    ("files: names, seals and digests", About::Integrity, integrity::files),
    ("plan: every split and network is there", About::Integrity, integrity::complete),
    ("splits: no image in two places", About::Invariants, |context, sink| {
        integrity::overlaps(context.plan, sink);
        Ok(())
    }),
    ("initial weights: copied, drawn anew, shared, independent", About::Invariants, initial::check),
    ("training: order, rates, frozen layers, counts, losses", About::Invariants, training::check),
    ("first layer: training left its mark on base networks' filters", About::Invariants, first_layer::check),
];

/// What is wrong with a plan's images, whatever a store has: better known before training than after.
pub fn of_images(plan: &Plan<'_>) -> Vec<Finding> {
    let mut sink = Sink::default();
    integrity::overlaps(plan, &mut sink);
    sink.findings
}

/// What one check did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// What it looks at.
    pub check: &'static str,
    /// What that is about.
    pub about: About,
    /// How many comparisons it made.
    pub compared: usize,
    /// How many of them did not hold.
    pub findings: usize,
    /// Of these, the errors.
    pub errors: usize,
    /// Of these, the warnings; the rest are notes.
    pub warnings: usize,
}

impl Checked {
    fn of(check: &'static str, about: About, sink: &Sink) -> Self {
        let count = |severity| sink.findings.iter().filter(|finding| finding.severity == severity).count();
        let [errors, warnings] = [Severity::Error, Severity::Warning].map(count);
        Self { check, about, compared: sink.compared, findings: sink.findings.len(), errors, warnings }
    }

    /// What it found beside errors, to stand behind what is said of those: ` (1 warning, 5 notes)`, or nothing.
    pub fn besides(&self) -> String {
        let notes = self.findings - self.errors - self.warnings;
        let some = [(self.warnings, "warning"), (notes, "note")].into_iter().filter(|(count, _)| *count > 0);
        let some: Vec<String> = some.map(|(count, word)| counted(count, word)).collect();
        if some.is_empty() { String::new() } else { format!(" ({})", some.join(", ")) }
    }
}

/// What all checks found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What each check did.
    pub checked: Vec<Checked>,
    /// What is wrong: check by check, and within each by code and subject.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many comparisons the checks of one kind made, and what they found.
    pub fn about(&self, about: About) -> (usize, Vec<&Finding>) {
        let (mut compared, mut found, mut rest) = (0, Vec::new(), self.findings.as_slice());
        for checked in &self.checked {
            let (ours, others) = rest.split_at(checked.findings);
            rest = others;
            if checked.about == about {
                compared += checked.compared;
                found.extend(ours);
            }
        }
        (compared, found)
    }
}

/// What the record of one network of a plan says is wrong with it, the rest of the store left alone. It is
/// quick, and less than [`verify`] finds.
pub fn of_record(plan: &Plan<'_>, store: &Store, index: usize, manifest: &Manifest) -> Vec<Finding> {
    let context = Context { plan, store, policy: manifest.recipe.numerics, manifests: Vec::new() };
    let (run, mut sink) = (&plan.runs[index], Sink::default());
    training::record(&context, run, &plan.name(run), manifest, &mut sink);
    sink.findings.sort();
    sink.findings
}

/// Holds a store against a plan.
///
/// # Errors
/// Where the system does not let a file be read.
pub fn verify(context: &Context<'_>) -> Result<Report> {
    let (mut checked, mut findings) = (Vec::new(), Vec::new());
    for (check, about, function) in CHECKS {
        let mut sink = Sink::default();
        function(context, &mut sink)?;
        checked.push(Checked::of(check, about, &sink));
        sink.findings.sort();
        findings.extend(sink.findings);
    }
    Ok(Report { checked, findings })
}
