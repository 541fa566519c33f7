//! How treatments are written and read.
//!
//! Uses `treatment`, of which it is a part.

use super::{DEPTHS, Source, Task, Treatment};
use std::fmt;
use std::str::FromStr;

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base(task) => write!(f, "base{task}"),
            Self::Reduced { target, examples } => write!(f, "base{target}@{examples}"),
            Self::Grafted { source: Source::Random, n, target } => write!(f, "R{n}{target}"),
            Self::Grafted { source: Source::Preserved { task, more }, n, target } => {
                write!(f, "{task}{n}{target}^{more}")
            }
            Self::Grafted { source: Source::Base { task, tuned }, n, target } => {
                write!(f, "{task}{n}{target}{}", if *tuned { "+" } else { "" })
            }
        }
    }
}

/// A text that is no treatment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotATreatment {
    /// Not of the form of any treatment.
    #[error(
        "`{0}` is no treatment: write baseA or baseB, or a source (A, B or R for random), a depth \
         and a target (A or B), as in A3B, and a + where copied layers are trained on"
    )]
    Form(String),
    /// A depth outside 1..=7.
    #[error("`{0}` copies {1} layers: of the 8 layers, 1 to 7 can be copied")]
    Depth(String, String),
    /// `R3B+`: training random layers on is only training from scratch.
    #[error("`{0}`: a random-weight control is frozen by definition, so leave out the +")]
    TunedRandom(String),
    /// `R3B^2`: there is nothing to copy.
    #[error("`{0}`: a random-weight control copies nothing, so leave out the ^")]
    PreservedRandom(String),
    /// `A3B^0`, `A3B^5`.
    #[error(
        "`{0}`: after the ^ stands how many more layers are copied and trained on, 1 at least, and of the 8 \
         layers 7 in all can be copied"
    )]
    Preserved(String),
    /// `baseA@0`.
    #[error("`{0}`: after the @ stands the number of training images of each class, 1 to {max}", max = u32::MAX)]
    Examples(String),
}

fn task(letter: &str) -> Option<Task> {
    match letter {
        "A" => Some(Task::A),
        "B" => Some(Task::B),
        _ => None,
    }
}

/// What follows the target: nothing, `+`, or `^` and what stands for k.
#[derive(Clone, Copy)]
enum Suffix<'a> {
    Frozen,
    Tuned,
    Preserved(&'a str),
}

/// The parts of `A3B+` before any is checked: source letter, what stands for n, target, what follows.
fn parts(text: &str) -> Option<(&str, &str, Task, Suffix<'_>)> {
    let (body, suffix) = match (text.strip_suffix('+'), text.split_once('^')) {
        (_, Some((body, more))) => (body, Suffix::Preserved(more)),
        (Some(body), None) => (body, Suffix::Tuned),
        (None, None) => (text, Suffix::Frozen),
    };
    if !body.is_ascii() || body.len() < 3 {
        return None;
    }
    let (source, rest) = body.split_at(1);
    let (n, target) = rest.split_at(rest.len() - 1);
    Some((source, n, task(target)?, suffix))
}

/// The number that `digits` is, if it is written as this program writes it: a text has one treatment and
/// back.
fn number<T: FromStr + ToString>(digits: &str) -> Option<T> {
    digits.parse().ok().filter(|number: &T| number.to_string() == digits)
}

impl FromStr for Treatment {
    type Err = NotATreatment;

    fn from_str(text: &str) -> Result<Self, NotATreatment> {
        let form = || NotATreatment::Form(text.to_owned());
        if let Some(rest) = text.strip_prefix("base") {
            let Some((letter, examples)) = rest.split_once('@') else {
                return task(rest).map(Self::Base).ok_or_else(form);
            };
            let target = task(letter).ok_or_else(form)?;
            let examples = number(examples).filter(|examples| *examples > 0);
            let refuse = || NotATreatment::Examples(text.to_owned());
            return examples.map(|examples| Self::Reduced { target, examples }).ok_or_else(refuse);
        }
        let (source, digits, target, suffix) = parts(text).ok_or_else(form)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(form());
        }
        let refuse = || NotATreatment::Depth(text.to_owned(), digits.to_owned());
        let n = number(digits).filter(|n| DEPTHS.contains(n)).ok_or_else(refuse)?;
        let source = match (source, suffix) {
            ("R", Suffix::Frozen) => Source::Random,
            ("R", Suffix::Tuned) => return Err(NotATreatment::TunedRandom(text.to_owned())),
            ("R", Suffix::Preserved(_)) => return Err(NotATreatment::PreservedRandom(text.to_owned())),
            (letter, Suffix::Preserved(more)) => {
                let task = task(letter).ok_or_else(form)?;
                let room = *DEPTHS.end() - n;
                let more = number(more).filter(|more| (1..=room).contains(more));
                let refuse = || NotATreatment::Preserved(text.to_owned());
                Source::Preserved { task, more: more.ok_or_else(refuse)? }
            }
            (letter, suffix) => {
                let tuned = matches!(suffix, Suffix::Tuned);
                Source::Base { task: task(letter).ok_or_else(form)?, tuned }
            }
        };
        Ok(Self::Grafted { source, n, target })
    }
}

impl TryFrom<String> for Treatment {
    type Error = NotATreatment;

    fn try_from(text: String) -> Result<Self, NotATreatment> {
        text.parse()
    }
}

impl From<Treatment> for String {
    fn from(treatment: Treatment) -> Self {
        treatment.to_string()
    }
}

/// Treatments of one form for every depth: `AnB+` is `A1B+` to `A7B+`, `AnB^2` is `A1B^2` to `A5B^2`, and with
/// `^k` every k that fits; a text with digits, or a base, is itself alone. This is how a protocol lists its
/// treatments.
///
/// # Errors
/// As for a single treatment.
pub fn family(text: &str, depths: &[u8]) -> Result<Vec<Treatment>, NotATreatment> {
    let Some((source, n, _, suffix)) = parts(text) else { return Ok(vec![text.parse()?]) };
    let texts: Vec<String> = match n {
        "n" => depths.iter().map(|n| text.replacen('n', &n.to_string(), 1)).collect(),
        _ => vec![text.to_owned()],
    };
    let (Suffix::Preserved(more), true) = (suffix, source != "R") else {
        return texts.iter().map(|text| text.parse()).collect();
    };
    let each = |text: &String| match more {
        "k" => DEPTHS.map(|k| text.replacen('k', &k.to_string(), 1)).collect(),
        _ => vec![text.clone()],
    };
    // Of a family, what does not fit above a depth is left out; alone it is an error.
    let fits = |read: &Result<Treatment, _>| !matches!(read, Err(NotATreatment::Preserved(_)));
    let all = texts.iter().flat_map(each).map(|text| text.parse());
    match all.filter(fits).collect::<Result<Vec<_>, _>>() {
        Ok(fitting) if fitting.is_empty() => Err(NotATreatment::Preserved(text.to_owned())),
        fitting => fitting,
    }
}
