"""The manifest of the shipped models.

Owns the text of `[models.<name>]` sections: one is replaced, together with its file, all others stay as they are.
"""

import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .whole import whole

HEADER = 'format = 1\n\n[default]\ndetector = "detector"\nembedder = "embedder"\nliveness = "liveness"\n'


def sha256(path: Path) -> str:
    """Lower-case hexadecimal digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def commit() -> str:
    """Of this code, abbreviated, with a "+" where files have changed since; "unknown" outside of a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--exclude=*", "--dirty=+"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"


def since(command: str) -> str:
    """The arguments of this program from the name of the command on: those before it say where things lie."""
    return shlex.join(sys.argv[sys.argv.index(command) :])


def made(program: str, arguments: str) -> str:
    """The command and the commit that it runs, for a checkpoint to keep."""
    return f"python -m {program} {arguments}, commit {commit()}"


@dataclass(frozen=True)
class Input:
    """The image that a network takes, and how pixels of 0 to 255 become its numbers."""

    width: int
    height: int
    channels: str
    mean: float
    scale: float

    def __str__(self) -> str:
        mean, scale = (", ".join([repr(value)] * 3) for value in (self.mean, self.scale))
        return (f'{{ width = {self.width}, height = {self.height}, channels = "{self.channels}", '
                f"mean = [{mean}], scale = [{scale}] }}")


ALIGNED = Input(112, 112, "RGB", 127.5, 1 / 127.5)  # a face, in [-1, 1]


def section(name: str, role: str, model: Path, image: Input, own: str, words: dict[str, str]) -> str:
    """The section of a model; `own` is the line that only its role has.

    `words` are `licence`, `data`, `training` and `accuracy`.
    """
    return "\n".join([
        f"[models.{name}]", f'role = "{role}"', f"file = {json.dumps(model.name)}",
        f'sha256 = "{sha256(model)}"', f"input = {image}", own,
        *(f"{key} = {json.dumps(text, ensure_ascii=False)}" for key, text in words.items()),
    ]) + "\n"


def replace_section(text: str, name: str, section: str) -> str:
    """`text` with the tables of `[models.<name>...]` replaced by `section`, which comes last if it is new."""
    parts = [part.strip() + "\n" for part in re.split(r"(?m)^(?=\[)", text) if part.strip()]
    own = re.compile(rf"\[models\.{re.escape(name)}[.\]]")
    place = next((k for k, part in enumerate(parts) if own.match(part)), len(parts))
    others = lambda some: [part for part in some if not own.match(part)]
    return "\n".join([*others(parts[:place]), section, *others(parts[place:])])


def ship(model: Path, folder: Path, name: str, section: str) -> None:
    """Puts the file `model` into `folder` and `section` into the manifest there, both at once.

    The manifest is created when it is missing or empty.
    """
    path = folder / "manifest.toml"
    text = path.read_text() if path.exists() else ""
    with whole(folder / model.name) as file, whole(path) as unfinished:
        shutil.copyfile(model, file)
        unfinished.write_text(replace_section(text if "[default]" in text else HEADER, name, section))
