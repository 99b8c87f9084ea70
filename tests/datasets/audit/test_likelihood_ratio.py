"""The likelihood-ratio attack where all is normal, so that the area below the curve is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from molgen_datasets.audit.membership import (
    Densities,
    calibrated_attack,
    likelihood_ratio_attack,
    loss_attack,
    mean_of,
    spread,
)

ITEMS, MODELS, SHIFT = 20_000, 100, 1.0


def toy(models=MODELS, shift=SHIFT):
    """A model and reference models of items of different means and spreads; members lie `shift` spreads higher."""
    rng = np.random.default_rng(5)
    means, spreads = rng.normal(0, 10, (2, ITEMS)), rng.choice([0.2, 3.0], (2, ITEMS))
    drawn = means + spreads * rng.normal(size=(models + 1, 2, ITEMS))
    drawn[0, 0] += shift * spreads[0]
    return [Densities(*one, one[1], "exact") for one in drawn]


def area(findings):
    """The value and the interval of the AUC."""
    estimate = findings[0].estimate
    return estimate.value, estimate.low, estimate.high


def test_its_area_is_that_of_the_shift_and_beyond_the_other_attacks():
    model, *references = toy()
    rng = np.random.default_rng(0)
    exact = stats.norm.cdf(SHIFT / np.sqrt(2))  # 0.760, of two normals that lie `SHIFT` apart
    found = area(likelihood_ratio_attack(model, references, rng))[0]
    assert found == pytest.approx(exact, abs=0.012)
    calibrated = area(calibrated_attack(model, references, rng))[0]
    # ranks without the spreads mix items of little and of much spread: the mean area of the four pairs of them
    spreads = np.array([0.2, 3.0])
    pairs = stats.norm.cdf(SHIFT * spreads[:, None] / np.hypot(spreads[:, None], spreads[None, :])).mean()
    assert calibrated == pytest.approx(pairs, abs=0.012)
    assert area(loss_attack(model, rng))[0] < 0.55 < calibrated < found


def test_nothing_is_found_where_there_is_nothing():
    model, *references = toy(shift=0.0)
    assert area(likelihood_ratio_attack(model, references, np.random.default_rng(0)))[0] == pytest.approx(0.5, abs=0.02)


def test_few_models_moderate_the_spread_of_an_item_by_that_of_all():
    values = np.array([[0.0, 0.0, np.nan], [2.0, 6.0, 1.0]])  # variances 2 and 18, of one degree of freedom
    usual = 12 * np.exp(
        np.euler_gamma
    )  # 6 is their geometric mean; E log of a chi squared of one degree: -gamma - log 2
    np.testing.assert_allclose(spread(values)[:2] ** 2, [(2 + 4 * usual) / 5, (18 + 4 * usual) / 5])
    assert np.isnan(spread(values)[2])


def test_items_that_a_model_cannot_represent_are_left_out():
    model, *references = toy(3)
    references[1].training[:5] = np.nan
    assert np.isnan(mean_of(references).training[:5]).all()
    findings = likelihood_ratio_attack(model, references, np.random.default_rng(0))
    assert 0.5 < area(findings)[0] < 1
