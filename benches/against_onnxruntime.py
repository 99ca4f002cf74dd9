"""`port bench` beside ONNX Runtime: the same network, the same cores, in turn.

    pip install onnxruntime
    python benches/against_onnxruntime.py nanodet-plus-m_416_coco.onnx nanodet-plus-m_416_coco.pth --image-size 416

What stands behind the ONNX file goes to `port bench` as it is. Every round starts both anew; medians of their runs are
compared, and the median of the rounds' ratios is the last line.
"""

import argparse
import json
import statistics
import sys
import time

import peers

WARM_UP_SECONDS = 0.3


def run_onnxruntime(model, threads, rounds):
    """Seconds of each run, and the memory that the model took beyond that of the interpreter and its libraries."""
    import numpy
    import onnxruntime

    before = peers.peak_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    if not all(isinstance(size, int) for size in given.shape):
        sys.exit(f"{model}: the input {given.name} has no fixed shape: {given.shape}")
    picture = numpy.random.default_rng(0).uniform(-1, 1, given.shape).astype(numpy.float32)

    def run():
        start = time.perf_counter()
        session.run(None, {given.name: picture})
        return time.perf_counter() - start

    begin = time.perf_counter()
    while time.perf_counter() - begin < WARM_UP_SECONDS:
        run()
    seconds = [run() for _ in range(rounds)]
    return {"shape": given.shape, "seconds": statistics.median(seconds), "memory": peers.peak_memory() - before}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the ONNX file")
    peers.add_arguments(parser, rounds=7, runs=20)
    parser.add_argument("--only-onnxruntime", action="store_true", help=argparse.SUPPRESS)
    options, arguments = parser.parse_known_args()
    if options.only_onnxruntime:
        print(json.dumps(run_onnxruntime(options.model, options.threads, options.runs)))
        return
    child = [__file__, options.model, "--only-onnxruntime"]
    child += ["--threads", str(options.threads), "--runs", str(options.runs)]
    peers.compare(options, arguments, "ONNX Runtime", child)


if __name__ == "__main__":
    main()
