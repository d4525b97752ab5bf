"""`python -m doorward_models.liveness <command>`: makes and judges the presentation attack detector."""

import argparse
import io
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch

from .. import checkpoint, export, manifest, precision, quantise, teacher, zips
from ..whole import whole
from . import data, measures, train, wall
from .network import fold

TRAINING = Path(__file__).resolve().parents[2]
CALIBRATION_FACES = 256
THRESHOLD = 0.5  # of the manifest: what the trainings take for even, so no judged score has a say in it
DATA = "6,658 webcam faces, real and presented, from ten hobby collections; imitated screens and prints; " \
       "what two MiniFASNets say of them and of 50,000 faces of the distillation"
LICENCE = "trained by this project; see models/README.md for the data and the teachers"


def teach(a):
    """Give the lesson alone; `judge` and `release` give it where it is not finished."""
    train.lesson(data.load(a.shared, a.runs), settings(a), lesson_file(a))


def judge(a):
    """Train on all sets but one and measure on that one, for every set; continues where it stopped."""
    faces = data.load(a.shared, a.runs)
    s = settings(a)
    own, before_walls = (np.zeros(len(faces.real), np.float32) for _ in range(2))
    pupil = train.lesson(faces, s, lesson_file(a))
    for name in np.unique(faces.sets):
        network = train.train(pupil, faces, faces.rows(without=name), s, folder(a) / f"without_{name}.pt")
        rows = faces.rows(only=name)
        own[rows] = train.scores(network, faces.images[rows])
        before_walls[rows] = train.scores(network, walled(faces.images[rows]))
    with whole(folder(a) / "judged.npz") as path:
        np.savez(path, own=own, before_walls=before_walls)
    point, error = measures.equal_error(own, faces.real)
    taught = measures.equal_error(faces.answers, faces.real)[1]
    print(f"at {point:.4f} both rates are {100 * error:.1f} % over all sets; "
          f"of the published networks' answers {100 * taught:.1f} %\n")
    shown = data.labels(data.collections(a.shared)[1])
    columns = {f"at {THRESHOLD}": (own, THRESHOLD), f"at {point:.4f}": (own, point)}
    print(table(faces.sets, faces.real, columns, shown))
    print(f"with a plain wall painted behind the head: {per_cent(before_walls, faces.real, THRESHOLD)} at {THRESHOLD}, "
          f"equal at {100 * measures.equal_error(before_walls, faces.real)[1]:.1f} %")


def walled(images: np.ndarray) -> np.ndarray:
    """Faces uint8 [N, 112, 112, 3], a wall painted behind every head; the same ones at every call."""
    painted = wall.behind(teacher.unit(torch.from_numpy(np.asarray(images))), torch.Generator().manual_seed(0))
    return ((painted + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def per_cent(scores: np.ndarray, real: np.ndarray, threshold: float) -> str:
    return "APCER {:.1f} %, BPCER {:.1f} %".format(*(100 * rate for rate in measures.rates(scores, real, threshold)))


def reference(a):
    """Measure published MiniFASNets on the same collections.

    They are made for crops 2.7 or 4 times as wide as the face. The collections only hold the face, so that is
    what they are given: the whole image.
    """
    archive, names = data.collections(a.shared)
    names = names[:: a.every]
    images = [cv2.resize(zips.read_rgb(archive, n), (80, 80))[:, :, ::-1] for n in names]
    (sets, real), compared = data.labels(names), {}
    for path in a.model:
        net = teacher.session(str(path), threads=1)
        source = net.get_inputs()[0].name
        logits = np.concatenate([
            net.run(None, {source: x.transpose(2, 0, 1)[None].astype(np.float32)})[0] for x in images
        ])
        scores = np.exp(logits[:, 1]) / np.exp(logits).sum(1)
        point, error = measures.equal_error(scores, real)
        print(f"{path.stem}: at {point:.4f} both rates are {100 * error:.1f} % over all sets")
        compared[path.stem] = scores, 0.5
    print("\n" + table(sets, real, compared))


def table(sets: np.ndarray, real: np.ndarray, columns: dict[str, tuple[np.ndarray, float]], shown=None) -> str:
    """A Markdown table of APCER / BPCER / ACER in per cent; `columns` are scores [N] and a threshold.

    `shown` are the labels of all images, those without a face, which nothing is said of, among them.
    """
    lines = io.StringIO()
    count = lambda sets, real, name: [((sets == name) | (name == "all"))[real == kind].sum() for kind in (True, False)]
    print("| set | real, presented | " + " | ".join(columns) + " |", file=lines)
    print("|---" * (2 + len(columns)) + "|", file=lines)
    for name in [*np.unique(sets), "all"]:
        rows, cells = (sets == name) | (name == "all"), []
        for scores, threshold in columns.values():
            apcer, bpcer = measures.rates(scores[rows], real[rows], threshold)
            cells.append(" / ".join(f"{100 * v:.1f}" for v in (apcer, bpcer, measures.acer(apcer, bpcer))))
        counts = map(str, count(sets, real, name))
        if shown:
            counts = map("{} of {}".format, counts, count(*shown, name))
        print(f"| {name} | {', '.join(counts)} | " + " | ".join(cells) + " |", file=lines)
    return lines.getvalue().replace("nan", "-")


def release(a):
    """Train on all sets, export, quantise and update the manifest; the rates are those of `judge`."""
    judged = dict(np.load(folder(a) / "judged.npz"))  # first of all: without it the training would be in vain
    faces = data.load(a.shared, a.runs)
    everything = np.arange(len(faces.real))
    s = settings(a)
    pupil = train.lesson(faces, s, lesson_file(a))
    network = train.train(pupil, faces, everything, s, folder(a) / "all.pt")
    f32, int8 = folder(a) / "f32.onnx", folder(a) / f"{a.name}.onnx"
    export.save(fold(network), 1, f32, {})
    rows = np.linspace(0, len(faces.real) - 1, CALIBRATION_FACES).astype(int)
    quantise.static_qdq(f32, int8, [teacher.normalise(faces.images[r : r + 1]) for r in rows], "mse")
    net = teacher.session(export.with_batch(onnx.load(int8)).SerializeToString(), threads=1)
    quantised = net.run(None, {"input": teacher.normalise(faces.images[rows])})[0][:, 0]
    exact = train.scores(network, faces.images[rows])
    print(f"int8 moves the score by {np.abs(1 / (1 + np.exp(-quantised)) - exact).mean():.4f} on average")
    words = {
        "licence": LICENCE, "data": DATA,
        "training": "; ".join(dict.fromkeys(checkpoint.made(lesson_file(a)) + checkpoint.made(folder(a) / "all.pt"))),
        "accuracy": in_words(faces, **judged, shown=len(data.collections(a.shared)[1])),
    }
    apcer, bpcer = measures.rates(judged["own"], faces.real, THRESHOLD)
    line = f"presentation = {{ threshold = {THRESHOLD:.4f}, apcer = {apcer:.4f}, bpcer = {bpcer:.4f} }}"
    text = manifest.section(a.name, "liveness", int8, manifest.ALIGNED, line, words)
    manifest.ship(int8, a.models, a.name, text)


def in_words(faces: data.Faces, own: np.ndarray, before_walls: np.ndarray, shown: int) -> str:
    """What is to be known of the rates: over how many of the images, and of what."""
    rates = lambda scores: per_cent(scores, faces.real, THRESHOLD)
    return (f"f32 networks on collections that they were not trained on, single images, the {len(own):,} of "
            f"{shown:,} with a face: {rates(own)}; with a plain wall painted behind the head {rates(before_walls)}")


def settings(a) -> train.Settings:
    arguments = f"--lesson {a.lesson} --steps {a.steps} {a.function.__name__}"
    made = manifest.made("doorward_models.liveness", arguments)
    return train.Settings(lesson=a.lesson, steps=a.steps, device=a.device, made=made)


def lesson_file(a) -> Path:
    """Of the run, which goes with the lesson's number of steps."""
    return a.runs / "liveness" / f"{a.run}-{a.lesson}.pt"


def folder(a) -> Path:
    """Of what a run with this number of steps makes of its lesson."""
    return lesson_file(a).with_suffix("") / str(a.steps)


def main() -> None:
    p = argparse.ArgumentParser(prog="python -m doorward_models.liveness", description=__doc__)
    p.add_argument("--shared", type=Path, default=TRAINING / "../../../shared",
                   help="data and reference models")
    p.add_argument("--runs", type=Path, default=TRAINING / "runs", help="caches and checkpoints")
    p.add_argument("--models", type=Path, default=TRAINING.parent, help="where shipped models lie")
    p.add_argument("--run", default="run", help="name of the run, below --runs/liveness")
    p.add_argument("--lesson", type=int, default=train.Settings.lesson, help="steps on faces without a label")
    p.add_argument("--steps", type=int, default=train.Settings.steps, help="on the sets, after the lesson")
    p.add_argument("--device", default=precision.best_device(), help="cpu or cuda; the GPU where there is one")
    commands = p.add_subparsers(required=True)
    c = commands.add_parser("teach", help=teach.__doc__)
    c.set_defaults(function=teach)
    c = commands.add_parser("judge", help=judge.__doc__)
    c.set_defaults(function=judge)
    c = commands.add_parser("reference", help=reference.__doc__.splitlines()[0])
    c.set_defaults(function=reference)
    c.add_argument("model", type=Path, nargs="+", help="ONNX files of MiniFASNet")
    c.add_argument("--every", type=int, default=8, help="take every so many images only")
    c = commands.add_parser("release", help=release.__doc__)
    c.set_defaults(function=release)
    c.add_argument("--name", default="liveness", help="in the manifest")
    a = p.parse_args()
    torch.set_num_threads(1)
    a.function(a)


if __name__ == "__main__":
    main()
