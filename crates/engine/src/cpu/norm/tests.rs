//! Normalisation and its gradients against the generic kernels in f64.

use super::normalisation::{Normalisation, Together};
use crate::cpu::team::Team;
use crate::cpu::value::{Value, assert_near, random, wide};
use crate::reference::kernel::{Kernel, View};
use crate::reference::operators::norm;
use crate::reference::operators::norm::{BatchNorm, ChannelAffine, GroupNorm, batch_moments};
use network::graph::Activation;

const EPSILON: f64 = 1e-3;

/// A normalisation with its operands.
struct Case {
    together: Together,
    activation: Option<Activation>,
    x: Value,
    /// Of the result.
    gradient: Value,
    weight: Vec<f32>,
    bias: Vec<f32>,
    /// Mean and variance where they are given.
    given: [Vec<f32>; 2],
}

impl Case {
    fn new(together: Together, activation: Option<Activation>, shape: [usize; 4]) -> Case {
        let [_, channels, _, _] = shape;
        // Far from zero, where a variance is easily lost.
        let x = Value::among_others(shape, 1).map(|number| number * 3.0 + 5.0);
        let given = [random(channels, 5), random(channels, 6).into_iter().map(|v| v + 1.5).collect()];
        let (weight, bias) = (random(channels, 3), random(channels, 4));
        Case { together, activation, x, gradient: Value::among_others(shape, 2), weight, bias, given }
    }

    fn moments(&self) -> Vec<norm::Moments> {
        let [mean, variance] = [&self.given[0], &self.given[1]].map(|own| wide(own));
        let pairs = mean.into_iter().zip(variance);
        match self.together {
            Together::Given => pairs.map(|(mean, variance)| norm::Moments { mean, variance }).collect(),
            _ => batch_moments(self.x.view()),
        }
    }

    /// Of the reference, without the function.
    fn result(&self) -> Vec<f64> {
        let (weight, bias) = (wide(&self.weight), wide(&self.bias));
        let shape = [weight.len()];
        let views =
            [self.x.view(), View { data: &weight, shape: &shape }, View { data: &bias, shape: &shape }];
        match self.together {
            Together::Groups(groups) => GroupNorm { groups, epsilon: EPSILON }.forward(views).0,
            _ => BatchNorm { moments: self.moments(), epsilon: EPSILON }.forward(views).0,
        }
    }

    fn activated(&self) -> Vec<f64> {
        let (data, shape) = (self.result(), &self.x.shape[..]);
        match self.activation {
            Some(activation) => activation.forward([View { data: &data, shape }]).0,
            None => data,
        }
    }

    /// Gradients of input, weight and bias.
    fn gradients(&self) -> [Vec<f64>; 3] {
        let (result, shape) = (self.result(), &self.x.shape[..]);
        let result = View { data: &result[..], shape };
        let descended =
            self.activation.map(|own| own.backward([result], result, self.gradient.view(), [true]));
        let descended = match descended {
            Some([gradient]) => gradient.unwrap(),
            None => self.gradient.planes.clone(),
        };
        let gradient = View { data: &descended[..], shape };
        let (weight, bias) = (wide(&self.weight), wide(&self.bias));
        let of = [weight.len()];
        let views =
            |weight| [self.x.view(), View { data: weight, shape: &of }, View { data: &bias, shape: &of }];
        let gradients = match self.together {
            Together::Groups(groups) => {
                GroupNorm { groups, epsilon: EPSILON }.backward(views(&weight), result, gradient, [true; 3])
            }
            Together::Batch => BatchNorm { moments: self.moments(), epsilon: EPSILON }.backward(
                views(&weight),
                result,
                gradient,
                [true; 3],
            ),
            Together::Given => {
                let scales: Vec<f64> =
                    self.moments().iter().map(|own| 1.0 / (own.variance + EPSILON).sqrt()).collect();
                let factors: Vec<f64> = weight.iter().zip(&scales).map(|(a, b)| a * b).collect();
                let [x, factor, shift] =
                    ChannelAffine.backward(views(&factors), result, gradient, [true; 3]).map(Option::unwrap);
                let both = self.moments().into_iter().zip(&scales).zip(factor.iter().zip(&shift));
                let weight = both.map(|((own, scale), (factor, shift))| scale * (factor - own.mean * shift));
                [Some(x), Some(weight.collect()), Some(shift)]
            }
        };
        gradients.map(Option::unwrap)
    }

    /// After the way forward, which is compared.
    fn forward(&self, team: &Team) -> Normalisation {
        let mut own = Normalisation::new(self.together, EPSILON, self.activation, self.x.shape);
        let mut result = Value::among_others(self.x.shape, 7);
        let given = [&self.given[0][..], &self.given[1]];
        let given = (self.together == Together::Given).then_some(given);
        own.forward(team, self.x.source(), [&self.weight, &self.bias], given, result.target());
        result.assert_holds(&self.activated());
        own
    }
}

/// One chunk and several, channels that fill no register, groups that end within one.
fn cases() -> Vec<Case> {
    let shapes: &[([usize; 4], usize)] = match cfg!(miri) {
        true => &[([2, 6, 3, 2], 3)],
        false => &[([2, 20, 21, 23], 4), ([3, 6, 5, 7], 3), ([1, 70, 4, 3], 7), ([2, 3, 1, 5], 1)],
    };
    let kinds = shapes.iter().flat_map(|(shape, groups)| {
        let all = [Together::Batch, Together::Given, Together::Groups(*groups)];
        all.map(|together| (together, *shape))
    });
    let activations = [None, Some(Activation::LeakyRelu(0.25)), Some(Activation::Silu)];
    kinds
        .flat_map(|(together, shape)| activations.map(|activation| Case::new(together, activation, shape)))
        .collect()
}

#[test]
fn normalisations_equal_the_references() {
    Team::gather(|team| {
        for case in cases() {
            let own = case.forward(team);
            if case.together == Together::Batch {
                let (means, variances): (Vec<f64>, Vec<f64>) = own.moments().unzip();
                let narrow = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<_>>();
                let expected = case.moments();
                assert_near(&narrow(means), &expected.iter().map(|own| own.mean).collect::<Vec<_>>());
                let expected: Vec<f64> = expected.iter().map(|own| own.variance).collect();
                assert_near(&narrow(variances), &expected);
            }
        }
    });
}

#[test]
fn gradients_of_normalisations_equal_the_references() {
    Team::gather(|team| {
        for case in cases() {
            let mut own = case.forward(team);
            let [x, weight, bias] = case.gradients();
            let sources = [case.x.source(), case.gradient.source()];
            for (add, times) in [(false, 1.0), (true, 2.0)] {
                let mut found = [weight.len(), bias.len()].map(|count| vec![f32::NAN; count]);
                for add in [false, add] {
                    let [weights, biases] = &mut found;
                    let targets = [Some(&mut weights[..]), Some(&mut biases[..])];
                    own.sums(team, sources, &case.weight, targets, [add; 2]);
                }
                for (found, expected) in found.iter().zip([&weight, &bias]) {
                    assert_near(found, &expected.iter().map(|sum| times * sum).collect::<Vec<_>>());
                }
                let mut result = Value::among_others(case.x.shape, 8);
                let before = result.clone();
                own.input_gradient(team, sources, result.target(), add);
                result.assert_holds(&if add { before.plus(&x) } else { x.clone() });
            }
        }
    });
}
