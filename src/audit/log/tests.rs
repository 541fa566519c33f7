//! Tests of `audit::log`: reads good, damaged and hostile logs.

use super::*;
use flate2::{Compression, write::GzEncoder};
use std::io::Write as _;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn read(text: &str) -> Log {
    Log::read(&gzip(text.as_bytes())[..])
}

fn troubles(log: &Log) -> Vec<(Trouble, u64)> {
    log.problems.iter().map(|problem| (problem.trouble, problem.line)).collect()
}

const PASS: &str = "I0416 17:36:17.141319 18696 solver.cpp:217] Iteration 1000, lr = 0.01\n\
    I0416 17:36:17.144327 18696 solver.cpp:74] Iteration 1000, loss = 3.21752\n\
    I0416 17:36:17.182190 18696 solver.cpp:96] Iteration 1000, Testing net\n\
    I0416 17:38:32.979159 18696 solver.cpp:123] Test score #0: 0.28612\n\
    I0416 17:38:32.989717 18696 solver.cpp:123] Test score #1: 3.21419\n";

#[test]
fn a_pass_is_read() {
    let log = read(&format!("Beginning training.\n{PASS}"));
    assert_eq!(troubles(&log), []);
    assert_eq!((log.lines, log.losses, log.rates.len(), log.processes.len()), (6, 1, 1, 1));
    let score = log.scores[0];
    assert_eq!((score.iteration, score.accuracy, score.loss), (1000, 0.28612, Some(3.21419)));
    assert_eq!((score.process, score.line), (18696, 5));
    assert_eq!(clock(score.at), "0416 17:38:32");
    assert_eq!(log.processes[0].iterations, Some((1000, 1000)));
}

#[test]
fn empty_truncated_and_damaged_streams() {
    assert_eq!(read(""), Log::default());
    let whole = gzip(PASS.repeat(100).as_bytes());
    let cut = Log::read(&whole[..whole.len() / 2]);
    assert_eq!(troubles(&cut).last().map(|found| found.0), Some(Trouble::Damaged));
    assert_eq!(troubles(&Log::read(&b"no gzip"[..])), [(Trouble::Damaged, 1)]);
    assert_eq!(troubles(&Log::read(&b""[..])), [(Trouble::Damaged, 1)]);
}

#[test]
fn what_follows_a_whole_stream_is_told_from_a_stream_that_ends_early() {
    // The last line has no end, and is read all the same.
    let text = PASS.trim_end();
    let (whole, lines) = (gzip(text.as_bytes()), text.lines().count() as u64);
    for tail in [&b"x"[..], &[0; 512], &b"x".repeat(100_000), &whole[..5]] {
        let log = Log::read(&[&whole, tail].concat()[..]);
        assert_eq!(troubles(&log), [(Trouble::Trailing, lines)]);
        assert_eq!((log.lines, log.scores[0].loss), (lines, Some(3.21419)));
    }
    assert_eq!(troubles(&Log::read(&[&gzip(b""), &b"x"[..]].concat()[..])), [(Trouble::Trailing, 1)]);
    // Several streams are one text.
    let (begin, end) = PASS.split_at(100);
    let two = [gzip(begin.as_bytes()), gzip(end.as_bytes())].concat();
    assert_eq!(Log::read(&two[..]), read(PASS));
    // The second ends early, wherever after its header.
    for cut in [two.len() - 1, two.len() - 9, gzip(begin.as_bytes()).len() + 12] {
        assert_eq!(troubles(&Log::read(&two[..cut])).last().map(|found| found.0), Some(Trouble::Damaged));
    }
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let bomb = gzip(&vec![b'\n'; 300 << 20]);
    assert!(bomb.len() < 2 << 20);
    let log = Log::read(&bomb[..]);
    assert_eq!(troubles(&log)[0].0, Trouble::Oversized);
    assert!(log.bytes <= UNPACKED_MAX + 1);
}

#[test]
fn a_long_line_is_skipped() {
    let log = read(&format!("I0416 {}\n{PASS}", "x".repeat(10 << 20)));
    assert_eq!(troubles(&log), [(Trouble::LineTooLong, 1)]);
    assert_eq!(log.scores.len(), 1);
}

#[test]
fn numbers_out_of_range_and_odd_lines() {
    for (old, new, trouble, line) in [
        ("0.28612", "1.5", Trouble::OutOfRange, 4),
        ("0.28612", "nan", Trouble::OutOfRange, 4),
        ("0.28612", "inf", Trouble::OutOfRange, 4),
        ("0.28612", "", Trouble::Malformed, 4),
        ("= 3.21752", "= -inf", Trouble::OutOfRange, 2),
        ("= 0.01", "= -1", Trouble::OutOfRange, 1),
        ("1000, lr", "99999999999999999999, lr", Trouble::OutOfRange, 1),
        ("1000, lr", "9999999999, lr", Trouble::OutOfRange, 1),
        ("1000, Testing", "x, Testing", Trouble::Malformed, 3),
        ("Testing net", "Resting net", Trouble::Malformed, 3),
        ("#1:", "#7:", Trouble::Malformed, 5),
        ("17:36:17.144327", "16:36:17.144327", Trouble::Backwards, 2),
    ] {
        let log = read(&PASS.replacen(old, new, 1));
        assert_eq!(troubles(&log).first(), Some(&(trouble, line)), "{old} -> {new}");
    }
    let two = format!("{PASS}{}", PASS.replace("17:", "18:").replace("1000", "900"));
    assert_eq!(troubles(&read(&two))[0].0, Trouble::Backwards);
}

#[test]
fn a_new_year_is_no_step_back() {
    let log = read(&format!("{}{}", PASS.replace("I0416", "I1231"), PASS.replace("I0416", "I0101")));
    assert_eq!(troubles(&log), []);
}
