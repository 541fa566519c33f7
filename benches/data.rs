//! What packing and reading a pack cost: `cargo bench --bench data -- [IMAGES] [ROUNDS]`.
//!
//! Packs drawn JPEG files of ImageNet's usual size at 256×256, on one thread and on all; then reads images in random order,
//! in batches of 256, as training does: every image held against its digest (what training pays); the same bytes by
//! positioned reads and by a memory map without that; each with the pages in memory, and with the pages
//! dropped first. Rounds are taken in turns; the table has medians.

#![allow(clippy::print_stdout)] // what a benchmark is for

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use selffer::data::listing::{Listing, Lists};
use selffer::data::packing::{Options, Watch, pack};
use selffer::data::{Dataset, Part};
use selffer::protocol::DataSource;
use selffer::seed::{Name, Stream};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Different files; the others are links to them.
const DRAWN: usize = 24;

const SIDE: usize = 256;
const SIZE: usize = SIDE * SIDE * 3;
const BATCH: usize = 256;

fn draw(path: &Path, number: usize) {
    let (rows, cols) = (375, 500);
    let mut stream = Stream::open(&Name::new("bench image").and("number", number));
    let mut pixels = Vec::with_capacity(rows * cols * 3);
    for row in 0..rows {
        for col in 0..cols {
            let wave = ((row * (3 + number % 5)) as f64 / 40.0).sin() + ((col * 3) as f64 / 50.0).cos();
            for channel in 0..3 {
                let noise = stream.below(24) as f64;
                pixels.push((110.0 + 50.0 * wave + noise + 10.0 * f64::from(channel)) as u8);
            }
        }
    }
    let mut encoder = Encoder::new_file(path, 90).expect("a file");
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode(&pixels, cols as u16, rows as u16, ColorType::Rgb).expect("a JPEG file");
}

/// Seconds that this process's threads have been computing, and that they have been waiting for a core, by the kernel's
/// account: on a machine that others use as well, both together are what it would have computed alone.
fn on_cpu() -> [f64; 2] {
    let mut sums = [0.0; 2];
    for task in fs::read_dir("/proc/self/task").expect("Linux has it") {
        let path = task.expect("a thread").path().join("schedstat");
        // A thread may end in between.
        let stat = fs::read_to_string(path).unwrap_or_default();
        for (sum, number) in sums.iter_mut().zip(stat.split(' ')) {
            *sum += number.parse::<f64>().unwrap_or(0.0) / 1e9;
        }
    }
    sums
}

fn packed(from: &Path, to: &Path, threads: usize, images: usize) {
    let listing = Listing::of(from, &Lists::default()).expect("a listing");
    let options = Options { side: SIDE, shard_bytes: 1 << 30, skip_bad: false };
    let watch = Watch { stop: &AtomicBool::new(false), advanced: &|_, _| {}, bad: &|_| {} };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let begin = Instant::now();
    let [run, wait] = pool.install(|| {
        let before = on_cpu();
        pack(from, &listing, to, &options, &watch).expect("a pack");
        let after = on_cpu();
        [after[0] - before[0], after[1] - before[1]]
    });
    let wall = begin.elapsed().as_secs_f64();
    println!(
        "pack, {threads} threads: {:.0} images/s, {:.0} a second of a core; {:.2} cores computing, {:.2} with those waited for",
        images as f64 / wall,
        images as f64 / run,
        run / wall,
        (run + wait) / wall
    );
}

/// Drops a pack's pages from memory, as far as the system does.
fn drop_pages(shards: &[PathBuf]) {
    for path in shards {
        let file = File::open(path).expect("a shard");
        file.sync_all().expect("a disk");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advice is taken");
    }
}

#[allow(unsafe_code)] // to compare with: the program itself maps no file
fn map(path: &Path) -> memmap2::Mmap {
    // SAFETY: nobody changes the file, which this process made.
    unsafe { memmap2::Mmap::map(&File::open(path).expect("a shard")) }.expect("a map")
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let (images, rounds) = (numbers.next().unwrap_or(2000), numbers.next().unwrap_or(5));
    let scratch = tempfile::tempdir().expect("a directory");
    let from = scratch.path().join("images");
    for (part, count) in [("train", images), ("valid", 2)] {
        for at in 0..count {
            let folder = from.join(part).join(["a", "b"][at % 2]);
            fs::create_dir_all(&folder).expect("a directory");
            let drawn = from.join(format!("{}.JPEG", at % DRAWN));
            if !drawn.exists() {
                draw(&drawn, at % DRAWN);
            }
            fs::hard_link(drawn, folder.join(format!("{at:06}.JPEG"))).expect("a link");
        }
    }
    let all = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    packed(&from, &scratch.path().join("one"), 1, images);
    fs::remove_dir_all(scratch.path().join("one")).expect("a pack");
    let dir = scratch.path().join("pack");
    packed(&from, &dir, all, images);

    let begin = Instant::now();
    let data = Dataset::read(&DataSource::Pack(dir.clone())).expect("the pack");
    println!("open: {:.0} ms", begin.elapsed().as_secs_f64() * 1e3);
    let train = data.part(Part::Train);
    let shards: Vec<PathBuf> =
        (0..).map(|at| dir.join(format!("train-{at:05}.shard"))).take_while(|path| path.exists()).collect();
    let per_shard = (1 << 30) / SIZE;
    let files: Vec<File> = shards.iter().map(|path| File::open(path).expect("a shard")).collect();
    let maps: Vec<memmap2::Mmap> = shards.iter().map(|path| map(path)).collect();
    let order = Stream::open(&Name::new("bench order")).permutation(images);
    let plain = |read: &dyn Fn(usize, u64, &mut [u8])| {
        let mut batch = vec![0; BATCH * SIZE];
        for indices in order.chunks(BATCH) {
            for (index, into) in indices.iter().zip(batch.chunks_exact_mut(SIZE)) {
                let at = *index as usize;
                read(at / per_shard, (at % per_shard * SIZE) as u64, into);
            }
            std::hint::black_box(&batch);
        }
    };
    let pools = [1, all]
        .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads"));
    let gathered = |pool: usize| {
        pools[pool].install(|| {
            for indices in order.chunks(BATCH) {
                assert_eq!(train.gather(indices).expect("whole images").len(), indices.len() * SIZE);
            }
        });
    };
    let ways: [(&str, &dyn Fn()); 4] = [
        ("checked, all threads", &|| gathered(1)),
        ("checked, 1 thread", &|| gathered(0)),
        ("positioned reads, unchecked, 1 thread", &|| {
            plain(&|shard, at, into| files[shard].read_exact_at(into, at).expect("bytes"));
        }),
        ("memory map, unchecked, 1 thread", &|| {
            plain(&|shard, at, into| into.copy_from_slice(&maps[shard][at as usize..][..SIZE]));
        }),
    ];
    println!(
        "images in random order: a second, and a second of a core; in memory, and dropped from it before"
    );
    let mut seen = vec![[Vec::new(), Vec::new()]; ways.len()];
    for _ in 0..rounds {
        for (way, (_, read)) in ways.iter().enumerate() {
            for (cold, seen) in seen[way].iter_mut().enumerate() {
                match cold {
                    0 => read(),
                    _ => drop_pages(&shards),
                }
                let (begin, before) = (Instant::now(), on_cpu()[0]);
                read();
                let seconds = [begin.elapsed().as_secs_f64(), on_cpu()[0] - before];
                seen.push(seconds.map(|seconds| images as f64 / seconds));
            }
        }
    }
    for ((name, _), speeds) in ways.iter().zip(seen) {
        let [warm, cold] = speeds.each_ref().map(|speeds| {
            [0, 1].map(|what| {
                let mut speeds: Vec<f64> = speeds.iter().map(|speeds| speeds[what]).collect();
                speeds.sort_by(f64::total_cmp);
                speeds[speeds.len() / 2]
            })
        });
        println!("{name:<40} {:>8.0} {:>8.0}   {:>8.0} {:>8.0}", warm[0], warm[1], cold[0], cold[1]);
    }
}
