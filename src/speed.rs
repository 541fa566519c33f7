//! How fast a trainer trains a protocol's base network: some steps on noise, timed.
//!
//! Uses `train` through its trait, `cost`, `init`, `split`; used by `selffer plan --measure`, so that a plan's time can be
//! told before a network of it is trained, and by `benches/step`. Nothing is kept.

use crate::architecture::layers;
use crate::cost;
use crate::data::{Dataset, Images};
use crate::digest::{DataDigest, Digest, SplitDigest};
use crate::error::{Error, Result};
use crate::init::initial;
use crate::ledger::Place;
use crate::protocol::{Protocol, Solver};
use crate::recipe::{CORE, Policy, Recipe};
use crate::seed::{Name, Stream};
use crate::split::Catalog;
use crate::train::{Along, Next, Setup, Trainer};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Untimed steps: libtorch prepares its kernels at their first use.
const UNTIMED: usize = 2;

/// Timed steps at the least, however long they take.
const STEPS_MIN: usize = 3;

/// Steps of a pass, whose order of images is drawn at once, and passes: more than anything makes in that time.
const STEPS: u32 = 1_000;
const PASSES: u32 = 1_000;

/// Images that are drawn. Whatever they show, and how often they come, they cost the same.
const DRAWN: usize = 64;
const DRAWN_VALID: usize = 4;

/// What is measured: a base network of a protocol, trained by so many jobs at once.
pub struct Measurement<'a> {
    /// The protocol.
    pub protocol: &'a Protocol,
    /// The policy that the trainer computes under.
    pub policy: Policy,
    /// Channels, rows and columns of an image.
    pub image: [usize; 3],
    /// Classes that the network tells apart.
    pub classes: usize,
    /// Training images, which a batch may be more than.
    pub images: u64,
    /// How many are trained at once.
    pub jobs: usize,
    /// Bytes of memory that they may take together.
    pub memory: u64,
    /// How long is timed at the least.
    pub time_min: Duration,
}

impl Measurement<'_> {
    /// Images a second that each job comes to. Time that passed counts; validation, the ledger and the reading of images
    /// from a disk are left out.
    ///
    /// # Errors
    /// Where so many jobs do not fit into the memory, and as of [`Trainer::train`].
    pub fn images_per_second(&self, trainer: &dyn Trainer) -> Result<f64> {
        let Self { image, classes, jobs, .. } = *self;
        cost::large_enough(self.protocol, image)?;
        let asked = &self.protocol.solver;
        let visited = asked.visits_of(usize::try_from(self.images).unwrap_or(usize::MAX));
        let solver = Solver {
            epochs: PASSES,
            steps: Some(STEPS),
            batch: asked.batch.min(u32::try_from(visited).unwrap_or(u32::MAX)),
            // It costs the same, and noise does not make it diverge.
            rate: asked.rate * 1e-6,
            rate_drops: Vec::new(),
            ..asked.clone()
        };
        let protocol = &Protocol { solver, ..self.protocol.clone() };
        let recipe = base(protocol, self.policy, protocol.solver.clone());
        let drawn = [DRAWN as u64, DRAWN_VALID as u64];
        let takes = cost::of(protocol, recipe.treatment, image, classes, drawn).memory;
        cost::holds("a base network", takes, jobs, self.memory)?;
        let data = noise(image, classes);
        let catalog = Catalog::of(data.clone());
        let shapes = layers(&recipe.network, cost::window(protocol, image), classes);
        let initial = initial(&recipe, &shapes, None);
        let setup = Setup {
            name: "the measured network",
            recipe: &recipe,
            initial: &initial,
            train: &data.train,
            valid: &data.valid,
            pixels: catalog.pixels(protocol.input.as_ref()),
        };
        let rates = std::thread::scope(|scope| {
            let one = || timed(trainer, &setup, self.time_min);
            let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Result<Vec<_>>>()
        })?;
        Ok(rates.iter().sum::<f64>() / jobs as f64)
    }
}

/// What one thread comes to.
fn timed(trainer: &dyn Trainer, setup: &Setup<'_>, time_min: Duration) -> Result<f64> {
    let ends = Mutex::new(Vec::new());
    let watch = |_: Place, _: u64| {
        let mut ends = ends.lock().expect("no panic");
        ends.push(Instant::now());
        let enough = ends.len() >= UNTIMED + STEPS_MIN && ends[UNTIMED - 1].elapsed() >= time_min;
        if enough { Next::Stop } else { Next::Go }
    };
    match trainer.train(setup, &Along { every: u32::MAX, watch: &watch, ..Along::ALONE }) {
        // As it was told.
        Ok(_) | Err(Error::Interrupted) => {}
        Err(error) => return Err(error),
    }
    let ends = ends.into_inner().expect("no panic");
    if ends.len() < UNTIMED + STEPS_MIN {
        let problem = "had a loss that is not finite before its steps could be timed";
        return Err(Error::invalid(
            setup.name,
            problem,
            "try the protocol's filler and rate with `selffer reproduce`",
        ));
    }
    let timed = &ends[UNTIMED - 1..];
    let seconds = (timed[timed.len() - 1] - timed[0]).as_secs_f64();
    Ok((timed.len() - 1) as f64 * f64::from(setup.recipe.solver.batch) / seconds)
}

/// The recipe of a base network of no data in particular.
pub fn base(protocol: &Protocol, policy: Policy, solver: Solver) -> Recipe {
    let digest = Digest::of(b"noise");
    Recipe {
        core: CORE,
        numerics: policy,
        data: DataDigest(digest),
        split: SplitDigest(digest),
        seed: 1,
        treatment: "baseA".parse().expect("a treatment"),
        parent: None,
        network: protocol.network.clone(),
        input: protocol.input.clone(),
        solver,
    }
}

/// Images of so many channels, rows and columns that show nothing, of classes all over.
pub fn noise(image: [usize; 3], classes: usize) -> Dataset {
    let drawn = |part: &str, count: usize| {
        let mut stream = Stream::open(&Name::new("noise").and("part", part));
        let mut pixels = vec![0; count * image.iter().product::<usize>()];
        for eight in pixels.chunks_mut(8) {
            let bytes = stream.bits().to_le_bytes();
            eight.copy_from_slice(&bytes[..eight.len()]);
        }
        // A prime, so that neighbours differ.
        let labels = (0..count).map(|at| (at * 389 % classes) as u16).collect();
        Images::new(image, pixels, labels)
    };
    Dataset {
        classes: (0..classes).map(|class| class.to_string()).collect(),
        train: drawn("train", DRAWN),
        valid: drawn("valid", DRAWN_VALID),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Environment;
    use crate::train::{Evaluation, Trained};
    use crate::weights::Weights;
    use std::sync::Barrier;

    /// A trainer whose steps take no less than that.
    struct Sleeper {
        step: Duration,
        steps_max: u32,
        together: Barrier,
    }

    impl Sleeper {
        fn new(step: Duration, steps_max: u32, jobs: usize) -> Self {
            Self { step, steps_max, together: Barrier::new(jobs) }
        }
    }

    impl Trainer for Sleeper {
        fn train(&self, setup: &Setup<'_>, along: &Along<'_>) -> Result<Trained> {
            // Where they were not at once, this would wait for ever.
            self.together.wait();
            for step in 0..self.steps_max {
                std::thread::sleep(self.step);
                let place = Place { epoch: 0, step: step + 1 };
                match (along.watch)(place, u64::from((step + 1) * setup.recipe.solver.batch)) {
                    Next::Go => {}
                    Next::Keep => panic!("nothing is kept"),
                    Next::Stop => return Err(Error::Interrupted),
                }
            }
            let ledger = crate::ledger::Ledger::new(along.every);
            Ok(Trained::Diverged { epochs: Vec::new(), epoch: 0, step: self.steps_max, ledger })
        }

        fn evaluate(
            &self,
            _: &str,
            _: &Recipe,
            _: &Weights,
            _: &Images,
            _: crate::input::Pixels<'_>,
        ) -> Result<Evaluation> {
            panic!("nothing is evaluated")
        }

        fn environment(&self) -> Result<Environment> {
            panic!("nothing is recorded")
        }
    }

    fn measurement(protocol: &Protocol, jobs: usize) -> Measurement<'_> {
        let (policy, image, classes, images) = (Policy::Portable, [1, 28, 28], 10, 3_000);
        Measurement {
            protocol,
            policy,
            image,
            classes,
            images,
            jobs,
            memory: u64::MAX,
            time_min: Duration::from_millis(20),
        }
    }

    #[test]
    fn a_job_s_speed_is_a_batch_by_the_time_of_a_step() {
        let protocol = Protocol::named("ci").unwrap();
        let most = f64::from(protocol.solver.batch) / 0.004;
        for jobs in [1, 3] {
            let sleeper = Sleeper::new(Duration::from_millis(4), u32::MAX, jobs);
            let speed = measurement(&protocol, jobs).images_per_second(&sleeper).unwrap();
            // A sleep is never shorter; how much longer it is, the machine decides.
            assert!(speed <= most && speed > most / 100.0, "{speed} of {most}");
        }
    }

    #[test]
    fn what_is_too_short_or_too_large_is_refused() {
        let protocol = Protocol::named("ci").unwrap();
        let of = |steps| measurement(&protocol, 1).images_per_second(&Sleeper::new(Duration::ZERO, steps, 1));
        assert!(of(5).is_ok());
        assert!(of(4).unwrap_err().to_string().contains("is not finite before its steps could be timed"));
        let small = Measurement { memory: 1 << 20, ..measurement(&protocol, 2) };
        let error = small.images_per_second(&Sleeper::new(Duration::ZERO, 9, 1)).unwrap_err().to_string();
        assert!(error.contains("GiB of memory in each of 2 jobs"), "{error}");
    }

    #[test]
    fn a_batch_is_no_more_than_there_are_images_and_memory_is_that_of_its_step() {
        let mut protocol = Protocol::named("ci").unwrap();
        protocol.solver.batch = 60_000;
        let most = 3_000.0 / 0.004;
        let sleeper = Sleeper::new(Duration::from_millis(4), u32::MAX, 1);
        let speed = measurement(&protocol, 1).images_per_second(&sleeper).unwrap();
        assert!(speed <= most, "{speed} of {most}");
        // 3,000 images at once take more than a hundred megabytes of activations alone.
        let small = Measurement { memory: 100 << 20, ..measurement(&protocol, 1) };
        let error = small.images_per_second(&Sleeper::new(Duration::ZERO, 9, 1)).unwrap_err().to_string();
        assert!(error.contains("GiB of memory, and 0.1 are free"), "{error}");
    }

    #[test]
    fn a_window_larger_than_the_images_is_refused() {
        let mut protocol = Protocol::named("paper").unwrap();
        protocol.input.as_mut().unwrap().crop = 400;
        let error = Measurement { image: [3, 256, 256], ..measurement(&protocol, 1) }
            .images_per_second(&Sleeper::new(Duration::ZERO, 9, 1))
            .unwrap_err();
        assert!(error.to_string().contains("lower input.crop"), "{error}");
    }

    #[test]
    fn noise_has_all_kinds_of_pixels_and_classes() {
        let data = noise([3, 8, 8], 7);
        let bytes = data.train.bytes().unwrap();
        assert_eq!(bytes.len(), DRAWN * 3 * 64);
        assert!((0..=255).all(|value| bytes.contains(&value)));
        assert!((0..7).all(|class| data.train.labels.contains(&class)));
        assert_eq!(noise([3, 8, 8], 7), data);
    }
}
