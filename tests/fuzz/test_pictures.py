"""Damaged pictures, arrays and archives: pictures, rows that say why they are none, or one line."""

import base64
import io
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image
from support.limits import limits
from support.mutations import cases, damaged, damaged_archive, damaged_text

from molgen.domain import Invalid
from molgen_plugins.images.io.files import read
from molgen_plugins.images.raster import canonical

GREY = np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def _file(form: str, pixels: np.ndarray = COLOUR, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


def _numpy(save, *arrays, **named) -> bytes:
    stream = io.BytesIO()
    save(stream, *arrays, **named)
    return stream.getvalue()


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", _file("PNG", GREY))
        archive.writestr("b/2.jpg", _file("JPEG"))
        archive.writestr("b/3.npy", _numpy(np.save, GREY[None]))
    return stream.getvalue()


PICTURES = {
    "png": _file("PNG"),
    "png palette": _file("PNG", GREY, optimize=True),
    "jpg": _file("JPEG"),
    "jpg progressive": _file("JPEG", progressive=True),
    "gif": _file("GIF", GREY),
    "bmp": _file("BMP"),
    "ppm": _file("PPM"),
    "webp": _file("WEBP"),
}
TABLE = "id,image\n" + "".join(
    f"{n},data:image/png;base64,{base64.b64encode(_file('PNG', GREY)).decode()}\n" for n in range(3)
)
FILES = {
    **{name: (data, damaged) for name, data in PICTURES.items()},
    "npy": (_numpy(np.save, np.stack([GREY, GREY])), damaged),
    "npz": (_numpy(np.savez_compressed, image=np.stack([GREY, GREY]), label=np.array(["a", "b"])), damaged_archive),
    "zip": (_zip(), damaged_archive),
    "idx": (struct.pack(">4B3I", 0, 0, 8, 3, 2, 9, 7) + GREY.tobytes() * 2, damaged),
    "csv": (TABLE.encode(), damaged_text),
}


def _look(data: bytes, format: str) -> None:
    for number, record in enumerate(read(io.BytesIO(data), format=format)):
        assert record.row == number
        found = record.item if isinstance(record.item, Invalid) else canonical(record.item)
        assert isinstance(found, np.ndarray) or found.reason
        if number == 1000:  # an array of many small pictures is one
            break


@pytest.mark.parametrize("count", [60, pytest.param(5000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_file_is_pictures_or_one_line(kind, count):
    format = kind.split()[0]
    _look(FILES[kind][0], format)
    for case, data in cases({kind: FILES[kind]}, count):
        with limits(case):
            _look(data, format)
