"""`port bench` and another engine in turn, each in a process of its own."""

import json
import os
import statistics
import subprocess
import sys


def peak_memory():
    """The largest resident memory of this process so far, in bytes (Linux)."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def add_arguments(parser, rounds, runs):
    parser.add_argument("--port", default="target/release/port", help="the program")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=rounds, help="how often both are started")
    parser.add_argument("--runs", type=int, default=runs, help="timed runs in a round")


def output(command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def run_port(options, arguments):
    counts = ["--threads", str(options.threads), "--rounds", str(options.runs)]
    found = output([options.port, "bench", *arguments, *counts, "--json"])
    for doubt in found["doubts"]:
        print(f"  port: {doubt}")
    return {"shape": found["input"], "seconds": found["seconds"]["median"], "memory": found["peak_memory"]}


def compare(options, arguments, name, child):
    """Starts both in turn. The other, `child`, prints what `run_port` gives as JSON."""
    ratios, pairs = [], []
    for _ in range(options.rounds):
        ours, theirs = run_port(options, arguments), output([sys.executable, *child])
        if list(ours["shape"]) != list(theirs["shape"]):
            sys.exit(f"shapes differ: port {ours['shape']}, {name} {theirs['shape']}")
        ratios.append(ours["seconds"] / theirs["seconds"])
        pairs.append((ours, theirs))
        print(f"  port {1e3 * ours['seconds']:.2f} ms, {name} {1e3 * theirs['seconds']:.2f} ms: {ratios[-1]:.2f}")
    for engine, side in [("port", 0), (name, 1)]:
        seconds = statistics.median(pair[side]["seconds"] for pair in pairs)
        memory = max(pair[side]["memory"] for pair in pairs)
        print(f"{engine}: median {1e3 * seconds:.2f} ms, peak memory {memory / 2**20:.1f} MiB")
    ratio = statistics.median(ratios)
    print(f"port / {name}: {ratio:.2f} of the time, {1 / ratio:.2f} times as fast")
