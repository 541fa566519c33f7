//! What computes: a GPU that is asked for and not there, that is there without libtorch's libraries, that is no
//! GPU. The driver is a stub that is compiled here, since machines of tests have no GPU; what needs one is in
//! `ci/gpu`.

use crate::common::{Ran, scratch, selffer};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A driver that shows `gpus` GPUs and can do nothing with them.
fn driver(dir: &Path, gpus: u32) {
    driver_of(dir, if gpus == 0 { 100 } else { 0 }, gpus, 13_000);
}

/// The same, which answers that code at first, of that version of CUDA. Of several GPUs the first is an old one.
fn driver_of(dir: &Path, answer: u32, gpus: u32, version: u32) {
    let first = if gpus > 1 { 6 } else { 9 };
    let source = format!(
        "#include <stddef.h>\n#include <string.h>\n\
         int cuInit(unsigned flags) {{ return {answer}; }}\n\
         int cuGetErrorString(int code, const char **text) {{ *text = \"as the test says\"; return 0; }}\n\
         int cuDriverGetVersion(int *version) {{ *version = {version}; return 0; }}\n\
         int cuDeviceGetCount(int *count) {{ *count = {gpus}; return 0; }}\n\
         int cuDeviceGet(int *device, int ordinal) {{ *device = ordinal; return 0; }}\n\
         int cuDeviceGetName(char *name, int size, int device) {{ strncpy(name, device ? \"Stub 2\" : \"Stub 1\", size); return device > 1; }}\n\
         int cuDeviceTotalMem_v2(size_t *bytes, int device) {{ *bytes = 1 << 30; return 0; }}\n\
         int cuDeviceGetAttribute(int *value, int what, int device) {{ *value = what == 75 ? (device ? 9 : {first}) : 0; return 0; }}\n"
    );
    let path = dir.join("cuda.c");
    fs::write(&path, source).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(dir.join("libcuda.so.1")).arg(&path);
    assert!(compiler.status().expect("a C compiler").success());
}

/// `selffer fingerprint` with those options, that driver, and that torch directory.
fn fingerprint(options: &[&str], driver: &Path, torch: &Path) -> Ran {
    let mut command = selffer([&["fingerprint"], options].concat());
    command.env("LD_LIBRARY_PATH", driver).env("LIBTORCH_CUDA", torch);
    command.output().unwrap().into()
}

const CANNOT: &str = "error: cannot compute with `cuda` numerics: ";

#[test]
fn without_a_gpu_the_cpu_computes_and_cuda_is_refused() {
    let dir = scratch();
    driver(dir.path(), 0);
    let auto = fingerprint(&[], dir.path(), dir.path());
    assert_eq!((auto.code, auto.err.as_str()), (Some(0), ""));
    assert!(auto.out.starts_with("numerics             portable\n"), "{}", auto.out);
    for asked in [&["--device", "cuda"][..], &["--numerics", "cuda"]] {
        let ran = fingerprint(asked, dir.path(), dir.path());
        let said = format!(
            "{CANNOT}the NVIDIA driver shows this process no GPU (CUDA_VISIBLE_DEVICES may hide them)\n"
        );
        assert_eq!((ran.code, ran.err), (Some(2), said));
    }
}

#[test]
fn a_gpu_without_libtorch_s_libraries_is_said() {
    let (stub, torch) = (scratch(), scratch());
    driver(stub.path(), 1);
    let problem = format!(
        "LIBTORCH_CUDA={}: it has no lib/libtorch_cuda.so; name the torch directory of an installed torch 2.11.0 for \
         CUDA 13.0\n",
        torch.path().display()
    );
    // Nobody asked for it: the CPU computes, and why is said.
    let auto = fingerprint(&[], stub.path(), torch.path());
    assert_eq!((auto.code, auto.err), (Some(0), format!("the CPU computes, not a GPU: {problem}")));
    assert!(auto.out.starts_with("numerics             portable\n"), "{}", auto.out);
    let asked = fingerprint(&["--device", "cpu"], stub.path(), torch.path());
    assert_eq!((asked.code, asked.err.as_str()), (Some(0), ""));
    let cuda = fingerprint(&["--device", "cuda"], stub.path(), torch.path());
    assert_eq!((cuda.code, cuda.err), (Some(2), format!("{CANNOT}{problem}")));
    let second = fingerprint(&["--device", "cuda:1"], stub.path(), torch.path());
    assert_eq!(second.err, format!("{CANNOT}there is no GPU 1: there is one, number 0\n"));
}

#[test]
fn a_gpu_whose_driver_is_too_old_is_passed_over() {
    let (stub, torch) = (scratch(), scratch());
    driver_of(stub.path(), 0, 1, 12_040);
    let problem = "the driver of the Stub 1 supports CUDA 12.4, and libtorch's libraries take 13.0; update the driver\n";
    let auto = fingerprint(&[], stub.path(), torch.path());
    assert_eq!((auto.code, auto.err), (Some(0), format!("the CPU computes, not a GPU: {problem}")));
    let cuda = fingerprint(&["--device", "cuda"], stub.path(), torch.path());
    assert_eq!((cuda.code, cuda.err), (Some(2), format!("{CANNOT}{problem}")));
}

#[test]
fn a_driver_that_refuses_is_said() {
    let (stub, torch) = (scratch(), scratch());
    driver_of(stub.path(), 803, 1, 13_000);
    let problem = "the NVIDIA driver says: as the test says\n";
    let auto = fingerprint(&[], stub.path(), torch.path());
    assert_eq!((auto.code, auto.err), (Some(0), format!("the CPU computes, not a GPU: {problem}")));
    let cuda = fingerprint(&["--device", "cuda"], stub.path(), torch.path());
    assert_eq!((cuda.code, cuda.err), (Some(2), format!("{CANNOT}{problem}")));
}

#[test]
fn of_several_gpus_the_first_that_fits_is_taken() {
    let (stub, torch) = (scratch(), scratch());
    driver(stub.path(), 2);
    let old = fingerprint(&["--device", "cuda:0"], stub.path(), torch.path());
    assert!(old.err.contains("the Stub 1 has compute capability 6.0"), "{}", old.err);
    // What is looked for next is the libraries, not another reason to pass over.
    let auto = fingerprint(&[], stub.path(), torch.path());
    assert!(auto.err.contains("it has no lib/libtorch_cuda.so"), "{}", auto.err);
    // A third one that does not answer stands in nobody's way but its own.
    driver(stub.path(), 3);
    let auto = fingerprint(&[], stub.path(), torch.path());
    assert!(auto.err.contains("it has no lib/libtorch_cuda.so"), "{}", auto.err);
    let third = fingerprint(&["--device", "cuda:2"], stub.path(), torch.path());
    assert!(third.err.contains("the NVIDIA driver says: as the test says"), "{}", third.err);
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
    let (stub, torch) = (scratch(), scratch());
    driver(stub.path(), 1);
    let lib = torch.path().join("lib");
    fs::create_dir(&lib).unwrap();
    fs::write(lib.join("libtorch_cuda.so"), "no library").unwrap();
    let version = |text: &str| fs::write(torch.path().join("version.py"), text).unwrap();
    version("__version__ = '2.10.0+cu130'\ncuda: Optional[str] = '13.0'\n");
    let ran = fingerprint(&["--device", "cuda"], stub.path(), torch.path());
    assert!(ran.err.contains("it is torch 2.10.0+cu130, and it takes 2.11.0; name"), "{}", ran.err);
    // What fits by what it says of itself, and is no library.
    version("__version__ = '2.11.0+cu130'\ncuda: Optional[str] = '13.0'\n");
    let ran = fingerprint(&["--device", "cuda"], stub.path(), torch.path());
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("libtorch_cuda.so cannot be loaded: "), "{}", ran.err);
    // Variables that would have a GPU compute in less than float32, or in another way each time.
    for name in ["NVIDIA_TF32_OVERRIDE", "CUBLAS_EMULATE_SINGLE_PRECISION", "PYTORCH_TUNABLEOP_ENABLED"] {
        let mut command = selffer(["fingerprint", "--device", "cuda"]);
        command.env("LD_LIBRARY_PATH", stub.path()).env(name, "1");
        let ran: Ran = command.output().unwrap().into();
        assert!(ran.err.contains(&format!("; unset {name}\n")), "{}", ran.err);
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
