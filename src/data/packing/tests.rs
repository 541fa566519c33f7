use super::*;
use crate::data::listing::Lists;
use crate::data::{decode, resize};
use crate::protocol::DataSource;
use jpeg_encoder::{ColorType, Encoder};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// Two classes; images of several sizes, each other than all others.
fn images(train: usize, valid: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (part, count) in [("train", train), ("valid", valid)] {
        for at in 0..count {
            let class = dir.path().join(part).join(["east", "west"][at % 2]);
            fs::create_dir_all(&class).unwrap();
            let (rows, cols) = (20 + at % 7, 31 - at % 5);
            let pixel = |place: usize| ((place * (at + 3) + part.len() * 50 + at * 17) % 256) as u8;
            let pixels: Vec<u8> = (0..rows * cols * 3).map(pixel).collect();
            Encoder::new_file(class.join(format!("{at:03}.JPEG")), 90)
                .unwrap()
                .encode(&pixels, cols as u16, rows as u16, ColorType::Rgb)
                .unwrap();
        }
    }
    dir
}

/// Eight by eight pixels, five images a shard.
const OPTIONS: Options = Options { side: 8, shard_bytes: 5 * 192 + 7, skip_bad: false };

fn packed(from: &TempDir, to: &Path, options: &Options) -> Result<Packed> {
    let listing = Listing::of(from.path(), &Lists::default())?;
    let watch = Watch { stop: &AtomicBool::new(false), advanced: &|_, _| {}, bad: &|_| {} };
    pack(from.path(), &listing, to, options, &watch)
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn a_pack_holds_what_its_files_decode_to() {
    let (from, to) = (images(23, 8), tempfile::tempdir().unwrap());
    let packed = packed(&from, to.path(), &OPTIONS).unwrap();
    assert_eq!(packed.shards_new, 5 + 2);
    let shards: Vec<usize> = packed.index.train.iter().map(|shard| shard.images).collect();
    assert_eq!(shards, [5, 5, 5, 5, 3]);

    // The same data set in memory.
    let listing = Listing::of(from.path(), &Lists::default()).unwrap();
    let part = |part: Part| {
        let files = &listing.parts[part as usize];
        let pixels = files.iter().flat_map(|file| {
            let image = decode::rgb(&fs::read(&file.path).unwrap()).unwrap();
            resize::square(&image.pixels, image.rows, image.cols, 8)
        });
        Images::new([3, 8, 8], pixels.collect(), files.iter().map(|file| file.label).collect())
    };
    let memory =
        Dataset { classes: listing.classes.clone(), train: part(Part::Train), valid: part(Part::Valid) };
    let data = Dataset::read(&DataSource::Pack(to.path().to_owned())).unwrap();
    assert_eq!((&data, data.digest()), (&memory, memory.digest()));
    assert_eq!(data.digest(), packed.index.data);
    assert_eq!(data.train.sums().unwrap(), memory.train.sums().unwrap());
    assert_eq!(data.pixel_moments(), memory.pixel_moments());
    for part in Part::BOTH {
        let (data, memory) = (data.part(part), memory.part(part));
        assert_eq!(data.bytes().unwrap(), memory.bytes().unwrap());
        for index in 0..data.len() {
            assert_eq!(data.image(index).unwrap(), memory.image(index).unwrap());
        }
        // Picked, in an order of their own, some twice; and picked from what was picked.
        let chosen = [7, 0, 3, 3, 6];
        let labels = chosen.iter().map(|at| data.labels[*at]).collect::<Vec<_>>();
        let [one, two] =
            [data, memory].map(|images| images.pick(&chosen, labels.clone()).pick(&[4, 1], vec![1, 0]));
        assert_eq!((one.bytes().unwrap(), one.digests()), (two.bytes().unwrap(), two.digests()));
        assert_eq!(one.image(0).unwrap(), data.image(6).unwrap());
        assert_eq!(one.gather(&[1, 0, 1]).unwrap(), two.gather(&[1, 0, 1]).unwrap());
        assert_eq!(one.sums().unwrap(), two.sums().unwrap());
    }
    // Whoever changes bytes changes their own.
    let mut changed = data.clone();
    changed.train.bytes_mut().unwrap()[0] ^= 1;
    assert_ne!(changed, data);
    assert_eq!(data, memory);
}

/// Whoever reads a pack's images in a pool is not given another job of that pool meanwhile.
#[test]
fn reading_takes_up_no_other_job() {
    thread_local!(static READS: Cell<bool> = const { Cell::new(false) });
    let (from, to) = (images(40, 2), tempfile::tempdir().unwrap());
    packed(&from, to.path(), &OPTIONS).unwrap();
    let data = Dataset::read(&DataSource::Pack(to.path().to_owned())).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let within = AtomicUsize::new(0);
    pool.in_place_scope_fifo(|scope| {
        for _ in 0..400 {
            scope.spawn_fifo(|_| {
                within.fetch_add(usize::from(READS.replace(true)), Ordering::Relaxed);
                data.train.bytes().unwrap();
                READS.set(false);
            });
        }
    });
    assert_eq!(within.into_inner(), 0);
}

#[test]
fn the_bytes_depend_on_nothing_but_the_images() {
    let from = images(40, 6);
    let to = |threads: usize| {
        let to = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| packed(&from, to.path(), &OPTIONS)).unwrap();
        files(to.path())
    };
    assert!(to(1) == to(3));
}

#[test]
fn what_is_missing_is_made_again_and_nothing_else() {
    let (from, to) = (images(23, 8), tempfile::tempdir().unwrap());
    packed(&from, to.path(), &OPTIONS).unwrap();
    let whole = files(to.path());
    assert_eq!(packed(&from, to.path(), &OPTIONS).unwrap().shards_new, 0);
    let path = |name: &str| to.path().join(name);
    let cases: [(&[&str], usize); 8] = [
        (&["train.sums"], 0),
        (&["train-00001.json", "valid-00001.shard"], 2),
        (&["pack.json"], 0),
        (&["pack.json", "train.sums"], 0),
        (&["pack.json", "train-00001.json"], 1),
        (&["pack.json", "train-00001.shard"], 1),
        (&["pack.json", "valid-00000.sums"], 1),
        (&["pack.json", "train-00004.json", "valid-00001.json", "train-00004.shard"], 2),
    ];
    for (gone, again) in cases {
        gone.iter().for_each(|name| fs::remove_file(path(name)).unwrap());
        // What a process leaves that is killed while it writes.
        fs::write(path(".unfinished-x"), "half").unwrap();
        assert_eq!(packed(&from, to.path(), &OPTIONS).unwrap().shards_new, again, "{gone:?}");
        assert!(files(to.path()) == whole, "{gone:?}");
    }
    // A shard that is too short is not taken for whole either.
    fs::remove_file(path("pack.json")).unwrap();
    fs::write(path("train-00002.shard"), &whole["train-00002.shard"][..900]).unwrap();
    assert_eq!(packed(&from, to.path(), &OPTIONS).unwrap().shards_new, 1);
    assert!(files(to.path()) == whole);
}

/// As where a disk fails while a network trains, or somebody packs over it.
#[test]
fn a_shard_that_is_cut_off_while_it_is_read_is_named_with_the_mend() {
    let (from, to) = (images(23, 8), tempfile::tempdir().unwrap());
    packed(&from, to.path(), &OPTIONS).unwrap();
    let data = Dataset::read(&DataSource::Pack(to.path().to_owned())).unwrap();
    let shard = to.path().join("train-00001.shard");
    File::options().write(true).open(&shard).unwrap().set_len(200).unwrap();
    data.train.image(5).unwrap();
    let error = data.train.image(6).unwrap_err().to_string();
    let said = "is shorter than its pack says; remove it, then run the same `selffer data pack` again";
    assert_eq!(error, format!("{}: {said}", shard.display()));
}

#[test]
fn files_that_change_before_the_end_are_packed_as_they_are() {
    let (from, to) = (images(23, 8), tempfile::tempdir().unwrap());
    packed(&from, to.path(), &OPTIONS).unwrap();
    // As where it was killed before its end.
    fs::remove_file(to.path().join(INDEX)).unwrap();
    let changed = from.path().join("train/west/001.JPEG");
    fs::copy(from.path().join("train/west/003.JPEG"), &changed).unwrap();
    assert_eq!(packed(&from, to.path(), &OPTIONS).unwrap().shards_new, 1);
    let fresh = tempfile::tempdir().unwrap();
    packed(&from, fresh.path(), &OPTIONS).unwrap();
    assert!(files(to.path()) == files(fresh.path()));
}

#[test]
fn a_finished_pack_becomes_no_other() {
    let (from, to) = (images(23, 8), tempfile::tempdir().unwrap());
    packed(&from, to.path(), &OPTIONS).unwrap();
    let changed = from.path().join("train/west/001.JPEG");
    let was = fs::read(&changed).unwrap();
    let refuse = |options: &Options, said: &str| {
        let before = files(to.path());
        let error = packed(&from, to.path(), options).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(files(to.path()) == before, "{said}");
    };
    let otherwise = "files of train-00002.shard have other lengths or pixels; put the images back";
    // With all of its shards, and without the one that is concerned.
    for gone in [None, Some("train-00002.shard")] {
        if let Some(name) = gone {
            fs::remove_file(to.path().join(name)).unwrap();
        }
        fs::copy(from.path().join("train/west/003.JPEG"), &changed).unwrap();
        refuse(&OPTIONS, otherwise);
        fs::write(&changed, "").unwrap();
        refuse(&OPTIONS, otherwise);
        refuse(&Options { skip_bad: true, ..OPTIONS }, otherwise);
        fs::remove_file(&changed).unwrap();
        refuse(&OPTIONS, "was begun from other files");
        fs::write(&changed, &was).unwrap();
    }
    assert_eq!(packed(&from, to.path(), &OPTIONS).unwrap().shards_new, 1);

    // A shard of another pack among its own.
    let (other, elsewhere) = (images(23, 8), tempfile::tempdir().unwrap());
    fs::copy(from.path().join("train/west/003.JPEG"), other.path().join("train/west/001.JPEG")).unwrap();
    packed(&other, elsewhere.path(), &OPTIONS).unwrap();
    let whole = files(to.path());
    for kind in ["shard", "sums", "json"] {
        let name = format!("train-00002.{kind}");
        fs::copy(elsewhere.path().join(&name), to.path().join(&name)).unwrap();
    }
    assert_eq!(packed(&from, to.path(), &OPTIONS).unwrap().shards_new, 1);
    assert!(files(to.path()) == whole);
}

#[test]
fn a_pack_that_leaves_images_out_says_so_each_time() {
    let (from, to) = (images(23, 8), tempfile::tempdir().unwrap());
    fs::write(from.path().join("train/west/001.JPEG"), "").unwrap();
    let skip = Options { skip_bad: true, ..OPTIONS };
    packed(&from, to.path(), &skip).unwrap();
    let whole = files(to.path());
    let error = packed(&from, to.path(), &OPTIONS).unwrap_err().to_string();
    assert!(error.contains("leaves out 1 of its images; say --skip-bad"), "{error}");
    assert!(files(to.path()) == whole);
    assert_eq!(packed(&from, to.path(), &skip).unwrap().shards_new, 0);
}

#[test]
fn a_plan_that_is_damaged_is_written_again_from_what_the_pack_says() {
    let (from, to) = (images(23, 8), tempfile::tempdir().unwrap());
    packed(&from, to.path(), &OPTIONS).unwrap();
    let whole = files(to.path());
    let path = to.path().join(PLAN);
    fs::write(&path, "x").unwrap();
    packed(&from, to.path(), &OPTIONS).unwrap();
    fs::remove_file(&path).unwrap();
    packed(&from, to.path(), &OPTIONS).unwrap();
    assert!(files(to.path()) == whole);
    // An unfinished one has nothing that says it.
    fs::remove_file(to.path().join(INDEX)).unwrap();
    fs::write(&path, "x").unwrap();
    let error = packed(&from, to.path(), &OPTIONS).unwrap_err().to_string();
    assert!(error.contains("is not finished, and its plan.json is damaged"), "{error}");
}

#[test]
fn bad_images_are_named_all_together_and_skipped_if_asked() {
    let (from, to) = (images(23, 8), tempfile::tempdir().unwrap());
    let file = |name: &str| from.path().join(name);
    let good = fs::read(file("train/east/006.JPEG")).unwrap();
    fs::write(file("train/east/006.JPEG"), &good[..good.len() / 2]).unwrap();
    fs::write(file("valid/west/001.JPEG"), "").unwrap();
    let error = packed(&from, to.path(), &OPTIONS).unwrap_err().to_string();
    let said = "2 images cannot be packed: train: east/006.JPEG is cut off: its JPEG data have no end, \
                valid: west/001.JPEG is empty; mend them, or leave them out with --skip-bad, which the pack records";
    assert!(error.ends_with(said), "{error}");
    assert!(!to.path().join(INDEX).exists());

    // All that was good is kept.
    let skip = Options { skip_bad: true, ..OPTIONS };
    let heard = Mutex::new(Vec::new());
    let listing = Listing::of(from.path(), &Lists::default()).unwrap();
    let watch = Watch {
        stop: &AtomicBool::new(false),
        advanced: &|_, _| {},
        bad: &|skipped| heard.lock().unwrap().push(skipped.clone()),
    };
    let done = pack(from.path(), &listing, to.path(), &skip, &watch).unwrap();
    assert_eq!(done.shards_new, 2);
    assert_eq!(done.index.skipped, *heard.lock().unwrap());
    assert_eq!(done.index.skipped[1].name, "valid: west/001.JPEG");
    let data = Dataset::read(&DataSource::Pack(to.path().to_owned())).unwrap();
    assert_eq!((data.train.len(), data.valid.len()), (22, 7));
    assert_eq!(data.train.labels.iter().filter(|label| **label == 0).count(), 11);
    assert_eq!(data.bytes_of_each_part(), data.bytes_one_by_one());

    // Mended, they are packed where nothing is to be skipped, as if they had never been bad.
    fs::write(file("train/east/006.JPEG"), &good).unwrap();
    fs::copy(file("valid/west/003.JPEG"), file("valid/west/001.JPEG")).unwrap();
    fs::remove_file(to.path().join(INDEX)).unwrap();
    assert_eq!(packed(&from, to.path(), &OPTIONS).unwrap().shards_new, 2);
    let fresh = tempfile::tempdir().unwrap();
    packed(&from, fresh.path(), &OPTIONS).unwrap();
    assert!(files(to.path()) == files(fresh.path()));
}

impl Dataset {
    fn bytes_of_each_part(&self) -> [Vec<u8>; 2] {
        Part::BOTH.map(|part| self.part(part).bytes().unwrap().into_owned())
    }

    fn bytes_one_by_one(&self) -> [Vec<u8>; 2] {
        Part::BOTH.map(|part| {
            let images = self.part(part);
            (0..images.len()).flat_map(|at| images.image(at).unwrap().into_owned()).collect()
        })
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (from, to) = (images(23, 8), tempfile::tempdir().unwrap());
    let refuse = |to: &Path, options: &Options, named: &str| {
        let error = packed(&from, to, options).unwrap_err().to_string();
        assert!(error.contains(named) && !error.contains('\n'), "{error}");
    };
    fs::write(to.path().join("mine.txt"), "x").unwrap();
    refuse(
        to.path(),
        &OPTIONS,
        "is a directory with other things in it, not a pack; name an empty or a new directory",
    );
    fs::remove_file(to.path().join("mine.txt")).unwrap();
    packed(&from, to.path(), &OPTIONS).unwrap();
    let size = "has 8×8 images, and --size 9 was asked; say --size 8, or name an empty directory";
    refuse(to.path(), &Options { side: 9, ..OPTIONS }, size);
    let shards = "has 5 images a shard, and --shard-mib makes it 2; say the --shard-mib";
    refuse(to.path(), &Options { shard_bytes: 400, ..OPTIONS }, shards);
    fs::copy(from.path().join("train/east/000.JPEG"), from.path().join("train/east/999.JPEG")).unwrap();
    refuse(to.path(), &OPTIONS, "was begun from other files; put those back");
    let held = File::open(to.path()).unwrap();
    held.lock().unwrap();
    refuse(to.path(), &OPTIONS, "is being packed by another process");
    let fresh = tempfile::tempdir().unwrap();
    let below = fresh.path().join("file/pack");
    fs::write(fresh.path().join("file"), "").unwrap();
    refuse(&below, &OPTIONS, "cannot create the directory");
    for at in (0..8).step_by(2) {
        fs::write(from.path().join(format!("valid/east/{at:03}.JPEG")), "").unwrap();
    }
    let skip = Options { skip_bad: true, ..OPTIONS };
    refuse(&fresh.path().join("pack"), &skip, "every valid image of class east is bad; mend one at least");
    let stopped = Watch { stop: &AtomicBool::new(true), advanced: &|_, _| {}, bad: &|_| {} };
    let listing = Listing::of(from.path(), &Lists::default()).unwrap();
    let error = pack(from.path(), &listing, &fresh.path().join("other"), &OPTIONS, &stopped).unwrap_err();
    assert!(matches!(error, Error::Interrupted));
    assert_eq!(files(&fresh.path().join("other")).into_keys().collect::<Vec<_>>(), [PLAN]);
}

/// Files of somebody else's whose names begin as those of unfinished files do, alone and beside others.
#[test]
fn what_is_not_a_pack_s_stays_in_its_place() {
    let from = images(23, 8);
    let cases: [&[&str]; 4] =
        [&[".unfinished-symphony.mid"], &[".unfinished-a", "thesis.tex"], &[".unfinished-a", PLAN], &[PLAN]];
    for names in cases {
        let to = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| fs::write(to.path().join(name), "{\"mine\":1}").unwrap());
        let before = files(to.path());
        let error = packed(&from, to.path(), &OPTIONS).unwrap_err().to_string();
        assert!(error.contains("with other things in it, not a pack"), "{names:?}: {error}");
        assert!(files(to.path()) == before, "{names:?}");
    }
    // What a process leaves that is killed at its first file is no hindrance: nothing yet, a beginning of this plan, or more
    // of another's.
    for left in
        ["", "{\"cl", "{\"classes\":[\"east\",\"we", "{\"classes\":[\"north\",\"south\"],\"files\":\"0123"]
    {
        let to = tempfile::tempdir().unwrap();
        fs::write(to.path().join(".unfinished-x"), left).unwrap();
        packed(&from, to.path(), &OPTIONS).unwrap();
        assert!(!to.path().join(".unfinished-x").exists(), "{left}");
    }
}

/// Where nothing was packed yet, there is nothing that another plan would spoil.
#[test]
fn a_plan_without_shards_gives_way_to_another() {
    let (from, to, fresh) = (images(23, 8), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let stopped = Watch { stop: &AtomicBool::new(true), advanced: &|_, _| {}, bad: &|_| {} };
    let listing = Listing::of(from.path(), &Lists::default()).unwrap();
    let larger = Options { side: 16, ..OPTIONS };
    assert!(matches!(pack(from.path(), &listing, to.path(), &larger, &stopped), Err(Error::Interrupted)));
    assert_eq!(files(to.path()).into_keys().collect::<Vec<_>>(), [PLAN]);
    // What has no room writes no plan at all.
    let vast = Options { side: 1 << 20, ..OPTIONS };
    let error = packed(&from, fresh.path(), &vast).unwrap_err().to_string();
    assert!(error.contains("MB and its disk has") && files(fresh.path()).is_empty(), "{error}");
    for to in [&to, &fresh] {
        packed(&from, to.path(), &OPTIONS).unwrap();
    }
    assert!(files(to.path()) == files(fresh.path()));
}

#[test]
fn what_is_said_of_a_pack_is_not_taken_for_granted() {
    let (from, to) = (images(23, 8), tempfile::tempdir().unwrap());
    packed(&from, to.path(), &OPTIONS).unwrap();
    let whole = files(to.path());
    let path = |name: &str| to.path().join(name);
    // A shard's index that has another label, one that is no class's, or one label too few.
    for (was, is) in [
        ("\"labels\":[0,", "\"labels\":[1,"),
        ("\"labels\":[0,", "\"labels\":[9,"),
        ("\"labels\":[0,", "\"labels\":["),
    ] {
        let index = String::from_utf8(whole["train-00000.json"].clone()).unwrap();
        assert!(index.contains(was), "{index}");
        for finished in [true, false] {
            fs::write(path("train-00000.json"), index.replacen(was, is, 1)).unwrap();
            if !finished {
                fs::remove_file(path(INDEX)).unwrap();
            }
            assert_eq!(packed(&from, to.path(), &OPTIONS).unwrap().shards_new, 1, "{is}");
            assert!(files(to.path()) == whole, "{is}");
        }
    }
    let refuse = |said: &str| {
        let before = files(to.path());
        let error = packed(&from, to.path(), &OPTIONS).unwrap_err().to_string();
        assert!(error.contains(said) && !error.contains('\n'), "{error}");
        assert!(files(to.path()) == before, "{said}");
    };
    // The index of another pack, a damaged one, one of another format.
    let (other, elsewhere) = (images(9, 8), tempfile::tempdir().unwrap());
    packed(&other, elsewhere.path(), &OPTIONS).unwrap();
    fs::copy(elsewhere.path().join(INDEX), path(INDEX)).unwrap();
    refuse("has the pack.json of another pack; remove its pack.json");
    fs::write(path(INDEX), "x").unwrap();
    refuse("pack.json: does not read as a pack's index");
    let old = String::from_utf8(whole[INDEX].clone()).unwrap().replace("selffer pack 2", "selffer pack 1");
    fs::write(path(INDEX), old).unwrap();
    refuse(
        "pack.json: is of the format `selffer pack 1`, which this selffer does not read; pack the images again",
    );
    fs::remove_file(path(INDEX)).unwrap();
    assert_eq!(packed(&from, to.path(), &OPTIONS).unwrap().shards_new, 0);
    assert!(files(to.path()) == whole);
}
