//! An audit as a page of text, as JUnit XML and as SARIF; JSON is the audit itself.
//!
//! Uses `audit`'s outcome and nothing that made it; used by the command line.

mod beside;
mod junit;
mod proof;
mod sarif;
mod text;

pub use junit::junit;
pub use sarif::sarif;
pub use text::text;
