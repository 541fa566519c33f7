use super::*;
use crate::protocol::{Filler, Layout, Subtract, Update};
use crate::testing::{recipe, tiny};
use std::collections::HashSet;

#[test]
fn known_digests() {
    // Both are printed by tests/reference/files.py.
    let gaussian = tiny(&[(r#""he""#, "{ gaussian = 0.01 }")]);
    let mut tuned = recipe(&gaussian, "A3B+", u64::MAX);
    tuned.parent = Some(WeightsDigest(Digest::of(b"parent")));
    assert_eq!(tuned.digest().hex(), "adc85c158b6ccb17b334ba37381ba289630fb06b39f33322a9ac9ddb63aa12d1");
    let base = recipe(&tiny(&[("rate_factor = 0.1", "rate_factor = 1.0")]), "baseA", u64::MAX);
    assert_eq!(base.digest().hex(), "dbfd14eb843a9c605be97f6de15cb13a94decb79995686b4245ea7717cc9dda6");
}

fn input(crop: u32, mirror: bool, subtract: Subtract) -> Input {
    Input { crop, mirror, subtract }
}

#[test]
fn everything_in_a_recipe_counts() {
    let plain = recipe(&tiny(&[]), "A3B", 1);
    let other = |change: &dyn Fn(&mut Recipe)| {
        let mut recipe = plain.clone();
        change(&mut recipe);
        recipe.digest()
    };
    let digest = Digest::of(b"other");
    let all = [
        plain.digest(),
        other(&|r| r.core += 1),
        other(&|r| r.data = DataDigest(digest)),
        other(&|r| r.split = SplitDigest(digest)),
        other(&|r| r.seed = 2),
        other(&|r| r.treatment = "A3B+".parse().unwrap()),
        other(&|r| r.treatment = "A4B".parse().unwrap()),
        other(&|r| r.parent = Some(WeightsDigest(digest))),
        other(&|r| r.network.conv[4] += 1),
        other(&|r| r.network.hidden[0] += 1),
        other(&|r| r.network.filler = Filler::Gaussian(0.01)),
        other(&|r| r.solver.epochs += 1),
        other(&|r| r.solver.batch += 1),
        other(&|r| r.solver.rate = r.solver.rate.next_up()),
        other(&|r| r.solver.rate_drops.clear()),
        other(&|r| r.solver.rate_factor = r.solver.rate_factor.next_up()),
        other(&|r| r.solver.momentum = r.solver.momentum.next_up()),
        other(&|r| r.solver.decay = r.solver.decay.next_up()),
        other(&|r| r.treatment = "A3B^2".parse().unwrap()),
        other(&|r| r.treatment = "baseB@2".parse().unwrap()),
        other(&|r| r.network.layout = Layout::Caffe),
        other(&|r| r.network.filler = Filler::Caffe),
        other(&|r| r.input = Some(input(8, true, Subtract::Moments))),
        other(&|r| r.input = Some(input(7, true, Subtract::Moments))),
        other(&|r| r.input = Some(input(8, false, Subtract::Moments))),
        other(&|r| r.input = Some(input(8, true, Subtract::MeanImage))),
        other(&|r| r.solver.steps = Some(3)),
        other(&|r| r.solver.update = Some(Update::Caffe)),
    ];
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
}

#[test]
fn draws_are_shared_by_the_treatments_of_a_target_alone() {
    let protocol = tiny(&[]);
    let order = |treatment, seed, epoch| recipe(&protocol, treatment, seed).order(epoch, 50);
    let expected = order("baseB", 1, 0);
    for treatment in ["A3B", "A3B+", "B7B", "R1B"] {
        assert_eq!(order(treatment, 1, 0), expected, "{treatment}");
    }
    let mut split = recipe(&protocol, "baseB", 1);
    split.split = SplitDigest(Digest::of(b"another split"));
    let others = [order("B3A", 1, 0), order("baseB", 2, 0), order("baseB", 1, 1), split.order(0, 50)];
    let different: HashSet<_> = others.iter().chain([&expected]).collect();
    assert_eq!(different.len(), 5);
    assert_eq!(different.iter().map(|order| order_digest(order)).collect::<HashSet<_>>().len(), 5);
}

#[test]
fn policies_have_names() {
    for policy in Policy::ALL {
        assert_eq!(policy.name().parse(), Ok(policy));
        assert_eq!(serde_json::to_value(policy).unwrap(), policy.name());
    }
    for wrong in ["", "Portable", "fast", "cuda "] {
        let said = wrong.parse::<Policy>().unwrap_err().to_string();
        assert_eq!(
            said,
            format!("`{wrong}` is no numerics policy: it takes portable, native, baseline or cuda")
        );
    }
    // Each makes other networks.
    let digests: HashSet<RecipeDigest> =
        Policy::ALL.map(|numerics| Recipe { numerics, ..recipe(&tiny(&[]), "baseA", 1) }.digest()).into();
    assert_eq!(digests.len(), Policy::ALL.len());
}

#[test]
fn batches_run_on_from_one_pass_into_the_next() {
    let protocol = tiny(&[("batch = 5", "batch = 5\nsteps = 3")]);
    let recipe = recipe(&protocol, "baseB", 1);
    let visits = |count| (0..5).flat_map(|epoch| recipe.order(epoch, count)).collect::<Vec<u32>>();
    for count in [1, 4, 7, 15, 40] {
        assert_eq!(recipe.order(3, count).len(), 15);
        let visits = visits(count);
        assert_eq!(visits.len(), 75);
        // Each pass has every image once, in an order of its own.
        for pass in visits.chunks(count) {
            let mut seen = pass.to_vec();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), pass.len(), "{count}");
        }
        if count == 7 {
            assert_ne!(visits[..7], visits[7..14]);
        }
    }
    // What is not said is not in a recipe, so that the recipes of before stay as they were.
    let text = crate::canonical::json(&crate::testing::recipe(&tiny(&[]), "baseB", 1));
    for key in ["steps", "update", "layout", "input"] {
        assert!(!text.contains(key), "{key} in {text}");
        let with = [
            ("batch = 5", "batch = 5\nsteps = 3\nupdate = \"caffe\""),
            ("conv = [2, 3, 2, 3, 2]", "layout = \"caffe\"\nconv = [2, 4, 2, 4, 2]"),
            ("[solver]", "[input]\ncrop = 40\nmirror = true\nsubtract = \"mean-image\"\n[solver]"),
        ];
        let with = crate::testing::recipe(&tiny(&with), "baseB", 1);
        let text = crate::canonical::json(&with);
        assert!(text.contains(key), "{key} in {text}");
        assert_eq!(serde_json::from_str::<Recipe>(&text).unwrap(), with);
    }
}
