//! What `show` prints of one run.
//!
//! Used by `output`. Everything comes from the run's manifest, but whether the checkpoint is there.

use super::Setting;
use super::chart::{Chart, Curve, Look};
use selffer::architecture::NAMES;
use selffer::digest::{FingerprintDigest, LayerDigest, LedgerDigest, RecipeDigest, WeightsDigest};
use selffer::ledger::Place;
use selffer::manifest::{Count, Environment, Epoch, Manifest, Outcome};
use selffer::protocol::{Filler, Input, Layout, Subtract, Update};
use selffer::recipe::Recipe;
use selffer::store::{Entry, Found, Store};
use selffer::text::{self, wrapped};
use serde::Serialize;
use std::fmt::Write as _;

/// One run.
#[derive(Serialize)]
pub struct Shown {
    run: String,
    recipe_digest: RecipeDigest,
    recipe: Recipe,
    parent: Option<Parent>,
    outcome: &'static str,
    /// Where training stopped, if it diverged.
    diverged_at: Option<Place>,
    /// Validation images that are right after the last epoch.
    accuracy: Option<Count>,
    weights: Option<WeightsDigest>,
    /// The weights that it had before it was trained again and came out otherwise.
    contradicts: Option<WeightsDigest>,
    layers: Vec<Layer>,
    epochs: Vec<Epoch>,
    ledger: Ledger,
    files: Files,
    wall_ms: u64,
    environment: Machine,
}

#[derive(Serialize)]
struct Parent {
    run: String,
    weights: WeightsDigest,
}

#[derive(Serialize)]
struct Layer {
    layer: &'static str,
    began: LayerDigest,
    ended: Option<LayerDigest>,
}

#[derive(Serialize)]
struct Ledger {
    every: u32,
    entries: usize,
    last: Option<LedgerDigest>,
}

#[derive(Serialize)]
struct Files {
    manifest: String,
    checkpoint: Option<String>,
    /// `whole`, `missing`, `damaged`, or `none` where it diverged.
    checkpoint_is: &'static str,
}

/// Where and with what it was trained.
#[derive(Serialize)]
struct Machine {
    selffer: String,
    libtorch: String,
    cpu: String,
    fingerprint: FingerprintDigest,
    settings: Vec<Setting>,
}

impl Shown {
    /// What there is to show of a run that copies from the run `parent`.
    pub fn of(manifest: &Manifest, parent: Option<String>, store: &Store) -> selffer::Result<Self> {
        let manifest = manifest.clone();
        let recipe_digest = manifest.recipe_digest();
        let weights = manifest.weights();
        let path = |entry: &Entry| store.path(entry).display().to_string();
        let checkpoint_is = match weights.map(|weights| store.weights(weights)).transpose()? {
            None => "none",
            Some(Found::Whole(_)) => "whole",
            Some(Found::Absent) => "missing",
            Some(Found::Damaged(_)) => "damaged",
        };
        let ended = |index: usize| manifest.trained().map(|layers| layers.0[index]);
        let layer = |(index, layer)| Layer { layer, began: manifest.initial.0[index], ended: ended(index) };
        let layers = NAMES.into_iter().enumerate().map(layer).collect();
        let (outcome, diverged_at) = match manifest.outcome {
            Outcome::Trained { .. } => ("trained", None),
            Outcome::Diverged { epoch, step } => ("diverged", Some(Place { epoch, step })),
        };
        let Environment { selffer, libtorch, cpu, settings, fingerprint } = manifest.environment.clone();
        let settings = settings.into_iter().map(|(name, value)| Setting { name, value }).collect();
        Ok(Self {
            accuracy: manifest.accuracy(),
            recipe_digest,
            parent: parent.zip(manifest.recipe.parent).map(|(run, weights)| Parent { run, weights }),
            outcome,
            diverged_at,
            weights,
            contradicts: manifest.contradicts,
            layers,
            ledger: Ledger {
                every: manifest.ledger.every,
                entries: manifest.ledger.entries.len(),
                last: manifest.ledger.entries.last().copied(),
            },
            files: Files {
                manifest: path(&Entry::Manifest(recipe_digest)),
                checkpoint: weights.map(|weights| path(&Entry::Checkpoint(weights))),
                checkpoint_is,
            },
            wall_ms: manifest.wall_ms,
            environment: Machine { selffer, libtorch, cpu, fingerprint, settings },
            run: manifest.run,
            recipe: manifest.recipe,
            epochs: manifest.epochs,
        })
    }

    pub fn text(&self, look: Look) -> String {
        let mut text = format!("{}\n\n", self.run);
        list(&mut text, look, &self.summary());
        text.push_str("\nrecipe\n");
        list(&mut text, look, &self.recipe());
        text.push_str("\ntrained on\n");
        list(&mut text, look, &self.machine());
        let _ = write!(text, "\n{}", self.layers());
        let _ = write!(text, "\n{}", self.epochs());
        text.push_str(&self.curves(look));
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }

    fn summary(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        lines.push(match (self.accuracy, self.diverged_at) {
            (Some(Count { correct, total }), _) => {
                let share = 100.0 * Count { correct, total }.share();
                ("accuracy", format!("{share:.1} %: {correct} of {total} validation images"))
            }
            (None, Some(Place { epoch, step })) => {
                ("diverged", format!("the loss was not finite in epoch {epoch}, step {step}"))
            }
            (None, None) => ("accuracy", "none is recorded".to_owned()),
        });
        match &self.parent {
            Some(Parent { run, weights }) => {
                lines.push(("copies from", run.clone()));
                lines.push(("", weights.hex()));
            }
            None => lines.push(("copies from", "nothing".to_owned())),
        }
        if let Some(weights) = self.weights {
            lines.push(("weights", weights.hex()));
        }
        if let Some(before) = self.contradicts {
            lines.push(("contradicts", before.hex()));
            lines.push(("", "the weights before it was trained again, which came out otherwise".to_owned()));
        }
        lines.push(("manifest", self.files.manifest.clone()));
        if let Some(checkpoint) = &self.files.checkpoint {
            lines.push(("checkpoint", checkpoint.clone()));
            match self.files.checkpoint_is {
                "whole" => {}
                "missing" => lines.push(("", "missing; `selffer reproduce` trains it again".to_owned())),
                _ => lines.push(("", "damaged; `selffer reproduce` trains it again".to_owned())),
            }
        }
        let Ledger { every, entries, last } = &self.ledger;
        lines.push(("ledger", format!("{entries} entries, one every {every} steps; the last is")));
        lines.push(("", last.map_or("none".to_owned(), |last| last.hex())));
        lines
    }

    fn recipe(&self) -> Vec<(&'static str, String)> {
        let Recipe { core, numerics, data, split, seed, treatment, parent, network, input, solver } =
            &self.recipe;
        let joined = |widths: &[u32]| widths.iter().map(u32::to_string).collect::<Vec<_>>().join("-");
        let filler = match network.filler {
            Filler::He => "He".to_owned(),
            Filler::Gaussian(deviation) => format!("Gaussian of deviation {deviation}"),
            Filler::Caffe => "the paper's".to_owned(),
        };
        let drops: Vec<String> = solver.rate_drops.iter().map(u32::to_string).collect();
        let rate = match drops.is_empty() {
            true => solver.rate.to_string(),
            false => {
                format!("{}, times {} from epoch {}", solver.rate, solver.rate_factor, drops.join(" and "))
            }
        };
        let layout = match network.layout {
            Layout::Small => "small",
            Layout::Caffe => "caffe",
        };
        let prepared = |input: &Input| {
            let subtracted = match input.subtract {
                Subtract::MeanImage => "the mean image subtracted",
                Subtract::Moments => "scaled by mean and deviation",
            };
            let mirror = if input.mirror { " or their mirror images" } else { "" };
            format!("windows of {0}×{0}{mirror}, {subtracted}", input.crop)
        };
        let update = match solver.update {
            None => "rate outside the momentum, biases as weights",
            Some(Update::Caffe) => "rate inside the momentum, biases at twice the rate and without decay",
        };
        vec![
            ("digest", self.recipe_digest.hex()),
            ("core", core.to_string()),
            ("numerics", numerics.name().to_owned()),
            ("data", data.hex()),
            ("split", split.hex()),
            ("seed", seed.to_string()),
            ("treatment", treatment.to_string()),
            ("parent", parent.map_or("none".to_owned(), |parent| parent.hex())),
            ("layout", layout.to_owned()),
            ("conv", format!("{} channels", joined(&network.conv))),
            ("hidden", format!("{} units", joined(&network.hidden))),
            ("filler", filler),
            ("input", input.as_ref().map_or("images as they are, scaled".to_owned(), prepared)),
            ("epochs", solver.epochs.to_string()),
            ("steps", solver.steps.map_or("a pass an epoch".to_owned(), |steps| format!("{steps} an epoch"))),
            ("batch", format!("{} images", solver.batch)),
            ("rate", rate),
            ("momentum", solver.momentum.to_string()),
            ("decay", solver.decay.to_string()),
            ("update", update.to_owned()),
        ]
    }

    fn machine(&self) -> Vec<(&'static str, String)> {
        let Machine { selffer, libtorch, cpu, fingerprint, settings } = &self.environment;
        let mut lines = vec![
            ("took", format!("{:.1} s", self.wall_ms as f64 / 1000.0)),
            ("cpu", cpu.clone()),
            ("versions", format!("selffer {selffer}, libtorch {libtorch}")),
            ("fingerprint", fingerprint.hex()),
        ];
        let settings = settings.iter().map(|setting| format!("{} {}", setting.name, setting.value));
        lines.extend(settings.enumerate().map(|(at, line)| (if at == 0 { "settings" } else { "" }, line)));
        lines
    }

    fn layers(&self) -> String {
        let mut table = text::plain(["layer", "began", "ended", ""]);
        for Layer { layer, began, ended } in &self.layers {
            let (ended, what) = match ended {
                None => ("-".to_owned(), ""),
                Some(ended) => (ended.to_string(), if ended == began { "as it began" } else { "moved" }),
            };
            table.add_row([(*layer).to_owned(), began.to_string(), ended, what.to_owned()]);
        }
        format!("{}\n", text::lines(&table))
    }

    fn epochs(&self) -> String {
        let Some(first) = self.epochs.first() else {
            return "no epoch was finished\n".to_owned();
        };
        let header = ["epoch", "rate", "training loss", "right, %", "validation loss", "right, %"];
        let mut table = text::plain(header);
        for (at, epoch) in self.epochs.iter().enumerate() {
            let right = |count: Count| format!("{:.1}", 100.0 * count.share());
            table.add_row([
                at.to_string(),
                rate(epoch.rate),
                format!("{:.4}", epoch.train_loss),
                right(epoch.train),
                format!("{:.4}", epoch.valid_loss),
                right(epoch.valid),
            ]);
        }
        text::numeric(&mut table, 0..6);
        let (train, valid) = (first.train.total, first.valid.total);
        format!(
            "{}\n   of {train} training and {valid} validation images; losses in nats\n",
            text::lines(&table)
        )
    }

    /// Loss and accuracy by epoch, where there are two or more.
    fn curves(&self, look: Look) -> String {
        if self.epochs.len() < 2 {
            return String::new();
        }
        let last = self.epochs.len() - 1;
        // About ten labels, the last epoch's among them where they are all shown.
        let ticks: Vec<f64> = (0..=last).step_by(last.div_ceil(10).max(1)).map(|at| at as f64).collect();
        let curve = |name: &str, value: &dyn Fn(&Epoch) -> f64| Curve {
            name: name.to_owned(),
            points: self.epochs.iter().enumerate().map(|(at, epoch)| (at as f64, value(epoch))).collect(),
        };
        let loss = [curve("training", &|e| e.train_loss), curve("validation", &|e| e.valid_loss)];
        let right = |count: Count| 100.0 * count.share();
        let shares = [curve("training", &|e| right(e.train)), curve("validation", &|e| right(e.valid))];
        [("loss, nats", loss), ("images that are right, %", shares)].into_iter().fold(
            String::new(),
            |mut text, (title, curves)| {
                let ticks = ticks.clone();
                let chart = Chart { below: "epoch", ticks, level: None, curves: curves.into(), height: 9 };
                let _ = write!(text, "\n{title}\n\n{}", chart.text(look));
                text
            },
        )
    }
}

/// A rate as people write it: products of decimal fractions are off by a unit in the last place.
fn rate(rate: f64) -> String {
    format!("{rate:.6e}").parse::<f64>().unwrap_or(rate).to_string()
}

/// Where values begin, and the second line of a path: a digest with the longest ending fits there.
const VALUES: usize = 15;
const FILE: usize = 4;

/// Names and values, the values wrapped at words. A path that is too long has its file's name in a line of its own.
fn list(text: &mut String, look: Look, lines: &[(&str, String)]) {
    let columns = usize::from(look.width);
    for (name, value) in lines {
        let wide = value.chars().count() > columns.saturating_sub(VALUES);
        if let (Some((dir, file)), true) = (value.rsplit_once('/'), wide && !value.contains(' ')) {
            let _ = writeln!(text, "  {name:<12} {dir}/\n{:FILE$}{file}", "");
            continue;
        }
        let value =
            wrapped(value, columns.saturating_sub(VALUES), 0).replace('\n', &format!("\n{:VALUES$}", ""));
        let _ = writeln!(text, "  {name:<12} {value}");
    }
}
