"""The folder of a training run: what may be in it, and the records that this command writes into it."""

from __future__ import annotations

import csv
import glob
import json
import platform
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from molgen.atomic_files import replaced_file, write_text
from molgen.domain import Record
from molgen.errors import UsageError

CONFIGURATION = "config.yaml"
RECORD = "train.run.json"
REJECTED = "rejected.csv"
#: All that a run puts into its folder; `--overwrite` removes these and nothing else.
OWN = ("model", "resume", ".resume.superseded", ".model.superseded", "store", "tensorboard", "metrics.jsonl")
FILES = (CONFIGURATION, RECORD, REJECTED)
#: The file that says that a folder is that of a run, and nothing that only looks like one.
MARKER = "molgen-run.json"
#: Held by the run that writes to the folder; the system lets go of it when the process ends, however it ends.
LOCK = ".lock"
#: How many reasons and how many rows of each the summary shows.
REASONS, ROWS = 5, 3


@contextmanager
def claimed(folder: Path, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Make the folder, or see that it may be used, and keep other runs out of it while the block runs.

    What a killed run left half written is cleared away.

    Raises:
        UsageError: it holds something and neither `resume` nor `overwrite` was given, it is no run, or another
            run is in it.
    """
    _require_usable(folder, resume=resume, overwrite=overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"another run is writing to {folder}; wait for it, or choose another --output") from None
    try:
        _clear(folder, everything=overwrite and not resume)
        write_text(folder / MARKER, json.dumps({"format": 1, "what": "the folder of a training run of molgen"}) + "\n")
        yield
    finally:
        lock.release()


def _clear(folder: Path, *, everything: bool) -> None:
    for name in (*OWN, *FILES, MARKER):
        for path in folder.glob(f".{glob.escape(name)}.*.tmp"):
            _remove(path)
    for name in (*OWN, *FILES) if everything else ():
        _remove(folder / name)


def _require_usable(folder: Path, *, resume: bool, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; choose another --output")
    content = {path.name for path in folder.iterdir()} - {LOCK} if folder.exists() else set()
    if content and not (resume or overwrite):
        raise UsageError(
            f"{folder} is not empty; type --resume to go on with the run in it, --overwrite to start it anew, "
            "or choose another --output"
        )
    if content and not _is_run(folder):
        raise UsageError(f"{folder} holds other files and no training run; choose another --output")


def _is_run(folder: Path) -> bool:
    """Whether a run wrote into the folder; those of earlier versions left their record only."""
    try:
        if (folder / MARKER).is_file():
            return bool(json.loads((folder / MARKER).read_text(encoding="utf-8"))["format"] == 1)
        command = json.loads((folder / RECORD).read_text(encoding="utf-8"))["command"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return str(command).startswith("molgen train ")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_configuration(folder: Path, configuration: Mapping[str, Any]) -> None:
    """Write the whole configuration, every default included."""
    write_text(folder / CONFIGURATION, as_yaml(configuration))


def as_yaml(configuration: Mapping[str, Any]) -> str:
    """A configuration as YAML."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(dict(configuration)))


def write_record(folder: Path, values: Mapping[str, Any]) -> None:
    """Write what made the run, for whoever wants to repeat it."""
    write_text(folder / RECORD, json.dumps(values, indent=2, default=str) + "\n")


def hardware() -> dict[str, Any]:
    """The machine, as far as it changes speed and rounding."""
    import torch

    return {
        "platform": platform.platform(),
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "accelerators": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_rejected(folder: Path, rejected: Iterable[tuple[Record, str]]) -> str:
    """List each record that was left out, and give a summary by reason; rows count from 1.

    Reasons that differ in a number or a quoted part only are counted together in the summary.
    """
    counts: Counter[str] = Counter()
    first: defaultdict[str, list[int]] = defaultdict(list)
    with replaced_file(folder / REJECTED) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("row", "text", "reason"))
        for record, reason in rejected:
            lines.writerow((record.row + 1, record.text or _shown(record), reason))
            kind = re.sub(r"'[^']*'|\d+", "…", reason)
            counts[kind] += 1
            if len(first[kind]) < ROWS:
                first[kind].append(record.row + 1)
    return "\n".join(_lines(counts, first))


def _shown(record: Record) -> str:
    return record.item if isinstance(record.item, str) else ""


def _lines(counts: Counter[str], first: Mapping[str, list[int]]) -> Iterable[str]:
    for reason, count in counts.most_common(REASONS):
        rows = ", ".join(map(str, first[reason])) + (", …" if count > len(first[reason]) else "")
        yield f"  {count:>8,}  {reason} (row {rows})"
    if len(counts) > REASONS:
        yield f"  {sum(counts.values()) - sum(n for _, n in counts.most_common(REASONS)):>8,}  for other reasons"
