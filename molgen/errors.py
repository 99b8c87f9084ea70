"""The errors that a user can cause or correct. The command line turns each into one line and an exit code."""

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


class MolgenError(Exception):
    """Something failed for a reason that the message names in one line; the command ends with 1."""

    exit_code = 1


class UsageError(MolgenError):
    """The request or a configuration is wrong, and the message says what to type; the command ends with 2."""

    exit_code = 2


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
