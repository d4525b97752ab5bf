"""`python -m doorward_models.omniglot <command>`: one-shot learning, and the losses compared."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from .. import precision
from . import train
from .methods import METHODS

TRAINING = Path(__file__).resolve().parents[2]
TEACHER_WIDTH = 2.0  # of the network whose embeddings are copied


def in_words(errors: list[float]) -> str:
    """Mean and spread of errors, in per cent."""
    e = 100 * np.array(errors)
    spread = f"{e.std(ddof=1):.1f}" if len(e) > 1 else "-"
    return f"{e.mean():.1f} | {spread} | {e.min():.1f} to {e.max():.1f}"


def one_shot(a):
    """The siamese and the triplet network on both small background sets, over several seeds."""
    print("| trained on | network | error % | spread over seeds | least to most |\n|---|---|---|---|---|")
    for background in ("small1", "small2"):
        for method in ("siamese", "batch-hard"):
            errors = [train.run(a.shared, folder(a), settings(a, method, background, k)) for k in range(a.seeds)]
            print(f"| {background} | {method} | {in_words(errors)} |", flush=True)


def compare(a):
    """Every loss with the same network, data and budget; last, a copy of a wider network's embeddings."""
    print("| loss | | error % | spread over seeds | least to most |\n|---|---|---|---|---|")
    for name, method in METHODS.items():
        errors = [train.run(a.shared, folder(a), settings(a, name, a.background, k)) for k in range(a.seeds)]
        print(f"| {name} | {method.words} | {in_words(errors)} |", flush=True)
    wide = replace(settings(a, "batch-hard", a.background, 0), width=TEACHER_WIDTH)
    teacher, *_ = train.fit(a.shared, folder(a), wide)
    of_teacher = train.error(a.shared, teacher, None, METHODS["batch-hard"].compare)
    copies = [settings(a, "distillation", a.background, seed) for seed in range(a.seeds)]
    errors = [train.run(a.shared, folder(a), s, teacher) for s in copies]
    print(f"| distillation | copies a batch-hard network twice as wide ({100 * of_teacher:.1f} %) | "
          f"{in_words(errors)} |")


def settings(a, method: str, background: str, seed: int) -> train.Settings:
    return train.Settings(method, background, seed, a.steps, device=a.device)


def folder(a) -> Path:
    return a.runs / "omniglot"


def main() -> None:
    p = argparse.ArgumentParser(prog="python -m doorward_models.omniglot", description=__doc__)
    p.add_argument("--shared", type=Path, default=TRAINING / "../../../shared",
                   help="folder with data/omniglot/")
    p.add_argument("--runs", type=Path, default=TRAINING / "runs", help="checkpoints and results")
    p.add_argument("--steps", type=int, default=train.Settings.steps)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--device", default=precision.best_device(), help="cpu or cuda; the GPU where there is one")
    commands = p.add_subparsers(required=True)
    commands.add_parser("one-shot", help=one_shot.__doc__).set_defaults(function=one_shot)
    c = commands.add_parser("compare", help=compare.__doc__)
    c.set_defaults(function=compare)
    c.add_argument("--background", default="small2", choices=("small1", "small2"))
    a = p.parse_args()
    torch.set_num_threads(1)
    a.function(a)


if __name__ == "__main__":
    main()
