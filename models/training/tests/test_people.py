"""Naming rules of the collections."""

import zipfile

from doorward_models import people


def test_only_glint_folders_are_identities():
    names = ["glint/A/0.webp", "utk/1.webp", "glint/B/0.webp", "glint/A/1.webp", "utk/2.webp"]
    assert people.identities(names).tolist() == [0, -1, 1, 0, -1]
    assert people.mates(people.identities(names)) == 1 and people.mates(people.identities(names[:2])) == 0


def test_ages():
    assert people.age("utk/1.webp", "utk/data/34_0_3_20170119200815092.jpg.chip.jpg") == 34
    assert people.age("aaf/00004.webp", "aaf/original images/00004A02.jpg") == 2
    assert people.age("fm12k/1.webp", "34_0.jpg") is None


def test_children_and_masks_are_not_compared(tmp_path):
    index = {"utk/1.webp": "d/8_0_.jpg", "utk/2.webp": "d/80_0_.jpg", "mux/1.webp": "x.jpg", "glint/A/0.webp": "y"}
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        archive.writestr("index.tsv", "".join(f"{k}\t{v}\t0.9\t100\n" for k, v in index.items()))
    origin = people.origins([tmp_path / "faces.zip"])
    assert origin == index
    assert people.for_calibration(list(index), origin).tolist() == [1, 3]
