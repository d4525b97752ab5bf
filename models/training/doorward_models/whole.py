"""Files that are there only when they are finished, for their being there means that they are."""

from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path):
    """A path to write to, of the same suffix; what lies there takes the place of `path` at the end, not on an error.

    Makes the folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    yield partial
    partial.replace(path)
