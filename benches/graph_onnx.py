"""Makes an ONNX file of a network's deploy form, node by node, and compares ONNX Runtime's outputs with `port`'s.

    pip install onnx onnxruntime
    cargo run --release --example graph -- gold-yolo-n gold-yolo-n --image-size 640
    python benches/graph_onnx.py gold-yolo-n
"""

import sys

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from graph import Graph

#: Operators that are one of ONNX's without attributes or constants.
PLAIN = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "add": "Add",
    "multiply": "Mul",
    "matrix product": "MatMul",
}


class Writer:
    def __init__(self, graph):
        self.graph, self.nodes, self.arrays = graph, [], {}
        for index, node in enumerate(graph.nodes):
            self.write(node, [f"v{value}" for value in node["inputs"]], f"v{index}")

    def add(self, op, inputs, output, **attributes):
        outputs = output if isinstance(output, list) else [output]
        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))

    def constant(self, name, array):
        self.arrays[name] = numpy.ascontiguousarray(array)
        return name

    def integers(self, name, numbers):
        return self.constant(name, numpy.array(numbers, numpy.int64))

    def floats(self, name, numbers):
        return self.constant(name, numpy.array(numbers, numpy.float32))

    def parameter(self, index):
        name, array, _ = self.graph.parameters[index]
        return self.constant(name, array)

    def write(self, node, inputs, out):
        op, given, shape = node["op"], node["attributes"], node["shape"]
        parameters = node["parameters"]
        if op == "input":
            return
        if op in PLAIN:
            self.add(PLAIN[op], inputs, out)
        elif op == "convolution":
            operands = inputs + [self.parameter(index) for index in parameters]
            names = {"kernel_shape": "kernel", "strides": "stride", "dilations": "dilation", "group": "groups"}
            attributes = {name: given[own] for name, own in names.items()}
            self.add("Conv", operands, out, pads=given["padding"] * 2, **attributes)
        elif op == "relu6":
            self.add("Clip", inputs + [self.floats(out + "low", 0), self.floats(out + "high", 6)], out)
        elif op == "silu":
            self.add("Sigmoid", inputs, out + "s")
            self.add("Mul", inputs + [out + "s"], out)
        elif op == "leaky relu":
            self.add("LeakyRelu", inputs, out, alpha=0.1)
        elif op == "hard sigmoid":
            self.add("HardSigmoid", inputs, out, alpha=1 / 6, beta=0.5)
        elif op == "scale":
            self.add("Mul", inputs + [self.parameter(parameters[0])], out)
        elif op == "concat":
            self.add("Concat", inputs, out, axis=given["axis"])
        elif op == "slice":
            start, end = given["start"], given["start"] + given["length"]
            bounds = [self.integers(out + name, [at]) for name, at in zip("sea", [start, end, given["axis"]])]
            self.add("Slice", inputs + bounds, out)
        elif op == "reshape":
            self.add("Reshape", inputs + [self.integers(out + "s", given["shape"])], out)
        elif op == "transpose":
            self.add("Transpose", inputs, out, perm=given["order"])
        elif op == "softmax":
            self.add("Softmax", inputs, out, axis=given["axis"])
        elif op == "top k":
            count = self.integers(out + "k", [given["count"]])
            self.add("TopK", inputs + [count], [out, out + "i"], axis=given["axis"])
        elif op == "mean":
            self.add("ReduceMean", inputs, out, axes=[given["axis"]], keepdims=1)
        elif op == "max pool":
            self.add("MaxPool", inputs, out, kernel_shape=given["kernel"], strides=given["stride"], pads=given["padding"] * 2)
        elif op == "adaptive average pool":
            source = self.graph.nodes[node["inputs"][0]]["shape"][2:]
            window = [size // own for size, own in zip(source, given["size"])]
            assert [size * own for size, own in zip(window, given["size"])] == source, "windows differ in size"
            self.add("AveragePool", inputs, out, kernel_shape=window, strides=window)
        elif op == "resize":
            self.resize(inputs, given["mode"], shape, out)
        elif op == "group norm":
            self.group_norm(inputs, given, parameters, shape, out)
        elif op == "channel shuffle":
            images, channels, height, width = shape
            dealt = [images, given["groups"], channels // given["groups"], height, width]
            self.add("Reshape", inputs + [self.integers(out + "s", dealt)], out + "r")
            self.add("Transpose", [out + "r"], out + "t", perm=[0, 2, 1, 3, 4])
            self.add("Reshape", [out + "t", self.integers(out + "u", shape)], out)
        else:
            sys.exit(f"no ONNX is known for the operator {op}")

    def resize(self, inputs, mode, shape, out):
        operands = inputs + ["", "", self.integers(out + "s", shape)]
        if mode == "Nearest":
            how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            self.add("Resize", operands, out, mode="nearest", **how)
        else:
            how = "half_pixel" if mode == "Bilinear" else "align_corners"
            self.add("Resize", operands, out, mode="linear", coordinate_transformation_mode=how)

    def group_norm(self, inputs, given, parameters, shape, out):
        groups = given["groups"]
        ones, zeros = self.floats(out + "1", numpy.ones(groups)), self.floats(out + "0", numpy.zeros(groups))
        self.add("Reshape", inputs + [self.integers(out + "s", [shape[0], groups, -1])], out + "r")
        self.add("InstanceNormalization", [out + "r", ones, zeros], out + "n", epsilon=given["epsilon"])
        self.add("Reshape", [out + "n", self.integers(out + "t", shape)], out + "b")
        weight, bias = (self.graph.parameters[index][1].reshape(-1, 1, 1) for index in parameters)
        self.add("Mul", [out + "b", self.constant(out + "w", weight)], out + "m")
        self.add("Add", [out + "m", self.constant(out + "c", bias)], out)

    def model(self):
        def tensor(node):
            return helper.make_tensor_value_info(f"v{node}", TensorProto.FLOAT, self.graph.nodes[node]["shape"])

        inputs = [tensor(index) for index, node in enumerate(self.graph.nodes) if node["op"] == "input"]
        outputs = [tensor(node) for _, node, _ in self.graph.outputs]
        arrays = [numpy_helper.from_array(array, name) for name, array in self.arrays.items()]
        body = helper.make_graph(self.nodes, "network", inputs, outputs, arrays)
        return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main(path):
    graph = Graph(path)
    model = Writer(graph).model()
    onnx.save(model, path + ".onnx")
    session = onnxruntime.InferenceSession(path + ".onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: graph.input})
    for (name, _, expected), numbers in zip(graph.outputs, found):
        difference = abs(numbers - expected).max() / abs(expected).max()
        print(f"{name} {list(numbers.shape)}: largest difference {difference:.1e} of the largest magnitude")


if __name__ == "__main__":
    main(*sys.argv[1:])
