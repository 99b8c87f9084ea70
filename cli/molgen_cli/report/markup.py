"""HTML and SVG as strings: whatever is not markup already is escaped, so that no file name and no item can be."""

from __future__ import annotations

import itertools
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from molgen.domain import Domain, Item

#: What may stand between tags: markup, text that is escaped, several of them, or nothing.
Content = Any

_VOID = {"img", "meta", "wbr"}
#: What is no text, and what turns the direction of the text around it.
_NOT_TEXT = re.compile(
    "[^\t\n\r\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


class Html(str):
    """A string that is markup."""

    __slots__ = ()


def markup(*content: Content) -> Html:
    """Contents one after the other: a plain string is escaped, None is left out."""
    return Html("".join(_markup(one) for one in content))


def _markup(content: Content) -> str:
    if isinstance(content, Html):
        return content
    if content is None:
        return ""
    if isinstance(content, Iterable) and not isinstance(content, str):
        return "".join(_markup(one) for one in content)
    return escape(_NOT_TEXT.sub("\ufffd", str(content)))


def tag(name: str, /, *content: Content, **attributes: Any) -> Html:
    """One element.

    Args:
        name: of the element.
        *content: what is in it, see `markup`.
        **attributes: `class_` and `for_` lose their underscore, others become hyphens; None leaves one out, and
            numbers are rounded to hundredths, which no picture shows.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_markup(_rounded(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>") if name in _VOID else Html(f"<{name}{given}>{markup(*content)}</{name}>")


def _rounded(value: Any) -> Any:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def clipped(text: str, limit: int, **attributes: Any) -> Html:
    """A name of any length in at most `limit` characters, see `shortened`; the whole of it is the tooltip."""
    return tag("bdi", shortened(text, limit), title=text[:1000] if len(text) > limit else None, **attributes)


def shortened(text: str, limit: int) -> str:
    """A text in at most `limit` characters: its beginning and its end, by which names of files differ."""
    if len(text) <= limit:
        return text
    end = limit // 3
    return f"{text[: limit - end - 1]}…{text[-end:]}"


def table(head: Iterable[Content], rows: Iterable[Content], caption: str = "", **attributes: Any) -> Html:
    """A table under its heading; cells of `head` that are no markup become column headings, `rows` are rows."""
    heading = [cell if isinstance(cell, Html) else tag("th", cell, scope="col") for cell in head]
    return tag(
        "table",
        tag("caption", caption) if caption else None,
        tag("thead", tag("tr", heading)),
        tag("tbody", rows),
        **attributes,
    )


def behind(title: str, *content: Content) -> Html:
    """What a reader opens to see, such as the numbers behind a picture."""
    return tag("details", tag("summary", title), *content)


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


#: Bytes of sound in one list; what is behind it stays silent, so that the page can still be opened.
MOST_SOUND = 8 << 20


def players(domain: Domain, items: Sequence[Item], legends: Sequence[str]) -> Html | None:
    """What plays each item, below its legend; None where nothing can be heard.

    Args:
        domain: makes the sounds.
        items: in canonical form.
        legends: one for each item.
    """
    parts, room = [], MOST_SOUND
    for item, legend in zip(items, legends, strict=True):
        try:
            content = domain.audible(item)
        except Exception:  # a plugin's sound: as for a drawing, the rest is worth a report without it
            content = None
        if content is None or len(content) > room:
            continue
        room -= len(content)
        source = f"data:audio/wav;base64,{b64encode(content).decode('ascii')}"
        player = tag("audio", controls="", preload="none", src=source, aria_label=f"Play {legend}")
        parts.append(tag("figure", tag("figcaption", legend), player))
    return tag("div", parts, class_="players") if parts else None


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
    numbers = itertools.count()

    def classed(found: re.Match[str]) -> str:
        style = found[1] or found[2] or ""
        if style not in classes:
            classes[style] = f"c{next(numbers)}"
        return f' class="{classes[style]}"'

    lean = _TAG.sub(lambda element: _STYLE.sub(classed, _CLASS.sub("", element[0])), svg)
    sheet = "".join(f".{name}{{{style}}}" for style, name in classes.items())
    return _OPENING.sub(lambda opening: f"{opening[0]}<style>{sheet}</style>", lean, count=1)
