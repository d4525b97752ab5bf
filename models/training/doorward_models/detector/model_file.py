"""Running a detector file with the twelve YuNet outputs: the teacher and our own exports alike.

Owns the session and the order of the outputs. Never decides which faces count.
"""

from pathlib import Path

import numpy as np
import onnx

from ..teacher import session
from . import grid

NAMES = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in grid.STRIDES]


class Detector:
    """A detector ONNX file; its input size is made free, so any multiple of 32 works."""

    def __init__(self, path: Path, threads: int = 1):
        model = onnx.load(path)
        for axis, name in ((0, "batch"), (2, "height"), (3, "width")):
            model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")
        self.session = session(model.SerializeToString(), threads)
        self.input = self.session.get_inputs()[0].name

    def raw(self, images: np.ndarray) -> np.ndarray:
        """uint8 BGR [B, H, W, 3] -> network values float32 [B, N, 16], see `grid.decode`."""
        batch = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)
        outputs = dict(zip(NAMES, self.session.run(NAMES, {self.input: batch})))
        levels = []
        for stride in grid.STRIDES:
            parts = [outputs[f"{kind}_{stride}"] for kind in ("cls", "obj", "bbox", "kps")]
            levels.append(
                np.concatenate([p.reshape(len(images), -1, p.shape[-1]) for p in parts], -1)
            )
        return np.concatenate(levels, 1)

    def cells(self, images: np.ndarray) -> np.ndarray:
        """uint8 BGR [B, H, W, 3] -> what every cell says, faces float32 [B, N, 15]."""
        return grid.decode(self.raw(images), grid.cells(*images.shape[1:3]))

    def faces(self, image: np.ndarray, score: float, overlap: float = grid.OVERLAP) -> np.ndarray:
        """Faces [F, 15] in one BGR image of any size, best first."""
        return grid.suppress(self.cells(grid.pad(image)[None])[0], score, overlap)
