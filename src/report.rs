//! What readers look at: one page with the paper's figures and tables from a store, from the published archive, or from
//! both side by side, each figure and its numbers as files too.
//!
//! Uses `audit`, `table` and `verify`, and reads the store; nothing here trains or knows libtorch. Used by the command line.
//!
//! ```text
//! store or archive ─► model ─► figures, page ─► files
//!  (store.rs, archive.rs)   (SVG, CSV) (HTML)  (written whole or not at all)
//! ```
//!
//! The same sources give the same bytes: no clock, no path but those within a source, nothing of the machine but what
//! manifests say.

mod archive;
pub mod figures;
pub mod files;
mod filters;
pub mod model;
mod page;
mod store;

pub use archive::archive;
pub use model::Side;
pub use store::store;

use crate::error::Result;
use std::collections::BTreeMap;

/// A report, ready to be written: each file's bytes by its path within the report, `index.html` first among equals.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The page.
pub const PAGE: &str = "index.html";

/// Draws up the report of one or two sides, in that order.
///
/// # Errors
/// Where a picture cannot be written; never in practice, for they are written to memory.
pub fn draw_up(sides: &[Side]) -> Result<Files> {
    let drawn = figures::all(sides)?;
    let mut files = Files::new();
    for figure in drawn.every() {
        files.insert(figure.file(), figure.standalone().into_bytes());
        if let Some((name, csv)) = figure.data() {
            files.insert(name, csv.as_bytes().to_vec());
        }
    }
    for side in sides {
        files.insert(format!("data/{}-runs.csv", side.key), figures::data::runs(side)?.into_bytes());
        files.insert(format!("data/{}-curves.csv", side.key), figures::data::curves(side)?.into_bytes());
    }
    files.insert(PAGE.to_owned(), page::page(sides, &drawn).into_bytes());
    Ok(files)
}
