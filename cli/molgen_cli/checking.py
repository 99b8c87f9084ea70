"""What `molgen plugins check` does: the conformance checks of one plugin, without pytest."""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from traceback import format_exception

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
                show(_line(result))
            bar.advance()
    if args.format == "json":
        print(json.dumps([_row(result) for result in results], indent=2))
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


def _line(result: Result) -> str:
    text = f"{result.outcome.value:8} {result.check.id}"
    text += f" ({result.reason})" if result.reason else ""
    if result.outcome is Outcome.FAILED and os.environ.get("MOLGEN_DEBUG", "") not in ("", "0"):
        text += f"\n{''.join(format_exception(result.error))}"
    return text


def _row(result: Result) -> dict[str, object]:
    return {
        "about": result.check.about,
        "check": result.check.name,
        "verdict": result.outcome.value,
        "reason": result.reason,
        "seconds": round(result.seconds, 3),
    }


def _summary(results: Iterable[Result]) -> str:
    counts = Counter(result.outcome for result in results)
    return ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome)
