//! Planted faults: bugs that an experiment could have, put in by tests one at a time, to see each caught.
//!
//! Only in tests: the program has neither the switch nor the faults. The list is here; `hooks` has the faults
//! in code that training and checks share (drawing weights and orders, the forward pass, the update),
//! `trainer` those in what surrounds it, and `tests` runs a small experiment with each and writes FAULTS.md.
//! A fault is a wrong computation that leaves a store in which every digest fits. One in shared code stays
//! in while `verify` draws anew, as a real bug would: a check that shares it cannot see it.

pub(crate) mod hooks;
#[cfg(test)]
mod tests;
mod trainer;

use crate::seed::{Name, Stream};
use crate::treatment::Task;
use crate::weights::Weights;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

macro_rules! faults {
    ($($variant:ident $name:literal $wrong:literal)*) => {
        /// A bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Fault {
            $($variant,)*
        }

        impl Fault {
            /// Every one.
            const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name.
            fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What is wrong, in one sentence.
            fn wrong(self) -> &'static str {
                match self { $(Self::$variant => $wrong,)* }
            }
        }
    };
}

faults! {
    // What is frozen.
    DecayMovesFrozen "decay-moves-frozen" "Weight decay is applied to frozen layers too."
    MomentumMovesFrozen "momentum-moves-frozen"
        "Copied layers keep the momentum that their base network ended with, and go on moving while frozen."
    RateOnFrozen "rate-on-frozen" "Copied layers that are to be frozen are trained at the full rate."
    FrozenTooFew "frozen-one-too-few" "The last frozen layer is trained."
    FrozenTooMany "frozen-one-too-many" "The first trained layer is frozen."
    TunedFrozen "tuned-frozen" "Layers that are to be fine-tuned stay frozen."
    PreservedFrozen "preserved-frozen" "Layers that are copied to be trained on stay frozen like those below them."
    StaleFeatures "stale-features"
        "Outputs of frozen layers are cached by depth alone, so that a network is trained on those of another."

    // What a network begins with.
    CopiedTooFew "copied-one-too-few" "The last layer to be copied is drawn anew."
    CopiedTooMany "copied-one-too-many" "One layer more than n is copied."
    BiasNotCopied "bias-not-copied" "Weights are copied and biases are not."
    CopiedUntrained "copied-untrained" "Layers are copied from the base network as it was before training."
    CopiedByReference "copied-by-reference"
        "Fine-tuning changes the base network in place, so that the next copy is of the changed one."
    OwnBase "copied-from-own-base" "`AnB` copies from base B: it is trained as `BnB`."
    TopOfBase "top-of-base" "Layers above the copied begin as those of the target's base network began."
    SeedIgnored "seed-ignored" "Layers above the copied are drawn without regard to the seed."
    RandomFromBase "random-from-base" "The random control's frozen layers are those of a trained network."
    FanOut "fan-out" "Fresh weights have the deviation of the fan-out, not of the fan-in."

    // Images and labels.
    ValidInData "validation-image-in-data" "A validation image is in the data's training file as well."
    ValidInBatches "validation-image-in-training"
        "A validation image takes the place of a training image when images are loaded."
    LabelsShifted "labels-shifted" "Training labels are off by one class."
    LabelsLate "labels-one-image-late" "Each training image has the label of the image before it."
    TasksExchanged "tasks-exchanged" "Networks for A are trained and validated on B, and those for B on A."
    TaskMoments "task-moments"
        "Pixels are scaled by mean and deviation of the task's own images, not of the data set's."

    ReducedLast "reduced-last-images" "A base network on reduced data has the last images of each class, not the first."

    // The order of images.
    GlobalGenerator "order-from-global-generator"
        "The order of images comes from one generator that all networks draw from."
    SameOrder "order-same-each-epoch" "Every epoch has the order of the first."
    NoOrder "order-not-shuffled" "Images are visited in the order of the split, class by class."
    WithReplacement "order-with-replacement" "Images are drawn with replacement: some twice, some never."

    // The solver.
    SummedLoss "loss-summed" "The gradient is not divided by the number of images in the batch."
    Nesterov "nesterov" "Momentum is Nesterov's, not the heavy ball's."
    BiasNotDecayed "biases-not-decayed" "Weight decay leaves biases out."
    DecoupledDecay "decay-decoupled" "Weight decay is taken off the weight and does not enter the momentum."
    RateInMomentum "rate-in-momentum"
        "The rate is multiplied into the momentum, so that a drop of it acts on new gradients alone."
    MomentumReset "momentum-reset" "The momentum is set to zero after each epoch."
    DropLate "rate-drop-late" "The rate drops an epoch late."
    EpochTooFew "epoch-too-few" "Training ends an epoch early."
    LastBatchDropped "last-batch-dropped" "The last, smaller batch of an epoch changes no weight."
    ResumedWithoutMomentum "resumed-without-momentum"
        "Training is interrupted, and goes on from a snapshot without its momentum."

    // The network.
    ReluMissing "relu-missing" "There is no ReLU after fc7."
    AveragePool "average-pooling" "Pooling takes the mean, not the largest."
    BorderRepeated "border-repeated" "The first convolution continues images with their border, not with zeros."
    DropoutInEvaluation "dropout-in-evaluation" "Half of the units of fc6 are dropped when a network is evaluated."

    // What is kept and reported.
    Bfloat16 "checkpoint-bfloat16" "Checkpoints go through bfloat16 and back."
    EarlierCheckpoint "checkpoint-of-earlier-epoch"
        "The checkpoint is that of the last epoch but one, the accuracy that of the last."
    ValidOnTrain "validated-on-training-images" "The validation counts are of training images."
    BestReported "best-epoch-reported" "The validation of the epoch with the lowest validation loss is reported as the last's."
    LossInBits "validation-loss-in-bits" "The validation loss is in bits, not in nats."
    LossPerStep "training-loss-per-step"
        "The training loss is divided by steps × batch, as if the last batch were not smaller."
}

/// A fault, and what it needs to remember from one network to the next.
pub(crate) struct Planted {
    fault: Fault,
    // Weights by a name of the fault's own.
    kept: Mutex<HashMap<String, Weights>>,
    // The momentum that each base network ended with.
    momentum: Mutex<HashMap<Task, Vec<tch::Tensor>>>,
    // The one generator that all draw from.
    global: Mutex<Stream>,
}

impl Planted {
    fn new(fault: Fault) -> Arc<Self> {
        let global = Mutex::new(Stream::open(&Name::new("a global generator")));
        Arc::new(Self { fault, kept: Mutex::default(), momentum: Mutex::default(), global })
    }

    fn keep(&self, name: impl Into<String>, weights: &Weights) {
        self.kept.lock().unwrap().insert(name.into(), weights.clone());
    }

    fn kept(&self, name: &str) -> Option<Weights> {
        self.kept.lock().unwrap().get(name).cloned()
    }
}

thread_local! {
    /// The switch: the fault of this thread. Other tests have threads of their own.
    static PLANTED: RefCell<Option<Arc<Planted>>> = const { RefCell::new(None) };
}

/// Plants a fault in this thread, for as long as the thread lives.
fn plant(planted: &Arc<Planted>) {
    PLANTED.set(Some(Arc::clone(planted)));
}

fn planted() -> Option<Arc<Planted>> {
    PLANTED.with_borrow(Clone::clone)
}

/// What `compute` gives in a thread without a fault.
fn soundly<T>(compute: impl FnOnce() -> T) -> T {
    let planted = PLANTED.take();
    let computed = compute();
    PLANTED.set(planted);
    computed
}
