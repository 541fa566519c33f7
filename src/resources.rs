//! What a network is to be given by a queueing system, as a protocol, a file or the command line says.
//!
//! Uses `treatment`; used by `protocol` and `cluster`. None of it changes a bit, so it is in no digest.

pub mod flags;

use crate::error::{Error, Result};
use crate::toml_text;
use crate::treatment::{self, DEPTHS, NotATreatment, Treatment};
use crate::whole;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;

/// How long before its time limit a job is told to save, in seconds, unless it is said otherwise.
pub const WARN: u32 = 120;

/// What a job asks for. Texts are as `sbatch` takes them; what is not said is left to the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
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
    pub flags: Vec<String>,
    /// Lines of the script before the program is called: `module load cuda`.
    pub setup: Vec<String>,
}

/// Resources for a whole plan: for all networks, for some others, and how many at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "ForAll")]
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
#[serde(from = "ForSome")]
pub struct Special {
    /// Which.
    pub treatments: Vec<Family>,
    /// What they get.
    pub given: Resources,
}

/// Treatments as a text in the paper's notation names them, `n` for every depth.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Family {
    text: String,
    // Found once: a plan may ask for each of its networks. What is none, `check` refuses.
    treatments: Result<BTreeSet<Treatment>, NotATreatment>,
}

impl From<String> for Family {
    fn from(text: String) -> Self {
        let family = treatment::family(&text, &DEPTHS.collect::<Vec<_>>());
        Self { text, treatments: family.map(|all| all.into_iter().collect()) }
    }
}

impl Family {
    fn has(&self, treatment: Treatment) -> bool {
        self.treatments.as_ref().is_ok_and(|all| all.contains(&treatment))
    }
}

/// A table as a file has it: the keys of [`Resources`] and others beside them. One struct, so that a message about any of
/// them has its line and knows them all.
macro_rules! table {
    ($name:ident { $($own:ident: $of:ty),* }) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            $(#[serde(default)] $own: $of,)*
            partition: Option<String>,
            gres: Option<String>,
            time: Option<String>,
            mem: Option<String>,
            cpus: Option<u32>,
            warn_seconds: Option<u32>,
            #[serde(default)]
            flags: Vec<String>,
            #[serde(default)]
            setup: Vec<String>,
        }

        impl $name {
            /// Its own keys, and the resources.
            fn parts(self) -> ($($of,)* Resources) {
                let Self { partition, gres, time, mem, cpus, warn_seconds, flags, setup, .. } = self;
                ($(self.$own,)* Resources { partition, gres, time, mem, cpus, warn_seconds, flags, setup })
            }
        }
    };
}

table!(ForAll { max_running: Option<u32>, per_job: Option<u32>, network: Vec<Special> });
table!(ForSome { treatments: Vec<Family> });

impl From<ForAll> for Cluster {
    fn from(table: ForAll) -> Self {
        let (max_running, per_job, network, all) = table.parts();
        Self { all, max_running, per_job, network }
    }
}

impl From<ForSome> for Special {
    fn from(table: ForSome) -> Self {
        let (treatments, given) = table.parts();
        Self { treatments, given }
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
/// rounded up. None for what is said to have no end, and for what is no time.
fn seconds(time: &str) -> Option<u64> {
    // Rust takes a plus, and sbatch does not.
    let number = |part: &str| part.parse().ok().filter(|_: &u64| !part.starts_with('+'));
    let (days, clock) = match time.split_once('-') {
        Some((days, clock)) => (Some(number(days)?), clock),
        None => (None, time),
    };
    let numbers: Vec<u64> = clock.split(':').map(number).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = match (days, numbers.as_slice()) {
        (Some(_), [hours]) => [*hours, 0, 0],
        (Some(_), [hours, minutes]) => [*hours, *minutes, 0],
        (None, [minutes]) => [0, *minutes, 0],
        (None, [minutes, seconds]) => [0, *minutes, *seconds],
        (_, [hours, minutes, seconds]) => [*hours, *minutes, *seconds],
        _ => return None,
    };
    let minute = |amount: u64, each: u64| amount.checked_mul(each);
    let all = [minute(days.unwrap_or(0), 1440)?, minute(hours, 60)?, minutes, seconds.div_ceil(60)];
    let all = all.into_iter().try_fold(0u64, |sum, part| sum.checked_add(part))?;
    all.checked_mul(60)
}

/// Whether that is one of Slurm's times, be it without an end.
fn is_time(text: &str) -> bool {
    let endless = ["UNLIMITED", "INFINITE", "-1"].iter().any(|word| text.eq_ignore_ascii_case(word));
    endless || seconds(text).is_some()
}

/// Whether that is a size of memory as sbatch takes it: `4000`, `16G`, `16GB`.
fn is_size(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = &text[..text.len() - unit.len()];
    let known = ["", "K", "M", "G", "T", "KB", "MB", "GB", "TB"];
    number.parse::<i64>().is_ok() && known.iter().any(|name| unit.eq_ignore_ascii_case(name))
}

impl Cluster {
    /// Reads a file of resources.
    ///
    /// # Errors
    /// Where it cannot be read, or a key is unknown.
    pub fn read(path: &Path) -> Result<Self> {
        let text = whole::text(path, toml_text::MOST, "name a TOML file")?;
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
            let named = [
                ("partition", &given.partition),
                ("gres", &given.gres),
                ("time", &given.time),
                ("mem", &given.mem),
            ];
            let said = || named.iter().filter_map(|(key, text)| Some((*key, text.as_deref()?)));
            let texts = said().map(|(_, text)| text).chain(given.flags.iter().map(String::as_str));
            if let Some(text) = texts.into_iter().find(|text| text.chars().any(char::is_control)) {
                return refuse(text.trim(), "has a line break or a control character", "leave it out");
            }
            if let Some((key, _)) = said().find(|(_, text)| text.trim().is_empty()) {
                return refuse(key, "is empty", "say what it is, or leave it out");
            }
            if let Some(time) = given.time.as_deref().filter(|time| !is_time(time)) {
                let problem = format!("is {time:?}, which is none of Slurm's times");
                return refuse("time", &problem, "take minutes, H:M:S, D-H:M:S or UNLIMITED");
            }
            if let Some(mem) = given.mem.as_deref().filter(|mem| !is_size(mem)) {
                let problem = format!("is {mem:?}, which is none of Slurm's sizes");
                return refuse(
                    "mem",
                    &problem,
                    "take a whole number of MiB, or one with K, M, G or T after it",
                );
            }
            if given.cpus.is_some_and(|cpus| i32::try_from(cpus).map_or(true, |cpus| cpus == 0)) {
                return refuse("cpus", "is no number of cores", "take at least 1, or leave it out");
            }
            given.flags.iter().try_for_each(|flag| flags::check(origin, flag))?;
        }
        for special in &self.network {
            if special.treatments.is_empty() {
                return refuse("network", "names no `treatments`", "name some, or put it above");
            }
            for family in &special.treatments {
                if let Err(problem) = &family.treatments {
                    let mend = "`selffer --help` explains the notation";
                    return Err(Error::invalid(origin, format!("`network`: {problem}"), mend));
                }
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
            // For Slurm no time at all is no limit.
            if limit > 0 && limit <= u64::from(warn) {
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
        let named = |special: &&Special| special.treatments.iter().any(|family| family.has(treatment));
        match self.network.iter().find(named) {
            Some(special) => special.given.or(&self.all),
            None => self.all.clone(),
        }
    }

    /// Texts for some networks that stand for none of these treatments.
    pub fn for_none_of(&self, treatments: &BTreeSet<Treatment>) -> BTreeSet<&str> {
        let families = self.network.iter().flat_map(|special| &special.treatments);
        let none = families.filter(|family| !treatments.iter().any(|treatment| family.has(*treatment)));
        none.map(|family| family.text.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_slurm_reads_them() {
        for (text, minutes) in [
            ("0", 0),
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
        for text in ["", "UNLIMITED", "INFINITE", "-1", "1:2:3:4", "1-", "x", "99999999999999999999", "1h"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    /// As Slurm 22.05's sbatch takes and refuses them, but for negative times, which it takes.
    #[test]
    fn what_sbatch_would_refuse_is_refused_before() {
        let checked = |text: &str| toml::from_str::<Cluster>(text).expect(text).check("here");
        for text in ["abc", "1P", "1.5G", "-1", "", " ", "G", "+5", "9223372036854775808"] {
            let said = checked(&format!("mem = \"{text}\"")).expect_err(text).to_string();
            assert!(said.starts_with("here: `mem` is "), "{said}");
        }
        for text in ["0", "4000", "1g", "16G", "1GB", "1KB", "1T"] {
            checked(&format!("mem = \"{text}\"")).expect(text);
        }
        for text in [
            "garbage", "-5", "", "1:", ":", "-", "1-2-3", " 5", "5.5", "1:2:3:4", "0:0:0:0", "0-", "-0",
            "1h", "+60", "+1-2", "1-+2",
        ] {
            let said = checked(&format!("time = \"{text}\"")).expect_err(text).to_string();
            assert!(said.starts_with("here: `time` is "), "{said}");
        }
        for text in ["0", "0:0", "-1", "infinite", "UNLIMITED", "90", "5:70", "1-30:99", "2-12:00:00"] {
            checked(&format!("time = \"{text}\"")).expect(text);
        }
        for text in [
            "partition = \"\"",
            "gres = \" \"",
            "cpus = 0",
            "cpus = 2147483648",
            "[[network]]\ntreatments = [\"AnB\"]\ncpus = 0",
        ] {
            assert!(checked(text).is_err(), "{text}");
        }
        let said = checked("time = \"1h\"").unwrap_err().to_string();
        let says = "here: `time` is \"1h\", which is none of Slurm's times; take minutes, H:M:S, D-H:M:S or UNLIMITED";
        assert_eq!(said, says);
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
    fn what_cannot_be_read_is_told_with_its_line_and_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.toml");
        let told = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let said = Cluster::read(&path).expect_err(text).to_string();
            said.strip_prefix(path.to_str().unwrap()).unwrap().to_owned()
        };
        let network = |lines: &str| format!("time = \"3\"\n\n[[network]]\n{lines}");
        for (text, says) in [
            ("max_runing = 1".to_owned(), ", line 1: unknown field `max_runing`"),
            (
                "\nmax_running = \"4\"".to_owned(),
                ", line 2: string \"4\" stands where this belongs: a whole number",
            ),
            ("[slurm]\ntime = \"3\"".to_owned(), ", line 1: unknown field `slurm`"),
            (network("treatment = [\"AnB\"]"), ", line 4: unknown field `treatment`"),
            (network("treatments = \"AnB\""), ", line 4: string \"AnB\" stands where this belongs: a list, "),
            (
                network("treatments = [\"A9B\"]"),
                ": `network`: `A9B` copies 9 layers: of the 8 layers, 1 to 7 can be copied; \
                `selffer --help` explains the notation",
            ),
            (network("mem = \"3G\""), ": `network` names no `treatments`"),
        ] {
            let said = told(&text);
            assert!(said.starts_with(says), "{said}");
        }
        assert!(told("[slurm]").ends_with("README.md shows what a file of resources holds"));
    }

    #[test]
    fn what_stands_for_no_network_is_told() {
        let text = "[[network]]\ntreatments = [\"AnB^k\", \"A3B\"]\n[[network]]\ntreatments = [\"baseB\"]";
        let cluster: Cluster = toml::from_str(text).unwrap();
        let none = |plan: &[&str]| {
            let plan = plan.iter().map(|treatment| treatment.parse().unwrap()).collect();
            cluster.for_none_of(&plan).into_iter().map(str::to_owned).collect::<Vec<_>>()
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
