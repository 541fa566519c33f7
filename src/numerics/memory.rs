//! Has the memory of a step of training kept for the next: otherwise each has the system hand out and clear most of its
//! pages again. No bit depends on it.
//!
//! Uses `memory.cpp`; used by `numerics` alone. The C library keeps what is small, `memory.cpp` the large tensors.

#[allow(unsafe_code)]
unsafe extern "C" {
    fn selffer_keep_memory();
    fn selffer_release_memory();
}

/// From now on the memory of large tensors is kept. To be called before any other thread.
#[allow(unsafe_code)]
pub(super) fn keep_large() {
    // SAFETY: it takes nothing and throws nothing; `engage`, which calls it, is documented to come before other threads.
    unsafe { selffer_keep_memory() }
}

/// What the calling thread keeps of its large tensors goes back to the system.
#[allow(unsafe_code)]
pub(super) fn release() {
    // SAFETY: it takes nothing and throws nothing, and what it changes is the thread's own.
    unsafe { selffer_release_memory() }
}

/// Has the C library, which is glibc where libtorch runs, keep what is below large tensors' size, where the user's
/// variables say nothing of it.
#[allow(unsafe_code)]
pub(super) fn keep_small() {
    // What is free at a heap's end is given back from the first on; what is larger than the second, which cannot be set
    // higher, is the system's alone, and given back at once.
    let thresholds = [(libc::M_TRIM_THRESHOLD, 256 << 20), (libc::M_MMAP_THRESHOLD, 32 << 20)];
    let theirs = ["GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"];
    if theirs.iter().all(|name| std::env::var_os(name).is_none()) {
        for (parameter, value) in thresholds {
            // SAFETY: it takes numbers, and a lock of its own. Where it refuses, memory is given back as before.
            unsafe { libc::mallopt(parameter, value) };
        }
    }
}
