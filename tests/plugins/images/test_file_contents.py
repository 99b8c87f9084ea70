"""Single pictures, tables and arrays: good ones are rows, bad ones are bad rows or a clear error."""

import gzip
import struct
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.image_files import DIGITS, NO_IMAGE, idx_of, images_of, npy_of, npz_of, put, rows_of, same, zip_of

from molgen.errors import UsageError
from molgen_plugins.images.examples import digit, ring
from molgen_plugins.images.io.files import read
from molgen_plugins.images.raster import canonical, encoded

# --- single files and tables ----------------------------------------------------------------------


def test_a_single_picture_is_one_row(tmp_path):
    put(tmp_path, {"deep/one.png": encoded(digit(1))})
    (record,) = read(tmp_path / "deep" / "one.png")
    assert np.array_equal(canonical(record.item), digit(1))
    assert record.columns == {"file": "one.png"}
    (record,) = rows_of(encoded(digit(1)), "jpg")
    assert np.array_equal(canonical(record.item), digit(1))


def test_bad_rows_of_tables(tmp_path):
    put(tmp_path, {"a.png": encoded(digit(0))})
    links = ['5,"data:image/png;base64,!"', '6,"data:x,y"']
    lines = ["n,File Name", "1,a.png", "", '2,"a.png', "3,a.png,x", "4", *links, ""]
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf\r\n" + "\r\n".join(lines).encode() + b"\r\n")
    records = list(read(tmp_path / "t.csv"))
    images = images_of(records)
    assert np.array_equal(images[0], digit(0))
    assert [record.columns["n"] for record in records] == ["1", "", "", "", "4", "5", "6"]
    reasons = [image.reason for image in images[1:]]
    assert [reasons[0], reasons[3]] == [NO_IMAGE.reason] * 2
    assert "quote opens here" in reasons[1]
    assert reasons[2] == "3 cells under 2 column names"
    assert "damaged" in reasons[4]
    assert reasons[5] == "no base64 data URI"


def test_a_table_from_a_stream_holds_its_pictures():
    (record,) = rows_of(b"image\na.png\n", "csv")
    assert "lies in no folder" in record.item.reason


def test_the_column_may_be_named(tmp_path):
    put(tmp_path, {"a.png": encoded(digit(0)), "t.csv": b"image,Mask File\n,a.png\n"})
    assert same(images_of(read(tmp_path / "t.csv", column="mask_file")), [digit(0)])
    with pytest.raises(UsageError, match="no column 'x' among image, Mask File"):
        list(read(tmp_path / "t.csv", column="x"))
    for data, says in [(b"", "empty"), (b"a,b\n1,2\n", "no column of images among a, b"), (b"a,a\n", "among a, a_2")]:
        with pytest.raises(UsageError, match=says):
            rows_of(data, "csv")


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_are_rows_or_a_clear_error(data):
    records = rows_of(b"image,n\n" + data, "csv")
    assert [record.row for record in records] == list(range(len(records)))
    assert all(list(record.columns) == ["n"] for record in records)


def test_a_very_long_line_is_one_bad_row(monkeypatch):
    monkeypatch.setattr("molgen_plugins.media.reading.LINE_LIMIT", 100)
    data = b"image,n\n" + b'"' * 1000 + b"\n,1\n" + b"x" * 1000
    assert [record.item.reason[:11] for record in rows_of(data, "csv")] == ["the line is", "there is no", "the line is"]


# --- arrays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        np.stack(DIGITS),
        np.stack(DIGITS)[..., None],
        np.stack(DIGITS) > 0,
        np.zeros((2, 3, 4, 3), np.uint8),
        np.zeros((0, 3, 4), np.uint8),
    ],
)
def test_arrays_of_pixels(array, tmp_path):
    wanted = [canonical(image) for image in array]
    assert same(images_of(rows_of(npy_of(array), "npy")), wanted)
    assert same(images_of(rows_of(gzip.compress(npy_of(array)), "npy.gz")), wanted)
    assert same(images_of(rows_of(npz_of(anything=array), "npz")), wanted)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (npy_of(np.zeros((2, 3, 3))), "not float64"),
        (npy_of(np.zeros((2, 3, 3), np.int64)), "not int64"),
        (npy_of(np.zeros((3, 3), np.uint8)), r"not \(3, 3\)"),
        (npy_of(np.zeros((2, 3, 8, 8), np.uint8)), r"not \(2, 3, 8, 8\)"),
        (npy_of(np.zeros((2, 0, 8), np.uint8)), "8x0 is none"),
        (npy_of(np.asfortranarray(np.zeros((2, 3, 4), np.uint8))), "order of Fortran"),
        (npy_of(np.zeros((2, 3, 4), np.uint8))[:-1], "cut off: it holds 1 of 2 images"),
        (npy_of(np.array([{}, {}], object)), "not object|no array"),
        (npy_of(np.zeros((1, 1, 1), np.uint8)).replace(b"(1, 1, 1), ", b"(1,9999999,9999999), "), "no array|more than"),
        (b"", "no array of numpy"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, "no array of numpy"),
    ],
)
def test_arrays_that_are_no_pictures_are_errors(data, says):
    with pytest.raises(UsageError, match=says):
        rows_of(data, "npy")


def test_the_arrays_of_an_npz():
    stack, names = np.stack(DIGITS), np.array([f"n{n}" for n in range(10)])
    other = np.stack([ring(9)] * 10)
    data = npz_of(
        x_train=stack, masks=other, y_train=np.arange(10), name=names, y_test=np.arange(3), w=np.zeros((10, 2))
    )
    with pytest.raises(UsageError, match="no array to be taken for the images among x_train, masks"):
        rows_of(data, "npz")
    records = rows_of(data, "npz", column="x_train")
    assert same(images_of(records), DIGITS)
    assert records[4].columns == {"y_train": "4", "name": "n4"}
    assert same(images_of(rows_of(data, "npz", column="masks")), list(other))
    with pytest.raises(UsageError, match="no array 'x' among"):
        rows_of(data, "npz", column="x")
    assert same(images_of(rows_of(npz_of(masks=other, images=stack), "npz")), DIGITS)
    column = npz_of(x=stack, objects=np.array([{}] * 10, object), label=np.arange(10)[:, None])
    assert rows_of(column, "npz")[2].columns == {"label": "2"}


def test_idx_files_and_their_labels(tmp_path):
    stack, labels = np.stack(DIGITS), np.arange(10, dtype=np.uint8)
    put(tmp_path, {"t-images-idx3-ubyte": idx_of(stack), "t-labels-idx1-ubyte": idx_of(labels)})
    put(tmp_path, {"u-images.idx3-ubyte.gz": gzip.compress(idx_of(stack)), "v.idx": idx_of(stack)})
    put(tmp_path, {"w-images-idx3-ubyte": idx_of(stack), "w-labels-idx1-ubyte": idx_of(labels[:9])})
    for name, labelled in (("t-images-idx3-ubyte", True), ("u-images.idx3-ubyte.gz", False), ("v.idx", False)):
        records = list(read(tmp_path / name))
        assert same(images_of(records), DIGITS)
        assert records[7].columns == ({"label": "7"} if labelled else {})
    assert next(read(tmp_path / "w-images-idx3-ubyte")).columns == {}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no IDX file"),
        (b"\0\0\x0d\x03" + bytes(12), "no IDX file"),
        (b"\0\0\x08\x03\0\0", "no IDX file"),
        (idx_of(np.arange(10, dtype=np.uint8)), r"shape \(10,\), not of images"),
        (idx_of(np.stack(DIGITS))[:-1], "cut off: it holds 9 of 10"),
        (struct.pack(">BBBBIII", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1), "more than"),
    ],
)
def test_idx_files_that_hold_no_pictures_are_errors(data, says):
    with pytest.raises(UsageError, match=says):
        rows_of(data, "idx")


def test_arrays_are_read_in_little_memory(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4000, 64, 64), np.uint8))
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((4000, 64, 64), np.uint8))
    for name in ("x.npy", "x.npz"):
        tracemalloc.start()
        assert sum(1 for _ in read(tmp_path / name)) == 4000
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
        tracemalloc.stop()


@given(st.sampled_from(["npy", "npz", "idx", "zip"]), st.lists(st.tuples(st.integers(0), st.binary(max_size=3))))
@settings(deadline=None, max_examples=300)
def test_damaged_files_are_rows_or_a_clear_error(format, changes):
    stack = np.stack(DIGITS[:2])
    whole = {"npy": npy_of(stack), "npz": npz_of(x=stack, y=np.arange(2)), "idx": idx_of(stack)}
    data = bytearray({**whole, "zip": zip_of({"a/x.png": encoded(digit(0)), "b.png": b""})}[format])
    for place, content in changes:
        place %= len(data)
        data[place : place + len(content)] = content
    with suppress(UsageError):
        images_of(rows_of(bytes(data), format))
