//! The whole program from outside: every finding seen, golden snapshots, killed and resumed runs, wrong
//! inputs, the shapes of what is printed, packs of images, and the audit of archives and stores.
//!
//! One binary, so that the little store that most tests begin from is trained once.

mod archive;
mod audit;
mod audit_store;
mod bisect;
mod broken;
mod cli;
mod common;
mod data;
mod golden;
mod resume;
mod show;
