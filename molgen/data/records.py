"""Rows as they are read: an item, or why there is none, and what stands beside it. It imports nothing of molgen.

An item is plain data (a string, an array), because items cross process borders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Item = Any


@dataclass(frozen=True)
class Invalid:
    """Something that is no item, and why, in one line that names the cause.

    Attributes:
        reason: the cause.
        raw: what a decoder can show people of a sample that stands for no item, in the type of an item.
    """

    reason: str
    raw: Item | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Record:
    """One row of a user's file: its number from 0, its item (or why there is none), its other columns."""

    row: int
    item: Item | Invalid
    columns: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
