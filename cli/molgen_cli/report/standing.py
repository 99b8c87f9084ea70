"""The chart of where files stand among published figures: a row for each metric, better values to the right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molgen.metric import Better, Estimate
from molgen_cli.report.markup import Html, tag
from molgen_cli.report.numbers import compact
from molgen_cli.report.shapes import COLOURS, Scale, diamond, document, hint, line, linear, marker, polygon, words

_WIDTH, _LEFT, _RIGHT = 760.0, 130.0, 560.0
#: Height that a row needs for its own line, and for each file.
_LINE, _FILE = 36.0, 12.0
#: Values that differ by more than this factor are shown on a logarithmic scale.
_LOGARITHMIC = 20.0


@dataclass(frozen=True)
class Metric:
    """One row.

    Attributes:
        label: of the metric.
        better: which values are good.
        files: number among the files, name and value of each.
        published: model, value, and whether it is the training set.
    """

    label: str
    better: Better
    files: Sequence[tuple[int, str, Estimate]]
    published: Sequence[tuple[str, float, bool]]


def standing(title: str, metrics: Sequence[Metric]) -> Html | None:
    """The chart, or None where there is nothing to compare."""
    shown = [metric for metric in metrics if metric.published and _values(metric)]
    if not shown:
        return None
    rows, y = [], 4.0
    for metric in shown:
        y += _FILE * len(metric.files) + 8
        rows.append(_row(metric, y))
        y += _LINE - 8
    return document(_WIDTH, y, title, rows)


def _values(metric: Metric) -> list[float]:
    return [estimate.value for _, _, estimate in metric.files if math.isfinite(estimate.value)]


def _row(metric: Metric, y: float) -> Html:
    ends = _ends(metric)
    scale = _scale(metric, ends)
    dots = [_dot(name, value, training, ends, scale, y) for name, value, training in metric.published]
    first, last = sorted(ends, key=scale)
    return tag(
        "g",
        line(_LEFT, y, _RIGHT, y, "rule"),
        words(metric.label, _LEFT - 24, y + 4, "strong", "end"),
        words(compact(first), _LEFT, y + 16, "soft"),
        words(compact(last), _RIGHT, y + 16, "soft", "end"),
        dots,
        [_file(k, name, e, scale, y - _FILE * (n + 1)) for n, (k, name, e) in enumerate(metric.files)],
        _best(metric, y),
    )


def _ends(metric: Metric) -> tuple[float, float]:
    """The range of the row: all values but bad published ones far from the rest, which would crowd the others."""
    known = np.array([value for _, value, _ in metric.published])
    low, high = np.quantile(known, [0.25, 0.75])
    reach = 1.5 * (high - low) or math.inf
    far_above = (known > high + reach) & (metric.better is not Better.HIGHER)
    far_below = (known < low - reach) & (metric.better is not Better.LOWER)
    shown = [*known[~(far_above | far_below)].tolist(), *_values(metric)]
    if min(shown) == max(shown):
        shown += known.tolist()
    least, most = min(shown), max(shown)
    room = 0.0 if most > least else max(0.01 * abs(most), 1e-6)
    return least - room, most + room


def _scale(metric: Metric, ends: tuple[float, float]) -> Scale:
    """Better values to the right; values beyond the ends at the ends."""
    places = (_RIGHT, _LEFT) if metric.better is Better.LOWER else (_LEFT, _RIGHT)
    if ends[0] > 0 and ends[1] / ends[0] > _LOGARITHMIC:
        inner = linear((math.log(ends[0]), math.log(ends[1])), places)
        return lambda value: inner(math.log(min(max(value, ends[0]), ends[1])))
    straight = linear(ends, places)
    return lambda value: straight(min(max(value, ends[0]), ends[1]))


def _dot(name: str, value: float, training: bool, ends: tuple[float, float], scale: Scale, y: float) -> Html:
    x = scale(value)
    if not ends[0] <= value <= ends[1]:  # an arrow to where it would be
        side = -1.0 if x <= _LEFT else 1.0
        shape = polygon((x + 16 * side, y), (x + 8 * side, y - 4.5), (x + 8 * side, y + 4.5))
    else:
        shape = diamond(x, y, 4.5) if training else tag("circle", cx=x, cy=y, r=4.0)
    return hint(f"{name}: {compact(value)}", tag("g", shape, class_="training" if training else "published"))


def _file(number: int, name: str, estimate: Estimate, scale: Scale, y: float) -> Html | None:
    if not math.isfinite(estimate.value):
        return None
    x = scale(estimate.value)
    known = math.isfinite(estimate.low) and math.isfinite(estimate.high)
    return hint(
        f"{name}: {compact(estimate.value)}",
        line(scale(estimate.low), y, scale(estimate.high), y, f"whisker s{number % COLOURS}") if known else None,
        marker(number, x, y, 4.5),
    )


def _best(metric: Metric, y: float) -> Html | None:
    """The best published model and its value; the training set does not count."""
    models = [(name, value) for name, value, training in metric.published if not training]
    if metric.better is Better.NEITHER or not models:
        return None
    name, value = (max if metric.better is Better.HIGHER else min)(models, key=lambda model: model[1])
    return words(f"best {compact(value)}, {name}", _RIGHT + 24, y + 4, "soft")
