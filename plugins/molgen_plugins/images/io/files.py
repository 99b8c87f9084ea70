"""Users' pictures: folders, `.zip` archives, arrays (`.npy`, `.npz`, IDX), `.csv` tables and single files.

See `media.files`. Beside an IDX file of images, which may keep its published name as in `train-images-idx3-ubyte.gz`,
the IDX file of labels gives the column `label`. Of an `.npz` the other arrays with a value for each image are columns;
written to one, rows without a picture have a black one, and the array `has_image` says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from molgen.data.content import opened
from molgen.domain import Record
from molgen_plugins.images.io import arrays, writing
from molgen_plugins.images.io.pictures import PICTURES, PNG
from molgen_plugins.media.files import Files, Format, Source


def _idx(stream: IO[bytes], name: str, column: str | None, source: Source) -> Iterator[Record]:
    with _labels(source) as labels:
        yield from arrays.idx(stream, name, labels)


@contextmanager
def _labels(source: Source) -> Iterator[IO[bytes] | None]:
    """The IDX file of labels that lies beside one of images under the corresponding name."""
    path = Path(source) if isinstance(source, str | Path) else None
    beside = path and path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    if beside is None or beside == path or not beside.is_file():
        yield None
        return
    with opened(beside) as (_, stream):
        yield stream


FILES = Files(
    PICTURES,
    encodings=(PNG,),
    several={
        "npz": lambda stream, name, column, _: arrays.npz(stream, name, column),
        "npy": lambda stream, name, *_: arrays.npy(stream, name),
        "idx": _idx,
    },
    endings={"ubyte": "idx"},
    written={"npz": writing.npz},
    gzipped=("npy", "idx", "csv"),
    listed=("png, zip, npz, npy, idx or csv", "a folder (without an ending) or a .zip, .npz or .csv"),
)
find_format, written_format, recognises = FILES.find_format, FILES.written_format, FILES.recognises
read, write = FILES.read, FILES.write

__all__ = ["FILES", "Format", "find_format", "read", "recognises", "write", "written_format"]
