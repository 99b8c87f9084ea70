"""Published figures on well-known data sets, each with its source and what it may be compared with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from molgen.evaluation import Figure


@dataclass(frozen=True)
class Published:
    """A figure as printed, percentages as shares.

    Attributes:
        value: with the decimals of the source.
        deviation: its standard deviation over runs, where the source has one.
    """

    value: Decimal
    deviation: Decimal | None = None


@dataclass(frozen=True)
class Model:
    """One row of a published table.

    Attributes:
        name: of the model, as in the source.
        family: what kind it is.
        values: label of the metric -> figure. A label without the name of a reference holds for every reference.
        training: whether these are the training items themselves, which no model should be.
    """

    name: str
    family: str
    values: Mapping[str, Published]
    training: bool = False


@dataclass(frozen=True)
class Group:
    """Rows of one source under one protocol.

    Attributes:
        title: what they are.
        source: where they were read.
        protocol: what to know before comparing, a sentence each.
        rows: the models.
        apart: labels of figures that compare with nothing outside the group: no chart puts them beside others.
    """

    title: str
    source: str
    protocol: Sequence[str]
    rows: Sequence[Model]
    apart: Sequence[str] = ()

    def of(self, labels: Iterable[Sequence[str]]) -> Group | None:
        """The group with those rows alone that have one of the labels, or None; see `names`."""
        known = {name for one in labels for name in one}
        rows = [row for row in self.rows if known & set(row.values)]
        return replace(self, rows=rows) if rows else None


def groups(reference: str) -> list[Group]:
    """What was published of models trained on a data set; nothing for an unknown one."""
    return [_group(one) for one in _content()["data"].get(reference, ())]


def names(figure: Figure) -> list[str]:
    """The labels under which published figures that compare with one of ours stand."""
    same: list[str] = next((labels for labels in _content()["same"] if figure.label in labels), [])
    ending = f"/{figure.reference}"
    free = [figure.label.removesuffix(ending)] if figure.reference and figure.label.endswith(ending) else []
    return list(dict.fromkeys([figure.label, *same, *free]))


def published(row: Model, labels: Sequence[str]) -> Published | None:
    """The figure of a row under the first of the labels that it has."""
    return next((row.values[label] for label in labels if label in row.values), None)


@cache
def _content() -> Any:
    text = Path(__file__).with_name("anchors.json").read_text(encoding="utf-8")
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)  # 1.2800 keeps its last decimals


def _group(found: Mapping[str, Any]) -> Group:
    rows = [_model(row) for row in found["rows"]]
    return Group(found["title"], found["source"], found["protocol"], rows, found.get("apart", ()))


def _model(found: Mapping[str, Any]) -> Model:
    values = {label: _figure(given) for label, given in found["values"].items()}
    return Model(found["model"], found["family"], values, found.get("training", False))


def _figure(given: Decimal | list[Decimal]) -> Published:
    return Published(*given) if isinstance(given, list) else Published(given)
