//! Counts, paragraphs and tables as people read them, and tables as CSV.
//!
//! Uses `error` alone; used by whatever prints. JSON has none of it.

use crate::error::{Error, Result};
use comfy_table::presets;
use serde::Serialize;

/// `1 network`, `2 networks`.
pub fn networks(count: usize) -> String {
    counted(count, "network")
}

/// So many of what that word is for one of.
pub fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// `is` after one, `are` after any other number.
pub fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// A share in points, as it was given: 1.7, not what a hundred times its hundredth is.
pub fn points(share: f64) -> f64 {
    (1e11 * share).round() / 1e9
}

/// A share in points with its sign, two digits and no minus before nothing: `+1.23`.
pub fn signed(share: f64) -> String {
    let text = format!("{:+.2}", points(share));
    if text == "-0.00" { "+0.00".to_owned() } else { text }
}

/// A text whose control characters, but for the ends of lines, are written out: what a file or a name has of them is not
/// for a terminal to obey.
pub fn printable(text: &str) -> String {
    let shown = |c: char| match c.is_control() && c != '\n' {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(shown).collect()
}

/// The same for what is to stay on one line.
pub fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// A text as one word of a shell, quoted where it has to be.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./+".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { shell_quoted(text) }
}

/// A text as one word of a shell, in quotes.
pub fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A text in lines of so many characters, all but the first of them indented. Words that are too long stay whole: they may
/// be names.
pub fn wrapped(text: &str, columns: usize, indent: usize) -> String {
    let indent = " ".repeat(indent);
    let options = textwrap::Options::new(columns).break_words(false).subsequent_indent(&indent);
    let options = options.word_separator(textwrap::WordSeparator::AsciiSpace);
    textwrap::fill(text, options.word_splitter(textwrap::WordSplitter::NoHyphenation))
}

/// A table for people, without borders, with that header. Its rows are added by the caller.
pub fn plain(header: impl IntoIterator<Item = impl Into<comfy_table::Cell>>) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(header.into_iter().map(Into::into).collect::<Vec<comfy_table::Cell>>());
    table
}

/// Aligns the columns of those indices to the right.
pub fn numeric(table: &mut comfy_table::Table, columns: impl IntoIterator<Item = usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
}

/// The lines of a table, without the blanks that fill its last column.
pub fn lines(table: &comfy_table::Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Rows as CSV: records with a header of their fields' names, or lists of texts as they are.
///
/// # Errors
/// Where rows are not all as long; never for want of space, since the writer is memory.
pub fn csv<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Result<String> {
    let wrong = |error: String| Error::invalid("csv", error, "report it");
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).map_err(|error| wrong(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| wrong(error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell_are_one_word_each() {
        assert_eq!(shell_word("store/2.1+b"), "store/2.1+b");
        assert_eq!(["", "a b", "it's", "$x"].map(shell_word), ["''", "'a b'", r"'it'\''s'", "'$x'"]);
    }

    #[test]
    fn a_share_in_points_has_its_sign() {
        assert_eq!([0.0123, -0.00002, -0.017].map(signed), ["+1.23", "+0.00", "-1.70"]);
    }

    #[test]
    fn a_terminal_is_told_nothing_but_lines() {
        assert_eq!(one_line("a\nb\tc"), "a\\nb\\tc");
        assert_eq!(printable("a\u{1b}[2Jb\r\n×\u{9b}"), "a\\u{1b}[2Jb\\r\n×\\u{9b}");
    }
}
