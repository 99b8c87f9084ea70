"""The page: what stands where, and writing it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from molgen import __version__
from molgen.atomic_files import write_text
from molgen.domain import Domain
from molgen.evaluation.evaluate import Figure
from molgen_cli.figures import Evaluated
from molgen_cli.report import numbers, sections
from molgen_cli.report.charts import named
from molgen_cli.report.markup import Html, behind, clipped, markup, tag
from molgen_cli.report.published import published
from molgen_cli.report.tables import in_full, metrics

#: Nothing is loaded and nothing runs, whatever a file of items says.
_POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


def write(
    path: Path,
    evaluated: Sequence[Evaluated],
    references: Sequence[Evaluated],
    about: Mapping[str, Any],
    domain: Domain,
) -> None:
    """Write the report of an evaluation as one HTML file that refers to no other.

    Args:
        path: the file; it appears whole.
        evaluated: the files in the order given.
        references: what they are compared with: names, sizes, values and groups; the first two are drawn.
        about: what to say of the run, JSON values by name. `reference` is the registry name of the data set that
            the references are of: figures published on it are set beside ours.
        domain: draws the items.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(path, page(evaluated, references, about, domain))


def page(
    evaluated: Sequence[Evaluated], references: Sequence[Evaluated], about: Mapping[str, Any], domain: Domain
) -> str:
    """The HTML document; see `write`."""
    title = f"Evaluation of {_names(evaluated)}"
    found = _sections(evaluated, references, about, domain)
    shown = {name: (heading, content) for name, (heading, content) in found.items() if content}
    links = [tag("a", heading, href=f"#{name}") for name, (heading, _) in shown.items()]
    parts = [
        tag("section", tag("h2", heading), content, id=name, aria_label=heading)
        for name, (heading, content) in shown.items()
    ]
    body = markup(
        tag("header", tag("h1", clipped(title, 120)), _cards(evaluated), _problems(evaluated)),
        tag("nav", links, aria_label="Sections"),
        tag("main", parts),
        tag("footer", f"Written by molgen {__version__}. This page is one file and loads nothing."),
    )
    return "\n".join(["<!DOCTYPE html>", tag("html", head(title), tag("body", body), lang="en"), ""])


def _names(evaluated: Sequence[Evaluated]) -> str:
    names = [one.name for one in evaluated]
    return " and ".join(names) if len(names) <= 2 else f"{names[0]} and {len(names) - 1} more"


def head(title: str) -> Html:
    """The head of a page that loads and runs nothing."""
    sheet = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title[:200]),
        tag("style", Html(sheet)),
    )


def _sections(
    files: Sequence[Evaluated], references: Sequence[Evaluated], about: Mapping[str, Any], domain: Domain
) -> dict[str, tuple[str, Html | None]]:
    """Heading and content by the name that links use; a section without content is left out."""
    return {
        "metrics": ("Metrics", _metrics(files)),
        "published": ("Beside published figures", published(files, str(about.get("reference", "")))),
        "properties": ("Properties", sections.properties(files, references)),
        "groups": (domain.group_words[1].capitalize(), sections.groups(files, references, domain)),
        "samples": ("Random samples", sections.samples(files, domain)),
        "neighbours": ("Nearest training neighbours", sections.neighbours(files, domain)),
        "about": ("What was compared with what", sections.about(files, references, about)),
    }


def _metrics(files: Sequence[Evaluated]) -> Html | None:
    if not any(one.figures for one in files):
        return None
    note = (
        "Below each value is its 95 % interval, for other samples of the same size from the same model. "
        "↑ higher is better, ↓ lower is better. "
        f"{numbers.NONE} is no value, for the reason given below the table; it never stands for zero. "
    )
    several = "Bold is the best of a row where its interval ends before those of the others begin."
    return markup(
        tag("p", note, several if len(files) > 1 else None, class_="soft"),
        metrics(files),
        behind("Everything that is known of each figure", in_full(files)),
    )


def _cards(files: Sequence[Evaluated]) -> Html:
    cards = [
        tag(
            "div",
            tag("strong", named(number, one.name, 40)),
            tag("span", f"{numbers.count(one.rows)} rows"),
            tag("span", f"{numbers.count(one.valid)} valid ({numbers.percent(one.valid / max(1, one.rows))})"),
            class_="card",
        )
        for number, one in enumerate(files)
    ]
    return tag("div", cards, class_="sets")


def _problems(files: Sequence[Evaluated]) -> Html | None:
    """What a reader must know before the first number: failures, missing values, small samples."""
    kinds = {
        "failed": [_label(one, figure) for one in files for figure in one.figures if figure.error],
        "without a value": [_label(one, figure) for one in files for figure in one.figures if _undefined(figure)],
        "with a warning": [_label(one, figure) for one in files for figure in one.figures if figure.warning],
    }
    lines = [_problem(kind, labels) for kind, labels in kinds.items() if labels]
    return tag("ul", lines, class_="problems") if lines else None


def _undefined(figure: Figure) -> bool:
    return not figure.error and not math.isfinite(figure.estimate.value)


def _label(one: Evaluated, figure: Figure) -> str:
    return f"{figure.label} of {one.name}"


def _problem(kind: str, labels: Sequence[str], most: int = 6) -> Html:
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    noun = "figure" if len(labels) == 1 else "figures"
    return tag("li", tag("strong", f"{len(labels)} {noun} {kind}"), f": {', '.join(labels[:most])}{more}")
