//! `selffer data`: pack folders of images, check a pack, show what is in it.
//!
//! Uses `data` and `verify::pack`; used by `commands`. Bars go to a terminal, a line now and then elsewhere.

use super::{Verdict, jobs, places, print, say, stop_when_told, verdict};
use crate::cli::data::{Data, Dir, PackArgs};
use crate::output;
use crate::progress::clock;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use selffer::data::listing::{Listing, Lists};
use selffer::data::pack::{Index, Skipped};
use selffer::data::packing::{Options, Watch, pack};
use selffer::data::{Dataset, Part};
use selffer::digest::DataDigest;
use selffer::protocol::DataSource;
use selffer::verify::Finding;
use selffer::verify::pack::check;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Seconds between two lines of progress where there is no terminal.
const LINE_S: u64 = 10;

/// Classes that text lists; JSON has them all.
const SHOWN: usize = 20;

pub fn run(command: &Data) -> anyhow::Result<Verdict> {
    match command {
        Data::Pack(args) => make(args),
        Data::Verify(args) => verify(args),
        Data::Show(args) => show(args),
    }
}

/// A pack, as `pack` and `show` print it.
#[derive(Serialize)]
struct Pack {
    pack: String,
    data: DataDigest,
    size: usize,
    train: usize,
    valid: usize,
    bytes: u64,
    shards: usize,
    skipped: Vec<Skipped>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shards_new: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<usize>,
    /// Of those.
    #[serde(skip)]
    others: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<Vec<Class>>,
}

#[derive(Serialize)]
struct Class {
    name: String,
    train: usize,
    valid: usize,
}

impl Pack {
    fn of(dir: &Path, index: Index) -> Self {
        let [train, valid] = Part::BOTH.map(|part| index.count(part));
        Self {
            pack: dir.display().to_string(),
            data: index.data,
            size: index.side,
            train,
            valid,
            bytes: ((train + valid) * index.size()) as u64,
            shards: index.train.len() + index.valid.len(),
            skipped: index.skipped,
            shards_new: None,
            left_out: None,
            others: None,
            classes: None,
        }
    }

    fn text(&self) -> String {
        let Self { pack, data, size, train, valid, bytes, shards, skipped, .. } = self;
        let mut text = String::new();
        if self.classes.is_some() {
            let _ = writeln!(text, "training  validation  class");
        }
        for class in self.classes.iter().flatten().take(SHOWN) {
            let _ = writeln!(text, "{:>8}  {:>10}  {}", class.train, class.valid, class.name);
        }
        if let Some(more) = self.classes.as_ref().map(|all| all.len()).filter(|all| *all > SHOWN) {
            let _ = writeln!(text, "  … and {} more; --format json lists all", more - SHOWN);
        }
        for Skipped { name, reason } in skipped {
            let _ = writeln!(text, "skipped: {name} {reason}");
        }
        if let Some(others) = &self.others {
            let _ = writeln!(text, "{others}");
        }
        let _ = writeln!(
            text,
            "{pack}: {train} training and {valid} validation images of {size}×{size}, {} skipped, {:.1} MB in {shards} shards, data {data}",
            skipped.len(),
            *bytes as f64 / 1e6
        );
        text
    }
}

fn make(args: &PackArgs) -> anyhow::Result<Verdict> {
    let stop = stop_when_told()?;
    let lists =
        Lists { parts: [args.train_list.clone(), args.valid_list.clone()], classes: args.classes.clone() };
    let listing = Listing::of(&args.from, &lists)?;
    places::apart_from_images(&args.to, &args.from)?;
    places::apart(&args.to)?;
    let options = Options { side: args.size, shard_bytes: args.shard_mib << 20, skip_bad: args.skip_bad };
    let images = listing.parts.iter().map(|files| files.len() as u64).sum();
    let meter = Meter::new(images, args.output.quiet);
    let watch = Watch {
        stop: &stop,
        advanced: &|images, found| meter.advance(images, found),
        bad: &|Skipped { name, reason }| meter.line(&format!("bad image {name} {reason}")),
    };
    let threads = rayon::ThreadPoolBuilder::new().num_threads(jobs(args.jobs)).build()?;
    let packed = threads.install(|| pack(&args.from, &listing, &args.to, &options, &watch));
    meter.finish();
    let packed = packed?;
    let mut result = Pack::of(&args.to, packed.index);
    (result.shards_new, result.left_out) = (Some(packed.shards_new), Some(listing.left_out));
    result.others = listing.others();
    print(args.output.format, &result, || result.text())?;
    Ok(Verdict::Clean)
}

#[derive(Serialize)]
struct Verified {
    pack: String,
    compared: u64,
    findings: Vec<Finding>,
}

fn verify(args: &Dir) -> anyhow::Result<Verdict> {
    let images = match Index::read(&args.dir) {
        Ok(index) => Part::BOTH.iter().map(|part| index.count(*part) as u64).sum(),
        Err(_) => 0,
    };
    let meter = Meter::new(images, args.output.quiet);
    let checked = check(&args.dir, &|images| meter.advance(images, false));
    meter.finish();
    let checked = checked?;
    let result = Verified {
        pack: args.dir.display().to_string(),
        compared: checked.compared,
        findings: checked.findings,
    };
    print(args.output.format, &result, || {
        let findings: Vec<&Finding> = result.findings.iter().collect();
        let text = output::findings_text(&findings);
        format!(
            "{text}{}: {} compared; {}\n",
            result.pack,
            result.compared,
            output::summary(&result.findings)
        )
    })?;
    Ok(verdict(&result.findings))
}

fn show(args: &Dir) -> anyhow::Result<Verdict> {
    let data = Dataset::read(&DataSource::Pack(args.dir.clone()))?;
    let mut result = Pack::of(&args.dir, Index::read(&args.dir)?);
    let mut counts = vec![[0; 2]; data.classes.len()];
    for part in Part::BOTH {
        data.part(part).labels.iter().for_each(|label| counts[usize::from(*label)][part as usize] += 1);
    }
    let class = |(name, [train, valid]): (String, [usize; 2])| Class { name, train, valid };
    result.classes = Some(data.classes.into_iter().zip(counts).map(class).collect());
    print(args.output.format, &result, || result.text())?;
    Ok(Verdict::Clean)
}

/// How far it is.
struct Meter {
    images: u64,
    done: AtomicU64,
    found: AtomicU64,
    began: Instant,
    bar: Option<ProgressBar>,
    quiet: bool,
    next_line: Mutex<Duration>,
}

impl Meter {
    fn new(images: u64, quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(images), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{bar:24} {percent:>3} %  {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━━ "));
            bar
        });
        Self {
            images,
            done: AtomicU64::new(0),
            found: AtomicU64::new(0),
            began: Instant::now(),
            bar,
            quiet,
            next_line: Mutex::new(Duration::from_secs(LINE_S)),
        }
    }

    fn advance(&self, images: u64, found: bool) {
        let done = self.done.fetch_add(images, Ordering::Relaxed) + images;
        let found = self.found.fetch_add(if found { images } else { 0 }, Ordering::Relaxed);
        let elapsed = self.began.elapsed();
        let speed = done.saturating_sub(found) as f64 / elapsed.as_secs_f64().max(1e-3);
        let message = || {
            let left = clock(self.images.saturating_sub(done) as f64 / speed.max(1e-3));
            format!("{done}/{}  {speed:.0} images/s  {left} left", self.images)
        };
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(message());
        } else if !self.quiet {
            let mut next = self.next_line.lock().expect("no thread panicked");
            if elapsed >= *next {
                *next = elapsed + Duration::from_secs(LINE_S);
                say(&message());
            }
        }
    }

    /// A line that stays, above the bar.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None if !self.quiet => say(text),
            None => {}
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
