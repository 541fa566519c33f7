//! One gzip log of a Caffe solver, read as a stream within stated limits.
//!
//! Uses nothing of this crate; used by `audit::files` and those that read what it found. What a log says is kept as it
//! says it: scores with their time stamps, processes, learning rates, losses. Which of several scores counts is decided
//! in `audit::history`. A solver's line:
//!
//! ```text
//! I0416 17:36:17.182190 18696 solver.cpp:96] Iteration 1000, Testing net
//! ```
//!
//! has a severity, month and day, time, process, place in the source and message; there is no year.

use flate2::bufread::MultiGzDecoder;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read};

/// Unpacked bytes of one log; the longest published one has 13 MB.
pub const UNPACKED_MAX: u64 = 256 << 20;

/// Bytes of one line; the longest published one has 208.
pub const LINE_MAX: usize = 4096;

/// Scores of one log; the longest published run has 450 in all.
pub const SCORES_MAX: usize = 100_000;

/// Processes, or stretches of one learning rate, of one log.
pub const PARTS_MAX: usize = 10_000;

/// Problems of one kind that are kept from one log.
const PROBLEMS_MAX: usize = 20;

/// The largest iteration that is read as one.
pub const ITERATION_MAX: u64 = 1_000_000_000;

/// A time stamp without a year: microseconds since the year began, with months of 31 days.
pub type Stamp = u64;

/// A year of [`Stamp`]s.
pub const YEAR: Stamp = 12 * 31 * 86_400_000_000;

/// One validation pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Iterations of training before it.
    pub iteration: u64,
    /// When its accuracy was logged.
    pub at: Stamp,
    /// The process that logged it, by its number in the log.
    pub process: u64,
    /// The line of the log, from 1.
    pub line: u64,
    /// The share of validation images that were right, in 0..=1.
    pub accuracy: f64,
    /// The mean loss on the validation images.
    pub loss: Option<f64>,
}

/// What one process logged.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// Its number in the log.
    pub number: u64,
    /// Its first and last time.
    pub time: (Stamp, Stamp),
    /// Its first and last iteration, where it logged one.
    pub iterations: Option<(u64, u64)>,
}

/// Consecutive lines with one learning rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// The rate.
    pub rate: f64,
    /// The first and last iteration of these lines.
    pub iterations: (u64, u64),
    /// The first of these lines, from 1.
    pub line: u64,
}

/// Why a part of a log was not read, or cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The gzip stream is damaged or ends early.
    Damaged,
    /// The gzip stream is whole, and the file goes on after it.
    Trailing,
    /// It unpacks to more than [`UNPACKED_MAX`], or holds more scores, processes or rates than a log can.
    Oversized,
    /// A line is longer than [`LINE_MAX`].
    LineTooLong,
    /// A solver's line is not of the solver's format.
    Malformed,
    /// A number is outside its range.
    OutOfRange,
    /// Within one process, time or iterations run backwards.
    Backwards,
}

/// What was wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind of thing.
    pub trouble: Trouble,
    /// The line, from 1.
    pub line: u64,
    /// What is there.
    pub text: String,
}

/// What a log says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Log {
    /// Unpacked bytes that were read.
    pub bytes: u64,
    /// Lines that were read.
    pub lines: u64,
    /// Validation scores, in the log's order.
    pub scores: Vec<Score>,
    /// Processes, in the order of their first line.
    pub processes: Vec<Process>,
    /// Learning rates, in the log's order.
    pub rates: Vec<Rate>,
    /// Lines with a training loss, and the last of them.
    pub losses: u64,
    /// What was wrong.
    pub problems: Vec<Problem>,
}

impl Log {
    /// Reads a gzip stream to its end, or to a limit.
    pub fn read(gzip: impl Read) -> Self {
        let mut log = Self::default();
        let mut reader = Parser::default();
        let unpacked = Unpacked::of(BufReader::with_capacity(64 << 10, gzip));
        let mut input = BufReader::with_capacity(64 << 10, unpacked.take(UNPACKED_MAX + 1));
        let mut line = Vec::with_capacity(256);
        loop {
            line.clear();
            let bytes = match next_line(&mut input, &mut line) {
                Ok(0) => break,
                Ok(bytes) => bytes,
                Err(error) => {
                    let text = match error.kind() {
                        ErrorKind::UnexpectedEof => "the gzip stream ends early".to_owned(),
                        _ => format!("the gzip stream is damaged ({error})"),
                    };
                    log.problem(Trouble::Damaged, log.lines + 1, text);
                    break;
                }
            };
            (log.lines, log.bytes) = (log.lines + 1, log.bytes + bytes);
            if log.bytes > UNPACKED_MAX {
                log.problem(Trouble::Oversized, log.lines, format!("more than {UNPACKED_MAX} bytes"));
                break;
            }
            if bytes > LINE_MAX as u64 {
                log.problem(Trouble::LineTooLong, log.lines, format!("{bytes} bytes"));
                continue;
            }
            reader.line(&mut log, &line);
            if log.scores.len() > SCORES_MAX || log.processes.len() > PARTS_MAX || log.rates.len() > PARTS_MAX
            {
                let text =
                    format!("more than {SCORES_MAX} scores, or {PARTS_MAX} processes or changes of rate");
                log.problem(Trouble::Oversized, log.lines, text);
                break;
            }
        }
        if input.get_ref().get_ref().trailing {
            let text = "the gzip stream ends here, and bytes that are no gzip follow";
            log.problem(Trouble::Trailing, log.lines.max(1), text);
        }
        log
    }

    fn problem(&mut self, trouble: Trouble, line: u64, text: impl Into<String>) {
        if self.problems.iter().filter(|problem| problem.trouble == trouble).count() < PROBLEMS_MAX {
            self.problems.push(Problem { trouble, line, text: text.into() });
        }
    }
}

/// What a gzip file's streams unpack to, one after another, up to whatever follows them.
struct Unpacked<R> {
    streams: MultiGzDecoder<R>,
    /// Whether the file begins as gzip does.
    begun: bool,
    /// Whether something follows the streams.
    trailing: bool,
}

impl<R: BufRead> Unpacked<R> {
    fn of(file: R) -> Self {
        let streams = MultiGzDecoder::new(file);
        Self { begun: streams.header().is_some(), streams, trailing: false }
    }
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.streams.read(into);
        let odd = |error: &Error| matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::UnexpectedEof);
        // A stream without a header has not begun: the one before it, if there is one, was whole.
        let between = self.begun && self.streams.header().is_none();
        self.trailing |= between && read.as_ref().is_err_and(odd);
        if self.trailing { Ok(0) } else { read }
    }
}

/// Appends the next line without its end, at most [`LINE_MAX`] bytes of it. The answer is how many bytes it has with its
/// end, kept or not; 0 where there is no more.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<u64> {
    let kept = input.by_ref().take(LINE_MAX as u64).read_until(b'\n', line)?;
    let whole = line.pop_if(|byte| *byte == b'\n').is_some();
    let rest = if whole { 0 } else { input.skip_until(b'\n')? };
    Ok((kept + rest) as u64)
}

/// What is remembered from line to line.
#[derive(Default)]
struct Parser {
    /// The iteration of the last `Testing net`, while its scores are awaited.
    testing: Option<u64>,
    /// The process of the last line, as an index into the log's.
    current: Option<usize>,
}

impl Parser {
    fn line(&mut self, log: &mut Log, line: &[u8]) {
        // Whatever else is printed (the job's header, the system's messages) has another form.
        let Some((at, number, message)) = record(line) else { return };
        let process = self.process(log, number, at);
        if let Some(rest) = message.strip_prefix(b"Iteration ") {
            self.iteration(log, process, rest);
        } else if let Some(rest) = message.strip_prefix(b"Test score #") {
            self.score(log, process, at, rest);
        } else {
            self.testing = None;
        }
    }

    /// The process of a line, after its time was held against the process's last.
    fn process(&mut self, log: &mut Log, number: u64, at: Stamp) -> usize {
        let index = match self.current.filter(|index| log.processes[*index].number == number) {
            Some(index) => index,
            None => match log.processes.iter().position(|process| process.number == number) {
                Some(index) => index,
                None => {
                    log.processes.push(Process { number, time: (at, at), iterations: None });
                    log.processes.len() - 1
                }
            },
        };
        self.current = Some(index);
        let last = log.processes[index].time.1;
        // A step back of more than half a year is a new year.
        if at < last && last - at < YEAR / 2 {
            let text = format!("process {number} logs an earlier time than before");
            log.problem(Trouble::Backwards, log.lines, text);
        }
        log.processes[index].time.1 = at;
        index
    }

    /// `1000, lr = 0.01`, `1000, loss = 3.2`, `1000, Testing net`.
    fn iteration(&mut self, log: &mut Log, process: usize, rest: &[u8]) {
        self.testing = None;
        let line = log.lines;
        let Some((digits, what)) = split_at(rest, b", ") else {
            return log.problem(Trouble::Malformed, line, shown(rest));
        };
        let iteration = match number::<u64>(digits) {
            Some(iteration) if iteration <= ITERATION_MAX => iteration,
            Some(_) => return log.problem(Trouble::OutOfRange, line, format!("iteration {}", shown(digits))),
            None if digits.iter().all(u8::is_ascii_digit) && !digits.is_empty() => {
                return log.problem(Trouble::OutOfRange, line, format!("iteration {}", shown(digits)));
            }
            None => return log.problem(Trouble::Malformed, line, shown(rest)),
        };
        let seen = log.processes[process].iterations;
        if let Some((_, last)) = seen.filter(|(_, last)| iteration < *last) {
            log.problem(Trouble::Backwards, line, format!("iteration {iteration} after {last}"));
        }
        let first = seen.map_or(iteration, |(first, _)| first);
        log.processes[process].iterations = Some((first, iteration));
        if what == b"Testing net" {
            self.testing = Some(iteration);
        } else if let Some(text) = what.strip_prefix(b"lr = ") {
            match number::<f64>(text) {
                Some(rate) if rate.is_finite() && rate >= 0.0 => match log.rates.last_mut() {
                    Some(last) if last.rate == rate && iteration >= last.iterations.1 => {
                        last.iterations.1 = iteration
                    }
                    _ => log.rates.push(Rate { rate, iterations: (iteration, iteration), line }),
                },
                Some(_) => log.problem(Trouble::OutOfRange, line, format!("learning rate {}", shown(text))),
                None => log.problem(Trouble::Malformed, line, shown(rest)),
            }
        } else if let Some(text) = what.strip_prefix(b"loss = ") {
            match number::<f64>(text) {
                Some(loss) if loss.is_finite() && loss >= 0.0 => log.losses += 1,
                Some(_) => log.problem(Trouble::OutOfRange, line, format!("loss {}", shown(text))),
                None => log.problem(Trouble::Malformed, line, shown(rest)),
            }
        } else {
            log.problem(Trouble::Malformed, line, shown(rest));
        }
    }

    /// `0: 0.28612`, an accuracy, or `1: 3.21419`, a loss, of the pass that is awaited.
    fn score(&mut self, log: &mut Log, process: usize, at: Stamp, rest: &[u8]) {
        let line = log.lines;
        let Some((which, text)) = split_at(rest, b": ") else {
            return log.problem(Trouble::Malformed, line, shown(rest));
        };
        let Some(iteration) = self.testing else {
            return log.problem(Trouble::Malformed, line, "a score without an iteration");
        };
        let Some(value) = number::<f64>(text) else {
            return log.problem(Trouble::Malformed, line, shown(rest));
        };
        match which {
            b"0" if (0.0..=1.0).contains(&value) => {
                let process = log.processes[process].number;
                log.scores.push(Score { iteration, at, process, line, accuracy: value, loss: None });
            }
            b"1" if value.is_finite() && value >= 0.0 => {
                // The loss follows the accuracy of the same pass.
                if let Some(score) = log.scores.last_mut().filter(|score| score.iteration == iteration) {
                    score.loss = Some(value);
                }
            }
            b"0" | b"1" => log.problem(Trouble::OutOfRange, line, format!("score {}", shown(text))),
            _ => log.problem(Trouble::Malformed, line, shown(rest)),
        }
    }
}

/// A line's time stamp, process and message; none where it is no solver's record.
fn record(line: &[u8]) -> Option<(Stamp, u64, &[u8])> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() < 23 || !b"IWEF".contains(&line[0]) || line[5] != b' ' || line[21] != b' ' {
        return None;
    }
    if [line[8], line[11], line[14]] != *b"::." {
        return None;
    }
    let digits = |from: usize, to: usize| number::<u64>(&line[from..to]);
    let (month, day) = (digits(1, 3)?, digits(3, 5)?);
    let (hour, minute, second, micro) = (digits(6, 8)?, digits(9, 11)?, digits(12, 14)?, digits(15, 21)?);
    let possible =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 62;
    let days = possible.then(|| (month - 1) * 31 + day - 1)?;
    let at = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micro;
    let (head, message) = split_at(&line[22..], b"] ")?;
    let (process, _) = split_at(head.trim_ascii_start(), b" ")?;
    Some((at.min(YEAR - 1), number(process)?, message))
}

fn split_at<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(separator.len()).position(|window| window == separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    // `parse` would take a sign or a word (`+1`, `inf`, `nan`) that only a float may have.
    std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+'))?.parse().ok()
}

/// A line's words for a message: printable, and not all of a long one.
fn shown(text: &[u8]) -> String {
    text.iter().take(80).flat_map(|byte| byte.escape_ascii()).map(char::from).collect()
}

/// A stamp as the log writes it, without microseconds.
pub fn clock(at: Stamp) -> String {
    let seconds = at / 1_000_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (month, day) = (days / 31 + 1, days % 31 + 1);
    format!("{month:02}{day:02} {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests;
