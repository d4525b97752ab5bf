"""`python -m doorward_models <command>`: makes, measures and releases the embedder."""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import torch

from . import (calibrate, checkpoint, distill, evaluate, export, manifest, people, precision, quantise, teacher,
               workers, zips)
from .networks import Config, centre, cost, fold

TRAINING = Path(__file__).resolve().parent.parent
CALIBRATION_FACES = 1000
CENTRED_ON = 4000  # faces
FACES = 9000  # whose pairs the calibration table counts
DATA = "50,869 aligned face crops without identity labels (partly for research use), answers of the teacher"
CALIBRATED_ON = "pairs of different grown-up people of the distillation faces, without masks"
LICENCE = "trained by this project; see models/README.md for the data and the teacher"


def faces(a):
    """Decode the training faces into the cache."""
    images, _ = zips.faces(a.shared, a.runs)
    print(f"{len(images)} faces in {a.runs / 'faces'}")


def teach(a):
    """Let the teacher embed every face; continues where it stopped."""
    images, _ = zips.faces(a.shared, a.runs)
    teacher.run(a.teacher, images, a.runs / "faces", precision.best_device())


def distil(a):
    """Train a student; continues from the checkpoint of the run."""
    a.workers = 1 if a.device != "cpu" else a.workers
    settings = distill.Settings(minutes=a.minutes, rate=a.rate, batch=a.batch, workers=a.workers, grow=a.grow,
                                int8=a.int8, warm_up=0.0 if a.int8 else 0.04, live=a.live, finish=a.finish,
                                device=a.device, made=manifest.made("doorward_models", manifest.since("distil")))
    config = Config(a.plan, a.width, a.activation, a.head, a.size, a.reduce)
    folder = a.runs / a.run
    if a.init and (folder / "checkpoint.pt").exists():
        print(f"{folder / 'checkpoint.pt'} is continued; --init {a.init} counts only where there is none")
    workers.run(a.workers, distill.work, folder, a.runs, a.teacher, config, settings, a.init)


def release(a):
    """Centre, export, quantise, evaluate and calibrate a run, then update the manifest."""
    a.mirrored = True
    trained = a.runs / a.run / "checkpoint.pt"
    network = distill.load_average(trained)
    images, names = zips.faces(a.shared, a.runs)
    folded, some = fold(network), lambda count: np.linspace(0, len(images) - 1, count).astype(int)
    centre(folded, teacher.unit(torch.from_numpy(images[some(CENTRED_ON)])))
    f32, int8 = a.runs / a.run / "f32.onnx", a.runs / a.run / f"{a.name}.onnx"
    macs, weights = cost(network)
    notes = {"config": json.dumps(network.describe()), "macs": str(macs), "weights": str(weights)}
    export.save(folded, network.config.embedding, f32, notes)
    rows = some(CALIBRATION_FACES)
    quantise.static_qdq(f32, int8, [teacher.normalise(images[r : r + 1]) for r in rows], a.method)
    measured = {path: measure(path, a)[0] for path in (f32, int8)}
    counted = table_of(int8, a, images, names)
    check(int8, counted, a)
    words = {
        "licence": LICENCE, "data": DATA,
        "training": "; ".join(checkpoint.made(trained)),
        "accuracy": f"LFW development pairs: int8 {in_words(measured[int8])}; f32 {in_words(measured[f32])}; "
                    f"{macs / 1e6:.1f} M multiply-accumulates, {weights / 1e6:.2f} M weights",
    }
    own = f"output = {{ size = {network.config.embedding}, mirrored = true }}"
    section = manifest.section(a.name, "embedder", int8, manifest.ALIGNED, own, words)
    table = calibrate.toml(counted, a.name, CALIBRATED_ON).strip()
    manifest.ship(int8, a.models, a.name, f"{section}\n{table}\n")


def in_words(m: dict[str, float]) -> str:
    return f"{m['accuracy']:.2f} %, TAR {m['tar_1e-2']:.1f} % at FMR 1e-2 and {m['tar_1e-3']:.1f} % at 1e-3"


def open_model(path: Path):
    """A session that takes batches, where the model lets it."""
    return teacher.session(export.with_batch(onnx.load(path)).SerializeToString(), threads=1)


def lfw(path: Path, a) -> tuple[np.ndarray, list[str]]:
    """Embeddings of the LFW faces by the model at `path`, and their names."""
    images, names = evaluate.aligned_lfw(a.shared, a.runs)
    return calibrate.embed(open_model(path), images, path.name, prepare(a), a.mirrored), names


def measure(path: Path, a) -> tuple[dict[str, float], np.ndarray]:
    """LFW measures of the model at `path`, and its embeddings."""
    embeddings, names = lfw(path, a)
    pairs = evaluate.read_pairs(a.shared / "data" / "lfw" / "pairs_dev.txt", names)
    measured = evaluate.evaluate(embeddings, *pairs) | evaluate.of_all_pairs(embeddings, persons(names))
    print(path.name, json.dumps(measured))
    return measured, embeddings


def persons(names: list[str]) -> np.ndarray:
    """Whom each LFW image shows [N], as numbers."""
    return np.unique([Path(n).parent.name for n in names], return_inverse=True)[1]


def check(path: Path, table: calibrate.Table, a) -> None:
    """Prints which share of all LFW impostor pairs the table's similarities let through."""
    embeddings, names = lfw(path, a)
    person = persons(names)
    for fmr, similarity in zip(table.fmr[2:9], table.similarity[2:9]):  # to 1e-5: LFW has 7.3 M impostor pairs
        print(f"calibrated {fmr:g} at {similarity:.4f}: "
              f"LFW {calibrate.share_above(embeddings, person, similarity):.2g}")


def prepare(a):
    """How images become the network's input: [-1, 1], or the mean and deviation that were given."""
    if not a.mean:
        return teacher.normalise
    mean, deviation = np.array(a.mean, np.float32), np.array(a.deviation, np.float32)
    return lambda x: ((x.astype(np.float32) - mean) / deviation).transpose(0, 3, 1, 2).copy()


def table_of(path: Path, a, images, names) -> calibrate.Table:
    """The calibration table of the model at `path`."""
    known, *_ = teacher.load(a.runs / "faces", a.teacher.stem)
    rows = people.for_calibration(names, people.origins(zips.archives(a.shared)))
    rows = rows[np.linspace(0, len(rows) - 1, min(a.faces, len(rows))).astype(int)]
    of_teacher = calibrate.unit(known[rows].astype(np.float32))
    embeddings = calibrate.embed(open_model(path), images[rows], "calibrate", prepare(a), a.mirrored)
    person = people.identities([names[r] for r in rows])
    counts = calibrate.impostor_histogram(embeddings, of_teacher, person)
    alike = len(rows) * (len(rows) - 1) // 2 - people.mates(person) - counts.sum()
    print(f"{alike} pairs of {len(rows)} faces are left out, for the teacher takes them for one person")
    return calibrate.table(counts)


def measure_models(a):
    """Print the LFW measures of models, and their mean cosine to the teacher on the LFW faces, both centred."""
    centred = lambda values: calibrate.unit(values - values.mean(0))
    of_teacher = centred(lfw(a.teacher, a)[0])
    for path in a.model:
        embeddings = measure(path, a)[1]
        if embeddings.shape == of_teacher.shape:
            print(f"{path.name}: cosine to the teacher {(centred(embeddings) * of_teacher).sum(1).mean():.4f}")


def calibrate_models(a):
    """Print the calibration tables of models."""
    images, names = zips.faces(a.shared, a.runs)
    for path in a.model:
        table = table_of(path, a, images, names)
        print(calibrate.toml(table, path.stem, CALIBRATED_ON))
        check(path, table, a)


def arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="doorward_models", description=__doc__)
    p.add_argument("--shared", type=Path, default=TRAINING / "../../../shared",
                   help="data and reference models")
    p.add_argument("--runs", type=Path, default=TRAINING / "runs", help="caches and checkpoints")
    p.add_argument("--models", type=Path, default=TRAINING.parent, help="where shipped models lie")
    p.add_argument("--teacher", type=Path, help="ONNX teacher, by default mbf of --shared")
    p.add_argument("--mirrored", action="store_true",
                   help="the embedding is the sum of the answers to a face and to its mirror image, as of ours")
    p.add_argument("--mean", type=float, nargs=3, help="of the pixels, for models not fed [-1, 1]")
    p.add_argument("--deviation", type=float, nargs=3, help="of the pixels, with --mean")
    commands = p.add_subparsers(required=True)

    def command(name, function):
        c = commands.add_parser(name, help=function.__doc__)
        c.set_defaults(function=function)
        return c

    command("faces", faces)
    command("teacher", teach)
    c = command("distil", distil)
    c.add_argument("--run", default="embedder", help="folder below --runs")
    c.add_argument("--minutes", type=float, default=100, help="of the whole run, pauses not counted")
    c.add_argument("--rate", type=float, default=0.05, help="peak learning rate of the convolutions")
    c.add_argument("--batch", type=int, default=64, help="per worker")
    c.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    c.add_argument("--grow", action=argparse.BooleanOptionalAction, default=True,
                   help="start with small images")
    c.add_argument("--init", type=Path, help="checkpoint or exported model to start from")
    c.add_argument("--int8", action="store_true", help="simulate the rounding of int8, for the last minutes")
    c.add_argument("--live", action="store_true", help="ask the teacher about every image; wants a GPU")
    c.add_argument("--finish", action="store_true",
                   help="a slow end, at a rate below 0.002: real faces alone, normalisation as it is")
    c.add_argument("--device", default=precision.best_device())
    c.add_argument("--plan", default="dense", choices=["again", "dense", "full", "fused", "mobilefacenet"])
    c.add_argument("--width", type=float, default=1.0)
    c.add_argument("--activation", default="relu", choices=["relu", "prelu"])
    c.add_argument("--head", default="depthwise", choices=["flatten", "depthwise"])
    c.add_argument("--reduce", type=int, default=2, choices=[1, 2], help="2: look at the image at half size")
    c.add_argument("--size", type=int, default=512, help="of the embedding: the teacher's")
    c = command("release", release)
    c.add_argument("--run", default="embedder")
    c.add_argument("--name", default="embedder", help="in the manifest")
    c.add_argument("--method", default="mse", choices=quantise.METHODS)
    c.add_argument("--faces", type=int, default=FACES, help="to calibrate on")
    c = command("evaluate", measure_models)
    c.add_argument("model", type=Path, nargs="+")
    c = command("calibrate", calibrate_models)
    c.add_argument("model", type=Path, nargs="+")
    c.add_argument("--faces", type=int, default=FACES)
    a = p.parse_args()
    a.teacher = a.teacher or a.shared / "models" / "mobilefacenet_mbf_512d_fp32.onnx"
    return a


if __name__ == "__main__":
    parsed = arguments()
    parsed.function(parsed)
