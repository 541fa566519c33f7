//! What a report shows of a store: what manifests record, what `verify` says of it, and what follows.
//!
//! Uses `verify`, `table`, `audit::store` and the checkpoints of first layers; makes a `report::model::Side`. Counts are those
//! that manifests record: evaluating checkpoints again takes libtorch, and is what `selffer audit` adds.

use super::filters;
use super::model::{
    ACCURACIES, CONCLUSIONS, Curve, Entry, FINDINGS, Fact, Input, Parts, Place, Side, Task, grouped,
};
use crate::audit::store::conclude;
use crate::audit::{self, names::SplitKind};
use crate::data::Part;
use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::{Environment, Manifest, Outcome};
use crate::plan::{Plan, PlannedRun};
use crate::protocol;
use crate::store::Entry as StoreEntry;
use crate::table::Table;
use crate::text::{are, networks, shell_word};
use crate::treatment;
use crate::verify::golden::{Golden, Scope};
use crate::verify::{Context, Finding, Report};
use std::path::Path;

/// The side of a store, which `verify` found to be as `report` says.
///
/// # Errors
/// Where the system does not let a file be read.
pub fn store(context: &Context<'_>, report: &Report) -> Result<Side> {
    let Context { plan, policy, manifests, .. } = context;
    let table = Table::of(plan, manifests);
    let (mut audit, points) = conclude(plan, &table)?;
    audit.findings.extend(report.findings.iter().map(|finding| without_path(finding, context)));
    audit.findings = audit::sorted(audit.findings);
    let name = &plan.protocol.name;
    let options = options(name, policy.name());
    let runs = plan.runs.iter().zip(manifests);
    let runs = runs.map(|(run, manifest)| entry(context, run, manifest.as_ref(), &options)).collect();
    let there = manifests.iter().flatten().count();
    let title = "These runs".to_owned();
    let about = format!(
        "A store of {there} of the {} of protocol {name}, under {} numerics.",
        networks(plan.runs.len()),
        policy.name()
    );
    let mut side = Side::new(Parts { title, about, audit, points, runs });
    side.checked = report.checked.clone();
    side.filters = filters::of(context)?;
    side.splits = splits(plan);
    let built_in = Golden::embedded(&Scope::of(name, *policy, manifests))?;
    let golden_input = built_in.as_ref().map(|(origin, file, _)| Input {
        what: "golden",
        path: origin.clone(),
        digest: Digest::of(file.as_bytes()).hex(),
    });
    side.inputs = inputs(context, golden_input);
    side.facts = facts(context);
    side.facts.extend(built_in.as_ref().map(|(origin, _, snapshot)| golden(origin, snapshot, &table)));
    side.remarks = remarks(context, report, &options);
    side.commands = commands(&options, built_in.is_some());
    side.options = options;
    Ok(side)
}

/// The options that name a protocol and a policy, and a store by its variable.
fn options(protocol: &str, policy: &str) -> String {
    let built_in = protocol::EMBEDDED.iter().any(|(name, _)| *name == protocol);
    let file = if built_in { protocol.to_owned() } else { format!("{protocol}.toml") };
    // The policy too, since a machine with a GPU has another default.
    format!("--protocol {file} --numerics {policy} --store \"$STORE\"")
}

fn entry(context: &Context<'_>, run: &PlannedRun, manifest: Option<&Manifest>, options: &str) -> Entry {
    let plan = context.plan;
    let (split, digest) = &plan.splits[run.split];
    let target = run.treatment.target();
    let images = split.count(target, Part::Valid);
    let classes = split.task(target).len();
    let accuracy = manifest.and_then(Manifest::accuracy);
    let share = accuracy.map(crate::manifest::Count::share);
    let name = plan.name(run);
    let mut facts = vec![
        Fact::words("learns", format!("task {target} of {}: {classes} classes", split.name)),
        Fact::code("split", digest.hex()),
    ];
    let lacks = match manifest.map(|manifest| &manifest.outcome) {
        None => Some("the store has no manifest of it".to_owned()),
        Some(Outcome::Diverged { epoch, step }) => {
            Some(format!("training diverged in epoch {epoch}, step {step}"))
        }
        Some(Outcome::Trained { .. }) => None,
    };
    if let Some(manifest) = manifest {
        let recipe = manifest.recipe_digest();
        facts.push(Fact::code("manifest", within(context, &StoreEntry::Manifest(recipe))));
        facts.push(Fact::code("its SHA-256", Digest::of(&manifest.to_bytes()).hex()));
        facts.push(Fact::code("recipe", recipe.hex()));
        if let Some(layers) = manifest.trained() {
            facts.push(Fact::code("weights", layers.whole().hex()));
            if run.treatment.n() > 0 {
                facts.push(Fact::code("its first n layers", layers.prefix(run.treatment.n()).hex()));
            }
        }
        if let Some(parent) = manifest.recipe.parent {
            facts.push(Fact::code("copied from weights", parent.hex()));
        }
        facts.push(Fact::words("took", format!("{:.1} s", manifest.wall_ms as f64 / 1000.0)));
    }
    let places = manifest.map(|manifest| manifest.epochs.as_slice()).unwrap_or_default().iter().zip(0..);
    let place = |(epoch, at): (&crate::manifest::Epoch, u64)| Place {
        at,
        valid: epoch.valid.share(),
        valid_loss: Some(epoch.valid_loss),
        train: Some(epoch.train.share()),
        train_loss: Some(epoch.train_loss),
    };
    Entry {
        command: format!("selffer show {} {options}", shell_word(&name)),
        name,
        anchor: String::new(),
        split: match run.treatment.examples() {
            Some(_) => SplitKind::Reduced,
            None => SplitKind::of(&plan.protocol.splits[run.split].halves),
        },
        treatment: run.treatment,
        target: format!("{}/{target}", split.name),
        examples: run.treatment.examples(),
        accuracy: share,
        right: accuracy.map(|count| (count.correct, count.total)),
        images: images as u64,
        at_chance: accuracy.is_some_and(|count| count.at_chance(classes)),
        lacks,
        parent: run.parent.map(|parent| plan.name(&plan.runs[parent])),
        facts,
        curve: Curve { unit: "epoch", places: places.map(place).collect() },
    }
}

/// A path within the store, the same on every system.
fn within(context: &Context<'_>, entry: &StoreEntry) -> String {
    let path = context.store.path(entry);
    let path = path.strip_prefix(context.store.dir()).unwrap_or(Path::new("")).to_owned();
    path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn splits(plan: &Plan<'_>) -> Vec<Task> {
    let mut tasks = Vec::new();
    for (split, digest) in &plan.splits {
        let known = treatment::Task::BOTH.into_iter().filter(|task| !split.task(*task).is_empty());
        tasks.extend(known.map(|task| Task {
            split: split.name.clone(),
            digest: digest.hex(),
            task: task.to_string(),
            classes: split.task(task).iter().map(|class| class.name.clone()).collect(),
            train: split.count(task, Part::Train),
            valid: split.count(task, Part::Valid),
        }));
    }
    tasks
}

fn inputs(context: &Context<'_>, golden: Option<Input>) -> Vec<Input> {
    let Context { plan, manifests, .. } = context;
    let protocol = &plan.protocol;
    let mut inputs = vec![
        Input { what: "protocol", path: protocol.name.clone(), digest: protocol.digest().hex() },
        Input {
            what: "data",
            path: format!("{} classes", plan.catalog.data.classes.len()),
            digest: plan.catalog.digest.hex(),
        },
    ];
    inputs.extend(golden);
    let split = |(_, digest): &(_, crate::digest::SplitDigest)| Input {
        what: "split",
        path: within(context, &StoreEntry::Split(*digest)),
        digest: digest.hex(),
    };
    inputs.extend(plan.splits.iter().map(split));
    let manifest = |manifest: &Manifest| Input {
        what: "manifest",
        path: within(context, &StoreEntry::Manifest(manifest.recipe_digest())),
        digest: Digest::of(&manifest.to_bytes()).hex(),
    };
    inputs.extend(manifests.iter().flatten().map(manifest));
    inputs
}

/// The protocol and each place where networks were trained, by what manifests say.
fn facts(context: &Context<'_>) -> Vec<Fact> {
    let Context { plan, policy, manifests, .. } = context;
    let protocol = &plan.protocol;
    let solver = &protocol.solver;
    let widths = |widths: &[u32]| widths.iter().map(ToString::to_string).collect::<Vec<_>>().join("-");
    let seeds: Vec<String> = protocol.seeds.iter().map(ToString::to_string).collect();
    let mut facts = vec![
        Fact::words("protocol", &protocol.name),
        Fact::code("its digest", protocol.digest().hex()),
        Fact::words("numerics", policy.name()),
        Fact::words(
            "network",
            format!(
                "convolutions {}, fully connected {} and one unit a class",
                widths(&protocol.network.conv),
                widths(&protocol.network.hidden)
            ),
        ),
        Fact::words(
            "training",
            format!("{} epochs, batches of {}, learning rate {}", solver.epochs, solver.batch, solver.rate),
        ),
        Fact::words("epochs and steps", "count from 0"),
        Fact::words("seeds", seeds.join(", ")),
    ];
    let mut places: Vec<(&Environment, usize)> = Vec::new();
    for environment in manifests.iter().flatten().map(|manifest| &manifest.environment) {
        match places.iter_mut().find(|(known, _)| *known == environment) {
            Some((_, count)) => *count += 1,
            None => places.push((environment, 1)),
        }
    }
    for (Environment { selffer, libtorch, cpu, settings, fingerprint }, count) in places {
        facts.push(Fact::words("trained here", format!("{}, by selffer {selffer}", networks(count))));
        facts.push(Fact::words("libtorch", libtorch));
        facts.push(Fact::words("processor", cpu));
        facts.push(Fact::code("fingerprint", fingerprint.hex()));
        let settings: Vec<String> =
            settings.iter().map(|(name, value)| format!("{name}={}", value.trim())).collect();
        facts.push(Fact::code("settings", settings.join("; ")));
    }
    facts
}

/// How the networks compare with the golden snapshot that is built into the program.
fn golden(origin: &str, golden: &Golden, table: &Table) -> Fact {
    let same = table
        .cells
        .iter()
        .filter(|cell| golden.runs.get(&cell.run()).is_some_and(|entry| entry.weights == cell.weights))
        .count();
    let text = format!(
        "{same} of {} {} those of {origin}, bit for bit ({} there)",
        networks(table.cells.len()),
        are(same),
        golden.runs.len()
    );
    Fact::words("golden", text)
}

/// A text without `dir` where a path begins with it: a short name may be a part of other words.
fn without(text: &str, dir: &str) -> String {
    let (mut bare, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(dir) {
        let within = |before: char| before.is_alphanumeric() || "/-_.".contains(before);
        bare.push_str(&rest[..at]);
        if bare.chars().next_back().is_some_and(within) {
            bare.push_str(dir);
        }
        rest = &rest[at + dir.len()..];
    }
    bare + rest
}

/// A finding without the path of the store, which is another on another machine.
fn without_path(finding: &Finding, context: &Context<'_>) -> Finding {
    let dir = format!("{}/", context.store.dir().display());
    let bare = |text: &String| without(text, &dir);
    Finding {
        subject: bare(&finding.subject),
        message: bare(&finding.message),
        evidence: finding.evidence.iter().map(bare).collect(),
        ..finding.clone()
    }
}

fn remarks(context: &Context<'_>, report: &Report, options: &str) -> Vec<String> {
    let compared: usize = report.checked.iter().map(|checked| checked.compared).sum();
    let wrong: usize = report.checked.iter().map(|checked| checked.errors).sum();
    let mut remarks = vec![
        format!(
            "Counts are those that manifests record. `selffer verify {options}` held every file and every invariant \
             against its recipe: {} comparisons, {wrong} wrong.",
            grouped(compared as u64)
        ),
        format!(
            "`{}` evaluates every checkpoint again, and with --sample K --seed S trains networks again: that is \
             what proves the counts.",
            audit(options)
        ),
    ];
    let missing = context.manifests.iter().filter(|manifest| manifest.is_none()).count();
    if missing > 0 {
        let of = networks(context.plan.runs.len());
        remarks.push(format!("{missing} of {of} of the protocol {} not in the store.", are(missing)));
    }
    remarks
}

/// The command that audits the store.
fn audit(options: &str) -> String {
    format!("selffer audit \"$STORE\" {}", options.replace("--store \"$STORE\"", "").trim())
}

fn commands(options: &str, has_golden: bool) -> Vec<(&'static str, String)> {
    let mut commands = vec![
        ("the networks themselves", format!("selffer reproduce {options}")),
        (ACCURACIES, format!("selffer table {options} --format csv")),
        (FINDINGS, format!("selffer verify {options}")),
        (CONCLUSIONS, audit(options)),
        ("the plan and its digests", format!("selffer plan {options}")),
    ];
    // What there is nothing to compare with could only fail.
    if has_golden {
        commands.push(("the comparison with golden", format!("selffer golden check {options}")));
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::{commands, without};

    #[test]
    fn a_golden_that_is_not_there_is_not_asked_for() {
        let golden = |has_golden: bool| {
            commands("--protocol x", has_golden).iter().filter(|(_, text)| text.contains("golden")).count()
        };
        assert_eq!((golden(true), golden(false)), (1, 0));
    }

    #[test]
    fn the_store_s_place_is_taken_off_and_no_other_word_changed() {
        let text = "s/manifests/x: as/s/y and (s/z) differ";
        assert_eq!(without(text, "s/"), "manifests/x: as/s/y and (z) differ");
        assert_eq!(without("/a b/s/x, /a b/s/y", "/a b/s/"), "x, y");
    }
}
