"""How large the pages of a Parquet file become, from their headers alone.

A page is the least that is unfolded at a time, and a few kilobytes may stand for gigabytes. Arrow says nothing of pages
before it has made them, so their headers are read here: structs in the compact protocol of Apache Thrift, of which
fields 2 and 3 are the sizes without and with compression (`PageHeader` in https://github.com/apache/parquet-format).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

#: The most bytes of a header, with the statistics in it, and how deep its structs may lie in each other.
_HEADER, _DEPTH = 1 << 20, 8
#: The types of the compact protocol: truth, whole numbers, doubles, texts, lists and sets, structs.
_TRUTH, _WHOLE, _DOUBLE, _TEXT, _LISTS, _STRUCT = (1, 2), (4, 5, 6), 7, 8, (9, 10), 12


def pages(stream: IO[bytes], metadata: Any) -> Iterator[tuple[str, int]]:
    """The column and the unfolded size in bytes of each page of a file.

    Args:
        stream: the file.
        metadata: its `pyarrow.parquet.FileMetaData`.

    Raises:
        ValueError: a header is damaged.
    """
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            first = column.dictionary_page_offset or column.data_page_offset
            start = min(first, column.data_page_offset)
            for size in _of_chunk(stream, start, start + column.total_compressed_size):
                yield column.path_in_schema, size


def _of_chunk(stream: IO[bytes], position: int, end: int) -> Iterator[int]:
    while 0 <= position < end:
        stream.seek(position)
        if not (data := stream.read(_HEADER)):
            return
        header = _Header(data)
        fields = header.struct()
        unfolded, stored = fields.get(2), fields.get(3)
        if unfolded is None or stored is None or min(unfolded, stored) < 0:
            raise ValueError("the header of a page has no sizes")
        yield unfolded
        position += header.position + stored


class _Header:
    """Reads one struct; `position` is how far it has come."""

    def __init__(self, data: bytes) -> None:
        self._data, self.position = data, 0

    def struct(self, depth: int = 0) -> dict[int, int]:
        """The whole numbers among the fields, by their numbers; the others are passed over."""
        if depth > _DEPTH:
            raise ValueError("the header of a page is too deep")
        found, number = {}, 0
        while (head := self._byte()) & 15:
            number = number + (head >> 4) if head >> 4 else self._whole()
            value = self._value(head & 15, depth)
            if value is not None:
                found[number] = value
        return found

    def _value(self, kind: int, depth: int) -> int | None:
        if kind in _WHOLE:
            return self._whole()
        if kind == _STRUCT:
            self.struct(depth + 1)
        elif kind in _LISTS:
            head = self._byte()
            for _ in range(self._varint() if head >> 4 == 15 else head >> 4):
                self._byte() if head & 15 in _TRUTH else self._value(head & 15, depth)
        elif kind not in _TRUTH:  # which is its own value, outside of lists
            self._skip({3: 1, _DOUBLE: 8}.get(kind) or (self._varint() if kind == _TEXT else len(self._data)))
        return None

    def _whole(self) -> int:
        folded = self._varint()
        return (folded >> 1) ^ -(folded & 1)

    def _varint(self) -> int:
        found = shift = 0
        while (byte := self._byte()) & 128:
            found, shift = found | (byte & 127) << shift, shift + 7
            if shift > 63:
                raise ValueError("the header of a page holds too large a number")
        return found | byte << shift

    def _byte(self) -> int:
        self._skip(1)
        return self._data[self.position - 1]

    def _skip(self, count: int) -> None:
        self.position += count
        if self.position > len(self._data):
            raise ValueError("the header of a page is damaged")
