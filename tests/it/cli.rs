//! Wrong inputs and the shapes of what is printed.

use selffer::data::{Dataset, Images, Part};
use std::fs;
use std::path::Path;

/// Writes a data set as a directory of plain IDX files, with its class names.
pub fn write_idx(dir: &Path, data: &Dataset) {
    fs::create_dir_all(dir).unwrap();
    for (part, prefix) in Part::BOTH.into_iter().zip(["train", "t10k"]) {
        let Images { rows, cols, pixels, labels } = data.part(part);
        let dims = [labels.len(), *rows, *cols];
        fs::write(dir.join(format!("{prefix}-images-idx3-ubyte")), idx(&dims, pixels)).unwrap();
        let labels: Vec<u8> = labels.iter().map(|label| u8::try_from(*label).unwrap()).collect();
        fs::write(dir.join(format!("{prefix}-labels-idx1-ubyte")), idx(&dims[..1], &labels)).unwrap();
    }
    fs::write(dir.join("classes.txt"), data.classes.join("\n")).unwrap();
}

/// An IDX file of unsigned bytes.
pub fn idx(dims: &[usize], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, u8::try_from(dims.len()).unwrap()];
    for dim in dims {
        file.extend(u32::try_from(*dim).unwrap().to_be_bytes());
    }
    file.extend(bytes);
    file
}
