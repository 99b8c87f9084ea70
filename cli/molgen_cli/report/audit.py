"""The page of an audit: one HTML file that refers to no other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from molgen import __version__
from molgen_cli.report import numbers
from molgen_cli.report.charts import document, line, linear
from molgen_cli.report.markup import Content, Html, clipped, markup, table, tag
from molgen_cli.report.page import head

if TYPE_CHECKING:
    from molgen_datasets.audit import Audit, Finding, Section
    from molgen_datasets.audit.findings import Table

_OFTEN = "By chance alone, one figure in forty lies above its interval."

#: Size of the picture of an interval, in pixels.
_WIDTH, _HEIGHT = 180.0, 26.0


def page(found: Audit) -> str:
    """The HTML document."""
    title = f"Audit of {found.about['sets']['synthetic']['name']}"
    links = [tag("a", one.title, href=f"#{one.name}") for one in found.sections]
    body = markup(
        tag("header", tag("h1", clipped(title, 120)), _sets(found), _above(found)),
        tag("nav", links, aria_label="Sections"),
        tag("main", [_section(one) for one in found.sections], _about(found.about)),
        tag("footer", f"Written by molgen {__version__}. This page is one file and loads nothing."),
    )
    return "\n".join(["<!DOCTYPE html>", tag("html", head(title), tag("body", body), lang="en"), ""])


def _sets(found: Audit) -> Html:
    cards = [
        tag(
            "div",
            tag("strong", f"{role}: ", clipped(one["name"], 40)),
            tag("span", f"{numbers.count(one['rows'])} rows"),
            tag("span", f"{numbers.count(one['compared'])} items compared"),
            class_="card",
        )
        for role, one in found.about["sets"].items()
    ]
    return tag("div", cards, class_="sets")


def _above(found: Audit) -> Html | None:
    """What a reader must know before the first number."""
    lines = [
        tag("li", tag("strong", one.label), f" of {numbers.value(one.estimate)} is more than chance explains")
        for section in found.sections
        for one in section.findings
        if one.above
    ]
    return markup(tag("ul", lines, class_="problems"), tag("p", _OFTEN, class_="soft")) if lines else None


def _section(one: Section) -> Html:
    parts: list[Content] = [tag("p", text, class_="soft") for text in one.words]
    if one.findings:
        heads = ["", *(tag("th", name, scope="col", class_="number") for name in _HEADS), ""]
        rows = table(heads, [_row(finding) for finding in one.findings], class_="figures")
        parts.append(tag("div", rows, class_="wide"))
    parts += [_table(each) for each in one.tables]
    return tag("section", tag("h2", one.title), parts, id=one.name, aria_label=one.title)


_HEADS = ("value", "by chance", "held-out items", "")


def _row(one: Finding) -> Html:
    estimate = one.estimate
    span = numbers.interval(estimate)
    null = f"{numbers.number(one.null[0])} to {numbers.number(one.null[1])}" if one.null else numbers.NONE
    return tag(
        "tr",
        tag("th", one.label, scope="row"),
        tag(
            "td",
            tag("span", numbers.value(estimate), class_="failed" if one.above else None),
            tag("span", span, class_="interval") if span else None,
            class_="number",
        ),
        tag("td", null, class_="number"),
        tag("td", numbers.number(one.control), class_="number"),
        tag("td", tag("div", _picture(one), style=f"width: {_WIDTH:g}px")),
        tag("td", estimate.note, class_="soft"),
    )


def _picture(one: Finding) -> Html | None:
    """The value, its interval as a line, and the null interval as an area."""
    estimate = one.estimate
    if one.null is None or estimate.value != estimate.value:
        return None
    ends = [*one.null, estimate.value, *(end for end in (estimate.low, estimate.high) if end == end)]
    room = 0.08 * ((max(ends) - min(ends)) or 1.0)
    place = linear((min(ends) - room, max(ends) + room), (4.0, _WIDTH - 4.0))
    low, high = map(place, one.null)
    drawn: list[Content] = [tag("rect", x=low, y=4.0, width=max(1.0, high - low), height=_HEIGHT - 8, class_="area")]
    if estimate.low == estimate.low and estimate.high == estimate.high:
        drawn.append(line(place(estimate.low), _HEIGHT / 2, place(estimate.high), _HEIGHT / 2, "stroke r1"))
    drawn.append(
        tag("circle", cx=place(estimate.value), cy=_HEIGHT / 2, r=4.0, class_="mark s1" if one.above else "mark s0")
    )
    return document(_WIDTH, _HEIGHT, f"{one.label}: {numbers.value(estimate)}", drawn)


def _table(one: Table) -> Html:
    rows = [tag("tr", [_cell(cell) for cell in row]) for row in one.rows]
    return tag("div", table(one.columns, rows, one.title), class_="wide")


def _cell(cell: str | float | None) -> Html:
    if isinstance(cell, str):
        return tag("td", cell)
    return tag("td", numbers.NONE if cell is None else numbers.short(cell), class_="number")


def _about(about: Mapping[str, Any]) -> Html:
    rows = [tag("tr", tag("th", name, scope="row"), tag("td", tag("code", text))) for name, text in _facts(about)]
    heading = "What was compared with what"
    content = tag("div", table(("", ""), rows), class_="wide")
    return tag("section", tag("h2", heading), content, id="about", aria_label=heading)


def _facts(about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for role, one in about["sets"].items():
        yield role, f"{one['source']} (SHA-256 {one['sha256']}), {one['sampled']:,} of {one['rows']:,} rows drawn"
    for name in ("model", "reference_model"):
        if one := about[name]:
            yield name.replace("_", " "), f"{one['family']} over {one['encoder']} (SHA-256 {one['sha256']})"
    yield "seed", str(about["seed"])
    yield from about["versions"].items()
