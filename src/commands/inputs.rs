//! What commands begin with: a protocol and its images, from where `--data` says, if it does.
//!
//! Uses `protocol`, `data` and `plan`; used by all commands that read images. What of the command line concerns the
//! whole process is kept here once.

use super::say;
use crate::cli::{Cli, Command};
use crate::output;
use selffer::data::Dataset;
use selffer::data::folder::{self, LeftOut};
use selffer::plan::Plan;
use selffer::protocol::{DataSource, Protocol};
use selffer::split::Catalog;
use selffer::verify::of_images;
use selffer::whole::there;
use selffer::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Image files of a folder from which on it is said how many are decoded: it takes seconds.
const MANY: usize = 2_000;

/// Where images lie, if it is said, and whether to keep quiet.
struct Asked {
    data: Option<PathBuf>,
    quiet: bool,
    /// Whether it is a job, whose order says where they lie.
    job: bool,
}

static ASKED: OnceLock<Asked> = OnceLock::new();

/// Takes what concerns all that is read, before anything is.
pub fn from(cli: &Cli) {
    let job = matches!(cli.command, Command::Work(_));
    let asked = Asked { data: cli.data().map(Path::to_owned), quiet: cli.quiet(), job };
    assert!(ASKED.set(asked).is_ok(), "a process runs one command");
}

/// The directory that `--data` named.
pub fn data() -> Option<&'static Path> {
    ASKED.get().and_then(|asked| asked.data.as_deref())
}

/// The protocol that a user named, with its images where they lie.
///
/// # Errors
/// As of [`Protocol::named`] and [`placed`].
pub fn protocol(name: &str) -> Result<Protocol> {
    placed(Protocol::named(name)?, name)
}

/// That protocol, with its images where they lie.
///
/// # Errors
/// Where `--data` is given and it has none to bring.
pub fn placed(mut protocol: Protocol, name: &str) -> Result<Protocol> {
    if let Some(place) = data() {
        match protocol.data.dir_mut() {
            Some(dir) => *dir = place.to_owned(),
            None => {
                let problem = format!("is of no use to {name}, whose images are in the program");
                return Err(Error::invalid("--data", problem, "leave it out"));
            }
        }
    }
    Ok(protocol)
}

/// A protocol and its images: what a plan is made of.
pub struct Inputs {
    /// What a user called it.
    origin: String,
    pub protocol: Protocol,
    pub catalog: Catalog,
}

impl Inputs {
    /// Those of the protocol that a user named.
    ///
    /// # Errors
    /// As of [`protocol`] and [`Inputs::of`].
    pub fn read(name: &str) -> Result<Self> {
        Self::of(name, protocol(name)?)
    }

    /// Those of a protocol that a user called `origin`.
    ///
    /// # Errors
    /// Where its images cannot be read.
    pub fn of(origin: &str, protocol: Protocol) -> Result<Self> {
        let catalog = Catalog::of(images(&protocol)?);
        Ok(Self { origin: origin.to_owned(), protocol, catalog })
    }

    /// The plan, and on standard error what is wrong with its images: it is better known before training than after.
    ///
    /// # Errors
    /// As of [`Inputs::plan`].
    pub fn looked_at(&self, quiet: bool) -> Result<Plan<'_>> {
        let plan = self.plan()?;
        let wrong = if quiet { Vec::new() } else { of_images(&plan) };
        if !wrong.is_empty() {
            say(output::findings_text(&wrong.iter().collect::<Vec<_>>()).trim_end());
        }
        Ok(plan)
    }

    /// The plan; what is wrong with its splits is said with the name of the protocol that a user gave.
    ///
    /// # Errors
    /// As of [`Plan::make`].
    pub fn plan(&self) -> Result<Plan<'_>> {
        Plan::make(&self.protocol, &self.catalog).map_err(|error| match error {
            Error::Invalid { subject, problem, mend } => {
                Error::Invalid { subject: format!("{}, {subject}", self.origin), problem, mend }
            }
            other => other,
        })
    }
}

/// The images of a protocol; where they are not, it is said where they come from.
///
/// # Errors
/// As of [`Dataset::read`].
fn images(protocol: &Protocol) -> Result<Dataset> {
    let mend = match protocol.name.as_str() {
        "standard" => "make it in the working directory with `ci/fixtures --all digits-garments`",
        "paper" => "get ILSVRC2012 and pack it in the working directory: `selffer data pack DIR ilsvrc2012`",
        "cifar100" => "unpack CIFAR-100's binary version in the working directory",
        _ => "bring the protocol's images there",
    };
    if let Some(dir) = protocol.data.dir()
        && there(dir)?.is_none()
    {
        let job = ASKED.get().is_some_and(|asked| asked.job);
        let told = if job { "submit again with --data DIR" } else { "say with --data DIR where they lie" };
        let mend = format!("{mend}, or {told}");
        return Err(Error::at(dir, "is not there", mend));
    }
    let DataSource::Images(files) = &protocol.data else { return Dataset::read(&protocol.data) };
    let quiet = ASKED.get().is_some_and(|asked| asked.quiet);
    let begun = |images: usize| {
        if images >= MANY && !quiet {
            let dir = files.dir.display();
            say(&format!("decoding the {images} images of {dir}; `selffer data pack` does it once for all"));
        }
    };
    let (data, LeftOut { bad, others }) = folder::read(files, &begun)?;
    if !quiet {
        for bad in &bad {
            say(&format!("left out, as the protocol says: {} {}", bad.name, bad.reason));
        }
        if let Some(others) = others {
            say(&format!("{}: {others}", files.dir.display()));
        }
    }
    Ok(data)
}
