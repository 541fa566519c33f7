use super::*;
use crate::protocol::DataSource;
use crate::published::{Kind, Published};
use crate::testing::{dataset, tiny};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn rule(halves: Halves) -> SplitRule {
    SplitRule { name: "test".to_owned(), halves, treatments: Vec::new() }
}

fn named(a: &[&str], b: &[&str]) -> Halves {
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Halves::Named { a: own(a), b: own(b) }
}

fn split(halves: Halves, protocol: &Protocol, data: &Dataset) -> Result<Split> {
    Split::make(&rule(halves), protocol, &Catalog::of(data.clone()))
}

/// All images there are.
fn everything() -> Protocol {
    tiny(&[("train_per_class = 6", ""), ("valid_per_class = 4", "")])
}

/// The data set `small` of tests/reference/files.py.
fn small() -> Dataset {
    let images = |first: u8, count: u8| {
        let pixels = (first..first + count).flat_map(|i| [i, i + 1, i + 2, i + 3]).collect();
        Images::new([1, 2, 2], pixels, (0..u16::from(count)).map(|i| i % 4).collect())
    };
    let classes = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
    Dataset { classes, train: images(0, 8), valid: images(100, 4) }
}

fn names(classes: &[Class]) -> Vec<&str> {
    classes.iter().map(|class| class.name.as_str()).collect()
}

#[test]
fn known_file() {
    // Both sums and the length are printed by tests/reference/files.py.
    let data = small();
    let split = {
        let mut rule = rule(named(&["c", "a"], &["b", "d"]));
        rule.name = "two-two".to_owned();
        Split::make(&rule, &everything(), &Catalog::of(data.clone())).unwrap()
    };
    assert_eq!(split.data.hex(), "282034ca66ea907b24daa9bc07b5a5e493729700004a2b99493397410cc41ec3");
    assert_eq!(split.to_bytes().len(), 1067);
    assert_eq!(split.digest().hex(), "35bde8ade20393e696ae21590550da6fd21649d5d4d845cc862298c263c59dcd");
}

proptest! {
    #[test]
    fn halves_are_disjoint_cover_and_are_even(classes in 4usize..200, seed: u64) {
        let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
        let (a, b) = halves(&rule(Halves::Random(seed)), &names).unwrap();
        let mut all = [a.clone(), b.clone()].concat();
        all.sort_unstable();
        // In order, without gap and without repeat: disjoint and covering at once.
        prop_assert!(all.into_iter().eq(0..classes));
        // An odd class goes to B.
        prop_assert_eq!(b.len() - a.len(), classes % 2);
        prop_assert!(a.is_sorted() && b.is_sorted());
        prop_assert_eq!((a, b), halves(&rule(Halves::Random(seed)), &names).unwrap());
    }

    #[test]
    fn parts_are_kept_apart(
        classes in 4usize..9,
        held in (1usize..6, 1usize..6),
        share in (1usize..6, 1usize..6),
        seed: u64,
    ) {
        let data = dataset(classes, held.0, held.1, 8);
        let catalog = Catalog::of(data.clone());
        let taken = (share.0.min(held.0), share.1.min(held.1));
        let protocol = Protocol {
            train_per_class: Some(taken.0 as u32),
            valid_per_class: Some(taken.1 as u32),
            ..everything()
        };
        let split = Split::make(&rule(Halves::Random(seed)), &protocol, &catalog).unwrap();
        for part in Part::BOTH {
            let own: BTreeSet<_> = data.part(part).digests().into_iter().collect();
            let count = if part == Part::Train { taken.0 } else { taken.1 };
            let mut seen = BTreeSet::new();
            for task in Task::BOTH {
                for class in split.task(task) {
                    prop_assert_eq!(class.part(part).len(), count);
                    for image in class.part(part) {
                        prop_assert!(own.contains(image) && seen.insert(*image));
                    }
                }
            }
            prop_assert_eq!(seen.len(), classes * count);
        }
        prop_assert_eq!(split.overlaps(), []);
    }

    #[test]
    fn the_file_reads_back_and_any_move_shows(classes in 4usize..9, seed: u64, pick: prop::sample::Index) {
        let data = dataset(classes, 2, 1, 8);
        let split = split(Halves::Random(seed), &everything(), &data).unwrap();
        let bytes = split.to_bytes();
        prop_assert_eq!(&serde_json::from_slice::<Split>(&bytes).unwrap(), &split);
        prop_assert_eq!(split.digest().0, Digest::of(&bytes));

        let mut moved = split.clone();
        let class = moved.a.remove(pick.index(moved.a.len()));
        moved.b.push(class);
        prop_assert_ne!(moved.digest(), split.digest());

        let mut swapped = split.clone();
        swapped.b.swap(0, 1);
        prop_assert_ne!(swapped.digest(), split.digest());

        let mut image_moved = split.clone();
        let image = image_moved.a[0].train.remove(0);
        image_moved.a[0].valid.push(image);
        prop_assert_ne!(image_moved.digest(), split.digest());
    }
}

#[test]
fn other_seeds_give_other_halves() {
    let classes: Vec<String> = (0..20).map(|class| class.to_string()).collect();
    let of = |seed| halves(&rule(Halves::Random(seed)), &classes).unwrap().0;
    // 184,756 halves there are; among 100 seeds 0.03 pairs are expected to meet.
    let different: BTreeSet<_> = (0..100).map(of).collect();
    assert_eq!(different.len(), 100);
    // No class is bound to one side.
    for class in 0..20 {
        let in_a = (0..100).filter(|seed| of(*seed).contains(&class)).count();
        assert!((30..=70).contains(&in_a), "class {class} is in A {in_a} times of 100");
    }
}

#[test]
fn images_come_in_the_order_of_the_split() {
    let data = small();
    let catalog = Catalog::of(data.clone());
    let split = Split::make(&rule(named(&["a", "c"], &["b", "d"])), &everything(), &catalog).unwrap();
    let images = catalog.images(&split, Task::B, Part::Train).unwrap();
    // Images 1 and 5 are of class b, 3 and 7 of class d; see `small`.
    assert_eq!(images.labels, [0, 0, 1, 1]);
    let first: Vec<u8> = (0..4).map(|at| images.image(at).unwrap()[0]).collect();
    assert_eq!(first, [1, 5, 3, 7]);
    assert_eq!((split.count(Task::A, Part::Train), split.count(Task::A, Part::Valid)), (4, 2));

    // Taking fewer takes the first in file order.
    let one = Protocol { train_per_class: Some(1), ..everything() };
    let split = Split::make(&rule(named(&["a", "c"], &["b", "d"])), &one, &catalog).unwrap();
    assert_eq!(
        catalog.images(&split, Task::B, Part::Train).unwrap().bytes().unwrap().as_ref(),
        [1, 2, 3, 4, 3, 4, 5, 6]
    );
}

#[test]
fn images_that_the_data_lack_are_refused() {
    let (data, other) = (small(), dataset(4, 2, 1, 2));
    let split = split(Halves::Random(0), &everything(), &data).unwrap();
    let error = Catalog::of(other.clone()).images(&split, Task::A, Part::Train).unwrap_err().to_string();
    assert!(error.contains("which the data do not have"), "{error}");
}

/// Copies the pixels of one image over another.
fn plant(data: &mut Dataset, from: (Part, usize), to: (Part, usize)) -> ImageDigest {
    let image = data.part(from.0).image(from.1).unwrap().to_vec();
    let images = if to.0 == Part::Train { &mut data.train } else { &mut data.valid };
    images.bytes_mut().unwrap()[to.1 * image.len()..][..image.len()].copy_from_slice(&image);
    data.part(from.0).digests()[from.1]
}

#[test]
fn planted_duplicates_are_found_and_named() {
    let halves = || named(&["class-0", "class-2"], &["class-1", "class-3"]);
    // Image i is of class i mod 4.
    let place = |task, part, class: &str| (task, part, class.to_owned());

    let mut data = dataset(4, 3, 3, 8);
    let image = plant(&mut data, (Part::Train, 0), (Part::Train, 5));
    let found = split(halves(), &everything(), &data).unwrap().overlaps();
    let places = vec![place(Task::A, Part::Train, "class-0"), place(Task::B, Part::Train, "class-1")];
    assert_eq!(found, [Overlap { image, places }]);
    assert!(found[0].across_tasks() && !found[0].across_parts() && !found[0].across_classes());

    let mut data = dataset(4, 3, 3, 8);
    let image = plant(&mut data, (Part::Train, 2), (Part::Valid, 6));
    let found = split(halves(), &everything(), &data).unwrap().overlaps();
    let places = vec![place(Task::A, Part::Train, "class-2"), place(Task::A, Part::Valid, "class-2")];
    assert_eq!(found, [Overlap { image, places }]);
    assert!(!found[0].across_tasks() && found[0].across_parts() && !found[0].across_classes());

    let mut data = dataset(4, 3, 3, 8);
    let image = plant(&mut data, (Part::Valid, 0), (Part::Valid, 2));
    let found = split(halves(), &everything(), &data).unwrap().overlaps();
    let places = vec![place(Task::A, Part::Valid, "class-0"), place(Task::A, Part::Valid, "class-2")];
    assert_eq!(found, [Overlap { image, places }]);
    assert!(!found[0].across_tasks() && !found[0].across_parts() && found[0].across_classes());

    // Twice in one place is no overlap; two at once are both found.
    let mut data = dataset(4, 3, 3, 8);
    plant(&mut data, (Part::Train, 0), (Part::Train, 4));
    assert_eq!(split(halves(), &everything(), &data).unwrap().overlaps(), []);
    plant(&mut data, (Part::Train, 1), (Part::Valid, 0));
    plant(&mut data, (Part::Train, 3), (Part::Train, 6));
    let found = split(halves(), &everything(), &data).unwrap().overlaps();
    assert_eq!(found.len(), 2);
    assert_eq!(found.iter().filter(|overlap| overlap.across_parts()).count(), 1);
    assert!(found.iter().all(Overlap::across_tasks));
}

#[test]
fn the_embedded_data_have_no_overlap() {
    let data = Dataset::read(&DataSource::Embedded).unwrap();
    let catalog = Catalog::of(data.clone());
    for seed in 0..3 {
        let split = Split::make(&rule(Halves::Random(seed)), &everything(), &catalog).unwrap();
        assert_eq!(split.overlaps(), []);
        let count = |part| Task::BOTH.map(|task| split.count(task, part));
        assert_eq!((count(Part::Train), count(Part::Valid)), ([3000, 3000], [1000, 1000]));
    }
    let whole = Split::make(&rule(Halves::Whole), &everything(), &catalog).unwrap();
    assert_eq!(names(&whole.a), data.classes);
    assert_eq!((whole.b.len(), whole.overlaps()), (0, Vec::new()));
}

#[test]
fn bad_halves_are_refused() {
    let refuse = |halves: Halves, data: &Dataset| {
        let error = split(halves, &everything(), data).unwrap_err().to_string();
        assert!(error.starts_with("split test: "), "{error}");
        error
    };
    let data = dataset(5, 1, 1, 8);
    let error = refuse(named(&["class-0", "class-9"], &["class-1", "class-2"]), &data);
    assert!(error.contains("class-9, which the data do not have; the nearest class is class-"), "{error}");
    let error = refuse(named(&["class-0", "clas-1"], &["class-2", "class-3"]), &data);
    assert!(error.contains("the nearest class is class-1"), "{error}");
    for (a, b) in [(["class-0", "class-1"], ["class-1", "class-2"]), (["class-1"; 2], ["class-2", "class-3"])]
    {
        let error = refuse(named(&a, &b), &data);
        assert!(error.contains("names class class-1 twice"), "{error}");
    }
    for (a, b) in [(vec![], vec!["class-0", "class-1"]), (vec!["class-0", "class-1"], vec!["class-2"])] {
        let error = refuse(named(&a, &b), &data);
        assert!(error.contains("fewer than two classes"), "{error}");
    }
    let error = refuse(Halves::Random(0), &dataset(3, 1, 1, 8));
    assert!(error.contains("cannot halve 3 classes"), "{error}");
}

#[test]
fn too_few_images_are_refused() {
    let data = dataset(4, 3, 2, 8);
    let protocol = |train, valid| Protocol { train_per_class: train, valid_per_class: valid, ..everything() };
    let refuse = |data: &Dataset, train, valid| {
        split(Halves::Random(0), &protocol(train, valid), data).unwrap_err().to_string()
    };
    assert!(split(Halves::Random(0), &protocol(Some(3), Some(2)), &data).is_ok());
    let error = refuse(&data, Some(4), None);
    assert!(error.contains("has 3 train images, not 4; lower train_per_class"), "{error}");
    let error = refuse(&data, None, Some(9));
    assert!(error.contains("has 2 valid images, not 9; lower valid_per_class"), "{error}");

    let mut lacking = data;
    lacking.valid.labels.iter_mut().for_each(|label| *label = (*label).min(2));
    let error = refuse(&lacking, None, None);
    assert!(error.contains("class class-3 has no valid images; leave the class out"), "{error}");
}

#[test]
fn published_halves_want_the_published_classes() {
    let mut data = dataset(1000, 1, 1, 1);
    data.classes = published::synsets().map(str::to_owned).collect();
    let natman = || Halves::Published(Published::Kind(Kind::NaturalManMade));
    let split = split(natman(), &everything(), &data).unwrap();
    assert_eq!((split.a.len(), split.b.len()), (449, 551));
    assert_eq!((names(&split.a)[448], names(&split.b)[0]), ("n13133613", "n02666196"));
    let half = super::Split::make(
        &rule(Halves::Published(Published::Random(0))),
        &everything(),
        &Catalog::of(data.clone()),
    );
    // tests/reference/mt19937.py: sorted(np.random.RandomState([0]).permutation(1000)[:500]) begins 0, 1, 2, 5, 9, 10.
    let first: Vec<&str> = [0, 1, 2, 5, 9, 10].map(|class| data.classes[class].as_str()).to_vec();
    assert_eq!(names(&half.unwrap().a)[..6], first);

    data.classes.swap(0, 999);
    let error = super::Split::make(&rule(natman()), &everything(), &Catalog::of(data.clone()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("takes class 0 for n01440764"), "{error}");
}
