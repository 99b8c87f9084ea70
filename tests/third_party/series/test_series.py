import io

from molgen_series import Series

from molgen import Invalid
from molgen.testing import parametrize_with_checks

TABLE = b"series,temperature,pressure\na,11.5,1013\na,14,1012.5\nb,3,1021\nc,x,1\nd,,2\n"


@parametrize_with_checks("series")
def test_conformance(check):
    check()


def test_rows_of_one_series_are_one_item():
    records = list(Series().read(io.BytesIO(TABLE), format="csv"))
    assert [record.columns["name"] for record in records] == ["a", "b", "c", "d"]
    assert records[0].item == {"temperature": [11.5, 14.0], "pressure": [1013.0, 1012.5]}
    assert isinstance(records[2].item, Invalid)
    assert isinstance(records[3].item, Invalid)


def test_what_is_written_is_read():
    series, file = Series(), io.BytesIO()
    rows = [{"series": item, "log_density": -1.5, "as_generated": None} for item in series.examples()]
    assert series.write(rows, file, format="csv") == 6
    file.seek(0)
    assert [record.item for record in series.read(file, format="csv")] == series.examples()


def test_every_channel_is_needed():
    assert Series().encode({"temperature": [1.0]}) == Invalid("there is no channel 'pressure'")
    assert Series().canonical({"a": [1.0, 2.0], "b": [1.0]}) == Invalid("the channels have different lengths")
