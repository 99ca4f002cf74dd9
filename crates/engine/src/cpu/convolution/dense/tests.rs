//! Dense convolutions against the generic convolution in f64, forward and both gradients.

use super::gradient::SLACK;
use super::packed::{Dense, Layout};
use super::stored::Products;
use crate::cpu::convolution::case::{Case, chosen, each_weight, packed};
use crate::cpu::convolution::epilogue::Epilogue;
use crate::cpu::instructions::Instructions;
use crate::cpu::team::Team;
use crate::cpu::value::{Value, assert_near};
use network::graph::{Activation, Conv};

/// Odd sizes, strides that leave a rest, dilation, kernels that are no squares, a picture smaller than the kernel,
/// channels that fill no register and panels of every width.
fn dense_cases() -> impl Iterator<Item = Case> {
    let uneven = Conv { kernel: [1, 3], stride: [1, 2], padding: [0, 1], ..Conv::same(6, 3) };
    let rare = Conv { kernel: [5, 3], stride: [2, 3], padding: [2, 0], dilation: [1, 2], ..Conv::same(4, 3) };
    chosen([
        (2, [3, 4], Conv::same(3, 3)),
        (2, [4, 5], Conv::same(3, 3).stride(2)),
        (5, [3, 5], Conv::pointwise(6)),
        (33, [12, 5], Conv::same(70, 3)),
        (3, [21, 17], Conv { padding: [3; 2], ..Conv::same(20, 7).stride(2) }),
        (17, [6, 7], Conv::pointwise(35)),
        (19, [6, 7], Conv::pointwise(64).stride(2)),
        (8, [9, 10], Conv::same(9, 3).stride(2)),
        (6, [11, 9], Conv { padding: [2; 2], dilation: [2; 2], ..Conv::same(5, 3) }),
        (4, [8, 11], uneven),
        (3, [7, 6], rare),
        (7, [5, 3], Conv { padding: [0; 2], ..Conv::same(130, 3) }),
        (4, [1, 1], Conv::same(50, 3)),
    ])
}

#[test]
fn dense_convolutions_equal_the_reference() {
    for case in dense_cases() {
        let padding = case.conv.padding.into_iter().max().unwrap();
        let bordered = Value::bordered(case.x.shape, padding, 1);
        for (x, is_bordered) in [(&case.x, false), (&bordered, padding > 0)] {
            let positions = (x.channel..x.channel + case.channels()).collect();
            let layout = Layout { positions, record: x.grid.record, is_bordered };
            let dense = Dense::new(case.conv, &case.kernel, &case.bias, &layout, Instructions::get());
            let mut result = case.target();
            let (floats, to, channel) = result.target();
            Team::gather(|team| {
                dense.run(team, &x.floats, x.grid, floats, (to, channel), Epilogue::default());
            });
            result.assert_holds(&case.result());
        }
    }
}

#[test]
fn residuals_and_functions_follow_a_dense_convolution() {
    let case = Case::new(4, [3, 5], Conv::same(7, 3));
    let layout = Layout { positions: (3..7).collect(), record: case.x.grid.record, is_bordered: false };
    let dense = Dense::new(case.conv, &case.kernel, &case.bias, &layout, Instructions::get());
    for residual in [Value::packed(case.gradient.shape, 6), Value::among_others(case.gradient.shape, 6)] {
        let mut result = case.target();
        let (floats, to, channel) = result.target();
        let activation = Some(Activation::LeakyRelu(0.1));
        let epilogue = Epilogue { residual: Some(residual.source()), activation, add: false };
        Team::gather(|team| dense.run(team, &case.x.floats, case.x.grid, floats, (to, channel), epilogue));
        let leaky = |x: f64| if x > 0.0 { x } else { f64::from(0.1_f32) * x };
        result.assert_holds(&residual.plus(&case.result()).into_iter().map(leaky).collect::<Vec<_>>());
    }
}

/// Channels that lie apart, in another order.
#[test]
fn dense_convolutions_take_channels_from_anywhere() {
    let case = Case::new(4, [3, 5], Conv::same(5, 3));
    let positions = vec![6, 0, 5, 2];
    let shape = [2, 7, 3, 5];
    let planes = |channel: usize| positions.iter().position(|position| *position == channel);
    let mut spread = Value::packed(shape, 7).map(|_| f64::NAN);
    for at in 0..spread.planes.len() {
        let (image, channel, pixel) = (at / 105, at / 15 % 7, at % 15);
        if let Some(own) = planes(channel) {
            spread.planes[at] = case.x.planes[(image * 4 + own) * 15 + pixel];
        }
    }
    let spread = spread.map(|number| number);
    let layout = Layout { positions: positions.clone(), record: 7, is_bordered: false };
    let dense = Dense::new(case.conv, &case.kernel, &case.bias, &layout, Instructions::get());
    let mut result = case.target();
    let (floats, to, channel) = result.target();
    Team::gather(|team| {
        dense.run(team, &spread.floats, spread.grid, floats, (to, channel), Epilogue::default());
    });
    result.assert_holds(&case.result());
}

#[test]
fn products_equal_the_reference() {
    for case in dense_cases() {
        let padding = case.conv.padding.into_iter().max().unwrap();
        let is_bordered = padding > 0;
        let bordered = Value::bordered(case.x.shape, padding, 1);
        for (x, is_bordered) in [(&case.x, false), (&bordered, is_bordered)] {
            let products = Products::forward(&case.conv, case.channels(), is_bordered);
            let weights = [&packed(&case, &products)[..], &case.bias];
            for add in [false, true] {
                let (mut result, before) = (case.target(), case.target());
                Team::gather(|team| products.run(team, weights, x.source(), result.target(), add));
                let expected = case.result();
                result.assert_holds(&if add { before.plus(&expected) } else { expected });
            }
        }
    }
}

#[test]
fn gradients_of_inputs_equal_the_reference() {
    for case in dense_cases() {
        let forward = Products::forward(&case.conv, case.channels(), false);
        let backward = Products::backward(&case.conv, case.channels());
        let weights = packed(&case, &forward);
        let [expected, _] = case.gradients();
        for add in [false, true] {
            let (mut result, before) =
                (Value::among_others(case.x.shape, 8), Value::among_others(case.x.shape, 8));
            let mut turned = vec![f32::NAN; backward.size()];
            Team::gather(|team| {
                backward.transpose(team, &forward, &weights, &mut turned);
                backward.run(team, [&turned, &[]], case.gradient.source(), result.target(), add);
            });
            result.assert_holds(&if add { before.plus(&expected) } else { expected.clone() });
        }
    }
}

#[test]
fn gradients_of_dense_weights_equal_the_reference() {
    for case in dense_cases() {
        let padding = case.conv.padding.into_iter().max().unwrap();
        let [_, expected] = case.gradients();
        let bordered = Value::bordered(case.x.shape, padding, 1);
        for (x, is_bordered) in [(&case.x, false), (&bordered, padding > 0)] {
            let products = Products::forward(&case.conv, case.channels(), is_bordered);
            let [mut x, mut result] = [x.clone(), case.gradient.clone()];
            for value in [&mut x, &mut result] {
                value.floats.resize(value.floats.len() + SLACK, f32::NAN);
            }
            // Nothing at first, then twice the same.
            let mut gradient = vec![f32::NAN; products.size()];
            for (add, factor) in [(false, 1.0), (true, 2.0)] {
                Team::gather(|team| {
                    products.weight_gradient(team, x.source(), result.source(), &mut gradient, add);
                });
                let mut found = vec![0.0; expected.len()];
                each_weight(&case, |index, tap, channel, out| {
                    found[index] = gradient[products.position(tap, channel, out)];
                });
                assert_near(&found, &expected.iter().map(|number| factor * number).collect::<Vec<_>>());
            }
        }
    }
}
