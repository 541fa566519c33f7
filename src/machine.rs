//! What this machine is and has: the processor's name, and the memory that is at hand; and that it is kept between steps.
//!
//! Uses nothing of this crate; used by `numerics` (for manifests, and before it computes) and the command line (before
//! training).

use rustix::process::{Resource, getrlimit};
use sysinfo::{MemoryRefreshKind, System};

/// The processor's name, as the system gives it.
pub fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

/// Bytes of memory that this process may take at the most: what is available on the machine, and no
/// more than its container and `ulimit -v` allow.
pub fn memory_at_hand() -> u64 {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    // Its free memory would count cached files as taken.
    let container = system.cgroup_limits().map(|limits| limits.total_memory);
    let limit = getrlimit(Resource::As).current;
    [container, limit].into_iter().flatten().fold(system.available_memory(), u64::min)
}

/// Has the C library keep memory that a step of training gave back for the next, where the user's variables say nothing of
/// it: otherwise each step has the system hand out and clear most of its pages again. No bit depends on it.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
pub fn keep_memory() {
    // What is free at a heap's end is given back from the first on; what is larger than the second is the system's
    // alone, and given back at once.
    let thresholds = [(libc::M_TRIM_THRESHOLD, 256 << 20), (libc::M_MMAP_THRESHOLD, 32 << 20)];
    let theirs = ["GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"];
    if theirs.iter().all(|name| std::env::var_os(name).is_none()) {
        for (parameter, value) in thresholds {
            // SAFETY: it takes numbers, and a lock of its own. Where it refuses, memory is given back as before.
            unsafe { libc::mallopt(parameter, value) };
        }
    }
}

/// Other C libraries keep memory as they will.
#[cfg(not(target_env = "gnu"))]
pub fn keep_memory() {}
