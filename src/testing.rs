//! Small worlds for tests: a protocol and data that take milliseconds.
//!
//! Used by the tests of several modules; not in the program.

use crate::data::{Dataset, Images, Part};
use crate::protocol::Protocol;
use crate::seed::{Name, Stream};

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

/// Random images, all different: so many of each class, the classes in turn.
pub(crate) fn dataset(classes: usize, train: usize, valid: usize, side: usize) -> Dataset {
    let images = |part: Part, count: usize| {
        let mut stream = Stream::open(&Name::new("test images").and("part", part));
        let pixels = (0..count * classes * side * side).map(|_| stream.below(256) as u8).collect();
        let labels = (0..count * classes).map(|at| (at % classes) as u16).collect();
        Images { rows: side, cols: side, pixels, labels }
    };
    Dataset {
        classes: (0..classes).map(|class| format!("class-{class}")).collect(),
        train: images(Part::Train, train),
        valid: images(Part::Valid, valid),
    }
}
