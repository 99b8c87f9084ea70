"""Which combinations are for the slow run: integrals of likelihoods along an ODE, point by point in space."""

import pytest

SLOW = (
    "[flow over molecules.geometry: probabilities_sum_to_one]",
    "[flow over molecule: probabilities_sum_to_one]",
    "[flow over points: probabilities_sum_to_one]",
    "[flow over Points: probabilities_sum_to_one]",
    "[autoregressive over cloud: samples_follow_the_density]",
    "test_a_family_works_on_a_device[flow over molecule]",
    "test_a_family_works_on_a_device[flow over points]",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark them before they are chosen from."""
    for item in items:
        if item.nodeid.endswith(SLOW):
            item.add_marker(pytest.mark.slow)
