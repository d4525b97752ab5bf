"""The detector's geometry, labels and export."""

import numpy as np
import onnx
import pytest
import torch

from doorward_models import checkpoint
from doorward_models.detector import backgrounds, evaluate, export, grid, quantise, restore, shards, train
from doorward_models.detector.loss import loss
from doorward_models.detector.model_file import Detector
from doorward_models.detector.network import Network


def raw_for(faces: np.ndarray, cells: np.ndarray, where: list[int]) -> np.ndarray:
    """Network values [N, 16] that place each face in one chosen cell, and nothing elsewhere."""
    raw = np.zeros((len(cells), 16), np.float32)
    for face, cell in zip(faces, where):
        corner, stride = cells[cell, :2], cells[cell, 2]
        raw[cell, :2] = face[14]
        raw[cell, 2:4] = (face[:2] + face[2:4]) / 2 / stride - corner
        raw[cell, 4:6] = np.log((face[2:4] - face[:2]) / stride)
        raw[cell, 6:] = face[4:14] / stride - np.tile(corner, 5)
    return raw


FACES = np.array(
    [
        [10, 12, 50, 64, 20, 30, 40, 30, 30, 40, 22, 50, 38, 50, 0.9],
        [70, 60, 120, 120, 85, 80, 105, 82, 95, 92, 86, 105, 104, 106, 0.8],
    ],
    np.float32,
)


def test_decoding_inverts_the_grid():
    cells = grid.cells(128, 128)
    found = grid.suppress(grid.decode(raw_for(FACES, cells, [5, 270]), cells), 0.5)
    np.testing.assert_allclose(found, FACES, atol=1e-3)


def test_landmarks_are_the_mean_of_what_all_boxes_of_a_face_say():
    faces = np.repeat(FACES[:1], 3, 0)
    faces[:, 14] = 0.75, 0.25, 0.25
    faces[1, 4:14] += 4
    faces[2, :14] += 30  # another face
    found = grid.suppress(faces, 0.2)
    np.testing.assert_allclose(found[0, 4:14], FACES[0, 4:14] + 1)
    np.testing.assert_allclose(found[1, :14], faces[2, :14])


def test_labels_own_the_cells_of_certain_faces_only():
    cells = grid.cells(128, 128)
    doubtful = FACES.copy()
    doubtful[1, 14] = 0.4
    target, owner, faces = shards.label(grid.decode(raw_for(doubtful, cells, [5, 270]), cells))
    assert (owner[5], owner[270]) == (0, shards.IGNORE)
    assert (owner >= 0).sum() == 1 and target[owner == shards.NONE].max() == 0
    np.testing.assert_allclose(faces[0], FACES[0], atol=1e-3)


def test_a_mirrored_sample_is_what_the_teacher_would_say_of_a_mirrored_image():
    cells = grid.cells(128, 128)
    image = np.arange(128 * 128 * 3, dtype=np.uint8).reshape(128, 128, 3)
    sample = (image, *shards.label(grid.decode(raw_for(FACES, cells, [5, 270]), cells)))
    turned = train.mirror(*sample)
    cell = int(np.flatnonzero(turned[2] == 0)[0])
    assert tuple(cells[cell]) == (127 // 8 - cells[5, 0], cells[5, 1], 8)
    assert turned[3][0, 0] == 128 - FACES[0, 2] and turned[3][0, 4] == 128 - FACES[0, 6]
    for a, b in zip(sample, train.mirror(*turned)):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_perfect_answer_costs_almost_nothing():
    cells = grid.cells(128, 128)
    raw = torch.from_numpy(raw_for(FACES, cells, [5, 270]))[None]
    target = raw[..., 0].clone()
    owner = torch.full(target.shape, shards.NONE, dtype=torch.int64)
    owner[0, 5], owner[0, 270] = 0, 1
    raw[..., :2] = torch.logit(raw[..., :2], eps=1e-6)
    faces = torch.from_numpy(FACES)[None]
    parts = loss(raw, torch.from_numpy(cells), target, owner, faces)
    assert sum(parts.values()) < 1e-4
    raw[0, 5, 6:] += 0.5
    assert loss(raw, torch.from_numpy(cells), target, owner, faces)["marks"] > 1


@pytest.fixture
def network() -> Network:
    torch.manual_seed(1)
    network = Network()
    network(torch.rand(8, 3, 64, 64) * 255)
    for head in network.heads:
        torch.nn.init.normal_(head.weight, 0, 0.1)
    return network.eval()


def drawings(count: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.stack([backgrounds.drawn(rng, 96) for _ in range(count)])


def test_export_says_what_the_network_says(network, tmp_path):
    images = drawings(1)[:, :64]
    export.onnx.save(export.build(network), tmp_path / "f32.onnx")
    with torch.no_grad():
        wanted = network(torch.from_numpy(images.transpose(0, 3, 1, 2)).float()).numpy()
    wanted[..., :2] = 1 / (1 + np.exp(-wanted[..., :2]))
    np.testing.assert_allclose(Detector(tmp_path / "f32.onnx").raw(images), wanted, atol=1e-4)


def test_int8_stays_near_float(network, tmp_path):
    export.onnx.save(export.build(network), tmp_path / "f32.onnx")
    quantise.quantise(tmp_path / "f32.onnx", tmp_path / "int8.onnx", drawings(8))
    images = drawings(1)
    plain, small = (Detector(tmp_path / f"{n}.onnx").raw(images) for n in ("f32", "int8"))
    assert np.abs(small - plain).mean() < 0.1 * plain[..., 2:].std()
    assert (tmp_path / "int8.onnx").stat().st_size < 120_000


def test_an_exported_detector_can_be_trained_on(tmp_path):
    torch.manual_seed(0)
    network = Network(8, 8, 16).train()
    images = torch.rand(8, 3, 64, 64) * 255
    for _ in range(3):
        network(images)
    expected = network.eval()(images).detach()
    onnx.save(export.build(network), tmp_path / "plain.onnx")
    again = Network(8, 8, 16)
    restore.load_into(again, tmp_path / "plain.onnx", images)
    assert torch.allclose(again(images), expected, atol=1e-3)


def test_fewer_scenes_than_a_batch_are_counted(tmp_path):
    with pytest.raises(ValueError, match="0 scenes of 96 pixels"):
        shards.complete(tmp_path, 96)
    (tmp_path / "96-000").mkdir()
    for name in shards.FIELDS:
        np.save(tmp_path / "96-000" / f"{name}.npy", np.zeros((4, 1)))
    assert shards.complete(tmp_path, 96, least=4) == [tmp_path / "96-000"]
    with pytest.raises(ValueError, match="4 scenes of 96 pixels .*, 5 needed"):
        shards.complete(tmp_path, 96, least=5)


class Endless(torch.utils.data.IterableDataset):
    """Batches of two random images, others from each `seed`."""

    seed = 0

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            yield (torch.rand(2, 3, 32, 32, generator=generator) * 255,)


def test_a_training_goes_on_from_its_checkpoint_and_a_finished_one_is_left_alone(tmp_path):
    torch.manual_seed(0)
    network, path, batches = Network(8, 8, 16), tmp_path / "checkpoint.pt", Endless()
    parts = lambda images: {"all": network(images).square().mean()}
    train.loop(network, batches, parts, path, steps=2, peak=0.1, made="first")
    assert batches.seed == 0
    begun = [p.detach().clone() for p in network.parameters()]
    train.loop(network, batches, parts, path, steps=3, peak=0.1, made="second")
    assert batches.seed == 2 and checkpoint.made(path) == ["first", "second"]
    assert any(not torch.equal(p, q) for p, q in zip(begun, network.parameters()))
    averaged = torch.load(path, weights_only=True)["parts"]["average"]
    assert any(not torch.equal(averaged[k], v) for k, v in network.state_dict().items())
    before = path.stat().st_mtime_ns
    train.loop(network, None, None, path, steps=3, peak=0.1)
    assert path.stat().st_mtime_ns == before


def test_the_operating_point_has_at_most_one_false_face_in_a_hundred_photographs():
    counted = lambda *false: evaluate.Figures(10, 0.05, dict.fromkeys(evaluate.THRESHOLDS, 1.0), 200,
                                              dict(zip(evaluate.THRESHOLDS, false)))
    assert counted(9, 5, 3, 2, 1, 0).operating_point() == 0.6
    with pytest.raises(ValueError, match="9 false faces on 200"):
        counted(9, 9, 9, 9, 9, 9).operating_point()
    said = str(counted(9, 5, 3, 2, 1, 0))
    assert "score 0.6" in said and "100.00 % of 10" in said and "2 false faces on 200" in said and "5.0 %" in said
