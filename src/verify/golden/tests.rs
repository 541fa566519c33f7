use super::*;
use crate::testing::manifest;

fn on(gpu: Option<&str>) -> Manifest {
    let mut manifest = manifest(1);
    manifest.environment.settings.extend(gpu.map(|gpu| (crate::manifest::GPU.to_owned(), gpu.to_owned())));
    manifest
}

#[test]
fn a_gpu_s_model_is_in_the_file_name() {
    let name = |policy, gpu| Scope::new("ci", policy, gpu).file_name();
    assert_eq!(name(Policy::Portable, None), "ci.portable.snap");
    assert_eq!(name(Policy::Native, Some("NVIDIA H100")), "ci.native.snap", "no GPU computes there");
    assert_eq!(name(Policy::Cuda, Some("NVIDIA H100 80GB HBM3")), "ci.cuda-nvidia-h100-80gb-hbm3.snap");
    assert_eq!(name(Policy::Cuda, Some("  A/../B ")), "ci.cuda-a-b.snap", "no name leads elsewhere");
    assert_eq!(name(Policy::Cuda, None), "ci.cuda.snap");
}

#[test]
fn networks_of_several_gpus_are_of_none() {
    let of = |gpus: &[Option<&str>]| {
        let manifests: Vec<_> = gpus.iter().map(|gpu| Some(on(*gpu))).chain([None]).collect();
        Scope::of("p", Policy::Cuda, &manifests)
    };
    assert_eq!(of(&[Some("X"), Some("X")]), Scope::new("p", Policy::Cuda, Some("X")));
    for several in [&[Some("X"), Some("Y")][..], &[Some("X"), None], &[None, Some("X")], &[]] {
        assert_eq!(of(several), Scope::new("p", Policy::Cuda, None), "{several:?}");
    }
}

#[test]
fn a_gpu_without_a_snapshot_is_held_against_the_cpu_s() {
    let dir = tempfile::tempdir().unwrap();
    let golden = |fingerprint: &[u8]| Golden {
        inputs: vec![("protocol".to_owned(), "p 1".to_owned()), (NUMERICS.to_owned(), "portable".to_owned())],
        fingerprint: Some(FingerprintDigest(crate::digest::Digest::of(fingerprint))),
        runs: BTreeMap::new(),
    };
    let (cpu, gpu) = (Scope::new("p", Policy::Portable, None), Scope::new("p", Policy::Cuda, Some("G")));
    let write = |scope: &Scope, golden: &Golden| {
        golden.write(dir.path(), scope, "a test", &on(Some("G")).environment).unwrap()
    };
    let find = |scope: &Scope| Golden::find(Some(dir.path()), scope).unwrap().map(|(_, golden)| golden);
    assert_eq!(find(&gpu), None);
    write(&cpu, &golden(b"cpu"));
    assert_eq!(find(&gpu), Some(golden(b"cpu")));
    assert_eq!(find(&Scope::new("p", Policy::Native, None)), None, "another policy of the CPU has its own");
    let path = write(&gpu, &golden(b"gpu"));
    assert_eq!((find(&gpu), find(&cpu)), (Some(golden(b"gpu")), Some(golden(b"cpu"))));
    assert!(std::fs::read_to_string(path).unwrap().contains("\n  gpu: \"G\"\n---\n"));
}

#[test]
fn the_policy_is_an_input_where_bits_are_compared() {
    let with = |numerics: &str, protocol: &str| Golden {
        inputs: vec![
            ("protocol".to_owned(), protocol.to_owned()),
            (NUMERICS.to_owned(), numerics.to_owned()),
        ],
        fingerprint: None,
        runs: BTreeMap::new(),
    };
    let differs = |other: &Golden, bitwise| {
        let finding = with("portable", "p 1").inputs_finding(other, bitwise, "golden");
        finding.map(|finding| finding.evidence)
    };
    assert_eq!(differs(&with("portable", "p 1"), true), None);
    assert_eq!(differs(&with("cuda", "p 1"), false), None);
    assert_eq!(differs(&with("cuda", "p 1"), true).map(|evidence| evidence.len()), Some(2));
    assert_eq!(differs(&with("cuda", "p 2"), false).map(|evidence| evidence.len()), Some(2));
}
