//! Tests of `audit::splits`: halves and lists.

use super::*;

#[test]
fn halves_are_disjoint_and_whole() {
    for seed in 0..4 {
        let (a, b) = (random_half(seed, Task::A), random_half(seed, Task::B));
        assert_eq!((a.len(), b.len()), (500, 500));
        let mut all = [a, b].concat();
        all.sort_unstable();
        assert!(all.iter().zip(0..).all(|(class, index)| *class == index));
    }
    // numpy: sorted(np.random.RandomState([0]).permutation(1000)[:500])[:6]
    assert_eq!(random_half(0, Task::A)[..6], [0, 1, 2, 5, 9, 10]);
}

#[test]
fn lists_are_made_by_their_rule() {
    let text = "a 3\nb 7\nc 3\nd 5\ne 3\n".to_owned();
    let whole = Whole { classes: vec![3, 7, 3, 5, 3], text };
    let lines =
        |rule: &Rule| whole.lines(rule).map(|(image, class)| format!("{image}{class}")).collect::<Vec<_>>();
    assert_eq!(lines(&Rule::Whole), ["a3", "b7", "c3", "d5", "e3"]);
    assert_eq!(lines(&Rule::Classes(vec![3, 5])), ["a0", "c0", "d1", "e0"]);
    assert_eq!(lines(&Rule::First(2)), ["a3", "b7", "c3", "d5"]);
    assert_eq!(whole.md5(&Rule::Classes(vec![7])), "8c8c6330913256a377a4ec4d862c57fb");
}
