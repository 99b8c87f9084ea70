"""Rows of arrays of pixels: `.npy`, `.npz` and IDX files, read one by one, so that memory use does not grow.

Letters in shapes: N images, H rows, W columns.
"""

from __future__ import annotations

import struct
import sys
import zipfile
from collections.abc import Iterator, Mapping
from math import prod
from typing import IO, Any, NamedTuple

import numpy as np

from molgen.domain import Invalid, Record
from molgen.errors import UsageError
from molgen_plugins.images.raster import PIXEL_LIMIT
from molgen_plugins.media.containers import open_archive, open_member

#: Usual names of the array of images in an `.npz`, the best first.
USUAL = ("image", "images", "x", "arr_0", "data", "pixels")
#: Says which rows of an `.npz` have a picture, where some have none.
PRESENT = "has_image"
#: Bytes of an array beside the images that is taken for a column.
_COLUMN_LIMIT = 256 << 20
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_UNSIGNED_BYTE = 8


class _Header(NamedTuple):
    shape: tuple[int, ...]
    kind: np.dtype
    fortran: bool = False


def npy(stream: IO[bytes], name: str) -> Iterator[Record]:
    """The images of an array, uint8 or bool (N, H, W) or (N, H, W, 1 or 3).

    Raises:
        UsageError: it is no such array, or is cut off.
    """
    for row, image in enumerate(_images(stream, _header(stream, name), name)):
        yield Record(row, image, {}, f"{name}[{row}]")


def npz(stream: IO[bytes], name: str, column: str | None) -> Iterator[Record]:
    """The images of one array of an archive of arrays; the others with a value for each image are columns.

    Args:
        stream: seekable.
        name: what to call the file in an error.
        column: the name of the array of images; found by its usual names, or as the only one, without it.

    Raises:
        UsageError: there is no such array, or it is cut off.
    """
    archive = open_archive(stream, name)
    headers = {}
    for member in archive.namelist():
        if member.endswith(".npy"):
            with _opened(archive, member, name) as content:
                headers[member.removesuffix(".npy")] = _header(content, f"{member} in {name}")
    chosen = _chosen(headers, column, name)
    values = {other: _column(archive, other, headers[chosen].shape[0], name) for other in headers if other != chosen}
    columns = {other: found for other, found in values.items() if found is not None}
    present = columns.pop(PRESENT, None)
    with _opened(archive, f"{chosen}.npy", name) as content:
        for row, image in enumerate(_images(content, _header(content, name), f"{chosen} in {name}")):
            item = image if present is None or present[row] else Invalid("there is no image in this row")
            yield Record(row, item, {n: _text(found[row]) for n, found in columns.items()}, f"{name}[{row}]")


def idx(stream: IO[bytes], name: str, labels: IO[bytes] | None = None) -> Iterator[Record]:
    """The images of an IDX file, the format of MNIST; with `labels`, an IDX file of as many bytes, a column `label`.

    Raises:
        UsageError: it is no IDX file of bytes in three dimensions, or is cut off.
    """
    header = _idx_header(stream)
    if header is None or len(header.shape) != 3:
        what = "no IDX file of bytes" if header is None else f"an IDX file of the shape {header.shape}, not of images"
        raise UsageError(f"{name} is {what}")
    numbers = _idx_labels(labels, header.shape[0])
    for row, image in enumerate(_images(stream, header, name)):
        yield Record(row, image, {"label": str(numbers[row])} if numbers else {}, f"{name}[{row}]")


def _idx_header(stream: IO[bytes]) -> _Header | None:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:3] != bytes((0, 0, _UNSIGNED_BYTE)):
        return None
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        return None
    return _Header(struct.unpack(f">{magic[3]}I", sizes), np.dtype(np.uint8))


def _idx_labels(stream: IO[bytes] | None, count: int) -> bytes:
    header = _idx_header(stream) if stream is not None else None
    if stream is None or header is None or header.shape != (count,) or count > _COLUMN_LIMIT:
        return b""
    found = stream.read(count)
    return found if len(found) == count else b""


def _header(stream: IO[bytes], name: str) -> _Header:
    try:
        shape, fortran, kind = _HEADERS[np.lib.format.read_magic(stream)](stream)
    except Exception as error:  # the header is an expression in text, which may fail in many ways
        raise UsageError(f"{name} is no array of numpy ({error})") from error
    return _Header(shape, kind, fortran and len(shape) > 1)


def _images(stream: IO[bytes], header: _Header, name: str) -> Iterator[np.ndarray]:
    shape, kind, fortran = header
    if kind not in (np.uint8, np.bool_):
        raise UsageError(f"{name}: pixels are whole numbers from 0 to 255 (uint8), not {kind}")
    if len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,)):
        raise UsageError(f"{name}: images are an array (N, height, width) or (N, height, width, 3), not {shape}")
    if fortran:
        raise UsageError(f"{name} has its axes in the order of Fortran; save numpy.ascontiguousarray of it")
    if not 0 < shape[1] * shape[2] <= PIXEL_LIMIT:
        raise UsageError(f"{name}: an image of {shape[2]}x{shape[1]} is none, or has more than {PIXEL_LIMIT:,} pixels")
    size = prod(shape[1:])
    for row in range(shape[0]):
        data = stream.read(size)
        if len(data) < size:
            raise UsageError(f"{name} is cut off: it holds {row:,} of {shape[0]:,} images")
        pixels = np.frombuffer(data, np.uint8).reshape(shape[1:])
        yield pixels != 0 if kind == np.bool_ else pixels


def _chosen(headers: Mapping[str, _Header], column: str | None, name: str) -> str:
    """The name of the array of images."""
    if column is not None and column in headers:
        return column
    able = [other for other, header in headers.items() if len(header.shape) in (3, 4)]
    usual = [wanted for wanted in USUAL if wanted in able]
    if column is None and (usual or len(able) == 1):
        return (usual or able)[0]
    wish = "no array to be taken for the images" if column is None else f"no array {column!r}"
    raise UsageError(f"{name} has {wish} among {', '.join(headers) or 'none'}: name the array with the images")


def _column(archive: zipfile.ZipFile, member: str, count: int, name: str) -> np.ndarray | None:
    """The array of a member, (N,), or None where it has not one value for each image."""
    with _opened(archive, f"{member}.npy", name) as stream:
        shape, kind, _ = _header(stream, f"{member} in {name}")
        size = count * kind.itemsize
        if shape not in ((count,), (count, 1)) or kind.hasobject or size > _COLUMN_LIMIT:
            return None
        data = stream.read(size)
    if len(data) < size:
        raise UsageError(f"{member} in {name} is cut off")
    if kind.kind == "U" and size:
        codes = np.frombuffer(data, np.dtype("u4").newbyteorder(kind.byteorder))
        if codes.max() > sys.maxunicode:
            raise UsageError(f"{member} in {name} holds characters that do not exist")
    return np.frombuffer(data, kind) if size else np.zeros(count, kind)


def _opened(archive: zipfile.ZipFile, member: str, name: str) -> IO[bytes]:
    return open_member(archive, archive.getinfo(member), f"{member} in {name}")


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)
