//! A finding: something that is wrong, with its code, its subject and the evidence.
//!
//! Uses nothing of this crate; used by every check. What a check is unable to do is an
//! [`Error`](crate::Error) instead. Each code has a description here and a fixture under
//! `fixtures/broken/` that triggers it; a test fails where either is missing.

use crate::text::one_line;
use serde::{Serialize, Serializer};
use std::fmt;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; it can touch no conclusion.
    Note,
    /// It can touch a conclusion: what rests on it holds only with a reservation.
    Warning,
    /// A result does not hold, or cannot be trusted; exit code 1.
    Error,
}

impl Severity {
    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

macro_rules! codes {
    ($($variant:ident $code:literal $severity:ident $description:literal)*) => {
        /// What kind of thing a finding found.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $description] $variant,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as it is written in output: lower case, with hyphens.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What it means.
            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => $description,)* }
            }

            /// How much it matters.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    FileDamaged "file-damaged" Error
        "A file of a store or of a pack does not hold what it has to, or is not there."
    FileStray "file-stray" Error
        "A file that has no business in a store or a pack."
    SplitMissing "split-missing" Error
        "The store lacks the file of a split that the protocol has."
    RunMissing "run-missing" Error
        "The store lacks a network that the protocol has."
    CheckpointMissing "checkpoint-missing" Error
        "A manifest names weights that the store does not have."
    RunMisnamed "run-misnamed" Error
        "A manifest calls its run by another name than the plan does."
    RunBarred "run-barred" Error
        "A network could not be trained, because the one it copies from diverged."
    ClassMoved "class-moved" Error
        "A split in the store puts a class into another task than the protocol does."
    ImageInBothTasks "image-in-both-tasks" Error
        "The same image occurs in task A and in task B."
    ImageInTrainAndValidation "image-in-train-and-validation" Error
        "The same image occurs among the training and the validation images."
    ImageInTwoClasses "image-in-two-classes" Warning
        "The same image occurs in two classes of one task and part."
    PrefixNotCopied "prefix-not-copied" Error
        "A network did not start from the first n layers of the network it copies from."
    FrozenMoved "frozen-moved" Error
        "Frozen layers ended with other bits than they began with."
    TrainedUnmoved "trained-unmoved" Error
        "A layer that is trained ended with the bits it began with."
    FreshDiffers "fresh-differs" Error
        "Layers that are drawn anew did not begin with what the recipe's random streams give."
    TopNotShared "top-not-shared" Error
        "Treatments of one target, split and seed did not begin with the same layers above the copied."
    TopNotIndependent "top-not-independent" Error
        "A re-initialised layer began with the same bits as that layer of a base network."
    RandomShared "random-shared" Error
        "A random-weight control's frozen layer is a layer of a trained network."
    OrderDiffers "order-differs" Error
        "An epoch visited the training images in another order than the recipe gives."
    LedgerDiffers "ledger-differs" Error
        "A network's ledger has more or fewer entries than training by its recipe writes."
    EpochsDiffer "epochs-differ" Error
        "A network records another number of epochs than it was trained for, or was trained at other rates, than the recipe says."
    CountImpossible "count-impossible" Error
        "A count of images is not possible for the split, or a loss for any."
    ShapeDiffers "shape-differs" Error
        "A checkpoint's layers have other shapes than the recipe's network."
    WeightsShared "weights-shared" Error
        "Two networks ended with the same weights, bit for bit."
    WeightsNotFinite "weights-not-finite" Error
        "A checkpoint holds a number that is not finite."
    LossNotFinite "loss-not-finite" Error
        "Training diverged: the loss was not finite."
    RunAtChance "run-at-chance" Error
        "A network may have ended no better than guessing."
    FiltersRandom "filters-random" Warning
        "What training made of a base network's first filters is no better explained than random filters are."
    RetrainedDifferently "retrained-differently" Error
        "A network that was trained again came out with other bits."
    RetrainedFamilyDiffers "retrained-family-differs" Error
        "A kind of treatment, trained again by other code, came to another accuracy than is recorded."
    RecordDiffers "record-differs" Error
        "A manifest records other first weights, losses or counts than training that network again gives."
    EvaluatedDifferently "evaluated-differently" Error
        "A checkpoint, evaluated again, does not give the count and the loss of its manifest."
    GoldenAbsent "golden-absent" Note
        "There is no golden snapshot for this protocol and these numerics."
    GoldenInputsDiffer "golden-inputs-differ" Error
        "The golden snapshot was made from another protocol, other data or other splits."
    GoldenAccuracyDiffers "golden-accuracy-differs" Error
        "A network's accuracy is not the golden one."
    GoldenWeightsDiffer "golden-weights-differ" Error
        "A network's weights are not the golden ones, though its accuracy is."
    GoldenFamilyDiffers "golden-family-differs" Error
        "On a machine that computes otherwise, a kind of treatment came to another accuracy than the golden one."
    GoldenUndecided "golden-undecided" Error
        "On a machine that computes otherwise, there are too few images or targets to compare accuracies."
    GoldenRunMissing "golden-run-missing" Error
        "The golden snapshot has a network that is not there."
    GoldenRunNew "golden-run-new" Error
        "A network is not in the golden snapshot."

    // An archive of training logs: reading it.
    FileMissing "file-missing" Error
        "A run lacks a file that says what it was, or the file cannot be used."
    FileNotText "file-not-text" Error
        "A file that has to be text is not UTF-8."
    FileMalformed "file-malformed" Error
        "A network, solver or list does not follow its format."
    NumberOutOfRange "number-out-of-range" Error
        "A number lies outside what is possible for it."
    LinkLeavesArchive "link-leaves-archive" Error
        "A link points out of the archive; it was not followed."
    LinkForFile "link-for-file" Warning
        "A link stands where a file or directory should; it was not followed."
    NameUnknown "name-unknown" Note
        "A directory among the results whose name says no run of the experiment."
    LogDamaged "log-damaged" Warning
        "A log cannot be unpacked to its end, or its file goes on after that."
    LogOversized "log-oversized" Warning
        "A log unpacks to more than any log of this experiment can hold; the rest was not read."
    LogUnpacked "log-unpacked" Warning
        "A run has a log that lies there unpacked; only those that end in `.gz` are read."
    LineTooLong "line-too-long" Warning
        "A log has a line longer than any that the solver writes; it was skipped."
    LogMalformed "log-malformed" Warning
        "A solver's line in a log does not follow the solver's format."

    // An archive of training logs: its runs against their names.
    FrozenDiffers "frozen-differs" Error
        "Not the layers that the run's name says are frozen."
    FreshLayersDiffer "fresh-layers-differ" Error
        "Not the layers that the run's name says are drawn anew."
    BaseDiffers "base-differs" Error
        "The weights come from another network than the run's name says."
    TaskDiffers "task-differs" Error
        "A run trains or validates on other data than its name says."
    DataLinkRenamed "data-link-renamed" Note
        "A run's data link has another name than the published list of that data."
    ClassifierNarrow "classifier-narrow" Error
        "The last layer has fewer outputs than the task has classes."
    ClassifierWide "classifier-wide" Note
        "The last layer has more outputs than the task has classes."
    NetworkDiffers "network-differs" Warning
        "A network differs from those it is compared with in more than its name says."
    SolverDiffers "solver-differs" Warning
        "A run's solver settings differ from those of the runs it is compared with."
    RunAbsent "run-absent" Warning
        "The archive lacks a run that the experiment's design has."
    RunEmpty "run-empty" Warning
        "A run has a directory, but no log with a validation score."
    RunUnfinished "run-unfinished" Error
        "A run's logs end before its last iteration."
    RunOverrun "run-overrun" Error
        "A run's logs go on after its last iteration."
    ScoresMissing "scores-missing" Note
        "Validation scores are missing between a run's first and last iteration."
    ScoresRepeated "scores-repeated" Note
        "Iterations were scored more than once, after a restart; the latest score counts."
    ScoreContradicted "score-contradicted" Error
        "One process logged two scores for one iteration."
    ScoreOffGrid "score-off-grid" Warning
        "A score is no share of the images that were validated on."
    ScoreOutlier "score-outlier" Warning
        "A score stands apart from those before and after it."
    TimeReversed "time-reversed" Warning
        "Within one process, time or iterations run backwards."
    RateDiffers "rate-differs" Error
        "A log's learning rate is not what the solver file gives for that iteration."
    LogMisplaced "log-misplaced" Error
        "A log belongs to another run."
    ValidationUneven "validation-uneven" Note
        "A validation pass does not see every image equally often."

    // An archive of training logs: its lists, and what is concluded.
    SumDiffers "sum-differs" Error
        "A list does not have the published md5 sum."
    SumUnchecked "sum-unchecked" Note
        "A published md5 sum cannot be checked, because its list is not at hand."
    SumAbsent "sum-absent" Note
        "No published md5 sum of a list is at hand, so the list was held against none."
    SumUnreadable "sum-unreadable" Warning
        "A line of the published md5 sums cannot be read; it was skipped."
    HalvesDiffer "halves-differ" Error
        "The halves of a split do not hold each class once, or not as many as published."
    TableDiffers "table-differs" Error
        "The runs do not give a published number to its printed digit."
    TableUnmatched "table-unmatched" Warning
        "A published number changes when runs are compared with the base network of their own target."
    ClaimRefuted "claim-refuted" Warning
        "A claim does not hold in these runs."
}

impl Code {
    /// Whether it is about an archive of training logs, not about a store.
    pub fn of_archive(self) -> bool {
        (Self::FileMissing..=Self::ClaimRefuted).contains(&self) || self == Self::RunAtChance
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What kind of thing it is.
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// The run, file, split or image it is about.
    pub subject: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Digests, values and paths that show it.
    pub evidence: Vec<String>,
}

impl Finding {
    /// A finding without evidence beyond its message.
    pub fn new(code: Code, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            // Names of files and runs come from whoever made what is checked, and are shown on a terminal.
            subject: one_line(&subject.into()),
            message: one_line(&message.into()),
            evidence: Vec::new(),
        }
    }

    /// The finding at another severity than its code's.
    pub fn graded(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// The finding with one more piece of evidence.
    pub fn with(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(one_line(&evidence.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_findings_describes_every_code() {
        let page = include_str!("../../FINDINGS.md");
        for code in Code::ALL {
            let severity = serde_json::to_value(code.severity()).unwrap();
            let row = format!("| `{code}` | {} | {} |", severity.as_str().unwrap(), code.description());
            assert!(page.contains(&row), "FINDINGS.md lacks the row {row}");
        }
    }
}
