"""`molgen evaluate`: the field's metrics of generated items, with intervals, against sets of your choice."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen.atomic_files import sha256, total_bytes
from molgen.errors import PartialFailure, UsageError
from molgen_cli.arguments import from_zero, names, parallel
from molgen_cli.console import Stopwatch, progress, say
from molgen_cli.domains import DEFAULT, recognised
from molgen_cli.output import record_path, refuse_existing, standard_input

if TYPE_CHECKING:
    from molgen.domain import Domain, Record
    from molgen.evaluation.evaluate import Observer
    from molgen.evaluation.references import Reference
    from molgen.metric import Chunk
    from molgen_cli.console import Progress
    from molgen_cli.figures import Evaluated
    from molgen_cli.report import Reporting

#: Changes whenever programs that read the JSON would have to.
FORMAT = 1
#: Distributions that decide what summaries hold: what is canonical, and what features are.
DECISIVE = ("rdkit", "fcd")
INTERVALS = "95 %, for other samples of as many rows from the same model"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add = parser.add_argument
    add(
        "files",
        nargs="+",
        metavar="FILE",
        help="generated items: .csv, .tsv, .smi, .sdf, .xyz or .parquet, also gzipped; pictures or sounds; or -",
    )
    add(
        "-r",
        "--reference",
        action="append",
        default=[],
        metavar="NAME|FILE",
        help="what the items should be like: a data set with its usual test sets (moses), a split of one "
        "(moses:test), or your own file; may be repeated",
    )
    add(
        "-t",
        "--training",
        metavar="NAME|FILE",
        help="what the model learned from (default: the training split of the data set that --reference names)",
    )
    add(
        "--metrics",
        type=names,
        default=(),
        metavar="LIST",
        help="suites and single metrics such as FCD, with commas, or 'all' suites (default: the domain's usual one)",
    )
    add("--domain", metavar="NAME", help="what the items are (default: as the files seem to be)")
    add("--input-format", metavar="NAME", help="format of the files, where a name does not say it (stdin: csv)")
    add("--column", "--smiles-column", metavar="NAME", help="the column that holds the items (default: by its name)")
    add("--reference-column", metavar="NAME", help="the same, of your own files to compare with")
    add(
        "-o", "--output", default="-", metavar="FILE", help="where the figures go; .json for programs (default: stdout)"
    )
    add("--format", choices=("table", "json"), help="form of the figures (default: by the name of the file, or table)")
    add("--report", metavar="FILE.html", help="write a page with charts and drawings as well")
    add("--overwrite", action="store_true", help="replace files that exist")
    add("--device", default="auto", metavar="NAME", help="where networks run: auto, cpu, cuda, mps (default: auto)")
    add("--workers", type=parallel, metavar="N", help="processes that read the items (default: one per processor)")
    add("--seed", type=from_zero, default=0, metavar="N", help="of the intervals and random samples (default: 0)")
    add("-q", "--quiet", action="store_true", help="print no progress and no notes")


def run(args: argparse.Namespace) -> int:
    """Evaluate, and say how it went: 0 when no metric failed, 3 when some have, 1 when all have."""
    refuse_existing((args.output, args.report), args.overwrite)
    work = Run(args)
    stopped = work.evaluate()
    work.write(stopped)
    if stopped is not None:
        raise stopped
    return work.exit_code


@dataclass(frozen=True)
class Input:
    """A file to evaluate; the path is none for stdin."""

    name: str
    path: Path | None


class Run:
    """One call of the verb: what is evaluated against what, and what came out.

    Raises:
        UsageError: a file, a set, a metric or a device does not exist or cannot be used.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        from molgen import registry
        from molgen.evaluation.evaluate import Evaluation, chosen
        from molgen.evaluation.references import References

        self.args, self.stopwatch = args, Stopwatch()
        args.domain = args.domain or _domain_of(args)
        self.domain: Domain = registry.get("domain", args.domain)()
        self.inputs = _inputs(args, self.domain)
        found = References(self.domain, args.domain, args.reference_column, partial(say, quiet=args.quiet))
        self.references = found.references(args.reference)
        self.training = found.training(args.training, self.references)
        self.metrics = _metrics(args, self.domain)
        self.evaluation = Evaluation(
            self.domain,
            chosen(self.domain, self.metrics),
            [one.items for one in self.references],
            self.training.items if self.training else None,
            _summaries(),
            _decisive(args.domain),
            _device(args.device),
            args.workers,
            args.seed,
            self._watch,
        )
        self.report = self._reporting() if args.report else None
        self.files: list[Evaluated] = []

    def _reporting(self) -> Reporting:
        from molgen_cli.report import Reporting

        return Reporting(self.domain, self.evaluation.references, self.evaluation.training, self.args.seed)

    def evaluate(self) -> BaseException | None:
        """Evaluate the files, and return what ended that early, if there is anything to keep.

        Raises:
            BaseException: what ended it before the first file was done.
        """
        self.stopwatch.lap("checking")
        try:
            self.evaluation.prepare(self.report.summaries() if self.report else ())
            self.stopwatch.lap("summarising")
            for one in self.inputs:
                self.files.append(self._evaluated(one))
        except BaseException as stopped:
            if not self.files:
                raise
            return stopped
        return None

    def _evaluated(self, one: Input) -> Evaluated:
        from molgen_cli.figures import Evaluated

        gathered = self.report.observer() if self.report else None
        with progress(f"evaluating {one.name}", quiet=self.args.quiet) as bar:
            counts = _Counts(bar)
            items = (record.item for record in _records(self.args, self.domain, one))
            observers: list[Observer] = [counts, gathered] if gathered else [counts]
            figures = self.evaluation.evaluate(items, observers, gathered.needs if gathered else ())
        taken = self.stopwatch.lap(one.name)
        rate = counts.rows / max(taken, 1e-9)
        say(f"{one.name}: {counts.rows:,} rows in {taken:.1f} s ({rate:,.0f} rows/s)", quiet=self.args.quiet)
        seconds = {"all": taken, **self.evaluation.seconds}
        found = Evaluated(one.name, counts.rows, counts.valid, figures, seconds=seconds)
        if self.report is None or gathered is None:
            return found
        return self.report.completed(found, gathered, self.evaluation.summaries)

    @contextmanager
    def _watch(self, name: str, count: int | None) -> Iterator[Callable[[int], None]]:
        items = f"{count:,} items of {name}" if count else name
        say(f"summarising {items}, once: what is found is kept in {_summaries()}", quiet=self.args.quiet)
        with progress(f"summarising {name}", count, quiet=self.args.quiet) as bar:
            yield bar.advance

    @property
    def exit_code(self) -> int:
        """0 when no metric failed, 3 when some have, 1 when all have."""
        failed = [bool(figure.error) for one in self.files for figure in one.figures]
        return 0 if not any(failed) else 1 if all(failed) else PartialFailure.exit_code

    # --- what it leaves ---------------------------------------------------------------------------

    def write(self, stopped: BaseException | None) -> None:
        """Print or write the figures, and a record beside each file."""
        from molgen.atomic_files import write_text
        from molgen_cli.figures import show

        form = self.args.format or ("json" if self.args.output.lower().endswith(".json") else "table")
        facts = self._facts(stopped)
        if self.args.output == "-":
            self._print(form, facts)
        else:
            path = Path(self.args.output)
            try:
                write_text(path, _json(facts) + "\n" if form == "json" else _text(self.files))
            except OSError:  # the disk is full by now; what was computed is not lost
                self._print(form, facts)
                raise
            self._write_record(path, facts, stopped)
            if not self.args.quiet:
                show(self.files, sys.stderr)
        if self.report is not None:
            path = Path(self.args.report)
            self.report.write(path, self.files, self.about(), self.evaluation.summaries)
            self._write_record(path, facts, stopped)

    def _print(self, form: str, facts: Mapping[str, Any]) -> None:
        from molgen_cli.figures import show

        print(_json(facts)) if form == "json" else show(self.files, sys.stdout)

    def _facts(self, stopped: BaseException | None) -> dict[str, Any]:
        from molgen_cli.figures import as_json

        paths = {one.name: one.path for one in self.inputs}
        files = [{**as_json(one), **_content(paths[one.name])} for one in self.files]
        return {
            "format": FORMAT,
            "complete": stopped is None,
            **self.about(),
            "seconds": dict(self.stopwatch.record()),
            "files": files,
        }

    def about(self) -> dict[str, Any]:
        """What was compared with what, and how, as JSON values."""
        from molgen.versions import versions

        datasets = {one.dataset for one in self.references}
        return {
            "domain": self.args.domain,
            "metrics": list(self.metrics),
            "reference": datasets.pop() if len(datasets) == 1 else "",
            "references": [self._set(one) for one in self.references],
            "training": self._set(self.training) if self.training else None,
            "seed": self.args.seed,
            "intervals": INTERVALS,
            "device": self.args.device,
            "versions": versions(),
        }

    def _set(self, one: Reference) -> dict[str, Any]:
        rows, valid = self.evaluation.summaries.counts.get(one.items.digest, (one.items.count, None))
        return {"name": one.items.name, "source": one.source, "sha256": one.items.digest, "rows": rows, "valid": valid}

    def _write_record(self, path: Path, facts: Mapping[str, Any], stopped: BaseException | None) -> None:
        from molgen.atomic_files import write_text

        files = [{name: one[name] for name in ("name", "file", "sha256", "rows", "valid")} for one in facts["files"]]
        record = {
            "command": "evaluate",
            "complete": stopped is None,
            "stopped": None if stopped is None else str(stopped) or type(stopped).__name__,
            "arguments": vars(self.args),
            **self.about(),
            "seconds": facts["seconds"],
            "files": files,
            "output": {**_content(path), "bytes": total_bytes(path)},
        }
        write_text(record_path(path), json.dumps(record, indent=2, default=str) + "\n")


class _Counts:
    """Counts rows and valid ones as they pass, and shows how far the work is."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self.rows = self.valid = 0

    def __call__(self, chunk: Chunk) -> None:
        self.rows += len(chunk.valid)
        self.valid += len(chunk.items)
        self._bar.advance(len(chunk.valid))


# --- what goes in ---------------------------------------------------------------------------------


def _inputs(args: argparse.Namespace, domain: Domain) -> list[Input]:
    """The files by names that tell them apart; each can be read, as far as its first row shows."""
    from molgen.data.tables import reopenable
    from molgen.evaluation.references import stem

    if len(set(args.files)) < len(args.files):
        raise UsageError("a file is named twice; name each once")
    stems = Counter([*map(stem, args.files), "metric"])  # the last one is a heading of the table
    short = {text: "stdin" if text == "-" else stem(text) for text in args.files}
    found = [
        Input(short[text] if stems[stem(text)] == 1 else text, None if text == "-" else Path(text))
        for text in args.files
    ]
    for one in found:
        if one.path is not None and not one.path.exists():
            raise UsageError(f"{one.path}: there is no such file")
    found = [one if one.path is None else replace(one, path=reopenable(one.path)) for one in found]
    for one in found:
        if one.path is not None:
            _records(args, domain, one)
    return found


def _domain_of(args: argparse.Namespace) -> str:
    """The domain that the first file seems to be of, else that of the data set that it is compared with."""
    from molgen import registry

    files = [Path(name) for name in args.files if name != "-"]
    sets = [name.partition(":")[0] for name in (*args.reference, args.training) if name]
    found = next(filter(None, map(recognised, files)), None)
    known = [registry.get("dataset", name).domain for name in sets if name in registry.names("dataset")]
    return found or next(iter(known), DEFAULT)


def _records(args: argparse.Namespace, domain: Domain, one: Input) -> Iterator[Record]:
    from molgen.evaluation.references import records_of

    if one.path is None:
        return domain.read(standard_input(), format=args.input_format or "csv", column=args.column)
    return records_of(domain, one.path, format=args.input_format, column=args.column)


def _metrics(args: argparse.Namespace, domain: Domain) -> Sequence[str]:
    return tuple(domain.suites()) if args.metrics == ("all",) else args.metrics or domain.metrics


def _device(name: str) -> str:
    if name == "auto":  # which needs no torch before a network runs
        return name
    from molgen.model.devices import resolve_device

    return resolve_device(name)


def _summaries() -> Path:
    from molgen.data.cache import cache_folder

    return cache_folder() / "summaries"


def _decisive(domain: str) -> dict[str, str]:
    """The versions on which summaries depend."""
    from molgen import registry

    plugin = registry.find("domain", domain)
    found = {} if plugin.ours else {plugin.distribution: plugin.version}
    for name in DECISIVE:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


# --- what comes out -------------------------------------------------------------------------------


def _json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, indent=2, allow_nan=False)


def _text(files: Sequence[Evaluated]) -> str:
    from io import StringIO

    from molgen_cli.figures import show

    text = StringIO()
    show(files, text)
    return text.getvalue()


def _content(path: Path | None) -> dict[str, str | None]:
    """The name of a file and the hash of its content; stdin has neither."""
    if path is None:
        return {"file": None, "sha256": None}
    return {"file": str(path), "sha256": sha256(path)}
