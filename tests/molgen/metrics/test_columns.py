"""The similarities of columns against their definitions, worked out by hand and by scipy."""

import numpy as np
import pytest
from scipy import stats

from molgen.metric import Chunk
from molgen.metrics.columns import (
    ColumnFidelity,
    FidelityConfig,
    PairFidelity,
    Rows,
    column_similarity,
    columns_of,
    missing_similarity,
    of_columns,
    pair_similarity,
)


def rows(**columns):
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def both(real, drawn, classes=2):
    columns = columns_of(rows(**real), rows(**drawn), classes)
    return columns, np.ones(len(next(iter(drawn.values()))))


def test_numbers_differ_by_the_statistic_of_kolmogorov_and_smirnov():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=80).tolist(), rng.normal(0.4, 1.5, size=60).tolist()
    (column,), weights = both({"x": [*x, None]}, {"x": [*y, None]})
    assert column_similarity(column, weights) == pytest.approx(1 - stats.ks_2samp(x, y).statistic)
    assert missing_similarity(column, weights) == pytest.approx(1 - abs(1 / 81 - 1 / 61))


def test_classes_overlap_by_their_shares_and_a_new_one_counts():
    (column,), weights = both({"c": ["a", "a", "b", None]}, {"c": ["a", "b", "b", "z"]})
    assert column_similarity(column, weights) == pytest.approx(1 - (0.25 + 0.25 + 0.25 + 0.25) / 2)
    assert missing_similarity(column, weights) is None


def test_pairs_of_numbers_differ_by_half_their_correlations():
    columns, weights = both(
        {"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, 3.0, 4.0]}, {"x": [1.0, 2.0, 3.0], "y": [3.0, 2.0, 1.0]}
    )
    assert pair_similarity(*columns, weights) == pytest.approx(0.0)
    x, y = np.array([1.0, 2.0, 4.0]), np.array([2.0, 1.0, 5.0])
    columns, _ = both({"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, 3.0, 4.0]}, {"x": x.tolist(), "y": y.tolist()})
    expected = np.corrcoef(np.repeat(x, [2, 1, 1]), np.repeat(y, [2, 1, 1]))[0, 1]
    assert pair_similarity(*columns, np.array([2.0, 1.0, 1.0])) == pytest.approx(1 - (1 - expected) / 2)


def test_pairs_with_classes_overlap_by_their_joint_shares():
    columns, weights = both({"a": ["p", "p", "q", "q"], "b": ["x", "x", "y", "y"]}, {"a": ["p", "q"], "b": ["y", "x"]})
    assert pair_similarity(*columns, weights) == 0.0
    columns, weights = both(
        {"a": ["p", "q"] * 6, "n": list(map(float, range(12)))}, {"a": ["p", "q"], "n": [0.0, 11.0]}
    )
    # Of ten bins the first holds the numbers 0 and 1, the last 10 and 11.
    assert pair_similarity(*columns, weights) == pytest.approx(1 / 12 + 1 / 12)


def test_a_sample_equal_to_its_reference_is_wholly_like_it():
    table = rows(n=[0.5 * k for k in range(30)], c=["ab"[k % 2] for k in range(30)], g=[None, 1.0, *range(28)])
    columns = columns_of(table, table)
    assert set(of_columns(columns, np.ones(30))) == {"n", "c", "g", "g missing"}
    assert set(of_columns(columns, np.ones(30)).values()) == {1.0}
    for metric in (ColumnFidelity, PairFidelity):
        found = measured(metric, table, [table[:7], table[7:]])
        assert found.value == 1.0
        assert found.low < 1.0
        assert found.count == 30


def measured(metric, real, chunks):
    reference = Rows(FidelityConfig())
    reference.add(chunk(real, 0))
    again = Rows(FidelityConfig())
    again.load(reference.arrays())
    assert again.rows == real
    own, first = metric(FidelityConfig(), again), 0
    for part in chunks:
        own.add(chunk(part, first))
        first += len(part)
    return own.estimate(np.random.default_rng(0))


def chunk(table, first):
    return Chunk(first, np.ones(len(table), bool), table, list(map(repr, table)), {"columns": list(table)})


def test_nothing_to_compare_is_said():
    table = rows(c=["a", "b"])
    assert measured(PairFidelity, table, [table]).note == "the reference has no two columns to compare"
    assert measured(ColumnFidelity, table, []).note == "no valid item"
