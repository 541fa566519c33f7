use super::*;
use serde::Deserialize;

/// Filters that independent component analysis learnt from images: tests/reference/filters.py.
#[derive(Deserialize)]
struct Learnt {
    from: String,
    shape: Vec<usize>,
    values: Vec<f32>,
}

fn learnt() -> Vec<(String, Tensor)> {
    #[derive(Deserialize)]
    struct File {
        learnt: Vec<Learnt>,
    }
    let file: File = serde_json::from_str(include_str!("../../tests/reference/filters.json")).unwrap();
    let tensor = |Learnt { from, shape, values }| (from, Tensor { shape, values });
    file.learnt.into_iter().map(tensor).collect()
}

fn made(seed: u64, [filters, channels, side]: [usize; 3], share: f64) -> Tensor {
    let mut stream = Stream::open(&Name::new("test networks").and("seed", seed));
    let family = Family::of(side);
    let values = (0..filters).flat_map(|_| structured(&mut stream, family, channels, side, share)).collect();
    Tensor { shape: vec![filters, channels, side, side], values }
}

/// A tensor that is zero before training.
fn changed(tensor: &Tensor) -> Training {
    let zero = Tensor { shape: tensor.shape.clone(), values: vec![0.0; tensor.values.len()] };
    compare(tensor, &zero).unwrap()
}

#[test]
fn filters_learnt_from_images_are_better_than_random_until_their_pixels_are_shuffled() {
    let all = learnt();
    assert_eq!(all.len(), 7);
    for (from, tensor) in all {
        let side = tensor.shape[3];
        let reading = read(&tensor).unwrap();
        assert_eq!(reading.verdict, Verdict::Structured, "{from} {side}: {:?}", reading.random);
        let mut shuffled = tensor.clone();
        let mut stream = Stream::open(&Name::new("test shuffle").and("from", &from).and("side", side));
        for channel in shuffled.values.chunks_mut(side * side) {
            stream.shuffle(channel);
        }
        let again = read(&shuffled).unwrap();
        // Not `LikeRandom`: a few large numbers among small ones are a little better explained than Gaussian ones.
        let excess = |reading: &Reading| reading.network - reading.random.mean;
        let what = format!("{from} {side}: {} {} {:?}", reading.network, again.network, again.random);
        assert!(again.network < again.random.structured_low || side < 5, "{what}");
        assert!(excess(&again) < excess(&reading) / 5.0, "{what}");
    }
}

#[test]
fn random_filters_are_like_random_ones_and_structure_is_not() {
    for shape in [[16, 1, 3], [16, 1, 7], [12, 3, 5]] {
        let count = |share: f64, verdict| {
            let judged = (0..10).map(|seed| changed(&made(seed, shape, share)).change.unwrap().verdict);
            judged.filter(|judged| *judged == verdict).count()
        };
        assert!(count(0.0, Verdict::LikeRandom) >= 9, "{shape:?}");
        assert!(count(STRUCTURE, Verdict::Structured) >= 9, "{shape:?}");
        assert_eq!(count(STRUCTURE, Verdict::LikeRandom), 0, "{shape:?}");
    }
}

#[test]
fn p_values_of_random_filters_are_even() {
    let mut p: Vec<f64> = (0..200).map(|seed| read(&made(seed, [8, 1, 3], 0.0)).unwrap().random.p).collect();
    p.sort_by(f64::total_cmp);
    // Kolmogorov and Smirnov's distance; 1.63 / √200 is exceeded once in a hundred.
    let distance =
        |(at, p): (usize, &f64)| (p - at as f64 / 200.0).abs().max((p - (at + 1) as f64 / 200.0).abs());
    let largest = p.iter().enumerate().map(distance).fold(0.0, f64::max);
    assert!(largest < 1.63 / 200f64.sqrt(), "{largest}");
}

#[test]
fn two_small_filters_cannot_be_told() {
    let verdicts: Vec<_> = (0..20).map(|seed| changed(&made(seed, [2, 1, 3], 0.0)).verdict).collect();
    assert!(verdicts.iter().filter(|verdict| **verdict == Verdict::CannotTell).count() >= 10, "{verdicts:?}");
    let power = read(&made(1, [2, 1, 3], 0.0)).unwrap().random.power;
    assert!(power < 0.5, "{power}");
}

#[test]
fn on_small_kernels_the_change_decides() {
    // As in the ci protocol: a little structure on top of much noise.
    let [began, structure] = [made(1, [16, 1, 3], 0.0), made(2, [16, 1, 3], 0.8)];
    let mut ended = began.clone();
    ended.values.iter_mut().zip(&structure.values).for_each(|(a, b)| *a += 0.05 * b);
    let training = compare(&ended, &began).unwrap();
    assert_eq!((training.trained.verdict, training.verdict), (Verdict::CannotTell, Verdict::Structured));
    assert!((training.moved - 0.05).abs() < 0.01, "{}", training.moved);
    // As after long training: a change without structure, but the filters are still those that were drawn.
    let mut ended = began.clone();
    let noise = made(3, [16, 1, 3], 0.0);
    ended.values.iter_mut().zip(&noise.values).for_each(|(a, b)| *a += 0.5 * b);
    let training = compare(&ended, &began).unwrap();
    assert_eq!(training.change.unwrap().verdict, Verdict::LikeRandom);
    assert_eq!(training.verdict, Verdict::CannotTell, "{}", training.moved);
    let replaced = compare(&made(3, [16, 1, 3], 0.0), &began).unwrap();
    assert_eq!(replaced.verdict, Verdict::LikeRandom, "{replaced:?}");
    // Where nothing changed, there is nothing to read.
    let same = compare(&began, &began).unwrap();
    assert_eq!((same.change, same.moved, same.verdict), (None, 0.0, Verdict::CannotTell));
}

#[test]
fn the_same_bits_on_one_thread_and_on_four() {
    let tensor = made(5, [6, 2, 5], 0.3);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        serde_json::to_string(&pool.install(|| read(&tensor)).unwrap()).unwrap()
    };
    assert_eq!(on(1), on(4));
    // Known: a change of any number here is a change of every reading.
    let reading = read(&made(5, [4, 1, 3], 0.3)).unwrap();
    assert_eq!((reading.network.to_bits(), reading.random.mean.to_bits()), KNOWN, "{}", reading.network);
}

/// As it came out once, on an AMD EPYC.
const KNOWN: (u64, u64) = (4603439244281873230, 4603000107978948517);

#[test]
fn filters_without_variance_take_no_part() {
    let mut tensor = made(1, [8, 1, 3], 0.5);
    let whole = read(&tensor).unwrap();
    tensor.shape[0] = 9;
    tensor.values.extend([0.25; 9]);
    let reading = read(&tensor).unwrap();
    assert_eq!((reading.network, reading.random), (whole.network, whole.random));
    assert_eq!((reading.per_filter.len(), reading.per_filter[8], &reading.fits[8]), (9, 0.0, &None));
}

#[test]
fn what_are_no_filters_are_not_read() {
    let good = made(1, [2, 1, 3], 0.5);
    for shape in
        [vec![18], vec![2, 9], vec![2, 1, 9, 1], vec![18, 1, 1, 1], vec![2, 0, 3, 3], vec![3, 1, 3, 3]]
    {
        assert_eq!(read(&Tensor { shape: shape.clone(), values: good.values.clone() }), None, "{shape:?}");
    }
    let mut bad = good.clone();
    bad.values[3] = f32::NAN;
    assert_eq!(read(&bad), None);
    assert_eq!(read(&Tensor { values: vec![1.0; 18], ..good.clone() }), None);
    assert_eq!(compare(&good, &made(1, [1, 1, 3], 0.5)), None);
}
