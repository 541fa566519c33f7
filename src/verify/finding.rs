//! A finding: something that is wrong, with its code, its subject and the evidence.
//!
//! Uses nothing of this crate; used by every check. What a check is unable to do is an
//! [`Error`](crate::Error) instead. Each code has a description here and a fixture under
//! `fixtures/broken/` that triggers it; a test fails where either is missing.

use serde::{Serialize, Serializer};
use std::fmt;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; the exit code stays 0.
    Note,
    /// A result does not hold, or cannot be trusted; exit code 1.
    Error,
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
        "A file of the store does not hold what its name says."
    FileStray "file-stray" Error
        "A file that has no business in a store."
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
    EpochsDiffer "epochs-differ" Error
        "A network was trained for another number of epochs, or at other rates, than the recipe says."
    CountImpossible "count-impossible" Error
        "A count of images is not possible for the split."
    ShapeDiffers "shape-differs" Error
        "A checkpoint's layers have other shapes than the recipe's network."
    WeightsNotFinite "weights-not-finite" Error
        "A checkpoint holds a number that is not finite."
    LossNotFinite "loss-not-finite" Error
        "Training diverged: the loss was not finite."
    RunAtChance "run-at-chance" Error
        "A network ended no better than guessing."
    RetrainedDifferently "retrained-differently" Error
        "A network that was trained again came out with other bits."
    GoldenAbsent "golden-absent" Note
        "There is no golden snapshot for this protocol and these numerics."
    GoldenInputsDiffer "golden-inputs-differ" Error
        "The golden snapshot was made from another protocol, other data or other splits."
    GoldenAccuracyDiffers "golden-accuracy-differs" Error
        "A network's accuracy is not the golden one."
    GoldenWeightsDiffer "golden-weights-differ" Error
        "A network's weights are not the golden ones, though its accuracy is."
    GoldenRunMissing "golden-run-missing" Error
        "The golden snapshot has a network that is not there."
    GoldenRunNew "golden-run-new" Error
        "A network is not in the golden snapshot."
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
            subject: subject.into(),
            message: message.into(),
            evidence: Vec::new(),
        }
    }

    /// The finding with one more piece of evidence.
    pub fn with(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_describes_every_code() {
        let readme = include_str!("../../README.md");
        for code in Code::ALL {
            let note = if code.severity() == Severity::Note { " (note)" } else { "" };
            let row = format!("| `{code}`{note} | {} |", code.description());
            assert!(readme.contains(&row), "README.md lacks the row {row}");
        }
    }
}
