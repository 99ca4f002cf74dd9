"""Whether two `port` programs write the same: bytes, exit codes, what they print.

    python benches/same.py OLD NEW
    python benches/same.py OLD NEW --only documents --only eval    # some groups
    python benches/same.py OLD NEW --allow words                   # better words of errors do not count

Each command of `same_commands.py` runs with both programs in folders of their own; of what comes out only times,
measured speeds and the folders' names are left aside. Prints how many commands of each group agree and each difference;
the exit code is 1 when there is one. Needs no package. The reference data are looked for in `../shared` beside the
repository.

Kinds of difference: `exit` (exit codes), `output`, `files` (what was written), `numbers` (only numbers differ; how much
at most, relatively), `words` (only the message of an error, the exit code being the same).
"""

import argparse
import concurrent.futures
import contextlib
import difflib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import same_commands
from same_story import Command, Places

REPOSITORY = Path(__file__).resolve().parent.parent
KINDS = ["exit", "output", "files", "numbers", "words"]
TIMEOUT_SECONDS = 300
LINES_OF_A_DIFFERENCE = 16

NUMBER = re.compile(r"(?<![A-Za-z_])[-+]?\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?")
VARYING = [
    (re.compile(r"\.port-\w+\.part"), ".port-NAME.part"),
    (re.compile(r"\bin \d+\.\d\d s"), "in TIME"),
    (re.compile(r'"(seconds|preprocessing|network|postprocessing)": [\d.e-]+'), r'"\1": TIME'),
]
MEASURED = re.compile(
    r'^ *"(?:p10|median|p90|seconds|(?:images|flops|peak_flops)_per_second|peak_memory)": [\d.e+-]+,?\n'
    r'|^ *"doubts": \[[^\]]*\],?\n',
    re.MULTILINE,
)


@dataclass
class Ran:
    """What a program printed, how it ended, and the files that it wrote or changed: SHA-256, or where a link leads."""

    code: int | str
    stdout: str
    stderr: str
    files: dict[str, str]


@dataclass
class Difference:
    group: str
    command: str
    kind: str
    text: str


@dataclass
class Tally:
    """How many commands there were, ended with 0 in the old program and differ; and the differences by kind."""

    commands: int = 0
    succeeded: int = 0
    different: int = 0
    kinds: Counter = field(default_factory=Counter)

    def add(self, other):
        self.commands += other.commands
        self.succeeded += other.succeeded
        self.different += other.different
        self.kinds.update(other.kinds)


class Side:
    """One of the two programs and the folder that it works in."""

    def __init__(self, name, program, folder, links):
        self.program, self.folder = program, folder / name
        self.folder.mkdir(parents=True)
        for link, target in links.items():
            (self.folder / link).symlink_to(target)
        self.links, self.seen = set(links), {}

    def run(self, command):
        environment = {**os.environ, "COLUMNS": "100", "RUST_BACKTRACE": "0", "LC_ALL": "C.UTF-8"}
        try:
            ran = subprocess.run(
                [self.program, *command.arguments], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                capture_output=True, timeout=TIMEOUT_SECONDS,
            )
            code, stdout, stderr = ran.returncode, ran.stdout, ran.stderr
        except subprocess.TimeoutExpired:
            code, stdout, stderr = f"none in {TIMEOUT_SECONDS} s", b"", b""
        if command.save:
            (self.folder / command.save).write_bytes(stdout)
        return Ran(code, self.normal(stdout, command), self.normal(stderr, command), self.changed(command))

    def normal(self, printed, command):
        text = printed.decode("utf-8", "backslashreplace")
        text = text.replace(str(self.folder), "FOLDER").replace(str(REPOSITORY), "REPOSITORY")
        for pattern, replacement in VARYING:
            text = pattern.sub(replacement, text)
        if command.measures == "json":
            return MEASURED.sub("", text)
        if command.measures:
            lines = [NUMBER.sub("#", re.sub(r"\s+", " ", line)) for line in text.splitlines()]
            return "\n".join(sorted(lines))
        return text

    def changed(self, command):
        """The files that are new or other than after the command before."""
        changed = {}
        for name, path in self.files():
            state = path.lstat()
            state = (state.st_mtime_ns, state.st_size, state.st_ino)
            if self.seen.get(name) == state:
                continue
            self.seen[name] = state
            # What a program printed is compared as such.
            if name != command.save:
                changed[name] = self.content(path)
        return changed

    def files(self):
        for folder, folders, names in os.walk(self.folder):
            here = Path(folder)
            if here == self.folder:
                folders[:] = [name for name in folders if name not in self.links]
            links = [name for name in folders if (here / name).is_symlink()]
            for name in names + links:
                yield str((here / name).relative_to(self.folder)), here / name

    def content(self, path):
        if path.is_symlink():
            return "link to " + os.readlink(path).replace(str(self.folder), "FOLDER")
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest()


def largest_change(old, new):
    """The largest relative change of the numbers, if the texts are equal but for numbers; else None."""
    if NUMBER.sub("#", old) != NUMBER.sub("#", new):
        return None
    pairs = zip(NUMBER.findall(old), NUMBER.findall(new))
    pairs = [(float(a.replace(",", "")), float(b.replace(",", ""))) for a, b in pairs if a != b]
    return max((abs(a - b) / max(abs(a), abs(b), 1e-300) for a, b in pairs), default=0.0)


def shown_difference(old, new, what):
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), f"old {what}", f"new {what}", n=1, lineterm="")
    lines = [line[:240] for line in lines]
    more = len(lines) - LINES_OF_A_DIFFERENCE
    return "\n".join(lines[:LINES_OF_A_DIFFERENCE] + ([f"... {more} lines more"] if more > 0 else []))


def kind_of_text(old, new, otherwise):
    change = largest_change(old, new)
    return (otherwise, "") if change is None else ("numbers", f"numbers differ by at most {change:.2g}\n")


def only_the_message(old, new):
    """Whether two documents of `--json` tell the same error but for its message."""
    try:
        documents = [json.loads(side)["error"] for side in (old, new)]
    except (ValueError, KeyError, TypeError):
        return False
    kept = [{key: value for key, value in one.items() if key != "message"} for one in documents]
    return kept[0] == kept[1]


def compare_printed(old, new):
    """`(kind, text)` of each difference in what was printed."""
    failed = old.code == new.code != 0
    if old.code != new.code:
        printed = shown_difference(old.stdout + old.stderr, new.stdout + new.stderr, "stdout and stderr")
        yield "exit", f"exit code {old.code}, now {new.code}\n{printed}"
        return
    if old.stdout != new.stdout:
        words = failed and only_the_message(old.stdout, new.stdout)
        kind, note = ("words", "") if words else kind_of_text(old.stdout, new.stdout, "output")
        yield kind, note + shown_difference(old.stdout, new.stdout, "stdout")
    if old.stderr != new.stderr:
        kind, note = ("words", "") if failed else kind_of_text(old.stderr, new.stderr, "output")
        yield kind, note + shown_difference(old.stderr, new.stderr, "stderr")


def compare_files(old, new, sides):
    for name in sorted(old.files.keys() | new.files.keys()):
        before, after = old.files.get(name, "absent or unchanged"), new.files.get(name, "absent or unchanged")
        if before == after:
            continue
        kind, text = "files", f"{name}: {before}, now {after}"
        if Path(name).suffix in {".json", ".txt", ".xml", ".yaml"} and name in old.files and name in new.files:
            texts = [(side.folder / name).read_text(encoding="utf-8", errors="backslashreplace") for side in sides]
            kind, note = kind_of_text(*texts, "files")
            text = note + shown_difference(*texts, name)
        yield kind, text


def following(commands, answer):
    try:
        return commands.send(answer)
    except StopIteration:
        return None


def play(story, programs, folder, links):
    """Runs the commands of a story with both programs; returns the tally and the differences."""
    sides = [Side(name, program, folder, links) for name, program in zip(("old", "new"), programs)]
    for side in sides:
        story.prepare(side.folder)
        side.changed(Command([]))
    commands, answer, tally, found = story.play(), None, Tally(), []
    while (command := following(commands, answer)) is not None:
        old, new = [side.run(command) for side in sides]
        told = [*compare_printed(old, new), *compare_files(old, new, sides)]
        name = " ".join(["port", *command.arguments])
        found += [Difference(story.group, name, kind, text) for kind, text in told]
        tally.add(Tally(1, old.code == 0, bool(told), Counter(kind for kind, _ in told)))
        answer = (old, new)
    shutil.rmtree(folder, ignore_errors=True)
    return tally, found


def run_all(stories, programs, folder, links, workers):
    tallies, found = {}, []
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        places = [(story, folder / f"{index:05}") for index, story in enumerate(stories)]
        running = [(story, pool.submit(play, story, programs, place, links)) for story, place in places]
        for done, (story, future) in enumerate(running, 1):
            tally, differences = future.result()
            tallies.setdefault(story.group, Tally()).add(tally)
            found += differences
            if sys.stderr.isatty():
                print(f"\r{done} of {len(running)} stories, {len(found)} differences", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return tallies, found


def report(tallies, found, show):
    shown = Counter()
    for one in found:
        shown[one.group, one.kind] += 1
        if shown[one.group, one.kind] <= show:
            print(f"{one.group}, {one.kind}: {one.command}\n{one.text}\n")
    for (group, kind), count in shown.items():
        if count > show:
            print(f"{group}, {kind}: {count - show} more, not shown (--show)")
    print(f"{'group':14}{'commands':>10}{'succeed':>10}{'equal':>10}" + "".join(f"{kind:>10}" for kind in KINDS))
    total = Tally()
    for group, tally in [*tallies.items(), ("total", total)]:
        columns = [tally.commands, tally.succeeded, tally.commands - tally.different]
        columns += [tally.kinds[kind] for kind in KINDS]
        print(f"{group:14}" + "".join(f"{column:>10}" for column in columns))
        total.add(tally)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--shared", type=Path, default=REPOSITORY.parent / "shared", help="the reference data's folder")
    parser.add_argument("--only", action="append", choices=same_commands.GROUPS, help="a group; repeatable")
    parser.add_argument("--allow", action="append", default=[], choices=KINDS, help="does not count; repeatable")
    parser.add_argument("--show", type=int, default=8, help="differences shown of each group and kind")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    return parser.parse_args()


def main():
    options = arguments()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="port-same-"))).resolve()
        programs = []
        # Usage texts tell the program's name.
        for name, program in [("old", options.old), ("new", options.new)]:
            (folder / "bin" / name).mkdir(parents=True)
            programs.append(folder / "bin" / name / "port")
            programs[-1].symlink_to(program.resolve(strict=True))
        places = Places(REPOSITORY, options.shared.resolve(), folder / "made")
        stories = list(same_commands.stories(places, options.only or same_commands.GROUPS))
        tallies, found = run_all(stories, programs, folder, places.links(), options.workers)
    report(tallies, found, options.show)
    for what in dict.fromkeys(places.skipped):
        print(f"SKIPPED: there are no reference data {what} in {options.shared}")
    sys.exit(any(one.kind not in options.allow for one in found))


if __name__ == "__main__":
    main()
