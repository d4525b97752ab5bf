"""Alignment and verification measures on made-up faces and pairs."""

import numpy as np
import pytest

from doorward_models import evaluate


def test_similarity_transform_undoes_a_known_one():
    angle, scale = 0.3, 1.7
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = evaluate.TEMPLATE @ turn.T + (5, -3)
    found = evaluate.similarity_transform(moved, evaluate.TEMPLATE)
    assert found[:, :2] @ turn == pytest.approx(np.eye(2), abs=1e-9)
    assert moved @ found[:, :2].T + found[:, 2] == pytest.approx(evaluate.TEMPLATE)


def test_similarity_transform_never_mirrors():
    mirrored = evaluate.TEMPLATE * (-1, 1)
    assert np.linalg.det(evaluate.similarity_transform(mirrored, evaluate.TEMPLATE)[:, :2]) > 0


def test_pairs_file(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("2\t1\nA\t1\t2\nA\t1\tB\t1\nB\t1\t2\nA\t2\tB\t2\n")
    names = ["A/A_0001.jpg", "A/A_0002.jpg", "B/B_0001.jpg", "B/B_0002.jpg"]
    pairs, same, fold = evaluate.read_pairs(path, names)
    assert pairs.tolist() == [[0, 1], [0, 2], [2, 3], [1, 3]]
    assert same.tolist() == [True, False, True, False] and fold.tolist() == [0, 0, 1, 1]


def test_best_threshold_lies_in_the_gap():
    similarity = np.array([0.1, 0.2, 0.6, 0.9])
    assert evaluate.best_threshold(similarity, np.array([0, 0, 1, 1], bool)) == pytest.approx(0.4)


def test_accuracy_uses_the_threshold_of_the_other_folds():
    similarity = np.array([0.1, 0.5, 0.6, 0.9])
    same, fold = np.array([0, 1, 0, 1], bool), np.array([0, 0, 1, 1])
    # Fold 0 is judged at 0.75 (one of two right), fold 1 at 0.3 (one of two right).
    assert evaluate.accuracy(similarity, same, fold)[0] == pytest.approx(0.5)


def test_true_accept_rate_at_a_false_match_rate():
    others, mated = np.linspace(0, 0.5, 1001), np.array([0.4, 0.4951, 0.4961, 0.9])
    similarity = np.append(others, mated)
    same = np.append(np.zeros(1001, bool), np.ones(4, bool))
    assert evaluate.true_accept_rate(similarity, same, 1e-2) == pytest.approx(0.75)


def test_all_pairs_count_every_pair_once():
    turn = np.deg2rad([0, 10, 90, 130])
    faces = np.stack([np.cos(turn), np.sin(turn)], 1)  # mates 10 and 40 degrees apart, the nearest others 80
    rates = evaluate.of_all_pairs(faces, np.array([0, 0, 1, 1]))
    assert list(rates) == ["all_tar_1e-3", "all_tar_1e-4", "all_tar_1e-5"] and set(rates.values()) == {100.0}
    assert set(evaluate.of_all_pairs(faces, np.array([0, 1, 1, 0])).values()) == {0.0}
