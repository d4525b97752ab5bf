"""The schedule, the targets, augmentation and one short run with a stop in between."""

import dataclasses
import io
import tomllib
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from doorward_models import augment, checkpoint, distill, manifest, targets, zips
from doorward_models.networks import Config
from doorward_models.whole import whole

SMALL = Config(plan="fused", width=0.25, head="flatten", embedding=8)


def made_up(count=32):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 7, 7, 3), dtype=np.uint8).repeat(16, 1).repeat(16, 2)
    maps = [rng.normal(size=(count, 64, side, side)).astype(np.float16) for side in (7, 14)]
    return torch.from_numpy(images), targets.Kept(rng.normal(size=(count, 8)).astype(np.float16), *maps)


def test_learning_rate_rises_then_falls_to_a_hundredth():
    s = distill.Settings()
    rates = [distill.rate_at(p, s) for p in (0.0, s.warm_up, 0.5, 1.0)]
    assert rates[0] < rates[1] > rates[2] > rates[3]
    assert rates[1] == pytest.approx(1) and rates[3] == pytest.approx(0.01)


def test_images_grow_to_full_size():
    s = distill.Settings()
    sizes = [distill.size_at(p, s) for p in np.linspace(0, 1.1, 50)]
    assert sizes == sorted(sizes) and sizes[-1] == 112
    assert [distill.size_at(p, s, full=56) for p in (0.0, 0.4, 0.9)] == [40, 56, 56]


def test_spatial_targets_are_normalised_per_channel():
    _, target = made_up(400)
    rows = target.scale.spatial(torch.from_numpy(target.maps[0]).float(), 7)
    assert rows.mean((0, 2, 3)).abs().max() < 0.05
    assert (rows.std((0, 2, 3)) - 1).abs().max() < 0.05


def test_middle_targets_have_unit_variance_overall_and_keep_their_proportions():
    _, target = made_up(400)
    spatial, middle = (torch.from_numpy(m).float() for m in target.maps)
    middle = middle * torch.linspace(0.5, 1.5, 64)[:, None, None]
    scale = targets.Scale.of(torch.ones(1, 8), spatial, middle)
    rows = scale.middle(middle, 14)
    assert rows.var((0, 2, 3)).mean().item() == pytest.approx(1, abs=0.02)
    assert (rows[:, -1].std() / rows[:, 0].std()).item() == pytest.approx(3, rel=0.05)
    assert scale.middle(middle[:2], 7).shape == (2, 64, 7, 7)


def test_embeddings_are_told_apart_by_what_they_do_not_have_in_common():
    common, own = torch.tensor([0.0, 0.0, 3.0]), torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    scale = targets.Scale.of(own + common, torch.zeros(2, 1, 7, 7), torch.zeros(2, 1, 14, 14))
    assert torch.allclose(scale.embedding(5 * (own + common)), own, atol=1e-6)


def test_every_parameter_has_exactly_one_optimiser():
    student = distill.FaceNet(SMALL)
    hints = distill.Hints(student)
    made = distill.optimisers(student, hints, distill.Settings())
    held = [id(p) for o in made for g in o.param_groups for p in g["params"]]
    assert sorted(held) == sorted(id(p) for p in [*student.parameters(), *hints.parameters()])
    assert all(p.ndim == 4 for g in made[0].param_groups for p in g["params"])


def test_a_stopped_run_continues_and_learns(tmp_path):
    images, target = made_up()
    settings = distill.Settings(minutes=10, batch=16, workers=1, warm_up=0.0, grow=False, rate=0.02, made="one")
    torch.manual_seed(0)
    run = distill.start(tmp_path, SMALL, settings, None, images)
    losses = [distill.learn(run, images, np.arange(16), target)["cosine"].item() for _ in range(25)]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    run.save()
    again = distill.start(tmp_path, SMALL, dataclasses.replace(settings, rate=0.01, made="two"), None, images)
    assert (again.step, again.seconds) == (run.step, run.seconds)
    again.save()
    assert checkpoint.made(tmp_path / "checkpoint.pt") == ["one", "two"]
    for name in ("student", "hints", "average"):
        state = getattr(again, name).state_dict()
        assert all(torch.equal(v, state[k]) for k, v in getattr(run, name).state_dict().items())
    peaks = [[g["peak"] for o in r.optimisers for g in o.param_groups] for r in (run, again)]
    assert peaks[1] == pytest.approx([p / 2 for p in peaks[0]]), "the new rate counts"
    for old, new in zip(run.optimisers, again.optimisers):
        assert len(old.state) == len(new.state) > 0
        for a, b in zip(old.state.values(), new.state.values()):
            assert a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())
    with pytest.raises(ValueError, match="another network"):
        distill.start(tmp_path, Config(width=0.5, embedding=8), settings, None, images)


def test_a_run_that_continues_rounds_in_the_ranges_of_its_start(tmp_path):
    images, _ = made_up()
    settings = distill.Settings(workers=1, int8=True)
    run = distill.start(tmp_path, SMALL, settings, None, images)
    run.save()
    assert run.ranges and distill.start(tmp_path, SMALL, settings, None, images.flip(1) // 3).ranges == run.ranges


def test_unchanged_pose_only_mirrors():
    images = torch.rand(2, 3, 112, 112)
    same, mirrored = augment.similarity_jitter(
        images, 112, torch.Generator(), torch.tensor([False, True]), degrees=0, scale=0, shift=0
    )
    assert torch.allclose(same, images[0], atol=1e-4)
    assert torch.allclose(mirrored, images[1].flip(-1), atol=1e-4)


def test_augmented_batches_stay_in_range():
    faces, generator = torch.randint(0, 256, (32, 112, 112, 3), dtype=torch.uint8), torch.Generator().manual_seed(0)
    images = augment.pose(faces, 64, generator, mirrored=0.5)
    assert images.shape == (32, 3, 64, 64)
    assert augment.degrade(images, generator).abs().max() <= 1.0


def test_white_balance_gives_each_colour_a_gain_of_its_own():
    greys = torch.linspace(-1, 0.5, 20).view(1, 1, 4, 5).expand(6, 3, 4, 5)
    gain = (augment.white_balance(greys, torch.Generator().manual_seed(0)) + 1)[:, :, 1:] / (greys + 1)[:, :, 1:]
    first = gain[:, :, :1, :1]
    assert torch.allclose(gain, first.expand_as(gain), atol=1e-5)
    assert len(first.flatten().unique()) == 18 and 0.85 < first.min() < first.max() < 1.15


def test_occlusion_covers_one_rectangle_of_one_grey():
    covered = augment.occlude(torch.full((64, 3, 32, 48), 2.0), torch.Generator().manual_seed(0))
    for image in covered:
        changed = (image != 2).all(0)
        rows, columns = changed.any(1), changed.any(0)
        assert changed.any() and torch.equal(changed, rows[:, None] & columns[None, :])
        assert len(image[:, changed].unique()) == 1
        assert rows.sum() <= 13 and columns.sum() <= 20


def test_mixing_joins_some_and_leaves_the_others():
    images = torch.arange(64.0).view(64, 1, 1, 1).expand(64, 3, 20, 20).contiguous()
    mixed = augment.mix(images, torch.Generator().manual_seed(1), share=0.25)
    changed = (mixed != images).flatten(1).any(1)
    assert changed.sum() == 16 and mixed.min() >= 0 and mixed.max() <= 63
    spread = mixed[changed].flatten(1).std(1)
    assert spread.min() < 1 < spread.max()  # blends, and patchworks


def test_other_images_appear_where_a_crop_ended_and_nowhere_else():
    faces = torch.full((2, 112, 112, 3), 200, dtype=torch.uint8)
    faces[0] = 100
    faces[0, :30] = 3  # ended above
    faces[0, 60:63, 60:63] = 0  # a pupil
    shown = augment.uncover(faces, torch.Generator().manual_seed(1))
    assert (shown[0, :25] == 200).all() and torch.equal(shown[0, 40:], faces[0, 40:])
    assert torch.equal(shown[1], faces[1])


def test_bending_moves_parts_of_a_face_and_keeps_its_size():
    rows = torch.linspace(-1, 1, 112).view(1, 1, 112, 1).expand(8, 3, 112, 112)
    still = torch.zeros(8, dtype=torch.bool)
    bent = augment.similarity_jitter(rows, 112, torch.Generator().manual_seed(0), still, 0, 0, 0, bend=0.03)
    moved = (bent - rows).abs() * 56  # pixels
    assert 1 < moved.max() < 15 and (moved.mean((1, 2, 3)) < 4).all()


def test_live_answers_are_about_the_image_that_the_student_sees():
    faces, _ = made_up(16)

    def network(images):
        return images.mean((2, 3)), images[:, :1, :7, :7], images[:, :1, :14, :14]

    target = targets.Live(network, faces)
    images, answer = target.view(faces, np.arange(16), 112)
    assert torch.allclose(answer.embedding, target.scale.embedding(images.mean((2, 3))), atol=1e-5)
    assert torch.equal(answer.middle, images[:, :1, :14, :14])
    small, _ = target.view(faces, np.arange(16), 80)
    assert small.shape == (16, 3, 80, 80)


def test_split_keeps_faces_apart():
    training, validation = targets.split(1000)
    assert len(validation) == 10 and not set(training) & set(validation)


def png(width: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, 112)).save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.parametrize(("members", "error", "words"), [
    ({"x/1.png": png(100)}, ValueError, "x/1.png: 100x112"),
    ({"index.tsv": b""}, ValueError, "no images in .*a.zip"),
    ({"x/1.png": png(112), "x/2.png": png(112)[:60]}, OSError, "a.zip: x/2.png: "),
    ({"x/1.png": b"no image"}, OSError, "a.zip: x/1.png: "),
])
def test_bad_zips_are_refused_by_name(tmp_path, members, error, words):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(error, match=words):
        zips.build([tmp_path / "a.zip"], tmp_path / "cache")
    assert not (tmp_path / "cache" / "images.npy").exists()


def test_manifest_replaces_one_model_and_keeps_the_others():
    text = 'format = 1\n\n[default]\nx = 1\n\n[models.a]\nold = 1\n\n[models.a.calibration.cosine]\n' \
           "old = 2\n\n[models.ab]\nkept = 1\n"
    new = manifest.replace_section(text, "a", "[models.a]\nnew = 1\n")
    assert "old" not in new and "kept = 1" in new and new.count("[models.a]") == 1
    assert new.index("[models.a]") < new.index("[models.ab]"), "in its place"
    assert manifest.replace_section(new, "a", "[models.a]\nnew = 1\n") == new


def test_a_model_and_its_section_are_shipped_together(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"model")
    manifest.ship(tmp_path / "a.onnx", tmp_path / "models", "a", "[models.a]\nnew = 1\n")
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == ["a.onnx", "manifest.toml"]
    text = (tmp_path / "models" / "manifest.toml").read_text()
    assert text.startswith(manifest.HEADER) and text.endswith("[models.a]\nnew = 1\n")


def test_what_was_not_finished_is_not_there(tmp_path):
    path = tmp_path / "new" / "a.npy"
    with pytest.raises(KeyboardInterrupt), whole(path) as unfinished:
        np.save(unfinished, np.zeros(3))
        raise KeyboardInterrupt
    assert not path.exists()
    for value in (1, 2):
        with whole(path) as unfinished:
            np.save(unfinished, np.full(3, value))
    assert np.load(path)[0] == 2 and list(path.parent.iterdir()) == [path]


def test_the_section_of_a_model_says_what_the_daemon_has_to_know(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"model")
    image = manifest.Input(320, 256, "BGR", 0.0, 1.0)
    text = manifest.section("a", "detector", tmp_path / "a.onnx", image, "detection = { score = 0.5 }", {"data": '"x"'})
    of = tomllib.loads(text)["models"]["a"]
    assert of == {
        "role": "detector", "file": "a.onnx", "sha256": manifest.sha256(tmp_path / "a.onnx"),
        "input": {"width": 320, "height": 256, "channels": "BGR", "mean": [0.0] * 3, "scale": [1.0] * 3},
        "detection": {"score": 0.5}, "data": '"x"',
    }
    assert manifest.made("x", "train --fast").startswith("python -m x train --fast, commit ")
