use super::variables::{OTHERS_OF_CUDA, VARIABLES, pin, pins};
use super::*;
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

fn portable() -> &'static Numerics {
    Numerics::engage(Policy::Portable).expect("a CPU that can")
}

/// What would be in force on a GPU of so many bytes.
fn on_a_gpu(memory: u64) -> Numerics {
    let [name, capability, driver] = ["G", "9.0", "13.0"].map(str::to_owned);
    Numerics { gpu: Some(Gpu { ordinal: 0, name, capability, memory, driver }), ..portable().clone() }
}

#[test]
fn another_policy_in_the_same_process_is_refused() {
    let first = portable();
    assert_eq!(first.policy(), Policy::Portable);
    for policy in [Policy::Native, Policy::Baseline] {
        let said = format!(
            "cannot compute with `{}` numerics: this process began with `portable`, and libtorch decides once in \
             a process; start another",
            policy.name()
        );
        assert_eq!(Numerics::engage(policy).unwrap_err().to_string(), said);
    }
    assert_eq!(portable(), first, "the first stays in force");
}

#[test]
fn what_is_in_force_is_set_and_read_back() {
    let settings = &portable().settings;
    let pins = pins(Policy::Portable);
    assert_eq!(pins.len(), 4);
    let (variables, read) = settings.split_at(pins.len());
    for ((name, value), expected) in variables.iter().zip(pins) {
        assert_eq!((name.as_str(), value.as_str()), expected);
        assert_eq!(std::env::var(name).as_ref(), Ok(value));
    }
    let value = |name: &str| read.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(value("kernels"), Some("AVX2"));
    assert_eq!([value("deterministic"), value("threads")], [Some("true"), Some("1")]);
    assert!([Some("COMPATIBLE"), Some("not told")].contains(&value("mkl branch")), "{read:?}");
    assert_eq!(portable().libtorch, LIBTORCH);
}

/// A process under another policy gets what the user set, and nothing of what this one set.
#[test]
fn another_process_inherits_what_the_user_set() {
    let mine = Numerics { set: vec!["MKL_CBWR"], ..portable().clone() };
    assert_eq!(mine.not_for(Policy::Native).collect::<Vec<_>>(), ["MKL_CBWR"]);
    let baseline: Vec<_> = mine.not_for(Policy::Baseline).collect();
    assert!(pins(Policy::Baseline).iter().all(|(name, _)| baseline.contains(name)), "it sets them itself");
    assert_eq!(pin(Policy::Portable), Ok(vec![]), "what is set is not set anew");
}

#[test]
fn what_libtorch_says_is_held_against_the_policy() {
    let good = Readback {
        version: LIBTORCH.to_owned(),
        capability: "AVX2".to_owned(),
        mkl_branch: Some("COMPATIBLE".to_owned()),
        mkl_dynamic: Some(false),
        deterministic: true,
    };
    assert_eq!(hold(Policy::Portable, &good), Ok(()));
    // A build of libtorch that does not tell MKL's branch is not one that computes on another.
    assert_eq!(hold(Policy::Portable, &Readback { mkl_branch: None, ..good.clone() }), Ok(()));
    let other = |text: &str| text.to_owned();
    let cases = [
        (Policy::Portable, Readback { version: other("2.10.0"), ..good.clone() }, "loaded is 2.10.0"),
        (Policy::Native, Readback { version: other("2.11.1"), ..good.clone() }, "loaded is 2.11.1"),
        (Policy::Native, Readback { deterministic: false, ..good.clone() }, "not deterministic"),
        (
            Policy::Portable,
            Readback { capability: other("AVX512"), ..good.clone() },
            "its AVX512 kernels before",
        ),
        (Policy::Baseline, good.clone(), "its AVX2 kernels before, and it takes DEFAULT"),
        (Policy::Portable, Readback { mkl_branch: Some(other("AUTO")), ..good.clone() }, "its branch AUTO"),
    ];
    for (policy, readback, problem) in cases {
        let said = hold(policy, &readback).unwrap_err();
        assert!(said.contains(problem), "{problem} in: {said}");
    }
    let free = Readback { capability: other("AVX512"), mkl_branch: Some(other("OFF")), ..good };
    assert_eq!(hold(Policy::Native, &free), Ok(()), "native leaves libtorch its choice");
}

/// What the policy for GPUs asks of cuDNN and cuBLAS, set and read back where there is none: libtorch's switches
/// are in its half for CPUs. In float32 alone is what is not its default.
#[test]
fn a_gpu_is_held_to_float32_and_to_one_way() {
    portable();
    let before = readback::read_back_cuda().unwrap();
    assert_eq!((before.deterministic, before.less[0]), (false, true), "libtorch's defaults");
    let said = hold_cuda(&before).unwrap_err();
    assert!(said.starts_with("cuDNN does not keep to what is deterministic"), "{said}");
    readback::be_deterministic_on_cuda().unwrap();
    let told = readback::read_back_cuda().unwrap();
    assert_eq!(hold_cuda(&told), Ok(()));
    let cases = [
        (Cuda { tries: true, ..told.clone() }, "tries which"),
        (Cuda { less: [true, false], ..told.clone() }, "convolutions may"),
        (Cuda { less: [false, true], ..told }, "matrix products may"),
    ];
    for (wrong, problem) in cases {
        assert!(hold_cuda(&wrong).unwrap_err().contains(problem), "{problem}");
    }
}

#[test]
fn without_a_gpu_nobody_counts_its_memory() {
    assert_eq!(readback::ran_out_of_memory(0), None);
    assert_eq!(portable().memory_sufficed(), Ok(()), "a CPU's is not asked for");
    assert!(on_a_gpu(1).memory_sufficed().unwrap_err().contains("does not tell"));
}

#[test]
fn of_a_gpu_s_memory_networks_take_four_tenths() {
    assert_eq!(on_a_gpu(1_000).memory_at_hand(), 400);
}

/// What of a GPU's variables decides on bits is pinned, and none is both pinned and left to the user.
#[test]
fn a_gpu_s_products_have_one_way() {
    let pinned = pins(Policy::Cuda);
    assert_eq!(pinned, [("CUBLAS_WORKSPACE_CONFIG", ":4096:8"), ("DISABLE_ADDMM_CUDA_LT", "1")]);
    assert!(pinned.iter().all(|(name, _)| VARIABLES.contains(name) && !OTHERS_OF_CUDA.contains(name)));
}

#[test]
fn a_gpu_that_is_too_old_is_passed_over() {
    let gpu = |driver: &str, capability: &str| {
        let (driver, capability) = (driver.to_owned(), capability.to_owned());
        unfit(&Gpu { ordinal: 0, name: "G".to_owned(), capability, memory: 1, driver })
    };
    for (driver, capability) in [("13.0", "9.0"), ("13.2", "7.5"), ("14.0", "12.0")] {
        assert_eq!(gpu(driver, capability), None);
    }
    assert!(gpu("12.9", "9.0").unwrap().contains("supports CUDA 12.9, and libtorch's libraries take 13.0"));
    assert!(gpu("13.0", "7.0").unwrap().contains("compute capability 7.0"));
}

/// Max unpooling writes where indices say, and two may say the same place.
#[test]
fn an_operation_that_is_not_deterministic_is_refused() {
    portable();
    let indices = Tensor::zeros([1, 1, 1, 1], (Kind::Int64, Device::Cpu));
    let error = Tensor::ones([1, 1, 1, 1], (Kind::Float, Device::Cpu))
        .f_max_unpool2d(&indices, [2, 2])
        .unwrap_err()
        .to_string();
    assert!(error.contains("does not have a deterministic implementation"), "{error}");
}

#[test]
fn the_fingerprint_is_the_same_on_every_thread_and_every_time() {
    let numerics = portable();
    let once = numerics.fingerprint().unwrap();
    assert_eq!(numerics.environment().unwrap().fingerprint, once);
    let again = || {
        numerics.enter_thread();
        [(); 2].map(|()| fingerprint::compute(Device::Cpu).unwrap())
    };
    std::thread::scope(|scope| {
        let threads = [(); 3].map(|()| scope.spawn(again));
        for thread in threads {
            assert_eq!(thread.join().expect("no panic"), [once; 2]);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    /// Large or not, kept or new, given back here or elsewhere: no two tensors share memory.
    #[test]
    fn tensors_keep_their_numbers(steps in prop::collection::vec((28..44_i64, any::<bool>(), 0..4_usize), 1..12)) {
        portable();
        let mut held: Vec<(Tensor, i64)> = Vec::new();
        for (number, (mib, elsewhere, at)) in (1..).zip(steps) {
            held.push((Tensor::full([mib << 20], number, (Kind::Uint8, Device::Cpu)), number));
            if at < held.len() {
                let (given, _) = held.swap_remove(at);
                if elsewhere {
                    std::thread::spawn(move || drop(given)).join().expect("no panic");
                }
            }
            for (tensor, number) in &held {
                prop_assert!(bool::try_from(tensor.eq(*number).all()).expect("one truth"));
            }
        }
    }
}
