//! Real image files, drawn here: packed, trained on, damaged, killed at any moment.

use crate::common::{
    CAFFE, Ran, copy, essence, files, names, on_store, repository, run, scratch, selffer, sentence, signal,
    wait_for,
};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use rustix::process::Signal;
use selffer::data::pack::Index;
use selffer::verify::Code;
use selffer::verify::pack::check;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;
use tempfile::TempDir;

const CLASSES: [&str; 4] = ["n01", "n02", "n03", "n04"];

/// An image of a class: stripes whose slope and colour say which, of a width, phase and size of its own.
fn pixels(class: usize, number: usize, rows: usize, cols: usize) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(rows * cols * 3);
    for row in 0..rows {
        for col in 0..cols {
            let along = [row * 2, col * 2, row + col, row + cols - col][class] + number * 7;
            let bright = if (along / (6 + number % 3)).is_multiple_of(2) { 190 } else { 60 };
            let noise = (row * row * 31 + col * 7919 + number * 977) % 41;
            let channel = |of: usize| (bright + noise + if of == class % 3 { 20 } else { 0 }) as u8;
            pixels.extend([channel(0), channel(1), channel(2)]);
        }
    }
    pixels
}

fn jpeg(pixels: &[u8], rows: usize, cols: usize, ink: ColorType, number: usize) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 85 + (number % 10) as u8);
    encoder.set_progressive(number % 4 == 3);
    encoder.set_sampling_factor([SamplingFactor::F_1_1, SamplingFactor::F_2_2][number % 2]);
    encoder.encode(pixels, cols as u16, rows as u16, ink).expect("a JPEG file");
    file
}

fn png(pixels: &[u8], rows: usize, cols: usize) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, cols as u32, rows as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().and_then(|mut writer| writer.write_image_data(pixels)).expect("a PNG file");
    file
}

/// ImageNet in small: a folder for each class, files named .JPEG of which one is a PNG, one grey, one of
/// four inks; validation images flat, with a list.
fn draw(dir: &Path, train: usize, valid: usize) {
    for (class, name) in CLASSES.iter().enumerate() {
        let folder = dir.join("train").join(name);
        fs::create_dir_all(&folder).unwrap();
        for number in 0..train {
            let (rows, cols) = (40 + number % 17, 52 - number % 13);
            let rgb = pixels(class, number, rows, cols);
            let file = match number {
                1 => png(&rgb, rows, cols),
                2 => {
                    let grey: Vec<u8> = rgb.iter().step_by(3).copied().collect();
                    jpeg(&grey, rows, cols, ColorType::Luma, number)
                }
                5 => {
                    let inks = |rgb: &[u8]| [255 - rgb[0], 255 - rgb[1], 255 - rgb[2], 0];
                    let inks: Vec<u8> = rgb.chunks(3).flat_map(inks).collect();
                    jpeg(&inks, rows, cols, ColorType::CmykAsYcck, 4)
                }
                _ => jpeg(&rgb, rows, cols, ColorType::Rgb, number),
            };
            fs::write(folder.join(format!("{name}_{number}.JPEG")), file).unwrap();
        }
    }
    let mut list = String::new();
    fs::create_dir_all(dir.join("val")).unwrap();
    for at in 0..CLASSES.len() * valid {
        // In an order that mixes the classes.
        let class = at * 3 % CLASSES.len();
        let name = format!("val_{at:08}.JPEG");
        let file = jpeg(&pixels(class, 1000 + at, 48, 48), 48, 48, ColorType::Rgb, at);
        fs::write(dir.join("val").join(&name), file).unwrap();
        list += &format!("{name} {class}\n");
    }
    fs::write(dir.join("val.txt"), list).unwrap();
}

/// `selffer data pack FROM TO` at 16×16, with `more` options.
fn pack(from: &Path, to: &Path, more: &[&str]) -> Command {
    sized("16", from, to, more)
}

fn sized(size: &str, from: &Path, to: &Path, more: &[&str]) -> Command {
    let mut call = selffer(["data", "pack", "--format", "json", "--quiet", "--size", size]);
    call.arg("--valid-list").arg(from.join("val.txt")).arg(from).arg(to).args(more);
    call.stdout(Stdio::piped()).stderr(Stdio::piped());
    call
}

/// Drawn images and their pack, made once; nobody changes them.
pub fn good() -> (&'static Path, &'static Path) {
    static GOOD: OnceLock<(TempDir, PathBuf, PathBuf)> = OnceLock::new();
    let (_, from, to) = GOOD.get_or_init(|| {
        let dir = scratch();
        let (from, to) = (dir.path().join("images"), dir.path().join("pack"));
        draw(&from, 12, 6);
        run(pack(&from, &to, &[])).expect(0);
        (dir, from, to)
    });
    (from, to)
}

/// Where it would be taken for a class the next time, or be a stray; reached by a link too.
#[test]
fn a_pack_lies_neither_among_its_images_nor_in_a_store_or_a_pack() {
    let dir = scratch();
    let (from, store) = (dir.path().join("images"), dir.path().join("store"));
    draw(&from, 3, 2);
    fs::write(from.join("train/n01/notes.webp"), "").unwrap();
    std::os::unix::fs::symlink(&from, dir.path().join("link")).unwrap();
    drop(selffer::store::Store::create(&store).unwrap());
    for (to, said) in [
        (from.join("train/pack"), "train, which is for images; name a directory elsewhere"),
        (from.join("validation"), "validation, which is for images"),
        (from.join("none/../train/pack"), "train, which is for images"),
        (dir.path().join("none/../link/train/pack"), "train, which is for images"),
        (dir.path().join("link/train/n01/pack"), "train, which is for images"),
        (store.join("pack"), "which holds nothing else; name a directory elsewhere"),
        (good().1.join("pack"), "pack, which holds nothing else; name a directory elsewhere"),
    ] {
        let ran = run(pack(&from, &to, &[])).expect(2);
        assert!(ran.err.contains(said) && !to.exists(), "{}", ran.err);
    }
    // Beside its parts it is no hindrance.
    let mut call = selffer(["data", "pack", "--size", "16", "--quiet", "--valid-list"]);
    call.arg(from.join("val.txt")).arg(&from).arg(from.join("pack"));
    let text = run(call).expect(0).out;
    assert!(text.starts_with("1 file is left out by the names' endings (.webp)\n"), "{text}");
    run(pack(&from, &from.join("pack"), &[])).expect(0);
    let text =
        run(selffer(["data", "show", "--quiet", &from.join("pack").display().to_string()])).expect(0).out;
    assert!(text.starts_with("training  validation  class\n       3           2  n01\n"), "{text}");
}

const PROTOCOL: &str = r#"
name = "drawn"
data = { pack = "pack" }
seeds = [1]
depths = [1, 4]

[network]
conv = [8, 8, 8, 8, 8]
hidden = [16, 16]
filler = "he"

[solver]
epochs = 12
batch = 4
rate = 0.02
rate_drops = [10]
rate_factor = 0.1
momentum = 0.9
decay = 5e-4

[[split]]
name = "two-two"
treatments = ["baseA", "baseB", "AnB", "B4B+", "A1B+"]

[split.halves.named]
A = ["n01", "n02"]
B = ["n03", "n04"]
"#;

/// The protocol with one text for another.
fn edited(from: &str, to: &str) -> String {
    assert!(PROTOCOL.contains(from), "{from} is not in the protocol");
    PROTOCOL.replacen(from, to, 1)
}

/// A protocol that names a copy of the pack beside it.
pub fn beside(pack: &Path) -> (TempDir, PathBuf) {
    let dir = scratch();
    copy(pack, &dir.path().join("pack"));
    let path = dir.path().join("drawn.toml");
    fs::write(&path, PROTOCOL).unwrap();
    (dir, path)
}

#[test]
fn from_a_folder_of_images_to_a_table() {
    let (from, to) = good();
    let shown =
        run(selffer(["data", "show", "--format", "json", &to.display().to_string()])).expect(0).json();
    assert_eq!((&shown["train"], &shown["valid"], &shown["size"]), (&json!(48), &json!(24), &json!(16)));
    assert_eq!(shown["classes"][2], json!({"name": "n03", "train": 12, "valid": 6}));
    assert_eq!(shown["skipped"], json!([]));
    let verified = run(selffer(["data", "verify", "--format", "json", &to.display().to_string()])).expect(0);
    // Each image; an index and sums for each shard; the plan, the sums, both once more computed.
    assert_eq!(verified.json()["compared"], json!(48 + 24 + 4 + 4));

    let (dir, protocol) = beside(to);
    let made = on_store(&["reproduce", "--quiet"], &protocol, &dir.path().join("store")).expect(0);
    let codes: Vec<String> = made.findings().into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, ["golden-absent"], "{}", made.out);
    assert_eq!(made.json()["trained"], json!(6));
    let table = on_store(&["table"], &protocol, &dir.path().join("store")).expect(0).json();
    let cells = table["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 6);
    let base = cells.iter().find(|cell| cell["treatment"] == "baseB").unwrap();
    assert_eq!(base["total"], json!(12));
    // Two kinds of stripes are told apart.
    assert!(base["correct"].as_u64().unwrap() >= 10, "{base}");
    on_store(&["verify"], &protocol, &dir.path().join("store")).expect(0);

    // Packed anew with one thread and with three, it is the same data: nothing is trained again.
    for jobs in ["1", "3"] {
        fs::remove_dir_all(dir.path().join("pack")).unwrap();
        run(pack(from, &dir.path().join("pack"), &["--jobs", jobs])).expect(0);
        assert!(files(&dir.path().join("pack")) == files(to), "with {jobs} jobs");
    }
    let again =
        on_store(&["reproduce", "--quiet", "--no-report"], &protocol, &dir.path().join("store")).expect(0);
    assert_eq!(again.json()["trained"], json!(0));
}

/// The same images without a pack: the same data set by its digest, so the same networks, bit for bit.
#[test]
fn a_folder_of_images_trains_the_networks_of_its_pack() {
    let (from, to) = good();
    let (dir, protocol) = beside(to);
    on_store(&["reproduce", "--quiet", "--no-report"], &protocol, &dir.path().join("store")).expect(0);

    let other = scratch();
    copy(from, &other.path().join("images"));
    let folder = r#"{ images = { dir = "images", size = 16, valid_list = "images/val.txt" } }"#;
    let text = edited(r#"{ pack = "pack" }"#, folder);
    let direct = other.path().join("drawn.toml");
    fs::write(&direct, &text).unwrap();
    let made =
        on_store(&["reproduce", "--quiet", "--no-report"], &direct, &other.path().join("store")).expect(0);
    assert_eq!(made.json()["trained"], json!(6));
    assert!(essence(&dir.path().join("store")) == essence(&other.path().join("store")));
    // A store of the one is a store of the other.
    let mut call = selffer(["reproduce", "--quiet", "--no-report", "--format", "json", "--protocol"]);
    call.arg(&direct).arg("--store").arg(dir.path().join("store"));
    assert_eq!(run(call).expect(0).json()["trained"], json!(0));

    // Nothing else is put among them, where it would be taken for a class.
    let among = other.path().join("images/train/store");
    let refused = &["train, which is for images; name a directory elsewhere"];
    sentence(on_store(&["reproduce", "--quiet"], &direct, &among), refused);
    sentence(on_store(&["submit", "--engine", "local", "--quiet"], &direct, &among), refused);
    let mut call = selffer(["report", "--quiet", "--out"]);
    call.arg(&among).arg("--protocol").arg(&direct).arg("--store").arg(other.path().join("store"));
    sentence(run(call), refused);
    for (within, kind) in [(to.join("store"), "pack"), (dir.path().join("store/other"), "store")] {
        let said = format!("lies in the {kind} {}, which holds", within.parent().unwrap().display());
        sentence(on_store(&["reproduce", "--quiet"], &direct, &within), &[&said]);
        assert!(!within.exists());
    }
    assert!(!among.exists());
    // A pack that is damaged is a pack all the same.
    let damaged = dir.path().join("damaged");
    copy(to, &damaged);
    fs::write(damaged.join("pack.json"), "{").unwrap();
    let mut call = selffer(["report", "--quiet", "--protocol"]);
    call.arg(&direct).arg("--store").arg(other.path().join("store")).arg("--out").arg(damaged.join("report"));
    sentence(
        run(call),
        &["lies in the pack", "damaged, which holds nothing else; name a directory elsewhere with --out"],
    );

    // The images moved: where they are now is said, and all is as it was.
    fs::rename(other.path().join("images"), other.path().join("elsewhere")).unwrap();
    let gone = &["images: is not there", "or say with --data DIR where they lie"];
    sentence(on_store(&["plan"], &direct, &other.path().join("store")), gone);
    fs::write(&direct, text.replace("images/val.txt", "elsewhere/val.txt")).unwrap();
    let moved = other.path().join("elsewhere").display().to_string();
    let plan = on_store(&["plan", "--data", &moved], &direct, &other.path().join("store")).expect(0).json();
    assert!(plan["runs"].as_array().unwrap().iter().all(|run| run["done"] == json!(true)), "{plan}");
    on_store(&["verify", "--data", &moved], &direct, &other.path().join("store")).expect(0);

    // Jobs find them where `submit` was told, from whatever directory that is said.
    let jobs = scratch();
    let mut call =
        selffer(["submit", "--engine", "local", "--format", "json", "--data", "elsewhere", "--protocol"]);
    call.current_dir(other.path()).arg(&direct).arg("--store").arg(jobs.path().join("store"));
    let handed = run(call).expect(0).json();
    assert_eq!(handed["networks"], json!(6));
    assert!(handed["follow"].as_str().unwrap().contains(" --data elsewhere "), "{handed}");
    let mut call = selffer(["status", "--follow", "--interval", "1", "--data", &moved, "--protocol"]);
    call.arg(&direct).arg("--store").arg(jobs.path().join("store"));
    run(call).expect(0);
    assert!(essence(&jobs.path().join("store")) == essence(&other.path().join("store")));
    // Its jobs are not those of other images under the same names, and do not train those.
    let orders = files(&jobs.path().join("store/jobs")).into_keys();
    let order = orders.into_iter().find(|path| path.ends_with("plan.json")).expect("an order");
    let image = other.path().join("elsewhere/train/n01/n01_0.JPEG");
    let kept = fs::read(&image).unwrap();
    fs::copy(other.path().join("elsewhere/train/n01/n01_1.JPEG"), &image).unwrap();
    let mut call = selffer(["status", "--format", "json", "--data", &moved, "--protocol"]);
    call.arg(&direct).arg("--store").arg(jobs.path().join("store"));
    let status = run(call).expect(0).json();
    assert_eq!((&status["done"], status["free"].as_array().unwrap().len()), (&json!(0), 2), "{status}");
    let refused = &["elsewhere: has other images than when this job was submitted", "submit again"];
    sentence(
        run(selffer(["work", "--plan", jobs.path().join("store/jobs").join(order).to_str().unwrap()])),
        refused,
    );
    fs::write(&image, kept).unwrap();

    // A bad image is refused by name; skipped and said where the protocol asks for it.
    let bad = other.path().join("elsewhere/train/n01/n01_0.JPEG");
    let good = fs::read(&bad).unwrap();
    fs::write(&bad, &good[..good.len() - 9]).unwrap();
    let refused = &["1 image cannot be decoded: train: n01/n01_0.JPEG is cut off", "`skip_bad = true`"];
    sentence(on_store(&["plan", "--data", &moved], &direct, &other.path().join("store")), refused);
    let skipping = folder.replace("size", "skip_bad = true, size").replace("images/val", "elsewhere/val");
    fs::write(&direct, edited(r#"{ pack = "pack" }"#, &skipping)).unwrap();
    let plan = on_store(&["plan", "--data", &moved], &direct, &other.path().join("store")).expect(0);
    assert_eq!(plan.json()["splits"][0]["A"]["train"], json!(23));
    let mut said = plan.err.lines();
    let out = "left out, as the protocol says: train: n01/n01_0.JPEG is cut off: its JPEG data have no end";
    assert_eq!(said.next(), Some(out));
    assert!(
        said.next().unwrap().contains("has 6 networks, and none of the protocol drawn and its images as")
    );
    assert_eq!(said.next(), None);
    assert_eq!(
        on_store(&["plan", "--quiet", "--data", &moved], &direct, &other.path().join("store")).expect(0).err,
        ""
    );
    // A size that no network takes is a mistake of the protocol.
    fs::write(&direct, text.replace("size = 16", "size = 7")).unwrap();
    sentence(
        on_store(&["plan"], &direct, &other.path().join("store")),
        &["`data.images.size` cannot be 7", "take 8 to 4096"],
    );
}

/// The paper's network in small, with windows, mirrors, the mean image and dropped units, from a pack of JPEG files: killed in
/// the middle of networks, it goes on to the same bits.
#[test]
fn a_killed_run_of_the_paper_s_network_goes_on_to_the_same_bits() {
    let dir = scratch();
    let pack = dir.path().join("pack");
    run(sized("48", good().0, &pack, &[])).expect(0);
    let (head, tail) = (PROTOCOL.find("[network]").unwrap(), PROTOCOL.find("epochs = 12").unwrap());
    let text = format!("{}{CAFFE}steps = 3\n{}", &PROTOCOL[..head], &PROTOCOL[tail..]);
    let protocol = dir.path().join("drawn.toml");
    let text = text.replace("epochs = 12", "epochs = 6").replace("rate_drops = [10]", "rate_drops = [4]");
    fs::write(&protocol, text.replace("rate = 0.02", "rate = 0.001")).unwrap();
    let call = |store: &Path| {
        let mut call =
            selffer(["reproduce", "--quiet", "--jobs", "2", "--snapshot-every", "1", "--no-report"]);
        call.arg("--protocol").arg(&protocol).arg("--store").arg(store);
        call.stdout(Stdio::piped()).stderr(Stdio::piped());
        call
    };
    // Networks as small as these may end at chance, which is no matter here.
    let ended = |ran: Ran| assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    let whole = dir.path().join("whole");
    ended(run(call(&whole)));

    let states = |store: &Path| names(&store.join("snapshots"));
    let (mut stores, mut within) = (vec![dir.path().join("0")], 0);
    while within < 4 {
        let store = stores.last().unwrap();
        let before = states(store);
        let mut child = call(store).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Once it has kept another state than those that are there.
        wait_for("it keeps no state", || {
            let now = states(store);
            ((!now.is_empty() && now != before) || child.try_wait().unwrap().is_some()).then_some(())
        });
        child.kill().unwrap();
        let status = child.wait().unwrap();
        match status.signal() {
            // The network may just have been finished.
            Some(9) => within += usize::from(!states(store).is_empty()),
            _ => {
                assert!(matches!(status.code(), Some(0 | 1)), "it ended, and not well: {status}");
                stores.push(dir.path().join(stores.len().to_string()));
            }
        }
    }
    for store in &stores {
        ended(run(call(store)));
        assert!(essence(store) == essence(&whole), "other networks than without kills");
    }
}

/// One flipped bit, wherever: it is found, and named by file and image.
#[test]
fn one_flipped_byte_is_found() {
    let (dir, protocol) = beside(good().1);
    let pack = dir.path().join("pack");
    assert_eq!(check(&pack, &|_| {}).unwrap().findings, []);
    let mut flipped = 0;
    for (name, bytes) in files(&pack) {
        let places = (0..bytes.len()).step_by(bytes.len().div_ceil(12)).chain([bytes.len() - 1]);
        for at in places {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(pack.join(&name), damaged).unwrap();
            let found = check(&pack, &|_| {}).unwrap().findings;
            assert_eq!(found.len(), 1, "{}, byte {at}: {found:?}", name.display());
            assert_eq!((found[0].code, Path::new(&found[0].subject)), (Code::FileDamaged, name.as_path()));
            flipped += 1;
        }
        // Cut short, gone: found as well.
        fs::write(pack.join(&name), &bytes[..bytes.len() - 1]).unwrap();
        assert!(!check(&pack, &|_| {}).unwrap().findings.is_empty(), "{}", name.display());
        fs::write(pack.join(&name), bytes).unwrap();
    }
    assert!(flipped >= 80, "{flipped}");
    fs::write(pack.join("stray"), "x").unwrap();
    let found = check(&pack, &|_| {}).unwrap().findings;
    assert_eq!((found.len(), found[0].code), (1, Code::FileStray));
    fs::remove_file(pack.join("stray")).unwrap();
    // An index that a later program wrote is not damaged: it cannot be read here.
    let index = pack.join("pack.json");
    let ours = fs::read_to_string(&index).unwrap();
    fs::write(&index, ours.replacen("selffer pack 2", "selffer pack 99", 1)).unwrap();
    let verify = || run(selffer(["data", "verify", &pack.display().to_string()]));
    let refused = verify().expect(2);
    assert!(refused.err.contains("is of the format `selffer pack 99`, which this"), "{}", refused.err);
    fs::write(&index, ours).unwrap();

    // In the third training image of class n02: training does not take it, and says where it is.
    let shard = pack.join("train-00000.shard");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[14 * 768 + 100] ^= 4;
    fs::write(&shard, bytes).unwrap();
    let verified =
        run(selffer(["data", "verify", "--format", "json", &pack.display().to_string()])).expect(1);
    let message = verified.json()["findings"][0]["message"].as_str().unwrap().to_owned();
    assert_eq!(
        message,
        "image 14 in it, n02/n02_10.JPEG, is not what was packed; remove it, then run the same `selffer data pack` again"
    );
    let refused = on_store(&["reproduce", "--quiet"], &protocol, &dir.path().join("store")).expect(2);
    assert!(
        refused.err.contains("train-00000.shard: image 14 in it, from 0, is not what was packed"),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("`selffer data verify` says what else is damaged"), "{}", refused.err);
    // A shard that is cut off is refused before anything is trained.
    fs::write(&shard, "x").unwrap();
    let refused = on_store(&["table"], &protocol, &dir.path().join("store")).expect(2);
    assert!(
        refused.err.contains("train-00000.shard: has 1 bytes, not those of 48 images"),
        "{}",
        refused.err
    );
}

/// Killed at any moment and started again each time, a pack comes to the same bytes.
#[test]
fn a_killed_pack_goes_on_to_the_same_bytes() {
    const KILLS: usize = 10;
    let dir = scratch();
    let from = dir.path().join("images");
    fs::create_dir_all(&from).unwrap();
    // Images large enough for a kill to come between them.
    let mut list = String::new();
    for (at, class) in (0..240).map(|at| (at, at % 2)) {
        let file = jpeg(&pixels(class, at, 300, 400), 300, 400, ColorType::Rgb, at);
        let name = format!("{at:03}.JPEG");
        for (part, share) in [("train", 0..200), ("val", 200..240)] {
            let folder = if part == "train" { from.join(part).join(CLASSES[class]) } else { from.join(part) };
            fs::create_dir_all(&folder).unwrap();
            if share.contains(&at) {
                fs::write(folder.join(&name), &file).unwrap();
            }
        }
        if at >= 200 {
            list += &format!("{name} {}\n", CLASSES[class]);
        }
    }
    fs::write(from.join("val.txt"), list).unwrap();
    // A MiB has room for 21 images of 128×128.
    let call = |to: &Path| sized("128", &from, to, &["--shard-mib", "1", "--jobs", "2"]);
    let whole = dir.path().join("whole");
    let made = run(call(&whole)).expect(0).json();
    assert_eq!((&made["shards"], &made["shards_new"]), (&json!(12), &json!(12)));

    // Shards that are finished: a shard's own index is written last.
    let shards = |to: &Path| {
        let inside = fs::read_dir(to).into_iter().flatten().map(|entry| entry.unwrap().file_name());
        let indices = inside.filter(|name| {
            let name = name.to_string_lossy();
            name.ends_with(".json") && (name.starts_with("train-") || name.starts_with("valid-"))
        });
        indices.count()
    };
    let mut packs = vec![dir.path().join("0")];
    let (mut tries, mut kills, mut seen) = (0, 0, BTreeSet::new());
    // Kills at fewer than three numbers of shards would say little.
    while kills < KILLS || seen.len() < 3 {
        tries += 1;
        let to = packs.last().unwrap().clone();
        // After none, one or two shards more, and a moment that differs each time: before there is a directory,
        // within a shard, between its files, at the end.
        let wanted = shards(&to) + tries % 3;
        let mut child = call(&to).stdout(Stdio::null()).spawn().unwrap();
        wait_for("it makes no shard", || {
            (shards(&to) >= wanted || child.try_wait().unwrap().is_some()).then_some(())
        });
        sleep(Duration::from_micros((tries as u64 * 0x9e37_79b9) % 40_000));
        child.kill().unwrap();
        match child.wait().unwrap() {
            status if status.signal() == Some(9) => {
                kills += 1;
                seen.insert(shards(&to));
            }
            status => {
                assert_eq!(status.code(), Some(0), "it ended before it was killed, and not well");
                packs.push(dir.path().join(packs.len().to_string()));
            }
        }
    }
    for to in &packs {
        run(call(to)).expect(0);
        assert!(files(to) == files(&whole), "{} differs", to.display());
        assert_eq!(run(call(to)).expect(0).json()["shards_new"], json!(0));
    }

    // Asked to stop, it says so, leaves nothing half-written, and goes on.
    let mut tries = 0;
    let (to, stopped) = wait_for("it is never asked while it works", || {
        tries += 1;
        let to = dir.path().join(format!("stopped {tries}"));
        let mut child = call(&to).spawn().unwrap();
        let ended = wait_for("it makes no shards", || {
            let ended = child.try_wait().unwrap().is_some();
            (ended || shards(&to) >= 3).then_some(ended)
        });
        if !ended {
            signal(&child, Signal::INT);
        }
        let ran = Ran::from(child.wait_with_output().unwrap());
        // It may have made its last shard before it was asked.
        (ran.code != Some(0)).then_some((to, ran))
    });
    let stopped = stopped.expect(130);
    assert_eq!(
        stopped.err,
        "stopped as asked; what was finished is kept, and the same command goes on from there\n"
    );
    assert!(files(&to).keys().all(|name| !name.to_string_lossy().starts_with(".unfinished")));
    let unfinished = Index::read(&to).unwrap_err().to_string();
    assert!(
        unfinished.contains("is a pack that is not finished; run the same `selffer data pack` again"),
        "{unfinished}"
    );
    run(call(&to)).expect(0);
    assert!(files(&to) == files(&whole));
}

#[test]
fn what_cannot_be_packed_is_one_sentence() {
    let dir = scratch();
    let (from, to) = (dir.path().join("images"), dir.path().join("pack"));
    draw(&from, 4, 2);
    let file = |name: &str| from.join("train/n01").join(name);
    let good = fs::read(file("n01_0.JPEG")).unwrap();
    fs::write(file("n01_0.JPEG"), &good[..good.len() - 9]).unwrap();
    fs::write(file("n01_3.JPEG"), "<html>404 Not Found").unwrap();
    let bad = [
        "2 images cannot be packed: train: n01/n01_0.JPEG is cut off",
        "n01/n01_3.JPEG is neither JPEG nor PNG",
        "--skip-bad",
    ];
    sentence(run(pack(&from, &to, &[])), &bad);
    // A protocol does not take what is not finished.
    let protocol = dir.path().join("drawn.toml");
    fs::write(&protocol, PROTOCOL).unwrap();
    sentence(
        on_store(&["plan"], &protocol, &dir.path().join("store")),
        &["is a pack that is not finished", "goes on from where it stopped"],
    );
    let made = run(pack(&from, &to, &["--skip-bad"])).expect(0).json();
    assert_eq!(made["train"], json!(14));
    let skipped = made["skipped"].as_array().unwrap();
    let names: Vec<&Value> = skipped.iter().map(|skipped| &skipped["name"]).collect();
    assert_eq!(names, ["train: n01/n01_0.JPEG", "train: n01/n01_3.JPEG"]);

    // No room: the system's word, the mend, and nothing half-written; with room it goes on.
    fs::write(file("n01_0.JPEG"), &good).unwrap();
    fs::write(file("n01_3.JPEG"), &good).unwrap();
    let other = dir.path().join("other");
    let whole = pack(&from, &other, &[]);
    let mut call = Command::new("sh");
    call.args(["-c", "ulimit -f 1; exec \"$0\" \"$@\""]).arg(whole.get_program()).args(whole.get_args());
    sentence(run(call), &["cannot write", "train-00000.shard", "raise the limit on file sizes"]);
    assert_eq!(files(&other).into_keys().collect::<Vec<_>>(), [PathBuf::from("plan.json")]);
    run(whole).expect(0);

    let absent = dir.path().join("absent");
    sentence(run(pack(&absent, &other, &[])), &["cannot read", "check the name"]);
    sentence(run(selffer(["data", "verify", absent.to_str().unwrap()])), &["cannot read", "check the name"]);
    sentence(
        run(selffer(["data", "show", from.to_str().unwrap()])),
        &["is no pack: it has no pack.json", "make one with `selffer data pack`"],
    );
    sentence(run(pack(&from, &from, &[])), &["is a directory with other things in it, not a pack"]);
}

/// CIFAR's binary files, drawn here in the same format, through the protocol that is built in.
#[test]
fn cifar_s_binary_files_are_read() {
    let dir = scratch();
    let cifar = dir.path().join("cifar-100-binary");
    fs::create_dir_all(&cifar).unwrap();
    let protocol: toml::Table =
        fs::read_to_string(repository("src/protocols/cifar100.toml")).unwrap().parse().unwrap();
    let named = &protocol["split"][1]["halves"]["named"];
    let classes = |task: &str| {
        let names = named[task].as_array().unwrap().iter();
        names.enumerate().map(|(at, name)| (name.as_str().unwrap().to_owned(), at / 5)).collect::<Vec<_>>()
    };
    let natural = classes("A");
    let mut all: Vec<(String, usize)> = natural.clone();
    all.extend(classes("B").into_iter().map(|(name, of)| (name, of + natural.len() / 5)));
    all.sort();
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    fs::write(cifar.join("fine_label_names.txt"), names.join("\n") + "\n").unwrap();
    for (name, images) in [("train.bin", 2), ("test.bin", 1)] {
        let mut bytes = Vec::new();
        for number in 0..images * 100 {
            let class = number % 100;
            bytes.extend([all[class].1 as u8, class as u8]);
            let rgb = pixels(class % 4, number + images * 1000, 32, 32);
            bytes.extend(
                (0..3).flat_map(|plane| rgb.iter().skip(plane).step_by(3).copied().collect::<Vec<_>>()),
            );
        }
        fs::write(cifar.join(name), bytes).unwrap();
    }
    let plan = run({
        let mut call = selffer(["plan", "--protocol", "cifar100", "--format", "json"]);
        call.current_dir(dir.path());
        call
    });
    let plan = plan.expect(0).json();
    let classes = |split: usize, task: &str| plan["splits"][split][task]["classes"].as_array().unwrap().len();
    assert_eq!((classes(0, "A"), classes(1, "A"), classes(1, "B"), classes(2, "A")), (50, 70, 30, 100));
    assert_eq!(plan["splits"][1]["B"]["train"], json!(60));
    sentence(
        run(selffer(["plan", "--protocol", "cifar100"])),
        &["cifar-100-binary: is not there", "unpack CIFAR-100's binary version", "or say with --data DIR"],
    );
    // From elsewhere, without a word in the protocol: the same data, and the same protocol by its digest.
    let call = |at: &Path| {
        let mut call = selffer(["plan", "--format", "json", "--protocol", "cifar100", "--data"]);
        call.arg(at);
        run(call)
    };
    assert_eq!(call(&cifar).expect(0).json(), plan);
    sentence(call(&dir.path().join("nowhere")), &["nowhere: is not there", "--data DIR"]);
    sentence(run(selffer(["plan", "--protocol", "paper", "--data", "nowhere"])), &["nowhere: is not there"]);
    sentence(
        run(selffer(["plan", "--protocol", "ci", "--data", "."])),
        &["--data: is of no use to ci, whose images are in the program"],
    );
    // Of no use where no protocol's images are read, and where a work order says where they lie.
    for command in [&["work", "--plan", "plan.json"][..], &["fingerprint"], &["data", "show", "pack"]] {
        let ran = run(selffer(command.iter().chain(&["--data", "."]))).expect(2);
        assert!(ran.err.contains("unexpected argument '--data'"), "{}", ran.err);
    }
}
