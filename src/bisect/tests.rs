use super::difference::unflatten;
use super::*;
use crate::data::Dataset;
use crate::manifest::Manifest;
use crate::net;
use crate::numerics::Numerics;
use crate::protocol::{Input, Protocol, Subtract};
use crate::recipe::Policy;
use crate::run;
use crate::split::Catalog;
use crate::testing::{dataset, tiny};
use crate::train::{Along, Next, Torch, Trainer};
use crate::weights::Weights;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// One bit of one number, after one step.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Plant {
    place: Place,
    layer: usize,
    bias: bool,
    momentum: bool,
    flat: usize,
}

/// Steps of an epoch, in every network here.
const STEPS: u32 = 3;

fn here(trainer: &Torch) -> Here<'_> {
    static GO: AtomicBool = AtomicBool::new(false);
    Here { trainer, stop: &GO }
}

fn torch() -> Torch {
    Torch::new(Numerics::engage(Policy::Portable).expect("a CPU that can"))
}

/// A trainer that changes the last bit of one number, in all trained layers of a network of which the first
/// `frozen` are not.
fn planted(plant: Plant, frozen: usize) -> Torch {
    let meddle = move |place: Place, net: &net::Net, velocity: &mut [tch::Tensor]| {
        if place != plant.place {
            return;
        }
        let at = 2 * (plant.layer - frozen) + usize::from(plant.bias);
        let tensor = match plant.momentum {
            true => velocity[at].shallow_clone(),
            false => net.trained(frozen)[at].shallow_clone(),
        };
        let mut numbers = net::from_tensor(&tensor).unwrap();
        let flat = plant.flat % numbers.values.len();
        numbers.values[flat] = f32::from_bits(numbers.values[flat].to_bits() ^ 1);
        tch::no_grad(|| tensor.shallow_clone().copy_(&net::to_tensor(&numbers, tch::Device::Cpu).unwrap()));
    };
    let mut torch = torch();
    torch.meddler = Some(Arc::new(meddle));
    torch
}

struct World {
    protocol: Protocol,
    data: Dataset,
}

impl World {
    /// Networks wide enough to live, of 3 steps an epoch and 20 epochs.
    fn new() -> Self {
        let widths = [("[2, 3, 2, 3, 2]", "[8, 8, 8, 8, 8]"), ("[4, 3]", "[16, 16]")];
        let protocol = tiny(&[&widths[..], &[("epochs = 2", "epochs = 20"), ("[1, 2]", "[1]")]].concat());
        Self { protocol, data: dataset(4, 6, 4, 8) }
    }

    /// The paper's network in small, of as many steps: windows, mirrors, the mean image, dropped units, batches that run on,
    /// Caffe's update.
    fn caffe() -> Self {
        let input = "[input]\ncrop = 43\nmirror = true\nsubtract = \"mean-image\"\n\n[solver]\nupdate = \"caffe\"\nsteps = 3";
        let protocol = tiny(&[
            ("conv = [2, 3, 2, 3, 2]", "layout = \"caffe\"\nconv = [4, 4, 4, 4, 4]"),
            ("[4, 3]", "[8, 8]"),
            ("[solver]", input),
            ("epochs = 2", "epochs = 20"),
            ("rate = 0.05", "rate = 0.001"),
            ("[1, 2]", "[1]"),
        ]);
        Self { protocol, data: dataset(4, 6, 4, 48) }
    }

    fn with<T>(&self, look: impl FnOnce(&Plan<'_>) -> T) -> T {
        let catalog = Catalog::of(self.data.clone());
        look(&Plan::make(&self.protocol, &catalog).unwrap())
    }
}

fn find(plan: &Plan<'_>, treatment: &str) -> usize {
    plan.runs.iter().position(|run| run.treatment.to_string() == treatment).expect("a planned run")
}

fn train(
    plan: &Plan<'_>,
    index: usize,
    trainer: &dyn Trainer,
    parent: Option<&Weights>,
    every: u32,
) -> (Manifest, Weights) {
    let digest = parent.map(|weights| weights.digests().whole());
    let recipe = plan.recipe(&plan.runs[index], Policy::Portable, digest);
    let along = Along { every, ..Along::ALONE };
    let (manifest, weights) = run::train(plan, index, recipe, parent, trainer, &along).unwrap();
    (manifest, weights.expect("it does not diverge"))
}

fn side<'a>(name: &'a str, manifest: &'a Manifest, store: &'a Store, again: &'a dyn Replayer) -> Side<'a> {
    Side { name, manifest, store: Some(store), bases: None, again }
}

fn any_plant(frozen: usize) -> impl Strategy<Value = Plant> {
    (0..20u32, 1..=3u32, frozen..LAYERS, any::<bool>(), any::<bool>(), 0usize..100_000).prop_map(
        |(epoch, step, layer, bias, momentum, flat)| Plant {
            place: Place { epoch, step },
            layer,
            bias,
            momentum,
            flat,
        },
    )
}

/// Every state of a training, by steps done, and its record.
fn states(
    plan: &Plan<'_>,
    index: usize,
    parent: Option<&Weights>,
    every: u32,
) -> (BTreeMap<u64, State>, Manifest) {
    let states = Mutex::new(BTreeMap::new());
    let keep = |state: State| {
        states.lock().unwrap().insert(state.progress.place.steps_done(STEPS), state);
        Ok(())
    };
    let along = Along { every, watch: &|_, _| Next::Keep, keep: &keep, ..Along::ALONE };
    let digest = parent.map(|weights| weights.digests().whole());
    let recipe = plan.recipe(&plan.runs[index], Policy::Portable, digest);
    let (manifest, _) = run::train(plan, index, recipe, parent, &torch(), &along).unwrap();
    (states.into_inner().unwrap(), manifest)
}

/// What the store of two records has of the way to where they part.
#[derive(PartialEq)]
enum Kept {
    /// Nothing: both are trained again from the beginning.
    Nothing,
    /// The state after each epoch.
    Epochs,
}

/// Plants changes in two networks, one of them with frozen layers, and finds each. With an entry every so
/// many steps; `cases` of each network.
fn find_planted(world: &World, every: u32, kept: &Kept, cases: u32) {
    world.with(|plan| {
        let dir = TempDir::new().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let (_, base) = train(plan, find(plan, "baseA"), &torch(), None, every);
        store.put_weights(&base).unwrap();
        for (treatment, frozen) in [("baseB", 0), ("A4B", 4)] {
            let index = find(plan, treatment);
            let parent = (treatment == "A4B").then_some(&base);
            let (states, clean) = states(plan, index, parent, every);
            let epochs = states.iter().filter(|(done, _)| done.is_multiple_of(STEPS.into()));
            for (done, state) in epochs.filter(|_| *kept == Kept::Epochs) {
                store.put_snapshot(state, *done).unwrap();
            }
            let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
            let tried = proptest::test_runner::TestRunner::new(config).run(&any_plant(frozen), |plant| {
                let trainer = planted(plant, frozen);
                // Until the step before, it is the same training.
                let from = states.get(&(plant.place.steps_done(STEPS) - 1)).cloned();
                let along = Along { from, every, ..Along::ALONE };
                let recipe = clean.recipe.clone();
                let (changed, _) = run::train(plan, index, recipe, parent, &trainer, &along).unwrap();
                let (good, meddled) = (torch(), here(&trainer));
                let good = here(&good);
                let left = side("left", &clean, &store, &good);
                let right = side("right", &changed, &store, &meddled);
                let Some(parting) = bisect(plan, index, &left, &right).unwrap() else {
                    // Rounding undid the change before the next entry: no trace, and no effect.
                    prop_assert!(every > 1, "there is an entry after every step");
                    prop_assert_eq!(&clean.outcome, &changed.outcome);
                    return Ok(());
                };
                prop_assert!(parting.exact, "{parting:?}");
                prop_assert_eq!(parting.cause, Cause::Arithmetic);
                prop_assert_eq!(parting.differ_at, plant.place);
                let difference = parting.difference.expect("both are known");
                prop_assert_eq!((difference.numbers, difference.largest_ulps), (1, 1));
                let Number { layer, tensor, index: at, left, right, ulps } = difference.first;
                prop_assert_eq!((layer, ulps), (NAMES[plant.layer], 1));
                prop_assert_eq!(tensor.contains("bias"), plant.bias);
                prop_assert_eq!(tensor.contains("momentum"), plant.momentum);
                prop_assert_eq!(left.to_bits() ^ 1, right.to_bits());
                let shape = &plan.shapes(&plan.runs[index])[plant.layer].weight;
                let shape = if plant.bias { &shape[..1] } else { &shape[..] };
                prop_assert_eq!(at, unflatten(plant.flat % shape.iter().product::<usize>(), shape));
                prop_assert!(parting.compared <= parting.entries.ilog2() as usize + 1);
                Ok(())
            });
            tried.unwrap_or_else(|error| panic!("{treatment}: {error}"));
        }
    });
}

/// Fifty changes of one unit in the last place, at any step, layer and number: each is found exactly.
#[test]
fn one_unit_in_the_last_place_is_found_wherever_it_is() {
    find_planted(&World::new(), 1, &Kept::Epochs, 25);
}

/// And so it is in the paper's network, in which every step draws windows and dropped units.
#[test]
fn one_unit_in_the_last_place_is_found_in_the_paper_s_network() {
    find_planted(&World::caffe(), 1, &Kept::Nothing, 6);
}

/// With fewer entries it is found as exactly, unless rounding undid it.
#[test]
fn one_unit_in_the_last_place_is_found_between_entries() {
    find_planted(&World::new(), 2, &Kept::Nothing, 10);
}

/// A side that cannot be trained again as it is recorded leaves a window, and what its snapshots say.
#[test]
fn what_cannot_be_repeated_is_left_with_its_ledger_and_snapshots() {
    World::new().with(|plan| {
        let index = find(plan, "baseB");
        let dir = TempDir::new().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let plant =
            Plant { place: Place { epoch: 3, step: 2 }, layer: 2, bias: false, momentum: false, flat: 5 };
        let (clean, _) = train(plan, index, &torch(), None, 3);
        let (changed, _) = train(plan, index, &planted(plant, 0), None, 3);
        let good = torch();
        let good = here(&good);
        let left = side("left", &clean, &store, &good);
        let right = side("right", &changed, &store, &good);
        let parting = bisect(plan, index, &left, &right).unwrap().unwrap();
        assert!(!parting.exact && parting.difference.is_none());
        // An entry at the end of each epoch of three steps.
        assert_eq!(parting.agree_until, Some(Place { epoch: 2, step: 3 }));
        assert_eq!(parting.differ_at, Place { epoch: 3, step: 3 });
        assert_eq!(parting.unknown, ["right: trained again here, it does not come out as it is recorded"]);

        // Its snapshots tell the number after all.
        let trainer = planted(plant, 0);
        let keep = |state: State| {
            let done = state.progress.place.steps_done(STEPS);
            if done == 11 { store.put_snapshot(&state, done) } else { Ok(()) }
        };
        let along = Along { every: 3, watch: &|_, _| Next::Keep, keep: &keep, ..Along::ALONE };
        let (again, _) = run::train(plan, index, changed.recipe.clone(), None, &trainer, &along).unwrap();
        assert_eq!(again.ledger, changed.ledger);
        let bare = Side { store: None, ..left };
        let parting = bisect(plan, index, &bare, &right).unwrap().unwrap();
        assert_eq!(parting.differ_at, plant.place);
        assert_eq!(parting.difference.unwrap().first.ulps, 1);
        assert!(!parting.exact, "an earlier step may have differed: there was no snapshot of it");
    });
}

/// Records that differ in more than arithmetic say in what.
#[test]
fn causes_are_told_apart() {
    World::new().with(|plan| {
        let index = find(plan, "baseB");
        let dir = TempDir::new().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let (clean, _) = train(plan, index, &torch(), None, 3);
        let good = torch();
        let good = here(&good);
        let cause = |change: &dyn Fn(&mut Manifest)| {
            let mut changed = clean.clone();
            change(&mut changed);
            let left = side("left", &clean, &store, &good);
            let right = side("right", &changed, &store, &good);
            bisect(plan, index, &left, &right).unwrap().map(|parting| parting.cause)
        };
        use crate::digest::{DataDigest, Digest, LayerDigest, LedgerDigest, OrderDigest};
        let other = Digest::of(b"other");
        let differ = |manifest: &mut Manifest| manifest.ledger.entries[4..].fill(LedgerDigest(other));
        assert_eq!(cause(&|_| {}), None);
        assert_eq!(cause(&|m| differ(m)), Some(Cause::Arithmetic));
        let data = |m: &mut Manifest| {
            differ(m);
            m.recipe.data = DataDigest(other);
        };
        assert_eq!(cause(&data), Some(Cause::Data));
        let core = |m: &mut Manifest| {
            differ(m);
            m.recipe.core += 1;
        };
        assert_eq!(cause(&core), Some(Cause::CodeVersion));
        let libtorch = |m: &mut Manifest| {
            differ(m);
            m.environment.libtorch = "2.12.0".to_owned();
        };
        assert_eq!(cause(&libtorch), Some(Cause::CodeVersion));
        let first = |m: &mut Manifest| {
            differ(m);
            m.initial.0[3] = LayerDigest(other);
        };
        assert_eq!(cause(&first), Some(Cause::Initialisation));
        let order = |m: &mut Manifest| {
            differ(m);
            m.epochs[2].order = OrderDigest(other);
        };
        assert_eq!(cause(&order), Some(Cause::DataOrder));
        let stored = |m: &mut Manifest| {
            let Outcome::Trained { layers } = &mut m.outcome else { panic!("it diverged") };
            layers.0[7] = LayerDigest(other);
        };
        assert_eq!(cause(&stored), Some(Cause::AfterTraining));
        let stored_elsewhere = |m: &mut Manifest| {
            stored(m);
            m.environment.cpu = "another".to_owned();
        };
        assert_eq!(cause(&stored_elsewhere), Some(Cause::AfterTraining), "a processor is no cause");
        let counted = |m: &mut Manifest| m.epochs[2].valid.correct += 1;
        assert_eq!(cause(&counted), Some(Cause::Evaluation));

        // What training does not write. Of another entry in the middle the place is said, of one too many the end.
        let edit = |change: &dyn Fn(&mut Manifest)| {
            let mut changed = clean.clone();
            change(&mut changed);
            let left = side("left", &clean, &store, &good);
            let right = side("right", &changed, &store, &good);
            let parting = bisect(plan, index, &left, &right).unwrap().expect("they differ");
            assert_eq!((parting.cause, parting.exact, &parting.difference), (Cause::Edited, false, &None));
            (parting.agree_until, parting.differ_at, parting.evidence, parting.unknown)
        };
        let place = |index: usize| clean.ledger.place(index, STEPS);
        let (agree, differ, evidence, unknown) = edit(&|m| m.ledger.entries[4] = LedgerDigest(other));
        assert_eq!((agree, differ), (Some(place(3)), place(4)));
        assert!(evidence[0].contains("agree again"), "{evidence:?}");
        assert!(unknown[0].starts_with("right: trained again here, it does not come out"), "{unknown:?}");
        let due = clean.ledger.entries.len();
        for (change, kept) in [
            (
                &(|m: &mut Manifest| m.ledger.entries.push(LedgerDigest(other))) as &dyn Fn(&mut Manifest),
                due + 1,
            ),
            (&|m: &mut Manifest| m.ledger.entries.truncate(2), 2),
        ] {
            let (agree, differ, evidence, _) = edit(change);
            let last = place(due - 1);
            let places = if kept > due { (last, last) } else { (place(1), place(2)) };
            assert_eq!((agree, differ), (Some(places.0), places.1), "{kept}");
            assert_eq!(
                evidence[0],
                format!("right: its ledger has {kept} entries, where training has {due}")
            );
        }
    });
}

/// What no two records of one run differ in is refused, on either side.
#[test]
fn a_record_of_another_protocol_is_refused() {
    World::new().with(|plan| {
        let index = find(plan, "baseB");
        let dir = TempDir::new().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let (clean, _) = train(plan, index, &torch(), None, 3);
        let good = torch();
        let good = here(&good);
        let input = Input { crop: 5, mirror: false, subtract: Subtract::MeanImage };
        for change in [
            &|m: &mut Manifest| m.recipe.seed += 1,
            &|m: &mut Manifest| m.recipe.treatment = plan.runs[find(plan, "baseA")].treatment,
            &|m: &mut Manifest| m.recipe.network.hidden[0] += 1,
            &|m: &mut Manifest| m.recipe.input = Some(input.clone()),
            &|m: &mut Manifest| m.recipe.solver.rate *= 2.0,
        ] as [&dyn Fn(&mut Manifest); 5]
        {
            let mut changed = clean.clone();
            change(&mut changed);
            let clean = side("clean", &clean, &store, &good);
            let changed = side("changed", &changed, &store, &good);
            for (left, right) in [(&clean, &changed), (&changed, &clean)] {
                let error = bisect(plan, index, left, right).unwrap_err().to_string();
                let says = "changed: has another seed, network, input or solver for half/1/baseB than the protocol tiny";
                assert!(error.starts_with(says), "{error}");
            }
        }
    });
}

/// A replayer that hands over the states once, and the second time ends with a reason or with another state.
struct Once<'a> {
    here: Here<'a>,
    calls: AtomicUsize,
    second: Option<&'static str>,
}

impl Replayer for Once<'_> {
    fn states(&self, wanted: &Wanted<'_>, take: &Take<'_>) -> Result<Replayed> {
        if self.calls.fetch_add(1, Ordering::Relaxed) == 0 {
            return self.here.states(wanted, take);
        }
        if let Some(why) = self.second {
            return Ok(Replayed::Not(why.to_owned()));
        }
        self.here.states(wanted, &|mut state| {
            state.weights.layers[0].bias.values[0] += 1.0;
            take(state)
        })
    }
}

#[test]
fn a_state_that_does_not_come_again_is_not_compared() {
    World::new().with(|plan| {
        let index = find(plan, "baseA");
        let dir = TempDir::new().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let plant =
            Plant { place: Place { epoch: 3, step: 2 }, layer: 6, bias: false, momentum: false, flat: 5 };
        let (good, bad) = (torch(), planted(plant, 0));
        let [(clean, _), (changed, _)] = [&good, &bad].map(|trainer| train(plan, index, trainer, None, 3));
        let left = here(&good);
        let left = side("left", &clean, &store, &left);
        for (second, says) in [
            (Some("it was killed"), "right: it was killed"),
            (None, "right: the second time, its state there came out otherwise"),
        ] {
            let right = Once { here: here(&bad), calls: AtomicUsize::new(0), second };
            let parting =
                bisect(plan, index, &left, &side("right", &changed, &store, &right)).unwrap().unwrap();
            assert_eq!((parting.differ_at, parting.exact), (plant.place, true));
            assert_eq!((parting.difference, parting.unknown), (None, vec![says.to_owned()]));
            assert_eq!(right.calls.into_inner(), 2);
        }
    });
}
