"""`port bench --train` beside PyTorch's eager mode: the same network, the same cores, in turn.

    pip install torch
    cargo run --release --example graph -- gold-yolo-n gold-yolo-n --image-size 320 --batch 8 --training
    python benches/against_torch.py gold-yolo-n gold-yolo-n --image-size 320 --batch 8

What stands behind the graph goes to `port bench --train` as it is. A step is forward, backward from fixed gradients at the
outputs, and SGD with momentum; batch norms use the statistics of the batch. Every round starts both anew; medians of
their steps are compared.
"""

import argparse
import json
import statistics
import time

import peers
from graph import Graph

ACTIVATIONS = ["relu", "relu6", "sigmoid", "silu", "hard sigmoid"]


def operator(node, parameters):
    """A function of the inputs."""
    import torch
    from torch.nn import functional

    op, given = node["op"], node["attributes"]
    own = [parameters[index] for index in node["parameters"]]
    if op == "convolution":
        names = {"stride": "stride", "padding": "padding", "dilation": "dilation", "groups": "groups"}
        attributes = {name: given[own_name] for name, own_name in names.items()}
        return lambda x: functional.conv2d(x, own[0], own[1] if len(own) > 1 else None, **attributes)
    if op == "batch norm":
        weight, bias, mean, variance = own
        momentum, epsilon = given["momentum"], given["epsilon"]
        return lambda x: functional.batch_norm(x, mean, variance, weight, bias, True, momentum, epsilon)
    if op in ACTIVATIONS:
        function = getattr(functional, {"hard sigmoid": "hardsigmoid"}.get(op, op))
        return lambda x: function(x)
    if op == "resize":
        how = {"mode": "nearest"} if given["mode"] == "Nearest" else {"mode": "bilinear", "align_corners": given["mode"] != "Bilinear"}
        return lambda x: functional.interpolate(x, size=given["size"], **how)
    return {
        "leaky relu": lambda x: functional.leaky_relu(x, 0.1),
        "group norm": lambda x: functional.group_norm(x, given["groups"], *own, given["epsilon"]),
        "max pool": lambda x: functional.max_pool2d(x, given["kernel"], given["stride"], given["padding"]),
        "adaptive average pool": lambda x: functional.adaptive_avg_pool2d(x, given["size"]),
        "concat": lambda *parts: torch.cat(parts, given["axis"]),
        "slice": lambda x: x.narrow(given["axis"], given["start"], given["length"]),
        "add": lambda x, y: x + y,
        "multiply": lambda x, y: x * y,
        "matrix product": lambda x, y: x @ y,
        "scale": lambda x: x * own[0],
        "channel shuffle": lambda x: functional.channel_shuffle(x, given["groups"]),
        "reshape": lambda x: x.reshape(given["shape"]),
        "transpose": lambda x: x.permute(given["order"]),
        "softmax": lambda x: x.softmax(given["axis"]),
        "top k": lambda x: x.topk(given["count"], given["axis"]).values,
        "mean": lambda x: x.mean(given["axis"], keepdim=True),
    }[op]


def run_torch(path, threads, rounds):
    import numpy
    import torch

    before = peers.peak_memory()
    torch.set_num_threads(threads)
    graph = Graph(path)
    parameters = [
        None if array is None else torch.tensor(array).requires_grad_(trainable)
        for _, array, trainable in graph.parameters
    ]
    trained = [one for one in parameters if one is not None and one.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=1e-6, momentum=0.9, weight_decay=1e-4)
    steps = [None if node["op"] == "input" else operator(node, parameters) for node in graph.nodes]
    # Values that no later node takes are let go, as locals of a module would be.
    last = {value: at for at, node in enumerate(graph.nodes) for value in node["inputs"]}
    outputs = [node for _, node, _ in graph.outputs]
    picture = torch.tensor(graph.input)
    random = numpy.random.default_rng(0)
    gradients = None

    def step():
        nonlocal gradients
        values = {}
        for at, (node, run) in enumerate(zip(graph.nodes, steps)):
            values[at] = picture if run is None else run(*(values[value] for value in node["inputs"]))
            for value in node["inputs"]:
                if last[value] == at and value not in outputs:
                    values.pop(value, None)
        found = [values[node] for node in outputs]
        del values
        if gradients is None:
            uniform = (random.uniform(-1, 1, one.shape) / one.numel() for one in found)
            gradients = [torch.tensor(numbers, dtype=torch.float32) for numbers in uniform]
        optimiser.zero_grad()
        torch.autograd.backward(found, gradients)
        optimiser.step()

    step()
    step()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return {"shape": list(picture.shape), "seconds": statistics.median(seconds), "memory": peers.peak_memory() - before}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", help="the files of the graph without their ending")
    peers.add_arguments(parser, rounds=5, runs=5)
    parser.add_argument("--only-torch", action="store_true", help=argparse.SUPPRESS)
    options, arguments = parser.parse_known_args()
    if options.only_torch:
        print(json.dumps(run_torch(options.graph, options.threads, options.runs)))
        return
    child = [__file__, options.graph, "--only-torch"]
    child += ["--threads", str(options.threads), "--runs", str(options.runs)]
    peers.compare(options, [*arguments, "--train"], "PyTorch", child)


if __name__ == "__main__":
    main()
