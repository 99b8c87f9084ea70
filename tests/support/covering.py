"""A part of a product of families, spaces and checks in which every two of them still meet."""

from __future__ import annotations

from collections.abc import Sequence

from molgen.testing import Check


def parts(check: Check) -> tuple[str, str, str]:
    """The family, what it is over (with its network, if one is named), and the guarantee."""
    family, _, over = check.about.partition(" ")
    return family, over, check.name


def covering(checks: Sequence[Check], period: int) -> list[Check]:
    """One in `period` of the checks, on diagonals of the product, and all that are of no space.

    With families, spaces and checks numbered, those are taken whose three numbers sum to a multiple of the period. So
    each family meets each space (under some of the checks), each check meets each family (over some of the spaces) and
    each space (under some of the families), where no factor has fewer values than the period.
    """
    named = [parts(check) for check in checks]
    numbers = [
        {value: place for place, value in enumerate(dict.fromkeys(column))} for column in zip(*named, strict=True)
    ]
    return [
        check
        for check, own in zip(checks, named, strict=True)
        if not own[1] or sum(known[value] for known, value in zip(numbers, own, strict=True)) % period == 0
    ]
