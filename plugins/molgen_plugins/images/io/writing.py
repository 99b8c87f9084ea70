"""Rows of named values with a picture each, as folders, archives, arrays and tables, written as the rows come."""

from __future__ import annotations

import base64
import io
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from molgen.atomic_files import replaced_folder
from molgen.data.delimited import TableWriter, cell, require_known
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen_plugins.images.io.arrays import PRESENT
from molgen_plugins.images.io.reading import INDEX
from molgen_plugins.images.raster import canonical, encoded

Row = Mapping[str, Any]

#: The column of the picture, and those that may hold other forms of it, the best first. One form is written.
IMAGE = "image"
FORMS = (IMAGE, "canonical_image", "as_generated")
_OURS = re.compile(r"\d{6,}\.png")
#: Equal rows make equal archives, whenever they are written.
_NO_DATE = (1980, 1, 1, 0, 0, 0)


def folder(rows: Iterable[Row], path: Path) -> int:
    """Write PNG files named by the number of their row, and the table `index.csv`; return the count of rows.

    Raises:
        UsageError: the folder is there and holds something else than such files.
    """
    path = path.resolve()
    if path.exists() and not _replaceable(path):
        raise UsageError(f"{path} holds files that were not written here: choose another folder, or empty this one")
    with replaced_folder(path) as temporary:
        return _pictures(rows, lambda name, content: (temporary / name).write_bytes(content))


def _replaceable(path: Path) -> bool:
    """Whether a path is an empty folder, or one that was written here and holds nothing else."""
    if not path.is_dir():
        return False
    entries = list(path.iterdir())
    names = {entry.name for entry in entries if entry.is_file() and not entry.is_symlink()}
    ours = INDEX in names and all(name == INDEX or _OURS.fullmatch(name) for name in names)
    return not entries or (ours and len(names) == len(entries))


def archive(rows: Iterable[Row], stream: IO[bytes]) -> int:
    """Write the same files as a zip archive."""
    with zipfile.ZipFile(stream, "w") as target:
        return _pictures(rows, lambda name, content: target.writestr(_member(name), content))


def _pictures(rows: Iterable[Row], put: Callable[[str, bytes], Any]) -> int:
    index = io.BytesIO()
    table = _Table(index)
    for row in rows:
        picture = _picture(row)
        name = f"{table.count:06d}.png" if picture is not None else ""
        table.add(row, name)
        if picture is not None:
            put(name, encoded(picture))
    put(INDEX, index.getvalue())
    return table.count


def table(rows: Iterable[Row], stream: IO[bytes]) -> int:
    """Write a table whose column `image` holds PNG files as data URIs; return the count of rows."""
    target = _Table(stream)
    for row in rows:
        picture = _picture(row)
        target.add(row, "" if picture is None else data_uri(picture))
    return target.count


def data_uri(image: np.ndarray) -> str:
    """A canonical image as a PNG file within a link."""
    return f"data:image/png;base64,{base64.b64encode(encoded(image)).decode('ascii')}"


class _Table:
    """A table with the picture of each row in one of its columns."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._writer = TableWriter(stream)
        self._columns: list[str] | None = None

    @property
    def count(self) -> int:
        """The rows so far."""
        return self._writer.count

    def add(self, row: Row, image: str) -> None:
        """Write a row with this in the place of its picture."""
        if self._columns is None:
            self._columns = _columns(row)
        others = {name: _cell(name, value) for name, value in row.items() if name not in FORMS}
        self._writer.add({name: image if name == IMAGE else others.pop(name, "") for name in self._columns} | others)


def npz(rows: Iterable[Row], stream: IO[bytes]) -> int:
    """Write the pictures as one array and the other columns as one each; return the count of rows.

    Raises:
        UsageError: two pictures have different sizes.
    """
    with tempfile.TemporaryFile() as raw:
        stack = _Stack(cast(IO[bytes], raw))
        columns: dict[str, list[Any]] | None = None
        for row in rows:
            if columns is None:
                columns = {name: [] for name in _columns(row) if name != IMAGE}
            require_known({name: None for name in row if name not in FORMS}, columns, len(stack.present))
            for name, values in columns.items():
                values.append(row.get(name))
            stack.add(_picture(row))
        found = {name: _array(name, values) for name, values in (columns or {}).items()}
        if not all(stack.present):
            found[PRESENT] = np.array(stack.present)
        with zipfile.ZipFile(stream, "w") as target:
            stack.write(target)
            for name, array in found.items():
                with _opened(target, name) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
    return len(stack.present)


class _Stack:
    """Pictures of one shape behind each other in a file; black ones for the rows without."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._shape: tuple[int, ...] = ()
        self.present: list[bool] = []

    def add(self, picture: np.ndarray | None) -> None:
        """Append a picture."""
        if picture is not None and not self._shape:
            self._shape = picture.shape
            self._raw.write(bytes(len(self.present) * picture.size))
        if picture is not None and picture.shape != self._shape:
            raise UsageError(
                f"row {len(self.present)} has a picture of the shape {picture.shape}, and those before have "
                f"{self._shape}: an .npz holds pictures of one shape; write a folder"
            )
        self._raw.write(bytes(int(np.prod(self._shape)) if self._shape else 0) if picture is None else picture.data)
        self.present.append(picture is not None)

    def write(self, target: zipfile.ZipFile) -> None:
        """Write all as the array `image`."""
        shape = (len(self.present), *(self._shape or (0, 0)))
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
        self._raw.seek(0)
        with _opened(target, IMAGE) as member:
            np.lib.format.write_array_header_1_0(member, header)
            shutil.copyfileobj(self._raw, member, 1 << 20)


@contextmanager
def _opened(target: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    with target.open(_member(f"{name}.npy", zipfile.ZIP_DEFLATED), "w", force_zip64=True) as member:
        yield member


def _member(name: str, compression: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _NO_DATE)
    member.compress_type, member.external_attr = compression, 0o644 << 16
    return member


def _array(name: str, values: list[Any]) -> np.ndarray:
    """The values of a column: numbers where all are, with NaN for None, else text with nothing for None."""
    if all(isinstance(value, bool | int | float | np.number | None) for value in values):
        whole = all(isinstance(value, bool | int | np.integer) for value in values)
        return np.array(values) if whole else np.array([np.nan if v is None else v for v in values], np.float64)
    return np.array([_cell(name, value) for value in values])


def _picture(row: Row) -> np.ndarray | None:
    """The picture of a row. The bytes of a file are none: their canonical form stands in another column."""
    found = next((row[form] for form in FORMS if isinstance(row.get(form), np.ndarray)), None)
    image = None if found is None else canonical(found)
    if isinstance(image, Invalid):
        raise UsageError(f"what is to be written is no image: {image.reason}")
    return image


def _columns(row: Row) -> list[str]:
    if IMAGE not in row:
        raise UsageError("pictures need the column image, which row 0 lacks")
    return [name for name in row if name not in FORMS[1:]]


def _cell(name: str, value: Any) -> str:
    """A value as text; None and NaN are empty."""
    if isinstance(value, np.ndarray | bytes):
        raise UsageError(f"the column {name!r} holds arrays or bytes; pictures are written from the column image only")
    return cell(value)
