//! What this machine is and has: the processor's name, and the memory that is at hand.
//!
//! Uses nothing of this crate; used by `numerics` (for manifests, and before training), `data::folder` and `submit`.

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
