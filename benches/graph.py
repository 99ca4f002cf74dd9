"""A network as `cargo run --example graph` writes it."""

import json

import numpy


class Graph:
    """Nodes, parameters `[(name, array or None, trainable)]`, the input, and outputs `[(name, node, array or None)]`."""

    def __init__(self, path):
        with open(path + ".json") as file:
            found = json.load(file)
        numbers, self._at = numpy.fromfile(path + ".bin", "<f4"), 0

        def take(shape, count=None):
            count = int(numpy.prod(shape)) if count is None else count
            self._at += count
            part = numbers[self._at - count : self._at]
            return part.reshape(shape) if count == numpy.prod(shape) else None

        self.nodes = found["nodes"]
        self.parameters = [
            (one["name"], take(one["shape"], one["count"]), one["trainable"]) for one in found["parameters"]
        ]
        self.input = take(next(node["shape"] for node in self.nodes if node["op"] == "input"))
        self.outputs = [
            (name, node, take(self.nodes[node]["shape"]) if self._at < len(numbers) else None)
            for name, node in found["outputs"]
        ]
