use super::*;
use proptest::prelude::*;

pub(crate) fn any_treatment() -> impl Strategy<Value = Treatment> {
    let task = prop_oneof![Just(Task::A), Just(Task::B)];
    let source = prop_oneof![
        (task.clone(), any::<bool>()).prop_map(|(task, tuned)| Source::Base { task, tuned }),
        Just(Source::Random),
    ];
    prop_oneof![
        task.clone().prop_map(Treatment::Base),
        (source, DEPTHS, task.clone()).prop_map(|(source, n, target)| Treatment::Grafted {
            source,
            n,
            target
        }),
        (task.clone(), 1u8..7, 1u8..7, task.clone()).prop_map(|(from, n, more, target)| {
            let source = Source::Preserved { task: from, more: 1 + (more - 1) % (7 - n) };
            Treatment::Grafted { source, n, target }
        }),
        (task, 1u32..).prop_map(|(target, examples)| Treatment::Reduced { target, examples }),
    ]
}

proptest! {
    /// A run's name has its treatment, whatever its split is called.
    #[test]
    fn a_run_s_name_reads_back(split in "[a-z0-9-]{1,9}", seed in any::<u64>(), treatment in any_treatment()) {
        let name = run_name(&split, seed, treatment);
        let split_and_seed = format!("{split}/{seed}");
        prop_assert_eq!(of_run_name(&name), Some((split_and_seed.as_str(), treatment)));
    }

    #[test]
    fn notation_round_trips(treatment in any_treatment()) {
        prop_assert_eq!(treatment.to_string().parse(), Ok(treatment));
    }

    #[test]
    fn any_text_that_parses_is_written_back(text in "(base)?[ABRn0-9+^@]{0,6}") {
        if let Ok(treatment) = text.parse::<Treatment>() {
            prop_assert_eq!(treatment.to_string(), text);
        }
    }

    #[test]
    fn what_is_frozen_is_copied_or_random(treatment in any_treatment()) {
        prop_assert!(treatment.frozen() <= treatment.n());
        prop_assert!(treatment.n() <= treatment.grafted() && treatment.grafted() <= 7);
        prop_assert_eq!(treatment.parent().is_none(),
            matches!(treatment.kind(), Kind::Base | Kind::Reduced | Kind::Random));
        let preserved = matches!(treatment.kind(), Kind::SelfferPreserved(_) | Kind::TransferPreserved(_));
        prop_assert_eq!(treatment.grafted() > treatment.n(), preserved);
        prop_assert_eq!(treatment.examples().is_some(), treatment.kind() == Kind::Reduced);
    }
}

#[test]
fn the_paper_s_names() {
    let read = |text: &str| text.parse::<Treatment>().unwrap();
    assert_eq!(read("A3B").parent(), Some(read("baseA")));
    assert_eq!(read("A3B").kind(), Kind::Transfer);
    assert_eq!(read("B3B+").kind(), Kind::SelfferTuned);
    assert_eq!((read("B3B+").frozen(), read("B3B").frozen(), read("R7A").frozen()), (0, 3, 7));
    assert_eq!(read("B3A").target(), Task::A);
    assert_eq!(
        (read("B3B^4").kind(), read("A3B^4").kind()),
        (Kind::SelfferPreserved(4), Kind::TransferPreserved(4))
    );
    assert_eq!((read("B3B^4").kind().name(), read("A1B^6").kind().name()), ("BnB^4", "AnB^6"));
    assert_eq!(read("A2B^4").parent(), Some(read("baseA")));
    assert_eq!((read("A2B^4").frozen(), read("A2B^4").grafted(), read("A2B^4").n()), (2, 6, 2));
    let reduced = read("baseB@1300");
    assert_eq!((reduced.kind(), reduced.parent(), reduced.examples()), (Kind::Reduced, None, Some(1300)));
    assert_eq!((reduced.target(), reduced.frozen(), reduced.grafted()), (Task::B, 0, 0));
}

#[test]
fn refusals_say_why() {
    let refuse = |text: &str| text.parse::<Treatment>().unwrap_err().to_string();
    for text in ["", "A", "baseC", "basA", "A3", "3B", "C3B", "A3C", "AxB", "a3b", "Å3B", "A3B++"] {
        assert!(refuse(text).contains("is no treatment"), "{text}: {}", refuse(text));
    }
    for text in ["A0B", "A8B", "A03B", "A99999B"] {
        assert!(refuse(text).contains("1 to 7"), "{text}");
    }
    assert!(refuse("R3B+").contains("leave out the +"));
    assert!(refuse("R3B^2").contains("leave out the ^"));
    for text in ["A3B^", "A3B^0", "A3B^5", "A7B^1", "A3B^02", "A3B^x", "A3B^2+", "A3B^1^1"] {
        assert!(refuse(text).contains("7 in all"), "{text}: {}", refuse(text));
    }
    for text in ["baseA@", "baseA@0", "baseA@025", "baseA@+2", "baseB@4294967296", "baseA@2@2"] {
        assert!(refuse(text).contains("1 to 4294967295"), "{text}: {}", refuse(text));
    }
    assert!(refuse("base@2").contains("is no treatment"));
}

#[test]
fn a_kind_has_the_name_of_its_family() {
    for text in ["AnB^2", "BnB^6", "AnB", "BnB+", "RnB"] {
        for treatment in family(text, &[1]).unwrap() {
            assert_eq!(treatment.kind().name(), text);
        }
    }
}

#[test]
fn families_name_every_depth() {
    let names = |text: &str| -> Vec<String> {
        family(text, &[1, 7]).unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(names("AnB+"), ["A1B+", "A7B+"]);
    assert_eq!(names("RnA"), ["R1A", "R7A"]);
    assert_eq!(names("baseB"), ["baseB"]);
    assert_eq!(names("A2B"), ["A2B"]);
    assert_eq!(names("BnA^2"), ["B1A^2"]);
    assert_eq!(names("AnB^k"), ["A1B^1", "A1B^2", "A1B^3", "A1B^4", "A1B^5", "A1B^6"]);
    assert_eq!(names("A5B^k"), ["A5B^1", "A5B^2"]);
    assert_eq!(names("baseA@5"), ["baseA@5"]);
    for text in ["nnB", "AnB^7", "AnB^0", "RnB^2", "RnB^k", "A7B^k", "AnC^k", "AnB^x"] {
        assert!(family(text, &[1, 7]).is_err(), "{text}");
    }
}
