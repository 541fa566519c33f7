//! `selffer submit`: hands what is to be trained to an engine, and ends.
//!
//! Uses the library's `cluster`; used by `commands`.

use super::inputs::{self, placed};
use super::jobs::{Asker, FORGET, unknown_left};
use super::records::say_elsewhere;
use super::{Inputs, Verdict, jobs, places, print, say, write_out};
use crate::cli::{EngineName, Format, SubmitArgs};
use selffer::cluster::arrange::{Arrangement, Batch, Pair, arrange};
use selffer::cluster::order::{Format as OrderFormat, Order};
use selffer::cluster::slurm::{self, Slurm};
use selffer::cluster::{After, Element, Engine, Limits, record};
use selffer::plan::Plan;
use selffer::protocol::{EMBEDDED, Protocol};
use selffer::recipe::Policy;
use selffer::resources::{Cluster, Resources};
use selffer::run::largest_fits;
use selffer::status::{Standing, Watch};
use selffer::store::Store;
use selffer::text::{are, counted, networks as networks_of, shell_quoted, shell_word};
use selffer::{Error, Result};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What was handed over.
#[derive(Serialize)]
struct Submitted {
    engine: &'static str,
    networks: usize,
    jobs: Vec<SubmittedJob>,
    done: usize,
    elsewhere: usize,
    left: usize,
    follow: String,
}

#[derive(Serialize)]
struct SubmittedJob {
    job: String,
    networks: usize,
    elements: usize,
    after: Option<String>,
}

/// What of a plan is to be handed over.
struct Todo {
    runs: Vec<usize>,
    done: usize,
    // Networks that somebody has already, and the elements of jobs that base networks are.
    elsewhere: usize,
    elements: usize,
    bases: HashMap<usize, (String, u32)>,
}

pub fn run(args: &SubmitArgs) -> anyhow::Result<Verdict> {
    if args.dry_run && args.output.format == Format::Json {
        let mend = "leave out one of --dry-run and --format json";
        return Err(Error::invalid("--dry-run", "prints scripts, which are no JSON", mend).into());
    }
    let cluster = resources(args)?;
    // Read once: what is planned here is what jobs are told.
    let text = Protocol::text(&args.which.protocol)?;
    let protocol = placed(Protocol::of_text(&text, &args.which.protocol)?, &args.which.protocol)?;
    let inputs = Inputs::of(&args.which.protocol, protocol)?;
    let plan = inputs.looked_at(args.output.quiet)?;
    let cluster = cluster.or(&plan.protocol.slurm);
    let planned: BTreeSet<_> = plan.runs.iter().map(|run| run.treatment).collect();
    for text in cluster.for_none_of(&planned).into_iter().filter(|_| !args.output.quiet) {
        say(&format!("resources for `{text}`: {} has no such network", args.which.protocol));
    }
    let origin = origin(&args.which.protocol)?;
    let place = plan.protocol.data.dir().map(tellable).transpose()?;
    let dir = absolute(&args.which.store)?;
    if args.engine == EngineName::Slurm {
        fits_slurm(args, &cluster, &dir)?;
    }
    places::apart_from(&dir, plan.protocol)?;
    let orders = Orders { args, plan: &plan, text, origin, data: place };
    if args.dry_run {
        return dry_run(&orders, &cluster, &dir);
    }
    let engine = jobs::engine(args.engine.name())?;
    if !args.output.quiet {
        say_idle_gpus(&cluster, args.which.numerics.policy);
    }
    let store = Store::create(&dir)?;
    say_elsewhere(&store, &plan, args.which.numerics.policy, args.output.quiet)?;
    let _submitting = record::begin(&store)?;
    let todo = todo(&plan, &store, args)?;
    for (split, _) in &plan.splits {
        store.put_split(split)?;
    }
    if args.engine == EngineName::Local {
        largest_fits(&plan, todo.runs.iter().copied(), 1, selffer::machine::memory_at_hand())?;
    }
    let Arrangement { batches, left } =
        arrange(&plan, &todo.runs, &todo.bases, &cluster, engine.limits()?, todo.elements);
    let jobs = hand_over(&orders, &store, engine.as_ref(), &batches)?;
    let result = Submitted {
        engine: engine.name(),
        networks: jobs.iter().map(|job| job.networks).sum(),
        jobs,
        done: todo.done,
        elsewhere: todo.elsewhere,
        left,
        follow: follow(args),
    };
    print(args.output.format, &result, || result.text())?;
    Ok(Verdict::Clean)
}

/// Refuses what Slurm could not start, or would read otherwise.
fn fits_slurm(args: &SubmitArgs, cluster: &Cluster, store: &Path) -> Result<()> {
    if args.which.numerics.names_another_gpu() {
        let mend = "say `--device cuda`, and which GPUs with --gres";
        return Err(Error::invalid("--device", "names a GPU, and Slurm gives each job its own", mend));
    }
    cluster.check_times()?;
    slurm::nameable(&jobs::program()?)?;
    slurm::nameable(store)?;
    Ok(())
}

/// Says so where jobs ask for GPUs that nothing computes on.
fn say_idle_gpus(cluster: &Cluster, policy: Policy) {
    let gpus = cluster.all.gres.as_deref().filter(|gres| gres.contains("gpu") && policy != Policy::Cuda);
    if let Some(gpus) = gpus {
        say(&format!(
            "jobs get {gpus}, and {} numerics compute on the CPU; --numerics cuda computes on a GPU",
            policy.name()
        ));
    }
}

/// Hands over batch after batch; where one is refused, what was handed over before is said.
fn hand_over(
    orders: &Orders<'_>,
    store: &Store,
    engine: &dyn Engine,
    batches: &[Batch],
) -> Result<Vec<SubmittedJob>> {
    let (mut ids, mut submitted): (Vec<String>, Vec<SubmittedJob>) = Default::default();
    for batch in batches {
        let after = after(batch, &ids);
        let handed = record::hand_over(store, engine, batch, &orders.of(batch), &after);
        if handed.is_err() && !ids.is_empty() && !orders.args.output.quiet {
            say(&format!("submitted before it was refused: {}", ids.join(", ")));
        }
        let job = handed?;
        ids.push(job.clone());
        submitted.push(SubmittedJob {
            job,
            networks: batch.elements.values().map(Vec::len).sum(),
            elements: batch.elements.len(),
            after: after.paired,
        });
    }
    Ok(submitted)
}

/// What the command line says, then what the file says.
fn resources(args: &SubmitArgs) -> Result<Cluster> {
    let given = Cluster {
        all: Resources {
            partition: args.partition.clone(),
            gres: args.gres.clone(),
            time: args.time.clone(),
            mem: args.mem.clone(),
            cpus: args.cpus,
            warn_seconds: args.warn_seconds,
            flags: args.sbatch.clone(),
            setup: Vec::new(),
        },
        max_running: args.max_running,
        per_job: args.per_job,
        network: Vec::new(),
    };
    given.check("the command line")?;
    match &args.resources {
        Some(path) => Ok(given.or(&Cluster::read(path)?)),
        None => Ok(given),
    }
}

fn todo(plan: &Plan<'_>, store: &Store, args: &SubmitArgs) -> Result<Todo> {
    let policy = args.which.numerics.policy;
    let jobs = Asker::new(plan, policy, store, args.output.quiet).ask();
    let elsewhere = &jobs.of;
    let status = Watch::new(plan, store, policy).look(elsewhere)?;
    // A queue that does not answer may have these, and what copies from them would not find them.
    let unknown = unknown_left(&jobs, &status);
    if !unknown.is_empty() && !args.output.quiet {
        let perhaps = networks_of(unknown.len());
        say(&format!("jobs may have {perhaps} of which nothing is known; left out ({FORGET})"));
    }
    let (mut runs, mut done, mut held) = (Vec::new(), 0, 0);
    for (index, standing) in status.standing.iter().enumerate() {
        let base = plan.runs[index].parent;
        let perhaps = unknown.contains(&index) || base.is_some_and(|base| unknown.contains(&base));
        match standing {
            _ if perhaps && !matches!(standing, Standing::Done | Standing::Barred) => held += 1,
            Standing::Done | Standing::Barred => done += 1,
            Standing::Running(_) | Standing::Starting(_) | Standing::Queued(_) => held += 1,
            Standing::Waiting(_) | Standing::Failed(_) | Standing::Stopped(_) | Standing::Free => {
                runs.push(index);
            }
        }
    }
    let alive = || elsewhere.iter().filter(|(_, element)| element.phase.alive());
    let base = |(index, element): (&usize, &Element)| {
        let ours = plan.runs[*index].parent.is_none() && status.standing[*index] != Standing::Done;
        Some((*index, (element.job.clone(), element.index?))).filter(|_| ours)
    };
    let bases = alive().filter_map(base).collect();
    let elements: std::collections::HashSet<String> = alive().map(|(_, element)| element.name()).collect();
    Ok(Todo { runs, done, elsewhere: held, elements: elements.len(), bases })
}

/// What is the same in the orders of all batches.
struct Orders<'a> {
    args: &'a SubmitArgs,
    plan: &'a Plan<'a>,
    text: String,
    origin: String,
    data: Option<String>,
}

impl Orders<'_> {
    fn of(&self, batch: &Batch) -> Order {
        let Self { args, plan, text, origin, data } = self;
        let names = |runs: &Vec<usize>| runs.iter().map(|run| plan.name(&plan.runs[*run])).collect();
        let elements: BTreeMap<u32, Vec<String>> =
            batch.elements.iter().map(|(element, runs)| (*element, names(runs))).collect();
        Order {
            format: OrderFormat::V1,
            origin: origin.clone(),
            protocol: text.clone(),
            data: data.clone(),
            images: Some(plan.catalog.digest),
            protocol_digest: plan.protocol.digest(),
            numerics: args.which.numerics.policy,
            gpu: Some(args.which.numerics.gpu).filter(|gpu| *gpu > 0 && args.engine == EngineName::Local),
            snapshot_every: args.snapshot_every.clone(),
            jobs: args.jobs,
            elements,
        }
    }
}

/// The protocol's name, or its file as it is found from anywhere.
fn origin(protocol: &str) -> Result<String> {
    if EMBEDDED.iter().any(|(name, _)| *name == protocol) {
        return Ok(protocol.to_owned());
    }
    tellable(Path::new(protocol))
}

/// A path as a work order has it.
fn tellable(path: &Path) -> Result<String> {
    absolute(path)?.to_str().map(str::to_owned).ok_or_else(|| {
        let problem = "lies in a directory whose name is not UTF-8, which a work order cannot hold";
        let mend = "name it by another path, such as a symbolic link to it";
        Error::at(path, problem, mend)
    })
}

fn after(batch: &Batch, ids: &[String]) -> After {
    let paired = match &batch.pair {
        Pair::Nothing => None,
        Pair::Batch(index) => Some(ids[*index].clone()),
        Pair::Job(job) => Some(job.clone()),
    };
    After { paired, ended: batch.behind.map(|behind| ids[behind].clone()) }
}

/// Prints what would be submitted, and touches nothing.
fn dry_run(orders: &Orders<'_>, cluster: &Cluster, store: &Path) -> anyhow::Result<Verdict> {
    let Orders { args, plan, .. } = orders;
    let asked = match args.engine {
        EngineName::Local => jobs::engine("local")?.limits(),
        EngineName::Slurm => Slurm::find(jobs::program()?).and_then(|slurm| slurm.limits()),
    };
    let (limits, no_slurm) = match asked {
        Ok(limits) => (limits, None),
        Err(error) => (slurm::DEFAULTS, Some(error)),
    };
    let todo = match Store::is_at(&args.which.store)? {
        true => {
            let store = Store::open(&args.which.store)?;
            say_elsewhere(&store, plan, args.which.numerics.policy, args.output.quiet)?;
            todo(plan, &store, args)?
        }
        false => {
            let runs = (0..plan.runs.len()).collect();
            Todo { runs, done: 0, elsewhere: 0, elements: 0, bases: HashMap::new() }
        }
    };
    let Limits { array, elements, .. } = limits;
    let arrangement = arrange(plan, &todo.runs, &todo.bases, cluster, limits, todo.elements);
    // Names for jobs that have none yet.
    let ids: Vec<String> = (0..arrangement.batches.len()).map(|batch| format!("$job{batch}")).collect();
    let mut text = String::new();
    for (at, batch) in arrangement.batches.iter().enumerate() {
        let path = record::path(store, &orders.of(batch));
        let dir = shell_quoted(&path.parent().unwrap_or(store).display().to_string());
        let program = jobs::program()?;
        if args.engine == EngineName::Local {
            let (program, path) = (program.display().to_string(), path.display().to_string());
            let (program, path) = (shell_quoted(&program), shell_quoted(&path));
            let _ = writeln!(text, "{program} work --plan {path} &");
            continue;
        }
        let options = slurm::options(&after(batch, &ids), &path);
        // A name that stands for a job is to be read by the shell.
        let word = |option: &String| match option.starts_with("--dependency") {
            true => option.clone(),
            false => shell_quoted(option),
        };
        let options: Vec<String> = options.iter().map(word).collect();
        let _ = writeln!(text, "# job{at}=$(sbatch --parsable {} {dir}/script.sh)", options.join(" "));
        let _ = writeln!(text, "{}", slurm::script(&program, batch, &path, &record::shown_name(&path)));
    }
    write_out(&text)?;
    if !args.output.quiet {
        let networks = networks_of(todo.runs.len() - arrangement.left);
        let jobs = counted(arrangement.batches.len(), "job");
        say(&format!("{networks} in {jobs}; nothing was submitted"));
        if arrangement.left > 0 {
            say(&left(arrangement.left));
        }
        if let Some(error) = no_slurm {
            say(&format!(
                "Slurm's own limits were taken, {array} elements a job and {elements} in all: {error}"
            ));
        }
    }
    Ok(Verdict::Clean)
}

fn left(networks: usize) -> String {
    format!(
        "{} {} left by Slurm's limit on jobs (MaxJobCount): run the same command again when some are done, or put \
         several into each with --per-job",
        networks_of(networks),
        are(networks)
    )
}

/// The command that shows how it goes.
fn follow(args: &SubmitArgs) -> String {
    let mut command = "selffer status --follow".to_owned();
    let _ = write!(command, " --protocol {}", shell_word(&args.which.protocol));
    let _ = write!(command, " --store {}", shell_word(&args.which.store.display().to_string()));
    if let Some(place) = inputs::data() {
        let _ = write!(command, " --data {}", shell_word(&place.display().to_string()));
    }
    // Always: where the jobs run there may be a GPU, and here none, or the other way about.
    let _ = write!(command, " --numerics {}", args.which.numerics.policy.name());
    command
}

impl Submitted {
    fn text(&self) -> String {
        let mut text = String::new();
        for SubmittedJob { job, networks, elements, after } in &self.jobs {
            let after = after
                .as_ref()
                .map_or_else(String::new, |after| format!(", each after its base in job {after}"));
            let (networks, elements) = (networks_of(*networks), counted(*elements, "element"));
            let _ = writeln!(text, "job {job}: {networks} in {elements}{after}");
        }
        let _ = write!(text, "{} submitted, {} done before", networks_of(self.networks), self.done);
        if self.elsewhere > 0 {
            let _ = write!(text, ", {} in other hands already", self.elsewhere);
        }
        text.push('\n');
        if self.left > 0 {
            let _ = writeln!(text, "{}", left(self.left));
        }
        let _ = writeln!(text, "follow it with: {}", self.follow);
        text
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io("find", path))
}
