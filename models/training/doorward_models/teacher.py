"""What the teacher network says about every training face, computed once.

Owns the teacher in torch and the caches of its answers: `<teacher>.embedding.npy` (float16 [N, D], the sum of the
answers to a face and to its mirror image, not normalised), `<teacher>.spatial.npy` (float16 [N, C, 7, 7], the
feature map that the teacher flattens into its last layer) and `<teacher>.middle.npy` (float16 [N, 64, 14, 14],
the last sum at 14x14 on its principal components). A row is written once; a run that was stopped continues where it
left off. Never trains.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from torch.nn import functional
from tqdm import tqdm

from . import precision
from .networks import joined, with_mirror_images
from .whole import whole

BATCH = 64
SAMPLE = 256  # faces that the basis of the middle map is taken from
KINDS = ("embedding", "spatial", "middle")
COMPONENTS = 64  # of the middle map
MIDDLE = 14  # its side


def with_maps(model: onnx.ModelProto) -> onnx.ModelProto:
    """Adds two outputs: `spatial`, the input of the last `Flatten`, and `middle`, the last sum at 14x14.

    Raises `ValueError` for a network without them.
    """
    flattens = [n.input[0] for n in model.graph.node if n.op_type == "Flatten"]
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    width = {v.name: v.type.tensor_type.shape.dim[-1].dim_value for v in known if v.type.tensor_type.shape.dim}
    sums = [n.output[0] for n in model.graph.node if n.op_type == "Add"]
    sums = [name for name in sums if width.get(name) == MIDDLE]
    if not flattens or not sums:
        raise ValueError(f"the teacher has no Flatten or no Add at {MIDDLE}x{MIDDLE}, so no maps to copy")
    for name, source in (("spatial", flattens[-1]), ("middle", sums[-1])):
        model.graph.node.append(helper.make_node("Identity", [source], [name], name))
        model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return model


def principal(maps: np.ndarray, components: int = COMPONENTS) -> np.ndarray:
    """[components, C]: the directions over the channels of `maps` [B, C, H, W] with the most variance.

    Unit norm, the strongest first, each with a positive sum, so that they do not depend on chance.
    """
    pixels = maps.transpose(0, 2, 3, 1).reshape(-1, maps.shape[1])
    _, vectors = np.linalg.eigh(np.cov(pixels.T))
    strongest = vectors.T[::-1][:components]
    return strongest * np.sign(strongest.sum(1, keepdims=True))


def normalise(images: np.ndarray) -> np.ndarray:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] in [-1, 1], what ArcFace-style networks are fed."""
    return np.ascontiguousarray(
        ((images.astype(np.float32) - 127.5) / 127.5).transpose(0, 3, 1, 2)
    )


def unit(images: torch.Tensor) -> torch.Tensor:
    """The same for a batch in torch, on its device."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


class Network:
    """A teacher in torch: float [B, 3, 112, 112] -> embedding, spatial and middle map, all float.

    It computes on the device of the faces that it is made with. Raises `ValueError` for an unknown operator.
    """

    OPERATORS = {
        "Conv": lambda a, x, w, b: functional.conv2d(x, w, b, a["strides"], a["pads"][:2], a["dilations"], a["group"]),
        "PRelu": lambda a, x, slope: functional.prelu(x, slope.flatten()),
        "Relu": lambda a, x: functional.relu(x),
        "Add": lambda a, x, y: x + y,
        "Flatten": lambda a, x: x.flatten(1),
        "Gemm": lambda a, x, w, b: functional.linear(x, w if a.get("transB") else w.T, b),
        "Identity": lambda a, x: x,
    }

    def __init__(self, path: Path, faces: torch.Tensor):
        """`faces` uint8 [n, 112, 112, 3], about `SAMPLE` on the wanted device: the middle map's basis comes of them."""
        graph = with_maps(onnx.load(path)).graph
        unknown = {n.op_type for n in graph.node} - self.OPERATORS.keys()
        if unknown:
            raise ValueError(f"{path}: operators that are not known here: {', '.join(sorted(unknown))}")
        self.device, self.input = faces.device, graph.input[0].name
        self.type = torch.bfloat16 if precision.has_bfloat16(self.device.type) else torch.float32
        self.outputs = (next(o.name for o in graph.output if o.name not in KINDS), "spatial", "middle")
        self.weights = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()).to(self.device, self.type)
                        for i in graph.initializer}
        self.nodes = [(self.OPERATORS[n.op_type], {a.name: helper.get_attribute_value(a) for a in n.attribute},
                       list(n.input), n.output[0]) for n in graph.node]
        basis = principal(self.run(unit(faces))[2].float().cpu().numpy())
        self.basis = torch.from_numpy(basis).to(self.device, torch.float32)

    @torch.no_grad()
    def run(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The outputs of the graph, the middle map with all its channels."""
        images = images.to(self.device, self.type).contiguous(memory_format=torch.channels_last)
        values = {**self.weights, self.input: images}
        for apply, attributes, inputs, output in self.nodes:
            values[output] = apply(attributes, *(values[name] for name in inputs))
        return [values[name] for name in self.outputs]

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        embedding, spatial, middle = (value.float() for value in self.run(images))
        return embedding, spatial, torch.einsum("kc,bchw->bkhw", self.basis, middle)


def of_faces(network, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What a teacher says of faces [B, 3, 112, 112]: the sum of its answers to both sides, and the images' maps."""
    embedding, *maps = network(with_mirror_images(images))
    return joined(embedding), *(values[: len(images)] for values in maps)


def session(model: str | bytes, threads: int = 2) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU whose waiting threads sleep instead of spinning.

    Without VNNI its int8 products saturate unless it is told to be exact.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _open(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    mode = "r+" if path.exists() else "w+"
    return np.lib.format.open_memmap(path, mode=mode, dtype=np.float16, shape=shape)


def run(teacher: Path, images: np.ndarray, cache: Path, device: str = "cpu", threads: int = 2) -> None:
    """Embeds all `images` (uint8 [N, 112, 112, 3]) into the caches beside `cache`.

    Each batch is run by one thread: sharing one batch is far slower on a busy machine.
    """
    cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    faces = torch.from_numpy(images)
    network = Network(teacher, faces[:: max(1, len(faces) // SAMPLE)].to(device))

    def answers(row):
        parts = of_faces(network, unit(faces[row : row + BATCH].to(device)))
        return row, [part.half().cpu().numpy() for part in parts]

    _, first = answers(0)
    arrays = [_open(cache / f"{teacher.stem}.{kind}.npy", (len(images), *part.shape[1:]))
              for kind, part in zip(KINDS, first)]
    progress = cache / f"{teacher.stem}.rows"
    start = int(progress.read_text()) if progress.exists() else 0
    bar = tqdm(total=len(images), initial=start, desc="teacher", mininterval=10)
    with ThreadPoolExecutor(threads) as pool:
        for row, parts in pool.map(answers, range(start, len(images), BATCH)):
            for array, part in zip(arrays, parts):
                array[row : row + BATCH] = part
            end = row + len(parts[0])
            if row // BATCH % 20 == 0 or end == len(images):
                for array in arrays:
                    array.flush()
                with whole(progress) as path:
                    path.write_text(str(end))
            bar.update(len(parts[0]))


def load(cache: Path, teacher: str) -> tuple[np.ndarray, ...]:
    """What the teacher has said so far: embedding, spatial and middle map, each float16 [n, ...].

    `n` is less than the number of faces while the teacher is still running.
    """
    done = int((cache / f"{teacher}.rows").read_text())
    return tuple(np.load(cache / f"{teacher}.{kind}.npy", mmap_mode="r")[:done] for kind in KINDS)
