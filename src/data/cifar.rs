//! The binary version of CIFAR-10 and CIFAR-100, as its authors' archives unpack: 32×32 in colour.
//!
//! Used by `data` alone. A record is a label (CIFAR-100 has two: superclass and class; the class counts) and 3072 bytes, all
//! red ones, all green ones, all blue ones. The names of classes are in a text file beside them.

use super::Dataset;
use super::idx::{self, RawImages};
use crate::error::{Error, Result};
use crate::whole;
use std::fs;
use std::path::Path;

const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;
const CHANNELS: usize = 3;

/// What a file may hold: CIFAR-100's training images are 154 million bytes.
const BYTES_MAX: u64 = 2 << 30;

/// How one of the two lies in its directory.
struct Layout {
    name: &'static str,
    train: &'static [&'static str],
    valid: &'static str,
    names: &'static str,
    /// Bytes of labels before the pixels; the last is the class.
    labels: usize,
}

const LAYOUTS: [Layout; 2] = [
    Layout {
        name: "CIFAR-10",
        train: &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ],
        valid: "test_batch.bin",
        names: "batches.meta.txt",
        labels: 1,
    },
    Layout {
        name: "CIFAR-100",
        train: &["train.bin"],
        valid: "test.bin",
        names: "fine_label_names.txt",
        labels: 2,
    },
];

/// Reads a directory of either.
pub(super) fn read_dir(dir: &Path) -> Result<Dataset> {
    fs::read_dir(dir).map_err(Error::io("read the directory", dir))?;
    let subject = dir.display().to_string();
    let mut there = Vec::new();
    for layout in &LAYOUTS {
        there.extend(whole::there(&dir.join(layout.train[0]))?.map(|_| layout));
    }
    let layout = match there.as_slice() {
        [layout] => layout,
        [] => {
            let problem = "has neither data_batch_1.bin (CIFAR-10) nor train.bin (CIFAR-100)";
            let mend = "name the directory that the binary version's archive unpacks to";
            return Err(Error::invalid(subject, problem, mend));
        }
        _ => {
            return Err(Error::invalid(
                subject,
                "has both CIFAR-10 and CIFAR-100",
                "give each a directory of its own",
            ));
        }
    };
    let mut superclass = [None; 256];
    let mut train = (none(), Vec::new());
    for name in layout.train {
        read(&dir.join(name), layout, &mut train, &mut superclass)?;
    }
    let mut valid = (none(), Vec::new());
    read(&dir.join(layout.valid), layout, &mut valid, &mut superclass)?;
    let Some(names) = idx::names(&dir.join(layout.names))? else {
        let problem = format!("has no {}, which names {}'s classes", layout.names, layout.name);
        return Err(Error::invalid(subject, problem, "unpack the archive again"));
    };
    idx::assemble(&subject, train, valid, Some((layout.names, &names)))
}

fn none() -> RawImages {
    RawImages { channels: CHANNELS, rows: SIDE, cols: SIDE, pixels: Vec::new() }
}

/// Adds the records of a file.
fn read(
    path: &Path,
    layout: &Layout,
    (images, labels): &mut (RawImages, Vec<u8>),
    superclass: &mut [Option<u8>; 256],
) -> Result<()> {
    let bad = |problem: String| {
        let mend = "unpack the archive again";
        Err(Error::at(path, problem, mend))
    };
    let Some(bytes) = whole::read(path, BYTES_MAX).map_err(Error::io("read", path))? else {
        return bad(whole::no_file(BYTES_MAX));
    };
    let record = layout.labels + CHANNELS * PIXELS;
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        return bad(format!("has {} bytes, no whole number of {}'s {record}", bytes.len(), layout.name));
    }
    for (at, record) in bytes.chunks_exact(record).enumerate() {
        let (head, planes) = record.split_at(layout.labels);
        let class = head[layout.labels - 1];
        if let [of, _] = *head {
            let known = superclass[usize::from(class)].get_or_insert(of);
            if *known != of {
                return bad(format!(
                    "puts class {class} in superclass {of} (image {at}), and in {known} before"
                ));
            }
        }
        labels.push(class);
        images.pixels.extend((0..PIXELS).flat_map(|at| [0, 1, 2].map(|plane| planes[plane * PIXELS + at])));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A record whose plane `c` counts up from `first + 80 c`.
    fn record(head: &[u8], first: u8) -> Vec<u8> {
        let byte = |plane: usize, at: usize| first.wrapping_add((plane * 80 + at) as u8);
        let planes = (0..CHANNELS).flat_map(|plane| (0..PIXELS).map(move |at| byte(plane, at)));
        head.iter().copied().chain(planes).collect()
    }

    fn directory(files: &[(&str, Vec<u8>)]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, bytes)| fs::write(dir.path().join(name), bytes).unwrap());
        dir
    }

    /// Names and contents.
    type Files = Vec<(&'static str, Vec<u8>)>;

    fn hundred() -> Files {
        vec![
            ("train.bin", [record(&[9, 1], 0), record(&[4, 0], 3), record(&[9, 1], 7)].concat()),
            ("test.bin", [record(&[4, 0], 11), record(&[9, 1], 13)].concat()),
            ("fine_label_names.txt", b"apple\nbowl\n".to_vec()),
        ]
    }

    #[test]
    fn both_are_read() {
        let data = read_dir(directory(&hundred()).path()).unwrap();
        assert_eq!(data.classes, ["apple", "bowl"]);
        assert_eq!((&data.train.labels[..], &data.valid.labels[..]), (&[1, 0, 1][..], &[0, 1][..]));
        assert_eq!(data.train.shape(), [3, 32, 32]);
        // Pixel 5 of image 1: the planes' bytes together.
        assert_eq!(data.train.image(1).unwrap()[15..18], [8, 88, 168]);

        let mut files: Vec<(String, Vec<u8>)> =
            (1..=5).map(|at| (format!("data_batch_{at}.bin"), record(&[at % 2], at))).collect();
        files.push(("test_batch.bin".to_owned(), [record(&[0], 60), record(&[1], 61)].concat()));
        files.push(("batches.meta.txt".to_owned(), b"airplane\nautomobile\n\n".to_vec()));
        let files: Vec<(&str, Vec<u8>)> =
            files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
        let data = read_dir(directory(&files).path()).unwrap();
        assert_eq!(
            (data.classes.join(" "), data.train.labels),
            ("airplane automobile".to_owned(), vec![1, 0, 1, 0, 1])
        );
        assert_eq!(data.valid.image(1).unwrap()[..3], [61, 141, 221]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refuse = |change: &dyn Fn(&mut Files), named: &str, mend: &str| {
            let mut files = hundred();
            change(&mut files);
            let error = read_dir(directory(&files).path()).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains(mend) && !error.contains('\n'), "{error}");
        };
        refuse(
            &|files| files.truncate(0),
            "has neither data_batch_1.bin (CIFAR-10) nor train.bin",
            "name the directory",
        );
        refuse(
            &|files| files.push(("data_batch_1.bin", vec![])),
            "has both CIFAR-10 and CIFAR-100",
            "of its own",
        );
        refuse(&|files| drop(files.remove(1)), "test.bin", "check the name");
        refuse(
            &|files| files[0].1.truncate(9221),
            "train.bin: has 9221 bytes, no whole number of CIFAR-100's 3074",
            "unpack",
        );
        refuse(&|files| files[1].1.clear(), "test.bin: has 0 bytes", "unpack");
        refuse(
            &|files| files[1].1[0] = 5,
            "test.bin: puts class 0 in superclass 5 (image 0), and in 4 before",
            "unpack",
        );
        refuse(&|files| files[1].1[1] = 7, "has validation images of label 7", "leave that label out");
        refuse(&|files| files[2].1.truncate(6), "fine_label_names.txt of", "write a name a line");
        refuse(
            &|files| files.truncate(2),
            "has no fine_label_names.txt, which names CIFAR-100's classes",
            "unpack",
        );
    }
}
