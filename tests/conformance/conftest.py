"""Which combinations wait for the slow run.

Of the products of families, spaces and checks a part is run each time in which every two of them meet. The rest is
marked `slow`, and `.ci/run` runs it. Integrals of likelihoods along an ODE, point by point in space, are marked
`integral` as well, for they take many minutes.
"""

import pytest
from support.covering import covering

#: One combination in how many is run each time, by the test that is given them as checks.
PERIODS = {"test_family_over_encoder": 4, "test_family_on_its_default_networks": 2, "test_family_on_other_networks": 3}
INTEGRALS = (
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
    products = {name: [item for item in items if _function(item) == name] for name in PERIODS}
    for name, own in products.items():
        checks = [item.callspec.params["check"] for item in own]
        quick = {check.id for check in covering(checks, PERIODS[name])}
        for item, check in zip(own, checks, strict=True):
            if check.id not in quick:
                item.add_marker(pytest.mark.slow)
    for item in items:
        if item.nodeid.endswith(INTEGRALS):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.integral)


def _function(item):
    return getattr(item, "originalname", item.name)
