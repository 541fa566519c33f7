//! What computes: a GPU that is asked for and not there, that is there without libtorch's libraries, that is no
//! GPU. The driver is a stand-in, since machines of tests have no GPU; `standin` has what is computed then.

use crate::common::{Ran, run, scratch, selffer, standin, with_driver};
use std::fs;
use std::path::Path;

/// `selffer fingerprint` with those options, a driver with what those variables say of it, and that torch directory.
fn fingerprint(options: &[&str], driver: &[(&str, &str)], torch: &Path) -> Ran {
    let mut command = selffer([&["fingerprint"], options].concat());
    with_driver(&mut command, torch).envs(driver.iter().copied());
    run(command)
}

/// A driver with so many GPUs.
const NONE: &[(&str, &str)] = &[("STANDIN_GPUS", "0")];
const ONE: &[(&str, &str)] = &[("STANDIN_GPUS", "1")];

const CANNOT: &str = "error: cannot compute with `cuda` numerics: ";

#[test]
fn without_a_gpu_the_cpu_computes_and_cuda_is_refused() {
    let dir = scratch();
    let auto = fingerprint(&[], NONE, dir.path());
    assert_eq!((auto.code, auto.err.as_str()), (Some(0), ""));
    assert!(auto.out.starts_with("numerics             portable\n"), "{}", auto.out);
    for asked in [&["--device", "cuda"][..], &["--numerics", "cuda"]] {
        let ran = fingerprint(asked, NONE, dir.path());
        let said = format!(
            "{CANNOT}the NVIDIA driver shows this process no GPU (CUDA_VISIBLE_DEVICES may hide them)\n"
        );
        assert_eq!((ran.code, ran.err), (Some(2), said));
    }
}

#[test]
fn a_gpu_without_libtorch_s_libraries_is_said() {
    let torch = scratch();
    let problem = format!(
        "LIBTORCH_CUDA={}: it has no lib/libtorch_cuda.so; name the torch directory of an installed torch 2.11.0 for \
         CUDA 13.0\n",
        torch.path().display()
    );
    // Nobody asked for it: the CPU computes, and why is said.
    let auto = fingerprint(&[], ONE, torch.path());
    assert_eq!((auto.code, auto.err), (Some(0), format!("the CPU computes, not a GPU: {problem}")));
    assert!(auto.out.starts_with("numerics             portable\n"), "{}", auto.out);
    let asked = fingerprint(&["--device", "cpu"], ONE, torch.path());
    assert_eq!((asked.code, asked.err.as_str()), (Some(0), ""));
    let cuda = fingerprint(&["--device", "cuda"], ONE, torch.path());
    assert_eq!((cuda.code, cuda.err), (Some(2), format!("{CANNOT}{problem}")));
    let second = fingerprint(&["--device", "cuda:1"], ONE, torch.path());
    assert_eq!(second.err, format!("{CANNOT}there is no GPU 1: there is one, number 0\n"));
}

#[test]
fn a_gpu_whose_driver_is_too_old_is_passed_over() {
    const OLDER: &[(&str, &str)] = &[("STANDIN_VERSION", "12040")];
    let torch = scratch();
    let problem = "the driver of the stand-in 0 supports CUDA 12.4, and libtorch's libraries take 13.0; update the driver\n";
    let auto = fingerprint(&[], OLDER, torch.path());
    assert_eq!((auto.code, auto.err), (Some(0), format!("the CPU computes, not a GPU: {problem}")));
    let cuda = fingerprint(&["--device", "cuda"], OLDER, torch.path());
    assert_eq!((cuda.code, cuda.err), (Some(2), format!("{CANNOT}{problem}")));
}

#[test]
fn a_driver_that_refuses_is_said() {
    const REFUSES: &[(&str, &str)] = &[("STANDIN_REFUSES", "803")];
    let torch = scratch();
    let problem = "the NVIDIA driver says: as the stand-in was told\n";
    let auto = fingerprint(&[], REFUSES, torch.path());
    assert_eq!((auto.code, auto.err), (Some(0), format!("the CPU computes, not a GPU: {problem}")));
    let cuda = fingerprint(&["--device", "cuda"], REFUSES, torch.path());
    assert_eq!((cuda.code, cuda.err), (Some(2), format!("{CANNOT}{problem}")));
}

#[test]
fn of_several_gpus_the_first_that_fits_is_taken() {
    const TWO: &[(&str, &str)] = &[("STANDIN_OLD", "1")];
    const THREE: &[(&str, &str)] = &[("STANDIN_OLD", "1"), ("STANDIN_GPUS", "3")];
    let torch = scratch();
    let old = fingerprint(&["--device", "cuda:0"], TWO, torch.path());
    assert!(old.err.contains("the stand-in 0 has compute capability 6.0"), "{}", old.err);
    // What is looked for next is the libraries, not another reason to pass over.
    let auto = fingerprint(&[], TWO, torch.path());
    assert!(auto.err.contains("it has no lib/libtorch_cuda.so"), "{}", auto.err);
    let auto = fingerprint(&[], TWO, &standin().join("torch"));
    assert!(auto.out.contains("\ngpu                  stand-in 1\n"), "{auto:?}");
    // A third one that does not answer stands in nobody's way but its own.
    let auto = fingerprint(&[], THREE, torch.path());
    assert!(auto.err.contains("it has no lib/libtorch_cuda.so"), "{}", auto.err);
    let third = fingerprint(&["--device", "cuda:2"], THREE, torch.path());
    assert!(third.err.contains("the NVIDIA driver says: as the stand-in was told"), "{}", third.err);
}

#[test]
fn the_gpu_that_is_named_goes_with_the_jobs() {
    let dir = scratch();
    let store = dir.path().join("store");
    let submit = |engine: &str| -> Ran {
        let mut command =
            selffer(["submit", "--protocol", "smoke", "--device", "cuda:1", "--engine", engine]);
        command.arg("--store").arg(&store).output().unwrap().into()
    };
    let slurm = submit("slurm");
    let said = "error: --device: names a GPU, and Slurm gives each job its own; say `--device cuda`, and which GPUs with \
                --gres\n";
    assert_eq!((slurm.code, slurm.err.as_str()), (Some(2), said));
    // The job itself ends at once: there is no such GPU.
    assert_eq!(submit("local").code, Some(0));
    let orders =
        fs::read_dir(store.join("jobs")).unwrap().map(|entry| entry.unwrap().path().join("plan.json"));
    let orders: Vec<String> = orders.filter_map(|path| fs::read_to_string(path).ok()).collect();
    assert!(!orders.is_empty() && orders.iter().all(|order| order.contains(r#""gpu":1"#)), "{orders:?}");
}

#[test]
fn libraries_that_do_not_fit_are_not_opened() {
    let torch = scratch();
    let lib = torch.path().join("lib");
    fs::create_dir(&lib).unwrap();
    fs::write(lib.join("libtorch_cuda.so"), "no library").unwrap();
    let version = |text: &str| fs::write(torch.path().join("version.py"), text).unwrap();
    version("__version__ = '2.10.0+cu130'\ncuda: Optional[str] = '13.0'\n");
    let ran = fingerprint(&["--device", "cuda"], ONE, torch.path());
    assert!(ran.err.contains("it is torch 2.10.0+cu130, and it takes 2.11.0; name"), "{}", ran.err);
    // What fits by what it says of itself, and is no library.
    version("__version__ = '2.11.0+cu130'\ncuda: Optional[str] = '13.0'\n");
    let ran = fingerprint(&["--device", "cuda"], ONE, torch.path());
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("libtorch_cuda.so cannot be loaded: "), "{}", ran.err);
    // Variables that would have a GPU compute in less than float32, or in another way each time.
    for name in ["NVIDIA_TF32_OVERRIDE", "CUBLAS_EMULATE_SINGLE_PRECISION", "PYTORCH_TUNABLEOP_ENABLED"] {
        let ran = fingerprint(&["--device", "cuda"], &[(name, "1")], torch.path());
        assert!(ran.err.contains(&format!("; unset {name}\n")), "{}", ran.err);
    }
    for name in ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"] {
        let ran = fingerprint(&["--device", "cuda"], &[(name, "backend:cudaMallocAsync")], torch.path());
        assert!(ran.err.contains(&format!("runs out; unset {name}\n")), "{}", ran.err);
        let ran = fingerprint(&["--device", "cuda"], &[(name, "expandable_segments:True")], torch.path());
        assert!(ran.err.contains("libtorch_cuda.so cannot be loaded: "), "{}", ran.err);
    }
}

#[test]
fn device_and_policy_that_do_not_go_together_are_refused() {
    for command in ["reproduce", "verify", "table", "fingerprint"] {
        let ran: Ran = selffer([command, "--device", "cpu", "--numerics", "cuda"]).output().unwrap().into();
        let said = "error: --device: cpu and --numerics cuda do not go together; leave one of them out\n";
        assert_eq!((ran.code, ran.err.as_str()), (Some(2), said), "{command}");
    }
}
