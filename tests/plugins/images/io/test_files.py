"""Files of images: what is written is read again, and folders and archives are read alike."""

import gzip
import io
import os
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.image_files import DIGITS, NO_IMAGE, WRITTEN, images_of, npy_of, npz_of, put, rows_of, same, zip_of

from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen_plugins.images.examples import digit, examples, ring
from molgen_plugins.images.io.files import Format, find_format, read, write, written_format
from molgen_plugins.images.raster import canonical, encoded

# --- what is written can be read ------------------------------------------------------------------


@pytest.mark.parametrize("ending", WRITTEN)
def test_rows_come_back(tmp_path, ending):
    path = tmp_path / f"pictures{ending}"
    rows = [{"name": f"no {n}, ä", "image": image, "n": n, "x": n / 4} for n, image in enumerate(DIGITS)]
    assert write(rows, path) == len(rows)
    records = list(read(path))
    assert [record.row for record in records] == list(range(len(rows)))
    assert same(images_of(records), DIGITS)
    assert records[3].columns == {"name": "no 3, ä", "n": "3", "x": "0.75"}
    assert [path.name] == [found.name for found in tmp_path.iterdir()]


@pytest.mark.parametrize("format", ["zip", "csv", "csv.gz", "npz"])
def test_streams_come_back_and_stay_open(format):
    stream = io.BytesIO()
    assert write([{"image": digit(4), "name": "four"}], stream, format=format) == 1
    stream.seek(0)
    (record,) = read(stream, format=format)
    assert np.array_equal(canonical(record.item), digit(4))
    assert record.columns == {"name": "four"}
    assert not stream.closed


@pytest.mark.parametrize("ending", WRITTEN)
def test_rows_without_an_image_keep_their_place(tmp_path, ending):
    path = tmp_path / f"pictures{ending}"
    wanted = [NO_IMAGE, digit(1), NO_IMAGE, digit(3)]
    rows = [
        {"image": None if item is NO_IMAGE else item, "error": "why" if item is NO_IMAGE else ""} for item in wanted
    ]
    write(rows, path)
    records = list(read(path))
    assert same(images_of(records), wanted)
    assert [record.columns for record in records] == [{"error": row["error"]} for row in rows]


@pytest.mark.parametrize("ending", WRITTEN)
def test_no_rows_are_a_whole_file(tmp_path, ending):
    assert write([], tmp_path / f"pictures{ending}") == 0
    assert (tmp_path / f"pictures{ending}").exists()


@pytest.mark.parametrize("ending", ["", ".zip", ".csv"])
def test_sizes_and_colours_may_differ(tmp_path, ending):
    path = tmp_path / f"pictures{ending}"
    write([{"image": image} for image in examples()], path)
    assert same(images_of(read(path)), examples())


def test_an_npz_holds_one_size_and_numbers_stay_numbers(tmp_path):
    with pytest.raises(UsageError, match="row 1 has a picture of the shape"):
        write([{"image": digit(0)}, {"image": ring(9)}], tmp_path / "x.npz")
    assert list(tmp_path.iterdir()) == []
    coloured = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    rows = [{"image": coloured, "n": n, "x": None if n else 0.5, "ok": n > 1, "s": None} for n in range(3)]
    write(rows, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as found:
        assert found["image"].shape == (3, 2, 4, 3)
        assert found["n"].tolist() == [0, 1, 2]
        assert found["ok"].tolist() == [False, False, True]
        assert np.isnan(found["x"]).tolist() == [False, True, True]
        assert "has_image" not in found
    assert next(read(tmp_path / "x.npz")).columns == {"n": "0", "x": "0.5", "ok": "False", "s": ""}


def test_other_forms_of_the_picture_are_written_once(tmp_path):
    rows = [
        {"image": encoded(digit(1)), "file": "1.png", "canonical_image": digit(1)},
        {"image": b"no picture", "file": "2.png", "canonical_image": None},
        {"image": "2.png", "file": "2.png", "canonical_image": None},
    ]
    write(rows, tmp_path / "scored")
    assert (tmp_path / "scored" / "index.csv").read_text() == "image,file\n000000.png,1.png\n,2.png\n,2.png\n"
    assert sorted(path.name for path in (tmp_path / "scored").iterdir()) == ["000000.png", "index.csv"]
    write([{"image": None, "as_generated": digit(2), "n": 1}], tmp_path / "raw")
    assert same(images_of(read(tmp_path / "raw")), [digit(2)])


@pytest.mark.parametrize("ending", WRITTEN)
def test_values_that_are_no_cells_are_an_error(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    for rows, says in [
        ([{"image": digit(0), "mask": digit(1)}], "column 'mask' holds arrays"),
        ([{"image": digit(0) / 255}], "no image: pixels are whole numbers"),
        ([{"picture": digit(0)}], "need the column image"),
        ([{"image": digit(0)}, {"image": digit(0), "b": 1}], "row 1 has the column 'b'"),
    ]:
        with pytest.raises(UsageError, match=says):
            write(rows, path)
    assert list(tmp_path.iterdir()) == []


def failing_rows():
    yield {"image": digit(0)}
    raise RuntimeError("stopped")


@pytest.mark.parametrize("ending", WRITTEN)
def test_a_file_is_whole_or_not_there(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    write([{"image": digit(7)}], path)
    with pytest.raises(RuntimeError, match="stopped"):
        write(failing_rows(), path)
    assert same(images_of(read(path)), [digit(7)])
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    write([{"image": digit(8)}], path)
    assert same(images_of(read(path)), [digit(8)])


@pytest.mark.parametrize(
    "files",
    [
        {"holiday.png": b"x"},
        {"index.csv": b"image\n", "notes.txt": b"x"},
        {"000000.png": b"x"},
        {"index.csv": b"image\n", "sub/000000.png": b"x"},
    ],
)
def test_a_folder_of_others_is_never_replaced(tmp_path, files):
    folder = put(tmp_path / "mine", files)
    with pytest.raises(UsageError, match="holds files that were not written here"):
        write([{"image": digit(0)}], folder)
    assert all((folder / name).read_bytes() == content for name, content in files.items())
    with pytest.raises(UsageError, match="holds files that were not written here"):
        write([{"image": digit(0)}], put(tmp_path, {"file": b"x"}) / "file")


@pytest.mark.parametrize("format", ["zip", "csv.gz", "npz"])
def test_equal_rows_make_equal_bytes(format):
    streams = [io.BytesIO(), io.BytesIO()]
    for stream in streams:
        write([{"image": digit(0), "n": 1}], stream, format=format)
    assert streams[0].getvalue() == streams[1].getvalue()


CELLS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r\n"), max_size=20)


@given(st.lists(st.tuples(st.sampled_from(examples()), CELLS), min_size=1, max_size=4), st.sampled_from(["csv", "zip"]))
@settings(deadline=None, max_examples=50)
def test_any_text_comes_back_from_a_table(rows, format):
    stream = io.BytesIO()
    write([{"note": note, "image": image} for image, note in rows], stream, format=format)
    records = rows_of(stream.getvalue(), format)
    assert same(images_of(records), [image for image, _ in rows])
    assert [record.columns["note"] for record in records] == [note for _, note in rows]


@pytest.mark.parametrize("format", ["csv", "zip", "npz"])
@pytest.mark.parametrize("note", ["two\r\nlines", "a\rb", '"', ""])
def test_what_is_written_has_as_many_rows(format, note):
    stream = io.BytesIO()
    write([{"image": digit(n), "note": note} for n in range(3)], stream, format=format)
    assert [record.columns for record in rows_of(stream.getvalue(), format)] == [{"note": note}] * 3


# --- folders and archives -------------------------------------------------------------------------


FILES = {
    "b/2.png": encoded(digit(2)),
    "b/10.JPG": b"no picture",
    "a/deep/er/1.png": encoded(digit(1)),
    "a/3.png": b"",
    "a/4.tif": b"II*\0",
    "0.png": encoded(digit(0)),
    "notes.txt": b"not a picture",
    ".hidden.png": b"x",
    ".git/x.png": b"x",
}
NAMES = ["0.png", "a/3.png", "a/4.tif", "a/deep/er/1.png", "b/10.JPG", "b/2.png"]


def check_container(records):
    assert [record.columns for record in records] == [
        {"file": name, "label": name[0] if "/" in name else ""} for name in NAMES
    ]
    assert [record.row for record in records] == list(range(len(NAMES)))
    assert [record.text for record in records] == NAMES
    images = images_of(records)
    assert same([images[0], images[3], images[5]], [digit(0), digit(1), digit(2)])
    assert images[1] == Invalid("the file is empty")
    assert all(isinstance(images[place], Invalid) for place in (2, 4))


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path):
    check_container(list(read(put(tmp_path, FILES))))


@pytest.mark.parametrize("top", ["", "pictures/", "a/b/c/", "/abs/"])
def test_an_archive_is_read_like_its_folder(top):
    check_container(rows_of(zip_of({f"{top}{name}": content for name, content in FILES.items()}), "zip"))


def test_a_folder_without_folders_has_no_labels(tmp_path):
    (record,) = read(put(tmp_path, {"x.png": encoded(digit(0))}))
    assert record.columns == {"file": "x.png"}


def test_arrays_in_a_folder_give_their_rows_in_their_place(tmp_path):
    stack = np.stack(DIGITS)
    put(
        tmp_path, {"a.png": encoded(ring(9)), "b.npz": npz_of(x=stack, label=np.arange(10)), "c.npy": npy_of(stack[:2])}
    )
    put(tmp_path, {"d.npy": npy_of(stack)[:-1000], "e.npz": b"broken", "f.png": encoded(ring(8))})
    records = list(read(tmp_path))
    assert [record.row for record in records] == list(range(len(records)))
    images = images_of(records)
    assert same(images[:13], [ring(9), *DIGITS, digit(0), digit(1)])
    assert same(images[13:21], DIGITS[:8])
    assert "d.npy is cut off: it holds 8 of 10 images" in images[21].reason
    assert "e.npz cannot be read" in images[22].reason
    assert same(images[23:], [ring(8)])
    assert records[4].columns == {"file": "b.npz", "label": "3"}


def test_only_files_that_are_files_are_read(tmp_path):
    outside = put(tmp_path / "outside", {"o.png": encoded(digit(1))})
    folder = put(tmp_path / "inside", {"a.png": encoded(digit(0))})
    os.mkfifo(folder / "pipe.png")
    (folder / "linked").symlink_to(outside, target_is_directory=True)
    (folder / "link.png").symlink_to(outside / "o.png")
    (folder / "nowhere.png").symlink_to(outside / "none.png")
    records = list(read(folder))
    assert [record.columns["file"] for record in records] == ["a.png", "link.png", "nowhere.png", "pipe.png"]
    none = [Invalid("there is no file 'nowhere.png'"), Invalid("there is no file 'pipe.png'")]
    assert same(images_of(records), [digit(0), digit(1), *none])


def test_the_table_of_a_folder_decides(tmp_path):
    put(tmp_path, {"x.png": encoded(digit(0)), "y.png": encoded(digit(1)), "index.csv": b"file,n\ny.png,1\nx.png,2\n"})
    records = list(read(tmp_path))
    assert same(images_of(records), [digit(1), digit(0)])
    assert [record.columns for record in records] == [{"n": "1"}, {"n": "2"}]


@pytest.mark.parametrize(
    "name", ["../out.png", "/etc/hostname", "a/../../out.png", "none.png", "x\0.png", "", "a" * 5000]
)
def test_paths_in_a_table_do_not_leave_its_folder(tmp_path, name):
    put(tmp_path, {"out.png": encoded(digit(0)), "in/table.csv": f"image,n\n{name},1\n".encode()})
    (record,) = read(tmp_path / "in" / "table.csv")
    assert isinstance(record.item, Invalid)
    assert record.columns == {"n": "1"}


def test_hostile_archives(tmp_path):
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(70 << 20))
        archive.writestr("../../escaped.png", encoded(digit(0)))
    encrypted = bytearray(zip_of({"a.png": encoded(digit(0))}))
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.index(signature) + place] |= 1
    tracemalloc.start()
    records = rows_of(bomb.getvalue(), "zip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert same(images_of(records), [digit(0), Invalid("the file is larger than 64 MiB")])
    assert peak < 250 << 20
    (record,) = rows_of(bytes(encrypted), "zip")
    assert "encrypted" in record.item.reason
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="holds no image"):
        list(read(put(tmp_path, {"x.txt": b"", ".y.png": b""})))
    with pytest.raises(UsageError, match="holds no image"):
        rows_of(zip_of({}), "zip")


# --- formats --------------------------------------------------------------------------------------


def test_formats(tmp_path):
    assert find_format(tmp_path) == Format("folder")
    assert find_format("a.b/train-images-idx3-ubyte.gz") == Format("idx", True)
    assert find_format("x.PNG") == Format("file")
    assert find_format("x.dat", "npz") == Format("npz")
    assert find_format(io.BytesIO(), ".csv.gz") == Format("csv", True)
    for source in ("x.txt", "x", io.BytesIO()):
        with pytest.raises(UsageError, match="give format="):
            find_format(source)
    with pytest.raises(UsageError, match="may be gzipped"):
        find_format("x.npz.gz")


@pytest.mark.parametrize(
    ("target", "format", "kind"),
    [
        ("samples", None, "folder"),
        ("a.b/samples", None, "folder"),
        ("x.dat", "png", "folder"),
        (io.BytesIO(), "samples", "folder"),
        ("x.ZIP", None, "zip"),
        ("x.npz", None, "npz"),
        ("x.csv.gz", None, "csv"),
        (io.BytesIO(), "csv", "csv"),
    ],
)
def test_written_formats(target, format, kind):
    assert written_format(target, format).kind == kind


@pytest.mark.parametrize("name", ["x.png", "x.txt", "x.smi", "x.npz.gz", "x.zip.gz", "x.idx"])
def test_formats_that_are_not_written(name, tmp_path):
    with pytest.raises(UsageError, match=r"not written as|only csv is written gzipped"):
        write([], tmp_path / name)
    with pytest.raises(UsageError, match=r"not written as|only csv is written gzipped"):
        write([], io.BytesIO(), format=name)


def test_missing_and_damaged_files_are_named(tmp_path):
    for name in ("none.png", "none", "none/x.zip"):
        with pytest.raises(UsageError, match=f"{name}: No such file"):
            list(read(tmp_path / name))
    for data, format in [
        (b"x", "zip"),
        (b"x", "npz"),
        (zip_of({"a.png": b"x" * 100})[:-30], "zip"),
        (gzip.compress(npy_of(np.stack(DIGITS)), mtime=0)[:-20], "npy.gz"),
    ]:
        with pytest.raises(UsageError, match=r"the input is (damaged|no whole zip archive)"):
            rows_of(data, format)
    with pytest.raises(UsageError, match="is empty"):
        rows_of(b"", "png")


def test_archives_from_a_pipe():
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *arguments):
            raise OSError("a pipe")

    for data, format in ((zip_of({"a.png": encoded(digit(0))}), "zip"), (npz_of(x=digit(0)[None]), "npz")):
        assert same(images_of(read(Pipe(data), format=format)), [digit(0)])


def test_archives_may_be_written_to_a_pipe():
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.content = b""

        def writable(self):
            return True

        def write(self, data):
            self.content += bytes(data)
            return len(data)

    for format in ("zip", "npz", "csv"):
        pipe = Pipe()
        assert write([{"image": digit(0)}], pipe, format=format) == 1
        assert same(images_of(rows_of(pipe.content, format)), [digit(0)])


def test_a_jpeg_photo_comes_in_as_it_is(tmp_path):
    Image.fromarray(np.tile(ring(28)[..., None], (1, 1, 3))).save(tmp_path / "x.jpeg", quality=95)
    (image,) = images_of(read(tmp_path))
    assert image.shape == (28, 28, 3)
    assert np.abs(image[..., 0].astype(int) - ring(28)).mean() < 6
