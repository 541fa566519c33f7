//! How a plan stands: what is done, who trains what and how far it is, what waits for what, what failed.
//!
//! Uses `plan`, `store`, `claim`, `fence`, `cluster` and the checks that need a record alone; used by the command
//! line. It reads and never writes, so that a plan can be followed from anywhere while others train it.
//! What was seen to be done is remembered and not read again.

use crate::claim::{Claim, Holder, STALE, Stage, now};
use crate::cluster::{Element, Phase};
use crate::digest::{RecipeDigest, WeightsDigest};
use crate::error::Result;
use crate::fence::Silences;
use crate::plan::Plan;
use crate::recipe::Policy;
use crate::store::Store;
use crate::verify::{Code, Finding, of_record};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// Above so many networks, of those that nothing copies from the names of their records are read alone. That a
/// record is there means that the network is; what is wrong with it, and how long it took, is then not known here.
pub const READ_ALL: usize = 5_000;

/// The host of a failure of which no host is known.
pub const UNKNOWN: &str = "unknown";

/// How one network stands. What few have is behind a pointer: there is one of these for each network of a plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// It is in the store.
    Done,
    /// The network it copies from diverged, so it cannot be trained.
    Barred,
    /// A process is training it, as its claim says; that may lag by a beat.
    Running(Box<Claim>),
    /// A job that has it has started, and has not claimed it yet, or is between two of its networks.
    Starting(Box<Element>),
    /// A job that has it is in the queue.
    Queued(Box<Element>),
    /// The network it copies from, by index, is not done, and no job has it.
    Waiting(usize),
    /// Whoever had it could not go on, or is gone without a word.
    Failed(Box<Failure>),
    /// It was stopped as asked, with a state to go on from.
    Stopped(Box<Claim>),
    /// Nobody has it.
    Free,
}

/// Why a network is not done though somebody had it.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Where.
    pub host: String,
    /// Why, as far as is known.
    pub why: String,
    /// The job that had it.
    pub job: Option<Element>,
}

/// What is remembered of a network that is done.
#[derive(Debug, Clone, PartialEq)]
struct Finished {
    weights: Option<WeightsDigest>,
    /// How long it was trained for; 0 where that says nothing of speed: its record was not read, or it diverged.
    wall_ms: u64,
}

/// Looks at a plan time and again.
pub struct Watch<'a> {
    plan: &'a Plan<'a>,
    store: &'a Store,
    policy: Policy,
    finished: Vec<Option<Finished>>,
    findings: Vec<Finding>,
    // Whether the record of each network is to be read.
    read: Vec<bool>,
    silences: Silences,
    stale: Duration,
}

/// How a plan stands at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Indexed like the plan's runs.
    pub standing: Vec<Standing>,
    /// What the records of finished networks say is wrong with them.
    pub findings: Vec<Finding>,
    /// Operations a second that one network gets, over all that was trained; none where nothing was.
    pub speed: Option<f64>,
    /// Operations that are still to be done.
    pub operations_left: u64,
    /// Seconds until the plan is done, if as many networks as now are trained at once.
    pub seconds_left: Option<f64>,
    /// Machines on which several networks failed or were lost, and which.
    pub troubled: BTreeMap<String, Vec<String>>,
}

/// What a look found of one network.
enum Look {
    Finished(Finished, Vec<Finding>),
    Other(Standing),
}

impl<'a> Watch<'a> {
    /// A watch that has not looked yet.
    pub fn new(plan: &'a Plan<'a>, store: &'a Store, policy: Policy) -> Self {
        let mut read = vec![plan.runs.len() <= READ_ALL; plan.runs.len()];
        for parent in plan.runs.iter().filter_map(|run| run.parent) {
            read[parent] = true;
        }
        let finished = vec![None; plan.runs.len()];
        let (findings, silences) = (Vec::new(), Silences::default());
        Self { plan, store, policy, finished, findings, read, silences, stale: STALE }
    }

    /// The same with another time, for tests.
    #[cfg(test)]
    fn with_stale(self, stale: Duration) -> Self {
        Self { stale, ..self }
    }

    /// Looks. `jobs` has what queueing systems say of runs, by index.
    ///
    /// # Errors
    /// Where the system does not let a file be read.
    pub fn look(&mut self, jobs: &HashMap<usize, Element>) -> Result<Status> {
        let claimed = self.store.claimed()?;
        let there: HashSet<RecipeDigest> = self.store.manifests()?.into_iter().collect();
        let mut standing = vec![Standing::Free; self.plan.runs.len()];
        // Bases first: a recipe names the weights that it copies from.
        for copies in [false, true] {
            let indices: Vec<usize> = (0..self.plan.runs.len())
                .filter(|index| self.plan.runs[*index].parent.is_some() == copies)
                .collect();
            let looks = indices
                .into_par_iter()
                .map(|index| Ok((index, self.one(index, &claimed, &there, jobs.get(&index))?)));
            for (index, look) in looks.collect::<Result<Vec<_>>>()? {
                standing[index] = match look {
                    Look::Finished(finished, findings) => {
                        self.finished[index] = Some(finished);
                        self.findings.extend(findings);
                        Standing::Done
                    }
                    Look::Other(standing) => standing,
                };
            }
        }
        in_turn(&mut standing, jobs);
        self.summary(standing, &claimed)
    }

    /// One network.
    fn one(
        &self,
        index: usize,
        claimed: &HashMap<RecipeDigest, u64>,
        there: &HashSet<RecipeDigest>,
        job: Option<&Element>,
    ) -> Result<Look> {
        if self.finished[index].is_some() {
            return Ok(Look::Other(Standing::Done));
        }
        let Some(recipe) = self.recipe(index) else {
            return Ok(Look::Other(self.without_base(index, job)));
        };
        if there.contains(&recipe) && !self.read[index] {
            return Ok(Look::Finished(Finished { weights: None, wall_ms: 0 }, Vec::new()));
        }
        if there.contains(&recipe)
            && let Some(look) = self.done(index, recipe)?
        {
            return Ok(look);
        }
        let mut claim = match claimed.get(&recipe) {
            Some(number) => self.store.claim(recipe, *number)?,
            None => None,
        };
        loop {
            let alive = self.alive(recipe, claim.as_ref())?;
            if alive || claim.is_none() {
                return Ok(Look::Other(standing(claim, alive, job)));
            }
            // Its holder may have ended since the directories were read, and well; and another may have it now. Who gives
            // a network up says first what became of it, so a claim that is the same after that look is the last word.
            if let Some(look) = self.done(index, recipe)? {
                return Ok(look);
            }
            let last = self.store.last_claim(recipe)?.and_then(|(_, claim)| claim);
            if last == claim {
                return Ok(Look::Other(standing(claim, alive, job)));
            }
            claim = last;
        }
    }

    /// A network whose record and checkpoint are there; none where one of them is not.
    fn done(&self, index: usize, recipe: RecipeDigest) -> Result<Option<Look>> {
        let Some(manifest) = self.store.manifest(recipe)?.whole() else { return Ok(None) };
        let weights = manifest.weights();
        if !self.store.has_weights(&manifest)? {
            return Ok(None);
        }
        let findings = of_record(self.plan, self.store, index, &manifest);
        let wall_ms = if manifest.trained().is_some() { manifest.wall_ms } else { 0 };
        let finished = Finished { weights, wall_ms };
        Ok(Some(Look::Finished(finished, findings)))
    }

    /// Whether a process has a network in hand that its last claim says is being trained.
    ///
    /// Of one on another machine, a claim that was seen to change, or was watched for long enough, is judged by this
    /// machine's clock alone. The first looks have nothing but what both clocks say.
    fn alive(&self, recipe: RecipeDigest, claim: Option<&Claim>) -> Result<bool> {
        let Some(claim) = claim else { return self.store.locked(recipe) };
        if claim.over() {
            return Ok(false);
        }
        let silence = self.silences.of(recipe, &(claim.number, Some(claim.clone())));
        if self.store.locked(recipe)? {
            return Ok(true);
        }
        if claim.told_by_lock(&Holder::here()) || silence.seen >= self.stale {
            return Ok(false);
        }
        Ok(silence.changed || claim.silent() < self.stale)
    }

    /// The recipe of a run, if what it copies from is done.
    fn recipe(&self, index: usize) -> Option<RecipeDigest> {
        let run = &self.plan.runs[index];
        let parent = match run.parent {
            None => None,
            Some(parent) => Some(self.finished[parent].as_ref()?.weights?),
        };
        Some(self.plan.recipe(run, self.policy, parent).digest())
    }

    /// How a network stands whose base is not done, or diverged.
    fn without_base(&self, index: usize, job: Option<&Element>) -> Standing {
        let base = self.plan.runs[index].parent.unwrap_or_default();
        match job {
            _ if self.finished[base].is_some() => Standing::Barred,
            Some(job) if job.phase.alive() => Standing::Queued(Box::new(job.clone())),
            _ => Standing::Waiting(base),
        }
    }

    fn summary(&self, standing: Vec<Standing>, claimed: &HashMap<RecipeDigest, u64>) -> Result<Status> {
        let time = now();
        let (mut left, mut done, mut seconds, mut running) = (0u64, 0.0, 0.0, 0u32);
        for (index, standing) in standing.iter().enumerate() {
            let operations = self.plan.cost(&self.plan.runs[index]).operations;
            match (standing, &self.finished[index]) {
                (_, Some(Finished { wall_ms: 0, .. })) => {}
                (_, Some(finished)) => {
                    done += operations as f64;
                    seconds += finished.wall_ms as f64 / 1000.0;
                }
                (Standing::Running(claim), None) => {
                    let of = claim.of.max(1) as f64;
                    let [before, now] = [claim.from, claim.images].map(|images| images as f64 / of);
                    // Until the first beat it says nothing of its speed.
                    if claim.at > claim.since {
                        done += operations as f64 * (now - before);
                        seconds += (claim.at - claim.since) as f64;
                    }
                    running += 1;
                    left = left.saturating_add((operations as f64 * (1.0 - now)) as u64);
                }
                (Standing::Barred, None) => {}
                _ => left = left.saturating_add(operations),
            }
        }
        let speed = (done > 0.0 && seconds > 0.0).then(|| done / seconds);
        let at_once = running.max(u32::from(left == 0));
        let seconds_left =
            speed.filter(|_| at_once > 0).map(|speed| left as f64 / speed / f64::from(at_once));
        let mut findings = self.findings.clone();
        findings.extend(self.barred(&standing));
        findings.sort();
        let troubled = self.troubled(&standing, claimed, time)?;
        Ok(Status { standing, findings, speed, operations_left: left, seconds_left, troubled })
    }

    fn barred(&self, standing: &[Standing]) -> Vec<Finding> {
        let name = |index: usize| self.plan.name(&self.plan.runs[index]);
        let barred = standing.iter().enumerate().filter(|(_, standing)| **standing == Standing::Barred);
        barred
            .filter_map(|(index, _)| {
                let base = self.plan.runs[index].parent?;
                let message = format!("{} diverged, so there is nothing to copy", name(base));
                Some(Finding::new(Code::RunBarred, name(index), message))
            })
            .collect()
    }

    /// Machines that several networks failed on or were lost on. Every claim that was followed by another is
    /// asked, so a network counts too that came right elsewhere.
    fn troubled(
        &self,
        standing: &[Standing],
        claimed: &HashMap<RecipeDigest, u64>,
        time: u64,
    ) -> Result<BTreeMap<String, Vec<String>>> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut note = |host: &str, run: String| {
            let runs = found.entry(host.to_owned()).or_default();
            if !runs.contains(&run) {
                runs.push(run);
            }
        };
        let failed = standing.iter().enumerate().filter_map(|(index, standing)| match standing {
            Standing::Failed(failure) if failure.host != UNKNOWN => Some((index, failure)),
            _ => None,
        });
        for (index, failure) in failed {
            note(&failure.host, self.plan.name(&self.plan.runs[index]));
        }
        // One that went well has two: training, finished.
        if claimed.values().all(|number| *number <= 2) {
            found.retain(|_, runs| runs.len() > 1);
            return Ok(found);
        }
        let ours = (0..standing.len()).filter_map(|index| Some((index, self.recipe(index)?)));
        let retried = ours.filter(|(_, recipe)| claimed.get(recipe).is_some_and(|number| *number > 2));
        for (index, recipe) in retried {
            let claims = self.store.claims(recipe)?;
            for (claim, next) in claims.iter().zip(claims.iter().skip(1)) {
                let failed = matches!(claim.stage, Stage::Failed(_));
                // Whoever goes on to finish makes the next claim itself.
                let lost = claim.stage == Stage::Training && next.holder != claim.holder;
                if failed || (lost && claim.at <= time) {
                    note(&claim.holder.host, self.plan.name(&self.plan.runs[index]));
                }
            }
        }
        found.retain(|_, runs| runs.len() > 1);
        Ok(found)
    }
}

/// A job sees to its networks in turn: as soon as it trains one, those that it has not begun wait in it.
fn in_turn(standing: &mut [Standing], jobs: &HashMap<usize, Element>) {
    let trains = |(index, standing): (usize, &Standing)| {
        matches!(standing, Standing::Running(_)).then(|| Some(jobs.get(&index)?.name()))?
    };
    let busy: HashSet<String> = standing.iter().enumerate().filter_map(trains).collect();
    for one in standing {
        if let Standing::Starting(job) = one
            && busy.contains(&job.name())
        {
            let phase = Phase::Queued("in a job that runs".to_owned());
            *one = Standing::Queued(Box::new(Element { phase, ..(**job).clone() }));
        }
    }
}

/// How a network stands that is not done, by its last claim and by the job that has it.
fn standing(claim: Option<Claim>, alive: bool, job: Option<&Element>) -> Standing {
    // What a queue has forgotten may have been long ago: another had the network since, or it was stopped as asked.
    let its = |claim: &Claim, job: &Element| {
        claim.stage != Stage::Stopped && claim.holder.job.as_ref().is_some_and(|its| its.id == job.name())
    };
    let job = job.filter(|job| !job.is_forgotten() || claim.as_ref().is_none_or(|claim| its(claim, job)));
    match (claim, job) {
        (Some(claim), _) if alive => Standing::Running(Box::new(claim)),
        (None, None) if alive => Standing::Starting(Box::new(Element::unknown())),
        (_, Some(job)) if matches!(job.phase, Phase::Running) => Standing::Starting(Box::new(job.clone())),
        (_, Some(job)) if job.phase.alive() => Standing::Queued(Box::new(job.clone())),
        (Some(claim), job) if claim.stage == Stage::Stopped => match job.map(|job| &job.phase) {
            // It was to go on in another start of its job, and there was none.
            Some(Phase::Ended { well: false, cancelled: false, why }) if !why.is_empty() => {
                Standing::Failed(Box::new(gone(&claim, job)))
            }
            _ => Standing::Stopped(Box::new(claim)),
        },
        (Some(claim), job) => Standing::Failed(Box::new(gone(&claim, job))),
        (None, Some(job)) => match &job.phase {
            // Without a word of why, it never got to this network.
            Phase::Ended { well: false, cancelled: false, why } if !why.is_empty() => {
                let host = job.node.clone().unwrap_or_else(|| UNKNOWN.to_owned());
                Standing::Failed(Box::new(Failure { host, why: why.clone(), job: Some(job.clone()) }))
            }
            _ => Standing::Free,
        },
        (None, None) => Standing::Free,
    }
}

fn gone(claim: &Claim, job: Option<&Element>) -> Failure {
    // That was no machine's doing.
    if matches!(claim.stage, Stage::Finished | Stage::Found) {
        let why =
            "was finished, and its record or its checkpoint is gone or damaged: `selffer verify` says which";
        return Failure { host: UNKNOWN.to_owned(), why: why.to_owned(), job: None };
    }
    let why = match (&claim.stage, job.map(|job| &job.phase)) {
        (Stage::Failed(why), _) => why.clone(),
        (_, Some(Phase::Ended { why, .. })) if !why.is_empty() => why.clone(),
        // The machine is named beside it.
        _ if claim.holder.beside(&Holder::here()) => {
            format!("{} ended without a word", claim.holder.on_its_host())
        }
        // Nobody here saw it end.
        _ => {
            let (holder, seconds) = (claim.holder.on_its_host(), claim.silent().as_secs());
            format!(
                "{holder} gives no sign any more; its last was {seconds} s ago, if its clock agrees with this one's"
            )
        }
    };
    Failure { host: claim.holder.host.clone(), why, job: job.cloned() }
}

#[cfg(test)]
mod tests;
