"""How like the columns of synthetic items are to those of training items, one by one and in pairs.

The columns are the cells of a table, or else the usual properties of a domain. The similarities are those of SDMetrics;
see `molgen.metrics.columns`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from molgen.metric import Chunk, Metric
from molgen.metrics.columns import (
    Cells,
    ColumnFidelity,
    FidelityConfig,
    PairFidelity,
    Rows,
    columns_of,
    of_columns,
    of_pairs,
)
from molgen_datasets.audit.findings import Finding, Section, Table
from molgen_datasets.audit.items import Items

#: Pairs of columns that are listed, those least alike first.
_SHOWN = 20
WORDS = (
    "KSComplement of columns of numbers, TVComplement of classes and gaps, CorrelationSimilarity of two columns of "
    "numbers and ContingencySimilarity of others, as SDMetrics defines them; 1 where two tables agree."
)


def cells_of(items: Items, feature: str | None) -> Sequence[Cells]:
    """The cells of each item: its feature where that is a mapping, else its properties."""
    found = items.features.get(feature) if feature else None
    if isinstance(found, list) and found and isinstance(found[0], Mapping):
        return found
    names = list(items.properties)
    return [
        {name: float(value) if np.isfinite(value) else None for name, value in zip(names, row, strict=True)}
        for row in zip(*items.properties.values(), strict=True)
    ]


def section(
    training: Sequence[Cells], holdout: Sequence[Cells], synthetic: Sequence[Cells], rng: np.random.Generator
) -> Section:
    """The mean similarities with their intervals, and each of them."""
    findings = []
    kinds: tuple[tuple[str, type[Metric]], ...] = (("columns", ColumnFidelity), ("pairs of columns", PairFidelity))
    for label, cls in kinds:
        own, control = (_metric(cls, training, rows).estimate(rng) for rows in (synthetic, holdout))
        findings.append(Finding(f"{label}, mean", own, control=control.value))
    return Section("fidelity", "Columns", findings, list(_tables(training, holdout, synthetic)), [WORDS])


def _metric(cls: type[Metric], real: Sequence[Cells], drawn: Sequence[Cells]) -> Metric:
    reference = Rows(FidelityConfig())
    reference.rows = list(real)
    metric = cls(FidelityConfig(), reference)
    metric.add(Chunk(0, np.ones(len(drawn), bool), drawn, [""] * len(drawn), {"columns": list(drawn)}))
    return metric


def _tables(real: Sequence[Cells], holdout: Sequence[Cells], synthetic: Sequence[Cells]) -> list[Table]:
    columns, others = columns_of(real, synthetic), columns_of(real, holdout)
    heads = ["synthetic items", "held-out items"]
    found = []
    for title, of, most in (
        ("Each column", of_columns, len(real)),
        ("Pairs of columns, least alike first", of_pairs, _SHOWN),
    ):
        own, control = of(columns, np.ones(len(synthetic))), of(others, np.ones(len(holdout)))
        order = sorted(own, key=own.__getitem__)[:most] if of is of_pairs else own
        rows: list[list[str | float | None]] = [[name, own[name], control.get(name)] for name in order]
        if rows:
            found.append(Table(title, ["", *heads], rows))
    return found
