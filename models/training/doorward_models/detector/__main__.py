"""The detector's command line: compose, train, release, evaluate."""

import argparse
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
REPOSITORY = HERE.parents[1]
WIDTH, HEIGHT = 320, 256  # of the image that the daemon gives it
LICENCE = "trained by this project; see models/README.md for the data and the teacher"
DATA = "scenes composed of AAF portraits, aligned face crops and BSDS500 photographs, labelled by YuNet 2023mar"


def compose(args: argparse.Namespace) -> None:
    """Compose scenes and label them with the teacher."""
    from . import shards
    from .model_file import Detector
    from .sources import Sources

    folder = args.runs / "detector" / "shards"
    teacher = Detector(args.teacher, args.threads)
    sources = Sources.load(args.shared, args.runs, teacher)
    for index in range(args.first, args.first + args.shards):
        if not (folder / f"{args.size}-{index:03}").exists():
            shards.write(folder, index, args.count, args.size, sources, teacher)


def train(args: argparse.Namespace) -> None:
    """Train the student, continuing from its checkpoint."""
    from .. import manifest, precision
    from .train import train

    made = manifest.made("doorward_models.detector", manifest.since("train"))
    train(args.runs / "detector", args.size, args.steps, args.batch, args.rate, args.threads, args.start,
          args.marks, args.device or precision.best_device(), args.loaders, made)


def release(args: argparse.Namespace) -> None:
    """Write the averaged weights as ONNX, int8, measure them and put them into the manifest."""
    import numpy as np
    import onnx

    from .. import checkpoint, manifest
    from . import export, grid, quantise, shards
    from .evaluate import evaluate
    from .network import cost

    folder = args.runs / "detector"
    trained = args.checkpoint or folder / "checkpoint.pt"
    network = export.load(trained)
    plain, int8 = folder / "detector_f32.onnx", folder / f"{args.name}.onnx"
    onnx.save(export.build(network), plain)
    scenes = shards.Shard(shards.complete(folder / "shards", args.size)[0])
    quantise.quantise(plain, int8, np.asarray(scenes.images[: args.calibrate]), args.method)
    figures = evaluate(int8, args.teacher, args.shared, folder, args.threads)
    parameters, macs = cost(network, HEIGHT, WIDTH)
    words = {
        "licence": LICENCE, "data": DATA, "training": "; ".join(checkpoint.made(trained)),
        "accuracy": f"{figures}; {parameters:,} parameters, "
                    f"{macs / 1e6:.1f} M multiply-accumulates at {WIDTH}x{HEIGHT}",
    }
    own = f"detection = {{ score = {figures.operating_point()}, nms_iou = {grid.OVERLAP} }}"
    image = manifest.Input(WIDTH, HEIGHT, "BGR", 0.0, 1.0)
    section = manifest.section(args.name, "detector", int8, image, own, words)
    manifest.ship(int8, args.models, args.name, section)


def evaluate(args: argparse.Namespace) -> None:
    """Measure a detector file on LFW and on the held-out negatives."""
    from .evaluate import evaluate

    if args.verify and args.limit:
        raise SystemExit("--verify needs every image of the pairs: leave --limit away")
    evaluate(args.model, args.teacher, args.shared, args.runs / "detector", args.threads, args.limit, args.verify)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m doorward_models.detector", description=__doc__)
    shared = REPOSITORY.parent / "shared"
    parser.add_argument("--shared", type=Path, default=shared, help="folder with models/ and data/")
    parser.add_argument("--runs", type=Path, default=HERE / "runs", help="caches and checkpoints")
    parser.add_argument("--teacher", type=Path, help="detector to learn from; default: YuNet below --shared")
    parser.add_argument("--threads", type=int, default=2)
    commands = parser.add_subparsers(required=True)

    def command(function) -> argparse.ArgumentParser:
        sub = commands.add_parser(function.__name__, help=function.__doc__)
        sub.set_defaults(run=function)
        return sub

    sub = command(compose)
    sub.add_argument("--size", type=int, default=160)
    sub.add_argument("--first", type=int, default=0, help="number of the first shard")
    sub.add_argument("--shards", type=int, default=10)
    sub.add_argument("--count", type=int, default=2048, help="scenes in a shard")
    sub = command(train)
    sub.add_argument("--size", type=int, default=160)
    sub.add_argument("--steps", type=int, default=6000)
    sub.add_argument("--batch", type=int, default=32)
    sub.add_argument("--rate", type=float, default=4e-3)
    sub.add_argument("--start", type=Path, help="checkpoint or exported model to begin with")
    sub.add_argument("--marks", type=float, default=30.0, help="weight of the landmarks in the loss")
    sub.add_argument("--device", help="cpu or cuda; the GPU where there is one")
    sub.add_argument("--loaders", type=int, default=1, help="processes that make the batches")
    sub = command(release)
    sub.add_argument("--models", type=Path, default=REPOSITORY / "models", help="where shipped models lie")
    sub.add_argument("--name", default="detector", help="in the manifest")
    sub.add_argument("--checkpoint", type=Path, help="default: the one that train writes")
    sub.add_argument("--size", type=int, default=160, help="scene size to calibrate on")
    sub.add_argument("--calibrate", type=int, default=256, help="number of scenes to calibrate on")
    sub.add_argument("--method", default="minmax", help="how int8 ranges are chosen: minmax or mse")
    sub = command(evaluate)
    sub.add_argument("--model", type=Path, default=REPOSITORY / "models" / "detector.onnx")
    sub.add_argument("--limit", type=int, default=0, help="number of LFW images, 0 for all")
    sub.add_argument("--verify", action="store_true", help="also measure LFW verification")

    args = parser.parse_args()
    args.teacher = args.teacher or args.shared / "models" / "face_detection_yunet_2023mar.onnx"
    args.run(args)


if __name__ == "__main__":
    main()
