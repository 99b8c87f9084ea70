"""Pictures in one archive of arrays, and within links."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, cast

import numpy as np

from molgen.data.delimited import require_known
from molgen.errors import UsageError
from molgen_plugins.images.io.arrays import PRESENT
from molgen_plugins.images.io.pictures import PICTURES, PNG
from molgen_plugins.media import writing
from molgen_plugins.media.writing import columns, item_of, member, value_cell

Row = Mapping[str, Any]


def data_uri(image: np.ndarray) -> str:
    """A canonical image as a PNG file within a link."""
    return writing.data_uri(PNG, image)


def npz(rows: Iterable[Row], stream: IO[bytes]) -> int:
    """Write the pictures as one array and the other columns as one each; return the count of rows.

    Raises:
        UsageError: two pictures have different sizes.
    """
    with tempfile.TemporaryFile() as raw:
        stack = _Stack(cast(IO[bytes], raw))
        others: dict[str, list[Any]] | None = None
        for row in rows:
            if others is None:
                others = {name: [] for name in columns(PICTURES, row) if name != PICTURES.column}
            require_known({name: None for name in row if name not in PICTURES.forms}, others, len(stack.present))
            for name, values in others.items():
                values.append(row.get(name))
            stack.add(item_of(PICTURES, row))
        found = {name: _array(name, values) for name, values in (others or {}).items()}
        if not all(stack.present):
            found[PRESENT] = np.array(stack.present)
        with zipfile.ZipFile(stream, "w") as target:
            stack.write(target)
            for name, array in found.items():
                with _opened(target, name) as content:
                    np.lib.format.write_array(content, array, allow_pickle=False)
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
        with _opened(target, PICTURES.column) as content:
            np.lib.format.write_array_header_1_0(content, header)
            shutil.copyfileobj(self._raw, content, 1 << 20)


@contextmanager
def _opened(target: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    with target.open(member(f"{name}.npy", zipfile.ZIP_DEFLATED), "w", force_zip64=True) as content:
        yield content


def _array(name: str, values: list[Any]) -> np.ndarray:
    """The values of a column: numbers where all are, with NaN for None, else text with nothing for None."""
    if all(isinstance(value, bool | int | float | np.number | None) for value in values):
        whole = all(isinstance(value, bool | int | np.integer) for value in values)
        return np.array(values) if whole else np.array([np.nan if v is None else v for v in values], np.float64)
    return np.array([value_cell(PICTURES, name, value) for value in values])
