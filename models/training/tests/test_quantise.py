"""Activation ranges on values with a known answer."""

import numpy as np
import pytest

from doorward_models import quantise


def test_minmax_covers_everything_and_zero():
    assert quantise.activation_range(np.array([2.0, 5.0]), "minmax") == (0.0, 5.0)


def test_percentile_cuts_the_tails():
    values = np.linspace(-1, 1, 10_001)
    low, high = quantise.activation_range(values, "percentile", 99.0)
    assert (low, high) == pytest.approx((-0.98, 0.98), abs=1e-3)


def test_mse_gives_up_a_lone_outlier_but_not_a_flat_range():
    rng = np.random.default_rng(0)
    flat = rng.uniform(-1, 1, 50_000)
    assert quantise.activation_range(flat, "mse")[1] > 0.95 * flat.max()
    outlier = np.append(rng.normal(0, 0.01, 2_000_000), 1.0)
    assert quantise.activation_range(outlier, "mse")[1] < 0.9


def test_unknown_method_is_named():
    with pytest.raises(ValueError, match="entropy"):
        quantise.activation_range(np.zeros(3), "entropy")
