//! The environment variables that libtorch and its parts read: which a policy sets, which it refuses, which are recorded.
//!
//! Used by `numerics`. Each is read once in a process, at its first use, so all of this comes before libtorch's.

use crate::recipe::Policy;
use std::env;

/// Those that decide on libtorch's code paths.
pub(super) const VARIABLES: [&str; 6] = [
    // ATen's own kernels.
    "ATEN_CPU_CAPABILITY",
    // oneDNN's convolutions.
    "ONEDNN_MAX_CPU_ISA",
    // MKL's matrix products.
    "MKL_CBWR",
    // Whether MKL decides about threads by itself.
    "MKL_DYNAMIC",
    // cuBLAS's scratch memory: with less, it may sum in another order from time to time.
    "CUBLAS_WORKSPACE_CONFIG",
    // Whether cuBLASLt has products with a bias: where it fails, libtorch goes on by cuBLAS with no more than a warning.
    "DISABLE_ADDMM_CUDA_LT",
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

/// The same where a GPU computes; where none does they say nothing.
pub(super) const OTHERS_OF_CUDA: [&str; 13] = [
    "CUDA_VISIBLE_DEVICES",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "CUBLAS_EMULATION_STRATEGY",
    "CUBLASLT_HEURISTICS_LUT_FILE",
    "CUDNN_ERRATA_JSON_FILE",
    "NVIDIA_TF32_OVERRIDE",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "CUDA_LAUNCH_BLOCKING",
    "CUBLASLT_WORKSPACE_SIZE",
    "TORCH_CUBLASLT_UNIFIED_WORKSPACE",
    "TORCH_CUDNN_V8_API_DISABLED",
    "TORCH_CUDNN_USE_HEURISTIC_MODE_B",
];

/// Variables that a GPU is not to compute with, unless they are 0, and why.
const AGAINST_CUDA: [(&str, &str); 3] = [
    ("NVIDIA_TF32_OVERRIDE", "may have a GPU compute in less than float32"),
    ("CUBLAS_EMULATE_SINGLE_PRECISION", "may have a GPU compute products otherwise than in float32"),
    ("PYTORCH_TUNABLEOP_ENABLED", "has libtorch take whichever product is the fastest just then"),
];

/// Variables by which a user chooses what hands out a GPU's memory.
const ALLOCATORS: [&str; 2] = ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"];

/// Variables that make libtorch's parts write to standard output, which holds results alone.
const TALKATIVE: [&str; 8] = [
    "ONEDNN_VERBOSE",
    "DNNL_VERBOSE",
    "MKLDNN_VERBOSE",
    "MKL_VERBOSE",
    "CUBLAS_LOGDEST_DBG",
    "CUBLASLT_LOG_LEVEL",
    "CUBLASLT_LOG_MASK",
    "CUDNN_LOGDEST_DBG",
];

/// What a policy sets which of [`VARIABLES`] to; nothing where it leaves libtorch its choice. `COMPATIBLE` is MKL's one
/// code path that Intel's and other CPUs share: `AVX2` would mean AUTO on a CPU that is not Intel's.
pub(super) fn pins(policy: Policy) -> Vec<(&'static str, &'static str)> {
    let values: &[&'static str] = match policy {
        Policy::Portable => &["avx2", "AVX2", "COMPATIBLE", "FALSE"],
        Policy::Baseline => &["default", "SSE41", "COMPATIBLE", "FALSE"],
        Policy::Native => &[],
        Policy::Cuda => {
            return vec![("CUBLAS_WORKSPACE_CONFIG", ":4096:8"), ("DISABLE_ADDMM_CUDA_LT", "1")];
        }
    };
    VARIABLES.into_iter().zip(values.iter().copied()).collect()
}

/// Keeps libtorch's parts from writing to standard output.
pub(super) fn silence() {
    TALKATIVE.into_iter().filter(|name| env::var_os(name).is_some()).for_each(unset);
}

/// Sets a policy's variables, none of them where the user has set one to something else, and says which were not set before.
pub(super) fn pin(policy: Policy) -> Result<Vec<&'static str>, String> {
    let pairs = pins(policy);
    let mut ours = Vec::new();
    for &(name, value) in &pairs {
        if let Some(found) = env::var_os(name).filter(|found| found != value) {
            let found = found.to_string_lossy();
            return Err(format!("the environment has {name}={found}, and it takes {value}; unset {name}"));
        }
    }
    for (name, value) in pairs {
        if env::var_os(name).is_none() {
            set(name, value);
            ours.push(name);
        }
    }
    Ok(ours)
}

/// That the user has not set what a GPU is not to compute with.
pub(super) fn fit_for_cuda() -> Result<(), String> {
    for (name, does) in AGAINST_CUDA {
        if let Some(value) = env::var_os(name).filter(|value| value != "0") {
            let value = value.to_string_lossy();
            return Err(format!("the environment has {name}={value}, which {does}; unset {name}"));
        }
    }
    for name in ALLOCATORS {
        if let Some(value) = env::var(name).ok().filter(|value| value.contains("cudaMallocAsync")) {
            return Err(format!(
                "the environment has {name}={value}, which was not seen to count where a GPU's memory runs out; \
                 unset {name}"
            ));
        }
    }
    Ok(())
}

/// Those that are set of what a manifest records: the policies' own, then what else may change how it computes.
pub(super) fn recorded(policy: Policy) -> impl Iterator<Item = (String, String)> {
    let (pinned, others): (&[&str], &[&str]) = match policy {
        Policy::Cuda => (&VARIABLES, &OTHERS_OF_CUDA),
        _ => (&VARIABLES[..4], &OTHERS),
    };
    let set = |name: &&str| Some(((*name).to_owned(), env::var_os(name)?.to_string_lossy().into_owned()));
    pinned.iter().chain(others).filter_map(set)
}

#[allow(unsafe_code)]
fn set(name: &str, value: &str) {
    // SAFETY: setting a variable while another thread reads the environment is undefined. `Numerics::engage`
    // is documented to come before any other thread, and runs this once a process.
    unsafe { env::set_var(name, value) }
}

#[allow(unsafe_code)]
fn unset(name: &str) {
    // SAFETY: as for `set`.
    unsafe { env::remove_var(name) }
}
