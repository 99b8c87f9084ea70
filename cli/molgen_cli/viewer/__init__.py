"""A page in which molecules can be turned in space: one file, which loads nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from importlib import resources

from molgen import __version__

#: Nothing may be loaded, whatever stands in the items or in the library; what runs is in the page.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1><p>{about}</p></header>
<main>
<nav id="list" aria-label="Items"></nav>
<section>
<div id="space" role="img" aria-label="The item in space"></div>
<p id="caption"></p>
<p><label>Shown as <select id="look"></select></label>
<label><input id="spin" type="checkbox"> turning</label>
Drag to turn, roll to zoom, arrow keys for the next and the one before.</p>
</section>
</main>
<footer>Written by molgen {version} with 3Dmol.js (Rego and Koes, Bioinformatics 31, 2015; BSD-3-Clause).
This page is one file and loads nothing.</footer>
<script>{library}</script>
<script type="application/json" id="items">{items}</script>
<script>{program}</script>
</body>
</html>
"""


@dataclass(frozen=True)
class Shown:
    """One item.

    Attributes:
        name: in the list.
        caption: below the picture.
        text: the entry of an SDF file.
    """

    name: str
    caption: str
    text: str


def page(title: str, about: str, items: Sequence[Shown], library: str) -> str:
    """The whole page.

    Args:
        title: its heading.
        about: a sentence below it.
        items: in their order.
        library: the script of 3Dmol.js.
    """
    files = resources.files(__name__)
    return _PAGE.format(
        policy=_POLICY,
        title=escape(title),
        about=escape(about),
        version=__version__,
        style=(files / "viewer.css").read_text(encoding="utf-8"),
        library=library.replace("</script", "<\\/script"),
        items=_json(items),
        program=(files / "viewer.js").read_text(encoding="utf-8"),
    )


def _json(items: Sequence[Shown]) -> str:
    """The items as JSON in which nothing ends the script around it."""
    return json.dumps([asdict(item) for item in items]).replace("<", "\\u003c")
