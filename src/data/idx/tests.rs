use super::*;
use crate::data::Part;
use crate::protocol::DataSource;
use flate2::{Compression, write::GzEncoder};
use std::io::Write as _;
use tempfile::TempDir;

/// An IDX file of unsigned bytes.
fn idx(dims: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, dims.len() as u8];
    file.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
    file.extend_from_slice(bytes);
    file
}

/// `count` images of 8×8: the pixels of image i are all `first + i`.
fn image_file(first: u8, count: u8) -> Vec<u8> {
    let pixels: Vec<u8> = (first..first + count).flat_map(|pixel| [pixel; 64]).collect();
    idx(&[u32::from(count), 8, 8], &pixels)
}

fn label_file(labels: &[u8]) -> Vec<u8> {
    idx(&[labels.len() as u32], labels)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const MNIST: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// Three training images of the labels 0, 1, 0 and two validation images of 1, 0.
fn contents() -> [Vec<u8>; 4] {
    [image_file(10, 3), label_file(&[0, 1, 0]), image_file(20, 2), label_file(&[1, 0])]
}

fn directory<'a>(files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> TempDir {
    let dir = TempDir::new().expect("a directory");
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).expect("a file");
    }
    dir
}

fn read(dir: &TempDir) -> Result<Dataset> {
    Dataset::read(&DataSource::Idx(dir.path().to_owned()))
}

/// Reads MNIST's four files with the one of that index replaced, and says why it was refused.
fn refuse(at: usize, bytes: Vec<u8>) -> String {
    let mut files = contents();
    files[at] = bytes;
    read(&directory(MNIST.into_iter().zip(files))).unwrap_err().to_string()
}

#[test]
fn a_directory_is_read() {
    let data = read(&directory(MNIST.into_iter().zip(contents()))).unwrap();
    assert_eq!(data.classes, ["0", "1"]);
    assert_eq!((data.train.rows, data.train.cols, data.train.len(), data.valid.len()), (8, 8, 3, 2));
    assert_eq!((&data.train.labels[..], &data.valid.labels[..]), (&[0, 1, 0][..], &[1, 0][..]));
    let pixels = |part: Part| {
        (0..data.part(part).len()).map(|at| data.part(part).image(at).unwrap().to_vec()).collect()
    };
    let (train, valid): (Vec<_>, Vec<_>) = (pixels(Part::Train), pixels(Part::Valid));
    assert_eq!(train, [[10; 64], [11; 64], [12; 64]]);
    assert_eq!(valid, [[20; 64], [21; 64]]);
}

#[test]
fn plain_and_gzip_and_every_spelling_are_the_same_data() {
    let plain = read(&directory(MNIST.into_iter().zip(contents()))).unwrap();
    let spellings: [[&str; 4]; 3] = [
        MNIST.map(|name| &*format!("{name}.gz").leak()),
        MNIST.map(|name| &*name.replace("-idx", ".idx").leak()),
        MNIST.map(|name| &*format!("emnist-letters-{}.gz", name.replace("t10k", "test")).leak()),
    ];
    for names in spellings {
        let files = names.into_iter().zip(contents());
        let packed =
            files.map(|(name, bytes)| (name, if name.ends_with("gz") { gzip(&bytes) } else { bytes }));
        let data = read(&directory(packed)).unwrap();
        assert_eq!((&data, data.digest()), (&plain, plain.digest()), "{names:?}");
    }
    // What is inside counts, not the name.
    let misnamed = MNIST.into_iter().zip(contents().map(|bytes| gzip(&bytes)));
    assert_eq!(read(&directory(misnamed)).unwrap(), plain);
}

#[test]
fn a_file_cut_off_anywhere_is_refused_by_name() {
    for (at, whole) in contents().into_iter().enumerate().take(2) {
        for (file, packed) in [(whole.clone(), false), (gzip(&whole), true)] {
            let parse = |bytes: &[u8]| match at {
                0 => images(bytes, "a/file").map(|_| ()),
                _ => labels(bytes, "a/file").map(|_| ()),
            };
            assert!(parse(&file).is_ok());
            for length in 0..file.len() {
                let error = parse(&file[..length]).unwrap_err().to_string();
                assert!(error.starts_with("a/file: "), "{length} bytes: {error}");
                if packed && length > 1 {
                    assert!(error.contains("gzip data is damaged or cut off"), "{length} bytes: {error}");
                }
            }
            let error = refuse(at, file[..file.len() - 1].to_vec());
            assert!(error.contains(&format!("/{}: ", MNIST[at])), "{error}");
        }
    }
    let error = refuse(2, image_file(20, 2)[..143].to_vec());
    assert!(
        error.contains("t10k-images-idx3-ubyte: says that it holds 2 × 8 × 8 bytes of images, but holds 127")
    );
    assert!(error.ends_with("fetch or unpack the file again"), "{error}");
    let error = refuse(1, [label_file(&[0, 1, 0]), vec![0]].concat());
    assert!(error.contains("says that it holds 3 bytes of labels, but holds more"), "{error}");
    // A changed byte inside gzip is seen by its checksum.
    let mut packed = gzip(&image_file(10, 3));
    let checksum = packed.len() - 8;
    packed[checksum] ^= 1;
    assert!(refuse(0, packed).contains("gzip data is damaged"));
}

#[test]
fn other_files_are_refused() {
    let error = refuse(0, label_file(&[0, 1, 0]));
    assert!(error.contains("is no IDX file of images: it begins with 00000801, not 00000803"), "{error}");
    let error = refuse(3, image_file(1, 2));
    assert!(error.contains("is no IDX file of labels: it begins with 00000803, not 00000801"), "{error}");
    let error = refuse(0, b"<!DOCTYPE html>".to_vec());
    assert!(error.contains("begins with 3c21444f"), "{error}");
    // Dimensions whose product no computer can hold.
    let error = refuse(0, idx(&[u32::MAX; 3], &[]));
    assert!(error.contains("4294967295 × 4294967295 × 4294967295 bytes of images, more than"), "{error}");
    let error = refuse(0, idx(&[1 << 16, 128, 512], &[]));
    assert!(error.contains("65536 × 128 × 512 bytes of images, more than 2147483648"), "{error}");
    let error = refuse(0, idx(&[0, 8, 8], &[]));
    assert!(error.contains("holds no image"), "{error}");
    let error = refuse(0, idx(&[3, 7, 8], &[0; 168]));
    assert!(error.contains("has images of 7 rows; 8 to 4096 can be trained on"), "{error}");
    let error = refuse(0, idx(&[3, 8, 4097], &vec![0; 3 * 8 * 4097]));
    assert!(error.contains("has images of 4097 columns"), "{error}");
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let error = refuse(2, idx(&[2, 8, 9], &[0; 144]));
    assert!(error.contains("training images of (8, 8) pixels and validation images of (8, 9)"), "{error}");
    let error = refuse(1, label_file(&[0, 1]));
    assert!(error.contains("has 3 training images but 2 labels"), "{error}");
    let error = refuse(3, label_file(&[0, 1, 0]));
    assert!(error.contains("has 2 validation images but 3 labels"), "{error}");
    let error = refuse(3, label_file(&[0, 2]));
    assert!(
        error.contains("has validation images of label 2, of which there is no training image"),
        "{error}"
    );
}

#[test]
fn labels_need_not_begin_at_nought() {
    // EMNIST's letters are 1 to 26; here 1, 3 and 26.
    let mut files = contents();
    files[1] = label_file(&[26, 1, 3]);
    files[3] = label_file(&[3, 26]);
    let data = read(&directory(MNIST.into_iter().zip(files.clone()))).unwrap();
    assert_eq!(data.classes, ["1", "3", "26"]);
    assert_eq!((data.train.labels, data.valid.labels), (vec![2, 0, 1], vec![1, 2]));

    // Names are counted from 0 all the same.
    let names: String = std::iter::once("none").chain("abcdefghijklmnopqrstuvwxyz".split("")).skip(1).fold(
        "none\n".to_owned(),
        |text, letter| if letter.is_empty() { text } else { text + letter + "\n" },
    );
    let named = MNIST.into_iter().zip(files).chain([("classes.txt", names.into_bytes())]);
    assert_eq!(read(&directory(named)).unwrap().classes, ["a", "c", "z"]);
}

#[test]
fn class_names_are_checked() {
    let with_names = |names: &[u8]| {
        read(&directory(MNIST.into_iter().zip(contents()).chain([("classes.txt", names.to_vec())])))
    };
    assert_eq!(with_names(b"cat\r\n\n dog \n").unwrap().classes, ["cat", "dog"]);
    assert_eq!(with_names(b"cat\ndog\ncow\n").unwrap().classes, ["cat", "dog"]);
    for (names, problem) in [
        (&b"cat\n"[..], "has 1 names, none for label 1"),
        (b"cat\ncat\n", "names a class twice"),
        (b"cat\n\xff\n", "classes.txt"),
    ] {
        let error = with_names(names).unwrap_err().to_string();
        assert!(error.contains("classes.txt") && error.contains(problem), "{error}");
    }
}

#[test]
fn directories_without_the_four_files_are_refused() {
    let but = |missing: &str| {
        read(&directory(MNIST.into_iter().zip(contents()).filter(|(name, _)| *name != missing)))
            .unwrap_err()
            .to_string()
    };
    for name in MNIST {
        let error = but(name);
        let problem = format!("has no file whose name ends in {name} or {name}.gz");
        assert!(error.contains(&problem), "{error}");
    }
    let twice = MNIST.into_iter().zip(contents()).chain([("train-images.idx3-ubyte", image_file(10, 3))]);
    let error = read(&directory(twice)).unwrap_err().to_string();
    assert!(
        error.contains("has 2 files whose names end in train-images-idx3-ubyte[.gz]; leave one"),
        "{error}"
    );
    let error = Dataset::read(&DataSource::Idx("/no/such/place".into())).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot read the directory /no/such/place: No such file or directory (os error 2); check the name"
    );
}

#[test]
fn a_gzip_file_is_not_unpacked_beyond_what_it_says() {
    // Three images, then noise, of which the end is cut off: who reads it all would find that first.
    let mut stream = crate::seed::Stream::open(&crate::seed::Name::new("noise"));
    let noise: Vec<u8> = (0..1 << 20).map(|_| stream.below(256) as u8).collect();
    let packed = gzip(&[image_file(10, 3), noise].concat());
    let error = refuse(0, packed[..packed.len() - 1000].to_vec());
    assert!(error.contains("says that it holds 3 × 8 × 8 bytes of images, but holds more"), "{error}");
    // A header alone, that says as much as is allowed: nothing is set aside for it.
    let error = refuse(0, gzip(&idx(&[1 << 15, 128, 512], &[])));
    assert!(error.contains("32768 × 128 × 512 bytes of images, but holds 0"), "{error}");
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let dir = directory(MNIST.into_iter().zip(contents()));
    let pipe = dir.path().join(MNIST[0]);
    std::fs::remove_file(&pipe).unwrap();
    crate::testing::make_pipe(&pipe);
    let error = read(&dir).unwrap_err().to_string();
    assert!(error.contains("train-images-idx3-ubyte: is no regular file"), "{error}");
}

#[test]
fn a_gzip_file_of_several_members_is_one_file_and_what_follows_it_is_not_passed_over() {
    let file = image_file(10, 3);
    let (head, tail) = file.split_at(100);
    let mut files = contents();
    files[0] = [gzip(head), gzip(tail)].concat();
    let whole = read(&directory(MNIST.into_iter().zip(contents()))).unwrap();
    assert_eq!(read(&directory(MNIST.into_iter().zip(files))).unwrap(), whole);
    let error = refuse(0, [gzip(&file), gzip(b"more")].concat());
    assert!(error.contains("but holds more"), "{error}");
    let error = refuse(0, [gzip(&file), b"garbage".to_vec()].concat());
    assert!(error.contains("gzip data is damaged"), "{error}");
}

#[test]
fn class_names_are_a_small_regular_file() {
    let dir = directory(MNIST.into_iter().zip(contents()));
    let names = dir.path().join("classes.txt");
    std::fs::write(&names, vec![b'x'; (1 << 20) + 1]).unwrap();
    let error = read(&dir).unwrap_err().to_string();
    assert!(error.contains("classes.txt: is no regular file of at most 1048576 bytes"), "{error}");
    std::fs::remove_file(&names).unwrap();
    crate::testing::make_pipe(&names);
    let error = read(&dir).unwrap_err().to_string();
    assert!(error.contains("classes.txt: is no regular file"), "{error}");
}
