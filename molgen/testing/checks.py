"""What a check is, and how checks are run without pytest."""

from __future__ import annotations

import enum
import time
import unittest
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from molgen.testing.advice import ADVICE


class CheckFailed(AssertionError):
    """A guarantee is not kept; the message says which and by how much."""


class Skipped(unittest.SkipTest):
    """There is nothing to check: the part says of itself that it does not guarantee this. Pytest skips on it too."""


@dataclass(frozen=True)
class Check:
    """One guarantee of a contract by name. To call it is to check it.

    Attributes:
        name: of the guarantee; expected failures are declared by it.
        run: returns where the guarantee is kept, and raises otherwise: `Skipped` where none is made.
        about: what is checked, such as `autoregressive over words`.
        guarantee: what is promised, in a sentence.
    """

    name: str
    run: Callable[[], None]
    about: str = ""
    guarantee: str = ""

    @property
    def advice(self) -> str:
        """What the author can do where it fails; empty for checks of others."""
        return ADVICE.get(self.name, "")

    @property
    def id(self) -> str:
        """The name of the check after that of what is checked."""
        return f"{self.about}: {self.name}" if self.about else self.name

    def __call__(self) -> None:
        """Check the guarantee."""
        self.run()


class Outcome(enum.Enum):
    """How a check ended."""

    OK = "ok"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class Result:
    """A check that was run: the verdict, its reason where there is one, and the seconds that it took."""

    check: Check
    outcome: Outcome
    reason: str
    seconds: float
    error: Exception | None = None


def run_checks(checks: Iterable[Check]) -> Iterator[Result]:
    """Run checks one after the other, whatever becomes of each."""
    for check in checks:
        started = time.perf_counter()
        outcome, error = _run(check)
        yield Result(check, outcome, _reason(error), time.perf_counter() - started, error)


def _run(check: Check) -> tuple[Outcome, Exception | None]:
    try:
        check()
    except Skipped as reason:
        return Outcome.SKIPPED, reason
    except Exception as error:  # whatever a third party's part raises, the other checks go on
        return Outcome.FAILED, error
    return Outcome.OK, None


def _reason(error: Exception | None) -> str:
    if error is None:
        return ""
    line = " ".join(str(error).split())
    return line if isinstance(error, CheckFailed | Skipped) else f"{type(error).__name__}: {line}"


def holds(guarantee: Callable[[], None]) -> bool:
    """Whether another guarantee is kept, without which this one cannot be looked at."""
    try:
        guarantee()
    except CheckFailed:
        return False
    return True


def skip_unless(guarantee: Callable[[], None], reason: str) -> None:
    """Leave to another check what it finds.

    Raises:
        Skipped: the other guarantee is broken.
    """
    if not holds(guarantee):
        raise Skipped(reason)


def require(condition: bool, message: str) -> None:
    """Fail the check unless the condition holds.

    Raises:
        CheckFailed: with the message.
    """
    if not condition:
        raise CheckFailed(message)
