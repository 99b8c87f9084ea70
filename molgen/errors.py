"""The errors that a user can cause or correct. The command line turns each into one line and an exit code."""

import difflib
from collections.abc import Iterable
from itertools import chain

#: Characters that a terminal acts on, and those that turn the direction of a text: written as what they are.
_CONTROLS = (range(0x20), range(0x7F, 0xA0), (0x200E, 0x200F), range(0x2028, 0x202F), range(0x2066, 0x206A))
_VISIBLE = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in chain(*_CONTROLS)}
#: The same for texts of several lines.
_VISIBLE_IN_LINES = {code: text for code, text in _VISIBLE.items() if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """A text of one line without anything that a terminal acts on, whoever wrote it: names, cards, messages."""
    return " ".join(text.splitlines()).translate(_VISIBLE) if not text.isprintable() else text


def printable_lines(text: str) -> str:
    """The same of a text of several lines, which stay."""
    return text.translate(_VISIBLE_IN_LINES)


class MolgenError(Exception):
    """Something failed for a reason that the message names in one line; the command ends with 1."""

    exit_code = 1

    def __str__(self) -> str:
        """The message as a terminal can show it, whatever stood in the file that it quotes."""
        return printable(super().__str__())


class UsageError(MolgenError):
    """The request or a configuration is wrong, and the message says what to type; the command ends with 2."""

    exit_code = 2


class UnknownFormat(UsageError):
    """Neither the name of a file nor a setting says its format.

    Args:
        name: of the file, or what was asked for.
        known: the formats there are, in words.
        writing: whether it was to be written.
    """

    def __init__(self, name: str, known: str, *, writing: bool = False) -> None:
        super().__init__(f"cannot tell the format of {name!r}: give format={known}")
        self.name, self.known, self.writing = name, known, writing


class PluginError(UsageError):
    """A plugin could not be found, imported or accepted; the message says what to type."""


class PartialFailure(MolgenError):
    """Part of the work was done and kept, the rest failed; the command ends with 3."""

    exit_code = 3


class Interruption(BaseException):
    """Something from outside, such as a signal, ends this process; no code that goes on after failures catches it."""


def hint(name: str, known: Iterable[str]) -> str:
    """How a sentence about an unknown name goes on: with the known one that is closest to it, or it ends."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


class UnsupportedSpace(ValueError):
    """A family or backbone was asked to work on a space that it has no means for."""
