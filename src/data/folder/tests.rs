use super::*;
use crate::data::packing::{Options, Watch, pack};
use crate::protocol::DataSource;
use jpeg_encoder::{ColorType, Encoder};
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;

const SIDE: usize = 8;

fn image(path: &Path, number: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let (rows, cols) = (20 + number % 7, 31 - number % 5);
    let pixels: Vec<u8> =
        (0..rows * cols * 3).map(|at| ((at * (number + 3) + number * 17) % 256) as u8).collect();
    let encoder = Encoder::new_file(path, 90).unwrap();
    encoder.encode(&pixels, cols as u16, rows as u16, ColorType::Rgb).unwrap();
}

/// Two classes in folders, nine training and five validation images.
fn images() -> (TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    for at in 0..14 {
        let part = if at < 9 { "train" } else { "val" };
        image(&dir.path().join(part).join(["east", "west"][at % 2]).join(format!("{at}.jpg")), at);
    }
    let folder = Folder {
        dir: dir.path().to_owned(),
        size: SIDE,
        skip_bad: false,
        train_list: None,
        valid_list: None,
        classes: None,
    };
    (dir, folder)
}

fn packed(folder: &Folder, to: &Path) -> Dataset {
    let lists = Lists {
        parts: [folder.train_list.clone(), folder.valid_list.clone()],
        classes: folder.classes.clone(),
    };
    let listing = Listing::of(&folder.dir, &lists).unwrap();
    let options = Options { side: folder.size, shard_bytes: 5 * 192, skip_bad: folder.skip_bad };
    let watch = Watch { stop: &AtomicBool::new(false), advanced: &|_, _| {}, bad: &|_| {} };
    pack(&folder.dir, &listing, to, &options, &watch).unwrap();
    Dataset::read(&DataSource::Pack(to.to_owned())).unwrap()
}

#[track_caller]
fn same(folder: &Folder) -> Dataset {
    let to = tempfile::tempdir().unwrap();
    let packed = packed(folder, to.path());
    let (read, _) = read(folder, &|_| {}).unwrap();
    assert_eq!((&read, read.digest()), (&packed, packed.digest()));
    assert_eq!((read.mean_image(), read.pixel_moments()), (packed.mean_image(), packed.pixel_moments()));
    read
}

#[test]
fn a_folder_is_the_data_set_that_its_pack_is() {
    let (_dir, folder) = images();
    let data = same(&folder);
    assert_eq!(
        (data.classes.as_slice(), data.train.len(), data.valid.len()),
        (&["east".into(), "west".into()][..], 9, 5)
    );
    assert_eq!(Dataset::read(&DataSource::Images(folder.clone())).unwrap(), data);
    // Of another size it is another.
    assert_ne!(same(&Folder { size: 9, ..folder }).digest(), data.digest());
}

#[test]
fn lists_say_what_they_say_to_a_pack() {
    let (dir, folder) = images();
    let at = |name: &str| Some(dir.path().join(name));
    fs::write(at("classes.txt").unwrap(), "west\neast\n").unwrap();
    fs::write(at("train.txt").unwrap(), "west/3.jpg west\neast/2.jpg 1\neast/0.jpg east\n").unwrap();
    fs::write(at("valid.txt").unwrap(), "west/11.jpg 0\neast/10.jpg 1\n").unwrap();
    let listed = Folder {
        train_list: at("train.txt"),
        valid_list: at("valid.txt"),
        classes: at("classes.txt"),
        ..folder
    };
    let data = same(&listed);
    assert_eq!((data.train.labels.as_slice(), data.valid.labels.as_slice()), (&[0, 1, 1][..], &[0, 1][..]));
}

#[test]
fn bad_images_are_refused_by_name_unless_they_are_to_be_skipped() {
    let (dir, folder) = images();
    let bad = dir.path().join("train/west/3.jpg");
    let good = fs::read(&bad).unwrap();
    fs::write(&bad, &good[..good.len() - 9]).unwrap();
    fs::write(dir.path().join("val/east/10.jpg"), "<html>").unwrap();
    let error = read(&folder, &|_| {}).unwrap_err().to_string();
    for part in [
        "2 images cannot be decoded: train: west/3.jpg is cut off",
        "valid: east/10.jpg is neither JPEG nor PNG",
        "leave them out with `skip_bad = true` beside the protocol's `dir`",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let skipping = Folder { skip_bad: true, ..folder };
    let data = same(&skipping);
    assert_eq!((data.train.len(), data.valid.len()), (8, 4));
    fs::write(dir.path().join("val/east/13.webp"), "").unwrap();
    let (_, left_out) = read(&skipping, &|images| assert_eq!(images, 14)).unwrap();
    let names: Vec<&str> = left_out.bad.iter().map(|skipped| skipped.name.as_str()).collect();
    assert_eq!(left_out.others.unwrap(), "1 file is left out by the names' endings (.webp)");
    assert_eq!(names, ["train: west/3.jpg", "valid: east/10.jpg"]);

    // A class of which nothing is left is no class.
    fs::write(dir.path().join("val/east/12.jpg"), "").unwrap();
    let error = read(&skipping, &|_| {}).unwrap_err().to_string();
    assert!(error.contains("every valid image of class east is bad"), "{error}");
}

#[test]
fn what_does_not_fit_into_memory_is_to_be_packed() {
    let (_dir, folder) = images();
    let bytes = (14 * SIDE * SIDE * 3) as u64;
    fits(&folder, 14, bytes).unwrap();
    let error = fits(&folder, 14, bytes - 1).unwrap_err().to_string();
    assert!(error.contains("has 14 images, which take") && error.contains("`selffer data pack`"), "{error}");
}
