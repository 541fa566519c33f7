//! Whether two networks are as good as one another on the same images, whether one is better than guessing, and what a
//! sample of networks says of those that were not in it.
//!
//! Uses nothing of this crate; used by `manifest`, `verify` and `audit`, which take points of the normal and of Student's
//! distribution from here too. The comparison is paired and has a margin: two one-sided tests, which is to ask that a 90 %
//! interval of the difference lies within the margin.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// The normal distribution's 95 % point: a one-sided test at 5 %.
pub const ONE_SIDED: f64 = 1.644_853_626_951_472_2;

/// A point of the normal distribution.
pub fn normal(level: f64) -> f64 {
    Normal::standard().inverse_cdf(level)
}

/// A point of Student's distribution for a mean of so many numbers; no number's says nothing of itself.
pub fn student(count: usize, level: f64) -> f64 {
    let freedom = count.saturating_sub(1).max(1) as f64;
    StudentsT::new(0.0, 1.0, freedom).expect("a distribution").inverse_cdf(level)
}

/// How many of the same images two networks classify rightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paired {
    /// All images.
    pub images: usize,
    /// Those that the left network alone has right.
    pub left_alone: usize,
    /// Those that the right network alone has right.
    pub right_alone: usize,
}

/// How a difference lies to a margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lies {
    /// Both tests reject a difference as large as the margin.
    Within,
    /// A test rejects a difference as small as the margin.
    Beyond,
    /// There are too few images to tell.
    Open,
}

impl Paired {
    /// Counts two networks' right answers on the same images, in one order.
    pub fn of(left: &[bool], right: &[bool]) -> Self {
        let alone = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| **a && !**b).count();
        Self {
            images: left.len().min(right.len()),
            left_alone: alone(left, right),
            right_alone: alone(right, left),
        }
    }

    /// Left minus right, as a share of the images.
    pub fn difference(self) -> f64 {
        (self.left_alone as f64 - self.right_alone as f64) / self.images as f64
    }

    /// A 90 % interval of the difference: Wald's with half an image added to each of the four cells
    /// (Agresti and Min 2005), so that no disagreement at all is not taken for certainty.
    pub fn interval(self) -> (f64, f64) {
        let images = self.images as f64 + 2.0;
        let (left, right) = (self.left_alone as f64 + 0.5, self.right_alone as f64 + 0.5);
        let difference = (left - right) / images;
        let error = (left + right - (left - right).powi(2) / images).sqrt() / images;
        (difference - ONE_SIDED * error, difference + ONE_SIDED * error)
    }

    /// Where the difference lies to `margin`, a share of the images.
    pub fn lies(self, margin: f64) -> Lies {
        let (low, high) = self.interval();
        lies(low, high, margin)
    }
}

/// Where a 90 % interval lies to a margin.
pub fn lies(low: f64, high: f64, margin: f64) -> Lies {
    match () {
        () if low >= -margin && high <= margin => Lies::Within,
        () if low > margin || high < -margin => Lies::Beyond,
        () => Lies::Open,
    }
}

/// The variance of an accuracy by the sampling of its images, of which so many are right. Half an image is added to either side
/// of the count, so that none or all right is not taken for certainty.
pub fn sampling(right: f64, images: f64) -> f64 {
    let images = images + 1.0;
    let share = (right + 0.5) / images;
    share * (1.0 - share) / images
}

/// The variance of the difference of two accuracies by [`sampling`], as if each side had drawn its own images; `sides` are right
/// answers and images.
pub fn variance(sides: [(u32, u32); 2]) -> f64 {
    sides.into_iter().map(|(right, images)| sampling(f64::from(right), f64::from(images))).sum()
}

/// What a difference has to exceed to be far off: the margin, and what chance would do in one of twenty cases to any of
/// `compared` differences of that variance.
pub fn far_off(margin: f64, variance: f64, compared: usize) -> f64 {
    margin + (2.0 * (compared.max(1) as f64 / 0.05).ln() * variance).sqrt()
}

/// How many standard deviations above guessing an accuracy has to be, so that the network is said to have learnt.
const ABOVE_CHANCE: f64 = 3.0;

/// How many of `images` guessing among `classes` has right, and how many by chance at the most: three standard
/// deviations more.
pub fn guessed(classes: usize, images: usize) -> (f64, f64) {
    let (guess, images) = (1.0 / classes as f64, images as f64);
    (guess * images, guess * images + ABOVE_CHANCE * (guess * (1.0 - guess) * images).sqrt())
}

/// Whether an accuracy on that many different images may be that of guessing among that many classes. It is never
/// said of so few images that not even all of them right would tell it from guessing.
pub fn at_chance(share: f64, classes: usize, images: usize) -> bool {
    let (_, most) = guessed(classes, images);
    most < images as f64 && share <= most / images as f64
}

/// The most of `total` networks that may be otherwise although none of `sampled`, drawn without
/// replacement, was: with one more, the sample would have met one in 95 of 100 draws.
pub fn most_unseen(total: usize, sampled: usize) -> usize {
    // The chance that a sample misses all of `other`: the product of (total - sampled - i) / (total - i).
    let missed = |other: usize| -> f64 {
        (0..other).map(|i| (total - sampled).saturating_sub(i) as f64 / (total - i) as f64).product()
    };
    (0..=total - sampled).take_while(|other| missed(*other) > 0.05).last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From `scipy.stats.t.ppf(level, n - 1)` and `scipy.stats.norm.ppf(level)`, scipy 1.17.1.
    #[test]
    fn points_of_the_distributions() {
        let near = |got: f64, point: f64| assert!((got - point).abs() < 1e-7 * point, "{got}, not {point}");
        near(student(2, 0.95), 6.313_751_514_675_037);
        near(student(3, 0.95), 2.919_985_580_353_724_2);
        near(student(31, 0.95), 1.697_260_886_593_957);
        near(student(2, 1.0 - 0.025 / 7.0), 89.123_028_108_819_1);
        near(student(6, 1.0 - 0.025 / 7.0), 4.381_752_966_162_31);
        near(normal(0.95), ONE_SIDED);
        near(normal(1.0 - 0.025 / 7.0), 2.690_109_527_158_867);
    }

    #[test]
    fn pairs_are_counted() {
        let (left, right) = ([true, true, false, false, true], [true, false, true, false, false]);
        let paired = Paired::of(&left, &right);
        assert_eq!(paired, Paired { images: 5, left_alone: 2, right_alone: 1 });
        assert_eq!(paired.difference(), 0.2);
    }

    // The values of this and the next two tests are printed by tests/reference/equivalence.py.
    #[test]
    fn the_interval_is_that_of_multinomial_shares() {
        let known = [
            (1000, 30, 10, 0.009500196948348132, 0.03041996273229059),
            (1000, 0, 0, -0.0016415704859795125, 0.0016415704859795125),
            (50, 3, 9, -0.22635631262338773, -0.004412918145843006),
            (2000, 100, 150, -0.0379592794293416, -0.011990770520708337),
        ];
        for (images, left_alone, right_alone, low, high) in known {
            let interval = Paired { images, left_alone, right_alone }.interval();
            assert!((interval.0 - low).abs() < 1e-12 && (interval.1 - high).abs() < 1e-12, "{interval:?}");
        }
    }

    /// Both sides half right on 400 images: a standard deviation of 3.5 points. The bound of a normal's tail that is taken is
    /// no less than its quantile.
    #[test]
    fn far_off_is_what_chance_does_seldom() {
        let variance = variance([(200, 400), (200, 400)]);
        assert!((variance - 0.5 / 401.0).abs() < 1e-12, "{variance}");
        // Two-sided 5 % points for 1, 23 and 103 comparisons, by Bonferroni: 1.96, 3.07 and 3.49 standard deviations.
        for (compared, quantile, bound) in [(1, 1.96, 2.45), (23, 3.07, 3.51), (103, 3.49, 3.91)] {
            let deviations = (far_off(0.02, variance, compared) - 0.02) / variance.sqrt();
            assert!(deviations > quantile && (deviations - bound).abs() < 0.01, "{compared}: {deviations}");
        }
    }

    /// By hand: of 45 images and 3 classes a deviation is the root of 10, 3.16, so 15 and 24.5; of 36 and 2 it is 3. Of
    /// 9 and 2 all are 9, and 3 deviations above 4.5 are 9 as well.
    #[test]
    fn chance_ends_three_deviations_above_guessing() {
        let (expected, most) = guessed(3, 45);
        assert!((expected - 15.0).abs() < 1e-12 && (most - 24.486_832_980_505_14).abs() < 1e-12, "{most}");
        assert!(at_chance(24.0 / 45.0, 3, 45) && !at_chance(25.0 / 45.0, 3, 45));
        assert!(at_chance(27.0 / 36.0, 2, 36) && !at_chance(28.0 / 36.0, 2, 36));
        assert!(!at_chance(0.0, 2, 9) && !at_chance(0.0, 2, 0) && !at_chance(0.0, 1, 1000));
        assert!(at_chance(0.0, 2, 10) && !at_chance(1.0, 2, 10));
    }

    #[test]
    fn what_a_sample_leaves_open_is_counted_in_binomials() {
        for (total, sampled, most) in [(103, 5, 45), (103, 10, 25), (103, 30, 8), (103, 102, 0), (20, 1, 18)]
        {
            assert_eq!(most_unseen(total, sampled), most, "{total} {sampled}");
        }
    }

    proptest! {
        /// All right is never chance, more right never nearer to it; and guessing itself is, where anything can be told.
        #[test]
        fn what_is_better_is_no_nearer_to_chance(classes in 1usize..1500, images in 0usize..60_000, right in 0f64..1.0) {
            prop_assert!(!at_chance(1.0, classes, images));
            prop_assert!(!at_chance(right, classes, images) || at_chance(right / 2.0, classes, images));
            let (expected, most) = guessed(classes, images);
            prop_assert!(expected <= most);
            let guess = at_chance(1.0 / classes as f64, classes, images);
            prop_assert_eq!(guess, most < images as f64);
        }

        #[test]
        fn a_difference_lies_one_way_and_mirrors(
            images in 1usize..5000,
            left in 0usize..300,
            right in 0usize..300,
            margin in 0.001f64..0.2,
        ) {
            prop_assume!(left + right <= images);
            let paired = Paired { images, left_alone: left, right_alone: right };
            let mirrored = Paired { left_alone: right, right_alone: left, ..paired };
            prop_assert_eq!(paired.lies(margin), mirrored.lies(margin));
            // A wider margin never makes two networks less alike.
            let rank = |lies| match lies { Lies::Within => 0, Lies::Open => 1, Lies::Beyond => 2 };
            prop_assert!(rank(paired.lies(2.0 * margin)) <= rank(paired.lies(margin)));
        }

        #[test]
        fn a_sample_says_more_the_larger_it_is(total in 1usize..300, sampled in 1usize..300) {
            prop_assume!(sampled < total);
            prop_assert!(most_unseen(total, sampled + 1) <= most_unseen(total, sampled));
            prop_assert_eq!(most_unseen(total, total), 0);
            prop_assert_eq!(most_unseen(total, 0), total);
        }
    }
}
