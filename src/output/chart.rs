//! Curves in text: lines of braille dots, a mark for each point, and each curve's name at its right end.
//!
//! Used by `commands::table` and `commands::show`. Where the locale is not UTF-8 the lines are full stops and the
//! marks ASCII. Crates for plots in a terminal draw lines alone, or take the whole screen; five curves of seven
//! points that nearly touch have to be told apart without colour as well.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

/// Columns where nobody says otherwise, and the most that a wider terminal gets unasked.
const WIDTH: u16 = 80;

/// Below this there is no curve.
const NARROWEST: u16 = 40;

/// Curves with more points than this have marks at their ends alone.
const MARKED: usize = 16;

/// The curves' marks in order. A task has at most 17 rows: BnB, BnB+, AnB, AnB+, RnB, and BnB^k and AnB^k for six k.
const UNICODE_MARKS: &str = "●○■□◆◇▲△▼▽★☆abcdefgh";
const ASCII_MARKS: &str = "ox#+*@%&=$~^abcdefgh";

/// How text is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub width: u16,
    pub unicode: bool,
    pub colour: bool,
}

impl Look {
    /// What standard output can show, `width` columns wide where that is asked for.
    pub fn of_stdout(width: Option<u16>) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale =
            ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_lowercase();
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        let own = || terminal_size::terminal_size().filter(|_| terminal).map(|(columns, _)| columns.0);
        Self {
            width: width.unwrap_or_else(|| own().unwrap_or(WIDTH).clamp(NARROWEST, WIDTH)),
            unicode: !dumb && (locale.contains("utf-8") || locale.contains("utf8")),
            colour: terminal && !dumb && set("NO_COLOR").is_none(),
        }
    }
}

/// One curve.
pub struct Curve {
    /// What it is called at its right end.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// Curves over one axis.
pub struct Chart<'a> {
    /// The axis's name, under it.
    pub below: &'a str,
    /// Places on it that are labelled.
    pub ticks: Vec<f64>,
    /// A level that runs through, with its name.
    pub level: Option<(String, f64)>,
    pub curves: Vec<Curve>,
    /// Lines without the axis; more where there are more curves to name.
    pub height: usize,
}

/// One character of the drawing.
#[derive(Clone, Copy)]
struct Cell {
    dots: u8,
    mark: Option<char>,
    curve: Option<usize>,
}

impl Chart<'_> {
    /// The chart as lines, each at most as wide as the look says; nothing where there is no number.
    pub fn text(&self, look: Look) -> String {
        let level = self.level.iter().map(|(_, level)| *level);
        let values: Vec<f64> = self
            .curves
            .iter()
            .flat_map(|curve| curve.points.iter().map(|point| point.1))
            .chain(level)
            .collect();
        let finite = values.iter().copied().filter(|value| value.is_finite());
        let (least, most) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        if least > most || self.ticks.is_empty() {
            return String::new();
        }
        let rows = self.height.max(self.curves.len() + 2);
        let scale = Scale::of(least, most, rows);
        let names = self.curves.iter().map(|curve| curve.name.chars().count());
        let level_name = self.level.iter().map(|(name, _)| name.chars().count());
        let right = names.chain(level_name).max().unwrap_or(0) + 3;
        let left = scale.labels().iter().map(String::len).max().unwrap_or(0) + 2;
        let columns = usize::from(look.width).saturating_sub(left + right).max(8);
        let mut drawing =
            Drawing { cells: vec![vec![Cell { dots: 0, mark: None, curve: None }; columns]; rows], look };
        let places = self.curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.0));
        let (first, last) = self
            .ticks
            .iter()
            .copied()
            .chain(places)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
        // Half a mark of room at either end.
        let column = |x: f64| match last > first {
            true => 2.0 + (x - first) / (last - first) * (columns as f64 - 5.0),
            false => columns as f64 / 2.0,
        };
        let row = |y: f64| (scale.high - y) / (scale.high - scale.low) * (rows as f64 - 1.0);
        if let Some((_, level)) = &self.level {
            drawing.level(row(*level).round() as usize);
        }
        for (index, curve) in self.curves.iter().enumerate() {
            let places: Vec<(f64, f64)> = curve
                .points
                .iter()
                .filter(|point| point.1.is_finite())
                .map(|(x, y)| (column(*x), row(*y)))
                .collect();
            places.windows(2).for_each(|pair| drawing.line(pair[0], pair[1], index));
        }
        for (index, curve) in self.curves.iter().enumerate() {
            let finite: Vec<_> = curve.points.iter().filter(|point| point.1.is_finite()).collect();
            let ends = [0, finite.len().saturating_sub(1)];
            let marked = |at: &usize| finite.len() <= MARKED || ends.contains(at);
            for (_, (x, y)) in finite.iter().enumerate().filter(|(at, _)| marked(at)) {
                drawing.mark(column(*x).round() as usize, row(*y).round() as usize, index);
            }
        }
        let ends = self.ends(rows, row);
        self.lines(&drawing, &scale, &ends, left, column, row)
    }

    /// What is written at the right of each row: the level or a curve, as near to its end as there is room.
    fn ends(&self, rows: usize, row: impl Fn(f64) -> f64) -> Vec<Option<End>> {
        let mut wanted: Vec<(f64, End)> = Vec::new();
        for (index, curve) in self.curves.iter().enumerate() {
            let last = curve.points.iter().rfind(|point| point.1.is_finite());
            wanted.extend(last.map(|point| (row(point.1), End::Curve(index))));
        }
        wanted.extend(self.level.iter().map(|(_, level)| (row(*level), End::Level)));
        wanted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut ends = vec![None; rows];
        let mut free = 0;
        let count = wanted.len();
        for (at, (row, end)) in wanted.into_iter().enumerate() {
            // Room is left below for those that follow.
            let place = (row.round() as usize).max(free).min(rows - (count - at));
            ends[place] = Some(end);
            free = place + 1;
        }
        ends
    }

    fn lines(
        &self,
        drawing: &Drawing,
        scale: &Scale,
        ends: &[Option<End>],
        left: usize,
        column: impl Fn(f64) -> f64,
        row: impl Fn(f64) -> f64,
    ) -> String {
        let look = drawing.look;
        let (bar, tick, corner, dash) =
            if look.unicode { ('│', '┤', '└', '─') } else { ('|', '+', '+', '-') };
        let mut text = String::new();
        for (at, cells) in drawing.cells.iter().enumerate() {
            let label =
                scale.ticks().into_iter().zip(scale.labels()).find(|(y, _)| row(*y).round() as usize == at);
            let _ = match &label {
                Some((_, label)) => write!(text, "{label:>width$} {tick}", width = left - 2),
                None => write!(text, "{:width$}{bar}", "", width = left - 1),
            };
            let mut line = String::new();
            cells.iter().for_each(|cell| line.push_str(&look.cell(*cell)));
            if let Some(end) = &ends[at] {
                let _ = match end {
                    End::Curve(index) => {
                        let words = format!("{} {}", look.marker(*index), self.curves[*index].name);
                        write!(line, " {}", look.paint(&words, Some(*index)))
                    }
                    End::Level => {
                        let name = self.level.as_ref().map_or("", |(name, _)| name);
                        write!(line, " {dash} {name}")
                    }
                };
            }
            text.push_str(line.trim_end_matches([' ', '\u{2800}']));
            text.push('\n');
        }
        let columns = drawing.cells[0].len();
        let _ = writeln!(text, "{:width$}{corner}{}", "", dash.to_string().repeat(columns), width = left - 1);
        let mut axis = vec![' '; columns];
        let mut taken = 0;
        for tick in &self.ticks {
            let label = tick.to_string();
            let middle = column(*tick).round() as usize;
            let from = middle.saturating_sub(label.len() / 2).min(columns.saturating_sub(label.len()));
            if from >= taken {
                axis.iter_mut().skip(from).zip(label.chars()).for_each(|(place, c)| *place = c);
                taken = from + label.len() + 1;
            }
        }
        let axis: String = axis.into_iter().collect();
        let _ = writeln!(text, "{:left$}{}", "", axis.trim_end());
        let indent = left + columns.saturating_sub(self.below.chars().count()) / 2;
        let _ = writeln!(text, "{:indent$}{}", "", self.below);
        text
    }
}

#[derive(Clone, Copy)]
enum End {
    Curve(usize),
    Level,
}

/// The vertical axis, labelled with round numbers at round distances.
struct Scale {
    low: f64,
    high: f64,
    step: f64,
}

impl Scale {
    fn of(least: f64, most: f64, rows: usize) -> Self {
        let span = if most > least { most - least } else { least.abs().max(1.0) / 10.0 };
        // As many as every other row has room for.
        let rough = span / (rows as f64 / 2.0).clamp(2.0, 8.0);
        let power = 10f64.powi(rough.log10().floor() as i32);
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|by| by * power).into_iter().find(|s| *s >= rough).unwrap_or(power);
        // A little room, so that no mark stands on the edge.
        Self { low: least - span * 0.04, high: most + span * 0.04, step }
    }

    fn ticks(&self) -> Vec<f64> {
        let (first, last) = ((self.low / self.step).ceil() as i64, (self.high / self.step).floor() as i64);
        (first..=last).map(|at| at as f64 * self.step).collect()
    }

    fn labels(&self) -> Vec<String> {
        let places = (-self.step.log10().floor()).max(0.0) as usize;
        self.ticks().into_iter().map(|tick| format!("{tick:.places$}")).collect()
    }
}

struct Drawing {
    cells: Vec<Vec<Cell>>,
    look: Look,
}

impl Drawing {
    /// A level right across, where nothing else will be.
    fn level(&mut self, row: usize) {
        let mark = if self.look.unicode { '╌' } else { '-' };
        for cell in self.cells[row].iter_mut().step_by(2) {
            cell.mark = Some(mark);
        }
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), curve: usize) {
        let (wide, high) = if self.look.unicode { (2.0, 4.0) } else { (1.0, 1.0) };
        let steps = ((to.0 - from.0).abs() * wide).max((to.1 - from.1).abs() * high).ceil().max(1.0);
        for step in 0..=steps as u32 {
            let share = f64::from(step) / steps;
            // The middle of a character is where its mark stands.
            let x = ((from.0 + (to.0 - from.0) * share + 0.5) * wide).floor().max(0.0) as usize;
            let y = ((from.1 + (to.1 - from.1) * share + 0.5) * high).floor().max(0.0) as usize;
            let (wide, high) = (wide as usize, high as usize);
            let Some(cell) = self.cells.get_mut(y / high).and_then(|row| row.get_mut(x / wide)) else {
                continue;
            };
            cell.dots |= match self.look.unicode {
                // Braille numbers its dots down the columns, the lowest two last.
                true => [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]][y % 4][x % 2],
                false => 1,
            };
            cell.mark = None;
            cell.curve = Some(curve);
        }
    }

    /// A point, beside those that are there already: what it is told by is its name and its height.
    fn mark(&mut self, column: usize, row: usize, curve: usize) {
        let cells = &mut self.cells[row];
        let free = |at: &usize| {
            cells
                .get(*at)
                .is_some_and(|cell| cell.mark.is_none() || cell.mark == Some('╌') || cell.mark == Some('-'))
        };
        let beside = [0, 1, -1, 2, -2].into_iter().map(|by: isize| column.wrapping_add_signed(by));
        if let Some(at) = beside.into_iter().find(free) {
            cells[at].mark = Some(self.look.marker(curve));
            cells[at].curve = Some(curve);
        }
    }
}

impl Look {
    /// The mark of a curve; no two of as many as there can be in a chart have the same.
    fn marker(self, curve: usize) -> char {
        let marks = if self.unicode { UNICODE_MARKS } else { ASCII_MARKS };
        marks.chars().nth(curve % marks.chars().count()).unwrap_or('?')
    }

    fn cell(self, cell: Cell) -> String {
        let character = match (cell.mark, cell.dots) {
            (Some(mark), _) => mark,
            (None, 0) => ' ',
            (None, dots) if self.unicode => char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' '),
            (None, _) => '.',
        };
        self.paint(&character.to_string(), cell.curve)
    }

    /// In the curve's colour. None of these is told from another by red and green alone.
    fn paint(self, text: &str, curve: Option<usize>) -> String {
        match curve {
            Some(curve) if self.colour => {
                let colour = [34, 33, 36, 35, 90, 32][curve % 6];
                format!("\x1b[{colour}m{text}\x1b[0m")
            }
            _ => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn an_axis_has_several_round_labels() {
        let labels = |least: f64, most: f64, rows: usize| Scale::of(least, most, rows).labels().join(" ");
        assert_eq!(labels(52.0, 78.5, 16), "55 60 65 70 75");
        assert_eq!(labels(78.0, 89.0, 16), "78 80 82 84 86 88");
        assert_eq!(labels(0.6, 2.1, 9), "1.0 1.5 2.0");
        assert_eq!(labels(1.0, 1.0, 9), "1.00");
    }

    #[test]
    fn no_two_curves_of_a_full_chart_share_a_mark() {
        let curve = |index: usize| Curve {
            name: format!("curve-{index}"),
            points: (1..=7).map(|n| (f64::from(n), index as f64 + f64::from(n))).collect(),
        };
        for unicode in [false, true] {
            let look = Look { width: 80, unicode, colour: false };
            let chart = Chart {
                below: "n",
                ticks: (1..=7).map(f64::from).collect(),
                level: None,
                curves: (0..17).map(curve).collect(),
                height: 16,
            };
            let text = chart.text(look);
            let mark = |index: usize| {
                let named = text.lines().find(|line| line.ends_with(&format!(" curve-{index}")));
                let name = named.unwrap_or_else(|| panic!("curve-{index} in:\n{text}"));
                name.chars().rev().nth(format!(" curve-{index}").len()).unwrap()
            };
            let marks: BTreeSet<char> = (0..17).map(mark).collect();
            assert_eq!(marks.len(), 17, "{text}");
            assert_eq!(text.is_ascii(), !unicode);
        }
    }
}
