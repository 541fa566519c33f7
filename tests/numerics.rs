//! A process that used libtorch before it put a policy in force: libtorch has read its variables by then.

use selffer::numerics::Numerics;
use selffer::recipe::Policy;
use tch::{Kind, Tensor};

// One test, in a process of its own.
#[test]
fn a_policy_that_comes_too_late_is_refused() {
    let ones = Tensor::ones([64], (Kind::Float, tch::Device::Cpu));
    // Exact in whichever kernels it takes; of exponentials AVX-512 has other last bits.
    assert_eq!(f64::try_from((&ones + &ones).sum(Kind::Float)).expect("a number"), 128.0);

    let late = Numerics::engage(Policy::Baseline);
    if !is_x86_feature_detected!("avx2") {
        // libtorch has chosen what the policy asks for: it is not too late.
        return assert!(late.is_ok(), "{late:?}");
    }
    let said = late.expect_err("libtorch has chosen its kernels").to_string();
    let start = "cannot compute with `baseline` numerics: libtorch chose its AVX";
    assert!(said.starts_with(start), "{said}");
    assert!(said.ends_with(" kernels before, and it takes DEFAULT; start another process"), "{said}");
    // It stays refused, and no other policy is put in force on top of it.
    assert_eq!(Numerics::engage(Policy::Baseline).unwrap_err().to_string(), said);
    let other = Numerics::engage(Policy::Native).unwrap_err().to_string();
    assert!(other.contains("this process began with `baseline`"), "{other}");
}
