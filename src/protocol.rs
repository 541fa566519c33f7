//! A protocol: every number of an experiment, read from TOML.
//!
//! Uses `treatment`, `published`, `resources` and `digest`; used by every later stage. What is read here is checked
//! here: the rest of the program never sees a batch of zero or a momentum of two. Unknown keys are errors that name
//! the nearest key, if one is like it. `src/protocols/` holds the embedded ones.

use crate::canonical;
use crate::digest::{Digest, ProtocolDigest};
use crate::error::{Error, Result, nearest};
use crate::published::{Published, SEEDS};
use crate::resources::Cluster;
use crate::toml_text;
use crate::treatment::{self, DEPTHS, Task, Treatment};
use crate::whole;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

mod settings;
mod source;
pub use settings::{Filler, Input, Layout, Network, Solver, Subtract, Update};
pub use source::{DataSource, Folder, SIDE};

/// The embedded protocols: name and TOML text.
pub const EMBEDDED: [(&str, &str); 5] = [
    ("smoke", include_str!("protocols/smoke.toml")),
    ("ci", include_str!("protocols/ci.toml")),
    ("standard", include_str!("protocols/standard.toml")),
    ("paper", include_str!("protocols/paper.toml")),
    ("cifar100", include_str!("protocols/cifar100.toml")),
];

/// The largest product of two neighbouring layers' widths: 1 GiB of weights where both are fully
/// connected, 9 where both are convolutions.
const WEIGHTS_MAX: u64 = 1 << 28;

/// How the classes are divided between task A and task B.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Halves {
    /// A random half of the classes each, by seed (an odd class goes to B): similar tasks.
    Random(u64),
    /// The paper's own halves of ILSVRC2012's 1000 classes.
    Published(Published),
    /// Two disjoint lists of class names: dissimilar tasks.
    Named {
        /// The classes of task A.
        #[serde(rename = "A")]
        a: Vec<String>,
        /// The classes of task B.
        #[serde(rename = "B")]
        b: Vec<String>,
    },
    /// All classes in task A, none in task B: a base network on everything.
    Whole,
}

/// One split of the protocol and what is trained on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitRule {
    /// The split's name in tables: letters, digits, `-` and `_`.
    pub name: String,
    /// How the classes are divided.
    pub halves: Halves,
    /// What is trained, in the protocol's order, without repeats.
    pub treatments: Vec<Treatment>,
}

/// A protocol that was read and checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Protocol {
    /// Its name in golden files and messages: letters, digits, `-` and `_`.
    pub name: String,
    /// Where the images come from.
    pub data: DataSource,
    /// Training images of each class, the first in file order; all where none is said.
    pub train_per_class: Option<u32>,
    /// Validation images of each class, the first in file order; all where none is said.
    pub valid_per_class: Option<u32>,
    /// Root seeds: everything is trained once for each.
    pub seeds: Vec<u64>,
    /// The network.
    pub network: Network,
    /// How images enter it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Input>,
    /// The solver.
    pub solver: Solver,
    /// The splits.
    pub splits: Vec<SplitRule>,
    /// What its networks are given by a queueing system. It changes no bits, so the digest leaves it out.
    #[serde(skip_serializing)]
    pub slurm: Cluster,
}

/// A protocol as it stands in the file, before any check.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    name: String,
    data: DataSource,
    train_per_class: Option<u32>,
    valid_per_class: Option<u32>,
    seeds: Vec<u64>,
    depths: Option<Vec<u8>>,
    network: Network,
    input: Option<Input>,
    solver: Solver,
    split: Vec<WireSplit>,
    #[serde(default)]
    slurm: Cluster,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSplit {
    name: String,
    halves: Halves,
    treatments: Vec<String>,
}

impl Protocol {
    /// The protocol that a user named: an embedded one, or a TOML file.
    ///
    /// # Errors
    /// Where there is neither, or the file is not a protocol.
    pub fn named(name: &str) -> Result<Self> {
        Self::of_text(&Self::text(name)?, name)
    }

    /// The text of the protocol that a user named.
    ///
    /// # Errors
    /// As for [`Protocol::named`], but that it is not read.
    pub fn text(name: &str) -> Result<String> {
        if let Some((_, text)) = EMBEDDED.iter().find(|(embedded, _)| *embedded == name) {
            return Ok((*text).to_owned());
        }
        let path = Path::new(name);
        if whole::there(path)?.is_none() {
            let names = EMBEDDED.map(|(name, _)| name);
            let near = nearest(name, names).map_or(String::new(), |near| format!("; the nearest is {near}"));
            let problem = "is neither a protocol that is built in nor a file";
            let mend = format!("name one of {}, or a TOML file{near}", names.join(", "));
            return Err(Error::invalid(name, problem, mend));
        }
        whole::text(path, toml_text::MOST, "name a TOML file")
    }

    /// The protocol of that text, which is that of the embedded protocol or of the file `origin`.
    ///
    /// # Errors
    /// As for [`Protocol::parse`].
    pub fn of_text(text: &str, origin: &str) -> Result<Self> {
        let mut protocol = Self::parse(text, origin)?;
        if let Some(base) = Path::new(origin).parent() {
            protocol.data.relative_to(base);
        }
        Ok(protocol)
    }

    /// Reads and checks a protocol; `origin` is its name in messages.
    ///
    /// # Errors
    /// Where the text is no TOML, has unknown or missing keys, or numbers out of range.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let wire: Wire = toml_text::read(text, origin, "README.md shows what a protocol holds")?;
        let check = Check { origin };
        check.name("name", &wire.name)?;
        let depths = wire.depths.unwrap_or_else(|| DEPTHS.collect());
        for depth in &depths {
            check.that(DEPTHS.contains(depth), "depths", depth, "take depths from 1 to 7")?;
        }
        check.distinct("depths", &depths)?;
        check.distinct("seeds", &wire.seeds)?;
        for (key, count) in
            [("train_per_class", wire.train_per_class), ("valid_per_class", wire.valid_per_class)]
        {
            check.that(count != Some(0), key, 0, "take at least 1, or leave it out for all")?;
        }
        if let DataSource::Images(Folder { size, .. }) = &wire.data {
            let mend = format!("take {} to {} pixels", SIDE.start(), SIDE.end());
            check.that(SIDE.contains(size), "data.images.size", size, &mend)?;
        }
        check.network(&wire.network)?;
        if let Some(Input { crop, .. }) = &wire.input {
            check.that((1..=4096).contains(crop), "input.crop", crop, "take 1 to 4096")?;
        }
        check.solver(&wire.solver)?;
        check.that(!wire.split.is_empty(), "split", "none", "add a [[split]]")?;
        let splits =
            wire.split.into_iter().map(|split| check.split(split, &depths)).collect::<Result<Vec<_>>>()?;
        let names: Vec<_> = splits.iter().map(|split| &split.name).collect();
        check.distinct("split names", &names)?;
        wire.slurm.check(origin)?;
        Ok(Self {
            name: wire.name,
            data: wire.data,
            train_per_class: wire.train_per_class,
            valid_per_class: wire.valid_per_class,
            seeds: wire.seeds,
            network: wire.network,
            input: wire.input,
            solver: wire.solver,
            splits,
            slurm: wire.slurm,
        })
    }

    /// The digest of all its numbers: comments, spelling and the place of the data do not count.
    pub fn digest(&self) -> ProtocolDigest {
        ProtocolDigest(Digest::of(canonical::json(self).as_bytes()))
    }
}

/// Checks values of the protocol named `origin`.
struct Check<'a> {
    origin: &'a str,
}

impl Check<'_> {
    fn that(&self, good: bool, key: &str, value: impl std::fmt::Display, mend: &str) -> Result<()> {
        if good {
            return Ok(());
        }
        Err(Error::invalid(self.origin, format!("`{key}` cannot be {value}"), mend))
    }

    fn name(&self, key: &str, name: &str) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let good = !name.is_empty() && name.chars().all(plain);
        self.that(good, key, format_args!("`{name}`"), "use letters, digits, - and _ only")
    }

    fn distinct<T: Ord + std::fmt::Display>(&self, key: &str, values: &[T]) -> Result<()> {
        self.that(!values.is_empty(), key, "empty", "give at least one")?;
        let mut seen = BTreeSet::new();
        match values.iter().find(|value| !seen.insert(*value)) {
            None => Ok(()),
            Some(twice) => {
                Err(Error::invalid(self.origin, format!("`{key}` has {twice} twice"), "leave one"))
            }
        }
    }

    fn network(&self, network: &Network) -> Result<()> {
        for (key, widths) in
            [("network.conv", network.conv.as_slice()), ("network.hidden", network.hidden.as_slice())]
        {
            for width in widths {
                let good = (1..=65_536).contains(width);
                self.that(good, key, width, "take 1 to 65536 for each layer")?;
            }
            for pair in widths.windows(2) {
                let good = u64::from(pair[0]) * u64::from(pair[1]) <= WEIGHTS_MAX;
                self.that(good, key, format_args!("{} after {}", pair[1], pair[0]), "take smaller layers")?;
            }
        }
        if network.layout == Layout::Caffe {
            let odd = network.conv.iter().find(|width| !width.is_multiple_of(2));
            let mend = "take even ones: three of its layers are in two groups";
            self.that(odd.is_none(), "network.conv", odd.unwrap_or(&0), mend)?;
        }
        if let Filler::Gaussian(std) = network.filler {
            let good = std > 0.0 && std.is_finite();
            self.that(good, "filler.gaussian", std, "take a number above 0")?;
        }
        Ok(())
    }

    fn solver(&self, solver: &Solver) -> Result<()> {
        let Solver { epochs, steps, batch, rate, rate_drops, rate_factor, momentum, decay, update: _ } =
            solver;
        self.that((1..=100_000).contains(epochs), "solver.epochs", epochs, "take 1 to 100000")?;
        self.that((1..=65_536).contains(batch), "solver.batch", batch, "take 1 to 65536")?;
        if let Some(steps) = steps {
            // An epoch's images are counted in 32 bits.
            let most = 1_000_000_000 / batch;
            let mend = format!("take 1 to {most}, or leave it out for one pass over the images");
            self.that((1..=most).contains(steps), "solver.steps", steps, &mend)?;
        }
        let unit = "take a number above 0 and at most 1";
        self.that(
            *rate > 0.0 && *rate <= 100.0,
            "solver.rate",
            format!("{rate:?}"),
            "take a number above 0 and at most 100",
        )?;
        let factor = format!("{rate_factor:?}");
        self.that(*rate_factor > 0.0 && *rate_factor <= 1.0, "solver.rate_factor", factor, unit)?;
        let below_one = "take a number from 0 and below 1";
        for (key, number) in [("solver.momentum", momentum), ("solver.decay", decay)] {
            self.that((0.0..1.0).contains(number), key, format!("{number:?}"), below_one)?;
        }
        for drop in rate_drops {
            let good = drop > &0 && drop < epochs;
            let mend = match *epochs {
                1 => "leave it out: there is one epoch".to_owned(),
                epochs => format!("name epochs from 1 to {}: the first is 0", epochs - 1),
            };
            self.that(good, "solver.rate_drops", drop, &mend)?;
        }
        if rate_drops.is_empty() { Ok(()) } else { self.distinct("solver.rate_drops", rate_drops) }
    }

    fn split(&self, wire: WireSplit, depths: &[u8]) -> Result<SplitRule> {
        self.name("split.name", &wire.name)?;
        let mut treatments = Vec::new();
        for text in &wire.treatments {
            let family = treatment::family(text, depths).map_err(|error| {
                Error::invalid(
                    self.origin,
                    format!("split {}: {error}", wire.name),
                    "`selffer --help` explains the notation",
                )
            })?;
            treatments.extend(family);
        }
        let key = format!("split {} treatments", wire.name);
        self.distinct(&key, &treatments)?;
        if let Halves::Published(Published::Random(seed)) = wire.halves {
            let key = format!("split {} halves.published", wire.name);
            self.that(SEEDS.contains(&seed), &key, seed, "the paper has 0 to 3, and \"natman\"")?;
        }
        if wire.halves == Halves::Whole {
            let learns_b = |treatment: Treatment| treatment.target() == Task::B;
            let stray = treatments.iter().find(|t| learns_b(**t) || t.parent().is_some_and(learns_b));
            if let Some(stray) = stray {
                let mend = "a whole split has task A alone (all classes), so name A only";
                self.that(false, &key, stray, mend)?;
            }
        }
        Ok(SplitRule { name: wire.name, halves: wire.halves, treatments })
    }
}

#[cfg(test)]
mod tests;
