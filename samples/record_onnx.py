"""Records what an ONNX detector computes, once, so that `port verify` can compare with it.

    python record_onnx.py model.onnx recording.safetensors --input picture.npy --output preds

Needs onnx, onnxruntime, numpy and safetensors. Module paths come from the node names that torch's exporter writes
(`/backbone/conv1/conv1.0/Conv`); a file without them gives `input` and outputs only. A convolution whose weights lost
their name had a batch norm folded into it: its result belongs to the norm, which left no name, so it is skipped.
"""

import argparse
import re

import numpy
import onnx
import onnxruntime
from safetensors.numpy import save_file


def module_path(node_name):
    """`/fpn/reduce_layers.0/conv/Conv` -> `fpn.reduce_layers.0.conv`; `conv1/conv1.0` is one module, not two."""
    parts = []
    for part in node_name.strip("/").split("/")[:-1]:
        if parts and part.startswith(parts[-1] + "."):
            parts.pop()
        parts.append(part)
    return ".".join(parts)


def named_values(graph):
    """Results of the nodes by module path: the last node of each module gives its result."""
    weights = {tensor.name for tensor in graph.initializer}
    paths = {module_path(node.name) for node in graph.node}
    values = {}
    for node in graph.node:
        path, kernel = module_path(node.name), node.input[1] if len(node.input) > 1 else ""
        folded = node.op_type == "Conv" and kernel in weights and not kernel.startswith(path + ".")
        if not path or folded:
            values.pop(path, None)
            continue
        # The exporter numbers the calls of one module: act, act_1, act_2.
        stem, _, call = path.rpartition("_")
        if call.isdigit() and stem in paths:
            path = f"{stem}#{call}"
        values[path] = node.output[0]
    return values


def record(file, picture, output, only):
    """Runs the model on `picture` [N, 3, H, W] and returns input, module results and outputs."""
    model = onnx.load(file)
    outputs = [value.name for value in model.graph.output]
    values = {path: name for path, name in named_values(model.graph).items() if re.search(only or "", path)}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in set(values.values()) - set(outputs))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    results = dict(zip(names, session.run(names, {session.get_inputs()[0].name: picture})))
    recorded = {path: results[name] for path, name in values.items()}
    named = [output] if len(outputs) == 1 and output else outputs
    recorded.update((f"output.{name}", results[value]) for name, value in zip(named, outputs))
    floats = {name: numpy.ascontiguousarray(value) for name, value in recorded.items() if value.dtype == numpy.float32}
    return {"input": picture, **floats}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Record an ONNX model for port verify.")
    arguments.add_argument("model", help="the ONNX file")
    arguments.add_argument("file", help="the safetensors file to write")
    arguments.add_argument("--input", help="a .npy file with the input, [N, 3, H, W] in f32")
    arguments.add_argument("--shape", default="1,3,416,416", help="shape of a random input, when there is none")
    arguments.add_argument("--output", help="what port calls the only output, for instance preds")
    arguments.add_argument("--only", help="record the modules whose path this expression finds")
    options = arguments.parse_args()
    shape = [int(size) for size in options.shape.split(",")]
    image = numpy.load(options.input) if options.input else numpy.random.randn(*shape).astype("float32")
    tensors = record(options.model, image, options.output, options.only)
    save_file(tensors, options.file)
    print(f"{options.file}: {len(tensors)} tensors")
