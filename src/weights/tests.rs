use super::*;
use crate::digest::Digest;
use proptest::prelude::*;

/// The shapes of a network with one channel and one unit everywhere, and three in the last layer.
const SHAPES: [&[usize]; LAYERS] =
    [&[1, 1, 3, 3], &[1, 1, 3, 3], &[1, 1, 3, 3], &[1, 1, 3, 3], &[1, 1, 3, 3], &[1, 1], &[1, 1], &[3, 1]];

/// Weights of [`SHAPES`] whose values have the bits that `bits` gives, layer after layer.
fn of_bits(mut bits: impl FnMut() -> u32) -> Weights {
    let mut tensor = |shape: &[usize]| {
        let values = (0..shape.iter().product()).map(|_| f32::from_bits(bits())).collect();
        Tensor { shape: shape.to_vec(), values }
    };
    let layers = SHAPES.map(|shape| {
        let (weight, bias) = (tensor(shape), tensor(&shape[..1]));
        Layer { weight, bias }
    });
    Weights { layers }
}

/// 0.5, 1, 1.5, … with what a careless reader loses among them: NaNs with payloads, infinities, -0, a
/// subnormal number.
fn known() -> Weights {
    let mut count = 0u32;
    of_bits(|| {
        count += 1;
        match count {
            2 => 0x7fc0_1234,
            3 => 0xff80_0001,
            5 => 0x7f80_0000,
            7 => 0xff80_0000,
            10 => 0x8000_0000,
            11 => 0x0000_0001,
            _ => (0.5 * count as f32).to_bits(),
        }
    })
}

/// What tests/reference/checkpoint.py prints of the file of [`known`]; SELFFER_CHECKPOINT says where
/// the test writes that file.
const KNOWN: &str = include_str!("../../tests/reference/checkpoint.txt");

#[test]
fn known_file() {
    let weights = known();
    let bytes = weights.to_bytes();
    if let Some(path) = std::env::var_os("SELFFER_CHECKPOINT") {
        std::fs::write(path, &bytes).expect("a place to write");
    }
    let mut lines = vec![format!("file {}", Digest::of(&bytes).hex()), "metadata None tensors 16".to_owned()];
    for (name, tensor) in weights.layers.iter().enumerate().flat_map(|(index, layer)| layer.tensors(index)) {
        let bits: Vec<String> =
            tensor.values.iter().map(|value| format!("{:08x}", value.to_bits())).collect();
        lines.push(format!("{name} float32 {:?} {}", tensor.shape, bits.join(" ")));
    }
    for n in 0..=LAYERS {
        lines.push(format!("first {n} layers {}", weights.digests().prefix(n as u8).hex()));
    }
    assert_eq!(lines, KNOWN.lines().collect::<Vec<_>>());
    assert!(KNOWN.ends_with(&format!("{}\n", weights.digests().whole().hex())));
}

proptest! {
    #[test]
    fn any_bits_read_back(bits in prop::collection::vec(any::<u32>(), 60)) {
        let mut next = bits.iter().copied();
        let weights = of_bits(|| next.next().expect("60 numbers are enough"));
        let bytes = weights.to_bytes();
        let read = Weights::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&read, &weights);
        prop_assert_eq!(read.digests(), weights.digests());
        prop_assert_eq!(read.to_bytes(), bytes);
    }

    #[test]
    fn prefixes_agree_as_far_as_layers_do(
        layer in 0usize..LAYERS,
        pick: prop::sample::Index,
        bit in 0u32..32,
        bias: bool,
    ) {
        let (known, mut changed) = (known(), known());
        let Layer { weight, bias: biases } = &mut changed.layers[layer];
        let values = if bias { &mut biases.values } else { &mut weight.values };
        let at = pick.index(values.len());
        values[at] = f32::from_bits(values[at].to_bits() ^ (1 << bit));
        let (one, other) = (known.digests(), changed.digests());
        for n in 0..=LAYERS {
            prop_assert_eq!(one.prefix(n as u8) == other.prefix(n as u8), n <= layer);
        }
        for index in 0..LAYERS {
            prop_assert_eq!(one.0[index] == other.0[index], index != layer);
        }
        prop_assert_ne!(known, changed);
    }
}

#[test]
fn any_flipped_bit_shows() {
    let bytes = known().to_bytes();
    let digest = known().digests().whole();
    let (mut refused, mut differ) = (0, 0);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            match Weights::from_bytes(&changed) {
                Err(_) => refused += 1,
                Ok(weights) => {
                    assert_ne!(weights.digests().whole(), digest, "bit {bit} of byte {at}");
                    differ += 1;
                }
            }
        }
    }
    // What is not a value is refused as a form; a value is seen by the digest. 60 values of 32 bits.
    assert_eq!((refused, differ), (8 * bytes.len() - 60 * 32, 60 * 32));
}

#[test]
fn no_part_of_a_file_is_a_file() {
    let bytes = known().to_bytes();
    for length in 0..bytes.len() {
        assert!(Weights::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
    }
    assert!(Weights::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
}

/// A file as another program might write it: these tensors, this metadata.
fn foreign(tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)], note: Option<&str>) -> Vec<u8> {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).expect("a tensor"))
    });
    let metadata = note.map(|note| [("note".to_owned(), note.to_owned())].into());
    safetensors::serialize(views, metadata).expect("a file")
}

#[test]
fn other_checkpoints_are_refused() {
    let known = known();
    let named = known.layers.iter().enumerate().flat_map(|(index, layer)| layer.tensors(index));
    let all: Vec<_> =
        named.map(|(name, tensor)| (name, Dtype::F32, tensor.shape.clone(), tensor.le_bytes())).collect();
    let refused = |bytes: &[u8]| Weights::from_bytes(bytes).unwrap_err();
    assert_eq!(Weights::from_bytes(&foreign(&all, None)).unwrap(), known);
    assert_eq!(refused(&foreign(&all, Some("hello"))), NotACheckpoint::NotCanonical);
    assert_eq!(refused(&foreign(&all[1..], None)), NotACheckpoint::Tensors);
    let extra = ("fc9.weight".to_owned(), Dtype::F32, vec![1], vec![0; 4]);
    let mut renamed = all.clone();
    renamed[3] = extra.clone();
    assert_eq!(refused(&foreign(&renamed, None)), NotACheckpoint::Tensors);
    let mut seventeen = all.clone();
    seventeen.push(extra);
    assert_eq!(refused(&foreign(&seventeen, None)), NotACheckpoint::Tensors);
    let mut whole_numbers = all.clone();
    whole_numbers[0].1 = Dtype::I32;
    assert_eq!(refused(&foreign(&whole_numbers, None)), NotACheckpoint::Dtype("conv1.weight".to_owned()));
    // The same values in another shape are other weights.
    let mut reshaped = known.clone();
    reshaped.layers[0].weight.shape = vec![9];
    assert_ne!(reshaped, known);
    assert_ne!(reshaped.digests().0[0], known.digests().0[0]);
}

#[test]
fn finite_means_every_number() {
    let mut weights = of_bits(|| 0);
    assert!(weights.finite());
    assert!(!known().finite());
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        weights.layers[7].bias.values[2] = value;
        assert!(!weights.finite(), "{value}");
    }
    weights.layers[7].bias.values[2] = f32::MAX;
    assert!(weights.finite());
}
