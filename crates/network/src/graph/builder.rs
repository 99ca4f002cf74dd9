//! Writing a graph, top to bottom, inside named modules.

use std::collections::HashMap;

use super::error::GraphError;
use super::ir::{Graph, Module, ModuleId, Node, Parameter, ParameterId, Role, Tap, Value};
use super::op::{Activation, Conv, DeformConv, Op, Pool, ResizeMode};

/// A place in the network where operators can be added. Module names follow upstream's attributes, so that
/// parameter names equal the upstream `state_dict`.
///
/// The first thing that does not fit is kept and returned by [`Graph::write`]; what follows from it is skipped,
/// so that a network reads as a sequence of values and not of results.
#[derive(Debug)]
pub struct Scope<'a> {
    state: &'a mut State,
    module: ModuleId,
}

#[derive(Debug, Default)]
struct State {
    nodes: Vec<Node>,
    parameters: Vec<Parameter>,
    by_name: HashMap<String, ParameterId>,
    modules: Vec<Module>,
    by_path: HashMap<String, ModuleId>,
    calls: HashMap<String, usize>,
    taps: Vec<Tap>,
    inputs: Vec<Value>,
    outputs: Vec<(String, Value)>,
    error: Option<GraphError>,
}

/// What a module can return.
pub trait Output {
    /// The values, with what their taps' paths have behind the module's.
    fn named(&self) -> Vec<(String, Value)>;
}

impl Output for Value {
    fn named(&self) -> Vec<(String, Value)> {
        vec![(String::new(), *self)]
    }
}

impl Output for Vec<Value> {
    fn named(&self) -> Vec<(String, Value)> {
        self.iter().enumerate().map(|(index, value)| (format!(".{index}"), *value)).collect()
    }
}

impl Graph {
    /// A network with one input of `shape`, `[N, C, H, W]`, whose operators `write` adds.
    ///
    /// # Errors
    /// The first operator whose inputs do not fit, with the path of its module.
    pub fn write(shape: [usize; 4], write: impl FnOnce(&mut Scope<'_>, Value)) -> Result<Graph, GraphError> {
        let root = Module { path: String::new(), parent: None, children: Vec::new(), parameters: Vec::new() };
        let mut state = State { modules: vec![root], ..State::default() };
        let mut scope = Scope { state: &mut state, module: ModuleId(0) };
        let input = scope.input(shape);
        write(&mut scope, input);
        state.finish()
    }
}

impl State {
    fn finish(self) -> Result<Graph, GraphError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let State { nodes, parameters, modules, taps, inputs, outputs, .. } = self;
        let mut graph = Graph { nodes, parameters, modules, taps, inputs, outputs };
        graph.sort_parameters();
        Ok(graph)
    }

    fn path(&self, module: ModuleId) -> &str {
        self.modules.get(module.0).map_or("", |module| &module.path)
    }

    fn child(&mut self, parent: ModuleId, name: &str) -> ModuleId {
        let path = join(self.path(parent), name);
        if let Some(id) = self.by_path.get(&path) {
            return *id;
        }
        let id = ModuleId(self.modules.len());
        self.by_path.insert(path.clone(), id);
        self.modules.push(Module {
            path,
            parent: Some(parent),
            children: Vec::new(),
            parameters: Vec::new(),
        });
        if let Some(parent) = self.modules.get_mut(parent.0) {
            parent.children.push(id);
        }
        id
    }

    fn fail(&mut self, error: GraphError) {
        self.error.get_or_insert(error);
    }

    /// Names a result of `path`, after the results of earlier calls.
    fn tap(&mut self, path: String, result: &impl Output) {
        let calls = self.calls.entry(path.clone()).or_insert(0);
        let call = if *calls == 0 { String::new() } else { format!("#{calls}") };
        *calls += 1;
        for (suffix, value) in result.named() {
            if value != Value::NONE {
                self.taps.push(Tap { path: format!("{path}{suffix}{call}"), value });
            }
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

impl Scope<'_> {
    /// The module `name` inside this one; dots go deeper.
    pub fn at(&mut self, name: &str) -> Scope<'_> {
        let module = name.split('.').fold(self.module, |module, part| self.state.child(module, part));
        Scope { state: self.state, module }
    }

    /// Writes the module `name` and names its results after it.
    pub fn module<T: Output>(&mut self, name: &str, write: impl FnOnce(&mut Scope<'_>) -> T) -> T {
        let mut scope = self.at(name);
        let result = write(&mut scope);
        let path = scope.state.path(scope.module).to_owned();
        scope.state.tap(path, &result);
        result
    }

    /// States the order in which upstream registers the modules in this one, where data flows in another.
    pub fn order(&mut self, names: &[&str]) {
        for name in names {
            self.state.child(self.module, name);
        }
    }

    /// Names a value as a result of the whole network.
    pub fn output(&mut self, name: &str, value: Value) {
        self.state.taps.push(Tap { path: format!("output.{name}"), value });
        self.state.outputs.push((name.to_owned(), value));
    }

    /// Names a value that no module returns: the tap stands at `name` in this module.
    pub fn name(&mut self, name: &str, value: Value) {
        let path = join(self.state.path(self.module), name);
        self.state.tap(path, &value);
    }

    /// Shape of a value; empty for one that could not be computed.
    pub fn shape(&self, value: Value) -> &[usize] {
        self.state.nodes.get(value.0).map_or(&[], |node| &node.shape)
    }

    /// Number of channels of a value `[N, C, ..]`.
    pub fn channels(&self, value: Value) -> usize {
        self.shape(value).get(1).copied().unwrap_or(0)
    }

    /// Height and width of a value `[N, C, H, W]`.
    pub fn size(&self, value: Value) -> [usize; 2] {
        match self.shape(value) {
            [_, _, height, width] => [*height, *width],
            _ => [0; 2],
        }
    }

    /// Convolution; `name` holds `weight` and `bias`.
    pub fn conv(&mut self, name: &str, x: Value, conv: Conv) -> Value {
        let channels = self.channels(x).checked_div(conv.groups).unwrap_or(0);
        let [height, width] = conv.kernel;
        let mut parameters = vec![("weight", vec![conv.out, channels, height, width], Role::Kernel)];
        if conv.bias {
            parameters.push(("bias", vec![conv.out], Role::Bias));
        }
        self.layer(name, Op::Conv(conv), x, parameters)
    }

    /// Deformable convolution with `offsets` and, where samples are weighted, a `mask`; this module holds `weight`
    /// and `bias`. [`Op::DeformConv`] has the shapes.
    pub fn deform_conv(&mut self, x: Value, offsets: Value, mask: Option<Value>, conv: DeformConv) -> Value {
        let channels = self.channels(x).checked_div(conv.conv.groups).unwrap_or(0);
        let [height, width] = conv.conv.kernel;
        let mut ids =
            vec![self.parameter("weight", vec![conv.conv.out, channels, height, width], Role::Kernel)];
        if conv.conv.bias {
            ids.push(self.parameter("bias", vec![conv.conv.out], Role::Bias));
        }
        let inputs = [x, offsets].into_iter().chain(mask).collect();
        self.node(Op::DeformConv(conv), inputs, ids)
    }

    /// Batch normalisation; `name` holds weight, bias, running statistics and the count of batches.
    pub fn batch_norm(&mut self, name: &str, x: Value, epsilon: f64, momentum: f64) -> Value {
        let channels = vec![self.channels(x)];
        let parameters = vec![
            ("weight", channels.clone(), Role::NormWeight),
            ("bias", channels.clone(), Role::NormBias),
            ("running_mean", channels.clone(), Role::RunningMean),
            ("running_var", channels, Role::RunningVariance),
        ];
        let result = self.layer(name, Op::BatchNorm { epsilon, momentum }, x, parameters);
        self.at(name).parameter("num_batches_tracked", Vec::new(), Role::BatchCount);
        result
    }

    /// Normalisation over groups of channels.
    pub fn group_norm(&mut self, name: &str, x: Value, groups: usize, epsilon: f64) -> Value {
        let channels = vec![self.channels(x)];
        let parameters =
            vec![("weight", channels.clone(), Role::NormWeight), ("bias", channels, Role::NormBias)];
        self.layer(name, Op::GroupNorm { groups, epsilon }, x, parameters)
    }

    /// Product with the learnable number `name.scale`.
    pub fn scale(&mut self, name: &str, x: Value) -> Value {
        self.layer(name, Op::Scale, x, vec![("scale", Vec::new(), Role::Scale)])
    }

    /// Product with the learnable number `name` of this module, a tensor of shape `[1]`.
    pub fn scale_by(&mut self, name: &str, x: Value) -> Value {
        if x == Value::NONE {
            return Value::NONE;
        }
        let factor = self.parameter(name, vec![1], Role::Scale);
        self.node(Op::Scale, vec![x], vec![factor])
    }

    /// Convolution without bias whose kernel upstream fills with `numbers` and never changes.
    pub fn fixed_conv(&mut self, name: &str, x: Value, conv: Conv, numbers: Vec<f64>) -> Value {
        let channels = self.channels(x).checked_div(conv.groups).unwrap_or(0);
        let [height, width] = conv.kernel;
        let shape = vec![conv.out, channels, height, width];
        self.layer(name, Op::Conv(conv), x, vec![("weight", shape, Role::Constant(numbers))])
    }

    /// A buffer of this module that upstream fills with `numbers`; no operator uses it.
    pub fn constant(&mut self, name: &str, numbers: Vec<f64>) {
        self.constant_of(name, &[numbers.len()], numbers);
    }

    /// As [`Scope::constant`], in a shape.
    pub fn constant_of(&mut self, name: &str, shape: &[usize], numbers: Vec<f64>) {
        self.parameter(name, shape.to_vec(), Role::Constant(numbers));
    }

    /// Activation as a module of its own.
    pub fn act(&mut self, name: &str, x: Value, activation: Activation) -> Value {
        self.layer(name, Op::Activation(activation), x, Vec::new())
    }

    /// Activation that is no module.
    pub fn activation(&mut self, x: Value, activation: Activation) -> Value {
        self.node(Op::Activation(activation), vec![x], Vec::new())
    }

    /// Max pooling as a module of its own.
    pub fn max_pool(&mut self, name: &str, x: Value, pool: Pool) -> Value {
        self.layer(name, Op::MaxPool(pool), x, Vec::new())
    }

    /// Average pooling as a module of its own.
    pub fn average_pool(&mut self, name: &str, x: Value, pool: Pool) -> Value {
        self.layer(name, Op::AveragePool(pool), x, Vec::new())
    }

    /// Mean over windows that divide the picture into `size`.
    pub fn adaptive_average_pool(&mut self, x: Value, size: [usize; 2]) -> Value {
        self.node(Op::AdaptiveAveragePool { size }, vec![x], Vec::new())
    }

    /// Another height and width.
    pub fn resize(&mut self, x: Value, mode: ResizeMode, size: [usize; 2]) -> Value {
        self.node(Op::Resize { mode, size }, vec![x], Vec::new())
    }

    /// Values one after another along the channels.
    pub fn concat(&mut self, values: &[Value]) -> Value {
        self.concat_along(1, values)
    }

    /// Values one after another along `axis`.
    pub fn concat_along(&mut self, axis: usize, values: &[Value]) -> Value {
        self.node(Op::Concat { axis }, values.to_vec(), Vec::new())
    }

    /// Part of a value along `axis`.
    pub fn slice(&mut self, x: Value, axis: usize, start: usize, length: usize) -> Value {
        self.node(Op::Slice { axis, start, length }, vec![x], Vec::new())
    }

    /// Sum of two values.
    pub fn add(&mut self, left: Value, right: Value) -> Value {
        self.node(Op::Add, vec![left, right], Vec::new())
    }

    /// Product of two values; sizes of 1 of the right one stand for all of the left one's.
    pub fn multiply(&mut self, left: Value, right: Value) -> Value {
        self.node(Op::Multiply, vec![left, right], Vec::new())
    }

    /// Matrix products `[.., M, K]` times `[.., K, N]`.
    pub fn matmul(&mut self, left: Value, right: Value) -> Value {
        self.node(Op::MatMul, vec![left, right], Vec::new())
    }

    /// Channels of `groups` groups dealt out in turn.
    pub fn channel_shuffle(&mut self, x: Value, groups: usize) -> Value {
        self.node(Op::ChannelShuffle { groups }, vec![x], Vec::new())
    }

    /// The same elements in another shape.
    pub fn reshape(&mut self, x: Value, shape: &[usize]) -> Value {
        self.node(Op::Reshape { shape: shape.to_vec() }, vec![x], Vec::new())
    }

    /// Axes in another order.
    pub fn transpose(&mut self, x: Value, order: &[usize]) -> Value {
        self.node(Op::Transpose { order: order.to_vec() }, vec![x], Vec::new())
    }

    /// Softmax along `axis`.
    pub fn softmax(&mut self, x: Value, axis: usize) -> Value {
        self.node(Op::Softmax { axis }, vec![x], Vec::new())
    }

    /// The `count` largest values along `axis`, in descending order.
    pub fn top_k(&mut self, x: Value, axis: usize, count: usize) -> Value {
        self.node(Op::TopK { axis, count }, vec![x], Vec::new())
    }

    /// Mean along `axis`, which keeps size 1.
    pub fn mean(&mut self, x: Value, axis: usize) -> Value {
        self.node(Op::Mean { axis }, vec![x], Vec::new())
    }

    fn input(&mut self, shape: [usize; 4]) -> Value {
        let value = self.node(Op::Input, vec![], vec![]);
        if let Some(node) = self.state.nodes.get_mut(value.0) {
            node.shape = shape.to_vec();
        }
        self.state.inputs.push(value);
        self.state.taps.push(Tap { path: "input".to_owned(), value });
        value
    }

    /// An operator that is a module of its own.
    fn layer(&mut self, name: &str, op: Op, x: Value, parameters: Vec<(&str, Vec<usize>, Role)>) -> Value {
        self.module(name, |net| {
            // Whatever follows from a mistake would be a mistake too.
            if x == Value::NONE {
                return Value::NONE;
            }
            let shapes = parameters.into_iter();
            let ids = shapes.map(|(name, shape, role)| net.parameter(name, shape, role)).collect();
            net.node(op, vec![x], ids)
        })
    }

    fn node(&mut self, op: Op, inputs: Vec<Value>, parameters: Vec<ParameterId>) -> Value {
        if inputs.contains(&Value::NONE) {
            return Value::NONE;
        }
        let shapes: Vec<&[usize]> = inputs.iter().map(|input| self.shape(*input)).collect();
        let shape = match op {
            Op::Input => Ok(Vec::new()),
            _ => op.infer(&shapes),
        };
        match shape {
            Ok(shape) => {
                self.state.nodes.push(Node { op, inputs, parameters, shape, module: self.module });
                Value(self.state.nodes.len() - 1)
            }
            Err(why) => {
                let shapes = shapes.iter().map(|shape| format!("{shape:?}")).collect::<Vec<_>>().join(", ");
                let module = self.state.path(self.module).to_owned();
                self.state.fail(GraphError::Shape { module, op: op.name(), shapes, why });
                Value::NONE
            }
        }
    }

    /// The parameter `name` of this module, which a second call of the module uses again.
    fn parameter(&mut self, name: &str, shape: Vec<usize>, role: Role) -> ParameterId {
        let name = join(self.state.path(self.module), name);
        if let Some(id) = self.state.by_name.get(&name).copied() {
            let first = self.state.parameters.get(id.0).map(|first| first.shape.clone()).unwrap_or_default();
            if first != shape {
                self.state.fail(GraphError::Conflict { name, first, second: shape });
            }
            return id;
        }
        let id = ParameterId(self.state.parameters.len());
        self.state.by_name.insert(name.clone(), id);
        self.state.parameters.push(Parameter { name, shape, role });
        if let Some(module) = self.state.modules.get_mut(self.module.0) {
            module.parameters.push(id);
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_stand_in_the_order_of_registration() {
        let graph = Graph::write([1, 3, 8, 6], |net, x| {
            net.order(&["late", "early"]);
            let x = net.conv("early", x, Conv::pointwise(4));
            let x = net.module("late", |net| {
                let x = net.conv("0", x, Conv::same(4, 3).biased());
                net.batch_norm("1", x, 1e-5, 0.1)
            });
            net.output("features", x);
        });
        let graph = graph.unwrap();
        let names: Vec<&str> = graph.parameters().iter().map(|p| p.name.as_str()).collect();
        let expected = "late.0.weight late.0.bias late.1.weight late.1.bias late.1.running_mean \
                        late.1.running_var late.1.num_batches_tracked early.weight";
        assert_eq!(names.join(" "), expected);
        let taps: Vec<&str> = graph.taps().iter().map(|tap| tap.path.as_str()).collect();
        assert_eq!(taps, ["input", "early", "late.0", "late.1", "late", "output.features"]);
        assert_eq!(graph.nodes()[1].parameters, [ParameterId(7)]);
    }

    #[test]
    fn a_second_call_shares_parameters_and_has_a_tap_of_its_own() {
        let graph = Graph::write([1, 4, 8, 6], |net, x| {
            let x = net.conv("conv", x, Conv::pointwise(4));
            net.conv("conv", x, Conv::pointwise(4));
        });
        let graph = graph.unwrap();
        assert_eq!(graph.parameters().len(), 1);
        assert_eq!(graph.taps().last().unwrap().path, "conv#1");
    }

    #[test]
    fn values_can_be_named_without_being_modules_or_outputs() {
        let graph = Graph::write([1, 4, 8, 6], |net, x| {
            let half = net.slice(x, 1, 0, 2);
            net.at("head").name("half", half);
            let rest = net.slice(x, 1, 2, 2);
            net.at("head").name("half", rest);
        });
        let graph = graph.unwrap();
        let taps: Vec<&str> = graph.taps().iter().map(|tap| tap.path.as_str()).collect();
        assert_eq!(taps, ["input", "head.half", "head.half#1"]);
        assert!(graph.outputs().is_empty() && graph.modules().len() == 2);
    }

    #[test]
    fn what_no_module_returns_can_be_named_and_constants_can_be_kernels() {
        let graph = Graph::write([1, 2, 8, 6], |net, x| {
            let x = net.module("block", |net| {
                let x = net.scale_by("alpha", x);
                net.name("scaled.0", x);
                net.fixed_conv("mean", x, Conv::pointwise(1), vec![0.5; 2])
            });
            net.output("mean", x);
        });
        let graph = graph.unwrap();
        let parameters: Vec<_> = graph.parameters().iter().map(|p| (p.name.as_str(), &p.shape[..])).collect();
        assert_eq!(parameters, [("block.alpha", &[1][..]), ("block.mean.weight", &[1, 2, 1, 1])]);
        assert_eq!(graph.parameters()[1].role, Role::Constant(vec![0.5; 2]));
        let taps: Vec<&str> = graph.taps().iter().map(|tap| tap.path.as_str()).collect();
        assert_eq!(taps, ["input", "block.scaled.0", "block.mean", "block", "output.mean"]);
    }

    #[test]
    fn the_first_mistake_is_named_with_its_module() {
        let error =
            |write: fn(&mut Scope<'_>, Value)| Graph::write([1, 3, 8, 6], write).unwrap_err().to_string();
        let message = error(|net, x| {
            let x = net.at("neck.reduce").conv("conv", x, Conv::depthwise(4, 3));
            let x = net.batch_norm("bn", x, 1e-5, 0.1);
            net.concat(&[x, x]);
        });
        assert!(message.starts_with("neck.reduce.conv: convolution cannot take [1, 3, 8, 6]"), "{message}");
        let message = error(|net, x| {
            let x = net.conv("conv", x, Conv::pointwise(4));
            net.conv("conv", x, Conv::pointwise(4));
        });
        assert!(message.starts_with("conv.weight: the parameter is used as [4, 3, 1, 1]"), "{message}");
    }
}
