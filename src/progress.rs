//! What is said beside the results, on standard error; while networks are trained, bars on a terminal, plain lines elsewhere.
//!
//! Uses `run::Observer` and `plan`; used by `commands` and `cli`. On a terminal there is a
//! bar for the whole plan, counted in operations, and one for each network that is being trained,
//! counted in images.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use selffer::cost::Cost;
use selffer::plan::Plan;
use selffer::run::{Done, Observer};
use selffer::text::printable;
use std::collections::{HashMap, HashSet};
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One step of the whole bar, in operations. Bars count in whole numbers that are to stay readable.
const MEGA: f64 = 1e6;

pub struct Progress<'a> {
    plan: &'a Plan<'a>,
    // What each run costs, counted once.
    costs: Vec<Cost>,
    began: Instant,
    bars: Option<Bars>,
    quiet: bool,
    state: Mutex<State>,
    // Nanoseconds that steps waited for what is made ahead of them, and those that it is of.
    waited: [AtomicU64; 2],
}

struct Bars {
    all: MultiProgress,
    whole: ProgressBar,
}

#[derive(Default)]
struct State {
    running: HashMap<usize, ProgressBar>,
    // Of each running network, the operations that were done when training began or went on here, and so far.
    partial: HashMap<usize, [f64; 2]>,
    // Those that are to be trained. There may be more than was known: what the store has of one may be damaged.
    to_train: HashSet<usize>,
    done: usize,
    // Of all that are to be trained: more than 64 bits hold, of the paper's plan.
    operations: f64,
    // Operations that are done and say nothing of the speed here: found, trained before, or left out where one diverged.
    operations_found: f64,
    operations_trained: f64,
    // Whether it was said that another process is waited for.
    waiting_said: bool,
}

impl State {
    /// Operations that are done and say nothing of the speed here, and those that were trained here.
    fn operations(&self) -> (f64, f64) {
        let sum = |of: fn(&[f64; 2]) -> f64| self.partial.values().map(of).sum::<f64>();
        let (found, trained) = (sum(|[before, _]| *before), sum(|[before, now]| now - before));
        (self.operations_found + found, self.operations_trained + trained)
    }
}

impl<'a> Progress<'a> {
    /// Progress over those runs of the plan, which are to be trained.
    pub fn new(plan: &'a Plan<'a>, runs: &[usize], quiet: bool) -> Self {
        let costs: Vec<Cost> = plan.runs.iter().map(|run| plan.cost(run)).collect();
        let operations: f64 = runs.iter().map(|run| costs[*run].operations as f64).sum();
        let bars = (!quiet && !runs.is_empty() && std::io::stderr().is_terminal()).then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            let whole = all.add(ProgressBar::new((operations / MEGA) as u64));
            whole.set_style(style("{prefix:<24} {bar:24} {percent:>3} %  {msg}"));
            whole.set_prefix("all networks");
            whole.enable_steady_tick(Duration::from_millis(500));
            Bars { all, whole }
        });
        Self {
            plan,
            costs,
            began: Instant::now(),
            bars,
            quiet,
            state: Mutex::new(State {
                to_train: runs.iter().copied().collect(),
                operations,
                ..State::default()
            }),
            waited: Default::default(),
        }
    }

    /// Takes the bars off the terminal, for good. Where things were made ahead of steps, as windows are, it is said how long
    /// those waited for them.
    pub fn finish(&self) {
        if let Some(bars) = &self.bars {
            bars.whole.disable_steady_tick();
            let _ = bars.all.clear();
            bars.all.set_draw_target(ProgressDrawTarget::hidden());
        }
        let [waited, of] =
            self.waited.each_ref().map(|nanoseconds| nanoseconds.load(Ordering::Relaxed) as f64 / 1e9);
        if of > 0.0 && !self.quiet {
            let share = 100.0 * waited / of;
            say(&format!(
                "steps waited {waited:.1} of {of:.1} s for what is made ahead of them ({share:.1} %)"
            ));
        }
    }

    /// The message of the whole bar: networks, time left, speed.
    fn summary(&self, state: &State) -> String {
        let (found, trained) = state.operations();
        let left = (state.operations - found - trained).max(0.0);
        let seconds = self.began.elapsed().as_secs_f64();
        let speed = trained / seconds.max(1e-3);
        let count = format!("{}/{}", state.done, state.to_train.len());
        if trained == 0.0 {
            return count;
        }
        format!("{count}  {:.0} GFLOP/s  {} left", speed / 1e9, clock(left / speed))
    }

    fn refresh(&self, state: &State) {
        if let Some(bars) = &self.bars {
            let (found, trained) = state.operations();
            let done = found + trained;
            bars.whole.set_length((state.operations / MEGA) as u64);
            bars.whole.set_position((done / MEGA) as u64);
            bars.whole.set_message(self.summary(state));
        }
    }

    /// A line that stays, above any bars.
    fn line(&self, text: &str) {
        match &self.bars {
            Some(bars) => {
                let _ = bars.all.println(text);
            }
            None => {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }

    fn with_state(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().expect("no thread panicked");
        change(&mut state);
        self.refresh(&state);
    }
}

impl Observer for Progress<'_> {
    fn started(&self, run: usize) {
        let planned = &self.plan.runs[run];
        self.with_state(|state| {
            if state.to_train.insert(run) {
                state.operations += self.costs[run].operations as f64;
            }
            if let Some(bars) = &self.bars {
                let bar = bars.all.add(ProgressBar::new(self.costs[run].images));
                bar.set_style(style("  {prefix:<22} {bar:24} {percent:>3} %  {speed}, {eta} left"));
                bar.set_prefix(self.plan.name(planned));
                state.running.insert(run, bar);
            }
        });
    }

    fn advanced(&self, run: usize, images: u64) {
        let cost = self.costs[run];
        self.with_state(|state| {
            let done = images as f64 / cost.images as f64 * cost.operations as f64;
            state.partial.entry(run).or_insert([done; 2])[1] = done;
            if let Some(bar) = state.running.get(&run) {
                bar.set_position(images);
            }
        });
    }

    fn finished(&self, run: usize, done: &Done) {
        let planned = &self.plan.runs[run];
        let operations = self.costs[run].operations as f64;
        self.with_state(|state| {
            if !state.to_train.contains(&run) {
                return;
            }
            state.done += 1;
            let [before, _] = state.partial.remove(&run).unwrap_or_default();
            if let (Some(bar), Some(bars)) = (state.running.remove(&run), &self.bars) {
                bar.finish_and_clear();
                bars.all.remove(&bar);
            }
            let before = if done.fresh && done.manifest.trained().is_some() { before } else { operations };
            state.operations_found += before;
            state.operations_trained += operations - before;
            if done.fresh && !self.quiet && self.bars.is_none() {
                let result = match done.manifest.accuracy() {
                    Some(count) => format!("{:5.1} %", 100.0 * count.share()),
                    None => "diverged".to_owned(),
                };
                let name = self.plan.name(planned);
                let seconds = done.manifest.wall_ms as f64 / 1000.0;
                self.line(&format!("{name:<24} {result}  {seconds:6.1} s   {}", self.summary(state)));
            }
        });
    }

    fn barred(&self, run: usize) {
        let name = self.plan.name(&self.plan.runs[run]);
        self.with_state(|state| {
            if state.to_train.contains(&run) {
                state.done += 1;
                state.operations_found += self.costs[run].operations as f64;
            }
        });
        if !self.quiet {
            self.line(&format!("{name:<24} cannot be trained: the network it copies from diverged"));
        }
    }

    fn damaged(&self, file: &Path, why: &str) {
        if !self.quiet {
            self.line(&format!("{} is damaged ({why}), and is to be made anew", file.display()));
        }
    }

    fn passes_over(&self, run: usize, kept: u64, why: &str, from: u64) {
        let name = self.plan.name(&self.plan.runs[run]);
        let goes_on = match from {
            0 => "training begins anew".to_owned(),
            from => format!("training goes on from step {from}"),
        };
        if !self.quiet {
            self.line(&format!("{name}: what was kept after step {kept} {why}, and is not used; {goes_on}"));
        }
    }

    fn waited(&self, waited: Duration, of: Duration) {
        for (sum, time) in self.waited.iter().zip([waited, of]) {
            sum.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
        }
    }

    fn waits(&self, run: usize) {
        let name = self.plan.name(&self.plan.runs[run]);
        self.with_state(|state| {
            // Once: the others that are waited for are in `status`.
            if !self.quiet && !std::mem::replace(&mut state.waiting_said, true) {
                self.line(&format!(
                    "waiting for {name}, which another process trains; `selffer status` shows how it stands"
                ));
            }
        });
    }
}

/// A message for people.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable(text));
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("speed", |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            let _ = write!(text, "{:.0} images/s", state.per_sec());
        })
        .progress_chars("━━ ")
}

/// A length of time for people.
pub fn clock(seconds: f64) -> String {
    match seconds.round() as u64 {
        0..100 => format!("{seconds:.0} s"),
        whole @ 100..5_400 => format!("{} min", (whole + 30) / 60),
        5_400..360_000 => format!("{:.1} h", seconds / 3600.0),
        360_000..1_728_000 => format!("{:.1} days", seconds / 86_400.0),
        1_728_000..86_400_000 => format!("{:.0} days", seconds / 86_400.0),
        _ => format!("{:.1} years", seconds / 86_400.0 / 365.25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was trained before, or elsewhere, says nothing of the speed here.
    #[test]
    fn speed_is_of_what_is_trained_here() {
        let state = State {
            partial: HashMap::from([(3, [900.0, 910.0]), (5, [0.0, 7.0])]),
            operations_found: 1000.0,
            operations_trained: 50.0,
            ..State::default()
        };
        assert_eq!(state.operations(), (1900.0, 67.0));
    }
}
