use super::*;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// Empty files of those names; a name that ends in `/` is a directory.
fn tree(names: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        let path = dir.path().join(name);
        match name.ends_with('/') {
            true => fs::create_dir_all(path).unwrap(),
            false => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
        }
    }
    dir
}

fn plain_lists() -> Lists {
    Lists::default()
}

fn shown(listing: &Listing) -> [Vec<(String, u16)>; 2] {
    listing.parts.clone().map(|files| files.into_iter().map(|file| (file.name, file.label)).collect())
}

fn pairs(pairs: &[(&str, u16)]) -> Vec<(String, u16)> {
    pairs.iter().map(|(name, label)| ((*name).to_owned(), *label)).collect()
}

const GOOD: [&str; 7] = [
    "train/n02/b.JPEG",
    "train/n02/a.jpg",
    "train/n01/z.png",
    "train/n01/notes.txt",
    "train/n01/.hidden.jpg",
    "val/n01/v.JPEG",
    "val/n02/v.jpeg",
];

#[test]
fn folders_and_files_come_by_name() {
    let dir = tree(&GOOD);
    let listing = Listing::of(dir.path(), &plain_lists()).unwrap();
    assert_eq!(listing.classes, ["n01", "n02"]);
    let train = pairs(&[("n01/z.png", 0), ("n02/a.jpg", 1), ("n02/b.JPEG", 1)]);
    assert_eq!(shown(&listing), [train, pairs(&[("n01/v.JPEG", 0), ("n02/v.jpeg", 1)])]);
    assert_eq!(listing.left_out, 1);
    assert!(listing.parts.iter().flatten().all(|file| file.path.is_file()));

    // The same with the classes in an order of their own.
    fs::write(dir.path().join("order"), "n02\nn01\n").unwrap();
    let lists = Lists { classes: Some(dir.path().join("order")), ..plain_lists() };
    let listing = Listing::of(dir.path(), &lists).unwrap();
    assert_eq!(listing.classes, ["n02", "n01"]);
    assert_eq!(shown(&listing)[0], pairs(&[("n02/a.jpg", 0), ("n02/b.JPEG", 0), ("n01/z.png", 1)]));
}

#[test]
fn lists_keep_their_order() {
    let dir = tree(&["train/n01/a.JPEG", "train/n02/b.JPEG", "val/x 1.JPEG", "val/y.JPEG"]);
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let valid = write("val.txt", "y.JPEG 1\nx 1.JPEG 0\n");
    let lists = Lists { parts: [None, Some(valid)], classes: None };
    let listing = Listing::of(dir.path(), &lists).unwrap();
    assert_eq!(listing.classes, ["n01", "n02"]);
    assert_eq!(shown(&listing)[1], pairs(&[("y.JPEG", 1), ("x 1.JPEG", 0)]));

    // Both as lists: classes by name; by number, in the order of the numbers.
    let train = write("train.txt", "n02/b.JPEG two\nn01/a.JPEG\tone\n");
    let valid = write("val.txt", "y.JPEG two\nx 1.JPEG one\n");
    let lists = Lists { parts: [Some(train), Some(valid)], classes: None };
    let listing = Listing::of(dir.path(), &lists).unwrap();
    assert_eq!(
        (&listing.classes[..], shown(&listing)[0].clone()),
        (&["one".to_owned(), "two".to_owned()][..], pairs(&[("n02/b.JPEG", 1), ("n01/a.JPEG", 0)]))
    );
    let train = write("train.txt", "n02/b.JPEG 10\nn01/a.JPEG 9\n");
    let valid = write("val.txt", "y.JPEG 9\nx 1.JPEG 10\n");
    let lists = Lists { parts: [Some(train), Some(valid)], classes: None };
    let listing = Listing::of(dir.path(), &lists).unwrap();
    assert_eq!(
        (listing.classes.join(" "), shown(&listing)[1].clone()),
        ("9 10".to_owned(), pairs(&[("y.JPEG", 0), ("x 1.JPEG", 1)]))
    );
}

#[test]
fn a_list_as_caffe_has_it_takes_the_folders_names() {
    let dir = tree(&["train/n01/a.JPEG", "train/n02/b.JPEG", "val/x.JPEG", "val/y.JPEG"]);
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        Some(path)
    };
    let valid = write("val.txt", "x.JPEG 1\ny.JPEG 0\n");
    let classes = |train: &str| {
        let lists = Lists { parts: [write("train.txt", train), valid.clone()], classes: None };
        Listing::of(dir.path(), &lists).unwrap().classes.join(" ")
    };
    assert_eq!(classes("n02/b.JPEG 1\nn01/a.JPEG 0\n"), "n01 n02");
    assert_eq!(classes(".//n02/b.JPEG 1\n././n01/a.JPEG 0\n"), "n01 n02");
    // Where numbers and folders do not go together, the classes are called as the list calls them.
    assert_eq!(classes("n02/b.JPEG 0\nn01/a.JPEG 1\n"), "0 1");
    assert_eq!(classes("n02/b.JPEG 1\nn01/a.JPEG 0\nn01/b.JPEG 1\n"), "0 1");
    let lists = Lists { parts: [write("train.txt", "n02/b.JPEG 1\nn01/a.JPEG 0\n"), valid], classes: None };
    assert_eq!(shown(&Listing::of(dir.path(), &lists).unwrap())[1], pairs(&[("x.JPEG", 1), ("y.JPEG", 0)]));
}

#[test]
fn where_classes_are_numbers_a_number_is_a_name() {
    let dir =
        tree(&["train/0/a.png", "train/1/b.png", "train/3/c.png", "val/x.png", "val/y.png", "val/z.png"]);
    let list = dir.path().join("val.txt");
    let lists = Lists { parts: [None, Some(list.clone())], classes: None };
    fs::write(&list, "x.png 0\ny.png 3\nz.png 1\n").unwrap();
    let listing = Listing::of(dir.path(), &lists).unwrap();
    assert_eq!(shown(&listing)[1], pairs(&[("x.png", 0), ("y.png", 2), ("z.png", 1)]));
    fs::write(&list, "x.png 0\ny.png 2\nz.png 1\n").unwrap();
    refuse(
        dir.path(),
        &lists,
        "val.txt:2: names class 2, which is not among the 3 classes",
        "some of those are numbers",
    );
}

#[track_caller]
fn refuse(dir: &Path, lists: &Lists, named: &str, mend: &str) {
    let error = Listing::of(dir, lists).unwrap_err().to_string();
    assert!(error.contains(named) && error.contains(mend) && !error.contains('\n'), "{error}");
}

#[test]
fn what_is_wrong_with_folders_is_named() {
    let with = |more: &[&str]| tree(&[&GOOD[..], more].concat());
    let refuse = |dir: TempDir, named, mend| refuse(dir.path(), &plain_lists(), named, mend);
    refuse(
        tree(&["train/a/x.jpg"]),
        "has no directory valid or val or validation",
        "put a folder for each class",
    );
    refuse(with(&["valid/n01/x.jpg"]), "has valid and val", "leave one");
    refuse(with(&["train/n03/"]), "n03: has no .jpeg, .jpg or .png file", "put the class's images into it");
    refuse(with(&["train/n03/x.jpg"]), "has no valid image of class n03", "add one");
    refuse(
        with(&["val/n03/x.jpg"]),
        "n03: is the folder of a class that is not among the classes",
        "take it away",
    );
    refuse(with(&["val/flat.JPEG"]), "has flat.JPEG outside of a class's folder", "--valid-list");
    refuse(
        with(&["train/n01/images/x.jpg"]),
        "images: is a folder within a class's folder",
        "put the images themselves",
    );
    refuse(with(&["train/n01/a\nb.jpg"]), "has a name that is no printable text", "rename it");
    refuse(tree(&["train/n01/x.jpg", "val/n01/x.jpg"]), "has 1 class;", "pack 2 to");
    let dir = with(&[]);
    fs::write(dir.path().join("train/n01").join(OsStr::from_bytes(b"caf\xe9.jpg")), "").unwrap();
    refuse(dir, "has a name that is no printable text", "rename it");
    let missing = tempfile::tempdir().unwrap().path().join("absent");
    let error = Listing::of(&missing, &plain_lists()).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the directory") && error.ends_with("check the name"), "{error}");
}

#[test]
fn links_are_followed_and_loops_end() {
    let dir = tree(&GOOD);
    let other = tree(&["k.jpg"]);
    symlink(other.path(), dir.path().join("train/n03")).unwrap();
    symlink(other.path(), dir.path().join("val/n03")).unwrap();
    let listing = Listing::of(dir.path(), &plain_lists()).unwrap();
    assert_eq!(listing.classes, ["n01", "n02", "n03"]);
    assert!(shown(&listing)[0].contains(&("n03/k.jpg".to_owned(), 2)));

    symlink("round", dir.path().join("train/round")).unwrap();
    refuse(dir.path(), &plain_lists(), "cannot follow the link", "train/round");
    fs::remove_file(dir.path().join("train/round")).unwrap();
    symlink("absent.jpg", dir.path().join("train/n01/gone.jpg")).unwrap();
    refuse(dir.path(), &plain_lists(), "cannot follow the link", "check the name");
    fs::remove_file(dir.path().join("train/n01/gone.jpg")).unwrap();
    // A folder that leads back to where it came from is a folder within a class.
    symlink(dir.path(), dir.path().join("train/n01/up")).unwrap();
    refuse(
        dir.path(),
        &plain_lists(),
        "up: is a folder within a class's folder",
        "put the images themselves",
    );
}

#[test]
fn what_is_wrong_with_a_list_is_named_with_its_line() {
    let dir = tree(&GOOD);
    let path = dir.path().join("list");
    for (text, named, mend) in [
        ("a.JPEG 0\n\nb.JPEG\n", "list:3: is no line `name class`", "write a name, a space and its class"),
        ("a.JPEG 0\nb.JPEG 1\na.JPEG 1\n", "list:3: names a.JPEG a second time", "leave one"),
        ("a.JPEG 0\nb.JPEG 1\n./a.JPEG 1\n", "list:3: names ./a.JPEG a second time", "leave one"),
        ("a.JPEG 2\n", "list:1: names class 2, which is not among the 2 classes", "number from 0"),
        ("a.JPEG n03\n", "list:1: names class n03", "number from 0"),
        ("../a.JPEG 0\n", "list:1: names \"../a.JPEG\"", "name files under"),
        ("/etc/a.JPEG 0\n", "list:1: names \"/etc/a.JPEG\"", "name files under"),
        ("a.JPEG 0\n", "has no valid image of class n02", "add one"),
        ("\n", "names no image", "write a line"),
    ] {
        fs::write(&path, text).unwrap();
        refuse(dir.path(), &Lists { parts: [None, Some(path.clone())], classes: None }, named, mend);
    }
    for (text, named, mend) in [
        ("n01\nn02\nn01\n", "names class n01 twice", "name each class once"),
        ("n01\n", "n02: is the folder of a class that is not among the classes", "--classes"),
        ("n01\nn02\nn03\n", "has no train image of class n03", "add one"),
    ] {
        fs::write(&path, text).unwrap();
        refuse(dir.path(), &Lists { classes: Some(path.clone()), ..plain_lists() }, named, mend);
    }
    fs::write(&path, b"caf\xe9.jpg 0\n").unwrap();
    refuse(
        dir.path(),
        &Lists { parts: [None, Some(path)], classes: None },
        "is not UTF-8 text",
        "name a text file",
    );
}
