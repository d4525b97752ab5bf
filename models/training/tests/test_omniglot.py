"""The one-shot experiment on characters small enough to check."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from doorward_models.omniglot import data, methods, train


def png(ink: int) -> bytes:
    """A drawing with `ink` of its 105 rows black."""
    pixels = np.full((105, 105), 255, np.uint8)
    pixels[:ink] = 0
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def shared(tmp_path):
    """Four characters of four drawings, and runs whose answers are the characters in reverse order."""
    folder = tmp_path / "data" / "omniglot"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "images_background_small2.zip", "w") as archive:
        for character in range(4):
            for k in range(4):
                archive.writestr(f"x/Alphabet/character{character}/{k}.png", png(20 * (character + 1) + k))
    with zipfile.ZipFile(folder / "all_runs.zip", "w") as archive:
        for run in range(1, 21):
            name = f"run{run:02}"
            names = [(f"{name}/test/item{k}.png", f"{name}/training/class{19 - k:02}.png") for k in range(20)]
            archive.writestr(f"{name}/class_labels.txt", "".join(f"{a} {b}\n" for a, b in names))
            for k, (a, b) in enumerate(names):
                archive.writestr(a, png(5 * k)), archive.writestr(b, png(5 * k))
    return tmp_path


def test_drawings_have_ink_one_and_paper_nought(shared):
    drawings, labels = data.background(shared, "small2")
    assert drawings.shape == (16, 28, 28) and labels.tolist() == sorted(list(range(4)) * 4)
    assert drawings[0, 0, 0] == 1 and drawings[0, -1, -1] == 0


def test_turned_and_mirrored_characters_are_new_ones():
    drawings = np.arange(4, dtype=np.float32).reshape(1, 2, 2)
    many, labels = data.turned(drawings, np.array([0]))
    assert labels.tolist() == list(range(8)) and len({d.tobytes() for d in many}) == 8


def test_a_network_that_sees_the_ink_names_every_drawing(shared):
    ink = lambda x: torch.cat([x.sum((2, 3)), torch.ones(len(x), 1)], 1)
    assert train.error(shared, ink, None, methods.distance) == 0.0
    assert train.error(shared, lambda x: torch.ones(len(x), 2), None, methods.distance) == 0.95


def test_pairs_are_half_mates():
    a, b, same = methods.pairs(torch.tensor([0, 0, 1, 1]), torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 0, 1, 1])
    assert same.sum() == 2 and len(same) == 4
    assert torch.equal((labels[a] == labels[b]).float(), same)


def test_the_siamese_head_compares_all_pairs():
    head = methods.Siamese()
    a, b = torch.randn(3, methods.EMBEDDING), torch.randn(2, methods.EMBEDDING)
    scores = head.compare(a, b)
    assert scores.shape == (3, 2)
    one = head.head(torch.sigmoid(a[2:]), torch.sigmoid(b[1:]))
    assert scores[2, 1].item() == pytest.approx(one.item(), rel=1e-5)


@pytest.mark.parametrize("method", methods.METHODS)
def test_every_method_trains_and_a_finished_run_is_not_repeated(shared, tmp_path, method):
    s = train.Settings(method, steps=2, characters=4, drawings=2)
    first = train.run(shared, tmp_path / "runs", s)
    assert 0 <= first <= 1
    (tmp_path / "runs" / f"{s.name}.json").write_text(json.dumps({"error": 0.5}))
    assert train.run(shared, tmp_path / "runs", s) == 0.5
