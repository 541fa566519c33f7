//! What a thread keeps of its large tensors' memory, in a process of its own, as all of its memory is looked at.

use selffer::numerics::Numerics;
use selffer::recipe::Policy;
use tch::{Device, Kind, Tensor};

const MIB: i64 = 1 << 20;

fn tensor(mib: i64) -> Tensor {
    Tensor::ones([mib * MIB / 4], (Kind::Float, Device::Cpu))
}

/// MiB of this process that are in memory now.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells it");
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<i64>().ok()).expect("a number") / 1024
}

// One test, in a process of its own.
#[test]
fn large_tensors_memory_is_kept_until_a_network_is_done() {
    let numerics = Numerics::engage(Policy::Native).expect("any CPU can");
    let before = resident();
    let first = tensor(64);
    let place = first.data_ptr();
    drop(first);
    let kept = resident();
    assert!(kept - before > 48, "{before} and {kept}");
    let second = tensor(64);
    assert_eq!((second.data_ptr(), place as usize % 64), (place, 0));
    drop(second);
    // Of another size, and then no more than a quarter above what was there at once.
    drop(tensor(32));
    drop(tensor(48));
    assert!(resident() - before < 64 + 64 / 4 + 8, "{before} and {}", resident());

    numerics.release_memory();
    assert!(resident() - before < 8, "{before} and {}", resident());

    // So does a thread's end, and what one thread made another may give back.
    let made = std::thread::spawn(|| {
        drop(tensor(80));
        tensor(64)
    });
    let made = made.join().expect("no panic");
    assert!(resident() - before < 64 + 8, "{before} and {}", resident());
    drop(made);
    numerics.release_memory();
    assert!(resident() - before < 8, "{before} and {}", resident());
}
