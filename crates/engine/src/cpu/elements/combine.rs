//! Sums, products and differences of two values.

use crate::cpu::activation::activate;
use crate::cpu::grid::Grid;
use crate::cpu::team::Team;
use network::graph::Activation;

/// A value and where its channels are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) grid: Grid,
    /// Position of the first channel in a record; the others follow.
    pub(crate) channel: usize,
}

/// result = activation(function(left, right)), channel by channel.
pub(crate) fn combine(
    team: &Team,
    left: Operand<'_>,
    right: Operand<'_>,
    result: &mut [f32],
    (to, channel, channels): (Grid, usize, usize),
    function: impl Fn(f32, f32) -> f32 + Sync + Send,
    activation: Option<Activation>,
) {
    to.split_rows(team, result, 4 * channels, |image, first_row, result| {
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate().take(to.width) {
                let of =
                    |operand: &Operand<'_>| operand.grid.at(image, first_row + row, column) + operand.channel;
                let target = &mut record[channel..channel + channels];
                let left = &left.data[of(&left)..][..channels];
                let right = &right.data[of(&right)..][..channels];
                for ((target, left), right) in target.iter_mut().zip(left).zip(right) {
                    *target = function(*left, *right);
                }
                activate(activation, target);
            }
        }
    });
}

/// Every channel of `left` times the only one of `right`.
pub(crate) fn weigh(
    team: &Team,
    left: Operand<'_>,
    right: Operand<'_>,
    result: &mut [f32],
    (to, channel, channels): (Grid, usize, usize),
) {
    to.split_rows(team, result, 4 * channels, |image, first_row, result| {
        for (row, records) in result.chunks_mut(to.row.max(1)).enumerate() {
            for (column, record) in records.chunks_mut(to.record.max(1)).enumerate().take(to.width) {
                let of =
                    |operand: &Operand<'_>| operand.grid.at(image, first_row + row, column) + operand.channel;
                let target = &mut record[channel..channel + channels];
                let factor = right.data[of(&right)];
                let left = &left.data[of(&left)..][..channels];
                target.iter_mut().zip(left).for_each(|(target, value)| *target = value * factor);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::value::Value;

    #[test]
    fn values_are_combined_and_weighed() {
        let shape = [2, 19, 3, 5];
        let [left, right] = [Value::among_others(shape, 1), Value::packed(shape, 2)];
        let weights = Value::among_others([2, 1, 3, 5], 3);
        let of = |own: &Value| own.planes.clone();
        let mut sum = Value::among_others(shape, 4);
        let mut weighed = Value::among_others(shape, 5);
        Team::gather(|team| {
            let operands = [&left, &right, &weights].map(|own| {
                let (data, grid, channel) = own.source();
                Operand { data, grid, channel }
            });
            let [one, other, factors] = operands;
            let (floats, to, channel) = sum.target();
            let activation = Some(Activation::Relu6);
            combine(team, one, other, floats, (to, channel, 19), |a, b| a - b, activation);
            let (floats, to, channel) = weighed.target();
            weigh(team, one, factors, floats, (to, channel, 19));
        });
        let differences = of(&left).into_iter().zip(of(&right)).map(|(a, b)| (a - b).clamp(0.0, 6.0));
        sum.assert_holds(&differences.collect::<Vec<_>>());
        let factor = |at: usize| weights.planes[at / (19 * 15) * 15 + at % 15];
        let products = of(&left).into_iter().enumerate().map(|(at, x)| x * factor(at));
        weighed.assert_holds(&products.collect::<Vec<_>>());
    }
}
