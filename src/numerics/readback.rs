//! Asks libtorch, at run time, how it computes: what a policy asked for is compared with that.
//!
//! Uses `readback.cpp`; used by `numerics` alone. ATen's kernels, MKL's branch and libtorch's version
//! can be asked for. oneDNN's kernels cannot: libtorch hides them. It reads its variable at its first
//! use, as ATen does; the fingerprint is of what it then computed.

use std::ffi::CStr;

/// As `readback.cpp` has it.
#[repr(C)]
#[derive(Default)]
struct Raw {
    version: u64,
    mkl_branch: i32,
    mkl_dynamic: i32,
    deterministic: i32,
    capability: [u8; 20],
}

/// As `readback.cpp` has it.
#[repr(C)]
#[derive(Default)]
struct RawCuda {
    cudart: i64,
    cudnn: i64,
    cudnn_deterministic: i32,
    cudnn_benchmark: i32,
    tf32_convolution: i32,
    tf32_product: i32,
}

#[allow(unsafe_code)]
unsafe extern "C" {
    fn selffer_be_deterministic() -> i32;
    fn selffer_read_back(raw: *mut Raw) -> i32;
    fn selffer_be_deterministic_on_cuda() -> i32;
    fn selffer_read_back_cuda(raw: *mut RawCuda) -> i32;
    fn selffer_enter_cuda(ordinal: i32) -> i32;
    fn selffer_ran_out_of_memory(ordinal: i32) -> i64;
    fn selffer_release_cuda();
}

/// What libtorch says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Readback {
    /// The version of the libtorch that is loaded, as `2.11.0`.
    pub version: String,
    /// The instruction set of ATen's kernels: `DEFAULT`, `AVX2`, `AVX512`.
    pub capability: String,
    /// MKL's branch, in the words of `MKL_CBWR`; none where this libtorch does not tell.
    pub mkl_branch: Option<String>,
    /// Whether MKL chooses numbers of threads; none where this libtorch does not tell.
    pub mkl_dynamic: Option<bool>,
    /// Whether operations that are not deterministic are refused.
    pub deterministic: bool,
}

/// Makes libtorch refuse operations that may give other bits each time. Whether it does is read back.
#[allow(unsafe_code)]
pub(super) fn be_deterministic() -> Option<()> {
    // SAFETY: it takes nothing, and catches what C++ throws.
    (unsafe { selffer_be_deterministic() } == 1).then_some(())
}

/// What libtorch says of itself now. It decides on its kernels here at the latest.
#[allow(unsafe_code)]
pub(super) fn read_back() -> Option<Readback> {
    let mut raw = Raw::default();
    // SAFETY: `raw` is of the layout that is written, and what C++ throws is caught.
    if unsafe { selffer_read_back(&raw mut raw) } != 1 {
        return None;
    }
    let capability = CStr::from_bytes_until_nul(&raw.capability).ok()?.to_str().ok()?.to_owned();
    let [major, minor, patch, ..] = raw.version.to_be_bytes();
    Some(Readback {
        version: format!("{major}.{minor}.{patch}"),
        capability,
        mkl_branch: branch(raw.mkl_branch),
        mkl_dynamic: (raw.mkl_dynamic >= 0).then_some(raw.mkl_dynamic != 0),
        deterministic: raw.deterministic != 0,
    })
}

/// What libtorch says of its half for CUDA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cuda {
    /// The version of CUDA's runtime, as `13.0`.
    pub runtime: String,
    /// The version of cuDNN, as `9.19.0`.
    pub cudnn: String,
    /// Whether cuDNN takes only what is deterministic.
    pub deterministic: bool,
    /// Whether cuDNN tries which of its ways is fastest, and may try another next time.
    pub tries: bool,
    /// Whether convolutions, and matrix products, may be computed in less than float32.
    pub less: [bool; 2],
}

/// Has cuDNN and cuBLAS compute in float32 alone, and in one way alone. Whether they do is read back.
#[allow(unsafe_code)]
pub(super) fn be_deterministic_on_cuda() -> Option<()> {
    // SAFETY: it takes nothing, and catches what C++ throws.
    (unsafe { selffer_be_deterministic_on_cuda() } == 1).then_some(())
}

/// What libtorch says of its half for CUDA now; without one, of how it would compute.
#[allow(unsafe_code)]
pub(super) fn read_back_cuda() -> Option<Cuda> {
    let mut raw = RawCuda::default();
    // SAFETY: `raw` is of the layout that is written, and what C++ throws is caught.
    if unsafe { selffer_read_back_cuda(&raw mut raw) } != 1 {
        return None;
    }
    Some(Cuda {
        runtime: format!("{}.{}", raw.cudart / 1000, raw.cudart % 1000 / 10),
        cudnn: format!("{}.{}.{}", raw.cudnn / 10_000, raw.cudnn % 10_000 / 100, raw.cudnn % 100),
        deterministic: raw.cudnn_deterministic != 0,
        tries: raw.cudnn_benchmark != 0,
        less: [raw.tf32_convolution, raw.tf32_product].map(|allowed| allowed != 0),
    })
}

/// Gives the calling thread a stream of its own on a GPU.
#[allow(unsafe_code)]
pub(super) fn enter_cuda(ordinal: u32) -> Option<()> {
    // SAFETY: it takes a number, and catches what C++ throws, a GPU that is not there included.
    (unsafe { selffer_enter_cuda(i32::try_from(ordinal).ok()?) } == 1).then_some(())
}

/// How often a GPU's memory ran out for this process, the times included that libtorch said nothing of; none where
/// nobody counts.
#[allow(unsafe_code)]
pub(super) fn ran_out_of_memory(ordinal: u32) -> Option<u64> {
    // SAFETY: it takes a number, and catches what C++ throws, a count that is not there included.
    u64::try_from(unsafe { selffer_ran_out_of_memory(i32::try_from(ordinal).ok()?) }).ok()
}

/// What libtorch keeps of GPUs' memory for later goes back to their driver.
#[allow(unsafe_code)]
pub(super) fn release_cuda() {
    // SAFETY: it takes nothing, catches what C++ throws, and has the allocator's own lock.
    unsafe { selffer_release_cuda() }
}

/// The name of a branch, from MKL's `mkl_types.h`.
fn branch(code: i32) -> Option<String> {
    Some(match code {
        -1 => return None,
        1 => "OFF".to_owned(),
        2 => "AUTO".to_owned(),
        3 => "COMPATIBLE".to_owned(),
        other => format!("branch {other}"),
    })
}
