//! What this machine is and has: the processor's name, and the memory that is at hand.
//!
//! Uses nothing of this crate; used by `numerics` (for manifests, and before training), `data::folder` and `submit`.

use rustix::process::{Resource, getrlimit};
use std::fs;
use std::path::Path;
use sysinfo::{MemoryRefreshKind, System};

/// The processor's name, as the system gives it.
pub fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

/// Bytes of memory that this process may take at the most: what is available on the machine, and no
/// more than its control groups (a container's, a Slurm job's) and `ulimit -v` allow.
pub fn memory_at_hand() -> u64 {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    // What is free in a group would count cached files as taken.
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = groups_allow(&groups, Path::new("/sys/fs/cgroup"));
    let limit = getrlimit(Resource::As).current;
    [groups, limit].into_iter().flatten().fold(system.available_memory(), u64::min)
}

/// The least that a process's control groups and those around them allow, where the system says that it is in `groups` and
/// their files lie below `root`; none where none says.
fn groups_allow(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let path = path.trim_start_matches('/');
        let (top, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            some if some.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // A group that is not limited says `max`; one that is seen from outside has no file here.
        let limit = |group: &Path| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
        top.join(path).ancestors().take_while(|group| group.starts_with(&top)).filter_map(limit).min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_group_counts() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let put = |path: &str, text: &str| {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), text).unwrap();
        };
        put("memory.max", "7\n");
        assert_eq!(groups_allow("0::/slurm/job_7/step_0\n", &root.join("other")), None);
        assert_eq!(groups_allow("0::/slurm/job_7/step_0\n", root), Some(7), "as a container sees itself");
        put("memory.max", "max\n");
        assert_eq!(groups_allow("0::/\n", root), None);
        put("slurm/job_7/memory.max", "16000\n");
        put("slurm/job_7/step_0/memory.max", "max\n");
        put("slurm/memory.max", "64000\n");
        assert_eq!(groups_allow("0::/slurm/job_7/step_0\n", root), Some(16_000));
        assert_eq!(groups_allow("0::/slurm\n", root), Some(64_000));
        // The first version of control groups, beside the second.
        put("memory/slurm/job_7/memory.limit_in_bytes", "12000\n");
        put("memory/memory.limit_in_bytes", "9223372036854771712\n");
        let both = "5:cpu,cpuacct:/x\n4:memory:/slurm/job_7\n0::/slurm/job_7\n";
        assert_eq!(groups_allow(both, root), Some(12_000));
        assert_eq!(groups_allow("4:memory:/elsewhere\n", root), Some(9_223_372_036_854_771_712));
    }
}
