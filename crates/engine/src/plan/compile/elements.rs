//! What works element by element or window by window, and what only says where channels are.

use super::Compiler;
use crate::RuntimeError;
use crate::kernels::channels_last::{Grid, Run};
use crate::plan::place::{Form, Place};
use crate::plan::step::{Kernel, Part};
use crate::resample::Resample;
use network::graph::{Activation, Node, Value};

impl Compiler<'_, '_> {
    /// Applies a function in the step that has just computed its input, if nobody else wants that.
    fn joined(&mut self, value: Value, x: Value, activation: Activation) -> Result<bool, RuntimeError> {
        let last =
            self.steps.last_mut().filter(|step| step.value == x && self.uses.get(x.index()) == Some(&1));
        let Some(slot @ None) = last.and_then(|step| step.kernel.activation()) else { return Ok(false) };
        *slot = Some(activation);
        self.view(value, x, |place| Some(place.clone()))
    }

    pub(super) fn activation(
        &mut self,
        value: Value,
        x: Value,
        activation: Activation,
    ) -> Result<(), RuntimeError> {
        if self.joined(value, x, activation)? {
            return Ok(());
        }
        let from = self.place(x)?;
        self.sorted(value, x, &from, |from, runs| Kernel::Copy { from, runs, activation: Some(activation) })
    }

    /// A step that works channel by channel and leaves them as they lie.
    fn sorted(
        &mut self,
        value: Value,
        x: Value,
        from: &Place,
        kernel: impl FnOnce(Part, Vec<Run>) -> Kernel,
    ) -> Result<(), RuntimeError> {
        let (runs, ranks) = from.sorted();
        let mut place = match from.form {
            Form::Map => self.target(value, &[from.buffer])?,
            _ => {
                let Grid { images, height, width, .. } = from.grid;
                let grid = Grid::packed(images, [height, width], from.positions.len());
                let positions = (0..from.positions.len()).collect();
                Place { buffer: self.buffers.take(grid.end()), grid, positions, form: from.form }
            }
        };
        let first = place.positions.first().copied().unwrap_or(0);
        let to = Part { buffer: place.buffer, grid: place.grid, channel: first };
        let part = Part { buffer: from.buffer, grid: from.grid, channel: 0 };
        self.push(value, kernel(part, runs), to);
        place.positions = ranks.into_iter().map(|rank| first + rank).collect();
        self.places.insert(value, place);
        self.used(x);
        Ok(())
    }

    pub(super) fn windows(
        &mut self,
        value: Value,
        x: Value,
        kernel: impl FnOnce(Part, Vec<Run>) -> Kernel,
    ) -> Result<(), RuntimeError> {
        let from = self.map(x)?;
        self.sorted(value, x, &from, kernel)
    }

    pub(super) fn resample(
        &mut self,
        value: Value,
        x: Value,
        resample: Resample,
    ) -> Result<(), RuntimeError> {
        self.windows(value, x, |from, runs| Kernel::Resample { resample, from, runs })
    }

    pub(super) fn add(
        &mut self,
        value: Value,
        node: &Node,
        left: Value,
        right: Value,
    ) -> Result<(), RuntimeError> {
        if self.add_in_convolution(value, left, right)? {
            return Ok(());
        }
        self.pairwise(value, node, left, right, |left, right, channels| Kernel::Add {
            left,
            right,
            channels,
            activation: None,
        })
    }

    pub(super) fn multiply(
        &mut self,
        value: Value,
        node: &Node,
        left: Value,
        right: Value,
    ) -> Result<(), RuntimeError> {
        let is_shared = match (self.shape(left), self.shape(right)) {
            (left, right) if left == right => false,
            ([n, _, h, w], [images, 1, height, width]) if [n, h, w] == [images, height, width] => true,
            _ => return self.reference(value, node),
        };
        self.pairwise(value, node, left, right, |left, right, channels| Kernel::Multiply {
            left,
            right,
            channels,
            is_shared,
        })
    }

    /// A step of two values: of their channels if they are maps, otherwise of their numbers as they lie row-major.
    fn pairwise(
        &mut self,
        value: Value,
        node: &Node,
        left: Value,
        right: Value,
        kernel: impl FnOnce(Part, Part, usize) -> Kernel,
    ) -> Result<(), RuntimeError> {
        let is_map = node.shape.len() == 4;
        let [one, other] = match is_map {
            true => [self.ordered(left)?, self.ordered(right)?],
            false => [self.plain(left)?, self.plain(right)?],
        };
        let place = match is_map {
            true => self.target(value, &[one.buffer, other.buffer])?,
            false => self.plain_target(value),
        };
        let channel = place.positions.first().copied().unwrap_or(0);
        let to = Part { buffer: place.buffer, grid: place.grid, channel };
        self.push(value, kernel(one, other, place.positions.len()), to);
        self.places.insert(value, place);
        self.used(left);
        self.used(right);
        Ok(())
    }

    /// Some of the channels, or a copy of some positions of another axis.
    pub(super) fn slice(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        (axis, start, length): (usize, usize, usize),
    ) -> Result<(), RuntimeError> {
        if axis != 1 || node.shape.len() != 4 {
            return self.slice_plain(value, x, (axis, start, length));
        }
        self.map(x)?;
        self.view(value, x, |place| {
            let positions = place.positions.iter().skip(start).take(length);
            Some(Place { positions: positions.copied().collect(), ..place.clone() })
        })?;
        Ok(())
    }

    /// Channels dealt out in turn stay where they are.
    pub(super) fn shuffle(&mut self, value: Value, x: Value, groups: usize) -> Result<(), RuntimeError> {
        self.map(x)?;
        self.view(value, x, |place| {
            let each = place.positions.len() / groups;
            let of = |channel: usize| place.positions.get(channel % groups * each + channel / groups);
            let positions = (0..place.positions.len()).filter_map(of).copied().collect();
            Some(Place { positions, ..place.clone() })
        })?;
        Ok(())
    }
}
