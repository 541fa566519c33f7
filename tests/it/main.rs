//! The whole program from outside: every finding seen, golden snapshots, killed and resumed runs, wrong
//! inputs, the shapes of what is printed, packs of images, the audit of archives and stores, and the report in a real
//! browser.
//!
//! One binary, so that the little store that most tests begin from is trained once.

mod archive;
mod audit;
mod audit_store;
mod bisect;
mod broken;
mod browser;
mod common;
mod data;
mod device;
mod golden;
mod grammar;
mod jobs;
mod json;
mod map;
mod paper;
mod policies;
mod report;
mod resume;
mod said;
mod show;
mod standin;
mod system;
mod wrong;
