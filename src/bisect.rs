//! Where two records of one network part: step, layer, tensor and number, and what kind of cause it has.
//!
//! Uses `ledger`, `snapshot` and `replay` below; used by the command line. The ledgers say between which two
//! entries; training both again from what they share says the rest. A side that does not come out again as
//! it is recorded is left with what its ledger and its snapshots say.

mod difference;
mod replay;

use crate::architecture::{LAYERS, NAMES};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::init::initial;
use crate::ledger::Place;
use crate::manifest::{Environment, Epoch, Manifest, Outcome};
use crate::plan::Plan;
use crate::snapshot::State;
use crate::store::{Found, Store};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

pub use difference::{Difference, Number};
pub use replay::{Here, Replayed, Replayer, Take, Wanted};

/// One of the two.
pub struct Side<'a> {
    /// What it is called in messages.
    pub name: &'a str,
    /// Its record.
    pub manifest: &'a Manifest,
    /// Where its checkpoint, its snapshots and the network that it copies from are, if they are anywhere.
    pub store: Option<&'a Store>,
    /// Where else the network that it copies from may be.
    pub bases: Option<&'a Store>,
    /// What can train it again as it was trained.
    pub again: &'a dyn Replayer,
}

/// What kind of thing two records differ in first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The images, or how they are split.
    Data,
    /// The order in which images were visited.
    DataOrder,
    /// The weights that training began with.
    Initialisation,
    /// The numerics policy.
    Policy,
    /// The versions of this program, its training core, or libtorch.
    CodeVersion,
    /// The base network that layers were copied from: it parted earlier.
    Parent,
    /// Nothing that decides on bits: the same computation gave others.
    Arithmetic,
    /// What is stored is not what training ended with.
    AfterTraining,
    /// The networks are the same, and the losses or counts that are recorded of their epochs are not.
    Evaluation,
    /// A record is none that training writes.
    Edited,
}

impl Cause {
    /// What it means, for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Data => "they were trained on other images or splits",
            Self::DataOrder => "they visited the images in another order",
            Self::Initialisation => "they began with other weights",
            Self::Policy => "they were computed under other numerics policies",
            Self::CodeVersion => "they were trained by other versions of the code",
            Self::Parent => "they copied from other base networks, which parted before",
            Self::Arithmetic => "arithmetic: the same computation came to other numbers",
            Self::AfterTraining => "what is stored is not what training ended with",
            Self::Evaluation => "the networks are the same, and what is recorded of their epochs is not",
            Self::Edited => "one of the records is none that training writes: it was edited",
        }
    }
}

/// Where two records part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parting {
    /// The run.
    pub run: String,
    /// The kind of cause.
    pub cause: Cause,
    /// What says so.
    pub evidence: Vec<String>,
    /// Entries that both ledgers have; they are looked through for one that agrees after one that differs.
    pub entries: usize,
    /// How many comparisons halving took to find the first that differs.
    pub compared: usize,
    /// The last place at which they are known to agree; none where they began otherwise.
    pub agree_until: Option<Place>,
    /// The first place at which they are known to differ; the step itself, where both could be trained again.
    pub differ_at: Place,
    /// Whether `differ_at` is the first step after which they differ, and not only a later one.
    pub exact: bool,
    /// The numbers that differ there, where both sides' are known.
    pub difference: Option<Difference>,
    /// Why a side is not known there.
    pub unknown: Vec<String>,
}

/// Where two records of the run of that index part; none where they are the same.
///
/// # Errors
/// Where they are not records of one run, a file cannot be read, or training fails.
pub fn bisect(plan: &Plan<'_>, index: usize, left: &Side<'_>, right: &Side<'_>) -> Result<Option<Parting>> {
    let run = plan.name(&plan.runs[index]);
    let steps = plan.steps(&plan.runs[index]);
    let sides = [left, right];
    let [l, r] = sides.map(|side| side.manifest);
    for side in sides {
        of_plan(plan, index, side.name, side.manifest)?;
    }
    if (l.initial, &l.epochs, &l.ledger, &l.outcome) == (r.initial, &r.epochs, &r.ledger, &r.outcome) {
        return Ok(None);
    }
    let of_split = |side: &Side<'_>| side.manifest.recipe.split == plan.splits[plan.runs[index].split].1;
    if !sides.into_iter().any(of_split) {
        // An entry of a ledger is a step of its own split's images.
        let problem = format!(
            "is of another split than the protocol {} has here, and so is {}",
            plan.protocol.name, left.name
        );
        let mend = "name the --protocol of one of them, with its images";
        return Err(Error::invalid(right.name, problem, mend));
    }
    if l.ledger.every != r.ledger.every {
        let problem =
            format!("has a ledger entry every {} steps, not every {}", r.ledger.every, l.ledger.every);
        return Err(Error::invalid(right.name, problem, "train both with one version of selffer"));
    }
    let mut compared = 0;
    let halved = l.ledger.first_difference(&r.ledger, &mut compared);
    let mut edited: Vec<String> =
        sides.into_iter().flat_map(|side| unlike_training(side, of_split(side).then_some(steps))).collect();
    if !l.ledger.chained_like(&r.ledger, halved) {
        let evidence =
            "entries of the ledgers agree again after one that differs, as entries that are chained cannot";
        edited.push(evidence.to_owned());
    }
    let mut orders = l.epochs.iter().zip(&r.epochs);
    if halved.is_none()
        && let Some(epoch) = orders.position(|(left, right)| left.order != right.order)
    {
        edited.push(format!(
            "the records of epoch {epoch} have two orders, and the ledgers, which have it too, agree"
        ));
    }
    let first = match edited.is_empty() {
        true => halved,
        false => first_unlike(l, r, steps),
    };
    let (agree_until, differ_at) = places(l, r, first, steps);
    let mut parting = Parting {
        cause: Cause::Arithmetic,
        evidence: Vec::new(),
        entries: l.ledger.entries.len().min(r.ledger.entries.len()),
        compared,
        agree_until,
        differ_at,
        exact: false,
        difference: None,
        unknown: Vec::new(),
        run,
    };
    recorded(&mut parting, l, r);
    if !edited.is_empty() {
        parting.cause = Cause::Edited;
        parting.evidence.splice(..0, edited);
    }
    match (parting.agree_until, first) {
        (None, _) => began(&mut parting, plan, index, sides)?,
        (Some(after), Some(_)) => {
            let until = parting.differ_at;
            replayed(&mut parting, sides.map(|side| Wanted { side, plan, index, after, until, only: None }))?;
        }
        (Some(_), None) => stored(&mut parting, sides)?,
    }
    Ok(Some(parting))
}

/// Refuses a record, by its name, that is not of the run of that index as the plan has it, but for what may be the cause
/// that two records part.
///
/// # Errors
/// Where it is of another run, seed, network, input or solver.
pub fn of_plan(plan: &Plan<'_>, index: usize, name: &str, manifest: &Manifest) -> Result<()> {
    let (planned, recipe) = (&plan.runs[index], &manifest.recipe);
    let run = plan.name(planned);
    if manifest.run != run {
        let problem = format!("is a record of {}, not of {run}", manifest.run);
        return Err(Error::invalid(name, problem, "name two records of one run"));
    }
    if recipe.parent.is_some() != planned.parent.is_some() {
        let problem =
            format!("says of {run} otherwise than its treatment whether it copies from a base network");
        return Err(Error::invalid(name, problem, "name a record that training wrote"));
    }
    let ours =
        (recipe.seed, recipe.treatment) == (planned.seed, planned.treatment) && recipe.is_of(plan.protocol);
    if !ours {
        let protocol = &plan.protocol.name;
        let problem =
            format!("has another seed, network, input or solver for {run} than the protocol {protocol}");
        return Err(Error::invalid(name, problem, "name its --protocol"));
    }
    Ok(())
}

/// What shows that a record is none that training writes: epochs that its solver does not have, and entries that are
/// missing or too many, where it is known how many steps its epochs have.
fn unlike_training(side: &Side<'_>, steps: Option<u32>) -> Vec<String> {
    let Side { manifest, name, .. } = side;
    let (solver, epochs) = (&manifest.recipe.solver, &manifest.epochs);
    let rate = (0..).zip(epochs).find(|(at, epoch)| epoch.rate != solver.rate_at(*at));
    let rate = rate.map(|(at, _)| format!("its epoch {at} has another rate than its solver"));
    let ledger = steps.and_then(|steps| manifest.ledger_is_off(steps));
    [manifest.epochs_are_off(), rate, ledger]
        .into_iter()
        .flatten()
        .map(|what| format!("{name}: {what}"))
        .collect()
}

/// The index of the first entry that two ledgers do not share, looked for one by one, since halving goes by what one of
/// them is not; none where it is no place in training.
fn first_unlike(l: &Manifest, r: &Manifest, steps: u32) -> Option<usize> {
    let (a, b) = (&l.ledger.entries, &r.ledger.entries);
    let first = (0..a.len().max(b.len())).find(|index| a.get(*index) != b.get(*index));
    first.filter(|index| (*index as u64) < l.entries_due(steps).min(r.entries_due(steps)))
}

/// The last place at which the records agree and the first at which they differ, by first weights, orders and
/// ledgers.
fn places(l: &Manifest, r: &Manifest, first: Option<usize>, steps: u32) -> (Option<Place>, Place) {
    if l.initial != r.initial {
        return (None, Place::START);
    }
    let entry = |index: usize| l.ledger.place(index, steps);
    let (agree_until, differ_at) = match first {
        None => {
            let last = l.epochs.len().max(r.epochs.len()) as u32;
            let end = Place { epoch: last.saturating_sub(1), step: steps };
            (end, end)
        }
        Some(0) => (Place::START, entry(0)),
        Some(index) => (entry(index - 1), entry(index)),
    };
    (Some(agree_until), differ_at)
}

/// What of the records themselves differs, the first kind of cause first.
fn recorded(parting: &mut Parting, l: &Manifest, r: &Manifest) {
    let (a, b) = (&l.recipe, &r.recipe);
    let mut causes: Vec<(Cause, String)> = Vec::new();
    let mut differ = |cause, what: &str, left: String, right: String| {
        if left != right {
            causes.push((cause, format!("{what}: left {left}, right {right}")));
        }
    };
    differ(Cause::Data, "data", a.data.hex(), b.data.hex());
    differ(Cause::Data, "split", a.split.hex(), b.split.hex());
    differ(Cause::Policy, "numerics", a.numerics.name().to_owned(), b.numerics.name().to_owned());
    differ(Cause::CodeVersion, "training core", a.core.to_string(), b.core.to_string());
    let parent =
        |recipe: &crate::recipe::Recipe| recipe.parent.map_or("none".to_owned(), |parent| parent.hex());
    differ(Cause::Parent, "copied from", parent(a), parent(b));
    for layer in 0..LAYERS {
        let [left, right] = [l, r].map(|manifest| manifest.initial.0[layer].hex());
        differ(Cause::Initialisation, &format!("first {}", NAMES[layer]), left, right);
    }
    for (epoch, (left, right)) in l.epochs.iter().zip(&r.epochs).enumerate() {
        differ(Cause::DataOrder, &format!("order of epoch {epoch}"), left.order.hex(), right.order.hex());
    }
    let (a, b) = (&l.environment, &r.environment);
    differ(Cause::CodeVersion, "selffer", a.selffer.clone(), b.selffer.clone());
    differ(Cause::CodeVersion, "libtorch", a.libtorch.clone(), b.libtorch.clone());
    if let Some((cause, _)) = causes.first() {
        parting.cause = *cause;
    }
    // What is no cause by itself, and worth knowing.
    let settings = |environment: &Environment| {
        let all = environment.settings.iter().map(|(name, value)| format!("{name} {value}"));
        all.collect::<Vec<_>>().join(", ")
    };
    let ended = |manifest: &Manifest| match &manifest.outcome {
        Outcome::Trained { .. } => "at the end".to_owned(),
        Outcome::Diverged { epoch, step } => format!("diverged in epoch {epoch}, step {step}"),
    };
    let mut evidence: Vec<String> = causes.into_iter().map(|(_, evidence)| evidence).collect();
    for (what, left, right) in [
        ("ended", ended(l), ended(r)),
        ("fingerprint", a.fingerprint.hex(), b.fingerprint.hex()),
        ("processor", a.cpu.clone(), b.cpu.clone()),
        ("settings", settings(a), settings(b)),
    ] {
        if left != right {
            evidence.push(format!("{what}: left {left}, right {right}"));
        }
    }
    parting.evidence = evidence;
}

/// Sides that began with other weights: draws those again, or copies them, and compares.
fn began(parting: &mut Parting, plan: &Plan<'_>, index: usize, sides: [&Side<'_>; 2]) -> Result<()> {
    parting.exact = true;
    let mut first = Vec::new();
    for side in sides {
        let weights = match replay::parent(side)? {
            Ok(parent) => {
                let recipe = &side.manifest.recipe;
                initial(recipe, &plan.shapes(&plan.runs[index]), parent.as_ref())
            }
            Err(why) => {
                parting.unknown.push(format!("{}: {why}", side.name));
                continue;
            }
        };
        match weights.digests() == side.manifest.initial {
            true => first.push(weights),
            false => parting.unknown.push(format!(
                "{}: drawn again here, its first weights do not come out as they are recorded",
                side.name
            )),
        }
    }
    if let [left, right] = first.as_slice() {
        parting.difference = Difference::of_weights(left, right);
    }
    Ok(())
}

/// Trains both sides again from what they share to where they differ, and compares them step by step: by digests of
/// their states, then the states themselves of the first step that differs.
fn replayed(parting: &mut Parting, wanted: [Wanted<'_>; 2]) -> Result<()> {
    let known = [Known::of(&wanted[0], parting)?, Known::of(&wanted[1], parting)?];
    let whole = known.iter().all(|known| known.again);
    // Where one side is known from its snapshots alone, they may lie beyond what was trained again.
    let common = known[0]
        .digests
        .iter()
        .filter_map(|(place, left)| Some((place, left == known[1].digests.get(place)?)));
    for (place, same) in common {
        if same {
            parting.agree_until = Some(*place);
            continue;
        }
        parting.differ_at = *place;
        parting.exact = whole;
        let mut states = Vec::new();
        for (wanted, known) in wanted.iter().zip(&known) {
            states.extend(known.state(wanted, *place, parting)?);
        }
        if let [left, right] = states.as_slice() {
            parting.difference = Difference::of_states(left, right);
        }
        return Ok(());
    }
    // One of them diverged in the step after the last that both have: its weights after that are nowhere.
    let diverged = wanted.iter().filter_map(|wanted| match wanted.side.manifest.outcome {
        Outcome::Diverged { epoch, step } => Some(Place { epoch, step }),
        Outcome::Trained { .. } => None,
    });
    if let Some(place) = diverged.min().filter(|_| whole) {
        // The validation after an epoch is behind its last step.
        let Wanted { plan, index, .. } = wanted[0];
        let steps = plan.steps(&plan.runs[index]);
        parting.differ_at = Place { step: (place.step + 1).min(steps), ..place };
        parting.exact = true;
    }
    Ok(())
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().expect("no thread panicked")
}

/// What is known of a side between two places.
struct Known {
    /// Whether it could be trained again; else it is known from what its store kept.
    again: bool,
    /// Its states, by their digests.
    digests: BTreeMap<Place, Digest>,
}

impl Known {
    fn of(wanted: &Wanted<'_>, parting: &mut Parting) -> Result<Self> {
        let digests = Mutex::new(BTreeMap::new());
        let take = |state: State| {
            locked(&digests).insert(state.progress.place, state.digest());
            Ok(())
        };
        let again = match wanted.side.again.states(wanted, &take)? {
            Replayed::Same => true,
            Replayed::Not(why) => {
                parting.unknown.push(format!("{}: {why}", wanted.side.name));
                locked(&digests).clear();
                replay::kept(wanted, &take)?;
                false
            }
        };
        Ok(Self { again, digests: locked(&digests).clone() })
    }

    /// Its state at a place of which there is a digest: from the same training once more.
    fn state(&self, wanted: &Wanted<'_>, place: Place, parting: &mut Parting) -> Result<Option<State>> {
        let found = Mutex::new(None);
        let take = |state: State| {
            if state.progress.place == place {
                *locked(&found) = Some(state);
            }
            Ok(())
        };
        let wanted = &Wanted { only: Some(place), ..*wanted };
        let mut why = "the second time, its state there came out otherwise".to_owned();
        match self.again {
            true => {
                if let Replayed::Not(not) = wanted.side.again.states(wanted, &take)? {
                    why = not;
                    locked(&found).take();
                }
            }
            false => replay::kept(wanted, &take)?,
        }
        let state = locked(&found).take().filter(|state| self.digests.get(&place) == Some(&state.digest()));
        if state.is_none() {
            parting.unknown.push(format!("{}: {why}", wanted.side.name));
        }
        Ok(state)
    }
}

/// Ledgers that agree to the end: compares what is stored.
fn stored(parting: &mut Parting, sides: [&Side<'_>; 2]) -> Result<()> {
    let [l, r] = sides.map(|side| side.manifest);
    let ended = (l.trained(), r.trained());
    // What the records differ in changed nothing up to the last step that both recorded.
    let cause = match ended {
        _ if parting.cause == Cause::Edited => Cause::Edited,
        _ if l.outcome == r.outcome => Cause::Evaluation,
        (Some(_), Some(_)) => Cause::AfterTraining,
        _ => parting.cause,
    };
    if let (Some(left), Some(right)) = ended
        && left != right
    {
        let mut weights = Vec::new();
        for (side, layers) in sides.into_iter().zip([left, right]) {
            let store = side.store.or(side.bases);
            match store.map(|store| store.weights(layers.whole())).transpose()?.and_then(Found::whole) {
                Some(found) => weights.push(found),
                None => parting.unknown.push(format!("{}: its checkpoint is not at hand", side.name)),
            }
        }
        if let [left, right] = weights.as_slice() {
            parting.difference = Difference::of_weights(left, right);
            parting.exact = parting.difference.is_some();
        }
    }
    if cause != Cause::Edited {
        parting.evidence.push("the ledgers agree to the end".to_owned());
    }
    let counted = |epoch: &Epoch| (epoch.train_loss, epoch.train, epoch.valid_loss, epoch.valid);
    let mut epochs = l.epochs.iter().zip(&r.epochs);
    if let Some(epoch) = epochs.position(|(left, right)| counted(left) != counted(right)) {
        parting.evidence.push(format!("the records of epoch {epoch} differ in losses or counts"));
    }
    parting.cause = cause;
    Ok(())
}

#[cfg(test)]
mod tests;
