//! The program: reads the command line, runs one command, and turns how it went into an exit code.

mod cli;
mod commands;
mod output;
mod progress;

use clap::Parser as _;
use commands::Verdict;
use selffer::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

/// The exit code after Ctrl-C or SIGTERM, as shells have it for Ctrl-C.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    // A file over the limit on file sizes (ulimit -f) is to be an error of the write, not the end.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    commands::end_on_signals();
    match commands::run(cli::Cli::parse()) {
        Ok(Verdict::Clean) => ExitCode::SUCCESS,
        Ok(Verdict::Findings) => ExitCode::from(1),
        Err(error) => {
            let interrupted = matches!(error.downcast_ref(), Some(Error::Interrupted | Error::Stopped));
            let word = if interrupted { "" } else { "error: " };
            let _ = writeln!(std::io::stderr(), "{word}{error:#}");
            ExitCode::from(if interrupted { INTERRUPTED } else { 2 })
        }
    }
}
