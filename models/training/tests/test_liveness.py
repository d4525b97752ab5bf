"""The presentation attack detector: its measures, its batches, its network and its export."""

from argparse import Namespace

import numpy as np
import onnx
import pytest
import torch

from doorward_models import checkpoint, export, teacher
from doorward_models.checkpoint import Chances
from doorward_models.liveness import data, measures, network, recapture, taught, train, wall
from doorward_models.liveness.__main__ import folder, lesson_file, table

SCORES = np.array([0.1, 0.6, 0.4, 0.9, 0.8])
REAL = np.array([False, False, True, True, True])


def made_up() -> data.Faces:
    """Two sets: many real faces in one, many presented in the other, told apart by their brightness."""
    rng = np.random.default_rng(0)
    sets = np.repeat(["a", "b"], 20)
    real = np.array([True] * 16 + [False] * 8 + [True] * 4 + [False] * 12)
    images = rng.integers(0, 100, (40, 112, 112, 3), dtype=np.uint8)
    images += np.uint8(100) * real[:, None, None, None]
    answers = np.where(real, 3, -1).astype(np.float32)
    return data.Faces(images, sets, real, answers, images[::-1], answers[::-1])


def test_rates_are_shares_of_attacks_and_of_real_faces():
    assert measures.rates(SCORES, REAL, 0.5) == pytest.approx((1 / 2, 1 / 3))
    assert np.isnan(measures.rates(SCORES[2:], REAL[2:], 0.5)[0])
    assert measures.acer(0.5, 0.25) == 0.375


def test_the_threshold_of_equal_errors_is_the_lowest_score_that_passes():
    scores, real = np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])
    threshold, error = measures.equal_error(scores, real)
    assert threshold == pytest.approx(0.8) and error == 0.0


def test_every_set_and_kind_is_drawn_evenly():
    faces = made_up()
    of = train.groups(faces, np.arange(40))
    rows = train.evenly(np.random.default_rng(0), of[True], 4000)
    assert faces.real[rows].all()
    assert np.mean(faces.sets[rows] == "a") == pytest.approx(0.5, abs=0.05)


def test_the_set_left_out_is_never_trained_on():
    faces = made_up()
    assert set(faces.sets[faces.rows(without="a")]) == {"b"} and set(faces.sets[faces.rows(only="a")]) == {"a"}


def test_what_is_wanted_lies_between_label_and_answer_but_for_imitations():
    faces, s = made_up(), train.Settings(batch=16, imitated=0.5, taught=0.5)
    of = train.groups(faces, np.arange(40))
    images, wanted = train.batch(faces, of, s, 1.0, Chances(0))
    assert len(images) == len(wanted) == 32
    odds = torch.sigmoid(torch.tensor([-1.0, 1.0]))  # of answers two below and two above the threshold
    real, imitated, presented, further = wanted.split([8, 4, 4, 16])
    assert torch.allclose(real, (0.95 + odds[1]) / 2) and torch.allclose(imitated, torch.tensor(0.05))
    assert torch.allclose(presented, (0.05 + odds[0]) / 2)
    assert all(torch.isclose(odds, w).any() for w in further)


def test_imitations_stay_in_range_and_change_the_image():
    images = torch.rand(6, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 2 - 1
    changed = recapture.recapture(images, torch.Generator().manual_seed(1))
    assert changed.shape == images.shape and changed.abs().max() <= 1
    assert ((changed - images).abs().mean((1, 2, 3)) > 0.05).all()


def test_half_of_the_further_faces_are_presented(tmp_path, monkeypatch):
    faces = np.random.default_rng(0).integers(60, 200, (100, 112, 112, 3), dtype=np.uint8)
    monkeypatch.setattr(taught, "FURTHER", 100)
    monkeypatch.setattr(taught.zips, "faces", lambda shared, runs: (faces, None))
    monkeypatch.setattr(taught, "recapture", lambda images, generator: -torch.ones_like(images))
    made = taught.further(tmp_path, tmp_path)
    assert made.shape == faces.shape and made.dtype == np.uint8
    assert (made[50:] == 0).all() and (made[:50] > 0).mean() > 0.9, "in pieces of fifty"
    assert not np.array_equal(made[:50], faces[:50]), "softened"


def test_a_finished_training_is_loaded_and_exports_the_same_function(tmp_path):
    faces = made_up()
    s = train.Settings(lesson=2, steps=2, batch=8, made="a command")
    pupil = train.lesson(faces, s, tmp_path / "lesson.pt")
    before = {k: v.clone() for k, v in pupil.state_dict().items()}
    trained = train.train(pupil, faces, np.arange(40), s, tmp_path / "all.pt")
    assert all(torch.equal(v, before[k]) for k, v in pupil.state_dict().items()), "the next set begins with it too"
    assert not torch.equal(trained.logit.weight, pupil.logit.weight)
    again = train.train(pupil, faces, np.arange(40), s, tmp_path / "all.pt")
    assert checkpoint.made(tmp_path / "all.pt") == ["a command"]
    expected = train.scores(trained, faces.images[:4])
    assert np.allclose(train.scores(again, faces.images[:4]), expected)
    export.save(network.fold(trained), 1, tmp_path / "f32.onnx", {})
    net = teacher.session(export.with_batch(onnx.load(tmp_path / "f32.onnx")).SerializeToString(), threads=1)
    logits = net.run(None, {"input": teacher.normalise(faces.images[:4])})[0]
    assert logits.shape == (4, 1)
    assert np.allclose(1 / (1 + np.exp(-logits[:, 0])), expected, atol=1e-4)


def test_a_lesson_that_was_stopped_ends_as_one_that_was_not(tmp_path, monkeypatch):
    faces, s = made_up(), train.Settings(lesson=4, batch=4)
    straight = train.lesson(faces, s, tmp_path / "straight.pt")
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    shown, change = [], train.change

    def stops(images, generator):
        shown.append(images)
        if len(shown) == 3:
            raise KeyboardInterrupt
        return change(images, generator)

    monkeypatch.setattr(train, "change", stops)
    with pytest.raises(KeyboardInterrupt):
        train.lesson(faces, s, tmp_path / "stopped.pt")
    resumed = train.lesson(faces, s, tmp_path / "stopped.pt")
    assert len(shown) == 5, "two of the four steps were left"
    assert all(torch.equal(v, resumed.state_dict()[k]) for k, v in straight.state_dict().items())


def test_runs_of_other_steps_lie_apart(tmp_path):
    of = lambda lesson, steps: Namespace(runs=tmp_path, run="run", lesson=lesson, steps=steps)
    assert lesson_file(of(9, 1)) == lesson_file(of(9, 2)) != lesson_file(of(8, 1))
    assert len({folder(of(*counts)) for counts in ((9, 1), (9, 2), (8, 1))}) == 3


def test_the_table_says_the_rates():
    sets = np.array(["a", "a", "b", "b", "b"])
    text = table(sets, REAL, {"ours": (SCORES, 0.5)})
    assert "| a | 0, 2 | 50.0 / - / - |" in text and "| all | 3, 2 | 50.0 / 33.3 / 41.7 |" in text
    shown = data.labels(["a/real/1.png", *["a/fake/1.png"] * 3, *["b/real/1.png"] * 3])
    text = table(sets, REAL, {"ours": (SCORES, 0.5)}, shown)
    assert "| a | 0 of 1, 2 of 3 |" in text and "| all | 3 of 4, 2 of 3 |" in text


def test_a_wall_hides_what_is_beside_the_head_and_nothing_of_the_face():
    images = torch.rand(2, 3, 112, 112).mul(2).sub(1)
    shown = wall.behind(images, torch.Generator().manual_seed(0))
    assert torch.equal(shown[:, :, 30:90, 30:82], images[:, :, 30:90, 30:82])
    corner = shown[:, :, :16, :16].flatten(2)
    assert corner.std(2).max() < 0.1  # plain
    assert (corner[0].mean(1) - corner[1].mean(1)).abs().max() > 0.1 and shown.abs().max() <= 1
    assert wall.behind(images[:0], torch.Generator()).shape == (0, 3, 112, 112)
