use super::*;
use crate::protocol::Protocol;
use proptest::prelude::*;

#[test]
fn the_ci_network_by_hand() {
    let network = Protocol::named("ci").unwrap().network;
    let layers = layers(&network, [1, 28, 28], 10);
    // 28×28 pixels; pooled to 14 by the first layer, to 7 by the second, to 3 by the fifth.
    type Row = (&'static str, &'static [usize], &'static [usize], u64, usize);
    let expected: [Row; LAYERS] = [
        // 16·1·3·3 weights at 28·28 places; 144 + 16
        ("conv1", &[16, 1, 3, 3], &[16, 14, 14], 112_896, 160),
        // 24·16·3·3 at 14·14; 3456 + 24
        ("conv2", &[24, 16, 3, 3], &[24, 7, 7], 677_376, 3_480),
        // 32·24·3·3 at 7·7; 6912 + 32
        ("conv3", &[32, 24, 3, 3], &[32, 7, 7], 338_688, 6_944),
        // 32·32·3·3 at 7·7; 9216 + 32
        ("conv4", &[32, 32, 3, 3], &[32, 7, 7], 451_584, 9_248),
        // 24·32·3·3 at 7·7; 6912 + 24
        ("conv5", &[24, 32, 3, 3], &[24, 3, 3], 338_688, 6_936),
        // 64 · 24·3·3; + 64
        ("fc6", &[64, 216], &[64], 13_824, 13_888),
        // 64 · 64; + 64
        ("fc7", &[64, 64], &[64], 4_096, 4_160),
        // 10 · 64; + 10
        ("fc8", &[10, 64], &[10], 640, 650),
    ];
    for (layer, (name, weight, output, products, parameters)) in layers.iter().zip(expected) {
        let found = (layer.name, &layer.weight[..], &layer.output[..], layer.products, layer.parameters());
        assert_eq!(found, (name, weight, output, products, parameters));
    }
    assert_eq!(layers.iter().map(|layer| layer.products).sum::<u64>(), 1_937_792);
    assert_eq!(layers.iter().map(Layer::parameters).sum::<usize>(), 45_466);
    assert_eq!(layers.each_ref().map(Layer::fan_in), [9, 144, 216, 288, 288, 216, 64, 64]);
    assert_eq!(layers.each_ref().map(|layer| layer.name), NAMES);

    // With 20 classes the last layer alone is another: 20 · 64; + 20.
    let twenty = super::layers(&network, [1, 28, 28], 20);
    assert_eq!(twenty[..7], layers[..7]);
    assert_eq!((twenty[7].products, twenty[7].parameters()), (1_280, 1_300));
    assert_eq!(twenty.iter().map(|layer| layer.products).sum::<u64>(), 1_938_432);
}

proptest! {
    #[test]
    fn what_leaves_a_layer_enters_the_next(
        rows in 8usize..40,
        cols in 8usize..40,
        conv in prop::array::uniform5(1u32..9),
        hidden in prop::array::uniform2(1u32..9),
        classes in 2usize..9,
    ) {
        let network = Network { conv, hidden, ..Protocol::named("smoke").unwrap().network };
        let layers = layers(&network, [1, rows, cols], classes);
        prop_assert_eq!(layers[0].weight[1], 1);
        for pair in layers.windows(2) {
            let entering = match pair[1].weight.len() {
                4 => pair[0].output[0],
                _ => pair[0].output.iter().product(),
            };
            prop_assert_eq!(pair[1].weight[1], entering);
        }
        for (index, layer) in layers.iter().enumerate() {
            prop_assert_eq!(layer.weight[0], layer.output[0]);
            prop_assert!(layer.output.iter().all(|dim| *dim > 0));
            prop_assert_eq!(layer.weight.len() == 4, index < CONVOLUTIONS);
        }
        prop_assert_eq!(&layers[7].output, &vec![classes]);
    }
}

/// The paper's network, by the authors' network files and the publications (Krizhevsky et al. 2012; Caffe's reference
/// network, which pools before it normalises).
#[test]
fn the_paper_s_network_by_hand() {
    let paper = Protocol::parse(
        &crate::testing::edited(
            crate::testing::TINY,
            &[
                ("conv = [2, 3, 2, 3, 2]", r#"layout = "caffe""#),
                ("hidden = [4, 3]", ""),
                (r#""he""#, r#""caffe""#),
            ],
        ),
        "a test",
    )
    .unwrap()
    .network;
    // 55 places of a kernel of 11 every 4 of 227 pixels; pooled to 27, 13 and 6.
    type Row = (&'static str, &'static [usize], &'static [usize], u64, usize);
    let expected: [Row; LAYERS] = [
        // 96 · 3·11·11 at 55·55; 34,848 + 96
        ("conv1", &[96, 3, 11, 11], &[96, 27, 27], 105_415_200, 34_944),
        // 256 · 48·5·5 at 27·27, each half of the channels on its half; 307,200 + 256
        ("conv2", &[256, 48, 5, 5], &[256, 13, 13], 223_948_800, 307_456),
        // 384 · 256·3·3 at 13·13; 884,736 + 384
        ("conv3", &[384, 256, 3, 3], &[384, 13, 13], 149_520_384, 885_120),
        // 384 · 192·3·3 at 13·13; 663,552 + 384
        ("conv4", &[384, 192, 3, 3], &[384, 13, 13], 112_140_288, 663_936),
        // 256 · 192·3·3 at 13·13; 442,368 + 256
        ("conv5", &[256, 192, 3, 3], &[256, 6, 6], 74_760_192, 442_624),
        // 4096 · 256·6·6; + 4096
        ("fc6", &[4096, 9216], &[4096], 37_748_736, 37_752_832),
        // 4096 · 4096; + 4096
        ("fc7", &[4096, 4096], &[4096], 16_777_216, 16_781_312),
        // 1000 · 4096; + 1000
        ("fc8", &[1000, 4096], &[1000], 4_096_000, 4_097_000),
    ];
    let thousand = layers(&paper, [3, 227, 227], 1000);
    for (layer, (name, weight, output, products, parameters)) in thousand.iter().zip(expected) {
        let found = (layer.name, &layer.weight[..], &layer.output[..], layer.products, layer.parameters());
        assert_eq!(found, (name, weight, output, products, parameters));
    }
    let parameters = |layers: &[Layer]| layers.iter().map(Layer::parameters).sum::<usize>();
    // The number that is published for the network.
    assert_eq!(parameters(&thousand), 60_965_224);
    assert_eq!(thousand.iter().map(|layer| layer.products).sum::<u64>(), 724_406_816);
    // 500 · 4096 + 500 fewer with half the classes, and all else as it was.
    let half = layers(&paper, [3, 227, 227], 500);
    assert_eq!(half[..7], thousand[..7]);
    assert_eq!(parameters(&half), 60_965_224 - 2_048_500);
    assert_eq!((&half[7].weight[..], half[7].output[0]), (&[500, 4096][..], 500));

    let form = |layer| convolution(Layout::Caffe, layer);
    assert_eq!([0, 1, 2, 3, 4].map(|layer| form(layer).groups), [1, 2, 1, 2, 2]);
    assert_eq!([0, 1, 2, 3, 4].map(|layer| form(layer).normalised), [true, true, false, false, false]);
    assert_eq!([0, 1, 2, 3, 4].map(|layer| form(layer).pool.is_some()), [true, true, false, false, true]);
    assert_eq!((NORM_SIZE, NORM_ALPHA, NORM_BETA), (5, 1e-4, 0.75));
    // A look over the border counts for Caffe; it begins within the image.
    let pool = form(0).pool.unwrap();
    assert_eq!([2, 3, 4, 5, 6, 7, 55, 56].map(|side| pool.left(side)), [1, 1, 2, 2, 3, 3, 27, 28]);
    // The smallest images that leave something.
    let left = |side| layers(&paper, [3, side, side], 2).iter().all(|layer| !layer.output.contains(&0));
    assert_eq!([38, 39].map(left), [false, true]);
}

#[test]
fn what_is_cached_is_frozen_and_not_drawn_in_each_step() {
    for frozen in 0..LAYERS {
        assert_eq!(cached(Layout::Small, true, frozen), frozen);
        assert_eq!(cached(Layout::Small, false, frozen), 0);
        // What leaves fc6 is dropped in each step.
        assert_eq!(cached(Layout::Caffe, true, frozen), frozen.min(6));
    }
}
