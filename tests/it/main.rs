//! Tests of the program and the library from outside, one binary.

mod archive;
mod audit;
