use super::*;
use crate::numerics::Numerics;
use crate::recipe::Policy;
use crate::testing::{dataset, weights};
use proptest::prelude::*;
use tch::Device;

#[test]
fn weights_go_in_and_out_bit_for_bit() {
    Numerics::engage(Policy::Portable).unwrap();
    let mut weights = weights(1);
    let odd = [0x7fc0_1234, 0xff80_0001, 0x7f80_0000, 0x8000_0000, 0x0000_0001];
    for (value, bits) in weights.layers[1].weight.values.iter_mut().zip(odd) {
        *value = f32::from_bits(bits);
    }
    for frozen in [0, 3, 7] {
        let net = Net::new(Layout::Small, &weights, frozen, Device::Cpu).unwrap();
        assert_eq!(net.weights().unwrap(), weights);
        assert_eq!(net.trained(frozen).len(), 2 * (LAYERS - frozen));
        let asks = net.layers.iter().flatten().map(|tensor| tensor.requires_grad());
        assert!(asks.eq((0..2 * LAYERS).map(|index| index >= 2 * frozen)));
    }
}

#[test]
fn pixels_are_scaled_and_laid_out() {
    Numerics::engage(Policy::Portable).unwrap();
    let pixels: Vec<u8> = (0..12).map(|pixel| pixel * 20).collect();
    let x = scaled([1, 2, 3], &pixels, (0.25, 0.5), Device::Cpu).unwrap();
    assert_eq!(x.size(), [2, 2, 3, 1]);
    for (at, pixel) in pixels.iter().enumerate() {
        let (image, row, col) = ((at / 6) as i64, (at / 3 % 2) as i64, (at % 3) as i64);
        let found = x.double_value(&[image, row, col, 0]);
        assert!((found - (f64::from(*pixel) / 255.0 - 0.25) / 0.5).abs() < 1e-6, "{at}: {found}");
    }
    let seen = wake(&x).unwrap();
    assert_eq!((seen.size(), rest(&seen).unwrap()), (vec![2, 1, 2, 3], x));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn a_pass_may_stop_to_rest_anywhere(seed: u64, at in 0..=LAYERS) {
        Numerics::engage(Policy::Portable).unwrap().enter_thread();
        let net = Net::new(Layout::Small, &weights(seed), LAYERS, Device::Cpu).unwrap();
        let images = dataset(2, 4, 1, 8).train;
        let x = scaled(images.shape(), &images.bytes().unwrap(), (0.5, 0.3), Device::Cpu).unwrap();
        let through = net.forward(&x, 0..LAYERS).unwrap();
        let halfway = rest(&net.forward(&x, 0..at).unwrap()).unwrap();
        prop_assert_eq!(net.forward(&halfway, at..LAYERS).unwrap(), through);
    }
}
