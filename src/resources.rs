//! What a network is to be given by a queueing system, as a protocol, a file or the command line says.
//!
//! Uses `treatment`; used by `protocol` and `cluster`. None of it changes a bit, so it is in no digest.

pub mod flags;

use crate::error::{Error, Result};
use crate::toml_text;
use crate::treatment::{self, DEPTHS, Treatment};
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How long before its time limit a job is told to save, in seconds, unless it is said otherwise.
pub const WARN: u32 = 120;

/// What a job asks for. Texts are as `sbatch` takes them; what is not said is left to the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// `--partition`.
    pub partition: Option<String>,
    /// `--gres`, such as `gpu:1`.
    pub gres: Option<String>,
    /// `--time`, such as `12:00:00`.
    pub time: Option<String>,
    /// `--mem`, such as `16G`.
    pub mem: Option<String>,
    /// `--cpus-per-task`.
    pub cpus: Option<u32>,
    /// How many seconds before the time limit a job is told to save its state.
    pub warn_seconds: Option<u32>,
    /// More options of `sbatch`, each as one text: `--account=lab`.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Lines of the script before the program is called: `module load cuda`.
    #[serde(default)]
    pub setup: Vec<String>,
}

/// Resources for a whole plan: for all networks, for some others, and how many at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Table")]
pub struct Cluster {
    /// For every network.
    pub all: Resources,
    /// Elements of one level that run at once, at the most.
    pub max_running: Option<u32>,
    /// How many networks an element has, at the most.
    pub per_job: Option<u32>,
    /// For some networks others: what is said there goes before `all`.
    pub network: Vec<Special>,
}

/// What some networks get instead.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Table")]
pub struct Special {
    /// Which: texts in the paper's notation, `n` for every depth, and the treatments that each stands for.
    pub treatments: BTreeMap<String, BTreeSet<Treatment>>,
    /// What they get.
    pub given: Resources,
}

/// A table that holds resources and, beside them, some keys of its own.
struct Mixed {
    resources: toml::Table,
    own: Vec<&'static str>,
}

impl Mixed {
    fn new(table: toml::Table) -> Self {
        Self { resources: table, own: Vec::new() }
    }

    /// Takes one of its own keys out.
    fn take<T: for<'a> Deserialize<'a>>(&mut self, key: &'static str) -> Result<Option<T>, toml::de::Error> {
        self.own.push(key);
        self.resources.remove(key).map(toml::Value::try_into).transpose()
    }

    /// What is left. An unknown key may have been meant for one of its own.
    fn rest(self) -> Result<Resources, toml::de::Error> {
        self.resources.try_into().map_err(|error: toml::de::Error| {
            let message = error.message();
            match message.starts_with("unknown field") {
                true => toml::de::Error::custom(format!("{message}, `{}`", self.own.join("`, `"))),
                false => error,
            }
        })
    }
}

impl TryFrom<toml::Table> for Cluster {
    type Error = toml::de::Error;

    fn try_from(table: toml::Table) -> Result<Self, toml::de::Error> {
        let mut table = Mixed::new(table);
        let (max_running, per_job) = (table.take("max_running")?, table.take("per_job")?);
        let network = table.take("network")?.unwrap_or_default();
        Ok(Self { max_running, per_job, network, all: table.rest()? })
    }
}

impl TryFrom<toml::Table> for Special {
    type Error = toml::de::Error;

    fn try_from(table: toml::Table) -> Result<Self, toml::de::Error> {
        let mut table = Mixed::new(table);
        let texts: Vec<String> = table.take("treatments")?.unwrap_or_default();
        let given = table.rest()?;
        let depths: Vec<u8> = DEPTHS.collect();
        let family = |text: String| match treatment::family(&text, &depths) {
            Ok(family) => Ok((text, family.into_iter().collect())),
            Err(_) => Err(toml::de::Error::custom(format!("`{text}` is no treatment"))),
        };
        Ok(Self { treatments: texts.into_iter().map(family).collect::<Result<_, _>>()?, given })
    }
}

impl Resources {
    /// These, and of `other` what these do not say; flags and set-up lines of both.
    pub fn or(&self, other: &Self) -> Self {
        let first = |ours: &Option<String>, theirs: &Option<String>| ours.clone().or_else(|| theirs.clone());
        Self {
            partition: first(&self.partition, &other.partition),
            gres: first(&self.gres, &other.gres),
            time: first(&self.time, &other.time),
            mem: first(&self.mem, &other.mem),
            cpus: self.cpus.or(other.cpus),
            warn_seconds: self.warn_seconds.or(other.warn_seconds),
            flags: [other.flags.as_slice(), &self.flags].concat(),
            setup: [other.setup.as_slice(), &self.setup].concat(),
        }
    }
}

/// How long one of Slurm's times is: `M`, `M:S`, `H:M:S`, `D-H`, `D-H:M`, `D-H:M:S`. Slurm goes by whole minutes,
/// rounded up. None for what has no end or is no time, which is for Slurm to say.
fn seconds(time: &str) -> Option<u64> {
    let numbers = |text: &str| text.split(':').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>();
    let (days, rest) = match time.split_once('-') {
        Some((days, rest)) => (days.parse::<u64>().ok()?, numbers(rest)?),
        None => (0, Vec::new()),
    };
    let [hours, minutes, seconds] = match (time.contains('-'), rest.as_slice()) {
        (true, [hours]) => [*hours, 0, 0],
        (true, [hours, minutes]) => [*hours, *minutes, 0],
        (true, [hours, minutes, seconds]) => [*hours, *minutes, *seconds],
        (true, _) => return None,
        (false, _) => match numbers(time)?.as_slice() {
            [minutes] => [0, *minutes, 0],
            [minutes, seconds] => [0, *minutes, *seconds],
            [hours, minutes, seconds] => [*hours, *minutes, *seconds],
            _ => return None,
        },
    };
    let minute = |amount: u64, each: u64| amount.checked_mul(each);
    let all = [minute(days, 1440)?, minute(hours, 60)?, minutes, seconds.div_ceil(60)];
    let all = all.into_iter().try_fold(0u64, |sum, part| sum.checked_add(part))?;
    // For Slurm no time at all is no limit.
    all.checked_mul(60).filter(|seconds| *seconds > 0)
}

impl Cluster {
    /// Reads a file of resources.
    ///
    /// # Errors
    /// Where it cannot be read, or a key is unknown.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let origin = path.display().to_string();
        let cluster: Self =
            toml_text::read(&text, &origin, "README.md shows what a file of resources holds")?;
        cluster.check(&origin)?;
        Ok(cluster)
    }

    /// Whether every number and text can be what it says.
    ///
    /// # Errors
    /// Where one cannot.
    pub fn check(&self, origin: &str) -> Result<()> {
        let refuse = |key: &str, problem: &str, mend: &str| {
            Err(Error::invalid(origin, format!("`{key}` {problem}"), mend))
        };
        for (key, number) in [("max_running", self.max_running), ("per_job", self.per_job)] {
            if number == Some(0) {
                return refuse(key, "cannot be 0", "take at least 1, or leave it out");
            }
        }
        for given in std::iter::once(&self.all).chain(self.network.iter().map(|special| &special.given)) {
            let named = [&given.partition, &given.gres, &given.time, &given.mem];
            let texts = named.into_iter().flatten().chain(&given.flags);
            if let Some(text) = texts.clone().find(|text| text.chars().any(char::is_control)) {
                return refuse(text.trim(), "has a line break or a control character", "leave it out");
            }
            given.flags.iter().try_for_each(|flag| flags::check(origin, flag))?;
        }
        for special in &self.network {
            if special.treatments.is_empty() {
                return refuse("network", "names no `treatments`", "name some, or put it above");
            }
        }
        Ok(())
    }

    /// Whether every network has time before it is told to save; on everything that was said together.
    ///
    /// # Errors
    /// Where one has not: it would be started, told to stop and started again for ever.
    pub fn check_times(&self) -> Result<()> {
        let specials = self.network.iter().map(|special| special.given.or(&self.all));
        for given in std::iter::once(self.all.clone()).chain(specials) {
            let Some((time, limit)) = given.time.as_deref().and_then(|time| Some((time, seconds(time)?)))
            else {
                continue;
            };
            let warn = given.warn_seconds.unwrap_or(WARN);
            if limit <= u64::from(warn) {
                let problem =
                    format!("ends {limit} s after its start, and is told to save {warn} s before that");
                let mend = "take a longer --time, or fewer --warn-seconds";
                return Err(Error::invalid(format!("--time {time}"), problem, mend));
            }
        }
        Ok(())
    }

    /// This, and of `other` what this does not say.
    pub fn or(self, other: &Self) -> Self {
        Self {
            all: self.all.or(&other.all),
            max_running: self.max_running.or(other.max_running),
            per_job: self.per_job.or(other.per_job),
            network: if self.network.is_empty() { other.network.clone() } else { self.network },
        }
    }

    /// What a network of that treatment gets.
    pub fn given(&self, treatment: Treatment) -> Resources {
        let named =
            |special: &&Special| special.treatments.values().any(|family| family.contains(&treatment));
        match self.network.iter().find(named) {
            Some(special) => special.given.or(&self.all),
            None => self.all.clone(),
        }
    }

    /// Texts for some networks that stand for none of these treatments.
    pub fn for_none_of(&self, treatments: &BTreeSet<Treatment>) -> Vec<&str> {
        let texts = self.network.iter().flat_map(|special| &special.treatments);
        texts.filter(|(_, family)| family.is_disjoint(treatments)).map(|(text, _)| text.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_slurm_reads_them() {
        for (text, minutes) in [
            ("1", 1),
            ("90", 90),
            ("1:00", 1),
            ("1:01", 2),
            ("2:00:00", 120),
            ("1-0", 1440),
            ("1-2:30", 1590),
            ("1-2:30:30", 1591),
        ] {
            assert_eq!(seconds(text), Some(minutes * 60), "{text}");
        }
        for text in
            ["", "0", "UNLIMITED", "INFINITE", "-1", "1:2:3:4", "1-", "x", "99999999999999999999", "1h"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn networks_are_named_in_the_notation() {
        let gets = |text: &str, treatment: &str| {
            let text = format!("time = \"1:00\"\n[[network]]\ntreatments = [\"{text}\"]\ntime = \"9:00\"");
            let cluster: Cluster = toml::from_str(&text).unwrap();
            cluster.check("here").unwrap();
            cluster.given(treatment.parse().unwrap()).time.unwrap()
        };
        for (text, named, others) in [
            ("AnB^k", vec!["A1B^6", "A3B^2", "A6B^1"], vec!["A3B", "A3B+", "B3B^2", "A3A^2"]),
            ("AnB^2", vec!["A1B^2", "A5B^2"], vec!["A1B^3", "A1B"]),
            ("A3B^k", vec!["A3B^1", "A3B^4"], vec!["A4B^1"]),
            ("BnB+", vec!["B1B+", "B7B+"], vec!["B1B", "A1B+"]),
            ("baseB@25", vec!["baseB@25"], vec!["baseB", "baseB@50"]),
        ] {
            assert!(named.iter().all(|treatment| gets(text, treatment) == "9:00"), "{text}");
            assert!(others.iter().all(|treatment| gets(text, treatment) == "1:00"), "{text}");
        }
    }

    #[test]
    fn what_stands_for_no_network_is_told() {
        let text = "[[network]]\ntreatments = [\"AnB^k\", \"A3B\"]\n[[network]]\ntreatments = [\"baseB\"]";
        let cluster: Cluster = toml::from_str(text).unwrap();
        let none = |plan: &[&str]| {
            let plan = plan.iter().map(|treatment| treatment.parse().unwrap()).collect();
            cluster.for_none_of(&plan).iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(none(&["baseA", "A3B+"]), ["A3B", "AnB^k", "baseB"]);
        assert_eq!(none(&["baseB", "A3B"]), ["AnB^k"]);
        assert_eq!(none(&["baseB", "A3B", "A6B^1"]), [""; 0]);
    }

    #[test]
    fn a_job_that_would_be_told_to_stop_at_its_start_is_refused() {
        let checked = |text: &str| {
            let cluster: Cluster = toml::from_str(text).expect(text);
            cluster.check_times().map_err(|error| error.to_string())
        };
        for text in [
            "time = \"2\"",
            "time = \"1:30\"",
            "time = \"10\"\nwarn_seconds = 600",
            "time = \"60\"\n[[network]]\ntreatments = [\"AnB\"]\ntime = \"1\"",
            "time = \"60\"\n[[network]]\ntreatments = [\"AnB\"]\nwarn_seconds = 4000",
        ] {
            let said = checked(text).expect_err(text);
            assert!(said.contains("take a longer --time, or fewer --warn-seconds"), "{said}");
        }
        for text in
            ["", "time = \"3\"", "time = \"1\"\nwarn_seconds = 55", "time = \"UNLIMITED\"", "time = \"0\""]
        {
            checked(text).expect(text);
        }
    }
}
