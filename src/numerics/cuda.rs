//! libtorch's half for CUDA, found where PyTorch is installed and opened at run time.
//!
//! Uses the path of libtorch; a part of `numerics`. The program is linked with the half for CPUs, so that it
//! starts on machines without CUDA's libraries, which take gigabytes. Where a policy asks for a GPU, the other half is
//! opened before libtorch is first used, and registers itself there. It must be of the very build that
//! the program is linked with.

use super::LIBTORCH;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names a torch directory to take: the one that has `lib/libtorch_cuda.so`.
pub const VARIABLE: &str = "LIBTORCH_CUDA";

/// The CUDA version of the build: PyPI's wheel of this libtorch.
pub const CUDA: &str = "13.0";

const LIBRARY: &str = "libtorch_cuda.so";

/// What CUDA's compiler at run time is made of besides itself.
const COMPILER_S_OWN: &str = "libnvrtc-builtins.so";

/// Where torch says of itself what it is.
const VERSION: &str = "version.py";

/// The torch directory whose half for CUDA fits.
///
/// # Errors
/// Where there is none: what was looked at, and the mend.
pub fn find() -> Result<PathBuf, String> {
    if let Some(given) = env::var_os(VARIABLE).filter(|given| !given.is_empty()) {
        let given = PathBuf::from(given);
        // The directory of the libraries will do as well.
        let root = match given.join(LIBRARY).exists() {
            true => given.join(".."),
            false => given.clone(),
        };
        return match misfit(&root) {
            None => Ok(root),
            Some(why) => Err(format!(
                "{VARIABLE}={}: {why}; name the torch directory of an installed torch {LIBTORCH} for CUDA {CUDA}",
                given.display()
            )),
        };
    }
    let mut seen = Vec::new();
    for root in [of_python(), prepared()].into_iter().flatten() {
        match misfit(&root) {
            None => return Ok(root),
            Some(why) => seen.push(format!("{}: {why}", root.display())),
        }
    }
    let seen = match seen.is_empty() {
        true => "python3 has no torch".to_owned(),
        false => seen.join("; "),
    };
    Err(format!(
        "libtorch's libraries for CUDA were not found ({seen}); install them with `ci/libtorch --cuda` or `pip \
         install torch=={LIBTORCH}`, or set {VARIABLE} to a torch directory"
    ))
}

/// Opens the half for CUDA of a torch directory, for the rest of the process.
///
/// # Errors
/// Where the system cannot load it.
pub fn open(root: &Path) -> Result<(), String> {
    // CUDA's compiler at run time asks the loader for this one by its bare name, and finds what is loaded. Without it cuDNN
    // passes over kernels that it would compile, so that bits would depend on what else the machine has. It is a precaution:
    // for no convolution of the built-in networks does cuDNN 9.19.0 choose such a kernel (METHODOLOGY.md has what was asked).
    for library in beside(root, COMPILER_S_OWN) {
        load(&library)?;
    }
    load(&root.join("lib").join(LIBRARY))
}

/// The libraries of a name among those that torch's wheel has others bring.
fn beside(root: &Path, name: &str) -> Vec<PathBuf> {
    let listed =
        |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let named =
        |path: &PathBuf| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name));
    listed(root.join("..").join("nvidia")).flat_map(|part| listed(part.join("lib"))).filter(named).collect()
}

/// Loads a library for the rest of the process.
#[allow(unsafe_code)]
fn load(path: &Path) -> Result<(), String> {
    // SAFETY: the initialisers of libtorch's register it with the half that this program is linked with, which is of
    // the same build: `misfit` has seen to that. Those of the compiler's own are made for being loaded.
    match unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) } {
        Ok(library) => {
            // What is registered is never taken back.
            std::mem::forget(library);
            Ok(())
        }
        Err(error) => {
            // The loader's own words name the library that is missing.
            Err(format!("{} cannot be loaded: {}", path.display(), reason(&error)))
        }
    }
}

fn reason(error: &libloading::Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// The torch that `python3` would import, without importing it.
fn of_python() -> Option<PathBuf> {
    const CODE: &str =
        "import importlib.util as u; s = u.find_spec('torch'); print(s.origin if s and s.origin else '')";
    let mut call = Command::new("python3");
    // Not from the working directory: there, anything may be called torch.
    call.args(["-P", "-c", CODE]).stdin(Stdio::null()).stderr(Stdio::null());
    let mut answer = call.output().ok().filter(|answer| answer.status.success());
    if answer.is_none() {
        // Before Python 3.11 there is no -P.
        let mut call = Command::new("python3");
        call.args(["-c", &format!("import sys; sys.path.pop(0); {CODE}")]);
        answer = call.stdin(Stdio::null()).stderr(Stdio::null()).output().ok();
    }
    let text = String::from_utf8(answer?.stdout).ok()?;
    let origin = Path::new(text.trim());
    (origin.file_name()? == "__init__.py").then(|| origin.parent().map(Path::to_owned))?
}

/// What `ci/libtorch --cuda` prepares.
fn prepared() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    let root = cache.join("selffer").join(format!("torch-{LIBTORCH}-cuda")).join("torch");
    root.is_dir().then_some(root)
}

/// Why a torch directory does not fit; none where it does.
fn misfit(root: &Path) -> Option<String> {
    if !root.join("lib").join(LIBRARY).is_file() {
        return Some(format!("it has no lib/{LIBRARY}"));
    }
    let Ok(text) = std::fs::read_to_string(root.join(VERSION)) else {
        return Some(format!("it has no {VERSION}, which says what it is"));
    };
    let of = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once('=')?.1.trim().trim_matches(['\'', '"']).to_owned())
    };
    let version = of("__version__").unwrap_or_default();
    if version.split('+').next() != Some(LIBTORCH) {
        return Some(format!("it is torch {version}, and it takes {LIBTORCH}"));
    }
    match of("cuda") {
        Some(cuda) if cuda == CUDA => None,
        Some(cuda) if cuda != "None" => Some(format!("it is for CUDA {cuda}, and it takes {CUDA}")),
        _ => Some("it is a torch without CUDA".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn torch(version: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("lib")).unwrap();
        fs::write(root.path().join("lib").join(LIBRARY), "no library").unwrap();
        fs::write(root.path().join(VERSION), version).unwrap();
        root
    }

    #[test]
    fn only_the_very_build_fits() {
        let of = |version: &str| misfit(torch(version).path());
        let text = |version: &str, cuda: &str| {
            format!("from typing import Optional\n__version__ = {version}\ncuda: Optional[str] = {cuda}\n")
        };
        assert_eq!(of(&text("'2.11.0+cu130'", "'13.0'")), None);
        assert_eq!(of(&text("\"2.11.0\"", "\"13.0\"")), None);
        let said = |version, cuda| of(&text(version, cuda)).unwrap();
        assert_eq!(said("'2.11.1+cu130'", "'13.0'"), "it is torch 2.11.1+cu130, and it takes 2.11.0");
        assert_eq!(said("'2.11.0+cu128'", "'12.8'"), "it is for CUDA 12.8, and it takes 13.0");
        assert_eq!(said("'2.11.0+cpu'", "None"), "it is a torch without CUDA");
        let bare = tempfile::tempdir().unwrap();
        assert_eq!(misfit(bare.path()).unwrap(), "it has no lib/libtorch_cuda.so");
    }

    #[test]
    fn what_the_compiler_needs_is_found_beside_torch() {
        let site = torch("");
        let root = site.path().join("torch");
        let lib = site.path().join("nvidia/cu13/lib");
        fs::create_dir_all(&lib).unwrap();
        fs::create_dir(&root).unwrap();
        assert_eq!(beside(&root, COMPILER_S_OWN), Vec::<PathBuf>::new());
        fs::write(lib.join("libnvrtc-builtins.so.13.0"), "no library").unwrap();
        fs::write(lib.join("libnvrtc.so.13"), "another").unwrap();
        assert!(open(&root).unwrap_err().contains("libnvrtc-builtins.so.13.0 cannot be loaded: "));
    }

    #[test]
    fn what_cannot_be_loaded_is_said() {
        let root = torch("");
        let said = open(root.path()).unwrap_err();
        assert!(said.contains("libtorch_cuda.so cannot be loaded: "), "{said}");
        assert!(said.contains("invalid ELF header") || said.contains("file too short"), "{said}");
    }
}
