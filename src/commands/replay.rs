//! A side of `bisect` in a process of its own: a process computes under one numerics policy.
//!
//! [`Elsewhere`] starts `selffer replay`, which is [`run`] here: it writes each state to its standard output, and what
//! came of it. Used by `commands` and `commands::bisect`.

use super::{Inputs, Verdict, inputs};
use crate::cli::ReplayArgs;
use selffer::bisect::{Here, Replayed, Replayer, Side, Take, Wanted};
use selffer::ledger::Place;
use selffer::manifest::Manifest;
use selffer::numerics::Numerics;
use selffer::recipe::Policy;
use selffer::snapshot::State;
use selffer::store::Store;
use selffer::train::Torch;
use selffer::{Error, Result};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Trains a side again in another process, under the side's own policy.
pub struct Elsewhere<'a> {
    /// The protocol as the user named it.
    pub protocol: &'a str,
    /// What this process computes under.
    pub numerics: &'a Numerics,
    /// Set by another thread to stop.
    pub stop: &'a AtomicBool,
}

/// How often it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(20);

impl Replayer for Elsewhere<'_> {
    fn states(&self, wanted: &Wanted<'_>, take: &Take<'_>) -> Result<Replayed> {
        let side = wanted.side;
        let program = std::env::current_exe().map_err(Error::io("find", Path::new("this program")))?;
        let mut call = Command::new(&program);
        call.arg("replay").arg("--protocol").arg(self.protocol);
        for (option, place) in [("--after", wanted.after), ("--until", wanted.until)] {
            call.arg(option).args([place.epoch, place.step].map(|number| number.to_string()));
        }
        if let Some(place) = wanted.only {
            call.arg("--only").args([place.epoch, place.step].map(|number| number.to_string()));
        }
        if let Some(data) = inputs::data() {
            call.arg("--data").arg(data);
        }
        for (option, store) in [("--store", side.store), ("--bases", side.bases)] {
            if let Some(store) = store {
                call.arg(option).arg(store.dir());
            }
        }
        for name in self.numerics.not_for(side.manifest.recipe.numerics) {
            call.env_remove(name);
        }
        call.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = call.spawn().map_err(Error::io("start", &program))?;
        let (mut to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut told = child.stderr.take().expect("piped");
        let child = Mutex::new(child);
        let (done, end) = channel::<()>();
        let (said, told) = std::thread::scope(|scope| {
            // Beside what it answers: neither pipe may fill while the other is read.
            let told = scope.spawn(move || {
                let mut all = Vec::new();
                told.read_to_end(&mut all).map(|_| all)
            });
            scope.spawn(|| {
                let end = end;
                while end.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                    if self.stop.load(Ordering::Relaxed) {
                        let _ = child.lock().expect("no thread panicked").kill();
                        break;
                    }
                }
            });
            // One that ends before it reads that says why.
            let _ = write(&mut to, RECORD, &side.manifest.to_bytes());
            let said = hear(from, take);
            drop((to, done));
            (said, told.join().expect("no thread panicked"))
        });
        let mut child = child.into_inner().expect("no thread panicked");
        let ended = child.wait().map_err(Error::io("wait for", &program))?;
        let told = told.map_err(Error::io("listen to", &program))?;
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        // What it was refused for is what is not known of that side; the other side is all right.
        Ok(said?.unwrap_or_else(|| {
            let said = match String::from_utf8_lossy(&told).trim() {
                "" => ended.to_string(),
                said => said.to_owned(),
            };
            Replayed::Not(format!("another process could not train it: {said}"))
        }))
    }
}

/// What the two processes say to each other: a letter, a length, and so many bytes.
const RECORD: u8 = b'r';
const STATE: u8 = b's';
const SAME: u8 = b'.';
const NOT: u8 = b'!';

fn write(to: &mut impl Write, kind: u8, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&[kind])?;
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(bytes)?;
    to.flush()
}

fn read(from: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let (mut kind, mut length) = ([0], [0; 8]);
    from.read_exact(&mut kind)?;
    from.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let mut bytes = Vec::new();
    match from.take(length).read_to_end(&mut bytes)? as u64 == length {
        true => Ok((kind[0], bytes)),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Hands over the states that the other process writes; none where it ended before it said what came of it.
fn hear(mut from: impl Read, take: &Take<'_>) -> Result<Option<Replayed>> {
    while let Ok((kind, bytes)) = read(&mut from) {
        match kind {
            STATE => {
                let another = |why| Error::invalid("another process", why, "run it again");
                take(State::from_bytes(&bytes).map_err(another)?)?;
            }
            SAME => return Ok(Some(Replayed::Same)),
            _ => return Ok(Some(Replayed::Not(String::from_utf8_lossy(&bytes).into_owned()))),
        }
    }
    Ok(None)
}

/// The other process.
pub fn run(args: &ReplayArgs) -> anyhow::Result<Verdict> {
    let subject = "standard input".to_owned();
    let bytes = match read(&mut io::stdin()) {
        Ok((RECORD, bytes)) => bytes,
        _ => {
            return Err(
                Error::invalid(&subject, "has no record", "this is started by `selffer bisect`").into()
            );
        }
    };
    let manifest = Manifest::from_bytes(&bytes)
        .map_err(|why| Error::invalid(&subject, why.to_string(), "this is started by `selffer bisect`"))?;
    // Before any thread is started: it sets environment variables.
    let fits = || Numerics::look_for_gpu().ok().flatten();
    let gpu = if manifest.recipe.numerics == Policy::Cuda { fits() } else { None };
    let numerics = Numerics::engage_on(manifest.recipe.numerics, gpu.map_or(0, |gpu| gpu.ordinal))?;
    end_with_input();
    let inputs = Inputs::read(&args.protocol)?;
    let plan = inputs.plan()?;
    let Some(index) = plan.find(&manifest.run) else {
        let problem = format!("is of {}, which is no run of the protocol {}", manifest.run, args.protocol);
        return Err(Error::invalid(&subject, problem, "name its --protocol").into());
    };
    let open = |store: &Option<PathBuf>| store.as_deref().map(Store::open).transpose();
    let (store, bases) = (open(&args.store)?, open(&args.bases)?);
    let place = |numbers: &[u32]| Place { epoch: numbers[0], step: numbers[1] };
    let trainer = Torch::new(numerics);
    let again = Here { trainer: &trainer, stop: &AtomicBool::new(false) };
    let (store, bases) = (store.as_ref(), bases.as_ref());
    let side = Side { name: &subject, manifest: &manifest, store, bases, again: &again };
    let (after, until, only) = (place(&args.after), place(&args.until), args.only.as_deref().map(place));
    let wanted = Wanted { side: &side, plan: &plan, index, after, until, only };
    let say = |kind, bytes: &[u8]| {
        write(&mut io::stdout(), kind, bytes).map_err(Error::io("write to", Path::new("standard output")))
    };
    match again.states(&wanted, &|state| say(STATE, &state.to_bytes()))? {
        Replayed::Same => say(SAME, b"")?,
        Replayed::Not(why) => say(NOT, why.as_bytes())?,
    }
    Ok(Verdict::Clean)
}

/// Ends this process when its standard input does, hence with the process that started it, however that ends.
fn end_with_input() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        crate::leave(crate::INTERRUPTED);
    });
}
