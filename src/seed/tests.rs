use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

fn order() -> Name {
    Name::new("order").and("seed", 1).and("epoch", 0)
}

fn init() -> Name {
    Name::new("init").and("seed", u64::MAX).and("layer", "conv1")
}

fn draws<T>(name: &Name, count: usize, draw: impl Fn(&mut Stream) -> T) -> Vec<T> {
    let mut stream = Stream::open(name);
    (0..count).map(|_| draw(&mut stream)).collect()
}

// Every value below is printed by tests/reference/streams.py, which has a ChaCha20 of its own.

#[test]
fn known_words() {
    let words = |name: Name| draws(&name, 10, Stream::bits);
    // Ten words are 80 bytes: the last two are of the cipher's second block.
    assert_eq!(
        words(order()),
        [
            0x9d95a6d60ecc4625,
            0xb46ddb8994160e22,
            0x0c06311d8669c575,
            0xcbcefdbfabc11281,
            0x57b399d1591807ab,
            0x6bf4434b6524bae9,
            0x0526d66954fda6bd,
            0xfbb2d03452411653,
            0x54bf466dd738919c,
            0x9b998b5173ad540c,
        ]
    );
    assert_eq!(
        words(init()),
        [
            0x8c8b995690caa934,
            0xa6f34747fec6f78d,
            0xfc29299399f98245,
            0x5275bf9a838d8300,
            0x4e5f4f42cfb2156b,
            0x4eab66852560661c,
            0x146fa15448e0b970,
            0x933d8b394f49dc88,
            0xe59bc4afb3fff1f2,
            0xad8dd360248d4756,
        ]
    );
}

#[test]
fn known_numbers_below() {
    // The bound 3·2⁶² rejects a quarter of all words, so rejections are among these.
    let below = |name: Name| {
        let mut stream = Stream::open(&name);
        [1, 2, 10, 1000, 3 << 62, 3 << 62, 3 << 62, u64::MAX].map(|bound| stream.below(bound))
    };
    assert_eq!(
        below(order()),
        [0, 0, 9, 129, 6319563826552899499, 7778916447474203369, 371219767190464189, 18136787572511282771]
    );
    assert_eq!(
        below(init()),
        [0, 1, 7, 712, 5647319606116881771, 5668737278019659292, 1472572986545453424, 10609789375414393992]
    );
}

#[test]
fn known_fractions() {
    let bits = |name: Name| draws(&name, 3, |stream| stream.uniform().to_bits());
    assert_eq!(bits(order()), [0x3fe3b2b4dac1d988, 0x3fe68dbb713282c1, 0x3fa80c623b0cd380]);
    assert_eq!(bits(init()), [0x3fe191732ad21955, 0x3fe4de68e8ffd8de, 0x3fef852532733f30]);
}

#[test]
fn known_gaussians() {
    // To the last bit: on these arguments Python's logarithm and libm's are the same.
    let bits = |name: Name| draws(&name, 8, |stream| stream.gaussian().to_bits());
    assert_eq!(
        bits(order()),
        [
            0x3feb513120216dc6,
            0x3ff83496fc37b453,
            0xbffd4a7b8939f515,
            0xbfed240399f250ff,
            0xbff9cad5af5debd8,
            0x3ff0754ab0e75356,
            0xbf749eb8f76bb9ea,
            0xbfe75197462e4a88,
        ]
    );
    assert_eq!(
        bits(init()),
        [
            0x3fe4f3f20297fee3,
            0x4000437481e84261,
            0xbff1a302b4129d22,
            0xbff187f8231e2e59,
            0xbfe90ec34340e76c,
            0x3fc1edbd76dd8554,
            0x3fe5cc67a8b08549,
            0x3fd38bb67c0d3485,
        ]
    );
}

#[test]
fn known_permutations() {
    assert_eq!(
        Stream::open(&order()).permutation(20),
        [2, 10, 17, 13, 18, 6, 16, 7, 3, 9, 12, 0, 5, 15, 14, 11, 4, 19, 8, 1]
    );
    assert_eq!(
        Stream::open(&init()).permutation(20),
        [8, 4, 1, 14, 15, 5, 7, 13, 6, 3, 19, 10, 9, 2, 16, 11, 12, 17, 18, 0]
    );
}

#[test]
fn near_names_are_other_streams() {
    let names = [
        Name::new("a"),
        Name::new(""),
        Name::new("a").and("b", "c"),
        Name::new("a").and("b", ""),
        Name::new("a").and("", "b"),
        Name::new("a").and("", ""),
        Name::new("a").and("bc", ""),
        Name::new("a").and("", "bc"),
        Name::new("ab").and("c", ""),
        Name::new("a").and("c", "b"),
        Name::new("a").and("b", "c").and("d", "e"),
        Name::new("a").and("d", "e").and("b", "c"),
        Name::new("a").and("seed", 1).and("epoch", 12),
        Name::new("a").and("seed", 11).and("epoch", 2),
    ];
    let first: HashSet<u64> = names.iter().map(|name| Stream::open(name).bits()).collect();
    assert_eq!(first.len(), names.len());
}

proptest! {
    #[test]
    fn other_pieces_are_another_stream(
        left in prop::collection::vec("[ab]{0,2}", 3),
        right in prop::collection::vec("[ab]{0,2}", 3),
    ) {
        let words = |pieces: &[String]| {
            draws(&Name::new(&pieces[0]).and(&pieces[1], &pieces[2]), 4, Stream::bits)
        };
        // Few texts are drawn from, so both sides of the equivalence are met.
        prop_assert_eq!(left == right, words(&left) == words(&right));
    }

    #[test]
    fn a_permutation_has_each_number_once(seed: u64, len in 0usize..300) {
        let mut order = Stream::open(&Name::new("test").and("seed", seed)).permutation(len);
        order.sort_unstable();
        prop_assert!(order.into_iter().eq(0..len as u32));
    }

    #[test]
    fn below_stays_below(seed: u64, bound in prop_oneof![1u64..100, any::<u64>().prop_map(|b| b.max(1))]) {
        let mut stream = Stream::open(&Name::new("test").and("seed", seed));
        for _ in 0..20 {
            prop_assert!(stream.below(bound) < bound);
        }
    }
}

/// Pearson's statistic of counts that should all be equal.
fn chi_square(counts: &[u32]) -> f64 {
    let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
    counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
}

#[test]
fn below_is_uniform() {
    let mut counts = [0u32; 10];
    for value in draws(&Name::new("chi-square"), 20_000, |stream| stream.below(10)) {
        counts[value as usize] += 1;
    }
    // The 99.9 % point of chi-square with 9 degrees of freedom.
    assert!(chi_square(&counts) < 27.88, "{counts:?}");

    // Without rejection the lowest third of 0..3·2⁶² would come up twice as often.
    let mut thirds = [0u32; 3];
    for value in draws(&Name::new("rejection"), 3_000, |stream| stream.below(3 << 62)) {
        thirds[(value >> 62) as usize] += 1;
    }
    // The same with 2 degrees of freedom.
    assert!(chi_square(&thirds) < 13.82, "{thirds:?}");
}

#[test]
fn every_permutation_of_four_is_as_likely() {
    let mut stream = Stream::open(&Name::new("permutations"));
    let mut counts = std::collections::BTreeMap::<Vec<u32>, u32>::new();
    for _ in 0..12_000 {
        *counts.entry(stream.permutation(4)).or_default() += 1;
    }
    let counts: Vec<u32> = counts.into_values().collect();
    assert_eq!(counts.len(), 24);
    // The 99.9 % point of chi-square with 23 degrees of freedom.
    assert!(chi_square(&counts) < 49.73, "{counts:?}");
}

#[test]
fn gaussians_are_normal() {
    const COUNT: usize = 20_000;
    let mut values = draws(&Name::new("normal"), COUNT, Stream::gaussian);
    let n = COUNT as f64;
    let moment = |power: i32| values.iter().map(|x| x.powi(power)).sum::<f64>() / n;
    // Within four standard errors: those of x, x², x³, x⁴ are √1, √2, √15, √96 over √n.
    for (power, expected, spread) in [(1, 0.0, 1f64), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
        let error = moment(power) - expected;
        assert!(error.abs() < 4.0 * (spread / n).sqrt(), "moment {power}: {error}");
    }
    // The second of a pair does not follow from the first.
    let product = values.chunks(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / (n / 2.0);
    assert!(product.abs() < 4.0 / (n / 2.0).sqrt(), "{product}");

    values.sort_unstable_by(f64::total_cmp);
    let cdf = |x: f64| 0.5 * (1.0 + libm::erf(x / std::f64::consts::SQRT_2));
    let distance = values.iter().enumerate().map(|(rank, x)| {
        let (below, above) = (rank as f64 / n, (rank + 1) as f64 / n);
        (cdf(*x) - below).abs().max((above - cdf(*x)).abs())
    });
    // Kolmogorov and Smirnov: the 99.9 % point is 1.949 / √n.
    assert!(distance.fold(0.0, f64::max) < 1.949 / n.sqrt());
}
