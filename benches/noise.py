"""Checkpoints without meaning: the tensors of a listing, filled with noise of a usual size, as a safetensors file.

The listings are the reference data's `state_dict.json`; only the standard library is needed.
"""

import array
import json
import math
import random
import sys

# Prime, so that tensors that follow one another do not begin alike.
PERIOD = 65521


def listed(path):
    """`[(name, dtype, shape)]` of a listing."""
    with open(path, encoding="utf-8") as listing:
        tensors = json.load(listing)["tensors"]
    return [(one["name"], one["dtype"], one["shape"]) for one in tensors]


def affine(name, shape):
    """Offset and slope that make a number of [-1, 1) a value of this tensor: activations keep their magnitude."""
    if name.endswith("running_var"):
        return 1.0, 0.5
    if len(shape) >= 2:
        return 0.0, 1.4 * math.sqrt(3 / math.prod(shape[1:]))
    if not shape or name.endswith(".weight"):
        return 1.0, 0.25 if not shape else 0.5
    return 0.0, 0.1


class Noise:
    """The same numbers for the same tensors, everywhere."""

    def __init__(self):
        draw = random.Random(7).random
        self.period = [2 * draw() - 1 for _ in range(PERIOD)]
        self.scaled = {}

    def values(self, offset, slope):
        key = (offset, slope)
        if key not in self.scaled:
            numbers = array.array("f", (offset + slope * one for one in self.period))
            if sys.byteorder == "big":
                numbers.byteswap()
            self.scaled[key] = numbers.tobytes()
        return self.scaled[key]

    def pieces(self, name, shape, start):
        """The bytes of a tensor, in pieces of a period at most."""
        count = math.prod(shape)
        if name.endswith(".project"):
            bins = array.array("f", range(count))
            yield bins.tobytes()
            return
        period = self.values(*affine(name, shape))
        at = start % PERIOD
        while count:
            taken = min(count, PERIOD - at)
            yield period[4 * at : 4 * (at + taken)]
            count, at = count - taken, 0


def write(path, tensors):
    """Counters are zero; every other tensor is f32."""
    counters = [one for one in tensors if one[1] == "int64"]
    numbers = [one for one in tensors if one[1] != "int64"]
    header, at = {}, 0
    for name, dtype, shape in counters + numbers:
        end = at + math.prod(shape) * (8 if dtype == "int64" else 4)
        header[name] = {"dtype": "I64" if dtype == "int64" else "F32", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    noise = Noise()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, _, shape in counters:
            file.write(bytes(8 * math.prod(shape)))
        for index, (name, _, shape) in enumerate(numbers):
            file.writelines(noise.pieces(name, shape, 7919 * index))


def main():
    listing, path = sys.argv[1:]
    write(path, listed(listing))


if __name__ == "__main__":
    main()
