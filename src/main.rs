//! probe
use selffer::*;
use std::sync::atomic::AtomicBool;
struct O<'a>(&'a plan::Plan<'a>);
impl run::Observer for O<'_> { fn finished(&self, r: usize, d: &run::Done) { println!("{} {:?} {} ms {}", self.0.name(&self.0.runs[r]), d.manifest.accuracy().map(|c| c.share()), d.manifest.wall_ms, d.manifest.trained().unwrap().whole()); } }
fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let numerics = numerics::Numerics::engage(recipe::Policy::Portable)?;
    let protocol = protocol::Protocol::named(&args[1])?;
    let data = data::Dataset::read(&protocol.data)?;
    let catalog = split::Catalog::of(&data);
    let plan = plan::Plan::make(&protocol, &catalog)?;
    let store = store::Store::create(args[2].as_ref())?;
    let t = std::time::Instant::now();
    let trainer = train::Torch::new(numerics);
    println!("{} runs, cost {}", plan.runs.len(), plan.runs.iter().map(|r| plan.cost(r).operations).sum::<u64>() as f64/1e9);
    run::Runner { plan: &plan, store: &store, trainer: &trainer, policy: recipe::Policy::Portable, jobs: args[3].parse()?, stop: &AtomicBool::new(false), observer: &O(&plan) }.run()?;
    println!("{:?}", t.elapsed());
    Ok(())
}
