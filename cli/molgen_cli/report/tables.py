"""The tables of metrics: one to read, and one with all there is to each number."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from molgen.evaluation.evaluate import Figure
from molgen.metric import Better
from molgen_cli.figures import Evaluated
from molgen_cli.report import numbers
from molgen_cli.report.charts import named
from molgen_cli.report.markup import Html, markup, table, tag

#: Where a long name of a metric may be broken.
_BREAKS = re.compile("(?<=[/@])")


class Notes:
    """What is said below a table, each thing once, with a number that cells refer to."""

    def __init__(self, name: str) -> None:
        self._name, self._texts = name, dict[str, int]()

    def refer(self, text: str) -> Html | None:
        """The number of a note, as a link to it; nothing for an empty one."""
        if not text:
            return None
        number = self._texts.setdefault(text, len(self._texts) + 1)
        return tag("sup", tag("a", number, href=f"#{self._name}-{number}"))

    def below(self) -> Html | None:
        """The notes themselves."""
        if not self._texts:
            return None
        rows = [tag("li", text, id=f"{self._name}-{number}") for text, number in self._texts.items()]
        return tag("ol", rows, class_="notes")


def labels(files: Sequence[Evaluated]) -> dict[str, Figure]:
    """Every label of any file in order, with one of its figures."""
    found: dict[str, Figure] = {}
    for one in files:
        for figure in one.figures:
            found.setdefault(figure.label, figure)
    return found


def figure_of(one: Evaluated, label: str) -> Figure | None:
    """The figure of a file under a label."""
    return next((figure for figure in one.figures if figure.label == label), None)


def metrics(files: Sequence[Evaluated]) -> Html:
    """A row for each metric, a column for each file; a failed metric has no number."""
    notes = Notes("note")
    rows = [
        tag("tr", heading(label, figure.better), _cells(files, label, notes)) for label, figure in labels(files).items()
    ]
    head = ["Metric", *(tag("th", named(k, one.name), scope="col", class_="number") for k, one in enumerate(files))]
    return markup(tag("div", table(head, rows, class_="figures"), class_="wide"), notes.below())


def heading(label: str, better: Better, scope: str = "row") -> Html:
    """The name of a metric, with an arrow to where it is better."""
    return tag("th", _breakable(label) if scope == "col" else label, " ", arrow(better), scope=scope)


def _breakable(label: str) -> Html:
    return markup(part if not k else (tag("wbr"), part) for k, part in enumerate(_BREAKS.split(label)))


def arrow(better: Better) -> Html | None:
    """Which values are good, as an arrow."""
    if better not in numbers.DIRECTIONS:
        return None
    sign, meaning = numbers.DIRECTIONS[better]
    return tag("abbr", sign, title=meaning, aria_label=meaning, class_="soft")


def _cells(files: Sequence[Evaluated], label: str, notes: Notes) -> Iterator[Html]:
    figures = [figure_of(one, label) for one in files]
    best = _clear_best([figure for figure in figures if figure is not None])
    decimals = numbers.decimals(figure.estimate for figure in figures if figure is not None)
    for figure in figures:
        yield tag("td") if figure is None else _cell(figure, figure is best, decimals, notes)


def _cell(figure: Figure, best: bool, decimals: int, notes: Notes) -> Html:
    if figure.error:
        return tag("td", tag("span", "failed", class_="failed"), notes.refer(figure.error), class_="number")
    estimate = figure.estimate
    return tag(
        "td",
        tag("b" if best else "span", numbers.value(estimate, decimals)),
        notes.refer(estimate.note),
        notes.refer(figure.warning),
        tag("span", numbers.interval(estimate, decimals), class_="interval"),
        class_="number",
    )


def _clear_best(figures: Sequence[Figure]) -> Figure | None:
    """The best of several figures, if its interval ends before those of all the others begin."""
    known = [figure for figure in figures if math.isfinite(figure.estimate.value)]
    if len(known) < 2 or known[0].better is Better.NEITHER:
        return None
    higher = known[0].better is Better.HIGHER
    first, *others = sorted(known, key=lambda figure: figure.estimate.value, reverse=higher)
    return first if all(_apart(first, one, higher) for one in others) else None


def _apart(best: Figure, other: Figure, higher: bool) -> bool:
    """Whether two intervals do not meet; a value without one is its own."""
    lower, upper = (other, best) if higher else (best, other)
    high = lower.estimate.high if math.isfinite(lower.estimate.high) else lower.estimate.value
    low = upper.estimate.low if math.isfinite(upper.estimate.low) else upper.estimate.value
    return high < low


def in_full(files: Sequence[Evaluated]) -> Html:
    """Everything that is known of every figure, a row each."""
    head = ["File", "Metric", "Value", "Low", "High", "Items", "Against", "Seconds", "Computed by", "To know"]
    rows = [_full(one, figure) for one in files for figure in one.figures]
    return tag("div", table(head, rows), class_="wide")


def _full(one: Evaluated, figure: Figure) -> Html:
    estimate = figure.estimate
    failure = figure.error and f"failed: {figure.error}"
    remarks = "; ".join(text for text in (failure, figure.warning, "" if failure else estimate.note) if text)
    given = [_exact(estimate.value), _exact(estimate.low), _exact(estimate.high), numbers.count(estimate.count)]
    return tag(
        "tr",
        tag("td", one.name),
        tag("th", figure.label, scope="row"),
        [tag("td", cell, class_="number") for cell in given],
        tag("td", figure.reference),
        tag("td", f"{figure.seconds:.2f}", class_="number"),
        tag("td", ", ".join([figure.metric, *(f"{name}={value}" for name, value in figure.settings.items())])),
        tag("td", remarks),
    )


def _exact(value: float) -> str:
    return f"{value:.8g}" if math.isfinite(value) else numbers.NONE
