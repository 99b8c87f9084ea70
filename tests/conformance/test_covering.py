"""What is run each time of a product of families, spaces and checks: every two of them meet."""

from itertools import combinations, product

import pytest
from support.covering import covering, parts

from molgen.testing import Check


@pytest.mark.parametrize("period", [2, 3, 4])
def test_every_two_of_family_space_and_check_meet(period):
    names = [[f"family{k}" for k in range(5)], [f"over space{k}" for k in range(7)], [f"check{k}" for k in range(9)]]
    checks = [Check(check, lambda: None, f"{family} {over}") for family, over, check in product(*names)]
    chosen = [parts(check) for check in covering(checks, period)]
    for first, second in combinations(range(3), 2):
        assert {(one[first], one[second]) for one in chosen} == set(product(names[first], names[second]))
    assert len(chosen) <= len(checks) // period + 1


def test_what_is_of_no_space_is_always_run():
    checks = [Check("takes_some_space", lambda: None, f"family{k}") for k in range(5)]
    assert covering(checks, 3) == checks
