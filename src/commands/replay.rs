//! A side of `bisect` in a process of its own: a process computes under one numerics policy.
//!
//! [`Elsewhere`] starts `selffer replay`, which is [`run`] here: it writes each state as a file, or why there
//! are none. Used by `commands` and `commands::bisect`.

use super::{Verdict, inputs, planned};
use crate::cli::ReplayArgs;
use selffer::bisect::{Here, Known, Replayer, Side, Span, States};
use selffer::ledger::Place;
use selffer::manifest::Manifest;
use selffer::numerics::{self, Numerics};
use selffer::plan::Plan;
use selffer::snapshot::State;
use selffer::split::Catalog;
use selffer::store::Store;
use selffer::train::Torch;
use selffer::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Trains a side again in another process, under the side's own policy.
pub struct Elsewhere<'a> {
    /// The protocol as the user named it.
    pub protocol: &'a str,
    /// Set by another thread to stop.
    pub stop: &'a AtomicBool,
}

/// The file in which the other process says why there are no states.
const WHY: &str = "why";

/// How often the other process is looked at.
const LOOK: Duration = Duration::from_millis(20);

impl Replayer for Elsewhere<'_> {
    fn states(&self, _plan: &Plan<'_>, _index: usize, side: &Side<'_>, span: Span) -> Result<Known> {
        let scratch = match tempfile::tempdir() {
            Ok(scratch) => scratch,
            Err(error) => {
                let dir = std::env::temp_dir();
                return Ok(Known::Not(format!("nothing can be written in {} ({error})", dir.display())));
            }
        };
        let manifest = scratch.path().join("manifest.json");
        fs::write(&manifest, side.manifest.to_bytes()).map_err(Error::io("write", &manifest))?;
        let out = scratch.path().join("states");
        fs::create_dir(&out).map_err(Error::io("create the directory", &out))?;
        let program = std::env::current_exe().map_err(Error::io("find", Path::new("this program")))?;
        let mut call = Command::new(&program);
        call.arg("replay").arg(&manifest).arg("--protocol").arg(self.protocol).arg("--out").arg(&out);
        for (option, place) in [("--after", span.after), ("--until", span.until)] {
            call.arg(option).args([place.epoch, place.step].map(|number| number.to_string()));
        }
        if let Some(data) = inputs::data() {
            call.arg("--data").arg(data);
        }
        for (option, store) in [("--store", side.store), ("--bases", side.bases)] {
            if let Some(store) = store {
                call.arg(option).arg(store.dir());
            }
        }
        // What this process's own policy set.
        numerics::VARIABLES.iter().for_each(|name| {
            call.env_remove(name);
        });
        // It ends when its standard input does, hence with this process, however that ends.
        call.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = call.spawn().map_err(Error::io("start", &program))?;
        while child.try_wait().map_err(Error::io("wait for", &program))?.is_none() {
            if self.stop.load(Ordering::Relaxed) {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Error::Stopped);
            }
            std::thread::sleep(LOOK);
        }
        let ended = child.wait_with_output().map_err(Error::io("wait for", &program))?;
        if !ended.status.success() {
            // What it was refused for is what is not known of that side; the other side is all right.
            let said = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
            return Ok(Known::Not(format!("another process could not train it: {said}")));
        }
        if let Ok(why) = fs::read_to_string(out.join(WHY)) {
            return Ok(Known::Not(why));
        }
        let mut states = States::new();
        for entry in fs::read_dir(&out).map_err(Error::io("read the directory", &out))? {
            let path = entry.map_err(Error::io("read the directory", &out))?.path();
            let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
            let state = State::from_bytes(&bytes)
                .map_err(|why| Error::invalid(path.display().to_string(), why, "check the disk"))?;
            states.insert(state.progress.place, state);
        }
        Ok(Known::States(states))
    }
}

/// The other process.
pub fn run(args: &ReplayArgs) -> anyhow::Result<Verdict> {
    let subject = args.manifest.display().to_string();
    let bytes = fs::read(&args.manifest).map_err(Error::io("read", &args.manifest))?;
    let manifest = Manifest::from_bytes(&bytes)
        .map_err(|why| Error::invalid(&subject, why.to_string(), "name a manifest of a store"))?;
    // Before any thread is started: it sets environment variables.
    let numerics = Numerics::engage(manifest.recipe.numerics)?;
    let (protocol, data) = inputs(&args.protocol)?;
    let catalog = Catalog::of(&data);
    let plan = planned(&args.protocol, &protocol, &catalog)?;
    let Some(index) = plan.runs.iter().position(|run| plan.name(run) == manifest.run) else {
        let problem = format!("is of {}, which is no run of the protocol {}", manifest.run, args.protocol);
        return Err(Error::invalid(&subject, problem, "name its --protocol").into());
    };
    end_with_input();
    let open = |store: &Option<PathBuf>| store.as_deref().map(Store::open).transpose();
    let (store, bases) = (open(&args.store)?, open(&args.bases)?);
    let place = |numbers: &[u32]| Place { epoch: numbers[0], step: numbers[1] };
    let span = Span { after: place(&args.after), until: place(&args.until) };
    let trainer = Torch::new(numerics);
    let again = Here { trainer: &trainer, stop: &AtomicBool::new(false) };
    let (store, bases) = (store.as_ref(), bases.as_ref());
    let side = Side { name: &subject, manifest: &manifest, store, bases, again: &again };
    match again.states(&plan, index, &side, span)? {
        Known::Not(why) => {
            let path = args.out.join(WHY);
            fs::write(&path, why).map_err(Error::io("write", &path))?;
        }
        Known::States(states) => {
            for (place, state) in states {
                let path = args.out.join(format!("{}-{}", place.epoch, place.step));
                fs::write(&path, state.to_bytes()).map_err(Error::io("write", &path))?;
            }
        }
    }
    Ok(Verdict::Clean)
}

/// Ends this process when its standard input does.
fn end_with_input() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(crate::INTERRUPTED.into());
    });
}
