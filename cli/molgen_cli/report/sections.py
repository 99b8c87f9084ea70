"""The parts of a report that show items: properties, groups, samples, neighbours; and what was compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from molgen.domain import Domain, Invalid, Item
from molgen_cli.figures import Evaluated
from molgen_cli.report import numbers
from molgen_cli.report.charts import REFERENCES, Series, densities, named, shares
from molgen_cli.report.histograms import summed
from molgen_cli.report.markup import Html, behind, clipped, markup, picture, players, table, tag

#: Items that are drawn of each file at most and at least, and of all files together, as far as the least allows.
SHEET = (60, 12, 240)
#: The same of items that are drawn beside their nearest neighbours.
NEIGHBOURS = (12, 3, 60)
#: Groups that are drawn.
GROUPS = 12

Sets = Sequence[Evaluated]


# --- properties -----------------------------------------------------------------------------------


def properties(files: Sets, references: Sets) -> Html | None:
    """The distribution of each property, each file over the references."""
    references = [one for one in references if one.values]
    names = dict.fromkeys(name for one in files for name in one.values)
    charts = [chart for name in names if (chart := _property(name, files, references))]
    if not charts:
        return None
    rows = [row for name in names for row in _summaries(name, files, references)]
    head = ["Property", "Set", "Values", "Not computed", "Mean", "Deviation", "5 %", "Median", "95 %"]
    return markup(
        _legend(references[:REFERENCES]),
        tag("div", charts, class_="cards"),
        behind("The numbers behind these charts", tag("div", table(head, rows), class_="wide")),
    )


def _property(name: str, files: Sets, references: Sets) -> Html | None:
    own, others = _series(name, files), _series(name, references, references=True)
    chart = densities(f"Distribution of {name}", own, others)
    return tag("figure", tag("h3", name), chart, class_="card") if chart is not None else None


def _series(name: str, sets: Sets, references: bool = False) -> list[Series]:
    return [
        Series(one.name, -1 if references else number, np.asarray(one.values[name]))
        for number, one in enumerate(sets)
        if name in one.values
    ]


def _legend(references: Sets) -> Html | None:
    """Which reference is the area and which the dashes."""
    if not references:
        return None
    signs = [
        tag("rect", x=0, y=3, width=22, height=10, class_="area"),
        tag("line", x1=0, y1=8, x2=22, y2=8, class_="dashes"),
    ]
    entries = [
        tag("span", tag("svg", mark, viewBox="0 0 22 16", class_="sign long", aria_hidden="true"), " ", one.name)
        for mark, one in zip(signs, references, strict=False)
    ]
    return tag("p", "References: ", entries, class_="legend")


def _summaries(name: str, files: Sets, references: Sets) -> Iterator[Html]:
    for one in (*files, *references):
        if name in one.values:
            found = summed(one.values[name])
            shown = (found.mean, found.deviation, found.low, found.median, found.high)
            cells = [numbers.count(found.count), numbers.count(found.missing), *map(numbers.short, shown)]
            yield _line([name, clipped(one.name, 60)], cells)


def _line(texts: Sequence[object], cells: Sequence[str]) -> Html:
    return tag("tr", [tag("td", text) for text in texts], [tag("td", cell, class_="number") for cell in cells])


# --- groups ---------------------------------------------------------------------------------------


def groups(files: Sets, references: Sets, domain: Domain) -> Html | None:
    """How many groups each set has, and how often the most frequent ones occur."""
    if not any(one.groups for one in files):
        return None
    known = [one for one in references if one.groups]
    return markup(_variety(files, known, domain), _most_frequent(files, known[:REFERENCES], domain))


def _variety(files: Sets, references: Sets, domain: Domain) -> Html:
    name, names = domain.group_words
    head = ["Set", "Valid items", names.capitalize(), "Seen once", "Items of the 10 / 100 most frequent"]
    head += [f"Items of a {name} that {one.name} has" for one in references]
    rows = [_various(clipped(one.name, 40), one, references) for one in (*files, *references)]
    note = f"Larger sets have more {names}: compare the counts of sets of one size only."
    return markup(tag("div", table(head, rows, class_="counts"), class_="wide"), tag("p", note, class_="soft"))


def _various(name: Html, one: Evaluated, references: Sets) -> Html:
    counts = [count for _, count in one.groups]
    sizes = [numbers.count(n) for n in (one.valid, len(counts), sum(count == 1 for count in counts))]
    top = " / ".join(_of_valid(sum(counts[:most]), one) for most in (10, 100))
    return _line([name], [*sizes, top, *(_shared(one, other) for other in references)])


def _shared(one: Evaluated, other: Evaluated) -> str:
    if one is other:
        return ""
    known = {name for name, _ in other.groups}
    return _of_valid(sum(count for name, count in one.groups if name in known), one)


def _of_valid(count: int, one: Evaluated) -> str:
    return numbers.percent(count / one.valid) if one.valid else numbers.NONE


def _most_frequent(files: Sets, references: Sets, domain: Domain) -> Html:
    chosen, (name, names) = _chosen(files), domain.group_words
    ranks = [str(rank) for rank in range(1, len(chosen) + 1)]
    parts = [_shares(number, one, chosen) for number, one in enumerate(files)]
    others = [_shares(-1 - number, one, chosen) for number, one in enumerate(references)]
    head = ["", name.capitalize(), *(clipped(one.name, 30) for one in (*parts, *others))]
    rows = [
        _line([rank, group], [_share(one.values[k]) for one in (*parts, *others)])
        for k, (rank, group) in enumerate(zip(ranks, chosen, strict=True))
    ]
    return markup(
        tag("h3", "The most frequent ones"),
        picture(domain, chosen, ranks, f"The {len(chosen)} most frequent {names}, numbered"),
        _share_legend(files, references),
        shares(f"Share of items that have each of the most frequent {names}", ranks, parts, others),
        behind("The numbers behind this chart", tag("div", table(head, rows), class_="wide")),
    )


def _chosen(files: Sets) -> list[str]:
    """The groups that are most frequent in any file, less one standard error, so that few items do not decide."""
    highest: dict[str, float] = {}
    for one in files:
        for group, count in one.groups[:GROUPS]:
            share = (count - math.sqrt(count)) / max(1, one.valid)
            highest[group] = max(highest.get(group, 0.0), share)
    return sorted(highest, key=lambda group: -highest[group])[:GROUPS]


def _shares(number: int, one: Evaluated, chosen: Sequence[str]) -> Series:
    counts = dict(one.groups)
    return Series(one.name, number, np.array([counts.get(name, 0) for name in chosen]) / max(1, one.valid))


def _share(share: float) -> str:
    return numbers.percent(float(share)) if math.isfinite(share) else numbers.NONE


def _share_legend(files: Sets, references: Sets) -> Html:
    entries = [tag("span", named(number, one.name)) for number, one in enumerate(files)]
    for number, one in enumerate(references, 1):
        mark = tag("line", x1=7, y1=0, x2=7, y2=14, class_=f"stroke r{number}")
        entries.append(tag("span", tag("svg", mark, viewBox="0 0 14 14", class_="sign"), " ", clipped(one.name, 60)))
    return tag("p", entries, class_="legend")


# --- items ----------------------------------------------------------------------------------------


def samples(files: Sets, domain: Domain) -> Html | None:
    """A sheet of random items of each file."""
    most = _each(SHEET, len(files))
    return markup(parts) if (parts := [_sample(k, one, most, domain) for k, one in enumerate(files)]) else None


def _sample(number: int, one: Evaluated, most: int, domain: Domain) -> Html | None:
    items = one.sample[:most]
    legends = [str(rank) for rank in range(1, len(items) + 1)]
    about = f"{len(items)} random items of {one.name}"
    sheet = picture(domain, items, legends, about) if items else None
    sounds = players(domain, items, legends)
    if sheet is None and sounds is None:
        return None
    texts = tag("ol", [tag("li", tag("code", item)) for item in items])
    caption = tag("p", f"{len(items)} drawn at random from {numbers.count(one.valid)} valid items.", class_="soft")
    return markup(
        tag("h3", named(number, one.name)), caption, sheet, sounds, behind("As text, numbered as above", texts)
    )


def _each(limits: tuple[int, int, int], files: int) -> int:
    """How many drawings a file has, so that a page of many files can still be opened."""
    most, least, all_files = limits
    return min(most, max(least, all_files // max(1, files)))


def neighbours(files: Sets, domain: Domain) -> Html | None:
    """Some items of each file beside the training items nearest to them."""
    most = _each(NEIGHBOURS, len(files))
    parts = [part for number, one in enumerate(files) if (part := _neighbours(number, one, most, domain))]
    return markup(parts) if parts else None


def _neighbours(number: int, one: Evaluated, most: int, domain: Domain) -> Html | None:
    pairs = one.nearest[:most]
    drawn = [found for item, nearest, similarity in pairs if (found := _pair(item, nearest, similarity, domain))]
    if not drawn:
        return None
    rows = [_line([tag("code", a), tag("code", b)], [f"{similarity:.3f}"]) for a, b, similarity in pairs]
    return markup(
        tag("h3", named(number, one.name)),
        tag("div", drawn, class_="pairs"),
        behind("As text", tag("div", table(["Item", "Nearest training item", "Similarity"], rows), class_="wide")),
    )


def _pair(item: Item, nearest: Item, similarity: float, domain: Domain) -> Html | None:
    about = f"An item, and the training item nearest to it, of similarity {similarity:.2f}"
    names = ["item", "nearest training item"]
    drawn, sounds = picture(domain, [item, nearest], names, about), players(domain, [item, nearest], names)
    if drawn is None and sounds is None:
        return None
    copy = ", a copy" if _equal(item, nearest, domain) else ""
    return tag("figure", drawn, sounds, tag("figcaption", f"similarity {similarity:.2f}{copy}"))


def _equal(item: Item, other: Item, domain: Domain) -> bool:
    """Whether an item of a training set, in whatever form it is stored, is a canonical one."""
    canonical = domain.canonical(other)
    return not isinstance(canonical, Invalid) and domain.key(item) == domain.key(canonical)


# --- what was compared ----------------------------------------------------------------------------


def about(files: Sets, references: Sets, facts: Mapping[str, Any]) -> Html:
    """The sets and their sizes, and whatever else there is to say of the run."""
    rows = [_set(clipped(one.name, 80), "evaluated", one) for one in files]
    rows += [_set(clipped(one.name, 80), "reference", one) for one in references]
    head = ["Set", "Part", "Rows", "Valid items", "Seconds"]
    return markup(tag("div", table(head, rows), class_="wide"), _facts(facts))


def _set(name: Html, part: str, one: Evaluated) -> Html:
    taken = f"{sum(one.seconds.values()):,.1f}" if one.seconds else ""
    return _line([name, part], [numbers.count(one.rows), numbers.count(one.valid), taken])


def _facts(facts: Mapping[str, Any]) -> Html:
    """Names and values, nested ones below their name."""
    return tag("dl", [(tag("dt", name), tag("dd", _fact(value))) for name, value in facts.items() if value != ""])


def _fact(value: Any) -> Html | str:
    if isinstance(value, Mapping):
        return _facts(value)
    if isinstance(value, list | tuple):
        return tag("ul", [tag("li", _fact(one)) for one in value])
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: numbers.NONE}[value]
    return numbers.count(value) if isinstance(value, int) else str(value)
