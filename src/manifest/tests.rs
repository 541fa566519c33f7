use super::*;
use crate::testing::manifest;
use proptest::prelude::*;

/// Any number that a loss can be and JSON can hold.
fn loss() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits).prop_filter("JSON has finite numbers alone", |x| x.is_finite())
}

proptest! {
    #[test]
    fn any_record_reads_back(
        run in ".{0,20}",
        cpu in ".{0,20}",
        losses in prop::collection::vec((loss(), loss()), 0..4),
        diverged in prop::option::of(any::<(u32, u32)>()),
        seed: u64,
        wall_ms: u64,
    ) {
        let plain = manifest(1);
        let epoch = |(train_loss, valid_loss)| Epoch { train_loss, valid_loss, ..plain.epochs[0].clone() };
        let mut manifest = Manifest {
            run,
            epochs: losses.into_iter().map(epoch).collect(),
            wall_ms,
            environment: Environment { cpu, ..plain.environment.clone() },
            ..plain.clone()
        };
        manifest.recipe.seed = seed;
        if let Some((epoch, step)) = diverged {
            manifest.outcome = Outcome::Diverged { epoch, step };
        }
        let bytes = manifest.to_bytes();
        let read = Manifest::from_bytes(&bytes).unwrap();
        // Equal as numbers, and equal as bytes: -0 is not 0.
        prop_assert_eq!(&read, &manifest);
        prop_assert_eq!(read.to_bytes(), bytes);
        prop_assert_eq!(read.trained().is_none(), diverged.is_some());
    }
}

#[test]
fn any_flipped_bit_shows() {
    let bytes = manifest(1).to_bytes();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(Manifest::from_bytes(&changed).is_err(), "bit {bit} of byte {at}");
        }
    }
    for length in 0..bytes.len() {
        assert!(Manifest::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn the_seal_is_over_all_the_rest() {
    let bytes = manifest(1).to_bytes();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let inside = canonical::json(&value["manifest"]);
    assert_eq!(value["digest"], Digest::of(inside.as_bytes()).hex());
    // What reads the same and is written otherwise is refused too.
    for edit in [format!("{text}\n"), format!(" {text}"), text.replacen(":", ": ", 1)] {
        assert_eq!(Manifest::from_bytes(edit.as_bytes()), Err(NotAManifest::Seal));
    }
    // One more right answer, told by nothing but the seal.
    let better = text.replacen(r#""correct":5"#, r#""correct":6"#, 1);
    assert_ne!(better, text);
    assert_eq!(Manifest::from_bytes(better.as_bytes()), Err(NotAManifest::Seal));
    // With a seal to match it is a manifest, of other bits.
    let inside = inside.replacen(r#""correct":5"#, r#""correct":6"#, 1);
    let seal = Digest::of(inside.as_bytes()).hex();
    let forged = format!(r#"{{"digest":"{seal}","manifest":{inside}}}"#);
    assert_eq!(Manifest::from_bytes(forged.as_bytes()).unwrap().epochs[0].valid.correct, 6);
    // Unknown keys are not passed over.
    let extra = text.replacen(r#""wall_ms""#, r#""wall_hours":1,"wall_ms""#, 1);
    assert!(matches!(Manifest::from_bytes(extra.as_bytes()), Err(NotAManifest::Format(_))));
}

#[test]
fn accuracy_is_of_the_last_epoch() {
    let mut manifest = manifest(1);
    manifest.epochs[1].valid = Count { correct: 6, total: 8 };
    assert_eq!(manifest.accuracy(), Some(Count { correct: 6, total: 8 }));
    assert_eq!(manifest.accuracy().unwrap().share(), 0.75);
    assert_eq!(manifest.trained().unwrap(), &manifest.initial);
    manifest.outcome = Outcome::Diverged { epoch: 2, step: 0 };
    assert_eq!((manifest.accuracy(), manifest.trained()), (None, None));
}

#[test]
fn epochs_are_those_that_came_to_their_end() {
    let mut manifest = manifest(1);
    let trained = manifest.epochs.len();
    assert_eq!((manifest.epochs_due() as usize, manifest.epochs_are_off()), (trained, None));
    manifest.outcome = Outcome::Diverged { epoch: 1, step: 3 };
    assert!(manifest.epochs_are_off().is_some());
    manifest.epochs.truncate(1);
    assert_eq!(manifest.epochs_are_off(), None);
    manifest.epochs.clear();
    assert_eq!(manifest.epochs_are_off().unwrap(), "it records 0 epochs, where training has 1");
}
