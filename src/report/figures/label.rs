//! Names of the areas between curves, put where no curve runs.
//!
//! Uses `plot`; used by `figures::accuracy`.

use super::canvas::{Paint, width};
use super::plot::{Plot, SMALL};

/// A part of an area: its upper and its lower line.
pub type Lines = (Vec<(f64, f64)>, Vec<(f64, f64)>);

/// A label for each area, where no line runs: those of losses in the lower corner and that of the gain above, as the
/// paper has them, or as near to their areas as there is room.
pub fn labels(
    plot: &Plot,
    areas: &[(Vec<Lines>, Paint, &str)],
    lines: &[&[(f64, f64)]],
    (low, high, room): (f64, f64, f64),
) {
    let lines: Vec<Vec<(f64, f64)>> =
        lines.iter().map(|line| line.iter().map(|&(x, y)| plot.at(x, y)).collect()).collect();
    let mut taken: Vec<Place> = Vec::new();
    for (row, (parts, _, text)) in areas.iter().enumerate() {
        let places = parts.iter().flat_map(|(high, low)| high.iter().zip(low));
        let widest = places.max_by(|a, b| (a.0.1 - a.1.1).total_cmp(&(b.0.1 - b.1.1)));
        let Some((top, bottom)) = widest else { continue };
        let middle = (top.0, (top.1 + bottom.1) / 2.0);
        let first = match row {
            0 => plot.at(-0.35, low + 0.34 * room),
            1 => plot.at(-0.35, low + 0.14 * room),
            _ => plot.at(0.4, high + 0.12 * room),
        };
        let to = plot.at(middle.0, middle.1);
        let far = |place: &(f64, f64)| (place.0 - to.0).powi(2) + (place.1 - to.1).powi(2);
        let mut others: Vec<(f64, f64)> = (0..30)
            .flat_map(|across| (0..30).map(move |up| (across, up)))
            .map(|(across, up)| {
                plot.at(-0.35 + 0.25 * f64::from(across), low + (0.04 * f64::from(up) - 0.04) * room)
            })
            .collect();
        others.sort_by(|a, b| far(a).total_cmp(&far(b)));
        let wide = width(text, SMALL);
        let (end, _) = plot.at(7.3, low);
        let free = |place: &(f64, f64)| {
            let place = Place::of(*place, wide);
            place.right <= end && !taken.iter().any(|other| place.meets(other)) && place.clear_of(&lines)
        };
        let beside = std::iter::once(first).chain(others).find(free).unwrap_or(first);
        taken.push(Place::of(beside, wide));
        plot.label(text, beside, middle);
    }
}

/// What a line of text takes on a sheet, and a little around it.
#[derive(Debug, Clone, Copy)]
struct Place {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Place {
    /// Of a text that begins at a point of its base line.
    fn of((x, y): (f64, f64), wide: f64) -> Self {
        // A marker's half.
        let around = 5.0;
        Self {
            left: x - around,
            right: x + wide + around,
            top: y - SMALL - around,
            bottom: y + 0.3 * SMALL + around,
        }
    }

    fn meets(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn clear_of(&self, lines: &[Vec<(f64, f64)>]) -> bool {
        let holds = |(x, y): (f64, f64)| {
            (self.left..=self.right).contains(&x) && (self.top..=self.bottom).contains(&y)
        };
        let crossed = |ends: &[(f64, f64)]| {
            let (from, to) = (ends[0], ends[1]);
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            let steps = (length / 2.0).ceil().max(1.0);
            (0..=steps as u32).any(|step| {
                let share = f64::from(step) / steps;
                holds((from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1)))
            })
        };
        !lines
            .iter()
            .any(|line| line.first().is_some_and(|first| holds(*first)) || line.windows(2).any(crossed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_that_only_passes_through_is_met() {
        let place = Place::of((100.0, 100.0), 50.0);
        let clear = |line: &[(f64, f64)]| place.clear_of(&[line.to_vec()]);
        assert!(!clear(&[(0.0, 95.0), (400.0, 95.0)]), "neither end is in it");
        assert!(!clear(&[(120.0, 95.0)]), "a marker alone");
        assert!(clear(&[(0.0, 50.0), (400.0, 50.0)]));
        assert!(clear(&[(0.0, 200.0), (90.0, 100.0), (0.0, 90.0)]));
        assert!(clear(&[]));
    }

    proptest! {
        #[test]
        fn places_meet_each_other_or_neither(a in prop::array::uniform3(0.0..200.0), b in prop::array::uniform3(0.0..200.0)) {
            let [a, b] = [a, b].map(|[x, y, wide]| Place::of((x, y), wide));
            prop_assert_eq!(a.meets(&b), b.meets(&a));
            prop_assert!(a.meets(&a));
        }
    }
}
