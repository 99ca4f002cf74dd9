//! Values that tests give to kernels: random numbers in planes, as the references take them in f64, and the same
//! numbers as pixels.

use super::grid::Grid;
use crate::reference::kernel::View;
use crate::reference::operators::finite_differences::numbers;

/// A value in both orders.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) shape: [usize; 4],
    /// `[N, C, H, W]`.
    pub(super) planes: Vec<f64>,
    pub(super) grid: Grid,
    /// Position of the first channel in a record.
    pub(super) channel: usize,
    pub(super) floats: Vec<f32>,
    /// What lies around it.
    other: f32,
}

/// Random numbers in f32.
pub(super) fn random(count: usize, seed: u64) -> Vec<f32> {
    numbers(count, seed).into_iter().map(|number| number as f32).collect()
}

/// The same numbers in f64.
pub(super) fn wide(floats: &[f32]) -> Vec<f64> {
    floats.iter().copied().map(f64::from).collect()
}

impl Value {
    /// Random numbers with nothing around them.
    pub(super) fn packed(shape: [usize; 4], seed: u64) -> Value {
        Value::bordered(shape, 0, seed)
    }

    /// Random numbers with a border of zeros.
    pub(super) fn bordered([images, channels, height, width]: [usize; 4], border: usize, seed: u64) -> Value {
        let grid = Grid::bordered(images, [height, width], channels, border);
        Value::new([images, channels, height, width], grid, 0, 0.0, seed)
    }

    /// Random numbers in records with other channels, which nobody may use or change: they are no numbers.
    pub(super) fn among_others([images, channels, height, width]: [usize; 4], seed: u64) -> Value {
        let grid = Grid::packed(images, [height, width], channels + 5);
        Value::new([images, channels, height, width], grid, 3, f32::NAN, seed)
    }

    fn new(shape: [usize; 4], grid: Grid, channel: usize, other: f32, seed: u64) -> Value {
        let numbers = random(shape.iter().product(), seed);
        let mut value =
            Value { shape, planes: wide(&numbers), grid, channel, floats: vec![other; grid.end()], other };
        value.fill();
        value
    }

    /// The same with a function of every number.
    pub(super) fn map(mut self, function: impl Fn(f64) -> f64) -> Value {
        self.planes.iter_mut().for_each(|number| *number = f64::from(function(*number) as f32));
        self.fill();
        self
    }

    fn fill(&mut self) {
        for index in 0..self.planes.len() {
            let at = self.position(index);
            self.floats[at] = self.planes[index] as f32;
        }
    }

    /// Where the number at `index` of the planes lies.
    fn position(&self, index: usize) -> usize {
        let [_, channels, height, width] = self.shape;
        let (plane, pixel) = (index / (height * width), index % (height * width));
        self.grid.at(plane / channels, pixel / width, pixel % width) + self.channel + plane % channels
    }

    pub(super) fn view(&self) -> View<'_, f64> {
        View { data: &self.planes, shape: &self.shape }
    }

    pub(super) fn source(&self) -> (&[f32], Grid, usize) {
        (&self.floats, self.grid, self.channel)
    }

    pub(super) fn target(&mut self) -> (&mut [f32], Grid, usize) {
        (&mut self.floats, self.grid, self.channel)
    }

    /// The numbers that were there before a kernel ran, plus others.
    pub(super) fn plus(&self, numbers: &[f64]) -> Vec<f64> {
        self.planes.iter().zip(numbers).map(|(number, other)| number + other).collect()
    }

    /// Asserts that the channels are near `expected`, `[N, C, H, W]`, and that nothing around them has changed.
    #[track_caller]
    pub(super) fn assert_holds(&self, expected: &[f64]) {
        let mut rest = self.floats.clone();
        let positions = (0..self.planes.len()).map(|index| self.position(index));
        let found: Vec<f32> = positions.map(|at| std::mem::replace(&mut rest[at], self.other)).collect();
        assert!(rest.iter().all(|float| float.to_bits() == self.other.to_bits()), "written outside");
        assert_near(&found, expected);
    }
}

/// Asserts that numbers differ by less than 2e-6 of the largest.
#[track_caller]
pub(super) fn assert_near(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |largest, number| largest.max(number.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs() / largest;
        assert!(error < 2e-6, "{found} instead of {expected} at {at}, off by {error:.1e} of the largest");
    }
}
