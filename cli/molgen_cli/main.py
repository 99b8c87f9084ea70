"""The command `molgen`: finds the verb, turns errors into one line and an exit code.

Each verb is a module of this package with two functions: `configure(parser)`, which adds its
arguments and imports nothing heavy, and `run(args) -> int`, which does the work and returns the exit
code. A verb's module is imported when its verb is named, so `molgen --help` costs only this file.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 partly failed, 130 interrupted by
SIGINT, 143 ended by SIGTERM. `MOLGEN_DEBUG=1` shows the traceback behind an error.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import select
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

from molgen.errors import MolgenError, UnknownFormat, UsageError, printable
from molgen_cli.console import warn
from molgen_cli.signals import Terminated, signals_as_exceptions

DESCRIPTION = "Learn, generate and score molecules and other designed objects."
EPILOG = "'molgen VERB --help' says more about a verb. MOLGEN_DEBUG=1 shows the traceback behind an error."

#: The module of each verb, and its line in the help. Strings, so that the help imports none of them.
VERBS: dict[str, tuple[str, str]] = {
    "generate": ("molgen_cli.verbs.generate", "sample items from a model"),
    "score": ("molgen_cli.verbs.score", "log-density and properties of the items in a file"),
    "encode": ("molgen_cli.verbs.encode", "the latents of the items in a file"),
    "reconstruct": ("molgen_cli.verbs.reconstruct", "the items in a file, decoded from their latents"),
    "interpolate": ("molgen_cli.verbs.interpolate", "items on the way from one latent to another"),
    "evaluate": ("molgen_cli.verbs.evaluate", "the metrics of the field for the items in files"),
    "view": ("molgen_cli.verbs.view", "a page in which molecules of a file can be turned in space"),
    "train": ("molgen_cli.verbs.train", "train a model, or fine-tune one on your own file"),
    "models": ("molgen_cli.verbs.models", "list the models at hand, or describe one"),
    "data": ("molgen_cli.verbs.data", "list, describe or fetch data sets"),
    "dataset": ("molgen_cli.verbs.dataset", "make synthetic data sets; check, convert or describe them"),
    "plugins": ("molgen_cli.verbs.plugins", "list what is plugged in: domains, families and so on; or check it"),
    "env": ("molgen_cli.verbs.env", "versions and devices, for a report of a problem"),
}

FAILED, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and which takes no abbreviated options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # An abbreviation that works today would change its meaning with the next option that is added.
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise UsageError(f"{message}; type: {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: the arguments after the command's name; those of the process by default.
    """
    _prepare_streams()
    try:
        with signals_as_exceptions():
            code = _run(sys.argv[1:] if argv is None else list(argv))
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where a closed pipe can still be told from a failure
            return code
    except BaseException as error:
        return _report(error)


def _prepare_streams() -> None:
    """See that no file takes the place of a closed standard stream, and that stdout takes any text."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which gets the lowest free number
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _run(argv: list[str]) -> int:
    verb = next((argument for argument in argv if not argument.startswith("-")), None)
    module = None if verb is None else _verb_module(verb)
    parser, parser_of_verb = _parsers(verb, module)
    if not argv:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        args, unknown = parser.parse_known_args(argv)
    except SystemExit as leaving:  # --help and --version have printed what they print
        return int(leaving.code or 0)
    if unknown:
        raise _unknown_argument(unknown[0], parser_of_verb)
    if module is None:
        parser.error("a verb is missing")
    return int(module.run(args))


def _parsers(verb: str | None, module: ModuleType | None) -> tuple[Parser, Parser]:
    """The whole command, where only the verb that was named has arguments of its own, and that verb's parser."""
    parser = named = Parser(prog="molgen", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"molgen {_version()}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    for name, (_, line) in VERBS.items():
        parser_of_verb = verbs.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.")
        if module is not None and name == verb:
            module.configure(parser_of_verb)
            named = parser_of_verb
    return parser, named


def _unknown_argument(argument: str, parser: Parser) -> UsageError:
    close = _closest(argument.partition("=")[0], re.findall(r"--[\w-]+", parser.format_usage()))
    suggestion = f"; did you mean {close}?" if close else ""
    return UsageError(f"unknown argument {argument!r}{suggestion or ';'} type: {parser.prog} --help")


def _version() -> str:
    from molgen import __version__

    return __version__


def _verb_module(verb: str) -> ModuleType:
    if verb not in VERBS:
        raise _unknown_verb(verb)
    module = VERBS[verb][0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise UsageError(
            f"the verb {verb!r} is missing from this installation; type: pip install --force-reinstall molgen-toolkit"
        ) from error


def _unknown_verb(verb: str) -> UsageError:
    close = _closest(verb.lower(), VERBS)
    suggestion = f"; did you mean {close!r}?" if close else "."
    return UsageError(f"no verb is named {verb!r}{suggestion} Verbs: {', '.join(VERBS)}")


def _closest(word: str, known: Iterable[str]) -> str | None:
    import difflib  # only a typo needs it

    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)


def _report(error: BaseException) -> int:
    """Say in one line what ended the command, and return the exit code for it."""
    if os.environ.get("MOLGEN_DEBUG", "") not in ("", "0"):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, SystemExit):
        raise error
    reader_left = isinstance(error, BrokenPipeError) and _reader_left()
    if isinstance(error, OSError):
        _settle_stdout()
    message, code = _verdict(error)
    if not reader_left:
        warn(message)
    return code


def _verdict(error: BaseException) -> tuple[str, int]:
    if isinstance(error, UnknownFormat):
        flag = "--format" if error.writing else "--input-format"
        return printable(f"cannot tell the format of {error.name!r}; type {flag} {error.known}"), error.exit_code
    if isinstance(error, MolgenError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if isinstance(error, Terminated):
        return "ended by SIGTERM", TERMINATED
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(_readable(part) for part in (error.filename, error.strerror) if part), FAILED
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("molgen"):
        package = error.name.partition(".")[0]
        return f"the package {package!r} is needed and not installed; type: pip install {package}", USAGE
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{line.removesuffix(':')} (MOLGEN_DEBUG=1 shows where)", FAILED


def _readable(part: Any) -> str:
    return os.fsdecode(part) if isinstance(part, bytes) else str(part)


def _reader_left() -> bool:
    """Whether nobody reads our output any more; another pipe than stdout may have broken as well."""
    poll = select.poll() if hasattr(select, "poll") else None
    try:
        if poll is not None and sys.stdout is not None:
            poll.register(sys.stdout.fileno(), 0)
    except OSError:  # stdout was replaced by something without a file
        return False
    return poll is None or bool(poll.poll(0))


def _settle_stdout() -> None:
    """Where stdout takes no more, see that the interpreter does not try again as it shuts down."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
