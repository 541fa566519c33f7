//! What a network is to be given by a queueing system, as a protocol, a file or the command line says.
//!
//! Uses nothing of this crate but `error` and `treatment`; used by `protocol`, `arrange` and `slurm`. None of
//! it changes a bit, so it is in no digest.

use crate::error::{Error, Result};
use crate::treatment::Treatment;
use serde::{Deserialize, Serialize};
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
    /// Which, in the paper's notation; `n` stands for every depth.
    pub treatments: Vec<String>,
    /// What they get.
    pub given: Resources,
}

/// Takes one key out of a table that otherwise holds resources.
fn taken<T: for<'a> Deserialize<'a>>(
    table: &mut toml::Table,
    key: &str,
) -> Result<Option<T>, toml::de::Error> {
    table.remove(key).map(toml::Value::try_into).transpose()
}

impl TryFrom<toml::Table> for Cluster {
    type Error = toml::de::Error;

    fn try_from(mut table: toml::Table) -> Result<Self, toml::de::Error> {
        Ok(Self {
            max_running: taken(&mut table, "max_running")?,
            per_job: taken(&mut table, "per_job")?,
            network: taken(&mut table, "network")?.unwrap_or_default(),
            all: table.try_into()?,
        })
    }
}

impl TryFrom<toml::Table> for Special {
    type Error = toml::de::Error;

    fn try_from(mut table: toml::Table) -> Result<Self, toml::de::Error> {
        let treatments = taken(&mut table, "treatments")?.unwrap_or_default();
        Ok(Self { treatments, given: table.try_into()? })
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

impl Cluster {
    /// Reads a file of resources.
    ///
    /// # Errors
    /// Where it cannot be read, or a key is unknown.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let origin = path.display().to_string();
        let cluster: Self = toml::from_str(&text).map_err(|error| {
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            Error::invalid(&origin, message, "README.md shows what a file of resources holds")
        })?;
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
            if let Some(flag) = given.flags.iter().find(|flag| !flag.starts_with('-')) {
                return refuse(flag, "is no option of sbatch", "write it as `--name=value`");
            }
            let ours = ["--array", "-a", "--dependency", "-d", "--output", "-o", "--chdir", "-D", "--wrap"];
            let name = |flag: &str| flag.split('=').next().unwrap_or_default().to_owned();
            if let Some(flag) = given.flags.iter().find(|flag| ours.contains(&name(flag).as_str())) {
                return refuse(flag, "is what selffer says itself", "leave it out");
            }
        }
        for special in &self.network {
            if special.treatments.is_empty() {
                return refuse("network", "names no `treatments`", "name some, or put it above");
            }
            for text in &special.treatments {
                if crate::treatment::family(text, &[1]).is_err() {
                    return refuse(text, "is no treatment", "`selffer --help` explains the notation");
                }
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
        let name = treatment.to_string();
        let family = match treatment.n() {
            0 => name.clone(),
            n => name.replacen(&n.to_string(), "n", 1),
        };
        let named = |special: &&Special| special.treatments.iter().any(|of| *of == name || *of == family);
        match self.network.iter().find(named) {
            Some(special) => special.given.or(&self.all),
            None => self.all.clone(),
        }
    }
}
