//! What packing and reading a pack cost: `cargo bench --bench data -- [IMAGES] [ROUNDS]`.
//!
//! Packs drawn JPEG files of ImageNet's usual size at 256×256, on one thread and on all; then reads images in random order,
//! in batches of 256, as training does: every image held against its digest (what training pays); the same bytes by
//! positioned reads and by a memory map without that; each with the pages in memory, and with the pages
//! dropped first. Rounds are taken in turns; the table has medians of images a second.

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

/// Seconds that this process has been computing, by the kernel's account in hundredths.
fn on_cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name in brackets").split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

fn packed(from: &Path, to: &Path, threads: usize, images: usize) {
    let listing = Listing::of(from, &Lists::default()).expect("a listing");
    let options = Options { side: SIDE, shard_bytes: 1 << 30, skip_bad: false };
    let watch = Watch { stop: &AtomicBool::new(false), advanced: &|_, _| {}, bad: &|_| {} };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let (begin, cpu) = (Instant::now(), on_cpu());
    pool.install(|| pack(from, &listing, to, &options, &watch)).expect("a pack");
    let (wall, cpu) = (begin.elapsed().as_secs_f64(), on_cpu() - cpu);
    println!("pack, {threads} threads: {:.0} images/s, {:.2} cores busy", images as f64 / wall, cpu / wall);
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
        }
    };
    let gathered = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            for indices in order.chunks(BATCH) {
                assert_eq!(train.gather(indices).expect("whole images").len(), indices.len() * SIZE);
            }
        });
    };
    let ways: [(&str, &dyn Fn()); 4] = [
        ("checked, all threads", &|| gathered(all)),
        ("checked, 1 thread", &|| gathered(1)),
        ("positioned reads, unchecked, 1 thread", &|| {
            plain(&|shard, at, into| files[shard].read_exact_at(into, at).expect("bytes"));
        }),
        ("memory map, unchecked, 1 thread", &|| {
            plain(&|shard, at, into| into.copy_from_slice(&maps[shard][at as usize..][..SIZE]));
        }),
    ];
    println!("{:<40} {:>10} {:>10}", "images/s in random order", "in memory", "dropped");
    let mut seen = vec![[Vec::new(), Vec::new()]; ways.len()];
    for _ in 0..rounds {
        for (way, (_, read)) in ways.iter().enumerate() {
            for (cold, seen) in seen[way].iter_mut().enumerate() {
                match cold {
                    0 => read(),
                    _ => drop_pages(&shards),
                }
                let begin = Instant::now();
                read();
                seen.push(images as f64 / begin.elapsed().as_secs_f64());
            }
        }
    }
    for ((name, _), mut speeds) in ways.iter().zip(seen) {
        let [warm, cold] = speeds.each_mut().map(|speeds| {
            speeds.sort_by(f64::total_cmp);
            speeds[speeds.len() / 2]
        });
        println!("{name:<40} {warm:>10.0} {cold:>10.0}");
    }
}
