//! The steps back: from gradients of the outputs to those of the parameters.

mod plain;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::RuntimeError;
use crate::kernels::channels_last::channelwise::Channelwise;
use crate::kernels::channels_last::gradients::Function;
use crate::kernels::channels_last::taps;
use crate::training::compile::{Compiler, Done, within};
use crate::training::convolution::Convolution;
use crate::training::place::Place;
use crate::training::step::{Kernel, Step, Sum, Target};
use network::graph::{Conv, Node, Op, Value};

/// The gradient of a value.
struct Gradient {
    place: Place,
    /// For every channel whether something was written.
    written: Vec<bool>,
}

/// The way back through a graph whose way forward is compiled.
pub(super) struct Backward<'c, 'a> {
    compiler: &'c mut Compiler<'a>,
    /// Gradients of values that are no view of others.
    gradients: HashMap<Value, Gradient>,
    /// Parameters whose gradient something was written to.
    pub(super) reached: HashSet<usize>,
}

impl<'c, 'a> Backward<'c, 'a> {
    pub(super) fn new(compiler: &'c mut Compiler<'a>) -> Backward<'c, 'a> {
        Backward { compiler, gradients: HashMap::new(), reached: HashSet::new() }
    }

    /// Compiles the steps. The result has for every output the place of its gradient, to be filled before.
    pub(super) fn compile(&mut self) -> Result<Vec<Option<Place>>, RuntimeError> {
        let graph = self.compiler.graph;
        let mut seeds = Vec::new();
        for (_, value) in graph.outputs() {
            if !self.needs(*value) {
                seeds.push(None);
                continue;
            }
            let mut seed = self.compiler.place(*value)?;
            if !seed.is_packed() {
                let shape = graph.node(*value).map(|node| node.shape.clone()).unwrap_or_default();
                seed = Place::packed(0, &shape);
            }
            seed.buffer = self.compiler.buffer(seed.elements());
            seeds.push(Some(seed));
            self.contribute(*value, *value, Kernel::Each(Function::First), vec![seed])?;
        }
        let nodes: Vec<(Value, &Node)> = graph.values().collect();
        for (value, node) in nodes.into_iter().rev() {
            if self.needs(value) {
                self.visit(value, node)?;
            }
        }
        Ok(seeds)
    }

    fn needs(&self, value: Value) -> bool {
        self.compiler.needs.get(value.index()).copied().unwrap_or(false)
    }

    fn visit(&mut self, value: Value, node: &Node) -> Result<(), RuntimeError> {
        let Some(done) = self.compiler.done.get(&value).cloned() else { return Ok(()) };
        if matches!(done, Done::View { .. } | Done::Joined | Done::Input) {
            return Ok(());
        }
        let Some(gradient) = self.gradient(value) else { return Ok(()) };
        let first = node.inputs.first().copied();
        match (done, first) {
            (Done::Dense(own), Some(x)) => self.dense(value, node, x, own, gradient),
            (Done::Channelwise(own), Some(x)) => self.channelwise(value, node, x, own, gradient),
            (Done::Normalised { x, node: owner, norm }, _) => {
                self.normalised(value, [x, owner], norm, gradient)
            }
            (Done::Activation, Some(x)) => {
                let Op::Activation(activation) = node.op else { return Ok(()) };
                let operands = vec![self.compiler.place(x)?, gradient];
                self.contribute(value, x, Kernel::Each(Function::Descended(activation)), operands)
            }
            (Done::Add, _) => node.inputs.iter().try_for_each(|input| self.pass_on(value, *input, gradient)),
            (Done::Multiply, _) => self.product(value, node, gradient),
            (Done::Concatenation { axis }, _) => {
                let inputs = node.inputs.iter();
                let parts = inputs.map(|input| self.compiler.place(*input)).collect::<Result<Vec<_>, _>>()?;
                let places = within(&gradient, axis, &parts);
                node.inputs
                    .iter()
                    .zip(places)
                    .try_for_each(|(input, place)| self.pass_on(value, *input, place))
            }
            (Done::Shuffle { groups }, Some(x)) => {
                let channels = gradient.channels;
                let of = |channel: usize| {
                    let each = (channels / groups).max(1);
                    channel % each * groups + channel / each
                };
                self.contribute(value, x, Kernel::Deal((0..channels).map(of).collect()), vec![gradient])
            }
            (Done::Scale, Some(x)) => {
                let factor = node.parameters.first().map_or(0, |id| id.index());
                if let Some(sum) = self.sum(factor) {
                    let operands = vec![self.compiler.place(x)?, gradient];
                    self.compiler.push(value, Kernel::ScaleFactor(sum), operands, None);
                }
                self.contribute(value, x, Kernel::Scale(factor), vec![gradient])
            }
            (Done::MaxPool, Some(x)) => self.max_pool(value, node, x, gradient),
            (Done::Resample(weights), Some(x)) => {
                self.contribute(value, x, Kernel::Resample(weights.as_ref().clone()), vec![gradient])
            }
            (Done::Reshape, Some(x)) => self.reshape(value, x, gradient),
            (Done::Transpose, Some(x)) => self.transpose(value, node, x, gradient),
            (Done::Along { along, axis }, Some(x)) => self.along(value, x, (along, axis), gradient),
            (Done::MatrixProduct, _) => self.matrix_product(value, node, gradient),
            (Done::PlainConcatenation { axis }, _) => self.plain_concatenation(value, node, axis, gradient),
            (Done::Reference, _) => self.reference(value, node, gradient),
            _ => Ok(()),
        }
    }

    /// The value that a value is a view of, and the channels before it.
    fn root(&self, value: Value) -> (Value, usize) {
        let (mut root, mut offset) = (value, 0);
        while let Some(Done::View { of, first }) = self.compiler.done.get(&root) {
            (root, offset) = (*of, offset + first);
        }
        (root, offset)
    }

    /// The gradient of a value, all of it written; nothing if it is zero.
    fn gradient(&mut self, value: Value) -> Option<Place> {
        let (root, offset) = self.root(value);
        let own = self.compiler.places.get(&value).copied()?;
        let gradient = self.gradients.get(&root)?;
        let place = gradient.place;
        self.fill(root, offset, own.channels);
        Some(Place { storage: own.storage, ..place.part(offset, own.channels) })
    }

    /// Writes zeros to channels to which nothing was written.
    fn fill(&mut self, root: Value, offset: usize, channels: usize) {
        let Some(gradient) = self.gradients.get_mut(&root) else { return };
        let place = gradient.place;
        let mut missing = Vec::new();
        for (channel, written) in gradient.written.iter_mut().enumerate().skip(offset).take(channels) {
            if !std::mem::replace(written, true) {
                missing.push(channel);
            }
        }
        for run in crate::kernels::channels_last::runs(&missing) {
            let place = place.part(run.start, run.length);
            self.compiler.push(root, Kernel::Zero, Vec::new(), Some(Target { place, add: false }));
        }
    }

    /// Where a share of a value's gradient goes, and whether there is something already.
    fn slot(&mut self, value: Value) -> Result<Target, RuntimeError> {
        let (root, offset) = self.root(value);
        let own = self.compiler.place(value)?;
        if !self.gradients.contains_key(&root) {
            let like = self.compiler.place(root)?;
            let grid = crate::kernels::channels_last::Grid::packed(
                like.grid.images,
                [like.grid.height, like.grid.width],
                like.channels,
            );
            let buffer = self.compiler.buffer(grid.end());
            let place = Place { buffer, grid, channel: 0, ..like };
            self.gradients.insert(root, Gradient { place, written: vec![false; like.channels] });
        }
        let is_empty = self.gradients.get(&root).is_none_or(|gradient| {
            gradient.written.iter().skip(offset).take(own.channels).all(|written| !written)
        });
        if is_empty {
            if let Some(gradient) = self.gradients.get_mut(&root) {
                gradient
                    .written
                    .iter_mut()
                    .skip(offset)
                    .take(own.channels)
                    .for_each(|written| *written = true);
            }
        } else {
            self.fill(root, offset, own.channels);
        }
        let place = self.gradients.get(&root).map(|gradient| gradient.place.part(offset, own.channels));
        let place = place.unwrap_or(own);
        Ok(Target { place: Place { storage: own.storage, ..place }, add: !is_empty })
    }

    /// Adds a share to the gradient of `to`.
    fn contribute(
        &mut self,
        value: Value,
        to: Value,
        kernel: Kernel,
        operands: Vec<Place>,
    ) -> Result<(), RuntimeError> {
        if !self.needs(to) {
            return Ok(());
        }
        let target = self.slot(to)?;
        let reads_there = operands.iter().any(|place| place.buffer == target.place.buffer);
        if !reads_there && (kernel.adds() || !target.add) {
            self.compiler.push(value, kernel, operands, Some(target));
            return Ok(());
        }
        let mut own = target.place;
        own.grid = crate::kernels::channels_last::Grid::packed(
            own.grid.images,
            [own.grid.height, own.grid.width],
            own.channels,
        );
        own.channel = 0;
        own.buffer = self.compiler.buffer(own.grid.end());
        self.compiler.push(value, kernel, operands, Some(Target { place: own, add: false }));
        self.compiler.push(value, Kernel::Each(Function::First), vec![own], Some(target));
        Ok(())
    }

    /// Gives a gradient on as it is. Where it is the only share, nothing is copied.
    fn pass_on(&mut self, value: Value, to: Value, gradient: Place) -> Result<(), RuntimeError> {
        let is_root = self.root(to).0 == to;
        let users = self.compiler.users.get(&to).map_or(0, Vec::len);
        let is_output = self.compiler.graph.outputs().iter().any(|(_, output)| *output == to);
        let is_map = self.compiler.graph.node(to).is_some_and(|node| node.shape.len() == 4);
        if self.needs(to) && is_root && is_map && users == 1 && !is_output {
            let written = vec![true; gradient.channels];
            self.gradients.insert(to, Gradient { place: gradient, written });
            return Ok(());
        }
        self.contribute(value, to, Kernel::Each(Function::First), vec![gradient])
    }

    /// The gradient of a parameter, if it is trained.
    fn sum(&mut self, parameter: usize) -> Option<Sum> {
        self.compiler.trains(parameter).then(|| Sum { parameter, add: !self.reached.insert(parameter) })
    }

    fn dense(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        forward: Arc<Convolution>,
        gradient: Place,
    ) -> Result<(), RuntimeError> {
        let Op::Conv(conv) = node.op else { return Ok(()) };
        let Some(weight) = node.parameters.first().map(|id| id.index()) else { return Ok(()) };
        let from = self.compiler.place(x)?;
        self.bias(value, node, gradient);
        if let Some(sum) = self.sum(weight) {
            let kernel = Kernel::DenseWeight { own: forward.clone(), sum };
            self.compiler.push(value, kernel, vec![from, gradient], None);
        }
        if !self.needs(x) {
            return Ok(());
        }
        let backward =
            Arc::new(Convolution::backward(&conv, from.channels, [from.grid.height, from.grid.width]));
        self.compiler.scratch = self.compiler.scratch.union(backward.scratch());
        let kernel = Kernel::DenseInput { backward, forward, weight };
        self.contribute(value, x, kernel, vec![gradient])
    }

    fn bias(&mut self, value: Value, node: &Node, gradient: Place) {
        if let Some(bias) = node.parameters.get(1)
            && let Some(sum) = self.sum(bias.index())
        {
            self.compiler.push(value, Kernel::Bias(sum), vec![gradient], None);
        }
    }

    fn channelwise(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        own: Arc<Channelwise>,
        gradient: Place,
    ) -> Result<(), RuntimeError> {
        let Op::Conv(conv) = node.op else { return Ok(()) };
        let Some(weight) = node.parameters.first().map(|id| id.index()) else { return Ok(()) };
        let from = self.compiler.place(x)?;
        self.bias(value, node, gradient);
        if let Some(sum) = self.sum(weight) {
            self.compiler.push(value, Kernel::ChannelwiseWeight { own, sum }, vec![from, gradient], None);
        }
        let Conv { kernel, .. } = conv;
        let own = Arc::new(Channelwise::new(taps::backward(&conv), kernel, from.channels));
        self.contribute(value, x, Kernel::Channelwise { own, weight, bias: None }, vec![gradient])
    }

    fn normalised(
        &mut self,
        value: Value,
        [x, owner]: [Value; 2],
        norm: usize,
        gradient: Place,
    ) -> Result<(), RuntimeError> {
        let parameters =
            self.compiler.graph.node(owner).map(|node| node.parameters.clone()).unwrap_or_default();
        let ids: Vec<usize> = parameters.iter().map(|id| id.index()).collect();
        let [Some(weight), Some(bias)] = [ids.first().copied(), ids.get(1).copied()] else { return Ok(()) };
        let operands = vec![self.compiler.place(x)?, gradient];
        let sums = [self.sum(weight), self.sum(bias)];
        self.compiler.push(value, Kernel::NormSums { norm, weight, sums }, operands.clone(), None);
        self.contribute(value, x, Kernel::NormInput { norm }, operands)
    }

    fn product(&mut self, value: Value, node: &Node, gradient: Place) -> Result<(), RuntimeError> {
        let [left, right] = *node.inputs.as_slice() else { return Ok(()) };
        let [first, second] = [self.compiler.place(left)?, self.compiler.place(right)?];
        if first.channels != second.channels {
            let operands = vec![gradient, second];
            self.contribute(value, left, Kernel::Each(Function::ProductByPixel), operands)?;
            return self.contribute(value, right, Kernel::PixelDots, vec![gradient, first]);
        }
        for (to, other) in [(left, right), (right, left)] {
            let operands = vec![gradient, self.compiler.place(other)?];
            self.contribute(value, to, Kernel::Each(Function::Product), operands)?;
        }
        Ok(())
    }

    fn max_pool(&mut self, value: Value, node: &Node, x: Value, gradient: Place) -> Result<(), RuntimeError> {
        let Op::MaxPool(pool) = node.op else { return Ok(()) };
        let target = self.slot(x)?;
        if !target.add {
            let place = target.place;
            self.compiler.push(value, Kernel::Zero, Vec::new(), Some(Target { place, add: false }));
        }
        let operands = vec![self.compiler.place(x)?, gradient];
        let target = Target { add: true, ..target };
        self.compiler.push(value, Kernel::MaxPoolInput(pool), operands, Some(target));
        Ok(())
    }

    fn reference(&mut self, value: Value, node: &Node, gradient: Place) -> Result<(), RuntimeError> {
        let mut operands = Vec::new();
        let mut targets = Vec::new();
        for input in &node.inputs {
            operands.push(self.compiler.place(*input)?);
            targets.push(if self.needs(*input) { Some(self.slot(*input)?) } else { None });
        }
        operands.push(gradient);
        let sums = node.parameters.iter().map(|id| self.sum(id.index())).collect();
        let kernel = Kernel::ReferenceGradient { sums };
        self.compiler.steps.push(Step { value, kernel, operands, targets });
        Ok(())
    }
}
