//! Writes libtorch's directory into the binary (as its run-time search path), so that the finished
//! program starts without any environment variable, and compiles the few calls of libtorch that
//! torch-sys has not.

use std::path::{Path, PathBuf};

/// What is written in C++.
const CPP: [&str; 3] = ["src/numerics/memory.cpp", "src/numerics/readback.cpp", "src/train/update.cpp"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The accepted snapshots are built into the program.
    println!("cargo:rerun-if-changed=golden");
    for file in CPP {
        println!("cargo:rerun-if-changed={file}");
    }
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    // torch-sys says where it found libtorch; `cargo doc` may run without it.
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
        // The headers lie beside the libraries, unless torch-sys was told another place.
        let root = match std::env::var_os("LIBTORCH_INCLUDE") {
            Some(root) => PathBuf::from(root),
            None => Path::new(&lib).parent().expect("libraries lie in a directory").to_owned(),
        };
        cc::Build::new()
            .cpp(true)
            .std("c++17")
            .include(root.join("include"))
            .warnings(false)
            .files(CPP)
            .compile("selffer_cpp");
    }
}
