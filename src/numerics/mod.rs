//! The numerics policy in force: what makes libtorch give the same bits again.
//!
//! Uses `recipe::Policy` and libtorch; used by `main` (first of all) and by `train`. One of three
//! modules that know libtorch. A policy is put in force before libtorch is first used, then libtorch is
//! asked what it made of it; a policy that does not hold is refused with the reason. What a policy was
//! seen to give on which CPU is in METHODOLOGY.md, and its `fingerprint` shows it anywhere.

mod fingerprint;
mod readback;

use crate::digest::FingerprintDigest;
use crate::error::{Error, Result};
use crate::machine;
use crate::manifest::Environment;
use crate::recipe::Policy;
use readback::Readback;
use std::env;
use std::sync::OnceLock;

/// libtorch's version. tch 0.24 is made for this one and refuses to build with another; that it is also
/// the one that was loaded is read back.
pub const LIBTORCH: &str = "2.11.0";

/// The environment variables that decide on libtorch's code paths. It and its parts read each at their
/// first use and never again.
pub const VARIABLES: [&str; 4] = [
    // ATen's own kernels.
    "ATEN_CPU_CAPABILITY",
    // oneDNN's convolutions.
    "ONEDNN_MAX_CPU_ISA",
    // MKL's matrix products.
    "MKL_CBWR",
    // Whether MKL decides about threads by itself.
    "MKL_DYNAMIC",
];

/// Variables that a policy neither sets nor forbids, and that may change what `native` computes. Those that are
/// set are recorded.
const OTHERS: [&str; 5] = [
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_CPU_ISA_HINTS",
    "DNNL_CPU_ISA_HINTS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
];

/// Variables that make libtorch's parts write to standard output, which holds results alone.
const TALKATIVE: [&str; 4] = ["ONEDNN_VERBOSE", "DNNL_VERBOSE", "MKLDNN_VERBOSE", "MKL_VERBOSE"];

/// What a policy sets [`VARIABLES`] to, and the name that ATen then gives its kernels; none where it
/// leaves libtorch its choice. `COMPATIBLE` is MKL's one code path that Intel's and other CPUs share:
/// `AVX2` would mean AUTO on a CPU that is not Intel's.
fn pins(policy: Policy) -> Option<([&'static str; 4], &'static str)> {
    match policy {
        Policy::Portable => Some((["avx2", "AVX2", "COMPATIBLE", "FALSE"], "AVX2")),
        Policy::Baseline => Some((["default", "SSE41", "COMPATIBLE", "FALSE"], "DEFAULT")),
        Policy::Native => None,
    }
}

/// A policy that is in force in this process. Whoever has one may compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numerics {
    policy: Policy,
    libtorch: String,
    settings: Vec<(String, String)>,
}

/// The policy that this process began with, and how that went.
static IN_FORCE: OnceLock<(Policy, Result<Numerics, String>)> = OnceLock::new();

/// What the probe came to under the policy in force.
static FINGERPRINT: OnceLock<Result<FingerprintDigest, String>> = OnceLock::new();

impl Numerics {
    /// Puts `policy` in force in this process. Call it before any other thread is started and before
    /// libtorch is used: it sets environment variables, which libtorch reads once.
    ///
    /// # Errors
    /// Where the policy cannot be honoured: the CPU lacks what it takes, the user set one of the
    /// variables to another value, libtorch was used before or is not the right one, or this process
    /// began with another policy.
    pub fn engage(policy: Policy) -> Result<&'static Self> {
        let (first, outcome) = IN_FORCE.get_or_init(|| (policy, begin(policy)));
        if *first != policy {
            return Err(refused(
                policy,
                format!(
                    "this process began with `{}`, and libtorch decides once in a process; start another",
                    first.name()
                ),
            ));
        }
        outcome.as_ref().map_err(|problem| refused(policy, problem.clone()))
    }

    /// The policy.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// The version of the libtorch that is loaded.
    pub fn libtorch(&self) -> &str {
        &self.libtorch
    }

    /// What is in force, name and value: the variables that are set, in capitals, then what was read
    /// back from libtorch.
    pub fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// What libtorch computes a fixed probe to under this policy. Where two machines have the same, they
    /// may be expected to train the same bits; where they have not, they do not. It is computed once in
    /// a process, at the first call.
    ///
    /// # Errors
    /// Where libtorch fails, most often for want of memory.
    pub fn fingerprint(&self) -> Result<FingerprintDigest> {
        let compute = || {
            self.enter_thread();
            fingerprint::compute().map_err(|error| {
                let text = error.to_string();
                format!("libtorch failed at the fingerprint's probe: {}", text.lines().next().unwrap_or(""))
            })
        };
        FINGERPRINT.get_or_init(compute).clone().map_err(|problem| refused(self.policy, problem))
    }

    /// Where and with what is computed in this process, for the record.
    ///
    /// # Errors
    /// As [`Self::fingerprint`].
    pub fn environment(&self) -> Result<Environment> {
        Ok(Environment {
            selffer: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch: self.libtorch.clone(),
            cpu: machine::cpu_name(),
            settings: self.settings.clone(),
            fingerprint: self.fingerprint()?,
        })
    }

    /// Prepares the calling thread: one libtorch thread for what it computes. OpenMP keeps this
    /// number for each thread apart, so every thread that trains calls it.
    pub fn enter_thread(&self) {
        tch::set_num_threads(1);
    }
}

fn refused(policy: Policy, problem: String) -> Error {
    Error::Numerics { policy: policy.name(), problem }
}

fn begin(policy: Policy) -> Result<Numerics, String> {
    if policy == Policy::Portable {
        let lacking = lacking();
        if !lacking.is_empty() {
            return Err(format!(
                "this CPU lacks {} (x86-64-v3); use another machine, or `baseline` numerics",
                lacking.join(", ")
            ));
        }
    }
    TALKATIVE.into_iter().filter(|name| env::var_os(name).is_some()).for_each(unset);
    if let Some((values, _)) = pins(policy) {
        pin(values)?;
    }
    // The first call of libtorch.
    readback::be_deterministic().ok_or("libtorch does not let its operations be deterministic")?;
    tch::set_num_threads(1);
    let readback = readback::read_back().ok_or("libtorch does not tell how it computes")?;
    let threads = tch::get_num_threads();
    if threads != 1 {
        return Err(format!(
            "libtorch insists on {threads} threads a run, and it takes 1; unset OMP_NUM_THREADS"
        ));
    }
    hold(policy, &readback)?;
    Ok(Numerics { policy, settings: settings(&readback, threads), libtorch: readback.version })
}

/// What of x86-64-v3 this CPU lacks.
fn lacking() -> Vec<&'static str> {
    let features = [
        ("AVX", is_x86_feature_detected!("avx")),
        ("AVX2", is_x86_feature_detected!("avx2")),
        ("BMI1", is_x86_feature_detected!("bmi1")),
        ("BMI2", is_x86_feature_detected!("bmi2")),
        ("F16C", is_x86_feature_detected!("f16c")),
        ("FMA", is_x86_feature_detected!("fma")),
        ("LZCNT", is_x86_feature_detected!("lzcnt")),
        ("MOVBE", is_x86_feature_detected!("movbe")),
    ];
    features.into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect()
}

/// Sets the variables, none of them where the user has set one to something else.
fn pin(values: [&'static str; 4]) -> Result<(), String> {
    let pairs = VARIABLES.into_iter().zip(values);
    for (name, value) in pairs.clone() {
        if let Some(found) = env::var_os(name).filter(|found| found != value) {
            let found = found.to_string_lossy();
            return Err(format!("the environment has {name}={found}, and it takes {value}; unset {name}"));
        }
    }
    for (name, value) in pairs {
        if env::var_os(name).is_none() {
            set(name, value);
        }
    }
    Ok(())
}

#[allow(unsafe_code)]
fn set(name: &str, value: &str) {
    // SAFETY: setting a variable while another thread reads the environment is undefined. `engage` is
    // documented to come before any other thread, and runs this once a process.
    unsafe { env::set_var(name, value) }
}

#[allow(unsafe_code)]
fn unset(name: &str) {
    // SAFETY: as for `set`.
    unsafe { env::remove_var(name) }
}

/// Compares what libtorch says with what the policy asked for.
fn hold(policy: Policy, readback: &Readback) -> Result<(), String> {
    if readback.version != LIBTORCH {
        return Err(format!(
            "the libtorch that was loaded is {}, and it takes {LIBTORCH}; unset LD_LIBRARY_PATH, or build again",
            readback.version
        ));
    }
    if !readback.deterministic {
        return Err("libtorch does not refuse operations that are not deterministic".to_owned());
    }
    let Some((_, capability)) = pins(policy) else { return Ok(()) };
    // A variable that is set after libtorch has read it changes nothing: this is where it shows.
    if readback.capability != capability {
        return Err(format!(
            "libtorch chose its {} kernels before, and it takes {capability}; start another process",
            readback.capability
        ));
    }
    if readback.mkl_branch.as_deref().is_some_and(|branch| branch != "COMPATIBLE") {
        return Err(format!(
            "MKL computes on its branch {}, and it takes COMPATIBLE; start another process",
            readback.mkl_branch.as_deref().unwrap_or_default()
        ));
    }
    Ok(())
}

/// What a manifest records.
fn settings(readback: &Readback, threads: i32) -> Vec<(String, String)> {
    let set = |name: &str| Some((name.to_owned(), env::var_os(name)?.to_string_lossy().into_owned()));
    let told = |value: Option<String>| value.unwrap_or_else(|| "not told".to_owned());
    let read = [
        ("kernels", readback.capability.clone()),
        ("mkl branch", told(readback.mkl_branch.clone())),
        ("mkl dynamic", told(readback.mkl_dynamic.map(|dynamic| dynamic.to_string()))),
        ("deterministic", readback.deterministic.to_string()),
        ("threads", threads.to_string()),
    ];
    let read = read.into_iter().map(|(name, value)| (name.to_owned(), value));
    VARIABLES.into_iter().chain(OTHERS).filter_map(set).chain(read).collect()
}

#[cfg(test)]
mod tests;
