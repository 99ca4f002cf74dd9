"""Commands of `port` one after the other in one folder, and where their inputs are."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SAMPLE = "samples/nanodet-plus-shapes.pth"
ANNOTATIONS = "samples/shapes/annotations.json"


@dataclass
class Command:
    arguments: list[str]
    # The file in which what it prints is kept.
    save: str | None = None
    # It prints measured times: "json" in a document, "table" among other numbers.
    measures: str | None = None


@dataclass
class Story:
    group: str
    # A generator of commands, which is sent what both programs made of each.
    play: Callable[[], Iterator[Command]]
    # Names and contents of files that are there at first.
    files: dict[str, bytes] = field(default_factory=dict)
    # Folders that are copied, so that commands write beside what is in them.
    copies: dict[str, Path] = field(default_factory=dict)

    def prepare(self, folder):
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        for name, source in self.copies.items():
            (folder / name).unlink(missing_ok=True)
            shutil.copytree(source, folder / name)


class Places:
    """Where things are."""

    def __init__(self, repository, shared, made):
        self.repository, self.made = repository, made
        self.shared = shared if shared.is_dir() else None
        self.skipped = []
        made.mkdir()

    def links(self):
        links = {"samples": self.repository / "samples", "data": self.repository / "tests/data", "made": self.made}
        return {**links, "shared": self.shared} if self.shared else links

    def reference(self, what):
        """A folder of the reference data; where it is not, that is kept for the report."""
        folder = self.shared / what if self.shared else None
        if folder and folder.is_dir():
            return folder
        self.skipped.append(what)
        return None

    def sample(self, name):
        return (self.repository / "samples" / name).read_bytes()


def listed(group, commands, **more):
    """A story whose commands do not depend on what others printed."""
    commands = [one if isinstance(one, Command) else Command(one.split()) for one in commands]
    return Story(group, lambda: (command for command in commands), **more)


def both_forms(command):
    return [command, f"{command} --json"]
