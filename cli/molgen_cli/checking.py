"""What `molgen plugins check` does: the conformance checks of one plugin, without pytest."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from traceback import extract_tb, format_exception

import numpy
import torch

import molgen
import molgen_cli
from molgen.errors import UsageError
from molgen.testing import Check, Outcome, Result, checks_of, run_checks
from molgen_cli.console import progress, say, show


def check(args: argparse.Namespace) -> int:
    """Run the checks that are asked for, print a line for each, and return 1 if one fails."""
    checks = _chosen(list(checks_of(args.name, args.kind)), args.only)
    results = []
    with progress("checking", len(checks), quiet=args.format == "table") as bar:
        for result in run_checks(checks):
            results.append(result)
            if args.format == "table":
                show(_line(result, args.name))
            bar.advance()
    if args.format == "json":
        print(json.dumps([_row(result, args.name) for result in results], indent=2))
    say(_summary(results))
    return 1 if any(result.outcome is Outcome.FAILED for result in results) else 0


def _chosen(checks: list[Check], pattern: str | None) -> list[Check]:
    if pattern is None:
        return checks
    chosen = [check for check in checks if fnmatchcase(check.name, pattern) or fnmatchcase(check.id, pattern)]
    if not chosen:
        names = dict.fromkeys(check.name for check in checks)
        raise UsageError(f"no check is named {pattern!r}; known: {', '.join(names)}")
    return chosen


def _line(result: Result, name: str) -> str:
    text = f"{result.outcome.value:8} {result.check.id}"
    text += f" ({result.reason})" if result.reason else ""
    if result.outcome is not Outcome.FAILED:
        return text
    text += "".join(f"\n{'':9}{label}: {words}" for label, words in _explained(result, name).items() if words)
    if os.environ.get("MOLGEN_DEBUG", "") not in ("", "0"):
        text += f"\n{''.join(format_exception(result.error))}"
    return text


def _explained(result: Result, name: str) -> dict[str, str]:
    """What is promised, what to do, where it went wrong, and how to see that alone."""
    check = result.check
    return {
        "promised": check.guarantee,
        "to do": check.advice,
        "raised at": where(result.error),
        "alone": f"molgen plugins check {name} --only {shlex.quote(check.id)}",
    }


def where(error: BaseException | None) -> str:
    """The last line of code outside of molgen and installed libraries that an error came through, or nothing."""
    while error is not None and error.__cause__ is not None:
        error = error.__cause__
    frames = extract_tb(error.__traceback__) if error is not None else []
    theirs = [frame for frame in frames if not frame.filename.startswith(_OURS) and "<" not in frame.filename]
    return f"{theirs[-1].filename}:{theirs[-1].lineno} in {theirs[-1].name}" if theirs else ""


#: Where the code lies that is not the author's: molgen, numpy, torch and the standard library.
_OURS = tuple(str(Path(module.__file__ or "").parent) for module in (molgen, molgen_cli, numpy, torch, os))


def _row(result: Result, name: str) -> dict[str, object]:
    return {
        "about": result.check.about,
        "check": result.check.name,
        "verdict": result.outcome.value,
        "reason": result.reason,
        **(_explained(result, name) if result.outcome is Outcome.FAILED else {}),
        "seconds": round(result.seconds, 3),
    }


def _summary(results: Iterable[Result]) -> str:
    counts = Counter(result.outcome for result in results)
    return ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome)
