//! How many operations the machine can do at best: multiply-adds that wait for nothing.

use std::hint::black_box;
use std::time::Instant;

use pulp::{Simd, WithSimd};

use super::instructions::Instructions;

/// Sums that are added to in turn: more than a multiply-add takes cycles times how many start in a cycle, which is eight
/// (four cycles, two each) on the x86-64 processors that have AVX2 or AVX-512.
const SUMS: usize = 12;
/// Multiply-adds of each sum in a round: some milliseconds. A choice.
const STEPS: usize = 4_000_000;
/// The best round counts: others may have shared the cores.
const ROUNDS: usize = 5;

struct Chains;

impl WithSimd for Chains {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (factor, term) = (simd.splat_f32s(black_box(0.999)), simd.splat_f32s(black_box(0.001)));
        let mut sums = [simd.splat_f32s(black_box(1.0)); SUMS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = simd.mul_add_e_f32s(*sum, factor, term);
            }
        }
        black_box(sums);
    }
}

/// Floating-point operations per second of all threads of the pool together, a multiply-add counted as two.
pub fn peak_flops() -> f64 {
    let instructions = Instructions::get();
    let operations = 2 * STEPS * SUMS * instructions.lanes() * rayon::current_num_threads();
    let round = || {
        let start = Instant::now();
        rayon::broadcast(|_| instructions.run(Chains));
        start.elapsed().as_secs_f64()
    };
    let best = (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min);
    operations as f64 / best
}
