"""What is asked of a model: conditions, and items that are named to one which draws the rest of them."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen.errors import UsageError
from molgen_cli.arguments import item_names

if TYPE_CHECKING:
    from molgen.domain import Invalid, Item
    from molgen.inference.request import Row
    from molgen.model.generative_model import GenerativeModel
    from molgen.model.stages import Model


def first_of(model: Model) -> GenerativeModel:
    """The first of two stages, or the model itself."""
    found: Any = model
    first: GenerativeModel = getattr(found, "first", found)
    return first


def given_items(args: argparse.Namespace, model: GenerativeModel) -> list[Item | Invalid]:
    """The items of `--condition molecule=TEXT`, or of a file; none for a model that draws whole items.

    Rows of a file that hold no item stay, as `Invalid` with the reason.

    Raises:
        UsageError: the model needs one, and none is named; the text is none; or the file has no row.
    """
    if not model.family.given:
        return []
    name = item_names(model)[0]
    if args.item is None:
        drawn = ", ".join(field for field in model.encoder.space if field not in model.family.given)
        raise UsageError(
            f"this model draws {drawn} of a given {name}: name it with --condition {name}=TEXT, or a file of several"
        )
    if Path(args.item).is_file():
        return _of_file(args, model)
    return [_of_text(args.item, name, model)]


def _of_text(text: str, name: str, model: GenerativeModel) -> Item:
    from molgen.domain import Invalid

    item = model.domain.from_text(text)
    item = item if isinstance(item, Invalid) else model.domain.canonical(item)
    found = item if isinstance(item, Invalid) else model.encoder.encode_fields(item, model.family.given)
    if isinstance(found, Invalid):
        raise UsageError(f"--condition {name}={text}: {found.reason}")
    return item


def _of_file(args: argparse.Namespace, model: GenerativeModel) -> list[Item | Invalid]:
    from molgen.domain import Invalid
    from molgen.workers.inspector import Inspector

    records = list(model.domain.read(args.item))
    if not records:
        raise UsageError(f"{args.item}: there is no row")
    with Inspector(model.domain, processes=args.workers) as inspector:
        found = inspector.canonical([record.item for record in records])
    return [
        Invalid(item.reason, record.text) if isinstance(item, Invalid) else item
        for item, record in zip(found, records, strict=True)
    ]


def needed_conditions(model: GenerativeModel, dropout: float) -> Iterator[str]:
    """What `molgen generate` needs beside the name of a model, as its arguments.

    Args:
        model: a trained one.
        dropout: how often a condition was hidden in training: a model that always had them cannot do without.
    """
    if model.family.given:
        yield from _argument(item_names(model)[0], _example(model))
    if not dropout:
        for name in model.conditions.names:
            yield from _argument(name, _usual(model, name))


def _argument(name: str, value: str) -> tuple[str, str]:
    return "--condition", shlex.quote(f"{name}={value}")


def _example(model: GenerativeModel) -> str:
    """An item of the domain that the model can be given, as text; or the word for a file of some."""
    from molgen.domain import Invalid

    texts = (item for item in model.domain.examples() if isinstance(item, str))
    known = (one for one in texts if not isinstance(model.encoder.encode_fields(one, model.family.given), Invalid))
    return next(known, "FILE")


def _usual(model: GenerativeModel, name: str) -> str:
    """A value of a condition as the training data have it."""
    conditions = model.conditions
    if name in conditions.classes:
        return conditions.classes[name][0]
    value: Any = conditions.means[conditions.names.index(name)]
    return f"{value:.4g}"


class ConditionError:
    """How far the properties of rows are from the numbers that they were conditioned on.

    Args:
        condition: what was asked for, by name.
        properties: those that the domain computes; others, such as a class, can only be asked for.
    """

    def __init__(self, condition: Mapping[str, str], properties: Iterable[str]) -> None:
        numbers = {name: _number(condition[name]) for name in properties if name in condition}
        self.asked = {name: value for name, value in numbers.items() if math.isfinite(value)}
        #: of each the rows that have it, and over them the sums of it and of how far it is off.
        self._sums: dict[str, tuple[int, float, float]] = dict.fromkeys(self.asked, (0, 0.0, 0.0))

    def take(self, row: Row) -> None:
        """Take in one row; values that cannot be computed do not count."""
        for name, (rows, total, off) in self._sums.items():
            value = row.properties.get(name, math.nan)
            if math.isfinite(value):
                self._sums[name] = rows + 1, total + value, off + abs(value - self.asked[name])

    def facts(self) -> dict[str, dict[str, Any]]:
        """For each property the number asked for and, over the rows that have it, the mean and how far they are off."""
        return {
            name: {
                "asked": asked,
                "rows": rows,
                "mean": total / rows,
                "mean absolute difference": off / rows,
            }
            for (name, asked), (rows, total, off) in zip(self.asked.items(), self._sums.values(), strict=True)
            if rows
        }

    def lines(self) -> Iterator[str]:
        """The same for people."""
        for name, found in self.facts().items():
            yield (
                f"  {name}: asked for {found['asked']:g}, obtained {found['mean']:.4g} on average; "
                f"{found['mean absolute difference']:.4g} off on average, over {found['rows']:,} rows"
            )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
