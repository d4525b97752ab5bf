"""Principal components of a teacher's map on values with a known answer."""

import numpy as np

from doorward_models import teacher


def test_the_strongest_direction_comes_first_and_signs_are_fixed():
    rng = np.random.default_rng(0)
    strong, weak = rng.normal(size=(2, 50, 4, 4))
    maps = np.stack([3 * strong, 3 * strong, weak], 1)
    basis = teacher.principal(maps, 2)
    assert np.allclose(basis[0], [np.sqrt(0.5), np.sqrt(0.5), 0], atol=0.02)
    assert np.allclose(basis @ basis.T, np.eye(2), atol=1e-6) and (basis.sum(1) > 0).all()
