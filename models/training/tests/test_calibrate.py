"""The calibration table of distributions with known tails."""

import numpy as np
import pytest

from doorward_models import calibrate


def gaussian_counts(pairs: int, deviation: float) -> np.ndarray:
    cosines = np.random.default_rng(0).normal(0, deviation, pairs)
    return np.histogram(cosines, calibrate.BINS, (-1, 1))[0]


def test_measured_rows_are_the_quantiles():
    t = calibrate.table(gaussian_counts(2 * 10**7, 0.1))
    row = dict(zip(t.fmr, t.similarity))
    assert row[1e-1] == pytest.approx(0.1282, abs=3e-4)
    assert row[1e-3] == pytest.approx(0.3090, abs=1e-3)
    assert row[1e-5] == pytest.approx(0.4265, abs=4e-3)


def test_tail_continues_a_gaussian():
    t = calibrate.table(gaussian_counts(10**6 + 1, 0.1))
    row = dict(zip(t.fmr, t.similarity))
    assert t.measured_down_to == 1e-4  # 100 comparisons above it
    assert row[1e-6] == pytest.approx(0.4753, abs=0.01)
    assert row[1e-7] == pytest.approx(0.5199, abs=0.015)
    assert list(t.similarity) == sorted(t.similarity)


def test_hidden_mates_keep_the_tail_from_falling():
    counts = gaussian_counts(10**7, 0.1)
    mates = np.histogram(np.random.default_rng(1).uniform(0.3, 0.9, 2000), calibrate.BINS, (-1, 1))[0]
    t, clean = calibrate.table(counts + mates), calibrate.table(counts)
    assert list(t.similarity) == sorted(t.similarity) and t.similarity[-1] < 1
    assert t.similarity[-1] > t.similarity[-3] > clean.similarity[-1]


def test_too_few_comparisons_are_counted():
    with pytest.raises(ValueError, match="99999 comparisons"):
        calibrate.table(gaussian_counts(99_999, 0.1))
    assert calibrate.table(gaussian_counts(100_000, 0.1)).measured_down_to == 1e-3


def test_same_people_are_left_out():
    e = np.eye(4, dtype=np.float32)
    teacher = np.eye(4, dtype=np.float32)
    teacher[1] = teacher[0]  # the teacher takes 0 and 1 for one person
    person = np.array([-1, -1, 7, 7])  # 2 and 3 are known to be one
    counts = calibrate.impostor_histogram(e, teacher, person)
    assert counts.sum() == 6 - 2


def test_blocks_count_every_pair_once(monkeypatch):
    rng = np.random.default_rng(0)
    e = rng.normal(size=(50, 64)).astype(np.float32)
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    orthogonal = np.eye(50, dtype=np.float32)
    whole = calibrate.impostor_histogram(e, orthogonal, np.full(50, -1))
    monkeypatch.setattr(calibrate, "BLOCK", 16)
    assert np.array_equal(whole, calibrate.impostor_histogram(e, orthogonal, np.full(50, -1)))
    assert whole.sum() == 50 * 49 // 2


def test_share_above_a_similarity():
    e = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], dtype=np.float32)
    person = np.array([0, 1, 2, 2])
    # Pairs of different people: 0.8, 0, -1, 0.6, -0.8.
    assert calibrate.share_above(e, person, 0.5) == pytest.approx(2 / 5)


def test_a_mirrored_model_answers_to_both_sides_of_a_face():
    class Session:
        def get_inputs(self):
            return [type("Input", (), {"name": "x", "shape": ["n", 3, 112, 112]})]

        def run(self, _, feed):
            return [feed["x"][:, 0, 0, [0, -1]] + (0, 4)]  # red of the two upper corners, not alike

    faces = np.zeros((3, 112, 112, 3), np.uint8)
    faces[:, 0, 0, 0] = 255
    plain, both = (calibrate.embed(Session(), faces, mirrored=m, batch=2) for m in (False, True))
    assert np.allclose(plain, np.array([[1, 3]] * 3) / 10**0.5, atol=1e-6)
    assert np.allclose(both, np.array([[0, 8]] * 3) / 8, atol=1e-6)
