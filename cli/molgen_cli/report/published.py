"""Our figures beside published ones: a chart, a table, and what may be compared with what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from molgen.evaluation import Figure
from molgen.metric import Better
from molgen_cli.figures import Evaluated
from molgen_cli.report import anchors, numbers
from molgen_cli.report.anchors import Group, Model, Published
from molgen_cli.report.markup import Html, markup, table, tag
from molgen_cli.report.shapes import diamond, named
from molgen_cli.report.standing import Metric, standing
from molgen_cli.report.tables import figure_of, heading, labels

#: A figure of ours, and the labels under which published ones that compare with it stand.
Column = tuple[Figure, Sequence[str]]


def published(files: Sequence[Evaluated], reference: str) -> Html | None:
    """What was published on the reference data set beside our figures, or None where there is nothing.

    Args:
        files: what was evaluated.
        reference: the name of the data set that they are compared with.
    """
    columns, groups = _comparable(labels(files), anchors.groups(reference))
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
    ours: list[Column] = [(figure, anchors.names(figure)) for figure in figures.values()]
    columns = [(figure, names) for figure, names in ours if any(anchors.published(row, names) for row in rows)]
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
        if (value := anchors.published(row, [name for name in names if name not in group.apart]))
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
        found = [anchors.published(row, names) for _, names in columns]
        cells = [_cell(one, top if not row.training else None) for one, top in zip(found, best, strict=True)]
        yield tag("tr", _model(row), cells)


def _model(row: Model) -> Html:
    return tag("th", row.name, tag("span", row.family, class_="interval") if row.family else None, scope="row")


def _best(group: Group, better: Better, names: Sequence[str]) -> Published | None:
    """The best figure of a column within its group; the training set does not count, nor does a figure alone."""
    found = [anchors.published(row, names) for row in group.rows if not row.training]
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
