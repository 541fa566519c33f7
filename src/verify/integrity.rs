//! Checks of the store's files: each holds what its name says, all that the plan has is there, and no
//! image is in two places.
//!
//! Uses `store`, `run`, `split` and `plan`; used by `verify`.

use super::{Code, Context, Finding, Sink};
use crate::data::Part;
use crate::digest::{RecipeDigest, SplitDigest};
use crate::error::{Error, Result};
use crate::manifest::Outcome;
use crate::plan::Plan;
use crate::run;
use crate::split::Split;
use crate::store::{Entry, Found, Store};
use crate::text::{are, counted};
use crate::treatment::Task;
use rayon::prelude::*;
use std::collections::HashSet;

/// How many of a split's repeated images are named.
const EXAMPLES: usize = 10;

/// Reads every file of the store, planned or not.
pub(super) fn files(context: &Context<'_>, sink: &mut Sink) -> Result<()> {
    let (entries, strays) = context.store.list()?;
    let looks = entries.par_iter().map(|entry| look(context, entry)).collect::<Result<Vec<_>>>()?;
    let mut trained_on = HashSet::new();
    for entry in &entries {
        if let Entry::Manifest(recipe) = entry {
            trained_on.extend(context.store.manifest(*recipe)?.whole().map(|manifest| manifest.recipe.split));
        }
    }
    let mut all_there = true;
    for (_, digest) in &context.plan.splits {
        all_there &= context.store.split(*digest)?.whole().is_some();
    }
    for (entry, damage) in entries.iter().zip(looks) {
        let needless = match entry {
            Entry::Snapshot(recipe, _) if damage.is_some() => is_finished(context.store, *recipe)?,
            _ => false,
        };
        sink.expect(damage.is_none(), || {
            let subject = context.store.path(entry).display().to_string();
            let why = damage.unwrap_or_default();
            let mend = match entry {
                Entry::Split(_) => "delete it, and `selffer reproduce` writes it anew",
                Entry::Snapshot(..) if needless => "delete it: its network is finished and does without",
                Entry::Snapshot(..) => "delete it, and `selffer reproduce` goes on from an earlier state",
                _ => "delete it, and `selffer reproduce` trains that network again",
            };
            Finding::new(Code::FileDamaged, subject, format!("{why}; {mend}"))
        });
        if let Entry::Split(digest) = entry {
            // A whole split beside those of the plan, or that networks were trained on, is that of another
            // protocol in this store.
            let known = trained_on.contains(digest) || all_there;
            if !(known && context.store.split(*digest)?.whole().is_some()) {
                classes(context, *digest, sink)?;
            }
        }
    }
    for stray in strays {
        let subject = context.store.dir().join(stray).display().to_string();
        let message = "it is nothing that selffer writes there; move it elsewhere";
        sink.expect(false, || Finding::new(Code::FileStray, subject, message));
    }
    Ok(())
}

/// Whether the network of a recipe is there and whole.
fn is_finished(store: &Store, recipe: RecipeDigest) -> Result<bool> {
    let manifest = store.manifest(recipe)?.whole();
    Ok(manifest.map(|manifest| run::finished(store, &manifest.recipe)).transpose()?.flatten().is_some())
}

/// Why the file of an entry is damaged, if it is.
fn look(context: &Context<'_>, entry: &Entry) -> Result<Option<String>> {
    fn damage<T>(found: Found<T>) -> Option<String> {
        match found {
            Found::Damaged(why) => Some(why),
            Found::Whole(_) | Found::Absent => None,
        }
    }
    Ok(match entry {
        Entry::Split(digest) => damage(context.store.split(*digest)?),
        Entry::Checkpoint(digest) => damage(context.store.weights(*digest)?),
        Entry::Manifest(digest) => damage(context.store.manifest(*digest)?),
        Entry::Snapshot(recipe, steps) => damage(context.store.snapshot(*recipe, *steps)?),
    })
}

/// Whether a split's file, damaged or not, puts every class where the plan's split of that name does.
fn classes(context: &Context<'_>, digest: SplitDigest, sink: &mut Sink) -> Result<()> {
    let entry = Entry::Split(digest);
    if !context.store.has(&entry)? {
        return Ok(());
    }
    let path = context.store.path(&entry);
    let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let Ok(split) = serde_json::from_slice::<Split>(&bytes) else { return Ok(()) };
    let planned = context.plan.splits.iter().map(|(planned, _)| planned);
    for planned in planned.filter(|planned| planned.name == split.name && planned.data == split.data) {
        for task in Task::BOTH {
            for class in split.task(task) {
                let elsewhere = planned.task(task.other()).iter().any(|other| other.name == class.name);
                sink.expect(!elsewhere, || {
                    let message = format!(
                        "class {} of split {} is in task {task} there, and in task {} by the protocol",
                        class.name,
                        split.name,
                        task.other()
                    );
                    Finding::new(Code::ClassMoved, path.display().to_string(), message)
                });
            }
        }
    }
    Ok(())
}

/// Whether all splits and networks of the plan are there.
pub(super) fn complete(context: &Context<'_>, sink: &mut Sink) -> Result<()> {
    let (plan, store) = (context.plan, context.store);
    for (split, digest) in &plan.splits {
        let there = store.has(&Entry::Split(*digest))?;
        sink.expect(there, || {
            let path = store.path(&Entry::Split(*digest)).display().to_string();
            Finding::new(Code::SplitMissing, &split.name, "run `selffer reproduce` to write it").with(path)
        });
    }
    for (run, manifest) in plan.runs.iter().zip(&context.manifests) {
        let name = plan.name(run);
        let parent = run.parent.and_then(|parent| context.manifests[parent].as_ref());
        let barred = parent.is_some_and(|parent| parent.trained().is_none());
        let Some(manifest) = manifest else {
            sink.expect(false, || match (barred, run.parent) {
                (true, Some(parent)) => {
                    let message =
                        format!("{} diverged, so there is nothing to copy", plan.name(&plan.runs[parent]));
                    Finding::new(Code::RunBarred, name, message)
                }
                _ => Finding::new(Code::RunMissing, name, "run `selffer reproduce` to train it"),
            });
            continue;
        };
        sink.expect(manifest.run == name, || {
            Finding::new(Code::RunMisnamed, &name, format!("its manifest calls it {}", manifest.run))
                .with(store.path(&Entry::Manifest(manifest.recipe_digest())).display().to_string())
        });
        match &manifest.outcome {
            Outcome::Trained { layers } => {
                let entry = Entry::Checkpoint(layers.whole());
                let there = store.has(&entry)?;
                sink.expect(there, || {
                    Finding::new(Code::CheckpointMissing, &name, "run `selffer reproduce` to train it again")
                        .with(store.path(&entry).display().to_string())
                });
            }
            Outcome::Diverged { epoch, step } => {
                sink.expect(false, || super::training::diverged(&name, *epoch, *step));
            }
        }
    }
    Ok(())
}

/// Whether an image stands on both sides of a split, or in training and in validation.
pub(super) fn overlaps(plan: &Plan<'_>, sink: &mut Sink) {
    for (split, _) in &plan.splits {
        let [mut both_tasks, mut both_parts, mut both_classes] = [const { Vec::new() }; 3];
        for overlap in split.overlaps() {
            let place = |(task, part, name): &(Task, Part, String)| {
                let class = split.task(*task).iter().find(|class| class.name == *name);
                let at = class.and_then(|class| class.part(*part).iter().position(|it| *it == overlap.image));
                format!("{task} {part} {name} {}", at.map_or(0, |at| at + 1))
            };
            let places: Vec<String> = overlap.places.iter().map(place).collect();
            let line = format!("image {}: {}", overlap.image, places.join(", "));
            if overlap.across_tasks() {
                both_tasks.push(line.clone());
            }
            if overlap.across_parts() {
                both_parts.push(line.clone());
            }
            if overlap.across_classes() {
                both_classes.push(line);
            }
        }
        for (code, lines, where_) in [
            (Code::ImageInBothTasks, both_tasks, "in task A and in task B"),
            (Code::ImageInTrainAndValidation, both_parts, "in training and in validation"),
            (Code::ImageInTwoClasses, both_classes, "in two classes of one task and part"),
        ] {
            sink.expect(lines.is_empty(), || {
                let (images, are) = (counted(lines.len(), "image"), are(lines.len()));
                let message = format!(
                    "{images} {are} {where_}; take such images out of the data (the number is its place in its class, from 1, without what is left out)"
                );
                let finding = Finding::new(code, format!("split {}", split.name), message);
                lines.into_iter().take(EXAMPLES).fold(finding, Finding::with)
            });
        }
    }
}
