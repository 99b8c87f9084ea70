"""How numbers are written, and where the ticks of an axis stand."""

from __future__ import annotations

import math
from collections.abc import Iterable

from molgen.metric import Better, Estimate

#: What stands for a value that there is not.
NONE = "\u2013"
#: Decimals where no interval says how many are meaningful, and the most that are ever shown.
_DECIMALS, _MOST = 4, 5

#: What a reader of a table sees of a direction, and what it means in words.
DIRECTIONS = {Better.HIGHER: ("↑", "higher is better"), Better.LOWER: ("↓", "lower is better")}


def decimals(estimates: Iterable[Estimate]) -> int:
    """So many decimals as the narrowest of some intervals makes meaningful: one or two digits of half of it."""
    sides = [(one.high - one.low) / 2 for one in estimates if math.isfinite(one.value)]
    known = [side for side in sides if math.isfinite(side) and side > 0]
    return min(_MOST, max(0, -math.floor(math.log10(min(known) / 3)))) if known else _DECIMALS


def value(estimate: Estimate, decimals: int = _DECIMALS) -> str:
    """The number, or a dash."""
    return number(estimate.value, decimals)


def interval(estimate: Estimate, decimals: int = _DECIMALS) -> str:
    """The interval of a number, or nothing."""
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return ""
    return f"{number(estimate.low, decimals)} to {number(estimate.high, decimals)}"


def number(value: float, decimals: int = _DECIMALS) -> str:
    """A number with so many decimals; one that would lose all its digits has three significant ones."""
    if not math.isfinite(value):
        return NONE
    if value and abs(value) < 0.5 * 10.0**-decimals:
        return f"{value:.3g}".replace("-", "\u2212")
    return f"{value:,.{decimals}f}".replace("-", "\u2212")


def short(value: float) -> str:
    """A number of about three digits."""
    if not math.isfinite(value):
        return NONE
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}".replace("-", "\u2212")
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{max(0, digits)}f}".replace("-", "\u2212")


def compact(value: float) -> str:
    """A number of up to four digits, without zeros at its end."""
    return f"{value:.4g}".replace("-", "\u2212") if math.isfinite(value) else NONE


def percent(share: float) -> str:
    """A share as a percentage of about three digits."""
    if not math.isfinite(share):
        return NONE
    return f"{100 * share:.1f} %" if share >= 0.01 or not share else f"{100 * share:.2g} %"


def count(rows: int) -> str:
    """A whole number with separators."""
    return f"{rows:,}"


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers within low..high, at most `most` of them."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [step * k for k in range(first, math.floor(high / step + 1e-9) + 1)]
