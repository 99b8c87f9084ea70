"""Every case has a test that exists, or a reason."""

import re
from functools import cache
from pathlib import Path

import pytest
from reliability.cases import CASES

TESTS = Path(__file__).parents[1]


@cache
def functions(path: Path) -> frozenset[str]:
    return frozenset(re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_no_case_is_missing():
    assert list(CASES) == list(range(1, 51))


@pytest.mark.parametrize("number", CASES)
def test_a_case_has_a_test_or_a_reason(number):
    case = CASES[number]
    assert case.tests or case.reason
    for test in case.tests:
        path, function = test.split("::")
        assert function in functions(TESTS / path), f"case {number}: {test} does not exist"
