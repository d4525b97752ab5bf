"""What the teacher network says about every training face, computed once.

Owns the caches `<teacher>.embedding.npy` (float16 [N, D], not normalised) and `<teacher>.spatial.npy`
(float16 [N, C, 7, 7], the feature map that the teacher flattens into its last layer). A row is written
once; a run that was stopped continues where it left off. Never trains.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from tqdm import tqdm

BATCH = 64


def with_spatial_output(model: onnx.ModelProto) -> onnx.ModelProto:
    """Adds the input of the last `Flatten` as a second output named `spatial`.

    Raises `ValueError` for a network without `Flatten`.
    """
    flattens = [n for n in model.graph.node if n.op_type == "Flatten"]
    if not flattens:
        raise ValueError("the teacher has no Flatten, so no spatial features to copy")
    source = flattens[-1].input[0]
    model.graph.node.append(onnx.helper.make_node("Identity", [source], ["spatial"], "spatial"))
    model.graph.output.append(
        onnx.helper.make_tensor_value_info("spatial", onnx.TensorProto.FLOAT, None)
    )
    return model


def normalise(images: np.ndarray) -> np.ndarray:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] in [-1, 1], what ArcFace-style networks are fed."""
    return np.ascontiguousarray(
        ((images.astype(np.float32) - 127.5) / 127.5).transpose(0, 3, 1, 2)
    )


def session(model: str | bytes, threads: int = 2) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU whose waiting threads sleep instead of spinning."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _open(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    mode = "r+" if path.exists() else "w+"
    return np.lib.format.open_memmap(path, mode=mode, dtype=np.float16, shape=shape)


def run(teacher: Path, images: np.ndarray, cache: Path) -> None:
    """Embeds all `images` (uint8 [N, 112, 112, 3]) into the caches beside `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    net = session(with_spatial_output(onnx.load(teacher)).SerializeToString())
    name = net.get_inputs()[0].name
    first = net.run(None, {name: normalise(images[:2])})
    embedding = _open(cache / f"{teacher.stem}.embedding.npy", (len(images), *first[0].shape[1:]))
    spatial = _open(cache / f"{teacher.stem}.spatial.npy", (len(images), *first[1].shape[1:]))
    progress = cache / f"{teacher.stem}.rows"
    start = int(progress.read_text()) if progress.exists() else 0
    bar = tqdm(total=len(images), initial=start, desc="teacher", mininterval=10)
    for row in range(start, len(images), BATCH):
        end = min(row + BATCH, len(images))
        embedding[row:end], spatial[row:end] = net.run(None, {name: normalise(images[row:end])})
        if row // BATCH % 20 == 0 or end == len(images):
            embedding.flush(), spatial.flush()
            progress.write_text(str(end))
        bar.update(end - row)


def load(cache: Path, teacher: str) -> tuple[np.ndarray, np.ndarray]:
    """What the teacher has said so far: embedding float16 [n, D] and spatial float16 [n, C, 7, 7].

    `n` is less than the number of faces while the teacher is still running.
    """
    done = int((cache / f"{teacher}.rows").read_text())
    arrays = (np.load(cache / f"{teacher}.{kind}.npy", mmap_mode="r") for kind in ("embedding", "spatial"))
    return tuple(array[:done] for array in arrays)
