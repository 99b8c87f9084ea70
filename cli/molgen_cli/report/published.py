"""Our figures beside published ones: a chart, a table, and what may be compared with what."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from molgen.evaluation.evaluate import Figure
from molgen.metric import Better, Estimate
from molgen_cli.figures import Evaluated
from molgen_cli.report import numbers
from molgen_cli.report.charts import (
    COLOURS,
    Scale,
    diamond,
    document,
    hint,
    line,
    linear,
    marker,
    named,
    polygon,
    words,
)
from molgen_cli.report.markup import Html, markup, table, tag
from molgen_cli.report.numbers import compact
from molgen_cli.report.tables import figure_of, heading, labels

#: A figure of ours, and the labels under which published ones that compare with it stand.
Column = tuple[Figure, Sequence[str]]


def published(files: Sequence[Evaluated], reference: str) -> Html | None:
    """What was published on the reference data set beside our figures, or None where there is nothing.

    Args:
        files: what was evaluated.
        reference: the name of the data set that they are compared with.
    """
    columns, groups = _comparable(labels(files), published_groups(reference))
    if not columns:
        return None
    return markup(
        _standing(files, columns, groups),
        tag("div", _table(files, columns, groups), class_="wide"),
        tag("div", [_protocol(number, group) for number, group in enumerate(groups, 1)], class_="protocols"),
    )


def _comparable(figures: Mapping[str, Figure], groups: Sequence[Group]) -> tuple[list[Column], list[Group]]:
    """The metrics that are both ours and published, and the published rows that have one of them."""
    rows = [row for group in groups for row in group.rows]
    ours: list[Column] = [(figure, published_names(figure)) for figure in figures.values()]
    columns = [(figure, names) for figure, names in ours if any(published_figure(row, names) for row in rows)]
    kept = [found for group in groups if (found := group.of([names for _, names in columns]))]
    return columns, kept


def _standing(files: Sequence[Evaluated], columns: Sequence[Column], groups: Sequence[Group]) -> Html | None:
    metrics = [_metric(files, column, groups) for column in columns]
    chart = standing("Where the files stand among published figures", metrics)
    if chart is None:
        return None
    note = (
        "Better values lie to the right. Each row has its own scale; an arrow is a published value far beyond its end."
    )
    return tag("figure", _legend(files, metrics), chart, tag("figcaption", note))


def _legend(files: Sequence[Evaluated], metrics: Sequence[Metric]) -> Html:
    signs = [named(number, one.name) for number, one in enumerate(files)]
    signs.append(_sign("published", tag("circle", cx=7, cy=7, r=4), "published"))
    if any(training for metric in metrics for _, _, training in metric.published):
        signs.append(_sign("training", diamond(7.0, 7.0, 4.5), "the training set itself"))
    return tag("p", [tag("span", one) for one in signs], class_="legend")


def _sign(kind: str, shape: Html, name: str) -> Html:
    return markup(tag("svg", shape, viewBox="0 0 14 14", class_=f"sign {kind}", aria_hidden="true"), " ", name)


def _metric(files: Sequence[Evaluated], column: Column, groups: Sequence[Group]) -> Metric:
    figure, names = column
    ours = [(k, one.name, own.estimate) for k, one in enumerate(files) if (own := figure_of(one, figure.label))]
    theirs = [
        (row.name, float(value.value), row.training)
        for group in groups
        for row in group.rows
        if (value := published_figure(row, [name for name in names if name not in group.apart]))
    ]
    return Metric(figure.label, figure.better, ours, theirs)


def _table(files: Sequence[Evaluated], columns: Sequence[Column], groups: Sequence[Group]) -> Html:
    head: list[Html | str] = ["Model"]
    head += [heading(figure.label, figure.better, "col") for figure, _ in columns]
    rows = [_own(number, one, columns) for number, one in enumerate(files)]
    for number, group in enumerate(groups, 1):
        title = tag("th", f"{group.title} ({number})", colspan=len(columns) + 1, scope="rowgroup")
        rows += [tag("tr", title, class_="group"), *_rows(group, columns)]
    return table(head, rows, class_="figures published-table")


def _own(number: int, one: Evaluated, columns: Sequence[Column]) -> Html:
    figures = [figure_of(one, figure.label) for figure, _ in columns]
    cells = [tag("td", _number(figure), class_="number") for figure in figures]
    return tag("tr", tag("th", named(number, one.name, 30), scope="row"), cells, class_="own")


def _number(figure: Figure | None) -> Html | str:
    if figure is None:
        return ""
    if figure.error:
        return tag("span", "failed", class_="failed")
    return numbers.value(figure.estimate)


def _rows(group: Group, columns: Sequence[Column]) -> Iterator[Html]:
    best = [_best(group, figure.better, names) for figure, names in columns]
    for row in group.rows:
        found = [published_figure(row, names) for _, names in columns]
        cells = [_cell(one, top if not row.training else None) for one, top in zip(found, best, strict=True)]
        yield tag("tr", _model(row), cells)


def _model(row: Model) -> Html:
    return tag("th", row.name, tag("span", row.family, class_="interval") if row.family else None, scope="row")


def _best(group: Group, better: Better, names: Sequence[str]) -> Published | None:
    """The best figure of a column within its group; the training set does not count, nor does a figure alone."""
    found = [published_figure(row, names) for row in group.rows if not row.training]
    known = [value for value in found if value is not None]
    if better is Better.NEITHER or len(known) < 2:
        return None
    return (max if better is Better.HIGHER else min)(known, key=lambda one: one.value)


def _cell(value: Published | None, best: Published | None) -> Html:
    if value is None:
        return tag("td")
    top = best is not None and value.value == best.value
    spread = tag("span", f"± {value.deviation}", class_="interval") if value.deviation else None
    return tag("td", tag("b" if top else "span", str(value.value)), spread, class_="number")


def _protocol(number: int, group: Group) -> Html:
    return tag(
        "div",
        tag("h3", f"({number}) {group.title}"),
        tag("p", f"Source: {group.source}.", class_="soft"),
        tag("ul", [tag("li", sentence) for sentence in group.protocol]),
    )


@dataclass(frozen=True)
class Published:
    """A figure as printed, percentages as shares.

    Attributes:
        value: with the decimals of the source.
        deviation: its standard deviation over runs, where the source has one.
    """

    value: Decimal
    deviation: Decimal | None = None


@dataclass(frozen=True)
class Model:
    """One row of a published table.

    Attributes:
        name: of the model, as in the source.
        family: what kind it is.
        values: label of the metric -> figure. A label without the name of a reference holds for every reference.
        training: whether these are the training items themselves, which no model should be.
    """

    name: str
    family: str
    values: Mapping[str, Published]
    training: bool = False


@dataclass(frozen=True)
class Group:
    """Rows of one source under one protocol.

    Attributes:
        title: what they are.
        source: where they were read.
        protocol: what to know before comparing, a sentence each.
        rows: the models.
        apart: labels of figures that compare with nothing outside the group: no chart puts them beside others.
    """

    title: str
    source: str
    protocol: Sequence[str]
    rows: Sequence[Model]
    apart: Sequence[str] = ()

    def of(self, labels: Iterable[Sequence[str]]) -> Group | None:
        """The group with those rows alone that have one of the labels, or None; see `names`."""
        known = {name for one in labels for name in one}
        rows = [row for row in self.rows if known & set(row.values)]
        return replace(self, rows=rows) if rows else None


def published_groups(reference: str) -> list[Group]:
    """What was published of models trained on a data set; nothing for an unknown one."""
    return [_group(one) for one in _content()["data"].get(reference, ())]


def published_names(figure: Figure) -> list[str]:
    """The labels under which published figures that compare with one of ours stand."""
    same: list[str] = next((labels for labels in _content()["same"] if figure.label in labels), [])
    ending = f"/{figure.reference}"
    free = [figure.label.removesuffix(ending)] if figure.reference and figure.label.endswith(ending) else []
    return list(dict.fromkeys([figure.label, *same, *free]))


def published_figure(row: Model, labels: Sequence[str]) -> Published | None:
    """The figure of a row under the first of the labels that it has."""
    return next((row.values[label] for label in labels if label in row.values), None)


@cache
def _content() -> Any:
    text = Path(__file__).with_name("anchors.json").read_text(encoding="utf-8")
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)  # 1.2800 keeps its last decimals


def _group(found: Mapping[str, Any]) -> Group:
    rows = [_read_model(row) for row in found["rows"]]
    return Group(found["title"], found["source"], found["protocol"], rows, found.get("apart", ()))


def _read_model(found: Mapping[str, Any]) -> Model:
    values = {label: _figure(given) for label, given in found["values"].items()}
    return Model(found["model"], found["family"], values, found.get("training", False))


def _figure(given: Decimal | list[Decimal]) -> Published:
    return Published(*given) if isinstance(given, list) else Published(given)


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
        _best_mark(metric, y),
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


def _best_mark(metric: Metric, y: float) -> Html | None:
    """The best published model and its value; the training set does not count."""
    models = [(name, value) for name, value, training in metric.published if not training]
    if metric.better is Better.NEITHER or not models:
        return None
    name, value = (max if metric.better is Better.HIGHER else min)(models, key=lambda model: model[1])
    return words(f"best {compact(value)}, {name}", _RIGHT + 24, y + 4, "soft")
