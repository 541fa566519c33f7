//! The numerics policy in force: what makes libtorch give the same bits again.
//!
//! Uses `recipe::Policy` and libtorch; used by `main` (first of all) and by `train`. One of three
//! modules that know libtorch. `portable` was seen to give the same bits on different x86-64-v3
//! CPUs; it takes four environment variables that libtorch and its parts read at their first use,
//! and one thread for each run.

use crate::error::{Error, Result};
use crate::recipe::Policy;
use std::env;
use std::sync::OnceLock;

/// libtorch's version. tch 0.24 is made for this one and refuses to build with another.
pub const LIBTORCH: &str = "2.11.0";

/// What `portable` sets.
const PORTABLE: [(&str, &str); 4] = [
    // ATen's own kernels: the AVX2 ones, also where the CPU has AVX-512.
    ("ATEN_CPU_CAPABILITY", "avx2"),
    // oneDNN's convolutions: likewise.
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
    // MKL's matrix products: the one code path that Intel's and other CPUs share. `AVX2` would mean
    // AUTO on a CPU that is not Intel's.
    ("MKL_CBWR", "COMPATIBLE"),
    // MKL decides nothing about threads by itself.
    ("MKL_DYNAMIC", "FALSE"),
];

/// A policy that is in force in this process. Whoever has one may compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numerics {
    policy: Policy,
    settings: Vec<(String, String)>,
}

static IN_FORCE: OnceLock<Result<Numerics, String>> = OnceLock::new();

impl Numerics {
    /// Puts `policy` in force in this process. Call it before any other thread is started and before
    /// libtorch is used: it sets environment variables.
    ///
    /// # Errors
    /// Where the CPU lacks AVX2 or FMA, or the user set one of the variables to another value.
    pub fn engage(policy: Policy) -> Result<&'static Self> {
        let Policy::Portable = policy;
        IN_FORCE
            .get_or_init(engage_portable)
            .as_ref()
            .map_err(|problem| Error::Numerics { policy: policy.name(), problem: problem.clone() })
    }

    /// The policy.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// What was set, and read back: name and value.
    pub fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// Prepares the calling thread: one libtorch thread for what it computes. OpenMP keeps this
    /// number for each thread apart, so every thread that trains calls it.
    pub fn enter_thread(&self) {
        tch::set_num_threads(1);
    }
}

fn engage_portable() -> Result<Numerics, String> {
    if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
        return Err("this CPU lacks AVX2 or FMA (x86-64-v3); use another machine".to_owned());
    }
    for (name, value) in PORTABLE {
        match env::var_os(name) {
            None => set(name, value),
            Some(found) if found == value => {}
            Some(found) => {
                let found = found.to_string_lossy();
                return Err(format!(
                    "the environment has {name}={found}, and it takes {value}; unset {name}"
                ));
            }
        }
    }
    tch::set_num_threads(1);
    let threads = tch::get_num_threads();
    if threads != 1 {
        return Err(format!(
            "libtorch insists on {threads} threads a run, and it takes 1; unset OMP_NUM_THREADS"
        ));
    }
    let mut settings: Vec<(String, String)> =
        PORTABLE.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    settings.push(("threads".to_owned(), threads.to_string()));
    Ok(Numerics { policy: Policy::Portable, settings })
}

#[allow(unsafe_code)]
fn set(name: &str, value: &str) {
    // SAFETY: setting a variable while another thread reads the environment is undefined. `engage` is
    // documented to come before any other thread, and runs this once a process.
    unsafe { env::set_var(name, value) }
}
