//! What NVIDIA's driver says: how many GPUs there are, and what each is.
//!
//! Uses nothing of this crate; used by `numerics` alone. The driver's own library is opened at run time, so the
//! program starts where there is none. It is asked before libtorch is, whose answer would come too late to
//! choose a policy, and in less time.

use libloading::Library;
use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

/// A GPU, as its driver describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its number among those that this process may see, from 0.
    pub ordinal: u32,
    /// Its name, such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Its compute capability, such as `9.0`.
    pub capability: String,
    /// Bytes of its memory.
    pub memory: u64,
    /// The CUDA version that the driver supports, such as `13.0`.
    pub driver: String,
}

/// The driver's functions that are called here. All return 0 where they succeed.
type Init = unsafe extern "C" fn(u32) -> i32;
type Number = unsafe extern "C" fn(*mut i32) -> i32;
type Device = unsafe extern "C" fn(*mut i32, i32) -> i32;
type Name = unsafe extern "C" fn(*mut c_char, i32, i32) -> i32;
type Memory = unsafe extern "C" fn(*mut usize, i32) -> i32;
type Attribute = unsafe extern "C" fn(*mut i32, i32, i32) -> i32;
type Message = unsafe extern "C" fn(i32, *mut *const c_char) -> i32;

/// The attributes of compute capability, from the driver's `cuda.h`.
const CAPABILITY: [i32; 2] = [75, 76];

/// What the driver answers where it finds no GPU.
const NO_DEVICE: i32 = 100;

/// The driver's library.
const DRIVER: &str = "libcuda.so.1";

/// A GPU, or why the driver says nothing of it.
type Answer = Result<Gpu, String>;

/// The GPUs that this process may use, by ordinal; none where no driver is installed.
///
/// # Errors
/// Why the driver does not say, in a few words.
pub fn gpus() -> Result<Option<&'static [Answer]>, String> {
    static FOUND: OnceLock<Result<Option<Vec<Answer>>, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| ask(DRIVER));
    found.as_ref().map(Option::as_deref).map_err(Clone::clone)
}

/// Whether what dlopen says is that there is no such library.
fn lacks(said: &str, library: &str) -> bool {
    said.strip_prefix(library).is_some_and(|rest| rest.starts_with(": ") && rest.contains("No such file"))
}

#[allow(unsafe_code)]
fn ask(library: &str) -> Result<Option<Vec<Answer>>, String> {
    // SAFETY: opening the driver runs its initialisers, which it is made for; it stays open, as it keeps threads.
    let driver = unsafe { Library::new(library) };
    let driver: &'static Library = match driver {
        Ok(driver) => Box::leak(Box::new(driver)),
        // dlopen says in words alone what it lacks: the driver, or something that the driver needs.
        Err(error) if lacks(&error.to_string(), library) => return Ok(None),
        Err(error) => return Err(format!("the NVIDIA driver cannot be loaded ({error})")),
    };
    // SAFETY: each has the type that the driver's header gives it, and is handed what that asks for: places for
    // its answers that live through the call.
    unsafe {
        let message = |code: i32| {
            let mut text = std::ptr::null();
            let named =
                driver.get::<Message>(b"cuGetErrorString\0").is_ok_and(|it| it(code, &raw mut text) == 0);
            match named && !text.is_null() {
                true => CStr::from_ptr(text).to_string_lossy().into_owned(),
                false => format!("error {code}"),
            }
        };
        let told = |code: i32| match code {
            0 => Ok(()),
            code => Err(format!("the NVIDIA driver says: {}", message(code))),
        };
        let lacking =
            |error: libloading::Error| format!("the NVIDIA driver is not one that is known here ({error})");
        match driver.get::<Init>(b"cuInit\0").map_err(lacking)?(0) {
            NO_DEVICE => return Ok(Some(Vec::new())),
            code => told(code)?,
        }
        let number = |name: &[u8]| -> Result<i32, String> {
            let mut number = 0;
            told(driver.get::<Number>(name).map_err(lacking)?(&raw mut number))?;
            Ok(number)
        };
        let (version, count) = (number(b"cuDriverGetVersion\0")?, number(b"cuDeviceGetCount\0")?);
        let (device, name) =
            (driver.get::<Device>(b"cuDeviceGet\0"), driver.get::<Name>(b"cuDeviceGetName\0"));
        let (device, name) = (device.map_err(lacking)?, name.map_err(lacking)?);
        let memory = driver.get::<Memory>(b"cuDeviceTotalMem_v2\0").map_err(lacking)?;
        let attribute = driver.get::<Attribute>(b"cuDeviceGetAttribute\0").map_err(lacking)?;
        let one = |ordinal: i32| -> Result<Gpu, String> {
            let (mut handle, mut bytes, mut text) = (0, 0usize, [0 as c_char; 256]);
            told(device(&raw mut handle, ordinal))?;
            told(name(text.as_mut_ptr(), text.len() as i32 - 1, handle))?;
            told(memory(&raw mut bytes, handle))?;
            let mut capability = [0; 2];
            for (place, which) in capability.iter_mut().zip(CAPABILITY) {
                told(attribute(place, which, handle))?;
            }
            Ok(Gpu {
                ordinal: ordinal as u32,
                name: CStr::from_ptr(text.as_ptr()).to_string_lossy().trim().to_owned(),
                capability: format!("{}.{}", capability[0], capability[1]),
                memory: bytes as u64,
                driver: format!("{}.{}", version / 1000, version % 1000 / 10),
            })
        };
        Ok(Some((0..count).map(one).collect()))
    }
}

/// The GPU of that ordinal.
///
/// # Errors
/// Where there is none of that, and why.
pub fn gpu(ordinal: u32) -> Result<&'static Gpu, String> {
    let gpus = gpus()?.ok_or_else(|| format!("no NVIDIA driver is installed ({DRIVER} is not there)"))?;
    let answer = gpus.get(ordinal as usize).ok_or_else(|| match gpus.len() {
        0 => "the NVIDIA driver shows this process no GPU (CUDA_VISIBLE_DEVICES may hide them)".to_owned(),
        1 => format!("there is no GPU {ordinal}: there is one, number 0"),
        count => format!("there is no GPU {ordinal}: there are {count}, numbered from 0"),
    })?;
    answer.as_ref().map_err(Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_is_not_there_or_is_none_is_said() {
        assert_eq!(ask("libselffer-no-such-driver.so"), Ok(None));
        // As dlopen says it of a driver that lacks another library.
        let other =
            "libnvidia-ptxjitcompiler.so.1: cannot open shared object file: No such file or directory";
        assert!(!lacks(other, "libcuda.so.1") && lacks(other, "libnvidia-ptxjitcompiler.so.1"));
        let empty = tempfile::NamedTempFile::new().unwrap();
        let said = ask(empty.path().to_str().unwrap()).unwrap_err();
        assert!(said.starts_with("the NVIDIA driver cannot be loaded ("), "{said}");
        // A library without the driver's functions.
        let said = ask("libm.so.6").unwrap_err();
        assert!(said.starts_with("the NVIDIA driver is not one that is known here"), "{said}");
        assert!(said.contains("cuInit"), "{said}");
    }

    /// Here or there: what the driver says is told, and asking again gives the same.
    #[test]
    fn what_is_not_there_is_no_gpu() {
        let count = gpus().ok().flatten().map_or(0, <[Answer]>::len);
        assert!(gpu(count as u32).is_err());
        assert_eq!(gpus(), gpus());
    }
}
