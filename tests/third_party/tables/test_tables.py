import io

import pytest
from molgen_tables import Columns, Tables

from molgen import Categorical, Invalid, Real
from molgen.errors import UsageError
from molgen.testing import parametrize_with_checks

TABLE = b"age,city,score\n30,Oslo,1.25\n,Rome,2.5\n41, Oslo ,NA\n30,Rome,0.125\n"


@parametrize_with_checks("tables")
def test_conformance(check):
    check()


def learned(settings=None):
    tables = Tables(settings or Columns(classes=2))
    records = list(tables.read(io.BytesIO(TABLE), format="csv"))
    tables.prepare(record.item for record in records)
    return tables, [record.item for record in records]


def test_a_column_is_numbers_or_classes_with_gaps_or_without():
    tables, items = learned()
    assert items[1] == {"age": "", "city": "Rome", "score": "2.5"}
    assert items[2] == {"age": "41", "city": "Oslo", "score": ""}
    assert tables.space == {
        "class_0": Categorical(classes=3),
        "class_1": Categorical(classes=2),
        "known_2": Categorical(classes=2),
        "number_2": Real(),
    }
    assert [tables.key(tables.decode(tables.encode(item))) for item in items] == [tables.key(item) for item in items]


def test_numbers_are_written_as_finely_as_those_of_the_data():
    tables, items = learned()
    assert tables.decode(tables.encode(items[0])) == {"age": "30", "city": "Oslo", "score": "1.250"}


def test_what_the_data_did_not_have_is_refused():
    tables, items = learned()
    assert tables.encode({**items[0], "city": "Bonn"}) == Invalid("'Bonn' is no class of the column 'city'")
    assert tables.encode({**items[0], "city": ""}) == Invalid("'city' is missing")
    assert tables.encode({**items[0], "score": "much"}) == Invalid("'much' in the column 'score' is no number")


def test_a_column_of_names_is_refused():
    with pytest.raises(UsageError, match=r"column 'name': 7 different texts"):
        Tables(Columns(most=6)).prepare([{"name": name} for name in "abcdefg"])


def test_what_is_written_is_read_without_what_was_said_of_it():
    tables, items = learned()
    file = io.BytesIO()
    rows = [{"row": item, "as_generated": None, "log_density": -3.5, "status": "valid"} for item in items]
    assert tables.write(rows, file, format="csv") == 4
    assert file.getvalue().splitlines()[0] == b"age,city,score,log_density,status"
    file.seek(0)
    assert [record.item for record in tables.read(file, format="csv")] == items
