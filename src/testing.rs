//! Small worlds for tests: a protocol, data and weights that take milliseconds.
//!
//! Used by the tests of several modules; not in the program.

use crate::architecture::{self, LAYERS};
use crate::data::{Dataset, Images, Part};
use crate::digest::{DataDigest, Digest, FingerprintDigest, LedgerDigest, SplitDigest};
use crate::init::initial;
use crate::ledger::Ledger;
use crate::manifest::{Count, Environment, Epoch, Format, Manifest, Outcome};
use crate::protocol::Protocol;
use crate::recipe::{CORE, Policy, Recipe, order_digest};
use crate::seed::{Name, Stream};
use crate::weights::{Tensor, Weights};

/// A protocol of two seeds on one random split, whose networks train in milliseconds.
pub(crate) const TINY: &str = r#"
name = "tiny"
data = "embedded"
train_per_class = 6
valid_per_class = 4
seeds = [1, 2]
depths = [1, 4]

[network]
conv = [2, 3, 2, 3, 2]
hidden = [4, 3]
filler = "he"

[solver]
epochs = 2
batch = 5
rate = 0.05
rate_drops = [1]
rate_factor = 0.1
momentum = 0.9
decay = 5e-4

[[split]]
name = "half"
halves = { random = 0 }
treatments = ["baseA", "baseB", "AnB", "BnB+", "RnA"]
"#;

/// [`TINY`] with each `(from, to)` replaced; a text that is not in it is a mistake of the test.
pub(crate) fn tiny(changes: &[(&str, &str)]) -> Protocol {
    Protocol::parse(&edited(TINY, changes), "a test").expect("a protocol")
}

/// `text` with each `(from, to)` replaced once.
pub(crate) fn edited(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in the text");
        text.replacen(from, to, 1)
    })
}

/// Makes a pipe with a name. No test of the library starts a process: one that is being started holds, for a moment, a
/// copy of every file that is open, and with it every lock of the tests beside it.
pub(crate) fn make_pipe(path: &std::path::Path) {
    use rustix::fs::{CWD, Mode, mkfifoat};
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).expect("a pipe");
}

/// Random images, all different: so many of each class, the classes in turn.
pub(crate) fn dataset(classes: usize, train: usize, valid: usize, side: usize) -> Dataset {
    let images = |part: Part, count: usize| {
        let mut stream = Stream::open(&Name::new("test images").and("part", part));
        let pixels = (0..count * classes * side * side).map(|_| stream.below(256) as u8).collect();
        let labels = (0..count * classes).map(|at| (at % classes) as u16).collect();
        Images::new([1, side, side], pixels, labels)
    };
    Dataset {
        classes: (0..classes).map(|class| format!("class-{class}")).collect(),
        train: images(Part::Train, train),
        valid: images(Part::Valid, valid),
    }
}

/// A recipe on made-up data.
pub(crate) fn recipe(protocol: &Protocol, treatment: &str, seed: u64) -> Recipe {
    Recipe {
        core: CORE,
        numerics: Policy::Portable,
        data: DataDigest(Digest::of(b"data")),
        split: SplitDigest(Digest::of(b"split")),
        seed,
        treatment: treatment.parse().expect("a treatment"),
        parent: None,
        network: protocol.network.clone(),
        input: protocol.input.clone(),
        solver: protocol.solver.clone(),
    }
}

/// The layers of a protocol's network for 8×8 images and two classes.
pub(crate) fn shapes(protocol: &Protocol) -> [architecture::Layer; LAYERS] {
    architecture::layers(&protocol.network, [1, 8, 8], 2)
}

/// The first weights of `baseA` in [`TINY`] with that seed: small, and other for each seed.
pub(crate) fn weights(seed: u64) -> Weights {
    let protocol = tiny(&[]);
    initial(&recipe(&protocol, "baseA", seed), &shapes(&protocol), None)
}

/// A made-up manifest of `baseA` in [`TINY`], with the digests of [`weights`].
pub(crate) fn manifest(seed: u64) -> Manifest {
    let protocol = tiny(&[]);
    let recipe = recipe(&protocol, "baseA", seed);
    let epoch = |epoch| Epoch {
        rate: recipe.solver.rate_at(epoch),
        order: order_digest(&recipe.order(epoch, 12)),
        train_loss: 0.1 + 0.2,
        train: Count { correct: 7, total: 12 },
        valid_loss: 1.0 / 3.0,
        valid: Count { correct: 5, total: 8 },
    };
    let epochs = (0..2).map(epoch).collect();
    let layers = weights(seed).digests();
    Manifest {
        format: Format::V1,
        run: "half/1/baseA".to_owned(),
        recipe,
        initial: layers,
        epochs,
        outcome: Outcome::Trained { layers },
        contradicts: None,
        ledger: Ledger { every: 2, entries: vec![LedgerDigest(Digest::of(b"entry"))] },
        wall_ms: 12,
        environment: Environment {
            selffer: "0.1.0".to_owned(),
            libtorch: "2.11.0".to_owned(),
            cpu: "a \"processor\"".to_owned(),
            settings: vec![("threads".to_owned(), "1".to_owned())],
            fingerprint: FingerprintDigest(Digest::of(b"fingerprint")),
        },
    }
}

/// Numbers in -0.5 to 0.5 that look random, as in `tests/reference/caffe.py`: multiples of 2⁻²⁴ (splitmix64).
pub(crate) fn hashed(index: u64) -> f64 {
    let mut z = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 40) as f64 / f64::from(1 << 24) - 0.5
}

/// What `tests/reference/caffe.py` says of a tensor.
pub(crate) struct Summary {
    shape: Vec<usize>,
    norm: f64,
    sum: f64,
    product: f64,
    some: Vec<f64>,
}

impl Summary {
    pub(crate) fn of(tensor: &Tensor) -> Self {
        let values: Vec<f64> = tensor.values.iter().map(|value| f64::from(*value)).collect();
        let product = values.iter().enumerate().map(|(at, value)| value * hashed((1 << 60) + at as u64));
        Self {
            shape: tensor.shape.clone(),
            norm: values.iter().map(|value| value * value).sum::<f64>().sqrt(),
            sum: values.iter().sum(),
            product: product.sum(),
            some: (0..8).map(|part| values[(values.len() - 1) * part / 7]).collect(),
        }
    }

    /// The largest difference from what the script printed, as a share of its norm; infinite where the shapes
    /// differ.
    pub(crate) fn difference(&self, expected: &serde_json::Value, what: &str) -> f64 {
        let number =
            |value: &serde_json::Value| value.as_f64().unwrap_or_else(|| panic!("{what}: {expected}"));
        if serde_json::json!(self.shape) != expected["shape"] {
            return f64::INFINITY;
        }
        let some = self.some.iter().zip(expected["some"].as_array().expect("a list"));
        let pairs = [
            (&self.norm, &expected["norm"]),
            (&self.sum, &expected["sum"]),
            (&self.product, &expected["product"]),
        ];
        let off = pairs.into_iter().chain(some).map(|(found, expected)| (found - number(expected)).abs());
        off.fold(0.0, f64::max) / number(&expected["norm"])
    }
}
