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
