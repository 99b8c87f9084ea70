"""Synthetic data sets: recipes, deterministic shards, local and Ray workers, cards.

`create` makes, finishes and repairs a set, `verify` checks one, `convert` writes it in another format, and
`draw_table` is the same work as a function from table to table for other engines, whose models `release` lets go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molgen_datasets.synthetic.check import verify
    from molgen_datasets.synthetic.conversion import convert
    from molgen_datasets.synthetic.making import create
    from molgen_datasets.synthetic.recipe import Recipe
    from molgen_datasets.synthetic.tables import draw_table, release

#: Where each name comes from; what it needs is imported when it is used.
_FROM = {
    "create": "making",
    "verify": "check",
    "convert": "conversion",
    "draw_table": "tables",
    "release": "tables",
    "Recipe": "recipe",
}

__all__ = ["Recipe", "convert", "create", "draw_table", "release", "verify"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FROM[name]}"), name)
