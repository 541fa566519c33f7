//! The program: reads the command line, runs one command, and turns how it went into an exit code.

mod cli;
mod commands;
mod output;
mod progress;

use commands::Verdict;
use selffer::Error;
use selffer::text::printable;
use std::io::Write as _;
use std::sync::Arc;

/// The exit code after Ctrl-C or SIGTERM, as shells have it for Ctrl-C.
const INTERRUPTED: i32 = 130;

fn main() {
    // A file over the limit on file sizes (ulimit -f) is to be an error of the write, not the end.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    commands::end_on_signals();
    let code = match cli::Cli::told() {
        Ok(told) => run(told),
        // Help, too, and the version.
        Err(error) => {
            let _ = error.print();
            error.exit_code()
        }
    };
    let _ = std::io::stdout().flush();
    leave(code)
}

/// Runs the command, and says its exit code.
fn run(told: cli::Cli) -> i32 {
    match commands::run(told) {
        Ok(Verdict::Clean) => 0,
        Ok(Verdict::Findings) => 1,
        Err(error) => {
            let interrupted = matches!(error.downcast_ref(), Some(Error::Interrupted | Error::Stopped));
            let word = if interrupted { "" } else { "error: " };
            let _ = writeln!(std::io::stderr(), "{word}{}", printable(&format!("{error:#}")));
            if interrupted { INTERRUPTED } else { 2 }
        }
    }
}

/// Ends the process. libtorch is not to take its registers apart first: that is a fifth of a short command's time, and not
/// for a thread to do while another computes.
#[allow(unsafe_code)]
fn leave(code: i32) -> ! {
    // SAFETY: it takes a number, and nothing of this process runs after it.
    unsafe { libc::_exit(code) }
}
