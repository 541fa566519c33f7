//! Canonical JSON: one value, one sequence of bytes.
//!
//! Used wherever JSON is hashed or stored. Keys are sorted, there is no white space between tokens,
//! and numbers are written as serde_json writes them (floats with the fewest digits that read back as
//! the same number).

use serde::Serialize;

/// The canonical JSON of `value`.
///
/// # Panics
/// Where a value cannot be JSON at all (a map with keys that are no strings): a mistake in this crate.
pub fn json<T: Serialize + ?Sized>(value: &T) -> String {
    // Through `Value`, whose maps are sorted by key.
    let value = serde_json::to_value(value).expect("a value that JSON can hold");
    serde_json::to_string(&value).expect("a value that JSON can hold")
}
