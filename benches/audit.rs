//! Audits an archive of the size of the authors' own, which it writes first: 170 runs, over 80 MB of
//! gzip. Prints how long the audit took.
//!
//!     cargo bench --bench audit

#[expect(dead_code, reason = "the tests break archives too; here one is only written")]
#[path = "../tests/it/archive.rs"]
mod archive;

use std::io::Write as _;
use std::time::Instant;

/// As much as the published archive: 80 MB of gzip, 480 MB of text.
const FULL: archive::Size = archive::Size { interval: 5000, lines: 250 };

fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    archive::write(dir.path(), FULL);
    let start = Instant::now();
    let audit = selffer::audit::published(dir.path()).expect("an archive");
    let seconds = start.elapsed().as_secs_f64();
    let _ = writeln!(std::io::stdout(), "{} runs audited in {seconds:.2} s", audit.runs.len());
}
