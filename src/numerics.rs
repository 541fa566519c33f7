//! The numerics policy in force: what makes libtorch give the same bits again.
//!
//! Uses `recipe::Policy`, `machine`, `net` (for its probe) and libtorch; used by `train` and the command line, which puts
//! a policy in force before it starts a thread. One of three modules that know libtorch. A policy is put in force before
//! libtorch is first used, then libtorch is asked what it made of it; a policy that does not hold is refused with the
//! reason. What a policy was seen to give on which CPU is in METHODOLOGY.md, and its `fingerprint` shows it anywhere.

mod cuda;
mod driver;
mod fingerprint;
mod memory;
mod readback;
mod variables;

use crate::digest::FingerprintDigest;
use crate::error::{Error, Result};
use crate::machine;
use crate::manifest::{Environment, GPU};
use crate::net;
use crate::recipe::Policy;
pub use driver::Gpu;
use readback::{Cuda, Readback};
use std::cell::Cell;
use std::sync::OnceLock;
use tch::Device;

/// libtorch's version. tch 0.24 is made for this one and refuses to build with another; that it is also
/// the one that was loaded is read back.
pub const LIBTORCH: &str = "2.11.0";

/// The name that ATen gives its kernels for CPUs under a policy; none where it has its choice.
fn kernels(policy: Policy) -> Option<&'static str> {
    match policy {
        Policy::Portable => Some("AVX2"),
        Policy::Baseline => Some("DEFAULT"),
        Policy::Native | Policy::Cuda => None,
    }
}

/// A policy that is in force in this process. Whoever has one may compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numerics {
    policy: Policy,
    libtorch: String,
    // The variables that are set, in capitals, then what was read back from libtorch.
    settings: Vec<(String, String)>,
    gpu: Option<Gpu>,
    // The variables that were not set before.
    set: Vec<&'static str>,
}

/// The policy that this process began with, on which GPU, and how that went.
static IN_FORCE: OnceLock<(Policy, u32, Result<Numerics, String>)> = OnceLock::new();

thread_local! {
    /// Whether the thread has its stream on the GPU.
    static ENTERED: Cell<bool> = const { Cell::new(false) };
}

/// What the probe came to under the policy in force.
static FINGERPRINT: OnceLock<Result<FingerprintDigest, String>> = OnceLock::new();

impl Numerics {
    /// Puts `policy` in force in this process. Call it before any other thread is started and before
    /// libtorch is used: it sets environment variables, which libtorch reads once.
    ///
    /// # Errors
    /// Where the policy cannot be honoured: the CPU lacks what it takes, there is no GPU that it could use, the
    /// user set one of the variables to another value, libtorch was used before or is not the right one, or
    /// this process began with another policy.
    pub fn engage(policy: Policy) -> Result<&'static Self> {
        Self::engage_on(policy, 0)
    }

    /// [`Self::engage`], on the GPU of that ordinal where the policy computes on one.
    ///
    /// # Errors
    /// As there.
    pub fn engage_on(policy: Policy, ordinal: u32) -> Result<&'static Self> {
        let (first, on, outcome) = IN_FORCE.get_or_init(|| (policy, ordinal, begin(policy, ordinal)));
        if (*first, *on) != (policy, ordinal) {
            let on = if *first == Policy::Cuda { format!(" on GPU {on}") } else { String::new() };
            return Err(refused(
                policy,
                format!(
                    "this process began with `{}`{on}, and libtorch decides once in a process; start another",
                    first.name()
                ),
            ));
        }
        outcome.as_ref().map_err(|problem| refused(policy, problem.clone()))
    }

    /// The first GPU of this machine that `cuda` could compute on, as far as can be said before libtorch is used: its
    /// driver knows it, and libtorch's libraries for CUDA are there; none where no GPU is. Asked again, the answer is
    /// the same.
    ///
    /// # Errors
    /// Why those that are there cannot be used, or the driver does not say which are.
    pub fn look_for_gpu() -> Result<Option<&'static Gpu>, String> {
        static LIBRARIES: OnceLock<Result<(), String>> = OnceLock::new();
        let fit = |gpu: &'static Result<Gpu, String>| match gpu {
            Ok(gpu) => unfit(gpu).map_or(Ok(gpu), Err),
            Err(why) => Err(why.clone()),
        };
        let gpus: Vec<_> = driver::gpus()?.unwrap_or_default().iter().map(fit).collect();
        match (gpus.iter().flatten().next(), gpus.first()) {
            (Some(gpu), _) => LIBRARIES.get_or_init(|| cuda::find().map(drop)).clone().map(|()| Some(*gpu)),
            (None, Some(first)) => first.clone().map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The policy.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// What computes.
    pub fn device(&self) -> Device {
        self.gpu.as_ref().map_or(Device::Cpu, |gpu| Device::Cuda(gpu.ordinal as usize))
    }

    /// The GPU that computes, where one does.
    pub fn gpu(&self) -> Option<&Gpu> {
        self.gpu.as_ref()
    }

    /// Bytes of memory that networks in training may take together, at the most. Of a GPU's no more than four tenths: what
    /// a network takes is counted without what pooling and normalisation keep for their gradients, which doubles the
    /// paper's network's activations, and without the workspaces of CUDA's libraries. It is an estimate that no GPU has
    /// confirmed. The machine has to hold as much too.
    pub fn memory_at_hand(&self) -> u64 {
        let gpu = self.gpu.as_ref().map_or(u64::MAX, |gpu| gpu.memory / 10 * 4);
        gpu.min(machine::memory_at_hand())
    }

    /// The variables that a process under another policy, started by this one, is not to inherit: those that this one
    /// set, and those that that one sets. What else the user set, it is to compute with.
    pub fn not_for(&self, policy: Policy) -> impl Iterator<Item = &'static str> {
        self.set.iter().copied().chain(variables::pins(policy).into_iter().map(|(name, _)| name))
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
            let fingerprint = fingerprint::compute(self.device()).map_err(|error| {
                format!("libtorch failed at the fingerprint's probe: {}", net::said(&error))
            })?;
            self.memory_sufficed().map(|()| fingerprint)
        };
        FINGERPRINT.get_or_init(compute).clone().map_err(|problem| refused(self.policy, problem))
    }

    /// That the GPU's memory did not run out in this process. Where cuDNN finds no room for a workspace, libtorch takes
    /// another of its ways, for the rest of the thread and without a word, and the bits are others.
    ///
    /// # Errors
    /// Where it did, with the mend, or nobody counted.
    pub fn memory_sufficed(&self) -> Result<(), String> {
        match self.gpu.as_ref().map(|gpu| readback::ran_out_of_memory(gpu.ordinal)) {
            None | Some(Some(0)) => Ok(()),
            Some(Some(_)) => {
                Err("the GPU ran out of memory and may have computed otherwise; take fewer --jobs".to_owned())
            }
            Some(None) => Err("libtorch does not tell whether the GPU ran out of memory".to_owned()),
        }
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

    /// Prepares the calling thread: one libtorch thread for what it computes on the CPU, a stream of its own on a
    /// GPU. OpenMP keeps the number of threads for each thread apart, so every thread that trains calls it.
    pub fn enter_thread(&self) {
        tch::set_num_threads(1);
        if let Some(gpu) = &self.gpu
            && !ENTERED.replace(true)
        {
            // `begin` had one. Without it a thread computes on the stream and by the backward thread that all share: the
            // same, slower.
            let _ = readback::enter_cuda(gpu.ordinal);
        }
    }

    /// What the calling thread keeps of large tensors' memory for its next ones goes back to the system, and so does what
    /// libtorch keeps of a GPU's, for other processes. To be called where the next ones are others: before a network's
    /// first step, and after its last.
    pub fn release_memory(&self) {
        memory::release();
        if self.gpu.is_some() {
            readback::release_cuda();
        }
    }
}

fn refused(policy: Policy, problem: String) -> Error {
    Error::Numerics { policy: policy.name(), problem }
}

fn begin(policy: Policy, ordinal: u32) -> Result<Numerics, String> {
    if policy == Policy::Portable {
        let lacking = lacking();
        if !lacking.is_empty() {
            return Err(format!(
                "this CPU lacks {} (x86-64-v3); use another machine, or `baseline` numerics",
                lacking.join(", ")
            ));
        }
    }
    memory::keep_small();
    variables::silence();
    let set = variables::pin(policy)?;
    let gpu = match policy {
        Policy::Cuda => Some(driver::gpu(ordinal)?.clone()),
        _ => None,
    };
    if let Some(gpu) = &gpu {
        if let Some(why) = unfit(gpu) {
            return Err(why);
        }
        variables::fit_for_cuda()?;
        cuda::open(&cuda::find()?)?;
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
    memory::keep_large();
    let mut settings = settings(policy, &readback, threads);
    if let Some(gpu) = &gpu {
        settings.extend(begin_cuda(gpu)?);
    }
    Ok(Numerics { policy, settings, libtorch: readback.version, gpu, set })
}

/// Why libtorch's libraries cannot compute on a GPU, as far as its driver tells; none where they can.
fn unfit(gpu: &Gpu) -> Option<String> {
    // The first whose code PyTorch's build for CUDA 13 has: Turing.
    const CAPABILITY: (u32, u32) = (7, 5);
    let parts = |text: &str| -> Option<(u32, u32)> {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let Gpu { name, capability, driver, .. } = gpu;
    if parts(driver)?.0 < parts(cuda::CUDA)?.0 {
        return Some(format!(
            "the driver of the {name} supports CUDA {driver}, and libtorch's libraries take {}; update the driver",
            cuda::CUDA
        ));
    }
    (parts(capability)? < CAPABILITY).then(|| {
        format!(
            "the {name} has compute capability {capability}, and libtorch's libraries have no code below 7.5"
        )
    })
}

/// Has libtorch compute on a GPU as the policy asks, and says what was read back.
fn begin_cuda(gpu: &Gpu) -> Result<Vec<(String, String)>, String> {
    if !tch::Cuda::is_available() {
        return Err(format!(
            "libtorch cannot use the {} here, and has said why above (its driver supports CUDA {}, libtorch's \
             libraries are for {}); mend that, or take --device cpu",
            gpu.name,
            gpu.driver,
            cuda::CUDA
        ));
    }
    if !tch::Cuda::cudnn_is_available() {
        return Err("libtorch does not find cuDNN; install torch anew".to_owned());
    }
    readback::be_deterministic_on_cuda().ok_or("libtorch does not let cuDNN be deterministic")?;
    let told = readback::read_back_cuda().ok_or("libtorch does not tell how it computes on a GPU")?;
    hold_cuda(&told)?;
    readback::enter_cuda(gpu.ordinal).ok_or_else(|| format!("libtorch cannot use GPU {}", gpu.ordinal))?;
    let settings = [
        (GPU, gpu.name.clone()),
        ("compute capability", gpu.capability.clone()),
        ("driver supports CUDA", gpu.driver.clone()),
        ("CUDA runtime", told.runtime),
        ("cuDNN", told.cudnn),
    ];
    Ok(settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Compares what libtorch says of its half for CUDA with what the policy asks for.
fn hold_cuda(told: &Cuda) -> Result<(), String> {
    let problem = match told {
        Cuda { deterministic: false, .. } => "cuDNN does not keep to what is deterministic",
        Cuda { tries: true, .. } => {
            "cuDNN tries which of its ways is fastest, and may take another next time"
        }
        Cuda { less: [true, _], .. } => "convolutions may be computed in less than float32 (TF32)",
        Cuda { less: [_, true], .. } => "matrix products may be computed in less than float32 (TF32)",
        _ => return Ok(()),
    };
    Err(format!("{problem}, though libtorch was told otherwise"))
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
    let Some(capability) = kernels(policy) else { return Ok(()) };
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
fn settings(policy: Policy, readback: &Readback, threads: i32) -> Vec<(String, String)> {
    let told = |value: Option<String>| value.unwrap_or_else(|| "not told".to_owned());
    let read = [
        ("kernels", readback.capability.clone()),
        ("mkl branch", told(readback.mkl_branch.clone())),
        ("mkl dynamic", told(readback.mkl_dynamic.map(|dynamic| dynamic.to_string()))),
        ("deterministic", readback.deterministic.to_string()),
        ("threads", threads.to_string()),
    ];
    let read = read.into_iter().map(|(name, value)| (name.to_owned(), value));
    variables::recorded(policy).chain(read).collect()
}

#[cfg(test)]
mod tests;
