//! The search for the shape that leaves least of a filter unexplained.
//!
//! Used by `gabor` alone. A grid of shapes, whose projections are computed once for a kernel size, gives the
//! starts: the best of each wavelength. From the best of these, Levenberg and Marquardt's method goes down
//! within bounds. It is written out here because the crates for it rest on matrix products that choose
//! their code by the processor, and so do not promise the same bits everywhere.

use super::{Family, Shape, pixels};
use std::f64::consts::PI;

/// Numbers of a shape that are searched: x, y, orientation, and the logarithms of wavelength and widths.
const NUMBERS: usize = 6;

/// Starts of the grid that are followed down.
const STARTS: usize = 4;

/// Steps down from one start, at most.
const STEPS: usize = 50;

/// A step is the last one where it explains less than this much more.
const ENOUGH: f64 = 1e-10;

type Point = [f64; NUMBERS];

fn shape(point: &Point) -> Shape {
    let [x, y, orientation, wavelength, along, across] = *point;
    Shape {
        x,
        y,
        orientation,
        wavelength: libm::exp(wavelength),
        along: libm::exp(along),
        across: libm::exp(across),
    }
}

/// What a shape spans, offset included, as orthonormal columns over the pixels.
pub(super) struct Basis {
    /// Constant, even and odd column, each orthogonal to those before it; zeros where it adds nothing.
    columns: [Vec<f64>; 3],
    /// How the columns were made: `raw[j] = Σ made[j][i] · columns[i]`.
    made: [[f64; 3]; 3],
}

impl Basis {
    pub(super) fn of(shape: &Shape, side: usize) -> Self {
        let count = side * side;
        let (mut even, mut odd) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let turn = shape.turn();
        for (x, y) in pixels(side) {
            let [cos, sin] = shape.at(turn, x, y);
            even.push(cos);
            odd.push(sin);
        }
        let mut columns = [vec![1.0; count], even, odd];
        let mut made = [[0.0; 3]; 3];
        for column in 0..3 {
            let (before, rest) = columns.split_at_mut(column);
            let ours = &mut rest[0];
            let size = dot(ours, ours).sqrt();
            // Twice: once leaves what rounding lets through.
            for _ in 0..2 {
                for (index, other) in before.iter().enumerate() {
                    let along = dot(ours, other);
                    made[column][index] += along;
                    ours.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
                }
            }
            let left = dot(ours, ours).sqrt();
            if left > 1e-7 * size && left > 1e-12 {
                made[column][column] = left;
                ours.iter_mut().for_each(|value| *value /= left);
            } else {
                ours.fill(0.0);
            }
        }
        Self { columns, made }
    }

    /// What offset, cosine and sine come to in the nearest function to one channel's numbers.
    pub(super) fn heights(&self, numbers: &[f64]) -> [f64; 3] {
        let mut heights = [0.0; 3];
        for column in (0..3).rev() {
            let rest: f64 = (column + 1..3).map(|later| heights[later] * self.made[later][column]).sum();
            let own = self.made[column][column];
            if own > 0.0 {
                heights[column] = (dot(&self.columns[column], numbers) - rest) / own;
            }
        }
        heights
    }

    /// The squared length of what it explains of a filter.
    fn explains(&self, filter: &[f64]) -> f64 {
        let channels = filter.chunks(self.columns[0].len());
        let squares = channels.flat_map(|numbers| {
            self.columns.iter().map(|column| {
                let along = dot(column, numbers);
                along * along
            })
        });
        squares.sum()
    }

    /// What it leaves of a filter.
    fn leaves(&self, filter: &[f64]) -> Vec<f64> {
        let mut left = filter.to_vec();
        for numbers in left.chunks_mut(self.columns[0].len()) {
            for column in &self.columns {
                let along = dot(column, numbers);
                numbers.iter_mut().zip(column).for_each(|(a, b)| *a -= along * b);
            }
        }
        left
    }
}

/// The search on kernels of one size.
pub(super) struct Search {
    side: usize,
    low: Point,
    high: Point,
    /// Starts with what they span, those of one wavelength together.
    grid: Vec<Vec<(Point, Basis)>>,
}

impl Search {
    pub(super) fn new(family: Family, side: usize) -> Self {
        let size = side as f64;
        let log = |values: &[f64]| values.iter().map(|value| libm::log(*value)).collect::<Vec<_>>();
        let (places, wavelengths, widths, turns) = match family {
            Family::Centred => {
                let waves = log(&[4.0 / 3.0 * size, 2.0 * size, 4.0 * size]);
                (vec![0.0], waves, log(&[size / 2.0]), 12)
            }
            Family::Full => {
                let places = [-0.3, -0.15, 0.0, 0.15, 0.3].map(|share| share * size).to_vec();
                let waves = log(&[2.5, 0.4 * size, 0.6 * size, size, 1.7 * size, 4.0 * size]);
                (places, waves, log(&[size / 6.0, size / 3.0]), 8)
            }
        };
        // The orientation goes round; nothing bounds it.
        let (low, high) = match family {
            Family::Centred => {
                let width = widths[0];
                let first = wavelengths[0];
                let last = wavelengths[2];
                ([0.0, 0.0, -1e9, first, width, width], [0.0, 0.0, 1e9, last, width, width])
            }
            Family::Full => {
                let edge = size / 2.0;
                let [shortest, longest] = [2.0, 4.0 * size].map(libm::log);
                let [narrow, wide] = [(size / 10.0).max(0.7), size].map(libm::log);
                ([-edge, -edge, -1e9, shortest, narrow, narrow], [edge, edge, 1e9, longest, wide, wide])
            }
        };
        let mut grid = Vec::new();
        for wavelength in &wavelengths {
            let mut starts = Vec::new();
            for (x, y) in places.iter().flat_map(|x| places.iter().map(move |y| (*x, *y))) {
                for width in &widths {
                    for turn in 0..turns {
                        let orientation = PI * f64::from(turn) / f64::from(turns);
                        let point = [x, y, orientation, *wavelength, *width, *width];
                        let basis = Basis::of(&shape(&point), side);
                        starts.push((point, basis));
                    }
                }
            }
            grid.push(starts);
        }
        Self { side, low, high, grid }
    }

    /// The best shape for a filter of unit length, and the squared length of what it leaves.
    pub(super) fn best(&self, filter: &[f64]) -> (Shape, f64) {
        let mut starts: Vec<(f64, Point)> = Vec::new();
        for wavelength in &self.grid {
            let mut best: Option<(f64, Point)> = None;
            for (point, basis) in wavelength {
                let explained = basis.explains(filter);
                if best.is_none_or(|(most, _)| explained > most) {
                    best = Some((explained, *point));
                }
            }
            starts.extend(best);
        }
        // Stable: of two alike the one of the shorter wavelength comes first.
        starts.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut best: Option<(Point, f64)> = None;
        for (_, start) in starts.into_iter().take(STARTS) {
            let (point, left) = self.down(filter, start);
            if best.is_none_or(|(_, least)| left < least) {
                best = Some((point, left));
            }
        }
        let (point, left) = best.expect("a grid has a start");
        (shape(&point), left)
    }

    /// Levenberg and Marquardt's way down from a start.
    fn down(&self, filter: &[f64], start: Point) -> (Point, f64) {
        let mut point = start;
        let mut residual = Basis::of(&shape(&point), self.side).leaves(filter);
        let mut left = dot(&residual, &residual);
        let mut damping = 1e-2;
        for _ in 0..STEPS {
            let slopes = self.slopes(filter, &point, &residual);
            let gradient = slopes.each_ref().map(|slope| slope.as_ref().map_or(0.0, |s| dot(s, &residual)));
            // A number at its bound that would be pushed over it stays there.
            let free: Vec<usize> = (0..NUMBERS)
                .filter(|&at| slopes[at].is_some())
                .filter(|&at| !(point[at] <= self.low[at] && gradient[at] > 0.0))
                .filter(|&at| !(point[at] >= self.high[at] && gradient[at] < 0.0))
                .collect();
            let before = left;
            while damping < 1e8 {
                let step = self.step(&slopes, &gradient, &free, damping);
                let mut next = point;
                for (at, by) in free.iter().zip(&step) {
                    next[*at] = (point[*at] - by).clamp(self.low[*at], self.high[*at]);
                }
                let tried = Basis::of(&shape(&next), self.side).leaves(filter);
                let now = dot(&tried, &tried);
                if now < left {
                    (point, residual, left) = (next, tried, now);
                    damping = (damping / 5.0).max(1e-9);
                    break;
                }
                damping *= 4.0;
            }
            if before - left <= ENOUGH {
                break;
            }
        }
        (point, left)
    }

    /// How the residual changes with each number that is not fixed, by a small difference inwards.
    fn slopes(&self, filter: &[f64], point: &Point, residual: &[f64]) -> [Option<Vec<f64>>; NUMBERS] {
        std::array::from_fn(|at| {
            if self.low[at] == self.high[at] {
                return None;
            }
            let by = if point[at] + 1e-6 > self.high[at] { -1e-6 } else { 1e-6 };
            let mut near = *point;
            near[at] += by;
            let by = near[at] - point[at];
            let mut slope = Basis::of(&shape(&near), self.side).leaves(filter);
            slope.iter_mut().zip(residual).for_each(|(a, b)| *a = (*a - b) / by);
            Some(slope)
        })
    }

    /// Solves the damped normal equations for the free numbers, by Cholesky's decomposition.
    fn step(
        &self,
        slopes: &[Option<Vec<f64>>; NUMBERS],
        gradient: &Point,
        free: &[usize],
        damping: f64,
    ) -> Vec<f64> {
        let slope = |at: usize| slopes[at].as_ref().expect("a free number has a slope");
        let count = free.len();
        let mut rows = [[0.0; NUMBERS]; NUMBERS];
        for row in 0..count {
            for column in 0..=row {
                let mut sum = dot(slope(free[row]), slope(free[column]));
                if row == column {
                    sum += damping * sum + 1e-12;
                }
                for before in 0..column {
                    sum -= rows[row][before] * rows[column][before];
                }
                rows[row][column] = match row == column {
                    true => sum.max(1e-15).sqrt(),
                    false => sum / rows[column][column],
                };
            }
        }
        let mut step: Vec<f64> = free.iter().map(|at| gradient[*at]).collect();
        for row in 0..count {
            for before in 0..row {
                step[row] -= rows[row][before] * step[before];
            }
            step[row] /= rows[row][row];
        }
        for row in (0..count).rev() {
            for after in row + 1..count {
                step[row] -= rows[after][row] * step[after];
            }
            step[row] /= rows[row][row];
        }
        step
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
