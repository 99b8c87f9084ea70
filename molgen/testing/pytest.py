"""Checks as parameters of a pytest test. Pytest is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from molgen.testing.checks import Check
from molgen.testing.suites import Part, checks_of

if TYPE_CHECKING:
    import pytest


def parametrize_with_checks(
    *parts: Part | Check | Iterable[Check], expected_failures: Mapping[str, str] | None = None
) -> pytest.MarkDecorator:
    """A decorator that gives a test each check in turn as the argument `check`.

    Example:
        >>> @parametrize_with_checks("peptides")  # doctest: +SKIP
        ... def test_conformance(check):
        ...     check()

    Args:
        *parts: registry names, classes, encoders, or checks themselves.
        expected_failures: the reason why a check is known to fail, by its name or its whole id. A check that is
            expected to fail and does not is a failure.

    Raises:
        ValueError: an expected failure of a check that there is not.
    """
    import pytest

    reasons = dict(expected_failures or {})
    checks = [check for part in parts for check in _checks(part)]
    _require_known(reasons, checks)
    return pytest.mark.parametrize("check", [_parameter(check, reasons) for check in checks])


def _checks(part: Any) -> Iterable[Check]:
    if isinstance(part, Check):
        return [part]
    return part if isinstance(part, Iterable) and not isinstance(part, str) else checks_of(part)


def _parameter(check: Check, reasons: Mapping[str, str]) -> Any:
    import pytest

    reason = reasons.get(check.id, reasons.get(check.name))
    marks = [] if reason is None else [pytest.mark.xfail(reason=reason, strict=True)]
    return pytest.param(check, id=check.id, marks=marks)


def _require_known(reasons: Mapping[str, str], checks: Iterable[Check]) -> None:
    known = {name for check in checks for name in (check.id, check.name)}
    if unknown := sorted(set(reasons) - known):
        raise ValueError(f"there is no check {', '.join(unknown)} of which a failure could be expected")
