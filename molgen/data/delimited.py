"""Tables and lists as text, row by row: lines of any encoding and ending, cells with line breaks, stray quotes.

Rows keep their count: what cannot be read is one bad row, and what is written is read back as it was.
"""

from __future__ import annotations

import codecs
import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

from molgen.data.content import encoding_of, peeked
from molgen.errors import UsageError

#: Bytes of a line, or of a row of several, that are kept; the row of a longer one is bad.
LINE_LIMIT = 1 << 20
#: Empty lines between others.
_MOST_EMPTY = 1_000_000
_CHUNK = 1 << 16
_BLANK = b" \r\n"


class Line(NamedTuple):
    """A line without its end, and whether it is whole or was cut at the limit."""

    text: str
    whole: bool = True


class Row(NamedTuple):
    """One row of a table: its text, its cells, and what is wrong with it."""

    text: str
    cells: list[str]
    problem: str = ""


def too_long(limit: int) -> str:
    """What is wrong with a line that is cut."""
    return f"the line is longer than {limit} bytes"


# --- lines ----------------------------------------------------------------------------------------


def lines(stream: IO[bytes], name: str, limit: int = LINE_LIMIT) -> Iterator[Line]:
    """The lines of a text in UTF-8, UTF-16, UTF-32 or, line by line, Latin-1; empty ones at its end are none.

    They end with LF, CR LF or, where the text has no LF, CR.

    Raises:
        UsageError: there is no line, or a million of empty ones between others.
    """
    empty, any_line = 0, False
    for line in _split(*_text(stream), limit):
        if isinstance(line, int):
            empty += line
            continue
        if empty > _MOST_EMPTY:
            raise UsageError(f"{name} has {empty:,} empty lines on end")
        yield from (Line("") for _ in range(empty))
        yield line
        empty, any_line = 0, True
    if not any_line:
        raise UsageError(f"{name} is empty")


def _text(stream: IO[bytes]) -> tuple[Iterator[bytes], bytes]:
    """The text in chunks, as UTF-8 where its encoding is known, and what ends its lines."""
    head, stream = peeked(stream)
    encoding = encoding_of(head)
    chunks: Iterator[bytes] = iter(lambda: getattr(stream, "read1", stream.read)(_CHUNK), b"")
    if encoding:
        chunks = (text.encode(errors="replace") for text in codecs.iterdecode(chunks, encoding, errors="replace"))
        head = head.decode(encoding, errors="replace").encode(errors="replace")
    return chunks, b"\r" if b"\r" in head and b"\n" not in head else b"\n"


def _split(chunks: Iterator[bytes], end: bytes, limit: int) -> Iterator[Line | int]:
    """The lines, and how many empty ones there are where there are some: those are counted by the chunk."""
    rest, cut, mark = b"", False, codecs.BOM_UTF8
    for chunk in chunks:
        if not cut and not rest.strip(_BLANK) and not chunk.strip(_BLANK):
            yield chunk.count(end)
            rest = chunk.rpartition(end)[2]
            continue
        *pieces, rest = (rest + chunk).split(end)
        for piece in pieces:
            yield _line(piece.removeprefix(mark), limit, cut)
            cut, mark = False, b""
        if len(rest) > limit:
            rest, cut = rest[: limit + 1], True
    if rest.strip(_BLANK) and rest != mark:
        yield _line(rest.removeprefix(mark), limit, cut)


def _line(raw: bytes, limit: int, cut: bool) -> Line | int:
    if not raw.strip(_BLANK):
        return 1
    return Line(decoded(raw[:limit]), not cut and len(raw) <= limit)


def decoded(raw: bytes) -> str:
    """A text in UTF-8, or else in Latin-1, in which all bytes are characters."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


# --- rows -----------------------------------------------------------------------------------------


class Table:
    """A table with a header, read row by row.

    Attributes:
        names: of the columns, distinct, each on one line.
        place: of the column that was chosen.
        delimiter: between cells.
    """

    def __init__(
        self,
        stream: IO[bytes],
        name: str,
        choose: Callable[[Sequence[str]], int],
        delimiters: str = ",;\t",
        limit: int = LINE_LIMIT,
    ) -> None:
        """Read the header.

        Args:
            stream: of bytes.
            name: what to call the table in an error.
            choose: the place of the column that matters among the names; raises a `UsageError` where there is none.
            delimiters: those that may be between cells, the likeliest first.
            limit: bytes of a row.

        Raises:
            UsageError: there is no header, or no such column.
        """
        # Longer cells than the module allows. Its limit is global, so it is only ever raised.
        csv.field_size_limit(max(csv.field_size_limit(), limit))
        self._lines, self._limit = lines(stream, name, limit), limit
        first = next((line for line in self._lines if isinstance(line, Line) and line.text.strip()), Line("", False))
        if not first.whole:
            raise UsageError(f"{name}: the header is longer than {limit} bytes")
        self._waiting: deque[Line] = deque([first])
        self.delimiter, self.names, self.place = self._header(choose, delimiters)

    def _header(self, choose: Callable[[Sequence[str]], int], delimiters: str) -> tuple[str, list[str], int]:
        """The delimiter under which there is the column that matters, the names, and its place."""
        first, failures = self._waiting[0], list[tuple[int, int, UsageError]]()
        for delimiter in delimiters:
            self.delimiter, self.names = delimiter, []
            row, taken = self._next(lambda cells: True)
            assert row is not None
            names = distinct([" ".join(cell.split()) for cell in row.cells or first.text.split(delimiter)])
            try:
                return delimiter, names, choose(names)
            except UsageError as error:
                failures.append((-len(names), len(failures), error))
                self._waiting.extendleft(reversed([first, *taken]))
        raise min(failures, key=lambda failure: failure[:2])[2]

    def rows(self) -> Iterator[Row]:
        """The rows below the header; a row that has not its cells says what is wrong."""
        while (found := self._next(self._fits))[0] is not None:
            yield self._complete(found[0])

    def rejoined(self, cells: list[str]) -> list[str]:
        """The cells as they are; tables of a kind of their own may put together what a delimiter parted."""
        return cells

    def _fits(self, cells: list[str]) -> bool:
        """Whether the cells of a row of several lines are those of the table, and no rows that a quote swallowed."""
        if len(cells) < len(self.names) or any(cells[len(self.names) :]):
            return False
        chosen = cells[self.place].strip()
        return not ("\n" in chosen and self.delimiter in chosen)

    def _complete(self, row: Row) -> Row:
        cells, size = self.rejoined(row.cells), len(self.names)
        if not row.problem:
            while len(cells) > size and cells[-1] == "":
                cells.pop()
            if len(cells) > size:
                row = row._replace(problem=f"{len(cells)} cells under {size} column names")
        return row._replace(cells=[""] * size if row.problem else cells + [""] * (size - len(cells)))

    def _next(self, fits: Callable[[list[str]], bool]) -> tuple[Row | None, list[Line]]:
        """The next row, and the lines that it took beside its first one."""
        line = self._waiting.popleft() if self._waiting else next(self._lines, None)
        if line is None:
            return None, []
        if not line.whole:
            return Row(line.text, [], too_long(self._limit)), []
        if '"' not in line.text:
            text = line.text.rstrip("\r")
            return Row(text, text.split(self.delimiter)), []
        return self._quoted(line, fits)

    def _quoted(self, line: Line, fits: Callable[[list[str]], bool]) -> tuple[Row, list[Line]]:
        """A row with quotes, which goes on over the lines that a quoted cell spreads over.

        Where a quote never closes, or closes so that the row does not fit, only the line that opens it is bad.
        """
        taken: list[Line] = []
        reader = csv.reader(self._feed(line, taken), delimiter=self.delimiter, strict=True)
        problem = ""
        try:
            cells = next(reader)
        except csv.Error as error:  # quotes in the middle of a cell are an error of the strict reader alone
            open_still = bool(taken) or str(error) == "unexpected end of data"
            cells = [] if open_still else _leniently(line.text, self.delimiter)
            problem = "" if cells else "a quote opens here and never closes" if open_still else str(error)
        if not problem and taken and not fits(cells):
            problem = "a quote opens here and never closes"
        if problem:
            self._waiting.extendleft(reversed(taken))
            return Row(line.text, [], problem), []
        text = "\n".join(one.text for one in (line, *taken))
        return Row(text, cells), taken

    def _feed(self, first: Line, taken: list[Line]) -> Iterator[str]:
        """Lines for one row, of which those behind the first are noted, up to the limit."""
        yield first.text + "\n"
        size = len(first.text)
        while size <= self._limit:
            line = self._waiting.popleft() if self._waiting else next(self._lines, None)
            if line is None:
                return
            taken.append(line)
            size += len(line.text) + 1
            if not line.whole:
                return
            yield line.text + "\n"


def _leniently(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([text.rstrip("\r")], delimiter=delimiter), [])
    except csv.Error:
        return []


def distinct(names: Iterable[str]) -> list[str]:
    """Column names with a number behind each repetition, so that no column hides another."""
    found: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for name in names:
        unique = name
        while unique in found:
            numbers[name] = numbers.get(name, 1) + 1
            unique = f"{name}_{numbers[name]}"
        found[unique] = None
    return list(found)


# --- writing --------------------------------------------------------------------------------------


class TableWriter:
    """Writes a table row by row; the names of the first row are the columns.

    Attributes:
        count: of the rows so far.
    """

    def __init__(self, stream: IO[bytes], delimiter: str = ",") -> None:
        text = codecs.getwriter("utf-8")(stream, "backslashreplace")
        # A cell with either line break must stand in quotes, which the module sees to for those of its own line end.
        self._writer = csv.writer(_LineFeeds(text), delimiter=delimiter, lineterminator="\r\n")
        self._columns: dict[str, None] | None = None
        self.count = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a row; None and NaN are empty cells.

        Raises:
            UsageError: it has a column that the first row has not.
        """
        if self._columns is None:
            self._columns = dict.fromkeys(row)
            self._writer.writerow(self._columns)
        require_known(row, self._columns, self.count)
        self._writer.writerow([cell(row.get(name)) for name in self._columns])
        self.count += 1


class _LineFeeds:
    """A text in which the line ends of rows become LF."""

    def __init__(self, text: codecs.StreamWriter) -> None:
        self._text = text

    def write(self, row: str) -> object:
        self._text.write(row[:-2] + "\n")
        return None


def require_known(row: Mapping[str, Any], columns: Mapping[str, Any], number: int) -> None:
    """See that a row has no other columns than the first one.

    Raises:
        UsageError: it has.
    """
    if row.keys() <= columns.keys():
        return
    unknown = next(name for name in row if name not in columns)
    raise UsageError(f"row {number} has the column {unknown!r}, which the first row has not")


def cell(value: Any) -> str:
    """A value as text; None and NaN are empty."""
    return "" if value is None or value != value else str(value)
