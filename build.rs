//! Writes libtorch's directory into the binary (as its run-time search path), so that the finished
//! program starts without any environment variable.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The accepted snapshots are built into the program.
    println!("cargo:rerun-if-changed=golden");
    // torch-sys says where it found libtorch; `cargo doc` may run without it.
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
