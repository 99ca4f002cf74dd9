//! Depthwise convolutions.

use super::packed::Depthwise;
use super::stored::Channelwise;
use crate::cpu::convolution::case::{Case, chosen};
use crate::cpu::convolution::taps;
use crate::cpu::instructions::Instructions;
use crate::cpu::team::Team;
use crate::cpu::value::{Value, assert_near};
use network::graph::{Activation, Conv};

/// Every width of kernels that there is, strides, dilation, rows shorter than a group of pixels.
fn depthwise_cases() -> impl Iterator<Item = Case> {
    let conv = Conv::depthwise;
    let dilated = Conv { padding: [4; 2], dilation: [2; 2], ..conv(9, 5) };
    let uneven = Conv { kernel: [3, 1], stride: [2, 1], padding: [1, 0], ..conv(20, 3) };
    chosen([
        (3, [3, 7], conv(3, 3)),
        (3, [5, 6], conv(3, 3).stride(2)),
        (116, [9, 11], conv(116, 3)),
        (40, [17, 13], conv(40, 5)),
        (33, [19, 15], conv(33, 7).stride(2)),
        (9, [13, 12], dilated),
        (20, [7, 5], uneven),
        (17, [6, 5], conv(17, 1)),
        (17, [1, 2], conv(17, 3)),
        (24, [35, 9], conv(24, 3)),
    ])
}

/// In two runs of channels, whose weights lie in another order.
#[test]
fn depthwise_convolutions_equal_the_reference() {
    for case in depthwise_cases() {
        let (channels, taps) = (case.channels(), case.taps());
        // The channel at a position of a record, and the numbers of a channel in the place where it is looked up.
        let order: Vec<usize> = (0..channels).map(|channel| (channel + channels / 2) % channels).collect();
        let (mut kernel, mut bias) = (case.kernel.clone(), case.bias.clone());
        for (position, channel) in order.iter().enumerate() {
            bias[*channel] = case.bias[position];
            kernel[channel * taps..][..taps].copy_from_slice(&case.kernel[position * taps..][..taps]);
        }
        let depthwise = Depthwise::new(case.conv, &kernel, &bias, &order, Instructions::get());
        for activation in [None, Some(Activation::Relu)] {
            let mut result = case.target();
            let half = channels / 2;
            Team::gather(|team| {
                for (offset, count) in [(0, half), (half, channels - half)] {
                    let (x, from, first) = case.x.source();
                    let (floats, to, channel) = result.target();
                    let source = (x, from, first + offset);
                    let target = (floats, to, channel + offset);
                    depthwise.run(team, source, target, (offset, count), activation);
                }
            });
            let mut expected = case.result();
            if activation.is_some() {
                expected.iter_mut().for_each(|number| *number = number.max(0.0));
            }
            result.assert_holds(&expected);
        }
    }
}

fn packed_by_channel(case: &Case, own: &Channelwise) -> Vec<f32> {
    let mut weights = vec![0.0; own.size()];
    for (index, weight) in case.kernel.iter().enumerate() {
        weights[own.position(index % case.taps(), index / case.taps())] = *weight;
    }
    weights
}

#[test]
fn channelwise_convolutions_equal_the_reference() {
    for case in depthwise_cases() {
        let own = Channelwise::new(taps::forward(&case.conv), case.conv.kernel, case.channels());
        let weights = packed_by_channel(&case, &own);
        for add in [false, true] {
            let (mut result, before) = (case.target(), case.target());
            Team::gather(|team| {
                own.run(team, [&weights, &case.bias], case.x.source(), result.target(), add);
            });
            let expected = case.result();
            result.assert_holds(&if add { before.plus(&expected) } else { expected });
        }
    }
}

#[test]
fn channelwise_gradients_of_inputs_equal_the_reference() {
    for case in depthwise_cases() {
        let own = Channelwise::new(taps::backward(&case.conv), case.conv.kernel, case.channels());
        let weights = packed_by_channel(&case, &own);
        let [expected, _] = case.gradients();
        for add in [false, true] {
            let (mut result, before) =
                (Value::among_others(case.x.shape, 8), Value::among_others(case.x.shape, 8));
            Team::gather(|team| {
                own.run(team, [&weights, &[]], case.gradient.source(), result.target(), add);
            });
            result.assert_holds(&if add { before.plus(&expected) } else { expected.clone() });
        }
    }
}

#[test]
fn channelwise_gradients_of_weights_equal_the_reference() {
    for case in depthwise_cases() {
        let own = Channelwise::new(taps::forward(&case.conv), case.conv.kernel, case.channels());
        let [_, expected] = case.gradients();
        let mut gradient = vec![f32::NAN; own.size()];
        for (add, factor) in [(false, 1.0), (true, 2.0)] {
            Team::gather(|team| {
                own.weight_gradient(team, case.x.source(), case.gradient.source(), &mut gradient, add);
            });
            let of = |index: usize| gradient[own.position(index % case.taps(), index / case.taps())];
            let found: Vec<f32> = (0..expected.len()).map(of).collect();
            assert_near(&found, &expected.iter().map(|number| factor * number).collect::<Vec<_>>());
        }
    }
}
