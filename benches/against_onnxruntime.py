"""`port bench` beside ONNX Runtime: the same network, the same cores, in turn.

    pip install onnxruntime
    python benches/against_onnxruntime.py nanodet-plus-m_416_coco.onnx nanodet-plus-m_416_coco.pth --image-size 416

What stands behind the ONNX file goes to `port bench` as it is. Every round starts both anew; medians of their runs are
compared, and the median of the rounds' ratios is the last line.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

WARM_UP_SECONDS = 0.3


def peak_memory():
    """The largest resident memory of this process so far, in bytes (Linux)."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def run_onnxruntime(model, threads, rounds):
    """Seconds of each run, and the memory that the model took beyond that of the interpreter and its libraries."""
    import numpy
    import onnxruntime

    before = peak_memory()
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
    return {"shape": given.shape, "seconds": statistics.median(seconds), "memory": peak_memory() - before}


def run_port(program, arguments, threads, rounds):
    command = [program, "bench", *arguments, "--threads", str(threads), "--rounds", str(rounds), "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for doubt in found["doubts"]:
        print(f"  port: {doubt}")
    return {"shape": found["input"], "seconds": found["seconds"]["median"], "memory": found["peak_memory"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the ONNX file")
    parser.add_argument("--port", default="target/release/port", help="the program")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=7, help="how often both are started")
    parser.add_argument("--runs", type=int, default=20, help="timed runs in a round")
    parser.add_argument("--only-onnxruntime", action="store_true", help=argparse.SUPPRESS)
    options, arguments = parser.parse_known_args()
    if options.only_onnxruntime:
        print(json.dumps(run_onnxruntime(options.model, options.threads, options.runs)))
        return
    child = [sys.executable, __file__, options.model, "--only-onnxruntime"]
    child += ["--threads", str(options.threads), "--runs", str(options.runs)]
    ratios, pairs = [], []
    for _ in range(options.rounds):
        ours = run_port(options.port, arguments, options.threads, options.runs)
        theirs = json.loads(subprocess.run(child, check=True, capture_output=True, text=True).stdout)
        if list(ours["shape"]) != list(theirs["shape"]):
            sys.exit(f"shapes differ: port {ours['shape']}, ONNX Runtime {theirs['shape']}")
        ratios.append(ours["seconds"] / theirs["seconds"])
        pairs.append((ours, theirs))
        print(f"  port {1e3 * ours['seconds']:.2f} ms, ONNX Runtime {1e3 * theirs['seconds']:.2f} ms: {ratios[-1]:.2f}")
    for name, side in [("port", 0), ("ONNX Runtime", 1)]:
        seconds = statistics.median(pair[side]["seconds"] for pair in pairs)
        memory = max(pair[side]["memory"] for pair in pairs)
        print(f"{name}: median {1e3 * seconds:.2f} ms, peak memory {memory / 2**20:.1f} MiB")
    print(f"port / ONNX Runtime: {statistics.median(ratios):.2f} of the time")


if __name__ == "__main__":
    main()
