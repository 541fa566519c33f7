//! TOML that a user wrote: what cannot be read is one sentence with the line and, for an unknown key, the nearest that is
//! like it.
//!
//! Uses `error`; used by `protocol` and `resources`.

use crate::error::{Error, Result, nearest};
use serde::de::DeserializeOwned;

/// Reads a text; `origin` is its name in messages, and `shows` says where it is told what it may hold.
///
/// # Errors
/// Where it is no TOML, or not what is to be read.
pub fn read<T: DeserializeOwned>(text: &str, origin: &str, shows: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| sentence(text, origin, shows, &error))
}

fn sentence(text: &str, origin: &str, shows: &str, error: &toml::de::Error) -> Error {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let subject = match line {
        Some(line) => format!("{origin}, line {line}"),
        None => origin.to_owned(),
    };
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    // serde says: unknown field `epoch`, expected one of `epochs`, `batch`, …
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let nearest = match quoted.as_slice() {
        [unknown, known @ ..] if message.starts_with("unknown ") => nearest(unknown, known.iter().copied()),
        _ => None,
    };
    let mend = match nearest {
        Some(nearest) => format!("the nearest that is known is `{nearest}`"),
        None => shows.to_owned(),
    };
    Error::invalid(subject, message, mend)
}
