"""The manifest of the shipped models.

Owns the text of `[models.<name>]` sections: one is replaced, together with its file, all others stay as they are.
"""

import hashlib
import json
import re
import shutil
import subprocess
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


def made(command: str) -> str:
    """The command and the commit that it runs, for a checkpoint to keep."""
    return f"python -m {command}, commit {commit()}"


def training(kept: list[str], command: str) -> str:
    """What a checkpoint has kept of how it was made; older ones have kept nothing."""
    return "; ".join(kept) or f"python -m {command}, commit not recorded, released by commit {commit()}"


def embedder_section(name: str, model: Path, size: int, words: dict[str, str], calibration: str) -> str:
    """The section of an embedder that is fed RGB in [-1, 1].

    `words` are `licence`, `data`, `training` and `accuracy`; `calibration` is the text of its table.
    """
    scale = ", ".join([repr(1 / 127.5)] * 3)
    lines = [
        f"[models.{name}]", 'role = "embedder"', f"file = {json.dumps(model.name)}",
        f'sha256 = "{sha256(model)}"',
        'input = { width = 112, height = 112, channels = "RGB", '
        f"mean = [127.5, 127.5, 127.5], scale = [{scale}] }}",
        f"output = {{ size = {size}, mirrored = true }}",
        *(f"{key} = {json.dumps(text, ensure_ascii=False)}" for key, text in words.items()),
    ]
    return "\n".join(lines) + "\n\n" + calibration.strip() + "\n"


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
