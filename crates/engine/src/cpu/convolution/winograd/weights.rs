//! Weights that change between runs, from the order of [`Products`] to Winograd's and their gradients back.
//!
//! Both ways are sums over whole planes of channels: a point of the transformed kernel is a sum of taps, and the
//! gradient of a tap, the transform being linear, a sum of points with the same factors.

use pulp::{Simd, WithSimd};

use super::tiling::Tiling;
use super::transform::{Four, Tile, Two};
use crate::cpu::convolution::dense::stored::Products;
use crate::cpu::team::{Parts, Team};

/// Of a 3x3 kernel.
const TAPS: usize = 9;

/// Points of the largest tile.
const MOST_POINTS: usize = 36;

/// Transforms packed weights. The kernel is turned around in the gradient of an input.
pub(crate) fn transform(
    team: &Team,
    (products, tiling): (&Products, Tiling),
    weights: &[f32],
    transformed: &mut [f32],
    is_turned: bool,
) {
    let factors = Factors::new(tiling);
    let factor = |point: usize, tap: usize| factors.get(point, if is_turned { TAPS - 1 - tap } else { tap });
    convert(team, products, (weights, TAPS), (transformed, tiling.points()), factor, false);
}

/// Writes, or adds, the gradients of packed weights from those of the transformed.
pub(crate) fn transform_gradient(
    team: &Team,
    (products, tiling): (&Products, Tiling),
    transformed: &[f32],
    gradient: &mut [f32],
    add: bool,
) {
    let factors = Factors::new(tiling);
    let factor = |tap: usize, point: usize| factors.get(point, tap);
    convert(team, products, (transformed, tiling.points()), (gradient, TAPS), factor, add);
}

/// The factor of each tap in each point of the transformed kernel.
struct Factors {
    /// Of a tap of a line in each number that the line is transformed to.
    lines: [[f64; 3]; 6],
    side: usize,
}

/// The factors of the taps of a line of the kernel in each of the numbers that it is transformed to; the rest zeros.
fn factors(tiling: Tiling) -> [[f64; 3]; 6] {
    fn of<T: Tile<SIDE, OUT>, const SIDE: usize, const OUT: usize>() -> [[f64; 3]; 6] {
        let [a, b, c] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]].map(T::kernel);
        let mut factors = [[0.0; 3]; 6];
        let lines = a.into_iter().zip(b).zip(c).map(|((a, b), c)| [a, b, c]);
        factors.iter_mut().zip(lines).for_each(|(slot, line)| *slot = line);
        factors
    }
    match tiling {
        Tiling::Two => of::<Two, 4, 2>(),
        Tiling::Four => of::<Four, 6, 4>(),
    }
}

impl Factors {
    fn new(tiling: Tiling) -> Factors {
        Factors { lines: factors(tiling), side: tiling.input_side() }
    }

    fn get(&self, point: usize, tap: usize) -> f32 {
        let [down, across] = [self.lines[point / self.side], self.lines[point % self.side]];
        (down[tap / 3] * across[tap % 3]) as f32
    }
}

/// Makes of so many planes of each panel others, which are sums of them with factors.
fn convert(
    team: &Team,
    products: &Products,
    (source, sources): (&[f32], usize),
    (target, targets): (&mut [f32], usize),
    factor: impl Fn(usize, usize) -> f32 + Sync,
    add: bool,
) {
    let (mut source, mut target) = (source, target);
    for panel in &products.panels {
        let plane = products.channels * products.width(panel);
        let (planes, rest) = source.split_at(sources * plane);
        source = rest;
        let (of_panel, rest) = target.split_at_mut(targets * plane);
        target = rest;
        team.each_part(of_panel, Parts::new(0, targets, [plane; 2], plane), |index, target| {
            let mut terms = [(0.0, [].as_slice()); MOST_POINTS];
            let factors =
                planes.chunks(plane.max(1)).enumerate().map(|(at, plane)| (factor(index, at), plane));
            let mut count = 0;
            for (slot, term) in terms.iter_mut().zip(factors.filter(|(factor, _)| *factor != 0.0)) {
                *slot = term;
                count += 1;
            }
            let terms = &terms[..count];
            products.instructions.run(Sum { terms, target, add });
        });
    }
}

/// A sum of planes with factors.
struct Sum<'a, 't> {
    terms: &'a [(f32, &'a [f32])],
    target: &'t mut [f32],
    add: bool,
}

impl WithSimd for Sum<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Planes consist of whole registers.
        for (at, slot) in S::as_mut_simd_f32s(self.target).0.iter_mut().enumerate() {
            let mut sum = if self.add { *slot } else { simd.splat_f32s(0.0) };
            for (factor, plane) in self.terms {
                sum = simd.mul_add_e_f32s(simd.splat_f32s(*factor), S::as_simd_f32s(plane).0[at], sum);
            }
            *slot = sum;
        }
    }
}
