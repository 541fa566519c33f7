//! TOML that a user wrote: what cannot be read is one sentence with the line and, for an unknown key, the nearest that is
//! like it.
//!
//! Uses `error`; used by `protocol` and `resources`.

use crate::error::{Error, Result, nearest};
use serde::de::DeserializeOwned;

/// Bytes of a file that is read, at the most.
pub(crate) const MOST: u64 = 1 << 24;

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
    Error::invalid(subject, plain(message), mend)
}

/// What serde says of a value of the wrong kind, without the words of Rust.
fn plain(message: String) -> String {
    if message.starts_with("wanted exactly 1 element") {
        let number = if message.contains("more than") { "several stand" } else { "none stands" };
        return format!("{number} where one has to: a table of one name, {{ … = … }}");
    }
    let kinds = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let kinds = kinds.and_then(|kinds| kinds.split_once(", expected "));
    let Some((found, wanted)) = kinds else { return message };
    let found = match found.split_once(' ') {
        None if found == "map" => "a table",
        None if found == "sequence" => "a list",
        Some(("unit", "variant")) => "a name alone",
        _ => found,
    };
    let wanted = match wanted {
        "a sequence" => "a list, […]; of tables, [[…]]",
        "a string" | "a borrowed string" | "path string" => "a text in quotes",
        "newtype variant" => "a table of that name, { … = … }",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0",
        "f32" | "f64" => "a number",
        wanted if wanted.starts_with("struct") => "a table, { … }",
        wanted => wanted,
    };
    format!("{found} stands where this belongs: {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{DataSource, Halves};
    use std::collections::BTreeMap;

    fn told<T: DeserializeOwned + std::fmt::Debug>(value: &str) -> String {
        let read = read::<BTreeMap<String, T>>(&format!("key = {value}"), "a test", "a mend");
        read.unwrap_err().to_string()
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_told_without_words_of_rust() {
        let cases = [
            (
                told::<DataSource>("{ images = 'here' }"),
                "string \"here\" stands where this belongs: { dir = \"DIR\"",
            ),
            (told::<DataSource>("'pack'"), "a name alone stands where this belongs: a table of that name"),
            (told::<Halves>("{ named = 0 }"), "integer `0` stands where this belongs: a table"),
            (told::<Vec<u64>>("1"), "integer `1` stands where this belongs: a list"),
            (
                told::<Vec<u64>>("{ a = 1 }"),
                "a table stands where this belongs: a list, […]; of tables, [[…]]",
            ),
            (told::<u32>("'many'"), "string \"many\" stands where this belongs: a whole number"),
            (told::<usize>("'y'"), "string \"y\" stands where this belongs: a whole number from 0"),
            (told::<u64>("-1"), "integer `-1` stands where this belongs: a whole number from 0"),
            (told::<u32>("99999999999"), "stands where this belongs: a whole number from 0 to 4294967295"),
            (told::<String>("[1]"), "a list stands where this belongs: a text in quotes"),
            (
                told::<Halves>("{ random = 0, whole = 1 }"),
                "line 1: several stand where one has to: a table of one name",
            ),
            (told::<Halves>("{}"), "line 1: none stands where one has to: a table of one name"),
        ];
        for (told, expected) in cases {
            assert!(told.contains(expected), "{told}");
        }
    }
}
