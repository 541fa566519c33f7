use super::*;
use crate::cluster::arrange::{Batch, Pair};
use crate::cluster::order::Format;
use crate::cluster::{After, Limits, Phase};
use crate::resources::Resources;
use crate::split::Catalog;
use crate::store::Store;
use crate::testing::{TINY, dataset, tiny};
use std::cell::RefCell;
use std::rc::Rc;
use tempfile::TempDir;

/// An engine that names its jobs in turn, and says of all of them the same.
#[derive(Clone, Default)]
struct Fake {
    refuses: bool,
    /// It takes what it is handed, and says that it did not.
    mumbles: bool,
    silent: bool,
    ended: bool,
    forgot: bool,
    /// A job that another machine has.
    away: Option<&'static str>,
    /// The names that jobs were handed over under, and what it was asked to find.
    given: Rc<RefCell<Vec<String>>>,
    sought: Rc<RefCell<Vec<String>>>,
}

impl Engine for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }
    fn limits(&self) -> Result<Limits> {
        unreachable!("nobody arranges here")
    }
    fn submit(&self, _: &Batch, order: &Path, name: &str, _: &After) -> Result<String> {
        assert!(order.with_file_name("jobs.json").exists(), "handed over before it was written down");
        if self.refuses {
            return Err(Error::invalid("fake", "is full", "wait"));
        }
        self.given.borrow_mut().push(name.to_owned());
        if self.mumbles {
            return Err(Error::invalid("fake", "timed out", "wait"));
        }
        Ok(self.given.borrow().len().to_string())
    }
    fn poll(&self, jobs: &[String]) -> Result<Vec<Element>> {
        if self.silent {
            return Err(Error::invalid("fake", "does not answer", "wait"));
        }
        assert!(!jobs.iter().any(|job| Some(job.as_str()) == self.away), "asked after what is elsewhere");
        if self.forgot {
            return Ok(Vec::new());
        }
        let phase = match self.ended {
            true => Phase::Ended { well: true, cancelled: false, why: String::new() },
            false => Phase::Running,
        };
        let one = |job: &String| Element {
            job: job.clone(),
            index: Some(0),
            phase: phase.clone(),
            ..Element::unknown()
        };
        Ok(jobs.iter().map(one).collect())
    }
    fn elsewhere(&self, job: &str) -> Option<String> {
        (Some(job) == self.away).then(|| "far".to_owned())
    }
    fn find(&self, name: &str, _: &Path) -> Result<Option<String>> {
        if self.silent {
            return Err(Error::invalid("fake", "does not answer", "wait"));
        }
        self.sought.borrow_mut().push(name.to_owned());
        let at = self.given.borrow().iter().position(|given| given == name);
        Ok(at.map(|at| (at + 1).to_string()))
    }
    fn cancel(&self, _: &[String]) -> Result<()> {
        unreachable!("nobody cancels here")
    }
}

/// A store of the tiny protocol in which the first two runs were handed over, each by itself.
struct World {
    dir: TempDir,
    store: Store,
    fake: Fake,
    orders: Vec<PathBuf>,
}

fn order(plan: &Plan<'_>, run: usize) -> Order {
    Order {
        format: Format::V1,
        origin: "tiny".to_owned(),
        protocol: TINY.to_owned(),
        data: None,
        images: None,
        protocol_digest: plan.protocol.digest(),
        numerics: Policy::Portable,
        gpu: None,
        snapshot_every: "10min".to_owned(),
        jobs: None,
        elements: BTreeMap::from([(0, vec![plan.name(&plan.runs[run])])]),
    }
}

fn batch(run: usize) -> Batch {
    let (pair, behind, throttle) = (Pair::Nothing, None, None);
    let elements = BTreeMap::from([(0, vec![run])]);
    Batch { elements, pair, behind, throttle, resources: Resources::default(), copies: false }
}

fn with(act: impl FnOnce(&Plan<'_>, World)) {
    let (protocol, data) = (tiny(&[]), dataset(4, 6, 4, 8));
    let catalog = Catalog::of(data.clone());
    let plan = Plan::make(&protocol, &catalog).unwrap();
    let dir = TempDir::new().unwrap();
    let store = Store::create(dir.path()).unwrap();
    let fake = Fake::default();
    let orders = [0, 1].map(|run| {
        let order = order(&plan, run);
        record::hand_over(&store, &fake, &batch(run), &order, &After::default()).unwrap();
        record::path(store.dir(), &order)
    });
    act(&plan, World { dir, store, fake, orders: orders.to_vec() });
}

impl World {
    fn ask(&self, plan: &Plan<'_>, fake: &Fake) -> Jobs {
        let engine = |name: &str| -> Result<Box<dyn Engine>> {
            assert_eq!(name, "fake");
            Ok(Box::new(fake.clone()))
        };
        jobs(plan, Policy::Portable, self.store.dir(), engine)
    }
}

fn alive(jobs: &Jobs) -> Vec<usize> {
    let mut alive: Vec<usize> =
        jobs.of.iter().filter(|(_, element)| element.phase.alive()).map(|(run, _)| *run).collect();
    alive.sort_unstable();
    alive
}

fn unknown(jobs: &Jobs) -> Vec<usize> {
    jobs.unknown_of(|_| true).into_iter().collect()
}

#[test]
fn an_engine_that_does_not_answer_may_have_what_it_was_handed_and_nothing_else() {
    with(|plan, world| {
        let seen = world.ask(plan, &world.fake);
        assert_eq!((alive(&seen), unknown(&seen)), (vec![0, 1], vec![]));
        let seen = world.ask(plan, &Fake { silent: true, ..world.fake.clone() });
        assert_eq!((alive(&seen), unknown(&seen)), (vec![], vec![0, 1]));
        assert!(seen.unknown[0].why.to_string().contains("does not answer"));
        assert_eq!(seen.unknown_of(|run| run == 1), BTreeSet::from([1]));
        // One that is not on this machine at all is no other case.
        let gone = |_: &str| Err(Error::invalid("fake", "is not here", "go there"));
        assert_eq!(unknown(&jobs(plan, Policy::Portable, world.store.dir(), gone)), [0, 1]);
        // Of another policy nothing was handed over, so nothing is unknown.
        assert!(unknown(&jobs(plan, Policy::Native, world.store.dir(), gone)).is_empty());
    });
}

#[test]
fn a_damaged_record_hides_its_own_networks_alone() {
    with(|plan, world| {
        std::fs::write(world.orders[0].with_file_name("jobs.json"), "{").unwrap();
        let seen = world.ask(plan, &world.fake);
        assert_eq!((alive(&seen), unknown(&seen)), (vec![1], vec![0]));
        let why = seen.unknown[0].why.to_string();
        assert!(why.contains("is no record of jobs") && why.contains("selffer cancel --forget"), "{why}");
    });
}

#[test]
fn a_damaged_order_hides_everything_as_long_as_its_job_lives() {
    let every: Vec<usize> = (0..16).collect();
    let damages: [fn(&str) -> String; 2] = [
        |_| "{".to_owned(),
        |text| text.replacen("\"snapshot_every\":\"10min\"", "\"snapshot_every\":\"500\"", 1),
    ];
    for damage in damages {
        with(|plan, world| {
            let text = std::fs::read_to_string(&world.orders[0]).unwrap();
            assert_ne!(damage(&text), text);
            std::fs::write(&world.orders[0], damage(&text)).unwrap();
            let seen = world.ask(plan, &world.fake);
            assert_eq!((alive(&seen), unknown(&seen)), (vec![1], every.clone()));
            let why = seen.unknown[0].why.to_string();
            assert!(why.contains("its job 1 lives") && why.contains("selffer cancel --forget"), "{why}");
            let seen = world.ask(plan, &Fake { silent: true, ..world.fake.clone() });
            assert_eq!(unknown(&seen), every);
            // One that has ended has nothing.
            let seen = world.ask(plan, &Fake { ended: true, ..world.fake.clone() });
            assert_eq!((alive(&seen), unknown(&seen)), (vec![], vec![]));
        });
    }
}

#[test]
fn what_cannot_be_asked_after_is_forgotten_when_that_is_asked_for() {
    with(|plan, world| {
        let forgets = |fake: &Fake| {
            let engine = |_: &str| -> Result<Box<dyn Engine>> { Ok(Box::new(fake.clone())) };
            forget(plan, Policy::Portable, world.store.dir(), engine).unwrap()
        };
        assert_eq!(forgets(&world.fake), [] as [PathBuf; 0]);
        std::fs::write(world.orders[1].with_file_name("jobs.json"), "{").unwrap();
        assert_eq!(forgets(&world.fake), [world.orders[1].clone()]);
        let seen = world.ask(plan, &world.fake);
        assert_eq!((alive(&seen), unknown(&seen)), (vec![0], vec![]));
        assert_eq!(forgets(&Fake { silent: true, ..world.fake.clone() }), [world.orders[0].clone()]);
        assert!(world.orders[0].exists(), "the order stays");
        let seen = world.ask(plan, &world.fake);
        assert_eq!((alive(&seen), unknown(&seen)), (vec![], vec![]));
    });
}

/// A run that two jobs have is one job's to be shown, and both jobs' to be cancelled.
#[test]
fn every_job_that_lives_is_known() {
    with(|plan, world| {
        record::hand_over(&world.store, &world.fake, &batch(0), &other(plan, 0), &After::default()).unwrap();
        let seen = world.ask(plan, &world.fake);
        assert_eq!((alive(&seen), unknown(&seen)), (vec![0, 1], vec![]));
        assert_eq!(seen.alive.iter().map(String::as_str).collect::<Vec<_>>(), ["1", "2", "3"]);
    });
}

/// What has no business among the jobs hides none of them.
#[test]
fn what_is_no_batch_is_passed_over() {
    with(|plan, world| {
        let jobs = record::dir(world.store.dir());
        std::os::unix::fs::symlink("loop", jobs.join("loop")).unwrap();
        std::fs::write(jobs.join("note"), "x").unwrap();
        let seen = world.ask(plan, &world.fake);
        assert_eq!((alive(&seen), unknown(&seen)), (vec![0, 1], vec![]));
        // A directory whose record cannot be looked at may have any run, and hides no other batch.
        std::fs::create_dir(jobs.join("odd")).unwrap();
        std::os::unix::fs::symlink("jobs.json", jobs.join("odd/jobs.json")).unwrap();
        let seen = world.ask(plan, &world.fake);
        assert_eq!(alive(&seen), [0, 1]);
        assert!(!seen.unknown.is_empty());
    });
}

/// Another order for the same run.
fn other(plan: &Plan<'_>, run: usize) -> Order {
    Order { snapshot_every: "20min".to_owned(), ..order(plan, run) }
}

/// Two stores of one plan have the same orders, and their jobs other names.
#[test]
fn a_submission_that_was_killed_is_found_by_a_name_that_no_other_has() {
    with(|plan, world| {
        let elsewhere = Store::create(&world.dir.path().join("elsewhere")).unwrap();
        record::hand_over(&elsewhere, &world.fake, &batch(0), &order(plan, 0), &After::default()).unwrap();
        let names = world.fake.given.borrow().clone();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 3, "{names:?}");
        let stem = |name: &str| name.rsplit_once('-').map(|(stem, _)| stem.to_owned());
        assert_eq!(stem(&names[0]), stem(&names[2]), "the same order");
        // Killed before it could write down which job it became.
        let pending = format!(r#"{{"engine":"fake","jobs":[],"pending":"{}"}}"#, names[0]);
        std::fs::write(world.orders[0].with_file_name("jobs.json"), pending).unwrap();
        let seen = world.ask(plan, &world.fake);
        assert_eq!((alive(&seen), seen.of[&0].job.as_str()), (vec![0, 1], "1"));
        assert_eq!(*world.fake.sought.borrow(), names[..1]);
    });
}

#[test]
fn what_is_refused_leaves_the_record_as_it_was() {
    with(|plan, world| {
        let record = world.orders[0].with_file_name("jobs.json");
        let before = std::fs::read(&record).unwrap();
        let full = Fake { refuses: true, ..world.fake.clone() };
        record::hand_over(&world.store, &full, &batch(0), &order(plan, 0), &After::default()).unwrap_err();
        assert_eq!(std::fs::read(&record).unwrap(), before);
        // Of one that was never taken there is nothing to ask.
        record::hand_over(&world.store, &full, &batch(2), &order(plan, 2), &After::default()).unwrap_err();
        assert_eq!(alive(&world.ask(plan, &world.fake)), [0, 1]);
    });
}

#[test]
fn of_a_job_that_is_forgotten_there_is_what_it_wrote() {
    with(|plan, world| {
        let forgot = Fake { forgot: true, ..world.fake.clone() };
        assert!(world.ask(plan, &forgot).of.is_empty(), "no job has begun");
        let log = world.orders[1].with_file_name("2_0.log");
        std::fs::write(&log, "no space left\n").unwrap();
        let seen = world.ask(plan, &forgot);
        assert_eq!(seen.of, HashMap::from([(1, Element::forgotten("2", Some(0), log))]));
        assert!(!seen.of[&1].phase.alive() && seen.unknown.is_empty());
        // As long as it is listed, it is as it is said to be; and another job of the network goes before it.
        assert_eq!(alive(&world.ask(plan, &world.fake)), [0, 1]);
        assert!(world.ask(plan, &Fake { silent: true, ..forgot }).of.is_empty());
    });
}

#[test]
fn what_was_taken_without_a_word_is_found_or_stays_unknown() {
    with(|plan, world| {
        let mumbles = Fake { mumbles: true, ..world.fake.clone() };
        let over = |fake: &Fake, run| {
            record::hand_over(&world.store, fake, &batch(run), &order(plan, run), &After::default())
        };
        assert_eq!(over(&mumbles, 2).unwrap(), "3");
        assert_eq!(alive(&world.ask(plan, &world.fake)), [0, 1, 2]);
        // One that cannot be asked either may have it, until it can.
        let silent = Fake { silent: true, ..mumbles };
        assert!(over(&silent, 3).unwrap_err().to_string().contains("timed out"));
        assert_eq!(unknown(&world.ask(plan, &silent)), [0, 1, 2, 3]);
        let seen = world.ask(plan, &world.fake);
        assert_eq!((alive(&seen), seen.of[&3].job.as_str()), (vec![0, 1, 2, 3], "4"));
    });
}

#[test]
fn a_job_of_another_machine_is_not_known_and_the_others_are() {
    with(|plan, world| {
        let away = Fake { away: Some("2"), ..world.fake.clone() };
        let seen = world.ask(plan, &away);
        assert_eq!((alive(&seen), unknown(&seen)), (vec![0], vec![1]));
        assert!(seen.unknown[0].why.to_string().ends_with("ask on far"), "{}", seen.unknown[0].why);
        let engine = |_: &str| -> Result<Box<dyn Engine>> { Ok(Box::new(away.clone())) };
        let forgotten = forget(plan, Policy::Portable, world.store.dir(), engine).unwrap();
        assert_eq!(forgotten, [world.orders[1].clone()]);
    });
}
