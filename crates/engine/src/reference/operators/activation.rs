//! Functions of every element.

use rayon::prelude::*;

use crate::reference::kernel::{Gradients, Kernel, View};
use network::element::Element;
use network::graph::Activation;

/// Elements that one thread takes at a time.
const CHUNK: usize = 1 << 14;

impl Kernel<1> for Activation {
    const NAME: &'static str = "activation";

    fn forward<T: Element>(&self, [x]: [View<'_, T>; 1]) -> (Vec<T>, Vec<usize>) {
        let mut result = vec![T::zero(); x.data.len()];
        let chunks = result.par_chunks_mut(CHUNK).zip(x.data.par_chunks(CHUNK));
        chunks.for_each(|(result, x)| write(self, result, x));
        (result, x.shape.to_vec())
    }

    fn backward<T: Element>(
        &self,
        [x]: [View<'_, T>; 1],
        _: View<'_, T>,
        gradient: View<'_, T>,
        _: [bool; 1],
    ) -> Gradients<T, 1> {
        let mut result = gradient.data.to_vec();
        result.par_chunks_mut(CHUNK).zip(x.data.par_chunks(CHUNK)).for_each(|(result, x)| {
            result.iter_mut().zip(x).for_each(|(g, x)| *g *= slope(self, *x));
        });
        [Some(result)]
    }
}

/// Writes the function of every element; the function is chosen once and not for every element.
fn write<T: Element>(activation: &Activation, result: &mut [T], x: &[T]) {
    let (zero, three, six) = (T::zero(), T::of(3.0), T::of(6.0));
    match *activation {
        Activation::Relu => map(result, x, |x| if x > zero || x.is_nan() { x } else { zero }),
        Activation::Relu6 => map(result, x, |x| clamp(x, zero, six)),
        Activation::LeakyRelu(slope) => {
            let slope = T::of(slope);
            map(result, x, |x| if x > zero { x } else { x * slope });
        }
        Activation::Sigmoid => map(result, x, sigmoid),
        Activation::Silu => map(result, x, |x| x * sigmoid(x)),
        Activation::HardSigmoid => map(result, x, |x| clamp(x + three, zero, six) / six),
    }
}

fn map<T: Element>(result: &mut [T], x: &[T], function: impl Fn(T) -> T) {
    result.iter_mut().zip(x).for_each(|(result, x)| *result = function(*x));
}

/// NaN stays NaN.
fn clamp<T: Element>(x: T, low: T, high: T) -> T {
    if x < low {
        low
    } else if x > high {
        high
    } else {
        x
    }
}

fn sigmoid<T: Element>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}

/// The derivative; at a kink what PyTorch takes.
fn slope<T: Element>(activation: &Activation, x: T) -> T {
    let (zero, one) = (T::zero(), T::one());
    let within = |low: f64, high: f64| x > T::of(low) && x < T::of(high);
    match *activation {
        Activation::Relu if x > zero => one,
        Activation::Relu6 if within(0.0, 6.0) => one,
        Activation::LeakyRelu(_) if x > zero => one,
        Activation::LeakyRelu(slope) => T::of(slope),
        Activation::Sigmoid => sigmoid(x) * (one - sigmoid(x)),
        Activation::Silu => sigmoid(x) * (one + x * (one - sigmoid(x))),
        Activation::HardSigmoid if within(-3.0, 3.0) => T::of(1.0 / 6.0),
        Activation::Relu | Activation::Relu6 | Activation::HardSigmoid => zero,
    }
}
