//! Steps of optimisers over slabs.

use std::ops::Range;

use super::team::{Parts, Team};
use crate::store::Factors;

/// Floats of one group of parameters, by its number.
pub(crate) type Span = (Range<usize>, usize);

/// Floats that a thread changes at a time: 64 KiB of each slab, a choice that leaves room in a second-level cache of
/// 512 KiB for the three slabs of a step. Not measured against others.
const PIECE: usize = 1 << 14;

/// weight -= learning rate * gradient
pub(crate) fn descend(spans: &[Span], factors: &[Factors], values: &mut [f32], gradients: &[f32]) {
    Team::gather(|team| {
        for (floats, group) in spans {
            let Factors { learning_rate, weight_decay } = factors[*group];
            let gradients = &gradients[floats.clone()];
            each_piece(team, &mut values[floats.clone()], |start, values| {
                for (weight, gradient) in values.iter_mut().zip(&gradients[start..]) {
                    *weight -= learning_rate * (gradient + weight_decay * *weight);
                }
            });
        }
    });
}

/// velocity = keep * velocity + take * gradient, weight -= learning rate * velocity: or, with Nesterov's momentum, the
/// gradient and a share of the velocity to `look_ahead` by.
pub(crate) fn accelerate(
    (spans, factors): (&[Span], &[Factors]),
    [keep, take]: [f32; 2],
    look_ahead: Option<f32>,
    values: &mut [f32],
    gradients: &[f32],
    velocities: &mut [f32],
) {
    Team::gather(|team| {
        for (floats, group) in spans {
            let Factors { learning_rate, weight_decay } = factors[*group];
            let (values, gradients) = (&mut values[floats.clone()], &gradients[floats.clone()]);
            let velocities = &mut velocities[floats.clone()];
            each_piece(team, velocities, |start, velocities| {
                let pairs = gradients[start..].iter().zip(&values[start..]);
                for (velocity, (gradient, value)) in velocities.iter_mut().zip(pairs) {
                    *velocity = keep * *velocity + take * (gradient + weight_decay * value);
                }
            });
            each_piece(team, values, |start, values| {
                let pairs = gradients[start..].iter().zip(&velocities[start..]);
                for (weight, (gradient, velocity)) in values.iter_mut().zip(pairs) {
                    let step = match look_ahead {
                        Some(share) => gradient + weight_decay * *weight + share * velocity,
                        None => *velocity,
                    };
                    *weight -= learning_rate * step;
                }
            });
        }
    });
}

fn each_piece(team: &Team, floats: &mut [f32], work: impl Fn(usize, &mut [f32]) + Sync) {
    let parts = Parts::new(0, 1, [floats.len(); 2], PIECE);
    team.each_part(floats, parts, |part, floats| work(part * PIECE, floats));
}
