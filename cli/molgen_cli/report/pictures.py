"""Drawings of a domain as images within the page, which see nothing of it and cannot change it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from urllib.parse import quote

from molgen.domain import Domain, Item
from molgen_cli.report.markup import Html, tag

_TAG = re.compile(r"<[a-zA-Z][^<>]*>")
_STYLE = re.compile(r"""\sstyle=(?:'([^'"<>]*)'|"([^'"<>]*)")""")
_CLASS = re.compile(r"""\sclass=(?:'[^']*'|"[^"]*")""")
_OPENING = re.compile(r"<svg\b[^<>]*>")
#: Left as they are in an address within double quotes; the rest becomes %XX.
_SAFE = " '!$()*+,-./:;=?@[]_{|}~"


def picture(domain: Domain, items: Sequence[Item], legends: Sequence[str], description: str) -> Html | None:
    """Items as one image, or why they cannot be drawn; None for a domain that does not draw.

    Args:
        domain: draws them.
        items: at least one.
        legends: one for each item.
        description: for those who cannot see it.
    """
    try:
        drawing = domain.draw(items, legends)
    except ValueError:
        return None
    except Exception as error:  # a plugin's drawing: the figures are worth a report without it
        return tag("p", f"These items cannot be drawn: {type(error).__name__}: {error}", class_="soft")
    return tag("img", src=address(drawing), alt=description, class_="sheet")


def address(svg: str) -> Html:
    """An SVG document as the address of an image that holds it."""
    return Html(f"data:image/svg+xml,{quote(shrunk(svg), safe=_SAFE)}")


def shrunk(svg: str) -> str:
    """The same picture in fewer bytes: styles that its elements repeat are written once.

    A document with a style sheet of its own is left as it is.
    """
    svg = svg[max(0, svg.find("<svg")) :]
    if "<style" in svg or not _OPENING.match(svg):
        return svg
    classes: dict[str, str] = {}
    numbers = count()

    def classed(found: re.Match[str]) -> str:
        style = found[1] or found[2] or ""
        if style not in classes:
            classes[style] = f"c{next(numbers)}"
        return f' class="{classes[style]}"'

    lean = _TAG.sub(lambda element: _STYLE.sub(classed, _CLASS.sub("", element[0])), svg)
    sheet = "".join(f".{name}{{{style}}}" for style, name in classes.items())
    return _OPENING.sub(lambda opening: f"{opening[0]}<style>{sheet}</style>", lean, count=1)
