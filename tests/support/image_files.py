"""Files of images made in memory, and what comes out of them."""

import io
import struct
import zipfile

import numpy as np

from molgen.domain import Invalid
from molgen_plugins.images.examples import digit
from molgen_plugins.images.io.files import read
from molgen_plugins.images.raster import canonical

WRITTEN = ["", ".zip", ".csv", ".csv.gz", ".npz"]
NO_IMAGE = Invalid("there is no image in this row")
DIGITS = [digit(number) for number in range(10)]


def rows_of(data, format, **options):
    return list(read(io.BytesIO(data), format=format, **options))


def images_of(records):
    return [record.item if isinstance(record.item, Invalid) else canonical(record.item) for record in records]


def same(found, wanted):
    return len(found) == len(wanted) and all(
        a == b if isinstance(a, Invalid) or isinstance(b, Invalid) else np.array_equal(a, b)
        for a, b in zip(found, wanted, strict=True)
    )


def npz_of(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npy_of(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def idx_of(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def put(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def zip_of(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()
