"""Columns of users' files as conditions: no value is dropped without a word."""

import math

import pytest

from molgen.data.condition_columns import read_class, read_number, with_classes
from molgen.data.source import RowSource
from molgen.domain import Record
from molgen.errors import UsageError

PLAIN = [f"{k / 10}" for k in range(40)]


def _source(values, column="y"):
    records = [Record(row, "C", {column: value}) for row, value in enumerate(values)]
    return RowSource("mine", lambda: records, [column])


def _read(values, named=(), known=None, column="y"):
    return with_classes(_source(values, column), ["y"], named, known or {})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (PLAIN, []),
        ([*PLAIN, "", "nan", "N/A", "-"], []),
        ([*PLAIN, ">10000", "<5"], ["2 of 42 values", "'>10000' (row 41), '<5' (row 42)", "not known"]),
        ([*PLAIN, "1,000"], ["1 of 41 values", "'1,000' (row 41)"]),
        ([*PLAIN, "inf", "-inf"], ["2 of 42 values", "'inf' (row 41)"]),
        ([*PLAIN, "active"], ["1 of 41 values", "'active' (row 41)"]),
    ],
)
def test_numbers_that_cannot_be_read_are_counted_and_shown(values, said):
    found = _read(values)
    assert found.classes == {}
    assert len(found.notes) == bool(said)
    assert all(part in found.notes[0] for part in said)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["0.5", *(f"{k},5" for k in range(9))], "9 of 10 values of the condition 'y' are no numbers, such as '0,5'"),
        ([f"{k},000" for k in range(1, 9)], "8 of 8 values of the condition 'y' are no numbers, such as '1,000'"),
        ([f">{k}" for k in range(8)], "write numbers with a decimal point"),
        ([f"compound {k}" for k in range(60)], "60 different values in 60 rows: that is a name or an id"),
        ([f"batch {k % 1001}" for k in range(2002)], "1,001 different values; classes are at most 1,000"),
    ],
)
def test_a_column_of_which_most_cannot_be_read_is_refused(values, said):
    with pytest.raises(UsageError) as failure:
        _read(values)
    assert said in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("values", "numbers", "notes"),
    [
        (["3", "0,5", "-1,25", "n/a", "1,234"], ["3", "0.5", "-1.25", "n/a", "1.234"], 1),
        (["3", "4", "5", "0,5", ">9"], ["3", "4", "5", "0.5", ">9"], 2),
        (["3", "4", "5", "1,000"], ["3", "4", "5", "1,000"], 1),  # a thousand, or one
        (["3.5", "4", "5", "0,5"], ["3.5", "4", "5", "0,5"], 1),  # by two hands
    ],
)
def test_decimal_commas_are_read_where_they_can_be_nothing_else(values, numbers, notes):
    found = _read(values)
    assert [record.columns["y"] for record in found.records()] == numbers
    assert len(found.notes) == notes
    assert ("decimal commas" in found.notes[0]) == (numbers != values)


def test_a_column_that_becomes_classes_is_said_to():
    found = _read(["kinase", "gpcr", "", "kinase"])
    assert found.classes == {"y": ("gpcr", "kinase")}
    assert found.notes == ("the condition 'y' has 2 classes: gpcr, kinase",)
    assert _read(["1,5", "2,5"], named=["y"]).classes == {"y": ("1,5", "2,5")}
    assert len(_read([f"id {k}" for k in range(60)], named=["y"]).classes["y"]) == 60


def test_classes_that_a_tuned_model_has_not_are_counted_or_refused():
    found = _read(["a", "b", "c", "2"], known={"y": ("a", "b")})
    assert found.classes == {"y": ("a", "b")}
    assert "2 of 4 values of the condition 'y' are no classes of the model (a, b): 'c', '2'" in found.notes[0]
    with pytest.raises(UsageError, match=r"2 of 2 values .* keeps its classes"):
        _read(["c", "d"], known={"y": ("a", "b")})


def test_a_column_in_another_case_is_taken_and_named():
    found = _read(PLAIN, column="Y")
    assert list(found.columns) == ["y"]
    assert [record.columns["y"] for record in found.records()] == PLAIN
    assert found.notes == ("the column 'Y' is taken for the condition 'y'",)


def test_values():
    assert read_number(" 1e3 ") == 1000
    assert all(math.isnan(read_number(text)) for text in ("inf", "1,5", ">3", "", None, "nan"))
    assert read_class(" b ", ("a", "b")) == 1
    assert math.isnan(read_class("c", ("a", "b")))
