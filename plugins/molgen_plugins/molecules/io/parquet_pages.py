"""How large the pages of a Parquet file become, from its footer and their headers alone.

A page is the least that is unfolded at a time, and a few kilobytes may stand for gigabytes. Arrow says nothing of pages
before it has made them, and ends the process where the statistics of a column are damaged, so both are read here:
structs in the compact protocol of Apache Thrift, by the numbers that fields have in
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO, Any

#: The most bytes of a header, with the statistics in it, and how deep structs and lists may lie in each other.
_HEADER, _DEPTH = 1 << 20, 12
#: The types of the compact protocol: truth, whole numbers, doubles, texts, lists and sets, structs.
_TRUTH, _WHOLE, _DOUBLE, _TEXT, _LISTS, _STRUCT = (1, 2), (4, 5, 6), 7, 8, (9, 10), 12
#: Behind the footer: its length, and the mark of the format.
_END, _MARK = 8, b"PAR1"
#: Fields of the footer: of the file, of a row group, of a column's chunk, and of what is said of it.
_ROW_GROUPS, _COLUMNS, _ABOUT, _PATH, _STORED, _DATA, _DICTIONARY = 4, 1, 3, 3, 7, 9, 11
#: Fields of the header of a page.
_PAGE_UNFOLDED, _PAGE_STORED = 2, 3


def pages(stream: IO[bytes]) -> Iterator[tuple[str, int]]:
    """The column and the unfolded size in bytes of each page of a file.

    Raises:
        ValueError: the footer or a header is damaged.
    """
    for name, start, end in _chunks(_Struct(_footer(stream)).fields()):
        for size in _of_chunk(stream, start, end):
            yield name, size


def _footer(stream: IO[bytes]) -> bytes:
    whole = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, whole - _END))
    end = stream.read(_END)
    size = int.from_bytes(end[:4], "little")
    if end[4:] != _MARK or size > whole - _END:
        raise ValueError("the footer is damaged")
    stream.seek(whole - _END - size)
    return stream.read(size)


def _chunks(footer: dict[int, Any]) -> Iterator[tuple[str, int, int]]:
    """The column of each chunk, and where its pages begin and end."""
    try:
        for group in footer.get(_ROW_GROUPS, []):
            for chunk in group[_COLUMNS]:
                about = chunk[_ABOUT]
                name = b".".join(about[_PATH]).decode("utf-8", "replace")
                start = min(about[_DATA], about.get(_DICTIONARY) or about[_DATA])
                yield name, start, start + about[_STORED]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("the footer does not say where the pages of a column are") from error


def _of_chunk(stream: IO[bytes], position: int, end: int) -> Iterator[int]:
    while 0 <= position < end:
        stream.seek(position)
        if not (data := stream.read(_HEADER)):
            return
        header = _Struct(data)
        fields = header.fields()
        unfolded, stored = fields.get(_PAGE_UNFOLDED), fields.get(_PAGE_STORED)
        if not isinstance(unfolded, int) or not isinstance(stored, int) or min(unfolded, stored) < 0:
            raise ValueError("the header of a page has no sizes")
        yield unfolded
        position += header.position + stored


class _Struct:
    """Reads one struct; `position` is how far it has come."""

    def __init__(self, data: bytes) -> None:
        self._data, self.position = data, 0

    def fields(self, depth: int = 0) -> dict[int, Any]:
        """The whole numbers, texts, lists and structs among the fields, by their numbers."""
        found: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) & 15:
            number = number + (head >> 4) if head >> 4 else self._whole()
            # The type of a truth is its own value, outside of lists.
            found[number] = None if head & 15 in _TRUTH else self._value(head & 15, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if depth > _DEPTH:
            raise ValueError("a header is too deep")
        if kind in _WHOLE:
            return self._whole()
        if kind == _STRUCT:
            return self.fields(depth + 1)
        if kind in _LISTS:
            head = self._byte()
            count = self._varint() if head >> 4 == 15 else head >> 4
            return [self._value(head & 15, depth + 1) for _ in range(min(count, len(self._data) + 1))]
        if kind == _TEXT:
            return self._taken(self._varint())
        return self._taken(8 if kind == _DOUBLE else 1 if kind in (*_TRUTH, 3) else len(self._data) + 1)

    def _whole(self) -> int:
        folded = self._varint()
        return (folded >> 1) ^ -(folded & 1)

    def _varint(self) -> int:
        found = shift = 0
        while (byte := self._byte()) & 128:
            found, shift = found | (byte & 127) << shift, shift + 7
            if shift > 63:
                raise ValueError("a header holds too large a number")
        return found | byte << shift

    def _byte(self) -> int:
        return self._taken(1)[0]

    def _taken(self, count: int) -> bytes:
        start, self.position = self.position, self.position + count
        if self.position > len(self._data):
            raise ValueError("a header is damaged")
        return self._data[start : self.position]
