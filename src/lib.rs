//! Reruns, checks and audits layer-transfer experiments: Yosinski, Clune, Bengio and Lipson, "How
//! transferable are features in deep neural networks?" (NIPS 2014).
//!
//! One direction of data, and a module or two for each step:
//!
//! ```text
//! protocol ─► data ─► split ─► plan ─► run ─► store ─► table ─► verify ─► report
//!  (TOML)   (images) (A | B)  (runs) (train) (hashed)         (findings)  (page)
//! ```
//!
//! Each step reads what the step before wrote and never looks back. Only [`numerics`], [`train`] and
//! the private `net` know libtorch. ARCHITECTURE.md has the map.

pub mod architecture;
pub mod audit;
pub mod bisect;
pub mod canonical;
pub mod claim;
pub mod cluster;
pub mod cost;
pub mod data;
pub mod digest;
pub mod equivalence;
pub mod error;
#[cfg(test)]
mod faults;
pub mod fence;
pub mod filters;
pub mod gabor;
pub mod init;
pub mod input;
pub mod ledger;
pub mod machine;
pub mod manifest;
mod mt19937;
mod net;
pub mod numerics;
pub mod outline;
pub mod plan;
pub mod protocol;
pub mod published;
pub mod recipe;
pub mod report;
pub mod resources;
pub mod run;
pub mod seed;
pub mod snapshot;
pub mod speed;
pub mod split;
pub mod status;
pub mod store;
pub mod table;
#[cfg(test)]
mod testing;
pub mod text;
mod toml_text;
pub mod train;
pub mod treatment;
pub mod verify;
pub mod weights;
pub mod whole;

pub use error::{Error, Result};
