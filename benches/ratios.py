"""How much slower or faster one `port` program is than another: both in turn, ratios of each round.

    python benches/ratios.py OLD NEW                       # every row, 15 rounds
    python benches/ratios.py OLD NEW --rows train --rounds 30
    python benches/ratios.py OLD OLD --rounds 5            # how far apart a program is from itself

In every round each row runs with both programs, OLD first in one round and NEW first in the next. A row's ratio is
NEW's time divided by OLD's. A row is marked if the median of its ratios is above 1.02, or if the peak of memory is
higher by more than it varies from run to run (1 %, and half a MiB); then the exit code is 1.

Of what `port bench` measures itself, a run or a step, its median counts; of conversions, detection and evaluation the
processor time of the whole command, user and system, since their wall time is that of the disk. (`wall` is the ratio of
the whole commands' wall times, for all rows.) Memory is the largest resident set of the process (wait4), the median of
the rounds; in conversions that is mostly pages of the mapped file. Files are made in the folder for temporary ones:
with TMPDIR=/dev/shm the disk takes no part.

Only the standard library is needed. What needs the reference data (`../shared` beside the repository, or --shared) is
skipped with a word where they are not there.
"""

import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SLOWER = 1.02
# Ten runs of one program at 24 MiB differed by 0.3 MiB.
LARGER, LARGER_BYTES = 1.01, 1 << 19
SAMPLE = REPOSITORY / "samples/nanodet-plus-shapes.pth"
SHAPES = REPOSITORY / "samples/shapes"
OUTPUT = "output"


@dataclass
class Run:
    """Seconds of what counts, seconds on the wall of the whole command, bytes at the peak."""

    seconds: float
    wall: float
    memory: int


@dataclass
class Row:
    name: str
    # Of `port`; it works in the folder of what is made here.
    arguments: list[str]
    # Whether the program measures itself.
    benches: bool = False
    # Of the old and the new program, one pair a round.
    pairs: list[tuple[Run, Run]] = field(default_factory=list)

    def ratios(self, what):
        return [getattr(new, what) / getattr(old, what) for old, new in self.pairs]

    def medians(self, what):
        return [statistics.median(getattr(run, what) for run in runs) for runs in zip(*self.pairs)]


RESNET = "gfocal-r50-fpn --until neck --image-size 256 --batch 2 --train --rounds 5"


def networks():
    """As many runs as make a median, all rows together within a minute a round."""
    for name, options in [
        ("inference nanodet-plus-m 320", "nanodet-plus-m --image-size 320 --rounds 60"),
        ("inference nanodet-plus-m 416", "nanodet-plus-m --image-size 416 --rounds 50"),
        ("inference gold-yolo-n 640", "gold-yolo-n --image-size 640 --rounds 20"),
        ("inference gold-yolo-s 640", "gold-yolo-s --image-size 640 --rounds 9"),
        ("inference gfocal-r50-fpn 320", "gfocal-r50-fpn --image-size 320 --rounds 9"),
        ("inference gfocal-r50-fpn 800x1344", "gfocal-r50-fpn --image-size 1344x800 --rounds 3"),
        ("train nanodet-plus-m 320 batch 16", "nanodet-plus-m --image-size 320 --batch 16 --train --rounds 3"),
        ("train resnet-50 256 batch 2 until neck", RESNET),
        ("train gold-yolo-n 320 batch 8", "gold-yolo-n --image-size 320 --batch 8 --train --rounds 5"),
    ]:
        yield Row(name, ["bench", *options.split(), "--json"], benches=True)


def commands(made):
    """Rows of whole commands, as far as their inputs are there."""
    convert = {
        "convert pth to safetensors": "large.pth --to safetensors",
        "convert pth to pth": "large.pth --to pth",
        "convert pth to pkl": "large.pth --to pkl",
        "convert safetensors to pth": "large.safetensors --to pth",
        "convert pkl to safetensors": "large.pkl --to safetensors",
    }
    if made.named:
        convert["convert pth to safetensors --model auto"] = "large.pth --to safetensors --model auto"
    for name, options in convert.items():
        yield Row(name, ["convert", *options.split(), "-o", OUTPUT])
    if made.results:
        ground_truth, results = (str(made.results / name) for name in ("gt.json", "dt.json"))
        name = f"evaluate {made.results.name}"
        yield Row(name, ["eval", "coco", "--annotations", ground_truth, "--results", results, "--json"])
    network = ["--weights", str(SAMPLE), "--image-size", "192"]
    annotations = ["--annotations", str(SHAPES / "annotations.json"), "--images", str(SHAPES)]
    yield Row("evaluate a network on 24 pictures", ["eval", "coco", *annotations, *network, "--json"])
    yield Row("detect in 24 pictures", ["detect", str(SHAPES), *network, "--json"])


class Made:
    """Inputs that are made here, once. Other processes make them: a large parent would be taken for the peak."""

    def __init__(self, folder, shared):
        self.folder, self.reference = folder, shared / "reference"
        listing = self.reference / "gold-yolo/l/state_dict.json"
        # Whether a network is known by the names.
        self.named = listing.is_file()
        if not self.named:
            print(f"SKIPPED: --model auto; there is no {listing}")
            listing = self.plain_listing()
        self.listing, self.results = listing, None

    def plain_listing(self):
        shapes = [[256 // (1 + at % 7), 4096] for at in range(200)]
        tensors = [{"name": f"layer.{at}", "dtype": "float32", "shape": shape} for at, shape in enumerate(shapes)]
        listing = self.folder / "listing.json"
        listing.write_text(json.dumps({"tensors": tensors}))
        return listing

    def checkpoints(self, program):
        large = self.folder / "large.safetensors"
        self.start([sys.executable, Path(__file__).with_name("noise.py"), self.listing, large])
        for target in ("pth", "pkl"):
            self.start([program, "convert", large, "--to", target, "-o", large.with_suffix(f".{target}")])

    def detections(self):
        world = self.reference / "eval/world.py"
        if world.is_file():
            self.results = self.folder / "coco5k"
            self.results.mkdir()
            self.start([sys.executable, world, "5000", self.results])
        elif (self.reference / "eval/coco/coco200").is_dir():
            self.results = self.reference / "eval/coco/coco200"
        else:
            print(f"SKIPPED: evaluation of detections; there is no {world}")

    def start(self, command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder)


def run(program, row, folder):
    (folder / OUTPUT).unlink(missing_ok=True)
    with tempfile.TemporaryFile() as printed:
        begin = time.perf_counter()
        child = subprocess.Popen([program, *row.arguments], cwd=folder, stdout=printed)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.exit(f"{program} {' '.join(row.arguments)}: exit code {child.returncode}")
        seconds = used.ru_utime + used.ru_stime
        if row.benches:
            printed.seek(0)
            seconds = json.load(printed)["seconds"]["median"]
    return Run(seconds, wall, 1024 * used.ru_maxrss)


def measure(rows, programs, folder, rounds):
    for row in rows:
        if not row.benches:
            # Inputs into the page cache.
            run(programs[0], row, folder)
    for count in range(rounds):
        for at, row in enumerate(rows):
            progress(f"\rround {count + 1} of {rounds}, row {at + 1} of {len(rows)} ")
            # Whichever comes second finds another machine: warmer, with another page cache.
            order = (0, 1) if (count + at) % 2 == 0 else (1, 0)
            runs = {side: run(programs[side], row, folder) for side in order}
            row.pairs.append((runs[0], runs[1]))
    progress("\n")


def progress(text):
    if sys.stderr.isatty():
        print(text, end="", file=sys.stderr, flush=True)


def machine(programs):
    described = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    name = re.search(r"^model name\s*: (.*)$", described, re.MULTILINE)
    family = re.search(r"^cpu family\s*: (.*)$", described, re.MULTILINE)
    tiny = ["bench", "nanodet-plus-m", "--image-size", "64", "--rounds", "1", "--json"]
    sets = [json.loads(subprocess.run([one, *tiny], check=True, capture_output=True).stdout) for one in programs]
    sets = dict.fromkeys(one["instructions"] for one in sets)
    processor = name.group(1) if name else platform.processor() or platform.machine()
    family = f", family {family.group(1)}" if family else ""
    load = ", ".join(f"{one:.2f}" for one in os.getloadavg())
    print(f"{processor}{family}; {os.cpu_count()} cores; instructions {' and '.join(sets)}; load before {load}")


def report(rows):
    """Prints the rows that were measured; whether none is marked."""
    columns = f"{'ratio':>7}{'least':>7}{'most':>7}{'wall':>7}{'old ms':>10}{'new ms':>10}{'old MiB':>9}{'new MiB':>9}"
    print(f"{'row':42}{'counts':9}{columns}")
    all_well = True
    for row in rows:
        if not row.pairs:
            continue
        ratios, memory = row.ratios("seconds"), row.medians("memory")
        ratio, wall = statistics.median(ratios), statistics.median(row.ratios("wall"))
        most = max(LARGER * memory[0], memory[0] + LARGER_BYTES)
        marks = ["slower"] * (ratio > SLOWER) + ["larger"] * (memory[1] > most)
        all_well &= not marks
        times = "".join(f"{1e3 * one:10.2f}" for one in row.medians("seconds"))
        sizes = "".join(f"{one / 2**20:9.1f}" for one in memory)
        counted = "run" if row.benches else "CPU time"
        spread = f"{ratio:7.3f}{min(ratios):7.3f}{max(ratios):7.3f}{wall:7.3f}"
        print(f"{row.name:42}{counted:9}{spread}{times}{sizes}  {', '.join(marks)}".rstrip())
    return all_well


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", default="", help="a regular expression: rows whose name it fits")
    parser.add_argument("--shared", type=Path, default=REPOSITORY.parent / "shared", help="the reference data's folder")
    return parser.parse_args()


def chosen(pattern, made, program):
    """The rows that are wanted, with what they need."""
    if re.search(pattern, "evaluate coco5k"):
        made.detections()
    rows = [row for row in [*networks(), *commands(made)] if re.search(pattern, row.name)]
    if any(row.arguments[0] == "convert" for row in rows):
        made.checkpoints(program)
    return rows


def main():
    options = arguments()
    programs = [options.old.resolve(strict=True), options.new.resolve(strict=True)]
    # Whoever ends this early is told what was measured until then.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="port-ratios-") as folder:
        folder = Path(folder)
        machine(programs)
        rows = chosen(options.rows, Made(folder, options.shared.resolve()), programs[0])
        try:
            measure(rows, programs, folder, options.rounds)
        except KeyboardInterrupt:
            print("\ninterrupted: what was measured until now")
    sys.exit(not report(rows))


if __name__ == "__main__":
    main()
