use super::unfinished::{LEFT, being_written};
use super::*;
use crate::testing::{dataset, manifest, tiny, weights};
use crate::{plan::Plan, split::Catalog};
use std::sync::Barrier;
use tempfile::TempDir;

fn fresh() -> (TempDir, Store) {
    let dir = TempDir::new().expect("a directory");
    let store = Store::create(dir.path()).expect("a store");
    (dir, store)
}

fn any_split() -> Split {
    let protocol = tiny(&[]);
    let data = dataset(4, 6, 4, 8);
    let catalog = Catalog::of(data.clone());
    let plan = Plan::make(&protocol, &catalog).expect("a plan");
    plan.splits[0].0.clone()
}

/// Puts one entry of each kind into the store.
fn fill(store: &Store) -> (SplitDigest, WeightsDigest, RecipeDigest) {
    let split = store.put_split(&any_split()).unwrap();
    let weights = store.put_weights(&weights(1)).unwrap();
    store.put_manifest(&manifest(1)).unwrap();
    (split, weights, manifest(1).recipe_digest())
}

fn files(dir: &Path) -> Vec<String> {
    let names = sorted(dir).unwrap();
    names.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn what_is_written_is_read() {
    let (dir, store) = fresh();
    assert_eq!(store.weights(weights(1).digests().whole()).unwrap(), Found::Absent);
    assert_eq!(store.list().unwrap(), (vec![], vec![]));
    let (split, checkpoint, recipe) = fill(&store);
    let reader = Store::open(dir.path()).unwrap();
    assert_eq!(reader.split(split).unwrap(), Found::Whole(any_split()));
    assert_eq!(reader.weights(checkpoint).unwrap(), Found::Whole(weights(1)));
    assert_eq!(reader.manifest(recipe).unwrap(), Found::Whole(manifest(1)));
    let entries = vec![Entry::Checkpoint(checkpoint), Entry::Manifest(recipe), Entry::Split(split)];
    assert_eq!(reader.list().unwrap(), (entries, vec![]));
    assert_eq!(files(&dir.path().join(NEW)), [WRITERS]);
    // What another process removed first is gone all the same.
    store.remove_snapshot(recipe, 7).unwrap();
    // Writing the same again changes nothing; other weights have a file of their own.
    fill(&store);
    store.put_weights(&weights(2)).unwrap();
    assert_eq!(store.list().unwrap().0.len(), 4);
    assert_eq!(reader.weights(checkpoint).unwrap(), Found::Whole(weights(1)));
}

/// Whether each entry is damaged: split, checkpoint, manifest.
fn damaged(
    store: &Store,
    (split, checkpoint, recipe): (SplitDigest, WeightsDigest, RecipeDigest),
) -> [bool; 3] {
    [
        matches!(store.split(split).unwrap(), Found::Damaged(_)),
        matches!(store.weights(checkpoint).unwrap(), Found::Damaged(_)),
        matches!(store.manifest(recipe).unwrap(), Found::Damaged(_)),
    ]
}

#[test]
fn every_changed_byte_is_seen() {
    let (_dir, store) = fresh();
    let entries = fill(&store);
    let paths = [Entry::Split(entries.0), Entry::Checkpoint(entries.1), Entry::Manifest(entries.2)]
        .map(|e| store.path(&e));
    for (which, path) in paths.iter().enumerate() {
        let whole = fs::read(path).unwrap();
        let expected = std::array::from_fn(|entry| entry == which);
        for at in 0..whole.len() {
            // Every byte; over eight bytes, every bit.
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(path, &bytes).unwrap();
            assert_eq!(damaged(&store, entries), expected, "byte {at} of {}", path.display());
        }
        for length in (0..whole.len()).step_by(97) {
            fs::write(path, &whole[..length]).unwrap();
            assert_eq!(damaged(&store, entries), expected, "{length} bytes of {}", path.display());
        }
        fs::write(path, [&whole[..], b"\n"].concat()).unwrap();
        assert_eq!(damaged(&store, entries), expected, "a byte after {}", path.display());
        fs::write(path, &whole).unwrap();
        assert_eq!(damaged(&store, entries), [false; 3]);
    }
}

/// Pipes, directories, and files of more than memory holds: each is damaged, and none is waited for.
#[test]
fn what_is_endless_is_damaged() {
    let (dir, store) = fresh();
    let entries = fill(&store);
    let paths = [Entry::Split(entries.0), Entry::Checkpoint(entries.1), Entry::Manifest(entries.2)]
        .map(|entry| store.path(&entry));
    for path in &paths {
        File::options().write(true).open(path).unwrap().set_len(1 << 40).unwrap();
    }
    assert_eq!(damaged(&store, entries), [true; 3]);
    for path in &paths {
        fs::remove_file(path).unwrap();
        crate::testing::make_pipe(path);
    }
    assert_eq!(damaged(&store, entries), [true; 3]);
    // What is read beside them.
    let recipe = entries.2;
    for (sub, name) in [(CLAIMS, format!("{}-1.json", recipe.hex())), (LOCKS, recipe.hex())] {
        crate::testing::make_pipe(&dir.path().join(sub).join(name));
    }
    assert_eq!(store.last_claim(recipe).unwrap(), Some((1, None)));
    assert!(!store.locked(recipe).unwrap() && store.try_lock(recipe).is_err());
}

#[test]
fn a_whole_file_under_another_name_is_damaged() {
    let (_dir, store) = fresh();
    let (_, checkpoint, recipe) = fill(&store);
    let other = weights(2).digests().whole();
    fs::copy(store.path(&Entry::Checkpoint(checkpoint)), store.path(&Entry::Checkpoint(other))).unwrap();
    let Found::Damaged(why) = store.weights(other).unwrap() else { panic!("it is not damaged") };
    assert!(why.contains("another digest than its name says"), "{why}");
    let other = manifest(2).recipe_digest();
    fs::copy(store.path(&Entry::Manifest(recipe)), store.path(&Entry::Manifest(other))).unwrap();
    let Found::Damaged(why) = store.manifest(other).unwrap() else { panic!("it is not damaged") };
    assert!(why.contains("another than its name says"), "{why}");
}

#[test]
fn damaged_files_are_written_anew() {
    let (_dir, store) = fresh();
    let entries = fill(&store);
    for entry in [Entry::Split(entries.0), Entry::Checkpoint(entries.1), Entry::Manifest(entries.2)] {
        fs::write(store.path(&entry), b"not what it was").unwrap();
    }
    assert_eq!(damaged(&store, entries), [true; 3]);
    assert_eq!(fill(&store), entries);
    assert_eq!(damaged(&store, entries), [false; 3]);
}

#[test]
fn strays_are_listed() {
    let (dir, store) = fresh();
    let (_, checkpoint, recipe) = fill(&store);
    let at = |name: &str| dir.path().join(name);
    let strays = [
        "checkpoints/notes.txt".to_owned(),
        format!("checkpoints/{}.json", checkpoint.hex()),
        "locks/held".to_owned(),
        format!("manifests/{}.json", recipe.hex().to_uppercase()),
        "notes".to_owned(),
    ];
    for stray in &strays {
        fs::write(at(stray), b"").unwrap();
    }
    // A lock is empty and has a name of 64 digits; one of the two is not enough.
    drop(store.try_lock(recipe).unwrap());
    fs::write(at("locks").join(manifest(2).recipe_digest().hex()), b"text").unwrap();
    fs::create_dir(at("splits").join(format!("{}.json", checkpoint.hex()))).unwrap();
    // A report, and what is left of it where one was killed, is none.
    for name in ["report", ".report.new", ".report.old"] {
        fs::create_dir(at(name)).unwrap();
    }
    let (entries, found) = store.list().unwrap();
    assert_eq!(entries.len(), 3);
    let mut expected: Vec<PathBuf> = strays.iter().map(PathBuf::from).collect();
    expected.push(Path::new("locks").join(manifest(2).recipe_digest().hex()));
    expected.push(Path::new("splits").join(format!("{}.json", checkpoint.hex())));
    expected.sort();
    let mut found = found;
    found.sort();
    assert_eq!(found, expected);
}

/// Nothing can be read in such places, nor is that an error: `verify` tells all of them.
#[test]
fn what_is_of_another_kind_is_a_stray_and_stops_nobody() {
    let (dir, store) = fresh();
    let (split, checkpoint, recipe) = fill(&store);
    let manifest = store.path(&Entry::Manifest(recipe));
    fs::remove_file(&manifest).unwrap();
    std::os::unix::fs::symlink(&manifest, &manifest).unwrap();
    assert!(
        matches!(store.manifest(recipe).unwrap(), Found::Damaged(why) if why.contains("leads to itself"))
    );
    assert!(!store.has(&Entry::Manifest(recipe)).unwrap());
    for sub in [JOBS, REPORT] {
        fs::write(dir.path().join(sub), "x").unwrap();
    }
    let ring = manifest.strip_prefix(dir.path()).unwrap().to_owned();
    let strays = vec![JOBS.into(), ring, REPORT.into()];
    assert_eq!(store.list().unwrap(), (vec![Entry::Checkpoint(checkpoint), Entry::Split(split)], strays));
}

/// What belongs into a directory that is out of reach, as of a disk that is not mounted, is not lost.
#[test]
fn what_is_out_of_reach_is_not_absent() {
    let (dir, store) = fresh();
    let (_, checkpoint, recipe) = fill(&store);
    let place = |sub| dir.path().join(sub);
    let told = |error: Error| error.to_string();
    for (sub, entry) in [(CHECKPOINTS, Entry::Checkpoint(checkpoint)), (MANIFESTS, Entry::Manifest(recipe))] {
        let (moved, path) = (place("moved"), place(sub));
        fs::rename(&path, &moved).unwrap();
        assert!(!store.has(&entry).unwrap(), "a store that is being made has not all of them");
        fs::write(&path, "x").unwrap();
        assert!(told(store.has(&entry).unwrap_err()).ends_with("is no directory; move it elsewhere"));
        fs::remove_file(&path).unwrap();
        for (leads, says) in
            [("nowhere", "is a link to what is not there; make the directory"), (sub, "leads to itself")]
        {
            std::os::unix::fs::symlink(leads, &path).unwrap();
            assert!(told(store.has(&entry).unwrap_err()).contains(says), "{sub}");
            let read = match entry {
                Entry::Checkpoint(digest) => store.weights(digest).map(|_| ()),
                _ => store.manifests().and(store.manifest(recipe)).map(|_| ()),
            };
            assert!(told(read.unwrap_err()).contains(says), "{sub}");
            fs::remove_file(&path).unwrap();
        }
        fs::rename(&moved, &path).unwrap();
        assert!(store.has(&entry).unwrap());
    }
}

/// Whoever lists a store while networks are trained meets states that are removed meanwhile.
#[test]
fn what_went_since_it_was_listed_is_no_stray() {
    let (dir, _store) = fresh();
    let gone = dir.path().join(SNAPSHOTS).join(format!("{}-7.snapshot", manifest(1).recipe_digest().hex()));
    assert_eq!(entry(SNAPSHOTS, &gone).unwrap(), Some(None));
    fs::create_dir(&gone).unwrap();
    assert_eq!(entry(SNAPSHOTS, &gone).unwrap(), None);
}

/// A name that is taken is taken, whatever is behind it.
#[test]
fn a_claim_that_is_a_link_to_itself_says_nothing_of_its_holder() {
    let (_dir, store) = fresh();
    let recipe = manifest(1).recipe_digest();
    let path = store.dir().join(CLAIMS).join(format!("{}-1.json", recipe.hex()));
    std::os::unix::fs::symlink(&path, &path).unwrap();
    assert_eq!(store.last_claim(recipe).unwrap(), Some((1, None)));
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    assert_eq!(store.last_claim(recipe).unwrap(), Some((1, None)));
}

#[test]
fn leftovers_are_swept_by_the_one_writer_only() {
    let (dir, writer) = fresh();
    let left = dir.path().join(NEW).join(".tmpLeft");
    fs::write(&left, b"half").unwrap();
    // `writer` may be writing that very file.
    let second = Store::create(dir.path()).unwrap();
    assert!(left.exists());
    drop(writer);
    let third = Store::create(dir.path()).unwrap();
    assert!(left.exists());
    drop((second, third));
    // A reader does not hold it up.
    let _reader = Store::open(dir.path()).unwrap();
    assert!(left.exists());
    let _fourth = Store::create(dir.path()).unwrap();
    assert!(!left.exists());
}

/// Whose lock on the writers' file may not be seen here.
#[test]
fn what_another_machine_is_writing_is_left_to_it() {
    let (dir, writer) = fresh();
    drop(writer);
    let new = dir.path().join(NEW);
    let [theirs, ours] =
        [".tmp-01234567-abc".to_owned(), format!("{}abc", being_written())].map(|name| new.join(name));
    let old = new.join(".tmp-89abcdef-abc");
    for path in [&theirs, &ours, &old] {
        fs::write(path, b"half").unwrap();
    }
    let long_ago = std::time::SystemTime::now() - 2 * LEFT;
    File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
    drop(Store::create(dir.path()).unwrap());
    assert_eq!([theirs, ours, old].map(|path| path.exists()), [true, false, false]);
}

#[test]
fn a_directory_with_other_things_is_left_alone() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("thesis.tex"), b"mine").unwrap();
    let error = Store::create(dir.path()).unwrap_err().to_string();
    assert!(error.contains("other things in it") && error.contains("empty or a new directory"), "{error}");
    assert_eq!(files(dir.path()), ["thesis.tex"]);
    // A directory `new` of somebody else's is not a store in the making.
    let other = TempDir::new().unwrap();
    fs::create_dir(other.path().join(NEW)).unwrap();
    fs::write(other.path().join(NEW).join("chapter.tex"), b"mine").unwrap();
    assert!(Store::create(other.path()).is_err());
    assert_eq!(
        (files(other.path()), files(&other.path().join(NEW))),
        (vec![NEW.into()], vec!["chapter.tex".into()])
    );
    let file = dir.path().join("thesis.tex");
    let error = Store::create(&file).unwrap_err().to_string();
    assert!(error.contains("thesis.tex"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn a_link_to_nothing_is_named() {
    let dir = TempDir::new().unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("nothing", &link).unwrap();
    for place in [link.clone(), link.join("store")] {
        let error = Store::create(&place).unwrap_err().to_string();
        let said = format!("{}: is a link to what is not there; make the directory that", link.display());
        assert!(error.starts_with(&said), "{error}");
    }
}

#[test]
fn a_store_that_was_killed_at_birth_is_completed() {
    // Killed while the mark was being written, and right after.
    for mark in [None, Some(MARK_TEXT)] {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join(NEW)).unwrap();
        fs::write(dir.path().join(NEW).join(".tmpAbc"), &MARK_TEXT[..5]).unwrap();
        if let Some(mark) = mark {
            fs::write(dir.path().join(MARK), mark).unwrap();
        }
        let store = Store::create(dir.path()).unwrap();
        fill(&store);
        assert_eq!(store.list().unwrap().1, [""; 0].map(PathBuf::from));
        assert_eq!(files(&dir.path().join(NEW)), [WRITERS]);
        assert_eq!(files(dir.path()), [CHECKPOINTS, CLAIMS, LOCKS, MANIFESTS, NEW, MARK, SNAPSHOTS, SPLITS]);
    }
}

#[test]
fn what_is_no_store_is_not_opened() {
    let dir = TempDir::new().unwrap();
    for (place, says) in
        [(dir.path().to_owned(), "is no selffer store"), (dir.path().join("nowhere"), "is not there")]
    {
        let error = Store::open(&place).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(files(dir.path()), [""; 0]);
    fs::write(dir.path().join(MARK), b"selffer store 2\n").unwrap();
    for error in [Store::open(dir.path()).unwrap_err(), Store::create(dir.path()).unwrap_err()] {
        assert!(error.to_string().contains("not the mark of a store of this version"), "{error}");
    }
}

#[test]
fn a_write_that_fails_leaves_nothing() {
    let (dir, store) = fresh();
    fs::remove_dir(dir.path().join(CHECKPOINTS)).unwrap();
    let error = store.put_weights(&weights(1)).unwrap_err().to_string();
    assert!(error.starts_with("cannot write ") && error.contains(".safetensors"), "{error}");
    assert_eq!(files(&dir.path().join(NEW)), [WRITERS]);
    assert_eq!(store.list().unwrap(), (vec![], vec![]));
}

#[test]
fn a_lock_is_one_s_until_it_is_dropped() {
    let (dir, store) = fresh();
    let other = Store::create(dir.path()).unwrap();
    let [one, two] = [1, 2].map(|seed| manifest(seed).recipe_digest());
    let lock = store.try_lock(one).unwrap().expect("it is free");
    assert!(store.try_lock(one).unwrap().is_none());
    assert!(other.try_lock(one).unwrap().is_none());
    assert!(other.try_lock(two).unwrap().is_some());
    drop(lock);
    let lock = other.try_lock(one).unwrap();
    assert!(lock.is_some() && store.try_lock(one).unwrap().is_none());
}

#[test]
fn many_may_make_the_same_store_at_once() {
    for _ in 0..20 {
        let dir = TempDir::new().unwrap();
        let place = dir.path().join("store");
        let start = Barrier::new(4);
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let (start, place) = (&start, &place);
                scope.spawn(move || {
                    start.wait();
                    let store = Store::create(place).unwrap_or_else(|error| panic!("{error}"));
                    let digest = store.put_weights(&weights(seed)).unwrap_or_else(|error| panic!("{error}"));
                    assert_eq!(store.weights(digest).unwrap(), Found::Whole(weights(seed)));
                });
            }
        });
        assert_eq!(Store::open(&place).unwrap().list().unwrap().0.len(), 4);
    }
}
