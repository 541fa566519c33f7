//! Tests of `audit::report::text`: the page.

use super::*;

#[test]
fn names_are_put_together_by_depth() {
    let names = ["half0A", "transfer0A0B_1_1", "transfer0A0B_1_2", "transfer0A0B_1_4", "nolearn_1_3"];
    assert_eq!(compact(&names), "half0A, transfer0A0B_1_{1-2,4}, nolearn_1_3");
    // Not that an archive has such.
    assert_eq!(compact(&["x_1_255", "x_1_0255"]), "x_1_{255,255}");
}
